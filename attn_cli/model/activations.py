"""The activations of feed-forward networks, by the names that configs have for them."""

import numpy as np

from attn_cli.maths.layers import (
    clipped_gelu,
    gelu,
    gelu_tanh,
    mish,
    quick_gelu,
    relu,
    silu,
    squared_relu,
)

# Those of the reference library without learned numbers that published models have. What it writes
# in several ways is one formula: `gelu_fast` factors it and rounds √(2/π) at the tenth digit.
ACTIVATIONS = {
    "relu": relu,
    "relu2": squared_relu,
    "gelu": gelu,
    "gelu_python": gelu,
    "gelu_10": clipped_gelu,
    "gelu_new": gelu_tanh,
    "gelu_fast": gelu_tanh,
    "gelu_accurate": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "gelu_python_tanh": gelu_tanh,
    "quick_gelu": quick_gelu,
    "silu": silu,
    "swish": silu,
    "mish": mish,
    "tanh": np.tanh,
}
