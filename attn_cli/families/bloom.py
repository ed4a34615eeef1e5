"""BLOOM: no positions but a bias on the scores (ALiBi), a normed embedding. Le Scao et al. 2022.

`query_key_value` holds a head's query, key and value rows, then the next head's.
"""

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from attn_cli.checkpoints.gguf import Gguf
from attn_cli.errors import ContentError
from attn_cli.maths.layers import gelu_tanh, layer_norm, linear
from attn_cli.maths.positions import alibi, alibi_slopes
from attn_cli.model.cache import Cache
from attn_cli.model.config import ConfigReader, EqualHeads
from attn_cli.model.gguf import config_values, embedding_rows, reinterleaved, stored_names
from attn_cli.model.stack import Block, Final, Request, interleaved, own_mask, run_block
from attn_cli.model.weights import LayerWeights, Model, Naming, Stored, Weights
from attn_cli.records import Attention

# What training did, and how its machines shared the sums; `seq_length` bounds nothing.
_HARMLESS = frozenset(
    """
    attention_dropout attention_softmax_in_fp32 bias_dropout_fusion hidden_dropout
    initializer_range masked_softmax_fusion n_inner offset_alibi seq_length skip_bias_add
    skip_bias_add_qkv unk_token_id
    """.split()
)
_MOST_LAYERS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(EqualHeads):
    """The numbers of a BLOOM model. `context` 0 is any length; `normed_residual` see `forward`."""

    epsilon: float
    normed_residual: bool
    tied: bool


def read_config(values: Mapping[str, Any], where: str, ignored: Iterable[str] = ()) -> Config:
    """Raises ContentError for a config that cannot be honoured exactly."""
    reader = ConfigReader(values, where)
    # The reference has renamed these; where both stand, the first has the last word.
    given = values.get("n_embed") is not None
    width = reader.integer("n_embed") if given else reader.integer("hidden_size")
    heads = reader.either("n_head", "num_attention_heads")
    layers = reader.either("n_layer", "num_hidden_layers", high=_MOST_LAYERS)
    if width % heads:
        raise ContentError(f"{where}: hidden_size {width} does not divide by n_head {heads}")
    parts, exact = reader.integer("pretraining_tp", 1), reader.flag("slow_but_exact", False)
    if parts > 1 and exact:  # the reference then leaves two biases out
        raise ContentError(f"{where}: slow_but_exact with pretraining_tp {parts} is not known here")
    config = Config(
        layers=layers,
        heads=heads,
        model_width=width,
        vocabulary=reader.integer("vocab_size"),
        context=0,
        epsilon=reader.positive("layer_norm_epsilon", 1e-5),
        normed_residual=reader.flag("apply_residual_connection_post_layernorm", False),
        tied=reader.flag("tie_word_embeddings", True),
    )
    reader.finish(_HARMLESS | {"hidden_size", "n_embed"}, ignored)
    return config


def tensor_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """The name and shape of every tensor."""
    width = config.model_width
    vectors = {"word_embeddings_layernorm": width, "ln_f": width}
    matrices: dict[str, tuple[int, int]] = {}
    for layer in range(config.layers):
        h = f"h.{layer}."
        vectors |= {f"{h}input_layernorm": width, f"{h}post_attention_layernorm": width}
        matrices |= {
            f"{h}self_attention.query_key_value": (3 * width, width),
            f"{h}self_attention.dense": (width, width),
            f"{h}mlp.dense_h_to_4h": (4 * width, width),
            f"{h}mlp.dense_4h_to_h": (width, 4 * width),
        }
    shapes: dict[str, tuple[int, ...]] = {"word_embeddings.weight": (config.vocabulary, width)}
    shapes |= {f"{name}.weight": (size,) for name, size in vectors.items()}
    shapes |= {f"{name}.weight": shape for name, shape in matrices.items()}
    shapes |= {f"{name}.bias": (size,) for name, size in vectors.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in matrices.items()}
    if not config.tied:
        shapes["lm_head.weight"] = (config.vocabulary, width)
    return shapes


def naming(config: Config) -> Naming:
    """A tied output may stand there again."""
    copies = {"lm_head.weight": "word_embeddings.weight"} if config.tied else {}
    return Naming(("transformer.",), copies=copies)


def forward(
    model: Model, ids: tuple[int, ...], request: Request, cache: Cache | None = None
) -> Generator[Attention, None, Final]:
    """Yields the record of each chosen layer in turn and returns the final hidden vectors.

    With `normed_residual`, it is the normed vectors to which attention and MLP add.
    """
    config, weights = model.config, model.weights
    start = cache.length if cache else 0
    keys = start + len(ids)
    token = weights.rows("word_embeddings.weight", ids)
    x = _norm(config, weights, "word_embeddings_layernorm", token)
    before = {"token_embedding": token}
    visible = own_mask(0, len(ids), start)
    bias = alibi(alibi_slopes(config.heads).astype(x.dtype), len(ids), keys)
    touched = False
    for layer, parts in enumerate(weights.layers("h.", request.last_layer)):
        normed = _norm(config, parts, "input_layernorm", x)
        block = Block(
            layer=layer,
            arrays={**before, "x": x, "normed": normed, **_project(config, parts, normed)},
            own_visible=visible,
            w_o=parts["self_attention.dense.weight"].T,
            b_o=parts["self_attention.dense.bias"],
            bias=bias,
            embedding="normed",
            residual="onto_normed" if config.normed_residual else "added",
            touched=touched,
        )
        result = run_block(request, block, cache)
        yield from result.records
        touched = result.touched
        if layer == request.last_layer < config.layers - 1:
            return Final(hidden=x[:0], touched=touched)
        between = (normed if config.normed_residual else x) + result.output
        normed = _norm(config, parts, "post_attention_layernorm", between)
        x = (normed if config.normed_residual else between) + _mlp(parts, normed)
        before = {}
    if cache:
        cache.advance(ids)
    return Final(hidden=_norm(config, weights, "ln_f", x), touched=touched)


def predict(model: Model, hidden: np.ndarray) -> np.ndarray:
    """Logits (position, vocabulary) of final hidden vectors (position, model)."""
    output = "word_embeddings.weight" if model.config.tied else "lm_head.weight"
    return model.weights.times_rows(output, hidden)


def _norm(config: Config, parts: LayerWeights | Weights, name: str, x: np.ndarray) -> np.ndarray:
    return layer_norm(x, parts[f"{name}.weight"], parts[f"{name}.bias"], config.epsilon)


def _project(config: Config, parts: LayerWeights, normed: np.ndarray) -> dict[str, np.ndarray]:
    """q, k and v, and the parameters that made them."""
    name = "self_attention.query_key_value"
    matrix, bias = parts[f"{name}.weight"], parts[f"{name}.bias"]
    w_o = parts["self_attention.dense.weight"].T
    return {
        **interleaved(normed, matrix, bias, config.heads),
        "w_o": w_o.reshape(config.heads, -1, config.model_width),
        "b_o": parts["self_attention.dense.bias"],
    }


def _mlp(parts: LayerWeights, normed: np.ndarray) -> np.ndarray:
    name = "mlp.dense_h_to_4h"
    inner = linear(normed, parts[f"{name}.weight"].T, parts[f"{name}.bias"])
    name = "mlp.dense_4h_to_h"
    return linear(gelu_tanh(inner), parts[f"{name}.weight"].T, parts[f"{name}.bias"])


# --- the same model in a GGUF file ---------------------------------------------------------------

_GGUF_KEYS = {
    "block_count": "n_layer",
    "embedding_length": "hidden_size",
    "feed_forward_length": "n_inner",
    "attention.head_count": "n_head",
    "attention.head_count_kv": "kv_heads",
    "attention.layer_norm_epsilon": "layer_norm_epsilon",
}
# The context is that of training: ALiBi has no last position.
_GGUF_HARMLESS = frozenset({"vocab_size", "context_length"})
_GGUF_TENSORS = {
    "word_embeddings.weight": "token_embd.weight",
    "lm_head.weight": "output.weight",
} | {
    f"{ours}.{part}": f"{theirs}.{part}"
    for ours, theirs in {
        "word_embeddings_layernorm": "token_embd_norm",
        "ln_f": "output_norm",
        "h.*.input_layernorm": "blk.*.attn_norm",
        "h.*.post_attention_layernorm": "blk.*.ffn_norm",
        "h.*.self_attention.query_key_value": "blk.*.attn_qkv",
        "h.*.self_attention.dense": "blk.*.attn_output",
        "h.*.mlp.dense_h_to_4h": "blk.*.ffn_up",
        "h.*.mlp.dense_4h_to_h": "blk.*.ffn_down",
    }.items()
    for part in ("weight", "bias")
}


def open_gguf(
    found: Gguf, architecture: str, ignored: Iterable[str] = ()
) -> tuple[Config, dict[str, Stored]]:
    """The config and tensors of a GGUF file, whose fused rows are all queries, keys, values."""
    where = str(found.path)
    values = config_values(found.metadata, architecture, _GGUF_KEYS, _GGUF_HARMLESS, ignored, where)
    reader = ConfigReader(values, where)
    width, heads = reader.integer("hidden_size"), reader.integer("n_head")
    for key, own in (("n_inner", 4 * width), ("kv_heads", heads)):
        if values.pop(key, own) != own:
            raise ContentError(f"{where}: {key} is not {own}, as in every model of this family")
    values["vocab_size"] = embedding_rows(found.tensors, where)
    values["tie_word_embeddings"] = "output.weight" not in found.tensors
    config = read_config(values, where)
    arranged = {
        f"h.*.self_attention.query_key_value.{part}": reinterleaved(config.heads)
        for part in ("weight", "bias")
    }
    return config, stored_names(found.tensors, _GGUF_TENSORS, arranged, (), config.layers)
