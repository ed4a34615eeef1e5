"""BERT and its siblings in GGUF files, as llama.cpp's converter writes them: all are `bert` there.

The names of tensors are the library's own; keys and what is left out are the converter's.
"""

import json
from pathlib import Path

import gguf
import numpy as np
import pytest

from attn_cli import session, vocabulary
from attn_cli.checkpoints.gguf import Gguf
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.errors import ContentError
from attn_cli.model.stack import Request
from attn_cli.records import Address
from measure import row_error

# What the converter takes from the front of each golden model's names.
PREFIXES = {"bert": "bert.", "bert-bare": "", "roberta": "roberta.", "distilbert": "distilbert."}
LEFT_OUT = ("cls.predictions", "lm_head", "vocab_", "pooler.")
IDS = (5, 9, 7, 11, 30, 9, 22)


def nothing(writer):
    """No further keys."""


def add(writer, config, first):
    """The keys of `BertModel` and its subclasses in convert_hf_to_gguf.py."""
    if config["model_type"] == "distilbert":
        writer.add_layer_norm_eps(1e-12)
    writer.add_block_count(config.get("num_hidden_layers", config.get("n_layers")))
    writer.add_context_length(config["max_position_embeddings"] - first)
    writer.add_embedding_length(config.get("hidden_size", config.get("dim")))
    writer.add_feed_forward_length(config.get("intermediate_size", config.get("hidden_dim")))
    writer.add_head_count(config.get("num_attention_heads", config.get("n_heads")))
    if "layer_norm_eps" in config:
        writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_token_type_count(config.get("type_vocab_size", 1))


def converted(folder, config, first):
    """The tensors by GGUF's names, without a head and a pooler."""
    layers = config.get("num_hidden_layers", config.get("n_layers"))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, layers)
    found = {}
    for place, tensor in open_safetensors(folder / "model.safetensors").items():
        name = place.removeprefix(PREFIXES[folder.name])
        if not name.startswith(LEFT_OUT):
            array = np.array(tensor.read())
            if name == "embeddings.position_embeddings.weight":
                array = array[first:]
            found[names.get_name(name, try_suffixes=(".weight", ".bias"))] = array
    return found


@pytest.fixture
def convert(golden_copy, tmp_path, write_gguf):
    """Makes the GGUF file of a golden model, changed on the way, and the folder it came from."""

    def make(name, *, keys=nothing, tensors=dict):
        folder = golden_copy(name)
        path = folder / "config.json"
        # There is no key for the activation: llama.cpp takes this one.
        act = "activation" if name == "distilbert" else "hidden_act"
        config = json.loads(path.read_text()) | {act: "gelu"}
        path.write_text(json.dumps(config))
        first = config["pad_token_id"] + 1 if name == "roberta" else 0

        def every(writer):
            add(writer, config, first)
            keys(writer)

        found = tensors(converted(folder, config, first))
        return write_gguf(tmp_path / f"{name}.gguf", "bert", every, found), folder

    return make


def computed(path, types=()):
    model = session.load(str(path))
    blocks = frozenset(Address("encoder", "self", n) for n in range(model.facts.layers))
    request = Request(blocks=blocks, arrays=frozenset(vocabulary.ARRAYS), types=types)
    found, end = session.run(model, IDS, request)
    arrays = {f"{b.layer}.{name}": a for b in found.values() for name, a in b.arrays.items()}
    return arrays | {"last": end.x}


@pytest.mark.parametrize("name", PREFIXES)
def test_a_gguf_file_computes_what_the_folder_computes(convert, name):
    path, folder = convert(name)
    found, wanted = computed(path), computed(folder)
    assert found.keys() == wanted.keys()
    assert {
        n: row_error(found[n], wanted[n]) for n in wanted if (found[n] != wanted[n]).any()
    } == {}
    ours, theirs = session.load(path).facts, session.load(str(folder)).facts
    for fact in ("layers", "heads", "head_width", "vocabulary", "context", "stack"):
        assert getattr(ours, fact) == getattr(theirs, fact)


def test_a_second_segment_is_one_in_the_file_too(convert):
    path, folder = convert("bert")
    types = (0, 0, 0, 1, 1, 1, 1)
    found, wanted = computed(path, types), computed(folder, types)
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    assert not np.array_equal(found["last"], computed(path)["last"])


def test_no_such_file_predicts(convert):
    """The converter leaves every head out."""
    path, folder = convert("bert")
    assert session.load(str(folder)).facts.predicts
    found = session.load(path).facts
    assert (found.predicts, found.family, found.stack) == (False, "bert", "encoder")


def test_a_classifier_is_none_of_attentions(convert):
    path, folder = convert(
        "bert",
        keys=lambda writer: writer.add_classifier_output_labels(["a", "b"]),
        tensors=lambda found: found | {
            "cls.weight": np.ones((2, 20), np.float32), "cls.output.bias": np.ones(2, np.float32),
        },
    )  # fmt: skip
    found, wanted = computed(path), computed(folder)
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_rows_in_another_order_would_be_seen(convert):
    path, folder = convert("bert", tensors=lambda found: found | {
        "blk.0.attn_q.weight": np.roll(found["blk.0.attn_q.weight"], 1, axis=0),
    })  # fmt: skip
    assert row_error(computed(path)["0.scores"], computed(folder)["0.scores"]) > 0.01


@pytest.mark.parametrize("key", [
    "block_count", "context_length", "embedding_length", "feed_forward_length",
    "attention.head_count", "attention.layer_norm_epsilon", "attention.causal",
])  # fmt: skip
def test_a_key_that_llama_cpp_asks_for_is_missed_by_its_own_name(convert, key):
    path, _ = convert("bert", keys=lambda writer: writer.kv_data[0].pop(f"bert.{key}"))
    with pytest.raises(ContentError, match=rf"the key bert\.{key} is missing$"):
        session.load(path)


@pytest.mark.parametrize(("keys", "match"), [
    (lambda w: w.add_float32("bert.attention.scale", 0.5), "attention.scale is 0.5"),
    (lambda w: w.add_float32("bert.rope.freq_base", 1e4), "rope.freq_base"),
    (lambda w: w.add_uint32("bert.attention.sliding_window", 5), "sliding_window"),
])  # fmt: skip
def test_a_key_that_cannot_be_honoured_is_refused(convert, keys, match):
    with pytest.raises(ContentError, match=match):
        session.load(convert("bert", keys=keys)[0])


def test_a_causal_bert_is_refused(convert):
    def keys(writer):
        writer.kv_data[0]["bert.attention.causal"].value = True

    with pytest.raises(ContentError, match=r"attention\.causal is True"):
        session.load(convert("bert", keys=keys)[0])


@pytest.mark.parametrize("name", [
    "token_types.weight", "position_embd.weight", "blk.1.layer_output_norm.bias",
])  # fmt: skip
def test_a_tensor_that_is_missing_has_its_own_name(convert, name):
    def tensors(found):
        return {place: array for place, array in found.items() if place != name}

    path, _ = convert("bert", tensors=tensors)
    if name == "token_types.weight":  # as of DistilBERT
        assert session.load(path).config.types == 0
    else:
        with pytest.raises(ContentError, match=f"the tensor {name} is missing"):
            session.load(path)


def test_the_files_own_metadata_stays_with_the_model(convert):
    path, _ = convert("bert")
    assert session.load(path).metadata == Gguf(Path(path)).metadata
