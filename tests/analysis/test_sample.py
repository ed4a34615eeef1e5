"""Temperature and filters against plain Python, and draws that follow them."""

import math

import pytest

import attn_cli
from attn_cli import session
from attn_cli.analysis.sample import Sampling

PROMPT = "the greatest thinker in China is"


@pytest.fixture(scope="module")
def model():
    return attn_cli.load("tiny")


@pytest.fixture(scope="module")
def draw(model):
    """A sample after the prompt, under these filters."""

    def draw(prompt=PROMPT, *, seed=0, max_tokens=1, draws=0, sweep=(), top=10, **filters):
        return attn_cli.sample(
            model, session.tokenise(model, prompt), Sampling(**filters), seed=seed,
            max_tokens=max_tokens, draws=draws, sweep=sweep, top=top,
        )  # fmt: skip

    return draw


@pytest.fixture(scope="module")
def logits(draw):
    """id → logit of the whole vocabulary, likeliest first."""
    return {candidate.id: candidate.logit for candidate in draw(top=999_999).candidates}


def heated(logits, temperature):
    """softmax(logits / T) in plain Python, T = 0 as its limit."""
    top = max(logits.values())
    if temperature == 0:
        first = min(i for i, logit in logits.items() if logit == top)
        return {i: float(i == first) for i in logits}
    powers = {i: math.exp((logit - top) / temperature) for i, logit in logits.items()}
    return renormalised(powers)


def renormalised(shares):
    total = math.fsum(shares.values())
    return {i: share / total for i, share in shares.items()}


def ranked(logits, among=None):
    return sorted(logits if among is None else among, key=lambda i: (-logits[i], i))


def top_k(shares, k, logits):
    return renormalised({i: shares[i] for i in ranked(logits, shares)[:k]})


def top_p(shares, p, logits):
    kept, total = {}, 0.0
    for i in ranked(logits, shares):
        if total >= p:
            break
        kept[i] = shares[i]
        total += shares[i]
    return renormalised(kept)


def min_p(shares, p, logits):
    least = p * max(shares.values())
    return renormalised({i: share for i, share in shares.items() if share >= least})


CASES = [
    (1.0, None, None, None),
    (0.0, None, None, None),
    (0.25, None, 0.9, None),
    (1.5, 7, 0.8, 0.2),
    (3.0, 40, None, 0.05),
    (2.0, None, 0.5, 0.01),
    (1.0, 1, None, None),
    (0.0, 5, 0.5, 0.5),
    (1e308, 3, None, None),
    (1e17, 4, 0.6, None),
    (5e-324, None, None, None),
]


@pytest.mark.parametrize(("temperature", "k", "p", "m"), CASES)
def test_each_stage_is_what_plain_python_says(draw, logits, temperature, k, p, m):
    expected = [heated(logits, temperature)]
    filters = {"temperature": temperature}
    for name, value, keep in (("top_k", k, top_k), ("top_p", p, top_p), ("min_p", m, min_p)):
        if value is not None:
            filters[name] = value
            expected.append(keep(expected[-1], value, logits))
    found = draw(**filters, top=30)
    assert found.filters == tuple(filters)
    for candidate in found.candidates:
        for after, shares in zip(candidate.after, expected, strict=True):
            assert after == pytest.approx(shares.get(candidate.id, 0), abs=1e-6)
    assert found.kept == sum(share > 0 for share in expected[-1].values())


def test_the_whole_vocabulary_sums_to_one(draw):
    found = draw(top=999_999, temperature=1.3).candidates
    for shares in ([c.probability for c in found], [c.after[0] for c in found]):
        assert math.fsum(shares) == pytest.approx(1, abs=1e-5)


def test_temperature_zero_draws_the_likeliest_whatever_the_seed(draw, logits):
    for seed in (0, 1, 2):
        drawn = draw(temperature=0, seed=seed).drawn
        assert [token.id for token in drawn] == [ranked(logits)[0]]
        assert drawn[0].probability == 1


def test_draws_follow_the_shares(draw, logits):
    """Chi-square over the cells that expect at least 5, the rest together; a fixed seed."""
    draws = 20_000
    found = draw(draws=draws, seed=11, temperature=1.2, top_p=0.95).counts
    shares = top_p(heated(logits, 1.2), 0.95, logits)
    assert sum(count.count for count in found) == draws
    square = 0.0
    for count in found:
        expected = shares[count.id] * draws
        assert count.expected == pytest.approx(shares[count.id], abs=1e-6)
        assert count.observed == pytest.approx(count.count / draws, rel=1e-6)
        square += (count.count - expected) ** 2 / expected
    freedom = len(found) - 1
    assert freedom >= 2
    # The 99.9 % point of chi-square, by Wilson and Hilferty.
    limit = freedom * (1 - 2 / (9 * freedom) + 3.09 * math.sqrt(2 / (9 * freedom))) ** 3
    assert square < limit


def test_a_skewed_draw_would_be_seen(draw, logits):
    """The same statistic refuses draws that were made at another temperature."""
    draws = 20_000
    found = draw(draws=draws, seed=11, temperature=1.2, top_p=0.95).counts
    wrong = top_p(heated(logits, 1.0), 0.999, logits)
    square = sum(
        (c.count - wrong[c.id] * draws) ** 2 / (wrong[c.id] * draws) for c in found if c.id in wrong
    )
    assert square > 100


def test_nothing_that_was_filtered_is_drawn(draw, logits):
    found = draw(draws=500, top_k=2, temperature=5, seed=3).counts
    assert {count.id for count in found} == set(ranked(logits)[:2])


def test_several_tokens_each_follow_from_the_ones_before(model, draw):
    found = draw(max_tokens=4, seed=5, temperature=1.5)
    assert [token.position for token in found.drawn] == [6, 7, 8, 9][: len(found.drawn)]
    ids = list(session.tokenise(model, PROMPT).ids)
    for token in found.drawn:
        given = session.tokenise(model, ids=ids)
        now = attn_cli.sample(model, given, Sampling(temperature=1.5), seed=0, top=999_999)
        share = next(c.after[0] for c in now.candidates if c.id == token.id)
        assert token.probability == pytest.approx(share, abs=1e-6)
        ids.append(token.id)
    assert found.text == " ".join(token.text for token in found.drawn)


def test_generation_stops_where_the_context_is_full():
    model = attn_cli.load("random:layers=1,context=8")
    prompt = session.tokenise(model, "the king is a man")
    found = attn_cli.sample(model, prompt, Sampling(), seed=0, max_tokens=50)
    assert [token.position for token in found.drawn] == [5, 6, 7]


def test_generation_stops_after_the_end_token(draw):
    drawn = draw(f"{PROMPT} Confucius", temperature=0, max_tokens=50).drawn
    assert drawn[-1].text == "<|endoftext|>"
    assert len(drawn) < 50


def test_a_sweep_holds_the_candidates_at_each_temperature(draw, logits):
    heats = (0, 0.5, 1, 1.5, 2, 1e308, 5e-324)
    found = draw(sweep=heats).sweep
    assert tuple(heat.temperature for heat in found) == heats
    for heat in found:
        shares = heated(logits, heat.temperature)
        expected = [shares[i] for i in ranked(logits)[:10]]
        assert heat.probabilities == pytest.approx(expected, abs=1e-6)
