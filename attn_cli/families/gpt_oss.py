"""gpt-oss: Llama with sinks, windows in every other layer, and experts of a clamped SwiGLU.

OpenAI 2025. Every row of a head's scores has one more, which is learned, belongs to no key and
takes a share of the softmax. The shares of the chosen experts are a softmax of their scores.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from attn_cli.families import gemma2, llama, llama_gguf, mixtures
from attn_cli.maths.attention import softmax
from attn_cli.maths.experts import Routing, largest, taken
from attn_cli.maths.products import clamped_swiglu
from attn_cli.model import experts
from attn_cli.model.cache import Cache, Ids, Pass
from attn_cli.model.config import ConfigReader
from attn_cli.model.family import Model
from attn_cli.model.gguf import named
from attn_cli.model.rope import Rope, read_rope, rope_of_whole_heads, rope_section, rotated
from attn_cli.model.stack import Request, Stack, causal_or_window
from attn_cli.model.tensors import Fused, Naming, Shapes, maps
from attn_cli.model.weights import linear
from attn_cli.records import Facts

# What the reference's config class has where config.json leaves a key out.
_DEFAULTS = {
    "num_hidden_layers": 36, "num_local_experts": 128, "vocab_size": 201_088, "hidden_size": 2880,
    "intermediate_size": 2880, "head_dim": 64, "num_attention_heads": 64, "num_key_value_heads": 8,
    "sliding_window": 128, "max_position_embeddings": 131_072, "rms_norm_eps": 1e-5,
    "num_experts_per_tok": 4, "attention_bias": True, "rope_theta": 150_000.0,
}  # fmt: skip
_ROPE = {
    "rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False,
    "original_max_position_embeddings": 4096,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(mixtures.Config):
    """The numbers of a gpt-oss model; `alpha` and `limit` are those of the clamped SwiGLU."""

    alpha: float
    limit: float


def read_config(reader: ConfigReader) -> Config:
    reader = reader.with_defaults(_DEFAULTS)
    reader.take("num_local_experts", "num_experts")
    shared, bias = llama.sizes(reader), reader.flag("attention_bias", True)
    config = Config(
        **shared, **mixtures.everywhere(reader, shared, "num_local_experts", (128, 4)),
        rope=_rope(reader, shared["head_width"], shared["context"]), qkv_bias=bias,
        output_bias=bias, windows=gemma2.layer_windows(reader, shared["layers"], period=2),
        alpha=reader.number("swiglu_alpha", 1.702), limit=reader.number("swiglu_limit", 7.0),
    )  # fmt: skip
    reader.finish(mixtures.HARMLESS)
    return config


def _rope(reader: ConfigReader, width: int, context: int) -> Rope:
    """One for all layers, the class's own where config.json has none."""
    if not reader.mapping("rope_scaling") and not reader.has("rope_parameters"):
        section = reader.section("rope_parameters", _ROPE)
        return rope_of_whole_heads(section, reader, reader.positive("rope_theta"), width, context)
    for kind in llama.KINDS:
        rope_section(reader).only(kind)
    return read_rope(reader, width, context)


def shapes(config: Config) -> Shapes:
    """Llama's with sinks, and in place of its network a router and experts."""
    found = {name: shape for name, shape in llama.shapes(config).items() if ".mlp." not in name}
    found |= maps({"layers.*.mlp.router": (config.experts, config.model_width)})
    found["layers.*.self_attn.sinks"] = (config.heads,)
    networks = config.expert_width, config.experts, config.sparse
    return found | experts.shapes(config.model_width, *networks, biased=True)


def naming(config: Config) -> Naming:
    """Gate and up of all experts take turns in one tensor, stored (input, output) or as blocks."""
    both, down = (f"layers.*.mlp.experts.{name}_proj" for name in ("gate_up", "down"))
    own, names = both.replace("gate_up", "{}") + ".{}", {}
    for end, part in (("", "weight"), ("_blocks", "weight"), ("_bias", "bias")):
        names[both + end] = own.format("gate", part), own.format("up", part)
        names[down + end] = (own.format("down", part),)
    fused = Fused(config.experts, names, columns=(both, down), in_turn=True)
    return llama.naming(config)._replace(fused=fused)


def describe(facts: Facts, config: Config) -> Facts:
    return replace(mixtures.describe(facts, config), sinks=True)


def forward(model: Model, ids: Ids, request: Request, cache: Cache | None = None) -> Pass:
    config, rope = model.config, model.config.rope
    stack = Stack(model, ids, request, cache, restart_beyond=rope.limit)
    x = model.weights.rows("embed_tokens.weight", stack.ids)
    angles, gating = stack.angles(rope), clamped_swiglu(config.alpha, config.limit)
    for parts in stack.layers("layers."):
        entry = llama.entering_norm(config, parts, x)
        output = yield from stack.attend(
            {**entry, **rotated(llama.project(config, parts, entry["normed"]), angles)},
            visible=causal_or_window(config.windows[stack.layer]),
            out=parts.map("self_attn.o_proj"),
            sink=parts["self_attn.sinks"],
        )
        x = x + output
        normed = llama.norm(config, parts, "post_attention_layernorm", x)
        scores, networks = linear(parts, "mlp.router", normed), experts.networks(parts)
        chosen = largest(scores, config.used)
        routing = Routing(chosen, softmax(taken(scores, chosen)))
        inner = experts.mixture(stack, normed, routing, config.experts, networks, gating)
        x = yield from stack.after(x + stack.mlp(inner))
    return stack.end(x)


# --- the same model in a GGUF file, in which gate and up stand apart -----------------------------


def say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    """As Llama's. The file does not say that YaRN's bounds are no whole numbers here."""
    llama_gguf.say(reader, values, tensors)
    values["attention_bias"] = "blk.0.attn_q.bias" in tensors
    values["intermediate_size"] = values.pop("expert_width", values["intermediate_size"])
    values["rope_scaling"]["truncate"] = False


GGUF = replace(
    mixtures.GGUF,
    keys=mixtures.GGUF.keys | {
        "expert_count": "num_local_experts", "expert_feed_forward_length": "expert_width",
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
    more=lambda config: {}, say=say,
)  # fmt: skip

FAMILY = replace(
    llama.FAMILY, read_config=read_config, shapes=shapes, naming=naming, describe=describe,
    forward=forward, gguf=GGUF,
)  # fmt: skip
