"""What mixtures of experts share whose blocks are Llama's: config, tensors, the order, GGUF.

A family's file reads its own config into `Config` and takes the rest from here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from attn_cli.families import llama, llama_gguf
from attn_cli.families.llama import gated_mlp
from attn_cli.maths.attention import softmax
from attn_cli.maths.experts import Routing, largest, normalised, taken
from attn_cli.maths.products import gated_by
from attn_cli.model import experts
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.config import ConfigReader
from attn_cli.model.gguf import named
from attn_cli.model.stack import Stack
from attn_cli.model.tensors import Naming, Shapes
from attn_cli.model.weights import LayerWeights, linear
from attn_cli.records import Facts

# What training did: a loss that spreads the tokens.
HARMLESS = llama.HARMLESS | {"output_router_logits", "router_aux_loss_coef"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(llama.Config):
    """The numbers of a mixture. The network of a `sparse` layer is of `experts` of `expert_width`.

    A token passes `used` of them. Their shares are those of a softmax over all experts,
    `normalised` to a sum of 1 or not.
    """

    experts: int
    used: int
    expert_width: int
    sparse: tuple[int, ...]
    normalised: bool = True


def everywhere(
    reader: ConfigReader, shared: Mapping[str, Any], key: str, defaults: tuple[int, int]
) -> dict[str, Any]:
    """The fields of a mixture in every layer, by the `key` of a family and its class's defaults."""
    layers, width = shared["layers"], shared["inner_width"]
    count, used = experts.counts(reader, key, "num_experts_per_tok", defaults, layers)
    return {"experts": count, "used": used, "expert_width": width, "sparse": (*range(layers),)}


def sparse(
    reader: ConfigReader, shared: Mapping[str, Any], defaults: tuple[int, int], width: int
) -> dict[str, Any]:
    """The fields of a mixture, which `decoder_sparse_step` and `mlp_only_layers` say where to find.

    `defaults` and `width`, that of an expert, are those of a sibling's class.
    """
    layers, step = shared["layers"], reader.integer("decoder_sparse_step", 1)
    alone = reader.wholes("mlp_only_layers")
    found = everywhere(reader, shared, "num_experts", defaults)
    return found | {
        "expert_width": reader.integer("moe_intermediate_size", width),
        "sparse": tuple(n for n in range(layers) if n not in alone and (n + 1) % step == 0),
        "normalised": reader.flag("norm_topk_prob", False),
    }


def shapes(config: Config) -> Shapes:
    """Llama's, and in place of its network a router and experts where the layer is sparse."""
    width = config.model_width
    found = {name: s for name, s in llama.shapes(config).items() if ".mlp." not in name}
    for layer in set(range(config.layers)).difference(config.sparse):
        found |= experts.gated_shapes(f"layers.{layer}.mlp.", width, config.inner_width)
    found |= {f"layers.{layer}.mlp.gate.weight": (config.experts, width) for layer in config.sparse}
    return found | experts.shapes(width, config.expert_width, config.experts, config.sparse)


def naming(config: Config) -> Naming:
    """Newer files have a matrix of all experts in one tensor."""
    both, down = (f"layers.*.mlp.experts.{name}_proj" for name in ("gate_up", "down"))
    return llama.naming(config)._replace(fused=experts.in_one(config.experts, both, down))


def describe(facts: Facts, config: Config) -> Facts:
    return replace(llama.describe(facts, config), experts=(config.experts, config.used, 0))


def routed(config: Config, scores: np.ndarray) -> Routing:
    """The likeliest experts by a softmax over all of them."""
    likely = softmax(scores)
    chosen = largest(likely, config.used)
    shares = taken(likely, chosen)
    return Routing(chosen, normalised(shares) if config.normalised else shares)


def fed(
    config: Config,
    stack: Stack,
    parts: LayerWeights,
    normed: np.ndarray,
    routed: Callable[[Config, np.ndarray], Routing] = routed,
) -> np.ndarray:
    """What the layer's network gives: the only one, or the experts that `routed` chooses by the
    router's scores."""
    if stack.layer not in config.sparse:
        return gated_mlp(config, parts, normed)
    routing = routed(config, linear(parts, "mlp.gate", normed))
    gating, networks = gated_by(ACTIVATIONS[config.activation]), experts.networks(parts)
    return experts.mixture(stack, normed, routing, config.experts, networks, gating)


# --- the same models in a GGUF file --------------------------------------------------------------


def say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    """As Llama's; the base of the rotation is llama.cpp's where the file has none."""
    llama_gguf.say(reader, values, tensors)
    values.setdefault("rope_theta", 10000.0)


_COUNTS = {"expert_count", "expert_used_count"}
GGUF = replace(
    llama_gguf.GGUF,
    keys=llama_gguf.GGUF.keys
    | {"expert_count": "num_experts", "expert_used_count": "num_experts_per_tok"},
    harmless=llama_gguf.GGUF.harmless - _COUNTS,
    neutral=llama_gguf.GGUF.neutral | {"expert_gating_func": (1,)},
    required=("expert_count", "expert_used_count"),
    tensors=llama_gguf.GGUF.tensors | named({"layers.*.mlp.gate": "blk.*.ffn_gate_inp"}, "weight"),
    fused=lambda config: experts.in_gguf(config.experts),
    more=lambda config: experts.apart_in_gguf(config.experts),
    say=say,
)

FAMILY = replace(
    llama.FAMILY,
    shapes=shapes,
    naming=naming,
    describe=describe,
    forward=partial(llama.forward, fed=fed),
    gguf=GGUF,
)
