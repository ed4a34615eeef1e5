"""Mixtral: Mistral with several feed-forward networks in a layer. Jiang et al. 2024."""

from dataclasses import replace

from attn_cli.families import llama, mixtures
from attn_cli.families.llama_gguf import unpaired_rows
from attn_cli.model.config import ConfigReader
from attn_cli.model.tensors import Naming

# What the reference's config class has where config.json leaves a key out.
DEFAULTS = {"num_key_value_heads": 8, "rms_norm_eps": 1e-5, "rope_theta": 1e6}


def read_config(reader: ConfigReader) -> mixtures.Config:
    reader = reader.with_defaults(DEFAULTS)
    reader.take("num_local_experts", "num_experts")
    shared = llama.common(reader)
    networks = mixtures.everywhere(reader, shared, "num_local_experts", (8, 2))
    windows = one_window(reader, shared["layers"])
    reader.finish(mixtures.HARMLESS | {"router_jitter_noise"})
    return mixtures.Config(**shared, **networks, windows=windows)


def one_window(reader: ConfigReader, layers: int) -> tuple[int, ...]:
    """`sliding_window` in every layer, none where it is null or missing."""
    return (reader.integer("sliding_window") if reader.has("sliding_window") else 0,) * layers


def naming(config: mixtures.Config) -> Naming:
    """As of all mixtures, with the older names of Mixtral's code for a layer's network."""
    names = {"gate": "gate"} | {
        f"experts.{expert}.{older}": f"experts.{expert}.{newer}_proj"
        for expert in range(config.experts)
        for older, newer in (("w1", "gate"), ("w3", "up"), ("w2", "down"))
    }
    return mixtures.naming(config)._replace(
        older={
            f"layers.{layer}.block_sparse_moe.{older}.weight": f"layers.{layer}.mlp.{newer}.weight"
            for layer in config.sparse
            for older, newer in names.items()
        }
    )


# Its GGUF files call themselves llama, whose rows they have.
FAMILY = replace(
    mixtures.FAMILY,
    read_config=read_config,
    naming=naming,
    gguf=replace(mixtures.GGUF, arrange=unpaired_rows),
)
