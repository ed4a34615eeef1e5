"""The page of `attn heads --prove`: names, what they are measured against, and what they do."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attn_cli.records import Facts, Prompt
from attn_cli.views.circuit import passed_after
from attn_cli.views.items import Column, Columns, Heading, Page, Say, paragraph, say, what_ifs
from attn_cli.views.numbers import Number
from attn_cli.words import Note, counted, note

if TYPE_CHECKING:
    from attn_cli.analysis.prove import Proof, Proved

_DASH = "–"


def page(model: Facts, prompt: Prompt, found: "Proof", settings: Mapping[str, Any]) -> Page:
    """Headline, what was read, each name with its null and its cause, and each head named."""
    size = len(found.block)
    named = [head for head in found.heads if set(head.names) - {"sink"}]
    resting = sum(head.names == ("sink",) for head in found.heads)
    return [
        Heading(model, prompt, note("prove.where")),
        *what_ifs(settings),
        *_headline(found),
        say("prove.probe", size=size, seed=found.seed, near=size - 1),
        say("prove.null", least=found.least),
        _roles(found),
        _of_loss(model, found),
        *([_heads(found, named), _composed(model)] if named else []),
        *([say("prove.resting", resting=counted(resting, "prove.rests_one", "prove.rest_many"))]
          if resting else []),
        say("prove.what"),
    ]  # fmt: skip


def _of_loss(model: Facts, found: "Proof") -> Say:
    """What the loss is, or why there is none."""
    if not math.isnan(found.loss):
        return say("prove.others")
    predicts = model.writes and model.predicts and found.stack == model.stack
    return say("prove.no_number" if predicts else "prove.no_loss")


def _headline(found: "Proof") -> list[Say]:
    role, all_heads = found.roles[0], len(found.heads)
    if not role.heads:
        best = max(
            found.heads, key=lambda head: -1 if math.isnan(head.induction) else head.induction
        )
        return [
            say("prove.none", "headline", all=all_heads, head=_name(best), score=best.induction)
        ]
    count = counted(len(role.heads), "prove.one", "prove.many")
    first = say("prove.headline", "headline", count=count, all=all_heads)
    if math.isnan(role.loss_without):
        return [first]
    others = math.isnan(role.loss_without_others)
    key = "prove.cause" if others else "prove.cause_others"
    return [
        first,
        say(
            key,
            loss=found.loss,
            without=role.loss_without,
            others=role.loss_without_others,
            them=note("prove.it" if len(role.heads) == 1 else "prove.them"),
        ),
    ]


def _composed(model: Facts) -> Say:
    return paragraph(say("prove.composed"), *passed_after(model))


def _roles(found: "Proof") -> Columns:
    """Each name: its null, the best head, how many have it, the loss without them."""
    best = {role.name: max(found.heads, key=_score(role.name)) for role in found.roles}
    columns = [
        Column(note("prove.name"), [note(f"prove.{role.name}") for role in found.roles], "left"),
        Column(note("prove.null_column"), [role.null for role in found.roles], "fine"),
        Column(note("prove.best"), [_score(r.name)(best[r.name]) for r in found.roles], "fine"),
        Column(note("prove.of"), [_name(best[role.name]) for role in found.roles], "left"),
        Column(note("prove.heads"), [str(len(role.heads)) for role in found.roles], "right"),
    ]
    if not math.isnan(found.loss):
        without = [role.loss_without for role in found.roles]
        others = [role.loss_without_others for role in found.roles]
        columns.append(Column(note("prove.without"), _known(without, [found.loss]), "right"))
        columns.append(Column(note("prove.without_others"), _known(others, [found.loss]), "right"))
    loss = note("prove.loss", loss=found.loss)
    return Columns(loss if not math.isnan(found.loss) else note("prove.roles"), columns)


def _heads(found: "Proof", named: "list[Proved]") -> Columns:
    """One row per named head, name by name, the best first."""
    order = [role.name for role in found.roles]
    named = sorted(named, key=lambda head: (order.index(_first(head)), -_score(_first(head))(head)))
    columns = [
        Column(note("column.head_number"), [_name(head) for head in named], "left"),
        Column(note("prove.name"), [_names(head.names) for head in named], "left"),
        Column(note("prove.score"), [_score(_first(head))(head) for head in named], "fine"),
    ]
    if not math.isnan(found.loss):
        losses = [head.loss_without for head in named]
        columns.append(Column(note("prove.without_it"), _known(losses, [found.loss]), "right"))
    for place, key in enumerate(("prove.reads", "prove.next")):
        partners = [head.partners[place] if len(head.partners) > place else None for head in named]
        names = [f"{one.layer}.{one.head}" if one else _DASH for one in partners]
        numbers = [one.composition if one else math.nan for one in partners]
        columns.append(Column(note(key), names, "left"))
        columns.append(Column(note("prove.composition"), _known(numbers, []), "right"))
    return Columns(note("prove.named"), columns, "first")


def _first(head: "Proved") -> str:
    """The name of a head that is no sink's, the best first."""
    return next(name for name in head.names if name != "sink")


def _names(names: tuple[str, ...]) -> Note:
    first, *rest = (note(f"prove.{name}") for name in names)
    for other in rest:
        first = note("page.two", first=first, rest=other)
    return first


def _score(role: str) -> Any:
    """What a role's score of a head is; NaN counts as none."""

    def score(head: "Proved") -> float:
        value = getattr(head, role)
        return 0.0 if math.isnan(value) else value

    return score


def _known(numbers: list[float], beside: list[float]) -> list[object]:
    """Numbers with the same decimals, a dash where there is none."""
    known = [number for number in (*numbers, *beside) if not math.isnan(number)]
    return [_DASH if math.isnan(number) else Number(number, known) for number in numbers]


def _name(head: "Proved") -> str:
    return f"{head.layer}.{head.head}"
