"""The names of activations, each what the reference library computes by it."""

from pathlib import Path

import numpy as np
import pytest

from attn_cli.model.activations import ACTIVATIONS

VALUES = np.load(Path(__file__).parents[1] / "golden" / "activations.npz")


def test_every_activation_of_the_reference_without_learned_numbers_is_there():
    assert {*VALUES} == {"x", *ACTIVATIONS}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_the_references_of_its_name(name):
    exact = ("gelu" not in name or "tanh" in name or name == "quick_gelu") and name != "laplace"
    tolerance = 1e-11 if exact else 1e-6
    found = ACTIVATIONS[name](VALUES["x"])
    np.testing.assert_allclose(found, VALUES[name], rtol=1e-9, atol=tolerance)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_leaves_its_input_and_its_type(name):
    x = np.array([-80, -1, 0, 2, 80, np.nan], np.float32)
    given = x.copy()
    found = ACTIVATIONS[name](x)
    assert found.dtype == np.float32 and found is not x
    assert np.array_equal(x, given, equal_nan=True) and np.isnan(found[-1])
