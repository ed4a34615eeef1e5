"""How GGUF files have Phi-3.5-MoE: as other mixtures, with biases that only tensors tell."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from attn_cli.families import mixtures
from attn_cli.model.config import ConfigReader


def _say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    """Its files do not say how near experts must be, for which the class's number serves."""
    for name in ("rope_factors_short.weight", "rope_factors_long.weight"):
        if name in tensors:
            raise reader.error(
                f"the tensor {name} scales the rotation, and how much that lengthens is not there",
                "open the folder that the file was made from",
            )
    values.pop("original_max_position_embeddings", 0)
    mixtures.say(reader, values, tensors)
    values |= {
        "attention_bias": "blk.0.attn_q.bias" in tensors,
        "lm_head_bias": "output.bias" in tensors,
    }


GGUF = replace(
    mixtures.GGUF, keys=mixtures.GGUF.keys | {"expert_count": "num_local_experts"}, say=_say
)
