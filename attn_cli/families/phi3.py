"""Phi-3 and Phi-4: Llama with fused projections, of whose heads a part may turn. Abdin et al. 2024.

`qkv_proj` holds the rows of W_Q, then W_K, then W_V; `gate_up_proj` those of the gate, then of up.
"""

from collections.abc import Generator, Iterable, Mapping
from typing import Any

import numpy as np

from attn_cli.checkpoints.gguf import Gguf
from attn_cli.families import llama
from attn_cli.families.llama import ACTIVATIONS, Config, naming, predict, sizes
from attn_cli.families.llama_gguf import read_gguf
from attn_cli.maths.attention import NO_BIAS, split_heads
from attn_cli.maths.layers import linear, rms_norm
from attn_cli.model.cache import Cache
from attn_cli.model.config import ConfigReader
from attn_cli.model.rope import rope_section, rotated_width, scaled_rope
from attn_cli.model.stack import Block, Final, Request, own_mask, run_block, turn
from attn_cli.model.weights import LayerWeights, Model, Stored
from attn_cli.records import Attention

__all__ = ["forward", "naming", "open_gguf", "predict", "read_config", "tensor_shapes"]
# Two of these are of Phi-4-mini's own code.
_HARMLESS = frozenset(
    """
    attention_dropout embd_pdrop full_attn_mod initializer_range interpolate_factor resid_pdrop
    """.split()
)
# The reference's class has this length where config.json has none, and one name for three.
_DEFAULTS = {"original_max_position_embeddings": 4096}
_SCALINGS = ("default", "longrope")
_ALIASES = dict.fromkeys(("su", "yarn"), "longrope")
_GGUF_TENSORS = {
    "layers.*.self_attn.qkv_proj.weight": "blk.*.attn_qkv.weight",
    "layers.*.mlp.gate_up_proj.weight": "blk.*.ffn_up.weight",
    "layers.*.mlp.up_proj.weight": "[none]",
}
_NO_BIAS = NO_BIAS.ravel()


def read_config(values: Mapping[str, Any], where: str, ignored: Iterable[str] = ()) -> Config:
    """Raises ContentError for a config that cannot be honoured exactly."""
    reader = ConfigReader({**_DEFAULTS, **values}, where)
    shared = sizes(reader, where)
    section = rope_section(reader, where, _ALIASES)
    section.choice("rope_type", _SCALINGS, section.choice("type", _SCALINGS, "default"))
    width = rotated_width(section, reader, "partial_rotary_factor", 1.0, shared["head_width"])
    base = section.positive("rope_theta", reader.positive("rope_theta", 10000.0))
    window = reader.integer("sliding_window", 0, low=0)
    config = Config(
        **{**shared, "epsilon": reader.positive("rms_norm_eps", 1e-5)},
        rope=scaled_rope(section, reader, base, width, shared["context"], ignored),
        windows=(window,) * shared["layers"],
    )
    for key in ("attention_bias", "mlp_bias", "lm_head_bias"):
        reader.never(key)
    reader.finish(_HARMLESS, ignored)
    return config


def tensor_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """The name and shape of every tensor: Llama's, those that are fused in place of their parts."""
    width, head = config.model_width, config.head_width
    fused = {
        "self_attn.q_proj": ("self_attn.qkv_proj", (config.heads + 2 * config.kv_heads) * head),
        "mlp.gate_proj": ("mlp.gate_up_proj", 2 * config.inner_width),
    }
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in llama.tensor_shapes(config).items():
        first, _, rest = name.partition(".")
        layer, _, part = rest.partition(".")
        part = part.removesuffix(".weight")
        if part in fused:
            shapes[f"{first}.{layer}.{fused[part][0]}.weight"] = (fused[part][1], width)
        elif part not in ("self_attn.k_proj", "self_attn.v_proj", "mlp.up_proj"):
            shapes[name] = shape
    return shapes


def open_gguf(
    found: Gguf, architecture: str, ignored: Iterable[str] = ()
) -> tuple[Config, dict[str, Stored]]:
    """The config and tensors of a GGUF file."""
    return read_gguf(found, architecture, read_config, ignored, tensors=_GGUF_TENSORS, partial=True)


def forward(
    model: Model, ids: tuple[int, ...], request: Request, cache: Cache | None = None
) -> Generator[Attention, None, Final]:
    """Yields the record of each chosen layer in turn and returns the final hidden vectors."""
    config, weights = model.config, model.weights
    ids, start, angles = config.rope.begin(ids, cache)
    x = weights.rows("embed_tokens.weight", ids)
    touched = False
    for layer, parts in enumerate(weights.layers("layers.", request.last_layer)):
        normed = rms_norm(x, parts["input_layernorm.weight"], config.epsilon)
        arrays = _project(config, parts, normed)
        turn(arrays, *angles)
        block = Block(
            layer=layer,
            arrays={"x": x, "normed": normed, **arrays},
            own_visible=own_mask(config.windows[layer], len(ids), start),
            w_o=parts["self_attn.o_proj.weight"].T,
            b_o=_NO_BIAS,
            touched=touched,
        )
        result = run_block(request, block, cache)
        yield from result.records
        touched = result.touched
        if layer == request.last_layer < config.layers - 1:
            return Final(hidden=x[:0], touched=touched)
        x = _mlp(config, parts, x + result.output)
    if cache:
        cache.advance(ids)
    return Final(hidden=rms_norm(x, weights["norm.weight"], config.epsilon), touched=touched)


def _project(config: Config, parts: LayerWeights, normed: np.ndarray) -> dict[str, np.ndarray]:
    """q, k and v of one product with the fused matrix; its parts, a head apart from the next."""
    matrix = parts["self_attn.qkv_proj.weight"]
    product = linear(normed, matrix.T, _NO_BIAS)
    arrays, at = {}, 0
    for letter, heads in (("q", config.heads), ("k", config.kv_heads), ("v", config.kv_heads)):
        rows = slice(at, at + heads * config.head_width)
        arrays[letter] = split_heads(product[:, rows], heads)
        arrays[f"w_{letter}"] = split_heads(matrix[rows].T, heads)
        at = rows.stop
    w_o = parts["self_attn.o_proj.weight"].T
    return {**arrays, "w_o": w_o.reshape(config.heads, -1, config.model_width)}


def _mlp(config: Config, parts: LayerWeights, x: np.ndarray) -> np.ndarray:
    normed = rms_norm(x, parts["post_attention_layernorm.weight"], config.epsilon)
    gate, up = np.split(normed @ parts["mlp.gate_up_proj.weight"].T, 2, axis=-1)
    return x + (up * ACTIVATIONS[config.activation](gate)) @ parts["mlp.down_proj.weight"].T
