"""Llama and its siblings in a GGUF file: its keys, its names of tensors, and what it leaves out."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar

from attn_cli.checkpoints.gguf import Gguf
from attn_cli.errors import ContentError
from attn_cli.model.config import ConfigReader
from attn_cli.model.gguf import config_values, embedding_rows, stored_names, unpaired
from attn_cli.model.weights import Stored

C = TypeVar("C")

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

_SHORT_FACTORS, _LONG_FACTORS = "rope_factors_short.weight", "rope_factors_long.weight"
_ROPE_TENSORS = ("rope_freqs.weight", _SHORT_FACTORS, _LONG_FACTORS)


def read_gguf(
    found: Gguf,
    architecture: str,
    read: Callable[[Mapping[str, Any], str], C],
    ignored: Iterable[str],
    *,
    keys: Mapping[str, str] = MappingProxyType({}),
    tensors: Mapping[str, str] = MappingProxyType({}),
    harmless: frozenset[str] = frozenset(),
    paired: bool = False,
    partial: bool = False,
) -> tuple[C, dict[str, Stored]]:
    """What siblings share: `read` is the sibling's `read_config`. Raises ContentError.

    `keys` and `tensors` are the sibling's own names, which replace those of Llama; `paired`: q and
    k rows stand as `unpaired` takes them; `partial`: not all of a head's numbers need turn.
    """
    where = str(found.path)
    harmless |= GGUF_HARMLESS
    values = config_values(
        found.metadata, architecture, {**GGUF_KEYS, **keys}, harmless, ignored, where
    )
    reader = ConfigReader(values, where)
    width, stretch = reader.integer("window", 0, low=0), reader.positive("stretch", 1.0)
    config = read(_gguf_values(values, found.tensors, where, partial), where)
    if "rope_freqs.weight" in found.tensors:
        factors = found.tensors["rope_freqs.weight"].read()
        config = replace(config, rope=config.rope.slowed(factors, where))
    if _LONG_FACTORS in found.tensors and _SHORT_FACTORS in found.tensors:
        limit = reader.integer("original_max_position_embeddings", config.context)
        factors = found.tensors[_SHORT_FACTORS].read(), found.tensors[_LONG_FACTORS].read()
        config = replace(config, rope=config.rope.of_two_lengths(*factors, limit, where))
    config = replace(
        config,
        windows=(width,) * config.layers if width else config.windows,
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
    names, left_out = {**GGUF_TENSORS, **tensors}, (*_ROPE_TENSORS, *harmless)
    return config, stored_names(found.tensors, names, arranged, left_out, config.layers)


def _gguf_values(
    given: Mapping[str, Any], tensors: Mapping[str, Any], where: str, partial: bool
) -> dict[str, Any]:
    """Config.json's way of saying what GGUF says by other keys and by which tensors there are."""
    values = {key: given[key] for key in given if key not in ("window", "stretch")}
    reader = ConfigReader(values, where)
    shared = reader.integer("hidden_size") // reader.integer("num_attention_heads")
    width = values["head_dim"] = reader.integer("head_dim", shared)
    rotated = reader.integer("rotated", width)
    if partial:
        # A half more, since a share of the width is cut to a whole number of its numbers.
        values["partial_rotary_factor"] = 1.0 if rotated == width else (rotated + 0.5) / width
    for key, value in (("value_dim", values.pop("value_dim", width)), ("rotated", rotated)):
        if value != width and not (partial and key == "rotated"):
            raise ContentError(f"{where}: {key} differs from the head width {width}")
    values.pop("rotated", 0)
    scaling = {key: values.pop(key) for key in _GGUF_SCALING if key in values}
    # A factor without a type is linear, as llama.cpp reads it.
    kind = values.pop("scaling", "linear" if "factor" in scaling else "none")
    if kind == "longrope" and _LONG_FACTORS in tensors:  # it is said by tensors
        kind = "none"
        scaling.pop("original_max_position_embeddings", 0)
    if kind == "none":
        kind, _ = "default", scaling.pop("factor", 0)
    values["rope_scaling"] = {"rope_type": kind, **scaling}
    values["vocab_size"] = embedding_rows(tensors, where)
    values["tie_word_embeddings"] = "output.weight" not in tensors
    return values
