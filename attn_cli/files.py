"""Reading text and writing files: the one place where the package touches the disk to write."""

import contextlib
import errno
import os
import select
import stat
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path

from attn_cli.errors import ContentError, UsageError
from attn_cli.words import Note, note

_NOTHING_WRITTEN = "nothing was written; the old file, if there was one, is unchanged"
_STDIN = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
_WAIT = 1000  # milliseconds
_read: set[str] = set()
# How a run reads its standard input, and what it has read of that and of pipes, by name.
_inputs: ContextVar[tuple[Callable[[], bytes], dict[str, bytes | None]]] = ContextVar("inputs")


def begin_inputs(stdin: Callable[[], bytes]) -> None:
    """From here on `-` is what `stdin` reads, and what can be read only once is kept."""
    _inputs.set((stdin, {}))


def is_stdin(name: str) -> bool:
    """Whether a file's name means standard input."""
    return name in _STDIN


def read_prompt() -> bytes:
    """Standard input, which nothing else can be read from afterwards. Raises ContentError."""
    stdin, kept = _inputs.get()
    kept["-"] = None
    return stdin()


def read_input(name: str) -> bytes:
    """The bytes of a file that a user names: a regular one, a pipe, or standard input.

    Raises ContentError, and UsageError where standard input was the prompt.
    """
    stdin, kept = _inputs.get((bytes, {}))
    key = "-" if _inputs.get(None) and is_stdin(name) else name
    if key not in kept:
        if key == "-":
            kept[key] = stdin()
        elif _is_pipe(name):
            kept[key] = _read_pipe(name)
        else:
            return read_bytes(Path(name))
    data = kept[key]
    if data is None:
        raise UsageError("standard input is the prompt here", "give the prompt as TEXT or --file")
    return data


def _is_pipe(name: str) -> bool:
    try:
        return stat.S_ISFIFO(_mode(Path(name)))
    except (OSError, ValueError):  # what cannot be read says so when it is
        return False


def _read_pipe(name: str) -> bytes:
    """All that comes through a pipe, unless nothing writes to it."""
    try:
        # Opened otherwise, one that nothing writes to would be waited for without end.
        handle = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
        with open(handle, "rb", buffering=0) as pipe:
            waiting = select.poll()
            waiting.register(handle, select.POLLIN)
            came = waiting.poll(_WAIT)
            # Without a writer reading gives no bytes; with one that is slow it gives None.
            first = pipe.read(1 << 16)
            if not came and first == b"":
                hint = "start its writer first"
                raise ContentError(f"cannot read {name}: nothing writes to this pipe", hint)
            os.set_blocking(handle, True)
            return (first or b"") + pipe.read()
    except OSError as error:
        raise ContentError(f"cannot read {name}: {reason(error)}") from None


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


def write_bytes(path: Path, data: bytes) -> None:
    """Writes `data` so that `path` holds the old bytes or all of the new ones, never a part.

    A regular file (or a link's target) is replaced by a flushed sibling that takes over its mode;
    a device or FIFO is written to directly. Raises ContentError, or BrokenPipeError where the
    reader of a pipe went away.
    """
    special = False
    try:
        mode = _mode(path)
        if stat.S_ISDIR(mode):
            raise ContentError(f"{path} is a folder", "give a file name: --out FILE")
        special = bool(mode) and not stat.S_ISREG(mode)
        if special:
            _write_special(path, data)
        else:
            _replace(Path(os.path.realpath(path)), data, mode)
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        if special and error.errno == errno.ENXIO and stat.S_ISFIFO(mode):
            raise ContentError(
                f"cannot write {path}: nothing reads from this FIFO", "start its reader first"
            ) from None
        missing = _missing_folder(path) if isinstance(error, FileNotFoundError) else None
        if missing:
            import shlex

            raise ContentError(
                f"cannot write {path}: there is no folder {missing}",
                f"make it first: mkdir -p {shlex.quote(str(path.parent))}",
            ) from None
        hint = "" if special else _NOTHING_WRITTEN
        raise ContentError(f"cannot write {path}: {reason(error)}", hint) from None


def _missing_folder(path: Path) -> Path | None:
    """The first folder on the way to a file that is not there."""
    return next((p for p in reversed(path.parents) if not os.path.lexists(p)), None)


def _write_special(path: Path, data: bytes) -> None:
    """Writes to a device or FIFO as it was named: /dev/stdout on a pipe leads to no other name."""
    # Without O_NONBLOCK, opening a FIFO waits for a reader that may never come.
    handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        os.set_blocking(handle, True)
        write_all(handle, data)
    finally:
        os.close(handle)


def _mode(path: Path) -> int:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return 0


def _replace(target: Path, data: bytes, mode: int) -> None:
    if mode and not os.access(target, os.W_OK):
        raise PermissionError(13, "Permission denied")
    import tempfile  # which takes a while, and most runs write no file

    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:32]}.")
    try:
        try:
            write_all(handle, data)
            os.fchmod(handle, stat.S_IMODE(mode) if mode else 0o666 & ~_umask())
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def write_all(handle: int, data: bytes) -> None:
    """Writes all of `data`, in as many calls as it takes, waiting where it would block."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(handle, left) :]
        except BlockingIOError:
            select.select([], [handle], [])


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def read_bytes(path: Path, *, limit: int = 1 << 30) -> bytes:
    """The bytes of a regular file. Raises ContentError for anything else, or one too large."""
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            raise ContentError(f"{path} is a folder, not a file")
        if not stat.S_ISREG(kind):
            raise ContentError(f"{path} is not a regular file")
        if os.stat(path).st_size > limit:
            raise ContentError(f"{path} has more than {limit:,} bytes")
        remember(path)
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise ContentError(f"no file {path}", "check the spelling, or give a full path") from None
    except (OSError, ValueError) as error:
        raise ContentError(f"cannot read {path}: {reason(error)}") from None


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


def read_text(path: Path) -> tuple[str, tuple[Note, ...]]:
    """The UTF-8 text of a file, as `read_input` has it, and notes. Raises ContentError."""
    return decode(read_input(str(path)), str(path))


def reason(error: BaseException) -> str:
    """The operating system's own words for an error, without Python's."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return "the name cannot be used"
