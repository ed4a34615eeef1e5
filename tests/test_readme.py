"""The screens of both READMEs are real: each `$ attn …` line is run, and its output compared.

So are their pictures: the command stands in a comment above each, and `--format svg` draws it.
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
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest

from attn_cli.cli import app, output
from attn_cli.cli.commands import COMMANDS
from attn_cli.cli.streams import Streams
from attn_cli.words import LANGUAGES, speaking

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
# Each with the locale in which its screens are made.
READMES = {README: "C.UTF-8", ROOT / "README.zh.md": "zh_CN.UTF-8"}
NUMBER = r"(?<![\w.])-?\d+\.\d+(?:e-\d+)?"
PICTURE = re.compile(r"<!-- (attn [^\n]+) -->\n!\[[^\]]+\]\((samples/screens/[\w.]+\.svg)\)")
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def sessions(text: str) -> list[tuple[str, str]]:
    """Each command of the console blocks, and the output written under it."""
    found = []
    for block in BLOCK.findall(text):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def attn(command: str, locale: str) -> str:
    """Runs the attn half of a command line in a plain 80-column pipe: Chinese in this process,
    English in one of its own."""
    if locale != READMES[README]:
        written = io.TextIOWrapper(io.BytesIO())
        streams = Streams(stdout=written, stdin=None, stderr=None, environ={"LC_ALL": locale})
        assert app.run(shlex.split(command)[1:], streams) == 0
        return written.buffer.getvalue().decode()
    words = re.sub(r"^attn ", f"{sys.executable} -m attn_cli ", command)
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "ATTN_MODEL")}
    environment["LC_ALL"] = locale
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


@cache
def document(command: str) -> str:
    """What a command with --json writes, in any language."""
    return attn(command, READMES[README])


def run(command: str, locale: str) -> str:
    left, _, expression = command.partition(" | jq -c ")
    output = document(left) if "--json" in left else attn(left, locale)
    if not expression:
        return output
    values = pick(json.loads(output), expression.strip("'"))
    return "".join(json.dumps(value, separators=(",", ":")) + "\n" for value in values)


def screens() -> list[tuple[str, str, str]]:
    return [
        (locale, *session)
        for readme, locale in READMES.items()
        for session in sessions(readme.read_text())
    ]


@pytest.mark.parametrize("locale, command, output", screens(), ids=lambda s: s[:60])
def test_screens_are_what_the_commands_print(locale, command, output):
    (words, numbers), (words_now, numbers_now) = read(output), read(run(command, locale))
    assert words == words_now
    assert numbers == pytest.approx(numbers_now, abs=0.011, rel=1e-4)
    if "jq" in command and shutil.which("jq"):
        left, _, right = command.partition(" | ")
        piped = subprocess.run(
            right, shell=True, input=document(left).encode(), capture_output=True, check=True
        )
        assert read(piped.stdout.decode())[0] == words


def told(picture: str) -> tuple[list[str], list[float]]:
    """What a picture says: each of its texts, without places and shades."""
    return read("\n".join(ElementTree.fromstring(picture).itertext()))


def pictures() -> list[tuple[str, str, str]]:
    return [
        (locale, *found)
        for readme, locale in READMES.items()
        for found in PICTURE.findall(readme.read_text())
    ]


@pytest.mark.parametrize("locale, command, path", pictures())
def test_pictures_are_what_the_commands_draw(locale, command, path):
    data = (ROOT / path).read_text()
    now = attn(f"{command} --format svg", locale)
    (words, numbers), (words_now, numbers_now) = told(data), told(now)
    assert words == words_now
    assert numbers == pytest.approx(numbers_now, abs=0.011, rel=1e-4)
    assert len(data) <= 60_000


def test_every_picture_is_shown_and_there_are_few():
    shown = [path for _, _, path in pictures()]
    there = (ROOT / "samples" / "screens").iterdir()
    assert sorted(shown) == sorted(str(path.relative_to(ROOT)) for path in there)
    assert 2 <= len(shown) <= 12


def questions(readme: Path) -> list[tuple[str, list[str]]]:
    """Each row of the table of questions: its command, and what its page is said to hold."""
    rows = re.findall(
        r"^\| \d+ \| [^|]+ \| `(attn [^`]+)` \| ([^|]+) \|$", readme.read_text(), re.M
    )
    return [(command, re.findall("“([^”]+)”", seen)) for command, seen in rows]


def test_there_is_a_command_for_each_question():
    english, chinese = map(questions, READMES)
    assert len(english) == 25
    assert [command for command, _ in chinese] == [command for command, _ in english]


ASKED = [
    pytest.param(command, seen, seen_too, marks=[pytest.mark.slow] * ("--prove" in command))
    for (command, seen), (_, seen_too) in zip(*map(questions, READMES), strict=True)
]


@pytest.mark.parametrize("command, english, chinese", ASKED, ids=lambda row: row[:60])
def test_a_command_answers_its_question(command, english, chinese, tmp_path, monkeypatch):
    """The page is made once, and drawn in both languages."""
    monkeypatch.chdir(ROOT)
    typed = shlex.split(command.replace("$(mktemp -d)", str(tmp_path)))[1:]
    pages = {}

    draw = output.drawn

    def drawn(*page):
        for language in LANGUAGES:
            with speaking(language):
                pages[language] = draw(*page).decode()
        return b""

    monkeypatch.setattr(output, "drawn", drawn)
    unused = io.TextIOWrapper(io.BytesIO())
    assert app.run(typed, Streams(stdout=unused, stdin=None, stderr=None, environ={})) == 0
    # In Chinese a line is folded where no space stands.
    for language, seen, space in (("en", english, " "), ("zh", chinese, "")):
        words, numbers = read(pages[language])
        page = space.join(words)
        assert seen
        for part in seen:
            part_words, part_numbers = read(part)
            assert space.join(part_words) in page
            places = range(len(numbers) - len(part_numbers) + 1)
            assert any(
                numbers[at : at + len(part_numbers)] == pytest.approx(part_numbers, abs=0.011)
                for at in places
            )


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_the_readme_lists_every_command(readme):
    table = re.findall(r"^\| `attn (\w+)` \|", readme.read_text(), re.MULTILINE)
    assert table == list(COMMANDS)


def test_the_chinese_readme_has_all_of_the_english_one():
    english, chinese = (readme.read_text() for readme in READMES)
    for mark in (r"^#+ ", r"^\|", r"^```", r"^<"):
        count = [len(re.findall(mark, text, re.MULTILINE)) for text in (english, chinese)]
        assert count[0] - 2 * (mark == r"^<") == count[1], mark
    names = [set(re.findall(r"`--?[a-z-]+", text)) for text in (english, chinese)]
    assert names[0] <= names[1]


def test_every_markdown_path_exists():
    for page in (*READMES, ROOT / "CONTRIBUTING.md", ROOT / "samples" / "README.md"):
        for path in re.findall(r"`((?:attn_cli|tests|samples)/[\w/.-]*)`", page.read_text()):
            assert "NAME" in path or (ROOT / path).exists(), f"{page.name}: {path}"


def write_anew(readme: Path, locale: str) -> None:
    text = readme.read_text()
    for block in BLOCK.findall(text):
        commands = [command for command, _ in sessions(f"```console\n{block}```")]
        parts = [f"$ {command}\n" + run(command, locale).strip("\n") + "\n" for command in commands]
        text = text.replace(f"```console\n{block}```", "```console\n" + "".join(parts) + "```")
    readme.write_text(text)
    for command, path in PICTURE.findall(text):
        (ROOT / path).write_text(attn(f"{command} --format svg", locale))


if __name__ == "__main__":
    for path, language in READMES.items():
        write_anew(path, language)
