"""Self-attention in six steps, one function each. Read this file first.

Axes, as suffixes of array names: Q query position, K key position, M model width, H head,
G kv_head (H is a multiple of G), W width of a query or key, V width of a value, N heads × width.
`scores_HQK[h, i, j]` is how well key j answers query i in head h. Every function also takes
further axes in front (a batch), as training does. Vaswani et al. 2017, "Attention Is All You Need".
"""

from typing import NamedTuple

import numpy as np

from attn_cli.maths.layers import linear, linear_vjp, soft_cap

# A family that adds no bias to its scores.
NO_BIAS = np.zeros((0, 0, 0), np.float32)


class Attended(NamedTuple):
    """Steps 3 to 6 of one block, in computing order."""

    scores: np.ndarray  # HQK
    scaled: np.ndarray  # HQK
    masked: np.ndarray  # HQK
    weights: np.ndarray  # HQK
    z: np.ndarray  # HQV


# --- step 1: embed -------------------------------------------------------------------------------


def embed(token_QM: np.ndarray, position_QM: np.ndarray) -> np.ndarray:
    """A token's vector: what it is plus where it stands."""
    return token_QM + position_QM


def embed_vjp(grad_QM: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x = t + p, so both take dx; a batch shares its positions, so theirs is summed."""
    return grad_QM, grad_QM.reshape(-1, *grad_QM.shape[-2:]).sum(axis=0)


# --- step 2: project -----------------------------------------------------------------------------


def project(x_QM: np.ndarray, w_MN: np.ndarray, b_N: np.ndarray, heads: int) -> np.ndarray:
    """Queries, keys or values (head, query, width): one linear map, N = heads × width, split."""
    return split_heads(linear(x_QM, w_MN, b_N), heads)


def project_vjp(
    x_QM: np.ndarray, w_MN: np.ndarray, grad_HQW: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Splitting only moves numbers, so it is the linear map's: dx, dW, db."""
    return linear_vjp(x_QM, w_MN, merge_heads(grad_HQW))


def split_heads(x_QN: np.ndarray, heads: int) -> np.ndarray:
    """(query, heads × width) to (head, query, width)."""
    *batch, queries, total = x_QN.shape
    return x_QN.reshape(*batch, queries, heads, total // heads).swapaxes(-3, -2)


def merge_heads(x_HQW: np.ndarray) -> np.ndarray:
    """(head, query, width) to (query, heads × width): the inverse of `split_heads`."""
    *batch, heads, queries, width = x_HQW.shape
    return x_HQW.swapaxes(-3, -2).reshape(*batch, queries, heads * width)


# --- step 3: dot products ------------------------------------------------------------------------


def dot_products(q_HQW: np.ndarray, k_HKW: np.ndarray) -> np.ndarray:
    """How well each key answers each query: q·kᵀ, nothing else."""
    return q_HQW @ k_HKW.swapaxes(-1, -2)


def dot_products_vjp(
    q_HQW: np.ndarray, k_HKW: np.ndarray, grad_HQK: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """s = q·kᵀ, so dq = ds·k and dk = dsᵀ·q."""
    return grad_HQK @ k_HKW, grad_HQK.swapaxes(-1, -2) @ q_HQW


# --- step 4: scale and mask ----------------------------------------------------------------------


def scale_scores(
    scores_HQK: np.ndarray, scale: float, bias_HQK: np.ndarray, cap: float = 0.0
) -> np.ndarray:
    """scores × scale, soft-capped, + bias. A cap of 0 or a bias of size 0: the family has none."""
    scaled = scores_HQK * scores_HQK.dtype.type(scale)
    if cap:
        scaled = soft_cap(scaled, cap)
    return scaled + bias_HQK if bias_HQK.size else scaled


def scale_scores_vjp(scale: float, grad_HQK: np.ndarray) -> np.ndarray:
    """scaled = s·c, without a cap, so ds = c·dscaled."""
    return grad_HQK * grad_HQK.dtype.type(scale)


def mask_scores(scaled_HQK: np.ndarray, visible_QK: np.ndarray) -> np.ndarray:
    """−∞ wherever the query may not look at the key."""
    return np.where(visible_QK, scaled_HQK, scaled_HQK.dtype.type(-np.inf))


def mask_scores_vjp(visible_QK: np.ndarray, grad_HQK: np.ndarray) -> np.ndarray:
    """A masked cell does not depend on its score."""
    return np.where(visible_QK, grad_HQK, grad_HQK.dtype.type(0))


# --- step 5: softmax -----------------------------------------------------------------------------


def softmax(masked: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Shares of 1 along the last axis: exp(m / T) over its sum, the row maximum subtracted first.

    Temperature 0 puts all weight on the maximum, ties shared equally; a row of −∞ gives zeros.
    """
    top = masked.max(axis=-1, keepdims=True)
    top = np.where(np.isneginf(top), masked.dtype.type(0), top)
    with np.errstate(over="ignore", invalid="ignore"):
        if temperature == 1:
            weights = masked - top
            np.exp(weights, out=weights)
        elif temperature == 0:
            shifted = masked - top
            weights = np.where(np.isnan(shifted), shifted, shifted == 0).astype(masked.dtype)
        else:
            # In float64, or a temperature below 1e-38 would become 0 and 0 / 0, and a difference
            # of logits near 3e38 would become infinite before a large temperature tames it.
            heated = (masked.astype(np.float64) - top) / temperature
            weights = np.exp(heated).astype(masked.dtype)
        total = weights.sum(axis=-1, keepdims=True)
        weights /= np.where(total == 0, masked.dtype.type(1), total)
    return weights


def softmax_vjp(weights: np.ndarray, grad: np.ndarray) -> np.ndarray:
    """w = softmax(m): dm = w · (dw − Σ w·dw), row by row (at temperature 1)."""
    weighted = weights * grad
    return weighted - weights * weighted.sum(axis=-1, keepdims=True)


# --- step 6: weighted sum ------------------------------------------------------------------------


def weighted_sum(weights_HQK: np.ndarray, v_HKV: np.ndarray, visible_QK: np.ndarray) -> np.ndarray:
    """z = Σ weight × value over the visible keys.

    A hidden key has weight 0, yet 0 × NaN is NaN: where a value is not finite, every query sums
    over its own visible keys only, so that what it may not see cannot poison it.
    """
    if np.isfinite(v_HKV).all():
        return weights_HQK @ v_HKV
    rows = [
        weights_HQK[..., i, visible][..., None, :] @ v_HKV[..., visible, :]
        for i, visible in enumerate(visible_QK)
    ]
    return np.concatenate(rows, axis=-2)


def weighted_sum_vjp(
    weights_HQK: np.ndarray, v_HKV: np.ndarray, grad_HQV: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """z = w·v, so dw = dz·vᵀ and dv = wᵀ·dz."""
    return grad_HQV @ v_HKV.swapaxes(-1, -2), weights_HQK.swapaxes(-1, -2) @ grad_HQV


def pull(z_HQV: np.ndarray, w_NM: np.ndarray) -> np.ndarray:
    """`head_output` (head, query, model): z through this head's rows of the output projection."""
    heads, width = z_HQV.shape[-3], z_HQV.shape[-1]
    return z_HQV @ w_NM.reshape(heads, width, -1)


def combine(z_HQV: np.ndarray, w_NM: np.ndarray, b_M: np.ndarray) -> np.ndarray:
    """`output`: the heads' pulls added up, and the bias; one product, equal to Σ_h pull + b."""
    return linear(merge_heads(z_HQV), w_NM, b_M)


def combine_vjp(
    z_HQV: np.ndarray, w_NM: np.ndarray, grad_QM: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merging only moves numbers, so it is the linear map's, split again: dz, dW, db."""
    dz_QN, dw_NM, db_M = linear_vjp(merge_heads(z_HQV), w_NM, grad_QM)
    return split_heads(dz_QN, z_HQV.shape[-3]), dw_NM, db_M


# --- steps 3 to 6 at once ------------------------------------------------------------------------


def attend(
    q_HQW: np.ndarray,
    k_GKW: np.ndarray,
    v_GKV: np.ndarray,
    visible_QK: np.ndarray,
    *,
    scale: float = 0.0,
    cap: float = 0.0,
    bias_HQK: np.ndarray = NO_BIAS,
    attention_temperature: float = 1.0,
) -> Attended:
    """Steps 3 to 6 for one block of every family. A scale of 0 means 1 / √width."""
    k_HKW = repeat_heads(k_GKW, q_HQW.shape[-3])
    v_HKV = repeat_heads(v_GKV, q_HQW.shape[-3])
    scores = dot_products(q_HQW, k_HKW)
    scaled = scale_scores(scores, scale or default_scale(q_HQW.shape[-1]), bias_HQK, cap)
    masked = mask_scores(scaled, visible_QK)
    weights = softmax(masked, attention_temperature)
    z = weighted_sum(weights, v_HKV, visible_QK)
    return Attended(scores, scaled, masked, weights, z)


def attend_lean(
    q_HQW: np.ndarray,
    k_GKW: np.ndarray,
    v_GKV: np.ndarray,
    visible_QK: np.ndarray,
    *,
    scale: float = 0.0,
    cap: float = 0.0,
    bias_HQK: np.ndarray = NO_BIAS,
    attention_temperature: float = 1.0,
    weights_HQK: np.ndarray,
    block: int = 128,
) -> Attended:
    """`attend` for when nobody asks for steps 3 and 4: equal weights and z, less of everything.

    Queries go in blocks, and a block looks only at the keys between its first and last visible
    one. What it skips has weight 0 and is not written: half of a causal mask costs no time, and no
    memory either where `weights_HQK`, the zeros to fill, are pages that nobody has touched. Of size
    0, it says that the weights are not wanted. The other arrays not kept have size 0.
    """
    heads, queries, width = q_HQW.shape
    k_HKW, v_HKV = repeat_heads(k_GKW, heads), repeat_heads(v_GKV, heads)
    factor = q_HQW.dtype.type(scale or default_scale(width))
    nothing = np.zeros((0, 0, 0), q_HQW.dtype)
    z = np.zeros((heads, queries, v_HKV.shape[-1]), q_HQW.dtype)
    for start in range(0, queries, block):
        rows = slice(start, start + block)
        seen = np.flatnonzero(visible_QK[rows].any(axis=0))
        if not seen.size:
            continue
        keys = slice(seen[0], seen[-1] + 1)
        visible = visible_QK[rows, keys]
        masked = dot_products(q_HQW[:, rows], k_HKW[:, keys])
        masked *= factor
        if cap:
            masked = soft_cap(masked, cap)
        if bias_HQK.size:
            masked += bias_HQK[:, rows, keys]
        if not visible.all():
            np.copyto(masked, -np.inf, where=~visible)
        shares = softmax(masked, attention_temperature)
        z[:, rows] = weighted_sum(shares, v_HKV[:, keys], visible)
        if weights_HQK.size:
            weights_HQK[:, rows, keys] = shares
    return Attended(nothing, nothing, nothing, weights_HQK, z)


def attend_vjp(
    q_HQW: np.ndarray,
    k_HKW: np.ndarray,
    v_HKV: np.ndarray,
    visible_QK: np.ndarray,
    weights_HQK: np.ndarray,
    grad_HQV: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The steps' own, last to first, for ungrouped heads and the default scale: dq, dk, dv."""
    dweights, dv = weighted_sum_vjp(weights_HQK, v_HKV, grad_HQV)
    dscaled = mask_scores_vjp(visible_QK, softmax_vjp(weights_HQK, dweights))
    dscores = scale_scores_vjp(default_scale(q_HQW.shape[-1]), dscaled)
    dq, dk = dot_products_vjp(q_HQW, k_HKW, dscores)
    return dq, dk, dv


def default_scale(width: int) -> float:
    """1 / √width keeps the scores' spread near 1 whatever the width."""
    return float(width) ** -0.5


def repeat_heads(x_GKW: np.ndarray, heads: int) -> np.ndarray:
    """Grouped heads: query head h uses kv_head h // (heads / kv_heads). Ainslie et al. 2023."""
    groups = x_GKW.shape[-3]
    return x_GKW if groups == heads else np.repeat(x_GKW, heads // groups, axis=-3)
