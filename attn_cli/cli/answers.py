"""Answers to a sheet, as a file gives them: numbers by their blanks, or a sheet filled in."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from attn_cli import files, parse
from attn_cli.cli import forms
from attn_cli.cli.options import MOST
from attn_cli.cli.schema import document_schema, kinds_of
from attn_cli.cli.streams import CURRENT
from attn_cli.errors import AttnError, ContentError, UsageError, shorten
from attn_cli.strict import Limit, too_many
from attn_cli.views.handout import as_ids, opens
from attn_cli.vocabulary import KINDS, STACKS

if TYPE_CHECKING:
    from attn_cli.analysis.exercise import Blank, Sheet
    from attn_cli.records import Prompt, Trace
    from attn_cli.views.saved import Saved

_LIMIT = Limit(1 << 24, 1 << 20)
MOST_BLANKS, MOST_DIGITS = 100, 9
_FORM = '{"1": 0.5, "2": -2}, or a sheet that --json or --format csv has written, filled in'
_ITSELF = "leave it out: the sheet says it itself"


class Given(NamedTuple):
    """The answers of a file (None where one is left empty), and the sheet it is, if it is one.

    `places` are the arrays, rows and columns that it says its blanks are, as far as it does."""

    where: str
    numbers: Mapping[str, float | None]
    sheet: "Saved | None" = None
    places: Mapping[str, tuple[str, ...]] = {}

    def options(self, prompt: Any, attention: Any, asked: Any) -> tuple[Any, Any, Any]:
        """What was typed, with what a sheet says itself. Raises UsageError for what differs."""
        if self.sheet is None:
            if asked.seed is None:
                raise UsageError(
                    "--check needs the seed of the sheet", "--seed N, as the sheet says at its end"
                )
            return prompt, attention, asked
        own = self.sheet.settings
        self._check_typed(prompt, attention, asked)
        asked = asked._replace(
            layer=str(own["layer"]), head=str(own["head"]), step=[str(n) for n in own["step"]],
            blanks=int(own["blanks"]), digits=int(own["digits"]), seed=int(own["seed"]),
        )  # fmt: skip
        attention = replace(attention, stack=own["stack"], kind=own["kind"])
        return self._prompt(prompt), attention, asked

    def _check_typed(self, prompt: Any, attention: Any, asked: Any) -> None:
        own, text = self.sheet.settings, self.sheet.prompt.text
        steps = sorted(parse.steps(asked.step)) if asked.step else None
        pairs = {
            "TEXT": (prompt.text, text), "--seed": (asked.seed, own["seed"]),
            "--blanks": (asked.blanks, own["blanks"]), "--step": (steps, list(own["step"])),
            "--layer": (asked.layer, str(own["layer"])),
            "--head": (asked.head if asked.head != "0" else None, str(own["head"])),
            "--digits": (asked.digits if asked.digits != 2 else None, own["digits"]),
            "--stack": (attention.stack or None, own["stack"]),
            "--file": (prompt.file, None), "--ids": (prompt.ids, None),
            "--pair": (prompt.pair, own.get("pair")),
        }  # fmt: skip
        for option, (typed, there) in pairs.items():
            if typed is not None and typed != there:
                said = "its own" if there is None else shorten(str(there))
                what = f"{self.where} is a sheet with {option} {said}, not {shorten(str(typed))}"
                raise UsageError(what, _ITSELF)

    def _prompt(self, prompt: Any) -> Any:
        """The prompt's options, with the model and the reading of the sheet."""
        own = self.sheet.settings
        typed = prompt.model if prompt.model != CURRENT.get().environ.get("ATTN_MODEL") else ""
        target = self.sheet.prompt.target
        return replace(
            prompt, model=typed or opens(self.sheet.model), text="a sheet",
            no_special=not own["special"], pair=own.get("pair"),
            target_ids=",".join(map(str, target.ids)) if target else None,
        )  # fmt: skip

    def reader(self, read: "Callable[..., Prompt]") -> "Callable[..., Prompt] | None":
        """What gives the sheet's own prompt, whatever it is asked; None without a sheet."""
        if self.sheet is None:
            return None
        prompt = self.sheet.prompt
        given = {"ids": prompt.ids} if as_ids(prompt) else {"text": prompt.text}
        return lambda **_: read(**given)

    def of(self, sheet: "Sheet", trace: "Trace") -> dict[int, float]:
        """The answers by number to the blanks of a sheet. Raises ContentError for another's."""
        self._check_sheet(sheet, trace)
        found = {}
        for name, value in self.numbers.items():
            count = len(sheet.blanks)
            number = int(name) if name.isascii() and name.isdigit() and len(name) < 5 else 0
            if not 1 <= number <= count:
                raise ContentError(
                    f"{self.where}: there is no blank {shorten(name)!r}",
                    f'the sheet has "1" to "{count}"' if count > 1 else 'the sheet has "1"',
                )
            self._check_place(name, sheet.blanks[number - 1])
            if value is not None:
                found[number] = value
        return found

    def _check_place(self, name: str, blank: "Blank") -> None:
        """Raises ContentError for an answer to a blank of another sheet."""
        theirs, ours = self.places.get(name, ()), (blank.array, str(blank.row), str(blank.column))
        if theirs and theirs != ours:
            told, own = (" ".join(place) for place in (theirs, ours))
            what = f"{self.where} has {shorten(told)} as blank {name}; on this sheet it is {own}"
            raise ContentError(what, "give --seed and the other options of its sheet")

    def _check_sheet(self, sheet: "Sheet", trace: "Trace") -> None:
        if self.sheet is None:
            return
        own, facts = self.sheet, trace.model
        if own.model.name != facts.name:
            what = f"{self.where} is a sheet of {own.model.name}, not of {facts.name}"
            raise UsageError(what, _ITSELF)
        same = own.prompt.last.ids == trace.prompt.last.ids and own.prompt.ids == trace.prompt.ids
        if not (same and _alike(own.result, sheet)):
            raise ContentError(
                f"{self.where}: its numbers are not those that {facts.name} gives",
                "it was changed, or made with another model of that name; make the sheet again",
            )


def _alike(theirs: "Sheet", ours: "Sheet") -> bool:
    """Whether two sheets show the same numbers and leave the same ones blank."""
    import numpy as np

    if [blank[:5] for blank in theirs.blanks] != [blank[:5] for blank in ours.blanks]:
        return False
    if [table.array for table in theirs.tables] != [table.array for table in ours.tables]:
        return False
    for left, right in zip(theirs.tables, ours.tables, strict=True):
        if left.values.shape != right.values.shape:
            return False
        shown = np.isfinite(right.values)
        if not np.array_equal(left.values[shown], right.values[shown]):
            return False
    return True


def given_in(name: str) -> Given:
    """The answers of a file, a pipe or standard input. Raises ContentError."""
    import orjson

    data = files.read_input(name, _LIMIT.bytes)
    where = "standard input" if files.is_stdin(name) else name
    if problem := too_many(data, _LIMIT):
        raise ContentError(f"{where} {problem}", _FORM)
    data = data.removeprefix(b"\xef\xbb\xbf")
    if data.startswith(b"PK\x03\x04"):
        what = f"{where} is a workbook; its answers are read as CSV"
        raise ContentError(what, "open its sheet `answers`, save that as answers.csv and check it")
    if forms.is_form(name, data):
        rows = forms.rows(where, data)
        return Given(
            where,
            {blank: forms.number(where, blank, answer) for blank, answer, _ in rows},
            places={blank: place for blank, _, place in rows},
        )
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as problem:
        at = f" (at line {problem.lineno}, column {problem.colno})" if data.strip() else ""
        raise ContentError(f"{where} is not JSON{at}", _FORM) from None
    if not isinstance(found, dict):
        raise ContentError(f"{where} is JSON, but no answers", _FORM)
    if "schema" in found:
        return _sheet(where, found)
    return Given(where, {name: _number(where, name, value) for name, value in found.items()})


def _number(where: str, name: str, value: Any) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not isfinite(value):
        said = shorten(json.dumps(value, ensure_ascii=False))
        raise ContentError(f"{where}: the answer to {shorten(name)!r} is no number: {said}", _FORM)
    return float(value)


# What a sheet's settings must have: whole numbers up to these.
_MOST = {"layer": MOST, "head": MOST, "blanks": MOST_BLANKS, "digits": MOST_DIGITS, "seed": MOST}


def check_settings(own: Mapping[str, Any]) -> None:
    """Raises ValueError or LookupError, and UsageError, for settings that no sheet has."""
    for key, most in _MOST.items():
        if type(own[key]) is not int or not 0 <= own[key] <= most:
            raise ValueError
    if own["step"]:
        parse.steps(map(str, own["step"]))
    if own["stack"] not in STACKS or own["kind"] not in KINDS or not own["blanks"]:
        raise ValueError
    if type(own["special"]) is not bool or not isinstance(own.get("pair"), str | None):
        raise ValueError


def _sheet(where: str, document: dict[str, Any]) -> Given:
    """A sheet's answers: those of its blanks, or numbers that were put into its tables."""
    from attn_cli.views import saved as reading

    try:
        name = reading.command_of(document, ["exercise"])
        found = reading.read(document, name, document_schema(name), kinds_of(name))
        sheet, settings = found.result, found.settings
        if not hasattr(sheet, "tables") or found.model is None or found.prompt is None:
            raise ContentError("it holds answers that were checked, not a sheet", _FORM)
        tables = {table.array: table.values for table in sheet.tables}
        cells = [tables[one.array][one.row, one.column] for one in sheet.blanks]
        numbers = [one.answer if isfinite(one.answer) else float(cell)
                   for one, cell in zip(sheet.blanks, cells, strict=True)]  # fmt: skip
        check_settings(settings)
    except AttnError as problem:
        raise ContentError(f"{where}: {problem.message}", problem.hint) from None
    except (LookupError, TypeError, ValueError):
        what = f"{where}: its parts do not fit together"
        raise ContentError(what, "it is damaged, or was changed since attn wrote it") from None
    return Given(
        where,
        {
            str(one.number): float(number) if isfinite(number) else None
            for one, number in zip(sheet.blanks, numbers, strict=True)
        },
        found,
    )
