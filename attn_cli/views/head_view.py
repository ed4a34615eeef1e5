"""One head of one block as the page of `attn trace` tells of it: its arrays as tables."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from attn_cli import vocabulary
from attn_cli.records import Attention, Facts, Trace
from attn_cli.views import sinks
from attn_cli.views.items import NOTHING, Matrix, Words
from attn_cli.words import note


class HeadView(NamedTuple):
    """One head of one block, and the queries and keys to show of it.

    `arrays` are this head's, without the head axis, those (query, key) of the queries `kept`, which
    hold all to show; `queries` and `keys` are positions, `query` the one told about in sentences,
    −1 where none is; `place` is the head's among those shown. `names` are those of the queries,
    `key_names` of the keys.
    """

    trace: Trace
    block: Attention
    head: int
    place: int
    arrays: dict[str, np.ndarray]
    kept: Sequence[int]
    queries: list[int]
    keys: list[int]
    query: int
    names: list[str]
    key_names: list[str]
    full: bool

    @property
    def tokens(self) -> list[int]:
        """The shown positions of what the queries are made from."""
        return self.queries if self.crosses else sorted({*self.queries, *self.keys})

    @property
    def crosses(self) -> bool:
        """Whether the keys are another stack's."""
        return self.block.address.crosses

    @property
    def facts(self) -> Facts:
        return self.trace.model

    def has(self, *names: str) -> bool:
        return all(name in self.arrays for name in names)

    @property
    def hidden(self) -> int:
        """How many cells of (query, key) the mask hides, shown or not."""
        return len(self.names) * len(self.key_names) - self.block.reach.cells

    def row(self, name: str) -> np.ndarray:
        """The query's row of an array (query, key)."""
        return self.arrays[name][self.kept.index(self.query)]

    def grid(self, name: str) -> np.ndarray:
        """An array (query, key) of the chosen queries and keys, as it is where that is all."""
        if self.queries == list(self.kept) and self.keys == list(range(len(self.key_names))):
            return self.arrays[name]
        places = {query: place for place, query in enumerate(self.kept)}
        return self.arrays[name][np.ix_([places[n] for n in self.queries], self.keys)]

    def length(self, name: str) -> float:
        """The length of the query's vector."""
        return float(np.linalg.norm(self.arrays[name][self.query]))

    def rows(
        self, name: str, positions: Sequence[int], title: Words = "", *, few: bool = False
    ) -> Matrix:
        """An array whose rows are tokens: these positions of it, or the query's and one more."""
        if few and not self.full:
            positions = [n for n in positions if n in (positions[0], self.query)]
        values, own = self.arrays[name], vocabulary.ARRAYS[name].axes
        if list(positions) != list(range(len(values))):  # or else as it is
            values = values[positions]
        narrow = own[-1] == "model" and values.shape[1] != self.facts.model_width
        axes = note("axes.tokens", axis=note(f"axis.{'embedding' if narrow else own[-1]}"))
        columns, of_keys = range(values.shape[1]), "key" in own
        marked = list(positions).index(self.query) if self.query in positions else -1
        names = [(self.key_names if of_keys else self.names)[n] for n in positions]
        return Matrix(
            title or name, values, names, columns, axes, self._kind(name),
            marked=-1 if of_keys and self.crosses else marked,
        )  # fmt: skip

    def cells(self, name: str) -> Matrix:
        """A (query, key) array, restricted to the chosen queries and keys."""
        after = name in ("masked", "weights") and self.has("visible")
        after = after and self.trace.settings["mask_value"] is None  # or they hold that
        item = Matrix(
            name, self.grid(name), [self.names[n] for n in self.queries],
            self.named_keys(self.keys), remark=self._kind(name),
            hidden=~self.grid("visible") if after else NOTHING,
            marked=self.queries.index(self.query) if self.query >= 0 else -1, crosses=self.crosses,
        )  # fmt: skip
        of_sink = self.of_sink(name)
        return sinks.beside(item, of_sink[self.queries] if of_sink.size else of_sink)

    def of_sink(self, name: str) -> np.ndarray:
        """What each query's row of an array (query, key) has of a sink, of size 0 if nothing."""
        beside = vocabulary.SINKS.get(name, "")
        if not self.has(beside):
            return NOTHING
        return np.broadcast_to(self.arrays[beside], len(self.names))

    def any(self, name: str) -> Matrix:
        """An array whatever its axes."""
        *_, first, last = ("", *vocabulary.ARRAYS[name].axes)
        if (first, last) == ("query", "key"):
            return self.cells(name)
        if first not in ("query", "key"):
            return self.parameter(name)
        return self.rows(name, self.keys if first == "key" else self.queries)

    def parameter(self, name: str) -> Matrix:
        """A learned matrix, or a learned vector as a matrix of one row."""
        values, elided = np.atleast_2d(self.arrays[name]), note("parameters.elided", name=name)
        own = [axis for axis in vocabulary.ARRAYS[name].axes if axis not in ("head", "kv_head")]
        rows, columns = ["1", "1", *(note(f"axis.{axis}") for axis in own)][-2:]
        axes = note("axes.matrix", rows=rows, columns=columns)
        rows = range(len(values)) if len(own) == 2 else [""]
        return Matrix(name, values, rows, range(values.shape[1]), axes, elided=elided)

    def named_keys(self, positions: Sequence[int]) -> list[str]:
        return [self.key_names[i] for i in positions]

    def _kind(self, name: str) -> Words:
        return note("remark.what_if") if name in self.block.what_if else ""
