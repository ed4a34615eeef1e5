"""Filters and ranks at their edges, with probabilities that floats hold exactly."""

import numpy as np
import pytest

from attn_cli import session
from attn_cli.analysis.loss import loss
from attn_cli.analysis.sample import Sampling, nucleus, sample, stages_of
from attn_cli.analysis.verify import row_error, verdict


def test_the_nucleus_ends_where_the_share_is_reached():
    shares = np.array([0.25, 0.5, 0.125, 0.125])
    assert nucleus(np.log(shares), shares, 0.5).tolist() == [1]
    assert nucleus(np.log(shares), shares, 0.75).tolist() == [1, 0]
    assert nucleus(np.log(shares), shares, 0.76).tolist() == [1, 0, 2]
    assert nucleus(np.log(shares), shares, 0.0).tolist() == [1]


@pytest.mark.parametrize("temperature", [1.0, 1e16, 1e17, 1e300])
@pytest.mark.parametrize(("filters", "kept"), [
    ({"top_k": 1}, [3]), ({"top_k": 2}, [1, 3]), ({"top_k": 3}, [1, 3, 4]), ({"top_p": 0.1}, [3]),
    ({"top_k": 3, "top_p": 0.1}, [3]),
])  # fmt: skip
def test_no_temperature_reorders_what_filters_rank(temperature, filters, kept):
    logits = np.array([-3.0, 2.0, -1.0, 2.5, 2.0, 1.0], np.float32)
    *_, last = stages_of(logits, Sampling(temperature=temperature, **filters))
    assert np.flatnonzero(last).tolist() == kept


def test_draws_are_listed_by_their_logits_at_any_temperature():
    model = session.load("tiny")
    prompt = session.tokenise(model, "the king is")
    hot = Sampling(temperature=1e300, top_k=4)
    found = sample(model, prompt, hot, seed=1, draws=1000)
    assert [one.id for one in found.counts] == [one.id for one in found.candidates[:4]]


def test_min_p_keeps_what_is_exactly_at_the_limit():
    logits = np.log2(np.array([4, 2, 1], np.float64)) * np.log(2)
    *_, kept = stages_of(logits, Sampling(min_p=0.5))
    assert (kept > 0).tolist() == [True, True, False]
    assert abs(kept[0] - 2 / 3) < 1e-12


def test_equals_rank_by_the_lower_id(monkeypatch):
    model = session.load("tiny")
    prompt = session.tokenise(model, ids=[9, 7])
    logits = np.zeros((2, model.facts.vocabulary), np.float32)
    monkeypatch.setattr(session, "predict", lambda *_: logits)
    found = loss(model, prompt)
    assert found.positions[0].rank == 8
    assert found.positions[0].best.id == 0
    assert abs(found.mean - np.log(model.facts.vocabulary)) < 1e-6


def test_verify_rejects_what_it_must():
    a = np.ones((2, 3))
    assert row_error(a, a) == 0
    assert row_error(a + 1e-3, a) > 9e-4
    assert row_error(1000 * a + 0.5, 1000 * a) < 1e-3
    assert [verdict(e) for e in (4.9e-5, 5e-5, 1e-4, float("nan"))] == [
        "normal", "high", "suspect", "suspect"
    ]  # fmt: skip
