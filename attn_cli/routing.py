"""The record of which experts a mixture's tokens pass."""

from dataclasses import dataclass

import numpy as np

from attn_cli import vocabulary


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Experts:
    """Which of a layer's `count` experts its router sends tokens to, those at `queries`.

    `chosen` (query, expert) numbers them from 0, the first choice first; `shares`, of the same
    shape, is what the output of each is multiplied with before they are added.
    """

    stack: str
    layer: int
    count: int
    queries: tuple[int, ...]
    chosen: np.ndarray
    shares: np.ndarray
    what_if: bool = False

    @property
    def provenance(self) -> str:
        """`real`, or `what-if` where a changed setting has touched what the router reads."""
        return vocabulary.WHAT_IF if self.what_if else vocabulary.REAL
