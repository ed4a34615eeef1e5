"""What is measured of a block's weights while they pass: a number for each head and query.

`measures` says what to take, `taken` brings it into the form that a summary reads. Axes, as
suffixes: Q query position, K key position.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np

from attn_cli.maths.kept import Measure
from attn_cli.maths.products import NOTHING
from attn_cli.records import Address, Attention, Prompt

# Parts of what the other keys get, once the first is split off.
PARTS = (
    "entropy", "distance", "previous_share", "self_share", "duplicate_share", "induction_share",
)  # fmt: skip

_REMEMBERED = 1 << 20  # cells of a prompt


class Reading:
    """The tokens that queries and keys of one attention stand for, and which of them come again.

    Tokens of two stacks have nothing to do with one another: there `duplicates` and `followers` are
    False for every query. `past_first`: of the keys after the first alone.
    """

    def __init__(self, prompt: Prompt, stack: str, kind: str, *, past_first: bool = False) -> None:
        queries, keys = prompt.sides(stack, kind)
        place = Address(stack, kind, 0)
        self.causal, self.crosses, self.past_first = place.causal, place.crosses, past_first
        self.queries, self.keys = len(queries.tokens), len(keys.tokens)
        self.ids_Q, self.ids_K = np.array(queries.ids), np.array(keys.ids)
        self._known: dict[tuple[int, int, int], Cells] = {}

    @cached_property
    def duplicates(self) -> np.ndarray:
        """Whether the query's own token stands elsewhere too, in a decoder before it (query)."""
        return self._again(range(int(self.past_first), self.keys))

    @cached_property
    def followers(self) -> np.ndarray:
        """Whether something follows the query's own token elsewhere (query)."""
        return self._again(range(self.keys - 1))

    def _again(self, places: range) -> np.ndarray:
        """Whether a query's token stands at these places too, itself and later ones not counted."""
        found, seen = np.zeros(self.queries, bool), Counter()
        ids = [] if self.crosses else self.ids_K.tolist()
        if ids and not self.causal:
            seen.update(ids[at] for at in places)
        for at, id in enumerate(ids):
            if self.causal:
                found[at] = seen[id] > 0
                seen[id] += at in places
            else:
                found[at] = seen[id] - (at in places) > 0
        return found

    def counts(self, name: str) -> np.ndarray:
        """The queries that a measure is of (query): in a decoder not the first, which sees itself
        alone, unless it is the only one; and those that have such a key at all. What is split off
        is nobody's previous token, nor itself."""
        name = name.replace("_weighted_", "_")
        rows, at_Q = np.ones(self.queries, bool), np.arange(self.queries)
        rows[0] = not self.causal or self.queries == 1
        if name == "previous_share":
            return rows & (at_Q > self.past_first) & (not self.crosses)
        if name == "self_share":
            return rows & (at_Q >= self.past_first) & (not self.crosses)
        twins = {"duplicate_share": "duplicates", "induction_share": "followers"}
        return rows & getattr(self, twins[name]) if name in twins else rows

    def after(self, after: int) -> "Which":
        """The keys that stand so many positions after another of the query's own token."""
        asking = self.followers if after else self.duplicates
        if not asking.any():
            return lambda *_: _NO_CELLS
        return lambda at_Q, at_K: self._remembered(asking, at_Q, at_K, after)

    def _remembered(
        self, asking: np.ndarray, at_Q: np.ndarray, at_K: np.ndarray, after: int
    ) -> "Cells":
        """They are the same for every head and layer."""
        block = after, hash(at_Q.tobytes()), hash(at_K.tobytes())
        found = self._known.get(block)
        if found is None:
            found = self._same(asking, at_Q, at_K, after)
            if sum(map(len, self._known.values())) + len(found) > _REMEMBERED:
                self._known = {}
            self._known[block] = found
        return found

    def _same(self, asking: np.ndarray, at_Q: np.ndarray, at_K: np.ndarray, after: int) -> "Cells":
        rows, columns = np.flatnonzero(asking[at_Q]), np.flatnonzero(at_K >= after)
        at_Q, at_K = at_Q[rows, None], at_K[columns] - after
        same = self.ids_K[at_Q] == self.ids_K[at_K]
        same &= at_K < at_Q if self.causal else at_K != at_Q
        of_row, of_column = np.nonzero(same)
        return Cells(rows[of_row], columns[of_column], np.flatnonzero(np.diff(of_row, prepend=-1)))


def measures(reading: Reading) -> dict[str, Measure]:
    """What to measure of one attention, by name.

    Past the first key these are parts of the whole; `taken` makes them parts of what that leaves.
    """
    found: dict[str, Measure] = {
        "entropy": entropy, "looks_at": _looks_at, "distance": _distance,
        "previous_share": share_back(1), "self_share": share_back(0),
        "duplicate_share": _sum_of(reading.after(0)), "induction_share": _sum_of(reading.after(1)),
    }  # fmt: skip
    if reading.past_first:
        found = {name: _past_first(measure) for name, measure in found.items()}
    return {
        **found, "first_share": first_share, "first_weighted_share": _first_weighted_share,
        "rest_share": _past_first(_sum),
    }  # fmt: skip


def weighted(reading: Reading) -> dict[str, Measure]:
    """Shares of `measures` where every weight is multiplied by its value's length, by name."""
    return {
        "previous_weighted_share": _weighted(_back(1)),
        "self_weighted_share": _weighted(_back(0)),
        "duplicate_weighted_share": _weighted(reading.after(0)),
        "induction_weighted_share": _weighted(reading.after(1)),
    }


def taken(block: Attention, reading: Reading) -> dict[int, dict[str, np.ndarray]]:
    """The measures (query) of each of a block's heads, by its number and their names.

    Where the pass has not taken them they come from the weights, which must all be there; what
    depends on the length of values is NaN then. A sink is one choice more in the entropy, unless
    the first key is split off: then all is of the other keys alone.
    """
    of_shown = of_heads(block, reading)
    of_each = {
        head: {name: of[place] for name, of in of_shown.items()}
        for place, head in enumerate(block.heads)
    }
    if not reading.past_first:
        return of_each
    return {head: _renormalised(measured) for head, measured in of_each.items()}


def of_heads(block: Attention, reading: Reading) -> dict[str, np.ndarray]:
    """The measures (head, query) of a block's heads, by name, of the keys past the first still as
    parts of the whole. See `taken`."""
    if block.measures:
        found = {name: of[list(block.heads)] for name, of in block.measures.items()}
    else:
        at = np.array(block.queries), np.array(block.keys)
        wanted = measures(reading)
        found = {name: of(block.weights, *at, NOTHING) for name, of in wanted.items()}
        if "sink_share" in block.arrays:
            found["sink_share"] = block.sink_share
    if "sink_share" in found and not reading.past_first:
        found["entropy"] = found["entropy"] + entropy(found["sink_share"][..., None])
    return found


@np.errstate(all="ignore")
def _renormalised(measured: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Measures of the keys past the first as if these had all of the weight, NaN where they have
    none. With r = Σ w the entropy of w / r is −Σ w·log₂ w / r + log₂ r."""
    rest = np.where(measured["rest_share"] > 0, measured["rest_share"], np.nan)
    found = {name: measured[name] / rest for name in PARTS}
    found["entropy"] = np.maximum(0.0, found["entropy"] + np.log2(rest))
    return {**measured, **found}


# --- measures of weights (…, query, key); keys follow each other ---------------------------------


def entropy(weights: np.ndarray, *_: np.ndarray) -> np.ndarray:
    """−Σ w·log₂ w of each row, in bits."""
    logs = np.maximum(weights, np.finfo(weights.dtype).tiny)
    np.log2(logs, out=logs)
    logs *= weights
    return 0.0 - logs.sum(axis=-1, dtype=np.float64)


def _sum(weights: np.ndarray, *_: np.ndarray) -> np.ndarray:
    return weights.sum(axis=-1, dtype=np.float64)


def _looks_at(weights: np.ndarray, at_Q: np.ndarray, at_K: np.ndarray, _: np.ndarray) -> np.ndarray:
    """The key with the largest weight, the first among equals; 0 where none has any."""
    best = weights.argmax(axis=-1)
    largest = np.take_along_axis(weights, best[..., None], axis=-1)[..., 0]
    return np.where(largest == 0, 0, at_K[best])


def _distance(weights: np.ndarray, at_Q: np.ndarray, at_K: np.ndarray, _: np.ndarray) -> np.ndarray:
    """Σ w·|query − key|, in positions."""
    apart = np.subtract.outer(at_Q.astype(weights.dtype), at_K.astype(weights.dtype))
    return np.einsum("...qk,qk->...q", weights, np.abs(apart, out=apart))


class Cells:
    """Cells of a block of weights: places of queries, in order, and of keys. Those of a query begin
    at one of `starts`; None: each has one."""

    def __init__(
        self, rows: np.ndarray, columns: np.ndarray, starts: np.ndarray | None = None
    ) -> None:
        self._rows, self._columns, self._starts = rows, columns, starts

    def __len__(self) -> int:
        return self._rows.size

    def sum(self, weights: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        """What they sum to for each query, each times the length of its value if there are any."""
        found = np.zeros(weights.shape[:-1])
        if self._rows.size:
            rows, sums = self._rows, weights[..., self._rows, self._columns]
            if lengths is not None:
                sums *= lengths[..., 0, self._columns]
            if self._starts is not None:
                rows = rows[self._starts]
                sums = np.add.reduceat(sums, self._starts, axis=-1, dtype=np.float64)
            found[..., rows] = sums
        return found


_NO_CELLS = Cells(np.zeros(0, np.intp), np.zeros(0, np.intp))
# The cells of some queries and keys, by their positions.
Which = Callable[[np.ndarray, np.ndarray], Cells]


def share_back(back: int) -> Measure:
    """The weight of the key so many positions back."""
    return _sum_of(_back(back))


def share_at(keys_Q: np.ndarray) -> Measure:
    """The weight of one key of each query; −1: of none."""
    return _sum_of(_one(keys_Q.__getitem__))


def _back(back: int) -> Which:
    return _one(lambda at_Q: at_Q - back)


def _one(key: Callable[[np.ndarray], np.ndarray]) -> Which:
    """One key of each query, where there is such a one; by the queries' positions."""

    def cells(at_Q: np.ndarray, at_K: np.ndarray) -> Cells:
        places = (keys := key(at_Q)) - at_K[0]
        rows = np.flatnonzero((keys >= 0) & (places >= 0) & (places < len(at_K)))
        return Cells(rows, places[rows])

    return cells


def _sum_of(which: Which) -> Measure:
    return lambda weights, at_Q, at_K, _: which(at_Q, at_K).sum(weights)


def first_share(
    weights: np.ndarray, at_Q: np.ndarray, at_K: np.ndarray, _: np.ndarray
) -> np.ndarray:
    """The weight of the first key of all."""
    return weights[..., 0] if not at_K[0] else np.zeros(weights.shape[:-1])


def _first_weighted_share(
    weights: np.ndarray, at_Q: np.ndarray, at_K: np.ndarray, lengths: np.ndarray
) -> np.ndarray:
    """The first key's share of Σ w·‖v·W_O‖, 0 where that is 0. Kobayashi et al. 2020."""
    if not lengths.size:
        return np.full(weights.shape[:-1], np.nan)
    if at_K[0]:
        return np.zeros(weights.shape[:-1])
    return _of_sum(weights[..., 0] * lengths[..., 0], weights, lengths)


def _weighted(which: Which) -> Measure:
    """The share of these cells in Σ w·‖v·W_O‖, 0 where that is 0. Kobayashi et al. 2020."""

    def measure(
        weights: np.ndarray, at_Q: np.ndarray, at_K: np.ndarray, lengths: np.ndarray
    ) -> np.ndarray:
        if not lengths.size:
            return np.full(weights.shape[:-1], np.nan)
        return _of_sum(which(at_Q, at_K).sum(weights, lengths), weights, lengths)

    return measure


def _of_sum(part: np.ndarray, weights: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """A part of Σ w·‖v·W_O‖ over this sum."""
    all_of_it = np.matmul(weights, lengths.swapaxes(-1, -2))[..., 0]
    return np.divide(part, all_of_it, out=np.zeros_like(part), where=all_of_it != 0)


def _past_first(measure: Measure) -> Measure:
    """The same of the keys after the first of all; 0 where there are none."""

    def past(
        weights: np.ndarray, at_Q: np.ndarray, at_K: np.ndarray, lengths: np.ndarray
    ) -> np.ndarray:
        start = 1 if not at_K[0] else 0
        if start == len(at_K):
            return np.zeros(weights.shape[:-1])
        return measure(weights[..., start:], at_Q, at_K[start:], lengths[..., start:])

    return past
