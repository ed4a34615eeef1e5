"""Decoders of one order: a layer norm, attention, and a feed-forward network after it or beside it.

    after:   x + attention(norm x), and then x + network(norm x)
    beside:  x + attention(norm x) + network(norm x), with one norm for both or two

What tells the families of this order apart is data: sizes and settings in a `Config`, the names of
modules in a `Layout`, and there the few functions that a family has of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from attn_cli.maths.attention import Relation, no_bias
from attn_cli.maths.layers import layer_norm
from attn_cli.maths.products import feed_forward, gated_feed_forward
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.cache import Cache, Ids, Pass
from attn_cli.model.config import ConfigReader
from attn_cli.model.family import Family, Model
from attn_cli.model.gguf import named
from attn_cli.model.project import Arrays, apart, interleaved
from attn_cli.model.rope import Rope, read_rope, rope_section, rotated, rotated_width, scaled_rope
from attn_cli.model.stack import Request, Stack, causal_or_window
from attn_cli.model.tensors import MOST_LAYERS, OUTPUT, Naming, Shapes, copies, maps, norms, output
from attn_cli.model.weights import LayerWeights, Weights, bias_of, entering, layer_normed
from attn_cli.records import Facts

LOGIT_BIAS = "lm_head.bias"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The numbers of a model of this order.

    `parallel`: the network stands beside the attention, with `one_norm` for both. `groups`: of the
    fused matrix of q, k and v (see `project.interleaved`); 0 where there are three. `norm_base` is
    what a norm's stored weight is added to; `head_norm`: each query and key is normalised too.
    A `scale` of 0 is 1 / √width, a window of 0 none, a `clip` of 0 no bound on the numbers of q, k
    and v. Token vectors are multiplied by `embedding_factor`.
    """

    layers: int
    heads: int
    kv_heads: int
    head_width: int
    model_width: int
    inner_width: int
    vocabulary: int
    context: int
    epsilon: float
    activation: str
    tied: bool
    parallel: bool = False
    one_norm: bool = False
    groups: int = 0
    qkv_bias: bool = True
    output_bias: bool = True
    mlp_bias: bool = True
    norm_bias: bool = True
    logit_bias: bool = False
    norm_base: float = 0.0
    head_norm: bool = False
    head_norm_bias: bool = False
    scale: float = 0.0
    windows: tuple[int, ...] = ()
    clip: float = 0.0
    embedding_factor: float = 1.0
    rope: Rope | None = None


def project(config: Config, parts: LayerWeights, normed: np.ndarray, layout: "Layout") -> Arrays:
    """q, k and v before rotation, q and k normalised where the family does so."""
    heads = {"q": config.heads, "k": config.kv_heads, "v": config.kv_heads}
    if config.groups:
        counts = {letter: heads[letter] // config.groups for letter in layout.order}
        arrays = interleaved(normed, parts.map(layout.fused), config.groups, **counts)
    else:
        each = zip(heads, layout.qkv, strict=True)
        arrays = apart(normed, **{one: (parts.map(name), heads[one]) for one, name in each})
    if config.head_norm:
        for letter, name in zip("qk", layout.head_norms, strict=True):
            learned = parts[f"{name}.weight"], bias_of(parts, name)
            arrays |= head_normed(arrays, letter, *learned, config.epsilon)
    return arrays


def head_normed(
    arrays: Mapping[str, Any], letter: str, w: np.ndarray, b: np.ndarray, epsilon: float
) -> Arrays:
    """Every head's vectors of a letter after their layer norm, and what it adds, if it has a bias.

    The weight is (width) or (head, width), the bias (width) or of size 0.
    """
    x_HPW, w_H1W = arrays[letter], w.reshape(-1, 1, w.shape[-1])
    normed = {letter: layer_norm(x_HPW, w_H1W, b, epsilon)}
    return normed | ({f"{letter}_norm_bias": np.tile(b, (len(x_HPW), 1))} if b.size else {})


def no_positions(layout: "Layout", model: Model, stack: Stack) -> np.ndarray | None:
    """The vectors that positions add: none."""
    return None


def position_rows(layout: "Layout", model: Model, stack: Stack) -> np.ndarray:
    """The vectors that positions add: rows of a table."""
    rows = [position + layout.first_row for position in stack.positions]
    return model.weights.rows(f"{layout.positions}.weight", rows)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a family names its modules, and what it computes in a way of its own.

    Names of a layer's modules follow `layers` and its number. `norms` stand before the attention
    and before the network. q, k and v have a map each (`qkv`) or one, `fused`, in whose groups they
    stand in `order`. The network is (up, down) or (gate, up, down). `positions` is the table whose
    row `first_row` is that of the first position. A projection clamps what it gives where a config
    has a `clip`. `bias` makes what is added to the scores, of the config, the stack and the type of
    its numbers.
    """

    embedding: str = "embed_tokens"
    positions: str = ""
    first_row: int = 0
    layers: str = "layers."
    norms: tuple[str, str] = ("input_layernorm", "post_attention_layernorm")
    qkv: tuple[str, ...] = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    fused: str = ""
    order: str = "qkv"
    head_norms: tuple[str, str] = ("self_attn.q_layernorm", "self_attn.k_layernorm")
    out: str = "self_attn.o_proj"
    mlp: tuple[str, ...] = ("mlp.up_proj", "mlp.down_proj")
    last: str = "norm"
    prefixes: tuple[str, ...] = ("model.",)
    left_out: tuple[str, ...] = ("*.rotary_emb.inv_freq",)
    older: Mapping[str, str] = field(default_factory=dict)
    project: Callable[[Config, LayerWeights, np.ndarray, "Layout"], Arrays] = project
    placed: Callable[["Layout", Model, Stack], np.ndarray | None] = no_positions
    bias: Callable[[Config, Stack, np.dtype], Relation] = lambda *_: no_bias


# --- config --------------------------------------------------------------------------------------

# Frequencies are made before the file is asked for a tensor.
_WIDEST_HEAD = 1 << 16
_SIZES = {
    "layers": "num_hidden_layers", "vocabulary": "vocab_size",
    "context": "max_position_embeddings",
}  # fmt: skip


def sizes(reader: ConfigReader, own: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """Sizes that every config has, by the reference's standard names or the family's `own`.

    The standard name has the last word where both stand there.
    """
    for standard, name in own.items():
        reader.take(name, standard)

    def name_of(standard: str) -> str:
        return own.get(standard, standard)

    width_key, heads_key = name_of("hidden_size"), name_of("num_attention_heads")
    width, heads = reader.equal_shares(width_key, heads_key)
    if width // heads > _WIDEST_HEAD:
        raise reader.error(f"{reader.named(width_key)} {width} makes heads above {_WIDEST_HEAD}")
    found = {
        field: reader.integer(name_of(key), high=MOST_LAYERS if field == "layers" else 2**31 - 1)
        for field, key in _SIZES.items()
    }
    return {
        **found, "heads": heads, "kv_heads": heads, "head_width": width // heads,
        "model_width": width,
    }  # fmt: skip


def head_width(reader: ConfigReader, found: Mapping[str, Any]) -> int:
    """`head_dim`, which a family's class reads though it has no such field."""
    return reader.integer("head_dim", found["head_width"], high=_WIDEST_HEAD)


def grouped(reader: ConfigReader, found: Mapping[str, Any], kv_heads: int) -> int:
    """How many heads have keys and values, which the heads must share equally."""
    if found["heads"] % kv_heads:
        raise reader.error(
            f"{reader.named('num_attention_heads')} {found['heads']} does not divide by "
            f"{reader.named('num_key_value_heads')} {kv_heads}"
        )
    return kv_heads


def whole_rope(reader: ConfigReader, found: Mapping[str, Any]) -> Rope:
    """Rotation of all dimensions of each head."""
    if found["head_width"] % 2:
        raise reader.error(
            f"the width of a head, {found['head_width']}, is odd",
            "rotary positions turn pairs of numbers",
        )
    return read_rope(reader, found["head_width"], found["context"])


def partial_rope(reader: ConfigReader, found: Mapping[str, Any], share: float, **odd: bool) -> Rope:
    """Rotation of a share of each head's dimensions; `share` is the class's own."""
    section, key = rope_section(reader), "partial_rotary_factor"
    width = rotated_width(section, reader, key, share, found["head_width"], **odd)
    base = section.positive("rope_theta", reader.positive("rope_theta", 10000.0))
    return scaled_rope(section, reader, base, width, found["context"])


# --- tensors -------------------------------------------------------------------------------------


def shapes(layout: Layout, config: Config) -> Shapes:
    """The name and shape of every tensor."""
    width, inner, layer = config.model_width, config.inner_width, f"{layout.layers}*."
    q_width, kv_width = config.heads * config.head_width, config.kv_heads * config.head_width
    found: Shapes = {f"{layout.embedding}.weight": (config.vocabulary, width)}
    if layout.positions:
        found[f"{layout.positions}.weight"] = (config.context + layout.first_row, width)
    before = dict.fromkeys(layout.norms[: 1 if config.one_norm else 2])
    found |= norms(width, *(layer + name for name in before), layout.last, biased=config.norm_bias)
    if config.groups:
        qkv = {layer + layout.fused: (q_width + 2 * kv_width, width)}
    else:
        rows = (q_width, kv_width, kv_width)
        qkv = {layer + n: (count, width) for n, count in zip(layout.qkv, rows, strict=True)}
    found |= maps(qkv, biased=config.qkv_bias)
    found |= maps({layer + layout.out: (width, q_width)}, biased=config.output_bias)
    *up, down = layout.mlp
    both = {layer + name: (inner, width) for name in up} | {layer + down: (width, inner)}
    found |= maps(both, biased=config.mlp_bias)
    if config.head_norm:
        of_heads = (layer + name for name in layout.head_norms)
        found |= norms(config.head_width, *of_heads, biased=config.head_norm_bias)
    return found | output(config, width) | _logit_bias(config)


def _logit_bias(config: Config) -> Shapes:
    return {LOGIT_BIAS: (config.vocabulary,)} if config.logit_bias else {}


def naming(layout: Layout, config: Config) -> Naming:
    """Stored masks and frequencies carry nothing; a tied output may stand there again."""
    again = (name for name, today in layout.older.items() if today == OUTPUT)
    tied = copies(config, f"{layout.embedding}.weight", *again)
    return Naming(layout.prefixes, layout.left_out, layout.older, tied)


def gguf_tensors(layout: Layout) -> dict[str, str]:
    """GGUF's name for each tensor."""
    names = {
        layout.embedding: "token_embd", "lm_head": "output", layout.last: "output_norm",
        **({layout.positions: "position_embd"} if layout.positions else {}),
    }  # fmt: skip
    of_layer = {
        **dict(zip(layout.norms, ("attn_norm", "ffn_norm"), strict=True)),
        **dict(zip(layout.qkv, ("attn_q", "attn_k", "attn_v"), strict=True)),
        **({layout.fused: "attn_qkv"} if layout.fused else {}),
        **dict(zip(layout.head_norms, ("attn_q_norm", "attn_k_norm"), strict=True)),
        layout.out: "attn_output",
        **dict(zip(layout.mlp[::-1], ("ffn_down", "ffn_up", "ffn_gate"), strict=False)),
    }
    return named(names | {f"{layout.layers}*.{n}": f"blk.*.{t}" for n, t in of_layer.items() if n})


def gguf_keys(keys: Mapping[str, str], epsilon: str) -> dict[str, str]:
    """Keys of GGUF for sizes and rotation, those of an RMS norm and of windows left out."""
    others = ("attention.layer_norm_rms_epsilon", "attention.sliding_window",
              "rope.scaling.attn_factor")  # fmt: skip
    found = {own: key for own, key in keys.items() if own not in others}
    return found | {"attention.layer_norm_epsilon": epsilon}


# --- the order -----------------------------------------------------------------------------------


def forward(
    layout: Layout, model: Model, ids: Ids, request: Request, cache: Cache | None = None
) -> Pass:
    """The order of operations."""
    config, rope = model.config, model.config.rope
    stack = Stack(model, ids, request, cache, restart_beyond=rope.limit if rope else 0)
    x, first = _embed(layout, model, stack)
    angles = stack.angles(rope) if rope else None
    bias, norm = layout.bias(config, stack, x.dtype), partial(_norm, config)
    for parts in stack.layers(layout.layers):
        entry = entering(parts, layout.norms[0], x, config.epsilon, config.norm_base)
        projected = _clipped(config, layout.project(config, parts, entry["normed"], layout))
        output = yield from stack.attend(
            {**first, **entry, **(rotated(projected, angles) if angles else projected)},
            visible=causal_or_window(config.windows[stack.layer] if config.windows else 0),
            out=parts.map(layout.out),
            scale=config.scale,
            bias=bias,
        )
        before, x, first = x, x + output, {}
        if config.one_norm:
            into = entry["normed"]
        else:
            into = norm(parts, layout.norms[1], before if config.parallel else x)
        x = yield from stack.after(x + stack.mlp(_mlp(layout, config, parts, into)))
    return stack.end(x)


def final(layout: Layout, model: Model, x: np.ndarray) -> np.ndarray:
    """The last norm."""
    return _norm(model.config, model.weights, layout.last, x)


def _norm(config: Config, parts: LayerWeights | Weights, name: str, x: np.ndarray) -> np.ndarray:
    return layer_normed(parts, name, x, config.epsilon, config.norm_base)


def _embed(layout: Layout, model: Model, stack: Stack) -> tuple[np.ndarray, Arrays]:
    token = model.weights.rows(f"{layout.embedding}.weight", stack.ids)
    if model.config.embedding_factor != 1:
        token = token * token.dtype.type(model.config.embedding_factor)
    found = layout.placed(layout, model, stack)
    if found is None:
        return token, {}
    position = stack.placed(found.astype(token.dtype, copy=False))
    return token + position, {"token_embedding": token, "position_embedding": position}


def _clipped(config: Config, arrays: Arrays) -> Arrays:
    if not config.clip:
        return arrays
    bound = {letter: np.clip(arrays[letter], -config.clip, config.clip) for letter in "qkv"}
    return {**arrays, **bound}


def _mlp(layout: Layout, config: Config, parts: LayerWeights, into: np.ndarray) -> np.ndarray:
    network = feed_forward if len(layout.mlp) == 2 else gated_feed_forward
    return network(into, *map(parts.map, layout.mlp), ACTIVATIONS[config.activation])


# --- what pages say, and the whole ---------------------------------------------------------------


def describe(layout: Layout, facts: Facts, config: Config) -> Facts:
    """What pages say of such a model."""
    rope = config.rope
    facts = replace(
        facts,
        embedding="sum" if layout.positions else "token",
        embedding_factor=config.embedding_factor,
        positions="learned" if layout.positions else "rotary" if rope else "none",
        epsilon=config.epsilon,
        last_norm=layout.last,
        norm_bias=config.norm_bias,
        norm_base=config.norm_base,
        head_norm="each" if config.head_norm else "",
        parallel=config.parallel,
        shared_norm=config.parallel and config.one_norm,
        clipped=config.clip,
        windowed=any(config.windows),
    )
    if not rope:
        return facts
    return replace(
        facts,
        rotated=2 * len(rope.frequencies),
        interleaved=rope.interleaved,
        attention_factors=(rope.attention_factor,) * config.layers,
    )


def family(
    layout: Layout,
    read_config: Callable[[ConfigReader], Any],
    of: Callable[[Any], Layout] | None = None,
    **others: Any,
) -> Family:
    """The family of a layout; `of` is that of a config, where norms have other names in some.

    `others` are fields of `Family` that differ.
    """
    of = of or (lambda config: layout)

    def passing(model: Model, ids: Ids, request: Request, cache: Cache | None = None) -> Pass:
        return forward(of(model.config), model, ids, request, cache)

    made = Family(
        read_config,
        lambda config: shapes(of(config), config),
        partial(naming, layout),
        partial(describe, layout),
        passing,
        partial(final, layout),
        f"{layout.embedding}.weight",
        output_bias=LOGIT_BIAS,
        head=("lm_head.*",),
    )
    return replace(made, **others)
