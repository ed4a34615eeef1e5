"""Models with latent keys and values in GGUF files, as llama.cpp's converter writes them."""

import json
import re
from pathlib import Path

import gguf
import numpy as np
import pytest
from golden.made_weights import made

from attn_cli import session, vocabulary
from attn_cli.checkpoints.safetensors import encode
from attn_cli.errors import ContentError

TYPES = Path(__file__).parents[1] / "golden" / "types"
ARCHITECTURES = {
    "deepseek-v2-a": "deepseek2", "deepseek-v2-b": "deepseek2", "deepseek-v3-a": "deepseek2",
}  # fmt: skip


def document(name):
    return json.loads((TYPES / f"{name}.json").read_text())


# --- the converter -------------------------------------------------------------------------------


def add_keys(writer, config, *, older):
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


def converted(tensors, config, architecture, *, older):
    """The tensors by GGUF's names, those of all experts of a layer in one."""
    number = {name: n for n, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(number, config["num_hidden_layers"])
    plain, heads = config["qk_nope_head_dim"], config["num_attention_heads"]
    found, experts = {}, {}
    for name, array in tensors.items():
        one = re.fullmatch(r"(.*\.experts\.)(\d+)\.(\w+\.weight)", name)
        if one:
            experts.setdefault(one[1] + one[3], {})[int(one[2])] = array
        elif name.endswith("kv_b_proj.weight") and not older:
            rows = array.reshape(heads, -1, array.shape[1])
            found[name.replace("kv_b", "k_b")] = rows[:, :plain].swapaxes(1, 2)
            found[name.replace("kv_b", "v_b")] = rows[:, plain:]
        else:
            found[name.replace("correction_bias", "correction.bias")] = array
    found |= {n: np.stack([of[e] for e in sorted(of)]) for n, of in experts.items()}
    ends = (".weight", ".bias")
    return {names.get_name(n, try_suffixes=ends): np.ascontiguousarray(a) for n, a in found.items()}


@pytest.fixture
def convert(tmp_path, write_gguf):
    """Makes the GGUF file of a golden model, changed on the way, and the folder it came from."""

    def make(name, *, older=False, keys=lambda writer: None, change=lambda config: None):
        found, architecture = document(name), ARCHITECTURES[name]
        config, tensors = found["config"], made(found["tensors"], found["seed"])
        rope = config["rope_parameters"]
        if rope["rope_type"] == "yarn":  # what the converter has no key for
            rope["mscale"] = rope["mscale_all_dim"]
            rope.pop("beta_fast", None)
        change(config)
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "model.safetensors").write_bytes(encode(tensors, {"format": "pt"}))

        def add(writer):
            add_keys(writer, config, older=older)
            add_experts(writer, config)
            keys(writer)

        tensors = converted(tensors, config, architecture, older=older)
        return write_gguf(tmp_path / f"{name}.gguf", architecture, add, tensors), folder

    return make


def computed(path, ids):
    trace = session.trace(ids=ids, model=str(path), arrays=vocabulary.ARRAYS)
    arrays = {f"{b.layer}.{name}": a for b in trace.attention for name, a in b.arrays.items()}
    return arrays | {"logits": trace.logits}


# --- the numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_gguf_file_computes_what_the_folder_computes_to_the_bit(convert, name, older):
    (path, folder), ids = convert(name, older=older), document(name)["ids"]
    found, wanted = computed(path, ids), computed(folder, ids)
    assert found.keys() == wanted.keys()
    for array, values in wanted.items():
        assert np.array_equal(found[array], values), array
