"""The documents that a file of a user's holds: those of attn, and the tables of a scan."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain, count
from typing import Any

from attn_cli import files, machine
from attn_cli.cli import output
from attn_cli.cli.schema import document_schema
from attn_cli.cli.streams import CURRENT
from attn_cli.errors import AttnError, ContentError, size

Document = Callable[[], dict[str, Any]]  # reads one
_LONGEST = 1 << 30  # bytes of a document
_MARK = b"\xef\xbb\xbf"
# Bytes that a list, an object and a number or a text take, about: while they are read 16 more than
# Python's own, and the text of all of them once more.
_LIST, _OBJECT, _VALUE, _TEXT = 80, 248, 56, 2
# So many of the first two a document may have, or one for so many bytes; and of values.
_LISTS, _BYTES = 1 << 20, 16
_VALUES, _SHORT = 1 << 22, 3
_QUOTES, _QUOTED = 1 << 22, 4  # and of quotation marks: texts and names
_JUDGED = 1 << 20  # bytes of many lines that are counted together
_SHARE = 8  # a document takes so many times its bytes at the least
_OTHER = 1 << 22  # bytes of what does not begin like a document, and of a first line that is none
# What every document names, and what shows that a line is a part of one.
_NAMES = ("schema", "tool", "model", "prompt", "settings", "notes")
_OF_PARTS = (b'"values"', b'"measure"')
_MISFITS = (
    ArithmeticError, AttributeError, LookupError, RecursionError, StopIteration, TypeError,
    ValueError,
)  # fmt: skip


@contextmanager
def told_of(place: str) -> "Iterator[None]":
    """Errors of a document say which it is; what does not fit together in it is one too."""
    try:
        yield
    except AttnError as problem:
        raise type(problem)(f"{place}: {problem.message}", problem.hint) from None
    except _MISFITS:
        if CURRENT.get().environ.get("ATTN_DEBUG"):
            raise
        hint = "it is damaged, or was changed since attn wrote it"
        raise ContentError(f"{place}: its parts do not fit together", hint) from None


def documents(parts: Iterator[bytes], where: str, *, quiet: bool) -> Iterator[tuple[int, Document]]:
    """The documents of a file with the numbers of their lines: one to a line, or one in all of
    them. Raises ContentError where there is none."""
    from attn_cli.views import saved_scan

    began = b""
    while len(began.lstrip()) < len(saved_scan.MAGIC) and len(began) < _OTHER:
        if not (part := next(parts, b"")):
            break
        began += part
    if began.startswith(saved_scan.MAGIC):
        yield 0, partial(_table, files.joined(chain([began], parts), where))
        return
    longest = max(_OTHER, min(_LONGEST, machine.available() // _SHARE))
    if not began.removeprefix(_MARK).lstrip().startswith(b"{"):
        longest = _OTHER
    lines = files.lines(chain([began], parts), longest)
    filled = ((n, line) for n, (line, _) in enumerate(lines, 1) if line is None or line.strip())
    number, line = next(filled, (0, b""))
    if line and line.startswith(_MARK):
        output.note("note.mark", where=where, quiet=quiet)
        line = line.removeprefix(_MARK)
    try:
        with told_of(where):
            document = _parsed(line)
    except ContentError as problem:
        yield from _otherwise(number, line, filled, problem, where, longest)
        return
    if saved_scan.is_row(document):
        rows = chain([document], (_parsed(line, row=True) for _, line in _within(filled, where)))
        yield 0, partial(saved_scan.of_lines, rows, document_schema("scan"))
        return
    held = [document]
    del document, line  # or they would be kept while it is shown, and others are read
    yield number, held.pop
    for number, line in filled:
        yield number, partial(_parsed, line)


def _table(data: bytes) -> dict[str, Any]:
    from attn_cli.views import saved_scan

    return saved_scan.of_parquet(data, document_schema("scan"))


def _within(lines: "Iterator[tuple[int, bytes | None]]", where: str) -> "Iterator[Any]":
    """The same lines, as many as there is memory for."""
    most = min(_LONGEST, machine.available() // _SHARE)
    for number, line in lines:
        most -= len(line or b"")
        if most < 0:
            raise ContentError(f"{where} has more rows than memory can hold")
        yield number, line


def _otherwise(
    first: int,
    line: bytes | None,
    others: "Iterator[tuple[int, bytes | None]]",
    problem: AttnError,
    where: str,
    longest: int,
) -> Iterator[tuple[int, Document]]:
    """What lines hold of which the first is no document: one over all of them, or a damaged one
    before others. Raises the problem of the first if neither."""
    last, held, kept = first, bytearray(line or b""), line is not None
    opened = judged = 0
    for n, text in others:
        if _is_document(text):
            told = zip(count(first), held.split(b"\n") if kept else [None], strict=False)
            before = ((at, one) for at, one in told if one != b"")
            every = chain(before, [(n, text)], others)
            yield from ((at, partial(_parsed, one)) for at, one in every)
            return
        kept = kept and text is not None
        held += b"\n" * (n - last) + text if kept else b""
        last = n
        if len(held) > longest or n - first > _most(_VALUES, held, _SHORT):
            raise problem
        if len(held) - judged > _JUDGED:
            opened += held.count(b"[", judged) + held.count(b"{", judged)
            judged = len(held)
            if opened > _most(_LISTS, held, _BYTES):
                raise problem
    if not kept or last == first:
        raise problem
    with told_of(where):
        whole = [_parsed(b"\n" * (first - 1) + bytes(held))]
    del held
    yield 1, whole.pop


def _most(few: int, data: bytes | bytearray, share: int) -> int:
    """So many, or one for so many bytes."""
    return max(few, len(data) // share)


def _is_document(line: bytes | None) -> bool:
    """Whether a line alone is JSON with a schema."""
    if not line or line[:1] != b"{" or line.rstrip()[-1:] != b"}":
        return False
    try:
        return "schema" in _parsed(line)
    except ContentError:
        return False


def _parsed(line: bytes | None, *, row: bool = False) -> dict[str, Any]:
    from attn_cli.views.saved import parsed

    if line is None:
        raise ContentError("it has too many bytes for a document of attn")
    lists, objects, values = (line.count(mark) for mark in (b"[", b"{", b","))
    if lists + objects > _most(_LISTS, line, _BYTES):
        raise ContentError("it has too many lists and objects for a document of attn")
    if line.count(b'"') > _most(_QUOTES, line, _QUOTED):
        raise ContentError("it has too many texts for a document of attn")
    if values > _most(_VALUES, line, _SHORT):
        raise ContentError("it has too many values for a document of attn")
    needed = lists * _LIST + objects * _OBJECT + values * _VALUE + _TEXT * len(line)
    if needed > machine.available() // 2:
        raise ContentError(
            f"it would take {size(needed)} of memory, more than half of what is free"
        )
    if len(line) > _OTHER and not row:
        _check_names(line)
    return parsed(line)


def _check_names(line: bytes) -> None:
    """Refuses what lacks a name that every document has, before it is read: that takes long, and
    many times its bytes. Raises ContentError."""
    from attn_cli.views.check import DAMAGED
    from attn_cli.views.saved import command_of

    absent = next((name for name in _NAMES if b'"%b"' % name.encode() not in line), "")
    if not absent or any(mark in line for mark in _OF_PARTS):
        return
    if absent == "schema":
        command_of({}, ())  # says so
    raise ContentError(f"the document has no {absent}", DAMAGED)
