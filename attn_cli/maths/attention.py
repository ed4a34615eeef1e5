"""Self-attention in six steps, one function each. Read this file first.

Axes, as suffixes of array names: Q query position, K key position, M model width, H head,
G kv_head (H is a multiple of G), W width of a query or key, V width of a value, N heads × width.
`scores_HQK[h, i, j]` is how well key j answers query i in head h. Every function also takes
further axes in front (a batch), as training does. Vaswani et al. 2017, "Attention Is All You Need".
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from attn_cli.maths import cores
from attn_cli.maths.kept import BEFORE_SUM, EVERYTHING, Blocks, Keep, Kept, Part, of_part
from attn_cli.maths.layers import linear, linear_vjp, soft_cap
from attn_cli.maths.masks import Look, Visible, looks
from attn_cli.maths.scratch import in_columns, room, unbuffered

# Numbers (head, query, key) that depend on positions, asked for by query and key positions.
Relation = Callable[[np.ndarray, np.ndarray], np.ndarray]
NO_TERMS: Mapping[str, Relation] = MappingProxyType({})
# What the dot products alone are called where further terms are added to them (DeBERTa).
PRODUCT = "content_to_content"
NO_SINK = np.zeros(0, np.float32)
# Where a result is written, if not to an array of its own.
Out = np.ndarray | None


class Attended(NamedTuple):
    """Steps 3 to 6 of one block. `scores` is the sum of `terms`; what is not kept has size 0, as
    has the `sink_share` where there is no sink; else it is a measure too, if there are some."""

    scores: np.ndarray  # HQK
    scaled: np.ndarray  # HQK
    masked: np.ndarray  # HQK
    weights: np.ndarray | Blocks  # HQK
    z: np.ndarray  # HQV
    terms: Mapping[str, np.ndarray]  # each HQK
    measures: Mapping[str, np.ndarray]  # each HQ
    sink_share: np.ndarray  # HQ


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


def dot_products(q_HQW: np.ndarray, k_HKW: np.ndarray, out: Out = None) -> np.ndarray:
    """How well each key answers each query: q·kᵀ, nothing else."""
    return np.matmul(q_HQW, k_HKW.swapaxes(-1, -2), out=out)


def dot_products_vjp(
    q_HQW: np.ndarray, k_HKW: np.ndarray, grad_HQK: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """s = q·kᵀ, so dq = ds·k and dk = dsᵀ·q."""
    return grad_HQK @ k_HKW, grad_HQK.swapaxes(-1, -2) @ q_HQW


# --- step 4: scale and mask ----------------------------------------------------------------------


def scale_scores(
    scores_HQK: np.ndarray, scale: float, bias_HQK: np.ndarray, cap: float = 0.0, out: Out = None
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
    scaled_HQK: np.ndarray, visible_QK: np.ndarray, value: float = -np.inf, out: Out = None
) -> np.ndarray:
    """`value`, −∞ but to show why, wherever the query may not look at the key."""
    masked = np.empty_like(scaled_HQK) if out is None else out
    if masked is not scaled_HQK:
        np.copyto(masked, scaled_HQK)
    np.copyto(masked, value, where=~visible_QK)
    return masked


def mask_scores_vjp(visible_QK: np.ndarray, grad_HQK: np.ndarray) -> np.ndarray:
    """A masked cell does not depend on its score."""
    return np.where(visible_QK, grad_HQK, grad_HQK.dtype.type(0))


# --- step 5: softmax -----------------------------------------------------------------------------


def softmax(
    masked: np.ndarray, temperature: float = 1.0, room: Out = None, out: Out = None
) -> np.ndarray:
    """Shares of 1 along the last axis: exp(m / T) over its sum, the row maximum subtracted first.

    Temperature 0 puts all weight on the maximum, ties shared equally; a row of −∞ gives zeros.
    `room`, which may be `masked` itself, is overwritten on the way.
    """
    top = masked.max(axis=-1, keepdims=True, initial=-np.inf)  # without it, three times as slow
    top[top == -np.inf] = 0
    with unbuffered(masked, over="ignore", invalid="ignore"):
        if temperature == 1:
            weights = np.subtract(masked, top, out=room)
            np.exp(weights, out=weights)
        elif temperature == 0:
            shifted = masked - top
            weights = np.where(np.isnan(shifted), shifted, shifted == 0).astype(masked.dtype)
        else:
            # In float64, or a temperature below 1e-38 would become 0 and 0 / 0, and a difference
            # of logits near 3e38 would become infinite before a large temperature tames it.
            heated = (masked.astype(np.float64) - top.astype(np.float64)) / temperature
            weights = np.exp(heated).astype(masked.dtype)
        total = weights.sum(axis=-1, keepdims=True)
        total[total == 0] = 1
        return np.divide(weights, total, out=weights if out is None else out)


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


def pull(z_HQV: np.ndarray, w_NM: np.ndarray, out: Out = None) -> np.ndarray:
    """`head_output` (head, query, model): z through this head's rows of the output projection."""
    heads, width = z_HQV.shape[-3], z_HQV.shape[-1]
    return np.matmul(z_HQV, w_NM.reshape(heads, width, -1), out=out)


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
    sink: np.ndarray = NO_SINK,
    mask_value: float = -np.inf,
    attention_temperature: float = 1.0,
    start: int = -1,
    keep: Keep = EVERYTHING,
    at: Sequence[Look] = (),
) -> Attended:
    """Steps 3 to 6 for one block of every family. A scale of 0 means 1 / √width.

    `visible`, `bias` and `terms` are asked for by positions: keys count from 0, queries from
    `start` (−1: they are the last positions). `mask_value` stands where a key is hidden. The terms
    are added to the dot products, which are then a term of their own, `PRODUCT`. A `sink` is one
    more masked score in every row of a head (head), which belongs to no key: the softmax gives it a
    share, and no value. `at` is what `masks.looks` says of `visible`, where that is known already.

    Blocks of queries go over the cores, each with the keys from its first visible one to its last:
    half of a causal mask costs no time. What is kept, and how many threads, changes no digit.
    """
    *batch, groups, keys, width = v_GKV.shape
    heads, queries = q_HQW.shape[-3:-1]
    first = keys - queries if start < 0 else start
    names = (*terms, PRODUCT, *BEFORE_SUM) if terms else BEFORE_SUM
    shape = (*batch, groups, heads // groups, queries, keys)
    at = at or looks(visible, first, queries, keys)
    kept = Kept(keep, names, shape, q_HQW.dtype, at, hidden=mask_value)
    z_QGJV = np.zeros((*batch, queries, *shape[-4:-2], width), q_HQW.dtype)  # for merging heads
    v_GKV = np.ascontiguousarray(v_GKV) if in_columns(v_GKV) else v_GKV  # weights are in rows
    blocks = _Blocks(
        # A key and its value serve all heads of their group.
        q_GJQW=q_HQW.reshape(*shape[:-1], -1), k_G1KW=k_GKW[..., None, :, :],
        v_G1KV=v_GKV[..., None, :, :], visible=visible, first=first,
        z_GJQV=z_QGJV.swapaxes(-4, -3).swapaxes(-3, -2),
        scale=scale or default_scale(q_HQW.shape[-1]), cap=cap, bias=bias, terms=terms,
        mask_value=mask_value, temperature=attention_temperature,
        finite=bool(np.isfinite(v_GKV).all()), kept=kept, **_sinks(sink, shape),
    )  # fmt: skip
    blocks.compute_all(at)
    return blocks.attended(z_QGJV.reshape(*batch, queries, heads, width).swapaxes(-3, -2))


def _sinks(sink_H: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The sink of each head, and its share of a row in which no key is visible: all."""
    sink_GJ1S = sink_H.reshape(*shape[-4:-2], 1, -1)
    if not sink_H.size:
        return {"sink_GJ1S": sink_GJ1S, "share_GJQS": NO_SINK}
    alone = np.exp(np.where(np.isneginf(sink_GJ1S), sink_GJ1S, sink_GJ1S - sink_GJ1S))
    alone = np.broadcast_to(alone, (*shape[:-1], alone.shape[-1]))
    return {"sink_GJ1S": sink_GJ1S, "share_GJQS": alone.copy()}


class _Blocks(NamedTuple):
    """The arrays and settings of one attention, of which each block of queries takes its part.

    `first` is the position of the first query; `finite`: all values are. S is 1 where there is a
    sink, a column behind the keys of every block, else 0.
    """

    q_GJQW: np.ndarray
    k_G1KW: np.ndarray
    v_G1KV: np.ndarray
    z_GJQV: np.ndarray
    visible: Visible
    first: int
    scale: float
    cap: float
    bias: Relation
    terms: Mapping[str, Relation]
    mask_value: float
    temperature: float
    finite: bool
    kept: Kept
    sink_GJ1S: np.ndarray
    share_GJQS: np.ndarray

    def compute_all(self, at: Sequence[Look]) -> None:
        """Every block of queries; what depends on positions is asked for once for all heads."""
        parts, whole = self.kept.parts, self.bias is not no_bias or self.terms
        together = [parts] if whole else [[part] for part in parts]
        # The last queries see most keys: what takes longest is begun first.
        blocks = [(look, some) for look in reversed(at) for some in together]
        cores.each(self.compute, blocks, self.kept.threads)

    def attended(self, z_HQV: np.ndarray) -> Attended:
        """What was kept, and the sums; an array that was not kept has size 0."""
        kept, none = self.kept.all(z_HQV), np.zeros((0,) * z_HQV.ndim, z_HQV.dtype)
        measures, share = self.kept.measures, self.share_GJQS
        share = share.reshape(z_HQV.shape[:-1]) if share.size else NO_SINK
        if measures and share.size:
            measures["sink_share"] = share
        before = {name: kept.pop(name, none) for name in BEFORE_SUM}
        return Attended(**before, z=z_HQV, terms=kept, measures=measures, sink_share=share)

    def compute(self, block: tuple[Look, list[Part]]) -> None:
        """Steps 3 to 6 of one block of queries in some heads."""
        (rows, keys, mixed, visible_QK), parts = block
        count = self.k_G1KW.shape[-2]
        if self.mask_value != -np.inf:  # hidden keys have a share too
            keys = mixed = slice(0, count)
            visible_QK = self.visible(*self._at(rows, keys))
        at, place = self._at(rows, keys), slice(mixed.start - keys.start, mixed.stop - keys.start)
        given = self._given(at)
        for part in parts if at[1].size else ():
            row = self._scaled(part, rows, keys, given)
            scores, sink = row[..., : at[1].size], row[..., at[1].size :]
            hiding = scores[..., place]
            if hiding.size:
                mask_scores(hiding, visible_QK, self.mask_value, out=hiding)
            self.kept.put("masked", scores, part, rows, keys)
            if sink.size:
                sink[...] = self.sink_GJ1S[part]
            there = self.kept.place("weights", part, rows, keys, row)
            weights = softmax(row, self.temperature, room=row, out=there)
            values = weights[..., : at[1].size]
            if sink.size:
                self.share_GJQS[..., *part, rows, :] = sink
            if there is row:
                self.kept.put("weights", values, part, rows, keys)
            self.kept.measure(values, part, rows, *at)
            z = self.z_GJQV[..., part.groups, part.heads, rows, :]
            v = self.v_G1KV[..., part.groups, :, keys, :]
            if self.finite:
                np.matmul(values, v, out=z)
            else:
                all_have_some = self.mask_value != -np.inf
                z[...] = weighted_sum(values, v, self.visible(*at) | all_have_some)
        if self.kept.wants("scores", "scaled", PRODUCT, *self.terms):
            for others in (slice(0, keys.start), slice(keys.stop, count)):
                given = self._given(self._at(rows, others))
                for part in parts if others.stop > others.start else ():
                    self._scaled(part, rows, others, given)

    def _scaled(
        self, part: Part, rows: slice, keys: slice, given: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """Steps 3 and 4 up to the mask, in this thread's own room, with a column left for a sink;
        what is kept of them is put."""
        q = self.q_GJQW[..., part.groups, part.heads, rows, :]
        k = self.k_G1KW[..., part.groups, :, keys, :]
        row = room((*q.shape[:-1], k.shape[-2] + self.sink_GJ1S.shape[-1]), q.dtype)
        scores = dot_products(q, k, out=row[..., : k.shape[-2]])
        if self.terms:
            self.kept.put(PRODUCT, scores, part, rows, keys)
        for name in self.terms:
            values = of_part(given[name], part, self.q_GJQW.shape)
            self.kept.put(name, values, part, rows, keys)
            scores += values
        self.kept.put("scores", scores, part, rows, keys)
        bias = of_part(given["bias"], part, self.q_GJQW.shape)
        scale_scores(scores, self.scale, bias, self.cap, out=scores)
        self.kept.put("scaled", scores, part, rows, keys)
        return row

    def _at(self, rows: slice, keys: slice) -> tuple[np.ndarray, np.ndarray]:
        """The positions of some queries and keys."""
        at_Q = np.arange(self.first + rows.start, self.first + rows.stop)
        return at_Q, np.arange(keys.start, keys.stop)

    def _given(self, at: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
        """What depends on positions alone, of all heads; nothing where there is no key."""
        if not at[1].size:
            return {}
        return {**{name: term(*at) for name, term in self.terms.items()}, "bias": self.bias(*at)}


def default_scale(width: int) -> float:
    """1 / √width keeps the scores' spread near 1 whatever the width."""
    return float(width) ** -0.5
