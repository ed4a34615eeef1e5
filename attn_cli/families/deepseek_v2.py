"""DeepSeek-V2: latent keys and values, and a mixture of experts. DeepSeek-AI 2024."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from attn_cli.families import minicpm3, mixtures
from attn_cli.families.llama import gated_mlp
from attn_cli.maths.products import gated_by, gated_feed_forward
from attn_cli.model import experts, grouped
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.config import ConfigReader
from attn_cli.model.stack import Stack
from attn_cli.model.tensors import Naming, Shapes
from attn_cli.model.weights import LayerWeights
from attn_cli.records import Facts

# What the reference's config class has where config.json leaves a key out.
_DEFAULTS = {
    "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
    "v_head_dim": 128, "first_k_dense_replace": 0, "n_routed_experts": 64, "n_shared_experts": 2,
    "moe_intermediate_size": 1407, "routed_scaling_factor": 1.0, "topk_method": "greedy",
}  # fmt: skip
# The first is not read here, the others not where there is no mixture, or no groups in it.
HARMLESS = minicpm3.HARMLESS | mixtures.HARMLESS | frozenset("""norm_topk_prob n_group topk_group
    n_routed_experts n_shared_experts num_experts_per_tok moe_intermediate_size
    routed_scaling_factor topk_method""".split())  # fmt: skip
_SHARED = "mlp.shared_experts."


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(minicpm3.Config):
    """`further` layers in its files would predict later tokens; they take no part here."""

    mixture: grouped.Mixture
    further: int = 0


def read_config(reader: ConfigReader) -> Config:
    reader = reader.with_defaults(_DEFAULTS)
    shared, bias = minicpm3.common(reader), reader.flag("mlp_bias", False)
    reader.take("n_routed_experts", "num_experts")
    limited = reader.choice("topk_method", ("greedy", "group_limited_greedy")) != "greedy"
    mixture = grouped.read(reader, shared["layers"], limited=limited)
    rope = replace(shared.pop("rope"), interleaved=True)
    reader.finish(HARMLESS)
    return Config(**shared, rope=rope, mlp_bias=bias, mixture=mixture)


def shapes(config: Config) -> Shapes:
    """The name and shape of every tensor; those of feed-forward networks differ by layer."""
    of, width, found = config.mixture, config.model_width, minicpm3.shapes(config)
    for name in [name for name in found if ".mlp." in name]:
        shape = found.pop(name)
        found |= {name.replace("*", str(layer)): shape for layer in range(of.first)}
    later = range(of.first, config.layers)
    for at in (f"layers.{layer}." for layer in later):
        found |= experts.gated_shapes(f"{at}{_SHARED}", width, of.shared, biased=config.mlp_bias)
        found[f"{at}mlp.gate.weight"] = (of.count, width)
        found |= {f"{at}{grouped.CORRECTION}": (of.count,)} if of.corrected else {}
    return found | experts.shapes(width, of.inner, of.count, later)


def naming(config: Config) -> Naming:
    """As Llama's, the experts one by one or all in one tensor; further layers are left out."""
    both, down = (f"layers.*.mlp.experts.{name}_proj" for name in ("gate_up", "down"))
    further = (f"*layers.{config.layers + n}.*" for n in range(config.further))
    plain, fused = minicpm3.FAMILY.naming(config), config.mixture.count
    return plain._replace(
        left_out=(*plain.left_out, *further), fused=experts.in_one(fused, both, down)
    )


def describe(facts: Facts, config: Config) -> Facts:
    of = config.mixture
    return replace(
        minicpm3.describe(facts, config),
        experts=(of.count, of.used, 1) if of.count else (),
        expert_groups=(of.kept, of.groups) if of.groups > of.kept else (),
        corrected=of.corrected,
    )


def fed(config: Config, stack: Stack, parts: LayerWeights, normed: np.ndarray) -> np.ndarray:
    """What the feed-forward networks of a layer give."""
    of, activation = config.mixture, ACTIVATIONS[config.activation]
    if stack.layer < of.first:
        return gated_mlp(config, parts, normed)
    routing, networks = grouped.route(of, parts, normed), experts.networks(parts)
    found = experts.mixture(stack, normed, routing, of.count, networks, gated_by(activation))
    shared = (parts.map(f"{_SHARED}{name}_proj") for name in ("gate", "up", "down"))
    return found + gated_feed_forward(normed, *shared, activation)


FAMILY = replace(
    minicpm3.FAMILY, read_config=read_config, shapes=shapes, naming=naming, describe=describe,
    forward=partial(minicpm3.FAMILY.forward, fed=fed), gguf=None,
)  # fmt: skip
