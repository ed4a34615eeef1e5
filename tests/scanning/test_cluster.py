"""What is told to the workers of a cluster, and what becomes of those that are lost.

The scheduler here is a made one: it answers in the order in which it is asked.
"""

import json
import socket
from collections import Counter, deque
from dataclasses import replace

import pytest
from made_adapters import adapter_for
from scanning.conftest import TEXTS, job, parts_of

from attn_cli import __version__
from attn_cli.errors import ContentError, UsageError
from attn_cli.opening.load import load
from attn_cli.scanning import cluster, member, scheduler, worker
from attn_cli.scanning.engines import Done, Working
from attn_cli.scanning.job import digest_of, digests_of
from attn_cli.scanning.scheduler import Answer, Scheduler, address_of

OWN = [*scheduler.own_versions(), __version__]
_USUAL = {
    eval: OWN, member.ready: worker.READY, member.measure: b"R3 record", member.forget: None,
}  # fmt: skip
PARTS = parts_of(*((text,) for text in TEXTS))


class Made:
    """A scheduler with these workers. What they are asked is done when it is listened for, by
    `when`: what that gives is the answer, "" stands for the usual one and None for silence."""

    address = "tcp://10.0.0.1:8786"

    def __init__(self, workers, when=lambda *_: "", versions=OWN[:3]):
        self.workers, self.lost, self.versions = frozenset(workers), False, versions
        self._when, self._open, self.asked, self.most = when, deque(), [], 0

    def ask(self, address, work, *arguments):
        task = f"{work.__name__}-{len(self.asked)}"
        self.asked.append((address, work, arguments))
        self._open.append((task, address, work, arguments))
        self.most = max(self.most, sum(one[2] == member.measure for one in self._open))
        return task

    def hear(self):
        while self._open:
            task, address, work, arguments = self._open.popleft()
            found = self._when(self, address, work, *arguments)
            if address not in self.workers:
                return Answer("")
            if found == "":
                found = _USUAL[work]
            if found is not None or work == member.forget:
                bad = isinstance(found, Exception)
                return Answer(task, None if bad else found, found if bad else None)
        return None

    def drop(self, task):
        self._open = deque(one for one in self._open if one[0] != task)

    def close(self):
        self.closed = True


def events_of(monkeypatch, made, parts=PARTS):
    monkeypatch.setattr(cluster, "Scheduler", lambda _: made)
    monkeypatch.setattr(scheduler, "PATIENCE", 3)
    return list(cluster.on_cluster(job("tiny"), made.address)(iter(parts)))


def done(events):
    return sorted(event.part.number for event in events if isinstance(event, Done))


def test_every_part_is_done_once_and_few_are_on_the_way(monkeypatch):
    many = parts_of(*((text,) for text in TEXTS * 30))
    made = Made(["tcp://a:1", "tcp://a:2", "tcp://b:1"])
    events = events_of(monkeypatch, made, many)
    assert done(events) == list(range(len(many))) and made.most == 2 * 3 and made.closed
    assert sum(event for event in events if isinstance(event, int)) == 3 * len(many)
    assert max(event.count for event in events if isinstance(event, Working)) == 3
    sharing = {address: more[-1] for address, work, more in made.asked if work == member.measure}
    assert sharing == {"tcp://a:1": 2, "tcp://a:2": 2, "tcp://b:1": 1}
    assert [work for _, work, _ in made.asked].count(member.ready) == 3


def test_the_parts_of_a_lost_worker_are_done_by_others(monkeypatch):
    def when(made, address, work, *arguments):
        if work == member.measure and address == "tcp://a:2":
            made.workers -= {address}
        return ""

    made = Made(["tcp://a:1", "tcp://a:2"], when)
    assert done(events_of(monkeypatch, made)) == list(range(len(PARTS)))


def test_one_that_comes_later_joins_once_it_has_answered(monkeypatch):
    def when(made, address, work, *_):
        if work == member.measure and len(made.asked) == 6:
            made.workers |= {"tcp://c:1", "tcp://bad:1"}
        return ["3.11", "2020", "2020", "9"] if (address, work) == ("tcp://bad:1", eval) else ""

    made, many = Made(["tcp://a:1"], when), parts_of(*((text,) for text in TEXTS * 3))
    assert done(events_of(monkeypatch, made, many)) == list(range(len(many)))
    asked = {address for address, work, _ in made.asked if work == member.measure}
    assert asked == {"tcp://a:1", "tcp://c:1"}


def test_a_part_that_ends_every_worker_is_named(monkeypatch):
    def when(made, address, work, *arguments):
        if work == member.measure and b'"the queen is a woman"' in arguments[1]:
            made.workers = frozenset([f"tcp://a:{len(made.asked)}"])
        return ""

    made = Made(["tcp://a:0"], when)
    with pytest.raises(ContentError, match=r"lost 3 times at the part that begins at x.txt: "
                       "line 2"):  # fmt: skip
        events_of(monkeypatch, made)


def test_a_part_that_only_waited_is_not_blamed(monkeypatch):
    """Each ends its worker twice, while another waits there."""
    times = Counter()

    def when(made, address, work, *arguments):
        if work == member.measure:
            times[arguments[1]] += 1
            if times[arguments[1]] < 3:
                made.workers = frozenset([f"tcp://a:{len(made.asked)}"])
        return ""

    made = Made(["tcp://a:0"], when)
    assert done(events_of(monkeypatch, made)) == list(range(len(PARTS)))


@pytest.mark.parametrize("answer, said", [
    (ModuleNotFoundError("attn_cli"), "worker tcp://a:2: it has no attn"),
    (RuntimeError("x"), "worker tcp://a:2: it does not answer as a worker should"),
    ([*OWN[:3], "0.0.1"], f"worker tcp://a:2: it has attn 0.0.1, here is {__version__}"),
    (["2.7", *OWN[1:]], f"worker tcp://a:2: it has Python 2.7, here is {OWN[0]}"),
    ([OWN[0], "2020.1", *OWN[2:]], "worker tcp://a:2: it has dask 2020.1, here is"),
    (None, "worker tcp://a:2: it does not answer"),
])  # fmt: skip
def test_who_cannot_is_named_before_work_begins(monkeypatch, answer, said):
    def when(made, address, work, *_):
        return answer if address == "tcp://a:2" else ""

    made = Made(["tcp://a:1", "tcp://a:2"], when)
    with pytest.raises(ContentError) as problem:
        events_of(monkeypatch, made)
    assert problem.value.message.startswith(said) and problem.value.hint and made.closed
    assert member.measure not in [work for _, work, _ in made.asked]


def test_what_a_worker_refuses_is_told_with_its_name_and_how_many_others(monkeypatch):
    def when(made, address, work, *_):
        told = worker.refused(ContentError("no model x", "look"))
        return told if work == member.ready and address != "tcp://a:2" else ""

    made = Made([f"tcp://a:{n}" for n in range(1, 9)], when)
    with pytest.raises(ContentError) as problem:
        events_of(monkeypatch, made)
    assert problem.value.message == (
        "worker tcp://a:1: no model x (others that cannot: tcp://a:3, tcp://a:4, tcp://a:5, "
        "tcp://a:6, tcp://a:7 and 1 more)"
    )


@pytest.mark.parametrize("workers, versions, said", [
    ([], OWN[:3], "has no workers"),
    (["tcp://a:1"], ["2.7", *OWN[1:3]], "has Python 2.7, here is"),
])  # fmt: skip
def test_a_scheduler_that_cannot_be_used(monkeypatch, workers, versions, said):
    with pytest.raises(ContentError, match=f"the scheduler at tcp://10.0.0.1:8786 {said}"):
        events_of(monkeypatch, Made(workers, versions=versions))


def test_all_workers_are_lost(monkeypatch):
    def when(made, _, work, *__):
        if work == member.measure:
            made.workers = frozenset()
        return ""

    with pytest.raises(ContentError, match="has no workers"):
        events_of(monkeypatch, Made(["tcp://a:1"], when))


# --- where ---------------------------------------------------------------------------------------


def test_an_address_is_typed_or_in_a_file(tmp_path):
    path = tmp_path / "s.json"
    path.write_text(json.dumps({"address": "tls://[::1]:8786", "workers": {}}))
    assert address_of("tcp://host:8786/") == "tcp://host:8786"
    assert address_of(str(path)) == "tls://[::1]:8786"
    for text in ("{}", "[]", "x", '{"address": 3}', '{"address": "x"}', "[" * 100_000):
        path.write_text(text)
        with pytest.raises(ContentError, match=r"is no (scheduler file|address of a scheduler)"):
            address_of(str(path))
    for typed in ("", "host:8786", "tcp://host", "http://a:1", "tcp://a:70000", "tcp://:1"):
        with pytest.raises(UsageError, match="is no address of a scheduler"):
            address_of(typed)


def test_nobody_listens():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(ContentError, match=f"at {address} cannot be reached: connection ref"):
            Scheduler(address)


# --- what ----------------------------------------------------------------------------------------


def test_a_job_is_the_same_from_another_folder(monkeypatch, tmp_path, grouped):
    """Whatever its files are called, if they hold the same."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.txt").write_text("1 0\n1 1\n")
    (tmp_path / "lora").mkdir()
    own = job(
        "llama-plain", adapter="lora", what_if={"mask": ["file:m.txt", "padding:1", "padding:1"]}
    )
    own = replace(own, masks=digests_of(own.what_if["mask"]))
    there = own.anywhere()
    assert (there.model, there.adapter) == (grouped, f"{tmp_path}/lora")
    assert there.digest == own.digest
    assert there.what_if["mask"] == [f"file:{tmp_path}/m.txt", "padding:1", "padding:1"]
    assert digests_of(there.what_if["mask"]) == there.masks
    (tmp_path / "m.txt").write_text("1 1\n1 1\n")
    assert replace(own, masks=digests_of(own.what_if["mask"])).digest != own.digest
    assert digests_of(["file:no.txt", "bogus", "causal"]) == {}


def test_the_digest_of_a_model_is_of_its_adapter_too(tmp_path, grouped):
    plain, adapted = load(grouped), load(grouped, adapter=adapter_for(tmp_path / "a", grouped))
    assert digest_of(plain) != digest_of(adapted)


def test_a_worker_with_other_files_refuses(tmp_path):
    mask = tmp_path / "m.txt"
    mask.write_text("1")
    digest, word = digest_of(load("tiny")), f"file:{mask}"
    for given, said in (
        (job("no/such-model", model_digest=digest), "no/such-model"),
        (job("tiny", model_digest="0" * 32), "it has another model called tiny"),
        (job("tiny", model_digest=digest, what_if={"mask": [word]}, masks={word: "0" * 32}),
         "it has no file of --mask, or another one"),
    ):  # fmt: skip
        told = member.ready(given.to_json(), 1)
        assert told[:1] == worker.REFUSED
        problem = worker.problem_of(told[1:])
        assert said in problem.message and problem.hint and isinstance(problem, ContentError)
