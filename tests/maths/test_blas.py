"""BLAS's own threads: when a product is left to them, and when not."""

import os
import resource
import subprocess
import sys
import threading
from itertools import pairwise

import pytest

from attn_cli.maths import blas, cores


class Library:
    """A BLAS whose threads are counted and do nothing."""

    architecture = "SkylakeX"

    def __init__(self):
        self.num_threads, self.counts = 1, []

    def set_num_threads(self, count):
        self.num_threads = count
        self.counts.append(count)


@pytest.fixture
def library(monkeypatch):
    found = Library()
    monkeypatch.setattr(blas, "_loaded", lambda: [found])
    monkeypatch.setattr(
        blas, "_tasks", lambda: {str(n) for n in range(max(found.counts, default=0))}
    )
    monkeypatch.setattr(blas, "_threads", blas._Threads())
    monkeypatch.setattr(blas, "_trust", blas._Trust())
    monkeypatch.setenv("OPENBLAS_THREAD_TIMEOUT", "12")
    for name in ("_may", "multiplies_as_it_is"):
        monkeypatch.setattr(blas, name, getattr(blas, name).__wrapped__)
    return found


def shared(library, count=4, seconds=1e3):
    inside = []
    found = blas.shared_out(lambda _: inside.append(library.num_threads), [1, 2], count, seconds)
    assert inside == ([count, count] if found else [])
    assert library.num_threads == 1
    return found


def test_every_product_inside_has_all_threads_and_what_follows_one(library):
    assert shared(library)
    assert shared(library, 8)
    with pytest.raises(ZeroDivisionError):
        blas.shared_out(lambda n: 1 // n, [0], 4, 1.0)
    assert library.num_threads == 1


def test_threads_that_wait_for_long_are_not_used(library, monkeypatch):
    for patience in ("", "0", "26", "17", "many", "-1", "²"):
        monkeypatch.setenv("OPENBLAS_THREAD_TIMEOUT", patience)
        assert not shared(library)
    assert not library.counts


def test_another_processor_or_library_is_not_trusted_with_the_digits(library, monkeypatch):
    library.architecture = "Haswell"
    assert not shared(library)
    library.architecture = "SkylakeX"
    monkeypatch.setattr(blas, "_loaded", lambda: [library, Library()])
    assert not shared(library)
    assert not library.counts


def test_threads_that_could_not_be_started_are_not_waited_for(library, monkeypatch):
    born = lambda: {str(n) for n in range(min(10, max(library.counts, default=0)))}  # noqa: E731
    monkeypatch.setattr(blas, "_tasks", born)
    assert shared(library, 8)
    assert not shared(library, 16)
    assert not shared(library, 12)
    assert shared(library, 8)


def test_under_a_limit_on_addresses_no_thread_is_started(library, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1 << 40, 1 << 40))
    assert not shared(library)
    assert not library.counts


def test_while_another_thread_computes_no_count_is_changed(library):
    begun, over = threading.Event(), threading.Event()

    def compute():
        with blas.alone():
            begun.set()
            over.wait(60)

    other = threading.Thread(target=compute)
    other.start()
    assert begun.wait(60)
    assert not shared(library)
    over.set()
    other.join()
    assert shared(library)


def test_who_is_interrupted_while_it_waits_is_not_inside(library, monkeypatch):
    class Interrupted:
        def __enter__(self):
            raise KeyboardInterrupt

        def __exit__(self, *_):
            pass

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(blas, "_lock", Interrupted())
        blas.alone().__enter__()
    assert blas._callers == 0 and not getattr(blas._here, "depth", 0)
    assert shared(library)


def test_who_begins_while_a_product_is_shared_out_waits(library):
    inside, found = threading.Event(), []

    def begin():
        inside.wait(60)
        with blas.alone():
            found.append(library.num_threads)

    other = threading.Thread(target=begin)

    def work(_):
        inside.set()
        other.join(0.05)

    other.start()
    assert blas.shared_out(work, [1], 4, 1e3)
    other.join()
    assert found == [1]


def test_slow_products_are_left_to_others_for_longer_and_longer(library):
    fast = [shared(library, seconds=1e3) for _ in range(50)]
    assert all(fast)
    slow = [shared(library, seconds=1e-9) for _ in range(1000)]
    tried = [place for place, found in enumerate(slow) if found]
    apart = [later - place for place, later in pairwise(tried)]
    assert apart == sorted(apart) and apart[-1] >= 8 * apart[0] >= 8 * 16
    assert len(tried) < 10


def test_in_a_part_or_with_more_threads_than_cores_none_is_shared_out(library, monkeypatch):
    def asked():
        return cores.by_blas(lambda _: None, [1], 1e3)

    inner = []
    for count, there, wanted in ((4, 8, True), (8, 4, False), (2, 8, False), (3, 3, False)):
        monkeypatch.setattr(cores, "cores", lambda there=there: there)
        cores.use(count)
        assert asked() == wanted
    monkeypatch.setattr(cores, "cores", lambda: 8)
    cores.use(4)
    cores.each(lambda _: inner.append(asked()), [1, 2])
    cores.use(0)
    assert inner == [False, False]


FORKS = """
import os, signal, threading
from attn_cli.maths import blas, cores
cores.before_numpy()
import numpy as np
rng = np.random.default_rng(0)
x, w = rng.standard_normal((256, 576), np.float32), rng.standard_normal((576, 576), np.float32)
wanted, over = x @ w, threading.Event()
def multiply(seconds=1e3):
    found = np.empty_like(wanted)
    shared = blas.shared_out(lambda _: np.matmul(x, w, out=found), [0], 2, seconds)
    return (found == wanted).all() if shared else True
def many():
    while not over.is_set():
        assert multiply()
multiply()  # what it imports is there before another thread does
other = threading.Thread(target=many)
other.start()
signal.alarm(60)
for _ in range(5):
    child = os.fork()
    if not child:
        signal.alarm(30)
        alone = (x @ w == wanted).all() and blas._callers == 0
        os._exit(0 if multiply() and alone else 1)
    assert os.waitpid(child, 0)[1] == 0
over.set()
other.join()
print("done")
"""


def test_a_process_forks_while_a_product_is_shared_out():
    env = {key: value for key, value in os.environ.items() if "OPENBLAS" not in key}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS],
        capture_output=True,
        text=True,
        env=env,
        check=False,
        timeout=120,
    )
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr


def test_numpy_is_told_before_it_is_loaded_and_what_the_user_set_stands():
    code = (
        "import os, sys; from attn_cli.maths import cores; cores.before_numpy(); "
        "print(os.environ.get('OPENBLAS_THREAD_TIMEOUT'))"
    )
    for given, wanted in ((None, "16"), ("20", "20")):
        env = {key: value for key, value in os.environ.items() if "OPENBLAS" not in key}
        env |= {"OPENBLAS_THREAD_TIMEOUT": given} if given else {}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
        )
        assert done.stdout.split() == [wanted]
