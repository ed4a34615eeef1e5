"""The activations of feed-forward networks, by the names that configs have for them."""

import numpy as np

from attn_cli.maths.layers import (
    clipped_gelu,
    gelu,
    gelu_tanh,
    hardswish,
    laplace,
    leaky_relu,
    linear_activation,
    mish,
    quick_gelu,
    relu,
    relu6,
    sigmoid,
    silu,
    sqrt_softplus,
    squared_relu,
)

# All of the reference library without learned numbers. What it writes in several ways is one
# formula: `gelu_fast` factors it and rounds √(2/π) at the tenth digit.
ACTIVATIONS = {
    "relu": relu,
    "relu2": squared_relu,
    "relu6": relu6,
    "leaky_relu": leaky_relu,
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
    "hardswish": hardswish,
    "mish": mish,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "laplace": laplace,
    "sqrtsoftplus": sqrt_softplus,
    "linear": linear_activation,
}
