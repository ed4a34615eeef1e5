"""Llama and its siblings: RMS norm, rotary positions, grouped heads, a gated MLP.

Touvron et al. 2023. Weights are stored (output, input). A sibling's file reads its own config into
the same `Config` and takes the rest from `FAMILY`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from attn_cli.families.llama_gguf import GGUF, unpaired_rows
from attn_cli.maths.layers import rms_norm
from attn_cli.maths.products import feed_forward, gated_feed_forward
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.cache import Cache, Ids, Pass
from attn_cli.model.config import ConfigReader
from attn_cli.model.family import Family, Model
from attn_cli.model.gguf import NEUTRAL
from attn_cli.model.project import Arrays, apart
from attn_cli.model.rope import Angles, Rope, read_rope
from attn_cli.model.stack import Request, Stack, causal_or_window
from attn_cli.model.tensors import MOST_LAYERS, Naming, Shapes, copies, maps, norms, output
from attn_cli.model.weights import LayerWeights, Weights
from attn_cli.records import Facts

HARMLESS = frozenset({"attention_dropout", "initializer_range"})
# Of layers, without and with a window, as `layer_types` has them.
KINDS = ("full_attention", "sliding_attention")
# Frequencies are made before the file is asked for a tensor.
_WIDEST_HEAD = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The numbers of a Llama-shaped model. `windows` holds a width per layer, 0 for none.

    `norm_base` is what a stored weight of a norm is added to. A network that is not `gated` is
    down(activation(up(x))). Layers that are `unrotated` leave queries and keys as they are.
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
    gated: bool = True
    tied: bool
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    head_norm: bool = False
    norm_base: float = 0.0
    windows: tuple[int, ...]
    unrotated: tuple[int, ...] = ()
    rope: Rope


C = TypeVar("C", bound=Config)


def read_config(reader: ConfigReader) -> Config:
    config = Config(**plain(reader))
    reader.only("rope_interleaved", False)
    reader.finish(HARMLESS | {"is_llama_config", "pretraining_tp"})
    return config


def plain(reader: ConfigReader) -> dict[str, Any]:
    """The fields of `Config` of a sibling that has Llama's own keys, and no window."""
    shared, bias = common(reader), reader.flag("attention_bias", False)
    biases = {"qkv_bias": bias, "output_bias": bias, "mlp_bias": reader.flag("mlp_bias", False)}
    return {**shared, **biases, "windows": (0,) * shared["layers"]}


def common(reader: ConfigReader, **keys: Any) -> dict[str, Any]:
    """The fields of `Config` that Llama, Mistral and Qwen spell alike; `keys` as in `sizes`."""
    found = sizes(reader, **keys)
    return {**found, "rope": read_rope(reader, found["head_width"], found["context"])}


def sizes(
    reader: ConfigReader,
    head_dim: int = 0,
    activation: str = "hidden_act",
    epsilon: str = "rms_norm_eps",
) -> dict[str, Any]:
    """The fields that every sibling spells alike, but for the keys of the activation and epsilon.

    `head_dim` is the sibling's own where config.json does not say; 0 is the model's width shared.
    No key of the epsilon: it is not for config.json to say.
    """
    width, heads = reader.integer("hidden_size"), reader.integer("num_attention_heads")
    kv_heads = reader.integer("num_key_value_heads", heads)
    head_width = reader.integer("head_dim", head_dim or max(1, width // heads))
    shared = not (head_dim or reader.has("head_dim"))
    if heads % kv_heads or (width % heads and shared):
        first, second = (reader.named(key) for key in ("hidden_size", "num_attention_heads"))
        third = f"{reader.named('num_key_value_heads')} {kv_heads}"
        raise reader.error(f"{first} {width}, {second} {heads} and {third} do not divide")
    if head_width % 2 or head_width > _WIDEST_HEAD:
        raise reader.error(
            f"{reader.named('head_dim')} {head_width} is not an even number up to {_WIDEST_HEAD}",
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
        "epsilon": reader.positive(epsilon, 1e-6) if epsilon else 0.0,
        "activation": reader.choice(activation, ACTIVATIONS, "silu"),
        "tied": reader.flag("tie_word_embeddings", False),
    }


def window_width(reader: ConfigReader, *, used: bool = True) -> int | None:
    """`sliding_window` where it is `used`: 4096 where config.json does not say, none for null."""
    null = reader.says("sliding_window") and not reader.has("sliding_window")
    width = reader.integer("sliding_window", 4096, low=0)
    return width if used and not null else None


def layer_windows(reader: ConfigReader, layers: int) -> tuple[int, ...]:
    """Qwen's rule: layers from `max_window_layers` on have the window, or as `layer_types` says."""
    used = reader.flag("use_sliding_window", False)
    first = reader.integer("max_window_layers", 28, low=0)
    width = window_width(reader, used=used)
    slides = [width is not None and layer >= first for layer in range(layers)]
    return windows_as_named(reader, width, slides, used=used)


def windows_as_named(
    reader: ConfigReader, width: int | None, otherwise: Sequence[bool], *, used: bool
) -> tuple[int, ...]:
    """The window of each layer, as `layer_types` says or else `otherwise`, in a family that fails
    where one is needed that is not there."""
    slides = sliding(reader, len(otherwise)) or otherwise
    if any(slides) and not used:
        raise reader.error("layer_types names layers with a window, use_sliding_window is false")
    if any(slides) and width is None:
        raise reader.error("sliding_window is null, and there are layers that need it")
    return windowed(seen(reader, width) if any(slides) else 0, slides)


def seen(reader: ConfigReader, width: int | None) -> int:
    """A window's width, 0 for none. Raises ContentError for one of 0."""
    if width == 0:
        raise reader.error(f"{reader.named('sliding_window')} is 0, which hides every key")
    return width or 0


def sliding(reader: ConfigReader, layers: int) -> tuple[bool, ...]:
    """Whether each layer has the window, as `layer_types` says; empty where it says nothing."""
    return tuple(kind == KINDS[1] for kind in reader.words("layer_types", KINDS, layers))


def windowed(width: int, slides: Iterable[bool]) -> tuple[int, ...]:
    """The window of each layer, 0 for none."""
    return tuple(width if here else 0 for here in slides)


def unrotated_without_window(config: C) -> C:
    """The same model, in which only layers with a window rotate."""
    layers = tuple(layer for layer, width in enumerate(config.windows) if not width)
    return replace(config, unrotated=layers)


def shapes(config: Config) -> Shapes:
    width, inner = config.model_width, config.inner_width
    q_width, kv_width = config.heads * config.head_width, config.kv_heads * config.head_width
    qkv = {
        f"layers.*.self_attn.{letter}_proj": (q_width if letter == "q" else kv_width, width)
        for letter in "qkv"
    }
    mlp = {
        f"layers.*.mlp.{name}_proj": (inner, width)
        for name in (("gate", "up") if config.gated else ("up",))
    }
    found: Shapes = {"embed_tokens.weight": (config.vocabulary, width)}
    before = ("layers.*.input_layernorm", "layers.*.post_attention_layernorm")
    found |= norms(width, *before, "norm", biased=False)
    found |= maps(qkv, biased=config.qkv_bias)
    found |= maps({"layers.*.self_attn.o_proj": (width, q_width)}, biased=config.output_bias)
    found |= maps({**mlp, "layers.*.mlp.down_proj": (width, inner)}, biased=config.mlp_bias)
    if config.head_norm:
        heads = (f"layers.*.self_attn.{letter}_norm" for letter in "qk")
        found |= norms(config.head_width, *heads, biased=False)
    return found | output(config, width)


def naming(config: Config) -> Naming:
    """Stored frequencies carry nothing; a tied output may stand there again."""
    tied = copies(config, "embed_tokens.weight")
    return Naming(("model.", "transformer."), ("*.rotary_emb.inv_freq",), copies=tied)


def describe(facts: Facts, config: Config) -> Facts:
    return replace(
        facts,
        norm="rms",
        epsilon=config.epsilon,
        last_norm="norm",
        norm_base=config.norm_base,
        head_norm="each" if config.head_norm else "",
        positions="rotary" if len(config.unrotated) < config.layers else "none",
        windowed=any(config.windows),
        rotated=2 * len(config.rope.frequencies),
        interleaved=config.rope.interleaved,
        unrotated=config.unrotated,
        attention_factors=(config.rope.attention_factor,) * config.layers,
    )


def final(model: Model, x: np.ndarray) -> np.ndarray:
    return norm(model.config, model.weights, "norm", x)


def entering_norm(config: Config, parts: LayerWeights, x: np.ndarray) -> Arrays:
    """What enters a layer, the norm before attention, and what it gives."""
    gain = _gain(config, parts, "input_layernorm")
    return {"x": x, "w_norm": gain, "normed": rms_norm(x, gain, config.epsilon)}


def norm(config: Config, parts: LayerWeights | Weights, name: str, x: np.ndarray) -> np.ndarray:
    """An RMS norm by its name."""
    return rms_norm(x, _gain(config, parts, name), config.epsilon)


def _gain(config: Config, parts: LayerWeights | Weights, name: str) -> np.ndarray:
    weight = parts[f"{name}.weight"]
    return config.norm_base + weight if config.norm_base else weight


def project(config: Config, parts: LayerWeights, normed: np.ndarray) -> Arrays:
    """q, k and v before rotation, q and k normalised where the family does so."""
    heads = {"q": config.heads, "k": config.kv_heads, "v": config.kv_heads}
    maps = {letter: (parts.map(f"self_attn.{letter}_proj"), heads[letter]) for letter in heads}
    arrays = apart(normed, **maps)
    for letter in "qk" if config.head_norm else "":
        arrays[letter] = norm(config, parts, f"self_attn.{letter}_norm", arrays[letter])
    return arrays


def mlp(config: Config, parts: LayerWeights, normed: np.ndarray) -> np.ndarray:
    """The feed-forward network, gated or not."""
    if config.gated:
        return gated_mlp(config, parts, normed)
    maps = (parts.map(f"mlp.{name}_proj") for name in ("up", "down"))
    return feed_forward(normed, *maps, ACTIVATIONS[config.activation])


def gated_mlp(config: Config, parts: LayerWeights, normed: np.ndarray) -> np.ndarray:
    """down(activation(gate(x)) · up(x)). Shazeer 2020, "GLU Variants"."""
    maps = (parts.map(f"mlp.{name}_proj") for name in ("gate", "up", "down"))
    return gated_feed_forward(normed, *maps, ACTIVATIONS[config.activation])


def turned(
    config: Config,
    stack: Stack,
    parts: LayerWeights,
    normed: np.ndarray,
    angles: Angles,
    projected: Callable[[Any, LayerWeights, np.ndarray], Arrays] = project,
) -> Arrays:
    """q, k and v as `projected` gives them, q and k rotated in a layer that rotates."""
    return stack.rotated(projected(config, parts, normed), angles)


def fed(
    config: Config,
    stack: Stack,
    parts: LayerWeights,
    normed: np.ndarray,
    network: Callable[[Any, LayerWeights, np.ndarray], np.ndarray] = mlp,
) -> np.ndarray:
    """What a layer's feed-forward `network` gives."""
    return network(config, parts, normed)


def forward(
    model: Model,
    ids: Ids,
    request: Request,
    cache: Cache | None = None,
    *,
    turned: Callable[[Any, Stack, LayerWeights, np.ndarray, Angles], Arrays] = turned,
    fed: Callable[[Any, Stack, LayerWeights, np.ndarray], np.ndarray] = fed,
) -> Pass:
    """The order of a pass. A sibling may have ways of its own to q, k and v, rotated (`turned`),
    and to what the feed-forward network gives (`fed`)."""
    config, rope = model.config, model.config.rope
    stack = Stack(model, ids, request, cache, restart_beyond=rope.limit)
    x = model.weights.rows("embed_tokens.weight", stack.ids)
    angles = stack.angles(rope)
    for parts in stack.layers("layers."):
        entry = entering_norm(config, parts, x)
        output = yield from stack.attend(
            {**entry, **turned(config, stack, parts, entry["normed"], angles)},
            visible=causal_or_window(config.windows[stack.layer]),
            out=parts.map("self_attn.o_proj"),
        )
        x = x + output
        normed = norm(config, parts, "post_attention_layernorm", x)
        x = yield from stack.after(x + stack.mlp(fed(config, stack, parts, normed)))
    return stack.end(x)


# Llama's own converter pairs rows; those of siblings leave them.
_LAYOUTS = NEUTRAL["tensor_data_layout"] + ("Meta AI original pth",)
_OWN_GGUF = replace(GGUF, arrange=unpaired_rows, neutral=NEUTRAL | {"tensor_data_layout": _LAYOUTS})
FAMILY = Family(
    read_config, shapes, naming, describe, forward, final, "embed_tokens.weight", _OWN_GGUF
)
