"""DistilBERT: BERT with half the layers and without segments. Sanh et al. 2019."""

from dataclasses import dataclass, replace
from typing import ClassVar

from attn_cli.families import bert
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.config import ConfigReader
from attn_cli.model.tensors import MOST_LAYERS, OUTPUT

_NAMES = bert.Names(
    prefix="distilbert.",
    layer="transformer.layer.*.",
    q="attention.q_lin",
    k="attention.k_lin",
    v="attention.v_lin",
    attended="attention.out_lin",
    attended_norm="sa_layer_norm",
    wide="ffn.lin1",
    narrow="ffn.lin2",
    narrow_norm="output_layer_norm",
    head="vocab_transform",
    head_norm="vocab_layer_norm",
    decoder="vocab_projector",
    output_bias="vocab_projector.bias",
)
# The reference library's names for these keys in every family.
_STANDARD = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
}
# Dropout acts in training only; the table of positions is stored however it was first made.
_HARMLESS = frozenset(
    """
    attention_dropout dropout initializer_range is_causal output_past qa_dropout
    seq_classif_dropout sinusoidal_pos_embds tie_weights_
    """.split()
)
_EPSILON = 1e-12  # the reference's own, which no config changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(bert.Config):
    """The numbers of a DistilBERT model."""

    names: ClassVar[bert.Names] = _NAMES


def read_config(reader: ConfigReader) -> Config:
    for own, standard in _STANDARD.items():
        reader.take(own, standard)
    width, heads = reader.equal_shares("dim", "n_heads")
    activation = reader.choice("activation", ACTIVATIONS, "gelu")
    config = Config(
        layers=reader.integer("n_layers", high=MOST_LAYERS),
        heads=heads,
        model_width=width,
        embedding_width=width,
        inner_width=reader.integer("hidden_dim"),
        vocabulary=reader.integer("vocab_size"),
        context=reader.integer("max_position_embeddings"),
        types=0,
        epsilon=_EPSILON,
        activation=activation,
        head_activation=activation,
        tied=reader.flag("tie_word_embeddings", True),
    )
    reader.finish(_HARMLESS)
    return config


FAMILY = replace(
    bert.FAMILY,
    read_config=read_config,
    gguf=None,  # the converter writes it as BERT
    head=("vocab_*", OUTPUT),
    output_bias=_NAMES.output_bias,
)
