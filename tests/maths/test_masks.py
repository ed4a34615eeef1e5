"""Every mask against two loops over the pairs of a query and a key."""

import itertools

import numpy as np
import pytest

from attn_cli.maths import masks

# As many keys as queries, and more of them: the queries are then the last positions.
SIZES = [(1, 1), (2, 2), (5, 5), (1, 4), (3, 7), (4, 5)]
NUMBERS = (0, 1, 2, 3, 8)

RULES = {
    "none": (masks.none, (), lambda q, k: True),
    "causal": (masks.causal, (), lambda q, k: k <= q),
    **{
        f"window {n}": (masks.window, (n,), lambda q, k, n=n: 0 <= q - k < n) for n in NUMBERS[1:]
    },
    **{
        f"prefix {n}": (masks.prefix, (n,), lambda q, k, n=n: k <= q or k < n) for n in NUMBERS
    },
}  # fmt: skip


def at(queries, keys):
    """The last `queries` positions of `keys`, and all of these."""
    return np.arange(keys - queries, keys), np.arange(keys)


def by_loops(queries, keys, rule):
    """rule(q, k) for the last `queries` positions of `keys`."""
    return [[rule(q, k) for k in range(keys)] for q in range(keys - queries, keys)]


@pytest.mark.parametrize(("queries", "keys"), SIZES)
@pytest.mark.parametrize("name", RULES)
def test_a_base_mask_is_its_rule(name, queries, keys):
    make, numbers, rule = RULES[name]
    found = make(*at(queries, keys), *numbers)
    assert found.dtype == bool
    assert found.tolist() == by_loops(queries, keys, rule)


HIDES = {
    "padding": (masks.padding, (3, 6)), "padding left": (masks.padding_left, (2,)),
    "block": (masks.block, (2, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", [*RULES, *HIDES])
def test_a_part_of_a_mask_is_that_part_of_the_whole(name):
    make, numbers = (RULES | HIDES)[name][:2]
    whole = make(*at(7, 7), *numbers)
    queries, keys = np.array([6, 2, 3]), np.array([0, 4, 1, 5])
    assert np.array_equal(make(queries, keys, *numbers), whole[np.ix_(queries, keys)])
    assert np.array_equal(masks.square(lambda q, k: make(q, k, *numbers), 7), whole)


@pytest.mark.parametrize(("queries", "keys"), SIZES)
@pytest.mark.parametrize("width", NUMBERS[1:])
def test_a_window_to_both_sides(queries, keys, width):
    found = masks.window(*at(queries, keys), width, both_sides=True)
    assert found.tolist() == by_loops(queries, keys, lambda q, k: abs(q - k) < width)


@pytest.mark.parametrize(("queries", "keys"), SIZES)
@pytest.mark.parametrize("last", NUMBERS)
def test_padding_hides_the_last_keys_from_everyone(queries, keys, last):
    here = at(queries, keys)
    found = masks.causal(*here) & masks.padding(*here, keys - last, keys)
    assert found.dtype == bool
    assert found.tolist() == by_loops(queries, keys, lambda q, k: k <= q and k < keys - last)


@pytest.mark.parametrize(("queries", "keys"), SIZES)
def test_one_cell_is_hidden_and_no_other(queries, keys):
    here = at(queries, keys)
    before = masks.causal(*here)
    for query, key in itertools.product(range(queries), range(keys)):
        found = before & masks.block(*here, here[0][query], key)
        assert found.dtype == bool
        wanted = before.tolist()
        wanted[query][key] = False
        assert found.tolist() == wanted


def test_hiding_leaves_the_positions_it_was_given():
    here = at(3, 3)
    for positions in here:
        positions.flags.writeable = False
    masks.block(*here, 1, 2)
    masks.padding(*here, 2, 3)
    assert masks.none(*here).all()


def test_distance_counts_from_key_to_query():
    assert masks.distance(*at(2, 4)).tolist() == [[2, 1, 0, -1], [3, 2, 1, 0]]


def test_masks_meet_where_they_should():
    here = at(4, 6)
    causal = masks.causal(*here)
    assert np.array_equal(masks.window(*here, 6), causal)
    assert not np.array_equal(masks.window(*here, 5), causal)
    assert np.array_equal(masks.prefix(*here, 0), causal)
    assert masks.prefix(*here, 6).all()
    assert np.array_equal(causal & masks.padding(*here, 6, 6), causal)


# --- what looks tell of a mask -------------------------------------------------------------------

SQUARES = {name: (mask, numbers) for name, (mask, numbers, _) in RULES.items()}


def square(name, queries, keys):
    mask, numbers = SQUARES[name]
    return mask(*at(queries, keys), *numbers)


def looked(name, queries, keys):
    mask, numbers = SQUARES[name]
    return masks.looks(lambda q, k: mask(q, k, *numbers), keys - queries, queries, keys, block=2)


@pytest.mark.parametrize(("queries", "keys"), SIZES)
def test_looks_are_the_same_exactly_where_the_masks_are(queries, keys):
    found = {
        pair: masks.same(*(looked(name, queries, keys) for name in pair))
        for pair in itertools.product(SQUARES, repeat=2)
    }
    assert found == {
        pair: np.array_equal(*(square(name, queries, keys) for name in pair)) for pair in found
    }


@pytest.mark.parametrize(("queries", "keys"), SIZES)
def test_looks_hide_exactly_what_the_mask_does(queries, keys):
    found = {name: masks.hides(looked(name, queries, keys), keys) for name in SQUARES}
    assert found == {name: not square(name, queries, keys).all() for name in SQUARES}


def reach_by_loops(seen, first):
    """Of a list of rows, the cells that are true, and the farthest key to either side."""
    cells = [(first + i, k) for i, row in enumerate(seen) for k, one in enumerate(row) if one]
    far = [max([0, *(sign * (q - k) for q, k in cells)]) for sign in (1, -1)]
    return (len(cells), *far)


@pytest.mark.parametrize(("queries", "keys"), SIZES)
@pytest.mark.parametrize("name", SQUARES)
@pytest.mark.parametrize("block", [1, 2, 128])
def test_the_reach_of_looks_is_counted_cell_by_cell(name, queries, keys, block):
    mask, numbers = SQUARES[name]
    first = keys - queries
    found = masks.looks(lambda q, k: mask(q, k, *numbers), first, queries, keys, block)
    assert masks.reach(found, first) == reach_by_loops(square(name, queries, keys), first)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 1])
def test_the_reach_of_any_mask(share):
    """Rows without a key, holes, keys that a whole block sees."""
    random = np.random.default_rng(3)
    for _ in range(40):
        seen = random.random((7, 9)) < share
        seen[:, random.integers(9)] |= random.random() < share
        found = masks.looks(lambda q, k, seen=seen: seen[np.ix_(q, k)], 0, 7, 9, block=3)
        assert masks.reach(found) == reach_by_loops(seen, 0)


def test_a_band_is_filled_exactly_where_the_mask_is_that_band():
    at_Q, at_K = np.arange(4)[:, None], np.arange(4)
    bands = {
        (before, after): (at_Q - at_K <= before) & (at_K - at_Q <= after)
        for before, after in itertools.product(range(4), repeat=2)
    }
    # All of them, and each with one cell changed.
    others = [band ^ (at_Q * 4 + at_K == cell) for band in bands.values() for cell in range(16)]
    for seen in (*bands.values(), *others):
        looks = masks.looks(lambda q, k, seen=seen: seen[np.ix_(q, k)], 0, 4, 4, block=2)
        found = masks.reach(looks)
        for sides, band in bands.items():
            assert found.fills(4, *sides) == np.array_equal(seen, band)
