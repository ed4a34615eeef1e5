"""Feed-forward networks of which each token passes a few: what families of mixtures share.

Its tensors stand under `mlp.experts.` and the expert's number, whatever a file calls them, so that
a map of one expert is asked for by its name and nothing of the others is read.
"""

from collections.abc import Iterable

import numpy as np

from attn_cli.maths.experts import Networks, Routing, mixed
from attn_cli.maths.products import Gate
from attn_cli.model.config import ConfigReader
from attn_cli.model.stack import Stack
from attn_cli.model.tensors import Fused, Shapes, maps, of_experts
from attn_cli.model.weights import LayerWeights
from attn_cli.routing import Experts

# Names are made for every expert before the file is asked for any.
_MOST = 1 << 16
_PLACE = "mlp.experts."
_GATED = ("gate_proj", "up_proj", "down_proj")
_GATED_IN_GGUF = ("ffn_gate", "ffn_up", "ffn_down")


def counts(
    reader: ConfigReader, experts: str, used: str, defaults: tuple[int, int], layers: int
) -> tuple[int, int]:
    """How many experts a layer has, and how many a token passes, by these keys.

    Raises ContentError where more are asked for than there are.
    """
    count = reader.integer(experts, defaults[0], high=_MOST)
    chosen = reader.integer(used, defaults[1])
    if chosen > count:
        first, second = reader.named(used), reader.named(experts)
        raise reader.error(f"{first} {chosen} is more than {second} {count}")
    if count * layers > _MOST:
        raise reader.error(
            f"{reader.named(experts)} {count} in each of {layers} layers are more than {_MOST:,}"
        )
    return count, chosen


def gated_shapes(place: str, width: int, inner: int, *, biased: bool = False) -> Shapes:
    """The maps of a gated network that stands at `place`."""
    shapes = ((inner, width), (inner, width), (width, inner))
    return maps(dict(zip((place + n for n in _GATED), shapes, strict=True)), biased=biased)


def shapes(
    width: int, inner: int, count: int, layers: Iterable[int], *, biased: bool = False
) -> Shapes:
    """The tensors of gated experts of an `inner` width in these layers."""
    found: Shapes = {}
    for layer in layers:
        found |= gated_shapes(f"layers.{layer}.{_PLACE}", width, inner, biased=biased)
    return of_experts(found, count)


def in_one(count: int, both: str, down: str) -> Fused:
    """Tensors that hold a matrix of every expert: gate and up in one, and down."""
    gate, up, narrow = (f"layers.*.{_PLACE}{name}.weight" for name in _GATED)
    return Fused(count, {both: (gate, up), down: (narrow,)})


def in_gguf(count: int) -> Fused:
    """How GGUF files have the matrices of all experts of a layer; gate and up may be in one."""
    ours = [f"layers.*.{_PLACE}{name}.weight" for name in _GATED]
    theirs = (f"blk.*.{name}_exps.weight" for name in _GATED_IN_GGUF)
    apart = {place: (own,) for place, own in zip(theirs, ours, strict=True)}
    return Fused(count, {"blk.*.ffn_gate_up_exps.weight": tuple(ours[:2]), **apart})


def apart_in_gguf(count: int) -> dict[str, str]:
    """The names of older GGUF files, which have every expert's matrices apart."""
    return {
        f"layers.*.{_PLACE}{expert}.{own}.weight": f"blk.*.{theirs}.{expert}.weight"
        for expert in range(count)
        for own, theirs in zip(_GATED, _GATED_IN_GGUF, strict=True)
    }


def networks(parts: LayerWeights) -> Networks:
    """The maps of a layer's experts, gate, up and down, made when they are asked for."""
    return lambda expert: tuple(parts.map(f"{_PLACE}{expert}.{name}") for name in _GATED)


def mixture(
    stack: Stack, x_PM: np.ndarray, routing: Routing, count: int, of: Networks, gating: Gate
) -> np.ndarray:
    """What the chosen ones of `count` experts give, (position, model), by their shares.

    The stack tells where each token went. `gating` makes one of what an expert's gate and up give.
    """
    if queries := stack.kept:
        rows = [query - stack.start for query in queries]
        stack.experts = Experts(
            stack=stack.name, layer=stack.layer, count=count, queries=queries,
            chosen=routing.chosen[rows], shares=routing.shares[rows], what_if=stack.touched,
        )  # fmt: skip
    return mixed(x_PM, routing, of, gating)
