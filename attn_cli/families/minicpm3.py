"""MiniCPM3: Llama whose keys and values come of one latent (DeepSeek-AI 2024). OpenBMB 2024.

Multipliers act on the embedding, on what is added to the stream, and on the logits.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from attn_cli.families import granite, latent_gguf, llama
from attn_cli.families.llama import sizes
from attn_cli.model import latent
from attn_cli.model.config import ConfigReader
from attn_cli.model.latent import Latents
from attn_cli.model.project import Arrays
from attn_cli.model.rope import Angles, read_rope, rope_section, score_growth
from attn_cli.model.stack import Stack
from attn_cli.model.tensors import Shapes, maps
from attn_cli.model.weights import LayerWeights
from attn_cli.records import Facts

HARMLESS = llama.HARMLESS | {"pretraining_tp", "qk_head_dim"}
# What the reference's config class has where config.json leaves a key out.
_DEFAULTS = {
    "q_lora_rank": 768, "kv_lora_rank": 256, "qk_nope_head_dim": 64, "qk_rope_head_dim": 32,
    "num_attention_heads": 40, "num_key_value_heads": 40, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True, "scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 256,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(llama.Config):
    """`scale` is the dot products'; `embedding`, `residual` and `logits` multiply what they say."""

    latents: Latents
    scale: float
    embedding: float = 1.0
    residual: float = 1.0
    logits: float = 1.0


def read_config(reader: ConfigReader) -> Config:
    reader = reader.with_defaults(_DEFAULTS)
    width, heads = reader.equal_shares("hidden_size", "num_attention_heads")
    shared = common(reader, width // heads)
    root = shared["layers"] ** 0.5
    config = Config(
        **shared,
        mlp_bias=reader.flag("mlp_bias", False),
        embedding=reader.number("scale_emb", 12),
        residual=reader.number("scale_depth", root) / root,
        logits=reader.positive("dim_model_base", width) / width,
    )
    reader.finish(HARMLESS)
    return config


def common(reader: ConfigReader, values: int | None = None, *, paired: bool = False) -> dict:
    """The fields of `Config` that all these models spell alike; `values`: how wide a head's values
    are where config.json has nothing of it; `paired` as in `Latents`."""
    reader.take("head_dim", "qk_rope_head_dim")
    shared, plain = sizes(reader), reader.integer("qk_nope_head_dim")
    heads, rotating = shared["heads"], shared["head_width"]
    if shared["kv_heads"] != heads:
        of, kv = map(reader.named, ("num_attention_heads", "num_key_value_heads"))
        raise reader.error(
            f"{kv} {shared['kv_heads']} is not {of} {heads}",
            "a latent gives every head a key and a value of its own",
        )
    width, bias = plain + rotating, reader.flag("attention_bias", False)
    return {
        **shared,
        "head_width": width,
        "rope": read_rope(reader, rotating, shared["context"]),
        "qkv_bias": bias,
        "output_bias": bias,
        "windows": (0,) * shared["layers"],
        "latents": Latents(
            heads, plain, rotating, reader.integer("v_head_dim", values),
            reader.integer("kv_lora_rank"),
            reader.integer("q_lora_rank", 0, low=0), paired,
        ),
        "scale": width**-0.5 * score_growth(rope_section(reader)),
    }  # fmt: skip


def shapes(config: Config) -> Shapes:
    """The name and shape of every tensor: Llama's but for the attention."""
    of, width = config.latents, config.model_width
    found = {n: s for n, s in llama.shapes(config).items() if ".self_attn." not in n}
    found |= latent.shapes(of, width, biased=config.qkv_bias)
    out = {"layers.*.self_attn.o_proj": (width, of.heads * of.values)}
    return found | maps(out, biased=config.output_bias)


def describe(facts: Facts, config: Config) -> Facts:
    of = config.latents
    return replace(
        llama.describe(facts, config),
        embedding="token" if config.embedding == 1 else "scaled",
        embedding_factor=config.embedding,
        residual_factor=config.residual,
        logit_scale=config.logits,
        rotated_from=of.plain,
        kv_latent=of.kv,
        q_latent=of.q,
        value_width=of.values,
    )


def _turned(
    config: Config, stack: Stack, parts: LayerWeights, normed: np.ndarray, angles: Angles
) -> Arrays:
    return latent.project(parts, config.latents, normed, angles)


# Its GGUF files leave the multipliers out, which llama.cpp has for the only model there is.
FAMILY = replace(
    llama.FAMILY, read_config=read_config, shapes=shapes, describe=describe,
    forward=partial(granite.forward, turned=_turned), gguf=latent_gguf.GGUF,
)  # fmt: skip
