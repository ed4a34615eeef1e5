"""The memory that this process may use. Imports little but the standard library."""

import os
import resource
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import cache
from pathlib import Path

from attn_cli.errors import ContentError, UsageError, size
from attn_cli.maths.cores import groups, text

_NO_LIMIT = 1 << 63
_START = 120 << 20  # bytes of addresses that numpy and its BLAS take on a few cores
# What a group uses, and what of that is files, which make room when it is needed.
_OLD = (
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    ("total_active_file", "total_inactive_file"),
)
_expected: ContextVar[int] = ContextVar("expected", default=0)
_NEW = "memory.max", "memory.current", ("active_file", "inactive_file")


def available(root: Path = Path("/")) -> int:
    """The bytes that can still be had: of the machine, of the container, and by ulimit -v.

    The smallest of what is known of them; `root` has the files of the system.
    """
    return max(0, min(_of_machine(root), *_of_container(root), _of_process(root)))


def expect(need: int) -> None:
    """Keeps what a run is said to take, for `run_out`."""
    _expected.set(need)


def run_out(for_what: str = "") -> ContentError:
    """What is said where memory runs out in the midst of a run."""
    need, limit = _expected.get(), resource.getrlimit(resource.RLIMIT_AS)[0]
    said = [f"this run was said to take {size(need)}"] if need else []
    if limit != resource.RLIM_INFINITY:
        said.append(f"a limit (ulimit -v) leaves the process {size(limit)} in all")
    return ContentError(
        f"not enough memory{for_what}{': ' if said else ''}{', and '.join(said)}",
        "free some, or ask for less: a shorter input, fewer layers or heads",
    )


def allowed(max_memory: int) -> int:
    """The bytes that a run may take: what it was given, half of what there is where that is 0.

    Never more than there is. Raises UsageError.
    """
    if max_memory < 0:
        raise UsageError(f"max_memory {max_memory} is out of range", "bytes, 1 or more")
    there = available()
    return min(max_memory, there) if max_memory else there // 2


def largest(count: int, fits: Callable[[int], bool]) -> int:
    """The largest number up to `count` that fits; 0 where none does."""
    least = 0
    while least < count:
        middle = (least + count + 1) // 2
        least, count = (middle, count) if fits(middle) else (least, middle - 1)
    return least


def check_start() -> None:
    """Raises ContentError where a limit on addresses leaves too few for the libraries to load.

    BLAS ends the process in its own words where it does not find them.
    """
    left = _of_process(Path("/"))
    if left < _START:
        raise ContentError(
            f"not enough memory: a limit (ulimit -v) leaves {size(max(0, left))}",
            f"attn needs {size(_START)} to begin with",
        )


def _of_machine(root: Path) -> int:
    """What can be had without swapping, and never more than there is."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = _entries(text(f"{root}/proc/meminfo")).get("MemAvailable:")
    return whole if free is None else min(whole, 1024 * free)


def _of_container(root: Path) -> Iterator[int]:
    """What each control group around this process has left (Linux, both versions)."""
    for place, old in _groups(root):
        limit, used, files = _OLD if old else _NEW
        most, now = (text(f"{place}/{name}").strip() for name in (limit, used))
        if most.isdecimal():
            entries = _entries(text(f"{place}/memory.stat"))
            kept = int(now) if now.isdecimal() else 0
            yield int(most) - max(0, kept - sum(entries.get(name, 0) for name in files))


@cache
def _groups(root: Path) -> list[tuple[Path, bool]]:
    return list(groups(root, "memory"))


def _of_process(root: Path) -> int:
    """What the limit on its address space leaves of it."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return _NO_LIMIT
    pages = text(f"{root}/proc/self/statm").split(" ", 1)[0]
    return limit - int(pages or 0) * os.sysconf("SC_PAGE_SIZE")


def _entries(table: str) -> dict[str, int]:
    """The numbers of a table of the system's, by the names that stand before them."""
    rows = (line.split() for line in table.splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}
