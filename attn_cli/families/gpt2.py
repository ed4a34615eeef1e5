"""GPT-2: learned positions, layer norm before each part, tied output. Radford et al. 2019.

Weights are stored (input, output). `c_attn` holds W_Q, W_K and W_V side by side.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attn_cli.maths.attention import embed
from attn_cli.maths.masks import causal
from attn_cli.maths.products import feed_forward
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.cache import Cache, Ids, Pass
from attn_cli.model.config import ConfigReader, EqualHeads
from attn_cli.model.family import Family, Model
from attn_cli.model.gguf import Gguf, named
from attn_cli.model.project import Arrays, fused
from attn_cli.model.stack import Request, Stack
from attn_cli.model.tensors import MOST_LAYERS, Naming, Shapes, copies, maps, norms, output
from attn_cli.model.weights import LayerWeights, entering, layer_normed, transposed
from attn_cli.records import Facts

_COLUMNS = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
# The reference library's names for these keys in every family.
_STANDARD = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_positions": "max_position_embeddings",
}
# Dropout acts in training only; the summary keys belong to a classification head.
_HARMLESS = frozenset(
    """
    attn_pdrop embd_pdrop resid_pdrop initializer_range n_ctx reorder_and_upcast_attn
    summary_activation summary_first_dropout summary_proj_to_labels summary_type
    summary_use_proj
    """.split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(EqualHeads):
    """The numbers of a GPT-2 model."""

    inner_width: int
    epsilon: float
    activation: str
    scale_by_width: bool
    scale_by_layer: bool
    tied: bool


def read_config(reader: ConfigReader) -> Config:
    for own, standard in _STANDARD.items():
        reader.take(own, standard)
    width, heads = reader.equal_shares("n_embd", "n_head")
    config = Config(
        layers=reader.integer("n_layer", high=MOST_LAYERS),
        heads=heads,
        model_width=width,
        inner_width=reader.integer("n_inner", 4 * width),
        vocabulary=reader.integer("vocab_size"),
        context=reader.integer("n_positions"),
        epsilon=reader.positive("layer_norm_epsilon", 1e-5),
        activation=reader.choice("activation_function", ACTIVATIONS, "gelu_new"),
        scale_by_width=reader.flag("scale_attn_weights", True),
        scale_by_layer=reader.flag("scale_attn_by_inverse_layer_idx", False),
        tied=reader.flag("tie_word_embeddings", True),
    )
    reader.only("add_cross_attention", False)
    reader.finish(_HARMLESS)
    return config


def untrained(sizes: dict[str, int]) -> dict[str, Any]:
    keys = {
        "layers": "n_layer", "heads": "n_head", "model_width": "n_embd", "context": "n_positions",
        "vocabulary": "vocab_size",
    }  # fmt: skip
    return {key: sizes[name] for name, key in keys.items()}


def shapes(config: Config) -> Shapes:
    width, inner = config.model_width, config.inner_width
    found: Shapes = {
        "wte.weight": (config.vocabulary, width),
        "wpe.weight": (config.context, width),
    }
    found |= norms(width, "h.*.ln_1", "h.*.ln_2", "ln_f")
    found |= maps(
        {
            "h.*.attn.c_attn": (width, 3 * width),
            "h.*.attn.c_proj": (width, width),
            "h.*.mlp.c_fc": (width, inner),
            "h.*.mlp.c_proj": (inner, width),
        },
        output=1,
    )
    return found | output(config, width)


def naming(config: Config) -> Naming:
    """Stored masks carry nothing; a tied output may stand there again."""
    masks = ("*.attn.bias", "*.attn.masked_bias")
    return Naming(("transformer.",), masks, copies=copies(config, "wte.weight"))


def describe(facts: Facts, config: Config) -> Facts:
    return replace(
        facts, embedding="sum", positions="learned", epsilon=config.epsilon, last_norm="ln_f"
    )


def forward(model: Model, ids: Ids, request: Request, cache: Cache | None = None) -> Pass:
    config, weights = model.config, model.weights
    stack = Stack(model, ids, request, cache)
    token = weights.rows("wte.weight", stack.ids)
    position = stack.placed(weights.rows("wpe.weight", stack.positions))
    x = embed(token, position)
    first = {"token_embedding": token, "position_embedding": position}
    for parts in stack.layers("h."):
        entry = entering(parts, "ln_1", x, config.epsilon)
        output = yield from stack.attend(
            {**first, **entry, **_project(config, parts, entry["normed"])},
            visible=causal,
            out=parts.map("attn.c_proj", columns=True),
            scale=_scale(config, stack.layer),
        )
        x, first = x + output, {}
        inner = stack.mlp(_mlp(config, parts, layer_normed(parts, "ln_2", x, config.epsilon)))
        x = yield from stack.after(x + inner)
    return stack.end(x)


def final(model: Model, x: np.ndarray) -> np.ndarray:
    return layer_normed(model.weights, "ln_f", x, model.config.epsilon)


def _scale(config: Config, layer: int) -> float:
    scale = config.head_width**-0.5 if config.scale_by_width else 1.0
    return scale / (layer + 1) if config.scale_by_layer else scale


def _project(config: Config, parts: LayerWeights, normed: np.ndarray) -> Arrays:
    of = parts.map("attn.c_attn", columns=True)
    return fused(normed, of, **dict.fromkeys("qkv", config.heads))


def _mlp(config: Config, parts: LayerWeights, normed: np.ndarray) -> np.ndarray:
    maps = (parts.map(f"mlp.{name}", columns=True) for name in ("c_fc", "c_proj"))
    return feed_forward(normed, *maps, ACTIVATIONS[config.activation])


# --- the same model in a GGUF file, whose matrices are (output, input) ---------------------------

_GGUF = Gguf(
    keys={
        "block_count": "n_layer",
        "context_length": "n_positions",
        "embedding_length": "n_embd",
        "feed_forward_length": "n_inner",
        "attention.head_count": "n_head",
        "attention.layer_norm_epsilon": "layer_norm_epsilon",
    },
    tensors={
        "wte.weight": "token_embd.weight",
        "wpe.weight": "position_embd.weight",
        "lm_head.weight": "output.weight",
    }
    | named(
        {
            "ln_f": "output_norm",
            "h.*.ln_1": "blk.*.attn_norm",
            "h.*.ln_2": "blk.*.ffn_norm",
            "h.*.attn.c_attn": "blk.*.attn_qkv",
            "h.*.attn.c_proj": "blk.*.attn_output",
            "h.*.mlp.c_fc": "blk.*.ffn_up",
            "h.*.mlp.c_proj": "blk.*.ffn_down",
        }
    ),
    arrange=lambda config: dict.fromkeys((f"h.*.{name}.weight" for name in _COLUMNS), transposed),
)  # fmt: skip

FAMILY = Family(
    read_config, shapes, naming, describe, forward, final, "wte.weight", _GGUF, untrained,
    columns=_COLUMNS,
)  # fmt: skip
