"""Llama and its siblings: RMS norm, rotary positions, grouped heads, a gated MLP.

Touvron et al. 2023. Weights are stored (output, input). A sibling's file reads its own config into
the same `Config` and takes the rest from here.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attn_cli.checkpoints.gguf import Gguf
from attn_cli.errors import ContentError
from attn_cli.families.block import Block, Final, Request, run_block
from attn_cli.families.cache import Cache
from attn_cli.families.config import ConfigReader
from attn_cli.families.gguf import config_values, stored_names, unpaired
from attn_cli.families.model import LayerWeights, Model, Stored
from attn_cli.families.rope import Rope, read_rope
from attn_cli.maths import layers as layer_maths
from attn_cli.maths.attention import project
from attn_cli.maths.layers import linear, rms_norm
from attn_cli.maths.masks import causal, window
from attn_cli.maths.positions import rotate
from attn_cli.trace import Attention

PREFIX = "model."
GGUF_KEYS = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.key_length": "head_dim",
    "attention.value_length": "value_dim",
    "attention.sliding_window": "window",
    "rope.freq_base": "rope_theta",
    "rope.dimension_count": "rotated",
    "rope.scaling.type": "scaling",
    "rope.scaling.factor": "factor",
    "rope.scaling.attn_factor": "stretch",
    "rope.scaling.yarn_attn_factor": "attention_factor",
    "rope.scaling.yarn_beta_fast": "beta_fast",
    "rope.scaling.yarn_beta_slow": "beta_slow",
    "rope.scaling.original_context_length": "original_max_position_embeddings",
}
GGUF_HARMLESS = frozenset({"vocab_size", "rope.scaling.finetuned"})
GGUF_TENSORS = {
    "embed_tokens.weight": "token_embd.weight",
    "norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "layers.*.input_layernorm.weight": "blk.*.attn_norm.weight",
    "layers.*.post_attention_layernorm.weight": "blk.*.ffn_norm.weight",
    "layers.*.self_attn.q_norm.weight": "blk.*.attn_q_norm.weight",
    "layers.*.self_attn.k_norm.weight": "blk.*.attn_k_norm.weight",
} | {
    f"layers.*.{ours}.{part}": f"blk.*.{theirs}.{part}"
    for ours, theirs in {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }.items()
    for part in ("weight", "bias")
}
_GGUF_SCALING = (
    "factor", "attention_factor", "beta_fast", "beta_slow", "original_max_position_embeddings",
)  # fmt: skip
_ACTIVATIONS = {
    "silu": layer_maths.silu,
    "gelu": layer_maths.gelu,
    "gelu_pytorch_tanh": layer_maths.gelu_tanh,
}
_HARMLESS = frozenset(
    {"attention_dropout", "initializer_range", "is_llama_config", "pretraining_tp"}
)
# Names and frequencies are made before the file is asked for a tensor.
_MOST_LAYERS, _WIDEST_HEAD = 10_000, 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The numbers of a Llama-shaped model. `windows` holds a width per layer, 0 for none."""

    layers: int
    heads: int
    kv_heads: int
    head_width: int
    model_width: int
    inner_width: int
    vocabulary: int
    context: int
    epsilon: float
    activation: str
    tied: bool
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    windows: tuple[int, ...]
    rope: Rope


def read_config(values: Mapping[str, Any], where: str, ignored: Iterable[str] = ()) -> Config:
    """Raises ContentError for a config that cannot be honoured exactly."""
    reader = ConfigReader(values, where)
    bias = reader.flag("attention_bias", False)
    config = Config(
        **common(reader, where, ignored),
        qkv_bias=bias,
        output_bias=bias,
        mlp_bias=reader.flag("mlp_bias", False),
        windows=(),
    )
    if reader.flag("rope_interleaved", False):
        raise ContentError(f"{where}: rope_interleaved is true, which attn does not know")
    reader.finish(_HARMLESS, ignored)
    return replace(config, windows=(0,) * config.layers)


def common(
    reader: ConfigReader, where: str, ignored: Iterable[str], head_dim: int = 0
) -> dict[str, Any]:
    """The fields of `Config` that every sibling's config.json spells alike.

    `head_dim` is the sibling's own where config.json does not say; 0 is the model's width shared.
    """
    width, heads = reader.integer("hidden_size"), reader.integer("num_attention_heads")
    kv_heads = reader.integer("num_key_value_heads", heads)
    head_width = reader.integer("head_dim", head_dim, low=0)
    if heads % kv_heads or (width % heads and not head_width):
        raise ContentError(
            f"{where}: hidden_size {width}, num_attention_heads {heads} and "
            f"num_key_value_heads {kv_heads} do not divide"
        )
    head_width = head_width or width // heads
    if head_width % 2 or head_width > _WIDEST_HEAD:
        raise ContentError(
            f"{where}: head_dim {head_width} is not an even number up to {_WIDEST_HEAD}",
            "rotary positions turn pairs of numbers",
        )
    context = reader.integer("max_position_embeddings")
    return {
        "layers": reader.integer("num_hidden_layers", high=_MOST_LAYERS),
        "heads": heads,
        "kv_heads": kv_heads,
        "head_width": head_width,
        "model_width": width,
        "inner_width": reader.integer("intermediate_size"),
        "vocabulary": reader.integer("vocab_size"),
        "context": context,
        "epsilon": reader.positive("rms_norm_eps", 1e-6),
        "activation": reader.choice("hidden_act", _ACTIVATIONS, "silu"),
        "tied": reader.flag("tie_word_embeddings", False),
        "rope": read_rope(reader, head_width, context, where, ignored),
    }


def window_width(reader: ConfigReader, values: Mapping[str, Any]) -> int:
    """`sliding_window`: 4096 where config.json does not say, none where it says null."""
    return reader.integer("sliding_window", 0 if "sliding_window" in values else 4096, low=0)


def layer_windows(reader: ConfigReader, values: Mapping[str, Any], layers: int) -> tuple[int, ...]:
    """Qwen's rule: layers from `max_window_layers` on have the window, or as `layer_types` says."""
    width = window_width(reader, values)
    first = reader.integer("max_window_layers", 28, low=0)
    kinds = reader.words("layer_types", ("full_attention", "sliding_attention"), layers)
    if not reader.flag("use_sliding_window", False):
        width = 0
    if kinds:
        return tuple(width if kind == "sliding_attention" else 0 for kind in kinds)
    return tuple(width if layer >= first else 0 for layer in range(layers))


def tensor_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """The name and shape of every tensor."""
    width, inner = config.model_width, config.inner_width
    q_width, kv_width = config.heads * config.head_width, config.kv_heads * config.head_width
    matrices = {
        "self_attn.q_proj": (q_width, width, config.qkv_bias),
        "self_attn.k_proj": (kv_width, width, config.qkv_bias),
        "self_attn.v_proj": (kv_width, width, config.qkv_bias),
        "self_attn.o_proj": (width, q_width, config.output_bias),
        "mlp.gate_proj": (inner, width, config.mlp_bias),
        "mlp.up_proj": (inner, width, config.mlp_bias),
        "mlp.down_proj": (width, inner, config.mlp_bias),
    }
    parts: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (width,),
        "post_attention_layernorm.weight": (width,),
    }
    for name, (rows, columns, has_bias) in matrices.items():
        parts[f"{name}.weight"] = (rows, columns)
        if has_bias:
            parts[f"{name}.bias"] = (rows,)
    if config.qk_norm:
        parts["self_attn.q_norm.weight"] = parts["self_attn.k_norm.weight"] = (config.head_width,)
    shapes: dict[str, tuple[int, ...]] = {"embed_tokens.weight": (config.vocabulary, width)}
    for layer in range(config.layers):
        shapes |= {f"layers.{layer}.{name}": shape for name, shape in parts.items()}
    shapes["norm.weight"] = (width,)
    if not config.tied:
        shapes["lm_head.weight"] = (config.vocabulary, width)
    return shapes


def buffers(config: Config) -> tuple[str, ...]:
    """Endings of tensor names that carry nothing: stored frequencies, a copy of the tied output."""
    stored = (".rotary_emb.inv_freq",)
    return (*stored, "lm_head.weight") if config.tied else stored


def open_gguf(
    found: Gguf, architecture: str, ignored: Iterable[str] = ()
) -> tuple[Config, dict[str, Stored]]:
    """The config and tensors of a GGUF file. Its q and k rows are unpaired (see `unpaired`)."""
    return read_gguf(found, architecture, read_config, ignored, paired=True)


_SHORT_FACTORS, _LONG_FACTORS = "rope_factors_short.weight", "rope_factors_long.weight"
_ROPE_TENSORS = ("rope_freqs.weight", _SHORT_FACTORS, _LONG_FACTORS)


def read_gguf(
    found: Gguf,
    architecture: str,
    read: Callable[[Mapping[str, Any], str], Config],
    ignored: Iterable[str],
    *,
    paired: bool = False,
) -> tuple[Config, dict[str, Stored]]:
    """What siblings share: `read` is the sibling's `read_config`. Raises ContentError."""
    where = str(found.path)
    values = config_values(found.metadata, architecture, GGUF_KEYS, GGUF_HARMLESS, ignored, where)
    reader = ConfigReader(values, where)
    width, stretch = reader.integer("window", 0, low=0), reader.positive("stretch", 1.0)
    config = read(_gguf_values(values, found.tensors, where), where)
    if "rope_freqs.weight" in found.tensors:
        factors = found.read("rope_freqs.weight")
        config = replace(config, rope=config.rope.slowed(factors, where))
    if _LONG_FACTORS in found.tensors and _SHORT_FACTORS in found.tensors:
        limit = reader.integer("original_max_position_embeddings", config.context)
        factors = found.read(_SHORT_FACTORS), found.read(_LONG_FACTORS)
        config = replace(config, rope=config.rope.of_two_lengths(*factors, limit, where))
    config = replace(
        config,
        windows=(width,) * config.layers,
        rope=replace(config.rope, stretch=config.rope.stretch * stretch),
        qkv_bias=config.qkv_bias or "blk.0.attn_q.bias" in found.tensors,
        output_bias="blk.0.attn_output.bias" in found.tensors,
        mlp_bias="blk.0.ffn_gate.bias" in found.tensors,
    )
    arranged = {}
    if paired:
        for letter, heads in (("q", config.heads), ("k", config.kv_heads)):
            for part in ("weight", "bias"):
                arranged[f"layers.*.self_attn.{letter}_proj.{part}"] = unpaired(heads)
    stored = stored_names(found.tensors, GGUF_TENSORS, arranged, _ROPE_TENSORS, config.layers)
    return config, stored


def _gguf_values(
    given: Mapping[str, Any], tensors: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """Config.json's way of saying what GGUF says by other keys and by which tensors there are."""
    values = {key: given[key] for key in given if key not in ("window", "stretch")}
    reader = ConfigReader(values, where)
    shared = reader.integer("hidden_size") // reader.integer("num_attention_heads")
    width = values["head_dim"] = reader.integer("head_dim", shared)
    for key in ("value_dim", "rotated"):
        if values.pop(key, width) != width:
            raise ContentError(f"{where}: {key} differs from the head width {width}")
    scaling = {key: values.pop(key) for key in _GGUF_SCALING if key in values}
    # A factor without a type is linear, as llama.cpp reads it.
    kind = values.pop("scaling", "linear" if "factor" in scaling else "none")
    if kind == "longrope" and _LONG_FACTORS in tensors:  # it is said by tensors
        kind = "none"
        scaling.pop("original_max_position_embeddings", 0)
    if kind == "none":
        kind, _ = "default", scaling.pop("factor", 0)
    values["rope_parameters"] = {"rope_type": kind, **scaling}
    if "token_embd.weight" not in tensors:
        raise ContentError(f"{where}: the tensor token_embd.weight is missing")
    values["vocab_size"] = tensors["token_embd.weight"].shape[0]
    values["tie_word_embeddings"] = "output.weight" not in tensors
    return values


def forward(
    model: Model, ids: tuple[int, ...], request: Request, cache: Cache | None = None
) -> Generator[Attention, None, Final]:
    """Yields the record of each chosen layer in turn and returns the final hidden vectors."""
    config, weights = model.config, model.weights
    start = cache.length if cache else 0
    x = weights.rows("embed_tokens.weight", ids)
    cosine, sine = config.rope.angles(start, len(ids))
    # Other tools mean by these names what stands before the norm.
    own_names = frozenset({"q_unrotated", "k_unrotated"} if config.qk_norm else ())
    touched = False
    for layer, parts in enumerate(weights.layers("layers.", request.last_layer)):
        normed = rms_norm(x, parts["input_layernorm.weight"], config.epsilon)
        arrays = _project(config, parts, normed, cosine, sine)
        block = Block(
            layer=layer,
            arrays={"x": x, "normed": normed, **arrays},
            own_visible=_visible(config.windows[layer], len(ids), start),
            w_o=parts["self_attn.o_proj.weight"].T,
            b_o=_bias(parts, "self_attn.o_proj"),
            touched=touched,
            own_names=own_names,
        )
        result = run_block(request, block, cache)
        yield from result.records
        touched = result.touched
        if layer == request.last_layer < config.layers - 1:
            return Final(hidden=x[:0], touched=touched)
        x = _mlp(config, parts, x + result.output)
    if cache:
        cache.advance(len(ids))
    return Final(hidden=rms_norm(x, weights["norm.weight"], config.epsilon), touched=touched)


def predict(model: Model, hidden: np.ndarray) -> np.ndarray:
    """Logits (position, vocabulary) of final hidden vectors (position, model)."""
    output = "embed_tokens.weight" if model.config.tied else "lm_head.weight"
    return model.weights.times_rows(output, hidden)


def _visible(width: int, queries: int, start: int) -> np.ndarray:
    keys = start + queries
    return window(queries, keys, width) if width else causal(queries, keys)


def _bias(parts: LayerWeights, name: str) -> np.ndarray:
    return parts.get(f"{name}.bias", np.zeros(0, np.float32))


def _project(
    config: Config, parts: LayerWeights, normed: np.ndarray, cosine: np.ndarray, sine: np.ndarray
) -> dict[str, np.ndarray]:
    """q, k and v, and the parameters that made them, one head apart from the next."""
    arrays = {}
    for letter in "qkv":
        name = f"self_attn.{letter}_proj"
        heads = config.heads if letter == "q" else config.kv_heads
        w = parts[f"{name}.weight"].T
        b = _bias(parts, name)
        arrays[letter] = project(normed, w, b, heads)
        arrays[f"w_{letter}"] = w.reshape(len(w), heads, -1).swapaxes(0, 1)
        if b.size:
            arrays[f"b_{letter}"] = b.reshape(heads, -1)
    for letter in "qk":
        plain = arrays[letter]
        if config.qk_norm:
            plain = rms_norm(plain, parts[f"self_attn.{letter}_norm.weight"], config.epsilon)
        arrays[f"{letter}_unrotated"] = plain
        arrays[letter] = rotate(plain, cosine, sine)
    w_o = parts["self_attn.o_proj.weight"].T
    arrays["w_o"] = w_o.reshape(config.heads, -1, config.model_width)
    if config.output_bias:
        arrays["b_o"] = _bias(parts, "self_attn.o_proj")
    return arrays


def _mlp(config: Config, parts: LayerWeights, x: np.ndarray) -> np.ndarray:
    normed = rms_norm(x, parts["post_attention_layernorm.weight"], config.epsilon)

    def through(name: str, vectors: np.ndarray) -> np.ndarray:
        return linear(vectors, parts[f"mlp.{name}.weight"].T, _bias(parts, f"mlp.{name}"))

    gate = _ACTIVATIONS[config.activation](through("gate_proj", normed))
    return x + through("down_proj", gate * through("up_proj", normed))
