"""One head of one block as the page of `attn trace` tells of it: its arrays as tables."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from attn_cli import vocabulary
from attn_cli.records import Attention, Facts, Trace
from attn_cli.views.items import NOTHING, Matrix, Words
from attn_cli.words import note


class HeadView(NamedTuple):
    """One head of one block, and the queries and keys to show of it.

    `arrays` are this head's, without the head axis; `queries` and `keys` are positions, the last
    of `queries` is the one told about in sentences.
    """

    trace: Trace
    block: Attention
    head: int
    arrays: dict[str, np.ndarray]
    queries: list[int]
    keys: list[int]
    names: list[str]
    full: bool

    @property
    def query(self) -> int:
        return self.queries[-1]

    @property
    def tokens(self) -> list[int]:
        return sorted({*self.queries, *self.keys})

    @property
    def facts(self) -> Facts:
        return self.trace.model

    def has(self, *names: str) -> bool:
        return all(name in self.arrays for name in names)

    def length(self, name: str) -> float:
        """The length of the query's vector."""
        return float(np.linalg.norm(self.arrays[name][self.query]))

    def rows(
        self, name: str, positions: Sequence[int], title: Words = "", *, few: bool = False
    ) -> Matrix:
        """An array whose rows are tokens: these positions of it, or the query's and one more."""
        if few and not self.full:
            positions = [n for n in positions if n in (positions[0], self.query)]
        values = self.arrays[name][positions]
        axes = note("axes.tokens", axis=vocabulary.ARRAYS[name].axes[-1])
        columns = range(values.shape[1])
        marked = list(positions).index(self.query) if self.query in positions else -1
        return Matrix(
            title or name, values, self.named(positions), columns, axes, self._kind(name),
            marked=marked,
        )  # fmt: skip

    def cells(self, name: str) -> Matrix:
        """A (query, key) array, restricted to the chosen queries and keys."""
        at = np.ix_(self.queries, self.keys)
        after = name in ("masked", "weights") and self.has("visible")
        after = after and self.trace.settings["mask_value"] is None  # or they hold that
        return Matrix(
            name, self.arrays[name][at], self.named(self.queries), self.named(self.keys),
            remark=self._kind(name), hidden=~self.arrays["visible"][at] if after else NOTHING,
            marked=self.queries.index(self.query),
        )  # fmt: skip

    def parameter(self, name: str) -> Matrix:
        """A learned matrix, or a learned vector as a matrix of one row."""
        values, elided = np.atleast_2d(self.arrays[name]), note("parameters.elided", name=name)
        own = [axis for axis in vocabulary.ARRAYS[name].axes if axis not in ("head", "kv_head")]
        axes = note("axes.matrix", rows=own[0] if len(own) == 2 else "1", columns=own[-1])
        rows = range(len(values)) if len(own) == 2 else [""]
        return Matrix(name, values, rows, range(values.shape[1]), axes, elided=elided)

    def named(self, positions: Sequence[int]) -> list[str]:
        return [self.names[i] for i in positions]

    def _kind(self, name: str) -> str:
        return vocabulary.WHAT_IF if name in self.block.what_if else ""
