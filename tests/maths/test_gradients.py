"""Every `f_vjp` of maths/ against central differences of f, in float64."""

import importlib
import inspect
import math
import pkgutil
from unittest.mock import patch

import numpy as np
import pytest

import attn_cli.maths
from attn_cli.maths import attention, backward, layers, masks, positions

EPSILON = 1e-5
STEP = 1e-5


def vjp_names() -> set[str]:
    """`module.f` for every f_vjp defined in a module of maths/."""
    names = set()
    for info in pkgutil.iter_modules(attn_cli.maths.__path__):
        module = importlib.import_module(f"attn_cli.maths.{info.name}")
        for name, value in inspect.getmembers(module, inspect.isfunction):
            if name.endswith("_vjp") and value.__module__ == module.__name__:
                names.add(f"{info.name}.{name.removesuffix('_vjp')}")
    return names


def check_gradients(function, gradients, arguments, seed=0):
    """d(Σ r·function(*arguments)) by each argument, r random, is what `gradients(r)` returns."""
    r = np.random.default_rng(seed).standard_normal(np.shape(function(*arguments)))
    given = gradients(r)
    given = given if isinstance(given, tuple) else (given,)
    assert len(given) == len(arguments)
    for place, (argument, gradient) in enumerate(zip(arguments, given, strict=True)):
        assert gradient.shape == argument.shape, place
        expected = np.zeros_like(argument)
        for index in np.ndindex(argument.shape):
            ends = []
            for sign in (1, -1):
                moved = [a.copy() for a in arguments]
                moved[place][index] += sign * STEP
                ends.append((r * function(*moved)).sum())
            expected[index] = (ends[0] - ends[1]) / (2 * STEP)
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8, err_msg=str(place))


def arrays(*shapes):
    rng = np.random.default_rng(len(shapes))
    return [rng.standard_normal(shape) for shape in shapes]


# Pairwise different sizes, so that no transposed axis can pass: batch 2, heads 3, positions 5.
B, H, Q, K, W, M = 2, 3, 5, 4, 6, 7
VISIBLE = masks.square(masks.causal, Q)
TARGETS = np.random.default_rng(0).integers(0, M, (B, Q))


def linear():
    x, w, b = arrays((B, Q, M), (M, W), (W,))
    return layers.linear, lambda r: layers.linear_vjp(x, w, r), (x, w, b)


def layer_norm():
    x, gain, b = arrays((B, Q, M), (M,), (M,))
    return (
        lambda x, gain, b: layers.layer_norm(x, gain, b, EPSILON),
        lambda r: layers.layer_norm_vjp(x, gain, EPSILON, r),
        (x, gain, b),
    )


def rms_norm():
    x, gain = arrays((B, Q, M), (M,))
    return (
        lambda x, gain: layers.rms_norm(x, gain, 0.1),
        lambda r: layers.rms_norm_vjp(x, gain, 0.1, r),
        (x, gain),
    )


def relu():
    (x,) = arrays((B, Q, M))
    assert np.abs(x).min() > 10 * STEP  # ReLU has no slope at 0
    return layers.relu, lambda r: layers.relu_vjp(x, r), (x,)


def gelu_tanh():
    (x,) = arrays((B, Q, M))
    return layers.gelu_tanh, lambda r: layers.gelu_tanh_vjp(x, r), (x,)


def gelu():
    """With an exact error function: differences of one that is right to 1e-7 are not exact."""
    (x,) = arrays((B, Q, M))
    of_numbers = np.vectorize(math.erf, otypes=[float])

    def exact(array):
        return of_numbers(array).astype(array.dtype)

    def exactly(function):
        def run(array):
            with patch.object(layers, "erf", exact):
                return function(array)

        return run

    return exactly(layers.gelu), exactly(lambda r: layers.gelu_vjp(x, r)), (x,)


def cross_entropy_vjp(
    logits_PV: np.ndarray, targets_P: np.ndarray, grad_P: np.ndarray
) -> np.ndarray:
    """d loss/d logits = softmax(logits) − one-hot(target), times the position's own gradient."""
    grad = np.exp(logits_PV - logits_PV.max(axis=-1, keepdims=True))
    grad *= (grad_P / grad.sum(axis=-1))[..., None]
    at_target = np.take_along_axis(grad, targets_P[..., None], axis=-1) - grad_P[..., None]
    np.put_along_axis(grad, targets_P[..., None], at_target, axis=-1)
    return grad


def cross_entropy():
    (logits,) = arrays((B, Q, M))
    return (
        lambda logits: layers.cross_entropy(logits, TARGETS),
        lambda r: cross_entropy_vjp(logits, TARGETS, r),
        (logits,),
    )


def embed():
    tokens, positions = arrays((B, Q, M), (Q, M))
    return attention.embed, attention.embed_vjp, (tokens, positions)


def project():
    x, w, b = arrays((B, Q, M), (M, H * W), (H * W,))
    return (
        lambda x, w, b: attention.project(x, w, b, H),
        lambda r: attention.project_vjp(x, w, r),
        (x, w, b),
    )


def dot_products():
    q, k = arrays((B, H, Q, W), (B, H, K, W))
    return attention.dot_products, lambda r: attention.dot_products_vjp(q, k, r), (q, k)


def scale_scores():
    (scores,) = arrays((B, H, Q, K))
    return (
        lambda s: attention.scale_scores(s, 0.3, np.zeros(0)),
        lambda r: attention.scale_scores_vjp(0.3, r),
        (scores,),
    )


def mask_scores():
    (scaled,) = arrays((B, H, Q, Q))
    return (
        # Minus infinity has no slope, so a constant stands in its place.
        lambda s: np.nan_to_num(attention.mask_scores(s, VISIBLE), neginf=-1.0),
        lambda r: attention.mask_scores_vjp(VISIBLE, r),
        (scaled,),
    )


def softmax():
    (masked,) = arrays((B, H, Q, K))
    weights = attention.softmax(masked)
    return attention.softmax, lambda r: attention.softmax_vjp(weights, r), (masked,)


def weighted_sum():
    weights, v = arrays((B, H, Q, Q), (B, H, Q, W))
    return (
        lambda weights, v: attention.weighted_sum(weights, v, VISIBLE),
        lambda r: attention.weighted_sum_vjp(weights, v, r),
        (weights, v),
    )


def combine():
    z, w, b = arrays((B, H, Q, W), (H * W, M), (M,))
    return attention.combine, lambda r: attention.combine_vjp(z, w, r), (z, w, b)


def attend():
    """With a scale and a bias, and with other keys than queries, as in cross-attention."""
    q, k, v, bias = arrays((B, H, Q, W), (B, H, K, W), (B, H, K, M), (B, H, Q, K))
    at_Q, at_K = np.arange(Q), np.arange(K)

    def attended(q, k, v, bias):
        return attention.attend(
            q, k, v, masks.causal, scale=0.3, bias=lambda _, of_K: bias[..., of_K], start=0
        )

    weights, visible = attended(q, k, v, bias).weights, masks.causal(at_Q, at_K)
    return (
        lambda *arguments: attended(*arguments).z,
        lambda r: backward.attend_vjp(q, k, v, visible, weights, r, scale=0.3),
        (q, k, v, bias),
    )


def relative_bias():
    """Positions far enough apart that several share a bucket, on both sides."""
    (table,) = arrays((6, H))
    at = {"queries_Q": np.array([0, 3, 4, 9, 20]), "keys_K": np.array([1, 2, 3, 12])}
    assert len(np.unique(positions.relative_buckets(*at.values(), 6, 8, both_sides=True))) == 5
    return (
        lambda table: positions.relative_bias(**at, table_BH=table, farthest=8, both_sides=True),
        lambda r: positions.relative_bias_vjp(
            **at, table_BH=table, farthest=8, grad_HQK=r, both_sides=True
        ),
        (table,),
    )


CASES = {
    "layers.linear": linear,
    "layers.layer_norm": layer_norm,
    "layers.rms_norm": rms_norm,
    "layers.relu": relu,
    "layers.gelu_tanh": gelu_tanh,
    "layers.gelu": gelu,
    "layers.cross_entropy": cross_entropy,
    "attention.embed": embed,
    "attention.project": project,
    "attention.dot_products": dot_products,
    "attention.scale_scores": scale_scores,
    "attention.mask_scores": mask_scores,
    "attention.softmax": softmax,
    "attention.weighted_sum": weighted_sum,
    "attention.combine": combine,
    "backward.attend": attend,
    "positions.relative_bias": relative_bias,
}


def test_every_vjp_has_a_case_and_every_case_a_vjp():
    """Cross entropy's own is here, the reference for the one that shares its exponential."""
    assert vjp_names() == set(CASES) - {"layers.cross_entropy"}


@pytest.mark.parametrize("name", CASES)
def test_against_central_differences(name):
    check_gradients(*CASES[name]())


def test_a_scale_of_0_is_one_over_the_root_of_the_width_backwards_too():
    q, k, v, grad = arrays((H, Q, W), (H, K, W), (H, K, M), (H, Q, M))
    given = q, k, v, np.ones((Q, K), bool), attention.softmax(q @ k.swapaxes(-1, -2)), grad
    for own, other in zip(
        backward.attend_vjp(*given), backward.attend_vjp(*given, scale=W**-0.5), strict=True
    ):
        np.testing.assert_array_equal(own, other)


def test_a_value_used_twice_gets_both_gradients():
    (x,) = arrays((H, Q, W))

    def both(r):
        dq, dk = attention.dot_products_vjp(x, x, r)
        return dq + dk

    check_gradients(lambda x: attention.dot_products(x, x), both, (x,))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "spoil", [lambda g: -g, lambda g: g * (1 + 1e-4), lambda g: g + 1e-6, lambda g: g[..., ::-1]]
)
def test_the_checker_rejects_a_wrong_gradient(name, spoil):
    function, gradients, arguments = CASES[name]()
    given = gradients(np.random.default_rng(0).standard_normal(np.shape(function(*arguments))))
    last = len(given) - 1 if isinstance(given, tuple) else 0

    def wrong(r):
        right = gradients(r)
        right = right if isinstance(right, tuple) else (right,)
        return *right[:last], spoil(right[last])

    with pytest.raises(AssertionError):
        check_gradients(function, wrong, arguments)


def test_the_checker_rejects_a_gradient_used_once_of_a_value_used_twice():
    (x,) = arrays((H, Q, W))
    with pytest.raises(AssertionError):
        check_gradients(
            lambda x: attention.dot_products(x, x),
            lambda r: attention.dot_products_vjp(x, x, r)[0],
            (x,),
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropy_with_gradient_is_the_pair(dtype):
    logits, grad = (a.astype(dtype) for a in arrays((B, Q, M), (B, Q)))
    logits[0, 0] *= 1000
    expected = layers.cross_entropy(logits, TARGETS)
    expected_gradient = cross_entropy_vjp(logits, TARGETS, grad)
    losses, gradient = layers.cross_entropy_with_gradient(logits, TARGETS, grad)
    assert losses.dtype == gradient.dtype == dtype
    tight = 1e-5 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(losses, expected, rtol=tight, atol=tight)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=tight, atol=tight)


@pytest.mark.parametrize("name", CASES)
def test_float32_stays_float32(name):
    function, _, arguments = CASES[name]()
    assert function(*(a.astype(np.float32) for a in arguments)).dtype == np.float32
