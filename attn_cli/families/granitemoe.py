"""Granite as a mixture of experts, whose shares are a softmax over the chosen ones. IBM 2024."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from attn_cli.families import granite, llama, mixtures
from attn_cli.maths.attention import softmax
from attn_cli.maths.experts import Routing, largest, taken
from attn_cli.model import experts
from attn_cli.model.config import ConfigReader
from attn_cli.model.tensors import Naming
from attn_cli.records import Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(mixtures.Config):
    """The numbers of a Granite mixture; the multipliers are those of `granite.Config`."""

    embedding: float
    residual: float
    scale: float
    divisor: float


def read_config(reader: ConfigReader) -> Config:
    shared, bias = llama.common(reader), reader.flag("attention_bias", False)
    config = Config(
        **shared,
        **mixtures.everywhere(reader, shared, "num_local_experts", (8, 2)),
        **granite.multipliers(reader),
        qkv_bias=bias,
        output_bias=bias,
        windows=(0,) * shared["layers"],
    )
    reader.finish(mixtures.HARMLESS)
    return config


def naming(config: Config) -> Naming:
    """Published files have names of their own for the router and for what holds all experts."""
    own, today = "layers.*.block_sparse_moe.", "layers.*.mlp.gate.weight"
    both, down = (f"{own}{name}_linear.weight" for name in ("input", "output"))
    newer = experts.in_one(
        config.experts, f"{own}experts.gate_up_proj", f"{own}experts.down_proj"
    ).names
    routers = {
        f"{own}{name}.weight".replace("*", str(layer)): today.replace("*", str(layer))
        for name in ("router", "router.layer")
        for layer in config.sparse
    }
    fused = experts.in_one(config.experts, both, down)
    return llama.naming(config)._replace(
        older=routers, fused=fused._replace(names={**fused.names, **newer})
    )


def describe(facts: Facts, config: Config) -> Facts:
    return granite.multiplied(mixtures.describe(facts, config), config)


def routed(config: Config, scores: np.ndarray) -> Routing:
    """The experts of the highest scores, by a softmax over these alone."""
    chosen = largest(scores, config.used)
    return Routing(chosen, softmax(taken(scores, chosen)))


FAMILY = replace(
    mixtures.FAMILY,
    read_config=read_config,
    naming=naming,
    describe=describe,
    forward=partial(granite.forward, fed=partial(mixtures.fed, routed=routed)),
    gguf=replace(
        mixtures.GGUF,
        keys=mixtures.GGUF.keys | granite.GGUF.keys | {"expert_count": "num_local_experts"},
        harmless=mixtures.GGUF.harmless & granite.GGUF.harmless,
        neutral={**mixtures.GGUF.neutral, **granite.GGUF.neutral},
        required=(*mixtures.GGUF.required, *granite.GGUF.required),
        arrange=granite.GGUF.arrange,
        say=granite.say,
    ),
)
