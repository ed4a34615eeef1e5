"""BART: an encoder and a decoder, learned positions, a norm after each sum. Lewis et al. 2019."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from attn_cli.maths import masks
from attn_cli.maths.attention import embed
from attn_cli.maths.products import Map, feed_forward
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.cache import Cache, Ids, Pass, encoded
from attn_cli.model.config import ConfigReader, EqualHeads
from attn_cli.model.family import Family, Model
from attn_cli.model.project import Arrays, across, apart
from attn_cli.model.stack import Request, Stack
from attn_cli.model.tensors import MOST_LAYERS, Naming, Shapes, copies, maps, norms, output
from attn_cli.model.weights import LayerWeights, layer_normed, norm_of, norms_of
from attn_cli.records import Facts

# What training did, and keys of the first published files that the reference does not read.
_HARMLESS = frozenset(
    """
    activation_dropout add_bias_logits add_final_layer_norm attention_dropout classif_dropout
    classifier_dropout decoder_layerdrop dropout encoder_layerdrop extra_pos_embeddings
    force_bos_token_to_be_generated forced_bos_token_id init_std normalize_before
    normalize_embedding output_past save_step static_position_embeddings
    """.split()
)
_OTHER_SPELLING = {
    "d_model": "hidden_size",
    "encoder_attention_heads": "num_attention_heads",
    "encoder_layers": "num_hidden_layers",
}
# The first rows of the position tables belonged to padding.
_FIRST_POSITION = 2
_EPSILON = 1e-5  # the reference's own, which no config changes
_BIAS = "final_logits_bias"
_SELF, _CROSS = "self_attn", "encoder_attn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(EqualHeads):
    """The numbers of a BART model. `scaled`: token vectors are multiplied by √model_width.

    A text of the decoder has `start` first. `biased`: a bias is added to the logits.
    """

    encoder_layers: int
    encoder_heads: int
    inner_width: int
    encoder_inner_width: int
    activation: str
    scaled: bool
    start: int
    biased: bool = False
    tied: bool = True


def read_config(reader: ConfigReader) -> Config:
    for own, other in _OTHER_SPELLING.items():
        reader.take(own, other)
    width, heads = reader.equal_shares("d_model", "decoder_attention_heads")
    _, encoder_heads = reader.equal_shares("d_model", "encoder_attention_heads")
    vocabulary = reader.integer("vocab_size")
    config = Config(
        layers=reader.integer("decoder_layers", high=MOST_LAYERS),
        encoder_layers=reader.integer("encoder_layers", high=MOST_LAYERS),
        heads=heads,
        encoder_heads=encoder_heads,
        model_width=width,
        inner_width=reader.integer("decoder_ffn_dim"),
        encoder_inner_width=reader.integer("encoder_ffn_dim"),
        vocabulary=vocabulary,
        context=reader.integer("max_position_embeddings"),
        activation=reader.choice("activation_function", ACTIVATIONS, "gelu"),
        scaled=reader.flag("scale_embedding", False),
        start=reader.integer("decoder_start_token_id", 2, low=0, high=vocabulary - 1),
    )
    reader.only("tie_word_embeddings", True, null=False)
    reader.finish(_HARMLESS)
    return config


def complete(config: Config, names: Collection[str]) -> Config:
    return replace(config, biased=_BIAS in names)


def shapes(config: Config) -> Shapes:
    found: Shapes = {"shared.weight": (config.vocabulary, config.model_width)}
    found |= _of_stack(config, "encoder", config.encoder_inner_width, _SELF)
    found |= _of_stack(config, "decoder", config.inner_width, _SELF, _CROSS)
    found |= output(config, config.model_width)
    return found | ({_BIAS: (1, config.vocabulary)} if config.biased else {})


def _of_stack(config: Config, stack: str, inner: int, *attentions: str) -> Shapes:
    width, layer = config.model_width, f"{stack}.layers.*."
    found: Shapes = {f"{stack}.embed_positions.weight": (config.context + _FIRST_POSITION, width)}
    after = [f"{layer}{name}_layer_norm" for name in (*attentions, "final")]
    found |= norms(width, f"{stack}.layernorm_embedding", *after)
    each = {f"{name}.{letter}_proj" for name in attentions for letter in ("q", "k", "v", "out")}
    found |= maps({f"{layer}{name}": (width, width) for name in sorted(each)})
    return found | maps({f"{layer}fc1": (inner, width), f"{layer}fc2": (width, inner)})


def naming(config: Config) -> Naming:
    """The embedding may stand there again for each stack, and as the output matrix."""
    again = (f"{stack}.embed_tokens.weight" for stack in ("encoder", "decoder"))
    of_stacks = dict.fromkeys(again, "shared.weight")
    versions = ("*encoder.version", "*decoder.version")
    return Naming(("model.",), versions, copies=of_stacks | copies(config, "shared.weight"))


def describe(facts: Facts, config: Config) -> Facts:
    return replace(
        facts,
        encoder=(config.encoder_layers, config.encoder_heads),
        start=config.start,
        embedding="sum_normed",
        residual="after",
        positions="learned",
        epsilon=_EPSILON,
    )


def forward(model: Model, ids: Ids, request: Request, cache: Cache | None = None) -> Pass:
    memory = yield from encoded(cache, _encode(model, request.source, request))
    stack, heads = Stack(model, ids, request, cache), model.config.heads
    x, first = _embed(model, stack)
    for parts in stack.layers("decoder.layers."):
        output = yield from stack.attend(
            {**first, "x": x, **apart(x, **_maps(parts, _SELF, heads))},
            visible=masks.causal,
            out=parts.map(f"{_SELF}.out_proj"),
        )
        x, first = _norm(parts, _SELF, x + output), {}
        output = yield from stack.attend(
            {"x": x, **across(stack, x, memory.x, **_maps(parts, _CROSS, heads))},
            visible=masks.none,
            out=parts.map(f"{_CROSS}.out_proj"),
            source=memory,
        )
        x = _norm(parts, _CROSS, x + output)
        inner = stack.mlp(_mlp(model.config, parts, x), middle=x)
        x = yield from stack.after(
            _norm(parts, "final", x + inner), norms=_norms(parts, _SELF, _CROSS, "final")
        )
    return stack.end(x)


def _encode(model: Model, ids: Ids, request: Request) -> Pass:
    stack = Stack(model, ids, request, name="encoder")
    x, first = _embed(model, stack)
    for parts in stack.layers("encoder.layers."):
        output = yield from stack.attend(
            {**first, "x": x, **apart(x, **_maps(parts, _SELF, model.config.encoder_heads))},
            visible=masks.none,
            out=parts.map(f"{_SELF}.out_proj"),
        )
        x, first = _norm(parts, _SELF, x + output), {}
        inner = stack.mlp(_mlp(model.config, parts, x), middle=x)
        x = yield from stack.after(
            _norm(parts, "final", x + inner), norms=_norms(parts, _SELF, "final")
        )
    return stack.end(x)


def final(model: Model, x: np.ndarray) -> np.ndarray:
    return x


def _embed(model: Model, stack: Stack) -> tuple[np.ndarray, Arrays]:
    """What enters the first layer of a stack, and what it is made of."""
    weights = model.weights
    token = weights.rows("shared.weight", stack.ids)
    if model.config.scaled:
        token = token * token.dtype.type(model.config.model_width**0.5)
    rows = [position + _FIRST_POSITION for position in stack.positions]
    position = stack.placed(weights.rows(f"{stack.name}.embed_positions.weight", rows))
    name = f"{stack.name}.layernorm_embedding"
    x = layer_normed(weights, name, embed(token, position), _EPSILON)
    parts = {"token_embedding": token, "position_embedding": position}
    return x, {**parts, **norm_of(weights, name)}


def _maps(parts: LayerWeights, name: str, heads: int) -> dict[str, tuple[Map, int]]:
    return {letter: (parts.map(f"{name}.{letter}_proj"), heads) for letter in "qkv"}


def _norm(parts: LayerWeights, name: str, x: np.ndarray) -> np.ndarray:
    return layer_normed(parts, f"{name}_layer_norm", x, _EPSILON)


def _norms(parts: LayerWeights, *names: str) -> np.ndarray:
    return norms_of(parts, *(f"{name}_layer_norm" for name in names))


def _mlp(config: Config, parts: LayerWeights, x: np.ndarray) -> np.ndarray:
    return feed_forward(x, parts.map("fc1"), parts.map("fc2"), ACTIVATIONS[config.activation])


FAMILY = Family(
    read_config, shapes, naming, describe, forward, final, "shared.weight",
    output_bias=_BIAS, complete=complete,
)  # fmt: skip
