"""BioGPT: token vectors times √width, positions that begin at row 2. Luo et al. 2022."""

from attn_cli.model import prenorm
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.config import ConfigReader
from attn_cli.model.prenorm import Config, Layout, position_rows
from attn_cli.model.tensors import OUTPUT

_HARMLESS = frozenset(
    """
    activation_dropout attention_probs_dropout_prob hidden_dropout_prob initializer_range
    layer_norm_eps layerdrop
    """.split()
)
EPSILON = 1e-5  # the reference's own, which no config changes
LAYOUT = Layout(
    positions="embed_positions",
    first_row=2,  # the rows before it belonged to padding
    placed=position_rows,
    norms=("self_attn_layer_norm", "final_layer_norm"),
    out="self_attn.out_proj",
    mlp=("fc1", "fc2"),
    last="layer_norm",
    prefixes=("biogpt.",),
    older={"output_projection.weight": OUTPUT},
)


def read_config(reader: ConfigReader) -> Config:
    found = prenorm.sizes(reader)
    scaled = reader.flag("scale_embedding", True)
    config = Config(
        **found,
        inner_width=reader.integer("intermediate_size"),
        epsilon=EPSILON,
        activation=reader.choice("hidden_act", ACTIVATIONS, "gelu"),
        tied=reader.flag("tie_word_embeddings", True),
        embedding_factor=found["model_width"] ** 0.5 if scaled else 1.0,
    )
    reader.finish(_HARMLESS)
    return config


FAMILY = prenorm.family(LAYOUT, read_config)
