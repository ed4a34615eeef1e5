"""Two ways to run the command: inside this process, which is fast, and as a real process."""

import io
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest
from promises import PYTHON, controls, strict

from attn_cli.cli import app
from attn_cli.cli.streams import Streams

# What a machine may have set, and would change a result.
_UNSET = (
    "ATTN_DEBUG", "ATTN_MODEL", "ATTN_THREADS", "CLICOLOR_FORCE", "COLORTERM", "COLUMNS",
    "FORCE_COLOR", "LINES",
    "NO_COLOR", "PAGER", "PYTHONUNBUFFERED", "PY_COLORS", "TTY_COMPATIBLE", "TTY_INTERACTIVE",
)  # fmt: skip


class Result(NamedTuple):
    """What a run left behind. `json` is strict: NaN and Infinity are refused."""

    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        return self.out.decode("utf-8")

    @property
    def said(self) -> str:
        return self.err.decode("utf-8")

    @property
    def json(self) -> Any:
        return strict(self.out)

    @property
    def lines(self) -> list[Any]:
        return [strict(line) for line in self.out.splitlines()]


def check(result: Result, terminal: bool = False, partial: bool = False) -> Result:
    """What is promised of every run, whatever it was asked; `partial`: 1 may come with results."""
    assert result.code in (0, 1, 2, 130, 141, 143), result
    if result.code and not (partial and result.code == 1):
        assert result.out == b"", result
        assert len(result.said.splitlines()) <= 3, result.said
    for word in PYTHON:
        assert word not in result.said, result.said
    allowed = "\n\x1b" if terminal else "\n"
    if not result.out.startswith((b"PK\x03\x04", b"PAR1")):
        assert not controls(result.text, allowed), controls(result.text, allowed)
    assert not controls(result.said), controls(result.said)
    return result


class _Stream(io.BytesIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def run(
    *arguments: object,
    stdin: bytes | None = None,
    terminal: bool = False,
    columns: int = 0,
    env: Mapping[str, str] | None = None,
    partial: bool = False,
) -> Result:
    """One run of the command line in this process; `terminal` lends stdout and stderr a screen."""
    environ = {"TERM": "xterm-256color", **(env or {})}
    if columns:
        environ["COLUMNS"] = str(columns)
    # Without `stdin`, one that is neither file nor pipe.
    with tempfile.TemporaryFile() if stdin is not None else open(os.devnull, "rb") as file:
        if stdin is not None:
            file.write(stdin)
            file.seek(0)
        out, err = _Stream(terminal), _Stream(terminal)
        streams = Streams(
            stdin=io.TextIOWrapper(file),
            stdout=io.TextIOWrapper(out, encoding="utf-8"),
            stderr=io.TextIOWrapper(err, encoding="utf-8"),
            environ=environ,
        )
        code = app.run([str(argument) for argument in arguments], streams)
        return check(Result(code, out.getvalue(), err.getvalue()), terminal, partial)


def start(*arguments: object, env: Mapping[str, str] | None = None, **more: Any) -> Any:
    """A real `python -m attn_cli`, started and not waited for."""
    clean = {name: value for name, value in os.environ.items() if name not in _UNSET}
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    # A test run in the background ignores SIGINT, and its children would inherit that.
    more.setdefault("preexec_fn", lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    return subprocess.Popen(
        [sys.executable, "-m", "attn_cli", *map(str, arguments)],
        env={**clean, **(env or {})},
        **{**streams, **more},
    )


@pytest.fixture
def attn() -> Callable[..., Result]:
    return run


@pytest.fixture(params=["", "1"], ids=["buffered", "unbuffered"])
def unbuffered(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of a real process, with and without Python's own buffers."""
    return {"PYTHONUNBUFFERED": request.param}


@pytest.fixture
def process(unbuffered: dict[str, str]) -> Callable[..., Result]:
    """Runs the real command to its end: `process("trace", "the", input=b"…", stdout=…)`."""

    def complete(
        *arguments: object, input: bytes = b"", env: Mapping[str, str] | None = None, **more: Any
    ) -> Result:
        with start(*arguments, env={**unbuffered, **(env or {})}, **more) as child:
            out, err = child.communicate(input if child.stdin else None, timeout=30)
        return check(Result(child.returncode, out or b"", err or b""))

    return complete


@pytest.fixture
def started(unbuffered: dict[str, str]) -> Iterator[Callable[..., Any]]:
    """Starts the real command; whatever still runs at the end of the test is killed."""
    children = []

    def begin(*arguments: object, env: Mapping[str, str] | None = None, **more: Any) -> Any:
        children.append(start(*arguments, env={**unbuffered, **(env or {})}, **more))
        return children[-1]

    yield begin
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()
