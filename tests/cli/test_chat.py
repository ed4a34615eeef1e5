"""`--chat` in every command that reads a prompt, on a golden model given ChatML's markers."""

import json
from dataclasses import replace

import pytest

import attn_cli
from attn_cli import session
from attn_cli.analysis.sample import Sampling, continued, sample, stop_note
from attn_cli.errors import ContentError, UsageError

TURN = "<|im_start|>user\nthe cat<|im_end|>\n<|im_start|>assistant\n"
MARKERS = ["<|im_start|>", "<|im_end|>"]
COMMANDS = ("trace", "heads", "mask", "sample", "loss", "verify")


@pytest.fixture
def folder(golden_copy):
    """Two entries of the vocabulary make room for the markers."""
    path = golden_copy("llama-plain")
    tokenizer = json.loads((path / "tokenizer.json").read_text())
    vocabulary, added = tokenizer["model"]["vocab"], tokenizer["added_tokens"]
    for last in sorted(vocabulary, key=vocabulary.get)[-2:]:
        del vocabulary[last]
    for id, marker in enumerate(MARKERS, len(vocabulary)):
        added.append({**added[0], "id": id, "content": marker})
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    return path


@pytest.fixture
def ends(folder):
    """The ids of the markers that begin and end a turn."""
    model = session.load(str(folder))
    return [model.tokenizer.added(marker) for marker in MARKERS]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_reads_the_turn_and_records_its_format(attn, folder, command):
    found = attn(command, "the cat", "--model", folder, "--chat", "--json").json
    assert found["prompt"]["text"] == TURN
    tokens = found["prompt"]["tokens"]
    assert [t["text"] for t in tokens if t["special"] and t["text"] in MARKERS] == [
        "<|im_start|>", "<|im_end|>", "<|im_start|>"
    ]  # fmt: skip
    assert found["settings"]["chat"] == "chatml"
    assert sum("chat format chatml" in note for note in found["notes"]) == 1
    typed = attn(command, TURN, "--model", folder, "--json").json
    assert [t["id"] for t in typed["prompt"]["tokens"]] == [t["id"] for t in tokens]
    assert typed["settings"]["chat"] is None
    for key in ("result", "attention", "next"):
        if command != "sample":  # it draws by a seed of its own
            assert found.get(key) == typed.get(key)


def test_the_page_says_which_format_on_stderr(attn, folder):
    shown = attn("trace", "the cat", "--model", folder, "--chat", "--step", 5)
    assert shown.said.count("chat format chatml") == 1
    assert "<|im_start|>" in shown.text
    assert attn("trace", "the cat", "--model", folder, "--chat", "--quiet").said == ""


def test_files_lines_and_standard_input_are_turns_too(attn, folder, tmp_path):
    (tmp_path / "prompts").write_text("the cat\na dog\n")
    options = ("--model", folder, "--chat", "--format", "ndjson")
    lines = attn("loss", "--file", tmp_path / "prompts", "--each", "line", *options).lines
    assert [line["prompt"]["text"] for line in lines] == [TURN, TURN.replace("the cat", "a dog")]
    assert {line["settings"]["chat"] for line in lines} == {"chatml"}
    fed = attn("loss", "--model", folder, "--chat", "--json", stdin=b"the cat\n").json
    assert fed["prompt"]["text"] == TURN


def test_from_python(folder):
    model = attn_cli.load(str(folder))
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
def test_what_cannot_be_a_turn_is_a_usage_error(attn, folder, arguments, said):
    found = attn("trace", "--model", folder, *arguments, "--chat")
    assert found.code == (2 if said else 0)
    assert said in found.said


def test_without_a_tokenizer_it_is_the_file_that_is_at_fault(attn, folder):
    (folder / "tokenizer.json").unlink()
    found = attn("trace", "the cat", "--model", folder, "--chat")
    assert found.code == 1
    assert "tokenizer.json" in found.said


def test_a_turn_above_the_context_is_refused_with_both_counts(attn, folder):
    found = attn("trace", "the cat " * 500, "--model", folder, "--chat")
    assert found.code == 1
    assert "tokens" in found.said


# --- where the answer ends -----------------------------------------------------------------------


def test_the_end_of_the_turn_ends_the_answer(folder):
    model = session.load(str(folder))
    prompt = session.tokenise(model, "the cat", chat=True)
    drawing = {"sampling": Sampling(temperature=9), "seed": 0, "max_tokens": 12}
    ids = [token.id for token in sample(model, prompt, **drawing).drawn]
    assert ids.index(ids[2]) == 2
    ending = replace(prompt, ends=(ids[2],))
    assert ids[2] not in model.end_tokens
    assert [token.id for token in sample(model, ending, **drawing).drawn] == ids[:3]


def test_the_end_that_a_model_adds_is_special_as_in_a_prompt(folder):
    model = session.load(str(folder))
    prompt = session.tokenise(model, "the cat", chat=True)
    added = continued(model, prompt, 5).tokens[len(prompt.tokens) :]
    assert [token.special for token in added] == [False] * 5
    ended = continued(model, replace(prompt, ends=(added[0].id,)), 5)
    assert [token.special for token in ended.tokens[len(prompt.tokens) :]] == [True]
    [note] = stop_note(model, replace(prompt, ends=(added[0].id,)), [added[0].id], 5)
    assert "the model ended its text" in str(note)


def test_it_is_the_formats_marker(folder, ends):
    model = session.load(str(folder))
    assert session.tokenise(model, "the cat", chat=True).ends == (ends[1],)
    assert session.tokenise(model, "the cat").ends == ()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"eos_token_id": [5, 7]}, (2, 5, 7)),
        ({"eos_token_id": 5}, (2, 5)),
        ({"eos_token_id": [2, None, "7", -1, True, [9]]}, (2,)),
        ({"temperature": 0.7}, (2,)),
    ],
)
def test_generation_config_names_more_ends(folder, written, expected):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "eos_token_id": 2}))
    assert session.load(str(folder)).end_tokens == (2,)
    (folder / "generation_config.json").write_text(json.dumps(written))
    assert session.load(str(folder)).end_tokens == expected


@pytest.mark.parametrize("contents", [b"{", b"[]", b'{"eos_token_id": NaN}', b"\xff"])
def test_a_damaged_generation_config_is_named(folder, contents):
    (folder / "generation_config.json").write_bytes(contents)
    with pytest.raises(ContentError, match=r"generation_config\.json"):
        session.load(str(folder))


def test_usage_errors_in_python_are_ours(folder):
    with pytest.raises(UsageError, match="contradict"):
        attn_cli.trace(ids=[1, 2], model=str(folder), chat=True)
