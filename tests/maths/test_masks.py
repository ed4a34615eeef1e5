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


def by_loops(queries, keys, rule):
    """rule(q, k) for the last `queries` positions of `keys`."""
    return [[rule(q, k) for k in range(keys)] for q in range(keys - queries, keys)]


@pytest.mark.parametrize(("queries", "keys"), SIZES)
@pytest.mark.parametrize("name", RULES)
def test_a_base_mask_is_its_rule(name, queries, keys):
    make, numbers, rule = RULES[name]
    found = make(queries, keys, *numbers)
    assert found.dtype == bool
    assert found.tolist() == by_loops(queries, keys, rule)


@pytest.mark.parametrize(("queries", "keys"), SIZES)
@pytest.mark.parametrize("width", NUMBERS[1:])
def test_a_window_to_both_sides(queries, keys, width):
    found = masks.window(queries, keys, width, both_sides=True)
    assert found.tolist() == by_loops(queries, keys, lambda q, k: abs(q - k) < width)


@pytest.mark.parametrize(("queries", "keys"), SIZES)
@pytest.mark.parametrize("last", NUMBERS)
def test_padding_hides_the_last_keys_from_everyone(queries, keys, last):
    found = masks.hide_padding(masks.causal(queries, keys), last)
    assert found.tolist() == by_loops(queries, keys, lambda q, k: k <= q and k < keys - last)


@pytest.mark.parametrize(("queries", "keys"), SIZES)
def test_one_cell_is_hidden_and_no_other(queries, keys):
    before = masks.causal(queries, keys)
    for query, key in itertools.product(range(queries), range(keys)):
        found = masks.hide_cell(before, query, key)
        wanted = before.tolist()
        wanted[query][key] = False
        assert found.tolist() == wanted


def test_hiding_leaves_the_mask_it_was_given():
    before = masks.none(3, 3)
    before.flags.writeable = False
    masks.hide_cell(before, 1, 2)
    masks.hide_padding(before, 2)
    assert before.all()


def test_distance_counts_from_key_to_query():
    assert masks.distance(2, 4).tolist() == [[2, 1, 0, -1], [3, 2, 1, 0]]


def test_masks_meet_where_they_should():
    causal = masks.causal(4, 6)
    assert np.array_equal(masks.window(4, 6, 6), causal)
    assert not np.array_equal(masks.window(4, 6, 5), causal)
    assert np.array_equal(masks.prefix(4, 6, 0), causal)
    assert masks.prefix(4, 6, 6).all()
    assert np.array_equal(masks.hide_padding(causal, 0), causal)
