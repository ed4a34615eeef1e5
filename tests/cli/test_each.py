"""Prompts line by line: each is read, answered, written and forgotten before the next one."""

import contextlib
import gc
import io
import json
import os
import pty
import signal
import tempfile
import threading
import tracemalloc
from types import SimpleNamespace

import pytest

from attn_cli import reading, session
from attn_cli.cli import app, prompts
from attn_cli.cli.options import PromptOptions
from attn_cli.cli.streams import Streams
from attn_cli.files import lines
from attn_cli.records import Attention, Trace

EACH = ("--each", "line")
SHORT = ("--step", 5, "--no-next", "--json")


# --- how lines are cut ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"a", b"a\n", b"a\n\n", b"\n\nab\r\ncd", b"abc\ndefg\n\n\nhi\n", b"\0\n\xff"],
)
def test_lines_are_the_same_however_they_come(data, size):
    parts = (data[at : at + size] for at in range(0, len(data), size))
    expected = data.removesuffix(b"\n").split(b"\n") if data else []
    assert [line for line, _ in lines(parts, 100)] == expected


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_a_line_that_is_too_long_is_left_out_alone(size):
    data = b"abc\nabcd\nab\n" + b"x" * 50 + b"\nabc\nabcd"
    parts = (data[at : at + size] for at in range(0, len(data), size))
    assert [line for line, _ in lines(parts, 3)] == [b"abc", None, b"ab", None, b"abc", None]


def test_a_line_is_there_before_what_follows_it_is_read():
    def parts():
        yield b"the\nking"
        read.append("more")
        yield b"\n"

    read, found = [], lines(parts(), 100)
    assert (next(found)[0], read) == (b"the", [])
    assert (next(found)[0], read) == (b"king", ["more"])


# --- what lines can be ---------------------------------------------------------------------------


def test_a_line_that_is_too_long_is_named_and_the_others_go_on(attn, monkeypatch):
    """Sixteen MiB of brackets would be twenty times that as lists."""
    monkeypatch.setattr("attn_cli.lines.LONGEST", 40)
    given = [json.dumps({"text": "the king", "x": [[]] * 20}), json.dumps({"text": "the queen"})]
    result = attn("trace", *EACH, *SHORT, stdin="\n".join(given).encode(), partial=True)
    assert result.code == 1
    assert [line["prompt"]["text"] for line in result.lines] == ["the queen"]
    assert result.said.startswith("attn: standard input: line 1: it has more than ")
    assert len(result.said) < 200


@pytest.mark.parametrize(
    "given",
    [
        '"n": 123456789012345678901234567890',
        '"n": [{"m": -9223372036854775809}]',
        '"n": ' + "[" * 252 + "]" * 252,
        '"n": ' + "[" * 900 + "]" * 900,
        '"n": ' + '{"a":' * 600 + "1" + "}" * 600,
    ],
    ids=lambda given: given[:12],
)
def test_what_cannot_be_given_back_is_named_and_the_others_go_on(attn, given):
    """Numbers are written with at most 64 bits, and not in more than 254 brackets."""
    text = '{"text": "the king"%s}\n'
    lines = text % "" + text % f", {given}" + text % ', "n": 18446744073709551615'
    result = attn("trace", *EACH, *SHORT, stdin=lines.encode(), partial=True)
    assert [line["prompt"].get("given") for line in result.lines] == [None, {"n": 2**64 - 1}]
    assert result.said.startswith("attn: standard input: line 2: the keys beside text hold what ")
    assert "at most 64 bits" in result.said


@pytest.mark.parametrize(
    ("given", "back"),
    [
        (r'"\ud800": "\udfff"', {"?": "?"}),
        ('"n": 1e999, "m": NaN, "o": -Infinity', {"n": None, "m": None, "o": None}),
        ('"n": ' + "[" * 240 + "]" * 240, None),
        ('"a": 1, "a": 2, "": 3', {"a": 2, "": 3}),
        (r'"\u0000\u001b[31m": 1', {"\0\x1b[31m": 1}),
        ('"schema": 1, "tokens": 2, "given": 3', {"schema": 1, "tokens": 2, "given": 3}),
    ],
    ids=lambda value: str(value)[:12],
)
def test_odd_keys_come_back_as_strict_json(attn, given, back):
    lines = f'{{"text": "the king", {given}}}\n'
    found = attn("trace", *EACH, *SHORT, stdin=lines.encode()).json["prompt"]["given"]
    assert back is None or found == back


@pytest.mark.parametrize("option", ["--file", "-"])
def test_of_a_prompt_without_an_end_the_beginning_is_read(attn, monkeypatch, tmp_path, option):
    """Not line by line it has to be there as a whole."""
    monkeypatch.setattr(reading, "most_bytes", lambda facts: 100_001)
    os.mkfifo(tmp_path / "prompt")
    endless = threading.Thread(target=lambda: write_on(tmp_path / "prompt"))
    if option == "--file":
        endless.start()
        result = attn("trace", "--file", tmp_path / "prompt")
        endless.join()
    else:
        result = attn("trace", stdin=b"the " * 50_000)
    assert (result.code, "25,001 tokens, tiny reads at most 256" in result.said) == (1, True)


def write_on(path):
    with contextlib.suppress(BrokenPipeError), open(path, "wb") as pipe:
        while True:
            pipe.write(b"the " * 1000)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"the king\n\n\nthe queen\n", "note: 2 blank lines were left out\n"),
        (b"\nthe king\nthe queen", "note: 1 blank line was left out\n"),
        (b"the king\nthe queen\n", ""),
        (b"the king\nthe queen\n\n", "note: 1 blank line was left out\n"),
        (
            b"\xef\xbb\xbfthe king\nthe queen\n",
            "note: a byte order mark at the start of it was dropped\n",
        ),
        (b"the king\r\nthe queen\r\n", ""),
    ],
)
def test_what_is_left_out_is_noted(attn, given, said):
    result = attn("trace", *EACH, *SHORT, stdin=given)
    assert [line["prompt"]["text"] for line in result.lines] == ["the king", "the queen"]
    assert result.said == said
    assert attn("trace", *EACH, *SHORT, "--quiet", stdin=given).said == ""


def test_prompt_and_mask_cannot_come_through_one_pipe(attn):
    read, write = os.pipe()
    os.write(write, b"the king\n")
    os.close(write)
    pipe = f"/dev/fd/{read}"
    result = attn("trace", *EACH, *SHORT, "--file", pipe, "--mask", f"file:{pipe}", partial=True)
    os.close(read)
    assert (result.code, f"{pipe} is the prompt here" in result.said) == (1, True)


# --- one after the other -------------------------------------------------------------------------


@contextlib.contextmanager
def unless_it_hangs(child):
    """Ends a process that does not answer, so that reading from it fails instead of waiting."""
    timer = threading.Timer(60, child.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def ended(child, written):
    """The last line has been written, and all is well."""
    written.close()
    child.stdin.close()
    child.stdin = None  # it would be flushed once more
    assert child.wait() == 0


@pytest.mark.parametrize("way", ["pipe", "named pipe", "terminal"])
def test_a_document_leaves_before_the_next_line_is_written(started, tmp_path, way):
    """However slowly lines are written, what comes of one can be read before the next."""
    asked, more = ["trace", *EACH, *SHORT], {}
    if way == "named pipe":
        os.mkfifo(tmp_path / "lines")
        asked += ["--file", tmp_path / "lines"]
    with contextlib.ExitStack() as ends:
        if way == "terminal":
            main, other = pty.openpty()
            screen = ends.enter_context(open(main, "rb", buffering=0))
            more = {"stdout": ends.enter_context(open(other, "wb", buffering=0))}
        child = started(*asked, **more)
        ends.enter_context(unless_it_hangs(child))
        written = child.stdin
        if way == "named pipe":
            written = ends.enter_context(open(tmp_path / "lines", "wb"))
        shown = screen if way == "terminal" else child.stdout
        for text in ("the king", "the queen", "the man"):
            written.write(f"{text}\n".encode())
            written.flush()
            assert json.loads(shown.readline())["prompt"]["text"] == text
        ended(child, written)


def test_pages_come_one_by_one_too(started, attn):
    child = started("trace", *EACH, "--step", 5, "--no-next")
    with unless_it_hangs(child):
        for text in ("the king", "the queen"):
            page = attn("trace", text, "--step", 5, "--no-next").out
            child.stdin.write(f"{text}\n".encode())
            child.stdin.flush()
            assert child.stdout.read(len(page)) == page
        ended(child, child.stdin)


def test_a_file_grows_beside_its_old_self_until_the_last_line(attn, monkeypatch, tmp_path):
    path, seen, tracing = tmp_path / "x.jsonl", [], session.tracing
    path.write_bytes(b"old")

    def traced(asked):
        beside = [other.read_bytes() for other in tmp_path.glob(".x.jsonl.*")]
        seen.append((path.read_bytes(), b"".join(beside).count(b"\n")))
        return tracing(asked)

    monkeypatch.setattr(session, "tracing", traced)
    asked, given = ("trace", *EACH, *SHORT), b"the king\nthe\xff\nthe queen\nthe man\n"
    assert attn(*asked, "--out", path, stdin=given, partial=True).code == 1
    assert seen == [(b"old", 0), (b"old", 1), (b"old", 2)]
    assert path.read_bytes() == attn(*asked, stdin=given, partial=True).out
    assert os.listdir(tmp_path) == ["x.jsonl"]


@pytest.mark.parametrize(
    ("given", "more"),
    [
        (b"the king\nthe\xff\n", ("--strict",)),
        (b"the\xff\nthe\xff\n", ()),
        ("the king\n".encode("utf-16"), ()),
        (b"\n\n", ()),
        (b"", ()),
    ],
)
def test_a_run_that_fails_leaves_the_file_as_it_was(attn, tmp_path, given, more):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"old")
    result = attn("trace", *EACH, *SHORT, *more, "--out", path, stdin=given, partial=True)
    assert (result.code, result.out) == (1, b"")
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"old", ["x.jsonl"])


def test_an_interrupt_between_two_lines_leaves_the_file_as_it_was(started, tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"old")
    child = started("trace", *EACH, *SHORT, "--out", path)
    with unless_it_hangs(child):
        child.stdin.write(b"the king\n")
        child.stdin.flush()
        while not any(other.stat().st_size for other in tmp_path.glob(".x.jsonl.*")):
            assert child.poll() is None
        child.send_signal(signal.SIGTERM)
        assert child.wait() == 143
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"old", ["x.jsonl"])


def test_the_prompts_may_not_be_the_output(attn, tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"text": "the king"}\n')
    result = attn("trace", *EACH, *SHORT, "--file", path, "--out", path)
    assert (result.code, "a file that this command reads" in result.said) == (2, True)
    assert path.read_bytes() == b'{"text": "the king"}\n'


# --- what is kept --------------------------------------------------------------------------------


def alive():
    """How many traces there are, whatever refers to them."""
    gc.collect()
    return [sum(type(one) is kind for one in gc.get_objects()) for kind in (Trace, Attention)]


@pytest.mark.parametrize("command", ["trace", "heads", "mask"])
def test_of_one_prompt_nothing_is_left_when_the_next_is_read(attn, monkeypatch, command):
    seen, text = [], prompts._of_text

    def read(*given):
        seen.append(alive())
        return text(*given)

    monkeypatch.setattr(prompts, "_of_text", read)
    before = alive()
    assert attn(command, *EACH, "--json", stdin=b"the king\n" * 3).code == 0
    assert seen == [before] * 3


@pytest.mark.slow
def test_hundreds_of_prompts_take_the_memory_of_a_few(attn, monkeypatch):
    """Numpy's arrays are counted too; each line has a word, and so a note, of its own."""
    held, text = {}, prompts._of_text

    def read(line, quiet):
        number = int(line.split()[-1])
        if number % 20 == 0:
            gc.collect()  # what Python keeps of freed tuples and numbers, to use it again
            held[number] = tracemalloc.get_traced_memory()
        return text(line, quiet)

    monkeypatch.setattr(prompts, "_of_text", read)
    given = b"".join(b"the king is a man %d\n" % number for number in range(301))
    attn("trace", *EACH, "--json", stdin=given[:200])  # what is made once in a process is there
    tracemalloc.start()
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere, tempfile.TemporaryFile() as source:
            source.write(given)
            source.seek(0)
            stdin = io.TextIOWrapper(source)
            streams = Streams(stdin=stdin, stdout=nowhere, stderr=nowhere, environ={})
            assert app.run(["trace", *EACH, "--json"], streams) == 0
    finally:
        tracemalloc.stop()
    (few, few_at_most), (many, many_at_most) = held[100], held[300]
    assert many - few < 100 * (300 - 100)
    assert many_at_most < 1.1 * few_at_most


# --- prompts that go through a model together ----------------------------------------------------


@pytest.mark.parametrize("model", ["tiny", "tiny-encoder", "tiny-translator"])
def test_prompts_together_have_the_digits_of_each_alone(attn, monkeypatch, model):
    words = ["the king", "the queen of China is", "the", "man", "the great thinker in China"]
    lines = "".join(f"{line}\n" for line in words * 5).encode()
    asked = ("trace", *EACH, "--json", "--model", model, "--layer", "all", "--head", "all")
    alone = attn(*asked, stdin=lines)
    sizes, together = [], session.together
    monkeypatch.setattr(prompts, "_WORTH", 0)
    monkeypatch.setattr(
        session, "together", lambda asked: sizes.append(len(asked)) or together(asked)
    )
    found = attn(*asked, stdin=lines)
    assert found.out == alone.out
    assert sum(sizes) == 25 and max(sizes) == 16
    assert found.code == alone.code == 0


def test_whether_another_line_is_there_already_is_told():
    parts = [b"a\nb", b"c\nd\n", b"e"]
    assert list(lines(parts, 9)) == [(b"a", False), (b"bc", True), (b"d", False), (b"e", False)]


def test_a_line_that_fails_among_others_fails_alone(attn, monkeypatch):
    monkeypatch.setattr(prompts, "_WORTH", 0)
    lines = b"the king\nthe\xff\n\nthe queen\n"
    # Prompts of two tokens have no third one that the mask could name.
    asked = ("trace", *EACH, "--json", "--mask", "block:2:1")
    result = attn(*asked, stdin=lines + b"the king is\n", partial=True)
    assert result.code == 1
    texts = [json.loads(line)["prompt"]["text"] for line in result.out.splitlines()]
    assert texts == ["the king is"]
    assert [f"line {n}:" in result.said for n in (1, 2, 3, 4, 5)] == [
        True,
        True,
        False,
        True,
        False,
    ]


def test_a_prompt_does_not_wait_for_others_that_are_not_there(monkeypatch):
    """Nor does one with a blank line behind it."""
    monkeypatch.setattr(prompts, "_source", lambda _: (parts(), "a pipe"))
    read = []

    def parts():
        for part in (b"the\n\n", b"king\nqueen\n", b"\n", b"man"):
            read.append(part)
            yield part

    options = PromptOptions(each="line", quiet=True)
    tokens = SimpleNamespace(tokens=(1,))
    monkeypatch.setattr(prompts, "_prompt", lambda source, _: source.args[0] and tokens)
    found = [(len(group), len(read)) for group in prompts._groups(options, None, 16)]
    # So many prompts each time, when so many parts have been read; nothing comes of blank lines.
    assert [group for group in found if group[0]] == [(1, 1), (2, 2), (1, 4)]
