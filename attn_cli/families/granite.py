"""Granite: Llama with four multipliers. IBM Research 2024.

They act on the embedding, on the dot products (as their scale), on what attention and the
feed-forward network add to the stream, and on the logits.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attn_cli.families import llama, llama_gguf
from attn_cli.families.llama import entering_norm, fed, norm, turned
from attn_cli.model.cache import Cache, Ids, Pass
from attn_cli.model.config import ConfigReader
from attn_cli.model.family import Model
from attn_cli.model.project import Arrays
from attn_cli.model.rope import Angles
from attn_cli.model.stack import Request, Stack, causal_or_window
from attn_cli.model.weights import LayerWeights
from attn_cli.records import Facts

# The multipliers by the keys of config.json and by those of GGUF.
_MULTIPLIERS = {
    "embedding_multiplier": "embedding_scale",
    "attention_multiplier": "attention.scale",
    "residual_multiplier": "residual_scale",
    "logits_scaling": "logit_scale",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(llama.Config):
    """The numbers of a Granite model. `embedding` and `residual` multiply, `scale` is the block's
    (0: 1 / √head_width), and logits are divided by `divisor`."""

    embedding: float = 1.0
    residual: float = 1.0
    scale: float = 0.0
    divisor: float = 1.0


def read_config(reader: ConfigReader) -> Config:
    config = Config(**llama.plain(reader), **multipliers(reader))
    reader.finish(llama.HARMLESS)
    return config


def multipliers(reader: ConfigReader) -> dict[str, float]:
    """The fields that Granite's types have beside those of their kind."""
    numbers = (reader.positive(key, 1.0) for key in _MULTIPLIERS)
    return dict(zip(("embedding", "scale", "residual", "divisor"), numbers, strict=True))


def describe(facts: Facts, config: Config) -> Facts:
    return multiplied(llama.describe(facts, config), config)


def multiplied(facts: Facts, config: Config) -> Facts:
    """What the multipliers change of a description."""
    return replace(
        facts,
        embedding="token" if config.embedding == 1 else "scaled",
        embedding_factor=config.embedding,
        residual_factor=config.residual,
        logit_scale=1 / config.divisor,
    )


def forward(
    model: Model,
    ids: Ids,
    request: Request,
    cache: Cache | None = None,
    *,
    turned: Callable[[Any, Stack, LayerWeights, np.ndarray, Angles], Arrays] = turned,
    fed: Callable[[Any, Stack, LayerWeights, np.ndarray], np.ndarray] = fed,
) -> Pass:
    """Llama's order with the multipliers; `turned` and `fed` as there."""
    config, rope = model.config, model.config.rope
    stack = Stack(model, ids, request, cache, restart_beyond=rope.limit)
    token = model.weights.rows("embed_tokens.weight", stack.ids)
    x, first = token * token.dtype.type(config.embedding), {"token_embedding": token}
    angles, times = stack.angles(rope), token.dtype.type(config.residual)
    for parts in stack.layers("layers."):
        entry = entering_norm(config, parts, x)
        output = yield from stack.attend(
            {**first, **entry, **turned(config, stack, parts, entry["normed"], angles)},
            visible=causal_or_window(config.windows[stack.layer]),
            out=parts.map("self_attn.o_proj"),
            scale=config.scale,
        )
        added, first = output * times, {}
        x = x + added
        normed = norm(config, parts, "post_attention_layernorm", x)
        more = stack.mlp(fed(config, stack, parts, normed)) * times
        x = yield from stack.after(x + more, added, more)
    return stack.end(x)


# --- the same model in a GGUF file ---------------------------------------------------------------


def say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    """A multiplier of 0 is none; without that of the dot products they are scaled as usual."""
    llama_gguf.say(reader, values, tensors)
    for key in _MULTIPLIERS:
        if values.get(key) == 0:
            del values[key]
    values.setdefault("attention_multiplier", values["head_dim"] ** -0.5)


GGUF = replace(
    llama_gguf.GGUF,
    keys=llama_gguf.GGUF.keys | {own: key for key, own in _MULTIPLIERS.items()},
    # The architecture's switch for rotation.
    harmless=llama_gguf.GGUF.harmless - {"rope.scaling.finetuned"},
    neutral={**llama_gguf.GGUF.neutral, "rope.scaling.finetuned": (True,)},
    required=("logit_scale",),
    arrange=llama_gguf.unpaired_rows,
    say=say,
)
FAMILY = replace(
    llama.FAMILY, read_config=read_config, describe=describe, forward=forward, gguf=GGUF
)
