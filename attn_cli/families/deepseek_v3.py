"""DeepSeek-V3 and R1: DeepSeek-V2 with a router of its own. DeepSeek-AI 2024.

Each expert's score is a sigmoid; a correction is added to choose by, and left out of the shares.
"""

from dataclasses import replace

from attn_cli.families import deepseek_v2, minicpm3
from attn_cli.model import grouped
from attn_cli.model.config import ConfigReader

# What the reference's config class has where config.json leaves a key out.
_DEFAULTS = {
    "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
    "v_head_dim": 128, "first_k_dense_replace": 3, "n_routed_experts": 256, "n_shared_experts": 1,
    "moe_intermediate_size": 2048, "routed_scaling_factor": 2.5, "n_group": 8, "topk_group": 4,
    "num_experts_per_tok": 8, "num_key_value_heads": 128, "num_nextn_predict_layers": 1,
}  # fmt: skip
_ALIASES = {
    "n_routed_experts": "num_local_experts", "num_nextn_predict_layers": "num_mtp_layers",
}  # fmt: skip


def read_config(reader: ConfigReader) -> deepseek_v2.Config:
    reader = reader.with_defaults(_DEFAULTS)
    for own, other in _ALIASES.items():
        reader.take(own, other)
    reader.only("head_dim", reader.integer("qk_rope_head_dim"))
    # Where the key is missing it is true, and null is false.
    paired, normal = (
        reader.flag(key, not reader.says(key)) for key in ("rope_interleave", "norm_topk_prob")
    )
    shared = minicpm3.common(reader, paired=paired)
    mixture = grouped.read(reader, shared["layers"], limited=True, least=2)
    further = reader.integer("num_nextn_predict_layers", low=0, high=99)
    reader.finish(deepseek_v2.HARMLESS)
    mixture = mixture._replace(corrected=True, normalised=normal)
    return deepseek_v2.Config(**shared, mixture=mixture, further=further)


FAMILY = replace(deepseek_v2.FAMILY, read_config=read_config)
