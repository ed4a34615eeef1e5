"""Llama and its siblings: RMS norm, rotary positions, grouped heads, a gated MLP.

Touvron et al. 2023. Weights are stored (output, input). A sibling's file reads its own config into
the same `Config` and takes the rest from here.
"""

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attn_cli.checkpoints.gguf import Gguf
from attn_cli.errors import ContentError
from attn_cli.families.llama_gguf import read_gguf
from attn_cli.maths import layers as layer_maths
from attn_cli.maths.attention import project
from attn_cli.maths.layers import linear, rms_norm
from attn_cli.model.cache import Cache
from attn_cli.model.config import ConfigReader
from attn_cli.model.rope import Rope, read_rope
from attn_cli.model.stack import Block, Final, Request, own_mask, run_block, turn
from attn_cli.model.weights import LayerWeights, Model, Naming, Stored
from attn_cli.records import Attention

ACTIVATIONS = {
    "silu": layer_maths.silu,
    "gelu": layer_maths.gelu,
    "gelu_pytorch_tanh": layer_maths.gelu_tanh,
}
_HARMLESS = frozenset(
    {"attention_dropout", "initializer_range", "is_llama_config", "pretraining_tp"}
)
# Names and frequencies are made before the file is asked for a tensor.
MOST_LAYERS, _WIDEST_HEAD = 10_000, 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The numbers of a Llama-shaped model. `windows` holds a width per layer, 0 for none.

    `gain_base` is what a stored gain of a norm is added to.
    """

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
    gain_base: float = 0.0
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
    reader.never("rope_interleaved")
    reader.finish(_HARMLESS, ignored)
    return replace(config, windows=(0,) * config.layers)


def common(
    reader: ConfigReader, where: str, ignored: Iterable[str], head_dim: int = 0
) -> dict[str, Any]:
    """The fields of `Config` that Llama, Mistral and Qwen spell alike; `head_dim` as in `sizes`."""
    found = sizes(reader, where, head_dim)
    rope = read_rope(reader, found["head_width"], found["context"], where, ignored)
    return {**found, "rope": rope}


def sizes(
    reader: ConfigReader, where: str, head_dim: int = 0, activation: str = "hidden_act"
) -> dict[str, Any]:
    """The fields that every sibling spells alike, but for the key of the activation.

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
    return {
        "layers": reader.integer("num_hidden_layers", high=MOST_LAYERS),
        "heads": heads,
        "kv_heads": kv_heads,
        "head_width": head_width,
        "model_width": width,
        "inner_width": reader.integer("intermediate_size"),
        "vocabulary": reader.integer("vocab_size"),
        "context": reader.integer("max_position_embeddings"),
        "epsilon": reader.positive("rms_norm_eps", 1e-6),
        "activation": reader.choice(activation, ACTIVATIONS, "silu"),
        "tied": reader.flag("tie_word_embeddings", False),
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


def naming(config: Config) -> Naming:
    """Stored frequencies carry nothing; a tied output may stand there again."""
    stored = ("*.rotary_emb.inv_freq",)
    copies = {"lm_head.weight": "embed_tokens.weight"} if config.tied else {}
    return Naming(("model.",), stored, copies=copies)


def open_gguf(
    found: Gguf, architecture: str, ignored: Iterable[str] = ()
) -> tuple[Config, dict[str, Stored]]:
    """The config and tensors of a GGUF file. Its q and k rows are unpaired (see `unpaired`)."""
    return read_gguf(found, architecture, read_config, ignored, paired=True)


def forward(
    model: Model, ids: tuple[int, ...], request: Request, cache: Cache | None = None
) -> Generator[Attention, None, Final]:
    """Yields the record of each chosen layer in turn and returns the final hidden vectors."""
    config, weights = model.config, model.weights
    ids, start, angles = config.rope.begin(ids, cache)
    x = weights.rows("embed_tokens.weight", ids)
    # Other tools mean by these names what stands before the norm.
    own_names = frozenset({"q_unrotated", "k_unrotated"} if config.qk_norm else ())
    touched = False
    for layer, parts in enumerate(weights.layers("layers.", request.last_layer)):
        normed = rms_norm(x, parts["input_layernorm.weight"], config.epsilon)
        arrays = project_apart(config, parts, normed)
        turn(arrays, *angles)
        block = Block(
            layer=layer,
            arrays={"x": x, "normed": normed, **arrays},
            own_visible=own_mask(config.windows[layer], len(ids), start),
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
        x = x + result.output
        normed = rms_norm(x, parts["post_attention_layernorm.weight"], config.epsilon)
        x = x + gated_mlp(config, parts, normed)
    if cache:
        cache.advance(ids)
    return Final(hidden=rms_norm(x, weights["norm.weight"], config.epsilon), touched=touched)


def predict(model: Model, hidden: np.ndarray) -> np.ndarray:
    """Logits (position, vocabulary) of final hidden vectors (position, model)."""
    output = "embed_tokens.weight" if model.config.tied else "lm_head.weight"
    return model.weights.times_rows(output, hidden)


def _bias(parts: LayerWeights, name: str) -> np.ndarray:
    return parts.get(f"{name}.bias", np.zeros(0, np.float32))


def project_apart(config: Config, parts: LayerWeights, normed: np.ndarray) -> dict[str, np.ndarray]:
    """q, k and v before rotation, and the parameters that made them, a head apart from the next."""
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
    for letter in "qk" if config.qk_norm else "":
        gain = config.gain_base + parts[f"self_attn.{letter}_norm.weight"]
        arrays[letter] = rms_norm(arrays[letter], gain, config.epsilon)
    w_o = parts["self_attn.o_proj.weight"].T
    arrays["w_o"] = w_o.reshape(config.heads, -1, config.model_width)
    if config.output_bias:
        arrays["b_o"] = _bias(parts, "self_attn.o_proj")
    return arrays


def gated_mlp(config: Config, parts: LayerWeights, normed: np.ndarray) -> np.ndarray:
    """down(activation(gate(x)) · up(x)). Shazeer 2020, "GLU Variants"."""

    def through(name: str, vectors: np.ndarray) -> np.ndarray:
        return linear(vectors, parts[f"mlp.{name}.weight"].T, _bias(parts, f"mlp.{name}"))

    gate = ACTIVATIONS[config.activation](through("gate_proj", normed))
    return through("down_proj", gate * through("up_proj", normed))
