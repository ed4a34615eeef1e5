"""Reading text and other files, standard input and pipes; `attn_cli.writing` writes them."""

import contextlib
import os
import select
import signal
import stat
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from attn_cli import machine
from attn_cli.errors import ContentError, UsageError
from attn_cli.words import Note, note

_STDIN = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
_WAIT = 1.0  # seconds
_PART, _MOST, _ENDLESS = 1 << 16, 1 << 30, 1 << 28  # bytes
_SHARE = 4  # what a pipe may fill: one part in so many of the memory that is free
_read: set[str] = set()
# How a run reads its standard input, and what it has read of that and of pipes, by name.
_inputs: ContextVar[tuple[Callable[[], Iterator[bytes]], dict[str, bytes | None]]] = ContextVar(
    "inputs"
)


def begin_inputs(stdin: Callable[[], Iterator[bytes]]) -> None:
    """From here on `-` is what `stdin` reads, and what can be read only once is kept."""
    _inputs.set((stdin, {}))


def is_stdin(name: str) -> bool:
    """Whether a file's name means standard input."""
    return name in _STDIN


def check_given(name: str) -> None:
    """Raises UsageError for no name, which a path takes for the folder that one is in."""
    if not name:
        raise UsageError("the name of a file is empty", "give a file name, or - for standard input")


def prompt_parts(name: str) -> Iterator[bytes]:
    """What a file that a user names holds, part by part as it comes.

    If it is a pipe or standard input, nothing else can be read from it. Raises ContentError, and
    UsageError for no name.
    """
    stdin, kept = _inputs.get()
    check_given(name)
    if is_stdin(name):
        kept["-"] = None
        return stdin()
    if _is_pipe(name):
        kept[name] = None
        return _parts_of_pipe(name)
    return parts_of_file(Path(name))


def read_input(name: str, limit: int = _MOST) -> bytes:
    """The bytes of a file that a user names: a regular one, a pipe, or standard input.

    Raises ContentError, and UsageError for no name or where the prompt came through it.
    """
    stdin, kept = _inputs.get((lambda: iter(()), {}))
    check_given(name)
    key = "-" if _inputs.get(None) and is_stdin(name) else name
    said = "standard input" if key == "-" else name
    if key not in kept:
        if key != "-" and not _is_pipe(name):
            return read_bytes(Path(name), limit=limit)
        kept[key] = joined(stdin() if key == "-" else _parts_of_pipe(name), said, limit)
    data = kept[key]
    if data is None:
        raise UsageError(f"{said} is the prompt here", "give the prompt as TEXT or --file")
    return data


def joined(parts: Iterable[bytes], where: str, limit: int = _MOST) -> bytes:
    """What comes in parts as a whole. Raises ContentError where that is too much."""
    limit = min(limit, machine.available() // _SHARE)
    data, whole = beginning(parts, limit)
    if not whole:
        raise ContentError(f"{where} has more than {limit:,} bytes")
    return data


def beginning(parts: Iterable[bytes], most: int) -> tuple[bytes, bool]:
    """What comes in parts, and whether that is all: of more bytes than `most` only the whole
    characters among so many are read."""
    data = bytearray()
    for part in parts:
        data += part
        if len(data) > most:
            end = next((n for n in range(most, most - 4, -1) if data[n] & 0xC0 != 0x80), most)
            return bytes(data[:end]), False
    return bytes(data), True


def lines(parts: Iterable[bytes], longest: int) -> Iterator[tuple[bytes | None, bool]]:
    """The lines of what comes in parts, without their ends, each as soon as it is there.

    With each, whether another one is there already. None stands for one that has more than
    `longest` bytes, which are not kept. Raises ContentError where a line does not seem to end.
    """
    begun, too_long, since = bytearray(), False, 0
    for part in parts:
        since = 0 if b"\n" in part else since + len(part)
        if since > max(longest, _ENDLESS):
            raise ContentError(f"a line has more than {max(longest, _ENDLESS):,} bytes")
        pieces = part.split(b"\n")
        for place, piece in enumerate(pieces):
            if place:  # a newline stands before it
                yield None if too_long else _taken(begun), place + 1 < len(pieces)
                begun.clear()  # of one that is too long its end may be there
                too_long = False
            begun += piece
            if len(begun) > longest:
                begun, too_long = bytearray(), True
    if begun or too_long:
        yield None if too_long else _taken(begun), False


def _taken(line: bytearray) -> bytes:
    """The line, which is not kept twice while someone reads it."""
    taken = bytes(line)
    line.clear()
    return taken


def _is_pipe(name: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(name).st_mode)
    except (OSError, ValueError):  # what cannot be read says so when it is
        return False


def _parts_of_pipe(name: str) -> Iterator[bytes]:
    """All that comes through a pipe, unless nothing writes to it."""
    try:
        # Opened otherwise, one that nothing writes to would be waited for without end.
        handle = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
        with open(handle, "rb", buffering=0) as pipe:
            came = wait(handle, seconds=_WAIT)
            # Without a writer reading gives no bytes; with one that is slow it gives None.
            part = pipe.read(_PART)
            if not came and part == b"":
                hint = "start its writer first"
                raise ContentError(f"cannot read {name}: nothing writes to this pipe", hint)
            while part != b"":
                yield part or b""
                wait(handle)
                part = pipe.read(_PART)
    except OSError as error:
        raise ContentError(f"cannot read {name}: {reason(error)}") from None


def wait(handle: int, *, seconds: float | None = None, to_write: bool = False) -> bool:
    """Waits until a handle can be read, or written to; False where it cannot yet.

    A signal ends the wait, one that comes just before it too, which `select` alone would not see.
    """
    with _woken() as wakes:
        read, write = (wakes, [handle]) if to_write else ([handle, *wakes], [])
        read, write, _ = select.select(read, write, [], seconds)
    return handle in (write if to_write else read)


@contextlib.contextmanager
def _woken() -> Iterator[list[int]]:
    """What can be read once a signal has come."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    try:
        before = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    except ValueError:  # signals come to the main thread alone
        before = None
    try:
        yield [woken]
    finally:
        if before is not None:
            signal.set_wakeup_fd(before)
        os.close(woken)
        os.close(wake)


def parts_of_file(path: Path) -> Iterator[bytes]:
    """The parts of a regular file."""
    with _opened(path) as file:
        while part := file.read(_PART):
            yield part


def remember(path: Path) -> None:
    """Notes that this process reads the file, for `is_read`."""
    _read.add(os.path.realpath(path))


def is_read(path: Path) -> bool:
    """Whether this process has read the file or has it mapped, under whatever name or link."""
    for known in _read:
        with contextlib.suppress(OSError, ValueError):
            if os.path.samefile(path, known):
                return True
    return False


def read_bytes(path: Path, *, limit: int = _MOST) -> bytes:
    """The bytes of a regular file. Raises ContentError for anything else, or one too large."""
    with _opened(path) as file:
        if os.fstat(file.fileno()).st_size > limit:
            raise ContentError(f"{path} has more than {limit:,} bytes")
        return file.read()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A regular file, opened to be read. Raises ContentError."""
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            raise ContentError(f"{path} is a folder, not a file")
        if not stat.S_ISREG(kind):
            raise ContentError(f"{path} is not a regular file")
        remember(path)
        with open(path, "rb", buffering=0) as file:
            yield file
    except FileNotFoundError:
        raise ContentError(f"no file {path}", "check the spelling, or give a full path") from None
    except (OSError, ValueError) as error:
        raise ContentError(f"cannot read {path}: {reason(error)}") from None


def size_of(path: Path) -> int:
    """The bytes of a regular file that can be read. Raises ContentError."""
    with _opened(path) as file:
        return os.fstat(file.fileno()).st_size


def decode(data: bytes, where: str) -> tuple[str, tuple[Note, ...]]:
    """The text of UTF-8 bytes, and notes on what was dropped. Raises ContentError."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ContentError(f"{where} is UTF-16, not UTF-8", "convert it: iconv -f UTF-16 -t UTF-8")
    notes: tuple[Note, ...] = ()
    if data.startswith(b"\xef\xbb\xbf"):
        data, notes = data[3:], (note("note.mark", where=where),)
    try:
        return data.decode("utf-8"), notes
    except UnicodeDecodeError as error:
        offset = error.start + 3 * len(notes)
        raise ContentError(
            f"{where} is not valid UTF-8: byte 0x{data[error.start]:02x} at offset {offset}",
            "attn reads UTF-8 text; convert it with iconv",
        ) from None


def read_text(path: Path, limit: int = _MOST) -> tuple[str, tuple[Note, ...]]:
    """The UTF-8 text of a file, as `read_input` has it, and notes. Raises ContentError."""
    return decode(read_input(str(path), limit), str(path))


def reason(error: BaseException) -> str:
    """The operating system's own words for an error, without Python's."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return "the name cannot be used"
