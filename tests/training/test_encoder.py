"""The whole encoder's gradients, and what its passes return."""

import math

import numpy as np
import pytest

from attn_cli.maths import layers as maths
from attn_cli.training import encoder, layers
from measure import check_gradients

# Pairwise different sizes, four types; position 8 of the context is never reached.
SHAPE = layers.Shape(vocabulary=11, context=9, width=6, heads=3, layers=2)
IDS = np.array([[1, 4, 1, 10, 4, 0, 2, 3], [5, 5, 6, 7, 8, 9, 10, 10], [2, 4, 4, 4, 0, 9, 1, 7]])
TYPES = np.array([0, 0, 3, 3, 3, 1, 1, 1])
CHOSEN = np.zeros(IDS.shape, bool)
CHOSEN[[0, 0, 1, 2, 2], [1, 7, 3, 0, 5]] = True
TARGETS = np.array([4, 4, 8, 10, 0])
STEP = 1e-5


@pytest.fixture(autouse=True)
def exact_erf(monkeypatch):
    """The package's is exact to 1e-7 only, and so are differences of what is computed with it."""
    monkeypatch.setattr(maths, "erf", np.vectorize(math.erf, otypes=[float]))


@pytest.fixture(scope="module")
def parameters():
    """Float64 and of size about 0.3, so that no gradient is too small to be measured."""
    rng = np.random.default_rng(3)
    start = encoder.initial(SHAPE, rng) | {"wtt.weight": np.zeros((4, SHAPE.width))}
    return {
        name: (array + 0.3 * rng.standard_normal(array.shape)).astype(np.float64)
        for name, array in start.items()
    }


def loss(parameters):
    passed = encoder.forward(parameters, IDS, TYPES, CHOSEN, heads=SHAPE.heads)
    logits = passed.normed @ parameters["wte.weight"].T + parameters["output.bias"]
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return -log_p[np.arange(TARGETS.size), TARGETS].mean()


def learnt(parameters):
    return encoder.loss_and_gradients(parameters, IDS, TYPES, TARGETS, CHOSEN, heads=SHAPE.heads)


def test_gradients_against_central_differences(parameters):
    computed = learnt(parameters)
    check_gradients(loss, parameters, computed.gradients, step=STEP)


def test_loss_is_the_mean_of_the_chosen_losses(parameters):
    computed = learnt(parameters)
    assert computed.losses.shape == TARGETS.shape
    assert computed.loss == pytest.approx(computed.losses.mean(), rel=1e-12)
    assert computed.loss == pytest.approx(loss(parameters), rel=1e-12)


def test_parts_that_are_joined_count_every_loss(parameters):
    def of_rows(rows):
        chosen = CHOSEN[rows]
        targets = TARGETS[: chosen.sum()] if rows.start == 0 else TARGETS[-chosen.sum() :]
        return encoder.loss_and_gradients(
            parameters, IDS[rows], TYPES, targets, chosen, heads=SHAPE.heads
        )

    whole, parts = learnt(parameters), layers.joined(map(of_rows, (slice(0, 1), slice(1, 3))))
    assert parts.loss == pytest.approx(whole.loss, rel=1e-12)
    np.testing.assert_allclose(parts.losses, whole.losses, rtol=1e-12)
    assert parts.gradients.keys() == whole.gradients.keys()
    for name, gradient in whole.gradients.items():
        np.testing.assert_allclose(parts.gradients[name], gradient, rtol=1e-9, atol=1e-14)


def test_nothing_chosen_gives_no_gradient(parameters):
    nothing = np.zeros_like(CHOSEN)
    computed = encoder.loss_and_gradients(
        parameters, IDS, TYPES, TARGETS[:0], nothing, heads=SHAPE.heads
    )
    assert computed.loss == 0
    assert not any(gradient.any() for gradient in computed.gradients.values())


def test_attention_looks_both_ways_and_sums_to_one(parameters):
    for block in encoder.forward(parameters, IDS, TYPES, CHOSEN, heads=SHAPE.heads).blocks:
        weights = block.attended.weights
        assert weights.shape == (3, 3, 8, 8)
        np.testing.assert_allclose(weights.sum(axis=-1), 1)
        assert (weights > 0).all()


def test_float32_parameters_give_float32_gradients(monkeypatch):
    monkeypatch.undo()
    parameters = encoder.initial(SHAPE, np.random.default_rng(0))
    computed = encoder.loss_and_gradients(
        parameters, IDS, TYPES % 2, TARGETS, CHOSEN, heads=SHAPE.heads
    )
    assert computed.losses.dtype == np.float32
    for name, gradient in computed.gradients.items():
        assert gradient.dtype == np.float32, name
        assert gradient.shape == parameters[name].shape, name


def test_initial_parameters():
    shape = layers.Shape(vocabulary=300, context=50, width=64, heads=4, layers=8)
    parameters = encoder.initial(shape, np.random.default_rng(0))
    for name, array in parameters.items():
        assert array.dtype == np.float32
        if name.endswith(".bias"):
            assert not array.any(), name
        elif array.ndim == 1:
            assert (array == 1).all(), name
        else:
            inputs = 0.02**-2 if name.startswith("w") else len(array)
            residual = 4 if name.endswith("c_proj.weight") else 1
            expected = inputs**-0.5 / residual
            assert array.std() == pytest.approx(expected, rel=0.1), name
    assert parameters["wtt.weight"].shape == (2, 64)
    assert parameters["output.bias"].shape == (300,)
