"""What stands in a layer in place of attention, and looks at earlier positions without heads."""

import numpy as np

from attn_cli.maths.layers import causal_convolution
from attn_cli.model.tensors import Shapes, maps
from attn_cli.model.weights import NOTHING, LayerWeights, linear

_IN, _CONVOLUTION, _OUT = "conv.in_proj", "conv.conv", "conv.out_proj"


def shapes(width: int, taps: int, *, biased: bool, flat: bool) -> Shapes:
    """The tensors of a `short_convolution` over `taps` positions; `flat`: its weights have no axis
    of size 1 in the middle, as in GGUF files."""
    found = maps(
        {f"layers.*.{_IN}": (3 * width, width), f"layers.*.{_OUT}": (width, width)}, biased=biased
    )
    found[f"layers.*.{_CONVOLUTION}.weight"] = (width, taps) if flat else (width, 1, taps)
    return found | ({f"layers.*.{_CONVOLUTION}.bias": (width,)} if biased else {})


def short_convolution(
    parts: LayerWeights, x_PM: np.ndarray, before_TM: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """out(C · convolution(B · x̃)), where B, C and x̃ are one map of x, in this order of its rows;
    and the last of B · x̃, which later positions are summed with. Liquid AI 2025, "LFM2"."""
    gate_PM, last_gate_PM, inner_PM = np.split(linear(parts, _IN, x_PM), 3, axis=-1)
    weights = parts[f"{_CONVOLUTION}.weight"]
    weights_MT = weights.reshape(len(weights), -1)
    bias_M = parts.get(f"{_CONVOLUTION}.bias", NOTHING)
    summed_PM, last_TM = causal_convolution(gate_PM * inner_PM, weights_MT, bias_M, before_TM)
    return linear(parts, _OUT, last_gate_PM * summed_PM), last_TM
