"""GPT-2: learned positions, layer norm before each part, tied output. Radford et al. 2019.

Weights are stored (input, output). `c_attn` holds W_Q, W_K and W_V side by side.
"""

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from attn_cli.checkpoints.gguf import Gguf
from attn_cli.errors import ContentError
from attn_cli.maths import layers as layer_maths
from attn_cli.maths.attention import embed, project
from attn_cli.maths.layers import layer_norm, linear
from attn_cli.maths.masks import causal
from attn_cli.model.cache import Cache
from attn_cli.model.config import ConfigReader, EqualHeads
from attn_cli.model.gguf import config_values, embedding_rows, stored_names
from attn_cli.model.stack import Block, Final, Request, run_block
from attn_cli.model.weights import LayerWeights, Model, Naming, Stored, transposed
from attn_cli.records import Attention

_ACTIVATIONS = {
    "gelu_new": layer_maths.gelu_tanh,
    "gelu_pytorch_tanh": layer_maths.gelu_tanh,
    "gelu": layer_maths.gelu,
    "relu": layer_maths.relu,
    "silu": layer_maths.silu,
}
# A tensor's name is made for each layer before the file is asked for any.
_MOST_LAYERS = 10_000
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


def read_config(values: Mapping[str, Any], where: str, ignored: Iterable[str] = ()) -> Config:
    """Raises ContentError for a config that cannot be honoured exactly."""
    reader = ConfigReader(values, where)
    width = reader.integer("n_embd")
    config = Config(
        layers=reader.integer("n_layer", high=_MOST_LAYERS),
        heads=reader.integer("n_head"),
        model_width=width,
        inner_width=reader.integer("n_inner", 4 * width),
        vocabulary=reader.integer("vocab_size"),
        context=reader.integer("n_positions"),
        epsilon=reader.positive("layer_norm_epsilon", 1e-5),
        activation=reader.choice("activation_function", _ACTIVATIONS, "gelu_new"),
        scale_by_width=reader.flag("scale_attn_weights", True),
        scale_by_layer=reader.flag("scale_attn_by_inverse_layer_idx", False),
        tied=reader.flag("tie_word_embeddings", True),
    )
    reader.never("add_cross_attention")
    if config.model_width % config.heads:
        raise ContentError(f"{where}: n_embd {width} does not divide by n_head {config.heads}")
    reader.finish(_HARMLESS, ignored)
    return config


def untrained(sizes: Mapping[str, int]) -> Config:
    """The config of a random model of these sizes. Raises ContentError if they do not fit."""
    keys = {
        "layers": "n_layer", "heads": "n_head", "model_width": "n_embd", "context": "n_positions",
        "vocabulary": "vocab_size",
    }  # fmt: skip
    return read_config({key: sizes[name] for name, key in keys.items()}, "random")


def tensor_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """The name and shape of every tensor."""
    width, inner = config.model_width, config.inner_width
    shapes = {"wte.weight": (config.vocabulary, width), "wpe.weight": (config.context, width)}
    for layer in range(config.layers):
        parts = {
            "ln_1.weight": (width,), "ln_1.bias": (width,),
            "attn.c_attn.weight": (width, 3 * width), "attn.c_attn.bias": (3 * width,),
            "attn.c_proj.weight": (width, width), "attn.c_proj.bias": (width,),
            "ln_2.weight": (width,), "ln_2.bias": (width,),
            "mlp.c_fc.weight": (width, inner), "mlp.c_fc.bias": (inner,),
            "mlp.c_proj.weight": (inner, width), "mlp.c_proj.bias": (width,),
        }  # fmt: skip
        shapes |= {f"h.{layer}.{name}": shape for name, shape in parts.items()}
    shapes |= {"ln_f.weight": (width,), "ln_f.bias": (width,)}
    if not config.tied:
        shapes["lm_head.weight"] = (config.vocabulary, width)
    return shapes


def naming(config: Config) -> Naming:
    """Stored masks carry nothing; a tied output may stand there again."""
    masks = ("*.attn.bias", "*.attn.masked_bias")
    copies = {"lm_head.weight": "wte.weight"} if config.tied else {}
    return Naming(("transformer.",), masks, copies=copies)


def forward(
    model: Model, ids: tuple[int, ...], request: Request, cache: Cache | None = None
) -> Generator[Attention, None, Final]:
    """Yields the record of each chosen layer in turn and returns the final hidden vectors."""
    config, weights = model.config, model.weights
    start = cache.length if cache else 0
    token = weights.rows("wte.weight", ids)
    position = weights.rows("wpe.weight", range(start, start + len(ids)))
    x = embed(token, position)
    visible = causal(len(ids), start + len(ids))
    before: Mapping[str, np.ndarray] = {
        "token_embedding": token, "position_embedding": position
    }  # fmt: skip
    touched = False
    for layer, parts in enumerate(weights.layers("h.", request.last_layer)):
        normed = layer_norm(x, parts["ln_1.weight"], parts["ln_1.bias"], config.epsilon)
        block = Block(
            layer=layer,
            arrays={**before, "x": x, "normed": normed, **_project(config, parts, normed)},
            own_visible=visible,
            w_o=parts["attn.c_proj.weight"],
            b_o=parts["attn.c_proj.bias"],
            scale=_scale(config, layer),
            embedding="sum",
            touched=touched,
        )
        result = run_block(request, block, cache)
        yield from result.records
        touched = result.touched
        if layer == request.last_layer < config.layers - 1:
            return Final(hidden=x[:0], touched=touched)
        x, before = _mlp(config, parts, x + result.output), {}
    if cache:
        cache.advance(ids)
    final = layer_norm(x, weights["ln_f.weight"], weights["ln_f.bias"], config.epsilon)
    return Final(hidden=final, touched=touched)


def predict(model: Model, hidden: np.ndarray) -> np.ndarray:
    """Logits (position, vocabulary) of final hidden vectors (position, model)."""
    return model.weights.times_rows("wte.weight" if model.config.tied else "lm_head.weight", hidden)


def _scale(config: Config, layer: int) -> float:
    scale = config.head_width**-0.5 if config.scale_by_width else 1.0
    return scale / (layer + 1) if config.scale_by_layer else scale


def _project(config: Config, parts: LayerWeights, normed: np.ndarray) -> dict[str, np.ndarray]:
    """q, k and v, and the parameters that made them, one head apart from the next."""
    width, heads = config.model_width, config.heads
    fused_w, fused_b = parts["attn.c_attn.weight"], parts["attn.c_attn.bias"]
    arrays = {}
    for i, letter in enumerate("qkv"):
        w = fused_w[:, i * width : (i + 1) * width]
        b = fused_b[i * width : (i + 1) * width]
        arrays[letter] = project(normed, w, b, heads)
        arrays["w_" + letter] = w.reshape(width, heads, -1).swapaxes(0, 1)
        arrays["b_" + letter] = b.reshape(heads, -1)
    arrays["w_o"] = parts["attn.c_proj.weight"].reshape(heads, -1, width)
    arrays["b_o"] = parts["attn.c_proj.bias"]
    return arrays


def _mlp(config: Config, parts: LayerWeights, x: np.ndarray) -> np.ndarray:
    normed = layer_norm(x, parts["ln_2.weight"], parts["ln_2.bias"], config.epsilon)
    inner = linear(normed, parts["mlp.c_fc.weight"], parts["mlp.c_fc.bias"])
    active = _ACTIVATIONS[config.activation](inner)
    return x + linear(active, parts["mlp.c_proj.weight"], parts["mlp.c_proj.bias"])


# --- the same model in a GGUF file ---------------------------------------------------------------

GGUF_KEYS = {
    "block_count": "n_layer",
    "context_length": "n_positions",
    "embedding_length": "n_embd",
    "feed_forward_length": "n_inner",
    "attention.head_count": "n_head",
    "attention.layer_norm_epsilon": "layer_norm_epsilon",
}
GGUF_HARMLESS = frozenset({"vocab_size"})
GGUF_TENSORS = {
    "wte.weight": "token_embd.weight",
    "wpe.weight": "position_embd.weight",
    "lm_head.weight": "output.weight",
} | {
    f"{ours}.{part}": f"{theirs}.{part}"
    for ours, theirs in {
        "ln_f": "output_norm",
        "h.*.ln_1": "blk.*.attn_norm",
        "h.*.ln_2": "blk.*.ffn_norm",
        "h.*.attn.c_attn": "blk.*.attn_qkv",
        "h.*.attn.c_proj": "blk.*.attn_output",
        "h.*.mlp.c_fc": "blk.*.ffn_up",
        "h.*.mlp.c_proj": "blk.*.ffn_down",
    }.items()
    for part in ("weight", "bias")
}


def open_gguf(
    found: Gguf, architecture: str, ignored: Iterable[str] = ()
) -> tuple[Config, dict[str, Stored]]:
    """The config and tensors of a GGUF file, whose matrices are (output, input)."""
    where = str(found.path)
    values = config_values(found.metadata, architecture, GGUF_KEYS, GGUF_HARMLESS, ignored, where)
    values["vocab_size"] = embedding_rows(found.tensors, where)
    values["tie_word_embeddings"] = "output.weight" not in found.tensors
    config = read_config(values, where)
    turned = {
        name: transposed
        for name in GGUF_TENSORS
        if name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))
    }
    return config, stored_names(found.tensors, GGUF_TENSORS, turned, (), config.layers)
