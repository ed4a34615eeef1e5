"""What a mask does is the difference of two traces."""

import numpy as np
import pytest

import attn_cli

PROMPT = "the greatest thinker in China is"
CAUSAL = np.tri(6, dtype=bool)
KINDS = {
    ("causal",): CAUSAL,
    ("none",): np.ones((6, 6), bool),
    ("window:2",): CAUSAL & ~np.tri(6, k=-2, dtype=bool),
    ("prefix:3",): CAUSAL | (np.arange(6) < 3),
    ("padding:2",): CAUSAL & (np.arange(6) < 4),
    ("block:5:4",): CAUSAL & ~((np.arange(6)[:, None] == 5) & (np.arange(6) == 4)),
    ("none", "padding:1"): np.ones((6, 6), bool) & (np.arange(6) < 5),
    ("padding:1", "none", "block:0:1"): None,
}


@pytest.mark.parametrize("words", KINDS, ids=" ".join)
def test_the_effect_is_the_difference_of_two_traces(words):
    traces = [attn_cli.trace(PROMPT, mask=mask, layer=0) for mask in ([], words)]
    before, after = (trace.block(0) for trace in traces)
    found = attn_cli.mask(*traces, 0, 0)
    if KINDS[words] is not None:
        assert np.array_equal(after.visible, KINDS[words])
    assert np.array_equal(found.visible_before, before.visible)
    assert np.array_equal(found.visible_after, after.visible)
    for cells_found, chosen in (
        (found.removed, before.visible & ~after.visible),
        (found.added, after.visible & ~before.visible),
    ):
        cells = np.argwhere(chosen)
        assert [(cell.query, cell.key) for cell in cells_found] == list(map(tuple, cells))
        for cell, (q, k) in zip(cells_found, cells, strict=True):
            assert cell.scaled == pytest.approx(before.scaled[0, q, k], abs=1e-6)
            assert cell.weight == pytest.approx(before.weights[0, q, k], abs=1e-6)
    moved = np.abs(after.weights[0] - before.weights[0]).sum(axis=1) / 2
    np.testing.assert_allclose(found.moved, moved, atol=1e-6)
    change = np.linalg.norm(after.output - before.output, axis=1)
    np.testing.assert_allclose(found.output_change, change, atol=1e-5)
    length = np.linalg.norm(before.output, axis=1)
    np.testing.assert_allclose(found.output_norm, length, atol=1e-5)


def test_the_prediction_before_and_after_is_the_traces():
    traces = [attn_cli.trace(PROMPT, mask=mask, top=999_999) for mask in ([], ["window:1"])]
    found = attn_cli.mask(*traces, top=3)
    for trace, candidates in zip(traces, (found.next_before, found.next_after), strict=True):
        everything = {c.id: c for c in trace.next[0].candidates}
        assert all(candidate == everything[candidate.id] for candidate in candidates)
        assert candidates[0].rank == 1
        assert {1, 2, 3} <= {candidate.rank for candidate in candidates}
    assert {c.id for c in found.next_before} == {c.id for c in found.next_after}


def test_traces_with_few_candidates_are_followed_just_as_far():
    few, many = (
        attn_cli.mask(*(attn_cli.trace(PROMPT, mask=m, top=n) for m in ([], ["window:1"])), top=3)
        for n in (3, 999_999)
    )
    assert few.next_before == many.next_before
    assert few.next_after == many.next_after
