"""DeBERTa-v2 and -v3: what a token is and how far away it stands, in terms of their own. He 2021.

A score is the sum of up to three dot products: query with key, query with the key of their distance
(`content_to_position`), key with the query of their distance (`position_to_content`). Norms stand
after each part.
"""

from dataclasses import dataclass, replace

import numpy as np

from attn_cli.maths import masks
from attn_cli.maths.attention import Relation, default_scale, dot_products
from attn_cli.maths.layers import convolution
from attn_cli.maths.positions import at_rows, relative_rows
from attn_cli.maths.products import feed_forward
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.cache import Cache, Ids, Pass
from attn_cli.model.config import ConfigReader, EqualHeads
from attn_cli.model.family import Family, Model
from attn_cli.model.project import Arrays, apart
from attn_cli.model.stack import Request, Stack
from attn_cli.model.tensors import MOST_LAYERS, OUTPUT, Naming, Shapes, copies, maps, norms, output
from attn_cli.model.weights import (
    NOTHING,
    LayerWeights,
    Weights,
    layer_normed,
    linear,
    norm_of,
    norms_of,
)
from attn_cli.records import Facts

_HARMLESS = frozenset(
    """
    attention_probs_dropout_prob cls_dropout hidden_dropout_prob initializer_range is_causal
    pooler_dropout pooler_hidden_act pooler_hidden_size
    """.split()
)
_TOKENS, _POSITIONS, _TYPES = (
    f"embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")
)
_ENTRY, _ENTRY_MAP = "embeddings.LayerNorm", "embeddings.embed_proj"
_RELATIVE, _RELATIVE_NORM = "encoder.rel_embeddings.weight", "encoder.LayerNorm"
_CONVOLUTION, _CONVOLUTION_NORM = "encoder.conv.conv", "encoder.conv.LayerNorm"
_PROJECTIONS = {
    "q": "attention.self.query_proj",
    "k": "attention.self.key_proj",
    "v": "attention.self.value_proj",
}
_ATTENDED, _ATTENDED_NORM = "attention.output.dense", "attention.output.LayerNorm"
_WIDE, _NARROW, _NARROW_NORM = "intermediate.dense", "output.dense", "output.LayerNorm"
_OUTPUT_BIAS = "cls.predictions.decoder.bias"
_ANY = -(2**31)  # the least of a count where what is not above 0 is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(EqualHeads):
    """The numbers of a DeBERTa model. `types` counts the segments that it tells apart.

    `terms` are `c2p` and `p2c`; the scale counts them, though without `relative_positions` there
    are none. With `shared_projections` they need no maps of their own. `buckets` 0: each distance
    up to `farthest` has a row of its own. `kernel` 0: there is no convolution. `older_head` is the
    older form of the head that predicts.
    """

    embedding_width: int
    inner_width: int
    types: int
    epsilon: float
    activation: str
    absolute_positions: bool
    relative_positions: bool
    terms: tuple[str, ...]
    shared_projections: bool
    buckets: int
    farthest: int
    relative_norm: bool
    kernel: int
    groups: int
    kernel_activation: str
    older_head: bool
    tied: bool

    @property
    def span(self) -> int:
        """How many rows of the table of relative positions are of one direction."""
        return self.buckets or self.farthest

    @property
    def head_map(self) -> str:
        """The map of the head that predicts, before its norm."""
        return (
            "cls.predictions.transform.dense" if self.older_head else "lm_predictions.lm_head.dense"
        )

    @property
    def head_norm(self) -> str:
        """The norm whose output the output matrix takes."""
        return self.head_map.replace("dense", "LayerNorm")

    @property
    def relative_maps(self) -> dict[str, str]:
        """What makes the keys, or queries, of distances, by the array that they are."""
        own = "attention.self." if self.shared_projections else "attention.self.pos_"
        names = {"k_position": ("c2p", "key_proj"), "q_position": ("p2c", "query_proj")}
        terms = self.terms if self.relative_positions else ()
        return {array: own + name for array, (term, name) in names.items() if term in terms}


def read_config(reader: ConfigReader) -> Config:
    width, heads = reader.equal_shares("hidden_size", "num_attention_heads")
    reader.only("attention_head_size", width // heads)
    context = reader.integer("max_position_embeddings")
    activation = reader.choice("hidden_act", ACTIVATIONS, "gelu")
    older = reader.flag("legacy", True)
    config = Config(
        layers=reader.integer("num_hidden_layers", high=MOST_LAYERS),
        heads=heads,
        model_width=width,
        embedding_width=reader.integer("embedding_size", width),
        inner_width=reader.integer("intermediate_size"),
        vocabulary=reader.integer("vocab_size"),
        context=context,
        types=reader.integer("type_vocab_size", 0, low=0),
        epsilon=reader.positive("layer_norm_eps", 1e-7),
        activation=activation,
        absolute_positions=reader.flag("position_biased_input", True),
        relative_positions=reader.flag("relative_attention", False),
        terms=reader.some_words("pos_att_type", ("c2p", "p2c")),
        shared_projections=reader.flag("share_att_key", False),
        buckets=max(0, reader.integer("position_buckets", -1, low=_ANY)),
        farthest=_farthest(reader, context),
        relative_norm="layer_norm" in reader.some_words("norm_rel_ebd", ("none", "layer_norm")),
        kernel=max(0, reader.integer("conv_kernel_size", 0, low=_ANY)),
        groups=reader.integer("conv_groups", 1),
        kernel_activation=reader.choice("conv_act", ACTIVATIONS, "tanh"),
        older_head=older,
        tied=reader.flag("tie_word_embeddings", True) or not older,
    )
    _check(config, reader)
    reader.finish(_HARMLESS)
    return config


def _farthest(reader: ConfigReader, context: int) -> int:
    given = reader.integer("max_relative_positions", -1, low=_ANY)
    return given if given > 0 else context


def _check(config: Config, reader: ConfigReader) -> None:
    """Refuses what the reference's own code cannot compute either."""
    if config.relative_positions and config.buckets:
        near = config.buckets // 2
        if not 0 < near < config.farthest - 1:
            raise reader.error(
                f"position_buckets {config.buckets} do not divide {config.farthest} distances",
                "half of the buckets are of one distance each, the others share those beyond",
            )
    if config.kernel and not config.kernel % 2:
        raise reader.error(f"conv_kernel_size {config.kernel} is not an odd number")
    if config.kernel and config.model_width % config.groups:
        raise reader.error(
            f"hidden_size {config.model_width} does not divide by conv_groups {config.groups}"
        )
    if not config.older_head and config.embedding_width != config.model_width:
        raise reader.error(
            f"embedding_size {config.embedding_width} is not hidden_size {config.model_width}",
            "the head that predicts (legacy false) multiplies vectors of one width with the other",
        )


def shapes(config: Config) -> Shapes:
    width, narrow, layer = config.model_width, config.embedding_width, "encoder.layer.*."
    found: Shapes = {_TOKENS: (config.vocabulary, narrow)}
    if config.absolute_positions:
        found[_POSITIONS] = (config.context, narrow)
    if config.types:
        found[_TYPES] = (config.types, narrow)
    if narrow != width:
        found[f"{_ENTRY_MAP}.weight"] = (width, narrow)
    if config.relative_positions:
        found[_RELATIVE] = (2 * config.span, width)
    found |= norms(width, *([_RELATIVE_NORM] if config.relative_norm else []))
    if config.kernel:
        found[f"{_CONVOLUTION}.weight"] = (width, width // config.groups, config.kernel)
        found |= norms(width, _CONVOLUTION_NORM) | {f"{_CONVOLUTION}.bias": (width,)}
    found |= norms(width, _ENTRY, layer + _ATTENDED_NORM, layer + _NARROW_NORM)
    square = [*_PROJECTIONS.values(), *config.relative_maps.values(), _ATTENDED]
    found |= maps({layer + name: (width, width) for name in square})
    inner = config.inner_width
    found |= maps({layer + _WIDE: (inner, width), layer + _NARROW: (width, inner)})
    found |= maps({config.head_map: (narrow, width)}) | norms(narrow, config.head_norm)
    return found | {_OUTPUT_BIAS: (config.vocabulary,)} | output(config, narrow)


def naming(config: Config) -> Naming:
    """The config means one of two forms of the head; in the older one its bias has two names."""
    left_out = ["*embeddings.position_ids", "*pooler.*"]
    left_out += [] if config.absolute_positions else [f"*{_POSITIONS}"]
    if not config.older_head:
        older = {"lm_predictions.lm_head.bias": _OUTPUT_BIAS}
        return Naming(("deberta.",), (*left_out, "cls.predictions.*"), older)
    matrix, bias = "cls.predictions.decoder.weight", "cls.predictions.bias"
    if not config.tied:
        return Naming(("deberta.",), (*left_out, bias), {matrix: OUTPUT})
    again = copies(config, _TOKENS, matrix) | {bias: _OUTPUT_BIAS}
    return Naming(("deberta.",), tuple(left_out), {matrix: OUTPUT}, again)


def describe(facts: Facts, config: Config) -> Facts:
    absolute = "learned" if config.absolute_positions else "none"
    return replace(
        facts,
        stack="encoder",
        masked=True,
        embedding="sum_normed" if config.absolute_positions or config.types else "normed",
        residual="after",
        positions="disentangled" if config.relative_maps else absolute,
        epsilon=config.epsilon,
        last_norm=config.head_norm,
        transform=config.activation,
    )


def forward(model: Model, ids: Ids, request: Request, cache: Cache | None = None) -> Pass:
    config, weights = model.config, model.weights
    stack = Stack(model, ids, request, name="encoder")
    first = _parts(model, stack)
    entered = x = layer_normed(weights, _ENTRY, sum(first.values()), config.epsilon)
    first |= norm_of(weights, _ENTRY)
    relative = _relative(config, weights)
    for parts in stack.layers("encoder.layer."):
        arrays = {**_project(config, parts, x), **_project_relative(config, parts, relative)}
        output = yield from stack.attend(
            {**first, "x": x, **arrays},
            visible=masks.none,
            out=parts.map(_ATTENDED),
            scale=default_scale(config.head_width * (1 + len(config.terms))),
            terms=_terms(config, arrays),
        )
        x, first = layer_normed(parts, _ATTENDED_NORM, x + output, config.epsilon), {}
        inner = stack.mlp(_mlp(config, parts, x), middle=x)
        x = layer_normed(parts, _NARROW_NORM, x + inner, config.epsilon)
        norms, more = norms_of(parts, _ATTENDED_NORM, _NARROW_NORM), {}
        if config.kernel and stack.layer == 0:
            more = {"convolution": _convolved(config, weights, entered), "inner": x}
            x = layer_normed(weights, _CONVOLUTION_NORM, sum(more.values()), config.epsilon)
            norms = np.concatenate([norms, norms_of(weights, _CONVOLUTION_NORM)])
        x = yield from stack.after(x, **more, norms=norms)
    return stack.end(x)


def final(model: Model, x: np.ndarray) -> np.ndarray:
    config, weights = model.config, model.weights
    inner = linear(weights, config.head_map, x, ACTIVATIONS[config.activation])
    return layer_normed(weights, config.head_norm, inner, config.epsilon)


def _parts(model: Model, stack: Stack) -> Arrays:
    """What the embedding is the sum of, in the model's width."""
    config, weights = model.config, model.weights
    parts = {"token_embedding": weights.rows(_TOKENS, stack.ids)}
    if config.absolute_positions:
        rows = weights.rows(_POSITIONS, stack.positions)
        parts["position_embedding"] = stack.placed(rows)
    if config.types:
        parts["type_embedding"] = weights.rows(_TYPES, stack.segments(config.types))
    if config.embedding_width == config.model_width:
        return parts
    return {name: linear(weights, _ENTRY_MAP, part) for name, part in parts.items()}


def _relative(config: Config, weights: Weights) -> np.ndarray:
    """The vectors of relative positions (bucket, model), of no use without terms."""
    if not config.relative_maps:
        return NOTHING
    table = weights[_RELATIVE]
    if not config.relative_norm:
        return table
    return layer_normed(weights, _RELATIVE_NORM, table, config.epsilon)


def _project(config: Config, parts: LayerWeights, x: np.ndarray) -> Arrays:
    maps = {letter: parts.map(name) for letter, name in _PROJECTIONS.items()}
    return apart(x, **{letter: (of, config.heads) for letter, of in maps.items()})


def _project_relative(config: Config, parts: LayerWeights, table: np.ndarray) -> Arrays:
    """The key and the query that each relative position has, (head, bucket, width)."""
    if not config.relative_maps:
        return {}
    maps = {array: parts.map(name) for array, name in config.relative_maps.items()}
    made = apart(table, **{array: (of, config.heads) for array, of in maps.items()})
    return {array: made[array] for array in maps}


def _terms(config: Config, arrays: Arrays) -> dict[str, Relation]:
    """Each product with a position is made once, and picked for each pair by their distance."""

    def rows(at_Q: np.ndarray, at_K: np.ndarray) -> np.ndarray:
        return relative_rows(at_Q, at_K, config.farthest, config.buckets)

    found: dict[str, Relation] = {}
    if "k_position" in arrays:
        of_queries = dot_products(arrays["q"], arrays["k_position"])
        found["content_to_position"] = lambda at_Q, at_K: at_rows(
            of_queries[:, at_Q], rows(at_Q, at_K)
        )
    if "q_position" in arrays:
        of_keys = dot_products(arrays["k"], arrays["q_position"])
        found["position_to_content"] = lambda at_Q, at_K: at_rows(
            of_keys[:, at_K], rows(at_Q, at_K).T
        ).swapaxes(-1, -2)
    return found


def _mlp(config: Config, parts: LayerWeights, x: np.ndarray) -> np.ndarray:
    return feed_forward(x, parts.map(_WIDE), parts.map(_NARROW), ACTIVATIONS[config.activation])


def _convolved(config: Config, weights: Weights, x: np.ndarray) -> np.ndarray:
    w_NMT, b_N = (weights[f"{_CONVOLUTION}.{part}"] for part in ("weight", "bias"))
    return ACTIVATIONS[config.kernel_activation](convolution(x, w_NMT, b_N))


FAMILY = Family(
    read_config, shapes, naming, describe, forward, final, _TOKENS,
    head=("cls.predictions.*", "lm_predictions.*", OUTPUT), output_bias=_OUTPUT_BIAS,
)  # fmt: skip
