"""Runs of the command in which the N-th call that changes the disk fails, is killed or signalled.

As a program: one case per line of stdin as JSON, one answer per line of stdout. Each runs in a
process forked from this one, which has imported what the runs before imported, and has computed
nothing.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

CALLS = ("open", "write", "fsync", "fchmod", "fchown", "replace", "rename", "mkdir", "close")
CLEANING = ("unlink", "rmdir")


class Ended(NamedTuple):
    """A run: its code (-9 where it was killed), what it printed, and whether its N-th call came."""

    code: int
    out: str
    err: str
    came: bool


class Runs:
    """Starts runs in a process of its own."""

    def __init__(self) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("ATTN_")}
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**clean, "PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip

    def __call__(
        self, *arguments: object, call: int = 0, how: Any = None, calls: Sequence[str] = CALLS
    ) -> Ended:
        """One run. `how`: an errno, `"kill"`, or the numbers of signals to be sent."""
        case = {"arguments": [str(a) for a in arguments], "call": call, "how": how, "calls": calls}
        self._server.stdin.write(json.dumps(case) + "\n")
        self._server.stdin.flush()
        return Ended(*json.loads(self._server.stdout.readline()))

    def close(self) -> None:
        self._server.communicate()


def _patch(case: dict[str, Any], mark: int) -> None:
    left = case["call"]

    def wrapped(name: str, real: Any) -> Any:
        def call(first: Any, *rest: Any, **more: Any) -> Any:
            nonlocal left
            reading = name == "open" and not rest[0] & (os.O_CREAT | os.O_DIRECTORY)
            standard = name in ("write", "close") and (first <= 2 or first == mark)
            if reading or standard:
                return real(first, *rest, **more)
            left -= 1
            if left != 0:
                return real(first, *rest, **more)
            write(mark, b".")
            how = case["how"]
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if isinstance(how, int):
                if name == "close":
                    real(first)
                raise OSError(how, "")
            try:
                return real(first, *rest, **more)
            finally:
                for number in how:  # before what the call gave is known to who called
                    os.kill(os.getpid(), number)

        return call

    write = os.write
    for name in case["calls"]:
        setattr(os, name, wrapped(name, getattr(os, name)))


def _child(case: dict[str, Any], ends: dict[str, int]) -> None:
    for number, end in enumerate((ends["in"], ends["out"], ends["err"])):
        os.dup2(end, number)
    sys.stdin, sys.stdout, sys.stderr = map(os.fdopen, range(3), "rww")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    sys.argv = ["attn", *case["arguments"]]
    from attn_cli.cli.main import main

    write, leave = os.write, os._exit

    def end(code: int) -> None:
        write(ends["modules"], " ".join(sys.modules).encode())
        leave(code)

    os._exit = end
    _patch(case, ends["mark"])
    main()


def _serve() -> None:
    for line in sys.stdin:
        names = ("in", "out", "err", "mark", "modules")
        ends = {name: os.memfd_create(name) for name in names}
        child = os.fork()
        if not child:
            try:
                _child(json.loads(line), ends)
            finally:
                os._exit(99)
        status = os.waitpid(child, 0)[1]
        for name in names:
            os.lseek(ends[name], 0, os.SEEK_SET)
        out, err, mark, modules = (os.read(ends[name], 1 << 24).decode() for name in names[1:])
        for end in ends.values():
            os.close(end)
        for module in modules.split():  # so that no later run waits for it
            with contextlib.suppress(ImportError):
                import_module(module)
        sys.stdout.write(json.dumps([os.waitstatus_to_exitcode(status), out, err, bool(mark)]))
        sys.stdout.write("\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
