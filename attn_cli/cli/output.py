"""The only code that writes to the terminal: data to stdout, notes and errors to stderr."""

import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from attn_cli.errors import AttnError, ContentError, UsageError
from attn_cli.files import is_read, reason, write_bytes
from attn_cli.words import Note

if TYPE_CHECKING:
    from attn_cli.cli.options import OutputOptions
    from attn_cli.training.loop import StepRecord, TrainingSettings
    from attn_cli.views.items import Page
    from attn_cli.views.look import Look

BROKEN_PIPE = 141
_REFRESH = 0.25


class Result(NamedTuple):
    """One answer, ready to be drawn or written: only the form asked for is made."""

    page: Callable[[], "Page"]
    document: Callable[[], dict[str, Any]]
    notes: tuple[Note, ...] = ()


class ReaderGone(Exception):
    """The reader of our pipe went away; there is nobody to tell."""


def emit(data: bytes, out: str | None = None) -> None:
    """Writes a whole result, to a file or to stdout, which `-` means too.

    Raises ContentError, UsageError, ReaderGone.
    """
    if not _is_stdout(out):
        _refuse_empty(out)
        if is_read(Path(out)):
            raise UsageError(f"--out {out} is a file that this command reads", "choose another")
        write_bytes(Path(out), data)
        return
    try:
        stream = sys.stdout.buffer
        stream.write(data)
        stream.flush()
    except BrokenPipeError:
        raise ReaderGone from None
    except (OSError, ValueError, AttributeError) as error:
        raise ContentError(f"cannot write to standard output: {_why(error)}") from None


def _is_stdout(out: str | None) -> bool:
    return out in (None, "-")


def _refuse_empty(out: str | None) -> None:
    if out == "":
        raise UsageError("--out is empty", "give a file name: --out FILE; - is standard output")


def _why(error: BaseException) -> str:
    return reason(error) if isinstance(error, OSError) else "it is closed"


def refuse_terminal(kind: str, out: str | None) -> None:
    """Binary data does not belong on a screen. Raises UsageError."""
    if _is_stdout(out) and _is_terminal(sys.stdout):
        raise UsageError(f"{kind} is binary and stdout is a terminal", f"--out trace.{kind}")


def note(key: str, /, *, quiet: bool = False, **values: object) -> None:
    """A remark for the person, on stderr."""
    tell(Note(key, values), quiet=quiet)


def tell(remark: Note, *, quiet: bool = False) -> None:
    """A remark of a record, on stderr."""
    if not quiet:
        _to_stderr(f"note: {remark}")


def error(problem: AttnError) -> int:
    """Tells what went wrong in at most three lines and returns the exit code."""
    _to_stderr(f"attn: {problem.message}")
    if problem.hint:
        _to_stderr(f"hint: {problem.hint}")
    return problem.exit_code


def _to_stderr(text: str) -> None:
    from attn_cli.views.text import visible

    try:
        sys.stderr.buffer.write((visible(text) + "\n").encode("utf-8", "replace"))
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return  # nobody can be told


def print_page(page: "Page", look: "Look", out: str | None = None) -> None:
    """Draws a page and writes it at once, so that a failure leaves stdout empty."""
    from attn_cli.views.drawers import DRAWERS

    emit(DRAWERS[look.view](page, look).encode("utf-8", "replace"), out)


def screen_width() -> int:
    """Columns to draw in: COLUMNS if given, else the terminal's, else 80."""
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and 0 < int(given[:5]) <= 10_000:
        return max(int(given[:5]), 20)
    if _is_terminal(sys.stdout):
        try:
            return max(os.get_terminal_size(sys.stdout.fileno()).columns, 20)
        except OSError:
            return 80
    return 80


def has_colour(out: str | None = None) -> bool:
    """Whether escape bytes may be written at all."""
    return _is_stdout(out) and not _is_plain() and _is_terminal(sys.stdout)


def _is_plain() -> bool:
    """Whether the user or the terminal wants no escape bytes."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") in ("dumb", "")


def _is_terminal(stream: object) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False


_SUFFIXES = {
    ".json": "json", ".ndjson": "ndjson", ".jsonl": "ndjson", ".csv": "csv", ".npz": "npz",
    ".txt": "table",
}  # fmt: skip


def chosen_format(options: "OutputOptions", known: tuple[str, ...] = ()) -> str:
    """The format asked for: --json, --format, or the suffix of --out. Raises UsageError.

    `known` restricts it to what a command can write.
    """
    if options.json and options.format not in ("", "json"):
        raise UsageError(f"--json and --format {options.format} contradict each other")
    _refuse_empty(options.out)
    found = "json" if options.json else options.format or _of_suffix(options.out, known)
    if known and found not in known:
        raise UsageError(f"this command cannot write {found}", f"one of {', '.join(known)}")
    if found == "npz":
        refuse_terminal(found, options.out)
    return found


def _of_suffix(out: str | None, known: tuple[str, ...]) -> str:
    """The format that --out's suffix names; a table where there is none. Raises UsageError."""
    suffix = Path(out or "").suffix
    if suffix and suffix.lower() not in _SUFFIXES:
        names = " ".join(name for name, kind in _SUFFIXES.items() if not known or kind in known)
        raise UsageError(f"--out: the suffix {suffix} is unknown", f"{names}, or give --format")
    return _SUFFIXES.get(suffix.lower(), "table")


def look(options: "OutputOptions") -> "Look":
    """How pages are drawn on this screen under these options."""
    from attn_cli.views.look import Look

    return Look(
        width=screen_width(),
        digits=options.digits,
        full=options.full,
        columns_are_queries=options.layout == "columns",
        colour=has_colour(options.out),
        terminal={k: v for k, v in os.environ.items() if k in ("TERM", "COLORTERM")},
    )


def follow(
    records: Iterable["StepRecord"], settings: "TrainingSettings", *, quiet: bool
) -> list["StepRecord"]:
    """Shows a run on stderr while it goes on: drawn on a terminal, lines now and then elsewhere."""
    from attn_cli.views import table, train
    from attn_cli.views.look import Look

    history: list[StepRecord] = []
    if quiet or not _is_terminal(sys.stderr) or _is_plain() or "TERM" not in os.environ:
        for record in records:
            history.append(record)
            if not quiet and (record.step % 100 == 0 or record.step == record.steps):
                _to_stderr(train.line(record))
        return history
    from rich.console import Console, Group
    from rich.live import Live

    console = Console(stderr=True)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        drawn = 0.0
        for record in records:
            history.append(record)
            now = time.monotonic()
            if now - drawn > _REFRESH:
                drawn_page = table.renderables(
                    train.page(record, history, settings), Look(width=console.width)
                )
                live.update(Group(*drawn_page), refresh=True)
                drawn = now
    return history


def deliver(options: "OutputOptions", results: Iterable[Result], *, quiet: bool) -> None:
    """Writes results as pages or as documents, one document to a line. Raises UsageError."""
    kind = chosen_format(options, ("table", "json", "ndjson"))
    drawn = look(options) if kind == "table" else None
    pages: Page = []
    lines: list[bytes] = []
    for result in results:
        if drawn is None:
            from attn_cli.views.json import encode

            lines.append(encode(result.document()) + b"\n")
            continue
        for remark in result.notes:
            tell(remark, quiet=quiet)
        pages.extend(result.page())
    if drawn is None:
        emit(b"".join(lines), options.out)
    else:
        print_page(pages, drawn, options.out)
