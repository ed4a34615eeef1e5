"""A real terminal: what a person sees in a pane of tmux, of any width and on either background.

What a pseudo-terminal shows as well is tested there (see `test_streams.py`); this one folds lines,
obeys what is written to it, and has a prompt again in the end.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cli.conftest import run
from faults.harness import PACKAGE
from promises import controls

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not shutil.which("tmux"), reason="install tmux (apt-get install tmux)"),
]
WIDTHS = (1, 20, 80, 200)
PAGE = ("mask", "the king is", "--mask", "none", "--no-pager")
# Terminals, with and without colours, and what some say of their background.
LOOKS = {
    "screen": {"TERM": "screen-256color"},
    "light": {"TERM": "tmux-256color", "COLORFGBG": "0;15"},
    "dark": {"TERM": "tmux-256color", "COLORFGBG": "15;0"},
    "unknown": {"TERM": "no-such-terminal"},
    "dumb": {"TERM": "dumb"},
    "plain": {"TERM": "screen-256color", "NO_COLOR": "1"},
}
_WAIT = 200  # seconds, on a machine that has other things to do
_SGR = re.compile(r"\x1b\[([0-9;]*)m")
_PROMPT = re.compile(r"(?:^|\n)([0-9]+)> ?$")


class Pane:
    """A shell in a pane of tmux. Its prompt is the exit code and `> `."""

    def __init__(self, place: Path, width: int, **env: str) -> None:
        self._socket = str(place / "tmux")
        home = {
            "PATH": os.environ["PATH"],
            "HOME": str(place),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(PACKAGE),
            "PS1": "$?> ",
            "OPENBLAS_NUM_THREADS": "1",
            **env,
        }
        words = [f"{name}={value}" for name, value in home.items()]
        # Without job control a process that something else stops is no news to the shell.
        shell = shlex.join(["env", "-i", *words, "sh", "+m"])
        size = ("-x", str(width), "-y", "50")
        self._tmux(
            "-f", os.devnull, "start-server", ";", "set", "-g", "history-limit", "9999", ";",
            "new-session", "-d", *size, "-c", str(place), shell,
        )  # fmt: skip
        self.until(_PROMPT.search)
        python = shlex.quote(sys.executable)
        self.run(f'attn() {{ {python} -m attn_cli "$@"; }}')

    def _tmux(self, *words: str) -> str:
        env = {**os.environ, "LC_ALL": "C.UTF-8"}
        return subprocess.run(
            ["tmux", "-S", self._socket, *words], env=env, check=True, capture_output=True,
            text=True, timeout=_WAIT,
        ).stdout  # fmt: skip

    def close(self) -> None:
        self._tmux("kill-server")

    def shown(self, *how: str) -> str:
        """All that the pane holds; with -J lines that it has folded are one."""
        return self._tmux("capture-pane", "-p", *how, "-S", "-").rstrip("\n")

    def until(self, there: Callable[[str], object]) -> None:
        end = time.monotonic() + _WAIT
        while not there(self.shown("-J")):
            assert time.monotonic() < end, self.shown()
            time.sleep(0.05)

    def keys(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def start(self, line: str) -> None:
        """Types a line, and waits until the terminal has shown it."""
        self.keys("-l", line)
        self.until(lambda shown: shown.endswith(f"> {line}"))
        self.keys("Enter")
        self.until(lambda shown: not shown.endswith(f"> {line}"))

    def end(self, line: str) -> tuple[int, str]:
        """The exit code of what was typed, and what stands between it and the prompt."""
        self.until(_PROMPT.search)
        said = self.shown("-J").rpartition(f"> {line}")[2]
        code = _PROMPT.search(said)
        return int(code[1]), said[: code.start()]

    def run(self, line: str) -> tuple[int, str]:
        """Types a line, and waits for its end."""
        self.start(line)
        return self.end(line)


@pytest.fixture
def pane(tmp_path: Path) -> Iterator[Callable[..., Pane]]:
    with ExitStack() as panes:

        def started(width: int, **env: str) -> Pane:
            one = Pane(tmp_path, width, **env)
            panes.callback(one.close)
            return one

        yield started


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").split("\n")]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_stands_on_the_screen_as_in_a_file_and_then_the_prompt(pane, width):
    """No line is folded by the terminal, but where it is narrower than any page."""
    screen = pane(width, TERM="screen-256color")
    code, said = screen.run(shlex.join(["attn", *PAGE]))
    page = run(*PAGE, columns=max(width, 20)).text
    assert code == 0
    if width < 20:
        assert "".join(said.split()) == "".join(page.split())
    else:
        assert _lines(said) == _lines(page)
        assert max(map(len, _lines(screen.shown()))) <= width
    assert controls(screen.shown()) == []


def _luminance(number: int) -> float:
    """Of a colour of the cube of 216, by the standard's formula."""
    parts = [(number - 16) // step % 6 for step in (36, 6, 1)]
    shares = [(40 * part + 55 * (part > 0)) / 255 for part in parts]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _is_readable(codes: str) -> bool:
    """Whether styles leave the background alone and a letter's colour stands out on any: red,
    magenta and light blue do in the usual palettes of 16."""
    found = re.findall(r"38;5;\d+|\d+", codes)
    for one in found:
        if one.startswith("38;5;"):
            light = _luminance(int(one[5:]))
            if min(1.05 / (light + 0.05), (light + 0.05) / 0.05) < 4.45:
                return False
        elif one not in ("0", "1", "3", "7", "31", "35", "39", "49", "94"):
            return False
    return True


@pytest.mark.parametrize("name", LOOKS)
def test_colours_are_readable_on_light_and_dark_and_gone_where_nobody_wants_them(pane, name):
    screen = pane(80, **LOOKS[name])
    code, said = screen.run(shlex.join(["attn", *PAGE]))
    assert (code, _lines(said)) == (0, _lines(run(*PAGE, columns=80).text))
    styles = {*_SGR.findall(screen.shown("-e"))}
    assert [codes for codes in styles if not _is_readable(codes)] == []
    assert controls(_SGR.sub("", screen.shown("-e"))) == []
    plain = name in ("dumb", "plain")
    assert bool(styles) is not plain


@pytest.mark.parametrize("width", [1, 20, 80])
def test_an_error_is_told_and_the_prompt_comes_again(pane, width):
    code, said = pane(width, TERM="tmux-256color").run("attn trace the --model no-such")
    assert code == 1
    assert said.strip().startswith("attn: no model 'no-such' on this machine\nhint: ")


def _interrupted(screen, line, shown):
    """The exit code of a command that gets Ctrl-C once it has shown a word, and what is left."""
    screen.start(line)
    screen.until(lambda seen: shown in seen.rpartition(line)[2])
    screen.keys("C-c")
    code, said = screen.end(line)
    return code, said.replace("^C", "").strip()


@pytest.mark.parametrize("width", [20, 80])
def test_the_line_of_progress_goes_when_a_run_is_interrupted(pane, tmp_path, width):
    (tmp_path / "c.txt").write_text("the greatest thinker in China is\n" * 200_000)
    screen = pane(width, TERM="tmux-256color")
    assert _interrupted(screen, "attn scan c.txt", "part") == (130, "")


@pytest.mark.parametrize("width", [20, 80])
def test_the_picture_of_a_training_goes_when_it_is_interrupted(pane, tmp_path, width):
    (tmp_path / "c.txt").write_text("the greatest thinker in China is\n" * 20)
    screen, line = pane(width, TERM="tmux-256color"), "attn train c.txt --out m --steps 90000"
    code, told = _interrupted(screen, line, "floor")
    assert code == 130
    assert re.fullmatch("note: saved after step \\d+; go on with: attn train .* --resume", told)
