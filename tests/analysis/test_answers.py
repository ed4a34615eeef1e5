"""Where the answer of a chat model ends: at the format's marker, and at what the files name."""

import json
from dataclasses import replace

import pytest

from attn_cli import session
from attn_cli.analysis.sample import Sampling, continued, sample, stop_note
from attn_cli.errors import ContentError

MARKERS = ["<|im_start|>", "<|im_end|>"]


@pytest.fixture
def ends(chatml_folder):
    """The ids of the markers that begin and end a turn."""
    model = session.load(str(chatml_folder))
    return [model.tokenizer.added(marker) for marker in MARKERS]


def test_the_end_of_the_turn_ends_the_answer(chatml_folder):
    model = session.load(str(chatml_folder))
    prompt = session.tokenise(model, "the cat", chat=True)
    drawing = {"sampling": Sampling(temperature=9), "seed": 0, "max_tokens": 12}
    ids = [token.id for token in sample(model, prompt, **drawing).drawn]
    assert ids.index(ids[2]) == 2
    ending = replace(prompt, ends=(ids[2],))
    assert ids[2] not in model.end_tokens
    assert [token.id for token in sample(model, ending, **drawing).drawn] == ids[:3]


def test_the_end_that_a_model_adds_is_special_as_in_a_prompt(chatml_folder):
    model = session.load(str(chatml_folder))
    prompt = session.tokenise(model, "the cat", chat=True)
    added = continued(model, prompt, 5).tokens[len(prompt.tokens) :]
    assert [token.special for token in added] == [False] * 5
    ended = continued(model, replace(prompt, ends=(added[0].id,)), 5)
    assert [token.special for token in ended.tokens[len(prompt.tokens) :]] == [True]
    [note] = stop_note(model, replace(prompt, ends=(added[0].id,)), [added[0].id], 5)
    assert "the model ended its text" in str(note)


def test_it_is_the_formats_marker(chatml_folder, ends):
    model = session.load(str(chatml_folder))
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
def test_generation_config_names_more_ends(chatml_folder, written, expected):
    config = json.loads((chatml_folder / "config.json").read_text())
    (chatml_folder / "config.json").write_text(json.dumps({**config, "eos_token_id": 2}))
    assert session.load(str(chatml_folder)).end_tokens == (2,)
    (chatml_folder / "generation_config.json").write_text(json.dumps(written))
    assert session.load(str(chatml_folder)).end_tokens == expected


@pytest.mark.parametrize("contents", [b"{", b"[]", b'{"eos_token_id": NaN}', b"\xff"])
def test_a_damaged_generation_config_is_named(chatml_folder, contents):
    (chatml_folder / "generation_config.json").write_bytes(contents)
    with pytest.raises(ContentError, match=r"generation_config\.json"):
        session.load(str(chatml_folder))
