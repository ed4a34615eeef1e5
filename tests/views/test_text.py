"""A token is data, never markup, and no byte of it is ever obeyed by the screen."""

import json
import os
import re
import unicodedata

import numpy as np
import pytest
from rich.cells import cell_len

from attn_cli.checkpoints.safetensors import encode
from attn_cli.cli import app
from attn_cli.families import gpt2
from attn_cli.model.config import ConfigReader
from attn_cli.model.tensors import of_layers
from attn_cli.training import tokenizer as making
from attn_cli.views.strips import pad, widest
from attn_cli.views.text import label, visible

HOSTILE = (
    "[/INST]", "[red]", "[bold]x[/bold]", ":smile:", "\x1b[31m", "\x1b]0;t\x07", "\u202e", "\u200d",
    "\x9b1m", "\x07", "\r", "\t", "\x00", "\ufeff", "\u2066", "\xad", "\u3164", "{x}", "%s", "\\",
    "\U000e0041", "\ufe0f", "中国", "漢", "한글", "\U0001f600", "e\u0301", "`", "|", "▏", "…",
)  # fmt: skip
PROMPT = "".join(HOSTILE)
PAGES = {
    "trace": ("trace", "TEXT"),
    "trace, all of it": ("trace", "TEXT", "--full", "--parameters", "--mask", "none"),
    "trace, columns": ("trace", "TEXT", "--layout", "columns", "--digits", "4"),
    "heads": ("heads", "TEXT", "--full"),
    "heads, columns": ("heads", "TEXT", "--layout", "columns"),
    "mask": ("mask", "TEXT", "--full"),
    "sample": ("sample", "TEXT", "--top", "40", "-n", "20", "--seed", "1", "--sweep", "0,1"),
    "sample, draws": ("sample", "TEXT", "--draws", "500", "--seed", "1"),
    "loss": ("loss", "TEXT"),
    "models": ("models", "MODEL"),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder whose tokens are the hostile ones, each whole, and whose name is hostile too."""
    folder = tmp_path_factory.mktemp("models") / "m\x1b[7m\u202e[red]"
    folder.mkdir()
    contents = making.build(["the king"])
    entries = list(contents["model"]["vocab"])
    for text in HOSTILE:
        if text not in entries:
            contents["model"]["vocab"][text] = len(contents["model"]["vocab"])
        id = contents["model"]["vocab"][text]
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
        contents["added_tokens"].append({"id": id, "content": text, **flags})
    size = len(contents["model"]["vocab"])
    raw = {
        "model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 8, "n_positions": 64,
        "vocab_size": size,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(raw))
    (folder / "tokenizer.json").write_text(json.dumps(contents))
    rng = np.random.default_rng(1)
    config = gpt2.read_config(ConfigReader(raw, "here"))
    shapes = of_layers(gpt2.shapes(config), config)
    tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    (folder / "model.safetensors").write_bytes(encode(tensors, {}))
    return folder


@pytest.fixture
def attn(capsysbinary, monkeypatch):
    """Runs a command; `environment` on top of a bare one."""

    def run(*arguments, environment=()):
        for name in ("COLUMNS", "ATTN_MODEL", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TERM"):
            monkeypatch.delenv(name, raising=False)
        for name, value in dict(environment).items():
            monkeypatch.setenv(name, value)
        code = app.run([str(argument) for argument in arguments])
        out, err = capsysbinary.readouterr()
        return code, out.decode(), err.decode()

    return run


@pytest.fixture
def page(attn, model):
    def run(name, **more):
        known = {"TEXT": PROMPT, "MODEL": model}
        arguments = [known.get(part, part) for part in PAGES[name]]
        if "MODEL" not in PAGES[name]:
            arguments += ["--model", model]
        code, out, err = attn(*arguments, **more)
        assert (code, "Traceback" in err) == (0, False), err
        return out, err

    return run


def obeyed(text):
    """Characters other than line ends that a screen does not simply show."""
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    return {f"U+{ord(c):04X}" for c in text if c != "\n" and unicodedata.category(c) in hidden} | {
        f"U+{ord(c):04X}" for c in text if c in "\ufe0f\u3164"
    }


def drawn(text):
    """The columns a terminal draws, by Unicode's own tables rather than Rich's."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)


def test_the_prompt_is_the_hostile_tokens(attn, model):
    code, out, _ = attn("trace", PROMPT, "-m", model, "--json")
    assert code == 0
    assert [t["text"] for t in json.loads(out)["prompt"]["tokens"]] == list(HOSTILE)
    assert json.loads(out)["prompt"]["text"] == PROMPT


@pytest.mark.parametrize("name", PAGES)
def test_no_page_lets_a_control_character_through(page, name):
    out, err = page(name)
    assert obeyed(out + err) == set()
    assert "\\x1b[7m\\u202e[red]" in out
    if "TEXT" in PAGES[name]:
        line = "".join(
            out.split("▏the")[0].partition("\n ▏")[2].partition(" tokens")[0].split("\n")
        )
        for text in ("[/INST]", "[red]", "[bold]x[/bold]", ":smile:", "\\x1b[31m", "{x}", "%s"):
            assert text in line
        for text in ("\\u202e", "\\u200d", "\\x9b1m", "\\x00", "\\ufeff", "\\u3164", "中国"):
            assert text in line


@pytest.mark.parametrize("columns", ["40", "80", "200"])
@pytest.mark.parametrize("name", PAGES)
def test_no_line_is_wider_than_the_screen(page, name, columns):
    out, _ = page(name, environment={"COLUMNS": columns})
    assert max(cell_len(line) for line in out.splitlines()) <= int(columns)


def test_columns_stand_under_each_other_whatever_the_labels(page):
    """Right-aligned numbers end in the same screen column in every row of a table."""
    out, _ = page("trace, all of it", environment={"COLUMNS": "1000"})
    table = re.split(r"\n    weights   31 × 31.*\n", out)[1].splitlines()
    rows = table[1 : 1 + len(HOSTILE)]
    ends = [
        [drawn(line[: match.end()]) for match in re.finditer(r"\d\.\d+(?= |$)", line)][-31:]
        for line in rows
    ]
    assert len(ends[0]) == len(HOSTILE)
    assert all(end == ends[0] for end in ends)


@pytest.mark.parametrize(
    "environment",
    [
        {"NO_COLOR": "1", "TERM": "xterm-256color"},
        {"TERM": "dumb"},
        {"TERM": "xterm", "FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "CLICOLOR_FORCE": "1"},
        {"COLORTERM": "truecolor", "TERM": "xterm-kitty", "TTY_INTERACTIVE": "1"},
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("terminal", [False, True])
def test_escapes_are_written_to_a_terminal_that_wants_them_only(
    page, attn, monkeypatch, environment, terminal
):
    import sys

    wanted = terminal and "NO_COLOR" not in environment and environment["TERM"] != "dumb"
    for name in ("trace", "heads", "mask", "sample", "loss", "models"):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
        out, err = page(name, environment=environment)
        assert ("\x1b" in out) == wanted, name
        assert "\x1b" not in err
    if wanted:
        plain, _ = page("trace", environment={"NO_COLOR": "1"})
        coloured, _ = page("trace", environment=environment)
        # Colour repeats what the text says: without it, the same page.
        stripped = re.sub(r"\x1b\[[\d;]*m", "", coloured)
        stripped = re.sub(r" +Colours: (.|\n)*?\. *\n", "", stripped, count=1)
        assert [s.rstrip() for s in stripped.splitlines()] == plain.splitlines()
    for arguments in (("--help",), ("trace", "--help"), ("trace", "")):
        _, out, err = attn(*arguments, environment=environment)
        assert "\x1b" not in out + err


@pytest.mark.parametrize(
    "arguments",
    [
        ("trace", "\udcff"),
        ("trace", "--file", "\udc80\x1b[2J"),
        ("trace", "the", "--model", "\udcff\u202e"),
        ("trace", "the", "--mask", "\x1b]0;x\x07"),
        ("trace", "the", "--query", "\x9b"),
        ("trace", "the", "--out", "no/\x1b[31m\udcff"),
        ("trace", "the", "--format", "\x1b[31m[red]"),
        ("trace", "the", "--layer", "\u202e"),
        ("trace", "the", "--no\x1b[31m"),
        ("sample", "the", "--temperature", "\x1b[31m"),
        ("\x1b[31m",),
        ("\udcff",),
        ("schema", "\u2028"),
        ("models", "\x00\x1b"),
    ],
    ids=repr,
)
def test_errors_show_what_was_typed_without_obeying_it(attn, arguments):
    code, out, err = attn(*arguments)
    assert (code in (1, 2), out) == (True, "")
    assert obeyed(err) == set()
    assert "\ufffd" not in err
    assert 1 <= len(err.splitlines()) <= 3


def test_notes_show_unknown_words_without_obeying_them(attn):
    code, out, err = attn("trace", "the \u202ex\x1b[31m\u200d caf\xe9", "--step", "5")
    assert code == 0
    assert obeyed(out + err) == set()
    assert "note: not in the vocabulary of tiny, read as [UNK]: \\u202ex\\x1b" in err


def test_a_file_of_a_hostile_name_is_written_and_read(attn, tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\x1b[31m.json")
    assert attn("trace", "the", "--out", name)[0] == 0
    code, _, err = attn("trace", "--file", name)
    assert os.path.exists(name)
    assert (code, obeyed(err)) == (1, set())  # a document of that length is above the context


# --- the functions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text", "plain text"),
        ("[red] :smile: \\n", "[red] :smile: \\n"),
        ("\n\t\r", "\\n\\t\\r"),
        ("\x1b\x00\x7f\x9b\x85", "\\x1b\\x00\\x7f\\x9b\\x85"),
        ("\u202e\u2066\u200b\ufeff", "\\u202e\\u2066\\u200b\\ufeff"),
        ("\ud800\udcff", "\\ud800\\udcff"),
        ("\U000e0041\U000e0100", "\\U000e0041\\U000e0100"),
        ("\ue000\u3164\u2800\u115f", "\\ue000\\u3164\\u2800\\u115f"),
        ("\xa0\u3000\u2003", "\\xa0\\u3000\\u2003"),
        ("中国 é e\u0301 😀", "中国 é e\u0301 😀"),
    ],
)
def test_visible(text, expected):
    assert visible(text) == expected
    assert obeyed(visible(text)) == set()
    assert visible(visible(text)) == visible(text)


def test_every_character_of_unicode_is_visible_or_escaped():
    text = "".join(map(chr, range(0x30000)))
    assert obeyed(visible(text)) == set()


def test_a_label_shows_spaces_and_is_cut_with_a_mark():
    assert label(" the") == "␣the"
    assert label("x" * 14) == "x" * 14
    assert label("x" * 15) == "x" * 13 + "…"
    assert label("\x1b[31m\x1b[31m") == "\\x1b[31m\\x1b[…"


def test_padding_counts_screen_columns():
    for text in ("ab", "中国", "한", "😀", "e\u0301"):
        assert cell_len(pad(text, 8)) == drawn(pad(text, 8)) == 8
    assert widest(["ab", "中国", "é"]) == 4
    assert widest([]) == 0
