"""Phi-3.5-MoE lengthens what it rotates by one factor up to a length, and by another beyond.

That length and that factor alone are compared here: of either, all steps are the golden's.
"""

import numpy as np
import pytest
from made_folders import document, made_folder

from attn_cli import session
from attn_cli.analysis.entry import entry, wanted
from attn_cli.model.cache import Cache
from measure import logits_of, next_logits_of

SHORT, LONG, LIMIT = 1.25, 1.7, 5
IDS = (3, 1, 4, 1, 5, 9, 2)


@pytest.fixture
def opened(tmp_path):
    def make(short, long):
        config = document("phimoe-a")["config"]
        rope = config["rope_parameters"] | {"short_mscale": short, "long_mscale": long}
        place = tmp_path / f"{short}-{long}"
        return session.load(str(made_folder(place, "phimoe-a", config | {"rope_parameters": rope})))

    return make


@pytest.mark.parametrize(("count", "factor"), [(LIMIT, SHORT), (LIMIT + 1, LONG)])
def test_the_length_of_the_text_decides_for_all_its_positions(opened, count, factor):
    ids = IDS[:count]
    both, one = opened(SHORT, LONG), opened(factor, factor)
    assert np.array_equal(logits_of(both, ids), logits_of(one, ids))
    blocks = session.trace(ids=ids, model=both, arrays={"q", "q_unrotated"}, next=False).attention
    for block in blocks:
        lengths, before = (np.linalg.norm(a, axis=-1) for a in (block.q, block.q_unrotated))
        assert lengths == pytest.approx(factor * before, rel=1e-5)


def test_tokens_one_by_one_begin_anew_where_the_factor_changes(opened):
    model, cache = opened(SHORT, LONG), Cache()
    for count, id in enumerate(IDS, 1):
        found = next_logits_of(model, (id,), cache)
        assert found == pytest.approx(logits_of(model, IDS[:count])[-1], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(("count", "factor"), [(LIMIT, SHORT), (LIMIT + 1, LONG)])
def test_an_entry_is_told_with_the_factor_of_its_text(opened, count, factor):
    model, ids = opened(SHORT, LONG), IDS[:count]
    need = wanted(model.facts, "q", 1, count - 1, False)
    trace = session.trace(ids=ids, model=model, layer=1, head=1, arrays=need["arrays"], next=False)
    found = entry(trace, 1, 1, "q", count - 1, 0)
    (turn,) = found.rotation
    turned = turn.a * np.cos(turn.angle) - turn.b * np.sin(turn.angle)
    assert turn.factor == pytest.approx(factor)
    assert found.value == pytest.approx(turned * factor, rel=1e-4, abs=1e-6)


def test_facts_tell_of_both_lengths(opened):
    assert opened(SHORT, SHORT).facts.longer == (0, 1.0)
    facts = opened(SHORT, LONG).facts
    assert (facts.attention_factors, facts.longer) == ((SHORT, SHORT), (LIMIT, LONG))
