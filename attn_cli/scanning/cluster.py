"""An engine of the workers of a Dask cluster: parts go to those that have answered that they can.

Each has at most `_HELD` parts, so that what is on the way does not grow with the corpus. A part
whose worker is lost is done again by another, up to `engines.TRIES` times.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from attn_cli import __version__
from attn_cli.errors import AttnError, ContentError, some
from attn_cli.scanning import member, scheduler, worker
from attn_cli.scanning.corpus import Part
from attn_cli.scanning.engines import Done, Engine, Events, OnceMore, Working
from attn_cli.scanning.job import Job
from attn_cli.scanning.scheduler import Answer, Scheduler

_HELD = 2  # parts of a worker: one that it measures, one that waits
_INSTALL = f'pip install "attn-cli[scan]=={__version__}" there'
_SAME = "the same versions are needed everywhere"
_LOGS = "its own log says why"
_BUSY = "it may be busy with other work"


def on_cluster(job: Job, address: str) -> Engine:
    """Measures parts on the workers of the scheduler at an address."""

    def engine(parts: Iterator[Part]) -> Events:
        with scheduler.quiet():
            cluster = _Cluster(job, Scheduler(address))
            try:
                yield from cluster.run(parts)
            finally:
                cluster.end()

    return engine


@dataclass(slots=True)
class _Member:
    """A worker: the task that shows whether it can, how often that was looked for in vain, whether
    it is `ready`, or why it cannot be; and the parts that it has, by the names of their tasks, the
    oldest first."""

    address: str
    asked: str | None = None
    silent: int = 0
    known: bool = False
    ready: bool = False
    problem: AttnError | None = None
    parts: dict[str, Part] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return self.address.rpartition(":")[0]


class _Cluster:
    """All workers of a scan."""

    def __init__(self, job: Job, at: Scheduler) -> None:
        self._job, self._at = job.to_json(), at
        self._members: dict[str, _Member] = {}
        self._again = OnceMore()
        self._idle = 0
        self._told = -1

    def run(self, parts: Iterator[Part]) -> Events:
        """Begins once every worker has answered, and all that have can do the work."""
        yield from self._assemble()
        waiting = next(parts, None)
        while True:
            again = self._again.left
            while (waiting or again) and (free := self._free()):
                part = again.pop(0) if again else waiting
                task = self._at.ask(
                    free.address, member.measure, self._job, part.to_json(), self._sharing(free)
                )
                free.parts[task] = part
                if part is waiting:
                    waiting = next(parts, None)
            if not (waiting or again or any(m.parts for m in self._members.values())):
                return self._disperse()
            yield from self._hear()
            self._look_for_any()

    def end(self) -> None:
        """Takes back what is not done."""
        self._at.close()

    def _disperse(self) -> None:
        """Lets the workers close the model."""
        asked = {self._at.ask(m.address, member.forget, self._job) for m in self._ready}
        while asked and (answer := self._at.hear()):
            asked.discard(answer.task)

    # --- who can ---------------------------------------------------------------------------------

    def _assemble(self) -> Events:
        """Asks every worker whether it can. Raises ContentError and UsageError for those that
        cannot, where there are none, and where none answers."""
        yield Working(0)
        while not self._members or any(m.asked for m in self._members.values()):
            yield from self._hear()
            self._look_for_any()
        if bad := [m for m in self._members.values() if m.problem]:
            raise _together(bad)

    def _look_for_any(self) -> None:
        """Raises ContentError where nobody has been able to work for long."""
        if any(m.ready or m.asked for m in self._members.values()):
            self._idle = 0
        if self._idle <= scheduler.PATIENCE:
            return
        bad = [m for m in self._members.values() if m.problem]
        if bad:
            raise _together(bad)
        raise ContentError(
            f"the scheduler at {self._at.address} has no workers", f"dask worker {self._at.address}"
        )

    def _meet(self) -> None:
        """Asks those that have come, and takes back the parts of those that are gone."""
        there = self._at.workers
        if there and (other := scheduler.other_versions(self._at.versions)):
            what = f"the scheduler at {self._at.address} has {other}"
            raise ContentError(what, _SAME)
        for address in sorted(there - self._members.keys()):
            asked = self._at.ask(address, eval, scheduler.OF_WORKER)
            self._members[address] = _Member(address, asked)
        for address in self._members.keys() - there:
            self._lose(self._members.pop(address), counted=not self._at.lost)

    @property
    def _ready(self) -> list[_Member]:
        return [m for m in self._members.values() if m.ready]

    def _sharing(self, one: _Member) -> int:
        return sum(m.host == one.host for m in self._members.values())

    def _check(self, one: _Member, answer: Answer) -> None:
        """Takes in what a worker has answered to whether it can."""
        one.asked = None
        if answer.problem:
            lacks = isinstance(answer.problem, ImportError)
            what = "it has no attn" if lacks else "it does not answer as a worker should"
            one.problem = ContentError(what, _INSTALL if lacks else _LOGS)
        elif one.known:
            one.ready = answer.value == worker.READY
            if not one.ready:
                one.problem = worker.problem_of(answer.value[1:])
        else:
            *versions, attn = answer.value
            other = scheduler.other_versions(versions)
            if attn != __version__:
                other = other or f"attn {attn}, here is {__version__}"
            one.problem = ContentError(f"it has {other}", _SAME) if other else None
            if not other:
                one.known = True
                one.asked = self._at.ask(one.address, member.ready, self._job, self._sharing(one))

    def _wait_for(self, one: _Member) -> None:
        """Counts how long a worker has not said what it has: one that is opening a model may."""
        one.silent += bool(one.asked) and not one.known
        if one.silent > scheduler.PATIENCE and one.asked:
            self._at.drop(one.asked)
            one.asked, one.problem = None, ContentError("it does not answer", _BUSY)

    # --- parts -----------------------------------------------------------------------------------

    def _free(self) -> _Member | None:
        """The one with the fewest parts that may have another."""
        free = [m for m in self._ready if len(m.parts) < _HELD]
        return min(free, key=lambda m: len(m.parts), default=None)

    def _hear(self) -> Events:
        answer = self._at.hear()
        self._meet()
        if answer is None:
            self._idle += 1
            for one in self._members.values():
                self._wait_for(one)
        else:
            yield from self._take(answer)
        ready = len(self._ready)
        if ready != self._told or answer is None:
            self._told = ready
            yield Working(ready)

    def _take(self, answer: Answer) -> Events:
        one = next((m for m in self._members.values() if answer.task in (m.asked, *m.parts)), None)
        if one is None:
            return
        if answer.task == one.asked:
            self._check(one, answer)
            return
        part = one.parts.pop(answer.task)
        if answer.problem:
            self._once_more(part, counted=True)
        elif answer.value[:1] == worker.REFUSED:
            raise _of(one, worker.problem_of(answer.value[1:]))
        else:
            tokens, _, record = answer.value[1:].partition(b" ")
            yield int(tokens)
            yield Done(part, record)

    def _lose(self, one: _Member, *, counted: bool) -> None:
        """Takes back the parts of a worker; the oldest is the one that it measured."""
        for task, part in one.parts.items():
            self._at.drop(task)
            self._once_more(part, counted=counted)
            counted = False

    def _once_more(self, part: Part, *, counted: bool) -> None:
        hint = "their own logs say why they ended"
        self._again.add(part, "workers were lost", hint, counted=counted)


def _of(one: _Member, problem: AttnError) -> AttnError:
    return type(problem)(f"worker {one.address}: {problem.message}", problem.hint)


def _together(bad: list[_Member]) -> AttnError:
    """Why some workers cannot: of the first what it is, of others that they cannot either."""
    first = bad[0]
    alike = [m.address for m in bad[1:]]
    told = _of(first, first.problem)
    if alike:
        told.message += f" (others that cannot: {some(alike)})"
    return told
