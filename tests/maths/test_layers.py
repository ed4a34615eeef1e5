"""The layers around attention against their formulas in plain Python floats."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from attn_cli.maths import layers

F32 = np.float32
fast = settings(max_examples=60, deadline=None)
MATRICES = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=7), elements=st.floats(-50, 50)
)
# Dense where the functions bend, and far out on both sides.
POINTS = np.concatenate([np.linspace(-8, 8, 1601), [-1e4, -50, -20, -0.0, 1e-20, 20, 50, 1e4]])


def plain(function, values):
    return np.array([function(float(x)) for x in values.ravel()]).reshape(values.shape)


# --- activations ---------------------------------------------------------------------------------


def gelu(x):
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def gelu_tanh(x):
    return x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def silu(x):
    return x / (1 + math.exp(-x)) if x > -700 else 0.0


def relu(x):
    return max(x, 0.0)


def squared_relu(x):
    return max(x, 0.0) ** 2


def quick_gelu(x):
    return silu(1.702 * x) / 1.702


def mish(x):
    return x * math.tanh(max(x, 0.0) + math.log1p(math.exp(-abs(x))))


ALIKE = ["gelu_tanh", "silu", "relu", "squared_relu", "quick_gelu", "mish"]


def test_erf_is_within_its_stated_error():
    error = np.abs(layers.erf(POINTS) - plain(math.erf, POINTS))
    assert error.max() <= 1.5e-7
    assert layers.erf(np.array([0.0, np.inf, -np.inf])).tolist() == [0, 1, -1]


def test_erf_of_a_large_array_is_that_of_each_number():
    x = np.linspace(-3, 3, 3 * 40_000).reshape(3, -1).T
    expected = [[layers.erf(row[i : i + 1])[0] for i in range(3)] for row in x[::997]]
    np.testing.assert_array_equal(layers.erf(x)[::997], expected)
    assert layers.erf(x[:0]).shape == (0, 3)


def test_exact_gelu_is_within_the_error_of_erf():
    error = np.abs(layers.gelu(POINTS) - plain(gelu, POINTS))
    assert (error <= np.abs(POINTS) / 2 * 1.5e-7).all()


@pytest.mark.parametrize("name", ALIKE)
def test_an_activation_is_its_formula(name):
    found = getattr(layers, name)(POINTS)
    np.testing.assert_allclose(found, plain(globals()[name], POINTS), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["gelu", *ALIKE])
def test_an_activation_in_float32_stays_close_and_float32(name):
    x = POINTS.astype(F32)
    found = getattr(layers, name)(x)
    assert found.dtype == F32
    wanted = plain(globals()[name], x)
    error = np.abs(found - wanted) / np.maximum(1, np.maximum(np.abs(x), np.abs(wanted)))
    assert error.max() <= 5e-7


def test_no_two_activations_are_one():
    """Or a test could pass with one in the place of the other."""
    every = [getattr(layers, name)(POINTS) for name in ("gelu", "clipped_gelu", *ALIKE)]
    pairs = itertools.combinations(every, 2)
    assert min(np.abs(one - other).max() for one, other in pairs) > 4e-4


def test_a_clipped_gelu_is_a_gelu_between_its_bounds():
    wanted = [min(max(gelu(float(x)), -10), 10) for x in POINTS]
    np.testing.assert_allclose(layers.clipped_gelu(POINTS), wanted, atol=1e-6)


def test_nan_goes_through_every_activation():
    for name in ("gelu", "clipped_gelu", *ALIKE):
        assert np.isnan(getattr(layers, name)(np.array([np.nan], F32))).all()


def test_relu_of_the_infinite():
    for name in ("relu", "squared_relu"):
        found = getattr(layers, name)(np.array([-np.inf, np.inf, 1e30], F32))
        assert found[:2].tolist() == [0, np.inf] and found[2] >= 1e30


# --- linear, norms -------------------------------------------------------------------------------


def test_linear_with_a_pencil():
    x, w, b = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]), np.arange(3.0)
    assert layers.linear(x, w, b).tolist() == [[15, 19, 23]]


def plain_layer_norm(row, gain, bias, epsilon):
    mean = math.fsum(row) / len(row)
    variance = math.fsum((x - mean) ** 2 for x in row) / len(row)
    return [
        (x - mean) / math.sqrt(variance + epsilon) * g + b
        for x, g, b in zip(row, gain, bias, strict=True)
    ]


def plain_rms_norm(row, gain, epsilon):
    root = math.sqrt(math.fsum(x * x for x in row) / len(row) + epsilon)
    return [x / root * g for x, g in zip(row, gain, strict=True)]


@fast
@given(MATRICES, st.sampled_from([1e-6, 1e-5, 0.3]))
def test_layer_norm_is_its_formula(x, epsilon):
    gain, bias = np.linspace(0.5, 2, x.shape[1]), np.linspace(-1, 3, x.shape[1])
    found = layers.layer_norm(x, gain, bias, epsilon)
    wanted = [plain_layer_norm(row, gain, bias, epsilon) for row in x.tolist()]
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


@fast
@given(MATRICES, st.sampled_from([1e-6, 1e-5, 0.3]))
def test_rms_norm_is_its_formula(x, epsilon):
    gain = np.linspace(0.5, 2, x.shape[1])
    found = layers.rms_norm(x, gain, epsilon)
    wanted = [plain_rms_norm(row, gain, epsilon) for row in x.tolist()]
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


def test_norms_with_a_pencil():
    x, one, zero = np.array([[3.0, 5.0]]), np.ones(2), np.zeros(2)
    # mean 4, variance 1; with ε = 3 the deviation is 2
    assert layers.layer_norm(x, one, zero, 0.0).tolist() == [[-1, 1]]
    assert layers.layer_norm(x, one * 10, one, 3.0).tolist() == [[-4, 6]]
    # mean square 17; with ε = 8 the root is 5
    assert layers.rms_norm(x, np.array([5.0, 50.0]), 8.0).tolist() == [[3, 50]]


def test_norms_of_a_constant_row_are_finite():
    x = np.full((1, 4), 7, F32)
    assert layers.layer_norm(x, np.ones(4, F32), np.full(4, 2, F32), 1e-5).tolist() == [[2] * 4]
    assert layers.rms_norm(np.zeros((1, 4), F32), np.ones(4, F32), 1e-6).tolist() == [[0] * 4]


def test_norms_keep_float32_and_take_a_batch():
    x = np.random.default_rng(0).standard_normal((2, 3, 5), F32)
    one, zero = np.ones(5, F32), np.zeros(5, F32)
    for norm in (
        lambda a: layers.layer_norm(a, one, zero, 1e-5),
        lambda a: layers.rms_norm(a, one, 1e-5),
    ):
        assert norm(x).dtype == F32
        assert all(np.array_equal(norm(x)[i, j], norm(x[i, j])) for i in range(2) for j in range(3))


def test_a_bias_of_size_zero_is_none():
    x, gain = np.array([[1.0, 3.0, 8.0]], F32), np.array([2.0, 1.0, 3.0], F32)
    none, zero = np.zeros(0, F32), np.zeros(3, F32)
    found, wanted = (layers.layer_norm(x, gain, b, 1e-5) for b in (none, zero))
    assert np.array_equal(found, wanted)


# --- convolution ---------------------------------------------------------------------------------


def plain_convolution(x, w, b, groups):
    """y[p, n] = b[n] + Σ w[n, i, t] · x[p + t − T // 2, n's group's input i], zeros beyond."""
    positions, outputs, inputs, taps = len(x), *w.shape
    found = np.tile(b, (positions, 1))
    for p, n, i, t in np.ndindex(positions, outputs, inputs, taps):
        at, group = p + t - taps // 2, n // (outputs // groups)
        if 0 <= at < positions:
            found[p, n] += w[n, i, t] * x[at, group * inputs + i]
    return found


@pytest.mark.parametrize(("taps", "groups"), [(1, 1), (3, 1), (3, 2), (5, 3), (7, 6)])
@pytest.mark.parametrize("positions", [1, 2, 8])
def test_a_convolution_is_its_formula(taps, groups, positions):
    rng = np.random.default_rng(taps)
    x, w = rng.standard_normal((positions, 6)), rng.standard_normal((12, 6 // groups, taps))
    b = rng.standard_normal(12)
    found = layers.convolution(x, w, b)
    np.testing.assert_allclose(found, plain_convolution(x, w, b, groups), rtol=0, atol=1e-12)
    assert layers.convolution(*(a.astype(F32) for a in (x, w, b))).dtype == F32


def test_a_convolution_with_a_pencil():
    """Of three taps the first takes the token before, the last the one after."""
    x, w = np.array([[1.0], [2.0], [3.0]], F32), np.array([[[1, 10, 100]]], F32)
    assert layers.convolution(x, w, np.array([0.5], F32)).tolist() == [[210.5], [321.5], [32.5]]


# --- cross-entropy -------------------------------------------------------------------------------


@pytest.mark.parametrize(("taps", "positions", "cut"), [(1, 4, 2), (3, 7, 1), (4, 6, 5), (5, 2, 1)])
def test_a_causal_convolution_sums_over_what_came_before(taps, positions, cut):
    draw = np.random.default_rng(taps)
    x, w, b = (draw.normal(size=shape) for shape in ((positions, 3), (3, taps), (3,)))
    wanted = [[b[m] + sum(w[m, -1 - back] * x[p - back, m] for back in range(min(taps, p + 1)))
               for m in range(3)] for p in range(positions)]  # fmt: skip
    found, state = layers.causal_convolution(x, w, b)
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert state.shape == (taps - 1, 3)
    first, between = layers.causal_convolution(x[:cut], w, b)
    rest, last = layers.causal_convolution(x[cut:], w, b, between)
    np.testing.assert_array_equal(np.concatenate([first, rest]), found)
    np.testing.assert_array_equal(last, state)


def plain_cross_entropy(row, target):
    top = max(row)
    return top + math.log(math.fsum(math.exp(x - top) for x in row)) - row[target]


@fast
@given(MATRICES, st.integers(0, 2**32 - 1))
def test_cross_entropy_is_its_formula(logits, seed):
    targets = np.random.default_rng(seed).integers(0, logits.shape[1], logits.shape[0])
    found = layers.cross_entropy(logits, targets)
    wanted = [plain_cross_entropy(row, t) for row, t in zip(logits.tolist(), targets, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


def test_cross_entropy_with_a_pencil():
    logits = np.log(np.array([[1.0, 3.0], [8.0, 8.0]]))
    # shares 1/4 and 3/4, then 1/2 and 1/2
    found = layers.cross_entropy(logits, np.array([0, 1]))
    np.testing.assert_allclose(found, [math.log(4), math.log(2)], rtol=1e-12)


def test_cross_entropy_of_huge_logits():
    logits = np.array([[1e4, -1e4], [1e4, -1e4], [-1e4, -1e4]], F32)
    found = layers.cross_entropy(logits, np.array([0, 1, 0]))
    assert found.dtype == F32
    np.testing.assert_allclose(found, [0, 2e4, math.log(2)], rtol=0, atol=1e-3)
