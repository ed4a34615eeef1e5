"""`attn compare` with the results of two scans in place of two prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attn_cli import files
from attn_cli.cli import output
from attn_cli.cli.commands import COMMANDS
from attn_cli.cli.documents import documents, told_of
from attn_cli.cli.options import OutputOptions
from attn_cli.cli.schema import document_schema, kinds_of
from attn_cli.cli.streams import CURRENT
from attn_cli.errors import ContentError, UsageError
from attn_cli.views.formats import FORMATS
from attn_cli.words import note

if TYPE_CHECKING:
    from attn_cli.views.saved import Saved

_TABLES = (".parquet",)
_SUFFIXES = (*_TABLES, ".json", ".jsonl", ".ndjson")
_NAMES = ("text", "other", "quiet")
_FROM = "attn scan FILE… --out results.parquet writes them"


def are_results(left: str | None, right: str | None, out: OutputOptions) -> bool:
    """Whether two prompts are names of results: both, or of tables even one. Raises UsageError for
    a format that only results have."""
    suffixes = [Path(name).suffix.lower() if name else "" for name in (left, right)]
    known = [suffix in _SUFFIXES for suffix in suffixes]
    if all(known) or any(suffix in _TABLES for suffix in suffixes):
        return True
    if _is_table(kind := output.chosen_format("compare", out)):
        hint = "two results of attn scan can; of prompts --format json has all"
        raise UsageError(f"two prompts cannot be written as {kind}", hint)
    return False


def command(prompt: Any, groups: Sequence[Any], own: Mapping[str, Any], out: OutputOptions) -> int:
    """Compares two results, which the prompt names. Raises UsageError for options of passes: those
    of `groups`, and the command's `own` that were given."""
    from attn_cli.scanning.compare import Side, compare
    from attn_cli.views import shifts as view

    left, right, quiet = prompt.text, prompt.other, prompt.quiet
    given = {name: was for one in (prompt, *groups) for name, was in _chosen(one).items()}
    for name in (name for name, value in {**given, **own}.items() if value):
        option = f"--{name.replace('_', '-')}"
        raise UsageError(
            f"{option} does nothing with two results", "they are of scans that are done"
        )
    if left is None or right is None:
        raise UsageError("one result of attn scan alone", "attn compare a.parquet b.parquet")
    kind = output.chosen_format("compare", out)
    one, other = (_read(name, quiet=quiet) for name in (left, right))
    sides = [Side(saved.model, None, saved.settings) for saved in (one, other)]
    found = compare(one.result, other.result, *sides)
    notes = () if found.only_left == found.only_right == 0 else (note("shifts.note_heads"),)
    draw = view.picture if output.is_picture(kind, out) else view.page
    page = partial(draw, one.model, found)
    settings = {**one.settings, "left": left, "right": right}
    written = view.written(kind, one.model, found, notes) if _is_table(kind) else ()
    answer = output.Result(page, found, one.model, None, settings, notes, written=written)
    return output.deliver("compare", out, [answer], quiet=quiet)


def _is_table(kind: str) -> bool:
    """Whether a format is of two results and no two prompts."""
    return bool(FORMATS[kind].arrays) and not FORMATS[kind].documents


def _read(name: str, *, quiet: bool) -> "Saved":
    """A result of a scan. Raises ContentError for anything else."""
    from attn_cli.views import saved, scan

    read = documents(files.prompt_parts(name), name, quiet=quiet)
    with told_of(name):
        _, document = next(read)
        asked = document()
        if next(read, None) is not None:
            raise ContentError("it has several documents", "one result of attn scan")
        command = saved.command_of(asked, [n for n, known in COMMANDS.items() if known.records])
        if command != "scan":
            raise ContentError(f"it is of attn {command}, not of attn scan", _FROM)
        found = saved.read(asked, command, document_schema(command), kinds_of(command))
        scan.check(found.model, found.result)
    return found


def _chosen(options: Any) -> dict[str, bool]:
    """The options of a group by their names, and whether they are not as they are unasked."""
    asked = CURRENT.get().environ.get("ATTN_MODEL")
    found = {}
    for one in (one for one in fields(options) if one.name not in _NAMES):
        value = getattr(options, one.name)
        value = tuple(value) if isinstance(value, list) else value
        unasked = [one.default] + [(asked,)] * (one.name == "model")
        found[one.name] = value not in unasked
    return found
