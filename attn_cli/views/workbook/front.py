"""The first sheet of a workbook, which says what the others are, and the one of settings."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from attn_cli import __version__, vocabulary
from attn_cli.notes import place
from attn_cli.records import Address, Prompt, Trace
from attn_cli.views.items import Words
from attn_cli.views.workbook.head import Head
from attn_cli.views.workbook.sheets import Sheet
from attn_cli.words import note

SETTINGS = "settings"
# What stands at the start of the way, and so is numbers in every workbook.
_GIVEN = frozenset({"x", "key_x", "angles", "bias", "visible", "q_position", "k_position",
                    "weights_before"})  # fmt: skip


class Link(NamedTuple):
    """A cell that leads to another sheet."""

    sheet: str


class Live(NamedTuple):
    """A cell with a formula, and what it comes to."""

    formula: str
    value: float


class Title(NamedTuple):
    """A cell that heads what stands below it."""

    words: Words


class Setting(NamedTuple):
    """A number that acts on all rows, under a name that formulas use; None is −∞."""

    name: str
    value: float | None


Cell = Words | float | int | Link | Live | Title
Line = Sequence[Cell]


def settings_of(head: Head) -> list[Setting]:
    """The settings that some formula uses."""
    used = {"scale", "attention_temperature", "mask_value", "head_kept", "soft_cap", "sink", "clip"}
    if head.has("normed") and head.sheets["normed"].formula:
        used.add("epsilon")
    if any(head.has("angles", letter) and head.sheets[letter].formula for letter in "qk"):
        used.add("attention_factor")
    neutral = {"soft_cap": 0, "clip": 0, "attention_factor": 1}
    return [
        Setting(name, value) for name, value in head.settings.items()
        if name in used and value != neutral.get(name, ())
    ]  # fmt: skip


def lines(trace: Trace, head: Head, left_out: int) -> Iterator[Line]:
    """The first sheet, line by line; `left_out` counts the cells of matrices that are not there."""
    view, facts = head.view, trace.model
    where = place(facts, view.block)
    yield (Title(note("xlsx.title", head=view.head, where=where, model=facts.name)),)
    yield (note("xlsx.what"),)
    yield (note("xlsx.change"),)
    changes = " ".join(vocabulary.changes(trace.settings))
    yield (note("xlsx.is_what_if", changes=changes) if changes else note("xlsx.real"),)
    fixed = [n for n, sheet in head.sheets.items() if _is_fixed(sheet)]
    if fixed:
        yield (note("xlsx.fixed", names=", ".join(fixed)),)
    if left_out:
        yield (note("xlsx.no_parameters", cells=left_out),)
    if head.has("weights_before"):
        now, before = (head.sheets[name].whole for name in ("weights", "weights_before"))
        yield note("xlsx.moved"), Live(f"SUMPRODUCT(MAX(ABS({now}-{before})))", 0.0)
    yield ()
    yield from _facts(trace, head)
    yield ()
    yield from _sheets(head)
    for which, side in _sides(trace.prompt, view.block.address):
        yield ()
        yield from _tokens(which, side)
    yield from _next(trace)
    if trace.notes:
        yield from ((), (Title(note("xlsx.notes")),), *((said,) for said in trace.notes))


def _is_fixed(sheet: Sheet) -> bool:
    given = sheet.name in _GIVEN or sheet.name in vocabulary.PARAMETERS
    return not (given or sheet.formula)


def _facts(trace: Trace, head: Head) -> Iterator[Line]:
    facts, prompt, block = trace.model, trace.prompt, head.view.block
    yield note("xlsx.model"), f"{facts.name} · {facts.family}"
    yield note("xlsx.source"), facts.source
    yield note("xlsx.where"), f"{block.stack} · {block.kind} · {block.layer}.{head.view.head}"
    for which, one in (("prompt", prompt), ("target", prompt.target)):
        if one and one.has_text:
            yield note(f"xlsx.{which}"), one.text
    yield note("xlsx.tool"), note("xlsx.version", version=__version__)


def _sheets(head: Head) -> Iterator[Line]:
    yield (Title(note("xlsx.sheets")),)
    words = ("sheet", "step", "holds", "provenance", "meaning")
    yield [Title(note(f"xlsx.{word}")) for word in words]
    yield Link(SETTINGS), "", note("xlsx.values"), "", note("xlsx.what_settings")
    for sheet in head.sheets.values():
        spec = vocabulary.ARRAYS.get(_of(sheet.name))
        yield (
            Link(sheet.name), spec.step if spec else "", note(f"xlsx.{sheet.kind}"),
            sheet.provenance, sheet.says,
        )  # fmt: skip


def _of(name: str) -> str:
    """The array that a sheet beside the arrays belongs to."""
    beside = {"powers": "weights", "weights_before": "weights", "angles": "q"}
    return beside.get(name, name)


def _sides(prompt: Prompt, at: Address) -> Iterator[tuple[str, Prompt]]:
    queries, keys = prompt.sides(at.stack, at.kind)
    yield ("target" if queries is prompt.target else "prompt"), queries
    if keys is not queries:
        yield "prompt", keys


def _tokens(which: str, side: Prompt) -> Iterator[Line]:
    yield (Title(note("xlsx.tokens", which=note(f"xlsx.{which}"))),)
    yield [Title(note(f"xlsx.{word}")) for word in ("position", "id", "text")]
    for position, token in enumerate(side.tokens):
        yield position, token.id, token.text


def _next(trace: Trace) -> Iterator[Line]:
    for entry in trace.next:
        yield ()
        said = {"position": entry.position, "provenance": entry.provenance}
        yield (Title(note("xlsx.next", **said)),)
        yield (note("xlsx.next_what"),)
        words = ("rank", "text", "id", "logit", "probability")
        yield [Title(note(f"xlsx.{word}")) for word in words]
        for one in entry.candidates:
            yield one.rank, one.text, one.id, one.logit, one.probability
