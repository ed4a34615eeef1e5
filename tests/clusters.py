"""Real Dask clusters on the loopback: a scheduler and its workers, each a process of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attn_cli

ROOT = Path(attn_cli.__file__).parents[1]
# A worker that is looked after is started anew: tests end them for good.
_WORKER = ("--nthreads", "1", "--no-dashboard", "--no-nanny", "--host", "127.0.0.1")
_SCHEDULER = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")


class Cluster:
    """A scheduler, where it writes its file, and its workers, as processes."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.file = folder, folder / "scheduler.json"
        self.workers: list[Any] = []
        self.scheduler = self._start("scheduler", *_SCHEDULER)
        while not self.file.exists() or not self.file.read_bytes().endswith(b"}"):
            assert self.scheduler.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        self.address = json.loads(self.file.read_text())["address"]

    def work(self, *more: str, env: Mapping[str, str] | None = None) -> Any:
        """Starts another worker."""
        place = ("--local-directory", str(self._folder))
        self.workers.append(self._start("worker", *_WORKER, *place, *more, env=env))
        return self.workers[-1]

    def wait(self) -> None:
        """Until all workers that have been started are there."""
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(len(self.workers), timeout=120)

    def end(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()

    def _start(self, kind: str, *more: str, env: Mapping[str, str] | None = None) -> Any:
        told = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_CONFIG": os.devnull, **(env or {})}
        with open(self._folder / "log", "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", kind, "--scheduler-file", str(self.file), *more],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=told, cwd=self._folder,
            )  # fmt: skip


@contextmanager
def cluster(folder: Path, workers: int = 0) -> Iterator[Cluster]:
    """A cluster with so many workers of one thread each, which may not have come yet."""
    found = Cluster(folder)
    try:
        for _ in range(workers):
            found.work()
        yield found
    finally:
        found.end()
