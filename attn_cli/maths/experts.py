"""Mixtures of experts: each token passes a few of a layer's feed-forward networks.

Shazeer et al. 2017, "Outrageously Large Neural Networks"; Fedus et al. 2021, "Switch Transformers".
A router gives every token a score for each expert; a family's way from scores to a `Routing` is
made of the pieces below. Axes: P position, E expert, K chosen, M model, I inner.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from attn_cli.maths.attention import softmax
from attn_cli.maths.products import Gate, Map, gated_feed_forwards

# Numbers of the matrices that are worked on side by side: where experts are small, several are.
TOGETHER = 1 << 24


class Routing(NamedTuple):
    """The experts of each token (position, chosen), numbered from 0, and the share of each."""

    chosen: np.ndarray
    shares: np.ndarray


# The maps of an expert by its number: gate, up and down.
Networks = Callable[[int], tuple[Map, Map, Map]]


def largest(scores_PE: np.ndarray, count: int) -> np.ndarray:
    """The `count` highest scores of each token, (position, chosen), the highest first.

    The lower number is first on a tie, and NaN ranks above every number.
    """
    keys = np.where(np.isnan(scores_PE), scores_PE.dtype.type(np.inf), scores_PE)
    return np.argsort(-keys, axis=-1, kind="stable")[:, :count]


def taken(values_PE: np.ndarray, chosen_PK: np.ndarray) -> np.ndarray:
    """What the chosen experts have of a number per expert, (position, chosen)."""
    return np.take_along_axis(values_PE, chosen_PK, axis=-1)


def normalised(shares_PK: np.ndarray, more: float = 0.0) -> np.ndarray:
    """The shares over their sum, to which `more` is added first."""
    total = shares_PK.sum(axis=-1, keepdims=True)
    return shares_PK / (total + total.dtype.type(more))


def one_after_another(scores_PE: np.ndarray, count: int, near: float) -> Routing:
    """The best expert of each token, then the best of the others, until there are `count`.

    Each has its share of a softmax over those that are left, but for what is further below it than
    `near` of it. Liu et al. 2024, "GRIN: GRadient-INformed MoE", SparseMixer-v2.
    """
    left, hidden, chosen, shares = scores_PE.copy(), scores_PE.dtype.type(-np.inf), [], []
    for _ in range(count):
        best = left.argmax(axis=-1)[:, None]
        top = taken(scores_PE, best)
        far = (top - scores_PE) / np.maximum(np.abs(scores_PE), top) > scores_PE.dtype.type(near)
        shares.append(taken(softmax(np.where(far, hidden, left)), best))
        chosen.append(best)
        np.put_along_axis(left, best, hidden, axis=-1)
    return Routing(np.concatenate(chosen, axis=-1), np.concatenate(shares, axis=-1))


def in_groups(
    scores_PE: np.ndarray, groups: int, kept: int, *, best: int, elsewhere: float
) -> np.ndarray:
    """The scores in the `kept` best of so many equal groups, and `elsewhere` in the others.

    A group is as good as the sum of its `best` scores. DeepSeek-AI 2024, "DeepSeek-V2".
    """
    if groups == kept:
        return scores_PE
    grouped = scores_PE.reshape(len(scores_PE), groups, -1)
    strength = np.sort(grouped, axis=-1)[..., -best:].sum(axis=-1)
    found = np.full_like(grouped, elsewhere)
    chosen = largest(strength, kept)[..., None]
    np.put_along_axis(found, chosen, np.take_along_axis(grouped, chosen, axis=1), axis=1)
    return found.reshape(scores_PE.shape)


def mixed(x_PM: np.ndarray, routing: Routing, networks: Networks, gating: Gate) -> np.ndarray:
    """Σ share · network(x) over the experts of each token, (position, model).

    `networks` is asked only for experts that a token is routed to, once for each. What they give
    is added in the order of their numbers, so that no digit depends on what is done side by side.
    """
    found = np.zeros_like(x_PM)
    for group in _groups(x_PM, routing, networks):
        given = gated_feed_forwards([(x_PM[rows], *maps) for rows, _, maps in group], gating)
        for (rows, shares, _), vectors in zip(group, given, strict=True):
            found[rows] += vectors * shares[:, None]
    return found


def _groups(
    x_PM: np.ndarray, routing: Routing, networks: Networks
) -> Iterator[list[tuple[np.ndarray, np.ndarray, tuple[Map, Map, Map]]]]:
    """The positions of each expert that is used, its shares and maps, some experts at a time."""
    group, numbers = [], 0
    for expert in np.unique(routing.chosen).tolist():
        rows, places = np.nonzero(routing.chosen == expert)
        group.append((rows, routing.shares[rows, places], maps := networks(expert)))
        numbers += 3 * maps[0].outputs * x_PM.shape[1]
        if numbers >= TOGETHER:
            yield group
            group, numbers = [], 0
    if group:
        yield group
