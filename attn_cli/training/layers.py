"""The pieces that every trained model is made of, forwards and backwards.

Each is composed from the functions of `maths/` and their `_vjp`s. Parameters are a dict under names
with dots; a piece is given the beginning of its parameters' names. Weights are (input, output).
Axes as suffixes: B row, P position, M model width, N heads × width, H head, C = 3H (the queries',
the keys', then the values' heads), V vocabulary. Every array takes the parameters' dtype.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from attn_cli.maths import attention, backward, layers, masks
from attn_cli.maths.kept import Keep
from attn_cli.maths.masks import Visible
from attn_cli.training.settings import TrainingSettings

EPSILON = 1e-5
EMBEDDING_SPREAD = 0.02
_NO_BIAS = np.zeros(0, np.float32)

Parameters = Mapping[str, np.ndarray]


class Shape(NamedTuple):
    """The sizes of a model. The width is divided among the heads."""

    vocabulary: int
    context: int
    width: int
    heads: int
    layers: int


def shape_of(settings: TrainingSettings, vocabulary: int) -> Shape:
    """The sizes that the settings ask for."""
    return Shape(vocabulary, settings.context, settings.width, settings.heads, settings.layers)


class Attention(NamedTuple):
    """What self-attention computed and its backward pass reads again."""

    x: np.ndarray  # BPM
    qkv: np.ndarray  # BCPW
    visible: np.ndarray  # PP
    weights: np.ndarray  # BHPP, (row, head, query, key)
    z: np.ndarray  # BHPW


FEED_MAPS = "c_fc", "c_proj"  # GPT-2's names of a feed-forward network's maps


class FeedForward(NamedTuple):
    """What a feed-forward network computed and its backward pass reads again."""

    x: np.ndarray  # BPM
    hidden: np.ndarray  # BP(4M), before the activation
    activated: np.ndarray  # BP(4M)


class LossAndGradients(NamedTuple):
    """The mean loss in nats over the counted positions, what it is the mean of, its gradients."""

    loss: float
    losses: np.ndarray  # nats
    gradients: dict[str, np.ndarray]


def joined(parts: Iterable[LossAndGradients]) -> LossAndGradients:
    """The mean loss of all, and its gradients, from those of parts that count every loss."""
    parts = list(parts)
    losses = np.concatenate([part.losses for part in parts])
    shares = [part.losses.dtype.type(part.losses.size / losses.size) for part in parts]
    gradients = {
        name: sum(share * part.gradients[name] for share, part in zip(shares, parts, strict=True))
        for name in parts[0].gradients
    }
    return LossAndGradients(float(losses.mean()), losses, gradients)


# --- the random start ----------------------------------------------------------------------------


class Start:
    """Draws a random start in float32: embeddings N(0, 0.02²), other matrices N(0, 1/inputs).

    Biases are 0, norm weights 1. With 1/inputs (LeCun et al. 1998) a product keeps the spread of
    its input, so that attention is not flat for most of a short run, as it is with GPT-2's 0.02 at
    a width of 32.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def embedding(
        self, name: str, rows: int, width: int, spread: float = EMBEDDING_SPREAD
    ) -> dict[str, np.ndarray]:
        """One vector for each of `rows` things."""
        return {f"{name}.weight": self._normal(rows, width, scale=spread)}

    def linear(
        self, name: str, n_in: int, n_out: int, scale: float = 1.0, *, bias: bool = True
    ) -> dict[str, np.ndarray]:
        """A matrix and, unless there is none, a bias."""
        found = {f"{name}.weight": self._normal(n_in, n_out, scale=scale * n_in**-0.5)}
        return found | {f"{name}.bias": np.zeros(n_out, np.float32)} if bias else found

    def norm(self, name: str, width: int) -> dict[str, np.ndarray]:
        """A layer norm that changes nothing yet."""
        ones, zeros = np.ones(width, np.float32), np.zeros(width, np.float32)
        return {f"{name}.weight": ones, f"{name}.bias": zeros}

    def blocks(self, layer_count: int, width: int) -> dict[str, np.ndarray]:
        """`h.0` and so on: attention and feed-forward, each with a norm.

        The projections that add to the residual stream are scaled by 1 / √(2 layers), so that its
        spread does not grow with depth (Radford et al. 2019, section 2.3).
        """
        residual = (2 * layer_count) ** -0.5
        parameters: dict[str, np.ndarray] = {}
        for layer in range(layer_count):
            parameters |= self.norm(f"h.{layer}.ln_1", width)
            parameters |= self.linear(f"h.{layer}.attn.c_attn", width, 3 * width)
            parameters |= self.linear(f"h.{layer}.attn.c_proj", width, width, residual)
            parameters |= self.norm(f"h.{layer}.ln_2", width)
            parameters |= self.linear(f"h.{layer}.mlp.c_fc", width, 4 * width)
            parameters |= self.linear(f"h.{layer}.mlp.c_proj", 4 * width, width, residual)
        return parameters

    def rms_norm(self, name: str, width: int) -> dict[str, np.ndarray]:
        """A norm without a bias that changes nothing yet."""
        return {f"{name}.weight": np.ones(width, np.float32)}

    def _normal(self, *size: int, scale: float) -> np.ndarray:
        return (self._rng.standard_normal(size) * scale).astype(np.float32)


def layer_count(parameters: Parameters) -> int:
    """How many layers these parameters are of."""
    return sum(name.endswith(".ln_1.weight") for name in parameters)


# --- forwards ------------------------------------------------------------------------------------


def linear(p: Parameters, name: str, x_M: np.ndarray) -> np.ndarray:
    """xW + b, or xW if there is no bias."""
    return layers.linear(x_M, p[f"{name}.weight"], p.get(f"{name}.bias", _NO_BIAS))


def norm(p: Parameters, name: str, x_M: np.ndarray) -> np.ndarray:
    """A layer norm."""
    return layers.layer_norm(x_M, p[f"{name}.weight"], p[f"{name}.bias"], EPSILON)


def attend(
    p: Parameters, name: str, x_BPM: np.ndarray, heads: int, mask: Visible
) -> tuple[Attention, np.ndarray]:
    """Self-attention: what it computed, and its output."""
    # c_attn's columns are all queries, all keys, all values: three times as many heads in one map.
    weight, bias = p[f"{name}.c_attn.weight"], p[f"{name}.c_attn.bias"]
    qkv = attention.project(x_BPM, weight, bias, 3 * heads)
    attended = attention.attend(*np.split(qkv, 3, axis=-3), mask, keep=Keep(("weights",)))
    output = attention.combine(attended.z, p[f"{name}.c_proj.weight"], p[f"{name}.c_proj.bias"])
    visible = masks.square(mask, x_BPM.shape[-2])
    return Attention(x_BPM, qkv, visible, attended.weights, attended.z), output


def feed_forward(
    p: Parameters,
    name: str,
    x_BPM: np.ndarray,
    activation: Callable[[np.ndarray], np.ndarray],
    maps: tuple[str, str] = FEED_MAPS,
) -> tuple[FeedForward, np.ndarray]:
    """Two linear maps with an activation between: what was computed, and the output."""
    hidden = linear(p, f"{name}.{maps[0]}", x_BPM)
    activated = activation(hidden)
    return FeedForward(x_BPM, hidden, activated), linear(p, f"{name}.{maps[1]}", activated)


# --- backwards -----------------------------------------------------------------------------------


class Backward:
    """Collects the gradients of parameters, by name, on the way back; each step returns its dx."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._gradients: dict[str, np.ndarray] = {}

    @property
    def gradients(self) -> dict[str, np.ndarray]:
        """What was found, in the order of the parameters."""
        return {name: self._gradients[name] for name in self._parameters}

    def add(self, name: str, gradient: np.ndarray) -> None:
        """One more gradient of a parameter: those of its uses add up."""
        found = self._gradients.get(name)
        self._gradients[name] = gradient if found is None else found + gradient

    def linear(self, name: str, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """`linear` backwards."""
        return self._keep(name, layers.linear_vjp(x, self._parameters[f"{name}.weight"], dy))

    def norm(self, name: str, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        """`norm` backwards."""
        weight = self._parameters[f"{name}.weight"]
        return self._keep(name, layers.layer_norm_vjp(x, weight, EPSILON, dy))

    def rms_norm(self, name: str, x: np.ndarray, epsilon: float, dy: np.ndarray) -> np.ndarray:
        """An RMS norm backwards."""
        weight = self._parameters[f"{name}.weight"]
        return self._keep(name, layers.rms_norm_vjp(x, weight, epsilon, dy))

    def attend(self, name: str, found: Attention, dy: np.ndarray) -> np.ndarray:
        """`attend` backwards."""
        weight = self._parameters[f"{name}.c_proj.weight"]
        dz = self._keep(f"{name}.c_proj", attention.combine_vjp(found.z, weight, dy))
        q, k, v = np.split(found.qkv, 3, axis=-3)
        *dq_dk_dv, _ = backward.attend_vjp(q, k, v, found.visible, found.weights, dz)
        dqkv = np.concatenate(dq_dk_dv, axis=-3)
        weight = self._parameters[f"{name}.c_attn.weight"]
        return self._keep(f"{name}.c_attn", attention.project_vjp(found.x, weight, dqkv))

    def feed_forward(
        self,
        name: str,
        found: FeedForward,
        activation_vjp: Callable[[np.ndarray, np.ndarray], np.ndarray],
        dy: np.ndarray,
        maps: tuple[str, str] = FEED_MAPS,
    ) -> np.ndarray:
        """`feed_forward` backwards."""
        dactivated = self.linear(f"{name}.{maps[1]}", found.activated, dy)
        return self.linear(f"{name}.{maps[0]}", found.x, activation_vjp(found.hidden, dactivated))

    def rows(self, name: str, ids: np.ndarray, drows: np.ndarray) -> None:
        """Of the rows `ids` that were read of a table; a row that was read twice gets both.

        Sorted and added up by runs, which takes half the time of `np.add.at`.
        """
        total_VM = self._gradients.get(name)
        if total_VM is None:
            total_VM = self._gradients[name] = np.zeros_like(self._parameters[name])
        flat = ids.reshape(-1)
        order = np.argsort(flat, kind="stable")
        found, starts = np.unique(flat[order], return_index=True)
        rows = drows.reshape(-1, drows.shape[-1])[order]
        total_VM[found] += np.add.reduceat(rows, starts, axis=0)

    def unembed(
        self, name: str, x: np.ndarray, targets: np.ndarray, share: np.ndarray, bias: str = ""
    ) -> tuple[np.ndarray, np.ndarray]:
        """The losses of logits = x · tableᵀ (+ a bias), forwards and backwards at once.

        Returns the losses, and the gradient by x of their sum weighted by `share`.
        """
        flat, table_VM = x.reshape(-1, x.shape[-1]), self._parameters[name]
        logits = layers.linear(flat, table_VM.T, self._parameters.get(bias, _NO_BIAS))
        losses, dlogits = layers.cross_entropy_with_gradient(
            logits, targets.reshape(-1), share.reshape(-1)
        )
        self.add(name, dlogits.T @ flat)
        if bias:
            self.add(bias, dlogits.sum(axis=0))
        return losses.reshape(targets.shape), (dlogits @ table_VM).reshape(x.shape)

    def _keep(self, name: str, found: tuple[np.ndarray, ...]) -> np.ndarray:
        """A linear map's or a norm's dx; the gradients of its weight and of a bias are kept."""
        dx, *own = found
        for part, gradient in zip(("weight", "bias"), own, strict=False):
            self._gradients[f"{name}.{part}"] = gradient
        return dx


def order_heads(parameters: Parameters, attention: np.ndarray, heads: int) -> Parameters:
    """The same model with each layer's heads sorted by `attention` (layer, head), most first.

    A layer's output is a sum over its heads, and a sum has no order: a head is a column range of
    W_Q, W_K and W_V and the row range of W_O that it feeds, and moving these together changes no
    output but by rounding. Which head learns what depends on the random start; so that a picture
    can say "head 0", head 0 is made the one by which the watched query attends most to the watched
    key. Without a watched prompt `attention` is (0, 0) and nothing moves.
    """
    ordered = dict(parameters)
    for layer, shares in enumerate(attention):
        order = np.argsort(-shares, kind="stable")
        for part in ("weight", "bias"):
            columns = f"h.{layer}.attn.c_attn.{part}"
            ordered[columns] = order_columns(parameters[columns], order, 3)  # q k v
        rows = f"h.{layer}.attn.c_proj.weight"
        ordered[rows] = order_columns(parameters[rows].T, order).T
    return ordered


def order_columns(array: np.ndarray, order: np.ndarray, count: int = 1) -> np.ndarray:
    """Columns that are `count` times a range for each head, each time with the heads in order."""
    split = array.reshape(*array.shape[:-1], count, len(order), -1)
    return split[..., order, :].reshape(array.shape)
