"""T5: an encoder and a decoder, positions by a learned bias on the scores. Raffel et al. 2020.

`relative_attention_bias` stands in layer 0 of a stack and serves all its layers. Version 1.1 and
its offspring (Flan-T5, Flan-UL2) have a gated feed-forward network and an output matrix of their
own. Weights are stored (output, input).
"""

from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from attn_cli.maths import masks
from attn_cli.maths.layers import rms_norm
from attn_cli.maths.positions import relative_bias
from attn_cli.maths.products import Map, feed_forward, gated_feed_forward
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.cache import Cache, End, Ids, Pass, encoded
from attn_cli.model.config import ConfigReader
from attn_cli.model.family import Family, Model
from attn_cli.model.gguf import HARMLESS, Gguf, named
from attn_cli.model.project import Arrays, across, apart
from attn_cli.model.stack import Request, Stack
from attn_cli.model.tensors import MOST_LAYERS, OUTPUT, Naming, Shapes, maps, norms, output
from attn_cli.model.weights import NOTHING, LayerWeights, Weights
from attn_cli.records import Attention, Facts

# `n_positions` bounds nothing: every distance has a bias. Which output matrix there is, the tensors
# say.
_HARMLESS = frozenset(
    """
    classifier_dropout dropout_rate initializer_factor n_positions output_past scalable_attention
    tie_word_embeddings
    """.split()
)
_SELF, _CROSS = "layer.0.SelfAttention", "layer.1.EncDecAttention"
_BIAS = f"{_SELF}.relative_attention_bias"
# Older files have it, and nothing uses it.
_UNUSED = f"decoder.block.0.{_CROSS}.relative_attention_bias.weight"
_OTHER_SPELLING = {
    "d_model": "hidden_size",
    "d_kv": "head_dim",
    "num_heads": "num_attention_heads",
    "num_layers": "num_hidden_layers",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The numbers of a T5 model. `layers` are the decoder's, or those of an encoder `alone`.

    `buckets` of distances have a bias, all beyond `farthest` the same; with `own_tables` another
    in each layer. `scaled`: the logits are multiplied by 1 / √model_width. `start` is the first
    token of the decoder's text.
    """

    layers: int
    encoder_layers: int
    heads: int
    head_width: int
    model_width: int
    inner_width: int
    vocabulary: int
    epsilon: float
    activation: str
    gated: bool
    buckets: int
    farthest: int
    scaled: bool
    start: int
    own_tables: bool = False
    tied: bool = True
    alone: bool = False
    context: int = 0  # any length

    @property
    def kv_heads(self) -> int:
        """As many as heads."""
        return self.heads

    @property
    def encoder_heads(self) -> int:
        """As many as the decoder's."""
        return self.heads


def read_config(reader: ConfigReader) -> Config:
    return common(reader, "relu", scaled=scales(reader))


def scales(reader: ConfigReader) -> bool:
    """Whether the logits are scaled: files before 5.0 say it by their other key."""
    if reader.says("scale_decoder_outputs"):
        return reader.flag("scale_decoder_outputs", False)
    return reader.flag("tie_word_embeddings", True)


def common(reader: ConfigReader, network: str, *, scaled: bool, own_tables: bool = False) -> Config:
    """What all siblings read alike; `network` is the feed-forward network of each by default."""
    for own, other in _OTHER_SPELLING.items():
        reader.take(own, other)
    layers = reader.integer("num_layers", high=MOST_LAYERS)
    vocabulary = reader.integer("vocab_size")
    known = [f"{gate}{name}" for gate in ("", "gated-") for name in ACTIVATIONS]
    way = reader.choice("feed_forward_proj", known, network)
    activation = "gelu_new" if way == "gated-gelu" else way.removeprefix("gated-")
    buckets = reader.integer("relative_attention_num_buckets", 32, low=4)
    config = Config(
        layers=reader.integer("num_decoder_layers", layers, high=MOST_LAYERS),
        encoder_layers=layers,
        heads=reader.integer("num_heads"),
        head_width=reader.integer("d_kv"),
        model_width=reader.integer("d_model"),
        inner_width=reader.integer("d_ff"),
        vocabulary=vocabulary,
        epsilon=reader.positive("layer_norm_epsilon", 1e-6),
        # Files of the reference have what it makes of that word as well, which it then reads.
        activation=reader.choice("dense_act_fn", ACTIVATIONS, activation),
        gated=reader.flag("is_gated_act", way.startswith("gated-")),
        buckets=buckets,
        farthest=reader.integer("relative_attention_max_distance", 128, low=buckets // 2 + 1),
        start=reader.integer("decoder_start_token_id", 0, low=0, high=vocabulary - 1),
        scaled=scaled,
        own_tables=own_tables,
    )
    reader.finish(_HARMLESS)
    return config


def complete(config: Config, names: Collection[str]) -> Config:
    """A file may hold the encoder alone; it holds an output matrix, or the embedding serves."""
    if not any(name.startswith("decoder.") for name in names):
        return replace(config, alone=True, layers=config.encoder_layers)
    return replace(config, tied=OUTPUT not in names)


def shapes(config: Config) -> Shapes:
    found: Shapes = {"shared.weight": (config.vocabulary, config.model_width)}
    found |= _of_stack(config, "encoder", _SELF)
    if not config.alone:
        found |= _of_stack(config, "decoder", _SELF, _CROSS)
    return found | output(config, config.model_width)


def _of_stack(config: Config, stack: str, *attentions: str) -> Shapes:
    width, inner = config.model_width, config.heads * config.head_width
    layer, mlp = f"{stack}.block.*.", f"layer.{len(attentions)}.DenseReluDense"
    each = {f"{layer}{name}.{letter}": (inner, width) for name in attentions for letter in "qkv"}
    each |= {f"{layer}{name}.o": (width, inner) for name in attentions}
    wide = ("wi_0", "wi_1") if config.gated else ("wi",)
    each |= {f"{layer}{mlp}.{name}": (config.inner_width, width) for name in wide}
    each[f"{layer}{mlp}.wo"] = (width, config.inner_width)
    before = [f"{layer}layer.{n}.layer_norm" for n in range(len(attentions) + 1)]
    found = maps(each, biased=False)
    found |= norms(width, *before, f"{stack}.final_layer_norm", biased=False)
    table = layer if config.own_tables else layer.replace("*", "0")
    return found | {f"{table}{_BIAS}.weight": (config.buckets, config.heads)}


def naming(config: Config) -> Naming:
    """The embedding may stand there again for each stack."""
    again = (f"{stack}.embed_tokens.weight" for stack in ("encoder", "decoder"))
    return Naming(("transformer.",), (f"*{_UNUSED}",), copies=dict.fromkeys(again, "shared.weight"))


def describe(facts: Facts, config: Config) -> Facts:
    facts = replace(facts, norm="rms", epsilon=config.epsilon, positions="relative")
    if config.alone:
        return replace(facts, stack="encoder", predicts=False)
    return replace(
        facts,
        encoder=(config.encoder_layers, config.heads),
        start=config.start,
        last_norm="decoder.final_layer_norm",
        logit_scale=config.model_width**-0.5 if config.scaled else 1.0,
    )


def forward(model: Model, ids: Ids, request: Request, cache: Cache | None = None) -> Pass:
    if model.config.alone:
        return (yield from _encode(model, ids, request))
    memory = yield from encoded(cache, _encode(model, request.source, request))
    stack = Stack(model, ids, request, cache)
    x, table = model.weights.rows("shared.weight", stack.ids), NOTHING
    for parts in stack.layers("decoder.block."):
        table = parts.get(f"{_BIAS}.weight", table)
        x = x + (yield from _to_itself(model.config, stack, parts, x, table, both_sides=False))
        x = x + (yield from _to_source(model.config, stack, parts, x, memory))
        x = yield from stack.after(x + stack.mlp(_mlp(model.config, parts, "layer.2", x)))
    return stack.end(x)


def _encode(model: Model, ids: Ids, request: Request) -> Pass:
    stack = Stack(model, ids, request, name="encoder")
    x, table = model.weights.rows("shared.weight", stack.ids), NOTHING
    for parts in stack.layers("encoder.block."):
        table = parts.get(f"{_BIAS}.weight", table)
        x = x + (yield from _to_itself(model.config, stack, parts, x, table, both_sides=True))
        x = yield from stack.after(x + stack.mlp(_mlp(model.config, parts, "layer.1", x)))
    return stack.end(_norm(model.config, model.weights, "encoder.final_layer_norm", x))


def final(model: Model, x: np.ndarray) -> np.ndarray:
    return _norm(model.config, model.weights, "decoder.final_layer_norm", x)


def _to_itself(
    config: Config,
    stack: Stack,
    parts: LayerWeights,
    x: np.ndarray,
    table: np.ndarray,
    *,
    both_sides: bool,
) -> Generator[Attention, None, np.ndarray]:
    """A stack attends to itself; `table` (bucket, head) says how distance weighs."""
    entry = _entering(config, parts, "layer.0", x)
    return stack.attend(
        {**entry, **apart(entry["normed"], **_maps(config, parts, _SELF))},
        visible=masks.none if both_sides else masks.causal,
        out=parts.map(f"{_SELF}.o"),
        scale=1.0,
        bias=partial(
            relative_bias, table_BH=table, farthest=config.farthest, both_sides=both_sides
        ),
    )


def _to_source(
    config: Config, stack: Stack, parts: LayerWeights, x: np.ndarray, memory: End
) -> Generator[Attention, None, np.ndarray]:
    """The decoder attends to what the encoder made."""
    entry = _entering(config, parts, "layer.1", x)
    return stack.attend(
        {**entry, **across(stack, entry["normed"], memory.x, **_maps(config, parts, _CROSS))},
        visible=masks.none,
        out=parts.map(f"{_CROSS}.o"),
        scale=1.0,
        source=memory,
    )


def _maps(config: Config, parts: LayerWeights, name: str) -> dict[str, tuple[Map, int]]:
    return {letter: (parts.map(f"{name}.{letter}"), config.heads) for letter in "qkv"}


def _entering(config: Config, parts: LayerWeights, name: str, x: np.ndarray) -> Arrays:
    gain = parts[f"{name}.layer_norm.weight"]
    return {"x": x, "w_norm": gain, "normed": rms_norm(x, gain, config.epsilon)}


def _norm(config: Config, parts: LayerWeights | Weights, name: str, x: np.ndarray) -> np.ndarray:
    return rms_norm(x, parts[f"{name}.weight"], config.epsilon)


def _mlp(config: Config, parts: LayerWeights, name: str, x: np.ndarray) -> np.ndarray:
    normed, inner = _norm(config, parts, f"{name}.layer_norm", x), f"{name}.DenseReluDense"
    activation = ACTIVATIONS[config.activation]
    narrow = parts.map(f"{inner}.wo")
    if not config.gated:
        return feed_forward(normed, parts.map(f"{inner}.wi"), narrow, activation)
    gate, up = (parts.map(f"{inner}.wi_{i}") for i in (0, 1))
    return gated_feed_forward(normed, gate, up, narrow, activation)


# --- the same model in a GGUF file, which does not say all that config.json does -----------------


def _say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    """llama.cpp knows two networks by their tensors: version 1.0's, and that of Flan-T5.

    It leaves the logits of version 1.0 as they are, which changes no ranking; here they are scaled
    as in the model that the file was made from.
    """
    gated = "enc.blk.0.ffn_gate.weight" in tensors
    values |= {
        "feed_forward_proj": "gated-gelu" if gated else "relu",
        "scale_decoder_outputs": not gated,
    }
    width = reader.integer("d_kv")
    if values.pop("value_dim", width) != width:
        raise reader.error(f"{reader.named('value_dim')} differs from the head width {width}")


def _finish(config: Config, reader: ConfigReader, tensors: Mapping[str, Any]) -> Config:
    tables = (f"{stack}.blk.1.attn_rel_b.weight" for stack in ("enc", "dec"))
    return replace(config, own_tables=any(table in tensors for table in tables))


def _widening(config: Config) -> dict[str, str]:
    """The maps that widen: one that stands alone has the name of one beside a gate."""
    ours = {"wi_0": "ffn_gate", "wi_1": "ffn_up"} if config.gated else {"wi": "ffn_up"}
    mlps = {"encoder.block.*.layer.1": "enc.blk.*", "decoder.block.*.layer.2": "dec.blk.*"}
    return {
        f"{place}.DenseReluDense.{name}.weight": f"{theirs}.{own}.weight"
        for place, theirs in mlps.items()
        for name, own in ours.items()
    }


_GGUF = Gguf(
    keys={
        "block_count": "num_layers",
        "decoder_block_count": "num_decoder_layers",
        "embedding_length": "d_model",
        "feed_forward_length": "d_ff",
        "attention.head_count": "num_heads",
        "attention.key_length": "d_kv",
        "attention.value_length": "value_dim",
        "attention.relative_buckets_count": "relative_attention_num_buckets",
        "attention.layer_norm_rms_epsilon": "layer_norm_epsilon",
        "decoder_start_token_id": "decoder_start_token_id",
    },
    # The context is that of training, and both norms are the same number.
    harmless=HARMLESS | {"context_length", "attention.layer_norm_epsilon"},
    required=("attention.relative_buckets_count",),
    tensors=named(
        {
            "shared": "token_embd",
            "lm_head": "output",
            "encoder.final_layer_norm": "enc.output_norm",
            "encoder.block.*.layer.0.layer_norm": "enc.blk.*.attn_norm",
            f"encoder.block.*.{_BIAS}": "enc.blk.*.attn_rel_b",
            "encoder.block.*.layer.0.SelfAttention.q": "enc.blk.*.attn_q",
            "encoder.block.*.layer.0.SelfAttention.k": "enc.blk.*.attn_k",
            "encoder.block.*.layer.0.SelfAttention.v": "enc.blk.*.attn_v",
            "encoder.block.*.layer.0.SelfAttention.o": "enc.blk.*.attn_o",
            "encoder.block.*.layer.1.layer_norm": "enc.blk.*.ffn_norm",
            "encoder.block.*.layer.1.DenseReluDense.wo": "enc.blk.*.ffn_down",
            "decoder.final_layer_norm": "dec.output_norm",
            "decoder.block.*.layer.0.layer_norm": "dec.blk.*.attn_norm",
            f"decoder.block.*.{_BIAS}": "dec.blk.*.attn_rel_b",
            "decoder.block.*.layer.0.SelfAttention.q": "dec.blk.*.attn_q",
            "decoder.block.*.layer.0.SelfAttention.k": "dec.blk.*.attn_k",
            "decoder.block.*.layer.0.SelfAttention.v": "dec.blk.*.attn_v",
            "decoder.block.*.layer.0.SelfAttention.o": "dec.blk.*.attn_o",
            "decoder.block.*.layer.1.layer_norm": "dec.blk.*.cross_attn_norm",
            "decoder.block.*.layer.1.EncDecAttention.q": "dec.blk.*.cross_attn_q",
            "decoder.block.*.layer.1.EncDecAttention.k": "dec.blk.*.cross_attn_k",
            "decoder.block.*.layer.1.EncDecAttention.v": "dec.blk.*.cross_attn_v",
            "decoder.block.*.layer.1.EncDecAttention.o": "dec.blk.*.cross_attn_o",
            "decoder.block.*.layer.2.layer_norm": "dec.blk.*.ffn_norm",
            "decoder.block.*.layer.2.DenseReluDense.wo": "dec.blk.*.ffn_down",
        },
        "weight",
    ),
    more=_widening,
    left_out=("dec.blk.0.cross_attn_rel_b.weight",),
    say=_say,
    finish=_finish,
)
FAMILY = Family(
    read_config, shapes, naming, describe, forward, final, "shared.weight", _GGUF,
    complete=complete,
)  # fmt: skip
