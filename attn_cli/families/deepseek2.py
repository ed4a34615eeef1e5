"""DeepSeek-V2 and V3 as GGUF files have them, under one name.

Newer files hold a head's key rows and its value rows in tensors of their own, those of keys turned
round, and say widths of the latent where older ones have those of a head.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from attn_cli.families import deepseek_v2, deepseek_v3, llama_gguf
from attn_cli.families.deepseek_v2 import Config
from attn_cli.model import experts
from attn_cli.model.config import ConfigReader
from attn_cli.model.gguf import named

_SOFTMAX, _SIGMOID = 1, 2


def read_config(reader: ConfigReader) -> Config:
    """As the one or the other, told apart by how the router's scores become shares."""
    of_v2 = reader.says("topk_method")
    return (deepseek_v2 if of_v2 else deepseek_v3).read_config(reader)


def say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    """Widths, the router and the growth of scores in config.json's way."""
    say_widths(reader, values)
    llama_gguf.say_scaling(reader, values, tensors)
    scaling = values["rope_scaling"]
    if scaling["rope_type"] == "yarn":
        # The file has a tenth of it. Where it has none, the reference's factor is not known.
        scaling["mscale"] = scaling["mscale_all_dim"] = round(10 * reader.positive("growth"), 6)
    values.pop("growth", 0)
    values.setdefault("routed_scaling_factor", 1.0)
    gating = reader.integer("gating", _SOFTMAX, low=_SOFTMAX, high=_SIGMOID)
    normal, lite = reader.flag("norm_topk_prob", False), values["q_lora_rank"] is None
    values |= {"norm_topk_prob": normal, "rope_theta": reader.positive("rope_theta", 10000.0)}
    values.pop("gating", 0)
    if gating == _SIGMOID or not lite:  # files without it are of converters that lose it
        reader.integer("n_group")
        reader.integer("topk_group")
    if gating == _SIGMOID:
        values["num_nextn_predict_layers"] = 0
        return
    if normal:
        name = reader.named("norm_topk_prob")
        raise reader.error(f"{name} with a softmax of all experts is not DeepSeek-V2's router")
    grouped = reader.integer("n_group", 1) > 1
    values["topk_method"] = "group_limited_greedy" if grouped else "greedy"


def say_widths(reader: ConfigReader, values: dict[str, Any]) -> None:
    """The widths of a head's query or key, its value, and the latents."""
    rotated = reader.integer("qk_rope_head_dim")
    whole = reader.integer("key_mla", reader.integer("key_length"))
    value = reader.integer("value_mla", reader.integer("value_length"))
    if whole <= rotated:
        name = reader.named("key_mla" if reader.has("key_mla") else "key_length")
        raise reader.error(f"{name} {whole} is not above the {rotated} dimensions that rotate")
    for key in ("key_mla", "key_length", "value_mla", "value_length"):
        values.pop(key, 0)
    # A file counts the latent as the only kv head, or every head that is made of it.
    values |= {"qk_nope_head_dim": whole - rotated, "v_head_dim": value,
               "num_key_value_heads": None, "q_lora_rank": values.get("q_lora_rank")}  # fmt: skip


def finish(config: Config, reader: ConfigReader, tensors: Mapping[str, Any]) -> Config:
    """What the file says by tensors."""
    biased = any(f"blk.0.{name}.bias" in tensors for name in ("ffn_down", "ffn_down_shexp"))
    return replace(
        config,
        latents=config.latents._replace(split="blk.0.attn_k_b.weight" in tensors),
        qkv_bias="blk.0.attn_kv_a_mqa.bias" in tensors,
        output_bias="blk.0.attn_output.bias" in tensors,
        mlp_bias=biased,
    )


LATENT_KEYS = {
    "attention.q_lora_rank": "q_lora_rank",
    "attention.kv_lora_rank": "kv_lora_rank",
    "attention.key_length": "key_length",
    "attention.value_length": "value_length",
    "attention.key_length_mla": "key_mla",
    "attention.value_length_mla": "value_mla",
    "rope.dimension_count": "qk_rope_head_dim",
}
LATENT_TENSORS = named(
    {
        f"layers.*.self_attn.{ours}": f"blk.*.attn_{theirs}"
        for ours, theirs in {
            "q_a_proj": "q_a", "q_a_layernorm": "q_a_norm", "q_b_proj": "q_b",
            "kv_a_proj_with_mqa": "kv_a_mqa", "kv_a_layernorm": "kv_a_norm", "kv_b_proj": "kv_b",
            "k_b_proj": "k_b", "v_b_proj": "v_b",
        }.items()
    }
)  # fmt: skip
_KEYS = {
    "rope.scaling.yarn_log_multiplier": "growth",
    "leading_dense_block_count": "first_k_dense_replace",
    "expert_count": "n_routed_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_shared_count": "n_shared_experts",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_weights_scale": "routed_scaling_factor",
    "expert_weights_norm": "norm_topk_prob",
    "expert_gating_func": "gating",
    "expert_group_count": "n_group",
    "expert_group_used_count": "topk_group",
}
_NETWORKS = {
    "layers.*.mlp.gate": "blk.*.ffn_gate_inp",
    **{f"layers.*.mlp.shared_experts.{n}_proj": f"blk.*.ffn_{n}_shexp"
       for n in ("gate", "up", "down")},
}  # fmt: skip
_CORRECTION = {"layers.*.mlp.gate.e_score_correction_bias": "blk.*.exp_probs_b.bias"}
FAMILY = replace(
    deepseek_v2.FAMILY,
    read_config=read_config,
    gguf=replace(
        llama_gguf.GGUF,
        keys=llama_gguf.GGUF.keys | LATENT_KEYS | _KEYS,
        harmless=llama_gguf.GGUF.harmless - {"expert_count", "expert_used_count"},
        required=("leading_dense_block_count", "rope.dimension_count", "attention.key_length",
                  "attention.kv_lora_rank", "expert_count", "expert_used_count"),
        tensors=llama_gguf.GGUF.tensors | LATENT_TENSORS | named(_NETWORKS) | _CORRECTION,
        fused=lambda config: experts.in_gguf(config.mixture.count),
        say=say,
        finish=finish,
    ),
)  # fmt: skip
