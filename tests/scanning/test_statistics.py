"""Statistics beside numpy's, beside a package's sketch, and merged in any order."""

from itertools import permutations

import numpy as np
import pytest
from ddsketch import DDSketch

from attn_cli.scanning.statistics import LIMIT, QUANTILES, Statistics

TOPS = (1, 5, 20)


def made(seed, queries=700, heads=2):
    """Values (measure, head, query): shares, bits, distances; and which are asked for."""
    rng = np.random.default_rng(seed)
    values = np.stack([
        rng.beta(0.3, 2, (heads, queries)), rng.gamma(2, 1, (heads, queries)),
        rng.lognormal(3, 2, (heads, queries)),
    ])  # fmt: skip
    return values, rng.random((3, 1, queries)) < 0.8


def of(*several):
    found = Statistics(2, TOPS)
    for values, asked in several:
        found.add(np.arange(2), values, asked & np.ones_like(values, bool))
    return found


def same(one, other):
    pairs = zip(one.arrays.values(), other.arrays.values(), strict=True)
    return all(a.tobytes() == b.tobytes() for a, b in pairs)


def test_every_number_is_that_of_numpy():
    values, asked = made(0)
    found = of((values, asked))
    for measure in range(3):
        for head in range(2):
            x = values[measure, head][asked[measure, 0]]
            totals = found.totals(head, measure)
            assert totals.count == x.size and totals.broken == 0
            assert totals.mean == pytest.approx(x.mean(), abs=2**-32)
            assert totals.deviation == pytest.approx(x.std(), rel=1e-9)
            assert (totals.minimum, totals.maximum) == (x.min(), x.max())
            wanted = np.quantile(x, QUANTILES, method="inverted_cdf")
            for estimate, exact in zip(totals.quantiles, wanted, strict=True):
                assert abs(estimate - exact) <= max(exact / 64, 2**-13)


def test_quantiles_are_as_good_as_those_of_a_package_of_the_same_error():
    values, _ = made(1, 5000)
    found = of((values, np.ones((3, 1, 1), bool)))
    for measure in range(3):
        sketch = DDSketch(1 / 64)
        for value in values[measure, 0]:
            sketch.add(value)
        theirs = [sketch.get_quantile_value(q) for q in QUANTILES]
        ours = found.totals(0, measure).quantiles
        assert np.allclose(ours, theirs, rtol=2 / 64, atol=2**-12)


def test_merged_in_any_order_the_bytes_are_the_same():
    several = [made(seed, 50 + 40 * seed) for seed in range(4)]
    whole = of(*several)
    for order in permutations(range(4)):
        found = Statistics(2, TOPS)
        for place in order:
            found.merge(of(several[place]))
        assert same(found, whole)
    left, right = of(*several[:2]), of(*several[2:])
    left.merge(right)
    assert same(left, whole)
    left.merge(Statistics(2, TOPS))
    assert same(left, whole)


def test_a_spread_of_nothing_is_exactly_nothing():
    """What is far from 0 and always the same has no deviation, however often it comes."""
    values = np.full((1, 1, 3000), 0.1)
    found = Statistics(1, (1,))
    for _ in range(7):
        found.add(np.arange(1), values, np.ones_like(values, bool))
    totals = found.totals(0, 0)
    assert (totals.count, totals.deviation) == (21000, 0.0)
    assert totals.quantiles == (0.1,) * 5, "the middle of a cell is not outside of what was seen"


def test_the_largest_numbers_do_not_overflow():
    """The squares of a million and a half of the largest numbers are more than 2¹⁰⁰."""
    value = LIMIT - 2**-32
    values = np.full((1, 1, 1 << 14), value)
    found = Statistics(1, (20,))
    for _ in range(2):
        found.add(np.arange(1), values, np.ones_like(values, bool))
    for _ in range(40):
        found.merge(found)
        found.arrays  # noqa: B018 - brings limbs back below their bits
    totals = found.totals(0, 0)
    assert totals.count == 1 << 55 and totals.mean == value and totals.deviation == 0


def test_what_is_no_number_is_counted_apart():
    values = np.array([[[0.5, np.nan, np.inf, -np.inf, LIMIT, 0.25]]])
    found = Statistics(1, (1,))
    used = found.add(np.arange(1), values, np.array([[[1, 1, 1, 0, 1, 1]]], bool))
    totals = found.totals(0, 0)
    assert (totals.count, totals.broken, totals.mean) == (2, 3, 0.375)
    assert used.tolist() == [[[True, False, False, False, False, True]]]


def test_of_nothing_there_are_no_numbers():
    totals = Statistics(1, (1,)).totals(0, 0)
    assert totals.count == 0 and np.isnan([totals.mean, totals.minimum, *totals.quantiles]).all()
