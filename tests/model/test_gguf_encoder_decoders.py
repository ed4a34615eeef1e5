"""T5 in GGUF files, as llama.cpp's converter writes them.

The names of tensors are the library's own; the keys are the converter's.
"""

import json

import gguf
import numpy as np
import pytest

from attn_cli import session, vocabulary
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.errors import ContentError
from measure import addresses, every_block, row_error

WEIGHTS = "model.safetensors"
ARCHITECTURES = {
    "t5-relu": "t5", "t5-gelu": "t5", "t5-silu": "t5", "umt5": "t5", "t5-encoder": "t5encoder",
}  # fmt: skip
SOURCE, TARGET = (3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5), (3, 8, 9, 7, 9, 3)


def sayable(config):
    """The config without what GGUF has no key for, so that both files say the same model."""
    config["relative_attention_max_distance"] = 128
    if config["is_gated_act"]:
        config["dense_act_fn"] = "gelu_new"
    return config


def add_t5(writer, config):
    writer.add_context_length(512)
    writer.add_embedding_length(config["d_model"])
    writer.add_feed_forward_length(config["d_ff"])
    writer.add_block_count(config["num_layers"])
    writer.add_head_count(config["num_heads"])
    writer.add_key_length(config["d_kv"])
    writer.add_value_length(config["d_kv"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    writer.add_relative_attn_buckets_count(config["relative_attention_num_buckets"])
    writer.add_layer_norm_rms_eps(config["layer_norm_epsilon"])
    if config["is_encoder_decoder"]:
        writer.add_decoder_block_count(config["num_decoder_layers"])
        writer.add_decoder_start_token_id(config["decoder_start_token_id"])


def converted(folder, config, architecture):
    """The tensors by GGUF's names."""
    layers = max(config["num_layers"], config["num_decoder_layers"])
    kind = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(kind, layers)
    stored = open_safetensors(folder / WEIGHTS)
    return {names.get_name(n, try_suffixes=(".weight",)): stored[n].read() for n in stored}


def nothing(writer):
    """No further keys."""


@pytest.fixture
def convert(golden_copy, tmp_path, write_gguf):
    """Makes the GGUF file of a golden model, changed on the way, and the folder it came from."""

    def make(name, *, keys=nothing, tensors=dict):
        architecture, folder = ARCHITECTURES[name], golden_copy(name)
        config = sayable(json.loads((folder / "config.json").read_text()))
        (folder / "config.json").write_text(json.dumps(config))

        def add(writer):
            add_t5(writer, config)
            keys(writer)

        found = tensors(converted(folder, config, architecture))
        return write_gguf(tmp_path / f"{name}.gguf", architecture, add, found), folder

    return make


def computed(path):
    """Every array of every block, and the logits or, of an encoder, the last vectors."""
    model = session.load(str(path))
    texts = (SOURCE, TARGET) if model.facts.encoder else ((), SOURCE)
    blocks, end = every_block(model, *texts, arrays=frozenset(vocabulary.ARRAYS))
    assert list(blocks) == addresses(model)
    found = {(*at, name): a for at, block in blocks.items() for name, a in block.arrays.items()}
    return found | {"end": session.predict(model, end.x) if model.facts.predicts else end.x}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_gguf_file_computes_what_the_folder_computes(convert, name):
    path, folder = convert(name)
    found, wanted = computed(path), computed(folder)
    assert found.keys() == wanted.keys()
    for array, values in wanted.items():
        assert row_error(found[array], values) <= 2e-6, array
    ours, theirs = session.load(path).facts, session.load(str(folder)).facts
    facts = (
        "stack", "layers", "heads", "kv_heads", "head_width", "vocabulary", "context", "parameters",
        "encoder", "start", "predicts", "logit_scale",
    )  # fmt: skip
    for fact in facts:
        assert getattr(ours, fact) == getattr(theirs, fact)


@pytest.mark.parametrize("name", ["t5-relu", "t5-silu"])
def test_wrongly_placed_tensors_would_be_seen(convert, name):
    def swapped(found):
        cross, own = "dec.blk.1.cross_attn_q.weight", "dec.blk.1.attn_q.weight"
        return found | {cross: found[own], own: found[cross]}

    path, folder = convert(name, tensors=swapped)
    here = ("decoder", "cross", 1, "q")
    assert row_error(computed(path)[here], computed(folder)[here]) > 0.01


def test_a_plain_network_means_scaled_logits_whichever_output_matrix_there_is(convert):
    """A file of version 1.0 may hold its embedding twice."""
    path, folder = convert("t5-relu", tensors=lambda found: found | {
        "output.weight": found["token_embd.weight"],
    })  # fmt: skip
    assert not session.load(path).config.tied
    assert row_error(computed(path)["end"], computed(folder)["end"]) <= 2e-6


def test_the_decoder_has_as_many_layers_as_the_encoder_where_nothing_is_said(convert):
    path, _ = convert(
        "t5-gelu",
        keys=lambda writer: writer.kv_data[0].pop("t5.decoder_block_count"),
        tensors=lambda found: found | {
            name.replace("dec.blk.1.", "dec.blk.2."): array for name, array in found.items()
        },
    )  # fmt: skip
    assert session.load(path).facts.layers == 3


def test_tables_of_their_own_are_found_in_the_decoder_alone(convert):
    """Of an encoder of one layer nothing can be told."""

    def keys(writer):
        writer.kv_data[0]["t5.block_count"].value = 1

    path, _ = convert("umt5", keys=keys, tensors=lambda found: {
        name: array for name, array in found.items()
        if not name.startswith(("enc.blk.1.", "enc.blk.2."))
    })  # fmt: skip
    config = session.load(path).config
    assert (config.encoder_layers, config.layers, config.own_tables) == (1, 2, True)


def test_a_tensor_that_nothing_uses_is_left_out(convert):
    unused = {"dec.blk.0.cross_attn_rel_b.weight": np.ones((8, 4), np.float32)}
    path, folder = convert("t5-relu", tensors=lambda found: found | unused)
    assert row_error(computed(path)["end"], computed(folder)["end"]) <= 2e-6


@pytest.mark.parametrize(("keys", "match"), [
    (lambda w: w.kv_data[0].pop("t5.attention.relative_buckets_count"),
     "t5.attention.relative_buckets_count is missing"),
    (lambda w: w.kv_data[0].pop("t5.attention.layer_norm_rms_epsilon"),
     "t5.attention.layer_norm_rms_epsilon is missing"),
    (lambda w: w.kv_data[0].pop("t5.attention.key_length"), "t5.attention.key_length is missing"),
    (lambda w: w.kv_data[0].pop("t5.context_length"), "t5.context_length is missing"),
    (lambda w: w.add_float32("t5.attention.relative_max", 1.0), "t5.attention.relative_max is un"),
])  # fmt: skip
def test_keys_that_are_missing_or_unknown_are_named_as_the_file_has_them(convert, keys, match):
    with pytest.raises(ContentError, match=match):
        session.load(convert("t5-relu", keys=keys)[0])


@pytest.mark.parametrize(("name", "match"), [
    ("dec.blk.1.cross_attn_v.weight", "dec.blk.1.cross_attn_v.weight is missing"),
    ("enc.blk.1.ffn_up.weight", "enc.blk.1.ffn_up.weight is missing"),
    ("dec.blk.0.attn_rel_b.weight", "dec.blk.0.attn_rel_b.weight is missing"),
])  # fmt: skip
def test_a_missing_tensor_is_named_as_the_file_has_it(convert, name, match):
    def without(found):
        del found[name]
        return found

    with pytest.raises(ContentError, match=match):
        session.load(convert("t5-relu", tensors=without)[0])


def test_a_value_width_of_its_own_is_refused(convert):
    def keys(writer):
        writer.kv_data[0]["t5.attention.value_length"].value = 6

    with pytest.raises(ContentError, match="value_length differs from the head width 5"):
        session.load(convert("t5-relu", keys=keys)[0])
