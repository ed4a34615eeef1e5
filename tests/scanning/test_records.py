"""Records: merged in every order the bytes are the same, and nothing damaged is read."""

import json
import tracemalloc
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scanning.conftest import TEXTS, job, parts_of, record_of

from attn_cli.errors import ContentError
from attn_cli.scanning.measuring import Scanner
from attn_cli.scanning.pairs import Pairs
from attn_cli.scanning.records import Record, read

SCANNER = Scanner(job("tiny", by_token=True))
JOB, SHAPE = SCANNER.job.digest, SCANNER.shape
FAILING = (*TEXTS[:3], " ", TEXTS[4], "the king " * 200, TEXTS[6])
# The same lines as one part, as two and as seven.
WHOLE = record_of(SCANNER, *parts_of(FAILING))


def cut(*counts):
    groups, start = [], 0
    for count in counts:
        groups.append(FAILING[start : start + count])
        start += count
    return [record_of(SCANNER, part).to_bytes() for part in parts_of(*groups)]


def said(record):
    """All that a record knows, but for which parts it is of."""
    record.parts = {}
    return record.to_bytes()


def merged(every):
    """All of them together."""
    found = Record(JOB, SHAPE)
    for data in every:
        found.merge(read(data, JOB, SHAPE))
    return found


@pytest.mark.parametrize("counts", [(3, 4), (6, 1)], ids=str)
def test_two_parts_in_either_order_are_the_whole(counts):
    for order in permutations(cut(*counts)):
        assert said(merged(order)) == WHOLE_SAID


WHOLE_SAID = said(read(WHOLE.to_bytes(), JOB, SHAPE))


def test_seven_parts_in_every_order_are_the_whole():
    """Whichever of them comes last to some of them, the bytes are the same: so they are in all
    5,040 orders. In a tree too: two halves that are merged as they come."""
    seven = cut(*[1] * 7)
    known = {frozenset(): Record(JOB, SHAPE).to_bytes()}
    for count in range(1, 8):
        for some in map(frozenset, combinations(range(7), count)):
            ways = set()
            for last in some:
                found = read(known[some - {last}], JOB, SHAPE)
                found.merge(read(seven[last], JOB, SHAPE))
                ways.add(found.to_bytes())
            (known[some],) = ways
    assert said(read(known[frozenset(range(7))], JOB, SHAPE)) == WHOLE_SAID
    halves = [read(known[frozenset(half)], JOB, SHAPE) for half in ((6, 0, 3), (5, 4, 1, 2))]
    before = halves[1].to_bytes()
    halves[0].merge(halves[1])
    assert halves[1].to_bytes() == before, "merging leaves what it takes in alone"
    assert said(halves[0]) == WHOLE_SAID


def test_what_is_merged_keeps_nothing_of_the_records_that_it_came_from():
    tracemalloc.start()
    found, seven = Record(JOB, SHAPE), cut(*[1] * 7)
    before = tracemalloc.get_traced_memory()[0]
    for data in seven:
        found.merge(read(data, JOB, SHAPE))
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert held < found.statistics.cells.nbytes // 2


def test_a_part_counts_once_and_only_for_its_job():
    one = read(cut(7)[0], JOB, SHAPE)
    for other in (one, Record("another", SHAPE)):
        with pytest.raises(ValueError, match="another job, or of a part"):
            one.merge(other)
    with pytest.raises(ContentError, match="of another model, other settings"):
        read(cut(7)[0], "another", SHAPE)


DATA = cut(2, 5)[0]


@given(st.integers(0, len(DATA) - 1))
@settings(max_examples=60, deadline=None)
def test_a_record_that_is_cut_is_refused(size):
    with pytest.raises(ContentError):
        read(DATA[:size], JOB, SHAPE)


@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_a_record_that_is_changed_is_refused(place, by):
    changed = bytearray(DATA)
    changed[place] ^= by
    with pytest.raises(ContentError):
        read(bytes(changed), JOB, SHAPE)


@pytest.mark.parametrize("key, value", [
    ("parts", 5), ("parts", [["a", "b"]]), ("prompts", None), ("failures", [[1]]), ("arrays", []),
    ("places", [["x", 1]]), ("places", []), ("arrays", [["touched", "<i8", [1 << 40]]]),
    ("arrays", [["touched", "|O", [8]]]), ("arrays", [["touched", "<i8", [-8]]]), ("arrays", 0),
])  # fmt: skip
def test_a_record_that_another_program_has_made_is_refused(monkeypatch, key, value):
    """With a digest that is right."""
    kept = json.dumps
    monkeypatch.setattr(json, "dumps", lambda told, **more: kept({**told, key: value}, **more))
    data = read(DATA, JOB, SHAPE).to_bytes()
    with pytest.raises(ContentError, match="it is damaged"):
        read(data, JOB, SHAPE)


def test_pairs_beyond_the_limit_are_those_of_lower_ids_whatever_the_order():
    rng = np.random.default_rng(0)
    prompts = [rng.zipf(1.3, 40).clip(max=5000).astype(np.int64) for _ in range(30)]
    heads, keys = np.arange(2), np.stack([rng.permutation(40) for _ in range(2)])

    def of(order, most):
        found = Pairs(most)
        for place in order:
            own = Pairs(most)
            own.add(heads, prompts[place], prompts[place], keys)
            found.take(own.arrays)
        return found

    every, few = of(range(30), 1 << 20), of(range(30), 200)
    assert every.bound == 0 and few.bound in (1 << n for n in range(12))
    for _ in range(5):
        again = of(rng.permutation(30), 200)
        assert all(np.array_equal(a, b) for a, b in
                   zip(few.arrays.values(), again.arrays.values(), strict=True))  # fmt: skip
    for head in range(2):
        kept = [one for one in every.of(head, 10**6) if max(one[:2]) < few.bound]
        assert list(few.of(head, 10**6)) == kept
