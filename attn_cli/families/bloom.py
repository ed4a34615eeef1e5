"""BLOOM: no positions but a bias on the scores (ALiBi), a normed embedding. Le Scao et al. 2022.

`query_key_value` holds a head's query, key and value rows, then the next head's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from attn_cli.maths.layers import gelu_tanh
from attn_cli.maths.masks import causal
from attn_cli.maths.positions import alibi, alibi_slopes
from attn_cli.maths.products import feed_forward
from attn_cli.model.cache import Cache, Ids, Pass
from attn_cli.model.config import ConfigReader, EqualHeads
from attn_cli.model.family import Family, Model
from attn_cli.model.gguf import HARMLESS, NEUTRAL, Gguf, fused_rows, named
from attn_cli.model.project import interleaved
from attn_cli.model.stack import Request, Stack
from attn_cli.model.tensors import MOST_LAYERS, Naming, Shapes, copies, maps, norms, output
from attn_cli.model.weights import LayerWeights, entering, layer_normed, norms_of
from attn_cli.records import Facts

# What training did, and how its machines shared the sums; `seq_length` bounds nothing.
_HARMLESS = frozenset(
    """
    attention_dropout attention_softmax_in_fp32 bias_dropout_fusion hidden_dropout
    initializer_range masked_softmax_fusion n_inner offset_alibi seq_length skip_bias_add
    skip_bias_add_qkv unk_token_id
    """.split()
)
# The reference has renamed these, the first the other way round.
_OTHER_SPELLING = {
    "hidden_size": "n_embed",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
}
_FUSED = "self_attention.query_key_value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(EqualHeads):
    """The numbers of a BLOOM model. `context` 0 is any length; `normed_residual` see `forward`."""

    epsilon: float
    normed_residual: bool
    tied: bool


def read_config(reader: ConfigReader) -> Config:
    for own, other in _OTHER_SPELLING.items():
        reader.take(own, other)
    width, heads = reader.equal_shares("hidden_size", "n_head")
    parts, exact = reader.integer("pretraining_tp", 1), reader.flag("slow_but_exact", False)
    if parts > 1 and exact:  # the reference then leaves two biases out
        raise reader.error(f"slow_but_exact with pretraining_tp {parts} is not known here")
    config = Config(
        layers=reader.integer("n_layer", high=MOST_LAYERS),
        heads=heads,
        model_width=width,
        vocabulary=reader.integer("vocab_size"),
        context=0,
        epsilon=reader.positive("layer_norm_epsilon", 1e-5),
        normed_residual=reader.flag("apply_residual_connection_post_layernorm", False),
        tied=reader.flag("tie_word_embeddings", True),
    )
    reader.finish(_HARMLESS)
    return config


def shapes(config: Config) -> Shapes:
    width = config.model_width
    found: Shapes = {"word_embeddings.weight": (config.vocabulary, width)}
    before = ("h.*.input_layernorm", "h.*.post_attention_layernorm")
    found |= norms(width, "word_embeddings_layernorm", *before, "ln_f")
    found |= maps(
        {
            f"h.*.{_FUSED}": (3 * width, width),
            "h.*.self_attention.dense": (width, width),
            "h.*.mlp.dense_h_to_4h": (4 * width, width),
            "h.*.mlp.dense_4h_to_h": (width, 4 * width),
        }
    )
    return found | output(config, width)


def naming(config: Config) -> Naming:
    return Naming(("transformer.",), copies=copies(config, "word_embeddings.weight"))


def describe(facts: Facts, config: Config) -> Facts:
    return replace(
        facts,
        embedding="normed",
        epsilon=config.epsilon,
        last_norm="ln_f",
        positions="bias",
        residual="onto_normed" if config.normed_residual else "added",
        slopes=tuple(alibi_slopes(config.heads).tolist()),
    )


def forward(model: Model, ids: Ids, request: Request, cache: Cache | None = None) -> Pass:
    """The order of operations. With `normed_residual` both parts add to the normed vectors."""
    config, weights = model.config, model.weights
    stack = Stack(model, ids, request, cache)
    token = weights.rows("word_embeddings.weight", stack.ids)
    x, first = (
        layer_normed(weights, "word_embeddings_layernorm", token, config.epsilon),
        {"token_embedding": token},
    )
    bias = partial(alibi, slopes_H=alibi_slopes(config.heads).astype(x.dtype))
    for parts in stack.layers("h."):
        entry = entering(parts, "input_layernorm", x, config.epsilon)
        normed = entry["normed"]
        output = yield from stack.attend(
            {**first, **entry, **interleaved(normed, parts.map(_FUSED), config.heads)},
            visible=causal,
            out=parts.map("self_attention.dense"),
            bias=bias,
        )
        x, first = (normed if config.normed_residual else x) + output, {}
        normed = layer_normed(parts, "post_attention_layernorm", x, config.epsilon)
        inner = stack.mlp(_mlp(parts, normed))
        if config.normed_residual:
            second = norms_of(parts, "post_attention_layernorm")
            x = yield from stack.after(normed + inner, norms=second)
        else:
            x = yield from stack.after(x + inner)
    return stack.end(x)


def final(model: Model, x: np.ndarray) -> np.ndarray:
    return layer_normed(model.weights, "ln_f", x, model.config.epsilon)


def _mlp(parts: LayerWeights, normed: np.ndarray) -> np.ndarray:
    maps = parts.map("mlp.dense_h_to_4h"), parts.map("mlp.dense_4h_to_h")
    return feed_forward(normed, *maps, gelu_tanh)


# --- the same model in a GGUF file, whose fused rows are all queries, keys, values ---------------


def _say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    width, heads = reader.integer("hidden_size"), reader.integer("n_head")
    for key, own in (("n_inner", 4 * width), ("kv_heads", heads)):
        if values.pop(key, own) != own:
            raise reader.error(
                f"{reader.named(key)} is not {own}, as in every model of this family"
            )


_GGUF = Gguf(
    keys={
        "block_count": "n_layer",
        "embedding_length": "hidden_size",
        "feed_forward_length": "n_inner",
        "attention.head_count": "n_head",
        "attention.head_count_kv": "kv_heads",
        "attention.layer_norm_epsilon": "layer_norm_epsilon",
    },
    # The context is that of training: ALiBi has no last position.
    harmless=HARMLESS | {"context_length"},
    neutral=NEUTRAL | {"attention.max_alibi_bias": (8,)},
    tensors=named(
        {
            "word_embeddings": "token_embd",
            "lm_head": "output",
            "word_embeddings_layernorm": "token_embd_norm",
            "ln_f": "output_norm",
            "h.*.input_layernorm": "blk.*.attn_norm",
            "h.*.post_attention_layernorm": "blk.*.ffn_norm",
            f"h.*.{_FUSED}": "blk.*.attn_qkv",
            "h.*.self_attention.dense": "blk.*.attn_output",
            "h.*.mlp.dense_h_to_4h": "blk.*.ffn_up",
            "h.*.mlp.dense_4h_to_h": "blk.*.ffn_down",
        }
    ),
    say=_say,
    arrange=lambda config: fused_rows(f"h.*.{_FUSED}", config.heads),
)

FAMILY = Family(
    read_config, shapes, naming, describe, forward, final, "word_embeddings.weight", _GGUF
)
