"""`--chat` in every command that reads a prompt, on a golden model given ChatML's markers."""

import pytest

import attn_cli
from attn_cli import session
from attn_cli.errors import UsageError

TURN = "<|im_start|>user\nthe cat<|im_end|>\n<|im_start|>assistant\n"
MARKERS = ["<|im_start|>", "<|im_end|>"]
COMMANDS = ("trace", "heads", "mask", "sample", "loss", "lens", "verify")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_reads_the_turn_and_records_its_format(attn, chatml_folder, command):
    found = attn(command, "the cat", "--model", chatml_folder, "--chat", "--json").json
    assert found["prompt"]["text"] == TURN
    tokens = found["prompt"]["tokens"]
    assert [t["text"] for t in tokens if t["special"] and t["text"] in MARKERS] == [
        "<|im_start|>", "<|im_end|>", "<|im_start|>"
    ]  # fmt: skip
    assert found["settings"]["chat"] == "chatml"
    assert sum("chat format chatml" in note for note in found["notes"]) == 1
    typed = attn(command, TURN, "--model", chatml_folder, "--json").json
    assert [t["id"] for t in typed["prompt"]["tokens"]] == [t["id"] for t in tokens]
    assert typed["settings"]["chat"] is None
    for key in ("result", "attention", "next"):
        if command != "sample":  # it draws by a seed of its own
            assert found.get(key) == typed.get(key)


def test_the_page_says_which_format_on_stderr(attn, chatml_folder):
    shown = attn("trace", "the cat", "--model", chatml_folder, "--chat", "--step", 5)
    assert shown.said.count("chat format chatml") == 1
    assert "<|im_start|>" in shown.text
    assert attn("trace", "the cat", "--model", chatml_folder, "--chat", "--quiet").said == ""


def test_files_lines_and_standard_input_are_turns_too(attn, chatml_folder, tmp_path):
    (tmp_path / "prompts").write_text("the cat\na dog\n")
    options = ("--model", chatml_folder, "--chat", "--format", "ndjson")
    lines = attn("loss", "--file", tmp_path / "prompts", "--each", "line", *options).lines
    assert [line["prompt"]["text"] for line in lines] == [TURN, TURN.replace("the cat", "a dog")]
    assert {line["settings"]["chat"] for line in lines} == {"chatml"}
    fed = attn("loss", "--model", chatml_folder, "--chat", "--json", stdin=b"the cat\n").json
    assert fed["prompt"]["text"] == TURN


def test_from_python(chatml_folder):
    model = attn_cli.load(str(chatml_folder))
    assert attn_cli.trace("the cat", model=model, chat=True).prompt.text == TURN
    assert attn_cli.trace("the cat", model=model).settings["chat"] is None
    assert session.tokenise(model, "the cat", chat=True).labels[0] == "<|im_start|>"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ids", "1,2"], "--chat and --ids contradict each other"),
        (["the cat", "--model", "tiny"], "no chat format that attn knows"),
        ([""], "the prompt is empty"),
        (["the cat", "--no-special"], ""),
    ],
)
def test_what_cannot_be_a_turn_is_a_usage_error(attn, chatml_folder, arguments, said):
    found = attn("trace", "--model", chatml_folder, *arguments, "--chat")
    assert found.code == (2 if said else 0)
    assert said in found.said


def test_without_a_tokenizer_it_is_the_file_that_is_at_fault(attn, chatml_folder):
    (chatml_folder / "tokenizer.json").unlink()
    found = attn("trace", "the cat", "--model", chatml_folder, "--chat")
    assert found.code == 1
    assert "tokenizer.json" in found.said


def test_a_turn_above_the_context_is_refused_with_both_counts(attn, chatml_folder):
    found = attn("trace", "the cat " * 500, "--model", chatml_folder, "--chat")
    assert found.code == 1
    assert "tokens" in found.said


def test_usage_errors_in_python_are_ours(chatml_folder):
    with pytest.raises(UsageError, match="contradict"):
        attn_cli.trace(ids=[1, 2], model=str(chatml_folder), chat=True)
