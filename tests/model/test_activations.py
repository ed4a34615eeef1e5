"""The names of activations, each the formula that the reference library has for it."""

import math

import numpy as np
import pytest

from attn_cli.model.activations import ACTIVATIONS

X = np.linspace(-12, 12, 241)
ROOT = math.sqrt(2 / math.pi)


def normal(x):
    return (1 + math.erf(x / math.sqrt(2))) / 2


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


# As the reference's `activations.py` writes each.
FORMULAS = {
    "relu": lambda x: max(x, 0.0),
    "relu2": lambda x: max(x, 0.0) ** 2,
    "gelu": lambda x: x * normal(x),
    "gelu_python": lambda x: x * normal(x),
    "gelu_10": lambda x: min(max(x * normal(x), -10), 10),
    "gelu_new": lambda x: 0.5 * x * (1 + math.tanh(ROOT * (x + 0.044715 * x**3))),
    "gelu_fast": lambda x: 0.5 * x * (1 + math.tanh(x * 0.7978845608 * (1 + 0.044715 * x * x))),
    "gelu_accurate": lambda x: 0.5 * x * (1 + math.tanh(ROOT * (x + 0.044715 * x**3))),
    "gelu_pytorch_tanh": lambda x: 0.5 * x * (1 + math.tanh(ROOT * (x + 0.044715 * x**3))),
    "gelu_python_tanh": lambda x: 0.5 * x * (1 + math.tanh(ROOT * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: x * sigmoid(1.702 * x),
    "silu": lambda x: x * sigmoid(x),
    "swish": lambda x: x * sigmoid(x),
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
    "tanh": math.tanh,
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_the_formula_of_its_name(name):
    wanted = [FORMULAS[name](float(x)) for x in X]
    exact = "gelu" not in name or "tanh" in name or name == "quick_gelu"
    np.testing.assert_allclose(
        ACTIVATIONS[name](X), wanted, rtol=1e-9, atol=1e-11 if exact else 1e-6
    )
