"""ModernBERT: rotary positions, windows in most layers, norms before each part. Warner et al. 2024.

No norm stands before attention in layer 0, whose vectors the embedding's norm has just made. `Wqkv`
holds the rows of W_Q, then those of W_K and W_V; `Wi` the gated rows, then those of the gate.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from attn_cli.maths import masks
from attn_cli.maths.masks import Visible
from attn_cli.maths.products import gated_feed_forward
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.cache import Cache, Ids, Pass
from attn_cli.model.config import ConfigReader, EqualHeads
from attn_cli.model.family import Family, Model
from attn_cli.model.project import Arrays, fused
from attn_cli.model.rope import Rope, rope_of_whole_heads, rotated, sections_by_kind
from attn_cli.model.stack import Request, Stack
from attn_cli.model.tensors import MOST_LAYERS, OUTPUT, Naming, Shapes, copies, maps, norms, output
from attn_cli.model.weights import LayerWeights, entering, layer_normed, linear, norm_of
from attn_cli.records import Facts

# Published files have the last four, which nothing reads.
_HARMLESS = frozenset(
    """
    attention_dropout classifier_dropout classifier_pooling cls_token_id
    deterministic_flash_attn embedding_dropout initializer_cutoff_factor initializer_range
    is_causal mlp_dropout rope_theta sparse_pred_ignore_index sparse_prediction
    layer_norm_eps position_embedding_type reference_compile repad_logits_with_grad
    """.split()
)
_FULL, _SLIDING = "full_attention", "sliding_attention"
# The base that a kind of layer rotates by: its older key, and what the reference has without one.
_BASES = {_FULL: ("global_rope_theta", 160_000.0), _SLIDING: ("local_rope_theta", 10_000.0)}
_TOKENS = "embeddings.tok_embeddings.weight"
_OUTPUT_BIAS = "lm_head.bias"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(EqualHeads):
    """The numbers of a ModernBERT model.

    In a layer with a width in `windows` a query sees the keys that are less than it away, on either
    side, and all rotates by `local_rope`; 0 is no window. `predicts`: its head is not a
    classifier's.
    """

    inner_width: int
    epsilon: float
    activation: str
    head_activation: str
    norm_bias: bool
    attention_bias: bool
    mlp_bias: bool
    head_bias: bool
    output_bias: bool
    predicts: bool = True
    tied: bool
    windows: tuple[int, ...]
    rope: Rope
    local_rope: Rope


def read_config(reader: ConfigReader) -> Config:
    width, heads = reader.equal_shares("hidden_size", "num_attention_heads")
    head_width = width // heads
    if head_width % 2:
        raise reader.error(
            f"the head width {head_width} (hidden_size / num_attention_heads) is odd",
            "rotary positions turn pairs of numbers",
        )
    reader.only("head_dim", head_width)
    layers = reader.integer("num_hidden_layers", high=MOST_LAYERS)
    context = reader.integer("max_position_embeddings")
    rope, local_rope = _ropes(reader, head_width, context)
    config = Config(
        layers=layers,
        heads=heads,
        model_width=width,
        inner_width=reader.integer("intermediate_size"),
        vocabulary=reader.integer("vocab_size"),
        context=context,
        epsilon=reader.positive("norm_eps", 1e-5),
        activation=reader.choice("hidden_activation", ACTIVATIONS, "gelu"),
        head_activation=reader.choice("classifier_activation", ACTIVATIONS, "gelu"),
        norm_bias=reader.flag("norm_bias", False),
        attention_bias=reader.flag("attention_bias", False),
        mlp_bias=reader.flag("mlp_bias", False),
        head_bias=reader.flag("classifier_bias", False),
        output_bias=reader.flag("decoder_bias", True),
        tied=reader.flag("tie_word_embeddings", True),
        windows=_windows(reader, layers),
        rope=rope,
        local_rope=local_rope,
    )
    reader.finish(_HARMLESS)
    return config


def _windows(reader: ConfigReader, layers: int) -> tuple[int, ...]:
    """All but every third layer have a window, or as `layer_types` says; half is on either side."""
    width = reader.integer("local_attention", 128, low=0) // 2 + 1
    period = reader.integer("global_attn_every_n_layers", 3)
    kinds = reader.words("layer_types", (_FULL, _SLIDING), layers)
    slides = [kind == _SLIDING for kind in kinds] or [layer % period > 0 for layer in range(layers)]
    return tuple(width if here else 0 for here in slides)


def _ropes(reader: ConfigReader, width: int, context: int) -> tuple[Rope, Rope]:
    """How layers without a window rotate, and how those with one do."""
    sections = sections_by_kind(reader, [*_BASES], scaled=[*_BASES])
    bases = [reader.positive(key, default) for key, default in _BASES.values()]
    return tuple(
        rope_of_whole_heads(section, reader, section.positive("rope_theta", base), width, context)
        for section, base in zip(sections, bases, strict=True)
    )


def shapes(config: Config) -> Shapes:
    width, inner = config.model_width, config.inner_width
    found: Shapes = {_TOKENS: (config.vocabulary, width)}
    before = [f"layers.{layer}.attn_norm" for layer in range(1, config.layers)]
    entries = ("embeddings.norm", *before, "layers.*.mlp_norm", "final_norm")
    found |= norms(width, *entries, biased=config.norm_bias)
    attention = {"layers.*.attn.Wqkv": (3 * width, width), "layers.*.attn.Wo": (width, width)}
    found |= maps(attention, biased=config.attention_bias)
    gated = {"layers.*.mlp.Wi": (2 * inner, width), "layers.*.mlp.Wo": (width, inner)}
    found |= maps(gated, biased=config.mlp_bias)
    if not config.predicts:
        return found | {OUTPUT: (config.vocabulary, width)}
    found |= maps({"head.dense": (width, width)}, biased=config.head_bias)
    found |= norms(width, "head.norm", biased=config.norm_bias)
    found |= {_OUTPUT_BIAS: (config.vocabulary,)} if config.output_bias else {}
    return found | output(config, width)


def naming(config: Config) -> Naming:
    older = {"decoder.weight": OUTPUT, "decoder.bias": _OUTPUT_BIAS}
    return Naming(("model.",), (), older, copies(config, _TOKENS, "decoder.weight"))


def complete(config: Config, names: Collection[str]) -> Config:
    """A classifier has maps of the same names as the head that predicts, and no use for tokens."""
    return replace(config, predicts=not any(name.startswith("classifier.") for name in names))


def describe(facts: Facts, config: Config) -> Facts:
    ropes = (config.local_rope if width else config.rope for width in config.windows)
    return replace(
        facts,
        stack="encoder",
        masked=True,
        embedding="normed",
        norm_bias=config.norm_bias,
        epsilon=config.epsilon,
        last_norm="head.norm",
        transform=config.head_activation,
        positions="rotary",
        windowed=any(config.windows),
        rotated=2 * len(config.rope.frequencies),
        attention_factors=tuple(rope.attention_factor for rope in ropes),
    )


def forward(model: Model, ids: Ids, request: Request, cache: Cache | None = None) -> Pass:
    config, weights = model.config, model.weights
    stack = Stack(model, ids, request, name="encoder")
    token = weights.rows(_TOKENS, stack.ids)
    x = layer_normed(weights, "embeddings.norm", token, config.epsilon)
    first = {"token_embedding": token, **norm_of(weights, "embeddings.norm")}
    ropes = [stack.angles(rope) for rope in (config.rope, config.local_rope)]
    for parts in stack.layers("layers."):
        width = config.windows[stack.layer]
        entry = entering(parts, "attn_norm", x, config.epsilon) if stack.layer else {"x": x}
        projected = _project(config, parts, entry.get("normed", x))
        output = yield from stack.attend(
            {**first, **entry, **rotated(projected, ropes[width > 0])},
            visible=_seen(width),
            out=parts.map("attn.Wo"),
        )
        x, first = x + output, {}
        normed = layer_normed(parts, "mlp_norm", x, config.epsilon)
        x = yield from stack.after(x + stack.mlp(_mlp(config, parts, normed)))
    return stack.end(x)


def final(model: Model, x: np.ndarray) -> np.ndarray:
    config, weights = model.config, model.weights
    x = layer_normed(weights, "final_norm", x, config.epsilon)
    inner = linear(weights, "head.dense", x, ACTIVATIONS[config.head_activation])
    return layer_normed(weights, "head.norm", inner, config.epsilon)


def _seen(width: int) -> Visible:
    return partial(masks.window, width=width, both_sides=True) if width else masks.none


def _project(config: Config, parts: LayerWeights, into: np.ndarray) -> Arrays:
    return fused(into, parts.map("attn.Wqkv"), **dict.fromkeys("qkv", config.heads))


def _mlp(config: Config, parts: LayerWeights, normed: np.ndarray) -> np.ndarray:
    """Wo(activation(first half of Wi(x)) · second half). Shazeer 2020, "GLU Variants"."""
    maps = *parts.map("mlp.Wi").halves, parts.map("mlp.Wo")
    return gated_feed_forward(normed, *maps, ACTIVATIONS[config.activation])


FAMILY = Family(
    read_config, shapes, naming, describe, forward, final, _TOKENS, output_bias=_OUTPUT_BIAS,
    head=("head.*", "lm_head.*"), complete=complete,
)  # fmt: skip
