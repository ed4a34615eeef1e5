"""Models with latent keys and values, or layers without attention, in GGUF files, as llama.cpp's
converter writes them."""

import re
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf_keys import add_sizes
from made_folders import document, weights_of, write_model

from attn_cli import session, vocabulary
from attn_cli.analysis.cost import cost
from attn_cli.errors import ContentError
from measure import every_array, row_error

ARCHITECTURES = {
    "deepseek-v2-a": "deepseek2", "deepseek-v2-b": "deepseek2", "deepseek-v3-a": "deepseek2",
    "minicpm3-a": "minicpm3", "lfm2-a": "lfm2", "lfm2-b": "lfm2",
}  # fmt: skip


# --- the converter -------------------------------------------------------------------------------


def add_minicpm3(writer, config):
    """The multipliers, and the width of values, are left out."""
    add_sizes(writer, config)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_q_lora_rank(config["q_lora_rank"])
    writer.add_kv_lora_rank(config["kv_lora_rank"])
    writer.add_key_length(config["qk_nope_head_dim"] + config["qk_rope_head_dim"])
    writer.add_rope_dimension_count(config["qk_rope_head_dim"])


def add_lfm2(writer, config):
    kinds = config["layer_types"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    inner = config["intermediate_size"]
    if config["block_auto_adjust_ff_dim"]:
        inner = int(config["block_ffn_dim_multiplier"] * int(2 * inner / 3))
        inner = config["block_multiple_of"] * -(-inner // config["block_multiple_of"])
    writer.add_feed_forward_length(inner)
    writer.add_head_count(config["num_attention_heads"])
    kv_heads = config["num_key_value_heads"]
    writer.add_head_count_kv([kv_heads if kind != "conv" else 0 for kind in kinds])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_shortconv_l_cache(config["conv_L_cache"])
    writer.add_layer_norm_rms_eps(config["norm_eps"])


def add_deepseek2(writer, config, *, older):
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    heads, rank = config["num_attention_heads"], config["kv_lora_rank"]
    rotated, values = config["qk_rope_head_dim"], config["v_head_dim"]
    width = config["qk_nope_head_dim"] + rotated
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads if older else 1)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_kv_lora_rank(rank)
    if config["q_lora_rank"]:
        writer.add_q_lora_rank(config["q_lora_rank"])
    writer.add_key_length(width if older else rank + rotated)
    writer.add_value_length(values if older else rank)
    if not older:
        writer.add_key_length_mla(width)
        writer.add_value_length_mla(values)
    writer.add_rope_dimension_count(rotated)
    rope = config["rope_parameters"]
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        writer.add_rope_scaling_yarn_log_mul(0.1 * rope["mscale_all_dim"])
    writer.add_vocab_size(config["vocab_size"])


def add_experts(writer, config):
    writer.add_leading_dense_block_count(config["first_k_dense_replace"])
    writer.add_expert_count(config["n_routed_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_expert_shared_count(config["n_shared_experts"])
    writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    writer.add_expert_weights_scale(config["routed_scaling_factor"])
    if config["norm_topk_prob"]:
        writer.add_expert_weights_norm(True)
    if config["model_type"] == "deepseek_v3":
        writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    writer.add_expert_group_count(config.get("n_group") or 1)
    writer.add_expert_group_used_count(config.get("topk_group") or 1)


def add_keys(writer, architecture, config, *, older):
    if architecture == "deepseek2":
        add_deepseek2(writer, config, older=older)
        add_experts(writer, config)
    else:
        {"minicpm3": add_minicpm3, "lfm2": add_lfm2}[architecture](writer, config)


def converted(tensors, config, architecture, *, older):
    """The tensors by GGUF's names, those of all experts of a layer in one."""
    number = {name: n for n, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(number, config["num_hidden_layers"])
    plain, heads = config.get("qk_nope_head_dim"), config["num_attention_heads"]
    found, experts = {}, {}
    for name, array in tensors.items():
        one = re.fullmatch(r"(.*\.experts\.)(\d+)\.(\w+\.weight)", name)
        if one:
            experts.setdefault(one[1] + one[3], {})[int(one[2])] = array
        elif name.endswith("kv_b_proj.weight") and architecture == "deepseek2" and not older:
            rows = array.reshape(heads, -1, array.shape[1])
            found[name.replace("kv_b", "k_b")] = rows[:, :plain].swapaxes(1, 2)
            found[name.replace("kv_b", "v_b")] = rows[:, plain:]
        else:
            plainly = name.replace("correction_bias", "correction.bias")
            found[plainly] = array.squeeze(1) if "conv.conv.weight" in name else array
    found |= {n: np.stack([of[e] for e in sorted(of)]) for n, of in experts.items()}
    ends = (".weight", ".bias")
    found = {names.get_name(n, try_suffixes=ends): a for n, a in found.items()}
    for length in ("short", "long") if architecture == "minicpm3" else ():
        factors = config["rope_parameters"][f"{length}_factor"]
        found[f"rope_factors_{length}.weight"] = np.array(factors, np.float32)
    return {name: np.ascontiguousarray(array) for name, array in found.items()}


@pytest.fixture
def convert(tmp_path, write_gguf):
    """Makes the GGUF file of a golden model, changed on the way, and the folder it came from."""

    def make(name, *, older=False, keys=lambda writer: None, change=lambda config: None):
        found, architecture = document(name), ARCHITECTURES[name]
        config, tensors = found["config"], weights_of(found)
        rope = config["rope_parameters"]
        if rope["rope_type"] == "yarn":  # what the converter has no key for
            rope["mscale"] = rope["mscale_all_dim"]
            rope.pop("beta_fast", None)
        if architecture == "minicpm3":
            sizes = {"scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 256, "v_head_dim": None}
            config |= sizes | {"max_position_embeddings": 12}
            rope["rope_theta"] = 10000.0
        change(config)
        folder = write_model(tmp_path / name, config, tensors)

        def add(writer):
            add_keys(writer, architecture, config, older=older)
            keys(writer)

        tensors = converted(tensors, config, architecture, older=older)
        return write_gguf(tmp_path / f"{name}.gguf", architecture, add, tensors), folder

    return make


def computed(path, ids):
    return every_array(session.trace(ids=ids, model=str(path), arrays=vocabulary.ARRAYS))


# --- the numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "older"), [
    *((name, False) for name in ARCHITECTURES), ("deepseek-v2-b", True), ("deepseek-v3-a", True),
])  # fmt: skip
def test_a_gguf_file_computes_what_the_folder_computes(convert, name, older):
    (path, folder), ids = convert(name, older=older), document(name)["ids"]
    found, wanted = computed(path, ids), computed(folder, ids)
    assert found.keys() == wanted.keys()
    most = 2e-6 if name == "minicpm3-a" else 0  # whose file has factors instead of frequencies
    for array, values in wanted.items():
        assert row_error(found[array], values) <= most, array


@pytest.mark.parametrize("older", [False, True])
def test_a_gguf_file_costs_what_the_folder_costs(convert, older):
    """Key rows and value rows in one tensor, or in two, head by head."""
    path, folder = convert("deepseek-v3-a", older=older)
    assert cost(session.load(path)) == cost(session.load(str(folder)))


# --- refused by name -----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "change", "message"), [
    ("deepseek-v3-a", {"expert_group_count": None}, "expert_group_count is missing"),
    ("deepseek-v2-a", {"expert_group_count": None}, "expert_group_count is missing"),
    ("deepseek-v2-b", {"expert_weights_norm": True}, "does not normalise"),
    ("deepseek-v2-a", {"rope.scaling.yarn_log_multiplier": None}, "yarn_log_multiplier is missing"),
    ("deepseek-v2-b", {"attention.key_length_mla": 6}, "attention.key_length_mla 6 is not above"),
    ("deepseek-v3-a", {"expert_gating_func": 3}, "expert_gating_func is 3"),
    ("deepseek-v3-a", {"expert_used_count": 7}, "expert_used_count 7 is more than"),
    ("deepseek-v3-a", {"expert_group_used_count": 5}, "expert_group_used_count 5 do not divide"),
])  # fmt: skip
def test_what_the_reference_has_no_number_for_is_refused(convert, name, change, message):
    def keys(writer):
        for key, value in change.items():
            whole = f"deepseek2.{key}"
            writer.kv_data[0].pop(whole, None)
            if value is not None:
                add = writer.add_bool if value is True else writer.add_uint32
                add(whole, value)

    path, _ = convert(name, keys=keys)
    with pytest.raises(ContentError, match=message):
        session.load(path)


@pytest.mark.parametrize("part", ["gate", "up", "down"])
def test_experts_that_are_missing_have_the_files_own_name(convert, tmp_path, part):
    path, _ = convert("deepseek-v3-a")
    data, name = Path(path).read_bytes(), f"ffn_{part}_exps.weight".encode()
    (tmp_path / "other.gguf").write_bytes(data.replace(name, name[:-1] + b"X", 1))
    with pytest.raises(ContentError, match=rf"the tensor blk\.\d+\.{name.decode()} is missing"):
        session.load(str(tmp_path / "other.gguf"))


def test_layers_whose_kv_heads_differ_are_refused(convert):
    def keys(writer):
        del writer.kv_data[0]["lfm2.attention.head_count_kv"]
        writer.add_head_count_kv([0, 2, 0, 3])

    path, _ = convert("lfm2-a", keys=keys)
    with pytest.raises(ContentError, match=r"head_count_kv is not a list of 4 numbers, all equal"):
        session.load(path)


def test_a_file_without_groups_is_read_where_the_model_has_no_latent_of_queries(convert):
    """As those of DeepSeek-V2-Lite, which older converters made."""

    def keys(writer):
        for key in ("expert_group_count", "expert_group_used_count"):
            del writer.kv_data[0][f"deepseek2.{key}"]

    path, folder = convert(
        "deepseek-v2-b", keys=keys, change=lambda c: c.update(topk_method="greedy")
    )
    ids = document("deepseek-v2-b")["ids"]
    assert np.array_equal(computed(path, ids)["logits"], computed(folder, ids)["logits"])
