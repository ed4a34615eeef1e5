"""Feed-forward networks of which each token passes a few: what families of mixtures share.

Its tensors stand under `mlp.experts.` and the expert's number, whatever a file calls them, so that
a map of one expert is asked for by its name and nothing of the others is read.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from attn_cli.maths.experts import Networks, Routing, mixed
from attn_cli.maths.products import Gate
from attn_cli.model.stack import Stack
from attn_cli.model.tensors import Shapes, maps, of_experts
from attn_cli.model.weights import LayerWeights

PREFIX = "mlp.experts."
GATED = ("gate_proj", "up_proj", "down_proj")


def networks(parts: LayerWeights, names: Sequence[str] = GATED) -> Networks:
    """The maps of a layer's experts, gate, up and down, each made when it is asked for."""

    def of(expert: int) -> tuple:
        return tuple(parts.map(f"{PREFIX}{expert}.{name}") for name in names)

    return of


def mixture(
    stack: Stack, x_PM: np.ndarray, routing: Routing, count: int, of: Networks, gating: Gate
) -> np.ndarray:
    """What the chosen ones of `count` experts give, (position, model), by their shares.

    The stack tells where each token went. `gating` makes one of what an expert's gate and up give.
    """
    stack.routed(routing, count)
    return mixed(x_PM, routing, of, gating)


def expert_shapes(
    width: int, inner: int, count: int, layers: Sequence[int], *, biased: bool = False
) -> Shapes:
    """The tensors of gated experts of an `inner` width in these layers."""
    shapes: Mapping[str, tuple[int, int]] = {
        "gate_proj": (inner, width),
        "up_proj": (inner, width),
        "down_proj": (width, inner),
    }
    each = {f"layers.{layer}.{PREFIX}{name}": shape for layer in layers
            for name, shape in shapes.items()}  # fmt: skip
    return of_experts(maps(each, biased=biased), count)
