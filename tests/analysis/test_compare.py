"""A comparison against whole traces, array by array, with numpy alone."""

import math

import numpy as np
import pytest

from attn_cli import session, vocabulary
from attn_cli.analysis.compare import _BLOCK, _gaps, compare
from attn_cli.analysis.predicted import divergence
from attn_cli.errors import UsageError
from attn_cli.maths import cores

EVERY = {"arrays": vocabulary.DEFAULT_ARRAYS, "stack": "all", "kind": "all"}


def ask(model, **more):
    return session.ask(model=model, max_memory=None, **{**EVERY, **more})


def picked(block, name, queries, keys):
    """The aligned rows and columns of an array of a whole trace."""
    array = block.arrays[name]
    for place, axis in enumerate(vocabulary.ARRAYS[name].axes):
        if axis in ("query", "key"):
            array = array.take(queries if axis == "query" else keys, place)
    return array.astype(np.float64)


def expected(left, right):
    """Largest, mean and relative difference, where the largest is, and what cannot be measured."""
    both = np.isfinite(left) & np.isfinite(right)
    alike = ~both & ((left == right) | (np.isnan(left) & np.isnan(right)))
    gap = np.where(both, np.abs(np.where(both, left, 0) - np.where(both, right, 0)), 0)
    rows = np.abs(np.where(both, left, 0)).max(axis=-1)
    relative = (gap.max(axis=-1) / np.maximum(1, rows)).max()
    mean = gap.sum() / both.sum() if both.any() else np.nan
    at = np.unravel_index(int(gap.argmax()), gap.shape)
    return gap.max(), mean, relative, at, int((~both & ~alike).sum())


# Models, what the left and the right side read, and what is aligned (None: everything).
CASES = {
    "mask": ("gpt2-a", {"ids": [3, 1, 4, 1, 5]}, {"ids": [3, 1, 4, 1, 5], "mask": ["none"]}, None),
    "longer": ("llama-plain", {"ids": [3, 1, 4]}, {"ids": [3, 1, 4, 1, 5]}, ([0, 1, 2], [0, 1, 2])),
    "replaced": ("gemma2", {"ids": [3, 1, 4, 1]}, {"ids": [3, 9, 4, 1]}, None),
    "inserted": ("qwen3-yarn", {"ids": [3, 1, 4]}, {"ids": [3, 7, 8, 1, 4]},
                 ([0, 1, 2], [0, 3, 4])),
    "temperature": ("deberta-both", {"ids": [3, 1, 4]},
                    {"ids": [3, 1, 4], "attention_temperature": 0.5}, None),
    "two stacks": ("bart", {"ids": [3, 4, 5], "target_ids": [2, 7]},
                   {"ids": [3, 4, 5], "target_ids": [2, 7], "without_head": ["0.1"]}, None),
}  # fmt: skip


@pytest.fixture(scope="module")
def compared(golden_path):
    """Each case: the comparison and the two whole traces."""
    found = {}

    def of(name):
        if name not in found:
            folder, left, right, _ = CASES[name]
            model = session.load(str(golden_path / folder))
            traces = [session.trace(model=model, **EVERY, **side) for side in (left, right)]
            found[name] = compare(ask(model, **left), ask(model, **right)), *traces
        return found[name]

    return of


@pytest.mark.parametrize("name", CASES)
def test_every_difference_is_that_of_two_whole_traces(compared, name):
    comparison, left, right = compared(name)
    aligned, rows = CASES[name][3], iter(comparison.layers)
    for own, other in zip(left.attention, right.attention, strict=True):
        assert own.address == other.address
        for array in own.arrays:
            row = next(rows)
            assert row[:3] == own.address and row.array == array
            spec = vocabulary.ARRAYS[array]
            assert (row.step, row.axes) == (spec.step, spec.axes)
            every = [list(own.queries), list(own.keys)]
            sides = [aligned[0]] * 2 if aligned else every, [aligned[1]] * 2 if aligned else every
            first, second = picked(own, array, *sides[0]), picked(other, array, *sides[1])
            largest, mean, relative, at, unlike = expected(first, second)
            assert row.shape == first.shape and row.unlike == unlike
            assert row.largest == pytest.approx(largest, rel=1e-12)
            assert row.mean == pytest.approx(mean, rel=1e-9)
            assert row.relative == pytest.approx(relative, rel=1e-12)
            numbers = {"query": sides[0][0], "key": sides[0][1], "head": own.heads,
                       "kv_head": own.kv_heads}  # fmt: skip
            named = tuple(
                numbers[axis][place] if axis in numbers else place
                for axis, place in zip(spec.axes, at, strict=True)
            )
            assert row.at == named
            what_if = array in own.what_if | other.what_if
            assert row.provenance == ("what-if" if what_if else "derived")
            exact = "equal" if not largest else "rounding" if relative < 5e-5 else "different"
            assert row.verdict == ("different" if unlike else exact)
    assert next(rows, None) is None and comparison.left_out == ()


@pytest.mark.parametrize("name", CASES)
def test_the_cells_are_the_weights_that_changed_most(compared, name):
    comparison, left, right = compared(name)
    aligned, every = CASES[name][3], []
    for own, other in zip(left.attention, right.attention, strict=True):
        queries, keys = ([*zip(*(aligned or (at, at)), strict=True)]
                         for at in (own.queries, own.keys))  # fmt: skip
        for place, head in enumerate(own.heads):
            for q, to_q in queries:
                for k, to_k in keys:
                    values = own.weights[place, q, k], other.weights[place, to_q, to_k]
                    every.append((*own.address, "weights", head, q, k, *map(float, values)))
    every = [cell for cell in every if cell[-1] != cell[-2]]
    every.sort(key=lambda cell: -abs(cell[-2] - cell[-1]))
    sizes = [abs(before - after) for *_, before, after in every[:10]]
    assert [abs(cell.left - cell.right) for cell in comparison.cells] == sizes
    assert set(comparison.cells) <= set(every)


@pytest.mark.parametrize("name", CASES)
def test_predictions_are_the_traces_own(compared, name):
    comparison, left, right = compared(name)
    assert len(comparison.prediction) == len(left.next) == len(right.next)
    for place, one in enumerate(comparison.prediction):
        ln_p, ln_q = (
            x - np.log(np.exp(x).sum())
            for x in (trace.logits[place].astype(np.float64) for trace in (left, right))
        )
        assert one.divergence == pytest.approx((np.exp(ln_p) * (ln_p - ln_q)).sum(), abs=1e-12)
        firsts = [{c.id for c in trace.next[place].candidates} for trace in (left, right)]
        assert {token.left_id for token in one.tokens} == firsts[0] | firsts[1]
        for token in one.tokens:
            assert token.left_id == token.right_id
            assert token.left == pytest.approx(math.exp(ln_p[token.left_id]), rel=1e-6)
            assert token.right == pytest.approx(math.exp(ln_q[token.right_id]), rel=1e-6)
            assert token.left_rank == 1 + (ln_p > ln_p[token.left_id]).sum()
        assert [t.left_rank for t in one.tokens] == sorted(t.left_rank for t in one.tokens)


def test_a_longer_prompt_changes_no_earlier_row_of_a_decoder(compared):
    comparison, _, _ = compared("longer")
    assert comparison.longer and comparison.verdict in ("equal", "rounding")
    assert max(row.relative for row in comparison.layers) < 1e-6
    assert {"k", "v"} <= {row.array for row in comparison.layers}


@pytest.mark.parametrize("name", ["mask", "replaced", "inserted", "two stacks"])
def test_nothing_else_is_called_longer(compared, name):
    comparison, _, _ = compared(name)
    assert not comparison.longer and comparison.verdict == "different"


def test_a_longer_prompt_changes_the_earlier_rows_of_an_encoder():
    model = session.load("tiny-encoder")
    found = compare(ask(model, ids=[2, 30, 31]), ask(model, ids=[2, 30, 31, 32]))
    assert found.longer and found.verdict == "different"
    first = [row for row in found.layers if row.layer == 0]
    of_itself = {row.array for row in first if row.step < 5 and row.step > 0}
    assert all(row.verdict != "different" for row in first if row.array in of_itself)
    assert next(row for row in first if row.array == "weights").verdict == "different"


def test_chosen_heads_queries_and_keys_alone_are_compared():
    model = session.load("tiny")
    some = {"ids": [30, 31, 32, 33], "head": [2], "layer": 1,
            "positions": {("decoder", "self"): ((3,), (1, 2))}}  # fmt: skip
    found = compare(ask(model, **some),
                    ask(model, **{**some, "positions": {}}, mask=["block:3:1"]))  # fmt: skip
    shapes = {row.array: row.shape for row in found.layers}
    assert shapes["weights"] == (1, 1, 2) and shapes["x"] == (1, 32) and shapes["k"] == (1, 2, 8)
    trace = session.trace(model=model, ids=some["ids"], mask=["block:3:1"], **EVERY)
    cell = next(cell for cell in found.cells if cell.key == 2)
    assert (cell.head, cell.query) == (2, 3)
    assert cell.right == trace.attention[1].weights[2, 3, 2]


def test_models_of_other_sizes_have_little_in_common():
    """Layers and arrays of both, and the prediction."""
    left, right = (session.load(f"random:layers={n},heads={h},model_width=16,seed={n}")
                   for n, h in ((3, 2), (1, 4)))  # fmt: skip
    found = compare(ask(left, ids=[5, 6]), ask(right, ids=[5, 6]))
    assert {row.layer for row in found.layers} == {0}
    assert {row.array for row in found.layers} == {"x", "normed", "visible", "output"}
    assert "weights" in found.left_out and found.cells == ()
    assert found.prediction[0].divergence > 0


def test_a_decoder_and_an_encoder_are_compared_as_the_only_stacks_they_have():
    left, right = session.load("tiny"), session.load("tiny-encoder")
    found = compare(ask(left, text="the king is"), ask(right, text="the king is"))
    assert found.alignment[0][1:3] == ((0, 1, 2), (1, 2, 3))
    first = session.trace("the king is", model=left, **EVERY).attention[0]
    second = session.trace("the king is", model=right, **EVERY).attention[0]
    row = next(row for row in found.layers if (row.layer, row.array) == (0, "weights"))
    gap = np.abs(first.weights - second.weights[:, 1:4, 1:4])
    assert row.largest == pytest.approx(gap.max(), rel=1e-6)
    # What follows the last token and what stands for a masked one are two things.
    found = compare(ask(left, text="the king"), ask(right, text="the [MASK] is"))
    assert found.layers and found.prediction == ()


def test_nothing_in_common_is_refused():
    left, right = session.load("tiny"), session.load("tiny-encoder")
    with pytest.raises(UsageError, match="have nothing that can be compared here"):
        compare(ask(left, text="milk"), ask(right, ids=[2, 3]))


def test_masked_tokens_are_compared_each_with_its_own():
    model = session.load("tiny-encoder")
    two = "the [MASK] is a [MASK]"
    found = compare(ask(model, text=two), ask(model, text=two, mask=["causal"]))
    assert [one.left_position for one in found.prediction] == [2, 5]
    found = compare(ask(model, text=two), ask(model, text="the king is a [MASK]"))
    assert [(one.left_position, one.right_position) for one in found.prediction] == [(5, 5)]


# --- how arrays are compared ---------------------------------------------------------------------


def test_what_is_not_finite_is_counted_apart():
    nan, inf = math.nan, math.inf
    left = np.array([[1, nan, inf, -inf, 2, inf, nan, 8]], np.float32)
    right = np.array([[3, nan, inf, -inf, nan, -inf, 5, 8]], np.float32)
    found = _gaps(left, right, 3)
    assert (found.largest, found.place, found.unlike, found.measured) == (2, 0, 3, 2)
    assert found.relative == 2 / 8 and found.most == ((-2.0, 0),)
    nothing = _gaps(left[:, 1:4], right[:, 1:4], 3)
    assert (nothing.largest, nothing.measured, nothing.unlike) == (0, 0, 0)


@pytest.mark.parametrize("threads", [1, 3])
def test_large_arrays_are_compared_in_parts(threads):
    generator = np.random.default_rng(0)
    left = generator.normal(size=(3, 200, 700)).astype(np.float32)
    right = left.copy()
    changed = generator.choice(left.size, 40, replace=False)
    right.reshape(-1)[changed] += np.arange(1, 41, dtype=np.float32)
    assert left.size > 5 * _BLOCK
    cores.use(threads)
    try:
        found = _gaps(left, right, 6)
    finally:
        cores.use(0)
    largest, mean, relative, at, _ = expected(left.astype(float), right.astype(float))
    assert np.unravel_index(found.place, left.shape) == at and found.largest == largest
    assert found.relative == relative
    assert found.total / found.measured == pytest.approx(mean, rel=1e-12)
    assert [place for _, place in found.most] == changed[:33:-1].tolist()


def test_a_divergence_by_hand():
    left = np.log(np.array([0.5, 0.25, 0.25], np.float32)) + 7
    right = np.log(np.array([0.25, 0.5, 0.25], np.float32)) - 900
    by_hand = 0.5 * math.log(2) - 0.25 * math.log(2)
    assert divergence(left, right) == pytest.approx(by_hand, rel=1e-4)
    assert divergence(left, left) == 0
    never = np.array([0, -np.inf, 0], np.float32)
    assert divergence(left, never) == math.inf and divergence(never, left) > 0
    assert math.isnan(divergence(left, np.array([0, math.nan, 0], np.float32)))
