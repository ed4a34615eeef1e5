"""How two predictions differ."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from attn_cli.analysis.align import Alignment
from attn_cli.candidates import followed
from attn_cli.model.family import Model
from attn_cli.reading import token_of
from attn_cli.records import Candidate, Trace


class Chance(NamedTuple):
    """A token that one side or both find likely: its id, its rank from 1 and its probability.

    Where a vocabulary has no such token they are −1, 0 and NaN.
    """

    text: str
    left_id: int
    left_rank: int
    left: float
    right_id: int
    right_rank: int
    right: float


class Predicted(NamedTuple):
    """Two predictions. `tokens` are the likeliest of either, by their rank on the left; where the
    vocabularies differ, tokens of the same text are the same.

    `divergence` is the Kullback-Leibler divergence Σ p·ln(p ÷ q) in nats of the right one's
    probabilities q from the left one's p; NaN where the vocabularies differ.
    """

    left_position: int
    right_position: int
    divergence: float
    tokens: tuple[Chance, ...]


def predictions(
    models: tuple[Model, Model],
    traces: tuple[Trace, Trace],
    alignments: Mapping[str, Alignment],
    ids: Mapping[int, int] | None,
    top: int,
) -> Iterator[Predicted]:
    """The predictions of both that are each other's; `ids` see `partners`."""
    back = None if ids is None else {other: id for id, other in ids.items()}
    for places in _pairs(alignments, *traces):
        own = [trace.next[place] for trace, place in zip(traces, places, strict=True)]
        logits = [trace.logits[place] for trace, place in zip(traces, places, strict=True)]
        first, second = ([c.id for c in one.candidates[:top]] for one in own)
        pairs = [(id, _partner(ids, id)) for id in first]
        pairs += [(_partner(back, id), id) for id in second]
        chances = [
            {c.id: c for c in followed(prediction, logits_V, _texts(model, chosen))}
            for model, prediction, logits_V, chosen in zip(
                models, own, logits, zip(*pairs, strict=True), strict=True
            )
        ]
        tokens = [_chance(*map(dict.get, chances, pair)) for pair in dict.fromkeys(pairs)]
        tokens.sort(key=lambda token: (not token.left_rank, token.left_rank, token.right_rank))
        yield Predicted(
            *(one.position for one in own),
            float("nan") if ids is not None else divergence(*logits),
            tuple(tokens),
        )


def _partner(ids: Mapping[int, int] | None, id: int) -> int:
    """The other vocabulary's id of a token, −1 if it has none."""
    return id if ids is None else ids.get(id, -1)


def _texts(model: Model, ids: Iterable[int]) -> dict[int, str]:
    return {id: token_of(model, id).text for id in ids if id >= 0}


def _chance(left: Candidate | None, right: Candidate | None) -> Chance:
    numbers = (
        (one.id, one.rank, one.probability) if one else (-1, 0, float("nan"))
        for one in (left, right)
    )  # fmt: skip
    return Chance((left or right).text, *next(numbers), *next(numbers))


def _pairs(alignments: Mapping[str, Alignment], left: Trace, right: Trace) -> list[tuple[int, int]]:
    """Where in `next` predictions of the same kind stand: all in order, or those of tokens that
    are aligned, where one trace has more of them."""
    if left.model.masked != right.model.masked:
        return []
    if len(left.next) == len(right.next):
        return [(place, place) for place in range(len(left.next))]
    aligned = alignments.get(left.model.stack)
    pairs = dict(zip(aligned.left, aligned.right, strict=True)) if aligned else {}
    places = {found.position: place for place, found in enumerate(right.next)}
    found = ((place, places.get(pairs.get(one.position))) for place, one in enumerate(left.next))
    return [(own, other) for own, other in found if other is not None]


@np.errstate(all="ignore")
def divergence(left_V: np.ndarray, right_V: np.ndarray) -> float:
    """Σ p·ln(p ÷ q) in nats of two lists of logits, p of the left, q of the right."""
    ln_p, ln_q = (
        logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
        for logits in (left_V.astype(np.float64), right_V.astype(np.float64))
    )
    p = np.exp(ln_p)
    found = float(np.where(p == 0, 0, p * (ln_p - ln_q)).sum())
    return 0.0 if found < 0 else found  # what rounding makes of nothing
