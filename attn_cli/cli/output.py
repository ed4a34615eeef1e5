"""The only code that writes to the terminal: data to stdout, notes and errors to stderr."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from attn_cli.cli.commands import COMMANDS, check_format
from attn_cli.cli.streams import CURRENT, write_all
from attn_cli.errors import AttnError, ContentError, UsageError, bounded
from attn_cli.files import is_read, reason
from attn_cli.views.formats import FORMATS
from attn_cli.words import Note, sentence
from attn_cli.writing import check_name, handle_named, writing

if TYPE_CHECKING:
    from attn_cli.cli.options import OutputOptions
    from attn_cli.records import Facts, Passed, Prompt
    from attn_cli.training.loop import StepRecord, TrainingSettings
    from attn_cli.views.items import Page
    from attn_cli.views.look import Look

T = TypeVar("T")
BROKEN_PIPE = 141
_REFRESH, _PATIENCE = 0.25, 1.0  # seconds
_ECHO = len("^C") + 1  # that a terminal puts at the end of a line, and must not break it
_REMARKS = 256  # that a run remembers to have made


class Result(NamedTuple):
    """One answer: the record found, what its document says beside it, and how to draw its page.

    `failed`: it is bad news, and the exit code says so too. `written` is what to write instead of
    the page, the document or the arrays, if there is any.
    """

    page: Callable[[], "Page"]
    found: Any
    model: "Facts | None" = None
    prompt: "Prompt | None" = None
    settings: Mapping[str, Any] = {}
    notes: tuple[Note, ...] = ()
    failed: bool = False
    written: Iterable[bytes] = ()


# --- results -------------------------------------------------------------------------------------


def deliver(
    command: str,
    options: "OutputOptions",
    results: "Iterable[Result | None]",
    *,
    quiet: bool = False,
    each: bool = False,
) -> int:
    """Writes results as pages, documents or arrays, and returns the exit code. Raises UsageError.

    There is one, but with `each`, where every result is a document of its own, one to a line,
    written when it is made; none is kept. None is one that failed.
    """
    kind = chosen_format(command, options)
    form = FORMATS[kind]
    if each and (form.page or (form.arrays and not form.documents)):
        many = "several documents" if command == "show" else "--each"
        raise UsageError(f"{many} cannot be written as {kind}", "--format ndjson")
    whole = form.documents and (each or not form.arrays or command != "trace")
    picture = is_picture(kind, options)
    if whole or form.arrays or picture:
        _tell_unused(options, kind, quiet=quiet)
    plain = not (each or whole or form.arrays or form.page)
    paged = plain and not options.no_pager and _is_stdout(options.out)
    told: set[str] = set()
    with ExitStack() as written:
        write = cache(lambda: written.enter_context(_writing(options.out)))

        def delivered(result: Result | None) -> bool:
            if result is None:
                return False
            _tell_once(result.notes, told, quiet=quiet)
            if not (result.written or whole or form.arrays or picture):
                result = result._replace(page=cache(result.page))
                _tell_once(unused_view(result.page(), options), told, quiet=quiet)
            for piece in _pieces(command, result, options, kind, whole=whole):
                if not (paged and CURRENT.get().page(piece)):
                    write()(piece)
            return not result.failed

        # A loop over the results would keep each while the next is made.
        return 0 if min(map(delivered, results), default=True) else 1


def _tell_once(remarks: tuple[Note, ...], told: set[str], *, quiet: bool) -> None:
    """What earlier results of the run have said too is not repeated, as far as that is known."""
    if len(told) > _REMARKS:
        told.clear()
    for remark in remarks:
        if str(remark) not in told:
            tell(remark, quiet=quiet)
        told.add(str(remark))


def _pieces(
    command: str, result: Result, options: "OutputOptions", kind: str, *, whole: bool
) -> Iterable[bytes]:
    """A result as it is written: as a `whole` document, by the format's module, or as a page."""
    arrays = FORMATS[kind].arrays
    if result.written:
        return result.written
    if whole:
        return _document(command, result)
    if arrays:
        return import_module(arrays).render(result.found)
    return [drawn(result.page(), options, kind)]


def _tell_unused(options: "OutputOptions", kind: str, *, quiet: bool) -> None:
    """Says which options act on pages only."""
    neutral = {"full": False}
    if not FORMATS[kind].page:
        neutral |= {"digits": 2, "layout": "rows", "view": ""}
    for name, value in neutral.items():
        if getattr(options, name) != value:
            note("note.unused", option=f"--{name}", format=kind, quiet=quiet)


def unused_view(page: "Page", options: "OutputOptions") -> tuple[Note, ...]:
    """That a page looks the same in the view that was asked for, if it does."""
    from attn_cli.views.cells import pictured

    cells = options.view in ("heatmap", "dots")
    return (Note("cells.none", {"view": options.view}),) if cells and not pictured(page) else ()


def _document(command: str, result: Result) -> Iterable[bytes]:
    from attn_cli.views import json

    _, found, model, prompt, settings, notes, *_ = result
    if command == "trace":
        return json.trace_pieces(found)
    document = json.document(command, model, prompt, settings, found, notes)
    return [json.encode(document, line=True)]


def chosen_format(command: str, options: "OutputOptions") -> str:
    """The format asked for: --json, --format, or the suffix of --out. Raises UsageError."""
    if options.json and options.format not in ("", "json"):
        raise UsageError(f"--json and --format {options.format} contradict each other")
    check_name(options.out)
    known = COMMANDS[command].formats
    found = "json" if options.json else options.format or _of_suffix(options.out, known)
    check_format(command, found)
    if FORMATS[found].binary and _is_stdout(options.out) and CURRENT.get().is_screen:
        raise UsageError(f"{found} is binary and stdout is a terminal", f"--out {command}.{found}")
    return found


def is_picture(kind: str, options: "OutputOptions") -> bool:
    """Whether a format draws a picture of the page, not the page as on a screen."""
    return bool(FORMATS[kind].page) and not options.view


def shown_as(command: str, options: "OutputOptions") -> str:
    """The format asked for; `table` where it shows a page as on a screen. Raises UsageError."""
    kind = chosen_format(command, options)
    return "table" if FORMATS[kind].page and not is_picture(kind, options) else kind


def _of_suffix(out: str | None, known: tuple[str, ...]) -> str:
    """The format that --out's suffix names; the first one where there is none."""
    suffix = Path(out or "").suffix
    if not suffix:
        return known[0]
    for name, form in FORMATS.items():
        if suffix.lower() in form.suffixes:
            return name
    names = " ".join(s for name in (*known[1:], known[0]) for s in FORMATS[name].suffixes)
    raise UsageError(f"--out: the suffix {suffix} is unknown", f"{names}, or give --format")


def _look(options: "OutputOptions") -> "Look":
    """How pages are drawn on this screen under these options."""
    from attn_cli.views.look import Look

    streams = CURRENT.get()
    return Look(
        view=options.view,
        width=streams.width,
        digits=options.digits,
        full=options.full,
        columns_are_queries=options.layout == "columns",
        colour=_is_stdout(options.out) and streams.is_screen and not streams.is_plain,
        terminal={k: v for k, v in streams.environ.items() if k in ("TERM", "COLORTERM")},
    )


def drawn(page: "Page", options: "OutputOptions", kind: str = "table") -> bytes:
    """A page as it is written in a format, or on this screen, under these options."""
    from attn_cli.views.drawers import drawer

    look, module = _look(options), FORMATS[kind].page
    if module:
        return import_module(module).render(page, look)
    return drawer(look).draw(page, look).encode("utf-8", "replace")


def emit(data: bytes, out: str | None = None) -> None:
    """Writes a whole result, to a file or to stdout, which `-` means too.

    Raises ContentError, UsageError, and BrokenPipeError where the reader of a pipe went away.
    """
    with _writing(out) as write:
        write(data)


@contextmanager
def _writing(out: str | None) -> Iterator[Callable[[bytes], None]]:
    """Takes a result piece by piece, as `emit` does; a file holds all of it in the end, or none."""
    if _is_stdout(out):
        yield _to_stdout
        return
    check_out(out)
    with writing(Path(out)) as write:
        yield write


def _to_stdout(data: bytes) -> None:
    try:
        write_all(CURRENT.get().stdout, data)
    except BrokenPipeError:
        raise
    except (OSError, ValueError, AttributeError) as error:
        why = reason(error) if isinstance(error, OSError) else "it is closed"
        raise ContentError(f"cannot write to standard output: {why}") from None


def _is_stdout(out: str | None) -> bool:
    return out in (None, "-") or handle_named(out) == 1


def check_out(out: str) -> None:
    """Raises UsageError or ContentError for a name of an output that cannot be one."""
    check_name(out)
    if is_read(Path(out)):
        raise UsageError(f"--out {out} is a file that this command reads", "choose another")


# --- remarks -------------------------------------------------------------------------------------


def note(key: str, /, *, quiet: bool = False, **values: object) -> None:
    """A remark for the person, on stderr."""
    tell(Note(key, values), quiet=quiet)


def tell(remark: Note, *, quiet: bool = False) -> None:
    """A remark of a record, on stderr."""
    if not quiet:
        to_stderr(sentence("note.said", said=remark))


def error(problem: AttnError) -> int:
    """Tells what went wrong in at most three lines and returns the exit code."""
    to_stderr(f"attn: {problem.message}")
    if problem.hint:
        to_stderr(f"hint: {problem.hint}")
    return problem.exit_code


def to_stderr(text: str) -> None:
    """A line for the person, on stderr."""
    from attn_cli.views.text import visible

    stream = CURRENT.get().stderr
    try:
        write_all(stream, (bounded(visible(bounded(text))) + "\n").encode("utf-8", "replace"))
    except (OSError, ValueError, AttributeError):
        return  # nobody can be told


def follow(
    records: Iterable["StepRecord"], settings: "TrainingSettings", *, quiet: bool
) -> list["StepRecord"]:
    """Shows a run on stderr while it goes on: drawn on a terminal, lines now and then elsewhere."""
    from attn_cli.views import table, train
    from attn_cli.views.look import Look

    streams = CURRENT.get()
    history: list[StepRecord] = []
    if quiet or not streams.is_live:
        for record in records:
            history.append(record)
            if not quiet and (record.step % 100 == 0 or record.step == record.steps):
                to_stderr(train.line(record))
        return history
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    console = Console(file=streams.stderr, _environ=streams.environ)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        drawn = 0.0
        for record in records:
            history.append(record)
            now = time.monotonic()
            if now - drawn > _REFRESH:
                page = train.page(record, history, settings)
                shown = table.renderables(page, Look(width=console.width))
                live.update(Group(*shown, Text()), refresh=True)  # its last line has room for ^C
                drawn = now
    return history


def watched(steps: "Generator[Passed, None, T]", *, quiet: bool) -> T:
    """What passes come to that give a record for each of their layers.

    Where they take more than a second and stderr is a terminal that can be drawn on, a line there
    says how far they are; it is gone in the end.
    """
    pace, waiting = _Pace(), not quiet and CURRENT.get().is_live
    with closing(steps), ExitStack() as shown:
        while True:
            try:
                pace.add(next(steps))
            except StopIteration as end:
                return end.value
            if waiting and pace.at - pace.began > _PATIENCE:
                shown.enter_context(drawn_anew(pace.line))
                waiting = False


class _Pace:
    """The last record of passes, when it came, and when its pass and the first one began."""

    def __init__(self) -> None:
        self.began = self.since = self.at = time.monotonic()
        self.last: Passed | None = None

    def add(self, passed: "Passed") -> None:
        last = self.last
        if last and (passed.stack != last.stack or passed.layer <= last.layer):
            self.since = self.at  # another pass
        self.last, self.at = passed, time.monotonic()

    def line(self) -> str:
        from attn_cli.views import progress

        now, done = time.monotonic(), self.last.layer + 1
        left = (self.last.layers - done) * (self.at - self.since) / done - (now - self.at)
        return progress.line(self.last, now - self.began, max(0.0, left))


@contextmanager
def drawn_anew(line: Callable[[], str]) -> Iterator[None]:
    """A line on stderr that follows what it says until the end, and then goes."""
    from threading import Event, Thread

    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    streams, ended = CURRENT.get(), Event()
    console = Console(file=streams.stderr, _environ=streams.environ)

    def drawn() -> Text:
        room = console.width - _ECHO
        text = Text(line() if room > 0 else "", no_wrap=True)
        text.truncate(max(room, 0), overflow="ellipsis")
        return text

    live = Live(
        console=console, get_renderable=drawn, auto_refresh=False, transient=True,
        redirect_stdout=False, redirect_stderr=False,
    )  # fmt: skip

    def follow() -> None:
        with suppress(OSError, ValueError):  # a terminal that went away
            while not ended.wait(_REFRESH):
                live.refresh()

    # Rich's own thread may outlive its line.
    thread = Thread(target=follow, daemon=True)
    try:
        with suppress(OSError, ValueError):
            live.start(refresh=True)
        thread.start()
        yield
    finally:
        ended.set()
        if thread.is_alive():
            thread.join()
        with suppress(OSError, ValueError):
            live.stop()
