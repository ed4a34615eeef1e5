"""`attn scan --scheduler`: real Dask clusters on the loopback."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from cli.conftest import run
from cli.test_scan import LINES, killed, parts_of
from clusters import Cluster, cluster

from attn_cli.scanning import cluster as engine
from attn_cli.scanning import saved
from attn_cli.scanning.corpus import corpus
from attn_cli.scanning.scheduler import Scheduler

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A corpus of a second or two, in eight parts."""
    path = tmp_path_factory.mktemp("long") / "long.txt"
    path.write_text("".join(LINES * 300))
    return path


@pytest.fixture(scope="module")
def whole(long):
    """The document of a scan of it in one process."""
    return run("scan", long, "--json", "--quiet").out


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Iterator[Cluster]:
    """A cluster of two workers, of which tests may end one: it gets another."""
    with cluster(tmp_path_factory.mktemp("cluster"), 2) as found:
        yield found


@pytest.fixture
def at(two: Cluster) -> Cluster:
    two.workers = [one for one in two.workers if one.poll() is None]
    while len(two.workers) < 2:
        two.work()
    two.wait()
    return two


def test_two_workers_of_which_one_is_killed_give_the_same(attn, monkeypatch, tmp_path, long, whole,
                                                          at):  # fmt: skip
    """By its process id, in the middle of its part."""
    lost: list[Any] = []
    save, lose = saved.Parts.save, engine._Cluster._lose

    def ending(self, data, number, found):
        save(self, data, number, found)
        if len(found.parts) == 2:
            os.kill(at.workers[0].pid, signal.SIGKILL)

    def losing(self, one, **more):
        lost.extend(one.parts.values())
        lose(self, one, **more)

    monkeypatch.setattr(saved.Parts, "save", ending)
    monkeypatch.setattr(engine._Cluster, "_lose", losing)
    out = tmp_path / "found.json"
    found = attn("scan", long, "--out", out, "--quiet", "--scheduler", at.address)
    assert (found.code, found.said) == (0, "")
    assert out.read_bytes() == whole and not os.path.exists(f"{out}.parts")
    assert lost and at.workers[0].wait() == -signal.SIGKILL


def test_a_killed_client_goes_on_and_gives_the_same(attn, monkeypatch, tmp_path, long, whole, at):
    out = tmp_path / "found.json"
    killed(out, long, "--scheduler", at.file)
    before, asked, ask = len(parts_of(out)), [], Scheduler.ask

    def counted(self, one, work, *arguments):
        asked.append(work.__name__)
        return ask(self, one, work, *arguments)

    monkeypatch.setattr(Scheduler, "ask", counted)
    assert not out.exists() and before >= 2
    found = attn("scan", long, "--out", out, "--quiet", "--scheduler", at.file)
    assert (found.code, found.said) == (0, "")
    assert out.read_bytes() == whole
    every = sum(1 for _ in corpus([str(long)]).parts())
    assert asked.count("measure") == every - before
    assert asked.count("ready") == asked.count("forget") == 2


@pytest.mark.parametrize("by, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_quietly_and_frees_the_workers(attn, tmp_path, long, whole, at, by, code):
    out = tmp_path / "found.json"
    said, scan = killed(out, long, "--scheduler", at.address, "--quiet", by=by)
    assert (scan.returncode, said) == (code, b"")
    assert not out.exists() and len(parts_of(out)) >= 2
    assert attn("scan", long, "--out", out, "--quiet", "--scheduler", at.address).code == 0
    assert out.read_bytes() == whole
