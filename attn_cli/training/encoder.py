"""The BERT layout forwards and backwards, from the pieces of `layers` only.

Every token sees every other; a norm follows each part and its residual (post-norm). The output's
numbers are computed at the chosen positions only. A layer's parameters have the names that
`decoder` has for them, until `tensors` gives them the layout's own. Axes as in `layers`; N chosen
position. Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers".
"""

from typing import NamedTuple

import numpy as np

from attn_cli.maths import attention, masks
from attn_cli.maths.layers import gelu, gelu_vjp
from attn_cli.training import layers
from attn_cli.training.layers import Backward, LossAndGradients, Parameters, Shape

TYPES = 2
_LAYER = "bert.encoder.layer"
_NAMES = {
    "wte": "bert.embeddings.word_embeddings",
    "wpe": "bert.embeddings.position_embeddings",
    "wtt": "bert.embeddings.token_type_embeddings",
    "ln_e": "bert.embeddings.LayerNorm",
    "attn.c_proj": "attention.output.dense",
    "ln_1": "attention.output.LayerNorm",
    "mlp.c_fc": "intermediate.dense",
    "mlp.c_proj": "output.dense",
    "ln_2": "output.LayerNorm",
    "head": "cls.predictions.transform.dense",
    "ln_h": "cls.predictions.transform.LayerNorm",
    "output": "cls.predictions",
}
_MAPS = ("c_attn", "c_proj", "c_fc", "head")  # of these, matrices are stored (output, input)


class Block(NamedTuple):
    """What one layer computed and its backward pass reads again."""

    attended: layers.Attention
    first: np.ndarray  # BPM, x plus the attention's output, before the norm
    fed: layers.FeedForward
    second: np.ndarray  # BPM, the same after the feed-forward network


class Forward(NamedTuple):
    """One forward pass: `logits` = normed · wteᵀ + the output's bias, at the chosen positions."""

    embedded: np.ndarray  # BPM, the sum of the three vectors, before its norm
    blocks: tuple[Block, ...]
    picked: np.ndarray  # NM, the last layer's vectors
    hidden: np.ndarray  # NM, before GELU
    activated: np.ndarray  # NM
    normed: np.ndarray  # NM


def initial(shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random float32 parameters (see `layers.Start`)."""
    start = layers.Start(rng)
    return {
        **start.embedding("wte", shape.vocabulary, shape.width),
        **start.embedding("wpe", shape.context, shape.width),
        **start.embedding("wtt", TYPES, shape.width),
        **start.norm("ln_e", shape.width),
        **start.blocks(shape.layers, shape.width),
        **start.linear("head", shape.width, shape.width),
        **start.norm("ln_h", shape.width),
        "output.bias": np.zeros(shape.vocabulary, np.float32),
    }


def forward(
    parameters: Parameters, ids: np.ndarray, types: np.ndarray, chosen: np.ndarray, *, heads: int
) -> Forward:
    """Token ids (row, position) through every layer, and the head where `chosen` is true.

    `types` (position) is the segment of each position, the same in all rows.
    """
    tokens, positions = parameters["wte.weight"][ids], parameters["wpe.weight"][: ids.shape[-1]]
    embedded = attention.embed(tokens, positions + parameters["wtt.weight"][types])
    x = layers.norm(parameters, "ln_e", embedded)
    blocks = []
    for layer in range(layers.layer_count(parameters)):
        block, x = _block(parameters, f"h.{layer}", x, heads)
        blocks.append(block)
    picked = x[chosen]
    hidden = layers.linear(parameters, "head", picked)
    activated = gelu(hidden)
    normed = layers.norm(parameters, "ln_h", activated)
    return Forward(embedded, tuple(blocks), picked, hidden, activated, normed)


def loss_and_gradients(
    parameters: Parameters,
    ids: np.ndarray,
    types: np.ndarray,
    targets: np.ndarray,
    chosen: np.ndarray,
    *,
    heads: int,
) -> LossAndGradients:
    """Cross-entropy of `targets` (chosen position), averaged."""
    passed = forward(parameters, ids, types, chosen, heads=heads)
    share = np.full(targets.shape, 1 / max(1, targets.size), passed.normed.dtype)
    back = Backward(parameters)
    losses, dnormed = back.unembed("wte.weight", passed.normed, targets, share, "output.bias")
    dhidden = gelu_vjp(passed.hidden, back.norm("ln_h", passed.activated, dnormed))
    dx = np.zeros_like(passed.embedded)
    dx[chosen] = back.linear("head", passed.picked, dhidden)
    for layer in reversed(range(len(passed.blocks))):
        dx = _block_vjp(back, f"h.{layer}", passed.blocks[layer], dx)
    dtokens, dpositions = attention.embed_vjp(back.norm("ln_e", passed.embedded, dx))
    # wte is used twice, as embedding and as output, so its two gradients add.
    back.rows("wte.weight", ids, dtokens)
    back.rows("wpe.weight", np.arange(ids.shape[-1]), dpositions)
    back.rows("wtt.weight", types, dpositions)
    return LossAndGradients(float((losses * share).sum()), losses, back.gradients)


def _block(p: Parameters, name: str, x: np.ndarray, heads: int) -> tuple[Block, np.ndarray]:
    """norm(x + attention x), then the norm of that + MLP of that."""
    attended, output = layers.attend(p, f"{name}.attn", x, heads, masks.none)
    first = x + output
    middle = layers.norm(p, f"{name}.ln_1", first)
    fed, output = layers.feed_forward(p, f"{name}.mlp", middle, gelu)
    second = middle + output
    return Block(attended, first, fed, second), layers.norm(p, f"{name}.ln_2", second)


def _block_vjp(back: Backward, name: str, block: Block, grad: np.ndarray) -> np.ndarray:
    """`_block` last to first: the gradient of its x."""
    dsecond = back.norm(f"{name}.ln_2", block.second, grad)
    dmiddle = dsecond + back.feed_forward(f"{name}.mlp", block.fed, gelu_vjp, dsecond)
    dfirst = back.norm(f"{name}.ln_1", block.first, dmiddle)
    return dfirst + back.attend(f"{name}.attn", block.attended, dfirst)


def tensors(parameters: Parameters) -> dict[str, np.ndarray]:
    """Under the layout's names, whose matrices are (output, input), with q, k and v apart."""
    found = {}
    for name, array in parameters.items():
        whole, _, part = name.rpartition(".")
        layer, own = "", whole
        if whole.startswith("h."):
            _, number, own = whole.split(".", 2)
            layer = f"{_LAYER}.{number}."
        stored = array.T if array.ndim == 2 and own.endswith(_MAPS) else array
        if own == "attn.c_attn":
            for which, third in zip(("query", "key", "value"), np.split(stored, 3), strict=True):
                found[f"{layer}attention.self.{which}.{part}"] = third
        else:
            found[f"{layer}{_NAMES[own]}.{part}"] = stored
    return found
