"""Whatever is wrong: a clear error, the right exit code, nothing lost, nothing hung.

The fixtures check what holds on every run: stdout empty on failure, at most three lines of error,
no traceback and no word of Python's, no control byte.
"""

import codecs
import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading

import pytest

from attn_cli import session
from attn_cli.errors import Terminated

PROMPT = "the greatest thinker in China is"
READERS = ("trace", "heads", "mask", "sample", "loss", "lens")


def refused(result, code, *words, hint=True):
    assert result.code == code, result
    assert all(word in result.said for word in words), result.said
    if hint:
        assert "\nhint: " in result.said
    return result


# --- numbers -------------------------------------------------------------------------------------

NUMBERS = ("nan", "inf", "-inf", "1e400", "1_000", "٣", "9" * 5000, "0x10", " ", "1,5e", "-7")
OPTIONS = {
    ("trace", "--top"): "1 to",
    ("trace", "--max-memory"): "a size such as 2GiB",
    ("trace", "--digits"): "0 to 9",
    ("trace", "--attention-temperature"): "0 or more",
    ("mask", "--top"): "1 to",
    ("sample", "--temperature"): "0 or more",
    ("sample", "--top-k"): "0 to",
    ("sample", "--top-p"): "0 to 1",
    ("sample", "--min-p"): "0 to 1",
    ("sample", "--seed"): "0 to",
    ("sample", "--max-tokens"): "1 to",
    ("sample", "--draws"): "0 to",
    ("sample", "--sweep"): "0 or more",
    ("train", "--steps"): "1 to",
    ("train", "--layers"): "1 to 96",
    ("train", "--heads"): "1 to 96",
    ("train", "--width"): "1 to",
    ("train", "--context"): "2 to",
    ("train", "--seed"): "0 to",
    ("train", "--learning-rate"): "0 or more",
}


@pytest.mark.parametrize("text", NUMBERS, ids=lambda text: text[:8])
@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_what_is_no_number_is_refused_with_the_range(attn, command, option, text):
    arguments = (command, "corpus.txt", "--out", "m") if command == "train" else (command, PROMPT)
    result = attn(*arguments, f"{option}={text}")
    refused(result, 2, option, OPTIONS[command, option])
    assert len(result.said) < 300


@pytest.mark.parametrize("text", [*NUMBERS[:-1], "2", "-3", "0-5", "1-0", "", ","])
@pytest.mark.parametrize("command", ["trace", "heads", "mask"])
def test_layers_out_of_range_are_refused_with_the_range(attn, command, text):
    refused(attn(command, PROMPT, f"--layer={text}"), 2, "--layer")
    refused(attn(command, PROMPT, f"--head={text.replace('2', '4').replace('3', '5')}"), 2, "0")


WORDS = ("window", "prefix", "padding", "block:0", "block")


@pytest.mark.parametrize("text", NUMBERS, ids=lambda text: text[:8])
def test_numbers_inside_words_are_refused(attn, text):
    for word in WORDS:
        refused(attn("trace", PROMPT, "--mask", f"{word}:{text}"), 2, "--mask")
    for key in ("layers", "heads", "model_width", "context", "seed"):
        refused(attn("trace", PROMPT, "-m", f"random:{key}={text}"), 2, key)
    refused(attn("trace", PROMPT, "--ids", f"5,{text}"), 2, "--ids")
    refused(attn("trace", PROMPT, "--query", text), 2, "--query")
    if text != "-7":
        refused(attn("trace", PROMPT, "--without-head", f"0.{text}"), 2, "--without-head")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--ids", "995000"), ("--ids 995000 is out of range", "ids 0 to")),
        (("--ids", ""), ("--ids holds no ids",)),
        (("--ids", "1,,2"), ("an id is missing between two commas", "--ids 5,6,7")),
        (("--ids", "1 2 3"), ("'1 2 3' is no id", "a comma between them")),
        (("--ids", "5-7"), ("'5-7' is no id", "a comma between them")),
        (("--ids", "5,x"), ("'x' is no id",)),
        (("--ids", "-5"), ("-5 is out of range",)),
        (("--top", "1.5"), ("--top 1.5 is no whole number", "1 to")),
        (("--mask", "window:0"), ("window:N, from 1",)),
        (("--mask", "block:6:0"), ("6 is out of range", "6 tokens", "0 to 5")),
        (("--mask", "padding:7"), ("7 is out of range", "0 to 6")),
        (("--mask", "diagonal"), ("is no mask and no file", "causal")),
        (("--mask", "none", "--mask", "causal"), ("two base masks: none and causal",)),
        (("--without-head", "2.0"), ("--without-head: layer 2", "0 to 1")),
        (("--without-head", "0.4"), ("--without-head: head 4", "0 to 3")),
        (("--step", "7"), ("--step '7' is no step", "1 to 6")),
        (("--query", "queen"), ("is no token of this prompt", "greatest")),
        (("--json", "--query", "queen"), ("is no token of this prompt",)),
        (("--layout", "diagonal"), ("one of rows, columns",)),
        (("--format", "xml"), ("one of table, json, ndjson, csv, npz",)),
        (("--each", "word"), ("one of line",)),
        (("--no-such",), ("no such option: --no-such",)),
        (("another",), ("needs quotes", f'attn trace "{PROMPT} another"')),
    ],
)
def test_what_was_typed_is_refused_with_a_way_on(attn, arguments, words):
    ids = () if arguments[0] == "--ids" else (PROMPT,)
    refused(attn("trace", *ids, *arguments), 2, *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("trac", "the"), ("no command 'trac'", "attn trace")),
        (("the king",), ("no command 'the king'", 'attn trace "the king"; commands: trace,')),
        (("--colour",), ("no such option: --colour",)),
        (("trace", "--layer"), ("--layer needs a value, LAYERS", "--layer 1")),
        (("trace", "--layer", "--head", "1"), ("--layer needs a value",)),
        (("trace", "the", "--layer", "--", "x"), ("--layer needs a value",)),
        (("heads", "--layer"), ('hint: attn heads "the greatest thinker in China is" --layer 1',)),
        (("sample", "-t"), ("-t needs a value", "hint: attn sample --temperature 1.5\n")),
        (("mask", "--attention-temperature"), ('China is" --attention-temperature T\n',)),
        (("the", "greatest", "thinker"), ('hint: attn trace "the greatest thinker"; ',)),
        (("trace", "the", "king", "-l1", "is"), ("3 words", '"the king is" -l1\n')),
        (("loss", "--json", "a", "$b", "--top-k"), ("no such option: --top-k",)),
        (("trace", "--json", "a", "$b"), ("hint: attn trace 'a $b' --json\n",)),
        (("trace", *["long"] * 300), ('hint: attn trace "TEXT"\n',)),
        (("trace", "-5 degrees"), ('dash comes after --: attn trace -- "-5 degrees"\n',)),
        (("trace", "-ing", "--json"), ('after --: attn trace -- "-ing"',)),
        (("heads", "--laier", "1"), ("no such option: --laier", "did you mean --layer?")),
        (
            ("models", "tiny", "random"),
            ("unexpected extra argument 'random'", "attn models --help"),
        ),
        (("help", "trac"), ("no command 'trac'", "did you mean attn trace?")),
        (("loss", "the king", "--layout", "columns"), ("no such option: --layout",)),
        (
            ("tokens", "x", "--adapter", "y"),
            (
                "no such option: --adapter (it would change nothing in attn tokens)",
                "it belongs to trace, heads,",
            ),
        ),
        (("trace", "x", "--circuit", "0.1"), ("no such option: --circuit", "belongs to heads\n")),
        (("train",), ("missing argument", "hint: attn train samples/corpus.txt")),
        (("heads", PROMPT, "--format", "csv"), ("cannot write csv",)),
    ],
)
def test_the_command_line_itself(attn, arguments, words):
    refused(attn(*arguments), 2, *words)


# --- prompts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "words"),
    [
        (("",), None, 2, "the prompt is empty"),
        (("  \t\n",), None, 2, "the prompt is empty"),
        (("-",), b"", 2, "the prompt is empty"),
        ((), b"", 2, "the prompt is empty"),
        ((), b" \r\n \n", 2, "the prompt is empty"),
        ((), b"ab \xff", 1, "byte 0xff at offset 3"),
        ((), codecs.BOM_UTF8 + b"ab \xc3(", 1, "byte 0xc3 at offset 6"),
        ((), "the king".encode("utf-16"), 1, "UTF-16, not UTF-8"),
        ((), codecs.BOM_UTF16_BE + b"\0t", 1, "UTF-16, not UTF-8"),
        (("the \udcff",), None, 2, "not valid UTF-8 at byte offset 4"),
        (("the", "--ids", "5"), None, 2, "two prompts: TEXT and --ids"),
        (("the", "--file", "x"), None, 2, "two prompts: TEXT and --file"),
        (("-", "--file", "x"), b"", 2, "two prompts"),
        (("--file", "x", "--ids", "5"), None, 2, "two prompts: --file and --ids"),
        (("the", "--each", "line"), None, 2, "--each needs --file"),
        (("--each", "line"), b"\n \n", 1, "holds no prompt"),
        (("--each", "line"), b'{"text": 5}\n', 1, "line 1: the key text is not a text"),
        (("--each", "line"), b'{"text": "\\ud800"}\n', 1, "line 1: it holds half a surrogate"),
        (("the " * 300,), None, 1, "has 300 tokens, tiny reads at most 256"),
        (("--ids", ",".join(["5"] * 257)), None, 1, "has 257 tokens, tiny reads at most 256"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_prompts_that_are_none(attn, command, arguments, stdin, code, words):
    refused(attn(command, *arguments, stdin=stdin), code, words, hint=False)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"the king\n", "the king"),
        (b"the king\r\n", "the king"),
        (b"the king\n\n", "the king\n"),
        (b"the\r\nking", "the\r\nking"),
        (b"the\0king", "the\0king"),
        (b"  the king  ", "  the king  "),
    ],
)
def test_only_one_final_newline_is_dropped(attn, tmp_path, data, text):
    assert attn("trace", "--json", stdin=data).json["prompt"]["text"] == text
    path = tmp_path / "prompt.txt"
    path.write_bytes(data)
    assert attn("trace", "--file", path, "--json").json["prompt"]["text"] == text
    assert attn("trace", "--file", path).code == 0


def test_a_byte_order_mark_is_dropped_with_a_note(attn):
    result = attn("trace", "--json", stdin=codecs.BOM_UTF8 + b"the king\n")
    assert result.json["prompt"]["text"] == "the king"
    assert result.said == "note: a byte order mark at the start of standard input was dropped\n"


def test_the_context_itself_is_not_too_long(attn):
    found = attn("trace", "the " * 256, "--no-next", "--step", 1, "--json").json
    assert len(found["prompt"]["tokens"]) == 256


@pytest.mark.slow
def test_a_million_tokens_are_refused_before_any_pass(attn, monkeypatch):
    passes = []
    monkeypatch.setattr(session, "records", lambda *asked: passes.append(asked))
    refused(attn("trace", stdin=b"the " * 1_000_000), 1, "1,000,000 tokens", "at most 256")
    assert passes == []


@pytest.mark.parametrize("place", ["folder", "fifo", "/dev/zero", "missing", "loop", "x" * 300])
@pytest.mark.parametrize("option", ["--file", "--mask", "--model"])
def test_paths_that_are_no_files(attn, tmp_path, option, place):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    text = () if option == "--file" else (PROMPT,)
    value = tmp_path / place
    result = attn("trace", *text, option, f"file:{value}" if option == "--mask" else value)
    refused(result, 1, str(value)[:20], hint=False)


# --- output --------------------------------------------------------------------------------------


def temporaries(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("kind", ["table", "json", "csv", "npz"])
def test_out_writes_what_stdout_would_have_held(attn, tmp_path, kind):
    path = tmp_path / "x"
    assert attn("trace", PROMPT, "--format", kind, "--out", path).out == b""
    assert path.read_bytes() == attn("trace", PROMPT, "--format", kind).out
    assert os.listdir(tmp_path) == ["x"]


def test_out_onto_a_link_keeps_link_and_mode(attn, tmp_path):
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to("target.json")
    attn("trace", PROMPT, "--out", link)
    assert link.is_symlink()
    assert os.readlink(link) == "target.json"
    assert target.read_bytes() == attn("trace", PROMPT, "--json").out
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert temporaries(tmp_path) == []


def test_a_new_file_has_the_mode_of_the_umask(attn, tmp_path):
    old = os.umask(0o027)
    try:
        attn("trace", PROMPT, "--out", tmp_path / "x.json")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "x.json").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (".", "is a folder"),
        ("missing/x", "there is no folder missing\nhint: make it first: mkdir -p missing\n"),
        ("missing/deeper/x", "there is no folder missing\nhint: make it first: mkdir -p missing/d"),
        ("file/x", "not a directory"),
        ("loop", "too many levels of symbolic links"),
        ("x" * 300, "file name too long"),
        ("nul\0", "the name cannot be used"),
    ],
)
def test_out_that_cannot_be_written(attn, tmp_path, monkeypatch, place, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("old")
    (tmp_path / "loop").symlink_to("loop")
    refused(attn("trace", PROMPT, "--out", place), 1, words)
    assert sorted(os.listdir(tmp_path)) == ["file", "loop"]
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("command", ["trace", "heads", "schema"])
def test_an_empty_out_is_refused_and_a_dash_is_stdout(attn, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    refused(attn(command, "--out", ""), 2, "--out is empty")
    assert attn(command, "--out", "-").out == attn(command).out != b""
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["x.pdf", "x.arrow", "x.JSONN"])
def test_an_unknown_suffix_is_refused_unless_a_format_is_given(attn, tmp_path, name):
    path = tmp_path / name
    refused(attn("trace", PROMPT, "--out", path), 2, path.suffix, ".json .ndjson", ".npz", ".txt")
    assert ".csv" not in refused(attn("heads", PROMPT, "--out", path), 2, ".json .ndjson").said
    assert os.listdir(tmp_path) == []
    assert attn("trace", PROMPT, "--out", path, "--format", "table").code == 0
    assert path.read_bytes() == attn("trace", PROMPT).out


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("way", ["itself", "link", "hard link"])
def test_out_onto_the_model_in_use_is_refused(attn, tmp_path, name, way):
    import attn_cli

    tiny = os.path.join(os.path.dirname(attn_cli.__file__), "data", "tiny")
    model = tmp_path / "model"
    shutil.copytree(tiny, model)
    out = target = model / name
    before = target.read_bytes()
    if way != "itself":
        out = tmp_path / "out"
        out.symlink_to(target) if way == "link" else out.hardlink_to(target)
    result = attn("trace", PROMPT, "-m", model, "--format", "json", "--out", out)
    refused(result, 2, str(out), "a file that this command reads")
    assert target.read_bytes() == before


def test_out_to_a_fifo_without_a_reader_does_not_wait(attn, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    said = refused(attn("trace", PROMPT, "--out", tmp_path / "fifo"), 1, "nothing reads").said
    assert "nothing was written" not in said


def test_a_device_that_fails_has_no_old_file(attn):
    said = refused(attn("trace", PROMPT, "--out", "/dev/full"), 1, "no space", hint=False).said
    assert "hint" not in said


def test_out_to_dev_stdout_on_a_pipe_is_stdout(process, attn):
    assert process("trace", PROMPT, "--out", "/dev/stdout").out == attn("trace", PROMPT).out
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb", buffering=0) as pipe:
        result = process("trace", PROMPT, "--out", "/dev/stdout", stdout=pipe)
    assert result.said in ("", "attn: cannot write /dev/stdout: no such device or address\n")


def test_out_to_a_fifo_is_read_at_its_other_end(attn, tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    read = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    attn("trace", PROMPT, "--json", "--out", path)
    reader.join(10)
    assert read == [attn("trace", PROMPT, "--json").out]
    assert stat.S_ISFIFO(path.stat().st_mode)


class Failing:
    """Stands in for os functions that write: the N-th call fails."""

    def __init__(self, monkeypatch, number, failure):
        self.left, self.failure = number, failure
        for name in ("write", "fsync", "fchmod", "replace"):
            monkeypatch.setattr(os, name, self.wrapped(name, getattr(os, name)))

    def wrapped(self, name, function):
        def call(*arguments):
            if self.left is None:
                return function(*arguments)
            self.left -= 1
            if self.left == 0:
                self.left = None
                raise self.failure()
            if name == "write":  # a part at a time, as a full disk would
                return function(arguments[0], bytes(arguments[1])[:4000])
            return function(*arguments)

        return call


FAILURES = {
    "full": (lambda: OSError(errno.ENOSPC, "full"), 1),
    "quota": (lambda: OSError(errno.EDQUOT, "quota"), 1),
    "SIGTERM": (Terminated, 143),
    "SIGINT": (KeyboardInterrupt, 130),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("number", range(1, 9))
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    attn, tmp_path, monkeypatch, number, failure
):
    path = tmp_path / "x.json"
    path.write_text("old")
    with monkeypatch.context() as patch:
        failing = Failing(patch, number, FAILURES[failure][0])
        result = attn("trace", PROMPT, "--out", path)
    if failing.left is None:
        assert result.code == FAILURES[failure][1]
        assert path.read_text() == "old"
    else:  # fewer calls than that: nothing failed
        assert result.code == 0
        assert number > 6
    assert os.listdir(tmp_path) == ["x.json"]


def test_npz_to_a_terminal_is_refused(attn):
    refused(attn("trace", PROMPT, "--format", "npz", terminal=True), 2, "npz is binary", "--out")


# --- real processes ------------------------------------------------------------------------------


def closed_stdout():
    os.close(1)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("trace", PROMPT), ("--help",), ("--version",)])
def test_a_full_or_closed_stdout_is_an_error(process, arguments):
    with open("/dev/full", "wb") as full:
        result = process(*arguments, stdout=full)
    refused(result, 1, "no space left on device", hint=False)
    assert "cannot write to standard output" in result.said
    closed = process(*arguments, stdout=None, preexec_fn=closed_stdout)
    refused(closed, 1, "cannot", hint=False)


@pytest.mark.parametrize("arguments", [("trace", PROMPT), ("--help",)])
def test_a_reader_that_went_away_is_no_news(process, arguments):
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb", buffering=0) as pipe:
        result = process(*arguments, stdout=pipe)
    assert (result.code, result.said) == (141, "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_wait_for_input_in_silence(started, number, code):
    child = started("trace", "-")
    assert (
        child.stderr.readline() == b"note: reading the prompt from standard input; Ctrl-D ends it\n"
    )
    child.send_signal(number)
    out, err = child.communicate(timeout=10)
    assert (child.returncode, out, err) == (code, b"", b"")


_SIGNALLED = """
import os, signal, sys
class Finder:
    def find_spec(self, name, *_):
        if name == "typer":
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Finder())
from attn_cli.cli.main import main
main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_the_imports_ends_in_silence(number, code):
    result = subprocess.run(
        [sys.executable, "-c", _SIGNALLED.format(number=int(number))],
        capture_output=True,
        check=False,
        timeout=20,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert (result.returncode, result.stdout, result.stderr) == (code, b"", b"")


def test_the_process_is_the_same_command(process, attn):
    assert process("trace", PROMPT, "--json").out == attn("trace", PROMPT, "--json").out
    assert process("heads", input=b"the king\n").out == attn("heads", "the king").out
    wrong = process("trace", input=b"\xff")
    assert wrong == attn("trace", stdin=b"\xff")
    assert wrong.code == 1
