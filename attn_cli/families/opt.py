"""OPT: learned positions that begin at row 2, norms before each part or behind. Zhang et al. 2022.

The reference scales the queries before the dot products; here the scores are scaled in step 4, as
everywhere, which gives the same numbers from there on.
"""

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from attn_cli.errors import ContentError
from attn_cli.maths import layers as layer_maths
from attn_cli.maths.attention import embed, project
from attn_cli.maths.layers import layer_norm, linear
from attn_cli.model.cache import Cache
from attn_cli.model.config import ConfigReader, EqualHeads
from attn_cli.model.stack import Block, Final, Request, own_mask, run_block
from attn_cli.model.weights import LayerWeights, Model, Naming, Weights
from attn_cli.records import Attention

_ACTIVATIONS = {
    "relu": layer_maths.relu,
    "gelu": layer_maths.gelu,
    "gelu_new": layer_maths.gelu_tanh,
    "silu": layer_maths.silu,
    "swish": layer_maths.silu,
}
_HARMLESS = frozenset(
    {
        "activation_dropout",
        "attention_dropout",
        "dropout",
        "init_std",
        "initializer_range",
        "layerdrop",
    }
)
# The first rows of the position table belonged to padding.
_FIRST_POSITION = 2
_EPSILON = 1e-5  # the reference's own, which no config changes
_MOST_LAYERS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(EqualHeads):
    """The numbers of an OPT model. `embedding_width` differs where the embedding is projected.

    `norm_before`: each part's norm stands before it, else behind the sum; `last_norm` only with it.
    """

    embedding_width: int
    inner_width: int
    activation: str
    norm_before: bool
    last_norm: bool
    affine: bool
    biased: bool
    tied: bool

    @property
    def projected(self) -> bool:
        """Whether a matrix leads from the embedding to the model's width, and one back."""
        return self.embedding_width != self.model_width


def read_config(values: Mapping[str, Any], where: str, ignored: Iterable[str] = ()) -> Config:
    """Raises ContentError for a config that cannot be honoured exactly."""
    reader = ConfigReader(values, where)
    width, heads = reader.integer("hidden_size"), reader.integer("num_attention_heads")
    if width % heads:
        raise ContentError(
            f"{where}: hidden_size {width} does not divide by num_attention_heads {heads}"
        )
    before, removed = (
        reader.flag("do_layer_norm_before", True),
        reader.flag("_remove_final_layer_norm", False),
    )
    config = Config(
        layers=reader.integer("num_hidden_layers", high=_MOST_LAYERS),
        heads=heads,
        model_width=width,
        embedding_width=reader.integer("word_embed_proj_dim", width),
        inner_width=reader.integer("ffn_dim"),
        vocabulary=reader.integer("vocab_size"),
        context=reader.integer("max_position_embeddings"),
        activation=reader.choice("activation_function", _ACTIVATIONS, "relu"),
        norm_before=before,
        last_norm=before and not removed,
        affine=reader.flag("layer_norm_elementwise_affine", True),
        biased=reader.flag("enable_bias", True),
        tied=reader.flag("tie_word_embeddings", True),
    )
    reader.finish(_HARMLESS, ignored)
    return config


def tensor_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """The name and shape of every tensor."""
    width, narrow = config.model_width, config.embedding_width
    norms = ["decoder.final_layer_norm"] if config.last_norm else []
    matrices: dict[str, tuple[int, int]] = {}
    for layer in range(config.layers):
        part = f"decoder.layers.{layer}."
        norms += [f"{part}self_attn_layer_norm", f"{part}final_layer_norm"]
        matrices |= {f"{part}self_attn.{name}_proj": (width, width) for name in "qkv"}
        matrices[f"{part}self_attn.out_proj"] = (width, width)
        matrices[f"{part}fc1"] = (config.inner_width, width)
        matrices[f"{part}fc2"] = (width, config.inner_width)
    shapes: dict[str, tuple[int, ...]] = {
        "decoder.embed_tokens.weight": (config.vocabulary, narrow),
        "decoder.embed_positions.weight": (config.context + _FIRST_POSITION, width),
    }
    if config.projected:
        shapes["decoder.project_in.weight"] = (width, narrow)
        shapes["decoder.project_out.weight"] = (narrow, width)
    if not config.tied:
        shapes["lm_head.weight"] = (config.vocabulary, narrow)
    shapes |= {f"{name}.weight": shape for name, shape in matrices.items()}
    if config.biased:
        shapes |= {f"{name}.bias": shape[:1] for name, shape in matrices.items()}
    for name in norms if config.affine else ():
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    return shapes


def naming(config: Config) -> Naming:
    """A tied output may stand there again."""
    copies = {"lm_head.weight": "decoder.embed_tokens.weight"} if config.tied else {}
    return Naming(("model.",), copies=copies)


def forward(
    model: Model, ids: tuple[int, ...], request: Request, cache: Cache | None = None
) -> Generator[Attention, None, Final]:
    """Yields the record of each chosen layer in turn and returns the final hidden vectors."""
    config, weights = model.config, model.weights
    start = cache.length if cache else 0
    token = weights.rows("decoder.embed_tokens.weight", ids)
    if config.projected:
        token = token @ weights["decoder.project_in.weight"].T
    first = start + _FIRST_POSITION
    position = weights.rows("decoder.embed_positions.weight", range(first, first + len(ids)))
    x = embed(token, position)
    before = {"token_embedding": token, "position_embedding": position}
    visible = own_mask(0, len(ids), start)
    touched = False
    for layer, parts in enumerate(weights.layers("decoder.layers.", request.last_layer)):
        arrays = {**before, "x": x}
        if config.norm_before:
            arrays["normed"] = _norm(config, parts, "self_attn_layer_norm", x)
        arrays |= _project(config, parts, arrays.get("normed", x))
        block = Block(
            layer=layer,
            arrays=arrays,
            own_visible=visible,
            w_o=parts["self_attn.out_proj.weight"].T,
            b_o=_bias(parts, "self_attn.out_proj"),
            embedding="projected" if config.projected else "sum",
            residual="added" if config.norm_before else "behind",
            touched=touched,
        )
        result = run_block(request, block, cache)
        yield from result.records
        touched = result.touched
        if layer == request.last_layer < config.layers - 1:
            return Final(hidden=x[:0], touched=touched)
        x, before = _rest(config, parts, x + result.output), {}
    if cache:
        cache.advance(ids)
    if config.last_norm:
        x = _norm(config, weights, "decoder.final_layer_norm", x)
    return Final(hidden=x, touched=touched)


def predict(model: Model, hidden: np.ndarray) -> np.ndarray:
    """Logits (position, vocabulary) of final hidden vectors (position, model)."""
    weights = model.weights
    if model.config.projected:
        hidden = hidden @ weights["decoder.project_out.weight"].T
    output = "decoder.embed_tokens.weight" if model.config.tied else "lm_head.weight"
    return weights.times_rows(output, hidden)


def _bias(parts: LayerWeights, name: str) -> np.ndarray:
    return parts.get(f"{name}.bias", np.zeros(0, np.float32))


def _norm(config: Config, parts: LayerWeights | Weights, name: str, x: np.ndarray) -> np.ndarray:
    if not config.affine:
        return layer_maths.standardise(x, _EPSILON)[0]
    return layer_norm(x, parts[f"{name}.weight"], parts[f"{name}.bias"], _EPSILON)


def _project(config: Config, parts: LayerWeights, into: np.ndarray) -> dict[str, np.ndarray]:
    """q, k and v, and the parameters that made them, one head apart from the next."""
    heads, arrays = config.heads, {}
    for letter in "qkv":
        w, b = parts[f"self_attn.{letter}_proj.weight"].T, _bias(parts, f"self_attn.{letter}_proj")
        arrays[letter] = project(into, w, b, heads)
        arrays[f"w_{letter}"] = w.reshape(len(w), heads, -1).swapaxes(0, 1)
        if b.size:
            arrays[f"b_{letter}"] = b.reshape(heads, -1)
    w_o = parts["self_attn.out_proj.weight"].T
    arrays["w_o"] = w_o.reshape(heads, -1, config.model_width)
    if config.biased:
        arrays["b_o"] = _bias(parts, "self_attn.out_proj")
    return arrays


def _rest(config: Config, parts: LayerWeights, x: np.ndarray) -> np.ndarray:
    """What a layer does behind the attention: the MLP, and the norms of either order."""
    if not config.norm_before:
        x = _norm(config, parts, "self_attn_layer_norm", x)
    into = _norm(config, parts, "final_layer_norm", x) if config.norm_before else x
    inner = linear(into, parts["fc1.weight"].T, _bias(parts, "fc1"))
    active = _ACTIVATIONS[config.activation](inner)
    x = x + linear(active, parts["fc2.weight"].T, _bias(parts, "fc2"))
    return x if config.norm_before else _norm(config, parts, "final_layer_norm", x)
