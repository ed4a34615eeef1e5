"""DeepSeek-V3 and R1: DeepSeek-V2 with a router of its own. DeepSeek-AI 2024.

Each expert's score is a sigmoid; a correction is added to choose by, and left out of the shares.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from attn_cli.families import deepseek_v2, minicpm3
from attn_cli.families.deepseek_v2 import read_mixture
from attn_cli.families.mixtures import HARMLESS
from attn_cli.maths.experts import Routing, in_groups, largest, normalised, taken
from attn_cli.maths.layers import sigmoid
from attn_cli.model.config import ConfigReader
from attn_cli.model.tensors import Naming, Shapes
from attn_cli.model.weights import LayerWeights, linear

# What the reference's config class has where config.json leaves a key out.
_DEFAULTS = {
    "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
    "v_head_dim": 128, "first_k_dense_replace": 3, "n_routed_experts": 256, "n_shared_experts": 1,
    "moe_intermediate_size": 2048, "routed_scaling_factor": 2.5, "n_group": 8, "topk_group": 4,
    "num_experts_per_tok": 8, "num_key_value_heads": 128, "num_nextn_predict_layers": 1,
}  # fmt: skip
_CORRECTION = "mlp.gate.e_score_correction_bias"
_HARMLESS = minicpm3.HARMLESS | HARMLESS


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(deepseek_v2.Config):
    """The numbers of a DeepSeek-V3 model.

    Files hold `further` layers, which predict later tokens in training and take no part here.
    """

    further: int = 0


def read_config(reader: ConfigReader) -> Config:
    reader = reader.with_defaults(_DEFAULTS)
    for standard, other in (("n_routed_experts", "num_local_experts"),
                            ("num_nextn_predict_layers", "num_mtp_layers")):  # fmt: skip
        reader.take(standard, other)
    reader.only("head_dim", reader.integer("qk_rope_head_dim"))
    # Where the key is missing it is true, and null is false.
    paired, normal = (
        reader.flag(key, not reader.says(key)) for key in ("rope_interleave", "norm_topk_prob")
    )
    shared = minicpm3.latents(reader, paired=paired)
    config = Config(
        **shared,
        normalised=normal,
        mixture=read_mixture(reader, shared["layers"], grouped=True, least=2),
        further=reader.integer("num_nextn_predict_layers", low=0, high=99),
    )
    reader.finish(_HARMLESS)
    return config


def shapes(config: Config) -> Shapes:
    """The name and shape of every tensor: DeepSeek-V2's, and the corrections."""
    later = range(config.mixture.first, config.layers)
    count = config.mixture.count
    return deepseek_v2.shapes(config) | {f"layers.{n}.{_CORRECTION}": (count,) for n in later}


def naming(config: Config) -> Naming:
    """As DeepSeek-V2's, without the further layers."""
    plain = deepseek_v2.naming(config)
    further = (f"*layers.{config.layers + n}.*" for n in range(config.further))
    return plain._replace(left_out=(*plain.left_out, *further))


def route(config: Config, parts: LayerWeights, normed: np.ndarray) -> Routing:
    """The largest corrected scores of the best groups; a group is as good as its best two."""
    of, scores = config.mixture, sigmoid(linear(parts, "mlp.gate", normed))
    corrected = scores + parts[_CORRECTION]
    chosen = largest(in_groups(corrected, of.groups, of.kept, best=2, elsewhere=-np.inf), of.used)
    shares = taken(scores, chosen)
    shares = normalised(shares, 1e-20) if config.normalised else shares
    return Routing(chosen, shares * shares.dtype.type(of.factor))


FAMILY = replace(
    deepseek_v2.FAMILY,
    read_config=read_config,
    shapes=shapes,
    naming=naming,
    forward=partial(minicpm3.forward, mlp=partial(deepseek_v2.mlp, routing=route)),
)
