"""MiniCPM3: Llama whose keys and values come of one latent (DeepSeek-AI 2024). OpenBMB 2024.

A query may come of a latent too. `kv_a_proj_with_mqa` holds the rows of the latent, then those of
the dimensions of a key that rotate; `kv_b_proj` a head's key rows, then its value rows.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attn_cli.families import llama
from attn_cli.families.llama import entering_norm, gated_mlp, norm, sizes
from attn_cli.maths.layers import rms_norm
from attn_cli.maths.masks import causal
from attn_cli.maths.products import Map, through
from attn_cli.model import latent
from attn_cli.model.cache import Cache, Ids, Pass
from attn_cli.model.config import ConfigReader
from attn_cli.model.family import Model
from attn_cli.model.latent import Columns
from attn_cli.model.project import Arrays
from attn_cli.model.rope import Angles, read_rope, rope_section, score_growth
from attn_cli.model.stack import Request, Stack
from attn_cli.model.tensors import Shapes, maps, norms
from attn_cli.model.weights import LayerWeights, linear
from attn_cli.records import Facts

HARMLESS = llama.HARMLESS | {"pretraining_tp", "qk_head_dim"}
# What the reference's config class has where config.json leaves a key out.
_DEFAULTS = {
    "q_lora_rank": 768, "kv_lora_rank": 256, "qk_nope_head_dim": 64, "qk_rope_head_dim": 32,
    "num_attention_heads": 40, "num_key_value_heads": 40, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}  # fmt: skip
_EPSILON = 1e-6  # of the latents' norms, whatever config.json says


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(llama.Config):
    """The numbers of a model with latent keys and values; a `q_rank` of 0 is no latent of queries.

    `split`: the rows of keys and those of values are tensors of their own, as in GGUF files.
    """

    q_rank: int
    kv_rank: int
    value_width: int
    columns: Columns
    scale: float
    split: bool = False


def read_config(reader: ConfigReader) -> Config:
    reader = reader.with_defaults(_DEFAULTS)
    width, heads = reader.equal_shares("hidden_size", "num_attention_heads")
    shared = latents(reader, values=width // heads)
    config = Config(**shared, mlp_bias=reader.flag("mlp_bias", False))
    reader.finish(HARMLESS)
    return config


def latents(
    reader: ConfigReader, *, values: int | None = None, paired: bool = False
) -> dict[str, Any]:
    """The fields of `Config` that every model of this attention spells alike.

    `values` is the width of a head's values where config.json has none; `paired` as in `Columns`.
    """
    reader.take("head_dim", "qk_rope_head_dim")
    shared, plain = sizes(reader), reader.integer("qk_nope_head_dim")
    if shared["kv_heads"] != shared["heads"]:
        heads, kv_heads = map(reader.named, ("num_attention_heads", "num_key_value_heads"))
        raise reader.error(
            f"{kv_heads} {shared['kv_heads']} is not {heads} {shared['heads']}",
            "a latent gives every head a key and a value of its own",
        )
    rope, bias = read_rope(reader, shared["head_width"], shared["context"]), "attention_bias"
    width = plain + shared["head_width"]
    return {
        **shared,
        "head_width": width,
        "rope": rope,
        "qkv_bias": reader.flag(bias, False),
        "output_bias": reader.flag(bias, False),
        "windows": (0,) * shared["layers"],
        "q_rank": reader.integer("q_lora_rank") if reader.has("q_lora_rank") else 0,
        "kv_rank": reader.integer("kv_lora_rank"),
        "value_width": reader.integer("v_head_dim", values),
        "columns": Columns(plain, paired),
        "scale": width**-0.5 * score_growth(rope_section(reader)),
    }


def shapes(config: Config) -> Shapes:
    width, heads, rotated = config.model_width, config.heads, 2 * len(config.rope.frequencies)
    plain, values = config.columns.plain, config.value_width
    found = {n: s for n, s in llama.shapes(config).items() if ".self_attn." not in n}
    at = "layers.*.self_attn."
    q_rows, q_bias = heads * config.head_width, config.qkv_bias
    if config.q_rank:
        found |= maps({f"{at}q_a_proj": (config.q_rank, width)}, biased=q_bias)
        found |= norms(config.q_rank, f"{at}q_a_layernorm", biased=False)
        found |= maps({f"{at}q_b_proj": (q_rows, config.q_rank)}, biased=False)
    else:
        found |= maps({f"{at}q_proj": (q_rows, width)}, biased=False)
    kv_a = {f"{at}kv_a_proj_with_mqa": (config.kv_rank + rotated, width)}
    found |= maps(kv_a, biased=config.qkv_bias)
    found |= norms(config.kv_rank, f"{at}kv_a_layernorm", biased=False)
    if config.split:
        found[f"{at}k_b_proj.weight"] = (heads, config.kv_rank, plain)
        found[f"{at}v_b_proj.weight"] = (heads, values, config.kv_rank)
    else:
        found[f"{at}kv_b_proj.weight"] = (heads * (plain + values), config.kv_rank)
    return found | maps({f"{at}o_proj": (width, heads * values)}, biased=config.output_bias)


def describe(facts: Facts, config: Config) -> Facts:
    return replace(
        llama.describe(facts, config),
        interleaved=config.rope.interleaved,
        rotated_from=config.columns.plain,
        kv_latent=config.kv_rank,
        q_latent=config.q_rank,
        value_width=config.value_width,
    )


def forward(
    model: Model,
    ids: Ids,
    request: Request,
    cache: Cache | None = None,
    mlp: Callable[..., np.ndarray] = lambda stack, *given: gated_mlp(*given),
) -> Pass:
    """The order of a pass; `mlp` is a layer's feed-forward network, which the stack may tell of."""
    config, rope = model.config, model.config.rope
    stack = Stack(model, ids, request, cache, restart_beyond=rope.limit)
    x = model.weights.rows("embed_tokens.weight", stack.ids)
    angles = stack.angles(rope)
    for parts in stack.layers("layers."):
        entry = entering_norm(config, parts, x)
        output = yield from stack.attend(
            {**entry, **project(config, parts, entry["normed"], angles)},
            visible=causal,
            out=parts.map("self_attn.o_proj"),
            scale=config.scale,
        )
        x = x + output
        normed = norm(config, parts, "post_attention_layernorm", x)
        x = yield from stack.after(x + stack.mlp(mlp(stack, config, parts, normed)))
    return stack.end(x)


def project(config: Config, parts: LayerWeights, normed: np.ndarray, by: Angles) -> Arrays:
    """q, k and v, and the latents that they are made of."""
    heads, columns, at = config.heads, config.columns, "self_attn."
    kv_a = parts.map(f"{at}kv_a_proj_with_mqa")
    rows, last = slice(0, config.kv_rank), slice(config.kv_rank, kv_a.outputs)
    compressed, rotating = through(normed, kv_a.part(rows), kv_a.part(last))
    kv_latent = rms_norm(compressed, parts[f"{at}kv_a_layernorm.weight"], _EPSILON)
    if config.q_rank:
        q_latent = linear(parts, f"{at}q_a_proj", normed)
        q_latent = rms_norm(q_latent, parts[f"{at}q_a_layernorm.weight"], _EPSILON)
        q = latent.queries(q_latent, parts.map(f"{at}q_b_proj"), heads, columns, "w_q_latent")
        q["q_latent"] = q_latent
    else:
        q = latent.queries(normed, parts.map(f"{at}q_proj"), heads, columns, "w_q")
    kv = latent.keys_and_values(kv_latent, _kv_b(config, parts), heads, columns)
    k = latent.shared(rotating, kv_a.part(last), columns)
    return latent.turned({**q, **kv, **k}, columns, by)


def _kv_b(config: Config, parts: LayerWeights) -> Map:
    if not config.split:
        return parts.map("self_attn.kv_b_proj")
    return latent.joined(*(parts[f"self_attn.{letter}_b_proj.weight"] for letter in "kv"))


FAMILY = replace(
    llama.FAMILY, read_config=read_config, shapes=shapes, describe=describe, forward=forward,
    gguf=None,
)
