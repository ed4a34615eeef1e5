"""Statistics of numbers, for many heads and measures at once, that are exact and can be merged.

Merging is commutative and associative to the last bit, and empty statistics change nothing: counts
and sums are whole numbers. A number counts as the nearest multiple of 2⁻³². Quantiles come from
counts over a fixed grid, 32 cells to each power of two (as DDSketch, Masson et al. 2019, with a
grid that is linear within a power, so that a cell follows from a number's bits): the estimate is at
most 1/64 of the number away from it, or 2⁻¹³ where it is below 2⁻¹². A million numbers take such
counts 0.005 to 0.02 s, in arrays of 64 and 8 queries; the package ddsketch 3.0.1, which takes one
number at a time, 0.34 s: 17 to 68 times as long. Axes, as suffixes: H head, M measure, Q query,
B cell of the grid, L limb of a whole number.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_FRACTION, _LIMB, _LIMBS = 32, 26, 5
_MASK = (1 << _LIMB) - 1
LIMIT = float(1 << 20)  # what is not below this is no measure of a prompt
_TOGETHER = 512  # queries whose squares fit into 64 bits together
_SHIFT, _LEAST = 52 - 5, -12  # of a number's bits, and the power of two where the grid begins
_FIRST = (1023 + _LEAST) << 5


class Totals(NamedTuple):
    """What is known of one measure of one head; all but `count` and `broken` NaN without any.

    `broken` numbers were not finite and are in nothing else. `deviation` is √(mean of squares −
    square of the mean). `quantiles` are of `QUANTILES`.
    """

    count: int
    broken: int
    mean: float
    deviation: float
    minimum: float
    maximum: float
    quantiles: tuple[float, ...]


class Statistics:
    """Statistics of so many heads and, of each, of measures with a grid up to 2 to the power of
    each of `tops`."""

    def __init__(self, heads: int, tops: Sequence[int]) -> None:
        sizes = [1 + 32 * (top - _LEAST) for top in tops]
        self._sizes_M = np.array(sizes, np.int64)
        self._starts_M = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        shape = heads, len(sizes)
        self.count, self.broken = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self.sums, self.squares = (np.zeros((*shape, _LIMBS), np.int64) for _ in range(2))
        self.least, self.most = np.full(shape, np.inf), np.full(shape, -np.inf)
        self.cells = np.zeros((heads, sum(sizes)), np.int64)

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """All that is known, by name; equal statistics have equal bytes."""
        names = ("count", "broken", "sums", "squares", "least", "most", "cells")
        for limbs in (self.sums, self.squares):
            _carry(limbs)
        return {name: getattr(self, name) for name in names}

    def add(self, heads: np.ndarray, values_MHQ: np.ndarray, asked_MHQ: np.ndarray) -> np.ndarray:
        """Counts the values that are asked for, of these heads; which of them are counted."""
        finite = np.isfinite(values_MHQ) & (np.abs(values_MHQ) < LIMIT)
        used = finite & asked_MHQ
        self.broken[heads] += (asked_MHQ & ~finite).sum(-1).T
        self.count[heads] += used.sum(-1).T
        values = np.where(used, values_MHQ, 0.0)
        whole = np.rint(values * (1 << _FRACTION)).astype(np.int64)
        for start in range(0, whole.shape[-1], _TOGETHER):
            some = whole[..., start : start + _TOGETHER]
            high, low = some >> _LIMB, some & _MASK
            self.sums[heads] += _limbs(low, high)
            self.squares[heads] += _limbs(low * low, 2 * high * low, high * high)
        least = np.where(used, values, np.inf).min(-1).T
        self.least[heads] = np.minimum(self.least[heads], least)
        most = np.where(used, values, -np.inf).max(-1).T
        self.most[heads] = np.maximum(self.most[heads], most)
        cells = np.clip(_cell(values), 0, self._sizes_M[:, None, None] - 1)
        cells += self._starts_M[:, None, None]
        cells += (heads * self.cells.shape[1])[:, None]
        np.add.at(self.cells.reshape(-1), cells[used], 1)
        return used

    def merge(self, other: "Statistics") -> None:
        """Takes in what other statistics of the same heads and measures know."""
        for name in ("count", "broken", "sums", "squares", "cells"):
            array = getattr(self, name)
            array += getattr(other, name)
        np.minimum(self.least, other.least, out=self.least)
        np.maximum(self.most, other.most, out=self.most)

    def totals(self, head: int, measure: int) -> Totals:
        """What is known of one measure of one head."""
        count, broken = (int(of[head, measure]) for of in (self.count, self.broken))
        if not count:
            none = math.nan
            return Totals(0, broken, none, none, none, none, (none,) * len(QUANTILES))
        total, squares = (_whole(of[head, measure]) for of in (self.sums, self.squares))
        spread = Fraction(count * squares - total * total, (count << _FRACTION) ** 2)
        least, most = float(self.least[head, measure]), float(self.most[head, measure])
        start = self._starts_M[measure]
        cells = self.cells[head, start : start + self._sizes_M[measure]]
        return Totals(
            count, broken, total / (count << _FRACTION), math.sqrt(spread), least, most,
            tuple(min(max(value, least), most) for value in _quantiles(cells, count)),
        )  # fmt: skip


def _cell(values: np.ndarray) -> np.ndarray:
    """The cell of each number: 0 below the grid."""
    bits = np.maximum(values, 0.0).view(np.int64) >> _SHIFT
    return bits - (_FIRST - 1)


def _quantiles(cells_B: np.ndarray, count: int) -> Iterable[float]:
    """The middle of the cell of the ⌈q·count⌉-th number in order, for each q of QUANTILES."""
    reached = np.cumsum(cells_B)
    for quantile in QUANTILES:
        rank = max(1, math.ceil(Fraction(str(quantile)) * count))
        cell = int(np.searchsorted(reached, rank))
        edges = np.array([cell - 1, cell], np.int64) + _FIRST << _SHIFT
        low, high = edges.view(np.float64).tolist() if cell else (0.0, 2.0**_LEAST)
        yield (low + high) / 2


def _limbs(*parts_MHQ: np.ndarray) -> np.ndarray:
    """The sums over the queries of whole numbers that count 1, 2 to the power of a limb, and so on,
    as limbs (head, measure, limb). Each sum has at most 63 bits."""
    found = np.zeros((*parts_MHQ[0].shape[1::-1], _LIMBS), np.int64)
    for limb, part in enumerate(parts_MHQ):
        total = part.sum(-1).T
        found[..., limb] += total & _MASK
        found[..., limb + 1] += (total >> _LIMB) & _MASK
        found[..., limb + 2] += total >> 2 * _LIMB
    return found


def _carry(limbs_HML: np.ndarray) -> None:
    """Brings each limb but the last below 2 to the power of its bits."""
    for limb in range(_LIMBS - 1):
        limbs_HML[..., limb + 1] += limbs_HML[..., limb] >> _LIMB
        limbs_HML[..., limb] &= _MASK


def _whole(limbs_L: np.ndarray) -> int:
    return sum(int(part) << _LIMB * limb for limb, part in enumerate(limbs_L))
