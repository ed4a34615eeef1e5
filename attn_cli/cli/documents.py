"""The documents that a file of a user's holds: those of attn, and the tables of a scan."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Any

from attn_cli import files, machine
from attn_cli.cli import output
from attn_cli.cli.schema import document_schema
from attn_cli.cli.streams import CURRENT
from attn_cli.errors import AttnError, ContentError, size

Document = Callable[[], dict[str, Any]]  # reads one
_LONGEST = 1 << 30  # bytes of a document
_MARK = b"\xef\xbb\xbf"
# Bytes that Python takes for a list, an object and a number or a text, about.
_LIST, _OBJECT, _VALUE = 64, 232, 40
# So many of the first two a document may have, or one for so many bytes.
_LISTS, _BYTES = 1 << 20, 16
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
    while len(began) < len(saved_scan.MAGIC) and (part := next(parts, b"")):
        began += part
    if began.startswith(saved_scan.MAGIC):
        yield 0, partial(_table, files.joined(chain([began], parts), where))
        return
    lines = files.lines(chain([began], parts), _LONGEST)
    filled = ((n, line) for n, (line, _) in enumerate(lines, 1) if line is None or line.strip())
    number, line = next(filled, (0, b""))
    if line and line.startswith(_MARK):
        output.note("note.mark", where=where, quiet=quiet)
        line = line.removeprefix(_MARK)
    try:
        with told_of(where):
            document = _parsed(line)
    except ContentError as problem:
        yield from _otherwise([(number, line), *_within(filled, where)], problem, where)
        return
    if saved_scan.is_row(document):
        rows = chain([document], (_parsed(line) for _, line in _within(filled, where)))
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
    """The same lines, as long as a document may be."""
    left = _LONGEST
    for number, line in lines:
        left -= len(line or b"")
        if left < 0:
            raise ContentError(f"{where} has more than 1 GiB, and its first line is no document")
        yield number, line


def _otherwise(
    lines: "list[tuple[int, bytes | None]]", problem: AttnError, where: str
) -> Iterator[tuple[int, Document]]:
    """What lines hold of which the first is no document: one over all of them, or a damaged one
    before others. Raises the problem of the first if neither."""
    if any(_is_document(line) for _, line in lines[1:]):
        yield from ((number, partial(_parsed, line)) for number, line in lines)
        return
    if len(lines) == 1 or any(line is None for _, line in lines):
        raise problem
    last = lines[-1][0]
    texts = dict(lines)
    with told_of(where):
        held = [_parsed(b"\n".join(texts.get(n, b"") for n in range(1, last + 1)))]
    yield 1, held.pop


def _is_document(line: bytes | None) -> bool:
    """Whether a line alone is JSON with a schema."""
    if not line or line[:1] != b"{" or line.rstrip()[-1:] != b"}":
        return False
    try:
        return "schema" in _parsed(line)
    except ContentError:
        return False


def _parsed(line: bytes | None) -> dict[str, Any]:
    from attn_cli.views.saved import parsed

    if line is None:
        raise ContentError("it has more than 1 GiB")
    lists, objects, values = (line.count(mark) for mark in (b"[", b"{", b","))
    if lists + objects > max(_LISTS, len(line) // _BYTES):
        raise ContentError("it has too many lists and objects for a document of attn")
    needed = lists * _LIST + objects * _OBJECT + values * _VALUE
    if needed > machine.available() // 2:
        raise ContentError(
            f"it would take {size(needed)} of memory, more than half of what is free"
        )
    return parsed(line)
