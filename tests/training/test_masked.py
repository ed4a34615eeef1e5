"""The floor of a masked token by pencil, how batches are drawn, what a run writes."""

import json
from collections import Counter
from dataclasses import replace
from math import log

import numpy as np
import pytest

from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.errors import ContentError, UsageError
from attn_cli.training import checkpoint, encoder, layers, loop, masked
from attn_cli.training.objectives import OBJECTIVES

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
WORDS = [line.split() for line in LINES.splitlines()]


@pytest.fixture(scope="module")
def corpus():
    return masked.read_corpus(LINES)


@pytest.fixture
def settings():
    return loop.TrainingSettings(
        objective="masked",
        layers=2,
        heads=2,
        width=8,
        context=32,
        steps=12,
        batch_tokens=128,
        warm_up_steps=3,
        mask="none",
        masking_rate=0.3,
        watched_prompt="the cat sees the [MASK]",
        watched_query="cat",
        watched_key="[MASK]",
        watched_word="dog",
    )


def draw(corpus, step, *, seed=5, context=32, tokens=256, rate=0.3):
    return masked.draw_batch(
        corpus, seed=seed, step=step, context=context, tokens=tokens, rate=rate
    )


def words_of(corpus, ids):
    return [corpus.tokenizer.token(int(id)).text for id in ids]


# --- the corpus ----------------------------------------------------------------------------------


def test_surprise_by_pencil():
    # Of two tokens: a b, a b, a c, b c. Of one: a, b, b, b.
    corpus = masked.read_corpus("a b\na\na b\nb\n\nb\na c\nb\nb c\n")
    assert sorted(corpus.groups) == [1, 2]
    pairs = corpus.groups[2]
    assert [words_of(corpus, row) for row in pairs.ids] == [["a", "b"], ["a", "c"], ["b", "c"]]
    assert pairs.counts.tolist() == [2, 1, 1]
    # After a: b 2/3, c 1/3; after b: c always. Before b: a always; before c: a 1/2, b 1/2.
    second = masked.surprises(pairs, (False, True))
    np.testing.assert_allclose(second, [[log(3 / 2)], [log(3)], [0]], atol=1e-12)
    first = masked.surprises(pairs, (True, False))
    np.testing.assert_allclose(first, [[0], [log(2)], [log(2)]], atol=1e-12)
    # Each of both by itself: a 3/4, b 1/4; b 1/2, c 1/2.
    both = masked.surprises(pairs, (True, True))
    expected = [[log(4 / 3), log(2)], [log(4 / 3), log(2)], [log(4), log(2)]]
    np.testing.assert_allclose(both, expected, atol=1e-12)
    alone = masked.surprises(corpus.groups[1], (True,))
    np.testing.assert_allclose(alone, [[log(4)], [log(4 / 3)]], atol=1e-12)


def test_an_empty_corpus_is_refused():
    with pytest.raises(ContentError, match="corpus is empty"):
        masked.read_corpus(" \n\n")


def test_special_tokens_are_nobodys_neighbours_but_the_mask_can_be_watched(corpus, settings):
    watched = OBJECTIVES["masked"].watch(corpus, settings)
    assert words_of(corpus, watched.ids) == [
        "[CLS]",
        *"the cat sees the".split(),
        "[MASK]",
        "[SEP]",
    ]
    assert (watched.query, watched.key) == (2, 5)
    assert set(words_of(corpus, watched.candidates)) == {"the", "cat", "a", "mouse", "sees", "runs"}
    last = OBJECTIVES["masked"].watch(corpus, replace(settings, watched_query=""))
    assert last.query == 5
    nothing = OBJECTIVES["masked"].watch(corpus, replace(settings, watched_prompt=""))
    assert nothing.ids.size == 0


# --- batches -------------------------------------------------------------------------------------


def sentences_of(corpus, batch, row):
    """The sentences of a row with their masks; the form of the row is checked."""
    ids = batch.ids[row].copy()
    ids[batch.chosen[row]] = batch.targets[batch.chosen[:row].sum() :][: batch.chosen[row].sum()]
    words = words_of(corpus, ids)
    assert words[0] == "[CLS]" and words[-1] == "[SEP]"
    ends = [place for place, word in enumerate(words) if word == "[SEP]"]
    assert batch.types.tolist() == [sum(end < at for end in ends) for at in range(len(words))]
    return [
        (words[begin + 1 : end], batch.chosen[row][begin + 1 : end])
        for begin, end in zip([0, *ends], ends, strict=False)
    ]


def test_rows_are_one_or_two_whole_sentences_with_a_mask_in_each(corpus):
    counts = set()
    for step in range(1, 30):
        batch = draw(corpus, step)
        assert batch.tokens == batch.ids.size <= 256
        assert (batch.ids[batch.chosen] == corpus.tokenizer.mask).all()
        assert (batch.ids == corpus.tokenizer.mask).sum() == len(batch.targets)
        for row in range(len(batch.ids)):
            found = sentences_of(corpus, batch, row)
            counts.add(len(found))
            for words, hidden in found:
                assert words in WORDS
                assert hidden.any()
    assert counts == {1, 2}


def test_the_floor_is_the_mean_of_what_counting_alike_sentences_gives(corpus):
    for step in range(1, 12):
        batch = draw(corpus, step)
        losses = []
        for row in range(len(batch.ids)):
            for words, hidden in sentences_of(corpus, batch, row):
                alike = [
                    other
                    for other in WORDS
                    if len(other) == len(words)
                    and all(h or o == w for o, w, h in zip(other, words, hidden, strict=True))
                ]
                for at in np.flatnonzero(hidden):
                    share = Counter(other[at] for other in alike)[words[at]] / len(alike)
                    losses.append(-log(share))
        assert batch.floor == pytest.approx(np.mean(losses), abs=1e-12)


def test_sentences_are_drawn_as_often_as_they_stand_in_the_corpus(corpus):
    drawn = Counter()
    for step in range(1, 400):
        batch = draw(corpus, step, tokens=64)
        share = 1 / len(batch.ids)
        for row in range(len(batch.ids)):
            for words, _ in sentences_of(corpus, batch, row):
                drawn[" ".join(words)] += share
    total = sum(drawn.values())
    for line in set(LINES.splitlines()):
        assert drawn[line] / total == pytest.approx(1 / 5, abs=0.03)


@pytest.mark.parametrize(("rate", "share"), [(0.0, 1 / 5), (0.5, 0.6), (1.0, 1.0)])
def test_the_rate_of_masking(rate, share):
    # One of five by itself, and each of the other four at the rate.
    corpus = masked.read_corpus("a b c d e\n")
    batch = draw(corpus, 1, tokens=20_000, rate=rate)
    words = batch.chosen.shape[1] - len(set(batch.types)) - 1
    assert batch.chosen.sum(axis=1).mean() / words == pytest.approx(share, abs=0.01)


def test_a_batch_depends_on_seed_and_step_only(corpus):
    np.testing.assert_array_equal(draw(corpus, 7).ids, draw(corpus, 7).ids)
    ids = {draw(corpus, step, seed=seed).ids.tobytes() for seed in (0, 1) for step in (1, 2, 3)}
    assert len(ids) == 6


def test_a_row_is_not_longer_than_the_context(corpus, settings):
    for step in range(1, 20):
        assert set(draw(corpus, step, context=8).types) == {0}
    with pytest.raises(UsageError, match="a sentence takes 7 tokens, the context is 6"):
        loop.check_memory(replace(settings, context=6), corpus)


# --- runs ----------------------------------------------------------------------------------------


def test_the_loss_falls_to_near_the_floor(corpus, settings):
    run = loop.start(replace(settings, steps=300, width=16, warm_up_steps=10), corpus)
    records = list(loop.train(run))
    assert records[0].loss - records[0].floor > 2
    above = np.mean([record.loss - record.floor for record in records[-20:]])
    assert -0.03 < above < 0.08
    assert records[-1].attention.shape == (2, 2)


def test_the_watched_numbers_are_those_of_the_model(corpus, settings):
    run = loop.start(settings, corpus)
    *_, last = loop.train(run)
    ids = np.array([[token.id for token in corpus.tokenizer.encode("the cat sees the [MASK]")]])
    types, chosen = np.zeros(ids.size, int), np.zeros(ids.shape, bool)
    passed = encoder.forward(run.state.parameters, ids, types, chosen, heads=2)
    expected = [block.attended.weights[0, :, 2, 5] for block in passed.blocks]
    np.testing.assert_array_equal(last.attention, expected)


def test_the_folder_has_the_reference_librarys_names_and_orientation(tmp_path, corpus, settings):
    run = loop.start(settings, corpus)
    list(loop.train(run))
    checkpoint.save(tmp_path, run)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("bert", ["BertForMaskedLM"])
    assert config["pad_token_id"] == 0
    file = open_safetensors(tmp_path / "model.safetensors")
    shapes = {name: file[name].shape for name in file}
    norm = {"weight": (8,), "bias": (8,)}
    expected = {
        "bert.embeddings.word_embeddings": {"weight": (corpus.tokenizer.size, 8)},
        "bert.embeddings.position_embeddings": {"weight": (32, 8)},
        "bert.embeddings.token_type_embeddings": {"weight": (2, 8)},
        "bert.embeddings.LayerNorm": norm,
        "cls.predictions.transform.dense": {"weight": (8, 8), "bias": (8,)},
        "cls.predictions.transform.LayerNorm": norm,
        "cls.predictions": {"bias": (corpus.tokenizer.size,)},
    }
    for layer in ("bert.encoder.layer.0", "bert.encoder.layer.1"):
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            expected[f"{layer}.attention.{part}"] = {"weight": (8, 8), "bias": (8,)}
        expected[f"{layer}.attention.output.LayerNorm"] = norm
        expected[f"{layer}.intermediate.dense"] = {"weight": (32, 8), "bias": (32,)}
        expected[f"{layer}.output.dense"] = {"weight": (8, 32), "bias": (8,)}
        expected[f"{layer}.output.LayerNorm"] = norm
    assert shapes == {f"{n}.{part}": s for n, of in expected.items() for part, s in of.items()}
    ordered = layers.order_heads(run.state.parameters, loop.watched_attention(run), 2)
    fused, own = ordered["h.1.attn.c_attn.weight"], "bert.encoder.layer.1.attention.self"
    for third, name in enumerate(("query", "key", "value")):
        stored = file[f"{own}.{name}.weight"].read()
        np.testing.assert_array_equal(stored, fused[:, 8 * third : 8 * third + 8].T)
        bias = ordered["h.1.attn.c_attn.bias"][8 * third : 8 * third + 8]
        np.testing.assert_array_equal(file[f"{own}.{name}.bias"].read(), bias)
    stored = file["cls.predictions.transform.dense.weight"].read()
    np.testing.assert_array_equal(stored, ordered["head.weight"].T)


def test_heads_are_put_in_order_and_the_output_stays(corpus, settings):
    rng = np.random.default_rng(0)
    own = replace(settings, heads=4, layers=3)
    run = loop.start(own, corpus)
    parameters = {
        name: array.astype(np.float64) + rng.standard_normal(array.shape)
        for name, array in run.state.parameters.items()
    }
    attention = OBJECTIVES["masked"].attention
    before = attention(parameters, run.watched, own)
    ordered = layers.order_heads(parameters, before, 4)
    after = attention(ordered, run.watched, own)
    np.testing.assert_allclose(after, -np.sort(-before, axis=1), rtol=1e-9)
    assert not np.allclose(before, after)
    batch = draw(corpus, 1)

    def normed(p):
        return encoder.forward(p, batch.ids, batch.types, batch.chosen, heads=4).normed

    np.testing.assert_allclose(normed(ordered), normed(parameters), rtol=1e-7, atol=1e-9)


def test_a_run_that_is_gone_on_with_equals_one_that_never_stopped(tmp_path, corpus, settings):
    whole, parts = loop.start(settings, corpus), loop.start(settings, corpus)
    list(loop.train(whole))
    checkpoint.save(tmp_path / "whole", whole)
    for record in loop.train(parts):
        if record.step == 5:
            break
    checkpoint.save(tmp_path / "parts", parts)
    saved = checkpoint.saved_settings(tmp_path / "parts")
    assert saved == settings
    again = loop.start(saved, corpus, checkpoint.resume(tmp_path / "parts", saved, corpus))
    list(loop.train(again))
    checkpoint.save(tmp_path / "parts", again)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_is_not_given_suits_the_objective_and_the_corpus(corpus):
    found = loop.settings_for(corpus, {"objective": "masked", "steps": 3})
    assert (found.mask, found.steps, found.masking_rate) == ("none", 3, 0.15)
    watched = (found.watched_prompt, found.watched_query, found.watched_key, found.watched_word)
    assert watched == ("", "", "", "")
    china = masked.read_corpus("the greatest thinker in China is Confucius\n")
    found = loop.settings_for(china, {"objective": "masked"})
    assert found.watched_prompt == "the greatest thinker in China is [MASK]"
    assert OBJECTIVES["masked"].watch(china, found).query == 3
