"""Writing files: the one place where the package changes what is on the disk."""

import contextlib
import errno
import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from attn_cli.errors import ContentError, UsageError
from attn_cli.files import reason, wait
from attn_cli.signals import held, temporaries

NOTHING_WRITTEN = "nothing was written; the old file, if there was one, is unchanged"
# What a file system answers that has nothing to flush, as some network ones do.
_NO_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_LINKS = 40  # to follow, as Linux does
_TRIES = 100


def check_name(name: str | None) -> None:
    """Raises UsageError for a name that is none, ContentError for one that only a folder has."""
    if name == "":
        raise UsageError("--out is empty", "give a file name: --out FILE; - is standard output")
    if name and name.endswith(os.sep):  # which a path forgets
        raise ContentError(f"{name} is a folder", "give a file name: --out FILE")


def write_bytes(path: Path, data: bytes, *, instead_of: Path | None = None) -> None:
    """Writes `data` as `writing` does."""
    with writing(path, instead_of=instead_of) as write:
        write(data)


@contextlib.contextmanager
def writing(
    path: Path, *, instead_of: Path | None = None
) -> Iterator[Callable[[bytes | memoryview], None]]:
    """Takes bytes so that `path` holds the old ones or all of the new ones, never a part.

    A regular file (or a link's target) is replaced, where all went well in the end, by a flushed
    sibling that takes over its owner and mode; a device, a FIFO, or an open file of this process
    (/dev/stdout) is written to directly. A file that will stand `instead_of` another takes over
    that one's, and errors name it. Raises ContentError, or BrokenPipeError where the reader of a
    pipe went away.
    """
    said = instead_of or path
    with _refusals(said):
        there = _found(path)
        if there and stat.S_ISDIR(there.st_mode):
            raise ContentError(f"{path} is a folder", "give a file name: --out FILE")
        number = handle_named(path)
    if number is not None or (there and not stat.S_ISREG(there.st_mode)):
        fifo = bool(there) and stat.S_ISFIFO(there.st_mode)
        with _straight(path, number, partial(_refusals, path, special=True, fifo=fifo)) as write:
            yield write
    else:
        with _replaced(path, said, partial(_refusals, said)) as write:
            yield write


_Refusals = Callable[[], contextlib.AbstractContextManager[None]]
_Write = Callable[[bytes | memoryview], None]


@contextlib.contextmanager
def _straight(path: Path, number: int | None, refusals: _Refusals) -> Iterator[_Write]:
    """Writes to what is no regular file, or is open already: it is there as soon as it is given."""
    with refusals():
        handle = _special(path) if number is None else os.dup(number)

    def write(data: bytes | memoryview) -> None:
        with refusals():
            write_all(handle, data)

    try:
        yield write
    finally:
        os.close(handle)


@contextlib.contextmanager
def _replaced(path: Path, old: Path, refusals: _Refusals) -> Iterator[_Write]:
    """Writes to a sibling of a regular file, as `old` is, which takes its place in the end."""
    target, handle, temporary = os.path.realpath(path), -1, ""

    def write(data: bytes | memoryview) -> None:
        with refusals():
            write_all(handle, data)

    try:
        with refusals():
            like = _found(old)
            if like and not os.access(old, os.W_OK):
                raise PermissionError(errno.EACCES, "")
            with held():
                handle, temporary = _sibling(target, path, private=bool(like))
        yield write
        with refusals():
            if like:
                _take_over(handle, like)
            _flush(handle)
            with held():
                # Some file systems say only now that there was no room.
                closing, handle = handle, -1
                os.close(closing)
                os.replace(temporary, target)
                temporaries.discard(temporary)
        flush_folder(os.path.dirname(target))
    except BaseException:
        with held(), contextlib.suppress(OSError):
            if temporary in temporaries:
                temporaries.discard(temporary)
                os.unlink(temporary)
            if handle >= 0:
                os.close(handle)
        raise


@contextlib.contextmanager
def _refusals(path: Path, *, special: bool = False, fifo: bool = False) -> Iterator[None]:
    """What the operating system refuses of writing is said; `special`: there is no old file."""
    try:
        yield
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        if fifo and getattr(error, "errno", 0) == errno.ENXIO:
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
        hint = "" if special else NOTHING_WRITTEN
        raise ContentError(f"cannot write {path}: {reason(error)}", hint) from None


def _missing_folder(path: Path) -> Path | None:
    """The first folder on the way to a file that is not there."""
    return next((p for p in reversed(path.parents) if not os.path.lexists(p)), None)


def handle_named(path: Path | str) -> int | None:
    """The open file of this process that a name such as /dev/stdout means, through links too.

    Opened by that name, a file would be written from its beginning, whatever stands there.
    """
    own = re.compile(rf"/dev/fd|/proc/{os.getpid()}/(task/\d+/)?fd")
    name = os.fspath(path)
    for _ in range(_LINKS):
        folder, last = os.path.split(name)
        with contextlib.suppress(OSError, ValueError):
            folder = os.path.realpath(folder)
            if own.fullmatch(folder) and last.isdecimal() and last.isascii() and len(last) < 10:
                return int(last)
            name = os.path.join(folder, os.readlink(os.path.join(folder, last)))
            continue
        return None
    return None


def _special(path: Path) -> int:
    """Opens a device or a FIFO."""
    # Without O_NONBLOCK, opening a FIFO waits for a reader that may never come.
    handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    os.set_blocking(handle, True)
    return handle


def _found(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _sibling(target: str, path: Path, *, private: bool) -> tuple[int, str]:
    """Opens a new file that will take the place of another; none reads a `private` one meanwhile.

    It has a name of its own, so that two who write one target are not in each other's way, no
    longer than a long one of the target.
    """
    folder, name = os.path.split(target)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    for _ in range(_TRIES):
        temporary = os.path.join(folder, f".{name[:24]}.{os.urandom(6).hex()}")
        try:
            handle = os.open(temporary, flags, 0o600 if private else 0o666)
        except FileExistsError:
            continue
        except PermissionError as error:
            what = f"its folder takes no new file ({reason(error)})"
            raise ContentError(f"cannot write {path}: {what}", NOTHING_WRITTEN) from None
        temporaries.add(temporary)
        return handle, temporary
    raise FileExistsError(errno.EEXIST, "")


def _take_over(handle: int, like: os.stat_result) -> None:
    """Gives a new file the mode of an old one, and its owner where that is allowed."""
    new, mode = os.fstat(handle), stat.S_IMODE(like.st_mode)
    if (new.st_uid, new.st_gid) != (like.st_uid, like.st_gid):
        try:
            os.fchown(handle, like.st_uid, like.st_gid)
        except OSError:
            mode &= 0o777  # what runs as its owner would run as another
    if mode != stat.S_IMODE(new.st_mode):  # some file systems know one mode and refuse to be asked
        os.fchmod(handle, mode)


def _flush(handle: int) -> None:
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FLUSH:
            raise


def flush_folder(folder: str | Path) -> None:
    """Has the names in a folder written to the disk, where that can be had.

    That it failed is no news: the file has its name and is whole, before a power cut and after.
    """
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_all(handle: int, data: bytes | memoryview) -> None:
    """Writes all of `data`, in as many calls as it takes, waiting where it would block."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(handle, left) :]
        except BlockingIOError:
            wait(handle, to_write=True)


def lock(handle: int, path: Path) -> bool:
    """Locks the open file or folder at `path` for this process alone, as long as it has it open,
    however it ends; False where nothing can be locked, as on some network file systems.

    Raises BlockingIOError where another process has it, or had it and took it away.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except PermissionError as error:  # how some systems say it
        raise BlockingIOError(*error.args) from None
    except OSError:
        return False
    try:
        same = os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        same = False
    if not same:
        raise BlockingIOError
    return True
