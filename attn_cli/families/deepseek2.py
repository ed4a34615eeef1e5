"""DeepSeek-V2 and V3 as GGUF files have them, under one name."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from attn_cli.families import deepseek_v2, deepseek_v3, latent_gguf
from attn_cli.families.deepseek_v2 import Config
from attn_cli.model import experts
from attn_cli.model.config import ConfigReader
from attn_cli.model.gguf import named

_SOFTMAX, _SIGMOID = 1, 2


def read_config(reader: ConfigReader) -> Config:
    """As the one or the other, told apart by how the router's scores become shares."""
    of_v2 = reader.says("topk_method")
    return (deepseek_v2 if of_v2 else deepseek_v3).read_config(reader)


def _say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    """The router and the growth of scores in config.json's way."""
    latent_gguf.say(reader, values, tensors)
    scaling = values["rope_scaling"]
    if scaling["rope_type"] == "yarn":
        # The file has a tenth of it. Where it has none, the reference's factor is not known.
        scaling["mscale"] = scaling["mscale_all_dim"] = round(10 * reader.positive("growth"), 6)
    gating = reader.integer("gating", _SOFTMAX, low=_SOFTMAX, high=_SIGMOID)
    normal, lite = reader.flag("norm_topk_prob", False), values["q_lora_rank"] is None
    values["norm_topk_prob"] = normal
    values.setdefault("routed_scaling_factor", 1.0)
    for key in ("growth", "gating"):
        values.pop(key, 0)
    if gating == _SIGMOID or not lite:  # older converters leave groups out, and only these have any
        for key in ("n_group", "topk_group"):
            reader.integer(key)
    if gating == _SIGMOID:
        values["num_nextn_predict_layers"] = 0
        return
    if normal:
        name = reader.named("norm_topk_prob")
        raise reader.error(f"{name} is true, and DeepSeek-V2 does not normalise a softmax's shares")
    grouped = reader.integer("n_group", 1) > 1
    values["topk_method"] = "group_limited_greedy" if grouped else "greedy"


def _finish(config: Config, reader: ConfigReader, tensors: Mapping[str, Any]) -> Config:
    """What the file says by tensors."""
    biased = any(f"blk.0.{name}.bias" in tensors for name in ("ffn_down", "ffn_down_shexp"))
    return replace(latent_gguf.finish(config, reader, tensors), mlp_bias=biased)


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
_NETWORKS = {"layers.*.mlp.gate": "blk.*.ffn_gate_inp"} | {
    f"layers.*.mlp.shared_experts.{name}_proj": f"blk.*.ffn_{name}_shexp"
    for name in ("gate", "up", "down")
}
_CORRECTION = {"layers.*.mlp.gate.e_score_correction_bias": "blk.*.exp_probs_b.bias"}
_FACTORS = ("rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor")  # which mean others here
_PLAIN = latent_gguf.GGUF
FAMILY = replace(
    deepseek_v2.FAMILY,
    read_config=read_config,
    gguf=replace(
        _PLAIN,
        keys={key: own for key, own in _PLAIN.keys.items() if key not in _FACTORS} | _KEYS,
        harmless=_PLAIN.harmless - {"expert_count", "expert_used_count"},
        required=(*_PLAIN.required, "leading_dense_block_count", "expert_count",
                  "expert_used_count"),
        tensors=_PLAIN.tensors | named(_NETWORKS) | _CORRECTION,
        fused=lambda config: experts.in_gguf(config.mixture.count),
        say=_say,
        finish=_finish,
    ),
)  # fmt: skip
