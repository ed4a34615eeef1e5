"""Hunyuan's dense models: Llama with an RMS norm on every rotated query and key. Tencent 2025."""

from dataclasses import replace
from functools import partial

import numpy as np

from attn_cli.families import llama, llama_gguf
from attn_cli.families.llama import norm
from attn_cli.model.config import ConfigReader
from attn_cli.model.gguf import named
from attn_cli.model.project import Arrays
from attn_cli.model.rope import Angles, Rope, impossible, rope_of_whole_heads, rope_section
from attn_cli.model.stack import Stack
from attn_cli.model.tensors import Shapes, norms
from attn_cli.model.weights import LayerWeights
from attn_cli.records import Facts

_NORMS = {"q": "self_attn.query_layernorm", "k": "self_attn.key_layernorm"}


def read_config(reader: ConfigReader) -> llama.Config:
    reader = reader.with_defaults({"rms_norm_eps": 1e-5})
    reader.integer("head_dim")  # the reference's class has no other width for a head
    shared, bias = llama.sizes(reader), reader.flag("attention_bias", False)
    rope = _rope(reader, shared["head_width"], shared["context"])
    reader.finish(llama.HARMLESS | {"eod_token_id", "pretraining_tp"})
    windows = (0,) * shared["layers"]
    return llama.Config(**shared, qkv_bias=bias, output_bias=bias, windows=windows, rope=rope)


def _rope(reader: ConfigReader, width: int, context: int) -> Rope:
    """A `dynamic` scaling with an `alpha` is a fixed one: base × alpha^(width / (width − 2))."""
    said = reader.mapping("rope_scaling") or reader.mapping("rope_parameters")
    fixed = said.get("rope_type", said.get("type")) == "dynamic" and bool(said.get("alpha"))
    section = rope_section(reader, {"dynamic": "default"} if fixed else {})
    base = section.positive("rope_theta", reader.positive("rope_theta", 10000.0))
    if fixed:
        alpha = section.positive("alpha")
        try:
            base *= alpha ** (width / (width - 2))
        except ArithmeticError:
            raise impossible(section) from None
    return rope_of_whole_heads(section, reader, base, width, context)


def shapes(config: llama.Config) -> Shapes:
    """The name and shape of every tensor: Llama's, and the norms of queries and keys."""
    more = (f"layers.*.{name}" for name in _NORMS.values())
    return llama.shapes(config) | norms(config.head_width, *more, biased=False)


def describe(facts: Facts, config: llama.Config) -> Facts:
    return replace(llama.describe(facts, config), head_norm="rotated")


def _turned(
    config: llama.Config, stack: Stack, parts: LayerWeights, normed: np.ndarray, angles: Angles
) -> Arrays:
    found = llama.turned(config, stack, parts, normed, angles)
    return {**found, **{n: norm(config, parts, _NORMS[n], found[n]) for n in _NORMS}}


_OF_HEADS = {f"layers.*.{name}": f"blk.*.attn_{letter}_norm" for letter, name in _NORMS.items()}
_OTHERS = {
    name: place
    for name, place in llama_gguf.GGUF.tensors.items()
    if place.rpartition(".")[0] not in _OF_HEADS.values()
}

FAMILY = replace(
    llama.FAMILY,
    read_config=read_config,
    shapes=shapes,
    describe=describe,
    forward=partial(llama.forward, turned=_turned),
    gguf=replace(llama_gguf.GGUF, tensors=_OTHERS | named(_OF_HEADS, "weight")),
)
