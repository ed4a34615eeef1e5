"""What is measured of weights, redone cell by cell from the arrays of a trace."""

from pathlib import Path

import numpy as np
import pytest

import attn_cli
from attn_cli import session
from attn_cli.analysis.heads import each_summary, kept, ranked
from attn_cli.analysis.measures import Reading
from attn_cli.errors import UsageError
from attn_cli.records import Address

IDS = [5, 6, 7, 5, 6, 7, 5, 9, 9, 6]
TARGET = [0, 8, 8, 9]


def asked(model):
    target = {"target_ids": TARGET} if model == "tiny-translator" else {}
    return {"model": model, "ids": IDS, "stack": "all", "kind": "all", "next": False, **target}


def summaries(model, *, past_first=False):
    facts, more = session.load(model).facts, asked(model)
    read = attn_cli.trace(**more).prompt
    question = session.ask(**more, **kept(read, facts.attentions, 3, past_first=past_first))
    passing = each_summary(session.steps(question), facts, read, past_first=past_first)
    return session.finished(passing)[0]


def twins(ids, causal, after):
    """The keys of each query that stand `after` another place of its token."""
    for query, id in enumerate(ids):
        places = (at for at, other in enumerate(ids) if other == id and at != query)
        yield [at + after for at in places if at + after < len(ids) and (at < query or not causal)]


def mean_over(rows, found):
    chosen = [value for row, value in found if row in rows]
    return np.mean(chosen) if chosen else np.nan


GROUPED = str(Path(__file__).parents[1] / "golden" / "llama-plain")
MODELS = [
    "tiny",
    "tiny-encoder",
    "tiny-translator",
    "random:layers=2,heads=4,model_width=32",
    GROUPED,
]


@pytest.mark.parametrize("model", MODELS)
def test_scores_are_the_means_of_their_cells(model):
    trace, found = attn_cli.trace(**asked(model), arrays={"weights", "v", "w_o"}), summaries(model)
    for block in trace.attention:
        at = block.address
        ids = list(trace.prompt.of(at.stack).ids)
        rows = range(1 if at.causal else 0, len(block.queries))
        group = len(block.w_o) // len(block.v)
        for head in found[at].heads:
            w = block.weights[head.head].astype(np.float64)
            apart = np.abs(np.subtract.outer(block.queries, block.keys))
            assert head.distance == pytest.approx((w * apart).sum(axis=1)[rows].mean(), rel=1e-5)
            lengths = np.linalg.norm(block.v[head.head // group] @ block.w_o[head.head], axis=1)
            weighted = w * lengths
            share = (weighted[:, 0] / weighted.sum(axis=1))[rows].mean()
            assert head.first_weighted_share == pytest.approx(share, rel=1e-5)
            assert head.first_value == pytest.approx(lengths[0] / lengths[1:].mean(), rel=1e-5)
            assert head.rest_share == pytest.approx(w[rows, 1:].sum(axis=1).mean(), rel=1e-5)
            for after, name in enumerate(("duplicate_share", "induction_share")):
                cells = [] if at.crosses else twins(ids, at.causal, after)
                some = [(q, w[q, keys].sum()) for q, keys in enumerate(cells) if keys]
                wanted = pytest.approx(mean_over(rows, some), rel=1e-5, nan_ok=True)
                assert getattr(head, name) == wanted, name


@pytest.mark.parametrize("model", MODELS)
def test_past_the_first_key_rows_are_those_of_the_others_alone(model):
    trace, found = (
        attn_cli.trace(**asked(model), arrays={"weights"}),
        summaries(model, past_first=True),
    )
    plain = summaries(model)
    for block in trace.attention:
        at = block.address
        ids = list(trace.prompt.of(at.stack).ids)
        for head, whole in zip(found[at].heads, plain[at].heads, strict=True):
            w = block.weights[head.head].astype(np.float64)
            others = np.where(np.arange(w.shape[1]) == 0, 0, w)
            rows = np.flatnonzero(others.sum(axis=1) > 0)
            if at.causal:
                assert rows[0] == 1
            w = others / np.where(others.sum(axis=1), others.sum(axis=1), 1)[:, None]
            logs = np.log2(np.where(w > 0, w, 1))
            entropy = -(w * logs).sum(axis=1)[rows].mean()
            assert head.entropy == pytest.approx(entropy, abs=1e-5)
            assert list(head.looks_at) == w.argmax(axis=1).tolist()
            if not at.crosses:
                diagonal, before = rows[rows > 0], rows[rows > 1]
                assert head.self_share == pytest.approx(w[diagonal, diagonal].mean(), rel=1e-5)
                assert head.previous_share == pytest.approx(w[before, before - 1].mean(), rel=1e-5)
                same = [
                    (query, w[query, keys].sum())
                    for query, places in enumerate(twins(ids, at.causal, 0))
                    if (keys := [key for key in places if key])
                ]
                wanted = pytest.approx(mean_over(rows, same), rel=1e-5, nan_ok=True)
                assert head.duplicate_share == wanted
            for name in ("first_share", "rest_share", "first_value", "norm", "cosine"):
                assert getattr(head, name) == pytest.approx(getattr(whole, name), nan_ok=True)
            kept_rows = found[at].weights[head.head]
            assert kept_rows == pytest.approx(w[-3:, -3:], abs=1e-6)


def test_which_queries_have_a_twin():
    read = session.tokenise(session.load("tiny"), ids=IDS)
    reading = Reading(read, "decoder", "self")
    for found, after in ((reading.duplicates, 0), (reading.followers, 1)):
        assert found.tolist() == [bool(keys) for keys in twins(IDS, True, after)]
    encoder = Reading(read, "encoder", "self")
    for found, after in ((encoder.duplicates, 0), (encoder.followers, 1)):
        assert found.tolist() == [bool(keys) for keys in twins(IDS, False, after)]


def test_a_ranking_by_any_column():
    found = list(summaries("tiny").values())
    for column, field, sign in (
        ("norm", "norm", -1), ("entropy", "entropy", 1), ("distance", "distance", 1),
        ("first", "first_share", -1), ("weighted", "first_weighted_share", -1),
        ("value", "first_value", 1), ("induction", "induction_share", -1),
    ):  # fmt: skip
        ranking = ranked(found, column).ranking
        values = [sign * row.value for row in ranking]
        assert values == sorted(values)
        known = {
            (one.layer, head.head): getattr(head, field) for one in found for head in one.heads
        }
        assert {(row.layer, row.head): row.value for row in ranking} == known
    with pytest.raises(UsageError, match="no column 'size'"):
        ranked(found, "size")


def test_what_is_no_number_is_ranked_last():
    found = list(summaries("tiny-translator").values())
    ranking = ranked(found, "induction").ranking
    broken = [bool(np.isnan(row.value)) for row in ranking]
    assert broken == sorted(broken)
    assert {row.kind for row in ranking if np.isnan(row.value)} == {"cross"}
    # A trace by itself does not know how long values are.
    unknown = attn_cli.heads(attn_cli.trace(ids=IDS, layer=0))
    known = summaries("tiny")[Address("decoder", "self", 1)]
    for column in ("value", "weighted"):
        ranking = ranked([unknown, known], column).ranking
        assert [row.layer for row in ranking] == [1] * 4 + [0] * 4
