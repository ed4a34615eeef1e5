"""An engine of processes on this machine, each with the model open and its share of the threads.

A worker that ends is replaced and its part is done again, up to `engines.TRIES` times.
"""

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import connection
from typing import Any

from attn_cli.scanning import worker
from attn_cli.scanning.corpus import Part
from attn_cli.scanning.engines import Done, Engine, Events, OnceMore, Working
from attn_cli.scanning.job import Job

_PATIENCE = 2.0  # seconds for a worker to go


def on_workers(job: Job, count: int, threads: int) -> Engine:
    """Measures parts on so many processes, which share so many threads."""

    def engine(parts: Iterator[Part]) -> Events:
        house = _House(job, count, max(1, threads // count))
        try:
            yield from house.run(parts)
        finally:
            house.end()

    return engine


class _Worker:
    """A process, its end of the line, and the part it has; `ready` once the model is open."""

    def __init__(self, job: bytes, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.line, other = context.Pipe()
        self.process: Any = context.Process(
            target=worker.serve, args=(other, job, threads), daemon=True
        )
        self.process.start()
        other.close()
        self.ready = False
        self.part: Part | None = None

    def give(self, part: Part) -> None:
        self.part = part
        with suppress(OSError):  # one that has ended is found out when it is listened to
            self.line.send_bytes(part.to_json())

    def end(self) -> None:
        self.process.terminate()
        self.line.close()


class _House:
    """All workers of a scan."""

    def __init__(self, job: Job, count: int, threads: int) -> None:
        self._job, self._count, self._threads = job.to_json(), count, threads
        self._workers: list[_Worker] = []
        self._again = OnceMore()

    def run(self, parts: Iterator[Part]) -> Events:
        """Starts no more workers than there are parts."""
        waiting = next(parts, None)
        while True:
            again = self._again.left
            while (waiting or again) and (free := self._free()):
                free.give(again.pop() if again else waiting)
                if free.part is waiting:
                    waiting = next(parts, None)
            at_work = [one for one in self._workers if one.part]
            if not at_work:
                return
            lines = {one.line: one for one in self._workers}
            for line in connection.wait(list(lines)):
                yield from self._hear(lines[line])

    def _free(self) -> _Worker | None:
        """A worker without a part; a new one where there may be more."""
        for one in self._workers:
            if not one.part:
                return one
        if len(self._workers) == self._count:
            return None
        self._workers.append(_Worker(self._job, self._threads))
        return self._workers[-1]

    def _hear(self, one: _Worker) -> Events:
        try:
            told = one.line.recv_bytes()
        except (EOFError, OSError):
            yield from self._lost(one)
            return
        kind, data = told[:1], told[1:]
        if kind == worker.READY:
            one.ready = True
            yield Working(sum(each.ready for each in self._workers))
        elif kind == worker.TOKENS:
            yield int(data)
        elif kind == worker.RECORD:
            part, one.part = one.part, None
            yield Done(part, data)
        else:
            raise worker.problem_of(data)

    def _lost(self, one: _Worker) -> Events:
        """A worker that has ended: its part is done again by another."""
        one.process.join(_PATIENCE)
        self._workers.remove(one)
        one.end()
        yield Working(sum(each.ready for each in self._workers))
        if one.part:
            how, hint = f" ({_how(one.process.exitcode)})", "fewer --workers take less memory"
            self._again.add(one.part, "a worker ended", hint, how=how)

    def end(self) -> None:
        """Ends every worker, by force if need be."""
        for one in self._workers:
            one.end()
        for one in self._workers:
            one.process.join(_PATIENCE)
            if one.process.is_alive():
                one.process.kill()
                one.process.join()


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"
