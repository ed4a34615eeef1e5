"""Layers around attention. Axes: ... any, M input width, N output width, P position, V vocabulary.

`f_vjp` stands under `f` and takes what f took (or returned) and the gradient of a loss with respect
to f's result; it returns the gradients with respect to f's arguments.
"""

from collections.abc import Callable
from math import sqrt

import numpy as np

from attn_cli.maths import cores
from attn_cli.maths.scratch import in_columns, unbuffered

_TANH_SCALE = sqrt(2 / np.pi)
_BLOCK = 1 << 15
_PART = 1 << 17  # numbers whose norm is worth a thread, which waits for others at every step
_NORMING, _STEPS = 2e-9, 5  # seconds for a number, and how many steps


def by_rows(work: Callable[[np.ndarray, np.ndarray], None], x_PM: np.ndarray) -> np.ndarray:
    """What `work` makes of x, of the same shape, some positions (the last axis but one) at a time.

    `work` fills its second argument with what it makes of the first. Some positions of an array
    that is stored by columns are many short pieces: it is done as a whole.
    """
    out = np.empty_like(x_PM)
    positions = x_PM.shape[-2] if x_PM.ndim > 1 else 1
    rows = max(1, _PART * positions // max(1, x_PM.size))
    with unbuffered(x_PM):
        if rows >= positions or in_columns(x_PM):
            work(x_PM, out)
        else:
            most = cores.worth(x_PM.size * _NORMING, _STEPS)
            cores.spread(lambda at: work(x_PM[..., at, :], out[..., at, :]), positions, rows, most)
    return out


def linear(x_M: np.ndarray, w_MN: np.ndarray, b_N: np.ndarray) -> np.ndarray:
    """xW + b. A bias of size zero means that there is none."""
    product = x_M @ w_MN
    if b_N.size:
        product += b_N
    return product


def linear_vjp(
    x_M: np.ndarray, w_MN: np.ndarray, grad_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx = dy·Wᵀ, dW = xᵀ·dy, db = Σ dy, the sums over every leading axis."""
    flat = grad_N.reshape(-1, grad_N.shape[-1])
    return grad_N @ w_MN.T, x_M.reshape(-1, x_M.shape[-1]).T @ flat, flat.sum(axis=0)


def convolution(x_PM: np.ndarray, w_NMT: np.ndarray, b_N: np.ndarray) -> np.ndarray:
    """Each position's sum over itself and its neighbours, T in all and as many on either side.

    Zeros stand beyond both ends. Where w has fewer inputs than x, both are cut into as many groups
    as it takes, each of which sees its own inputs only.
    """
    outputs, inputs, taps = w_NMT.shape
    groups = x_PM.shape[-1] // inputs
    padded = np.pad(x_PM, ((taps // 2, taps // 2), (0, 0)))
    near_PMT = np.lib.stride_tricks.sliding_window_view(padded, taps, axis=0)
    near_GPI = near_PMT.reshape(len(x_PM), groups, -1).swapaxes(0, 1)
    w_GNI = w_NMT.reshape(groups, outputs // groups, -1)
    return (near_GPI @ w_GNI.swapaxes(1, 2)).swapaxes(0, 1).reshape(len(x_PM), outputs) + b_N


def causal_convolution(
    x_PM: np.ndarray, w_MT: np.ndarray, b_M: np.ndarray, before_TM: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Each position's sum over itself and those before it, T in all, each dimension by itself; and
    the last T − 1 positions, which are `before` the next ones. Zeros stand before the first.
    """
    taps = w_MT.shape[1]
    if before_TM is None:
        before_TM = np.zeros((taps - 1, x_PM.shape[1]), x_PM.dtype)
    near_PM = np.concatenate([before_TM, x_PM])
    found = sum(near_PM[tap : tap + len(x_PM)] * w_MT[:, tap] for tap in range(taps))
    return found + b_M if b_M.size else found, near_PM[len(x_PM) :]


def standardise(x_M: np.ndarray, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """(x − mean) / √(variance + ε) along the last axis, and 1 / √(variance + ε)."""
    centred = x_M - x_M.mean(axis=-1, keepdims=True)
    inverse = 1 / np.sqrt(_mean_square(centred) + x_M.dtype.type(epsilon))
    return centred * inverse, inverse


def _mean_square(x_M: np.ndarray) -> np.ndarray:
    """The mean of x² along the last axis, which stays as one of length 1.

    By columns no square is stored; by rows they are, and added in pairs, which is more exact.
    """
    if in_columns(x_M):
        return np.einsum("...m,...m->...", x_M, x_M)[..., None] / x_M.shape[-1]
    return np.add.reduce(x_M * x_M, axis=-1, keepdims=True) / x_M.shape[-1]


def layer_norm(x_M: np.ndarray, gain_M: np.ndarray, b_M: np.ndarray, epsilon: float) -> np.ndarray:
    """Mean 0 and variance 1 along the last axis, then gain and bias. Ba et al. 2016.

    A bias of size zero means that there is none.
    """

    def work(x_M: np.ndarray, out_M: np.ndarray) -> None:
        np.multiply(standardise(x_M, epsilon)[0], gain_M, out=out_M)
        if b_M.size:
            out_M += b_M

    return by_rows(work, x_M)


def layer_norm_vjp(
    x_M: np.ndarray, gain_M: np.ndarray, epsilon: float, grad_M: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """With n = standardised x and g = dy·gain: dx = (g − mean g − n·mean(g·n)) / σ."""
    normal, inverse = standardise(x_M, epsilon)
    g = grad_M * gain_M
    mean_gn = (g * normal).mean(axis=-1, keepdims=True)
    dx = (g - g.mean(axis=-1, keepdims=True) - normal * mean_gn) * inverse
    leading = tuple(range(x_M.ndim - 1))
    return dx, (grad_M * normal).sum(axis=leading), grad_M.sum(axis=leading)


def rms_norm(x_M: np.ndarray, gain_M: np.ndarray, epsilon: float) -> np.ndarray:
    """x / √(mean x² + ε) × gain. Zhang and Sennrich 2019."""

    def work(x_M: np.ndarray, out_M: np.ndarray) -> None:
        np.divide(x_M, np.sqrt(_mean_square(x_M) + x_M.dtype.type(epsilon)), out=out_M)
        out_M *= gain_M

    return by_rows(work, x_M)


def rms_norm_vjp(
    x_M: np.ndarray, gain_M: np.ndarray, epsilon: float, grad_M: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """With r = √(mean x² + ε), n = x / r and g = dy·gain: dx = (g − n·mean(g·n)) / r."""
    root = np.sqrt(_mean_square(x_M) + x_M.dtype.type(epsilon))
    normal, g = x_M / root, grad_M * gain_M
    dx = (g - normal * (g * normal).mean(axis=-1, keepdims=True)) / root
    return dx, (grad_M * normal).sum(axis=tuple(range(x_M.ndim - 1)))


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    """GELU by its tanh approximation, as GPT-2 uses it. Hendrycks and Gimpel 2016."""
    return x * (1 + np.tanh(_TANH_SCALE * (x + 0.044715 * x * x * x))) / 2


def gelu_tanh_vjp(x: np.ndarray, grad: np.ndarray) -> np.ndarray:
    """With t = tanh(u): dy/dx = (1 + t)/2 + x/2 · (1 − t²) · du/dx."""
    tanh = np.tanh(_TANH_SCALE * (x + 0.044715 * x * x * x))
    slope = _TANH_SCALE * (1 + 3 * 0.044715 * x * x)
    return grad * ((1 + tanh) / 2 + x / 2 * (1 - tanh * tanh) * slope)


def gelu(x: np.ndarray) -> np.ndarray:
    """x·Φ(x), exact."""
    return x * (1 + erf(x * x.dtype.type(sqrt(0.5)))) / 2


def gelu_vjp(x: np.ndarray, grad: np.ndarray) -> np.ndarray:
    """dy/dx = Φ(x) + x·φ(x), φ the normal density."""
    density = np.exp(x * x / -2) * x.dtype.type(1 / sqrt(2 * np.pi))
    return grad * ((1 + erf(x * x.dtype.type(sqrt(0.5)))) / 2 + x * density)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """σ(x) = 1 / (1 + e^−x)."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def silu(x: np.ndarray) -> np.ndarray:
    """x·σ(x). Elfwing et al. 2018."""
    with np.errstate(over="ignore"):
        below = np.negative(x)
        np.exp(below, out=below)
        below += 1
        return np.divide(x, below, out=below)


def relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0), NaN kept."""
    return np.maximum(x, x.dtype.type(0))


def relu_vjp(x: np.ndarray, grad: np.ndarray) -> np.ndarray:
    """dy/dx = 1 above 0, else 0."""
    return grad * (x > 0)


def relu6(x: np.ndarray) -> np.ndarray:
    """min(max(x, 0), 6). Krizhevsky 2010."""
    return np.clip(x, 0, 6)


def leaky_relu(x: np.ndarray) -> np.ndarray:
    """x above 0, x/100 below. Maas et al. 2013."""
    return np.where(x > 0, x, x.dtype.type(0.01) * x)


def hardswish(x: np.ndarray) -> np.ndarray:
    """x·relu6(x + 3)/6. Howard et al. 2019, "MobileNetV3"."""
    with np.errstate(invalid="ignore"):
        return x * relu6(x + 3) / 6


def linear_activation(x: np.ndarray) -> np.ndarray:
    """x as it is."""
    return x.copy()


def laplace(x: np.ndarray) -> np.ndarray:
    """(1 + erf((x − µ)/(σ√2)))/2, µ = √½ and σ = 1/√(4π), both to six digits. Ma et al. 2022,
    "Mega"."""
    return (1 + erf((x - x.dtype.type(0.707107)) / x.dtype.type(0.282095 * sqrt(2)))) / 2


def sqrt_softplus(x: np.ndarray) -> np.ndarray:
    """√ln(1 + eˣ)."""
    with np.errstate(invalid="ignore"):
        return np.sqrt(np.logaddexp(x.dtype.type(0), x))


def squared_relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0)². So et al. 2021, "Primer"."""
    with np.errstate(over="ignore"):
        return np.square(relu(x))


def quick_gelu(x: np.ndarray) -> np.ndarray:
    """x·σ(1.702·x), GELU by a sigmoid. Hendrycks and Gimpel 2016."""
    factor = x.dtype.type(1.702)
    return silu(factor * x) / factor


def clipped_gelu(x: np.ndarray) -> np.ndarray:
    """GELU, kept between −10 and 10. Wu et al. 2020, "Integer Quantization"."""
    return np.clip(gelu(x), -10, 10)


def mish(x: np.ndarray) -> np.ndarray:
    """x·tanh(ln(1 + eˣ)). Misra 2019."""
    with np.errstate(invalid="ignore"):
        return x * np.tanh(np.logaddexp(x.dtype.type(0), x))


def erf(x: np.ndarray) -> np.ndarray:
    """The error function to 1.5e-7, about float32's precision. Abramowitz and Stegun 7.1.26.

    In blocks: of a large array each of the many steps would wait for fresh memory.
    """
    found = np.empty_like(x)
    flat, result = x.ravel(order="K"), found.ravel(order="K")
    for at in range(0, x.size, _BLOCK):
        part = flat[at : at + _BLOCK]
        t = 1 / (1 + 0.3275911 * np.abs(part, dtype=np.float64))
        series = 0.254829592 + t * (
            -0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))
        )
        exponential = np.exp(-np.square(part, dtype=np.float64))
        result[at : at + _BLOCK] = np.sign(part) * (1 - t * series * exponential)
    return found


def soft_cap(x: np.ndarray, cap: float) -> np.ndarray:
    """cap · tanh(x / cap), which stays between −cap and cap. Gemma Team 2024, "Gemma 2"."""
    limit = x.dtype.type(cap)
    return np.tanh(x / limit) * limit


def cross_entropy(logits_PV: np.ndarray, targets_P: np.ndarray) -> np.ndarray:
    """−log softmax(logits)[target] in nats, one number per position."""
    top = logits_PV.max(axis=-1, keepdims=True)
    log_total = np.log(np.exp(logits_PV - top).sum(axis=-1)) + top[..., 0]
    return log_total - np.take_along_axis(logits_PV, targets_P[..., None], axis=-1)[..., 0]


def cross_entropy_with_gradient(
    logits_PV: np.ndarray, targets_P: np.ndarray, grad_P: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`cross_entropy`, and its gradient, softmax(logits) − one-hot(target), times the position's.

    They share one exponential, which overwrites the logits: the vocabulary is the longest axis of
    training, so its array is the one not worth copying.
    """
    at_target_P = np.take_along_axis(logits_PV, targets_P[..., None], axis=-1)[..., 0]
    top_P = logits_PV.max(axis=-1)
    logits_PV -= top_P[..., None]
    exponential = np.exp(logits_PV, out=logits_PV)
    total_P = exponential.sum(axis=-1)
    loss_P = np.log(total_P) + top_P - at_target_P
    gradient = np.multiply(exponential, (grad_P / total_P)[..., None], out=exponential)
    at_target = np.take_along_axis(gradient, targets_P[..., None], axis=-1) - grad_P[..., None]
    np.put_along_axis(gradient, targets_P[..., None], at_target, axis=-1)
    return loss_P, gradient


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The cosine of the angle between two vectors, 0 if one of them is 0."""
    lengths = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else 0.0
