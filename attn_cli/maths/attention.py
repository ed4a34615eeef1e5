"""Self-attention in six steps, one function each. Read this file first.

Axes, as suffixes of array names: Q query position, K key position, M model width, H head,
G kv_head (H is a multiple of G), W width of a query or key, V width of a value, N heads × width.
`scores_HQK[h, i, j]` is how well key j answers query i in head h. Every function also takes
further axes in front (a batch), as training does. Vaswani et al. 2017, "Attention Is All You Need".
"""

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from attn_cli.maths.layers import linear, linear_vjp, soft_cap
from attn_cli.maths.masks import Visible

# Numbers (head, query, key) that depend on positions, asked for by query and key positions.
Relation = Callable[[np.ndarray, np.ndarray], np.ndarray]
NO_TERMS: Mapping[str, Relation] = MappingProxyType({})
BEFORE_SUM = ("scores", "scaled", "masked", "weights")
# What the dot products alone are called where further terms are added to them (DeBERTa).
PRODUCT = "content_to_content"


class Attended(NamedTuple):
    """Steps 3 to 6 of one block, in computing order; `terms` are what `scores` is the sum of."""

    scores: np.ndarray  # HQK
    scaled: np.ndarray  # HQK
    masked: np.ndarray  # HQK
    weights: np.ndarray  # HQK
    z: np.ndarray  # HQV
    terms: Mapping[str, np.ndarray]  # each HQK


def no_bias(queries_Q: np.ndarray, keys_K: np.ndarray) -> np.ndarray:
    """The bias of a family that has none: size 0."""
    return np.zeros((0, 0, 0), np.float32)


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


def dot_products(q_HQW: np.ndarray, k_HKW: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """How well each key answers each query: q·kᵀ, nothing else."""
    return np.matmul(q_HQW, k_HKW.swapaxes(-1, -2), out=out)


def dot_products_vjp(
    q_HQW: np.ndarray, k_HKW: np.ndarray, grad_HQK: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """s = q·kᵀ, so dq = ds·k and dk = dsᵀ·q."""
    return grad_HQK @ k_HKW, grad_HQK.swapaxes(-1, -2) @ q_HQW


# --- step 4: scale and mask ----------------------------------------------------------------------


def scale_scores(
    scores_HQK: np.ndarray,
    scale: float,
    bias_HQK: np.ndarray,
    cap: float = 0.0,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """scores × scale, soft-capped, + bias. A cap of 0 or a bias of size 0: the family has none."""
    scaled = np.multiply(scores_HQK, scores_HQK.dtype.type(scale), out=out)
    if cap:
        scaled[...] = soft_cap(scaled, cap)
    if bias_HQK.size:
        scaled += bias_HQK
    return scaled


def scale_scores_vjp(scale: float, grad_HQK: np.ndarray) -> np.ndarray:
    """scaled = s·c, without a cap, so ds = c·dscaled."""
    return grad_HQK * grad_HQK.dtype.type(scale)


def mask_scores(
    scaled_HQK: np.ndarray,
    visible_QK: np.ndarray,
    value: float = -np.inf,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """`value`, −∞ but to show why, wherever the query may not look at the key."""
    masked = np.empty_like(scaled_HQK) if out is None else out
    if masked is not scaled_HQK:
        np.copyto(masked, scaled_HQK)
    if not visible_QK.all():
        np.copyto(masked, value, where=~visible_QK)
    return masked


def mask_scores_vjp(visible_QK: np.ndarray, grad_HQK: np.ndarray) -> np.ndarray:
    """A masked cell does not depend on its score."""
    return np.where(visible_QK, grad_HQK, grad_HQK.dtype.type(0))


# --- step 5: softmax -----------------------------------------------------------------------------


def softmax(
    masked: np.ndarray, temperature: float = 1.0, out: np.ndarray | None = None
) -> np.ndarray:
    """Shares of 1 along the last axis: exp(m / T) over its sum, the row maximum subtracted first.

    Temperature 0 puts all weight on the maximum, ties shared equally; a row of −∞ gives zeros.
    """
    top = masked.max(axis=-1, keepdims=True)
    top = np.where(np.isneginf(top), masked.dtype.type(0), top)
    with np.errstate(over="ignore", invalid="ignore"):
        if temperature == 1:
            weights = np.subtract(masked, top, out=out)
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
    if out is not None and weights is not out:
        out[...] = weights
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
    visible: Visible,
    *,
    scale: float = 0.0,
    cap: float = 0.0,
    bias: Relation = no_bias,
    terms: Mapping[str, Relation] = NO_TERMS,
    mask_value: float = -np.inf,
    attention_temperature: float = 1.0,
    start: int = -1,
    keep: Collection[str] = BEFORE_SUM,
    zeros: Callable[..., np.ndarray] = np.zeros,
    block: int = 0,
) -> Attended:
    """Steps 3 to 6 for one block of every family. A scale of 0 means 1 / √width.

    `visible`, `bias` and `terms` are asked for by positions: keys count from 0, queries from
    `start` (−1: they are the last positions). `mask_value` stands where a key is hidden. The terms
    are added to the dot products, which are then a term of their own, `PRODUCT`. Queries go in
    blocks (0: all at once); where nobody keeps what comes before the softmax, a block looks only at
    the keys between its first and last visible one, so that half of a causal mask costs no time.
    What is not in `keep` has size 0; what is comes from `zeros`, and hidden weights are never
    written to.
    """
    heads, queries, keys = q_HQW.shape[-3], q_HQW.shape[-2], k_GKW.shape[-2]
    k_HKW, v_HKV = repeat_heads(k_GKW, heads), repeat_heads(v_GKV, heads)
    first = keys - queries if start < 0 else start
    at_Q, at_K = np.arange(first, first + queries), np.arange(keys)
    factor = q_HQW.dtype.type(scale or default_scale(q_HQW.shape[-1]))
    names = (*terms, PRODUCT, *BEFORE_SUM) if terms else BEFORE_SUM
    shape = (*q_HQW.shape[:-1], keys)
    wanted = [name for name in names if name in keep]
    # All keys count, not only those that are seen.
    every = wanted not in ([], ["weights"]) or mask_value != -np.inf
    kept = {name: (np.empty if every else zeros)(shape, q_HQW.dtype) for name in wanted}
    z = np.zeros((*q_HQW.shape[:-1], v_HKV.shape[-1]), q_HQW.dtype)
    for begin in range(0, queries, block or queries):
        rows = slice(begin, begin + (block or queries))
        visible_QK = visible(at_Q[rows], at_K)
        columns = slice(0, keys) if every else _span(visible_QK)
        if columns.start == columns.stop:
            continue
        visible_QK, at = visible_QK[:, columns], (at_Q[rows], at_K[columns])
        # Each step's numbers go to what is kept of them, else over those of the step before.
        room = {name: array[..., rows, columns] for name, array in kept.items()}
        scores = _summed(q_HQW[..., rows, :], k_HKW[..., columns, :], terms, at, room)
        spare = None if "scores" in room else scores
        scaled = scale_scores(scores, factor, bias(*at), cap, out=room.get("scaled", spare))
        spare = None if "scaled" in room else scaled
        masked = mask_scores(scaled, visible_QK, mask_value, out=room.get("masked", spare))
        shares = softmax(masked, attention_temperature, out=room.get("weights"))
        if mask_value != -np.inf:  # hidden keys have a share then
            visible_QK = np.ones_like(visible_QK)
        z[..., rows, :] = weighted_sum(shares, v_HKV[..., columns, :], visible_QK)
    nothing = np.zeros((0,) * len(shape), q_HQW.dtype)
    steps = {name: kept.get(name, nothing) for name in BEFORE_SUM}
    return Attended(**steps, z=z, terms={n: kept[n] for n in kept if n not in steps})


def _summed(
    q_HQW: np.ndarray,
    k_HKW: np.ndarray,
    terms: Mapping[str, Relation],
    at: tuple[np.ndarray, np.ndarray],
    room: Mapping[str, np.ndarray],
) -> np.ndarray:
    """The dot products, and the terms added to them; each goes to its `room`, if it has one."""
    scores = dot_products(q_HQW, k_HKW, out=room.get(PRODUCT if terms else "scores"))
    for i, (name, term) in enumerate(terms.items()):
        values = term(*at)
        if name in room:
            room[name][...] = values
        scores = np.add(scores, values, out=room.get("scores") if i == len(terms) - 1 else None)
    return scores


def _span(visible_QK: np.ndarray) -> slice:
    """From the first key that any query sees to the last; empty if none is seen."""
    seen = np.flatnonzero(visible_QK.any(axis=0))
    return slice(seen[0], seen[-1] + 1) if seen.size else slice(0, 0)


def attend_vjp(
    q_HQW: np.ndarray,
    k_HKW: np.ndarray,
    v_HKV: np.ndarray,
    visible_QK: np.ndarray,
    weights_HQK: np.ndarray,
    grad_HQV: np.ndarray,
    *,
    scale: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The steps' own, last to first, for ungrouped heads and no cap: dq, dk, dv, dbias.

    scaled = s·c + bias, so dbias = dscaled. A scale of 0 means 1 / √width.
    """
    dweights, dv = weighted_sum_vjp(weights_HQK, v_HKV, grad_HQV)
    dscaled = mask_scores_vjp(visible_QK, softmax_vjp(weights_HQK, dweights))
    dscores = scale_scores_vjp(scale or default_scale(q_HQW.shape[-1]), dscaled)
    dq, dk = dot_products_vjp(q_HQW, k_HKW, dscores)
    return dq, dk, dv, dscaled


def default_scale(width: int) -> float:
    """1 / √width keeps the scores' spread near 1 whatever the width."""
    return float(width) ** -0.5


def repeat_heads(x_GKW: np.ndarray, heads: int) -> np.ndarray:
    """Grouped heads: query head h uses kv_head h // (heads / kv_heads). Ainslie et al. 2023."""
    groups = x_GKW.shape[-3]
    return x_GKW if groups == heads else np.repeat(x_GKW, heads // groups, axis=-3)
