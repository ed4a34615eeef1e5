"""Every position's loss, from the prediction that a trace gives there."""

import math

import pytest

import attn_cli

PROMPT = "the greatest thinker in China is Confucius"
TOKENS = PROMPT.split()


@pytest.fixture(scope="module")
def found():
    return attn_cli.loss(attn_cli.load("tiny"), attn_cli.trace(PROMPT, arrays=()).prompt)


def test_each_position_is_the_prediction_after_its_beginning(found):
    assert [row.token for row in found.positions] == TOKENS[:-1]
    assert [row.next_token for row in found.positions] == TOKENS[1:]
    for i, row in enumerate(found.positions):
        after = attn_cli.trace(" ".join(TOKENS[: i + 1]), arrays=(), top=999_999).next[0]
        candidates = {candidate.id: candidate for candidate in after.candidates}
        actual, best = candidates[row.next_id], after.candidates[0]
        assert row.position == i
        assert row.probability == pytest.approx(actual.probability, rel=1e-4)
        assert row.rank == actual.rank
        assert row.loss == pytest.approx(-math.log(actual.probability), abs=1e-4)
        assert (row.best.id, row.best.rank) == (best.id, 1)
        assert row.best.probability == pytest.approx(best.probability, rel=1e-4)


def test_mean_and_perplexity(found):
    losses = [row.loss for row in found.positions]
    assert found.mean == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(found.mean), rel=1e-5)
