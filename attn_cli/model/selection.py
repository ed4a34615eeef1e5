"""Which heads, queries and keys of a block are recorded, and its arrays with these alone."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from attn_cli import vocabulary
from attn_cli.maths.attention import BEFORE_SUM, Attended, Relation
from attn_cli.maths.kept import Arrays, Blocks, Keep, Measure
from attn_cli.maths.masks import Visible
from attn_cli.maths.products import Map, pulls
from attn_cli.records import Address

# An array, or what makes it if it is wanted.
Lazy = np.ndarray | Blocks | Callable[[], np.ndarray]
# Queries and keys by their positions; None: all.
Positions = tuple[tuple[int, ...] | None, tuple[int, ...] | None]


class Selection(NamedTuple):
    """Heads by their numbers, `queries` and `keys` by their positions; `start` is the first query's
    that is computed. What is `whole` is chosen completely, in order: nothing need be picked.
    Arrays (query, key) have just the queries `rows`, where that is not empty. `measures` are taken
    of all weights.
    """

    heads: tuple[int, ...]
    kv_heads: tuple[int, ...]
    queries: tuple[int, ...]
    keys: tuple[int, ...]
    rows: tuple[int, ...]
    start: int
    whole: frozenset[str]
    measures: Mapping[str, Measure]

    @property
    def named(self) -> dict[str, tuple[int, ...]]:
        """What is chosen, as a record has it."""
        names = ("heads", "kv_heads", "queries", "keys", "rows")
        return {name: getattr(self, name) for name in names}

    def keep(self, names: frozenset[str], lengths: np.ndarray) -> Keep:
        """What attention keeps of the arrays (head, query, key) of these names.

        `lengths` (head, key) are those of the values, for the measures.
        """
        queries = None
        if self.rows or "query" not in self.whole:
            queries = tuple(query - self.start for query in self.rows or self.queries)
        return Keep(
            names=names & {*BEFORE_SUM, *vocabulary.TERMS},
            heads=None if "head" in self.whole else self.heads,
            queries=queries,
            keys=None if "key" in self.whole else self.keys,
            measures=self.measures,
            lengths=lengths,
            # Beside whole squares blocks would save little, and documents want all of them whole.
            apart=names.isdisjoint(BEFORE_SUM[:-1]),
        )

    def pick(self, name: str, array: np.ndarray) -> np.ndarray:
        """What is chosen of an array, by the axes that the vocabulary gives it."""
        places = {
            "head": self.heads,
            "kv_head": self.kv_heads,
            "query": [query - self.start for query in self.queries],
            "key": self.keys,
        }
        for place, axis in enumerate(vocabulary.ARRAYS[name].axes):
            if axis in places and axis not in self.whole:
                # `take` would first copy all of an array that has its axes in another order.
                at = (*[slice(None)] * place, np.array(places[axis], np.intp))
                array = np.ascontiguousarray(array[at])
        return array

    def arrays(
        self, wanted: frozenset[str], whole: Mapping[str, Lazy], picked: Mapping[str, Lazy]
    ) -> Arrays:
        """The wanted arrays in computing order, read-only; of `picked` no more is there."""
        found = {}
        for name in _in_order(wanted):
            of = picked if name in picked else whole
            if name not in of:
                continue
            array = self._chosen(name, of[name], picked=of is picked)
            if isinstance(array, Blocks) or array.size:
                found[name] = array
        return Arrays(found)

    def _chosen(self, name: str, of: Lazy, *, picked: bool) -> np.ndarray | Blocks:
        """An array with what is chosen of it alone; a whole one that it is made of is let go."""
        made = of() if callable(of) else of
        if isinstance(made, Blocks) or not made.size:
            return made
        array = made.view() if picked else self.pick(name, made.view())
        array.flags.writeable = False
        return array


@lru_cache
def _in_order(names: frozenset[str]) -> tuple[str, ...]:
    """Arrays in computing order."""
    return tuple(name for name in vocabulary.ARRAYS if name in names)


def selected(
    request: Any, block: Address, heads: int, kv_heads: int, queries: range, keys: int
) -> Selection:
    """What a request wants of a block that has so many heads, queries and keys."""
    every = tuple(range(heads))
    of_heads = request.heads.get(block.stack, every)
    group = heads // kv_heads
    measures = request.measures.get((block.stack, block.kind), {})
    of_queries, of_keys = request.positions.get((block.stack, block.kind), (None, None))
    whole = {
        "head": of_heads == every,
        "kv_head": of_heads == every,
        "query": of_queries is None,
        "key": of_keys is None,
    }
    return Selection(
        heads=of_heads,
        kv_heads=tuple(dict.fromkeys(head // group for head in of_heads)),
        queries=tuple(queries) if of_queries is None else of_queries,
        keys=tuple(range(keys)) if of_keys is None else of_keys,
        rows=request.rows.get((block.stack, block.kind), ()),
        start=queries.start,
        whole=frozenset(axis for axis, all_of_it in whole.items() if all_of_it),
        measures=measures if block in request.blocks else {},
    )


def made_late(
    chosen: Selection, steps: Attended, z: np.ndarray, out: Map, seen: Visible, bias: Relation
) -> dict[str, Lazy]:
    """The arrays of what was chosen alone, some of which are made only if they are wanted."""
    # A slice copies nothing.
    heads = slice(None) if "head" in chosen.whole else list(chosen.heads)

    def at() -> tuple[np.ndarray, np.ndarray]:
        return np.array(chosen.rows or chosen.queries), np.array(chosen.keys)

    def of_heads() -> np.ndarray:
        array_HQK = bias(*at())
        return array_HQK[heads] if array_HQK.size else array_HQK

    def w_o() -> np.ndarray:
        return out.matrix.reshape(len(z), -1, out.matrix.shape[-1])[heads]

    return {
        **{name: getattr(steps, name) for name in BEFORE_SUM},
        **steps.terms,
        "visible": lambda: seen(*at()),
        "bias": of_heads,
        "w_o": w_o,
        "head_output": lambda: pulls(z[heads], w_o(), np.array(chosen.queries) - chosen.start),
    }
