"""LFM2: short convolutions, and attention in some layers. Liquid AI 2025.

Which layers have what is said by `layer_types`, or by the indices of those with attention.
"""

from dataclasses import dataclass, replace
from functools import partial

from attn_cli.families import lfm2_gguf, llama
from attn_cli.families.llama import entering_norm, gated_mlp, norm, project
from attn_cli.maths.masks import causal
from attn_cli.model import mixers
from attn_cli.model.cache import Cache, Ids, Pass
from attn_cli.model.config import ConfigReader
from attn_cli.model.family import Model
from attn_cli.model.rope import read_rope
from attn_cli.model.stack import Request, Stack
from attn_cli.model.tensors import Naming, Shapes
from attn_cli.records import Facts

# What the reference's config class has where config.json leaves a key out.
_DEFAULTS = {
    "num_attention_heads": 32, "num_key_value_heads": 8, "rope_theta": 1_000_000.0,
    "max_position_embeddings": 128_000, "tie_word_embeddings": True, "norm_eps": 1e-5,
    "conv_L_cache": 3, "block_multiple_of": 256, "block_ffn_dim_multiplier": 1.0,
}  # fmt: skip
_ATTENTION, _CONVOLUTION = "full_attention", "conv"
# The reference's names of tensors, each for Llama's.
_OF_LAYERS = {
    "operator_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "self_attn.out_proj": "self_attn.o_proj", "self_attn.q_layernorm": "self_attn.q_norm",
    "self_attn.k_layernorm": "self_attn.k_norm", "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w3": "mlp.up_proj", "feed_forward.w2": "mlp.down_proj",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(llama.Config):
    """The numbers of an LFM2 model: which layers have attention, and over how many positions a
    convolution sums. `flat`: its weights have two axes, as in GGUF files."""

    attending: tuple[bool, ...]
    taps: int
    conv_bias: bool = False
    flat: bool = False


def read_config(reader: ConfigReader) -> Config:
    reader = reader.with_defaults(_DEFAULTS)
    for own, other in (("intermediate_size", "block_ff_dim"), ("rms_norm_eps", "norm_eps"),
                       ("tie_word_embeddings", "tie_embedding")):  # fmt: skip
        reader.take(own, other)
    shared = llama.sizes(reader)
    layers = shared["layers"]
    kinds = reader.words("layer_types", (_ATTENTION, _CONVOLUTION), layers)
    listed = reader.wholes("full_attn_idxs") if reader.has("full_attn_idxs") else range(layers)
    attending = [kind == _ATTENTION for kind in kinds] or [n in listed for n in range(layers)]
    if not any(attending):
        raise reader.error("no layer has attention", "attn shows what attention computes")
    config = Config(
        **shared | {"inner_width": _inner(reader, shared["inner_width"]), "activation": "silu"},
        rope=read_rope(reader, shared["head_width"], shared["context"]),
        head_norm=True,
        windows=(0,) * layers,
        attending=tuple(attending),
        taps=reader.integer("conv_L_cache"),
        conv_bias=reader.flag("conv_bias", False),
    )
    reader.finish(llama.HARMLESS | {"full_attn_idxs"})
    return config


def _inner(reader: ConfigReader, width: int) -> int:
    """How wide the feed-forward network is, of what config.json says of it."""
    adjusted = reader.flag("block_auto_adjust_ff_dim", True)
    times, unit = reader.positive("block_ffn_dim_multiplier"), reader.integer("block_multiple_of")
    if not adjusted:
        return width
    width = int(times * int(2 * width / 3))
    return unit * -(-width // unit)


def shapes(config: Config) -> Shapes:
    """The name and shape of every tensor: Llama's, those of attention only where it stands."""
    width, found = config.model_width, {}
    of_convolution = mixers.shapes(width, config.taps, biased=config.conv_bias, flat=config.flat)
    for name, shape in (llama.shapes(config) | of_convolution).items():
        for layer, attends in enumerate(config.attending):
            if not (".conv." in name if attends else ".self_attn." in name):
                found[name.replace("*", str(layer))] = shape
    return found


def naming(config: Config) -> Naming:
    names = {"embedding_norm": "norm"} | {
        f"layers.{layer}.{theirs}": f"layers.{layer}.{own}"
        for layer in range(config.layers)
        for theirs, own in _OF_LAYERS.items()
    }
    older = {f"{theirs}.weight": f"{own}.weight" for theirs, own in names.items()}
    return llama.naming(config)._replace(older=older)


def describe(facts: Facts, config: Config) -> Facts:
    others = tuple("" if attends else "convolution" for attends in config.attending)
    return replace(llama.describe(facts, config), mixers=() if all(config.attending) else others)


def forward(model: Model, ids: Ids, request: Request, cache: Cache | None = None) -> Pass:
    config, rope = model.config, model.config.rope
    stack = Stack(model, ids, request, cache, restart_beyond=rope.limit)
    x = model.weights.rows("embed_tokens.weight", stack.ids)
    angles = stack.angles(rope)
    for parts in stack.layers("layers."):
        entry = entering_norm(config, parts, x)
        if config.attending[stack.layer]:
            output = yield from stack.attend(
                {**entry, **stack.rotated(project(config, parts, entry["normed"]), angles)},
                visible=causal,
                out=parts.map("self_attn.o_proj"),
            )
        else:
            output = stack.mixed(x, partial(mixers.short_convolution, parts, entry["normed"]))
        x = x + output
        normed = norm(config, parts, "post_attention_layernorm", x)
        x = yield from stack.after(x + stack.mlp(gated_mlp(config, parts, normed)))
    return stack.end(x)


FAMILY = replace(
    llama.FAMILY, read_config=read_config, shapes=shapes, naming=naming, describe=describe,
    forward=forward, gguf=lfm2_gguf.GGUF,
)  # fmt: skip
