"""Two passes side by side give what each gives alone, in the memory of both."""

import weakref
from dataclasses import replace

import numpy as np
import pytest

from attn_cli import room, room_of_file, session
from attn_cli.analysis.beside import beside, both
from attn_cli.errors import ContentError
from attn_cli.records import Attention, Passed


def asked(model, ids, **more):
    return session.ask(model=model, ids=ids, max_memory=None, arrays={"weights", "output"}, **more)


@pytest.fixture
def questions():
    model = session.load("random:layers=3,heads=2,model_width=16")
    return asked(model, [5, 6, 7]), asked(model, [5, 6, 7, 8], mask=["none"])


def test_both_traces_are_those_that_each_question_has_alone(questions):
    found = session.finished(both(*questions))
    for trace, question in zip(found, questions, strict=True):
        alone = session.finished(session.tracing(question))
        assert trace.next == alone.next and trace.notes == alone.notes
        for ours, theirs in zip(trace.attention, alone.attention, strict=True):
            assert ours.address == theirs.address and ours.what_if == theirs.what_if
            assert np.array_equal(ours.weights, theirs.weights)
            assert np.array_equal(ours.output, theirs.output)


def test_blocks_come_in_pairs_and_neither_pass_is_a_layer_ahead(questions):
    steps = [step for step in beside(*questions) if isinstance(step, tuple | Passed)]
    pairs = [step for step in steps if not isinstance(step, Passed)]
    assert [(a.layer, b.layer) for a, b in pairs] == [(0, 0), (1, 1), (2, 2)]
    kinds = ["layer" if isinstance(step, Passed) else "pair" for step in steps]
    assert kinds == ["pair", "layer"] * 3


def test_a_deeper_model_goes_on_alone(questions):
    shallow = session.load("random:layers=1,heads=2,model_width=16")
    deep = questions[0]._replace(request=replace(questions[0].request, blocks=frozenset(
        block for block in questions[0].blocks if block.layer == 0)))  # fmt: skip
    for two in ((deep, asked(shallow, [5, 6])), (asked(shallow, [5, 6]), deep)):
        steps = list(beside(*two))
        passed = [step for step in steps if isinstance(step, Passed)]
        assert sum(not isinstance(step, Passed) for step in steps) == 1
        assert [step.layer for step in passed] == [0, 1, 2]


def test_a_block_without_a_partner_is_an_error(questions):
    left, right = questions
    fewer = frozenset(block for block in right.blocks if block.layer == 0)
    for two in ((left, right), (right, left)):
        less = [one._replace(request=replace(one.request, blocks=fewer)) if one is right else one
                for one in two]  # fmt: skip
        with pytest.raises(ValueError, match="different numbers of blocks"):
            session.finished(beside(*less))


def test_a_pair_that_nobody_keeps_is_gone_before_the_next(questions):
    alive = []
    for step in beside(*questions):
        if isinstance(step, Passed):
            continue
        assert not any(ref() for ref in alive)
        alive = [weakref.ref(block.weights) for block in step]
        assert all(isinstance(block, Attention) for block in step)
        del step


def needed(questions, forgotten):
    """What both keep, and what the one that needs more works with: they take turns."""
    kept, working = 0, []
    for one in questions:
        read = {"decoder": len(one.prompt.tokens)}
        none = replace(one.request, blocks=frozenset())
        alone = room.needed(one.model, none, read)
        kept += room.needed(one.model, one.request, read, forgotten=forgotten) - alone
        working.append(alone + room_of_file.of_file(one.model, one.request, read["decoder"]))
    return room.of_tokenizer(questions[0].model) + kept + max(working)


@pytest.mark.parametrize("forgotten", [True, False])
def test_the_memory_of_both_is_asked_for_before_either_begins(questions, forgotten):
    need = needed(questions, forgotten)
    session.finished(beside(*questions, need, forgotten=forgotten))
    with pytest.raises(ContentError, match=r"reading 3 tokens and 4 tokens takes") as refused:
        next(beside(*questions, need - 1, forgotten=forgotten))
    # Where no block is kept, fewer layers would not help.
    assert ("(--layer)" in refused.value.hint) != forgotten


def test_a_trace_that_is_kept_takes_all_blocks_and_one_that_is_not_the_largest(questions):
    (one, _), tokens = questions, {"decoder": 3}
    none = room.needed(one.model, replace(one.request, blocks=frozenset()), tokens)
    all_of_it, largest = (
        room.needed(one.model, one.request, tokens, forgotten=gone) - none for gone in (False, True)
    )
    assert all_of_it == 3 * largest > 0
