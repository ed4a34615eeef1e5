"""DeepSeek-V2: latent keys and values, and a mixture of experts. DeepSeek-AI 2024.

The first layers are dense. In the others every token passes the shared experts, which are one
network, and some of the routed ones, which may have to stand in a few groups.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from attn_cli.families import minicpm3
from attn_cli.families.llama import gated_mlp
from attn_cli.families.minicpm3 import latents
from attn_cli.families.mixtures import HARMLESS
from attn_cli.maths.attention import softmax
from attn_cli.maths.experts import Routing, in_groups, largest, taken
from attn_cli.maths.products import gated_by, gated_feed_forward
from attn_cli.model import experts
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.config import ConfigReader
from attn_cli.model.stack import Stack
from attn_cli.model.tensors import Naming, Shapes
from attn_cli.model.weights import LayerWeights, linear
from attn_cli.records import Facts

# What the reference's config class has where config.json leaves a key out.
_DEFAULTS = {
    "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
    "v_head_dim": 128, "first_k_dense_replace": 0, "n_routed_experts": 64, "n_shared_experts": 2,
    "moe_intermediate_size": 1407, "routed_scaling_factor": 1.0, "topk_method": "greedy",
}  # fmt: skip
# The reference does not read the first of these here.
_HARMLESS = minicpm3.HARMLESS | HARMLESS | {"norm_topk_prob"}
_SHARED, _GATED = "mlp.shared_experts.", ("gate_proj", "up_proj", "down_proj")


class Mixture(NamedTuple):
    """The layers from the `first` on: of `count` experts, `inner` wide, each token has `used`.

    These stand in the `kept` best of the `groups`; the share of each is multiplied by `factor`.
    The shared experts are together `shared` wide.
    """

    first: int
    count: int
    used: int
    inner: int
    shared: int
    factor: float
    groups: int = 1
    kept: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(minicpm3.Config):
    """The numbers of a DeepSeek model. `normalised`: the shares of a token's experts sum to 1."""

    mixture: Mixture
    normalised: bool = False


def read_config(reader: ConfigReader) -> Config:
    reader = reader.with_defaults(_DEFAULTS)
    shared, bias = latents(reader), reader.flag("mlp_bias", False)
    reader.take("n_routed_experts", "num_experts")
    grouped = reader.choice("topk_method", ("greedy", "group_limited_greedy")) != "greedy"
    config = Config(
        **shared | {"rope": replace(shared["rope"], interleaved=True)},
        mlp_bias=bias,
        mixture=read_mixture(reader, shared["layers"], grouped=grouped),
    )
    reader.finish(_HARMLESS)
    return config


def read_mixture(reader: ConfigReader, layers: int, *, grouped: bool, least: int = 1) -> Mixture:
    """The mixture of so many layers; `grouped`: the experts stand in groups of `least` or more."""
    first = min(layers, reader.integer("first_k_dense_replace", low=0))
    inner = reader.integer("moe_intermediate_size")
    if first == layers:
        return Mixture(first, 0, 0, inner, inner, 1.0)
    keys = "n_routed_experts", "num_experts_per_tok"
    count, used = experts.counts(reader, *keys, (None, None), layers)
    groups, kept = (reader.integer(key) for key in ("n_group", "topk_group")) if grouped else (1, 1)
    names = {key: reader.named(key) for key in ("n_routed_experts", "n_group", "topk_group")}
    every, many, few = names.values()
    if count % groups or count // groups < least or kept > groups:
        raise reader.error(f"{every} {count}, {many} {groups} and {few} {kept} do not divide")
    if used > count // groups * kept:
        of = f"{kept} of {groups} groups of {every} {count}" if grouped else f"{every} {count}"
        raise reader.error(f"{reader.named('num_experts_per_tok')} {used} is more than {of} have")
    return Mixture(
        first, count, used, inner, inner * reader.integer("n_shared_experts"),
        reader.positive("routed_scaling_factor"), groups, kept,
    )  # fmt: skip


def shapes(config: Config) -> Shapes:
    """The name and shape of every tensor; those of feed-forward networks differ by layer."""
    of, width = config.mixture, config.model_width
    found: Shapes = {}
    for name, shape in minicpm3.shapes(config).items():
        if ".mlp." not in name:
            found[name] = shape
        else:
            found |= {name.replace("*", str(layer)): shape for layer in range(of.first)}
    later = range(of.first, config.layers)
    for layer in later:
        at = f"layers.{layer}."
        found |= experts.gated_shapes(f"{at}{_SHARED}", width, of.shared, biased=config.mlp_bias)
        found[f"{at}mlp.gate.weight"] = (of.count, width)
    return found | experts.shapes(width, of.inner, of.count, later)


def naming(config: Config) -> Naming:
    """As Llama's; the routed experts may stand one by one, or all in one tensor."""
    both, down = (f"layers.*.mlp.experts.{name}_proj" for name in ("gate_up", "down"))
    fused = experts.in_one(config.mixture.count, both, down)
    return minicpm3.FAMILY.naming(config)._replace(fused=fused)


def describe(facts: Facts, config: Config) -> Facts:
    return replace(
        minicpm3.describe(facts, config), experts=(config.mixture.count, config.mixture.used)
    )


Route = Callable[[Config, LayerWeights, np.ndarray], Routing]


def route(config: Config, parts: LayerWeights, normed: np.ndarray) -> Routing:
    """The largest shares of all experts, times a factor."""
    of, scores = config.mixture, softmax(linear(parts, "mlp.gate", normed))
    scores = in_groups(scores, of.groups, of.kept, best=1, elsewhere=0.0)
    chosen = largest(scores, of.used)
    return Routing(chosen, taken(scores, chosen) * scores.dtype.type(of.factor))


def mlp(
    stack: Stack, config: Config, parts: LayerWeights, normed: np.ndarray, *, routing: Route = route
) -> np.ndarray:
    """What the feed-forward networks of a layer give."""
    if stack.layer < config.mixture.first:
        return gated_mlp(config, parts, normed)
    activation, chosen = ACTIVATIONS[config.activation], routing(config, parts, normed)
    gating, networks = gated_by(activation), experts.networks(parts)
    found = experts.mixture(stack, normed, chosen, config.mixture.count, networks, gating)
    shared = (parts.map(f"{_SHARED}{name}") for name in _GATED)
    return found + gated_feed_forward(normed, *shared, activation)


FAMILY = replace(
    minicpm3.FAMILY,
    read_config=read_config,
    shapes=shapes,
    naming=naming,
    describe=describe,
    forward=partial(minicpm3.forward, mlp=mlp),
)
