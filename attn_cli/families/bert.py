"""BERT: every token sees every other, norms after each part, tokens of two segments. Devlin 2018.

Its siblings have the same operations under other names of tensors.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from attn_cli.maths import masks
from attn_cli.maths.products import feed_forward
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.cache import Cache, Ids, Pass
from attn_cli.model.config import ConfigReader, EqualHeads
from attn_cli.model.family import Family, Model
from attn_cli.model.gguf import HARMLESS as HARMLESS_IN_GGUF
from attn_cli.model.gguf import NEUTRAL, Gguf, named
from attn_cli.model.project import Arrays, apart
from attn_cli.model.stack import Request, Stack
from attn_cli.model.tensors import (
    MOST_LAYERS,
    OUTPUT,
    Naming,
    Shapes,
    copies,
    maps,
    norms,
    of_layers,
    output,
)
from attn_cli.model.weights import LayerWeights, layer_normed, linear, norm_of, norms_of
from attn_cli.records import Facts

# Dropout acts in training only, the pooler's keys say how a text becomes one vector.
HARMLESS = frozenset(
    """
    attention_probs_dropout_prob classifier_dropout directionality hidden_dropout_prob
    initializer_range is_causal output_past pooler_fc_size pooler_num_attention_heads
    pooler_num_fc_layers pooler_size_per_head pooler_type
    """.split()
)
TOKENS, NORM = "embeddings.word_embeddings.weight", "embeddings.LayerNorm"
_POSITIONS = "embeddings.position_embeddings.weight"
_TYPES = "embeddings.token_type_embeddings.weight"


class Names(NamedTuple):
    """What a family of this form calls its tensors; those of a layer follow `layer`.

    `head` and `head_norm` make what is compared with the tokens' vectors, or with `decoder`.
    """

    prefix: str = "bert."
    layer: str = "encoder.layer.*."
    q: str = "attention.self.query"
    k: str = "attention.self.key"
    v: str = "attention.self.value"
    attended: str = "attention.output.dense"
    attended_norm: str = "attention.output.LayerNorm"
    wide: str = "intermediate.dense"
    narrow: str = "output.dense"
    narrow_norm: str = "output.LayerNorm"
    head: str = "cls.predictions.transform.dense"
    head_norm: str = "cls.predictions.transform.LayerNorm"
    decoder: str = "cls.predictions.decoder"
    output_bias: str = "cls.predictions.bias"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(EqualHeads):
    """The numbers of a BERT model. `types` counts the segments that it tells apart, 0: it does not.

    The first `first_position` rows of the position table are of no token that is read.
    """

    names: ClassVar[Names] = Names()
    embedding_width: int
    inner_width: int
    first_position: int = 0
    types: int
    epsilon: float
    activation: str
    head_activation: str
    tied: bool

    @property
    def projection(self) -> str:
        """The map from the embedding's width to the model's, where there is one."""
        return ""


def read_config(reader: ConfigReader) -> Config:
    config = Config(**sizes(reader))
    no_decoder(reader)
    reader.finish(HARMLESS)
    return config


def sizes(reader: ConfigReader, **others: Any) -> dict[str, Any]:
    """What the siblings have under BERT's own keys; `others` is what they have otherwise."""
    reader.only("position_embedding_type", "absolute")
    width, heads = reader.equal_shares("hidden_size", "num_attention_heads")
    activation = reader.choice("hidden_act", ACTIVATIONS, "gelu")
    found = {
        "layers": reader.integer("num_hidden_layers", high=MOST_LAYERS),
        "heads": heads,
        "model_width": width,
        "embedding_width": width,
        "inner_width": reader.integer("intermediate_size"),
        "vocabulary": reader.integer("vocab_size"),
        "context": reader.integer("max_position_embeddings"),
        "types": reader.integer("type_vocab_size", 2),
        "epsilon": reader.positive("layer_norm_eps", 1e-12),
        "activation": activation,
        "head_activation": activation,
        "tied": reader.flag("tie_word_embeddings", True),
    }
    return {**found, **others}


def no_decoder(reader: ConfigReader) -> None:
    """Refuses a model that sees no later tokens, or another stack's."""
    for key in ("is_decoder", "add_cross_attention"):
        reader.only(key, False)


def shapes(config: Config) -> Shapes:
    names, width, narrow = config.names, config.model_width, config.embedding_width
    found: Shapes = {
        TOKENS: (config.vocabulary, narrow),
        _POSITIONS: (config.first_position + config.context, narrow),
    }
    if config.types:
        found[_TYPES] = (config.types, narrow)
    found |= norms(narrow, NORM, names.head_norm) | norms(width, *_layer_norms(names))
    of_layer = {
        **dict.fromkeys((names.q, names.k, names.v, names.attended), (width, width)),
        names.wide: (config.inner_width, width),
        names.narrow: (width, config.inner_width),
    }
    found |= maps({names.layer + name: shape for name, shape in of_layer.items()})
    found |= maps({config.projection: (width, narrow)} if config.projection else {})
    found |= maps({names.head: (narrow, width)})
    return found | {names.output_bias: (config.vocabulary,)} | output(config, narrow)


def _layer_norms(names: Names) -> tuple[str, str]:
    return names.layer + names.attended_norm, names.layer + names.narrow_norm


def naming(config: Config) -> Naming:
    """The pooler and stored positions carry nothing; old files have norms by Greek letters.

    A tied output may stand there again, its bias too; one of its own has a bias of its own.
    """
    names = config.names
    every = of_layers(norms(1, NORM, names.head_norm, *_layer_norms(names)), config)
    older = {n.replace(".weight", ".gamma").replace(".bias", ".beta"): n for n in every}
    bias = f"{names.decoder}.bias"
    again = {bias: names.output_bias} if bias != names.output_bias else {}
    left_out = ("*embeddings.position_ids", "*pooler.*", *(() if config.tied else again.values()))
    return Naming(
        (names.prefix,),
        left_out,
        older | {f"{names.decoder}.weight": OUTPUT} | again,
        copies(config, TOKENS, f"{names.decoder}.weight") | (again if config.tied else {}),
    )


def describe(facts: Facts, config: Config) -> Facts:
    return replace(
        facts,
        stack="encoder",
        masked=facts.predicts,
        embedding="sum_normed_projected" if config.projection else "sum_normed",
        residual="after",
        positions="learned",
        epsilon=config.epsilon,
        transform=config.head_activation,
        last_norm=config.names.head_norm,
    )


def _counted(config: Config, stack: Stack) -> Sequence[int]:
    return stack.positions


def _apart(model: Model, stack: Stack) -> Iterator[LayerWeights]:
    return stack.layers(model.config.names.layer.removesuffix("*."))


def forward(
    model: Model,
    ids: Ids,
    request: Request,
    cache: Cache | None = None,
    *,
    rows: Callable[[Config, Stack], Sequence[int]] = _counted,
    layers: Callable[[Model, Stack], Iterator[LayerWeights]] = _apart,
) -> Pass:
    """`rows` are those of the position table, one for each token; `layers` give their tensors."""
    config, names = model.config, model.config.names
    stack = Stack(model, ids, request, name="encoder")
    first = _parts(model, stack, rows(config, stack))
    x = layer_normed(model.weights, NORM, sum(first.values()), config.epsilon)
    if config.projection:
        x = linear(model.weights, config.projection, x)
    else:
        first |= norm_of(model.weights, NORM)
    for parts in layers(model, stack):
        output = yield from stack.attend(
            {**first, "x": x, **_project(config, parts, x)},
            visible=masks.none,
            out=parts.map(names.attended),
        )
        x, first = layer_normed(parts, names.attended_norm, x + output, config.epsilon), {}
        inner = stack.mlp(_mlp(config, parts, x), middle=x)
        x = yield from stack.after(
            layer_normed(parts, names.narrow_norm, x + inner, config.epsilon),
            norms=norms_of(parts, names.attended_norm, names.narrow_norm),
        )
    return stack.end(x)


def final(model: Model, x: np.ndarray) -> np.ndarray:
    config, names = model.config, model.config.names
    inner = linear(model.weights, names.head, x, ACTIVATIONS[config.head_activation])
    return layer_normed(model.weights, names.head_norm, inner, config.epsilon)


def _parts(model: Model, stack: Stack, rows: Sequence[int]) -> Arrays:
    """What the embedding is the sum of."""
    weights, known = model.weights, model.config.types
    parts = {
        "token_embedding": weights.rows(TOKENS, stack.ids),
        "position_embedding": stack.placed(weights.rows(_POSITIONS, rows)),
    }
    if not known:
        return parts
    return {**parts, "type_embedding": weights.rows(_TYPES, stack.segments(known))}


def _project(config: Config, parts: LayerWeights, x: np.ndarray) -> Arrays:
    maps = {letter: parts.map(getattr(config.names, letter)) for letter in "qkv"}
    return apart(x, **{letter: (of, config.heads) for letter, of in maps.items()})


def _mlp(config: Config, parts: LayerWeights, x: np.ndarray) -> np.ndarray:
    maps = parts.map(config.names.wide), parts.map(config.names.narrow)
    return feed_forward(x, *maps, ACTIVATIONS[config.activation])


# --- the same model, or a sibling, in a GGUF file, which has no head -----------------------------


def _finish(config: Config, _: ConfigReader, tensors: Mapping[str, Any]) -> Config:
    types = tensors.get("token_types.weight")
    return replace(config, types=0 if types is None else types.shape[0])


_GGUF = Gguf(
    keys={
        "block_count": "num_hidden_layers",
        "context_length": "max_position_embeddings",
        "embedding_length": "hidden_size",
        "feed_forward_length": "intermediate_size",
        "attention.head_count": "num_attention_heads",
        "attention.layer_norm_epsilon": "layer_norm_eps",
    },
    harmless=HARMLESS_IN_GGUF | {"classifier"},
    neutral=NEUTRAL | {"attention.causal": (False,)},
    required=("attention.causal",),
    tensors={
        TOKENS: "token_embd.weight",
        _POSITIONS: "position_embd.weight",
        _TYPES: "token_types.weight",
    }
    | named(
        {
            NORM: "token_embd_norm",
            "encoder.layer.*.attention.self.query": "blk.*.attn_q",
            "encoder.layer.*.attention.self.key": "blk.*.attn_k",
            "encoder.layer.*.attention.self.value": "blk.*.attn_v",
            "encoder.layer.*.attention.output.dense": "blk.*.attn_output",
            "encoder.layer.*.attention.output.LayerNorm": "blk.*.attn_output_norm",
            "encoder.layer.*.intermediate.dense": "blk.*.ffn_up",
            "encoder.layer.*.output.dense": "blk.*.ffn_down",
            "encoder.layer.*.output.LayerNorm": "blk.*.layer_output_norm",
        }
    ),
    left_out=("cls",),
    finish=_finish,
)

FAMILY = Family(
    read_config, shapes, naming, describe, forward, final, TOKENS, _GGUF,
    head=("cls.predictions.*", OUTPUT), output_bias="cls.predictions.bias",
)  # fmt: skip
