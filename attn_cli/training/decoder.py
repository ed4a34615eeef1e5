"""The GPT-2 layout forwards and backwards, from the pieces of `layers` only.

Parameters have the Hugging Face names without the `transformer.` prefix. Axes as in `layers`.
Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
"""

from typing import NamedTuple

import numpy as np

from attn_cli.maths import attention, masks
from attn_cli.maths.layers import gelu_tanh, gelu_tanh_vjp
from attn_cli.maths.masks import Visible
from attn_cli.training import layers
from attn_cli.training.layers import Backward, LossAndGradients, Parameters, Shape


class Block(NamedTuple):
    """What one layer computed and its backward pass reads again."""

    x: np.ndarray  # BPM
    attended: layers.Attention
    middle: np.ndarray  # BPM, x plus the attention's output
    fed: layers.FeedForward


class Forward(NamedTuple):
    """One forward pass up to the final layer norm; `logits` = normed · wteᵀ."""

    blocks: tuple[Block, ...]
    x: np.ndarray  # BPM
    normed: np.ndarray  # BPM


def initial(shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random float32 parameters (see `layers.Start`)."""
    start = layers.Start(rng)
    return {
        **start.embedding("wte", shape.vocabulary, shape.width),
        **start.embedding("wpe", shape.context, shape.width),
        **start.blocks(shape.layers, shape.width),
        **start.norm("ln_f", shape.width),
    }


def forward(
    parameters: Parameters, ids: np.ndarray, *, heads: int, mask: Visible = masks.causal
) -> Forward:
    """Token ids (row, position) through every layer; rows start at position 0."""
    positions = ids.shape[-1]
    x = attention.embed(parameters["wte.weight"][ids], parameters["wpe.weight"][:positions])
    blocks = []
    for layer in range(layers.layer_count(parameters)):
        block, x = _block(parameters, f"h.{layer}", x, heads, mask)
        blocks.append(block)
    return Forward(tuple(blocks), x, layers.norm(parameters, "ln_f", x))


def loss_and_gradients(
    parameters: Parameters,
    ids: np.ndarray,
    targets: np.ndarray,
    counted: np.ndarray,
    *,
    heads: int,
    mask: Visible = masks.causal,
) -> LossAndGradients:
    """Cross-entropy of `targets` (row, position), averaged over the `counted` positions."""
    passed = forward(parameters, ids, heads=heads, mask=mask)
    share = counted.astype(passed.normed.dtype) / max(1, int(counted.sum()))
    back = Backward(parameters)
    losses, dnormed = back.unembed("wte.weight", passed.normed, targets, share)
    dx = back.norm("ln_f", passed.x, dnormed)
    for layer in reversed(range(len(passed.blocks))):
        dx = _block_vjp(back, f"h.{layer}", passed.blocks[layer], dx)
    dtokens, dpositions = attention.embed_vjp(dx)
    # wte is used twice, as embedding and as output, so its two gradients add.
    back.rows("wte.weight", ids, dtokens)
    back.rows("wpe.weight", np.arange(ids.shape[-1]), dpositions)
    return LossAndGradients(float((losses * share).sum()), losses, back.gradients)


def _block(
    p: Parameters, name: str, x: np.ndarray, heads: int, mask: Visible
) -> tuple[Block, np.ndarray]:
    """x + attention(norm x), then + MLP(norm of that): what it computed, and its output."""
    normed = layers.norm(p, f"{name}.ln_1", x)
    attended, output = layers.attend(p, f"{name}.attn", normed, heads, mask)
    middle = x + output
    middle_normed = layers.norm(p, f"{name}.ln_2", middle)
    fed, output = layers.feed_forward(p, f"{name}.mlp", middle_normed, gelu_tanh)
    return Block(x, attended, middle, fed), middle + output


def _block_vjp(back: Backward, name: str, block: Block, grad: np.ndarray) -> np.ndarray:
    """`_block` last to first: the gradient of its x."""
    dmiddle_normed = back.feed_forward(f"{name}.mlp", block.fed, gelu_tanh_vjp, grad)
    dmiddle = grad + back.norm(f"{name}.ln_2", block.middle, dmiddle_normed)
    dnormed = back.attend(f"{name}.attn", block.attended, dmiddle)
    return dmiddle + back.norm(f"{name}.ln_1", block.x, dnormed)
