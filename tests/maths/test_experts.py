"""Routing in pieces, and experts that are asked for one by one."""

import numpy as np
import pytest

from attn_cli.maths import cores
from attn_cli.maths.experts import Routing, in_groups, largest, mixed, normalised, taken
from attn_cli.maths.layers import sigmoid, silu
from attn_cli.maths.products import Map, gated_by
from measure import row_error

EXPERTS, INNER, WIDTH = 6, 70, 40


@pytest.fixture
def networks():
    """The matrices of some experts with biases, and what hands out their maps and remembers it."""
    rng = np.random.default_rng(5)
    shapes = ((INNER, WIDTH), (INNER, WIDTH), (WIDTH, INNER))
    matrices = [
        [(rng.normal(size=s).astype(np.float32), rng.normal(size=s[0]).astype(np.float32))
         for s in shapes]
        for _ in range(EXPERTS)
    ]  # fmt: skip
    asked = []

    def of(expert):
        asked.append(expert)
        return tuple(Map(len(w), w.__getitem__, b) for w, b in matrices[expert])

    return matrices, of, asked


def routing_of(tokens, used, seed=3):
    """The same number of experts for every token, none of them the last one."""
    rng = np.random.default_rng(seed)
    chosen = np.array([rng.permutation(EXPERTS - 1)[:used] for _ in range(tokens)])
    return Routing(chosen, rng.uniform(size=chosen.shape).astype(np.float32))


def by_hand(x, routing, matrices):
    """Token by token in float64."""
    rows = []
    for token, chosen, shares in zip(x.astype(np.float64), *routing, strict=True):
        total = np.zeros(WIDTH)
        for expert, share in zip(chosen, shares, strict=True):
            gate, up, down = [(w.astype(np.float64), b) for w, b in matrices[expert]]
            opened = gate[0] @ token + gate[1]
            inner = opened / (1 + np.exp(-opened)) * (up[0] @ token + up[1])
            total += share * (down[0] @ inner + down[1])
        rows.append(total)
    return np.array(rows)


def test_the_largest_scores_are_first_and_the_lower_number_on_a_tie():
    scores = np.array([[1, 3, 2, 3], [0, 0, 0, 0], [-5, -np.inf, -1, -2]], np.float32)
    assert largest(scores, 3).tolist() == [[1, 3, 2], [0, 1, 2], [2, 3, 0]]
    assert largest(scores, 4)[1].tolist() == [0, 1, 2, 3]


def test_a_score_that_is_no_number_ranks_first_as_in_the_reference():
    scores = np.array([[1, np.nan, 7, 2]], np.float32)
    assert largest(scores, 2).tolist() == [[1, 2]]


def test_only_the_best_groups_keep_their_scores():
    scores = np.random.default_rng(5).normal(size=(40, 12)).astype(np.float32)
    for groups, kept, best in ((4, 2, 1), (4, 1, 2), (3, 2, 2), (2, 2, 1)):
        size = 12 // groups
        found = in_groups(scores, groups, kept, best=best, elsewhere=-7)
        for row, got in zip(scores.tolist(), found.tolist(), strict=True):
            parts = [row[size * n : size * n + size] for n in range(groups)]
            strength = [sum(sorted(part)[-best:]) for part in parts]
            stay = sorted(range(groups), key=strength.__getitem__)[-kept:]
            assert got == [x if n // size in stay else -7 for n, x in enumerate(row)]


def test_shares_are_taken_and_brought_to_a_sum():
    chosen = np.array([[2, 0], [1, 2]])
    shares = taken(np.array([[1, 9, 3], [9, 2, 6]], np.float32), chosen)
    assert shares.tolist() == [[3, 1], [2, 6]]
    assert normalised(shares).tolist() == [[0.75, 0.25], [0.25, 0.75]]
    more = normalised(shares, 8.0)
    assert more.dtype == np.float32 and more.tolist()[1] == [0.125, 0.375]


@pytest.mark.parametrize(("tokens", "used"), [(1, 1), (7, 3), (90, 2)])
def test_experts_are_added_by_their_shares(networks, tokens, used):
    matrices, of, asked = networks
    x = np.random.default_rng(1).normal(size=(tokens, WIDTH)).astype(np.float32)
    routing = routing_of(tokens, used)
    found = mixed(x, routing, of, gated_by(silu))
    assert row_error(found, by_hand(x, routing, matrices)) <= 1e-5
    assert asked == sorted(set(routing.chosen.ravel().tolist()))
    assert EXPERTS - 1 not in asked


def test_no_bit_depends_on_threads_or_on_which_experts_go_together(networks, monkeypatch):
    _, of, _ = networks
    x = np.random.default_rng(2).normal(size=(40, WIDTH)).astype(np.float32)
    routing, found = routing_of(40, 2), []
    for threads, together in ((1, 1 << 24), (3, 1 << 24), (2, 1)):
        monkeypatch.setattr("attn_cli.maths.experts.TOGETHER", together)
        cores.use(threads)
        try:
            found.append(mixed(x, routing, of, gated_by(silu)))
        finally:
            cores.use(0)
    assert all(np.array_equal(one, found[0]) for one in found)


def test_a_gating_of_another_kind_may_overwrite_both(networks):
    _, of, _ = networks
    x = np.random.default_rng(2).normal(size=(5, WIDTH)).astype(np.float32)

    def clamped(gate, up):
        np.clip(up, -1, 1, out=up)
        gate *= up

    routing = routing_of(5, 2)
    wanted = mixed(x, routing, of, lambda gate, up: np.copyto(gate, gate * up.clip(-1, 1)))
    assert np.array_equal(mixed(x, routing, of, clamped), wanted)


def test_sigmoid_at_its_ends():
    found = sigmoid(np.array([-1e4, 0, 1e4], np.float32))
    assert found.tolist() == [0, 0.5, 1] and found.dtype == np.float32
