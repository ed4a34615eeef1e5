"""OPT: learned positions that begin at row 2, norms before each part or after. Zhang et al. 2022.

The reference scales the queries before the dot products; here the scores are scaled in step 4, as
everywhere, which gives the same numbers from there on.
"""

from dataclasses import dataclass, replace

import numpy as np

from attn_cli.maths import layers as layer_maths
from attn_cli.maths.attention import embed
from attn_cli.maths.layers import layer_norm
from attn_cli.maths.masks import causal
from attn_cli.maths.products import feed_forward
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.cache import Cache, Ids, Pass
from attn_cli.model.config import ConfigReader, EqualHeads
from attn_cli.model.family import Family, Model
from attn_cli.model.project import Arrays, apart
from attn_cli.model.stack import Request, Stack
from attn_cli.model.tensors import MOST_LAYERS, Naming, Shapes, copies, maps, norms, output
from attn_cli.model.weights import LayerWeights, Weights, entering, linear, norms_of
from attn_cli.records import Facts

_HARMLESS = frozenset(
    """
    activation_dropout attention_dropout dropout init_std initializer_range layerdrop
    """.split()
)
# The first rows of the position table belonged to padding.
_FIRST_POSITION = 2
_EPSILON = 1e-5  # the reference's own, which no config changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(EqualHeads):
    """The numbers of an OPT model. `embedding_width` differs where the embedding is projected.

    `norm_first`: each part's norm stands before it, else after the sum; `last_norm` only with it.
    """

    embedding_width: int
    inner_width: int
    activation: str
    norm_first: bool
    last_norm: bool
    affine: bool
    biased: bool
    tied: bool

    @property
    def projected(self) -> bool:
        """Whether a matrix leads from the embedding to the model's width, and one back."""
        return self.embedding_width != self.model_width


def read_config(reader: ConfigReader) -> Config:
    width, heads = reader.equal_shares("hidden_size", "num_attention_heads")
    first = reader.flag("do_layer_norm_before", True)
    removed = reader.flag("_remove_final_layer_norm", False)
    config = Config(
        layers=reader.integer("num_hidden_layers", high=MOST_LAYERS),
        heads=heads,
        model_width=width,
        embedding_width=reader.integer("word_embed_proj_dim", width),
        inner_width=reader.integer("ffn_dim"),
        vocabulary=reader.integer("vocab_size"),
        context=reader.integer("max_position_embeddings"),
        activation=reader.choice("activation_function", ACTIVATIONS, "relu"),
        norm_first=first,
        last_norm=first and not removed,
        affine=reader.flag("layer_norm_elementwise_affine", True),
        biased=reader.flag("enable_bias", True),
        tied=reader.flag("tie_word_embeddings", True),
    )
    reader.finish(_HARMLESS)
    return config


def shapes(config: Config) -> Shapes:
    width, narrow, inner = config.model_width, config.embedding_width, config.inner_width
    layer = "decoder.layers.*."
    found: Shapes = {
        "decoder.embed_tokens.weight": (config.vocabulary, narrow),
        "decoder.embed_positions.weight": (config.context + _FIRST_POSITION, width),
    }
    if config.projected:
        found["decoder.project_in.weight"] = (width, narrow)
        found["decoder.project_out.weight"] = (narrow, width)
    if config.affine:
        last = ["decoder.final_layer_norm"] if config.last_norm else []
        found |= norms(width, f"{layer}self_attn_layer_norm", f"{layer}final_layer_norm", *last)
    square = {f"{layer}self_attn.{name}_proj": (width, width) for name in ("q", "k", "v", "out")}
    both = {f"{layer}fc1": (inner, width), f"{layer}fc2": (width, inner)}
    found |= maps({**square, **both}, biased=config.biased)
    return found | output(config, narrow)


def naming(config: Config) -> Naming:
    return Naming(("model.",), copies=copies(config, "decoder.embed_tokens.weight"))


def describe(facts: Facts, config: Config) -> Facts:
    return replace(
        facts,
        embedding="projected" if config.projected else "sum",
        residual="added" if config.norm_first else "after",
        positions="learned",
        affine=config.affine,
        epsilon=_EPSILON,
        last_norm="decoder.final_layer_norm" if config.last_norm else "",
    )


def forward(model: Model, ids: Ids, request: Request, cache: Cache | None = None) -> Pass:
    config, weights = model.config, model.weights
    stack = Stack(model, ids, request, cache)
    token = weights.rows("decoder.embed_tokens.weight", stack.ids)
    if config.projected:
        token = linear(weights, "decoder.project_in", token)
    rows = [position + _FIRST_POSITION for position in stack.positions]
    position = stack.placed(weights.rows("decoder.embed_positions.weight", rows))
    x, first = embed(token, position), {"token_embedding": token, "position_embedding": position}
    for parts in stack.layers("decoder.layers."):
        entry = _entering(config, parts, x)
        output = yield from stack.attend(
            {**first, **entry, **_project(config, parts, entry.get("normed", x))},
            visible=causal,
            out=parts.map("self_attn.out_proj"),
        )
        x, first = x + output, {}
        if config.norm_first:
            inner = stack.mlp(_mlp(config, parts, _norm(config, parts, _SECOND, x)))
            x = yield from stack.after(x + inner)
        else:
            x = _norm(config, parts, _FIRST, x)
            inner = stack.mlp(_mlp(config, parts, x), middle=x)
            x = yield from stack.after(
                _norm(config, parts, _SECOND, x + inner), norms=_after(config, parts)
            )
    return stack.end(x)


_FIRST, _SECOND = "self_attn_layer_norm", "final_layer_norm"


def final(model: Model, x: np.ndarray) -> np.ndarray:
    config, weights = model.config, model.weights
    if config.last_norm:
        x = _norm(config, weights, "decoder.final_layer_norm", x)
    if config.projected:
        x = linear(weights, "decoder.project_out", x)
    return x


def _entering(config: Config, parts: LayerWeights, x: np.ndarray) -> Arrays:
    if config.norm_first and config.affine:
        return entering(parts, _FIRST, x, _EPSILON)
    return {"x": x, "normed": _norm(config, parts, _FIRST, x)} if config.norm_first else {"x": x}


def _norm(config: Config, parts: LayerWeights | Weights, name: str, x: np.ndarray) -> np.ndarray:
    if not config.affine:
        return layer_maths.standardise(x, _EPSILON)[0]
    return layer_norm(x, parts[f"{name}.weight"], parts[f"{name}.bias"], _EPSILON)


def _after(config: Config, parts: LayerWeights) -> np.ndarray:
    """The norms after the sums; those without learned numbers multiply by 1 and add 0."""
    if config.affine:
        return norms_of(parts, _FIRST, _SECOND)
    return np.stack([np.eye(2, 1).repeat(config.model_width, axis=1)] * 2)


def _project(config: Config, parts: LayerWeights, into: np.ndarray) -> Arrays:
    maps = {letter: parts.map(f"self_attn.{letter}_proj") for letter in "qkv"}
    return apart(into, **{letter: (of, config.heads) for letter, of in maps.items()})


def _mlp(config: Config, parts: LayerWeights, into: np.ndarray) -> np.ndarray:
    return feed_forward(into, parts.map("fc1"), parts.map("fc2"), ACTIVATIONS[config.activation])


FAMILY = Family(
    read_config, shapes, naming, describe, forward, final, "decoder.embed_tokens.weight"
)
