"""The README's screens are real: each `$ attn …` line is run, and its output compared.

So are its pictures: the command stands in a comment above each, and `--format svg` draws it.
`python tests/test_readme.py` writes the outputs and the pictures anew.
"""

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from attn_cli.cli import app
from attn_cli.cli.commands import COMMANDS
from attn_cli.cli.streams import Streams

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
NUMBER = r"(?<![\w.])-?\d+\.\d+(?:e-\d+)?"
PICTURE = re.compile(r"<!-- (attn [^\n]+) -->\n!\[[^\]]+\]\((samples/screens/\w+\.svg)\)")
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def sessions(text: str) -> list[tuple[str, str]]:
    """Each command of the console blocks, and the output written under it."""
    found = []
    for block in BLOCK.findall(text):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def attn(command: str) -> str:
    """Runs the attn half of a command line in a plain 80-column pipe."""
    words = re.sub(r"^attn ", f"{sys.executable} -m attn_cli ", command)
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "ATTN_MODEL")}
    done = subprocess.run(
        words, shell=True, cwd=ROOT, env=environment, capture_output=True, check=True
    )
    return done.stdout.decode()


def pick(document, path: str):
    """The few jq expressions that the README uses: keys, indices, `[]`, `| {a, b}`."""
    path, _, shape = path.partition(" | ")
    found = [document]
    for key, index in re.findall(r"\.(\w+)|\[(\d*)\]", path):
        found = [value[key] for value in found] if key else found
        if not key:
            found = [v for value in found for v in (value if index == "" else [value[int(index)]])]
    if shape:
        found = [{key: value[key] for key in re.findall(r"\w+", shape)} for value in found]
    return found


def read(output: str) -> tuple[list[str], list[float]]:
    """Words and numbers apart, bars left out: another processor may round the last digit."""
    plain = re.sub("[█▏▎▍▌▋▊▉]+", " ", output.replace("−", "-"))
    numbers = [float(text) for text in re.findall(NUMBER, plain)]
    return re.sub(NUMBER, "#", plain).split(), numbers


def run(command: str) -> str:
    left, _, expression = command.partition(" | jq -c ")
    output = attn(left)
    if not expression:
        return output
    values = pick(json.loads(output), expression.strip("'"))
    return "".join(json.dumps(value, separators=(",", ":")) + "\n" for value in values)


@pytest.mark.parametrize("command, output", sessions(README.read_text()), ids=lambda s: s[:60])
def test_screens_are_what_the_commands_print(command, output):
    (words, numbers), (words_now, numbers_now) = read(output), read(run(command))
    assert words == words_now
    assert numbers == pytest.approx(numbers_now, abs=0.011, rel=1e-4)
    if "jq" in command and shutil.which("jq"):
        left, _, right = command.partition(" | ")
        piped = subprocess.run(
            right, shell=True, input=attn(left).encode(), capture_output=True, check=True
        )
        assert read(piped.stdout.decode())[0] == words


def told(picture: str) -> tuple[list[str], list[float]]:
    """What a picture says: each of its texts, without places and shades."""
    return read("\n".join(ElementTree.fromstring(picture).itertext()))


@pytest.mark.parametrize("command, path", PICTURE.findall(README.read_text()))
def test_pictures_are_what_the_commands_draw(command, path):
    data = (ROOT / path).read_text()
    (words, numbers), (words_now, numbers_now) = told(data), told(attn(f"{command} --format svg"))
    assert words == words_now
    assert numbers == pytest.approx(numbers_now, abs=0.011, rel=1e-4)
    assert len(data) <= 60_000


def test_every_picture_is_shown_and_there_are_few():
    shown = [path for _, path in PICTURE.findall(README.read_text())]
    there = (ROOT / "samples" / "screens").iterdir()
    assert sorted(shown) == sorted(str(path.relative_to(ROOT)) for path in there)
    assert 1 <= len(shown) <= 6


def questions() -> list[tuple[str, list[str]]]:
    """Each row of the table of questions: its command, and what its page is said to hold."""
    rows = re.findall(
        r"^\| \d+ \| [^|]+ \| `(attn [^`]+)` \| ([^|]+) \|$", README.read_text(), re.M
    )
    return [(command, re.findall("“([^”]+)”", seen)) for command, seen in rows]


def test_there_is_a_command_for_each_question():
    assert len(questions()) == 25


@pytest.mark.parametrize("command, seen", questions(), ids=lambda row: row[:60])
def test_a_command_answers_its_question(command, seen, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    typed = shlex.split(command.replace("$(mktemp -d)", str(tmp_path)))[1:]
    written = io.TextIOWrapper(io.BytesIO())
    assert app.run(typed, Streams(stdout=written, stdin=None, stderr=None, environ={})) == 0
    words, numbers = read(written.buffer.getvalue().decode())
    page = " ".join(words)
    assert seen
    for part in seen:
        part_words, part_numbers = read(part)
        assert " ".join(part_words) in page
        places = range(len(numbers) - len(part_numbers) + 1)
        assert any(
            numbers[at : at + len(part_numbers)] == pytest.approx(part_numbers, abs=0.011)
            for at in places
        )


def test_the_readme_lists_every_command():
    table = re.findall(r"^\| `attn (\w+)` \|", README.read_text(), re.MULTILINE)
    assert table == list(COMMANDS)


def test_every_markdown_path_exists():
    for page in (README, ROOT / "CONTRIBUTING.md", ROOT / "samples" / "README.md"):
        for path in re.findall(r"`((?:attn_cli|tests|samples)/[\w/.-]*)`", page.read_text()):
            assert "NAME" in path or (ROOT / path).exists(), f"{page.name}: {path}"


def write_anew() -> None:
    text = README.read_text()
    for block in BLOCK.findall(text):
        commands = [command for command, _ in sessions(f"```console\n{block}```")]
        parts = [f"$ {command}\n" + run(command).strip("\n") + "\n" for command in commands]
        text = text.replace(f"```console\n{block}```", "```console\n" + "".join(parts) + "```")
    README.write_text(text)
    for command, path in PICTURE.findall(text):
        (ROOT / path).write_text(attn(f"{command} --format svg"))


if __name__ == "__main__":
    write_anew()
