"""Quantised GGUF files against folders of what the package `gguf` dequantises from them.

Every type that holds floats: what the package quantises is quantised by it; of the others, which
it only reads, blocks are random bytes, those kept that it reads as numbers of a usual size. As two
such files hold the same float32 numbers, what is computed from them is the same to the last bit.
"""

import json
from functools import cache
from pathlib import Path

import gguf
import numpy as np
import pytest

from attn_cli import session, vocabulary
from attn_cli.checkpoints.dequantise import BY_NAME
from attn_cli.checkpoints.gguf import Gguf
from attn_cli.errors import ContentError
from measure import logits_of

IDS = (3, 1, 4, 1, 5, 9, 2)
LAYERS, WIDTH, HEADS, KV_HEADS, ROWS, CONTEXT, EPSILON, BASE = 2, 256, 8, 2, 19, 32, 0.5, 100.0
HEAD_WIDTH = WIDTH // HEADS
CONFIG = {
    "model_type": "llama", "hidden_size": WIDTH, "intermediate_size": WIDTH,
    "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
    "max_position_embeddings": CONTEXT, "vocab_size": ROWS, "rms_norm_eps": EPSILON,
    "rope_theta": BASE,
}  # fmt: skip
LAYER = {
    "attn_q": ("self_attn.q_proj", WIDTH),
    "attn_k": ("self_attn.k_proj", KV_HEADS * HEAD_WIDTH),
    "attn_v": ("self_attn.v_proj", KV_HEADS * HEAD_WIDTH),
    "attn_output": ("self_attn.o_proj", WIDTH),
    "ffn_gate": ("mlp.gate_proj", WIDTH),
    "ffn_up": ("mlp.up_proj", WIDTH),
    "ffn_down": ("mlp.down_proj", WIDTH),
}
NORMS = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
NAMES = {"token_embd": "embed_tokens", "output": "lm_head", "output_norm": "norm"} | {
    f"blk.{layer}.{theirs}": f"layers.{layer}.{ours}"
    for layer in range(LAYERS)
    for theirs, ours in {**{n: o for n, (o, _) in LAYER.items()}, **NORMS}.items()
}


# --- what the installed package can do -----------------------------------------------------------


def dequantised(kind, raw):
    """Rows of blocks as the package reads them; it leaves doubles to numpy."""
    if kind == "F64":
        return raw.view(np.float64).astype(np.float32)
    return gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[kind])


def quantised(kind, rows):
    if kind == "F64":
        return rows.astype(np.float64).view(np.uint8)
    return gguf.quants.quantize(rows, gguf.GGMLQuantizationType[kind]).view(np.uint8)


def possible(kind, do, argument):
    try:
        do(kind, argument)
    except (KeyError, NotImplementedError):
        return False
    return True


FLOATS = sorted(set(BY_NAME) - {"I8", "I16", "I32", "I64"})
READ = [k for k in FLOATS if possible(k, dequantised, np.zeros((1, BY_NAME[k].size), np.uint8))]
WRITTEN = [k for k in READ if possible(k, quantised, np.ones((1, 256), np.float32))]
UNKNOWN = sorted(set(FLOATS) - set(READ))


# --- a model, twice ------------------------------------------------------------------------------


def random_matrix(kind, rows, generator):
    """Rows of blocks, as bytes."""
    if kind in WRITTEN:
        return quantised(kind, generator.normal(0, 0.05, (rows, WIDTH)).astype(np.float32))
    usual = usual_blocks(kind)
    chosen = usual[generator.integers(0, len(usual), rows * WIDTH // BY_NAME[kind].block)]
    return chosen.reshape(rows, -1)


@cache
def usual_blocks(kind):
    """Random bytes that are read as numbers of a usual size."""
    size = BY_NAME[kind].size
    bytes_ = np.random.default_rng(size).integers(0, 256, (4096, size), dtype=np.uint8)
    with np.errstate(all="ignore"):
        distance = np.abs(np.log(np.abs(dequantised(kind, bytes_)).max(axis=1) / 0.1))
    return bytes_[np.argsort(distance)[:64]]  # those that hold NaN or only 0 come last


def random_model(kind):
    """Matrices as bytes and vectors in float32, by GGUF's names."""
    generator = np.random.default_rng(BY_NAME[kind].size)
    rows = {"token_embd": ROWS, "output": ROWS} | {
        f"blk.{layer}.{name}": rows for layer in range(LAYERS) for name, (_, rows) in LAYER.items()
    }
    raw = {name: random_matrix(kind, count, generator) for name, count in rows.items()}
    vectors = ["output_norm", *(f"blk.{n}.{name}" for n in range(LAYERS) for name in NORMS)]
    return raw, {name: generator.normal(1, 0.3, WIDTH).astype(np.float32) for name in vectors}


def add_keys(writer):
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_rope_freq_base(BASE)


@pytest.fixture
def as_gguf(tmp_path, write_gguf):
    def write(kind, raw, vectors):
        tensors = {f"{name}.weight": array for name, array in (raw | vectors).items()}
        kinds = {f"{name}.weight": gguf.GGMLQuantizationType[kind] for name in raw}
        return write_gguf(tmp_path / f"{kind}.gguf", "llama", add_keys, tensors, kinds)

    return write


@pytest.fixture
def as_folder(tmp_path, packed):
    def write(kind, raw, vectors):
        arrays = dict(vectors)
        for name, blocks in raw.items():
            arrays[name] = dequantised(kind, blocks)
            heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(name.rpartition(".")[2])
            if heads:  # llama.cpp has the two numbers that are turned together side by side
                pairs = arrays[name].reshape(heads, HEAD_WIDTH // 2, 2, WIDTH)
                arrays[name] = pairs.swapaxes(1, 2).reshape(arrays[name].shape)
        folder = tmp_path / kind
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(CONFIG))
        entries = {
            f"{NAMES[name]}.weight": ("F32", array.shape, array.tobytes())
            for name, array in arrays.items()
        }
        (folder / "model.safetensors").write_bytes(packed(entries))
        return str(folder)

    return write


def computed(path):
    """Every array of every layer, and the logits at every position."""
    model = session.load(path)
    found = session.trace(ids=IDS, model=model, arrays=vocabulary.ARRAYS)
    arrays = {
        f"{b.layer}.{name}": array for b in found.attention for name, array in b.arrays.items()
    }
    assert {f"{n}.{name}" for n in range(LAYERS) for name in ("x", "w_q", "output")} <= set(arrays)
    return arrays | {"logits": logits_of(model, IDS)}


def different(found, wanted):
    """The names of arrays that differ in any bit."""
    assert found.keys() == wanted.keys()
    assert all(found[name].shape == wanted[name].shape for name in found)
    return [name for name in found if found[name].tobytes() != wanted[name].tobytes()]


# --- the comparison ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", READ)
def test_a_quantised_file_computes_what_its_dequantised_numbers_compute(kind, as_gguf, as_folder):
    model = random_model(kind)
    path, folder = as_gguf(kind, *model), as_folder(kind, *model)
    assert {info.dtype for info in Gguf(Path(path)).tensors.values()} == {kind, "F32"}
    found = computed(path)
    assert different(found, computed(folder)) == []
    assert np.isfinite(found["logits"]).all()
    assert found["logits"].std(axis=1).min() > 0.01  # numbers worth comparing
    assert found["0.scores"].std() > 0.001


@pytest.mark.parametrize(("kind", "scale"), [("Q4_0", 0), ("Q8_0", 0), ("Q4_K", 2), ("Q6_K", 208)])
def test_one_scale_that_was_changed_is_seen(kind, scale, as_gguf, as_folder):
    raw, vectors = random_model(kind)
    folder = as_folder(kind, raw, vectors)
    raw["blk.1.attn_v"] = raw["blk.1.attn_v"].copy()
    raw["blk.1.attn_v"][5, scale] ^= 1  # the last bit of one float16
    found = different(computed(as_gguf(kind, raw, vectors)), computed(folder))
    changed = {"1.w_v", "1.v", "1.z", "1.head_output", "1.output", "1.mlp_output", "logits"}
    assert changed == set(found)


@pytest.mark.parametrize("kind", UNKNOWN)
def test_a_type_that_the_installed_package_does_not_read_is_refused(kind, as_gguf, monkeypatch):
    """ggml's own, or newer than the package; once it reads one, the comparison above has it."""
    _, block, size = BY_NAME[kind]
    # The package still has the size that Q8_1 had long ago.
    monkeypatch.setitem(gguf.GGML_QUANT_SIZES, gguf.GGMLQuantizationType[kind], (block, size))
    raw, vectors = random_model("Q8_0")
    raw = {
        name: np.zeros((len(rows), WIDTH // block * size), np.uint8) for name, rows in raw.items()
    }
    with pytest.raises(ContentError, match=f"cannot read type {kind}"):
        computed(as_gguf(kind, raw, vectors))


def test_no_type_is_left_out():
    assert set(READ) | set(UNKNOWN) | {"I8", "I16", "I32", "I64"} == set(BY_NAME)
    assert {"Q4_0", "Q8_0", "F16", "BF16"} <= set(WRITTEN)
    assert {"Q2_K", "Q6_K", "IQ2_XXS", "IQ4_NL"} <= set(READ) - set(WRITTEN)
