"""How what enters a block becomes one head's queries, keys or values: one matrix and one bias.

Where a latent stands between (`model.latent`), they are products: of the map that leads to it, the
weight of its norm, and the head's own map. That norm also divides by the root of the mean square of
what it is given, which differs from vector to vector and is no part of them: see `Latent`. Axes, as
suffixes: P position, M model, L latent, W width of what is made.
"""

from dataclasses import dataclass

import numpy as np

from attn_cli import vocabulary
from attn_cli.maths.products import NOTHING
from attn_cli.model.latent import EPSILON
from attn_cli.records import Attention

# What `leading` needs of a block.
NEEDS = frozenset({
    "w_q", "b_q", "w_k", "b_k", "w_v", "b_v", "w_q_down", "b_q_down", "w_q_latent_norm",
    "w_q_latent", "w_kv_down", "b_kv_down", "w_kv_latent_norm", "w_k_latent", "w_k_rotated",
    "b_k_rotated", "w_v_latent",
})  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Latent:
    """The map to a latent, by whose root the first `width` dimensions of what is made are divided.

    The others pass no such norm.
    """

    w_ML: np.ndarray
    b_L: np.ndarray
    width: int

    def scale(self, x_PM: np.ndarray, outputs: int) -> np.ndarray:
        """What each of so many dimensions is multiplied by, (position, width): 1 ÷ √(mean square +
        ε), and 1 beyond the first."""
        latent_PL = _applied(x_PM, self.w_ML, self.b_L)
        scale_PW = np.ones((len(latent_PL), outputs))
        mean_P1 = (latent_PL * latent_PL).mean(axis=-1, keepdims=True)
        scale_PW[:, : self.width] = 1 / np.sqrt(mean_P1 + EPSILON)
        return scale_PW


@dataclass(frozen=True, slots=True, eq=False)
class Leading:
    """x ↦ (x·W + b) × the scale of its latent, if there is one. A bias of size 0 is none."""

    w_MW: np.ndarray
    b_W: np.ndarray
    latent: Latent | None = None

    def of(self, x_PM: np.ndarray) -> np.ndarray:
        """What becomes of these vectors, (position, width)."""
        return _applied(x_PM, self.w_MW, self.b_W) * self.scale(x_PM)

    def scale(self, x_PM: np.ndarray) -> np.ndarray:
        """By what x·W + b is multiplied, (position, width)."""
        outputs = self.w_MW.shape[1]
        return self.latent.scale(x_PM, outputs) if self.latent else np.ones((len(x_PM), outputs))

    def after(self, weight_M: np.ndarray, bias_M: np.ndarray) -> "Leading":
        """The same for vectors that a weight and a bias (of size 0: none) are still to act on."""

        def folded(w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            if bias_M.size:
                b = bias_M @ w + (b if b.size else 0)
            return weight_M[:, None] * w, b

        of = self.latent
        latent = Latent(*folded(of.w_ML, of.b_L), of.width) if of else None
        return Leading(*folded(self.w_MW, self.b_W), latent)


def leading(block: Attention, letter: str, place: int) -> Leading:
    """The way to the queries (`q`), keys or values of the head at a place of the block's own, from
    what its projections are given."""

    def learned(name: str) -> np.ndarray:
        found = block.arrays.get(name, NOTHING)
        by_head = vocabulary.ARRAYS[name].axes[0] in ("head", "kv_head")
        return (found[place] if by_head and found.size else found).astype(np.float64)

    of = "q" if letter == "q" else "kv"
    down_ML, bias_L, own_LW = (
        learned(n) for n in (f"w_{of}_down", f"b_{of}_down", f"w_{letter}_latent")
    )
    if not down_ML.size:
        return Leading(learned(f"w_{letter}"), learned(f"b_{letter}"))
    up_LW = learned(f"w_{of}_latent_norm")[:, None] * own_LW
    w_MW, b_W = down_ML @ up_LW, bias_L @ up_LW if bias_L.size else bias_L
    if letter == "k":
        w_MW = np.concatenate([w_MW, learned("w_k_rotated")], axis=1)
        b_W = np.concatenate([b_W, learned("b_k_rotated")])
    return Leading(w_MW, b_W, Latent(down_ML, bias_L, own_LW.shape[1]))


def _applied(x_PM: np.ndarray, w_MN: np.ndarray, b_N: np.ndarray) -> np.ndarray:
    product = x_PM @ w_MN
    return product + b_N if b_N.size else product
