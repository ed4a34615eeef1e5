"""A checkpoint file in memory: map it, and let go of its pages."""

import mmap
import os
import stat
from pathlib import Path

from attn_cli.errors import ContentError
from attn_cli.files import reason, remember
from attn_cli.strict import looks_like


def map_file(path: Path, kind: str, least: int) -> mmap.mmap:
    """A read-only map of a regular file of at least `least` bytes. Raises ContentError."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ContentError(f"{path} is not a regular file")
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < least:
                looks = looks_like(file.read(least))
                hint = f"it looks like {looks}" if looks else ""
                raise ContentError(f"{path} is too short for a {kind} file", hint)
            remember(path)
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise ContentError(f"no file {path}") from None
    except (OSError, ValueError) as error:
        raise ContentError(f"cannot read {path}: {reason(error)}") from None


def forget(mapped: mmap.mmap, begin: int, end: int) -> None:
    """Gives these pages back to the system, which reads them again when they are next touched."""
    _advise(mapped, begin, end, "MADV_DONTNEED")


def expect(mapped: mmap.mmap, begin: int, end: int) -> None:
    """Has the system read these pages from the disk before they are touched."""
    _advise(mapped, begin, end, "MADV_WILLNEED")


def _advise(mapped: mmap.mmap, begin: int, end: int, advice: str) -> None:
    if hasattr(mmap, advice) and end > begin:
        first = begin - begin % mmap.PAGESIZE
        mapped.madvise(getattr(mmap, advice), first, end - first)
