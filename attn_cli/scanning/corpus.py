"""Files of prompts, read in bounded memory: as pieces of text, and these in parts.

A text file has one prompt to a line; a file of JSON lines has them under the key text. With
`documents` a text file is one document, read in blocks of whole lines, and the text of a JSON line
another. Files may be packed by gzip or zstd, which their first bytes say.
"""

import glob
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from attn_cli import files, lines
from attn_cli.errors import PATH, ContentError, UsageError, shorten

_SUFFIXES = (".txt", ".text", ".md", *lines.OF_JSON)
_PACKED = (".gz", ".zst")
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BLOCK = 1 << 16  # bytes of lines that are cut together where a file is a document
# Bytes of a part: small enough to be lost without grief, and so many that work can be shared out.
_SMALLEST, _LARGEST, _PARTS = 1 << 12, 1 << 16, 256
_LINES = 1 << 12  # of a part at most
_MOST = 1 << 20  # bytes that are unpacked at once
_UNPACKED = 4  # times as many bytes, as a guess
_COUNTED = 1 << 10  # bytes: a part that is smaller than a read is known to be
_ZSTD_TOGETHER = 1 << 8  # bytes, of which three can stand for 128 KiB


class Piece(NamedTuple):
    """A text of a corpus, and the line of its file where it begins, counted from 1; or what is
    wrong with that line, and a hint."""

    file: str
    line: int
    text: str
    problem: str = ""
    hint: str = ""


class Part(NamedTuple):
    """Some pieces of a corpus that follow each other; `digest` is of all that they say, `read` the
    bytes of the files that have been read to its end."""

    number: int
    pieces: tuple[Piece, ...]
    digest: str
    read: int

    def to_json(self) -> bytes:
        """As `from_json` takes it, for another process."""
        return json.dumps(self).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Part":
        """The part that `to_json` has written."""
        number, pieces, digest, read = json.loads(data)
        return cls(number, tuple(Piece(*piece) for piece in pieces), digest, read)


class Corpus(NamedTuple):
    """Files in the order of their names, their bytes together, and whether a file is a document."""

    files: tuple[str, ...]
    size: int
    documents: bool

    @property
    def of_part(self) -> int:
        """How many bytes of text a part has, or a little more."""
        packed = any(name.endswith(_PACKED) for name in self.files)
        size = self.size * (_UNPACKED if packed else 1)
        return min(max(_SMALLEST, size // _PARTS), _LARGEST)

    def parts(self) -> Iterator[Part]:
        """All of it, part by part: the same ones whenever it is the same corpus.

        Raises ContentError where there is no prompt in it.
        """
        held: list[Piece] = []
        number = size = 0
        read = _Count()
        for piece in self._pieces(read):
            held.append(piece)
            size += len(piece.text.encode("utf-8", "replace"))
            if size >= self.of_part or len(held) == _LINES:
                yield part_of(number, held, read.bytes)
                number, size, held = number + 1, 0, []
        if held:
            yield part_of(number, held, read.bytes)
        elif not number:
            one = self.files[0] if len(self.files) == 1 else f"{len(self.files)} files"
            verb = "holds" if len(self.files) == 1 else "hold"
            raise ContentError(f"{shorten(one, PATH)} {verb} no prompt", "one prompt per line")

    def _pieces(self, read: "_Count") -> Iterator[Piece]:
        for name in self.files:
            number = 0
            try:
                for read_to, piece in _of_file(name, read, documents=self.documents):
                    number = read_to
                    if piece:
                        yield piece
            except ContentError as problem:
                yield Piece(name, number + 1, "", problem.message, problem.hint)


class _Count:
    """Bytes of files that have been read."""

    def __init__(self) -> None:
        self.bytes = 0

    def of(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        for part in _sliced(parts, _COUNTED):
            self.bytes += len(part)
            yield part


def part_of(number: int, pieces: Sequence[Piece], read: int) -> Part:
    """A part of these pieces, with the digest of all that they say."""
    told = blake2b(digest_size=16)
    for piece in pieces:
        told.update(repr(tuple(piece)).encode("utf-8", "backslashreplace"))
    return Part(number, tuple(pieces), told.hexdigest(), read)


# --- which files ---------------------------------------------------------------------------------


def corpus(names: Sequence[str], *, documents: bool = False) -> Corpus:
    """The files that are named, by themselves, by a pattern or by their folder; each counts once,
    by whichever names it is reached.

    Raises ContentError for what is not there or cannot be read, UsageError for standard input.
    """
    paths = {path for name in names for path in _files_of(name)}
    found = sorted({os.path.realpath(path): path for path in sorted(paths, reverse=True)}.values())
    sizes = [files.size_of(Path(name)) for name in found]
    return Corpus(tuple(found), sum(sizes), documents)


def _files_of(name: str) -> list[str]:
    if files.is_stdin(name):
        raise UsageError("a corpus is read from files, not from standard input", "attn scan FILE")
    if not name:
        raise UsageError("FILE is empty", "attn scan FILE")
    if os.path.isdir(name):
        found = sorted(_of_folder(name))
        if not found:
            known = ", ".join(_SUFFIXES)
            raise ContentError(f"the folder {name} has no file of text", f"{known}, .gz, .zst")
        return found
    if not os.path.lexists(name) and glob.has_magic(name):
        found = sorted(path for path in glob.glob(name, recursive=True) if os.path.isfile(path))
        if not found:
            raise ContentError(f"no file is called {shorten(name, PATH)}", "check the pattern")
        return found
    return [name]


def _of_folder(name: str) -> Iterator[str]:
    for place, _, inside in os.walk(name):
        for file in inside:
            if _bare(file).endswith(_SUFFIXES) and not file.startswith("."):
                yield os.path.join(place, file)


# --- what is in one ------------------------------------------------------------------------------


def _of_file(name: str, read: _Count, *, documents: bool) -> Iterator[tuple[int, Piece | None]]:
    """The lines that have been read, and each piece of a file. Raises ContentError."""
    parts = unpacked(read.of(files.parts_of_file(Path(name))), name)
    told: Callable[[bytes], str] | None = None
    begun, size, first, number, blocks = [], 0, 1, 0, False
    for number, (line, _) in enumerate(files.lines(parts, lines.LONGEST), 1):
        yield number, None
        if line is not None and number == 1 and line[:2] in (b"\xff\xfe", b"\xfe\xff"):
            files.decode(line, "it")
        if line is not None and not line.strip() and not begun:
            continue
        if told is None and line is not None:
            as_json = lines.are_json(_bare(name), line)
            told, blocks = (_text_of_json if as_json else _text), documents and not as_json
        piece = _piece(name, number, line, told)
        if piece.problem or not blocks:
            yield number, piece
            continue
        first = first if begun else number
        begun.append(piece.text)
        size += len(piece.text) + 1
        if size >= _BLOCK:
            yield number, Piece(name, first, "\n".join(begun))
            begun, size = [], 0
    if "".join(begun).strip():
        yield number, Piece(name, first, "\n".join(begun))


def _piece(name: str, number: int, line: bytes | None, text: Any) -> Piece:
    try:
        if line is None:
            raise lines.too_long()
        return Piece(name, number, text(line))
    except ContentError as problem:
        return Piece(name, number, "", problem.message, problem.hint)


def _text(line: bytes) -> str:
    return lines.text_of(line)[0]


def _text_of_json(line: bytes) -> str:
    return lines.json_of(line)[0]


def _bare(name: str) -> str:
    for suffix in _PACKED:
        name = name.removesuffix(suffix)
    return name


# --- packed files --------------------------------------------------------------------------------


def unpacked(parts: Iterator[bytes], name: str) -> Iterator[bytes]:
    """What comes in parts, unpacked if it is packed. Raises ContentError."""
    first = next(parts, b"")
    if first.startswith(_GZIP):
        yield from _members(_chain(first, parts), partial(zlib.decompressobj, wbits=31), "gzip")
    elif first.startswith(_ZSTD):
        yield from _members(_sliced(_chain(first, parts), _ZSTD_TOGETHER), _zstd(name), "zstd")
    elif name.endswith(_PACKED) and first:
        kind = "gzip" if name.endswith(".gz") else "zstd"
        raise ContentError(f"it does not begin like a {kind} file", "give it its right name")
    else:
        yield from _chain(first, parts)


def _chain(first: bytes, parts: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from parts


def _sliced(parts: Iterable[bytes], size: int) -> Iterator[bytes]:
    for part in parts:
        for start in range(0, len(part), size):
            yield part[start : start + size]


def _members(parts: Iterator[bytes], new: Callable[[], Any], kind: str) -> Iterator[bytes]:
    """What packed members come to, one after the other."""
    member, fresh = new(), True
    for part in parts:
        data, full = part, False
        while data or full:
            found = _unpack(member, data, kind)
            yield found
            fresh, full = False, len(found) == _MOST
            data = member.unused_data if member.eof else member.unconsumed_tail
            if member.eof:
                member, fresh, full = new(), True, False
    if not fresh:
        what = f"its {kind} data ends in the middle"
        raise ContentError(what, "the file was not written or copied to its end")


def _unpack(member: Any, data: bytes, kind: str) -> bytes:
    """What some data unpacks to: at most a MiB of it, where the rest can wait."""
    try:
        return member.decompress(data, _MOST) if kind == "gzip" else member.decompress(data)
    except Exception as problem:  # of zstandard, which may not be there
        if type(problem).__name__ not in ("error", "ZstdError"):
            raise
        raise ContentError(f"its {kind} data is damaged here", "pack it again") from None


def _zstd(name: str) -> Callable[[], Any]:
    try:
        import zstandard
    except ImportError:
        what = f"to read {shorten(name, PATH)} the package zstandard is needed"
        raise ContentError(what, 'pip install "attn-cli[scan]"') from None
    return zstandard.ZstdDecompressor().decompressobj
