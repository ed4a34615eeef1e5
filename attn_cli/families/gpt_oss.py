"""gpt-oss: Llama with sinks, windows in every other layer, and experts of a clamped SwiGLU.

OpenAI 2025. Every row of a head's scores has one more, which is learned, belongs to no key and takes
a share of the softmax. A router with a bias chooses experts, whose shares are a softmax of theirs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attn_cli.families import gemma2, llama, llama_gguf, mixtures
from attn_cli.families.llama import entering_norm, norm, project
from attn_cli.maths.attention import softmax
from attn_cli.maths.experts import Routing, largest, taken
from attn_cli.maths.layers import sigmoid
from attn_cli.maths.products import Gate
from attn_cli.model import experts
from attn_cli.model.cache import Cache, Ids, Pass
from attn_cli.model.config import ConfigReader
from attn_cli.model.family import Model
from attn_cli.model.gguf import Gguf, named
from attn_cli.model.rope import read_rope, rotated
from attn_cli.model.stack import Request, Stack, causal_or_window
from attn_cli.model.tensors import Fused, Naming, Shapes, maps
from attn_cli.model.weights import linear
from attn_cli.records import Facts

# What the reference's config class has where config.json leaves a key out.
_DEFAULTS = {
    "num_hidden_layers": 36, "num_local_experts": 128, "vocab_size": 201_088, "hidden_size": 2880,
    "intermediate_size": 2880, "head_dim": 64, "num_attention_heads": 64, "num_key_value_heads": 8,
    "sliding_window": 128, "max_position_embeddings": 131_072, "rms_norm_eps": 1e-5,
    "num_experts_per_tok": 4, "swiglu_alpha": 1.702, "swiglu_limit": 7.0, "attention_bias": True,
    "rope_theta": 150_000.0,
}  # fmt: skip
_ROPE = {
    "rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False,
    "original_max_position_embeddings": 4096,
}  # fmt: skip
_PERIOD = 2  # every second layer has no window


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(mixtures.Config):
    """The numbers of a gpt-oss model; `alpha` and `limit` are those of the clamped SwiGLU."""

    alpha: float
    limit: float


def read_config(reader: ConfigReader) -> Config:
    scaled = reader.has("rope_parameters") or reader.mapping("rope_scaling")
    reader = reader.with_defaults(_DEFAULTS if scaled else {**_DEFAULTS, "rope_scaling": _ROPE})
    reader.take("num_local_experts", "num_experts")
    shared, bias = llama.sizes(reader), reader.flag("attention_bias", True)
    for key in ("rope_parameters", "rope_scaling"):
        for kind in ("full_attention", "sliding_attention"):
            reader.section(key).only(kind)
    config = Config(
        **shared,
        **mixtures.everywhere(reader, shared, "num_local_experts", (128, 4)),
        rope=read_rope(reader, shared["head_width"], shared["context"]),
        windows=gemma2.layer_windows(reader, shared["layers"], _PERIOD),
        qkv_bias=bias,
        output_bias=bias,
        alpha=reader.number("swiglu_alpha", 1.702),
        limit=reader.number("swiglu_limit", 7.0),
    )
    reader.finish(mixtures.HARMLESS)
    return config


def shapes(config: Config) -> Shapes:
    """Llama's with sinks, and in place of its network a router and experts."""
    found = {name: shape for name, shape in llama.shapes(config).items() if ".mlp." not in name}
    found |= maps({"layers.*.mlp.router": (config.experts, config.model_width)})
    found["layers.*.self_attn.sinks"] = (config.heads,)
    sizes = config.model_width, config.expert_width, config.experts, config.sparse
    return found | experts.shapes(*sizes, biased=True)


def naming(config: Config) -> Naming:
    """Gate and up of all experts take turns in one tensor, stored (input, output) or as blocks."""
    both, down = (f"layers.*.mlp.experts.{name}_proj" for name in ("gate_up", "down"))
    gate, up, narrow = (f"layers.*.mlp.experts.{name}_proj" for name in ("gate", "up", "down"))
    names = {}
    for end, part in (("", "weight"), ("_blocks", "weight"), ("_bias", "bias")):
        names[both + end] = f"{gate}.{part}", f"{up}.{part}"
        names[down + end] = (f"{narrow}.{part}",)
    fused = Fused(config.experts, names, columns=(both, down), in_turn=True)
    return llama.naming(config)._replace(fused=fused)


def describe(facts: Facts, config: Config) -> Facts:
    return replace(mixtures.describe(facts, config), sinks=True)


def forward(model: Model, ids: Ids, request: Request, cache: Cache | None = None) -> Pass:
    config, rope = model.config, model.config.rope
    stack = Stack(model, ids, request, cache, restart_beyond=rope.limit)
    x = model.weights.rows("embed_tokens.weight", stack.ids)
    angles = stack.angles(rope)
    for parts in stack.layers("layers."):
        entry = entering_norm(config, parts, x)
        output = yield from stack.attend(
            {**entry, **rotated(project(config, parts, entry["normed"]), angles)},
            visible=causal_or_window(config.windows[stack.layer]),
            out=parts.map("self_attn.o_proj"),
            sink=parts["self_attn.sinks"],
        )
        x = x + output
        normed = norm(config, parts, "post_attention_layernorm", x)
        scores = linear(parts, "mlp.router", normed)
        chosen = largest(scores, config.used)
        routing = Routing(chosen, softmax(taken(scores, chosen)))
        networks = experts.networks(parts)
        inner = experts.mixture(stack, normed, routing, config.experts, networks, _gated(config))
        x = yield from stack.after(x + stack.mlp(inner))
    return stack.end(x)


def _gated(config: Config) -> Gate:
    """gate · σ(α·gate) · (up + 1), where gate is at most the limit and |up| too."""

    def gating(gate: np.ndarray, up: np.ndarray) -> None:
        np.minimum(gate, gate.dtype.type(config.limit), out=gate)
        np.clip(up, -config.limit, config.limit, out=up)
        up += 1
        up *= sigmoid(gate * gate.dtype.type(config.alpha))
        gate *= up

    return gating


# --- the same model in a GGUF file, in which gate and up stand apart -----------------------------


def say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    """As Llama's. The file does not say that YaRN's bounds are no whole numbers here."""
    llama_gguf.say(reader, values, tensors)
    values["intermediate_size"] = values.pop("expert_width", values["intermediate_size"])
    if values["rope_scaling"]["rope_type"] == "yarn":
        values["rope_scaling"]["truncate"] = False


GGUF: Gguf = replace(
    mixtures.GGUF,
    keys=mixtures.GGUF.keys
    | {
        "expert_count": "num_local_experts",
        "expert_feed_forward_length": "expert_width",
        "attention.sliding_window": "sliding_window",
    },
    neutral=mixtures.GGUF.neutral | {"expert_gating_func": (3,)},
    required=(*mixtures.GGUF.required, "attention.sliding_window"),
    tensors={n: t for n, t in llama_gguf.GGUF.tensors.items() if ".mlp." not in n}
    | named({"layers.*.mlp.router": "blk.*.ffn_gate_inp"})
    | {
        "layers.*.post_attention_layernorm.weight": "blk.*.post_attention_norm.weight",
        "layers.*.self_attn.sinks": "blk.*.attn_sinks.weight",
    },
    fused=lambda config: experts.in_gguf(config.experts, biased=True),
    more=lambda config: {},
    say=say,
)

FAMILY = replace(
    llama.FAMILY,
    read_config=read_config,
    shapes=shapes,
    naming=naming,
    describe=describe,
    forward=forward,
    gguf=GGUF,
)
