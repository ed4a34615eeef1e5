"""The six steps: examples to check with a pencil, laws, and the numbers that break softmax."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from attn_cli.maths import attention as steps
from attn_cli.maths import cores, masks
from attn_cli.maths.kept import Blocks, Keep, Kept
from measure import row_error

F32 = np.float32
SEEDS = st.integers(0, 2**32 - 1)
fast = settings(max_examples=60, deadline=None)


def f32(values):
    return np.array(values, F32)


def normal(rng, *shape):
    return rng.standard_normal(shape, F32)


def drawn(seed, heads=3, groups=3, queries=4, keys=5, width=6, value_width=7):
    """Random q, k, v of sizes that differ pairwise."""
    rng = np.random.default_rng(seed)
    return (
        normal(rng, heads, queries, width),
        normal(rng, groups, keys, width),
        normal(rng, groups, keys, value_width),
    )


def cells(array):
    """An array (…, query, key) as a function of positions; the queries are the last ones."""
    earlier = array.shape[-1] - array.shape[-2]
    return lambda at_Q, at_K: array[..., (at_Q - earlier)[:, None], at_K]


def plain_softmax(row, temperature=1.0):
    """One row in plain Python floats."""
    top = max(row)
    shares = [math.exp((x - top) / temperature) for x in row]
    return [share / math.fsum(shares) for share in shares]


# --- with a pencil: two tokens, width two --------------------------------------------------------


def test_step_1_adds_the_position():
    x = steps.embed(f32([[1, 2], [3, 4]]), f32([[10, 20], [30, 40]]))
    assert x.tolist() == [[11, 22], [33, 44]]


def test_step_2_projects_and_splits_into_heads():
    x, w, b = f32([[1, 2], [0, 1]]), f32([[1, 0], [1, 2]]), f32([1, -1])
    # 1·1 + 2·1 + 1 = 4, 1·0 + 2·2 − 1 = 3; 0·1 + 1·1 + 1 = 2, 0·0 + 1·2 − 1 = 1
    assert steps.project(x, w, b, heads=1).tolist() == [[[4, 3], [2, 1]]]
    assert steps.project(x, w, b, heads=2).tolist() == [[[4], [2]], [[3], [1]]]


def test_step_3_multiplies_queries_with_keys():
    q, k = f32([[[1, 0], [1, 2]]]), f32([[[3, 1], [0, 2]]])
    # 1·3 + 0·1, 1·0 + 0·2; 1·3 + 2·1, 1·0 + 2·2
    assert steps.dot_products(q, k).tolist() == [[[3, 0], [5, 4]]]


def test_step_4_scales_adds_the_bias_and_hides():
    scores, bias = f32([[[3, 0], [5, 4]]]), f32([[[10, 20], [30, 40]]])
    assert steps.scale_scores(scores, 0.5, f32([])).tolist() == [[[1.5, 0], [2.5, 2]]]
    assert steps.scale_scores(scores, 0.5, bias).tolist() == [[[11.5, 20], [32.5, 42]]]
    visible = np.array([[True, False], [True, True]])
    assert steps.mask_scores(scores, visible).tolist() == [[[3, -math.inf], [5, 4]]]


def test_step_5_shares_out_one():
    masked = f32([[math.log(3), 0], [5, -math.inf]])
    # e^ln3 : e^0 = 3 : 1
    np.testing.assert_allclose(steps.softmax(masked), [[0.75, 0.25], [1, 0]], rtol=1e-6, atol=0)
    # Divided by temperature 2 the ratio is √3 : 1.
    share = math.sqrt(3) / (math.sqrt(3) + 1)
    np.testing.assert_allclose(steps.softmax(masked, 2.0)[0], [share, 1 - share], rtol=1e-6)


def test_step_6_sums_and_pulls():
    weights, v = f32([[[1, 0], [0.75, 0.25]]]), f32([[[4, 0], [0, 8]]])
    z = steps.weighted_sum(weights, v, masks.square(masks.causal, 2))
    assert z.tolist() == [[[4, 0], [3, 2]]]
    w_o, b_o = f32([[1, 0], [2, 1]]), f32([100, 200])
    # 4·1 + 0·2, 4·0 + 0·1; 3·1 + 2·2, 3·0 + 2·1
    assert steps.pull(z, w_o).tolist() == [[[4, 0], [7, 2]]]
    assert steps.combine(z, w_o, b_o).tolist() == [[104, 200], [107, 202]]


def test_two_heads_pull_through_their_own_rows_of_the_output_projection():
    z, w_o = f32([[[2]], [[3]]]), f32([[1, 10], [100, 1000]])
    assert steps.pull(z, w_o).tolist() == [[[2, 20]], [[300, 3000]]]
    assert steps.combine(z, w_o, f32([0, 0])).tolist() == [[302, 3020]]


def test_steps_3_to_6_at_once():
    q, k = f32([[[0, 0], [2 * math.log(3), 0]]]), f32([[[1, 5], [0, 5]]])
    v = f32([[[4, 0], [0, 8]]])
    found = steps.attend(q, k, v, masks.causal, scale=0.5)
    close = {"rtol": 1e-6, "atol": 1e-6}
    np.testing.assert_allclose(found.scores, [[[0, 0], [2 * math.log(3), 0]]], **close)
    np.testing.assert_allclose(found.scaled, [[[0, 0], [math.log(3), 0]]], **close)
    np.testing.assert_allclose(found.masked, [[[0, -math.inf], [math.log(3), 0]]], **close)
    np.testing.assert_allclose(found.weights, [[[1, 0], [0.75, 0.25]]], **close)
    np.testing.assert_allclose(found.z, [[[4, 0], [3, 2]]], **close)


def test_the_scale_left_out_is_one_over_the_root_of_the_width():
    q, k, v = drawn(0, width=4)
    found = steps.attend(q, k, v, masks.none)
    assert np.array_equal(found.scaled, found.scores / 2)
    assert steps.default_scale(64) == 0.125


def test_splitting_heads_keeps_neighbours_together():
    x = np.arange(12, dtype=F32).reshape(2, 6)
    assert steps.split_heads(x, 3).tolist() == [
        [[0, 1], [6, 7]],
        [[2, 3], [8, 9]],
        [[4, 5], [10, 11]],
    ]
    assert np.array_equal(steps.merge_heads(steps.split_heads(x, 3)), x)


# --- laws ----------------------------------------------------------------------------------------

ROWS = hnp.arrays(
    F32, hnp.array_shapes(min_dims=1, max_dims=3, max_side=9),
    elements=st.floats(-(2.0**14), 2.0**14, width=32),
)  # fmt: skip
TEMPERATURES = st.sampled_from([0.0, 5e-324, 1e-40, 0.1, 0.7, 1.0, 3.0, 1e6, 1e308])


@fast
@given(ROWS, TEMPERATURES)
def test_rows_of_weights_sum_to_one(logits, temperature):
    weights = steps.softmax(logits, temperature)
    assert weights.dtype == F32
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=-1, dtype=np.float64), 1, rtol=1e-6)


@fast
@given(ROWS, st.sampled_from([0.1, 0.7, 1.0, 3.0]))
def test_softmax_is_its_formula(logits, temperature):
    found = steps.softmax(logits, temperature).reshape(-1, logits.shape[-1])
    for row, weights in zip(logits.reshape(found.shape).tolist(), found, strict=True):
        np.testing.assert_allclose(weights, plain_softmax(row, temperature), rtol=0, atol=1e-6)


@fast
@given(
    hnp.arrays(F32, (3, 5), elements=st.integers(-60, 60)), st.integers(-9999, 9999), TEMPERATURES
)
def test_softmax_ignores_a_shift(logits, shift, temperature):
    """Whole numbers, which float32 adds exactly: not one bit may change."""
    shifted = steps.softmax(logits + F32(shift), temperature)
    assert np.array_equal(shifted, steps.softmax(logits, temperature))


@fast
@given(SEEDS, st.permutations(range(5)))
def test_permuting_keys_with_their_values_changes_nothing(seed, order):
    q, k, v = drawn(seed)
    visible = np.random.default_rng(seed).random((4, 5)) < 0.7
    before = steps.attend(q, k, v, cells(visible))
    after = steps.attend(q, k[:, order], v[:, order], cells(visible[:, order]))
    np.testing.assert_allclose(after.weights, before.weights[..., order], rtol=0, atol=1e-6)
    np.testing.assert_allclose(after.z, before.z, rtol=0, atol=1e-5)


@fast
@given(SEEDS, st.integers(1, 4))
def test_under_a_causal_mask_the_future_cannot_alter_the_past(seed, now):
    q, k, v = drawn(seed, queries=5)
    before = steps.attend(q, k, v, masks.causal)
    other = drawn(seed + 1, queries=5)
    for array, replaced in zip((q, k, v), other, strict=True):
        array[:, now:] = 100 * replaced[:, now:]
    after = steps.attend(q, k, v, masks.causal)
    assert np.array_equal(after.weights[:, :now], before.weights[:, :now])
    assert np.array_equal(after.z[:, :now], before.z[:, :now])
    assert not np.array_equal(after.z[:, now:], before.z[:, now:])


@fast
@given(SEEDS, st.sampled_from([(6, 1), (6, 2), (6, 3), (6, 6)]))
def test_grouped_heads_are_their_keys_and_values_repeated(seed, sizes):
    heads, groups = sizes
    q, k, v = drawn(seed, heads=heads, groups=groups)
    grouped = steps.attend(q, k, v, masks.causal)
    for head in range(heads):
        own = head * groups // heads
        alone = steps.attend(q[head : head + 1], k[own : own + 1], v[own : own + 1], masks.causal)
        for together, separate in zip(grouped[:5], alone[:5], strict=True):
            np.testing.assert_allclose(together[head], separate[0], rtol=0, atol=1e-5)


@fast
@given(SEEDS)
def test_pulls_and_bias_add_up_to_the_output(seed):
    rng = np.random.default_rng(seed)
    z, w, b = normal(rng, 3, 4, 5), normal(rng, 15, 7), normal(rng, 7)
    np.testing.assert_allclose(
        steps.pull(z, w).sum(axis=0) + b, steps.combine(z, w, b), rtol=0, atol=1e-5
    )


def test_further_axes_in_front_are_a_batch():
    rng = np.random.default_rng(5)
    q, k, v = normal(rng, 2, 6, 4, 3), normal(rng, 2, 3, 5, 3), normal(rng, 2, 3, 5, 7)
    w, b = normal(rng, 42, 8), normal(rng, 8)
    together = steps.attend(q, k, v, masks.causal, attention_temperature=0.7)
    for i in range(2):
        alone = steps.attend(q[i], k[i], v[i], masks.causal, attention_temperature=0.7)
        for batch, single in zip(together[:5], alone[:5], strict=True):
            np.testing.assert_allclose(batch[i], single, rtol=0, atol=1e-6)
        np.testing.assert_allclose(
            steps.pull(together.z, w)[i], steps.pull(alone.z, w), rtol=0, atol=1e-5
        )
        np.testing.assert_allclose(
            steps.combine(together.z, w, b)[i], steps.combine(alone.z, w, b), rtol=0, atol=1e-5
        )


def test_float32_stays_float32():
    q, k, v = drawn(3)
    for bias in (steps.no_bias, cells(normal(np.random.default_rng(0), 3, 4, 5))):
        for temperature in (0.0, 0.5, 1.0):
            found = steps.attend(
                q, k, v, masks.causal, bias=bias, attention_temperature=temperature
            )
            assert {array.dtype for array in found[:5]} == {np.dtype(F32)}


# --- temperature at its limits -------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.0, -0.0, 5e-324, 1e-320, 1e-40])
def test_no_temperature_puts_all_on_the_maximum_and_shares_ties(temperature):
    rows = f32([[1, 3, 2, 3], [-5, -7, -math.inf, -6], [2, 2, 2, 2], [0, 1e-30, 0, 0]])
    found = steps.softmax(rows, temperature)
    assert found.tolist() == [[0, 0.5, 0, 0.5], [1, 0, 0, 0], [0.25] * 4, [0, 1, 0, 0]]


def test_a_boundless_temperature_shares_equally_among_the_visible():
    rows = f32([[1e4, -1e4, -math.inf, 0], [3e38, -3e38, 3e38, -3e38]])
    third = F32(1) / F32(3)
    assert steps.softmax(rows, 1e308).tolist() == [[third, third, 0, third], [0.25] * 4]


def test_temperature_divides_logits_that_differ_by_more_than_float32_can_hold():
    # ±3e38 / 3e38 = ±1
    np.testing.assert_allclose(
        steps.softmax(f32([3e38, -3e38]), float(F32(3e38))), plain_softmax([1, -1]), rtol=1e-6
    )


@pytest.mark.parametrize("temperature", [0.0, 5e-324, 0.5, 1.0, 1e308])
def test_a_row_without_a_visible_key_gives_zeros(temperature):
    q, k, v = drawn(1)
    visible = np.ones((4, 5), bool)
    visible[2] = False
    found = steps.attend(q, k, v, cells(visible), attention_temperature=temperature)
    assert np.isneginf(found.masked[:, 2]).all()
    assert not found.weights[:, 2].any()
    assert not found.z[:, 2].any()
    np.testing.assert_allclose(found.weights[:, [0, 1, 3]].sum(axis=-1), 1, rtol=1e-6)


# --- numbers at their limits ---------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e4, 3e38])
def test_huge_logits_are_sharp_not_nan(size):
    rows = f32([[size, -size, 0], [-size, -size, -size], [-size, -math.inf, size]])
    third = F32(1) / F32(3)
    assert steps.softmax(rows).tolist() == [[1, 0, 0], [third, third, third], [0, 0, 1]]


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_what_is_behind_the_mask_poisons_nothing(poison):
    q, k, v = drawn(2, queries=5)
    before = steps.attend(q, k, v, masks.causal)
    k[:, 3], v[:, 3], q[:, 3] = poison, poison, poison
    with np.errstate(invalid="ignore"):
        after = steps.attend(q, k, v, masks.causal)
    assert np.array_equal(after.weights[:, :3], before.weights[:, :3])
    np.testing.assert_allclose(after.z[:, :3], before.z[:, :3], rtol=0, atol=1e-6)
    # It is not swept under the rug where it can be seen.
    assert not np.isfinite(after.z[:, 3:]).any()


def test_a_value_behind_the_mask_poisons_no_query_of_a_window():
    q, k, v = drawn(4, queries=5)
    v[1, 0, 2] = math.nan
    found = steps.attend(q, k, v, lambda at_Q, at_K: masks.window(at_Q, at_K, 2))
    poisoned = np.isnan(found.z)
    assert poisoned[1, :2, 2].all()
    assert poisoned.sum() == 2


def test_a_nan_that_is_seen_stays_nan():
    assert np.isnan(steps.softmax(f32([1, math.nan, -math.inf]))).all()
    assert np.isnan(steps.softmax(f32([1, math.nan, -math.inf]), 0.0)).all()
    assert np.isnan(steps.softmax(f32([1, math.nan, -math.inf]), 0.5)).all()


# --- one path, with less kept --------------------------------------------------------------------


def some_mask(kind, queries, keys, rng):
    at_Q, at_K = np.arange(keys - queries, keys), np.arange(keys)
    if kind == "window":
        return masks.window(at_Q, at_K, int(rng.integers(1, keys + 2)))
    if kind == "prefix":
        return masks.prefix(at_Q, at_K, int(rng.integers(0, keys + 1)))
    if kind == "scattered":
        return rng.random((queries, keys)) < 0.3
    return masks.causal(at_Q, at_K) if kind == "causal" else masks.none(at_Q, at_K)


@settings(max_examples=150, deadline=None)
@given(
    seed=SEEDS,
    kind=st.sampled_from(["causal", "window", "prefix", "scattered", "none"]),
    hidden_rows=st.booleans(),
    block=st.sampled_from([1, 2, 3, 5, 128]),
    temperature=st.sampled_from([1.0, 0.5, 0.0]),
    biased=st.booleans(),
    summed=st.booleans(),
    sunk=st.booleans(),
)
def test_blocks_and_less_kept_change_no_number(
    seed, kind, hidden_rows, block, temperature, biased, summed, sunk
):
    rng = np.random.default_rng(seed)
    groups, queries, earlier, width, value_width = rng.integers(1, 8, 5).tolist()
    heads, keys = groups * int(rng.integers(1, 4)), queries + earlier - 1
    q, k, v = (
        2 * rng.standard_normal(shape)
        for shape in ((heads, queries, width), (groups, keys, width), (groups, keys, value_width))
    )
    visible = some_mask(kind, queries, keys, rng)
    if hidden_rows:
        visible = visible & (rng.random(queries) < 0.6)[:, None]
    options = {"scale": float(rng.choice([0.0, 0.3])), "attention_temperature": temperature}
    if biased:
        options["bias"] = cells(rng.standard_normal((heads, queries, keys)))
    if summed:
        options["terms"] = {"more": cells(rng.standard_normal((heads, queries, keys)))}
    if sunk:
        options["sink"] = rng.standard_normal(heads)
    given = (q, k, v, cells(visible))
    whole = steps.attend(*given, **options)
    options["at"] = masks.looks(cells(visible), earlier - 1, queries, keys, block)
    every = {*steps.BEFORE_SUM, steps.PRODUCT, "more"}
    parts = steps.attend(*given, **options, keep=Keep(every))
    # In float64, where only a wrong step can make a difference.
    for found, wanted in zip(parts[:5], whole[:5], strict=True):
        assert row_error(found, wanted) <= 1e-12
        assert found.dtype == np.float64
    assert set(parts.terms) == ({steps.PRODUCT, "more"} if summed else set())
    if summed:
        assert row_error(sum(parts.terms.values()), whole.scores) <= 1e-12
    assert whole.sink_share.shape == ((heads, queries) if sunk else (0,))
    if sunk:
        assert row_error(parts.sink_share, whole.sink_share) <= 1e-12
        assert np.abs(whole.weights.sum(axis=-1) + whole.sink_share - 1).max() <= 1e-12
    lean = steps.attend(*given, **options, keep=Keep(("weights",)))
    assert np.array_equal(lean.weights, parts.weights) and np.array_equal(lean.z, parts.z)
    without = steps.attend(*given, **options, keep=Keep(()))
    assert np.array_equal(without.z, lean.z)
    assert [a.size for a in without[:4]] == [0, 0, 0, 0]
    assert not lean.terms and not without.terms
    heads_kept, of_queries, of_keys = (
        tuple(np.flatnonzero(rng.random(count) < 0.6).tolist()) for count in (heads, queries, keys)
    )
    few = steps.attend(*given, **options, keep=Keep(every, heads_kept, of_queries, of_keys))
    for name in steps.BEFORE_SUM:
        chosen = getattr(parts, name)[np.ix_(heads_kept, of_queries, of_keys)]
        assert np.array_equal(getattr(few, name), chosen)
    assert np.array_equal(few.z, parts.z)


MASKS_OF_A_LONG_TEXT = {
    "causal": masks.causal,
    "none": masks.none,
    "window": lambda at_Q, at_K: masks.window(at_Q, at_K, 40),
    "a hole": lambda at_Q, at_K: masks.causal(at_Q, at_K) & masks.padding(at_Q, at_K, 100, 290),
}


@pytest.mark.parametrize("visible", MASKS_OF_A_LONG_TEXT.values(), ids=MASKS_OF_A_LONG_TEXT)
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("sunk", [False, True])
def test_not_a_bit_depends_on_threads_or_on_what_is_kept(visible, biased, sunk):
    """Long enough for several blocks of queries, heads one by one."""
    q, k, v = drawn(3, heads=6, groups=2, queries=300, keys=300, width=16, value_width=8)
    bias = cells(normal(np.random.default_rng(1), 6, 300, 300))
    options = {"bias": bias} if biased else {}
    options |= {"sink": normal(np.random.default_rng(2), 6)} if sunk else {}
    shown = masks.square(visible, 300)
    wanted = steps.attend(q, k, v, visible, **options)
    plain = np.where(shown, wanted.scaled.astype(np.float64), -np.inf)
    sink = np.broadcast_to(options["sink"][:, None, None] if sunk else -np.inf, (6, 300, 1))
    plain = np.concatenate([plain, sink], axis=-1)
    shares = np.exp(plain - plain.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    shares, share = shares[..., :-1], shares[..., -1]
    assert wanted.sink_share.size == sunk * share.size
    assert not sunk or row_error(wanted.sink_share, share) <= 1e-6
    assert row_error(wanted.weights, shares) <= 1e-6
    assert row_error(wanted.z, shares @ v.repeat(3, axis=0)) <= 1e-6
    try:
        for count in (1, 2, 5):
            cores.use(count)
            for names in (steps.BEFORE_SUM, ("weights",), ("scores",), ()):
                found = steps.attend(q, k, v, visible, **options, keep=Keep(names))
                assert np.array_equal(found.z, wanted.z)
                for name in (*names, "sink_share"):
                    assert np.array_equal(getattr(found, name), getattr(wanted, name))
    finally:
        cores.use(0)


def test_measures_know_the_lengths_of_the_values_that_a_block_sees():
    q, k, v = drawn(5, heads=4, groups=2, queries=300, keys=300, width=16)
    lengths = np.random.default_rng(6).random((4, 300)).astype(np.float32)

    def weighted(weights, at_Q, at_K, lengths):
        return (weights * lengths).sum(axis=-1)

    keep = Keep(("weights",), measures={"weighted": weighted}, lengths=lengths)
    visible = lambda at_Q, at_K: masks.window(at_Q, at_K, 40)  # noqa: E731
    found = steps.attend(q, k, v, visible, keep=keep)
    wanted = (found.weights * lengths[:, None]).sum(axis=-1)
    np.testing.assert_allclose(found.measures["weighted"], wanted, rtol=1e-5)


def test_measures_are_taken_of_weights_that_are_not_kept():
    q, k, v = drawn(4, heads=4, groups=2, queries=300, keys=300, width=16)

    def largest(weights, at_Q, at_K, _):
        return weights.max(axis=-1)

    def key_looked_at(weights, at_Q, at_K, _):
        return at_K[weights.argmax(axis=-1)]

    def distance(weights, at_Q, at_K, _):
        return (weights * (at_Q[:, None] - at_K)).sum(axis=-1)

    measures = {"largest": largest, "key": key_looked_at, "distance": distance}
    keep = Keep(("weights",), measures=measures)
    found = steps.attend(q, k, v, masks.causal, keep=keep)
    lean = steps.attend(q, k, v, masks.causal, keep=Keep((), measures=measures))
    apart = np.arange(300)[:, None] - np.arange(300)
    wanted = {
        "largest": found.weights.max(axis=-1),
        "key": found.weights.argmax(axis=-1),
        "distance": (found.weights.astype(np.float64) * apart).sum(axis=-1),
    }
    for name, expected in wanted.items():
        np.testing.assert_allclose(lean.measures[name], expected, rtol=1e-4, atol=1e-4)
        assert np.array_equal(found.measures[name], lean.measures[name])


@pytest.mark.parametrize("block", [1, 2, 128])
def test_what_no_query_sees_poisons_neither(block):
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((2, 5, 3)).astype(F32) for _ in "qkv")

    def visible(at_Q, at_K):
        return masks.causal(at_Q, at_K) & masks.padding(at_Q, at_K, 3, 5)

    wanted = steps.attend(q, k, v, visible)
    k[:, 3], v[:, 4] = np.nan, np.inf
    at = masks.looks(visible, 0, 5, 5, block)
    for names in (steps.BEFORE_SUM, ("weights",)):
        found = steps.attend(q, k, v, visible, keep=Keep(names), at=at)
        assert row_error(found.weights, wanted.weights) <= 1e-6
        assert row_error(found.z, wanted.z) <= 1e-6


SEEN_IN_BLOCKS = {
    "causal": masks.causal,
    "window": lambda at_Q, at_K: masks.window(at_Q, at_K, 150),
    "both sides": masks.none,
    "one that sees nothing": lambda at_Q, at_K: masks.causal(at_Q, at_K) & (at_Q != 300)[:, None],
    "none that see anything": lambda at_Q, at_K: masks.none(at_Q, at_K) & False,
}


@pytest.mark.parametrize("visible", SEEN_IN_BLOCKS.values(), ids=SEEN_IN_BLOCKS)
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("sink", [False, True])
def test_weights_in_blocks_are_those_of_the_whole_array(visible, groups, sink):
    rng = np.random.default_rng(groups)
    q, k, v = normal(rng, 4, 400, 8), normal(rng, groups, 400, 8), normal(rng, groups, 400, 8)
    more = {"sink": normal(rng, 4)} if sink else {}
    whole = steps.attend(q, k, v, visible, keep=Keep(("weights",)), **more)
    apart = steps.attend(q, k, v, visible, keep=Keep(("weights",), apart=True), **more)
    assert isinstance(apart.weights, Blocks)
    assert apart.weights.shape == whole.weights.shape
    assert apart.weights.whole().tobytes() == whole.weights.tobytes()
    assert apart.z.tobytes() == whole.z.tobytes()


def test_blocks_of_a_causal_mask_hold_no_more_than_their_queries_see():
    q, k, v = drawn(6, queries=640, keys=640)
    keep = Keep(("weights",), apart=True)
    found = steps.attend(q, k, v, masks.causal, keep=keep).weights
    # Five blocks of 128 queries, which see 1, 2, … 5 times 128 keys.
    assert found.nbytes == 3 * 128 * 128 * (1 + 2 + 3 + 4 + 5) * found.dtype.itemsize
    assert found.whole() is found.whole()
    assert not found.whole().flags.writeable


@pytest.mark.parametrize("place", [0, 1])
def test_blocks_know_whether_all_of_their_numbers_are_finite(place):
    arrays = drawn(6, queries=640, keys=640)
    keep = Keep(("weights",), apart=True)
    assert steps.attend(*arrays, masks.causal, keep=keep).weights.finite
    arrays[place][0, -1] = np.nan
    found = steps.attend(*arrays, masks.causal, keep=keep).weights
    assert not found.finite
    assert np.isnan(found.whole()).any()


def test_queries_may_begin_before_the_last_positions():
    q, k, v = drawn(7)
    first = steps.attend(q, k, v, masks.causal, start=0)
    assert np.array_equal(np.isneginf(first.masked[0]), ~np.tri(4, 5, dtype=bool))
    alone = steps.attend(q, k[:, :4], v[:, :4], masks.causal)
    np.testing.assert_allclose(first.z, alone.z, rtol=0, atol=1e-6)
    last = steps.attend(q, k, v, masks.causal)
    assert np.array_equal(np.isneginf(last.masked[0]), ~np.tri(4, 5, k=1, dtype=bool))
    assert np.array_equal(steps.attend(q, k, v, masks.causal, start=1).z, last.z)


def test_terms_are_added_to_the_dot_products_before_the_scale():
    q, k, v = drawn(8)
    more = normal(np.random.default_rng(1), 3, 4, 5)
    every = (*steps.BEFORE_SUM, steps.PRODUCT, "more")
    found = steps.attend(
        q,
        k,
        v,
        masks.none,
        scale=0.5,
        bias=cells(-more),
        terms={"more": cells(more)},
        keep=Keep(every),
    )
    assert np.array_equal(found.terms["more"], more)
    assert np.array_equal(found.terms[steps.PRODUCT], steps.dot_products(q, k))
    assert np.array_equal(found.scores, steps.dot_products(q, k) + more)
    np.testing.assert_allclose(found.scaled, found.scores / 2 - more, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("queries", "least", "most"), [(6, 1, 1), (128, 1, 1), (512, 3, 8), (2048, 16, 16)]
)
def test_attention_of_a_short_text_is_one_threads_work(queries, least, most):
    cores.use(16)
    at, shape = masks.looks(masks.causal, 0, queries, queries), (3, 3, queries, queries)
    kept = Kept(Keep(()), (), shape, np.dtype(np.float32), at, hidden=-np.inf)
    cores.use(0)
    assert least <= kept.threads <= most
