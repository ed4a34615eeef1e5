"""Formats, masks, commands and what-ifs are one list each, from which help and hints follow."""

import re
import subprocess
import sys
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest
import typer

from attn_cli.cli.app import build
from attn_cli.cli.commands import COMMANDS
from attn_cli.cli.options import WhatIfOptions
from attn_cli.views.formats import FORMATS
from attn_cli.vocabulary import MASKS, WHAT_IFS

# Those that a trace can be written in.
OF_TRACE = [name for name, form in FORMATS.items() if not form.scans]
README = (Path(__file__).parents[2] / "README.md").read_text()
PROMPT = "the greatest thinker in China is"
USAGES = [word.usage for word in MASKS.values()]


def flat(result):
    return " ".join(result.text.split())


def completed(command, option, start):
    """What the shell offers after `attn COMMAND OPTION START`."""
    found = build(command)
    chosen = next(known for known in found.params if option in known.opts)
    context = typer.Context(found, info_name=command)
    return [item.value for item in chosen.shell_complete(context, start)]


# --- commands ------------------------------------------------------------------------------------


def test_help_lists_the_commands(attn):
    lines = attn("--help").text.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    listed = dict(line.split(maxsplit=1) for line in lines)
    assert listed == {name: command.help for name, command in COMMANDS.items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_the_module_of_its_name(attn, name):
    module = import_module(f"attn_cli.cli.{name}")
    assert all(example.startswith("attn ") for example in module.EXAMPLES)
    assert " ".join(module.command.__doc__.split("\n")[0].split()) in flat(attn(name, "--help"))
    assert set(COMMANDS[name].formats) <= set(FORMATS)


def test_schemas_are_those_of_the_commands_with_records(attn):
    documented = [name for name, command in COMMANDS.items() if command.records]
    assert f"One of {', '.join(documented)}." in flat(attn("schema", "--help"))
    assert [name for name in COMMANDS if attn("schema", name).code == 0] == documented


def test_the_lists_need_the_standard_library_only():
    code = (
        "import sys, attn_cli.cli.commands, attn_cli.views.formats, attn_cli.vocabulary\n"
        "print([n for n in ('typer', 'numpy', 'rich', 'orjson') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=30)
    assert done.stdout == b"[]\n"


# --- formats -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OF_TRACE)
def test_every_suffix_chooses_its_format(attn, tmp_path, kind):
    expected = attn("trace", PROMPT, "--format", kind).out
    for suffix in (*FORMATS[kind].suffixes, *map(str.upper, FORMATS[kind].suffixes)):
        path = tmp_path / f"x{suffix}"
        assert attn("trace", PROMPT, "--out", path).out == b""
        assert path.read_bytes() == expected


@pytest.mark.parametrize("name", [name for name in COMMANDS if COMMANDS[name].formats])
def test_a_command_offers_its_formats_and_refuses_the_others(attn, tmp_path, name):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("the king is a man\n")
    training = (corpus, "--out", tmp_path / "m", "--steps", 1, "--width", 4, "--context", 8)
    saved, found = tmp_path / "saved.json", tmp_path / "found.json"
    if name == "show":
        assert attn("trace", PROMPT, "--parameters", "--out", saved).code == 0
    if name == "compare":
        assert attn("scan", corpus, "--out", found).code == 0
    others = {
        "train": training, "models": (), "cost": (), "compare": (found, found), "show": (saved,),
        "scan": (corpus,),
    }  # fmt: skip
    asked = others.get(name, (PROMPT,))
    known = COMMANDS[name].formats
    for kind in FORMATS:
        result = attn(name, *asked, "--format", kind)
        assert (result.code == 0) == (kind in known), result
        assert result.code == 0 or f"hint: one of {', '.join(known)}\n" in result.said
        if (tmp_path / "m").exists():
            (tmp_path / "m").rename(tmp_path / kind)


def test_formats_are_named_in_help_hints_completion_and_readme(attn):
    assert f"{', '.join(OF_TRACE)}." in flat(attn("trace", "--help"))
    assert completed("trace", "--format", "") == OF_TRACE
    suffixes = [suffix for name in OF_TRACE for suffix in FORMATS[name].suffixes]
    said = attn("trace", PROMPT, "--out", "x.pdf").said
    assert sorted(re.findall(r"\.\w+", said.partition("hint: ")[2])) == sorted(suffixes)
    table = README.partition("| document | holds |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (\w+) \|", table, re.MULTILINE)
    assert rows == [name for name, form in FORMATS.items() if form.arrays]


def test_the_suffixes_that_people_have_typed_stay():
    suffixes = {suffix: name for name, form in FORMATS.items() for suffix in form.suffixes}
    assert suffixes == {
        ".txt": "table", ".json": "json", ".ndjson": "ndjson", ".jsonl": "ndjson", ".csv": "csv",
        ".npz": "npz", ".svg": "svg", ".html": "html", ".htm": "html", ".xlsx": "xlsx",
        ".parquet": "parquet",
    }  # fmt: skip


def test_with_each_line_ndjson_is_one_whole_document_to_a_line(attn):
    asked = ("trace", "--each", "line", "--format")
    lines = attn(*asked, "ndjson", stdin=b"the king\nthe queen\n")
    assert [line["prompt"]["text"] for line in lines.lines] == ["the king", "the queen"]
    assert lines.out == attn(*asked, "json", stdin=b"the king\nthe queen\n").out


@pytest.mark.parametrize("kind", OF_TRACE)
def test_notes_are_told_in_every_format(attn, kind):
    asked = ("trace", "the \u2603", "--format", kind)
    assert attn(*asked).said.startswith("note: not in the vocabulary of tiny")
    assert attn(*asked, "--quiet").said == ""
    result = attn("trace", "--each", "line", "--format", kind, stdin=b"the king\nthe queen\n")
    single = FORMATS[kind].page or (FORMATS[kind].arrays and not FORMATS[kind].documents)
    assert (result.code == 2) == bool(single)
    assert not single or f"--each cannot be written as {kind}" in result.said


@pytest.mark.parametrize("name", [name for name in COMMANDS if COMMANDS[name].formats])
def test_a_command_names_its_own_formats_only(attn, name):
    known = COMMANDS[name].formats
    assert f"--format FORMAT {', '.join(known)}." in flat(attn(name, "--help"))
    assert completed(name, "--format", "") == list(known)
    said = attn(name, "--format", "xml", *(("c", "--out", "m") if name == "train" else ())).said
    assert said == f"attn: attn {name} cannot write xml\nhint: one of {', '.join(known)}\n"


# --- completion ----------------------------------------------------------------------------------


@pytest.mark.parametrize("unbuffered", [{}], ids=[""])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("trace --step ", "1 2 3 4 5 6 embed project dot-products scale-and-mask softmax"),
        ("trace --step s", "scale-and-mask softmax"),
        ("trace --layer ", "0 1 all"),
        ("mask --head ", "0 1 2 3 all"),
        ("trace --model random:layers=3,heads=2 --layer ", "0 1 2 all"),
        ("trace --model=random:heads=2 --head ", "0 1 all"),
        ("trace --model no-such --layer ", ""),
        ("heads --model=ti", "tiny"),
        ("heads -m ti", "tiny"),
        ("models ti", "tiny"),
        ("schema he", "heads"),
        ("sample --format ", "table json ndjson svg"),
    ],
)
def test_what_the_shell_completes(process, words, expected):
    """As bash asks: the words typed so far in the environment, one completion to a line."""
    env = {"_ATTN_COMPLETE": "complete_bash", "COMP_WORDS": f"attn {words}",
           "COMP_CWORD": str(len(words.split(" ")))}  # fmt: skip
    assert process(env=env).text.split()[: len(expected.split())] == expected.split()


# --- masks and what-ifs --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["trace", "heads", "mask", "sample", "loss", "lens"])
def test_masks_are_named_in_help_hint_completion_and_readme(attn, name):
    page = flat(attn(name, "--help"))
    *bases, last = (word.usage for word in MASKS.values() if word.base)
    *hides, hide = (w.usage for w in MASKS.values() if not w.base and not w.opens)
    (opens,) = (word.usage for word in MASKS.values() if word.opens)
    said = f"--mask MASK {', '.join(bases)} or {last} replaces the model's mask; "
    said += f"{', '.join(hides)} and {hide} hide more; {opens} shows a window the first keys"
    assert said in page.replace("padding- left", "padding-left")
    assert completed(name, "--mask", "") == [re.sub(":.*", ":", usage) for usage in USAGES]
    assert completed(name, "--mask", "win") == ["window:"]
    assert f"known: {', '.join(USAGES)}\n" in attn(name, PROMPT, "--mask", "diagonal").said


def test_the_readme_names_the_masks_and_the_what_ifs():
    masks = re.search(r"any other mask you give \((.*?)\)", README, re.DOTALL)[1]
    assert re.findall(r"`(.*?)`", masks) == [usage for usage in USAGES if usage != "causal"]
    settings = re.search(r"What-if\s+settings \((.*?)\)", README, re.DOTALL)[1]
    options = [option.split()[0] for option in re.findall(r"`(.*?)`", settings)]
    assert options == [known.option for known in WHAT_IFS.values()]


def test_what_ifs_are_the_options_and_the_settings_of_a_trace(attn):
    assert [known.name for known in fields(WhatIfOptions)] == list(WHAT_IFS)
    assert [f.default for f in fields(WhatIfOptions)] == [w.neutral for w in WHAT_IFS.values()]
    page = flat(attn("trace", "--help"))
    assert all(f" {known.option} " in page for known in WHAT_IFS.values())
    assert WhatIfOptions(mask=["none"]).settings() == {
        "mask": ["none"], "mask_value": None, "attention_temperature": 1.0, "without_head": [],
        "without": [],
    }  # fmt: skip
    assert completed("trace", "--without", "") == ["positions", "scale", "mlp:L"]


@pytest.mark.parametrize("name", ["trace", "heads", "mask", "sample", "loss", "lens"])
def test_every_command_that_runs_a_model_takes_the_what_ifs_and_stores_them(attn, name):
    page = flat(attn(name, "--help"))
    assert all(f" {known.option} " in page for known in WHAT_IFS.values())
    typed = {
        "mask": ["window:3", "sinks:1"], "mask_value": -4, "attention_temperature": 1.5,
        "without_head": ["0.1", "1.all"], "without": ["scale", "mlp:0"],
    }  # fmt: skip
    options = []
    for key, value in typed.items():
        for word in value if isinstance(value, list) else [value]:
            options.append(f"{WHAT_IFS[key].option}={word}")
    settings = attn(name, PROMPT, *options, "--json").json["settings"]
    assert {key: settings[key] for key in typed} == typed
    head = " ".join(attn(name, PROMPT, *options, columns=300).text.splitlines()[2:4])
    assert f"what-if: {' '.join(options).replace('=', ' ')}" in head
