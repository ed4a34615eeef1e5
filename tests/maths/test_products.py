"""Products by rows of a matrix: their values, and that no digit depends on threads or on others."""

import numpy as np
import pytest

from attn_cli.maths import blas, cores, products, tiles
from attn_cli.maths.layers import silu
from attn_cli.maths.products import Map
from measure import row_error

F32 = np.float32
# Few positions and many, at the borders of blocks; outputs that are no multiple of any width.
POSITIONS = [1, 2, 8, 9, 100, 128, 129, 256, 257, 600]
OUTPUTS = [1, 63, 64, 200, 1111]


@pytest.fixture(autouse=True)
def own_threads():
    yield
    cores.use(0)


def drawn(positions, outputs, inputs=70, seed=0):
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal
    return (
        normal((positions, inputs), F32), normal((outputs, inputs), F32), normal(outputs, F32)
    )  # fmt: skip


def of_rows(w_NM, b_N=products.NOTHING, *, made=False):
    """A map that gives its rows as a quantised matrix does: each time in the same memory."""
    room = np.empty_like(w_NM)

    def rows(part):
        own = room[part] if made else w_NM[part]
        own[...] = w_NM[part]
        return own

    return Map(len(w_NM), rows, b_N, made=made)


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("as_it_is", [False, True])
@pytest.mark.parametrize("made", [False, True])
def test_a_product_is_what_float64_says(positions, outputs, made, as_it_is, limits, monkeypatch):
    monkeypatch.setattr(blas, "multiplies_as_it_is", lambda: as_it_is)
    limits("_UNTURNED", 20_000)
    x, w, b = drawn(positions, outputs)
    (found,) = products.through(x, of_rows(w, b, made=made), activation=np.tanh)
    wanted = np.tanh(x.astype(np.float64) @ w.T.astype(np.float64) + b)
    assert found.shape == (positions, outputs) and found.dtype == F32
    assert row_error(found, wanted) <= 1e-5


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize(("outputs", "inputs"), [(1111, 70), (300, 8), (200, 1100)])
def test_no_bit_depends_on_how_many_threads_there_are(positions, outputs, inputs, limits):
    for name in ("WAKING", "LEAD"):
        limits(name, 0)  # so that even these are shared out
    limits("MAKING", 1.0)
    x, w, b = drawn(positions, outputs, inputs)
    results = []
    for count in (1, 2, 3, 7, 16):
        cores.use(count)
        results += products.through(x, of_rows(w, b), of_rows(w, b, made=True))
        results += products.through(x, of_rows(w, b), of_rows(w, b))
    assert all(np.array_equal(found, results[0]) for found in results)


@pytest.mark.parametrize("lead", [0, tiles.LEAD])
@pytest.mark.parametrize("threads", [1, 2, 5, 16])
def test_products_by_columns_are_shared_out_as_one(threads, lead, limits):
    limits("LEAD", lead)
    cores.use(threads)
    for positions in (9, 64, 128, 500):
        jobs = [tiles.Job(positions, *shape) for shape in ((576, 960), (576, 200), (1536, 577))]
        cut, _ = tiles.cut(jobs)
        works = [jobs[at].inputs * (some.stop - some.start) for at, _, some in cut]
        assert works == sorted(works, reverse=True)
        for place, job in enumerate(jobs):
            found = sorted(tile.outputs.indices(10**6) for tile in cut if tile.job == place)
            inner = [end for _, end, _ in found[:-1]]
            assert [start for start, *_ in found] == [0, *inner] and found[-1][1] == job.outputs
            assert not any(end % tiles.STEP for end in inner)
            each = [job.inputs * positions * (end - start) for start, end, _ in found]
            assert len(each) == 1 or min(each) >= tiles.LEAST
        if not lead and positions == 500:
            assert max(works) <= sum(works) / threads + tiles.STEP * 1536


def test_products_are_shared_out_among_the_threads():
    for positions in (3, 40, 300, 2000):
        for count in (1, 2, 3, 16):
            cores.use(count)
            cut, _ = tiles.cut([tiles.Job(positions, 6000, 30_000)])
            sizes = [
                (tile.positions.stop - tile.positions.start)
                * (tile.outputs.stop - tile.outputs.start)
                for tile in cut
            ]
            assert sum(sizes) == positions * 30_000
            assert max(sizes) <= max(1.6 / count, 0.2) * positions * 30_000


def test_what_takes_as_long_as_to_wake_a_thread_is_not_shared_out():
    cores.use(16)
    for positions, few in ((1, 2), (6, 2), (40, 4), (300, 12)):
        job = tiles.Job(positions, 576, 1536)
        assert 1 <= len(tiles.cut([job])[0]) <= few


def test_parts_of_two_products_alike_are_worth_a_thread_sooner():
    cores.use(2)
    job = tiles.Job(6, 576, 700)
    assert len(tiles.cut([job])[0]) == 1 and len(tiles.cut([job], alike=2)[0]) > 1


@pytest.mark.parametrize("inputs", [64, 1000, 4096, 12_288, 14_336, 32_768])
@pytest.mark.parametrize("positions", [1, 8, 9, 300, 900])
def test_no_thread_asks_for_more_than_estimates_say(positions, inputs):
    outputs = 5000
    most = tiles.asked_at_once(positions, inputs, outputs)
    shared = tiles.taken_at_once(positions, inputs, outputs)
    for threads in (1, 2, 5):
        cores.use(threads)
        for how in (
            {"made": tiles.UNPACKED, "sharing": True}, {"made": tiles.UNPACKED},
            {"made": tiles.WIDENED}, {"released": True},
        ):  # fmt: skip
            job = tiles.Job(positions, inputs, outputs, **how)
            taken = [min(some.stop, outputs) - some.start for *_, some in tiles.cut([job])[0]]
            assert max(taken) * inputs <= (shared if job.sharing else most)
            for parts in (tiles.in_parts(inputs, count) for count in taken):
                assert max(part.stop - part.start for part in parts) * inputs <= max(most, shared)


@pytest.mark.parametrize(("outputs", "inputs"), [(4096, 11008), (14336, 4096), (2048, 5632)])
@pytest.mark.parametrize("threads", [1, 2, 3, 4, 16])
def test_what_is_made_together_is_as_much_for_each_thread(threads, outputs, inputs):
    cores.use(threads)
    job = tiles.Job(6, inputs, outputs, made=tiles.UNPACKED, sharing=True)
    cut, count = tiles.cut([job])
    left = [0] * count
    for _, _, some in cut:  # whoever has done least takes the next
        left[left.index(min(left))] += min(some.stop, outputs) - some.start
    assert max(left) <= 1.2 * outputs / count + tiles.VECTORS


@pytest.mark.parametrize("positions", [1, 6])
def test_what_is_made_in_many_steps_is_shared_out_in_large_parts(positions):
    # Threads wait for each other at every step: small parts take longer than on one thread.
    cores.use(16)
    for inputs, outputs, most in ((576, 576, 1), (576, 1536, 2), (2048, 5632, 8)):
        for sharing, limit in ((False, tiles.MADE), (True, tiles.SHARING * tiles.MADE)):
            job = tiles.Job(positions, inputs, outputs, made=tiles.UNPACKED, sharing=sharing)
            cut, threads = tiles.cut([job])
            assert 1 <= threads <= most
            made = [inputs * (min(some.stop, outputs) - some.start) for _, _, some in cut]
            assert sum(made) == inputs * outputs
            assert min(made[:-1] or made) >= min(inputs * outputs, tiles.MADE) / 4
            assert max(made) <= 1.2 * limit


def test_no_more_threads_take_part_than_a_product_is_worth(monkeypatch, limits):
    told, x, w = [], *drawn(4, 300, 100)[:2]
    monkeypatch.setattr(cores, "each", lambda work, parts, most: told.append(most))
    cores.use(16)
    limits("MAKING", 2e-8)
    products.through(x, of_rows(w, made=True))
    up = of_rows(w, made=True)
    products.gated_feed_forward(drawn(9, 300, 100)[0], up, up, up.part(slice(0, 100)), silu)
    for most in told:
        assert 1 < most < 16


@pytest.mark.parametrize("outputs", [0, 1, 2, 3, 4, 7, 8])
def test_no_bit_of_a_few_outputs_depends_on_how_many_threads_there_are(outputs):
    x, w, _ = drawn(600, outputs, 2500)
    results = []
    for count in (1, 3, 16):
        cores.use(count)
        results += products.through(x, of_rows(w))
    assert all(found.tobytes() == results[0].tobytes() for found in results)
    assert np.allclose(results[0], x.astype(np.float64) @ w.T, atol=1e-2)


@pytest.fixture
def shared(monkeypatch):
    """As on a quiet machine of 16 cores whose BLAS shares out; how many products it shared."""
    done, asked = [], blas.shared_out

    def shared_out(work, parts, count, seconds):
        monkeypatch.setattr(blas, "_trust", blas._Trust())
        parts = list(parts)
        found = asked(work, parts, count, seconds)
        done.extend(parts if found else [])
        return found

    monkeypatch.setattr(cores, "cores", lambda: 16)
    monkeypatch.setattr(blas, "_may", blas.multiplies_as_it_is)
    monkeypatch.setattr(blas, "shared_out", shared_out)
    return done


@pytest.mark.parametrize("inputs", [64, 576, 832, 1100, 2048])
@pytest.mark.parametrize("positions", POSITIONS)
def test_no_bit_depends_on_who_shares_a_product_out(positions, inputs, shared):
    x, w, b = drawn(positions, 1088, inputs)
    up, down = of_rows(w[::-1].copy()), of_rows(drawn(1, 200, 1088)[1])
    results = []
    for count in (1, 4, 5):
        cores.use(count)
        (product,) = products.through(x, of_rows(w, b), activation=silu)
        network = x, of_rows(w, b), up, down
        (gated,) = products.gated_feed_forwards([network], products.gated_by(silu))
        results.append((product, gated))
    for found in results[1:]:
        assert all(map(np.array_equal, found, results[0]))
    # The product, both of the gated network, and the one after it, which has other inputs.
    wide = positions > 32 and blas.multiplies_as_it_is()
    assert len(shared) == (2 * wide * (3 if inputs % 64 == 0 else 1))


def test_only_whole_matrices_are_shared_out_by_blas(shared):
    cores.use(4)
    x, w, b = drawn(100, 1088, 576)
    products.through(x, of_rows(w, b, made=True))
    products.through(x, Map(1088, w.__getitem__, b, release=lambda rows: None))
    products.through(x, of_rows(w[:1]))  # a vector
    products.through(x.astype(np.float64), of_rows(w.astype(np.float64)))
    assert products.through(x) == products.gated_feed_forwards([], products.gated_by(silu)) == ()
    assert not shared


def test_multiplied_one_by_one_no_position_depends_on_the_others(limits, monkeypatch):
    monkeypatch.setattr(blas, "multiplies_as_it_is", lambda: False)
    x, w, b = drawn(8, 1111)
    (together,) = products.through(x, of_rows(w, b))
    for position in range(8):
        (alone,) = products.through(x[position : position + 1], of_rows(w, b))
        assert np.array_equal(alone[0], together[position])


def test_a_matrix_with_inputs_first_gives_the_same(monkeypatch):
    x, w, b = drawn(5, 200)
    columns = np.asfortranarray(w.T)
    (found,) = products.through(x, products.of_matrix(np.ascontiguousarray(w.T), b))
    assert row_error(found, x.astype(np.float64) @ columns + b) <= 1e-5


@pytest.mark.parametrize("positions", [3, 40, 300])
def test_feed_forward_networks_are_their_formulas(positions):
    x, wide, b = drawn(positions, 333)
    _, up, _ = drawn(positions, 333, seed=1)
    _, down, c = drawn(positions, 70, inputs=333, seed=2)
    maps = of_rows(wide, b), of_rows(up, made=True), of_rows(down, c)
    exact = [array.astype(np.float64) for array in (x, wide, up, down)]
    inner = exact[0] @ exact[1].T + b
    plain = np.maximum(inner, 0) @ exact[3].T + c
    relu = products.feed_forward(x, maps[0], maps[2], lambda a: np.maximum(a, 0))
    assert row_error(relu, plain) <= 1e-5
    wanted = (inner / (1 + np.exp(-inner)) * (exact[0] @ exact[2].T)) @ exact[3].T + c
    assert row_error(products.gated_feed_forward(x, *maps, silu), wanted) <= 1e-5


@pytest.mark.parametrize("made", [False, True])
def test_parts_and_the_whole_of_a_matrix(made):
    _, w, b = drawn(1, 200)
    of = of_rows(w, b, made=made)
    assert np.array_equal(of.matrix, w.T)
    first, second = of.halves
    assert np.array_equal(first.matrix, w[:100].T) and np.array_equal(first.bias, b[:100])
    assert np.array_equal(second.matrix, w[100:].T) and np.array_equal(second.bias, b[100:])
    part = second.part(slice(10, 30))
    assert np.array_equal(part.matrix, w[110:130].T) and part.made == made


@pytest.mark.parametrize("positions", [1, 8, 9, 300, 900])
def test_what_is_made_is_never_there_as_a_whole(positions):
    """So many rows at a time that they stay in a cache, for however few positions."""
    x, w, _ = drawn(positions, 5000, inputs=1000)
    asked = []

    def rows(part):
        asked.append(part.stop - part.start)
        return w[part]

    products.through(x, Map(len(w), rows, made=True))
    assert max(asked) * 1000 <= 1.5 * tiles.MADE
    assert sum(asked) == (2 if positions > 512 else 1) * 5000


@pytest.mark.parametrize("positions", [1, 8, 9])
def test_what_rows_share_is_found_once_for_several_parts(positions):
    x, w, _ = drawn(positions, 5000, inputs=1000)
    asked, parts = [], []

    def reader(part):
        asked.append(part)

        def rows(some):
            parts.append(some.stop - some.start)
            return w[part][some]

        return rows

    def rows(part):
        asked.append(part)
        return w[part]

    of = Map(len(w), rows, made=tiles.UNPACKED, reader=reader)
    cores.use(1)
    (found,) = products.through(x, of)
    halves = [products.through(x, half)[0] for half in of.halves]
    cores.use(0)
    (wanted,) = products.through(x, of_rows(w, made=True))
    assert found.tobytes() == wanted.tobytes()
    assert row_error(np.concatenate(halves, axis=-1), wanted) <= 1e-6
    assert sum(part.stop - part.start for part in asked) == 2 * 5000
    if positions <= tiles.FEW:
        assert max(parts) * 1000 <= tiles.MADE and len(parts) >= 2 * len(asked)


@pytest.mark.parametrize("positions", [1, 8, 9, 300])
def test_rows_that_have_been_used_are_given_back(positions):
    x, w, _ = drawn(positions, 5000, inputs=1000)
    there, most, given = np.zeros(len(w), bool), 0, []

    def rows(part):
        nonlocal most
        there[part] = True
        most = max(most, int(there.sum()))
        return w[part]

    def release(part):
        given.extend(range(part.start, part.stop))
        there[part] = False

    of = Map(len(w), rows, release=release)
    cores.use(1)
    (whole,) = products.through(x, of)
    first, second = (products.through(x, half)[0] for half in of.halves)
    cores.use(0)
    assert most * 1000 <= 1.5 * tiles.MADE and not there.any()
    assert sorted(given) == sorted(2 * [*range(5000)])
    assert row_error(np.concatenate([first, second], axis=-1), whole) <= 1e-6


@pytest.mark.parametrize("waking", [0, tiles.WAKING])  # 0: each head is shared out by itself
@pytest.mark.parametrize("count", [1, 3])
def test_head_outputs_are_the_same_whichever_are_chosen(count, waking, monkeypatch):
    monkeypatch.setattr(tiles, "WAKING", waking)
    cores.use(count)
    rng = np.random.default_rng(0)
    z = rng.standard_normal((3, 300, 5), F32)
    w = rng.standard_normal((11, 15), F32).T.reshape(3, 5, 11)  # as a file has it
    whole = products.pulls(z, w, np.arange(300))
    for heads in ([0], [2, 1]):
        assert np.array_equal(products.pulls(z[heads], w[heads], np.arange(300)), whole[heads])
    assert row_error(whole, z.astype(np.float64) @ w) <= 1e-6
    for chosen in ([0], [127, 128], [5, 200, 299], list(range(128, 256))):
        assert np.array_equal(products.pulls(z, w, np.array(chosen)), whole[:, chosen])


def test_how_far_a_product_is_from_the_sum_of_its_parts():
    rng = np.random.default_rng(0)
    z, w, b = rng.standard_normal((3, 300, 5)), rng.standard_normal((3, 5, 11)), np.ones(11)
    output = (z @ w).sum(axis=0) + b
    assert products.sum_error(z, w, b, output) <= 1e-12
    output[299, 3] += 0.5
    assert products.sum_error(z, w, b, output) == pytest.approx(0.5)
    assert products.sum_error(z, w, products.NOTHING, output - b) == pytest.approx(0.5)
