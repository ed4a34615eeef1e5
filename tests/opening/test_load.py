"""Opening a folder: what its config may be, which keys are named, and that no tensor is read."""

import json

import numpy as np
import pytest

from attn_cli import session
from attn_cli.checkpoints.tensor import Tensor
from attn_cli.errors import ContentError

MODELS = (
    "gpt2-a", "llama-plain", "llama-bias", "llama-linear", "llama-llama3", "llama-yarn",
    "mistral-window", "qwen2-window", "qwen3-yarn", "gemma3", "phi3-long", "neox-serial", "bloom",
    "opt-behind",
)  # fmt: skip


def change_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("name", MODELS)
def test_opening_reads_no_tensor_at_all(golden_copy, monkeypatch, name):
    asked = []
    monkeypatch.setattr(Tensor, "read", lambda self: asked.append(self.where))
    monkeypatch.setattr(Tensor, "rows", lambda self, indices: asked.append(self.where))
    assert session.load(str(golden_copy(name))).facts.layers > 1
    assert asked == []


NO_NUMBERS = {
    '{"hidden_size": NaN}': "hidden_size is NaN", '{"b": 1, "a": Infinity}': "a is Infinity",
    '{"a": {"b": [0, -Infinity]}}': "a.b[1] is -Infinity",
    '{"a": NaN, "a": 1}': "a value is NaN",  # its key stands twice
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), NO_NUMBERS.items())
def test_the_key_of_what_is_no_number_is_named(golden_copy, text, said):
    folder = golden_copy("llama-plain")
    (folder / "config.json").write_text(text)
    with pytest.raises(ContentError) as caught:
        session.load(str(folder))
    assert caught.value.message.endswith(f"config.json: {said}, which JSON does not have")


@pytest.mark.parametrize("text", ["{", "[]", "7", ""])
def test_a_config_that_is_no_strict_json_object_is_refused(golden_copy, text):
    folder = golden_copy("llama-plain")
    (folder / "config.json").write_text(text)
    with pytest.raises(ContentError, match=r"config\.json is not"):
        session.load(str(folder))


@pytest.mark.parametrize(
    ("name", "number", "said"),
    [
        ("gpt2-a", "0.0003", "layer_norm_epsilon is inf"),
        ("llama-plain", "53.0", "rope_theta is inf"),
    ],
)
def test_numbers_beyond_float_are_refused(golden_copy, name, number, said):
    path = golden_copy(name) / "config.json"
    text = path.read_text()
    assert number in text
    path.write_text(text.replace(number, "1e999"))
    with pytest.raises(ContentError, match=said):
        session.load(str(path.parent))


def test_keys_that_the_reference_does_not_read_change_nothing_and_one_note_names_them(golden_copy):
    folder = golden_copy("gpt2-a")
    before = session.trace(ids=[1, 2, 3], model=str(folder))
    change_config(folder, rope_theta=1e4, alibi=True, qk_norm=None)
    after = session.trace(ids=[1, 2, 3], model=str(folder))
    assert np.array_equal(after.logits, before.logits)
    (said,) = [note for note in after.notes if note.key == "note.keys"]
    assert said.values == {"keys": "alibi, qk_norm, rope_theta"}
    assert not [note for note in before.notes if note.key == "note.keys"]


def test_ignoring_one_key_does_not_ignore_another(golden_copy):
    folder = golden_copy("gpt2-a")
    change_config(folder, rope_theta=1e4, alibi=True, qk_norm=True, add_cross_attention=True)
    with pytest.raises(ContentError, match="add_cross_attention"):
        session.load(str(folder), ignore_config=["rope_theta"])
    change_config(folder, add_cross_attention=False)
    model = session.load(str(folder), ignore_config=["rope_theta"])
    assert (model.ignored, model.unknown) == (("rope_theta",), ("alibi", "qk_norm"))
