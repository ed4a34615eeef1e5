"""A table of runs of the real command, each of which must keep what is promised of every run."""

import contextlib
import csv
import io
import os
import pty
import re
import select
import shlex
import socket
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from threading import Thread
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from promises import PYTHON, controls, strict

import attn_cli

Maker = Callable[[Path], object]
INSIDE = Path(__file__).parent / "inside"
PACKAGE = Path(attn_cli.__file__).parents[1]
CODES = (0, 1, 2, 130, 141, 143)
# How a line begins that tells no error: a note, or how far a training is.
_ASIDE = ("note: ", "说明：", "step ")
_LONGEST = 2000  # characters of a line on stderr
_MEMORY = 1 << 30  # bytes of addresses
_CPU, _WALL = 20, 120  # seconds: of work, and until a run that waits is ended
# What a screen is told to do by us, never by a text.
_DRAWING = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\r")
_CLASS = re.compile(r"\b[A-Za-z]*[a-z](Error|Exception|Warning|Interrupt)\b")
EVERY = os.environ.get("ATTN_FAULTS") == "all"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run, in a folder of its own, and what has to come of it.

    `stdin` is terminal, pipe, file, socket, closed or nothing, and gives `given`; `stdout` and
    `stderr` are pipe, terminal, full, closed or gone. `leaves` are the names that a run may write
    or change. `partial`: results may come with exit code 1. `at` is `NUMBER EVENT TEXT` of
    `inside/sitecustomize.py`; `most` limits the bytes of a file that is written.
    """

    name: str
    arguments: tuple[str | bytes, ...]
    codes: tuple[int, ...]
    says: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    make: tuple[Maker, ...] = ()
    stdin: str = "nothing"
    given: bytes = b""
    stdout: str = "pipe"
    stderr: str = "pipe"
    env: Mapping[str, str] = field(default_factory=dict)
    leaves: tuple[str, ...] = ()
    partial: bool = False
    at: str = ""
    most: int = 0
    memory: int = _MEMORY
    quick: bool = False


def row(
    name: str,
    arguments: str | Sequence[str | bytes],
    code: int | Sequence[int] = (),
    *says: str,
    make: Maker | Sequence[Maker] = (),
    leaves: str = "",
    **more: Any,
) -> Row:
    """A row of a table; arguments as a shell would split them, or a list of them."""
    if isinstance(arguments, str):
        arguments = shlex.split(arguments)
    if "given" in more:
        more = {"stdin": "pipe", **more}
    return Row(
        name=name, arguments=tuple(arguments), codes=(code,) if isinstance(code, int) else (*code,),
        says=says, make=(make,) if callable(make) else tuple(make), leaves=tuple(leaves.split()),
        **more,
    )  # fmt: skip


def suite(rows: Sequence[Row]) -> Callable[..., None]:
    """The test of a table: its rows with and without Python's own buffers, in turn, or with
    ATTN_FAULTS=all each in both ways."""
    names = [row.name for row in rows]
    assert len({*names}) == len(names), [name for name in names if names.count(name) > 1]
    params = [
        pytest.param(
            row, buffers, id=f"{row.name}-{'unbuffered' if buffers else 'buffered'}",
            marks=() if row.quick and not buffers else pytest.mark.faults,
        )
        for at, row in enumerate(rows) for buffers in ("", "1")
        if EVERY or (row.quick and not buffers) or bool(buffers) == bool(at % 2)
    ]  # fmt: skip

    @pytest.mark.parametrize(("row", "buffers"), params)
    def test(row: Row, buffers: str, tmp_path: Path) -> None:
        holds(row, buffers, tmp_path)

    return test


def holds(row: Row, buffers: str, place: Path) -> None:
    """Makes the folder of a row, runs it there, and checks all that is promised."""
    here = place / "here"
    here.mkdir()
    for make in row.make:
        make(here)
    out = _value(row.arguments, "--out")
    new = out and not os.path.lexists(here / out) and 0 not in row.codes
    if new and "/" not in out and len(out) < 200 and row.arguments[0] != "train" and out != "-":
        (here / out).write_bytes(b"as it was\n")
    before = _everything(here)
    code, printed, told = _run(row, buffers, here)
    try:
        _check(row, code, printed, told)
        after = _everything(here)
        changed = {n for n in before.keys() | after.keys() if before.get(n) != after.get(n)}
        changed -= {n for n in changed if n in row.leaves or n.split("/")[0] + "/" in row.leaves}
        assert not changed, f"written or changed: {sorted(changed)}"
        if code == 0 and row.leaves and out in row.leaves and (here / out).is_file():
            _parsed((here / out).read_bytes(), _format(row.arguments), row)
    except AssertionError as problem:
        shown, said = (data[:2000].decode(errors="replace") for data in (printed, told))
        report = f"{problem}\n{row}\nexit {code}\n{shown}\n--- stderr\n{said}"
        raise AssertionError(report) from None


# --- what is promised ----------------------------------------------------------------------------


def _check(row: Row, code: int, printed: bytes, told: bytes) -> None:
    assert code in CODES, f"exit code {code}"
    assert not row.codes or code in row.codes, f"exit code {code}, not {row.codes}"
    said = (_DRAWING.sub(b"", told) if row.stderr == "terminal" else told).decode("utf-8")
    for word in PYTHON:
        assert word not in said, word
    assert not _CLASS.search(said), _CLASS.search(said)
    assert not controls(said), controls(said)
    lines = said.splitlines()
    assert all(len(line) <= _LONGEST for line in lines), "a line that grows with the input"
    errors = [line for line in lines if not line.startswith(_ASIDE)]
    if code and not row.partial:
        assert printed == b"" or code == 141 or row.stdout == "terminal", "stdout is not empty"
        assert len(errors) <= 3, "more than three lines"
        if code in (1, 2) and row.stderr == "pipe":
            assert errors and errors[0].startswith("attn: "), "no error is told"
        if code > 2:
            assert not errors, "an end by a signal is silent"
    elif not code and row.stderr != "terminal":  # a picture of the progress is drawn there
        assert not errors, "an error beside exit code 0"
    for word in row.says:
        assert word in said, f"not said: {word}"
    for word in row.lacks:
        assert word not in said, f"said: {word}"
    if code == 0 or row.partial:
        _parsed(printed, _format(row.arguments), row)


def _parsed(data: bytes, kind: str, row: Row) -> None:
    """What was written is whole and strict in its format."""
    if not data:
        return
    if kind == "json":
        assert data.endswith(b"\n")
        for line in data.splitlines() if "--each" in row.arguments else [data]:
            strict(line)
    elif kind == "ndjson":
        assert data.endswith(b"\n")
        assert [strict(line) for line in data.splitlines()]
    elif kind == "csv":
        cells = list(csv.reader(io.StringIO(data.decode("utf-8"), newline=""), strict=True))
        assert len({len(cell) for cell in cells}) == 1
    elif kind == "npz":
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            assert all(arrays[name].dtype != object for name in arrays)
    elif kind == "xlsx":
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            assert book.testzip() is None
            for name in book.namelist():
                ElementTree.fromstring(book.read(name))
    elif kind in ("html", "svg"):
        text = data.decode("utf-8")
        assert not controls(text, "\n\t"), controls(text, "\n\t")
        if kind == "svg":
            ElementTree.fromstring(text)
        else:
            HTMLParser().feed(text)
            assert text.rstrip().endswith("</html>")
    else:
        text = _DRAWING.sub(b"", data) if row.stdout == "terminal" else data
        assert not controls(text.decode("utf-8")), controls(text.decode("utf-8"))


def _format(arguments: Sequence[str | bytes]) -> str:
    """The format in which a run writes, as its arguments say."""
    kind, out = _value(arguments, "--format"), _value(arguments, "--out") or ""
    if "--json" in arguments or arguments[:1] == ("schema",):
        return "json"
    known = ("json", "ndjson", "csv", "npz", "html", "svg", "xlsx")
    suffix = out.rpartition(".")[2].lower()
    return kind or (suffix if suffix in known else "table")


def _value(arguments: Sequence[str | bytes], option: str) -> str | None:
    place = arguments.index(option) + 1 if option in arguments else 0
    value = arguments[place] if 0 < place < len(arguments) else None
    return value if isinstance(value, str) and "\0" not in value else None


def _everything(folder: Path) -> dict[str, tuple[object, ...]]:
    """The kind, the mode and the contents of all that a folder holds."""
    found: dict[str, tuple[object, ...]] = {}
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        held: object = None
        if stat.S_ISLNK(mode):
            held = os.readlink(path)
        elif stat.S_ISREG(mode):
            held = path.lstat().st_size if path.lstat().st_size > 1 << 24 else path.read_bytes()
        found[str(path.relative_to(folder))] = (mode, held)
    return found


# --- the process ---------------------------------------------------------------------------------

_KEPT = ("PATH", "LC_ALL", "HF_HUB_CACHE", "OLLAMA_MODELS", "VIRTUAL_ENV")


def _run(row: Row, buffers: str, here: Path) -> tuple[int, bytes, bytes]:
    """Runs a row to its end. Raises AssertionError where it never comes."""
    env = {name: os.environ[name] for name in _KEPT if name in os.environ}
    env |= {"PYTHONPATH": f"{INSIDE}{os.pathsep}{PACKAGE}", "PYTHONUNBUFFERED": buffers,
            "TERM": "xterm-256color", "HOME": str(here.parent), "OPENBLAS_NUM_THREADS": "1",
            "ATTN_FAULTS_SIGNAL": row.at, "ATTN_FAULTS_LIMITS": _limits(row)}  # fmt: skip
    with contextlib.ExitStack() as stack:
        stdin, feed = _input(row, here, stack)
        stdout, printed = _output(row.stdout, stack)
        stderr, told = _output(row.stderr, stack)
        child = subprocess.Popen(
            [sys.executable, "-m", "attn_cli", *row.arguments], cwd=here, stdin=stdin,
            stdout=stdout, stderr=stderr, env={**env, **row.env}, start_new_session=True,
            preexec_fn=_closer(row),  # noqa: PLW1509  it takes no lock
        )  # fmt: skip
        stack.enter_context(child)
        for handle in {stdin, stdout, stderr} - {None}:
            os.close(handle)
        threads = [Thread(target=work, daemon=True) for work in (feed, printed, told)]
        for thread in threads:
            thread.start()
        if not _ends(child):
            child.kill()
            raise AssertionError(f"it hangs: {row}")
        for thread in threads:
            thread.join(10)
        return child.wait(), bytes(printed.data), bytes(told.data)


def _limits(row: Row) -> str:
    """What the process may use, as `inside/sitecustomize.py` sets it."""
    most = {"AS": row.memory, "CPU": _CPU, "CORE": 0, "FSIZE": row.most}
    return " ".join(f"{name}={size}" for name, size in most.items() if size or name == "CORE")


def _closer(row: Row) -> Callable[[], None] | None:
    """Closes streams before the process starts; without it no copy of this one is made."""
    kinds = enumerate((row.stdin, row.stdout, row.stderr))
    closed = [number for number, kind in kinds if kind == "closed"]

    def close() -> None:
        for number in closed:
            os.close(number)

    return close if closed else None


def _ends(child: subprocess.Popen[bytes]) -> bool:
    """Waits for the end of a process, without the pauses of `Popen.wait` with a limit."""
    handle = os.pidfd_open(child.pid)
    try:
        return bool(select.select([handle], [], [], _WALL)[0])
    finally:
        os.close(handle)


class _Reader:
    """Keeps all that comes from a handle."""

    def __init__(self, handle: int | None) -> None:
        self.handle, self.data = handle, bytearray()

    def __call__(self) -> None:
        with contextlib.suppress(OSError):  # a terminal whose other end was closed
            while self.handle is not None and (part := os.read(self.handle, 1 << 16)):
                self.data += part


def _output(kind: str, stack: contextlib.ExitStack) -> tuple[int, _Reader]:
    """A handle for the process to write to, and who reads what it wrote."""
    if kind in ("full", "closed"):
        return os.open("/dev/full", os.O_WRONLY), _Reader(None)
    ours, theirs = pty.openpty() if kind == "terminal" else os.pipe()
    if kind == "gone":
        os.close(ours)
        return theirs, _Reader(None)
    stack.callback(os.close, ours)
    return theirs, _Reader(ours)


def _input(
    row: Row, here: Path, stack: contextlib.ExitStack
) -> tuple[int | None, Callable[[], None]]:
    """A handle for the process to read from, and who writes to it."""
    if row.stdin in ("nothing", "closed"):
        return os.open(os.devnull, os.O_RDONLY), lambda: None
    if row.stdin == "file":
        path = here.parent / "stdin"
        path.write_bytes(row.given)
        return os.open(path, os.O_RDONLY), lambda: None
    if row.stdin == "terminal":
        ours, theirs = pty.openpty()
    elif row.stdin == "socket":
        one, two = socket.socketpair()
        ours, theirs = one.detach(), two.detach()
    else:
        theirs, ours = os.pipe()

    def feed() -> None:
        with contextlib.suppress(OSError), _closing(ours, row.stdin != "terminal"):
            left = memoryview(row.given)
            while left:
                left = left[os.write(ours, left) :]

    if row.stdin == "terminal":
        stack.callback(os.close, ours)
    return theirs, feed


@contextlib.contextmanager
def _closing(handle: int, closes: bool) -> Iterator[None]:
    try:
        yield
    finally:
        if closes:
            os.close(handle)
