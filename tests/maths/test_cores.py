"""Blocks over the cores: every part once, errors told, and how many cores there are to use."""

import os
import signal
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

from attn_cli.maths import blas, cores


@pytest.fixture
def several():
    cores.use(4)
    yield
    cores.use(0)


def test_every_part_is_worked_once_whatever_the_count_of_threads():
    for count in (1, 2, 5):
        cores.use(count)
        seen = []
        cores.spread(seen.append, 1000, 7)
        assert sorted(n for rows in seen for n in range(rows.start, rows.stop)) == list(range(1000))
    cores.use(0)


def test_work_is_shared_among_so_many_threads_as_make_it_shortest():
    cores.use(16)
    for seconds in (1e-6, 1e-4, 1e-3, 1e-2, 1.0):
        for steps in (1, 5, 12):
            takes = {n: seconds / n + n * steps * cores._WAKING for n in range(1, 17)}
            assert takes[cores.worth(seconds, steps)] <= 1.1 * min(takes.values())
    cores.use(3)
    assert cores.worth(1.0, 1) == 3
    cores.use(0)


def test_no_more_threads_work_than_are_said():
    cores.use(8)
    seen, waits = set(), threading.Event()

    def work(_):
        seen.add(threading.get_ident())
        waits.wait(0.002)

    cores.each(work, list(range(100)), 3)
    assert threading.get_ident() in seen and len(seen) <= 3
    cores.use(0)


def test_blocks_are_the_same_for_every_count_of_threads():
    found = {}
    for count in (1, 3):
        cores.use(count)
        parts = []
        cores.spread(lambda rows, parts=parts: parts.append((rows.start, rows.stop)), 10, 4)
        found[count] = sorted(parts)
    cores.use(0)
    assert found[1] == found[3] == [(0, 4), (4, 8), (8, 10)]


def test_several_threads_work_at_once(several):
    # Each part waits for the other: one thread alone would never get past the first.
    together = threading.Barrier(2, timeout=60)
    cores.each(lambda _: together.wait(), [1, 2])
    assert not together.broken


def test_a_thread_that_has_not_begun_is_not_waited_for():
    cores.use(2)
    inside, free, ended = threading.Event(), threading.Event(), []
    both = threading.Barrier(2, timeout=60)

    def hold(_):
        both.wait()
        inside.set()
        free.wait(60)

    other = threading.Thread(target=cores.each, args=(hold, [1, 2]))
    other.start()  # it and the only helper are busy until they are free
    assert inside.wait(60)
    cores.each(ended.append, [1, 2, 3])
    assert ended == [1, 2, 3] and not free.is_set() and other.is_alive()
    free.set()
    other.join()
    cores.use(0)


def test_an_error_is_raised_and_no_further_part_is_begun(several):
    begun = []

    def work(part):
        begun.append(part)
        if part == 3:
            raise ValueError("three")
        threading.Event().wait(0.001)

    with pytest.raises(ValueError, match="three"):
        cores.each(work, list(range(1000)))
    assert len(begun) < 1000


def test_work_within_work_stays_on_its_thread(several):
    inner = []

    def outer(_):
        here = threading.get_ident()
        cores.each(lambda _: inner.append(threading.get_ident() == here), [1, 2, 3])

    cores.each(outer, [1, 2])
    assert inner == [True] * 6


def test_what_numpy_does_about_an_overflow_goes_along(several):
    big = np.full(4, 1e38, np.float32)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        cores.each(lambda _: big * big, [1, 2, 3, 4])
    with np.errstate(over="ignore"):
        cores.each(lambda _: big * big, [1, 2, 3, 4])


def test_blas_has_its_threads_back_afterwards(several, monkeypatch):
    class Library:
        num_threads = 8

        def set_num_threads(self, count):
            self.num_threads = count

    library, inside = Library(), []
    monkeypatch.setattr(blas, "_threaded", lambda: [library])
    with pytest.raises(ZeroDivisionError):
        cores.each(lambda n: inside.append(library.num_threads) or 1 // n, [1, 0])
    assert set(inside) == {1}
    assert library.num_threads == 8


GROUPS = {
    "none": ({}, []),
    "unbounded": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, []),
    "one and a half": (
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"},
        [2],
    ),
    "around it": (
        {
            "proc/self/cgroup": "0::/pod/this\n",
            "sys/fs/cgroup/pod/this/cpu.max": "max 100000\n",
            "sys/fs/cgroup/pod/cpu.max": "100000 100000\n",
        },
        [1],
    ),
    "version 1": (
        {
            "proc/self/cgroup": "5:memory:/pod\n4:cpu,cpuacct:/pod\n",
            "sys/fs/cgroup/cpu/pod/cpu.cfs_quota_us": "400000\n",
            "sys/fs/cgroup/cpu/pod/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        [4],
    ),
    "nonsense": ({"proc/self/cgroup": "0\nx:y\n", "sys/fs/cgroup/cpu.max": "a 0\n"}, []),
}


@pytest.mark.parametrize("files, expected", GROUPS.values(), ids=GROUPS)
def test_a_container_may_use_what_its_control_groups_say(tmp_path: Path, files, expected):
    for name, text in files.items():
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    assert cores.of_container(tmp_path) == expected


def test_a_child_process_makes_threads_of_its_own(several):
    """It is born without those of its parent, and must not wait for them."""
    together = threading.Barrier(2, timeout=60)
    cores.each(lambda _: together.wait(), [1, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 advises against it
        child = os.fork()
    if not child:
        try:
            signal.alarm(30)  # ends it if it waits for ever
            own = threading.Barrier(2, timeout=20)
            cores.each(lambda _: own.wait(), [1, 2])
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_where_no_thread_can_be_started_this_one_does_the_work(several, monkeypatch):
    def refused(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    monkeypatch.setattr(cores, "_pool", cores._Pool)
    seen = []
    cores.each(seen.append, [1, 2, 3])
    assert seen == [1, 2, 3]
