"""What training sees: every position predicts its next token at once."""

from collections.abc import Generator
from typing import NamedTuple

import numpy as np

from attn_cli import candidates, room, session, vocabulary
from attn_cli.errors import UsageError
from attn_cli.maths.layers import cross_entropy
from attn_cli.model.family import Model
from attn_cli.model.what_if import UNCHANGED, Changes
from attn_cli.records import Candidate, Passed, Prompt

_LOGITS = 1 << 19  # that are in float64 at a time


class PositionLoss(NamedTuple):
    """One position: the token that really comes next, and how well it was predicted.

    `loss` = −ln(probability), in nats; `rank` is the place of the actual token among all, the last
    where the probability is NaN.
    """

    position: int
    token: str
    next_id: int
    next_token: str
    probability: float
    rank: int
    loss: float
    best: Candidate


class Loss(NamedTuple):
    """All positions; `mean` in nats per token; `perplexity` = e^mean."""

    provenance: str
    positions: tuple[PositionLoss, ...]
    mean: float
    perplexity: float


def loss(
    model: Model, prompt: Prompt, changes: Changes = UNCHANGED, *, max_memory: int = 0
) -> Loss:
    """The loss at every position of a tokenised prompt, under what-if settings.

    Raises UsageError for a single token, ContentError for what needs more than `max_memory` (see
    `session.trace`).
    """
    return session.finished(loss_steps(model, prompt, changes, max_memory))


def loss_steps(
    model: Model, prompt: Prompt, changes: Changes, max_memory: int
) -> Generator[Passed, None, Loss]:
    """`loss`, which yields each layer that is done."""
    session.check_writes(model.facts, "the loss")
    session.check_predicts(model.facts)
    read = prompt.last
    if len(read.tokens) < 2:
        raise UsageError(
            "a loss needs at least two tokens",
            "give --target: its tokens are what is predicted" if prompt.target
            else "the second is what the first predicts",
        )  # fmt: skip
    targets = np.array(read.ids[1:])
    request = session.request_for(prompt, what_if=changes)
    room.check(model, prompt, request, max_memory, logits=room.ALL)
    _, end = yield from session.running(model, read.ids, request)
    logits, some = session.predict(model, end.x)[:-1], max(1, _LOGITS // model.facts.vocabulary)
    with np.errstate(all="ignore"):
        losses = np.concatenate([
            cross_entropy(logits[at : at + some].astype(np.float64), targets[at : at + some])
            for at in range(0, len(logits), some)
        ])  # fmt: skip
        mean = float(losses.mean())
        perplexity = float(np.exp(mean))
    positions = tuple(
        _position(model, read, i, logits[i], float(nats)) for i, nats in enumerate(losses)
    )
    provenance = vocabulary.WHAT_IF if end.touched else vocabulary.DERIVED
    return Loss(provenance, positions, mean, perplexity)


def _position(
    model: Model, prompt: Prompt, i: int, logits_V: np.ndarray, nats: float
) -> PositionLoss:
    target = prompt.tokens[i + 1]
    rank = logits_V.size if np.isnan(nats) else candidates.place_of(logits_V, target.id)
    return PositionLoss(
        position=i,
        token=prompt.tokens[i].text,
        next_id=target.id,
        next_token=target.text,
        probability=float(np.exp(-nats)),
        rank=rank,
        loss=nats,
        best=candidates.rank(model, logits_V, 1)[0],
    )
