"""Whole runs: they learn, they repeat, and what they report is what happened."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from attn_cli.errors import UsageError
from attn_cli.training import adamw, decoder, loop, next_token
from attn_cli.training.watch import watch


def same(a, b):
    assert a.step == b.step
    for ours, theirs in (
        (a.parameters, b.parameters),
        (a.moments.first, b.moments.first),
        (a.moments.second, b.moments.second),
    ):
        assert ours.keys() == theirs.keys()
        assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)


def test_one_record_per_step(corpus, settings):
    run = loop.start(settings, corpus)
    records = list(loop.train(run))
    assert [record.step for record in records] == list(range(1, 13))
    assert run.finished
    last = records[-1]
    assert last.steps == 12
    assert last.attention.shape == (2, 2)
    assert last.tokens == 128
    assert last.tokens_per_second > 0
    assert last.seconds_left == 0
    assert records[0].seconds_left > 0
    with pytest.raises(FrozenInstanceError):
        last.loss = 0.0


def test_the_watched_numbers_are_those_of_the_model(corpus, settings):
    run = loop.start(settings, corpus)
    *_, last = loop.train(run)
    parameters = run.state.parameters
    ids = np.array([[token.id for token in corpus.tokenizer.encode("the cat sees the")]])
    blocks = decoder.forward(parameters, ids, heads=2).blocks
    np.testing.assert_array_equal(
        last.attention, [block.attended.weights[0, :, 3, 1] for block in blocks]
    )
    wte, dog = parameters["wte.weight"], corpus.tokenizer.id_of("dog")
    assert last.moved == pytest.approx(np.linalg.norm(wte[dog] - run.start_embeddings[dog]))
    nearest = last.neighbours[0]
    near = wte[corpus.tokenizer.id_of(nearest.text)]
    cosine = wte[dog] @ near / np.linalg.norm(wte[dog]) / np.linalg.norm(near)
    assert nearest.cosine == pytest.approx(cosine, rel=1e-5)
    cosines = [neighbour.cosine for neighbour in last.neighbours]
    assert cosines == sorted(cosines, reverse=True)
    texts = {neighbour.text for neighbour in last.neighbours}
    assert texts < {"the", "a", "cat", "mouse", "sees", "runs"}


def test_same_seed_same_run_and_another_seed_another(corpus, settings):
    states = []
    for seed in (0, 0, 1):
        run = loop.start(replace(settings, seed=seed), corpus)
        list(loop.train(run))
        states.append(run.state)
    same(states[0], states[1])
    a, b = (state.parameters["wte.weight"] for state in states[1:])
    assert not np.array_equal(a, b)


def test_going_on_from_a_state_equals_never_stopping(corpus, settings):
    whole = loop.start(settings, corpus)
    whole_records = list(loop.train(whole))
    first = loop.start(settings, corpus)
    for record in loop.train(first):
        if record.step == 5:
            break
    second = loop.start(settings, corpus, first.state)
    records = list(loop.train(second))
    same(whole.state, second.state)
    assert records[0].step == 6
    assert [r.loss for r in records] == [r.loss for r in whole_records[5:]]
    assert records[-1].moved == whole_records[-1].moved
    assert records[-1].neighbours_at_start == whole_records[-1].neighbours_at_start


def test_loss_falls_to_near_the_floor(corpus, settings):
    run = loop.start(replace(settings, steps=300, width=16, warm_up_steps=10), corpus)
    records = list(loop.train(run))
    assert records[0].loss - records[0].floor > 2
    assert np.mean([record.loss - record.floor for record in records[-20:]]) < 0.08
    # Not far below the floor either: a model that could see its targets would be.
    assert np.mean([record.loss - record.floor for record in records[-20:]]) > -0.03


def test_watching_nothing(corpus, settings):
    blind = replace(settings, watched_prompt="", watched_key="", watched_word="", steps=1)
    (record,) = loop.train(loop.start(blind, corpus))
    assert record.attention.shape == (0, 0)
    assert record.neighbours == record.neighbours_at_start == ()
    assert record.moved == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"watched_prompt": "the zebra"}, "the corpus has no"),
        ({"watched_word": "zebra"}, "the corpus has no 'zebra'"),
        ({"watched_key": "mouse"}, "no token 'mouse'"),
        ({"watched_prompt": "cat " * 40}, "40 tokens, the context is 32"),
    ],
)
def test_what_cannot_be_watched_is_refused(corpus, settings, change, message):
    with pytest.raises(UsageError, match=message):
        loop.start(replace(settings, **change), corpus)


@pytest.mark.parametrize(
    "change",
    [
        {"heads": 3}, {"steps": 0}, {"layers": 0}, {"context": 1}, {"seed": -1}, {"beta1": 1.0},
        {"peak_learning_rate": 0.0}, {"peak_learning_rate": float("nan")}, {"weight_decay": -1.0},
        {"warm_up_steps": -1}, {"gradient_limit": 0.0},
    ],
)  # fmt: skip
def test_unusable_settings_are_refused(settings, change):
    with pytest.raises(UsageError):
        replace(settings, **change)


def test_divergence_is_an_error_and_keeps_the_last_state(corpus, settings):
    run = loop.start(replace(settings, peak_learning_rate=1e30, steps=40), corpus)
    with pytest.raises(UsageError, match="diverged at step"):
        list(loop.train(run))
    assert 0 < run.state.step < 40


def test_two_steps_are_adamw_on_the_clipped_gradients_of_the_drawn_batches(corpus, settings):
    run = loop.start(replace(settings, beta1=0.7, epsilon=1e-3, gradient_limit=0.05), corpus)
    state = run.state
    for record, step in zip(loop.train(run), (1, 2), strict=False):
        batch = next_token.draw_batch(corpus, seed=0, step=step, context=32, tokens=128)
        counted = np.ones(batch.ids.shape, bool)
        computed = decoder.loss_and_gradients(
            state.parameters, batch.ids, batch.targets, counted, heads=2
        )
        gradients, length = adamw.clip(computed.gradients, 0.05)
        parameters, moments = adamw.update(
            state.parameters, gradients, state.moments, step,
            learning_rate=1e-2 * step / 3, beta1=0.7, beta2=0.95, epsilon=1e-3, weight_decay=0.1,
        )  # fmt: skip
        state = loop.State(step=step, parameters=parameters, moments=moments)
        same(state, run.state)
        assert length > 0.05
        assert (record.loss, record.gradient_length) == (computed.loss, length)
        assert record.floor == batch.floor


def test_a_watched_key_is_its_last_occurrence_and_nothing_watched_has_none(corpus, settings):
    def watched(**texts):
        return watch(corpus, replace(settings, **{f"watched_{n}": t for n, t in texts.items()}))

    found = watched(prompt="the cat sees the mouse", key="the", word="")
    assert (found.query, found.key, found.word) == (4, 3, -1)
    assert watched(prompt="the cat sees the mouse", query="the", key="cat").query == 3
    none = watched(prompt="", key="the", word="dog")
    assert (none.key, none.ids.size) == (-1, 0)
    assert none.word == corpus.tokenizer.id_of("dog")


def test_without_the_mask_the_loss_falls_below_what_any_prediction_reaches(corpus):
    """It reads the next word instead of predicting it; with the mask the floor holds."""
    found = {}
    for mask in ("causal", "none"):
        settings = loop.TrainingSettings(
            layers=1, heads=2, width=32, context=8, steps=120, batch_tokens=256, warm_up_steps=10,
            peak_learning_rate=2e-2, watched_prompt="", watched_key="", watched_word="", mask=mask,
        )  # fmt: skip
        last = list(loop.train(loop.start(settings, corpus)))[-20:]
        found[mask] = np.mean([record.loss for record in last])
        floor = np.mean([record.floor for record in last])
    assert found["none"] < 0.3 * floor
    assert 0.9 * floor < found["causal"] < 1.3 * floor


def test_only_two_masks_are_trained_with():
    with pytest.raises(UsageError, match="mask must be causal or none"):
        loop.TrainingSettings(mask="window:2")
