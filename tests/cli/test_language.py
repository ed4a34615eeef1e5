"""`--lang`: words follow it, or the locale; documents, names and numbers do not."""

import inspect
import json
import re
import subprocess
import sys
import unicodedata

import pytest
import typer

from attn_cli.cli import app
from attn_cli.cli.commands import COMMANDS
from attn_cli.cli.streams import CURRENT, Streams
from attn_cli.words.zh.help import HELP

CHINESE = {"LANG": "zh_CN.UTF-8"}
PROMPT = "the greatest thinker in China is"
HAN = re.compile("[\u4e00-\u9fff]")
# One run of each command whose page is quick to make.
PAGES = (
    ("trace", PROMPT), ("trace", PROMPT, "--view", "lines"), ("heads", PROMPT),
    ("heads", PROMPT, "--layer", "all"), ("mask", PROMPT), ("sample", PROMPT, "--seed", "1"),
    ("loss", PROMPT), ("embed", "king"), ("lens", PROMPT, "--per-head"), ("why", PROMPT),
    ("why", PROMPT, "--by", "component"), ("compare", "the king is", "the king is a"),
    ("verify", PROMPT), ("tokens", PROMPT), ("cost",), ("models", "tiny"),
    ("trace", PROMPT, "--model", "tiny-encoder"), ("mask", PROMPT, "--mask-value", "0"),
    ("trace", "the king is a man", "--model", "tiny-translator", "--kind", "cross"),
)  # fmt: skip


def width(line: str) -> int:
    """Columns of the screen, by Unicode's own table."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in line)


def numbers(text: str) -> list[str]:
    return re.findall(r"(?<![\w.,])−?\d+\.\d+(?:e[−+-]\d+)?", text)


@pytest.mark.parametrize("typed", PAGES, ids=" ".join)
def test_a_page_has_the_same_numbers_in_chinese(attn, typed):
    typed = (*typed, "--full") if typed[0] not in ("cost", "models", "verify") else typed
    english, chinese = (attn(*typed, "--lang", spoken, columns=1000) for spoken in ("en", "zh"))
    assert HAN.search(chinese.text)
    assert sorted(numbers(chinese.text)) == sorted(numbers(english.text))


@pytest.mark.parametrize("columns", [40, 80, 120])
@pytest.mark.parametrize("typed", PAGES[::3], ids=" ".join)
def test_no_chinese_line_is_wider_than_the_screen(attn, typed, columns):
    page = attn(*typed, "--lang", "zh", columns=columns).text
    assert max(map(width, page.splitlines())) <= columns
    assert not [line for line in page.splitlines() if line.lstrip()[:1] in tuple("，。、；：）”")]


def test_chinese_fills_its_lines(attn):
    """A line of prose that goes on ends within two characters of the margin, or before a word."""
    lines = attn("mask", PROMPT, "--lang", "zh").text.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("    为什么"))
    assert all(76 <= width(line) <= 79 for line in lines[first : first + 2])


def test_the_locale_chooses_and_the_option_goes_before_it(attn):
    assert "嵌入" in attn("trace", env=CHINESE).text
    assert "embed" in attn("trace", env={**CHINESE, "LC_ALL": "C"}).text
    assert "embed" in attn("trace", "--lang", "en", env=CHINESE).text
    assert "嵌入" in attn("trace", "--lang=zh").text
    assert "嵌入" in attn("--lang", "zh", "trace").text
    assert "embed" in attn("trace").text, "a run's language does not outlive it"


@pytest.mark.parametrize("place", [0, 1], ids=["before", "after"])
def test_another_language_names_the_two_there_are(attn, place):
    typed = ["trace", PROMPT]
    typed[place:place] = ["--lang", "xx"]
    found = attn(*typed)
    assert (found.code, found.said) == (2, "attn: --lang 'xx' is unknown\nhint: one of en, zh\n")


@pytest.mark.parametrize("word", ["ZH", "中文", "\u202e", "z" * 5000, "--json", "en zh"])
def test_what_is_no_language_is_refused_in_few_words(attn, word):
    found = attn("trace", PROMPT, "--lang", word)
    assert found.code == 2
    assert "--lang" in found.said and len(found.said) < 300


def test_a_prompt_that_looks_like_the_option_is_a_prompt(attn):
    assert "embed" in attn("trace", "--", "--lang zh").text
    assert not HAN.search(attn("loss", "--", "--lang=zh").text)


@pytest.mark.parametrize("typed", [p for p in PAGES if p[0] != "verify"][::2], ids=" ".join)
def test_a_document_is_the_same_in_both(attn, typed):
    typed = [word for word in typed if word not in ("--view", "lines")]
    found = [attn(*typed, "--json", "--lang", language) for language in ("en", "zh")]
    assert found[0].out == found[1].out


def test_notes_are_spoken_and_written_in_english(attn):
    typed = ("trace", "zzz qqq is", "--json")
    english, chinese = attn(*typed), attn(*typed, env=CHINESE)
    assert chinese.out == english.out
    assert json.loads(chinese.out)["notes"] and not HAN.search(chinese.text)
    assert english.said.startswith("note: not in the vocabulary of tiny")
    assert chinese.said.startswith("说明：不在 tiny 的词表中")


def test_a_saved_document_is_drawn_in_the_language_of_who_looks(attn):
    saved = attn("trace", PROMPT, "--json", env=CHINESE).out
    shown = attn("show", stdin=saved, env=CHINESE).text
    assert "缩放与掩码" in shown and "scale and mask" not in shown
    assert "scale and mask" in attn("show", stdin=saved).text


@pytest.mark.parametrize("spoken, silent", [("en", "zh"), ("zh", "en")])
def test_only_one_language_is_imported_for_a_page(spoken, silent):
    code = (
        "import sys; from attn_cli.cli import app;"
        f"code = app.run(['trace', '--no-next', '--lang', {spoken!r}]);"
        "print(code, *(n for n in sys.modules if n.startswith('attn_cli.words.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    *_, last = done.stdout.decode().splitlines()
    assert last.startswith(f"0 attn_cli.words.{spoken}")
    assert f"attn_cli.words.{silent}" not in last and "help" not in last


def test_the_version_needs_no_words():
    code = "import sys; from attn_cli.cli import app; app.run(['--version']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert not re.search(rb"attn_cli\.words\.\w", done.stdout)


# --- help ----------------------------------------------------------------------------------------


def texts_of(command, context) -> set[str]:
    """What a command's help says, piece by piece as it is looked up."""
    found = {" ".join(part.split()) for part in inspect.cleandoc(command.help).split("\n\n")}
    for param in command.get_params(context):
        text, _, extra = (param.get_help_record(context)[1]).rpartition("  [")
        alone = not text and extra.startswith("[")
        found |= {text or ("" if alone else extra)}
        found |= set(re.findall(r"default: \(([^;]*)\)", extra))
    return found - {""}


def contexts():
    CURRENT.set(Streams(environ={}))
    group = typer.main.get_command(app.app)
    for name, command in ("attn", group), *((name, app.build(name)) for name in COMMANDS):
        yield command, command.make_context(name, [], resilient_parsing=True)


def test_every_word_of_help_has_a_chinese_one_and_no_other_is_kept():
    texts = {text for pair in contexts() for text in texts_of(*pair)}
    texts |= {command.help for command in COMMANDS.values()}
    lists = {f"{', '.join(command.formats)}." for command in COMMANDS.values()}
    # What is typed, and names, are no words.
    names = {text for text in texts if not re.search(r"[a-z]{2} [a-z]", text)}
    own = {
        "Usage: ", "Arguments:", "Options:", "Commands:", "Examples:", "env var: ", "default: ",
        "required", 'Start with: attn trace "the greatest thinker in China is"',
    }  # fmt: skip
    assert texts - HELP.keys() - lists - names == set()
    assert HELP.keys() - texts == own


def test_help_is_chinese_where_it_is_asked_for(attn):
    for typed in (("--help",), ("help",), (), ("why", "--help"), ("help", "why")):
        page = attn(*typed, env=CHINESE).text
        assert page.startswith("用法：attn") and "Options" not in page
        assert max(map(width, page.splitlines())) <= 90  # an example is not folded
    page = attn("help", "trace", "--lang", "zh").text
    assert "[默认：由 LANG 决定]" in " ".join(page.split())
    assert attn("trace", "--lang", "zh", "--help").text == page
    assert "Usage: attn trace" in attn("trace", "--help").text


@pytest.mark.parametrize("columns", [20, 52, 80])
def test_help_keeps_to_the_screen(attn, columns):
    page = attn("compare", "--help", env=CHINESE, columns=columns).text
    prose = page.partition("示例")[0].splitlines()
    assert max(map(width, prose)) <= max(columns, 50)
