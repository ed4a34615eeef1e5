"""CodeGen: GPT-J with q, v and k in one matrix, in four blocks. Nijkamp et al. 2022.

It was trained on four cores, each of which had the rows of a quarter of the heads: all its queries,
then its values, then its keys.
"""

from dataclasses import replace

from attn_cli.families import gptj
from attn_cli.model import prenorm
from attn_cli.model.config import ConfigReader
from attn_cli.model.prenorm import Config

_HARMLESS = frozenset("attn_pdrop embd_pdrop initializer_range n_ctx resid_pdrop".split())
_BLOCKS = 4
_LAYOUT = replace(gptj.LAYOUT, fused="attn.qkv_proj", order="qvk", left_out=("*.attn.causal_mask",))


def read_config(reader: ConfigReader) -> Config:
    found = prenorm.sizes(reader, gptj.OWN)
    if found["heads"] % _BLOCKS:
        raise reader.error(
            f"{reader.named('n_head')} {found['heads']} does not divide by the {_BLOCKS} blocks "
            "of attn.qkv_proj"
        )
    config = gptj.config_of(reader, found, _BLOCKS)
    reader.finish(_HARMLESS)
    return config


FAMILY = gptj.family(_LAYOUT, read_config)
