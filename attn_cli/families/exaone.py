"""EXAONE 3: Llama with GPT-2's names of keys and tensors. LG AI Research 2024."""

from dataclasses import replace

from attn_cli.families import llama, llama_gguf
from attn_cli.model.config import ConfigReader
from attn_cli.model.tensors import Naming

# What the reference's config class has where config.json leaves a key out.
_DEFAULTS = {"num_key_value_heads": 8, "rms_norm_eps": 1e-5, "rope_theta": 500_000.0}
_OTHER_SPELLING = {
    "num_hidden_layers": "num_layers",
    "rms_norm_eps": "layer_norm_epsilon",
    "hidden_act": "activation_function",
}
# The names that LG's own files have, each for the reference's.
_OF_LAYERS = {
    "ln_1": "input_layernorm",
    "ln_2": "post_attention_layernorm",
    "attn.attention.q_proj": "self_attn.q_proj",
    "attn.attention.k_proj": "self_attn.k_proj",
    "attn.attention.v_proj": "self_attn.v_proj",
    "attn.attention.out_proj": "self_attn.o_proj",
    "mlp.c_fc_0": "mlp.gate_proj",
    "mlp.c_fc_1": "mlp.up_proj",
    "mlp.c_proj": "mlp.down_proj",
}


def read_config(reader: ConfigReader) -> llama.Config:
    reader = reader.with_defaults(_DEFAULTS)
    for own, other in _OTHER_SPELLING.items():
        reader.take(own, other)
    config = llama.Config(**llama.plain(reader))
    reader.finish(llama.HARMLESS | {"embed_dropout"})
    return config


def naming(config: llama.Config) -> Naming:
    """As Llama's, or LG's own names."""
    plain = llama.naming(config)
    older = {"wte": "embed_tokens", "ln_f": "norm"} | {
        f"h.{layer}.{other}": f"layers.{layer}.{own}"
        for layer in range(config.layers)
        for other, own in _OF_LAYERS.items()
    }
    both = {f"{o}.{part}": f"{n}.{part}" for o, n in older.items() for part in ("weight", "bias")}
    return plain._replace(older=both)


FAMILY = replace(llama.FAMILY, read_config=read_config, naming=naming, gguf=llama_gguf.GGUF)
