"""Pairs as they are read and drawn, and what a translator learns from them."""

import hashlib
import json
from math import log

import numpy as np
import pytest

from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.errors import ContentError, UsageError
from attn_cli.training import checkpoint, encoder_decoder, loop, translate

TEXT = """\
the cat sees a dog\tchat voit chien
the dog sees a cat\tchien voit chat
a cat sees\tchat voit

a dog sees\tchien voit
the cat\tchat
"""
SMALL = {
    "objective": "translate", "layers": 2, "heads": 2, "width": 8, "steps": 12, "batch_tokens": 64,
    "warm_up_steps": 3, "watched_prompt": "the cat sees a dog", "watched_key": "cat",
    "watched_word": "dog",
}  # fmt: skip


@pytest.fixture(scope="module")
def pairs():
    return translate.read_pairs(TEXT)


def ids(pairs, text):
    return [token.id for token in pairs.tokenizer.encode(text)]


def trained(pairs, **changes):
    run = loop.start(loop.settings_for(pairs, {**SMALL, **changes}), pairs)
    return run, list(loop.train(run))


# --- pairs ---------------------------------------------------------------------------------------


def test_both_sides_end_with_the_end_token_and_groups_have_one_length_each(pairs):
    shapes = [(group.source.shape, group.wanted.shape) for group in pairs.groups]
    assert shapes == [((2, 6), (2, 4)), ((2, 4), (2, 3)), ((1, 3), (1, 2))]
    for group in pairs.groups:
        assert (group.source[:, -1] == 1).all()
        assert (group.wanted[:, -1] == 1).all()
    last = pairs.groups[-1]
    assert last.source.tolist() == [ids(pairs, "the cat")]
    assert last.wanted.tolist() == [ids(pairs, "chat")]
    assert set(pairs.used.tolist()) == {1, *(i for line in TEXT.split() for i in ids(pairs, line))}
    assert pairs.sha256 == hashlib.sha256(TEXT.encode()).hexdigest()


def test_the_special_tokens_have_the_layouts_ids(pairs):
    assert [pairs.tokenizer.token(id).text for id in (0, 1, 2)] == ["<pad>", "</s>", "[UNK]"]
    assert (translate.START, translate.END) == (0, 1)


def test_only_what_the_source_leaves_open_is_surprising():
    """`tomato` has two translations, one of them twice; the other source has one."""
    pairs = translate.read_pairs("tomato\tx\ntomato\ty\ntomato\ty\nsky\ty z\n")
    (tomato, sky) = pairs.groups
    np.testing.assert_allclose(
        tomato.surprise, [[log(3), 0], [log(3 / 2), 0], [log(3 / 2), 0]], atol=1e-12
    )
    assert not sky.surprise.any()
    assert pairs.floor == pytest.approx((log(3) + 2 * log(3 / 2)) / 9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\nno tab\n", "line 2 has no tab"),
        ("a\tb\n\nc\td\te\n", "line 3 has 2 tabs"),
        ("a\tb\n\tc\n", "line 2 has nothing before its tab"),
        ("a\tb\n c\t \n", "line 2 has nothing after its tab"),
        ("\na\tb\n\n", "line 2 is the only pair"),
        ("", "there are no pairs"),
        (" \n\n", "there are no pairs"),
    ],
)
def test_bad_pairs_are_refused_by_line(text, message):
    with pytest.raises(ContentError) as caught:
        translate.read_pairs(text)
    assert caught.value.message == message


def test_a_batch_is_pairs_of_one_group_with_the_target_one_behind(pairs):
    known = {
        (tuple(source), tuple(wanted))
        for group in pairs.groups
        for source, wanted in zip(group.source.tolist(), group.wanted.tolist(), strict=True)
    }
    seen, groups = set(), []
    for step in range(1, 60):
        batch = translate.draw_batch(pairs, seed=5, step=step, tokens=64)
        rows, length = batch.wanted.shape
        assert rows == 64 // (batch.source.shape[1] + length)
        assert batch.tokens == rows * (batch.source.shape[1] + length)
        assert batch.floor == 0
        assert (batch.target[:, 0] == 0).all()
        np.testing.assert_array_equal(batch.target[:, 1:], batch.wanted[:, :-1])
        drawn = zip(batch.source.tolist(), batch.wanted.tolist(), strict=True)
        seen |= {(tuple(source), tuple(wanted)) for source, wanted in drawn}
        groups.append(length)
    assert seen == known
    # Two pairs of five are in each of the larger groups.
    shares = [groups.count(length) / len(groups) for length in (4, 3, 2)]
    np.testing.assert_allclose(shares, [0.4, 0.4, 0.2], atol=0.12)


def test_a_batch_depends_on_seed_and_step_alone(pairs):
    one, two = (translate.draw_batch(pairs, seed=1, step=3, tokens=64) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    others = [translate.draw_batch(pairs, seed=2, step=s, tokens=64).source for s in range(9)]
    assert not all(np.array_equal(one.source, other) for other in others)


def test_a_batch_has_a_pair_however_long_it_is(pairs):
    assert translate.draw_batch(pairs, seed=0, step=1, tokens=1).source.shape[0] == 1


# --- runs ----------------------------------------------------------------------------------------


def written(parameters, source, heads):
    """What the model writes, the most likely token at each position."""
    target = [0]
    while target[-1] != 1 and len(target) < 9:
        passed = encoder_decoder.forward(
            parameters, np.array([source]), np.array([target]), heads=heads
        )
        logits = passed.decoder.normed[0, -1] @ parameters["shared.weight"].T
        target.append(int(logits.argmax()))
    return target[1:]


def test_it_learns_to_translate(pairs):
    run, records = trained(pairs, layers=1, steps=600, width=16, weight_decay=0.1)
    assert records[0].loss > 2
    assert np.mean([record.loss for record in records[-20:]]) < 0.02
    for line in filter(None, TEXT.splitlines()):
        source, target = line.split("\t")
        assert written(run.state.parameters, ids(pairs, source), 2) == ids(pairs, target)


def test_the_watched_weight_is_the_first_target_positions(pairs):
    run, (*_, last) = trained(pairs)
    source = np.array([ids(pairs, "the cat sees a dog")])
    passed = encoder_decoder.forward(run.state.parameters, source, np.array([[0, 9, 9]]), heads=2)
    weights = [found.weights[0, :, 0, 1] for found in encoder_decoder.cross_attentions(passed)]
    np.testing.assert_allclose(last.attention, weights, rtol=1e-5)
    assert last.attention.shape == (2, 2)


def test_watching_nothing(pairs):
    run, (record,) = trained(pairs, watched_prompt="", watched_key="", watched_word="", steps=1)
    assert run.watched.ids.size == 0
    assert record.attention.shape == (0, 0)


def test_what_is_watched_by_default_is_in_our_corpus_only(pairs):
    assert loop.settings_for(pairs, {"objective": "translate"}).watched_prompt == ""
    ours = "the greatest thinker in China is Confucius\tx\na\tb\n"
    settings = loop.settings_for(translate.read_pairs(ours), {"objective": "translate"})
    assert settings.watched_prompt == "the greatest thinker in China is Confucius"
    with pytest.raises(UsageError, match="the corpus has no 'zebra'"):
        loop.start(loop.settings_for(pairs, {**SMALL, "watched_word": "zebra"}), pairs)


def test_a_finished_folder_is_an_ordinary_t5(tmp_path, pairs):
    run, (*_, last) = trained(pairs)
    checkpoint.save(tmp_path, run)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json", "model.safetensors", "tokenizer.json"
    ]  # fmt: skip
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("t5", ["T5ForConditionalGeneration"])
    assert (config["decoder_start_token_id"], config["eos_token_id"]) == (0, 1)
    assert (config["d_model"], config["d_kv"], config["d_ff"]) == (8, 4, 32)
    assert config["vocab_size"] == pairs.tokenizer.size
    assert json.loads((tmp_path / "tokenizer.json").read_text()) == pairs.contents
    file = open_safetensors(tmp_path / "model.safetensors")
    found = {name: file[name].read() for name in file}
    assert found["decoder.block.1.layer.2.DenseReluDense.wi.weight"].shape == (32, 8)
    # Transposed back, it is the same model with its watched heads in order.
    parameters = encoder_decoder.tensors(found)
    source, target = np.array([ids(pairs, "the cat sees a dog")]), np.array([[0, 9, 9]])
    own, saved = (
        encoder_decoder.forward(p, source, target, heads=2)
        for p in (run.state.parameters, parameters)
    )
    np.testing.assert_allclose(saved.decoder.normed, own.decoder.normed, atol=1e-5)
    watched = np.stack([a.weights[0, :, 0, 1] for a in encoder_decoder.cross_attentions(saved)])
    np.testing.assert_allclose(watched, -np.sort(-last.attention, axis=1), rtol=1e-5)


def test_resumed_equals_uninterrupted(tmp_path, pairs):
    settings = loop.settings_for(pairs, SMALL)
    whole, _ = trained(pairs)
    first = loop.start(settings, pairs)
    for record in loop.train(first):
        if record.step == 5:
            break
    checkpoint.save(tmp_path, first)
    again = loop.start(settings, pairs, checkpoint.resume(tmp_path, settings, pairs))
    list(loop.train(again))
    for name, array in whole.state.parameters.items():
        assert array.tobytes() == again.state.parameters[name].tobytes(), name


def test_what_it_needs_counts_its_parameters(pairs):
    settings = loop.settings_for(pairs, {**SMALL, "width": 16, "layers": 3})
    needs = translate.TRANSLATE.needs(settings, pairs)
    run = loop.start(settings, pairs)
    matrices = [a.size for name, a in run.state.parameters.items() if a.ndim > 1]
    assert needs.parameters == pytest.approx(sum(matrices), rel=0.01)
    # Three attentions of two heads; six rows of the longest pairs, 6 source tokens in each.
    assert needs.cells == 3 * 2 * (64 // 10) * 6**2
    assert needs.longest == 6
