"""mT5: T5 version 1.1 in many languages, whose logits are never scaled. Xue et al. 2021."""

from dataclasses import replace

from attn_cli.families import t5
from attn_cli.model.config import ConfigReader


def read_config(reader: ConfigReader) -> t5.Config:
    return t5.common(reader, "gated-gelu", scaled=False)


# Its GGUF files call themselves t5.
FAMILY = replace(t5.FAMILY, read_config=read_config, gguf=None)
