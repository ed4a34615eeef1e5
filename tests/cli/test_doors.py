"""One rule at every door: whatever brings the prompt is read, whatever takes the result gets all of
it or the exit code says so."""

import contextlib
import fcntl
import json
import os
import pty
import resource
import socket
import termios
import threading
from pathlib import Path

import numpy as np
import pytest

from attn_cli.checkpoints.safetensors import open_safetensors

PROMPT = "the greatest thinker in China is"
LARGE = ("trace", PROMPT, "--layer", "all", "--head", "all", "--json")
SHORT = ("--step", 5, "--no-next", "--json")


def text_of(result):
    return result.json["prompt"]["text"]


# --- stdin ---------------------------------------------------------------------------------------


def fed_by_pipe():
    read, write = os.pipe()
    os.write(write, b"the king\n")
    os.close(write)
    return os.fdopen(read, "rb")


def fed_by_socket():
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(b"the king\n")
        ours.shutdown(socket.SHUT_WR)
    return theirs


def fed_by_pipe_that_does_not_block():
    stream = fed_by_pipe()
    os.set_blocking(stream.fileno(), False)
    return stream


@pytest.mark.parametrize("fed", [fed_by_pipe, fed_by_socket, fed_by_pipe_that_does_not_block])
def test_a_prompt_is_read_from_whatever_feeds_stdin(process, fed):
    with fed() as stdin:
        result = process("trace", *SHORT, stdin=stdin)
    assert (text_of(result), result.said) == ("the king", "")


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_a_file_may_be_stdin(process, attn, name):
    assert text_of(process("trace", "--file", name, *SHORT, input=b"the king\n")) == "the king"
    assert text_of(attn("trace", "--file", name, *SHORT, stdin=b"the king\n")) == "the king"


def test_nothing_at_stdin_means_the_sample_prompt(process):
    note = "note: no text given: using the sample prompt\n"
    with open(os.devnull, "rb") as nothing:
        result = process("trace", *SHORT, stdin=nothing)
    assert (text_of(result), result.said) == (PROMPT, note)
    result = process("trace", *SHORT, stdin=None, preexec_fn=lambda: os.close(0))
    assert (text_of(result), result.said) == (PROMPT, note)
    main, other = pty.openpty()
    with os.fdopen(main), os.fdopen(other) as terminal:
        assert text_of(process("trace", *SHORT, stdin=terminal)) == PROMPT


def substituted(data):
    """A pipe by its path, as the shell's `<(…)` gives one."""
    read, write = os.pipe()

    def write_all():
        with os.fdopen(write, "wb", buffering=0) as pipe:
            pipe.write(data[:3])
            waiting = bytearray(4)
            while not fcntl.ioctl(read, termios.FIONREAD, waiting) and any(waiting):
                pass  # until what is there has been read
            pipe.write(data[3:])

    threading.Thread(target=write_all).start()
    return read


@pytest.mark.parametrize("data", [b"the king\n", b"the " * 50_000])
def test_a_pipe_given_by_its_path_is_read_to_its_end(attn, data):
    read = substituted(data)
    result = attn("trace", "--file", f"/dev/fd/{read}", *SHORT)
    os.close(read)
    assert ("50,000 tokens" in result.said) if result.code else text_of(result) == "the king"
    assert result.code == (len(data) > 100)


@pytest.mark.parametrize("word", ["file:{}", "{}"])
@pytest.mark.parametrize("command", ["trace", "mask"])
def test_a_mask_may_come_through_a_pipe(attn, command, word):
    """It is asked for once a prompt, and a pipe can be read once."""
    read = substituted(b"1 0\n1 0\n")
    asked = ("--mask", word.format(f"/dev/fd/{read}"), "--each", "line", "--json")
    result = attn(command, *asked, stdin=b"the king\nthe queen\n")
    os.close(read)
    assert (result.code, len(result.lines)) == (0, 2), result.said
    if command == "trace":
        for line in result.lines:
            visible = line["attention"][0]["arrays"]["visible"]["values"]
            assert visible == [[True, False], [True, False]]


def test_a_mask_may_be_stdin_unless_that_is_the_prompt(attn):
    asked = ("--mask", "file:-", "--json")
    result = attn("trace", "the king", *asked, stdin=b"1 0\n1 0\n")
    assert result.json["attention"][0]["arrays"]["visible"]["values"][1] == [True, False]
    refused = attn("trace", *asked, stdin=b"1 0\n1 0\n")
    assert (refused.code, "standard input is the prompt" in refused.said) == (2, True)


# --- stdout --------------------------------------------------------------------------------------


def test_a_pipe_that_does_not_block_gets_everything(started, attn):
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(write, False)
    child = started(*LARGE, stdout=write)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        data = pipe.read()
    assert child.wait(30) == 0
    assert data == attn(*LARGE).out


def test_help_goes_through_a_pipe_that_does_not_block(started, attn):
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(write, False)
    os.write(write, b"." * 4096)
    child = started("trace", "--help", stdout=write)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        data = pipe.read()
    assert (child.wait(30), data[4096:]) == (0, attn("trace", "--help").out)


@pytest.mark.parametrize("arguments", [LARGE, ("trace", "--help")])
def test_a_file_that_may_not_grow_is_an_error(process, tmp_path, arguments):
    limit = 1000

    def smaller():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    no_bytecode = {"PYTHONDONTWRITEBYTECODE": "1"}  # it would be cut off, and kept
    with open(tmp_path / "x", "wb") as file:
        result = process(*arguments, stdout=file, preexec_fn=smaller, env=no_bytecode)
    assert result.code == 1
    assert result.said == "attn: cannot write to standard output: file too large\n"


def test_a_reader_that_leaves_in_the_middle_is_141(started):
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    child = started(*LARGE, stdout=write)
    os.close(write)
    assert os.read(read, 100)
    os.close(read)
    assert (child.wait(30), child.stderr.read()) == (141, b"")


# --- a pager -------------------------------------------------------------------------------------

UNTIL_HERE = "sed 's/^/> /'"


@pytest.fixture
def on_a_screen(started):
    """What a run leaves on a terminal of so many lines, and on stderr."""

    def shown(*arguments, lines=24, **env):
        main, other = pty.openpty()
        termios.tcsetwinsize(other, (lines, 80))
        clean = {"TERM": "xterm-256color", "LINES": "", "COLUMNS": "", **env}
        child = started(*arguments, env=clean, stdout=other, stdin=other)
        os.close(other)
        data = b""
        with os.fdopen(main, "rb", buffering=0) as screen, contextlib.suppress(OSError):
            while part := screen.read(1 << 16):  # ends in an error where no one writes any more
                data += part
        assert child.wait(30) == 0
        return data.replace(b"\r\n", b"\n").decode(), child.stderr.read().decode()

    return shown


@pytest.fixture
def page(attn):
    """The page as it is on a terminal without a pager."""
    return lambda *arguments: attn(*arguments, terminal=True, columns=80).text


def test_a_page_longer_than_the_screen_goes_through_the_pager(on_a_screen, page):
    whole = page("trace", PROMPT)
    paged, said = on_a_screen("trace", PROMPT, PAGER=UNTIL_HERE)
    assert paged == "".join(f"> {line}\n" for line in whole.splitlines())
    assert "\x1b[1m" in paged
    assert said == ""


NO_PAGER = [
    (("trace", PROMPT, "--no-pager"), {"PAGER": UNTIL_HERE}, 24),
    (("trace", PROMPT), {"PAGER": ""}, 24),
    (("trace", PROMPT), {"PAGER": "cat"}, 24),
    (("trace", PROMPT), {"PAGER": "false"}, 24),
    (("trace", PROMPT), {"PAGER": "no-such-pager -R"}, 24),
    (("trace", PROMPT), {"PAGER": "X=1 no-such-pager 2> /dev/null"}, 24),
    (("trace", PROMPT), {"PAGER": UNTIL_HERE}, 1000),
    (("trace", PROMPT), {"PAGER": UNTIL_HERE, "LINES": "1000"}, 24),
    (("trace", PROMPT), {"PAGER": UNTIL_HERE}, 0),
]


@pytest.mark.parametrize(
    ("arguments", "env", "lines", "unbuffered"),
    [(*row, {"PYTHONUNBUFFERED": "1" * (n % 2)}) for n, row in enumerate(NO_PAGER)],
)
def test_where_there_is_no_pager_the_page_is_printed(on_a_screen, page, arguments, env, lines):
    assert on_a_screen(*arguments, lines=lines, **env) == (page("trace", PROMPT), "")


def test_a_document_does_not_go_through_the_pager(on_a_screen, attn):
    shown, _ = on_a_screen("trace", PROMPT, "--json", PAGER=UNTIL_HERE)
    assert shown == attn("trace", PROMPT, "--json").text
    help_page, _ = on_a_screen("trace", "--help", PAGER=UNTIL_HERE)
    assert not help_page.startswith(">")


def test_a_pager_may_be_left_early(on_a_screen):
    assert on_a_screen("trace", PROMPT, "--full", "--head", "all", PAGER="head -n 2")[1] == ""
    assert on_a_screen("trace", PROMPT, PAGER="true") == ("", "")


def test_less_is_set_as_git_sets_it(on_a_screen):
    shown, _ = on_a_screen("trace", PROMPT, PAGER="cat > /dev/null; echo $LESS $LV;")
    assert shown == "FRX -c\n"
    shown, _ = on_a_screen("trace", PROMPT, PAGER="cat > /dev/null; echo $LESS;", LESS="S")
    assert shown == "S\n"


def test_a_pager_is_for_terminals(process, attn):
    assert process("trace", PROMPT, env={"PAGER": "false"}).out == attn("trace", PROMPT).out


# --- prompts line by line ------------------------------------------------------------------------

CASES = Path(__file__).parent / "cases"
EACH = ("--each", "line")


def test_a_line_that_fails_is_named_and_the_others_go_on(attn):
    path = CASES / "bad-line.txt"
    result = attn("trace", "--file", path, *EACH, *SHORT, partial=True)
    assert [line["prompt"]["text"] for line in result.lines] == ["the king is a man"] * 4
    assert result.code == 1
    assert result.said == (
        f"attn: {path}: line 3: the prompt has 400 tokens, tiny reads at most 256\n"
        "hint: shorten it by 144 tokens\n"
    )
    strict = attn("trace", "--file", path, *EACH, "--strict", *SHORT, partial=True)
    assert (strict.code, len(strict.lines), strict.said) == (1, 2, result.said)


def test_json_lines_need_the_key_text(attn):
    path = CASES / "prompt-key.jsonl"
    for command in ("trace", "heads", "mask", "sample", "loss", "verify"):
        result = attn(command, "--file", path, *EACH, "--json")
        assert (result.code, result.out) == (1, b"")
        assert result.said.startswith(f"attn: {path}: line 1: the key text is missing\n")
        assert "prompt, id" in result.said


def test_other_keys_of_a_json_line_come_back(attn):
    given = {"id": 7, "tags": ["a"], "NaN": None}
    lines = [json.dumps({"text": "the king", **given}), json.dumps({"text": "the queen"})]
    result = attn("loss", *EACH, "--json", stdin="\n".join(lines).encode())
    first, second = (line["prompt"] for line in result.lines)
    assert first["given"] == given
    assert "given" not in second
    assert second["text"] == "the queen"


@pytest.mark.parametrize(
    ("lines", "failed", "words"),
    [
        (b"the king\n\xff\nthe queen", 2, "byte 0xff at offset 0"),
        (b'{"text": "the king"}\n{"text": 5}\n{"text": "the queen"}', 2, "is not a text"),
        (b'{"text": "the king"}\nthe\n{"text": "the queen"}', 2, "it is not a JSON object"),
        (b'{"text": "the king"}\n\n{"text": "\\ud800"}\n{"text": "the queen"}', 3, "surrogate"),
        (b'{"text": "the king"}\n{"text": ""}\n{"text": "the queen"}', 2, "the prompt is empty"),
    ],
)
def test_what_a_line_can_be_wrong_in(attn, lines, failed, words):
    result = attn("loss", *EACH, "--json", "--quiet", stdin=lines, partial=True)
    assert result.code == 1
    assert [line["prompt"]["text"] for line in result.lines] == ["the king", "the queen"]
    assert result.said.startswith(f"attn: standard input: line {failed}: ")
    assert words in result.said


def test_what_is_wrong_with_the_command_is_said_once(attn):
    result = attn("trace", *EACH, "--layer", 9, stdin=b"the\n" * 50)
    assert (result.code, result.said.count("attn: ")) == (2, 1)
    assert attn("trace", "the", "--strict").code == 2
    for more in ((), ("--json",), ("--format", "ndjson")):
        noted = attn("trace", "--step", 5, *EACH, *more, stdin="the ☃\nthe ☃\n".encode())
        assert noted.said.count("note: ") == 1


# --- what does not open --------------------------------------------------------------------------


def test_a_type_that_cannot_be_read_is_said_by_models_too(attn, tiny_folder, packed):
    """Eight bits without their scales say nothing; the header alone is in order."""
    path = tiny_folder / "model.safetensors"
    entries = {}
    for name, tensor in open_safetensors(path).items():
        data = tensor.read()
        narrow = name.endswith("h.1.attn.c_attn.weight")
        raw = bytes(data.size) if narrow else data.tobytes()
        entries[name] = ("F8_E4M3" if narrow else "F32", tensor.shape, raw)
    path.unlink()
    path.write_bytes(packed(entries))
    for arguments in (("models", tiny_folder), ("trace", "the", "-m", tiny_folder, "--layer", 1)):
        result = attn(*arguments)
        assert (result.code, result.out) == (1, b"")
        assert "h.1.attn.c_attn.weight has dtype F8_E4M3, which is not a float" in result.said


# --- a verdict -----------------------------------------------------------------------------------


def test_what_is_suspect_ends_with_1(attn, tmp_path):
    path = tmp_path / "there.npz"
    attn("trace", PROMPT, "--out", path)
    assert attn("verify", PROMPT, "--against", path).code == 0
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays["blocks.0.attn.hook_z"] = arrays["blocks.0.attn.hook_z"] + 1e-3
    np.savez(path, **arrays)
    for more in ((), ("--json",)):
        result = attn("verify", PROMPT, "--against", path, *more, partial=True)
        assert result.code == 1
        assert "suspect" in result.text
