"""A run reads, writes and draws on what it is handed, and on nothing of the process."""

import io
import os
import pty
import socket
import sys
import termios
from contextlib import ExitStack

import pytest

from attn_cli.cli import app
from attn_cli.cli.streams import Streams


class Screen(io.BytesIO):
    def isatty(self):
        return True


def handed(out=None, **more):
    out = io.BytesIO() if out is None else out
    given = {"stdin": None, "stderr": io.TextIOWrapper(io.BytesIO()), "environ": {}, **more}
    return Streams(stdout=io.TextIOWrapper(out, encoding="utf-8"), **given)


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), (), ("trace", "--help"), ("trace", "the"), ("trac",)]
)
def test_nothing_of_a_run_reaches_the_process(capfd, arguments):
    streams = handed()
    code = app.run(list(arguments), streams)
    said, told = streams.stdout.buffer.getvalue(), streams.stderr.buffer.getvalue()
    assert (code, bool(said), bool(told)) == ((2, False, True) if code else (0, True, False))
    assert capfd.readouterr() == ("", "")


def test_the_environment_is_the_one_handed_in(monkeypatch):
    monkeypatch.setenv("ATTN_MODEL", "no-such")
    monkeypatch.setenv("COLUMNS", "30")
    streams = handed()
    assert app.run(["trace", "the", "--step", "5"], streams) == 0
    assert b"no-such" not in streams.stderr.buffer.getvalue()
    narrow = handed(environ={"COLUMNS": "30"})
    assert app.run(["trace", "the", "--step", "5"], narrow) == 0
    assert streams.stdout.buffer.getvalue() != narrow.stdout.buffer.getvalue()


@pytest.mark.parametrize(("columns", "width"), [("40", 50), ("70", 68), ("500", 78), ("", 78)])
def test_help_is_as_wide_as_the_screen_within_bounds(columns, width):
    streams = handed(environ={"COLUMNS": columns})
    app.run(["trace", "--help"], streams)
    page = streams.stdout.buffer.getvalue().decode().partition("Examples:")[0].splitlines()
    assert width - 5 <= max(map(len, page)) <= width


@pytest.mark.parametrize(
    ("environ", "facts"),
    [
        ({"TERM": "xterm"}, (True, False, True)),
        ({"TERM": "dumb"}, (True, True, False)),
        ({"TERM": "xterm", "NO_COLOR": "1"}, (True, True, False)),
        ({}, (True, False, False)),
    ],
)
def test_what_a_terminal_can_do(environ, facts):
    screen = handed(Screen(), stderr=io.TextIOWrapper(Screen()), environ=environ)
    assert (screen.is_screen, screen.is_plain, screen.is_live) == facts
    piped = handed(environ=environ)
    assert (piped.is_screen, piped.is_live) == (False, False)


@pytest.mark.parametrize(
    ("given", "width"),
    [("120", 120), ("5", 20), ("10000", 10_000), ("10001", 80), ("0", 80), ("٣", 80), ("", 80)],
)
def test_the_width_is_columns_or_eighty(given, width):
    assert handed(environ={"COLUMNS": given}).width == width
    assert handed(Screen(), environ={"COLUMNS": given}).width == width


@pytest.mark.parametrize(("columns", "width"), [(0, 80), (7, 20), (132, 132)])
def test_a_terminal_says_its_own_width(columns, width):
    main, other = pty.openpty()
    termios.tcsetwinsize(other, (24, columns))
    with open(main, "rb"), open(other, "w", encoding="utf-8") as terminal:
        streams = Streams(stdin=None, stdout=terminal, stderr=None, environ={})
        assert (streams.is_screen, streams.width) == (True, width)


def test_stdin_is_fed_by_a_file_a_pipe_or_a_socket_only(tmp_path):
    (tmp_path / "file").write_bytes(b"the")
    read, write = os.pipe()
    ours, theirs = socket.socketpair()
    with ExitStack() as stack:
        stack.enter_context(open(write, "wb"))
        stack.enter_context(ours)
        places = (tmp_path / "file", read, theirs.detach(), os.devnull)
        fed = [
            handed(stdin=stack.enter_context(open(place, encoding="utf-8"))).is_fed
            for place in places
        ]
    assert fed == [True, True, True, False]
    assert not handed(stdin=None).is_fed


def test_without_a_word_they_are_those_of_the_process():
    streams = Streams()
    assert (streams.stdout, streams.stderr, streams.environ) == (sys.stdout, sys.stderr, os.environ)
