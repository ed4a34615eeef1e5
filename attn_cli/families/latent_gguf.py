"""How GGUF files have models whose keys and values come of a latent: tables, and widths.

Newer files hold a head's key rows and its value rows in tensors of their own, those of keys turned
round, and say widths of the latent where older ones have those of a head.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attn_cli.families import llama_gguf
from attn_cli.model.config import ConfigReader
from attn_cli.model.gguf import named

if TYPE_CHECKING:
    from attn_cli.families.minicpm3 import Config

_NAMES = {
    "q_a_proj": "q_a", "q_a_layernorm": "q_a_norm", "q_b_proj": "q_b", "kv_b_proj": "kv_b",
    "kv_a_proj_with_mqa": "kv_a_mqa", "kv_a_layernorm": "kv_a_norm", "k_b_proj": "k_b",
    "v_b_proj": "v_b",
}  # fmt: skip


def say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    """The widths of a head's query or key, its value, and the latents; how positions are scaled."""
    rotated = reader.integer("qk_rope_head_dim")
    key, value = (
        own if reader.has(own) else other
        for own, other in (("key_mla", "key_length"), ("value_mla", "value_length"))
    )
    whole = reader.integer(key)
    if whole <= rotated:
        name = f"{reader.named(key)} {whole}"
        raise reader.error(f"{name} is not above the {rotated} dimensions that rotate")
    values["v_head_dim"] = reader.integer(value) if reader.has(value) else None
    for taken in ("key_mla", "key_length", "value_mla", "value_length"):
        values.pop(taken, 0)
    # A file counts the latent as the only kv head, or every head that is made of it.
    values |= {"qk_nope_head_dim": whole - rotated, "num_key_value_heads": None,
               "q_lora_rank": values.get("q_lora_rank"),
               "rope_theta": reader.positive("rope_theta", 10000.0)}  # fmt: skip
    llama_gguf.say_scaling(reader, values, tensors)


def finish(config: "Config", reader: ConfigReader, tensors: Mapping[str, Any]) -> "Config":
    """What the file says by tensors."""
    config = llama_gguf.finish(config, reader, tensors)
    return replace(
        config,
        latents=config.latents._replace(split="blk.0.attn_k_b.weight" in tensors),
        qkv_bias="blk.0.attn_kv_a_mqa.bias" in tensors,
    )


GGUF = replace(
    llama_gguf.GGUF,
    keys=llama_gguf.GGUF.keys
    | {
        "attention.q_lora_rank": "q_lora_rank",
        "attention.kv_lora_rank": "kv_lora_rank",
        "attention.key_length": "key_length",
        "attention.value_length": "value_length",
        "attention.key_length_mla": "key_mla",
        "attention.value_length_mla": "value_mla",
        "rope.dimension_count": "qk_rope_head_dim",
    },
    required=("attention.kv_lora_rank", "attention.key_length", "rope.dimension_count"),
    tensors=llama_gguf.GGUF.tensors
    | named({f"layers.*.self_attn.{our}": f"blk.*.attn_{its}" for our, its in _NAMES.items()}),
    say=say,
    finish=finish,
)
