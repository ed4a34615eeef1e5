"""A training's folder: one training at a time, and its files replaced together.

New files are written into a folder beside the old ones. That one is renamed, which is the moment
from which they count, and each file is put in its place; the next run in this folder does it where
this one was stopped. So whenever a run ends, all files are those of one save.
"""

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from attn_cli.errors import ContentError
from attn_cli.files import reason
from attn_cli.writing import flush_folder, lock, write_bytes

STATE, SETTINGS = "training.safetensors", "training.json"
# In the order in which they are put in their places: a config makes a folder a model.
NAMES = (STATE, SETTINGS, "tokenizer.json", "model.safetensors", "config.json")
_BEGUN, _SAVED = ".attn-saving", ".attn-saved"
_GONE = ".gone"  # stands for a file that there is no more


@contextlib.contextmanager
def claimed(directory: Path) -> Iterator[bool]:
    """The folder, made if need be, is this process's alone; whether that could be had.

    A save that was stopped is finished or undone first. In the end, folders made here in which
    nothing is are gone again. Raises ContentError where another training is in it, or where nothing
    can be written.
    """
    made = [p for p in (directory, *directory.parents) if not os.path.lexists(p)]
    handle = -1
    try:
        make_folder(directory)
        handle = _locked(directory)
        recover(directory)
        yield handle >= 0
    finally:
        # Before the lock is gone, so that none has it who would then have no folder.
        for folder in made:
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        if handle >= 0:
            os.close(handle)


def make_folder(directory: Path) -> None:
    """Makes the folder if it is not there. Raises ContentError where nothing can be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise ContentError(f"cannot make the folder {directory}: {reason(error)}") from None
    if not os.access(directory, os.W_OK):
        raise ContentError(f"cannot write into {directory}", "choose another --out")


def _locked(directory: Path) -> int:
    """An open folder that no other process has locked, or -1 where folders cannot be locked."""
    try:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # one that may be written to but not read
        return -1
    try:
        if lock(handle, directory):
            return handle
    except BlockingIOError:
        os.close(handle)
        what = f"another training is under way in {directory}"
        raise ContentError(what, "wait for its end, or choose another --out") from None
    os.close(handle)
    return -1


def replace_files(
    directory: Path, files: Iterable[tuple[str, bytes]], *, without: Iterable[str] = ()
) -> None:
    """Gives the folder these files in place of those it has, and takes others out: all or nothing.

    Raises ContentError.
    """
    begun = directory / _BEGUN
    try:
        os.mkdir(begun)
        for name, data in files:
            write_bytes(begun / name, data, instead_of=directory / name)
        for name in without:
            write_bytes(begun / (name + _GONE), b"", instead_of=directory / name)
        os.rename(begun, directory / _SAVED)
    except BaseException as problem:
        with contextlib.suppress(OSError):
            _discard(begun)
        if isinstance(problem, OSError):
            raise ContentError(
                f"cannot save into {directory}: {reason(problem)}", "what was there is unchanged"
            ) from None
        raise
    flush_folder(directory)
    recover(directory)


def recover(directory: Path) -> None:
    """Finishes a save that counts and undoes one that does not. Raises ContentError."""
    saved = directory / _SAVED
    try:
        if saved.is_symlink():
            raise NotADirectoryError(errno.ENOTDIR, "")
        _discard(directory / _BEGUN)
        if os.path.lexists(saved):
            for name in NAMES:
                with contextlib.suppress(FileNotFoundError):
                    os.replace(saved / name, directory / name)
            for name in NAMES:
                if os.path.lexists(saved / (name + _GONE)):
                    (directory / name).unlink(missing_ok=True)
            _discard(saved)
    except OSError as error:
        raise ContentError(
            f"cannot put what is saved in {saved} in its place: {reason(error)}",
            "nothing is lost: once that works, the same command goes on",
        ) from None


def _discard(folder: Path) -> None:
    """Takes a folder away, with the files in it; a link, which is not ours, leads elsewhere."""
    if folder.is_symlink():
        raise NotADirectoryError(errno.ENOTDIR, "")
    if os.path.lexists(folder):
        for entry in os.listdir(folder):
            os.unlink(folder / entry)
        os.rmdir(folder)
