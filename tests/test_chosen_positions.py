"""What is kept of a pass: chosen rows and columns, and measures of weights that are not kept."""

import numpy as np
import pytest

import attn_cli
from attn_cli import session, vocabulary
from attn_cli.analysis.heads import each_summary, kept
from attn_cli.errors import UsageError
from attn_cli.maths import cores

MODELS = ["tiny", "tiny-encoder", "tiny-translator", "random:layers=2,heads=4,model_width=32"]
ALL = frozenset(vocabulary.ARRAYS)


def asked(model, **more):
    # More than one block of queries.
    ids = [5 + i % 90 for i in range(200)]
    target = {"target_ids": ids[:60]} if model == "tiny-translator" else {}
    long = {"ids": ids[:60] if "tiny" in model and model != "tiny" else ids}
    return {"model": model, "stack": "all", "kind": "all", **long, **target, **more}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("threads", [1, 3])
def test_chosen_rows_and_columns_are_those_of_the_whole(model, threads):
    cores.use(threads)
    opened = session.load(model)
    cores.use(threads)
    queries, keys = (3, 4, 57), (0, 5, 6, 59)
    places = dict.fromkeys(opened.facts.attentions, (queries, keys))
    whole = attn_cli.trace(**asked(model), arrays=ALL)
    part = attn_cli.trace(**asked(model), arrays=ALL, positions=places, head=(1, 0))
    cores.use(0)
    for few, every in zip(part.attention, whole.attention, strict=True):
        assert (few.queries, few.keys, few.heads) == (queries, keys, (1, 0))
        assert few.arrays.keys() == every.arrays.keys()
        chosen = {"query": queries, "key": keys, "head": (1, 0), "kv_head": few.kv_heads}
        for name, array in every.arrays.items():
            for place, axis in enumerate(vocabulary.ARRAYS[name].axes):
                array = array.take(chosen[axis], place) if axis in chosen else array  # noqa: PLW2901
            assert np.array_equal(few.arrays[name], array, equal_nan=True), name


def test_all_positions_in_another_order_are_those_of_the_whole():
    order = (2, 0, 1, 4, 3)
    of_self = {("decoder", "self"): (order, order)}
    more = {"text": "the king is a man", "layer": 0, "arrays": ALL}
    whole = attn_cli.trace(**more).attention[0]
    found = attn_cli.trace(**more, positions=of_self).attention[0]
    for name in ("x", "v", "weights", "head_output", "output", "mlp_output"):
        array = whole.arrays[name]
        for place, axis in enumerate(vocabulary.ARRAYS[name].axes):
            array = array.take(order, place) if axis in ("query", "key") else array
        assert np.array_equal(found.arrays[name], array), name


@pytest.mark.parametrize("model", MODELS)
def test_summaries_on_the_way_are_those_of_the_whole_trace(model):
    whole = attn_cli.trace(**asked(model), next=False)
    read, facts = whole.prompt, whole.model
    question = session.ask(**asked(model), next=False, **kept(read, facts.attentions, 24))
    passing = each_summary(session.steps(question), facts, read)
    found, trace = session.finished(passing)
    assert list(found) == [block.address for block in whole.attention]
    for block in trace.attention:
        assert block.weights.size < whole.attention[0].weights.size
        ours, wanted = found[block.address], attn_cli.heads(whole, block.address)
        assert ours.output_norm == wanted.output_norm
        assert ours.largest_error == pytest.approx(wanted.largest_error, abs=1e-6)
        for one, other in zip(ours.heads, wanted.heads, strict=True):
            assert one.looks_at == other.looks_at
            for name in ("entropy", "first_share", "previous_share", "self_share", "norm"):
                expected = pytest.approx(getattr(other, name), rel=1e-6, nan_ok=True)
                assert getattr(one, name) == expected, name
        plain = block.weights[:, -1].astype(np.float64)
        assert (plain >= 0).all()


@pytest.mark.parametrize("chosen", [(99,), (-1,), ()])
@pytest.mark.parametrize("side", [0, 1])
def test_positions_that_there_are_not_are_refused(chosen, side):
    positions = (chosen, None) if not side else (None, chosen)
    with pytest.raises(UsageError, match="out of range"):
        attn_cli.trace("the king", positions={("decoder", "self"): positions})
    with pytest.raises(UsageError, match="no attention"):
        attn_cli.trace("the king", positions={("encoder", "self"): (None, None)})


def test_a_query_that_sees_no_key_looks_at_the_first_in_both_ways():
    """Though its block begins with the first key that any query of it sees."""
    asked = {"ids": [5] * 6, "model": "tiny", "mask": ["padding-left:3"], "next": False}
    whole = attn_cli.trace(**asked)
    question = session.ask(**asked, **kept(whole.prompt, [("decoder", "self")], 24))
    passing = each_summary(session.steps(question), whole.model, whole.prompt)
    found, _ = session.finished(passing)
    for address, ours in found.items():
        for one, other in zip(ours.heads, attn_cli.heads(whole, address).heads, strict=True):
            assert one.looks_at[:3] == other.looks_at[:3] == (0, 0, 0)
            assert one.looks_at == other.looks_at


@pytest.mark.parametrize("model", [*MODELS, "deberta-both", "bloom", "modernbert-windows"])
def test_rows_are_chosen_of_arrays_of_queries_and_keys_alone(model, golden_path):
    more = {"ids": [5, 6, 7, 9, 5, 6, 8]} if (golden_path / model).exists() else {}
    name = str(golden_path / model) if more else model
    rows = (6, 2, 3)
    places = dict.fromkeys(session.load(name).facts.attentions, rows)
    given = {**asked(model), **more, "model": name, "arrays": ALL}
    whole, part = attn_cli.trace(**given), attn_cli.trace(**given, rows=places, head=(1, 0))
    for few, every in zip(part.attention, whole.attention, strict=True):
        assert few.rows == rows and every.rows == ()
        assert (few.queries, few.keys) == (every.queries, every.keys)
        assert few.reach == every.reach and few.reach.cells == every.visible.sum()
        assert few.arrays.keys() == every.arrays.keys()
        for array, spec in vocabulary.ARRAYS.items():
            if array not in few.arrays:
                continue
            chosen = {"head": few.heads, "kv_head": few.kv_heads}
            chosen |= {"query": rows} if spec.axes[-2:] == ("query", "key") else {}
            wanted = every.arrays[array]
            for place, axis in enumerate(spec.axes):
                wanted = wanted.take(chosen[axis], place) if axis in chosen else wanted
            assert np.array_equal(few.arrays[array], wanted, equal_nan=True), array


@pytest.mark.parametrize("rows", [(99,), (-1,), ()])
def test_rows_that_there_are_not_are_refused(rows):
    with pytest.raises(UsageError, match="out of range"):
        attn_cli.trace("the king", rows={("decoder", "self"): rows})
    with pytest.raises(UsageError, match="no attention"):
        attn_cli.trace("the king", rows={("encoder", "self"): (0,)})
