"""BLAS's own threads: none while ours multiply, or all of them for one product after another.

Imports only the standard library, so that it can be asked before numpy is imported.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterable
from functools import cache
from time import perf_counter
from typing import Any, TypeVar

T = TypeVar("T")
# How many threads BLAS starts is read from these when it is loaded.
_COUNTS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# OpenBLAS's threads wait awake for their next product for 2^n cycles, for 2^26 where no one says
# how many, and so long keep their cores from whoever else needs them.
_PATIENCE, _SHORT = "OPENBLAS_THREAD_TIMEOUT", 16
# The processors whose kernels in OpenBLAS take small matrices as they are, and add in one order
# wherever a product is cut: those with AVX-512.
_WIDE = ("SkylakeX", "Cooperlake", "SapphireRapids")
# Of the time on one thread what is slow, and how many works are then left to our threads.
_SLOW, _FEWEST, _MOST = 0.5, 16, 1 << 14
_lock = threading.RLock()
_here = threading.local()
_callers = 0  # threads for which BLAS is to have one
_had: list[int] = []


def before_numpy() -> None:
    """Call before numpy is imported: its BLAS then starts no threads until a product is shared out,
    and these do not stay awake for long. What the user has set stands."""
    if "numpy" not in sys.modules:
        for name in _COUNTS:
            os.environ.setdefault(name, "1")
        os.environ.setdefault(_PATIENCE, str(_SHORT))


class _Alone:
    """A class of its own, since each layer asks a dozen times and a generator takes three times as
    long. A thread is inside for as long as it is counted, also where it is interrupted."""

    def __enter__(self) -> None:
        global _callers  # noqa: PLW0603 - BLAS has one setting for the process
        depth = getattr(_here, "depth", 0)
        if not depth:
            with _lock:
                if not _callers:
                    _had[:] = [library.num_threads for library in _threaded()]
                    for library in _threaded():
                        library.set_num_threads(1)
                _callers += 1
        _here.depth = depth + 1

    def __exit__(self, *_: object) -> None:
        global _callers  # noqa: PLW0603
        if _here.depth == 1:
            with _lock:
                _callers -= 1
                if not _callers:
                    for library, count in zip(_threaded(), _had, strict=True):
                        library.set_num_threads(count)
        _here.depth -= 1


_alone = _Alone()


def alone() -> _Alone:
    """One thread for each product inside: as many products run at once as there are threads."""
    return _alone


def shared_out(work: Callable[[T], Any], parts: Iterable[T], count: int, seconds: float) -> bool:
    """Calls `work` for every part in turn, each product of which BLAS shares out among so many
    threads; `seconds` is what one would take. False, and no part is begun, where BLAS cannot,
    digits would depend on how many, or it was slow a moment ago.

    The products must be of two matrices of float32: others BLAS adds otherwise on several threads.
    Its count is one for the process: no other thread may be inside `alone`, and who begins waits.
    """
    if not _may() or _trust.loses():
        return False
    with alone(), _lock:
        if _callers > 1 or not _threads.grown(count):
            return False
        (library,), start = _loaded(), perf_counter()
        try:
            library.set_num_threads(count)
            for part in parts:
                work(part)
        finally:
            library.set_num_threads(1)
        _trust.took((perf_counter() - start) / seconds)
    return True


class _Trust:
    """BLAS's threads wait for each other without sleeping: where something else has one of the
    cores, a product may take a hundred times as long. Then works are left to our threads for some
    time, each time for longer."""

    def __init__(self) -> None:
        self._left, self._pause = 0, _FEWEST

    def loses(self) -> bool:
        """Whether this work is left to our threads."""
        self._left -= self._left > 0
        return self._left > 0

    def took(self, share: float) -> None:
        """What a work took of what it would take on one thread."""
        self._left = self._pause if share > _SLOW else 0
        pause = 2 * self._pause if share > _SLOW else self._pause // 2
        self._pause = min(max(pause, _FEWEST), _MOST)


_trust = _Trust()


class _Threads:
    """The threads that BLAS has, this one among them."""

    def __init__(self) -> None:
        self._count, self._refused = 1, False

    def grown(self, count: int) -> bool:
        """Whether there are so many, once those that are missing were started.

        BLAS would wait for ever for one that could not be, and ends the process where it is refused
        memory, so under a limit none are started. Call while no other thread computes.
        """
        from resource import RLIM_INFINITY, RLIMIT_AS, getrlimit

        if self._refused:
            return count <= self._count
        (library,) = _loaded()
        self._count = max(self._count, library.num_threads, *_had)
        if count > self._count and getrlimit(RLIMIT_AS)[0] == RLIM_INFINITY:
            before = _tasks()
            library.set_num_threads(count)
            library.set_num_threads(1)
            self._refused = len(_tasks() - before) < count - self._count
            self._count = self._count if self._refused else count
        return count <= self._count

    def refuse(self) -> None:
        """None is there from now on, and none is started."""
        self._count, self._refused = 1, True


_threads = _Threads()


@cache
def _may() -> bool:
    """Whether BLAS's threads soon sleep, and give the digits that one gives."""
    soon = os.environ.get(_PATIENCE, "") in map(str, range(1, _SHORT + 1))  # 0 is none said
    return soon and multiplies_as_it_is() and len(_loaded()) == 1


def _tasks() -> set[str]:
    """The threads of this process, where the system tells (Linux)."""
    try:
        return set(os.listdir("/proc/self/task"))
    except OSError:
        return set()


@cache
def multiplies_as_it_is() -> bool:
    """Whether BLAS has kernels that multiply small matrices without rearranging them."""
    return any(getattr(library, "architecture", "") in _WIDE for library in _loaded())


@cache
def _threaded() -> list[Any]:
    """The BLAS libraries that have threads of their own."""
    if all(os.environ.get(name) == "1" for name in _COUNTS):
        return []
    return [library for library in _loaded() if library.num_threads > 1]


@cache
def _loaded() -> list[Any]:
    """The BLAS libraries that are there."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas").lib_controllers


def _before() -> None:
    """BLAS ends its threads before a process forks, and waits for ever for one that is at work."""
    _lock.acquire()


def _after() -> None:
    _lock.release()


def _born() -> None:
    """A child process has this thread alone, and is to do with it."""
    global _lock, _callers
    _lock, _callers = threading.RLock(), int(getattr(_here, "depth", 0) > 0)
    _threads.refuse()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_born)
