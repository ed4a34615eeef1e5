"""GPT-NeoX and Pythia: the MLP beside the attention, a quarter of each head turned. Black 2022.

`query_key_value` holds a head's query, key and value rows, then the next head's.
"""

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from attn_cli.checkpoints.gguf import Gguf
from attn_cli.errors import ContentError
from attn_cli.maths import layers as layer_maths
from attn_cli.maths.layers import layer_norm, linear
from attn_cli.model.cache import Cache
from attn_cli.model.config import ConfigReader, EqualHeads
from attn_cli.model.gguf import config_values, embedding_rows, reinterleaved, stored_names
from attn_cli.model.rope import Rope, rope_section, rotated_width, scaled_rope
from attn_cli.model.stack import Block, Final, Request, interleaved, own_mask, run_block, turn
from attn_cli.model.weights import LayerWeights, Model, Naming, Stored
from attn_cli.records import Attention

_ACTIVATIONS = {
    "gelu": layer_maths.gelu,
    "gelu_new": layer_maths.gelu_tanh,
    "gelu_fast": layer_maths.gelu_tanh,
    "gelu_pytorch_tanh": layer_maths.gelu_tanh,
    "relu": layer_maths.relu,
    "silu": layer_maths.silu,
}
_HARMLESS = frozenset(
    """
    attention_dropout attention_probs_dropout_prob classifier_dropout hidden_dropout
    hidden_dropout_prob initializer_range is_decoder
    """.split()
)
_MOST_LAYERS = 10_000


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


def read_config(values: Mapping[str, Any], where: str, ignored: Iterable[str] = ()) -> Config:
    """Raises ContentError for a config that cannot be honoured exactly."""
    reader = ConfigReader(values, where)
    width, heads = reader.integer("hidden_size"), reader.integer("num_attention_heads")
    if width % heads:
        raise ContentError(
            f"{where}: hidden_size {width} does not divide by num_attention_heads {heads}"
        )
    context = reader.integer("max_position_embeddings")
    section = rope_section(reader, where)
    rotated = rotated_width(section, reader, "rotary_pct", 0.25, width // heads)
    base = section.positive("rope_theta", reader.positive("rotary_emb_base", 10000.0))
    share = section.positive("partial_rotary_factor", reader.positive("rotary_pct", 0.25))
    # Files of 4.46 to 4.57 repeat both; the reference reads neither.
    for key, value in (("rope_theta", base), ("partial_rotary_factor", share)):
        if reader.positive(key, value) != value:
            raise ContentError(f"{where}: {key} is not the {value:g} that the reference uses")
    config = Config(
        layers=reader.integer("num_hidden_layers", high=_MOST_LAYERS),
        heads=heads,
        model_width=width,
        inner_width=reader.integer("intermediate_size"),
        vocabulary=reader.integer("vocab_size"),
        context=context,
        epsilon=reader.positive("layer_norm_eps", 1e-5),
        activation=reader.choice("hidden_act", _ACTIVATIONS, "gelu"),
        attention_bias=reader.flag("attention_bias", True),
        parallel=reader.flag("use_parallel_residual", True),
        tied=reader.flag("tie_word_embeddings", False),
        rope=scaled_rope(section, reader, base, rotated, context, ignored),
    )
    reader.finish(_HARMLESS, ignored)
    return config


def tensor_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """The name and shape of every tensor."""
    width, inner = config.model_width, config.inner_width
    matrices = {
        "attention.query_key_value": (3 * width, width, config.attention_bias),
        "attention.dense": (width, width, config.attention_bias),
        "mlp.dense_h_to_4h": (inner, width, True),
        "mlp.dense_4h_to_h": (width, inner, True),
    }
    shapes: dict[str, tuple[int, ...]] = {"embed_in.weight": (config.vocabulary, width)}
    for layer in range(config.layers):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            for part in ("weight", "bias"):
                shapes[f"layers.{layer}.{norm}.{part}"] = (width,)
        for name, (rows, columns, has_bias) in matrices.items():
            shapes[f"layers.{layer}.{name}.weight"] = (rows, columns)
            if has_bias:
                shapes[f"layers.{layer}.{name}.bias"] = (rows,)
    shapes |= {"final_layer_norm.weight": (width,), "final_layer_norm.bias": (width,)}
    if not config.tied:
        shapes["lm_head.weight"] = (config.vocabulary, width)
    return shapes


def naming(config: Config) -> Naming:
    """Stored masks and frequencies carry nothing. Published files call the output `embed_out`."""
    left_out = ("*.attention.bias", "*.attention.masked_bias", "*.rotary_emb.inv_freq")
    copies = dict.fromkeys(("lm_head.weight", "embed_out.weight"), "embed_in.weight")
    older = {"embed_out.weight": "lm_head.weight"}
    return Naming(("gpt_neox.",), left_out, older, copies if config.tied else {})


def forward(
    model: Model, ids: tuple[int, ...], request: Request, cache: Cache | None = None
) -> Generator[Attention, None, Final]:
    """Yields the record of each chosen layer in turn and returns the final hidden vectors."""
    config, weights = model.config, model.weights
    ids, start, angles = config.rope.begin(ids, cache)
    x = weights.rows("embed_in.weight", ids)
    visible = own_mask(0, len(ids), start)
    touched = False
    for layer, parts in enumerate(weights.layers("layers.", request.last_layer)):
        normed = _norm(config, parts, "input_layernorm", x)
        arrays = _project(config, parts, normed)
        turn(arrays, *angles)
        block = Block(
            layer=layer,
            arrays={"x": x, "normed": normed, **arrays},
            own_visible=visible,
            w_o=parts["attention.dense.weight"].T,
            b_o=parts.get("attention.dense.bias", np.zeros(0, x.dtype)),
            touched=touched,
        )
        result = run_block(request, block, cache)
        yield from result.records
        touched = result.touched
        if layer == request.last_layer < config.layers - 1:
            return Final(hidden=x[:0], touched=touched)
        between = x + result.output
        into = x if config.parallel else between
        x = between + _mlp(config, parts, _norm(config, parts, "post_attention_layernorm", into))
    if cache:
        cache.advance(ids)
    gain, bias = weights["final_layer_norm.weight"], weights["final_layer_norm.bias"]
    return Final(hidden=layer_norm(x, gain, bias, config.epsilon), touched=touched)


def predict(model: Model, hidden: np.ndarray) -> np.ndarray:
    """Logits (position, vocabulary) of final hidden vectors (position, model)."""
    output = "embed_in.weight" if model.config.tied else "lm_head.weight"
    return model.weights.times_rows(output, hidden)


def _norm(config: Config, parts: LayerWeights, name: str, x: np.ndarray) -> np.ndarray:
    return layer_norm(x, parts[f"{name}.weight"], parts[f"{name}.bias"], config.epsilon)


def _project(config: Config, parts: LayerWeights, normed: np.ndarray) -> dict[str, np.ndarray]:
    """q, k and v before rotation, and the parameters that made them."""
    none = np.zeros(0, normed.dtype)
    bias = parts.get("attention.query_key_value.bias", none)
    arrays = interleaved(normed, parts["attention.query_key_value.weight"], bias, config.heads)
    w_o = parts["attention.dense.weight"].T
    arrays["w_o"] = w_o.reshape(config.heads, -1, config.model_width)
    if config.attention_bias:
        arrays["b_o"] = parts["attention.dense.bias"]
    return arrays


def _mlp(config: Config, parts: LayerWeights, normed: np.ndarray) -> np.ndarray:
    name = "mlp.dense_h_to_4h"
    inner = linear(normed, parts[f"{name}.weight"].T, parts[f"{name}.bias"])
    name = "mlp.dense_4h_to_h"
    active = _ACTIVATIONS[config.activation](inner)
    return linear(active, parts[f"{name}.weight"].T, parts[f"{name}.bias"])


# --- the same model in a GGUF file ---------------------------------------------------------------

_GGUF_KEYS = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.layer_norm_epsilon": "layer_norm_eps",
    "rope.dimension_count": "rotated",
    "rope.freq_base": "rotary_emb_base",
    "use_parallel_residual": "use_parallel_residual",
}
_GGUF_TENSORS = {"embed_in.weight": "token_embd.weight", "lm_head.weight": "output.weight"} | {
    f"{ours}.{part}": f"{theirs}.{part}"
    for ours, theirs in {
        "final_layer_norm": "output_norm",
        "layers.*.input_layernorm": "blk.*.attn_norm",
        "layers.*.post_attention_layernorm": "blk.*.ffn_norm",
        "layers.*.attention.query_key_value": "blk.*.attn_qkv",
        "layers.*.attention.dense": "blk.*.attn_output",
        "layers.*.mlp.dense_h_to_4h": "blk.*.ffn_up",
        "layers.*.mlp.dense_4h_to_h": "blk.*.ffn_down",
    }.items()
    for part in ("weight", "bias")
}


def open_gguf(
    found: Gguf, architecture: str, ignored: Iterable[str] = ()
) -> tuple[Config, dict[str, Stored]]:
    """The config and tensors of a GGUF file, whose fused rows are all queries, keys, values."""
    where = str(found.path)
    harmless = frozenset({"vocab_size"})
    values = config_values(found.metadata, architecture, _GGUF_KEYS, harmless, ignored, where)
    reader = ConfigReader(values, where)
    head = reader.integer("hidden_size") // reader.integer("num_attention_heads") or 1
    rotated = reader.integer("rotated", head)
    values.pop("rotated", 0)
    # A half more, since a share of the width is cut to a whole number of its numbers.
    values["rotary_pct"] = 1.0 if rotated == head else (rotated + 0.5) / head
    values["vocab_size"] = embedding_rows(found.tensors, where)
    values["tie_word_embeddings"] = "output.weight" not in found.tensors
    values["attention_bias"] = "blk.0.attn_output.bias" in found.tensors
    config = read_config(values, where)
    arranged = {
        f"layers.*.attention.query_key_value.{part}": reinterleaved(config.heads)
        for part in ("weight", "bias")
    }
    return config, stored_names(found.tensors, _GGUF_TENSORS, arranged, (), config.layers)
