"""Work in blocks, spread over the processor's cores.

Blocks are cut where it changes no digit, and BLAS has one thread while they run; it has all of
them only for what it multiplies alike on one: every digit is the same on one core and on sixteen.
Imports only the standard library, so that it can be asked before numpy is imported.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from contextvars import copy_context
from functools import cache
from math import sqrt
from pathlib import Path
from typing import Any, TypeVar

from attn_cli.maths import blas

T = TypeVar("T")
# Who keeps BLAS from the other cores wants them for something else.
_LIMITS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
# From so many threads on BLAS's own are awake sooner than those that need the interpreter's lock.
_MANY = 4
# Seconds until a thread is awake that waits for this lock, on a virtual machine.
_WAKING = 20e-6
_chosen = 0
_here = threading.local()


# --- how many ------------------------------------------------------------------------------------


def threads() -> int:
    """How many threads compute: as many as `use` was told, else as many as there are cores."""
    return _chosen or cores()


def use(count: int) -> None:
    """Lets so many threads compute from now on; 0 means as many as there are cores."""
    global _chosen  # noqa: PLW0603 - a process has its cores once
    _chosen = count


@cache
def cores() -> int:
    """The cores that this process may use: its affinity, its container's share, BLAS's limit."""
    return max(1, min([of_machine(), *_of_environment(os.environ)]))


def before_numpy() -> None:
    """Call before numpy is imported: its BLAS then starts no threads until it is asked to."""
    cores()  # what the user set counts, not what is set here
    blas.before_numpy()


def of_machine() -> int:
    """The cores that this process may use, whatever BLAS may."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min([count, *of_container(Path("/"))]))


def _of_environment(environ: Mapping[str, str]) -> list[int]:
    given = (environ.get(name, "") for name in _LIMITS)
    return [int(text) for text in given if text.isascii() and text.isdigit() and len(text) < 6]


def of_container(root: Path) -> list[int]:
    """The whole cores that each control group around this process allows (Linux, both versions)."""
    found = []
    for place, old in groups(root, "cpu"):
        if old:
            limit = f"{text(place / 'cpu.cfs_quota_us')} {text(place / 'cpu.cfs_period_us')}"
        else:
            limit = text(place / "cpu.max")
        quota, period = [*limit.split(), "", ""][:2]
        if quota.isdigit() and period.isdigit() and int(period):
            found.append(-(-int(quota) // int(period)))
    return found


def groups(root: Path, kind: str) -> Iterator[tuple[Path, bool]]:
    """The control groups around this process, each with whether it is of version 1 for a `kind`."""
    for line in text(root / "proc/self/cgroup").splitlines():
        kinds, path = [*line.split(":", 2), "", ""][1:3]
        if kinds and kind not in kinds.split(","):
            continue
        mount = root / "sys/fs/cgroup" / (kind if kinds else ".")
        here = mount / path.strip("/")
        for place in (here, *here.parents):
            if mount not in (place, *place.parents):
                break
            yield place, bool(kinds)


def text(path: Path | str) -> str:
    """What a file of the system says, "" where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError):
        return ""


# --- work ----------------------------------------------------------------------------------------


def worth(seconds: float, steps: int) -> int:
    """How many threads work is worth that takes one of them so many seconds, in so many `steps`.

    A step is a call of numpy, after which a thread waits for all others to have had the lock of the
    interpreter: n threads take seconds / n + n · steps · `_WAKING`.
    """
    return max(1, min(threads(), round(sqrt(seconds / (steps * _WAKING)))))


def spread(work: Callable[[slice], Any], count: int, block: int, most: int = 0) -> None:
    """Calls `work` for each block of `range(count)`: `each` of them, as a slice."""
    blocks = [slice(start, min(start + block, count)) for start in range(0, count, block)]
    each(work, blocks, most)


def each(work: Callable[[T], Any], parts: Sequence[T], most: int = 0) -> None:
    """Calls `work` for every part, on all threads, of which this is one, or on so many at `most`;
    in any order.

    Who calls makes the arrays that the parts fill. After an error no further part is begun, and it
    is raised here. Work that a part has done in parts stays on its thread.
    """
    inside = getattr(_here, "inside", False)
    helpers = 0 if inside else min(most or threads(), len(parts)) - 1
    with nullcontext() if inside or not parts else blas.alone():
        if helpers < 1:
            for part in parts:
                work(part)
        else:
            _each(work, parts, helpers)


def many() -> bool:
    """Whether so many threads, each with a core, may share out that BLAS's own are awake sooner."""
    return _MANY <= threads() <= cores() and not getattr(_here, "inside", False)


def by_blas(work: Callable[[T], Any], parts: Iterable[T], seconds: float) -> bool:
    """Calls `work` for every part in turn, each product of which BLAS shares out among all threads;
    `seconds` is what one would take.

    False, and no part is begun, where `each` takes less time, or where digits would depend on it.
    """
    return many() and blas.shared_out(work, parts, threads(), seconds)


def _each(work: Callable[[T], Any], parts: Sequence[T], helpers: int) -> None:
    left, failed, pool = iter(parts), False, _pool()
    done: Any = pool.queue()
    invited: deque[None] = deque()

    def drain() -> None:
        nonlocal failed
        _here.inside = True
        try:
            for part in left:
                if failed:
                    return
                work(part)
        except BaseException:
            failed = True
            raise
        finally:
            _here.inside = False

    def help_out() -> None:
        try:
            invited.pop()
        except IndexError:  # all was done before this thread awoke, and no one waits for it
            return
        try:
            drain()
        except BaseException as error:
            done.put(error)
        else:
            done.put(None)

    asked = 0
    try:
        for _ in range(min(helpers, pool.grown(helpers))):
            invited.append(None)
            asked += 1
            # What numpy does about an overflow belongs to the context, not to the thread.
            pool.tasks.put((copy_context(), help_out))
        drain()
    finally:  # none goes on after this
        with suppress(IndexError):
            while True:
                invited.pop()
                asked -= 1
        errors = [done.get() for _ in range(asked)]
    for error in filter(None, errors):
        raise error


class _Pool:
    """Threads beside this one, each made when it is first needed. They take tasks from a queue,
    since a future costs 15 µs more, and each layer hands out its work five times."""

    def __init__(self) -> None:
        from queue import SimpleQueue

        self.queue, self.tasks, self._count = SimpleQueue, SimpleQueue(), 0

    def grown(self, count: int) -> int:
        """How many threads there are, `count` if so many can be started."""
        # Where no thread can be started, as under a limit, those that there are do the work.
        with suppress(RuntimeError):
            while self._count < count:
                threading.Thread(target=self._help, name="attn", daemon=True).start()
                self._count += 1
        return self._count

    def _help(self) -> None:
        while True:
            context, task = self.tasks.get()
            context.run(task)
            del context, task  # with all that they hold


@cache
def _pool() -> _Pool:
    return _Pool()


if hasattr(os, "register_at_fork"):  # a child process has none of the threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
