"""The T5 layout forwards and backwards, from the pieces of `layers` and functions of `maths/` only.

Parameters have the Hugging Face names. Every part of a layer is x + f(norm x), f being
self-attention, cross-attention to the encoder's output, or a feed-forward network with ReLU. Scores
are not scaled; the only biases are attention's, learned by distance and shared by a stack's layers;
the embedding of both stacks is the output matrix too. Axes as in `layers`; S source position,
T target position. Raffel et al. 2020, "Exploring the Limits of Transfer Learning".
"""

from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from attn_cli.maths import attention, backward, masks, positions
from attn_cli.maths.kept import Keep
from attn_cli.maths.layers import relu, relu_vjp, rms_norm
from attn_cli.training import layers
from attn_cli.training.layers import Backward, LossAndGradients, Parameters

_MAPS = "wi", "wo"  # of a feed-forward network
EPSILON = 1e-6
BUCKETS, FARTHEST = 16, 32  # numbers of a head for distances, and from where on all share the last
EMBEDDING, LAST_NORM = "shared", "final_layer_norm"
TABLE = "block.0.layer.0.SelfAttention.relative_attention_bias"
SELF, CROSS, FEED = "SelfAttention", "EncDecAttention", "DenseReluDense"
# The parts of a layer of each stack, in computing order, and the mask of its self-attention.
PARTS = {"encoder": (SELF, FEED), "decoder": (SELF, CROSS, FEED)}
MASKS = {"encoder": masks.none, "decoder": masks.causal}


class Attention(NamedTuple):
    """What an attention computed and its backward pass reads again."""

    keys: np.ndarray  # BPM, what k and v are made from
    q: np.ndarray  # BHPW
    k: np.ndarray  # BHPW
    v: np.ndarray  # BHPW
    visible: np.ndarray  # PP
    weights: np.ndarray  # BHPP, (row, head, query, key)
    z: np.ndarray  # BHPW


class Part(NamedTuple):
    """One part of a layer: what enters it, that normed, and what f computed of it."""

    name: str
    x: np.ndarray  # BPM
    normed: np.ndarray  # BPM
    inside: Attention | layers.FeedForward


class Stacked(NamedTuple):
    """One stack's pass: the parts of its layers, and what the final norm takes and gives."""

    parts: tuple[Part, ...]
    x: np.ndarray  # BPM
    normed: np.ndarray  # BPM


class Forward(NamedTuple):
    """A pass through both stacks; `logits` = the decoder's `normed` · M^−½ · sharedᵀ."""

    encoder: Stacked
    decoder: Stacked


def initial(
    rng: np.random.Generator, *, vocabulary: int, width: int, heads: int, layers_each: int
) -> dict[str, np.ndarray]:
    """Random float32 parameters (see `layers.Start`), with that many layers in each stack.

    As in the paper's code the embedding is N(0, 1), and W_Q is smaller by √(head width), in place
    of a scale on the scores.
    """
    start = layers.Start(rng)
    matrix = partial(start.linear, bias=False)
    parameters = start.embedding(EMBEDDING, vocabulary, width, 1.0)
    for stack in PARTS:
        names = _part_names(stack, layers_each)
        residual = len(names) ** -0.5
        for name in names:
            if name.endswith(FEED):
                parameters |= matrix(f"{name}.wi", width, 4 * width)
                parameters |= matrix(f"{name}.wo", 4 * width, width, residual)
            else:
                scales = {"q": (width // heads) ** -0.5, "k": 1.0, "v": 1.0, "o": residual}
                for part, scale in scales.items():
                    parameters |= matrix(f"{name}.{part}", width, width, scale)
            parameters |= start.rms_norm(_norm_of(name), width)
        parameters[f"{stack}.{TABLE}.weight"] = np.zeros((BUCKETS, heads), np.float32)
        parameters |= start.rms_norm(f"{stack}.{LAST_NORM}", width)
    return parameters


def forward(
    parameters: Parameters, source_BS: np.ndarray, target_BT: np.ndarray, *, heads: int
) -> Forward:
    """Token ids through the encoder, and through the decoder, which looks at what that gives."""
    encoder = _stack(parameters, "encoder", source_BS, heads)
    return Forward(encoder, _stack(parameters, "decoder", target_BT, heads, encoder.normed))


def loss_and_gradients(
    parameters: Parameters,
    source_BS: np.ndarray,
    target_BT: np.ndarray,
    wanted_BT: np.ndarray,
    *,
    heads: int,
) -> LossAndGradients:
    """Mean cross-entropy of the ids wanted where the decoder has read `target` so far."""
    encoder, decoder = forward(parameters, source_BS, target_BT, heads=heads)
    share = np.full(wanted_BT.shape, 1 / wanted_BT.size, decoder.normed.dtype)
    # The reference scales what the output matrix takes where that matrix is the embedding.
    scale = decoder.normed.dtype.type(decoder.normed.shape[-1] ** -0.5)
    back, embedding = Backward(parameters), f"{EMBEDDING}.weight"
    losses, dscaled = back.unembed(embedding, decoder.normed * scale, wanted_BT, share)
    dx, dmemory = _stack_vjp(back, parameters, "decoder", decoder, dscaled * scale)
    back.rows(embedding, target_BT, dx)
    dx, _ = _stack_vjp(back, parameters, "encoder", encoder, dmemory)
    back.rows(embedding, source_BS, dx)
    return LossAndGradients(float((losses * share).sum()), losses, back.gradients)


def layer_count(parameters: Parameters) -> int:
    """How many layers each stack of these parameters has."""
    return sum(name.endswith(f"{CROSS}.q.weight") for name in parameters)


def cross_attentions(passed: Forward) -> list[Attention]:
    """The decoder's cross-attentions, one of each layer."""
    return [part.inside for part in passed.decoder.parts if part.name.endswith(CROSS)]


def order_heads(parameters: Parameters, attention_LH: np.ndarray, heads: int) -> Parameters:
    """The same model with the heads of each cross-attention sorted as `layers.order_heads` does."""
    ordered = dict(parameters)
    for layer, of_heads in enumerate(attention_LH):
        order = np.argsort(-of_heads, kind="stable")
        name = f"decoder.block.{layer}.layer.1.{CROSS}"
        for part in "qkv":
            columns = f"{name}.{part}.weight"
            ordered[columns] = layers.order_columns(parameters[columns], order)
        rows = f"{name}.o.weight"
        ordered[rows] = layers.order_columns(parameters[rows].T, order).T
    return ordered


def tensors(parameters: Parameters) -> dict[str, np.ndarray]:
    """What the file holds: the reference library has matrices as (output, input)."""
    rows = (EMBEDDING, TABLE)  # tables of rows, which are looked up
    return {
        name: array if name.removesuffix(".weight").endswith(rows) else array.T
        for name, array in parameters.items()
    }


def _part_names(stack: str, layers_each: int) -> list[str]:
    """The parts of a stack's layers in computing order, as their parameters' names begin."""
    places = product(range(layers_each), enumerate(PARTS[stack]))
    return [f"{stack}.block.{layer}.layer.{i}.{kind}" for layer, (i, kind) in places]


def _norm_of(part: str) -> str:
    return part.rpartition(".")[0] + ".layer_norm"


def _stack(
    p: Parameters, stack: str, ids: np.ndarray, heads: int, memory: np.ndarray | None = None
) -> Stacked:
    """One stack's pass; the decoder is given the encoder's output as `memory`."""
    x = p[f"{EMBEDDING}.weight"][ids]
    bias = partial(positions.relative_bias, **_bias(p, stack))
    parts = []
    for name in _part_names(stack, layer_count(p)):
        normed = rms_norm(x, p[f"{_norm_of(name)}.weight"], EPSILON)
        if name.endswith(FEED):
            inside, output = layers.feed_forward(p, name, normed, relu, _MAPS)
        elif name.endswith(CROSS):
            inside, output = _attend(p, name, normed, memory, heads)
        else:
            inside, output = _attend(p, name, normed, normed, heads, MASKS[stack], bias)
        parts.append(Part(name, x, normed, inside))
        x = x + output
    return Stacked(tuple(parts), x, rms_norm(x, p[f"{stack}.{LAST_NORM}.weight"], EPSILON))


def _stack_vjp(
    back: Backward, p: Parameters, stack: str, passed: Stacked, grad: np.ndarray
) -> tuple[np.ndarray, np.ndarray | float]:
    """`_stack` last to first: the gradients of the embedded tokens, and of `memory`."""
    dx = back.rms_norm(f"{stack}.{LAST_NORM}", passed.x, EPSILON, grad)
    dmemory = dbias = 0.0
    for part in reversed(passed.parts):
        if part.name.endswith(FEED):
            dnormed = back.feed_forward(part.name, part.inside, relu_vjp, dx, _MAPS)
        else:
            dnormed, dkeys, dscaled = _attend_vjp(back, part, dx)
            if part.name.endswith(CROSS):
                dmemory = dmemory + dkeys
            else:
                # Made from one array, the queries and the keys both have a part in it.
                dnormed, dbias = dnormed + dkeys, dbias + dscaled.sum(axis=0)
        dx = dx + back.rms_norm(_norm_of(part.name), part.x, EPSILON, dnormed)
    at_P = np.arange(passed.x.shape[-2])
    dtable = positions.relative_bias_vjp(at_P, at_P, grad_HQK=dbias, **_bias(p, stack))
    back.add(f"{stack}.{TABLE}.weight", dtable)
    return dx, dmemory


def _bias(p: Parameters, stack: str) -> dict[str, Any]:
    """What the bias of a stack's self-attention, the same in all its layers, is made of."""
    table = p[f"{stack}.{TABLE}.weight"]
    return {"table_BH": table, "farthest": FARTHEST, "both_sides": MASKS[stack] is masks.none}


def _attend(
    p: Parameters, name: str, x: np.ndarray, keys: np.ndarray, heads: int,
    mask: masks.Visible = masks.none, bias: attention.Relation = attention.no_bias,
) -> tuple[Attention, np.ndarray]:  # fmt: skip
    """Attention of `x` to `keys`: what it computed, and its output."""
    q, k, v = (
        attention.split_heads(layers.linear(p, f"{name}.{part}", of), heads)
        for part, of in (("q", x), ("k", keys), ("v", keys))
    )
    found = attention.attend(q, k, v, mask, scale=1.0, bias=bias, start=0, keep=Keep(("weights",)))
    visible = mask(np.arange(x.shape[-2]), np.arange(keys.shape[-2]))
    output = layers.linear(p, f"{name}.o", attention.merge_heads(found.z))
    return Attention(keys, q, k, v, visible, found.weights, found.z), output


def _attend_vjp(
    back: Backward, part: Part, grad: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`_attend` last to first: the gradients of its x, its keys and its bias."""
    name, found, merge = part.name, part.inside, attention.merge_heads
    dz = back.linear(f"{name}.o", merge(found.z), grad)
    dq, dk, dv, dbias = backward.attend_vjp(
        found.q, found.k, found.v, found.visible, found.weights,
        attention.split_heads(dz, found.q.shape[-3]), scale=1.0,
    )  # fmt: skip
    dx = back.linear(f"{name}.q", part.normed, merge(dq))
    dkeys = back.linear(f"{name}.k", found.keys, merge(dk))
    return dx, dkeys + back.linear(f"{name}.v", found.keys, merge(dv)), dbias
