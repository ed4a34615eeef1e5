"""OLMo 3: OLMo 2 with a window in three of four layers, whose rotation is never scaled. 2025."""

from dataclasses import replace

from attn_cli.families import llama, olmo2
from attn_cli.families.gemma2 import layer_windows
from attn_cli.families.gemma3 import ropes_by_kind
from attn_cli.model.config import ConfigReader

_DEFAULTS = {"rms_norm_eps": 1e-5, "sliding_window": 4096}
_BASE = 500_000.0


def read_config(reader: ConfigReader) -> olmo2.Config:
    reader = reader.with_defaults(_DEFAULTS)
    shared, bias = llama.sizes(reader), reader.flag("attention_bias", False)
    # A base beside the sections is that of layers without a window alone, as the reference reads.
    bases = (reader.positive("rope_theta", _BASE), _BASE)
    rope, local = ropes_by_kind(reader, bases, shared["head_width"], shared["context"])
    windows = layer_windows(reader, shared["layers"], period=4)
    reader.finish(llama.HARMLESS)
    biases = {"qkv_bias": bias, "output_bias": bias}
    return olmo2.Config(**shared, **biases, windows=windows, rope=rope, local_rope=local)


# Its GGUF files call themselves olmo2.
FAMILY = replace(olmo2.FAMILY, read_config=read_config, gguf=None)
