"""Which tensors a family takes from a file: their names, copies of others, what does not fit."""

from types import SimpleNamespace

import numpy as np
import pytest

from attn_cli import session
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.errors import ContentError
from attn_cli.model.tensors import of_layers
from measure import same_bits

WEIGHTS = "model.safetensors"
IDS = (3, 1, 4, 1, 5, 9, 2, 6)


def traced(folder):
    return session.trace(ids=IDS, model=str(folder))


def test_a_star_stands_for_the_number_of_every_layer():
    shapes = {"e.weight": (5, 3), "h.*.a.weight": (3,), "h.*.b.weight": (2, 3)}
    assert of_layers(shapes, SimpleNamespace(layers=2)) == {
        "e.weight": (5, 3), "h.0.a.weight": (3,), "h.1.a.weight": (3,), "h.0.b.weight": (2, 3),
        "h.1.b.weight": (2, 3),
    }  # fmt: skip
    assert of_layers(shapes, SimpleNamespace(layers=0)) == {"e.weight": (5, 3)}


def test_a_star_counts_the_layers_of_its_own_stack():
    shapes = {"encoder.*.a": (3,), "decoder.*.a": (2,)}
    two = SimpleNamespace(layers=1, encoder_layers=2)
    assert of_layers(shapes, two) == {
        "encoder.0.a": (3,), "encoder.1.a": (3,), "decoder.0.a": (2,),
    }  # fmt: skip
    alone = SimpleNamespace(layers=1)
    assert of_layers(shapes, alone) == {"encoder.0.a": (3,), "decoder.0.a": (2,)}


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "change"), [
    ("llama-bias", lambda n: n.removeprefix("model.")),
    ("gpt2-a", lambda n: n.removeprefix("transformer.")),
    ("gpt2-c", lambda n: f"transformer.{n}"),
    ("neox-parallel", lambda n: n.replace("embed_out", "lm_head")),
    ("neox-parallel", lambda n: n.removeprefix("gpt_neox.")),
    ("gemma3, with pictures", lambda n: f"language_model.{n}"),
    ("gemma3, with pictures", lambda n: n.replace("model.", "model.language_model.", 1)),
    ("gemma3, with pictures", lambda n: n.replace("model.", "model.text_model.", 1)),
    ("bloom", lambda n: n.removeprefix("transformer.")),
    ("opt-behind", lambda n: n.removeprefix("model.")),
    ("phi3-short", lambda n: n.removeprefix("model.")),
])  # fmt: skip
def test_names_that_published_files_have_are_the_same_tensors(golden_copy, repack, name, change):
    folder = golden_copy(name)
    before = traced(folder)
    assert any(change(tensor) != tensor for tensor in open_safetensors(folder / WEIGHTS))
    repack(folder, lambda entries: {change(tensor): entries[tensor] for tensor in entries})
    assert same_bits(before, traced(folder))


@pytest.mark.parametrize(("name", "extra"), [
    ("gpt2-a", "transformer.h.0.attn.bias"),
    ("gpt2-a", "transformer.h.1.attn.masked_bias"),
    ("llama-plain", "model.layers.0.self_attn.rotary_emb.inv_freq"),
    ("neox-parallel", "gpt_neox.layers.0.attention.bias"),
    ("neox-parallel", "gpt_neox.layers.1.attention.masked_bias"),
    ("neox-parallel", "gpt_neox.layers.1.attention.rotary_emb.inv_freq"),
    ("gemma3, with pictures", "vision_tower.vision_model.embeddings.patch_embedding.weight"),
    ("gemma3, with pictures", "multi_modal_projector.mm_soft_emb_norm.weight"),
    ("gemma3, with pictures", "model.vision_tower.vision_model.post_layernorm.bias"),
    ("gemma3, with pictures", "model.image_newline"),
])  # fmt: skip
def test_what_carries_nothing_is_left_out(golden_copy, repack, name, extra):
    folder = golden_copy(name)
    before = traced(folder)
    repack(folder, lambda entries: entries | {extra: ("U8", (3,), b"abc")})
    assert same_bits(before, traced(folder))


# --- copies ---------------------------------------------------------------------------------------


COPIES = pytest.mark.parametrize(("name", "copy", "original"), [
    ("gemma2", "lm_head.weight", "model.embed_tokens.weight"),
    ("gemma3, with pictures", "language_model.lm_head.weight", "model.embed_tokens.weight"),
    ("neox-serial", "embed_out.weight", "gpt_neox.embed_in.weight"),
    ("bloom", "lm_head.weight", "transformer.word_embeddings.weight"),
    ("opt-behind", "lm_head.weight", "model.decoder.embed_tokens.weight"),
    ("llama-plain", "lm_head.weight", "model.embed_tokens.weight"),
    ("gpt2-a", "lm_head.weight", "transformer.wte.weight"),
])  # fmt: skip


@COPIES
def test_a_copy_stands_for_what_it_repeats_where_that_is_missing(
    golden_copy, repack, name, copy, original
):
    """As in transformers 5, which makes the two one tensor, whichever of them is there."""
    folder = golden_copy(name)
    before = traced(folder)
    repack(folder, lambda entries: {copy if n == original else n: entries[n] for n in entries})
    after = traced(folder)
    assert same_bits(before, after) and before.notes == after.notes


@COPIES
def test_a_tied_output_that_stands_there_again_must_be_the_embedding(
    golden_copy, packed, name, copy, original
):
    """What differs is the output matrix, as in transformers 5, and a note says so."""
    folder = golden_copy(name)
    before, stored = traced(folder), open_safetensors(folder / WEIGHTS)
    entries = {
        tensor: ("F32", info.shape, np.array(info.read()).tobytes())
        for tensor, info in stored.items()
        if tensor != copy
    }
    kind, shape, data = entries[original]
    changed = np.frombuffer(data, np.float32).copy()
    changed[-1] += 1
    others = {data: (), changed.tobytes(): (copy,)}
    for bits, noted in others.items():
        (folder / WEIGHTS).unlink()
        (folder / WEIGHTS).write_bytes(packed(entries | {copy: (kind, shape, bits)}))
        after = traced(folder)
        moved = np.flatnonzero(after.logits[0] != before.logits[0]).tolist()
        assert moved == ([shape[0] - 1] if noted else [])
        assert [
            note.split()[0] for note in map(str, after.notes) if "tie_word_embeddings" in note
        ] == [*noted]


# --- what does not fit ----------------------------------------------------------------------------


def without(*names):
    return lambda entries: {n: e for n, e in entries.items() if n not in names}


def added(name, *shape):
    return lambda entries: entries | {name: ("F32", shape, bytes(4 * int(np.prod(shape))))}


def turned(name):
    def change(entries):
        dtype, shape, data = entries[name]
        return entries | {name: (dtype, shape[::-1], data)}

    return change


def again(name, of):
    return lambda entries: entries | {name: entries[of]}


BIAS, UP = "transformer.h.1.ln_2.bias", "model.layers.1.mlp.up_proj.weight"
WIDE = "transformer.h.0.mlp.c_fc.weight"
Q = "model.layers.0.self_attn.q_proj"
GPT2 = [
    (without(BIAS), (BIAS, "missing")),
    (without(BIAS, "transformer.ln_f.bias"), (f"{BIAS} and 1 more", "missing")),
    (added("transformer.h.0.attn.q_norm.weight", 1), ("h.0.attn.q_norm.weight", "no place")),
    (added("transformer.h.2.ln_1.weight", 21), ("h.2.ln_1.weight", "no place")),
    (turned(WIDE), (WIDE, "31 × 21", "21 × 31")),
    (added("transformer.ln_f.weight"), ("ln_f.weight", "a single number", "ask for 21")),
    (again("wpe.weight", "transformer.wpe.weight"), ("wpe.weight", "twice")),
]
LLAMA = [
    (without(UP), (UP, "missing")),
    (without(UP, "model.norm.weight"), ("the tensor model.norm.weight and 1 more", "missing")),
    (added("model.layers.0.self_attn.q_norm.weight", 6), ("self_attn.q_norm.weight", "no place")),
    (added(f"{Q}.bias", 24), (f"{Q}.bias", "no place")),
    (added("model.layers.3.input_layernorm.weight", 16), ("layers.3.input_layernorm", "no place")),
    (turned(f"{Q}.weight"), (f"{Q}.weight", "16 × 24", "24 × 16")),
]
TENSORS = [("gpt2-a", *case) for case in GPT2] + [("llama-plain", *case) for case in LLAMA]


@pytest.mark.parametrize(("name", "change", "said"), TENSORS)
def test_tensors_that_do_not_fit_are_refused_by_name(golden_copy, repack, name, change, said):
    folder = golden_copy(name)
    repack(folder, change)
    with pytest.raises(ContentError) as refused:
        session.load(str(folder))
    assert all(part in refused.value.message for part in (str(folder), *said))
