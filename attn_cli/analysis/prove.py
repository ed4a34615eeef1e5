"""Names for heads, each above what heads do by accident, and what the model loses without them.

Where a token comes a second time, a head may look at the token that followed it the first time
(induction, Olsson et al. 2022), at the token itself (duplicate), at the one before, or at nothing
in particular (the first token, a sink).
"""

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from attn_cli import vocabulary
from attn_cli.analysis.probes import ROLES, Head, Passes, Probe, Scores
from attn_cli.model.family import Model
from attn_cli.records import Passed

LEAST = 0.4  # of a head's attention makes a name
PARTNERS = 3


class Partner(NamedTuple):
    """A head of an earlier layer, and how much of what it writes this head's keys read.

    `composition` is ‖W_QK·W_OVᵀ‖ / (‖W_QK‖·‖W_OV‖) (Frobenius; K-composition, Elhage et al. 2021),
    without rotation and biases.
    """

    layer: int
    head: int
    composition: float


class Proved(NamedTuple):
    """One head: its names, best first, and its scores (see `Proof`).

    `first_value` is the length of the first token's value, after W_O, over the mean of the others'.
    `loss_without` is the loss on the second copy without this head, NaN where that was not asked:
    of heads without a name, or with none but sink. These have no `partners` either.
    """

    layer: int
    head: int
    names: tuple[str, ...]
    induction: float
    duplicate: float
    previous: float
    self: float
    sink: float
    first_value: float
    loss_without: float
    partners: tuple[Partner, ...]


class Role(NamedTuple):
    """One name: what a head does by accident, and the heads that do more.

    `null` is the largest score of any head on random tokens without a repeat: at the same distance
    (induction, duplicate), or at a key drawn at random for each query. `loss_without` is the loss
    on the second copy without all of `heads` at once, `loss_without_others` that without as many
    `others` from the same stretch of layers, those that rest most on the first token and have no
    name but sink. NaN where there is no loss, none to remove, or not as many others.
    """

    name: str
    null: float
    heads: tuple[str, ...]
    loss_without: float
    others: tuple[str, ...]
    loss_without_others: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Proof:
    """Every head of one attention on a `block` of random ids, read twice from position `start`.

    Scores are mean weights: with N tokens in the block, induction is A[q, q−N+1] and duplicate
    A[q, q−N] over the second copy; previous A[q, q−1], self A[q, q] and sink A[q, 0] over all
    queries but the first. A head has a name where the score is at least `least` and above the
    null. `loss` is the mean loss, in nats, on the second copy but for its first token, which
    nothing tells; NaN where the model has no next token.
    """

    stack: str
    kind: str
    provenance: str
    seed: int
    block: tuple[int, ...]
    start: int
    least: float
    loss: float
    heads: tuple[Proved, ...]
    roles: tuple[Role, ...]


def prove_steps(
    model: Model,
    probe: Probe,
    where: tuple[str, str],
    settings: Mapping[str, Any],
    *,
    seed: int = 0,
    max_memory: int = 0,
) -> Generator[Passed, None, Proof]:
    """The proof of one attention, under what-if `settings` as `session.what_if` takes them.

    Yields each layer that is done, of one pass or another. Raises UsageError, ContentError.
    """
    passes = Passes(model=model, probe=probe, where=where, settings=settings)
    passes.check(max_memory)
    scores = yield from passes.scores()
    nulls = yield from passes.nulls(seed)
    names = _names(scores, nulls)
    named = [head for head, roles in names.items() if set(roles) - {"sink"}]
    of_roles = {role: [head for head, roles in names.items() if role in roles] for role in ROLES}
    others = {role: _others(names, scores, heads) for role, heads in of_roles.items()}
    others["sink"] = []
    sets: list[Collection[Head]] = [(head,) for head in named]
    for role in ROLES[:-1]:
        sets += [heads for heads in (of_roles[role], others[role]) if heads]
    losses = (yield from passes.losses(sets)) if passes.loses else [_NONE] * len(sets)
    known = {frozenset(heads): loss for heads, loss in zip(sets, losses, strict=True)}
    partners = yield from passes.partners(named, PARTNERS, max_memory)

    def without(heads: Collection[Head]) -> float:
        return known.get(frozenset(heads), _NONE)

    return Proof(
        stack=where[0],
        kind=where[1],
        provenance=vocabulary.WHAT_IF if scores.touched else vocabulary.DERIVED,
        seed=seed,
        block=probe.block,
        start=probe.start,
        least=LEAST,
        loss=scores.loss,
        heads=tuple(
            _proved(head, names[head], scores, without((head,)), partners.get(head, ()))
            for head in names
        ),
        roles=tuple(
            Role(
                role, nulls[role], _written(heads := of_roles[role]), without(heads),
                _written(others[role]), without(others[role]),
            )
            for role in ROLES
        ),
    )  # fmt: skip


def _proved(
    head: Head,
    names: tuple[str, ...],
    scores: Scores,
    loss_without: float,
    partners: Sequence[tuple[float, Head]],
) -> Proved:
    return Proved(
        *head,
        names,
        **{role: float(scores.of_roles[role][head]) for role in ROLES},
        first_value=float(scores.values[head]),
        loss_without=loss_without,
        partners=tuple(Partner(*at, score) for score, at in partners),
    )


_NONE = float("nan")


def _names(scores: Scores, nulls: Mapping[str, float]) -> dict[Head, tuple[str, ...]]:
    """What each head is called, the role with the largest score first."""
    found = {}
    for head in np.ndindex(scores.values.shape):
        of_head = {role: float(scores.of_roles[role][head]) for role in ROLES}
        mine = [role for role in ROLES if of_head[role] >= LEAST and of_head[role] > nulls[role]]
        found[head] = tuple(sorted(mine, key=lambda role: -of_head[role]))
    return found


def _others(
    names: Mapping[Head, Sequence[str]], scores: Scores, heads: Sequence[Head]
) -> list[Head]:
    """As many others from the same stretch of layers, which have no name but sink: those that rest
    most on the first token. None where there are fewer."""
    layers = [layer for layer, _ in heads]
    idle = [
        head
        for head, roles in names.items()
        if not set(roles) - {"sink"} and layers and min(layers) <= head[0] <= max(layers)
    ]
    idle.sort(key=lambda head: -scores.of_roles["sink"][head])
    return idle[: len(heads)] if len(idle) >= len(heads) else []


def _written(heads: Sequence[Head]) -> tuple[str, ...]:
    return tuple(f"{layer}.{head}" for layer, head in heads)
