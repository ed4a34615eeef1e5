"""Models for pictures and text are read for their text: see `golden/type_tables/pictures.py`."""

import itertools
import json
import re

import numpy as np
import pytest
from conftest import GOLDEN, small_tokenizer
from made_folders import document, made_folder, write_config

from attn_cli import session, vocabulary
from attn_cli.analysis.probes import probe
from attn_cli.checkpoints.safetensors import encode, open_safetensors
from attn_cli.errors import ContentError, UsageError
from attn_cli.families import COMPOSITES
from attn_cli.families.composites import TYPES
from attn_cli.opening.configs import end_ids, read_config
from attn_cli.opening.listing import contents
from attn_cli.training import tokenizer as making

NAMES = {kind: kind.replace("_", "-") + "-a" for kind in sorted(COMPOSITES) if kind != "gemma3"}


def traced(folder, golden):
    return session.trace(ids=golden["ids"], model=str(folder), arrays=vocabulary.ARRAYS)


def same_bits(a, b):
    pairs = [(a.logits, b.logits)]
    for one, other in zip(a.attention, b.attention, strict=True):
        pairs += [(one.arrays[name], other.arrays[name]) for name in one.arrays]
    return all(map(np.array_equal, *zip(*pairs, strict=True)))


def rename(folder, change):
    path = folder / "model.safetensors"
    tensors = {change(name): np.array(t.read()) for name, t in open_safetensors(path).items()}
    path.unlink()
    path.write_bytes(encode(tensors, {"format": "pt"}))


# --- tensors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NAMES)
def test_only_the_text_is_counted_and_a_note_says_what_is_not(tmp_path, kind):
    folder, golden = made_folder(tmp_path / "m", NAMES[kind]), document(NAMES[kind])
    model, found = session.load(str(folder)), traced(folder, golden)
    words = ("visual", "vision", "projector", "connector", "newline")
    others = [n for n in golden["tensors"] if any(word in n for word in words)]
    sizes = {name: int(np.prod(shape)) for name, shape in golden["tensors"].items()}
    left_out = sum(sizes[name] for name in others)
    assert len(others) > 3 and model.unread == (len(others), left_out)
    text = sum(sizes.values()) - left_out
    assert model.facts.parameters == contents(model).parameters == text
    assert model.weights.size == 4 * text
    (note,) = (str(n) for n in found.notes if "pictures" in str(n))
    assert f"{len(others)} tensors" in note and f"{left_out:,} parameters" in note
    assert found.model.family == kind


@pytest.mark.parametrize(("name", "changes"), [
    ("llava-a", [("language_model.model.", "model.language_model."),
                 ("language_model.lm_head", "lm_head"), ("vision_tower", "model.vision_tower"),
                 ("multi_modal", "model.multi_modal")]),
    ("llava-a", [("language_model.model.", "language_model."),
                 ("language_model.lm_head", "lm_head")]),
    ("qwen2-vl-a", [("model.", "model.language_model."), ("visual.", "model.visual.")]),
    ("idefics3-a", [("model.text_model.", "model.language_model.")]),
])  # fmt: skip
def test_newer_and_older_names_are_the_same_tensors(tmp_path, name, changes):
    folder, golden = made_folder(tmp_path / "m", name), document(name)
    before = traced(folder, golden)

    def change(tensor):
        for old, new in changes:
            if tensor.startswith(old):
                return new + tensor.removeprefix(old)
        return tensor

    assert any(change(tensor) != tensor for tensor in golden["tensors"])
    rename(folder, change)
    after = traced(folder, golden)
    assert same_bits(before, after) and before.notes == after.notes


def test_a_tensor_that_is_neither_text_nor_pictures_is_refused(tmp_path):
    folder = made_folder(tmp_path / "m", "llava-a")
    rename(folder, lambda name: name.replace("vision_tower.", "visions."))
    with pytest.raises(ContentError, match=r"visions.* has no place in this family"):
        session.load(str(folder))


# --- the config -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["qwen2-vl-a", "qwen2-vl-b", "qwen2-5-vl-b"])
def test_keys_of_the_text_at_the_top_are_the_same_model(tmp_path, name):
    """As in files of 4.4x: one list of keys, and the older spelling of the rotary ones."""
    folder, golden = made_folder(tmp_path / "m", name), document(name)
    before, config = traced(folder, golden), dict(golden["config"])
    text = dict(config.pop("text_config"))
    rope = text.pop("rope_parameters")
    tied = {"tie_word_embeddings": config["tie_word_embeddings"]}
    kind = {"rope_type": "type"}
    scaling = {kind.get(k, k): v for k, v in rope.items() if k != "rope_theta"}
    if scaling["type"] == "default":
        scaling["type"] = "mrope"
    older = {"rope_theta": rope["rope_theta"], "rope_scaling": scaling}
    del text["layer_types"]
    write_config(folder, text | config | older | tied)
    after = traced(folder, golden)
    assert same_bits(before, after) and before.notes == after.notes
    # Of both, the text's own have the word.
    write_config(folder, {"hidden_size": 3, "rope_theta": 3.0} | golden["config"])
    assert same_bits(before, traced(folder, golden))


REFERENCE = json.loads((GOLDEN / "composites.json").read_text())


@pytest.mark.parametrize("kind", sorted(COMPOSITES))
def test_a_type_has_the_ids_and_the_text_of_the_references_class(kind):
    wanted, found = REFERENCE["types"][kind], TYPES[kind]
    assert found.reserved == wanted["reserved"]
    assert found.text == wanted["text"].replace("qwen2_5_vl", "qwen2_vl")  # the same but by name


def test_each_type_is_in_both_tables():
    assert TYPES.keys() == COMPOSITES == REFERENCE["types"].keys()


@pytest.mark.parametrize(("kind", "key"), [
    (kind, key) for kind, defaults in REFERENCE["texts"].items() for key in defaults
])  # fmt: skip
def test_a_key_that_a_text_leaves_out_is_the_references_default(kind, key):
    """Or it is asked for, where no published file leaves it out."""
    defaults = dict(REFERENCE["texts"][kind])
    if kind == "qwen2_vl_text":
        defaults["head_dim"] = defaults["hidden_size"] // defaults["num_attention_heads"]
    if key == "max_window_layers":
        defaults["use_sliding_window"] = True
    outer = {"qwen2_vl_text": "qwen2_vl", "qwen3_vl_text": "qwen3_vl"}.get(kind, "llava")

    def read(text):
        values = {"model_type": outer, "text_config": {"model_type": kind, **text}}
        return read_config(values, "c").config

    full = read(defaults)
    try:
        found = read({name: value for name, value in defaults.items() if name != key})
    except ContentError as problem:
        assert f"the key {key} is missing" in problem.message
        assert kind.endswith("_vl_text") and outer != "llava"
    else:
        assert found == full


SIZES = {
    "hidden_size": 24, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 9,
    "vocab_size": 37, "num_key_value_heads": 2, "head_dim": 12, "max_position_embeddings": 9,
    "rope_parameters": {"rope_theta": 9.0, "rope_type": "default", "mrope_section": [3, 2, 1]},
}  # fmt: skip


def config_of(kind, text=(), **outer):
    inner = SIZES | dict(text)
    if not kind.startswith("qwen"):
        inner["rope_parameters"] = {"rope_theta": 9.0, "rope_type": "default"}
    if kind == "gemma3":
        del inner["rope_parameters"]
    return {"model_type": kind, "text_config": inner, **outer}


@pytest.mark.parametrize("kind", sorted(COMPOSITES))
def test_which_of_the_two_keys_ties_the_output_matrix(kind):
    found, key = "", "tie_word_embeddings"
    for outer, inner in itertools.product(({}, {key: False}, {key: True}), repeat=2):
        found += str(int(read_config(config_of(kind, inner, **outer), "c").config.tied))
    assert found == REFERENCE["types"][kind]["ties"]


@pytest.mark.parametrize(("kind", "config", "match"), [
    ("llava", {"text_config": None}, "the key text_config is missing"),
    ("gemma3", {"text_config": None, **SIZES}, "the key text_config is missing"),
    ("llava", {"text_config": [1]}, "text_config is .*not an object"),
    ("llava", {"text_config": {"model_type": "xyzzy"}}, "text_config: .*'xyzzy' is not supported"),
    ("llava", {"text_config": {"model_type": ["llama"]}}, "text_config: .* is not supported"),
    ("llava", {"text_config": {"model_type": "gemma3"}}, "text_config: .*'gemma3' is not supp"),
    ("llava", {"text_config": SIZES | {"model_type": "llama", "hidden_act": "x"}},
     "text_config: hidden_act"),
    ("llava", {"image_token_index": "x"}, "image_token_index is 'x'"),
    ("llava", {"tie_word_embeddings": 1}, "tie_word_embeddings is 1"),
    ("qwen2_vl", {"text_config": SIZES | {"rope_parameters": {"mrope_section": [3, 2]}}},
     r"mrope_section \[3, 2\] does not add up to 6"),
    ("qwen2_vl", {"text_config": SIZES | {"rope_parameters": None}}, r"\[16, 24, 24\] does not"),
    ("qwen2_vl", {"text_config": SIZES | {"rope_parameters": {"mrope_section": 6}}},
     "mrope_section is not a list"),
    ("qwen2_vl", {"text_config": SIZES | {"rope_parameters": {"mrope_section": [7, -1]}}},
     "mrope_section is -1, not whole numbers"),
    ("qwen2_vl", {"text_config": SIZES | {"head_dim": 8}}, "head_dim is 8"),
    ("qwen3_vl", {"text_config": SIZES | {"rope_parameters": {"mrope_section": [3, 3]}}},
     "mrope_section is not a list of 3 numbers"),
    ("qwen3_vl", {"text_config": SIZES | {"rope_parameters": {"rope_type": "mrope"}}}, "'mrope'"),
])  # fmt: skip
def test_a_config_that_cannot_be_honoured_is_refused_by_name(kind, config, match):
    with pytest.raises(ContentError, match=match):
        read_config(config_of(kind) | config, "c")


def test_a_text_that_an_encoder_reads_is_refused(tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    text = json.loads((GOLDEN / "bert" / "config.json").read_text())
    write_config(folder, {"model_type": "llava", "text_config": text})
    (folder / "model.safetensors").symlink_to(GOLDEN / "bert" / "model.safetensors")
    with pytest.raises(ContentError, match="text_config is read by an encoder"):
        session.load(str(folder))


def test_the_end_of_a_text_is_the_outer_configs_or_else_the_texts():
    """As `GenerationConfig.from_model_config`."""
    text = {"text_config": {"eos_token_id": [7, 8]}}
    assert end_ids(text, {}) == (7, 8)
    assert end_ids(text | {"eos_token_id": 5}, {"eos_token_id": 9}) == (5, 9)
    assert end_ids({"text_config": None}, {}) == ()


# --- prompts --------------------------------------------------------------------------------------


@pytest.fixture
def llava(tmp_path):
    """A model whose tokenizer knows the token of pictures, in a chat format too."""
    folder, golden = made_folder(tmp_path / "llava", "llava-a"), document("llava-a")
    write_config(folder, golden["config"] | {"image_token_index": 38})
    tokenizer = small_tokenizer(making.DECODER)
    known = len(tokenizer["model"]["vocab"])
    added = tokenizer["added_tokens"][0]
    tokenizer["added_tokens"] += [
        {**added, "id": id, "content": content}
        for id, content in enumerate(("<|im_start|>", "<|im_end|>", "<image>"), known)
    ]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "<|im_start|>"}))
    return folder


@pytest.mark.parametrize("given", [
    {"ids": [3, 38, 4]}, {"text": "the <image> cat"}, {"text": "<image>", "chat": True},
])  # fmt: skip
def test_a_prompt_with_the_token_of_a_picture_is_refused(llava, given):
    with pytest.raises(UsageError, match=r"'<image>' \(id 38\).*image_token_index") as refused:
        session.trace(model=str(llava), **given)
    assert "leave it out" in refused.value.hint


def test_the_same_prompt_is_only_tokenised_where_nothing_is_computed(llava):
    model = session.load(str(llava))
    prompt = session.tokenise(model, "the <image> cat", alone=True)
    assert 38 in prompt.ids


@pytest.mark.parametrize("kind", NAMES)
def test_every_id_that_the_config_reserves_is_refused(tmp_path, kind):
    folder, golden = made_folder(tmp_path / "m", NAMES[kind]), document(NAMES[kind])
    model, config = session.load(str(folder)), golden["config"]
    reserved = {k: v for k, v in config.items() if k.endswith(("_token_index", "_token_id"))}
    reserved = {k: v for k, v in reserved.items() if not re.match("_?(bos|eos|pad)", k)}
    assert reserved and {v: k for k, v in reserved.items()} == model.reserved
    for key, id in reserved.items():
        with pytest.raises(UsageError, match=key):
            session.tokenise(model, ids=[1, id])


def test_the_two_spellings_of_a_reserved_id():
    """The newer has the last word, as in the reference's `attribute_map`."""
    reserved = [
        read_config(config_of("llava", **keys), "c").reserved
        for keys in ({}, {"image_token_index": 5}, {"image_token_index": 5, "image_token_id": 6})
    ]
    assert reserved == [
        {32000: "image_token_index"}, {5: "image_token_index"}, {6: "image_token_id"},
    ]  # fmt: skip


def test_prompts_that_are_drawn_hold_no_reserved_id(tmp_path):
    folder = made_folder(tmp_path / "m", "qwen2-vl-a")
    model = session.load(str(folder))
    drawn = [probe(model, ("decoder", "self"), seed) for seed in range(5)]
    ids = {id for one in drawn for id in (*one.prompt.ids, *one.plain.ids)}
    assert len(ids) > 20 and not ids & model.reserved.keys()
