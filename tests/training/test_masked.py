"""The floor of a masked token by pencil, how batches are drawn, what a run writes."""

import json
from collections import Counter
from dataclasses import replace
from itertools import product
from math import log

import numpy as np
import pytest

from attn_cli import session
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.errors import ContentError, UsageError
from attn_cli.training import checkpoint, encoder, layers, loop, masked
from attn_cli.training.objectives import OBJECTIVES
from measure import logits_of

LINES = (
    """\
the cat sees the dog
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
def settings(settings):
    return replace(
        settings,
        objective="masked",
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


def test_sentences_are_grouped_by_length_and_counted():
    corpus = masked.read_corpus("a b\na\na b\nb\n\nb\na c\nb\nb c\n")
    assert sorted(corpus.groups) == [1, 2]
    ones, twos = corpus.groups[1], corpus.groups[2]
    assert [words_of(corpus, row) for row in ones.ids] == [["a"], ["b"]]
    assert ones.counts.tolist() == [1, 3]
    assert [words_of(corpus, row) for row in twos.ids] == [["a", "b"], ["a", "c"], ["b", "c"]]
    assert twos.counts.tolist() == [2, 1, 1]
    assert sorted(corpus.lengths) == [1] * 4 + [2] * 4
    assert words_of(corpus, corpus.words) == ["a", "b", "c"]


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


# --- what is hidden ------------------------------------------------------------------------------


def every_way_to_hide(sentence, words, rate):
    """Each set of chosen places with what may be read for it, and how likely that is."""
    for chosen in product((False, True), repeat=len(sentence)):
        if any(chosen):
            of_places = rate ** sum(chosen) * (1 - rate) ** (len(chosen) - sum(chosen))
            options = [[masked.MASK, *words] if here else [true] for true, here
                       in zip(sentence, chosen, strict=True)]  # fmt: skip
            for read in product(*options):
                likely = of_places
                for true, seen, here in zip(sentence, read, chosen, strict=True):
                    as_word = 0.1 / len(words) + 0.1 * (seen == true)
                    likely *= (0.8 if seen == masked.MASK else as_word) if here else 1
                yield read, chosen, likely


@pytest.mark.parametrize("rate", [0.2, 0.5, 1.0])
def test_surprise_is_what_counting_every_way_to_hide_every_sentence_gives(rate):
    corpus = masked.read_corpus("a b c\na b c\na c c\nb b a\n")
    group, words = corpus.groups[3], corpus.words.tolist()
    ways = [
        (tuple(sentence), count * likely, read, chosen)
        for sentence, count in zip(group.ids.tolist(), group.counts, strict=True)
        for read, chosen, likely in every_way_to_hide(sentence, words, rate)
    ]
    total = Counter()  # of all that is read so, and has this place among the chosen
    alike = Counter()  # of those that also have this token there
    for sentence, likely, read, chosen in ways:
        for place in np.flatnonzero(chosen):
            total[read, place] += likely
            alike[read, place, sentence[place]] += likely
    for sentence, _, read, chosen in ways[::3]:
        found = masked.surprises(
            group, np.array([sentence]), np.array([read]), np.array([chosen]), rate=rate, words=3
        )
        for place, surprise in zip(np.flatnonzero(chosen), found, strict=True):
            share = alike[read, place, sentence[place]] / total[read, place]
            assert surprise == pytest.approx(-log(share), rel=1e-9, abs=1e-12)


def test_how_many_are_chosen_and_what_is_read_instead():
    rng = np.random.default_rng(0)
    chosen = masked.choose(rng, (30_000, 4), 0.25)
    assert chosen.any(axis=1).all()
    # A place is chosen with 1/4, in the 1 − (3/4)⁴ of all rows that have one.
    assert chosen.mean() == pytest.approx(0.25 / (1 - 0.75**4), abs=0.005)
    ids, words = np.full(chosen.shape, 9), np.array([7, 8, 9, 10, 11])
    read = masked.hide(rng, ids, chosen, words)
    assert (read[~chosen] == 9).all()
    shares = {int(id): (read[chosen] == id).mean() for id in np.unique(read[chosen])}
    assert shares == pytest.approx(
        {masked.MASK: 0.8, 7: 0.02, 8: 0.02, 9: 0.12, 10: 0.02, 11: 0.02}, abs=0.005
    )


def test_with_rate_1_every_token_is_chosen():
    assert masked.choose(np.random.default_rng(0), (50, 6), 1.0).all()


# --- batches -------------------------------------------------------------------------------------


def rows_of(corpus, batch):
    """Every row's sentences, as words; the form of the rows is checked."""
    for part in batch.parts:
        targets, read = part.ids.copy(), part.ids
        targets[part.chosen] = part.targets
        assert (read[~part.chosen] == targets[~part.chosen]).all()
        for row, chosen in zip(targets, part.chosen, strict=True):
            words = words_of(corpus, row)
            assert (words[0], words[-1]) == ("[CLS]", "[SEP]")
            ends = [place for place, word in enumerate(words) if word == "[SEP]"]
            types = [sum(end < at for end in ends) for at in range(len(words))]
            assert part.types.tolist() == types
            assert not chosen[[0, *ends]].any()
            found = [words[begin + 1 : end] for begin, end in zip([0, *ends], ends, strict=False)]
            assert all(
                chosen[begin + 1 : end].any() for begin, end in zip([0, *ends], ends, strict=False)
            )
            yield found, len(part.ids)


def test_rows_are_one_or_two_whole_sentences_with_something_chosen_in_each(corpus):
    counts = Counter()
    for step in range(1, 60):
        batch = draw(corpus, step)
        assert len(batch.parts) == 4
        assert batch.tokens == sum(part.ids.size for part in batch.parts)
        assert 128 < batch.tokens <= 256
        for found, _ in rows_of(corpus, batch):
            counts[len(found)] += 1
            assert all(words in WORDS for words in found)
    assert set(counts) == {1, 2}
    assert counts[1] > counts[2] > 0


def test_the_floor_is_the_mean_of_the_surprises_of_all_parts(corpus):
    for step in range(1, 12):
        batch = draw(corpus, step)
        of_parts = []
        for part in batch.parts:
            assert part.targets.shape == part.surprise.shape == (part.chosen.sum(),)
            of_parts += part.surprise.tolist()
            first = part.types == 0
            group = corpus.groups[int(first.sum()) - 2]
            true = part.ids.copy()
            true[part.chosen] = part.targets
            own = [a[:, first][:, 1:-1] for a in (true, part.ids, part.chosen)]
            expected = masked.surprises(group, *own, rate=0.3, words=corpus.words.size)
            every = np.zeros(part.chosen.shape)
            every[part.chosen] = part.surprise
            np.testing.assert_allclose(every[:, first][:, 1:-1][own[2]], expected)
        assert batch.floor == pytest.approx(np.mean(of_parts))


def test_sentences_are_drawn_as_often_as_they_stand_in_the_corpus(corpus):
    drawn = Counter()
    for step in range(1, 300):
        for found, rows in rows_of(corpus, draw(corpus, step, tokens=128)):
            for words in found:
                drawn[" ".join(words)] += 1 / rows
    total = sum(drawn.values())
    for line, count in Counter(LINES.splitlines()).items():
        assert drawn[line] / total == pytest.approx(count / len(WORDS), abs=0.03)


def test_a_batch_depends_on_seed_and_step_only(corpus):
    def ids(seed, step):
        return b"".join(part.ids.tobytes() for part in draw(corpus, step, seed=seed).parts)

    assert ids(5, 7) == ids(5, 7)
    assert len({ids(seed, step) for seed in (0, 1) for step in (1, 2, 3)}) == 6


def test_a_row_is_not_longer_than_the_context(corpus, settings):
    for step in range(1, 20):
        parts = draw(corpus, step, context=8).parts
        assert all(part.ids.shape[1] <= 8 and not part.types.any() for part in parts)
    with pytest.raises(UsageError, match="a sentence takes 7 tokens, the context is 6"):
        loop.check_memory(replace(settings, context=6), corpus)


# --- runs ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_loss_falls_to_near_the_floor(corpus, settings):
    own = replace(settings, steps=300, width=16, warm_up_steps=10, context=8, batch_tokens=512)
    records = list(loop.train(loop.start(own, corpus)))
    assert records[0].loss - records[0].floor > 2
    # Not far below the floor either: a model that knew what is hidden would be.
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


def test_the_package_reads_the_folder_and_computes_the_same(tmp_path, corpus, settings):
    run = loop.start(replace(settings, peak_learning_rate=0.1), corpus)
    list(loop.train(run))
    checkpoint.save(tmp_path, run)
    opened = session.load(str(tmp_path))
    tokens, types = corpus.tokenizer.pair("the cat [MASK] the dog", "a mouse [MASK]")
    ids = np.array([[token.id for token in tokens]])
    every = np.ones(ids.shape, bool)
    found = encoder.forward(run.state.parameters, ids, np.array(types), every, heads=2)
    parameters = run.state.parameters
    expected = found.normed @ parameters["wte.weight"].T + parameters["output.bias"]
    logits = logits_of(opened, tuple(ids[0].tolist()), types=types)
    assert np.abs(expected).max() > 5
    np.testing.assert_allclose(logits, expected, atol=2e-5)


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
    part = draw(corpus, 1).parts[0]

    def normed(p):
        return encoder.forward(p, part.ids, part.types, part.chosen, heads=4).normed

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
    assert (found.mask, found.steps, found.masking_rate) == ("causal", 3, 0.15)
    watched = (found.watched_prompt, found.watched_query, found.watched_key, found.watched_word)
    assert watched == ("", "", "", "")
    china = masked.read_corpus("the greatest thinker in China is Confucius\n")
    found = loop.settings_for(china, {"objective": "masked"})
    assert found.watched_prompt == "the greatest thinker in China is [MASK]"
    assert OBJECTIVES["masked"].watch(china, found).query == 3
