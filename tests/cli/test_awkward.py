"""Long words, huge prompts, wrong ids, narrow screens: messages are short and true, pages fit."""

import io
import re

import pytest
from wcwidth import wcswidth

from attn_cli.cli import app
from attn_cli.cli.commands import COMMANDS
from attn_cli.cli.streams import Streams
from attn_cli.errors import AttnError, bounded
from attn_cli.tokens.wordpiece import WordPiece

PROMPT = "the greatest thinker in China is"
LONG = 20_000
FORMS = {
    "a word": "x" * LONG, "digits": "9" * LONG, "a list": "1," * LONG + "1", "places": "a:" * LONG,
    "a path": "a/" * LONG, "an option": "--" + "x" * LONG, "words": "x " * LONG,
    "a file": "file:" + "x" * LONG, "a mask": "window:" + "9" * LONG, "a name": "o/" + "x" * LONG,
    "escapes": "\x1b[31m" * LONG, "keys": "random:layers=" + "9" * LONG, "wide": "中" * LONG,
}  # fmt: skip
TEXT = {  # pages that are drawn on screens of every size
    "trace": ("trace", PROMPT, "--full"), "columns": ("trace", PROMPT, "--layout", "columns"),
    "heatmap": ("trace", PROMPT, "--view", "heatmap"), "dots": ("trace", PROMPT, "--view", "dots"),
    "lines": ("trace", PROMPT, "--view", "lines"), "heads": ("heads", PROMPT),
    "mask": ("mask", PROMPT), "sample": ("sample", PROMPT, "--seed", "1", "-n", "3"),
    "loss": ("loss", PROMPT), "embed": ("embed", "father - man + woman"), "why": ("why", PROMPT),
    "lens": ("lens", PROMPT), "compare": ("compare", PROMPT, "the king of China is"),
    "tokens": ("tokens", PROMPT), "exercise": ("exercise", "--seed", "1"), "cost": ("cost",),
    "models": ("models", "tiny"), "verify": ("verify", PROMPT),
}  # fmt: skip
# Commands that would write, or work for long.
LEFT_OUT = ("train", "scan")


def said(*arguments):
    """Exit code and stderr of a run; what is long is not shown by a failing assertion."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    environ = {"COLUMNS": "80", "TERM": "dumb"}
    code = app.run(list(arguments), Streams(stdin=None, stdout=out, stderr=err, environ=environ))
    return code, err.buffer.getvalue().decode()


def asked(command, forms):
    """Each option of a command, and each argument, with each of these values."""
    params = app.build(command).params
    for param in params:
        if not getattr(param, "is_flag", False) and param.name not in ("out", "lang", "sweep"):
            text = any(other.name == "text" for other in params)
            for form in forms:
                option = [param.opts[0], form]
                typed = option if not text else [PROMPT, *option]
                yield (command, *(["--", form] if param.param_type_name == "argument" else typed))


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in LEFT_OUT])
@pytest.mark.faults
def test_no_message_grows_with_what_was_typed(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong = []
    for arguments in asked(command, FORMS.values()):
        code, err = said(*arguments)
        if code not in (0, 1, 2) or len(err) > 4500 or "fault in attn" in err:
            wrong.append((arguments[0], arguments[-2], code, err[:200]))
    assert wrong == []


@pytest.mark.parametrize("option", ["--model", "--adapter", "--mask", "--ids", "--query", "--out"])
@pytest.mark.parametrize("form", ["a path", "escapes", "a name", "a file", "wide"])
def test_an_error_is_short_whatever_it_quotes(option, form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, err = said("trace", *([] if option == "--ids" else [PROMPT]), option, FORMS[form])
    assert (code in (1, 2), len(err) < 2500, len(err.splitlines()) <= 3) == (True, True, True)


def test_a_message_loses_its_middle():
    assert bounded("x" * 400) == "x" * 400
    short = bounded(f"cannot read {'a/' * 5000}end: no such file")
    assert (short[:16], short[-18:]) == ("cannot read a/a/", "/end: no such file")
    assert len(short) < 450
    assert len(bounded("x " * 5000)) < 2000
    problem = AttnError("y" * 10_000, "z" * 10_000)
    assert max(len(problem.message), len(problem.hint), len(str(problem))) < 450


def test_a_shortened_path_still_says_which_file(attn):
    path = f"{'folder/' * 30}model.gguf"
    for asked in ("trace", "the", "-m"), ("trace", "the", "--adapter"), ("trace", "the", "--mask"):
        assert path in attn(*asked, path).said
        said = attn(*asked, f"{'folder/' * 500}model.gguf").said
        assert "folder/model.gguf" in said and "3,510 characters" in said
    said = attn("embed", f"{'x' * 80}.end").said
    assert ".end (84 characters)" in said
    assert "no file is called folder/" in attn("scan", f"{path}*").said


def test_a_long_word_is_short_in_notes_on_screen_and_in_documents(attn):
    result = attn("trace", stdin=b"the " + b"q" * 1_000_000, env={"COLUMNS": "80"})
    assert (result.code, len(result.err)) == (0, len(result.err[:300]))
    notes = attn("trace", "--json", "--ignore-config", "k" * LONG, PROMPT).json["notes"]
    assert any("kkk…kkk" in note for note in notes) and max(map(len, notes)) < 600


@pytest.mark.parametrize(
    ("arguments", "last"),
    [
        (("trace", "--ids", "5,1000000000"), 994),
        (("trace", "--ids", "5," + "9" * 5000), 994),
        (("tokens", "--ids", "995"), 994),
        (("lens", "--ids", "-1"), 994),
        (("embed", "--ids", "5,1000000000"), 994),
        (("exercise", "-m", "tiny", "--ids", "5,1000000000"), 994),
        (("lens", PROMPT, "--watch", "<1000000000>"), 994),
        (("why", PROMPT, "--by", "component", "--logit", "<1000000000>"), 994),
        (("trace", "the king", "-m", "tiny-translator", "--target-ids", "0,1000000000"), 592),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_an_id_that_does_not_exist_is_told_the_true_range(attn, arguments, last):
    result = attn(*arguments)
    assert (result.code, result.out) == (2, b"")
    assert re.search(rf"has ids 0 to {last}\b", result.said)


@pytest.mark.parametrize("kind", ["words", "one word", "spaces"])
def test_a_prompt_far_beyond_the_context_is_not_read_whole(attn, monkeypatch, kind):
    read, encode = [], WordPiece.encode

    def counted(self, text, **more):
        read.append(len(text))
        return encode(self, text, **more)

    monkeypatch.setattr(WordPiece, "encode", counted)
    text = {"words": b"the king ", "one word": b"q" * 9, "spaces": b" " * 9}[kind] * 700_000 + b"x"
    for options in ((), ("--file", "-")):
        result = attn("trace", *options, stdin=text)
        assert (result.code, result.out) == (1, b"")
        more = "more than 1," if kind == "words" else "5,000,000 characters, far more than tiny"
        assert more in result.said
    assert max(read) < 10_000


@pytest.mark.parametrize("columns", [1, 20, 47, pytest.param(0, marks=pytest.mark.faults)])
@pytest.mark.parametrize("name", TEXT)
def test_every_page_fits_every_screen(attn, name, columns):
    wide = numbers_of(attn(*TEXT[name], columns=400).text) if name == "trace" else set()
    for width in [columns] if columns else range(1, 201):
        result = attn(*TEXT[name], columns=width)
        assert result.code == 0
        assert max(map(wcswidth, result.text.splitlines())) <= max(20, width)
        if name == "trace":
            assert len(wide) > 100 and wide <= numbers_of(result.text)


def numbers_of(page):
    return set(re.findall(r"−?\d+\.\d\d\b", page))
