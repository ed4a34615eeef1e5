"""GPT-NeoX and Pythia: the MLP beside the attention, a quarter of each head rotated. Black 2022.

`query_key_value` holds a head's query, key and value rows, then the next head's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attn_cli.maths.masks import causal
from attn_cli.maths.products import feed_forward
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.cache import Cache, Ids, Pass
from attn_cli.model.config import ConfigReader, EqualHeads
from attn_cli.model.family import Family, Model
from attn_cli.model.gguf import Gguf, named, reinterleaved
from attn_cli.model.project import Arrays, interleaved
from attn_cli.model.rope import Rope, rope_section, rotated, rotated_width, scaled_rope
from attn_cli.model.stack import Request, Stack
from attn_cli.model.tensors import MOST_LAYERS, OUTPUT, Naming, Shapes, copies, maps, norms, output
from attn_cli.model.weights import LayerWeights, entering, layer_normed
from attn_cli.records import Facts

_HARMLESS = frozenset(
    """
    attention_dropout attention_probs_dropout_prob classifier_dropout hidden_dropout
    hidden_dropout_prob initializer_range is_decoder
    """.split()
)
_FUSED = "attention.query_key_value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(EqualHeads):
    """The numbers of a GPT-NeoX model. `parallel`: attention and MLP both start from x."""

    inner_width: int
    epsilon: float
    activation: str
    attention_bias: bool
    parallel: bool
    tied: bool
    rope: Rope


def read_config(reader: ConfigReader) -> Config:
    width, heads = reader.equal_shares("hidden_size", "num_attention_heads")
    reader.only("head_dim", width // heads)
    context = reader.integer("max_position_embeddings")
    section = rope_section(reader)
    rotating = rotated_width(section, reader, "rotary_pct", 0.25, width // heads)
    base = section.positive("rope_theta", reader.positive("rotary_emb_base", 10000.0))
    share = section.positive("partial_rotary_factor", reader.positive("rotary_pct", 0.25))
    # Files of 4.46 to 4.57 repeat both; the reference reads neither.
    for key, value in (("rope_theta", base), ("partial_rotary_factor", share)):
        if reader.positive(key, value) != value:
            raise reader.error(f"{key} is not the {value:g} that the reference uses")
    config = Config(
        layers=reader.integer("num_hidden_layers", high=MOST_LAYERS),
        heads=heads,
        model_width=width,
        inner_width=reader.integer("intermediate_size"),
        vocabulary=reader.integer("vocab_size"),
        context=context,
        epsilon=reader.positive("layer_norm_eps", 1e-5),
        activation=reader.choice("hidden_act", ACTIVATIONS, "gelu"),
        attention_bias=reader.flag("attention_bias", True),
        parallel=reader.flag("use_parallel_residual", True),
        tied=reader.flag("tie_word_embeddings", False),
        rope=scaled_rope(section, reader, base, rotating, context),
    )
    reader.finish(_HARMLESS)
    return config


def shapes(config: Config) -> Shapes:
    width, inner = config.model_width, config.inner_width
    found: Shapes = {"embed_in.weight": (config.vocabulary, width)}
    before = ("layers.*.input_layernorm", "layers.*.post_attention_layernorm")
    found |= norms(width, *before, "final_layer_norm")
    attention = {
        f"layers.*.{_FUSED}": (3 * width, width),
        "layers.*.attention.dense": (width, width),
    }
    found |= maps(attention, biased=config.attention_bias)
    found |= maps(
        {"layers.*.mlp.dense_h_to_4h": (inner, width), "layers.*.mlp.dense_4h_to_h": (width, inner)}
    )
    return found | output(config, width)


def naming(config: Config) -> Naming:
    """Stored masks and frequencies carry nothing. Published files call the output `embed_out`."""
    left_out = ("*.attention.bias", "*.attention.masked_bias", "*.rotary_emb.inv_freq")
    older = {"embed_out.weight": OUTPUT}
    return Naming(("gpt_neox.",), left_out, older, copies(config, "embed_in.weight", *older))


def describe(facts: Facts, config: Config) -> Facts:
    return replace(
        facts,
        epsilon=config.epsilon,
        last_norm="final_layer_norm",
        positions="rotary",
        parallel=config.parallel,
        rotated=2 * len(config.rope.frequencies),
        attention_factors=(config.rope.attention_factor,) * config.layers,
    )


def forward(model: Model, ids: Ids, request: Request, cache: Cache | None = None) -> Pass:
    config, rope = model.config, model.config.rope
    stack = Stack(model, ids, request, cache, restart_beyond=rope.limit)
    x = model.weights.rows("embed_in.weight", stack.ids)
    angles = stack.angles(rope)
    for parts in stack.layers("layers."):
        entry = entering(parts, "input_layernorm", x, config.epsilon)
        output = yield from stack.attend(
            {**entry, **rotated(_project(config, parts, entry["normed"]), angles)},
            visible=causal,
            out=parts.map("attention.dense"),
        )
        before, x = x, x + output
        into = before if config.parallel else x
        normed = layer_normed(parts, "post_attention_layernorm", into, config.epsilon)
        x = yield from stack.after(x + stack.mlp(_mlp(config, parts, normed)))
    return stack.end(x)


def final(model: Model, x: np.ndarray) -> np.ndarray:
    return layer_normed(model.weights, "final_layer_norm", x, model.config.epsilon)


def _project(config: Config, parts: LayerWeights, normed: np.ndarray) -> Arrays:
    return interleaved(normed, parts.map(_FUSED), config.heads)


def _mlp(config: Config, parts: LayerWeights, normed: np.ndarray) -> np.ndarray:
    maps = parts.map("mlp.dense_h_to_4h"), parts.map("mlp.dense_4h_to_h")
    return feed_forward(normed, *maps, ACTIVATIONS[config.activation])


# --- the same model in a GGUF file, whose fused rows are all queries, keys, values ---------------


def _say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    head = reader.integer("hidden_size") // reader.integer("num_attention_heads") or 1
    rotating = reader.integer("rotated", head, high=head)
    values.pop("rotated", 0)
    # A half more, since a share of the width is cut to a whole number of dimensions.
    values["rotary_pct"] = 1.0 if rotating == head else (rotating + 0.5) / head
    values["attention_bias"] = "blk.0.attn_output.bias" in tensors


_GGUF = Gguf(
    keys={
        "block_count": "num_hidden_layers",
        "context_length": "max_position_embeddings",
        "embedding_length": "hidden_size",
        "feed_forward_length": "intermediate_size",
        "attention.head_count": "num_attention_heads",
        "attention.layer_norm_epsilon": "layer_norm_eps",
        "rope.dimension_count": "rotated",
        "rope.freq_base": "rotary_emb_base",
        "use_parallel_residual": "use_parallel_residual",
    },
    required=("use_parallel_residual",),
    tensors=named(
        {
            "embed_in": "token_embd",
            "lm_head": "output",
            "final_layer_norm": "output_norm",
            "layers.*.input_layernorm": "blk.*.attn_norm",
            "layers.*.post_attention_layernorm": "blk.*.ffn_norm",
            f"layers.*.{_FUSED}": "blk.*.attn_qkv",
            "layers.*.attention.dense": "blk.*.attn_output",
            "layers.*.mlp.dense_h_to_4h": "blk.*.ffn_up",
            "layers.*.mlp.dense_4h_to_h": "blk.*.ffn_down",
        }
    ),
    say=_say,
    arrange=lambda config: {
        f"layers.*.{_FUSED}.{part}": reinterleaved(config.heads) for part in ("weight", "bias")
    },
)

FAMILY = Family(read_config, shapes, naming, describe, forward, final, "embed_in.weight", _GGUF)
