"""Routed experts that stand in groups, beside shared ones (DeepSeek-AI 2024, "DeepSeek-V2").

In all layers but the first every token passes the shared experts, which are one network, and some
of the routed ones, which may have to stand in a few groups.
"""

from typing import NamedTuple

import numpy as np

from attn_cli.maths.attention import softmax
from attn_cli.maths.experts import Routing, in_groups, largest, normalised, taken
from attn_cli.maths.layers import sigmoid
from attn_cli.model import experts
from attn_cli.model.config import ConfigReader
from attn_cli.model.weights import LayerWeights, linear

CORRECTION = "mlp.gate.e_score_correction_bias"


class Mixture(NamedTuple):
    """The layers from the `first` on: of `count` experts, `inner` wide, each token has `used`.

    These stand in the `kept` best of the `groups`; their shares, `normalised` to a sum of 1 or not,
    are multiplied by `factor`. `corrected`: a share is a sigmoid, to which a correction is added to
    choose by, not one of a softmax. The shared experts are together `shared` wide.
    """

    first: int
    count: int = 0
    used: int = 0
    inner: int = 0
    shared: int = 0
    factor: float = 1.0
    groups: int = 1
    kept: int = 1
    corrected: bool = False
    normalised: bool = False


def read(reader: ConfigReader, layers: int, *, limited: bool, least: int = 1) -> Mixture:
    """The mixture of so many layers; `limited`: to groups, of `least` experts or more."""
    first = min(layers, reader.integer("first_k_dense_replace", low=0))
    if first == layers:
        return Mixture(first)
    keys = "n_routed_experts", "num_experts_per_tok"
    count, used = experts.counts(reader, *keys, (None, None), layers)
    groups, kept = (reader.integer(key) for key in ("n_group", "topk_group")) if limited else (1, 1)
    every, chosen, many, few = map(reader.named, (*keys, "n_group", "topk_group"))
    if count % groups or count // groups < least or kept > groups:
        raise reader.error(f"{every} {count}, {many} {groups} and {few} {kept} do not divide")
    if used > count // groups * kept:
        raise reader.error(f"{chosen} {used} is more than {few} {kept} of {many} {groups} hold")
    inner = reader.integer("moe_intermediate_size")
    return Mixture(
        first, count, used, inner, inner * reader.integer("n_shared_experts"),
        reader.positive("routed_scaling_factor"), groups, kept,
    )  # fmt: skip


def route(of: Mixture, parts: LayerWeights, normed: np.ndarray) -> Routing:
    """The experts of each token.

    A group is as good as its best score, or, of corrected ones, as its best two.
    """
    scores = linear(parts, "mlp.gate", normed)
    scores = sigmoid(scores) if of.corrected else softmax(scores)
    seen, best, hidden = scores, 1, 0.0
    if of.corrected:
        seen, best, hidden = scores + parts[CORRECTION], 2, -np.inf
    chosen = largest(in_groups(seen, of.groups, of.kept, best=best, elsewhere=hidden), of.used)
    shares = taken(scores, chosen)
    shares = normalised(shares, 1e-20) if of.normalised else shares
    return Routing(chosen, shares * shares.dtype.type(of.factor))
