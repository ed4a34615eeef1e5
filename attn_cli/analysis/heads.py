"""What each head of a layer does: where it looks, how sharply, and how hard it pulls."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from attn_cli import vocabulary
from attn_cli.errors import UsageError
from attn_cli.records import Attention, Trace

NEEDS = frozenset({"weights", "head_output", "output"})


class HeadSummary(NamedTuple):
    """One head. Shares and entropy are means over the queries behind the first (of a single token
    they are its own, and `previous_share` is NaN: nothing stands before it).

    `entropy` is in bits: 0 = one key takes all, 1 = two keys equally. `looks_at` is the key that
    each query weighs most. `norm` is the length of the last query's `head_output`, `cosine` the
    cosine between that and the block's `output`.
    """

    head: int
    entropy: float
    looks_at: tuple[int, ...]
    first_share: float
    previous_share: float
    self_share: float
    norm: float
    cosine: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heads:
    """Every chosen head of one layer. `weights` (head, query, key).

    `largest_error` is max |Σ head_output + bias − output| over all heads, NaN if not all were
    traced; `output_norm` is the length of the block's output at the last query.
    """

    layer: int
    provenance: str
    heads: tuple[HeadSummary, ...]
    output_norm: float
    largest_error: float
    weights: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layers:
    """The heads of several layers."""

    layers: tuple[Heads, ...]


@np.errstate(all="ignore")
def heads(trace: Trace, layer: int = 0) -> Heads:
    """Summarises one traced layer. Raises UsageError if the trace lacks it or its arrays."""
    try:
        block = trace.block(layer)
    except KeyError:
        raise UsageError(f"layer {layer} was not traced", "trace(…, layer=…)") from None
    missing = NEEDS - set(block.arrays)
    if missing:
        raise UsageError(f"the trace lacks {', '.join(sorted(missing))}", "trace(…, arrays=…)")
    whole = len(block.heads) == trace.model.heads
    added = block.head_output.sum(axis=0, dtype=np.float64) + block.arrays.get("b_o", 0)
    return Heads(
        layer=layer,
        provenance=vocabulary.WHAT_IF if block.what_if else vocabulary.DERIVED,
        heads=tuple(_summary(block, place) for place in range(len(block.heads))),
        output_norm=float(np.linalg.norm(block.output[-1])),
        largest_error=float(np.abs(added - block.output).max()) if whole else float("nan"),
        weights=block.weights,
    )


def _summary(block: Attention, place: int) -> HeadSummary:
    weights = block.weights[place].astype(np.float64)
    pull, output = block.head_output[place, -1], block.output[-1]
    behind = np.arange(min(1, len(weights) - 1), len(weights))
    return HeadSummary(
        head=block.heads[place],
        entropy=float(entropy(weights)[behind].mean()),
        looks_at=tuple(weights.argmax(axis=1).tolist()),
        first_share=float(weights[behind, 0].mean()),
        previous_share=float(weights[behind, behind - 1].mean()) if behind[0] else float("nan"),
        self_share=float(weights[behind, behind].mean()),
        norm=float(np.linalg.norm(pull)),
        cosine=cosine(pull, output),
    )


def entropy(weights: np.ndarray) -> np.ndarray:
    """−Σ w·log₂ w of each row, in bits."""
    logs = np.log2(weights, out=np.zeros_like(weights), where=weights > 0)
    return -(weights * logs).sum(axis=-1) + 0.0


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The cosine of the angle between two vectors, 0 if one of them is 0."""
    lengths = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else 0.0
