"""What is asked of a pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from attn_cli import vocabulary
from attn_cli.maths.kept import Measure
from attn_cli.model.selection import Positions
from attn_cli.model.what_if import UNCHANGED, Changes
from attn_cli.records import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to record, and whether to run to the end.

    `blocks` are recorded: the arrays named in `arrays`, of the `heads` of their stack and of the
    `positions`, queries and keys, of their stack and kind (of all where it is not named), but of
    arrays (query, key) only its `rows` if it has some; and the `measures` of all their weights that
    their stack and kind has. A `whole` pass goes on to the prediction. Beside the tokens of the
    stack that predicts, a pass reads `source`, those of the encoder where it is another stack, and
    `types`, the segment of each token (empty: all are of the first).
    """

    blocks: frozenset[Address] = frozenset()
    heads: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    positions: Mapping[tuple[str, str], Positions] = field(default_factory=dict)
    rows: Mapping[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    arrays: frozenset[str] = frozenset()
    measures: Mapping[tuple[str, str], Mapping[str, Measure]] = field(default_factory=dict)
    whole: bool = True
    what_if: Changes = UNCHANGED
    source: tuple[int, ...] = ()
    types: tuple[int, ...] = ()

    def last_layer(self, stack: str, layers: int) -> int:
        """The last layer of a stack that has to be computed."""
        later = vocabulary.STACKS[vocabulary.STACKS.index(stack) + 1 :]
        if self.whole or any(block.stack in later for block in self.blocks):
            return layers - 1
        return max((block.layer for block in self.blocks if block.stack == stack), default=-1)
