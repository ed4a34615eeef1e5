import pytest

from attn_cli.training import loop, next_token

LINES = (
    """\
the cat sees the dog
the cat sees the mouse
the dog sees the cat
a mouse sees a cat
a mouse runs
"""
    * 3
)


@pytest.fixture(scope="session")
def corpus() -> next_token.Corpus:
    return next_token.read_corpus(LINES)


@pytest.fixture
def settings() -> loop.TrainingSettings:
    return loop.TrainingSettings(
        layers=2,
        heads=2,
        width=8,
        context=32,
        steps=12,
        batch_tokens=128,
        warm_up_steps=3,
        watched_prompt="the cat sees the",
        watched_key="cat",
        watched_word="dog",
    )
