"""What a mask does: which cells it hides, and how far weights, output and prediction move."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from attn_cli import room, vocabulary
from attn_cli.analysis.heads import found
from attn_cli.candidates import followed
from attn_cli.errors import UsageError
from attn_cli.maths import masks
from attn_cli.maths.products import NOTHING
from attn_cli.records import Address, Candidate, Trace
from attn_cli.session import Question

NEEDS = frozenset({"scaled", "visible", "masked", "weights", "sink_share", "output"})


# Bytes of a cell: itself, and what a document makes of it.
_OF_CELL, _WRITTEN = 350, 390


class Cell(NamedTuple):
    """One (query, key) pair; positions count from 0.

    `scaled` and `weight` are those before the mask changed it, or `scaled` after where it was
    opened; `masked` and `weight_after` those with it.
    """

    query: int
    key: int
    scaled: float
    masked: float
    weight: float
    weight_after: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MaskEffect:
    """One head under two masks: `before` (without the mask in question) and `after` (with it).

    `visible_*` and `weights_*` are (query, key). `removed` are the cells hidden only after,
    `added` those visible only after, `valued` those that stay hidden and get a number instead of −∞
    (a mask value). `hidden_share` is the share of each query's weights after that goes to hidden
    keys. `moved` is the share of each query's attention that changed place, ½ Σ |after − before|,
    the sink's included; `sink_share_*` (query) is what that gets, of size 0 where there is none;
    `output_change` the length of the change of `output` per token and `output_norm` the length of
    `output` before. `next_before` and `next_after` hold the same
    tokens, the likeliest before and the likeliest after, each in the order of its own ranks.
    """

    stack: str
    kind: str
    layer: int
    head: int
    provenance: str
    visible_before: np.ndarray
    visible_after: np.ndarray
    removed: tuple[Cell, ...]
    added: tuple[Cell, ...]
    valued: tuple[Cell, ...]
    hidden_share: np.ndarray
    weights_before: np.ndarray
    weights_after: np.ndarray
    moved: np.ndarray
    output_norm: np.ndarray
    output_change: np.ndarray
    next_before: tuple[Candidate, ...]
    next_after: tuple[Candidate, ...]
    sink_share_before: np.ndarray = field(default_factory=lambda: NOTHING)
    sink_share_after: np.ndarray = field(default_factory=lambda: NOTHING)


def made(before: Question, after: Question, block: Address, *, document: bool) -> room.Made:
    """What the comparison of two traces of a block takes: it tells of every cell that one mask
    hides and the other does not, or that is given a value."""
    queries, keys = (len(side.tokens) for side in before.prompt.sides(block.stack, block.kind))
    own = masks.none if block.both_sides or block.crosses else masks.causal
    hidden, valued = [], False
    for asked in (before, after):
        what_if = asked.request.what_if.at(block)
        visible = what_if.visible(own, queries, keys, both_sides=block.both_sides)
        seen = masks.reach(masks.looks(visible, 0, queries, keys)).cells
        hidden.append(queries * keys - seen)
        valued = valued or what_if.mask_value != -np.inf
    cells = abs(hidden[0] - hidden[1]) + valued * min(hidden)
    share = cells / max(queries, keys) ** 2
    return room.Made(of_pair=share * (_OF_CELL + _WRITTEN * document))


@np.errstate(all="ignore")
def mask(
    before: Trace, after: Trace, where: int | Address = 0, head: int = 0, top: int = 5
) -> MaskEffect:
    """Compares two traces of one prompt; the `top` candidates of each are found in both.

    Raises UsageError if the traces do not hold layer and head.
    """
    old, new = blocks = found(before, where), found(after, where)
    if head not in old.heads or head not in new.heads:
        raise UsageError(f"head {head} was not traced", "trace(…, head=…)")
    places = [block.heads.index(head) for block in blocks]
    weights = [block.weights[place] for block, place in zip(blocks, places, strict=True)]
    sinks = [
        block.sink_share[place] if "sink_share" in block.arrays else NOTHING
        for block, place in zip(blocks, places, strict=True)
    ]
    seen_old, seen_new = old.visible, new.visible
    added, masked = seen_new & ~seen_old, new.masked[places[1]]
    of_sink = sinks[1] - sinks[0] if sinks[0].size else np.float32(0)
    scaled = np.where(added, new.scaled[places[1]], old.scaled[places[0]])

    def cells(chosen: np.ndarray) -> tuple[Cell, ...]:
        four, rows = (scaled, masked, *weights), np.flatnonzero(chosen.any(axis=1)).tolist()
        return tuple(Cell(q, k, *(float(array[q, k]) for array in four))
                     for q in rows for k in np.flatnonzero(chosen[q]).tolist())  # fmt: skip

    likeliest = {c.id: c.text for trace in (before, after) for c in _candidates(trace)[:top]}
    return MaskEffect(
        stack=old.stack,
        kind=old.kind,
        layer=old.layer,
        head=head,
        provenance=vocabulary.WHAT_IF,
        visible_before=seen_old,
        visible_after=seen_new,
        removed=cells(seen_old & ~seen_new),
        added=cells(added),
        valued=cells(~seen_old & ~seen_new & (masked > old.masked[places[0]])),
        hidden_share=np.where(seen_new, 0, weights[1]).sum(axis=-1),
        weights_before=weights[0],
        weights_after=weights[1],
        moved=(np.abs(weights[1] - weights[0]).sum(axis=-1) + np.abs(of_sink)) / 2,
        output_norm=np.linalg.norm(old.output, axis=-1),
        output_change=np.linalg.norm(new.output - old.output, axis=-1),
        next_before=_followed(before, likeliest),
        next_after=_followed(after, likeliest),
        sink_share_before=sinks[0],
        sink_share_after=sinks[1],
    )


def _followed(trace: Trace, likeliest: dict[int, str]) -> tuple[Candidate, ...]:
    return followed(trace.next[0], trace.logits[0], likeliest) if trace.next else ()


def _candidates(trace: Trace) -> tuple[Candidate, ...]:
    return trace.next[0].candidates if trace.next else ()
