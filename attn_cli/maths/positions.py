"""Rotary positions (Su et al. 2021, "RoFormer"), linear biases (Press et al. 2022, "ALiBi"),
learned biases by distance (Raffel et al. 2020, "T5") and relative positions as vectors (He et al.
2021, "DeBERTa").

Axes, as suffixes: P position, O other's position, R half the rotated width, H head, W width,
Q query, K key, B bucket.
"""

import math
from collections.abc import Sequence

import numpy as np

from attn_cli.maths import cores
from attn_cli.maths.masks import distance
from attn_cli.maths.scratch import in_columns, room_like

_BLOCK = 256  # positions that rotate together
_ROTATING, _STEPS = 2.5e-9, 6  # seconds for a number, and in how many steps


def frequencies(width: int, base: float) -> np.ndarray:
    """base^(−2i / width) for each pair of dimensions, (R,), in radians per position."""
    return long_scaling(np.ones(1, np.float32), width, base)


def long_scaling(factors_R: np.ndarray, width: int, base: float) -> np.ndarray:
    """`frequencies`, each divided by a factor of its own. Ding et al. 2024, "LongRoPE"."""
    exponents = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
    return (1.0 / (factors_R * np.float32(base) ** exponents)).astype(np.float32)


def linear_scaling(frequencies_R: np.ndarray, factor: float) -> np.ndarray:
    """Positions squeezed by `factor`. Chen et al. 2023."""
    return frequencies_R / np.float32(factor)


def llama3_scaling(
    frequencies_R: np.ndarray, factor: float, low: float, high: float, context: int
) -> np.ndarray:
    """Slow rotations are slowed by `factor`, fast ones kept, those between blended. Llama 3.1.

    Slow: wavelength above context / low; fast: below context / high.
    """
    wavelength = np.float32(2 * math.pi) / frequencies_R
    slowed = np.where(wavelength > context / low, frequencies_R / factor, frequencies_R)
    share = (context / wavelength - low) / (high - low)
    blended = (1 - share) * slowed / factor + share * slowed
    between = ~(wavelength < context / high) & ~(wavelength > context / low)
    return np.where(between, blended, slowed).astype(np.float32)


def yarn_scaling(
    frequencies_R: np.ndarray,
    base: float,
    factor: float,
    fast: float,
    slow: float,
    context: int,
    *,
    width: int = 0,
    whole_bounds: bool = True,
) -> np.ndarray:
    """Rotations that fit `fast` times in the context are kept, those below `slow` squeezed.

    A ramp over the dimensions between. Peng et al. 2023, "YaRN". An odd `width` has half a pair
    more than the ramp has steps: of 3 dimensions the one step serves both pairs.
    """
    width = width or 2 * len(frequencies_R)

    def dimension(turns: float) -> float:
        return width * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(base))

    low, high = dimension(fast), dimension(slow)
    if whole_bounds:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    span = (high - low) or 0.001  # as the reference does where both bounds are one
    ramp = np.clip((np.arange(width // 2, dtype=np.float32) - low) / span, 0, 1)
    kept = 1 - ramp
    squeezed = frequencies_R / np.float32(factor)
    return (squeezed * (1 - kept) + frequencies_R * kept).astype(np.float32)


def angles(
    frequencies_R: np.ndarray, positions_P: np.ndarray, factor: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cosine and sine (P, R) of position × frequency, times `factor`, and that angle in radians."""
    angle = positions_P[:, None] * frequencies_R[None, :]
    return np.cos(angle) * np.float32(factor), np.sin(angle) * np.float32(factor), angle


def pairs(width: int, interleaved: bool) -> tuple[slice, slice]:
    """Where the first dimension of each pair stands, and where the second: see `Rotary`."""
    if interleaved:
        return slice(0, width, 2), slice(1, width, 2)
    return slice(0, width // 2), slice(width // 2, width)


class Rotary:
    """By which angles the pairs (i, i + R) of a vector rotate: `cos_PR` and `sin_PR`.

    `interleaved`: the pairs are (2i, 2i + 1), as in Su et al. 2021, "RoFormer".
    """

    def __init__(
        self, cos_PR: np.ndarray, sin_PR: np.ndarray, *, interleaved: bool = False
    ) -> None:
        self.cos_PR, self.sin_PR = cos_PR, sin_PR
        self.width = 2 * cos_PR.shape[-1]
        self.pairs = pairs(self.width, interleaved)
        self._of_heads: dict[bool, tuple[np.ndarray, np.ndarray]] = {}

    def of_heads(self, *, by_columns: bool) -> tuple[np.ndarray, np.ndarray]:
        """What each of a pair is multiplied by, and its other one (P, W): the cosine and ± the
        sine. Made once for all layers, stored as the vectors are."""
        if by_columns not in self._of_heads:
            ones, others = self.pairs
            shape, order = (len(self.cos_PR), self.width), "F" if by_columns else "C"
            cos_PW, sin_PW = (np.empty(shape, self.cos_PR.dtype, order) for _ in range(2))
            cos_PW[:, ones] = cos_PW[:, others] = self.cos_PR
            sin_PW[:, others] = self.sin_PR
            np.negative(self.sin_PR, out=sin_PW[:, ones])
            self._of_heads[by_columns] = cos_PW, sin_PW
        return self._of_heads[by_columns]


def rotate(vectors: Sequence[np.ndarray], by: Rotary) -> list[np.ndarray]:
    """Rotates the pairs of each vector by its position's angle; those after them stay.

    All the arrays (…, head, position, width) at once, queries and keys say, some positions or heads
    at a time.
    """
    positions, width, (ones, others) = len(by.cos_PR), by.width, by.pairs
    rotated = [np.empty_like(x_HPW) for x_HPW in vectors]
    # One head's vectors get an axis for it.
    entering, leaving = (
        [x[None] if x.ndim < 3 else x for x in arrays] for arrays in (vectors, rotated)
    )
    by_columns = all(map(in_columns, vectors))
    cos_PW, sin_PW = by.of_heads(by_columns=by_columns)

    def work(part: tuple[int, slice, slice]) -> None:
        which, heads, rows = part
        x, out = (arrays[which][..., heads, rows, :] for arrays in (entering, leaving))
        other = room_like(x[..., :width], "rotated")
        other[..., ones], other[..., others] = x[..., others], x[..., ones]
        other *= sin_PW[rows]
        np.multiply(x[..., :width], cos_PW[rows], out=out[..., :width])
        out[..., :width] += other
        out[..., width:] = x[..., width:]

    # Some positions of what is stored by columns are many short pieces.
    threads = cores.worth(_ROTATING * sum(x.size for x in vectors), _STEPS)
    counts = [x.shape[-3] for x in entering]
    together = -(-sum(counts) // threads) if by_columns else max(counts)
    block = max(1, positions) if by_columns else _BLOCK
    parts = [
        (which, slice(head, head + together), slice(at, at + block))
        for at in range(0, positions, block)
        for which, count in enumerate(counts)
        for head in range(0, count, together)
    ]
    cores.each(work, parts, threads)
    return rotated


def query_growth(positions_P: np.ndarray, beta: float, length: int) -> np.ndarray:
    """1 + β·ln(1 + ⌊position ÷ length⌋), (P,): by what a query is multiplied. Meta 2025, Llama 4.

    Softmax over more keys is flatter; queries of a long text grow against it.
    """
    steps = np.floor(positions_P / np.float32(length))
    return 1 + np.float32(beta) * np.log1p(steps)


def waves(positions_P: np.ndarray, width: int) -> np.ndarray:
    """The vector (P, width) of each position: sines, then cosines, of ever longer waves.

    Vaswani et al. 2017 has them by turns; here, as in tensor2tensor, the halves stand apart. An odd
    width ends in a 0.
    """
    half = width // 2
    step = np.float32(-math.log(10000) / (half - 1))
    angle = positions_P.astype(np.float32)[:, None] * np.exp(
        np.arange(half, dtype=np.float32) * step
    )
    found = np.zeros((len(positions_P), width), np.float32)
    found[:, :half], found[:, half : 2 * half] = np.sin(angle), np.cos(angle)
    return found


def alibi_slopes(heads: int) -> np.ndarray:
    """A slope per head, (H,): powers of 2^(−8 / n), n the largest power of two up to `heads`.

    The heads beyond n take every other power of the root of that.
    """
    whole = 1 << (heads.bit_length() - 1)

    def powers(count: int, exponents: np.ndarray) -> np.ndarray:
        return np.float32(2.0 ** (-8 / count)) ** exponents.astype(np.float32)

    first = powers(whole, np.arange(1, whole + 1))
    return np.concatenate([first, powers(2 * whole, np.arange(1, 2 * (heads - whole), 2))])


def alibi(
    queries_Q: np.ndarray, keys_K: np.ndarray, slopes_H: np.ndarray, last: int = 0
) -> np.ndarray:
    """`bias` (H, Q, K): slope × (key position − `last`), the same for every query.

    Softmax ignores what is added to a whole row, so that this is the paper's slope × −(q − k).
    """
    of_keys = slopes_H[:, None, None] * (keys_K - last).astype(slopes_H.dtype)
    return np.broadcast_to(of_keys, (len(slopes_H), len(queries_Q), len(keys_K)))


def rounded_alibi(
    queries_Q: np.ndarray, keys_K: np.ndarray, slopes_H: np.ndarray, width: int
) -> np.ndarray:
    """`bias` (H, Q, K) of ALiBi in bfloat16 that is added before the scores are divided by √width.

    Slopes, positions and their products are rounded, the division is not.
    """
    of_keys = bfloat16(bfloat16(slopes_H)[:, None, None] * bfloat16(keys_K.astype(np.float32)))
    divided = of_keys / np.float32(width**0.5)
    return np.broadcast_to(divided, (len(slopes_H), len(queries_Q), len(keys_K)))


def bfloat16(x: np.ndarray) -> np.ndarray:
    """float32 rounded to the nearest numbers of 8 significant bits, of two the even one."""
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def relative_buckets(
    queries_Q: np.ndarray, keys_K: np.ndarray, count: int, farthest: int, *, both_sides: bool
) -> np.ndarray:
    """The bucket, 0 to `count` − 1, of each pair (Q, K), which follows from q − k alone.

    Near distances have a bucket each; farther ones share buckets that widen as their logarithm
    grows, and all beyond `farthest` share the last. With `both_sides` later keys have the second
    half of the buckets, else all of them share that of distance 0.
    """
    back = distance(queries_Q, keys_K)
    away = np.abs(back) if both_sides else np.maximum(back, 0)
    own = count // 2 if both_sides else count
    near = own // 2
    # In float32, as the reference has it: where two buckets meet, rounding decides.
    growth = np.log(np.maximum(away, 1).astype(np.float32) / np.float32(near))
    steps = growth / np.float32(math.log(farthest / near)) * np.float32(own - near)
    bucket = np.where(away < near, away, np.minimum(near + steps.astype(away.dtype), own - 1))
    return bucket + own * (back < 0) if both_sides else bucket


def relative_bias(
    queries_Q: np.ndarray,
    keys_K: np.ndarray,
    table_BH: np.ndarray,
    farthest: int,
    *,
    both_sides: bool,
) -> np.ndarray:
    """`bias` (H, Q, K): each head's learned number for the bucket of a pair."""
    buckets = relative_buckets(queries_Q, keys_K, len(table_BH), farthest, both_sides=both_sides)
    return table_BH.T[:, buckets]


def relative_bias_vjp(
    queries_Q: np.ndarray, keys_K: np.ndarray, table_BH: np.ndarray, farthest: int,
    grad_HQK: np.ndarray, *, both_sides: bool,
) -> np.ndarray:  # fmt: skip
    """A bucket's number is every pair's of that bucket: dtable = Σ dbias over its pairs."""
    buckets = relative_buckets(queries_Q, keys_K, len(table_BH), farthest, both_sides=both_sides)
    dtable_BH = np.zeros_like(table_BH)
    np.add.at(dtable_BH, buckets, np.moveaxis(grad_HQK, 0, -1))
    return dtable_BH


def log_distances(apart: np.ndarray, buckets: int, farthest: int) -> np.ndarray:
    """Distances of which only those up to half of `buckets` are told apart one by one.

    Those beyond share numbers up to `buckets` − 1, reached at `farthest` − 1, in steps that widen
    as their logarithm grows. The sign stays.
    """
    near = buckets // 2

    def log(x: np.ndarray | float) -> np.ndarray:
        # The reference's numbers are float32, and where two buckets meet, rounding decides.
        return np.log(np.asarray(x, np.float32).astype(np.float64)).astype(np.float32)

    away = np.maximum(np.abs(apart), near)
    steps = np.ceil(log(away / near) / log((farthest - 1) / near) * np.float32(near - 1))
    shared = np.sign(apart) * (near + steps.astype(apart.dtype))
    return np.where(np.abs(apart) <= near, apart, shared)


def relative_rows(
    queries_Q: np.ndarray, keys_K: np.ndarray, farthest: int, buckets: int = 0
) -> np.ndarray:
    """Which row of a table of relative positions each pair (Q, K) has: q − k, from −span to span.

    The span is `farthest`, or the count of `buckets` where distances share them; the table has two
    spans of rows, and a distance beyond takes the outermost.
    """
    apart, span = distance(queries_Q, keys_K), buckets or farthest
    # Of each distance once, not of each pair.
    first = apart.min()
    every = np.arange(first, apart.max() + 1)
    if buckets:
        every = log_distances(every, buckets, farthest)
    return np.clip(every + span, 0, 2 * span - 1)[apart - first]


def at_rows(products_HPB: np.ndarray, rows_PO: np.ndarray) -> np.ndarray:
    """(H, P, O): of each position's products with all relative positions, that of each pair."""
    return np.take_along_axis(products_HPB, rows_PO[None], axis=-1)
