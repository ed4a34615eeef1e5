"""LFM2 in GGUF files: which layers have attention is said by their counts of key heads."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from attn_cli.families import llama_gguf
from attn_cli.model.config import ConfigReader
from attn_cli.model.gguf import named

_CONVOLUTION = ("conv", "in_proj", "out_proj")


def _say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    """Layers without key heads are convolutions; the inner width is the one that there is."""
    values["num_key_value_heads"], attending = llama_gguf.attending(reader)
    llama_gguf.say(reader, values, tensors)
    kinds = ["full_attention" if attends else "conv" for attends in attending]
    values |= {"layer_types": kinds, "block_auto_adjust_ff_dim": False,
               "rope_theta": reader.positive("rope_theta", 10000.0)}  # fmt: skip


def _finish(config: Any, reader: ConfigReader, tensors: Mapping[str, Any]) -> Any:
    """What the file says by tensors."""
    biased = any(name.endswith("shortconv.in_proj.bias") for name in tensors)
    return replace(llama_gguf.finish(config, reader, tensors), conv_bias=biased, flat=True)


GGUF = replace(
    llama_gguf.GGUF,
    keys=llama_gguf.GGUF.keys
    | {"shortconv.l_cache": "conv_L_cache", "attention.layer_norm_rms_epsilon": "norm_eps"},
    by_layer=frozenset({"attention.head_count_kv"}),
    required=("shortconv.l_cache",),
    tensors=llama_gguf.GGUF.tensors
    | named({"norm": "token_embd_norm"}, "weight")
    | named({f"layers.*.conv.{name}": f"blk.*.shortconv.{name}" for name in _CONVOLUTION}),
    say=_say,
    finish=_finish,
)
