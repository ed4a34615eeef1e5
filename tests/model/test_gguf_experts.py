"""Mixtures of experts in GGUF files, as llama.cpp's converter writes them and as it once did.

The names of tensors are the library's own; keys, order of rows and stacking are the converter's.
"""

import re

import gguf
import numpy as np
import pytest
from gguf_keys import add_sizes
from made_adapters import check_same_change
from made_folders import document, weights_of, write_model

from attn_cli import session, vocabulary
from attn_cli.errors import ContentError
from measure import every_array, row_error

ARCHITECTURES = {
    "mixtral-a": "llama", "qwen2_moe-a": "qwen2moe", "qwen3_moe-a": "qwen3moe",
    "olmoe-a": "olmoe", "granitemoe-a": "granitemoe", "phimoe-b": "phimoe",
}  # fmt: skip
# What a file of each cannot say otherwise.
SAYABLE = {"olmoe-a": {"norm_topk_prob": False}, "phimoe-b": {"hidden_act": "silu"}}
MATRICES = {"w1": "gate", "gate_proj": "gate", "w3": "up", "up_proj": "up", "w2": "down",
            "down_proj": "down"}  # fmt: skip
_EXPERT = re.compile(r"model\.layers\.(\d+)\..*\.experts\.(\d+)\.(\w+)\.weight")
IDS = (3, 1, 4, 1, 5, 9, 2, 6)
# An experts' network adds up in the same order whatever file it is from.
TOLERANCE = 2e-6


def sayable(name):
    found = document(name)
    found["config"] |= SAYABLE.get(name, {})
    return found


def add_keys(writer, config):
    """`TextModel.set_gguf_parameters`, and what the architectures add to it."""
    add_sizes(writer, config)
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_expert_count(config.get("num_experts") or config["num_local_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    if "head_dim" in config:
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
    if config.get("sliding_window"):
        writer.add_sliding_window(config["sliding_window"])
    if "moe_intermediate_size" in config:
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    if "shared_expert_intermediate_size" in config:
        writer.add_expert_shared_feed_forward_length(config["shared_expert_intermediate_size"])
    if config.get("clip_qkv"):
        writer.add_clamp_kqv(config["clip_qkv"])
    if "logits_scaling" in config:
        writer.add_attention_scale(config["attention_multiplier"])
        writer.add_embedding_scale(config["embedding_multiplier"])
        writer.add_residual_scale(config["residual_multiplier"])
        writer.add_logit_scale(config["logits_scaling"])


def permuted(rows, heads):
    pairs = rows.reshape(heads, 2, len(rows) // heads // 2, *rows.shape[1:])
    return pairs.swapaxes(1, 2).reshape(rows.shape)


def converted(config, tensors, architecture, *, apart=False):
    """The tensors by GGUF's names; experts side by side, or `apart` as in older files."""
    kind = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(kind, config["num_hidden_layers"])
    heads = {"q": config["num_attention_heads"], "k": config["num_key_value_heads"]}
    found, experts = {}, {}
    for name, array in tensors.items():
        expert = _EXPERT.fullmatch(name)
        if expert:
            layer, number, matrix = expert.groups()
            experts.setdefault((layer, MATRICES[matrix]), {})[int(number)] = array
            continue
        if name.endswith("block_sparse_moe.input_linear.weight"):
            layer = name.split(".")[2]
            for matrix, half in zip(("gate", "up"), np.split(array, 2, axis=1), strict=True):
                found[f"blk.{layer}.ffn_{matrix}_exps.weight"] = half
            continue
        letter = re.search(r"\.([qk])_proj\.", name)
        paired = letter and architecture in ("llama", "granitemoe")
        plain = names.get_name(name, try_suffixes=(".weight", ".bias"))
        found[plain] = permuted(array, heads[letter[1]]) if paired else array
    for (layer, matrix), of in experts.items():
        if apart:
            found |= {f"blk.{layer}.ffn_{matrix}.{n}.weight": array for n, array in of.items()}
        else:
            stacked = np.stack([of[n] for n in range(len(of))])
            found[f"blk.{layer}.ffn_{matrix}_exps.weight"] = stacked
    return found


@pytest.fixture
def convert(tmp_path, write_gguf):
    """Makes a golden model's GGUF file, changed on the way, and its folder."""

    def make(name, *, keys=lambda writer: None, tensors=dict, apart=False, kinds=None):
        architecture, found = ARCHITECTURES[name], sayable(name)
        weights = weights_of(found)
        folder = write_model(tmp_path / name, found["config"], weights)

        def add(writer):
            add_keys(writer, found["config"])
            keys(writer)

        theirs = tensors(converted(found["config"], weights, architecture, apart=apart))
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.gguf"
        return write_gguf(path, architecture, add, theirs, kinds), str(folder)

    return make


def computed(path):
    trace = session.trace(ids=IDS, model=path, arrays=vocabulary.ARRAYS)
    return every_array(trace), trace


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_gguf_file_computes_what_the_folder_computes(convert, name):
    path, folder = convert(name)
    (found, ours), (wanted, theirs) = computed(path), computed(folder)
    assert found.keys() == wanted.keys()
    for array, values in wanted.items():
        assert row_error(found[array], values) <= TOLERANCE, array
    for one, other in zip(ours.experts, theirs.experts, strict=True):
        assert np.array_equal(one.chosen, other.chosen)
    for fact in ("parameters", "context", "experts", "head_width"):
        assert getattr(ours.model, fact) == getattr(theirs.model, fact)


def test_a_file_whose_experts_stand_apart_is_the_same(convert):
    path, _ = convert("mixtral-a")
    wanted = computed(path)[0]
    path, _ = convert("mixtral-a", apart=True)
    found = computed(path)[0]
    assert all(np.array_equal(found[array], wanted[array]) for array in wanted)


def test_gate_and_up_may_stand_in_one(convert):
    def joined(found):
        for layer in range(2):
            both = [found.pop(f"blk.{layer}.ffn_{name}_exps.weight") for name in ("gate", "up")]
            found[f"blk.{layer}.ffn_gate_up_exps.weight"] = np.concatenate(both, axis=1)
        return found

    wanted = computed(convert("qwen3_moe-a")[0])[0]
    found = computed(convert("qwen3_moe-a", tensors=joined)[0])[0]
    assert all(np.array_equal(found[array], wanted[array]) for array in wanted)


# --- what is refused -----------------------------------------------------------------------------


def test_an_expert_that_is_missing_is_named_as_the_file_would(convert):
    def without(name):
        return lambda found: {key: array for key, array in found.items() if key != name}

    missing = "blk.1.ffn_up_exps.weight"
    with pytest.raises(ContentError, match=f"the tensor {missing} is missing"):
        session.load(convert("mixtral-a", tensors=without(missing))[0])
    missing = "blk.1.ffn_up.3.weight"
    with pytest.raises(ContentError, match=f"the tensor {missing} is missing"):
        session.load(convert("mixtral-a", tensors=without(missing), apart=True)[0])


def test_another_count_of_experts_than_the_key_says_is_refused(convert):
    def fewer(found):
        return {n: a[:4] if n.endswith("_exps.weight") else a for n, a in found.items()}

    with pytest.raises(ContentError, match=r"ffn_\w+_exps.weight is 4 × .* ask for 5 experts"):
        session.load(convert("mixtral-a", tensors=fewer)[0])


def test_more_experts_for_a_token_than_there_are_are_refused(convert):
    def keys(writer):
        writer.kv_data[0]["llama.expert_used_count"].value = 6

    with pytest.raises(
        ContentError, match=r"llama.expert_used_count 6 is more than llama.expert_c"
    ):
        session.load(convert("mixtral-a", keys=keys)[0])


def test_rotation_that_a_phimoe_file_cannot_say_is_refused(convert):
    def longer(found):
        return found | {"rope_factors_short.weight": np.ones(3, np.float32)}

    with pytest.raises(ContentError, match=r"rope_factors_short.weight scales the rotation"):
        session.load(convert("phimoe-b", tensors=longer)[0])


def test_another_way_to_score_is_refused(convert):
    def keys(writer):
        writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)

    with pytest.raises(ContentError, match="expert_gating_func is 2"):
        session.load(convert("qwen3_moe-a", keys=keys)[0])


@pytest.mark.parametrize("name", ["mixtral-a"])
def test_an_adapter_does_to_a_file_what_it_does_to_the_folder(convert, tmp_path, name):
    """Also where rows stand otherwise, and where norms are stored otherwise."""
    check_same_change(tmp_path / "adapter", *convert(name))
