"""`attn show`: a saved document as a page again."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument

from attn_cli import files, parse
from attn_cli.cli import output
from attn_cli.cli.commands import COMMANDS
from attn_cli.cli.documents import documents, told_of
from attn_cli.cli.options import AttentionOptions, OutputOptions, Quiet, Steps
from attn_cli.cli.schema import document_schema, kinds_of
from attn_cli.cli.show_scan import Asked, ScanShown, result
from attn_cli.cli.streams import CURRENT
from attn_cli.errors import AttnError, ContentError, UsageError, some
from attn_cli.views.formats import FORMATS
from attn_cli.vocabulary import ARRAYS
from attn_cli.words import Note, note

if TYPE_CHECKING:
    from attn_cli.records import Trace
    from attn_cli.views.items import Page
    from attn_cli.views.saved import Saved

EXAMPLES = (
    "attn trace --json | attn show --view heatmap",
    "attn show trace.json --step 5 --view lines",
    "attn show trace.json --format csv --out trace.csv",
    "attn show results.parquet --sort induction",
    "attn show results.parquet --head 1.3 --sort induction",
)

_ASKED = "attn trace --json | attn show"


def command(
    out: OutputOptions,
    shown: ScanShown,
    attention: AttentionOptions,
    file: Annotated[
        str | None,
        Argument(metavar="[FILE]", help="What --json or --format ndjson has written, or attn scan; "
                 "without it, or for -, standard input.", show_default=False),
    ] = None,
    step: Steps = (),
    quiet: Quiet = False,
) -> int:  # fmt: skip
    """Draws saved documents again, in any view; one of attn trace in any of its formats.

    A document is checked against its schema first. What the page of its command would take from
    the model, and the document does not hold, is left out, and the page says so.
    """
    kind = output.chosen_format("show", out)
    steps = parse.steps(step) if step else frozenset()
    if shown.head is not None:  # what was typed is at fault before any file is
        parse.layer_and_head(shown.head, "--head")
    name = "-" if file is None else file
    if file is None and not CURRENT.get().is_fed:
        raise UsageError("there is nothing to show", _ASKED)
    where = "standard input" if files.is_stdin(name) else name
    each = documents(files.prompt_parts(name), where, quiet=quiet)
    first, second = next(each), next(each, None)
    several = second is not None
    asked = Asked(shown, attention, out, quiet=quiet)
    draw = partial(_result, steps=steps, asked=asked, kind=kind, several=several)

    def results() -> "Iterator[output.Result | None]":
        for number, read in chain([first], [second] if several else [], each):
            place = f"{where}: line {number}" if several else where
            try:
                with told_of(place):
                    found = draw(read())
            except AttnError as problem:
                if not several:
                    raise
                output.error(problem)
                found = None
            yield found

    return output.deliver("show", out, results(), quiet=quiet, each=several)


# --- what is written -----------------------------------------------------------------------------


def _result(
    document: dict[str, Any], *, steps: frozenset[int], asked: Asked, kind: str, several: bool
) -> output.Result:
    from attn_cli.views import saved as reading
    from attn_cli.views.json import encode

    name = reading.command_of(document, [n for n, known in COMMANDS.items() if known.records])
    found = reading.read(document, name, document_schema(name), kinds_of(name))
    if steps and name != "trace":
        raise UsageError(f"attn.{name}/1 has no steps", "leave --step out")
    if name == "scan" and not several:
        return result(document, found, asked, kind)
    asked.refuse(name)
    form, notes, out, quiet = FORMATS[kind], found.notes, asked.out, asked.quiet
    sheet = hasattr(found.result, "blanks") and bool(form.sheet) and not several
    if sheet:
        written = _sheet(found, kind)
    elif form.drawn and name == "trace" and not several:
        written = _drawn(found.result, steps, kind, quiet=quiet)
    elif form.arrays and name == "trace" and not several:
        written = import_module(form.arrays).render(
            _of_steps(found.result, steps) if steps else found.result
        )
        notes += _own_names(found.result) if kind == "npz" else ()
    elif form.documents:
        written = [encode(document, line=True)]
    elif kind in COMMANDS["compare"].formats and hasattr(found.result, "shifts") and form.arrays:
        from attn_cli.views import shifts

        _page(found, out, picture=False)  # which looks at what the document says
        written = list(shifts.written(kind, found.model, found.result, notes))
    elif form.arrays:
        raise UsageError(f"attn.{name}/1 cannot be written as {kind}", "--format json")
    else:
        picture = output.is_picture(kind, out)
        if name == "trace" and picture:
            items = _picture(found.result, steps, kind, quiet=quiet)
        elif name == "trace":
            items = _trace(found.result, steps, out, quiet=quiet)
        else:
            items = _page(found, out, picture=picture)
        written = [output.drawn(items, out, kind)]
        notes += output.unused_view(items, out)
    return output.Result(page=list, found=None, notes=notes, written=written)


def _drawn(trace: "Trace", steps: frozenset[int], kind: str, *, quiet: bool) -> "Iterable[bytes]":
    """A trace in a format that computes from its arrays, and tells of all its tokens."""
    from attn_cli.views import show_trace

    if steps:
        output.note("note.unused", option="--step", format=kind, quiet=quiet)
    module = import_module(FORMATS[kind].arrays)
    if not show_trace.whole(trace):
        what = f"it lacks some queries or keys, and {kind} is made of all"
        raise ContentError(what, "save a trace without --query and --key")
    lacks = [
        name for name in ARRAYS
        if name in module.NEEDED and any(name not in block.arrays for block in trace.attention)
    ]  # fmt: skip
    if lacks:
        raise ContentError(
            f"it lacks {some(lacks)}, from which {kind} is made",
            "attn trace --parameters --json, without --step, keeps all",
        )
    try:
        module.needed(show_trace.drawing(trace))
    except UsageError as problem:  # its hint is of options that chose what was traced
        raise ContentError(problem.message, "save a trace of one head") from None
    missing = show_trace.trace_lacks(trace, frozenset(range(1, 7)))
    return list(module.render(replace(trace, notes=(show_trace.lacking(missing), *trace.notes))))


def _sheet(found: "Saved", kind: str) -> "Iterable[bytes]":
    """A saved sheet in a format in which it can be filled in."""
    from attn_cli.cli.answers import check_settings
    from attn_cli.views import exercise

    check_settings(found.settings)
    exercise.saved_page(found.model, found.prompt, found.result, found.settings)
    parts = (found.model, found.prompt, found.result, found.settings)
    return list(exercise.written(kind, *parts))  # all of it, where errors are told of the document


def _page(found: "Saved", out: OutputOptions, *, picture: bool) -> "Page":
    from attn_cli.views import show
    from attn_cli.views.look import Look

    return show.page(found, Look(digits=out.digits, full=out.full), picture=picture)


def _picture(trace: "Trace", steps: frozenset[int], kind: str, *, quiet: bool) -> "Page":
    """The weights of a trace as a picture. Raises ContentError if the document lacks them."""
    from attn_cli.views.trace import picture

    if steps:
        output.note("note.no_picture", option="--step", format=kind, quiet=quiet)
    if not all({"weights", "visible"} <= {*block.arrays} for block in trace.attention):
        raise ContentError(
            "it lacks `weights` or `visible`, so there is no picture of them",
            "--view table draws its page as a screen",
        )
    return picture(trace)


def _trace(trace: "Trace", steps: frozenset[int], out: OutputOptions, *, quiet: bool) -> "Page":
    """The page of a trace: the one of `attn trace`, as far as the document goes."""
    from attn_cli.cli.trace import page_of
    from attn_cli.views import show_trace

    shown = _known(trace, steps)
    lacks = show_trace.trace_lacks(trace, shown)
    trace = _of_steps(trace, steps, show_trace.explained(shown)) if steps else trace
    if show_trace.whole(trace):
        items = page_of(trace, out, quiet=quiet, steps=shown, shown={}, after=True)
    else:
        items = show_trace.parts(trace, shown, full=out.full)
    return show_trace.told(items, lacks)


def _known(trace: "Trace", steps: frozenset[int]) -> frozenset[int]:
    """The steps to show: those asked for, or else all that the document has."""
    from attn_cli.views.show_trace import steps_of

    known = steps_of(trace)
    if steps and not steps & known:
        there = ", ".join(map(str, sorted(known)))
        raise UsageError("the document has nothing of this --step", f"it has {there or 'none'}")
    return known & steps if steps else known


def _of_steps(trace: "Trace", steps: frozenset[int], also: frozenset[str] = frozenset()) -> "Trace":
    """The trace with the arrays of these steps only, and those `also` named."""
    shown, blocks = _known(trace, steps), []
    for block in trace.attention:
        kept = {n: a for n, a in block.arrays.items() if ARRAYS[n].step in shown or n in also}
        blocks.append(replace(block, arrays=kept, what_if=block.what_if & kept.keys()))
    return replace(trace, attention=tuple(blocks))


def _own_names(trace: "Trace") -> tuple[Note, ...]:
    """That names of a norm's side and of rotation are not known."""
    from attn_cli.hook_names import UNSURE

    names = [n for n in ARRAYS if n in UNSURE and any(n in b.arrays for b in trace.attention)]
    return (note("note.own_names", names=", ".join(names)),) if names else ()
