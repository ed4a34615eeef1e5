"""Every number of a scan, computed anew from the full weights that `attn_cli.trace` gives."""

from collections import defaultdict

import numpy as np
import pytest
from scanning.conftest import TEXTS, job, parts_of, record_of

import attn_cli
from attn_cli import session, vocabulary
from attn_cli.scanning.measuring import Scanner
from attn_cli.scanning.statistics import QUANTILES

LETTERS = ("a dog sees the cat", "the cat the cat", "a", "the dog sees a dog sees a cat")


def by_hand(weights, sink, lengths, queries, keys, causal, crosses):
    """The measures (query) of one head's weights (query, key), NaN where a query has none."""
    found = defaultdict(lambda: np.full(len(weights), np.nan))
    for q, row in enumerate(weights.astype(np.float64)):
        if causal and q == 0 and len(weights) > 1:
            continue
        others = [w for w in (*row, *sink[q : q + 1]) if w > 0]
        found["entropy"][q] = -sum(w * np.log2(w) for w in others)
        found["effective_keys"][q] = 2 ** found["entropy"][q]
        found["distance"][q] = sum(w * abs(q - k) for k, w in enumerate(row))
        weighted = row * lengths
        shares = {"share": row, "weighted_share": weighted / weighted.sum()}
        for name, of in shares.items():
            found[f"first_{name}"][q] = of[0]
        if len(sink):
            found["sink_share"][q] = sink[q]
        if crosses:
            continue
        there = range(q) if causal else [k for k in range(len(row)) if k != q]
        twins = [k for k in there if keys[k] == queries[q]]
        after = [k + 1 for k in range(len(row) - 1) if keys[k] == queries[q] and k != q]
        after = [k for k in after if not causal or k <= q]
        for name, of in shares.items():
            found[f"self_{name}"][q] = of[q]
            if q:
                found[f"previous_{name}"][q] = of[q - 1]
            if twins:
                found[f"duplicate_{name}"][q] = sum(of[k] for k in twins)
            if after:
                found[f"induction_{name}"][q] = sum(of[k] for k in after)
    return found


def wanted_of(model, texts, where, what_if):
    """Of each head, by measure: (line, query) and number of every query that has it."""
    found = defaultdict(list)
    for line, text in enumerate(texts, 1):
        trace = attn_cli.trace(text, model=model, arrays=("weights", "sink_share", "v", "w_o"),
                               next=False, **where, **what_if)  # fmt: skip
        for block in trace.attention:
            queries, keys = trace.prompt.sides(block.stack, block.kind)
            for head in range(len(block.weights)):
                v = block.v[block.kv_heads.index(head // (len(block.weights) // len(block.v)))]
                lengths = np.linalg.norm(v.astype(np.float64) @ block.w_o[head], axis=-1)
                sink = block.sink_share[head] if "sink_share" in block.arrays else np.zeros(0)
                own = by_hand(block.weights[head], sink, lengths, queries.ids, keys.ids,
                              block.address.causal, block.address.crosses)  # fmt: skip
                for name, numbers in own.items():
                    found[block.address, head, name] += [
                        (number, line, query) for query, number in enumerate(numbers)
                        if not np.isnan(number)
                    ]  # fmt: skip
    return found


@pytest.mark.parametrize("model, where, what_if", [
    ("tiny", {}, {}),
    ("tiny", {}, {"mask": ["window:2"], "attention_temperature": 2.0}),
    ("tiny-encoder", {}, {}),
    ("tiny-translator", {"stack": "all", "kind": "all"}, {}),
    ("sunk", {}, {}),
    ("grouped", {}, {}),
])  # fmt: skip
def test_every_number_is_that_of_the_weights(request, model, where, what_if):
    texts = TEXTS
    if model in ("sunk", "grouped"):
        model, texts = request.getfixturevalue(model), LETTERS
    scanner = Scanner(job(model, **where, what_if=what_if))
    record = record_of(scanner, *parts_of(texts))
    assert (record.prompts, record.failed) == (len(texts), 0)
    names = [one.name for one in scanner.shape.measures]
    wanted = wanted_of(model, texts, where, what_if)
    for at, (block, head) in enumerate(scanner.rows.each):
        for measure, name in enumerate(names):
            totals, rows = record.statistics.totals(at, measure), wanted[block, head, name]
            numbers = np.array([row[0] for row in rows])
            assert totals.count == len(rows), (block, head, name)
            if not rows:
                continue
            told = [totals.mean, totals.deviation, totals.minimum, totals.maximum]
            assert told == pytest.approx(
                [numbers.mean(), numbers.std(), numbers.min(), numbers.max()], abs=2e-5, rel=2e-5
            )
            exact = np.quantile(numbers, QUANTILES, method="inverted_cdf")
            assert np.allclose(totals.quantiles, exact, rtol=1 / 60, atol=2**-12)
            sign = scanner.shape.measures[measure].sign
            best = {}
            for number, line, _ in rows:
                best[line] = max(best.get(line, -np.inf), sign * number)
            cells = record.examples.of(at, measure)
            assert len(cells) == min(8, len(best))
            order = sorted(best.values(), reverse=True)[: len(cells)]
            assert [sign * cell.value for cell in cells] == pytest.approx(order, abs=2e-5, rel=2e-5)
            for cell in cells:
                assert sign * cell.value == pytest.approx(best[cell.place.line], abs=2e-5, rel=2e-5)
    touched = vocabulary.changes(what_if) != []
    assert bool(record.touched.all()) == touched == bool(record.touched.any())


def test_the_key_of_an_example_is_the_one_that_its_query_weighs_most():
    scanner = Scanner(job("tiny", layer="1", head="2"))
    record = record_of(scanner, *parts_of(TEXTS))
    for measure in range(len(scanner.shape.measures)):
        for cell in record.examples.of(0, measure):
            trace = attn_cli.trace(TEXTS[cell.place.line - 1], layer=1, head=2)
            assert trace.attention[0].weights[0, cell.query].argmax() == cell.key
            at = record.examples.places.index(cell.place)
            assert tuple(record.examples.prompts[at]) == trace.prompt.ids


def test_what_is_earlier_than_a_change_is_derived():
    scanner = Scanner(job("tiny", what_if={"without_head": ["0.1"]}))
    record = record_of(scanner, *parts_of(TEXTS[:1]))
    assert record.touched.tolist() == [1] * 8
    scanner = Scanner(job("tiny", what_if={"without_head": ["1.1"]}))
    record = record_of(scanner, *parts_of(TEXTS[:1]))
    assert record.touched.tolist() == [0] * 4 + [1] * 4


def test_lines_that_do_not_fit_are_counted_and_named():
    scanner = Scanner(job("tiny"))
    long = "the king " * 200
    record = record_of(scanner, *parts_of(("the king", long, " ", "the queen")))
    assert (record.prompts, record.failed) == (2, 2)
    assert [one.line for one in record.failures] == [2, 3]
    assert record.failures[0].message == "the prompt has 400 tokens, tiny reads at most 256"


@pytest.mark.parametrize("model", ["tiny", "tiny-encoder"])
def test_a_document_is_cut_to_prompts_of_so_many_tokens(model):
    opened = session.load(model)
    text = "\n".join(TEXTS)
    scanner = Scanner(job(model, chunk=6))
    steps = scanner.scan(parts_of((text,))[0])
    lengths = list(steps)
    plain = opened.tokenizer.encode(text, special=False)
    added = len(opened.tokenizer.encode("the", special=True)) - 1
    room = 6 - added
    full, rest = divmod(len(plain), room)
    assert lengths == [6] * full + [rest + added] * bool(rest)
    record = record_of(scanner, *parts_of((text,)))
    for place, ids in zip(record.examples.places, record.examples.prompts, strict=True):
        start = place.chunk * room
        assert len(ids) == min(6, len(plain) - start + added)
        assert {token.id for token in plain[start : start + room]} <= set(ids.tolist())
        assert place.line == 1 + text.count("\n", 0, plain[start].span[0])


def test_pairs_are_those_of_the_largest_weights_without_the_first_key():
    scanner = Scanner(job("tiny", by_token=True, layer="0", head="1"))
    record = record_of(scanner, *parts_of(TEXTS))
    wanted = defaultdict(int)
    for text in TEXTS:
        trace = attn_cli.trace(text, layer=0, head=1)
        for q, row in enumerate(trace.attention[0].weights[0]):
            if k := int(row.argmax()):
                wanted[trace.prompt.ids[q], trace.prompt.ids[k]] += 1
    order = sorted(wanted.items(), key=lambda one: (-one[1], one[0]))
    assert [(one.query, one.key, one.count) for one in record.pairs.of(0, 99)] == [
        (*pair, count) for pair, count in order
    ]
