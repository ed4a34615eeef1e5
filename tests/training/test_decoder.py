"""The whole model's gradients, and what its passes return."""

import numpy as np
import pytest

from attn_cli.training import decoder, layers
from measure import check_gradients

# Pairwise different sizes; position 8 of the context is never reached.
SHAPE = layers.Shape(vocabulary=11, context=9, width=6, heads=3, layers=2)
IDS = np.array([[1, 4, 1, 10, 4, 0, 2, 3], [5, 5, 6, 7, 8, 9, 10, 10]])
TARGETS = np.roll(IDS, -1, axis=1)
COUNTED = np.array([[True] * 8, [False, False, True, True, True, True, True, False]])
STEP = 1e-5


@pytest.fixture(scope="module")
def parameters():
    """Float64 and of size about 0.3, so that no gradient is too small to be measured."""
    rng = np.random.default_rng(3)
    return {
        name: (array + 0.3 * rng.standard_normal(array.shape)).astype(np.float64)
        for name, array in decoder.initial(SHAPE, rng).items()
    }


def loss(parameters):
    logits = decoder.forward(parameters, IDS, heads=SHAPE.heads).normed @ parameters["wte.weight"].T
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return -np.take_along_axis(log_p, TARGETS[..., None], axis=-1)[..., 0][COUNTED].mean()


def test_gradients_against_central_differences(parameters):
    computed = decoder.loss_and_gradients(parameters, IDS, TARGETS, COUNTED, heads=SHAPE.heads)
    check_gradients(loss, parameters, computed.gradients, step=STEP)


def test_loss_is_the_mean_of_the_counted_losses(parameters):
    computed = decoder.loss_and_gradients(parameters, IDS, TARGETS, COUNTED, heads=SHAPE.heads)
    assert computed.losses.shape == IDS.shape
    assert computed.loss == pytest.approx(computed.losses[COUNTED].mean(), rel=1e-12)
    assert computed.loss == pytest.approx(loss(parameters), rel=1e-12)


def test_nothing_counted_gives_no_gradient(parameters):
    nothing = np.zeros_like(COUNTED)
    computed = decoder.loss_and_gradients(parameters, IDS, TARGETS, nothing, heads=SHAPE.heads)
    assert computed.loss == 0
    assert not any(gradient.any() for gradient in computed.gradients.values())


def test_attention_of_each_block_is_causal_and_sums_to_one(parameters):
    for block in decoder.forward(parameters, IDS, heads=SHAPE.heads).blocks:
        weights = block.attended.weights
        assert weights.shape == (2, 3, 8, 8)
        np.testing.assert_allclose(weights.sum(axis=-1), 1)
        assert not np.triu(weights, 1).any()


def test_float32_parameters_give_float32_gradients():
    parameters = decoder.initial(SHAPE, np.random.default_rng(0))
    computed = decoder.loss_and_gradients(parameters, IDS, TARGETS, COUNTED, heads=SHAPE.heads)
    assert computed.losses.dtype == np.float32
    for name, gradient in computed.gradients.items():
        assert gradient.dtype == np.float32, name
        assert gradient.shape == parameters[name].shape, name


def test_initial_parameters():
    shape = layers.Shape(vocabulary=300, context=50, width=64, heads=4, layers=8)
    parameters = decoder.initial(shape, np.random.default_rng(0))
    for name, array in parameters.items():
        assert array.dtype == np.float32
        if name.endswith(".bias"):
            assert not array.any(), name
        elif array.ndim == 1:
            assert (array == 1).all(), name
        else:
            inputs = 0.02**-2 if name in ("wte.weight", "wpe.weight") else len(array)
            residual = 4 if name.endswith("c_proj.weight") else 1
            expected = inputs**-0.5 / residual
            assert array.std() == pytest.approx(expected, rel=0.05), name
    assert layers.layer_count(parameters) == 8
    assert parameters["h.0.attn.c_attn.weight"].shape == (64, 192)
    assert parameters["h.7.mlp.c_proj.weight"].shape == (256, 64)
