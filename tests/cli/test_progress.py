"""How far a pass is: a line on a terminal that is gone in the end, and nothing anywhere else."""

import io
import re
import subprocess
import sys
import threading

import pytest

from attn_cli.cli import output
from attn_cli.cli.streams import CURRENT, Streams
from attn_cli.records import Passed
from attn_cli.views.progress import line

MIB = 1 << 20
SHOW, HIDE = "\x1b[?25h", "\x1b[?25l"


class Screen(io.BytesIO):
    """A terminal that wakes who waits for it to be drawn on."""

    def __init__(self):
        super().__init__()
        self.drawn = threading.Condition()

    def isatty(self):
        return True

    def write(self, data):
        with self.drawn:
            written = super().write(data)
            self.drawn.notify_all()
            return written

    def until(self, test):
        with self.drawn:
            assert self.drawn.wait_for(lambda: test(self.getvalue().decode()), 60)


@pytest.fixture
def screen(monkeypatch):
    """A terminal that a line is drawn on from the first record on."""
    monkeypatch.setattr(output, "_PATIENCE", -1)
    before = threading.enumerate()
    yield lend(Screen())
    assert threading.enumerate() == before


def lend(stderr, **environ):
    CURRENT.set(Streams(
        stdin=None, stdout=io.TextIOWrapper(io.BytesIO()), environ={"TERM": "xterm", **environ},
        stderr=io.TextIOWrapper(stderr, encoding="utf-8", write_through=True),
    ))  # fmt: skip
    return stderr


def passes(layers=3, stack="decoder", then=lambda layer: None):
    for layer in range(layers):
        yield Passed(stack, layer, layers, 1234, 2 * MIB * (layer + 1), 6 * MIB)
        then(layer)
    return "value"


def left_on(text):
    """The lines that a terminal shows after all this."""
    lines, row = [""], 0
    for part in re.split(r"(\x1b\[[0-9;?]*[A-Za-z]|[\r\n])", text):
        if part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\x1b[1A":
            row -= 1
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part == "\r" or re.fullmatch(r"\x1b\[([0-9;]*m|\?25[lh])", part):
            continue
        else:
            assert "\x1b" not in part, part
            lines[row] += part
    return [line for line in lines if line.strip()]


def test_a_line_follows_the_layers_and_is_gone_in_the_end(screen):
    def seen(layer):
        screen.until(lambda text: f"layer {layer + 1} of 3" in left_on(text)[-1])

    assert output.watched(passes(then=seen), quiet=False) == "value"
    text = screen.getvalue().decode()
    assert "1,234 tokens · 6.0 MiB of 6.0 MiB read" in text
    assert left_on(text) == []
    assert text.count(HIDE) == 1 and text.rindex(SHOW) > text.rindex(HIDE)


def test_the_line_goes_on_while_a_layer_takes_its_time(screen):
    def seen(layer):
        before = screen.getvalue().decode().count("layer 1 of 3")
        if layer == 0:
            screen.until(lambda text: text.count("layer 1 of 3") > before + 2)

    output.watched(passes(then=seen), quiet=False)


@pytest.mark.parametrize("problem", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_it_is_gone_after_an_error_too(screen, problem):
    closed = []

    def fail(layer):
        if layer == 1:
            raise problem

    def noted():
        try:
            return (yield from passes(then=fail))
        finally:
            closed.append(True)

    with pytest.raises(problem):
        output.watched(noted(), quiet=False)
    text = screen.getvalue().decode()
    assert "layer 2 of 3" in text or "layer 1 of 3" in text
    assert (left_on(text), closed) == ([], [True])
    assert text.rindex(SHOW) > text.rindex(HIDE)


def test_a_terminal_that_goes_away_does_not_end_the_run(screen, monkeypatch):
    def gone(data):
        raise OSError(5, "gone")

    def hang_up(layer):
        if layer == 0:
            monkeypatch.setattr(screen, "write", gone)

    assert output.watched(passes(then=hang_up), quiet=False) == "value"


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_the_line_leaves_room_for_what_a_terminal_echoes(screen, columns):
    """^C at the end of a full line would break it, and the wrong one would be taken away."""
    screen = lend(Screen(), COLUMNS=str(columns))
    texts = []
    output.watched(passes(then=lambda _: texts.append(screen.getvalue().decode())), quiet=False)
    assert all(len(one) <= columns - 3 for text in texts for one in left_on(text))
    assert all(left_on(text) for text in texts)


@pytest.mark.parametrize(
    "environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}, {"quiet": "1"}, {"pipe": "1"}]
)
def test_nothing_is_drawn_where_nothing_can_be_drawn_anew(screen, environ):
    stderr = lend(io.BytesIO() if "pipe" in environ else Screen(), **environ)
    assert output.watched(passes(), quiet="quiet" in environ) == "value"
    assert stderr.getvalue() == b""


def test_what_takes_no_second_is_not_shown(monkeypatch):
    screen = lend(Screen())
    monkeypatch.setattr(output, "_PATIENCE", float("inf"))
    assert output.watched(passes(), quiet=False) == "value"
    assert screen.getvalue() == b""


def test_nobody_reads_what_was_passed_where_there_is_no_line():
    code = """
import sys
from attn_cli.cli import output
from attn_cli.cli.streams import CURRENT, Streams
from attn_cli.records import Passed
def passes():
    yield Passed("decoder", 0, 1, 1, 1, 1)
    return "value"
CURRENT.set(Streams())
print(output.watched(passes(), quiet=False), *(n for n in sys.modules if n.startswith("rich.live")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"value\n", b"")


def test_passes_without_a_layer_have_a_value_too(screen):
    assert output.watched(passes(0), quiet=False) == "value"
    assert screen.getvalue() == b""


# --- what it says --------------------------------------------------------------------------------


def test_a_line_in_words():
    passed = Passed("decoder", 11, 30, 1234, 20 * MIB, 3 << 30)
    assert line(passed, 125.4, 3725) == (
        "layer 12 of 30 · 2:05 (1:02:05 left) · 1,234 tokens · 20.0 MiB of 3.0 GiB read"
    )
    assert line(passed._replace(stack="encoder", tokens=1), 0, 0) == (
        "encoder layer 12 of 30 · 0:00 (0:00 left) · 1 token · 20.0 MiB of 3.0 GiB read"
    )


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves on."""
    now = [100.0]
    monkeypatch.setattr(output.time, "monotonic", lambda: now[0])
    return now


def test_the_time_left_is_that_of_the_layers_left(clock):
    """At the pace of this pass, less what has gone by since its last layer."""
    pace = output._Pace()
    for layer in range(3):
        clock[0] += 10
        pace.add(Passed("encoder", layer, 6, 1, 1, 1))
    assert "layer 3 of 6 · 0:30 (0:30 left)" in pace.line()
    clock[0] += 4
    assert "0:34 (0:26 left)" in pace.line()
    clock[0] += 100
    assert "2:14 (0:00 left)" in pace.line()


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_another_pass_has_a_pace_of_its_own(clock, stack):
    pace = output._Pace()
    for layer in range(6):
        clock[0] += 10
        pace.add(Passed("encoder", layer, 6, 1, 1, 1))
    clock[0] += 3
    pace.add(Passed(stack, 0, 6, 1, 1, 1))
    assert "layer 1 of 6 · 1:03 (0:15 left)" in pace.line()
