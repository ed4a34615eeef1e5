"""gpt-oss in GGUF files of Ollama's own converter: other names of tensors, and YaRN goes unsaid."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from attn_cli.families import gpt_oss
from attn_cli.families.gpt_oss import Config
from attn_cli.model.config import ConfigReader

_NAMES = {
    "blk.*.attn_output.weight": "blk.*.attn_out.weight",
    "blk.*.attn_output.bias": "blk.*.attn_out.bias",
    "blk.*.post_attention_norm.weight": "blk.*.ffn_norm.weight",
    "blk.*.attn_sinks.weight": "blk.*.attn_sinks",
}


def say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    """As the other converter's, whose factor alone would be linear."""
    gpt_oss.say(reader, values, tensors)
    if values["rope_scaling"]["rope_type"] == "linear" and not reader.has("scaling"):
        values["rope_scaling"]["rope_type"] = "yarn"


def finish(config: Config, reader: ConfigReader, tensors: Mapping[str, Any]) -> Config:
    """The bias of the output projection has another name."""
    found = gpt_oss.GGUF.finish(config, reader, tensors)
    return replace(found, output_bias="blk.0.attn_out.bias" in tensors)


_TENSORS = {ours: _NAMES.get(theirs, theirs) for ours, theirs in gpt_oss.GGUF.tensors.items()}
FAMILY = replace(
    gpt_oss.FAMILY, gguf=replace(gpt_oss.GGUF, tensors=_TENSORS, say=say, finish=finish)
)
