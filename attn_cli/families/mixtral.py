"""Mixtral: Mistral with several feed-forward networks in a layer. Jiang et al. 2024."""

from dataclasses import replace

from attn_cli.families import llama, mixtures
from attn_cli.families.llama_gguf import unpaired_rows
from attn_cli.model.config import ConfigReader

# What the reference's config class has where config.json leaves a key out.
DEFAULTS = {"num_key_value_heads": 8, "rms_norm_eps": 1e-5, "rope_theta": 1e6}


def read_config(reader: ConfigReader) -> mixtures.Config:
    reader = reader.with_defaults(DEFAULTS)
    reader.take("num_local_experts", "num_experts")
    shared = llama.common(reader)
    networks = mixtures.everywhere(reader, shared, "num_local_experts", (8, 2))
    windows = mixtures.one_window(reader, shared["layers"])
    reader.finish(mixtures.HARMLESS | {"router_jitter_noise"})
    return mixtures.Config(**shared, **networks, windows=windows)


# Its GGUF files call themselves llama, whose rows they have.
FAMILY = replace(
    mixtures.FAMILY,
    read_config=read_config,
    naming=mixtures.naming_of_mixtral,
    gguf=replace(mixtures.GGUF, arrange=unpaired_rows),
)
