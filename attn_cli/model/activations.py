"""The activations of feed-forward networks, by the names that configs have for them."""

import numpy as np

from attn_cli.maths.layers import gelu, gelu_tanh, relu, silu

ACTIVATIONS = {
    "relu": relu,
    "gelu": gelu,
    "gelu_new": gelu_tanh,
    "gelu_fast": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "silu": silu,
    "swish": silu,
    "tanh": np.tanh,
}
