"""Other processes, measured: each whole and from outside, or many times from inside.

Imports only the standard library, and runs itself as the parent of what is measured whole.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# The threads of a process that has just computed still turn idly for a while.
_REST = 0.1
HERE = Path(__file__).parent
FLOOR = "import numpy, rich.table, typer"
ATTN = (str(Path(sys.executable).with_name("attn")),)
OURS = (sys.executable, str(HERE / "ours.py"))
# Nothing is looked for on the network, nothing is sent there.
QUIET = {
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1", "WANDB_MODE": "disabled", "TOKENIZERS_PARALLELISM": "0",
    # What pip installs has its bytecode, and a working tree has it after the first round.
    "PYTHONDONTWRITEBYTECODE": "",
}  # fmt: skip


class Trouble(Exception):
    """A process failed, or answered that it did."""


class Measured(NamedTuple):
    """One process from its start to its end."""

    seconds: float
    mib: float
    out: str


def measured(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Measured:
    """Runs a process to its end, from a small one in between (see `_run`). Raises Trouble."""
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryFile() as trouble:
        out, numbers = Path(place) / "out", Path(place) / "numbers"
        with out.open("wb") as file:
            subprocess.run(
                [sys.executable, "-I", "-S", __file__, str(numbers), *command],
                stdin=subprocess.DEVNULL, stdout=file, stderr=trouble, check=True,
                env={**os.environ, **QUIET, **(environment or {})},
            )  # fmt: skip
        code, seconds, mib = json.loads(numbers.read_text())
        if code:
            raise Trouble(f"{' '.join(command)}: {_end_of(trouble)}")
        return Measured(seconds, mib, out.read_text())


def _run(numbers: str, *command: str) -> None:
    """Linux counts into a child's peak what its parent has held, so this holds next to nothing."""
    start = time.perf_counter()
    child = subprocess.Popen(command)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    Path(numbers).write_text(json.dumps([child.returncode, seconds, usage.ru_maxrss / 1024]))


def _end_of(file: Any) -> str:
    file.seek(0)
    lines = file.read().decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")


class Worker:
    """A process of `serving.serve`. Raises Trouble where it ends or answers with an error."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            env={**os.environ, **QUIET, **(environment or {})},
        )  # fmt: skip
        try:
            self.about = self._answer()
        except BaseException:
            self.close()
            raise

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        with contextlib.suppress(BrokenPipeError):  # what it said last tells why
            print(json.dumps({"do": do, **request}), file=self._child.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._child.stdout.readline()
        if not line:
            code = self._child.wait()
            raise Trouble(f"ended with {code}: {_end_of(self._errors)}")
        found = json.loads(line)
        if "error" in found:
            raise Trouble(found["error"])
        return found

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.close()
        self._child.wait()
        self._child.stdout.close()
        self._errors.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def once(command: Sequence[str], do: str, **request: Any) -> dict[str, Any]:
    """One request to a fresh worker; `whole` are the seconds from its start to its end."""
    start = time.perf_counter()
    with Worker(command) as worker:
        found = {"about": worker.about, **worker.ask(do, **request)}
    return {**found, "whole": time.perf_counter() - start}


# --- several in turn -----------------------------------------------------------------------------


class Turns(NamedTuple):
    """What each of several gave in every round, and what went wrong with the others."""

    found: dict[str, list[dict[str, Any]]]
    failed: dict[str, str]


def in_turn(calls: Mapping[str, Callable[[], dict[str, Any]]], runs: int, warm_up: bool) -> Turns:
    """Calls A B C, A B C, …: a machine whose speed drifts slows all of them alike.

    One that raises Trouble is called no more. With `warm_up` a first round is not counted.
    """
    turns = Turns({}, {})
    for round in range(runs + warm_up):
        for name, call in calls.items():
            if name in turns.failed:
                continue
            time.sleep(_REST)
            try:
                found = call()
            except Trouble as trouble:
                turns.failed[name] = str(trouble)
                turns.found.pop(name, None)
                continue
            if round or not warm_up:
                turns.found.setdefault(name, []).append(found)
    return turns


def median(found: Sequence[Mapping[str, Any]], key: str) -> float:
    return statistics.median(one[key] for one in found)


def median_ratio(
    above: Sequence[Mapping[str, Any]], below: Sequence[Mapping[str, Any]], key: str
) -> float:
    """The median of the ratios round by round."""
    return statistics.median(a[key] / b[key] for a, b in zip(above, below, strict=True))


def difference(path: Path, other: Path) -> float:
    """max |a − b| / max(1, max |b|) of two rows of float32 in files."""
    rows = array("f", path.read_bytes()), array("f", other.read_bytes())
    most = max(1.0, *map(abs, rows[1]))
    return max(abs(a - b) for a, b in zip(*rows, strict=True)) / most


def machine() -> dict[str, Any]:
    """The processor, and how many of its cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count()
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(":")[2].strip() for line in text.split("\n") if "model name" in line]
    return {"cpu": names[0] if names else "unknown", "cores": cores, "system": sys.platform}


if __name__ == "__main__":
    _run(*sys.argv[1:])
