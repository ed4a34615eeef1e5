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
from attn_cli.families.minicpm3 import HARMLESS, latents
from attn_cli.maths.attention import softmax
from attn_cli.maths.experts import Routing, in_groups, largest, taken
from attn_cli.maths.products import gated_by, gated_feed_forward
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.config import ConfigReader
from attn_cli.model.experts import GATED, expert_shapes, mixture, networks
from attn_cli.model.stack import Stack
from attn_cli.model.tensors import Fused, Naming, Shapes, maps
from attn_cli.model.weights import LayerWeights, linear

# What the reference's config class has where config.json leaves a key out.
_DEFAULTS = {
    "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
    "v_head_dim": 128, "first_k_dense_replace": 0, "n_routed_experts": 64, "n_shared_experts": 2,
    "moe_intermediate_size": 1407, "routed_scaling_factor": 1.0, "topk_method": "greedy",
}  # fmt: skip
# The reference does not read the first of these here.
_HARMLESS = HARMLESS | {"norm_topk_prob", "output_router_logits"}
_SHARED = "layers.*.mlp.shared_experts."


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
    inner, count = reader.integer("moe_intermediate_size"), reader.integer("n_routed_experts")
    used = reader.integer("num_experts_per_tok", 1 if first == layers else None)
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
    gated = {"gate_proj": (of.shared, width), "up_proj": (of.shared, width),
             "down_proj": (width, of.shared)}  # fmt: skip
    shared = maps({f"{_SHARED}{n}": s for n, s in gated.items()}, biased=config.mlp_bias)
    mixed = shared | {"layers.*.mlp.gate.weight": (of.count, width)}
    found: Shapes = {}
    for name, shape in minicpm3.shapes(config).items():
        if ".mlp." not in name:
            found[name] = shape
        else:
            found |= {name.replace("*", str(layer)): shape for layer in range(of.first)}
    later = range(of.first, config.layers)
    found |= {n.replace("*", str(layer)): s for n, s in mixed.items() for layer in later}
    return found | expert_shapes(width, of.inner, of.count, later)


def naming(config: Config) -> Naming:
    """As Llama's; the routed experts may stand one by one, or all in one tensor."""
    at = "layers.*.mlp.experts."
    gate, up, down = (f"{at}{name}.weight" for name in GATED)
    names = {f"{at}gate_up_proj": (gate, up), f"{at}down_proj": (down,)}
    return minicpm3.FAMILY.naming(config)._replace(fused=Fused(config.mixture.count, names))


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
    gating, count = gated_by(activation), config.mixture.count
    found = mixture(stack, normed, chosen, count, networks(parts), gating)
    shared = (parts.map(f"mlp.shared_experts.{name}") for name in GATED)
    return found + gated_feed_forward(normed, *shared, activation)


FAMILY = replace(
    minicpm3.FAMILY,
    read_config=read_config,
    shapes=shapes,
    naming=naming,
    forward=partial(minicpm3.forward, mlp=mlp),
)
