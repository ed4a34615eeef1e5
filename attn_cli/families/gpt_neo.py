"""GPT-Neo and TinyStories: GPT-2's order, a window in some layers, scores unscaled. Black 2021."""

from dataclasses import replace

from attn_cli.families import gpt_bigcode
from attn_cli.model import prenorm
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.config import ConfigReader
from attn_cli.model.prenorm import Config

_OWN = {"num_hidden_layers": "num_layers", "num_attention_heads": "num_heads"}
_HARMLESS = frozenset(
    """
    attention_dropout classifier_dropout embed_dropout initializer_range
    resid_dropout
    """.split()
)
_KINDS = ("global", "local")
_USUAL = [[["global", "local"], 12]]
_LAYOUT = replace(
    gpt_bigcode.LAYOUT,
    qkv=tuple(f"attn.attention.{letter}_proj" for letter in "qkv"),
    out="attn.attention.out_proj",
    left_out=("*.attn.attention.bias", "*.attn.attention.masked_bias"),
)


def read_config(reader: ConfigReader) -> Config:
    found = prenorm.sizes(reader, _OWN)
    config = Config(
        **found,
        inner_width=reader.integer("intermediate_size", 4 * found["model_width"]),
        epsilon=reader.positive("layer_norm_epsilon", 1e-5),
        activation=reader.choice("activation_function", ACTIVATIONS, "gelu_new"),
        tied=reader.flag("tie_word_embeddings", True),
        qkv_bias=False,
        scale=1.0,
        windows=_windows(reader, found["layers"]),
    )
    reader.finish(_HARMLESS)
    return config


def _windows(reader: ConfigReader, layers: int) -> tuple[int, ...]:
    """The window of each layer, 0 for none."""
    width, kinds = reader.integer("window_size", 256), reader.repeated("attention_types", _USUAL)
    if reader.has("attention_layers"):  # which has the last word
        kinds = reader.words("attention_layers", _KINDS, layers)
    if len(kinds) != layers:
        raise reader.error(f"attention_types says {len(kinds)} layers, num_layers {layers}")
    for kind in kinds:
        if kind not in _KINDS:
            raise reader.error(f"attention_types is not of {' and '.join(_KINDS)} alone")
    return tuple(width if kind == "local" else 0 for kind in kinds)


FAMILY = prenorm.family(_LAYOUT, read_config)
