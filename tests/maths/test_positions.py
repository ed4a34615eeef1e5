"""Rotary positions: the laws of a rotation, and every scaling against its formula in plain Python.

The formulas are those of the papers, in float64 and one frequency at a time.
"""

import cmath
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.maths import cores, positions

SEEDS = st.integers(0, 2**32 - 1)


def angles(turns, start, count, factor=1.0):
    at = np.arange(start, start + count, dtype=np.float32)
    return positions.angles(turns, at, factor)[:2]


def some_rotary(rng, start, count, half):
    turns = rng.uniform(1e-3, 1, half).astype(np.float32)
    return turns, rotary_of(turns, start, count)


def rotary_of(turns, start, count):
    return positions.Rotary(*angles(turns, start, count))


# --- the laws of a rotation ----------------------------------------------------------------------


@given(
    seed=SEEDS, count=st.integers(1, 9), half=st.integers(1, 6), start=st.integers(0, 50),
    by_columns=st.booleans(),
)  # fmt: skip
def test_a_rotation_is_the_product_with_a_complex_number_of_length_one(
    seed, count, half, start, by_columns
):
    rng = np.random.default_rng(seed)
    turns, rotary = some_rotary(rng, start, count, half)
    x = rng.standard_normal((3, count, 2 * half)).astype(np.float32)
    if by_columns:  # as products of some positions are stored
        x = x.swapaxes(1, 2).copy().swapaxes(1, 2)
    turned = positions.rotate([x], rotary)[0]
    assert turned.dtype == np.float32
    for head, position, pair in np.ndindex(3, count, half):
        number = complex(x[head, position, pair], x[head, position, pair + half])
        wanted = number * cmath.exp(1j * (start + position) * float(turns[pair]))
        found = complex(turned[head, position, pair], turned[head, position, pair + half])
        assert abs(found - wanted) < 1e-5 * max(1, abs(number))


@given(seed=SEEDS, start=st.integers(0, 1000))
def test_a_rotation_keeps_the_length_of_every_pair(seed, start):
    rng = np.random.default_rng(seed)
    _, rotary = some_rotary(rng, start, 5, 4)
    x = rng.standard_normal((2, 5, 8)).astype(np.float32)
    turned = positions.rotate([x], rotary)[0]
    before, after = (np.hypot(y[..., :4], y[..., 4:]) for y in (x, turned))
    assert np.allclose(before, after, rtol=1e-5, atol=1e-6)


@given(seed=SEEDS)
def test_position_0_is_not_turned(seed):
    rng = np.random.default_rng(seed)
    _, rotary = some_rotary(rng, 0, 3, 2)
    x = rng.standard_normal((2, 3, 4)).astype(np.float32)
    assert np.array_equal(positions.rotate([x], rotary)[0][:, 0], x[:, 0])


@settings(deadline=None)
@given(seed=SEEDS, shift=st.integers(1, 400))
def test_scores_depend_only_on_how_far_apart_two_positions_are(seed, shift):
    rng = np.random.default_rng(seed)
    turns = rng.uniform(1e-3, 1, 4).astype(np.float32)
    q, k = (rng.standard_normal((1, 1, 8)).astype(np.float32).repeat(6, axis=1) for _ in "qk")

    def scores(start):
        rotary = rotary_of(turns, start, 6)
        one, two = (positions.rotate([x], rotary)[0][0] for x in (q, k))
        return one @ two.T

    here = scores(0)
    # Angles are float32 as in the reference, so that a late position loses some digits.
    assert np.allclose(here, scores(shift), atol=2e-3)
    for offset in range(-5, 6):
        assert np.ptp(np.diagonal(here, offset)) < 2e-5
    assert np.ptp(here) > 1e-3


@given(seed=SEEDS)
def test_numbers_behind_the_rotated_ones_stay(seed):
    rng = np.random.default_rng(seed)
    _, rotary = some_rotary(rng, 3, 5, 2)
    x = rng.standard_normal((2, 5, 7)).astype(np.float32)
    turned = positions.rotate([x], rotary)[0]
    assert np.array_equal(turned[..., 4:], x[..., 4:])
    assert np.array_equal(turned[..., :4], positions.rotate([x[..., :4]], rotary)[0])
    assert not np.allclose(turned[..., :4], x[..., :4])


@given(seed=SEEDS)
def test_interleaved_pairs_are_neighbours(seed):
    rng = np.random.default_rng(seed)
    turns = rng.uniform(1e-3, 1, 2).astype(np.float32)
    rotary = positions.Rotary(*angles(turns, 3, 5), interleaved=True)
    x = rng.standard_normal((2, 5, 6)).astype(np.float32)
    turned = positions.rotate([x], rotary)[0]
    numbers = x[..., 0:4:2] + 1j * x[..., 1:4:2]
    wanted = numbers * np.exp(1j * np.outer(np.arange(3, 8), turns.astype(np.float64)))
    assert np.allclose(turned[..., 0:4:2], wanted.real, atol=1e-5)
    assert np.allclose(turned[..., 1:4:2], wanted.imag, atol=1e-5)
    assert np.array_equal(turned[..., 4:], x[..., 4:])


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("count", [1, 3, 300, 600])
def test_heads_shared_out_among_threads_turn_as_each_by_itself(count, columns, monkeypatch):
    monkeypatch.setattr(positions, "_ROTATING", 1.0)  # worth every thread
    rng = np.random.default_rng(count)
    turns, rotary = some_rotary(rng, 5, count, 4)
    arrays = [rng.standard_normal((count, heads, 10), np.float32) for heads in (5, 2, 1)]
    if columns:
        arrays = [np.asfortranarray(x.reshape(count, -1)).reshape(x.shape) for x in arrays]
    arrays = [x.swapaxes(0, 1) for x in arrays]
    for threads in (1, 2, 7):
        cores.use(threads)
        turned = positions.rotate(arrays, rotary)
        for x, found in zip(arrays, turned, strict=True):
            angle = np.exp(1j * np.outer(np.arange(5, 5 + count), turns.astype(np.float64)))
            wanted = (x[..., :4] + 1j * x[..., 4:8]) * angle
            parts = wanted.real, wanted.imag, x[..., 8:]
            assert np.abs(found - np.concatenate(parts, axis=-1)).max() < 2e-4
            for head, alone in zip(x, found, strict=True):
                assert np.array_equal(positions.rotate([head], rotary)[0], alone)
    cores.use(0)


def test_what_heads_are_multiplied_by_is_made_once_for_each_order():
    rng = np.random.default_rng(5)
    _, rotary = some_rotary(rng, 3, 20, 4)
    rows = rng.standard_normal((2, 20, 8), np.float32)
    columns = rows.swapaxes(1, 2).copy().swapaxes(1, 2)
    once = [rotary.of_heads(by_columns=stored) for stored in (False, True)]
    for x in (rows, columns, rows):
        found = positions.rotate([x], rotary)[0]
        anew = positions.Rotary(rotary.cos_PR, rotary.sin_PR)
        assert np.array_equal(found, positions.rotate([rows], anew)[0])
    for stored, pair in zip((False, True), once, strict=True):
        assert all(a is b for a, b in zip(rotary.of_heads(by_columns=stored), pair, strict=True))


def test_what_is_rotated_is_not_changed_itself():
    x = np.ones((1, 2, 4), np.float32)
    x.flags.writeable = False
    positions.rotate([x], rotary_of(np.ones(2, np.float32), 1, 2))


@given(start=st.integers(0, 300), count=st.integers(1, 20))
def test_angles_from_a_start_are_a_slice_of_angles_from_0(start, count):
    turns = positions.frequencies(8, 100.0)
    for part, whole in zip(
        angles(turns, start, count), angles(turns, 0, start + count), strict=True
    ):
        assert np.array_equal(part, whole[start:])


def test_the_factor_multiplies_cosine_and_sine():
    turns = positions.frequencies(6, 50.0)
    plain, multiplied = angles(turns, 2, 5), angles(turns, 2, 5, 1.3)
    assert np.allclose(multiplied, np.float32(1.3) * np.array(plain), rtol=1e-6)
    assert multiplied[0].dtype == multiplied[1].dtype == np.float32


# --- the frequencies -----------------------------------------------------------------------------


def plain_turns(width, base):
    return [base ** (-2 * i / width) for i in range(width // 2)]


@pytest.mark.parametrize("base", [10000.0, 53.0, 500000.0, 1.0, 0.5])
@pytest.mark.parametrize("width", [2, 6, 12, 128])
def test_plain_frequencies(width, base):
    found = positions.frequencies(width, base)
    assert found.dtype == np.float32
    assert found == pytest.approx(plain_turns(width, base), rel=2e-6)


@pytest.mark.parametrize("factor", [1.0, 2.5, 0.5])
def test_linear_scaling_squeezes_every_position(factor):
    found = positions.linear_scaling(positions.frequencies(10, 71.0), factor)
    assert found == pytest.approx([turn / factor for turn in plain_turns(10, 71.0)], rel=2e-6)


def llama3_turn(turn, factor, low, high, context):
    wavelength = 2 * math.pi / turn
    if wavelength < context / high:
        return turn
    if wavelength > context / low:
        return turn / factor
    share = (context / wavelength - low) / (high - low)
    return (1 - share) * turn / factor + share * turn


@pytest.mark.parametrize(
    ("width", "base", "factor", "low", "high", "context"),
    [(128, 5e5, 8.0, 1.0, 4.0, 8192), (64, 5e5, 32.0, 1.0, 4.0, 8192), (12, 500.0, 7, 1, 4, 64)],
)
def test_llama3_scaling_keeps_blends_and_slows(width, base, factor, low, high, context):
    plain = plain_turns(width, base)
    wanted = [llama3_turn(turn, factor, low, high, context) for turn in plain]
    found = positions.llama3_scaling(positions.frequencies(width, base), factor, low, high, context)
    assert found.dtype == np.float32
    assert found == pytest.approx(wanted, rel=1e-5)
    ratios = np.array(plain) / np.array(wanted)
    kept, slowed = np.isclose(ratios, 1), np.isclose(ratios, factor)
    assert kept.any() and slowed.any() and not (kept | slowed).all()


def yarn_turn(i, width, base, factor, fast, slow, context, whole):
    """Peng et al. 2023: ramp between the dimensions that turn `fast` and `slow` times."""

    def dimension(turns):
        return width * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(base))

    low, high = dimension(fast), dimension(slow)
    if whole:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    if low == high:
        high += 0.001
    ramp = min(max((i - low) / (high - low), 0), 1)
    turn = base ** (-2 * i / width)
    return turn / factor * ramp + turn * (1 - ramp)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("width", "base", "factor", "fast", "slow", "context"),
    [
        (128, 1e6, 4.0, 32.0, 1.0, 32768),
        (8, 100.0, 4.0, 8.0, 1.0, 64),
        (6, 30.0, 4.0, 3.0, 1.0, 25),
        (6, 1e6, 4.0, 32.0, 32.0, 32768),
        (4, 1e6, 2.0, 32.0, 1.0, 32),
        (6, 30.0, 4.0, 512.0, 1.0, 11309),  # the slow bound is beyond the last dimension
    ],
)
def test_yarn_scaling_ramps_between_fast_and_slow(width, base, factor, fast, slow, context, whole):
    arguments = (base, factor, fast, slow, context)
    found = positions.yarn_scaling(
        positions.frequencies(width, base), *arguments, whole_bounds=whole
    )
    wanted = [yarn_turn(i, width, *arguments, whole) for i in range(width // 2)]
    assert found.dtype == np.float32
    assert found == pytest.approx(wanted, rel=1e-5)


def test_yarns_ramp_is_a_thousandth_of_a_dimension_wide_where_both_bounds_are_one():
    width, base, factor, context = 6, 100.0, 4.0, 64
    plain = positions.frequencies(width, base)
    turns = context / (2 * math.pi) * base ** (-2 * 1.9996 / width)  # of dimension 1.9996
    found = positions.yarn_scaling(plain, base, factor, turns, turns, context, whole_bounds=False)
    assert found[:2].tolist() == plain[:2].tolist()
    assert found[2] == pytest.approx(plain[2] * (0.4 / factor + 0.6), rel=1e-3)


def test_yarn_keeps_the_first_turn_and_squeezes_the_last():
    plain = positions.frequencies(128, 1e6)
    found = positions.yarn_scaling(plain, 1e6, 4.0, 32.0, 1.0, 32768)
    assert found[0] == plain[0]
    assert found[-1] == plain[-1] / 4
    assert (np.diff(plain / found) >= -1e-6).all()


def test_bounds_that_are_not_rounded_move_the_ramp():
    plain = positions.frequencies(128, 1e6)
    rounded, exact = (
        positions.yarn_scaling(plain, 1e6, 4.0, 32.0, 1.0, 32768, whole_bounds=whole)
        for whole in (True, False)
    )
    assert np.abs(rounded / exact - 1).max() > 0.01


# --- linear biases -------------------------------------------------------------------------------


def test_slopes_are_the_papers():
    """Press et al. 2022, section 3: 8 heads have 1/2, 1/4, … 1/256; 12 add every other of 16."""
    assert positions.alibi_slopes(8).tolist() == [2.0**-n for n in range(1, 9)]
    sixteen = [2 ** (-n / 2) for n in range(1, 17)]
    assert positions.alibi_slopes(12) == pytest.approx(
        [2.0**-n for n in range(1, 9)] + sixteen[0:8:2], rel=1e-6
    )
    assert positions.alibi_slopes(1).tolist() == [2.0**-8]


def test_the_bias_of_any_positions_is_slope_times_key_position():
    slopes = positions.alibi_slopes(3)
    found = positions.alibi(np.array([9, 2]), np.array([4, 0, 7, 1]), slopes)
    assert found.shape == (3, 2, 4)
    assert found.dtype == np.float32
    for head, query, key in np.ndindex(found.shape):
        assert found[head, query, key] == slopes[head] * (4, 0, 7, 1)[key]


def test_a_number_in_bfloat16_is_the_nearest_of_eight_bits():
    """Halfway the even one: 257 lies between 256 and 258, 259 between 258 and 260."""
    numbers = np.array([0, 1, 255, 256, 257, 258, 259, -257, 2.0**-4, 0.1], np.float32)
    found = positions.bfloat16(numbers).tolist()
    assert found[:9] == [0, 1, 255, 256, 256, 258, 260, -256, 2.0**-4]
    assert found[9] == 205 * 2.0**-11  # 0.1 is 204.8 of these


def test_the_rounded_bias_is_divided_as_the_scores_are():
    slopes = np.array([2.0**-4, 0.1], np.float32)
    found = positions.rounded_alibi(np.array([300]), np.array([0, 9, 257]), slopes, 9)
    assert found.shape == (2, 1, 3)
    assert found[0, 0].tolist() == pytest.approx([0, 9 / 16 / 3, 16 / 3])
    # 9 × 205/2048 is 230.6 of 256; 0.9 would be 230.4.
    assert found[1, 0, 1] == pytest.approx(231 / 256 / 3, rel=1e-6)


def test_the_bias_by_distance_is_0_for_the_last_key():
    slopes = positions.alibi_slopes(2)
    found = positions.alibi(np.array([3]), np.array([0, 2, 3]), slopes, last=3)
    assert found[1, 0].tolist() == [-3 * slopes[1], -slopes[1], 0]


def test_waves_are_sines_and_cosines_that_widen_to_ten_thousand():
    found = positions.waves(np.array([0, 5]), 7)
    angles = 5 * np.array([1, 10_000**-0.5, 1e-4])
    assert found[0].tolist() == [0, 0, 0, 1, 1, 1, 0]
    assert found[1] == pytest.approx([*np.sin(angles), *np.cos(angles), 0], abs=1e-6)


# --- biases by distance --------------------------------------------------------------------------

# Bucket by distance: of T5's 32 for up to 128, as its authors' code has them (both sides: half).
SMALLEST = {
    True: (*range(8), 8, 12, 16, 23, 32, 46, 64, 91),
    False: (*range(16), 16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113),
}


def bucket(away, own, farthest):
    """In whole numbers: the log's bucket j begins where (d / near)^far ≥ (farthest / near)^j."""
    near = own // 2
    far = own - near
    steps = (j for j in range(far) if away**far * near**j >= farthest**j * near**far)
    return away if away < near else near + max(steps)


@pytest.mark.parametrize("both_sides", [True, False])
def test_t5s_buckets_are_one_for_each_near_distance_and_ever_wider_ones_after(both_sides):
    smallest = SMALLEST[both_sides]
    wanted = [max(n for n, d in enumerate(smallest) if d <= away) for away in range(300)]
    at = np.array([0]), np.arange(300)
    earlier = positions.relative_buckets(*at[::-1], 32, 128, both_sides=both_sides)[:, 0]
    later = positions.relative_buckets(*at, 32, 128, both_sides=both_sides)[0]
    assert earlier.tolist() == wanted
    assert later.tolist() == ([0, *(16 + n for n in wanted[1:])] if both_sides else [0] * 300)


@pytest.mark.parametrize(("count", "farthest"), [(4, 3), (7, 9), (9, 20), (16, 50), (33, 200)])
@pytest.mark.parametrize("both_sides", [True, False])
def test_buckets_of_any_count_are_those_of_the_formula(count, farthest, both_sides):
    queries, keys = np.array([250, 0, 3]), np.arange(251)
    found = positions.relative_buckets(queries, keys, count, farthest, both_sides=both_sides)
    own = count // 2 if both_sides else count
    for (row, column), number in np.ndenumerate(found):
        back = int(queries[row] - keys[column])
        away = abs(back) if both_sides else max(back, 0)
        assert number == bucket(away, own, farthest) + own * (both_sides and back < 0)


def test_the_bias_of_a_pair_is_its_buckets_row_of_the_table():
    table = np.arange(24, dtype=np.float32).reshape(8, 3)
    at = np.array([9, 2]), np.array([4, 0, 9, 30])
    found = positions.relative_bias(*at, table, 11, both_sides=True)
    buckets = positions.relative_buckets(*at, 8, 11, both_sides=True)
    assert found.shape == (3, 2, 4) and found.dtype == np.float32
    for head, query, key in np.ndindex(found.shape):
        assert found[head, query, key] == 3 * buckets[query, key] + head


# --- relative positions as vectors ---------------------------------------------------------------


def shared_distance(away, buckets, farthest):
    """In whole numbers: the least j with ((farthest − 1) / near)^j ≥ (away / near)^(near − 1)."""
    near = buckets // 2
    if away <= near:
        return away
    power, last = near - 1, farthest - 1
    return near + next(j for j in range(999) if last**j * near**power >= away**power * near**j)


@pytest.mark.parametrize(("buckets", "farthest"), [
    (10, 12), (8, 23), (2, 5), (3, 9), (5, 4), (9, 40), (16, 64), (256, 512),
])  # fmt: skip
def test_far_distances_share_buckets_by_their_logarithm(buckets, farthest):
    apart = np.arange(-2 * farthest, 2 * farthest + 1)
    # Beyond the last bucket nothing is told apart, and rounding may decide.
    found, wanted = (
        np.clip(values, -buckets, buckets - 1).tolist()
        for values in (
            positions.log_distances(apart, buckets, farthest),
            [int(np.sign(d)) * shared_distance(abs(int(d)), buckets, farthest) for d in apart],
        )
    )
    assert found == wanted


def test_shared_distances_with_a_pencil():
    """Half of 10 buckets is 5; 4·log(d / 5) / log(11 / 5) is 0.9, 1.7, 2.4, 2.98, 3.5, 4, 4.4."""
    found = positions.log_distances(np.arange(13), 10, 12)
    assert found.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 9, 10]
    assert positions.log_distances(-np.arange(13), 10, 12).tolist() == (-found).tolist()


def test_a_pair_has_the_row_of_its_distance_and_the_outermost_beyond():
    at = np.array([7, 0]), np.array([0, 6, 7, 12])
    # Span 3: rows 0 to 5 are of the distances −3 to 2.
    assert positions.relative_rows(*at, 3).tolist() == [[5, 4, 3, 0], [3, 0, 0, 0]]
    # Span 4: half of 4 buckets is 2; 6 and 7 are in the last of them.
    assert positions.relative_rows(*at, 9, 4).tolist() == [[7, 5, 4, 1], [4, 1, 1, 0]]
    assert positions.relative_rows(at[0][:1], at[1][2:3], 9, 4).tolist() == [[4]]


def test_of_all_products_a_pair_has_that_of_its_row():
    products = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    rows = np.array([[3, 0], [1, 1], [2, 3]])
    found = positions.at_rows(products, rows)
    assert found.tolist() == [[[3, 0], [5, 5], [10, 11]], [[15, 12], [17, 17], [22, 23]]]
    assert found.dtype == np.float32
