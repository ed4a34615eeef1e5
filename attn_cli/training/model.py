"""The GPT-2 layout forwards and backwards, from the functions of `maths/` and their `_vjp`s only.

Parameters are a dict under the Hugging Face names without the `transformer.` prefix; weights are
(input, output). Axes as suffixes: B row, P position, M model width, N heads × width, H head,
C = 3H (the queries', the keys', then the values' heads), V vocabulary. Every array takes the
parameters' dtype. Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from attn_cli.maths import attention, layers, masks
from attn_cli.maths.masks import Visible

EPSILON = 1e-5
EMBEDDING_SPREAD = 0.02

Parameters = Mapping[str, np.ndarray]


class Shape(NamedTuple):
    """The sizes of a model. The width is divided among the heads."""

    vocabulary: int
    context: int
    width: int
    heads: int
    layers: int


class Block(NamedTuple):
    """What one layer computed and its backward pass reads again."""

    x: np.ndarray  # BPM
    normed: np.ndarray  # BPM
    qkv: np.ndarray  # BCPW
    weights: np.ndarray  # BHPP, (row, head, query, key)
    z: np.ndarray  # BHPW
    middle: np.ndarray  # BPM, x plus the attention's output
    middle_normed: np.ndarray  # BPM
    hidden: np.ndarray  # BP(4M), before GELU
    activated: np.ndarray  # BP(4M), after GELU


class Forward(NamedTuple):
    """One forward pass up to the final layer norm; `logits` = normed · wteᵀ."""

    blocks: tuple[Block, ...]
    x: np.ndarray  # BPM
    normed: np.ndarray  # BPM
    visible: np.ndarray  # PP


class LossAndGradients(NamedTuple):
    """The mean loss in nats over the counted positions, what it is the mean of, its gradients."""

    loss: float
    losses: np.ndarray  # BP, nats, whether counted or not
    gradients: dict[str, np.ndarray]


def initial(shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random float32 parameters: embeddings N(0, 0.02²), other matrices N(0, 1/inputs), 0, gains 1.

    With 1/inputs (LeCun et al. 1998) a product keeps the spread of its input, so that attention is
    not flat for most of a short run, as it is with GPT-2's 0.02 at a width of 32. The projections
    that add to the residual stream are scaled by 1 / √(2 layers), so that its spread does not grow
    with depth (Radford et al. 2019, section 2.3).
    """
    m = shape.width

    def normal(*size: int, scale: float = EMBEDDING_SPREAD) -> np.ndarray:
        return (rng.standard_normal(size) * scale).astype(np.float32)

    def norm(name: str) -> dict[str, np.ndarray]:
        return {f"{name}.weight": np.ones(m, np.float32), f"{name}.bias": np.zeros(m, np.float32)}

    def linear(name: str, n_in: int, n_out: int, scale: float = 1.0) -> dict[str, np.ndarray]:
        weight = normal(n_in, n_out, scale=scale * n_in**-0.5)
        return {f"{name}.weight": weight, f"{name}.bias": np.zeros(n_out, np.float32)}

    residual = (2 * shape.layers) ** -0.5
    parameters = {"wte.weight": normal(shape.vocabulary, m), "wpe.weight": normal(shape.context, m)}
    for layer in range(shape.layers):
        parameters |= norm(f"h.{layer}.ln_1")
        parameters |= linear(f"h.{layer}.attn.c_attn", m, 3 * m)
        parameters |= linear(f"h.{layer}.attn.c_proj", m, m, residual)
        parameters |= norm(f"h.{layer}.ln_2")
        parameters |= linear(f"h.{layer}.mlp.c_fc", m, 4 * m)
        parameters |= linear(f"h.{layer}.mlp.c_proj", 4 * m, m, residual)
    return parameters | norm("ln_f")


def layer_count(parameters: Parameters) -> int:
    """How many layers these parameters are of."""
    return sum(name.endswith(".ln_1.weight") for name in parameters)


def forward(
    parameters: Parameters, ids: np.ndarray, *, heads: int, mask: Visible = masks.causal
) -> Forward:
    """Token ids (row, position) through every layer; rows start at position 0."""
    positions = ids.shape[-1]
    x = attention.embed(parameters["wte.weight"][ids], parameters["wpe.weight"][:positions])
    blocks = []
    for layer in range(layer_count(parameters)):
        block, x = _block(_layer(parameters, layer), x, heads, mask)
        blocks.append(block)
    normed = layers.layer_norm(x, parameters["ln_f.weight"], parameters["ln_f.bias"], EPSILON)
    return Forward(tuple(blocks), x, normed, masks.square(mask, positions))


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
    losses, dnormed, dwte = _unembed(parameters["wte.weight"], passed.normed, targets, share)
    gradients = {"wte.weight": dwte}
    dx, dgain, dbias = layers.layer_norm_vjp(passed.x, parameters["ln_f.weight"], EPSILON, dnormed)
    for layer in reversed(range(len(passed.blocks))):
        own, dx = _block_vjp(_layer(parameters, layer), passed.blocks[layer], passed.visible, dx)
        gradients |= {f"h.{layer}.{name}": gradient for name, gradient in own.items()}
    gradients |= {"ln_f.weight": dgain, "ln_f.bias": dbias}
    dtokens, dpositions = attention.embed_vjp(dx)
    # wte is used twice, as embedding and as output, so its two gradients add.
    _add_rows(gradients["wte.weight"], ids, dtokens)
    gradients["wpe.weight"] = np.zeros_like(parameters["wpe.weight"])
    gradients["wpe.weight"][: ids.shape[-1]] = dpositions
    ordered = {name: gradients[name] for name in parameters}
    return LossAndGradients(float((losses * share).sum()), losses, ordered)


def _layer(parameters: Parameters, layer: int) -> dict[str, np.ndarray]:
    """One layer's parameters, `h.<layer>.` taken off."""
    prefix = f"h.{layer}."
    return {n.removeprefix(prefix): a for n, a in parameters.items() if n.startswith(prefix)}


def _block(p: Parameters, x: np.ndarray, heads: int, mask: Visible) -> tuple[Block, np.ndarray]:
    """x + attention(norm x), then + MLP(norm of that): what it computed, and its output."""
    normed = layers.layer_norm(x, p["ln_1.weight"], p["ln_1.bias"], EPSILON)
    # c_attn's columns are all queries, all keys, all values: three times as many heads in one map.
    qkv = attention.project(normed, p["attn.c_attn.weight"], p["attn.c_attn.bias"], 3 * heads)
    attended = attention.attend(*np.split(qkv, 3, axis=-3), mask, keep=("weights",))
    output = attention.combine(attended.z, p["attn.c_proj.weight"], p["attn.c_proj.bias"])
    middle = x + output
    middle_normed = layers.layer_norm(middle, p["ln_2.weight"], p["ln_2.bias"], EPSILON)
    hidden = layers.linear(middle_normed, p["mlp.c_fc.weight"], p["mlp.c_fc.bias"])
    activated = layers.gelu_tanh(hidden)
    result = middle + layers.linear(activated, p["mlp.c_proj.weight"], p["mlp.c_proj.bias"])
    seen = (attended.weights, attended.z)
    return Block(x, normed, qkv, *seen, middle, middle_normed, hidden, activated), result


def _block_vjp(
    p: Parameters, block: Block, visible: np.ndarray, grad: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """`_block` last to first: the gradients of its parameters, and of its x."""
    g: dict[str, np.ndarray] = {}

    def linear(name: str, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        weight = p[f"{name}.weight"]
        dx, g[f"{name}.weight"], g[f"{name}.bias"] = layers.linear_vjp(x, weight, dy)
        return dx

    def norm(name: str, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        gain = p[f"{name}.weight"]
        dx, g[f"{name}.weight"], g[f"{name}.bias"] = layers.layer_norm_vjp(x, gain, EPSILON, dy)
        return dx

    dactivated = linear("mlp.c_proj", block.activated, grad)
    dhidden = layers.gelu_tanh_vjp(block.hidden, dactivated)
    dmiddle = grad + norm("ln_2", block.middle, linear("mlp.c_fc", block.middle_normed, dhidden))
    dz, g["attn.c_proj.weight"], g["attn.c_proj.bias"] = attention.combine_vjp(
        block.z, p["attn.c_proj.weight"], dmiddle
    )
    q, k, v = np.split(block.qkv, 3, axis=-3)
    *dq_dk_dv, _ = attention.attend_vjp(q, k, v, visible, block.weights, dz)
    dqkv = np.concatenate(dq_dk_dv, axis=-3)
    dnormed, g["attn.c_attn.weight"], g["attn.c_attn.bias"] = attention.project_vjp(
        block.normed, p["attn.c_attn.weight"], dqkv
    )
    return g, dmiddle + norm("ln_1", block.x, dnormed)


def _unembed(
    wte: np.ndarray, normed: np.ndarray, targets: np.ndarray, share: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The losses, and the gradients of their weighted sum by `normed` and by the output's wte."""
    flat = normed.reshape(-1, normed.shape[-1])
    losses, dlogits = layers.cross_entropy_with_gradient(
        flat @ wte.T, targets.reshape(-1), share.reshape(-1)
    )
    dnormed = (dlogits @ wte).reshape(normed.shape)
    return losses.reshape(targets.shape), dnormed, dlogits.T @ flat


def _add_rows(total_VM: np.ndarray, ids: np.ndarray, rows: np.ndarray) -> None:
    """total[id] += row for every token; a token that occurs twice gets both.

    Sorted and added up by runs, which takes half the time of `np.add.at`.
    """
    flat = ids.reshape(-1)
    order = np.argsort(flat, kind="stable")
    found, starts = np.unique(flat[order], return_index=True)
    total_VM[found] += np.add.reduceat(rows.reshape(-1, rows.shape[-1])[order], starts, axis=0)
