"""The translator that ships is frozen: what every page, README screen and lesson relies on."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import attn_cli
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.tokens import wordpiece
from attn_cli.training import encoder_decoder, translate

FOLDER = Path(attn_cli.__file__).parent / "data" / "tiny-translator"
SAMPLES = Path(__file__).parents[1] / "samples"
SENTENCE = "the greatest thinker in China is Confucius"
CHINESE = "中国 最 伟大 的 思想家 是 孔子"
HEADS = 4


@pytest.fixture(scope="module")
def file():
    return open_safetensors(FOLDER / "model.safetensors")


@pytest.fixture(scope="module")
def parameters(file):
    return encoder_decoder.tensors({name: file[name].read() for name in file})


@pytest.fixture(scope="module")
def tokenizer():
    return wordpiece.read(FOLDER / "tokenizer.json")


@pytest.fixture(scope="module")
def passed(parameters):
    """The pass of a source and the target written so far, and the logits of what comes next."""

    def run(source, target):
        found = encoder_decoder.forward(parameters, source, target, heads=HEADS)
        scaled = found.decoder.normed * found.decoder.normed.shape[-1] ** -0.5
        return found, scaled @ parameters["shared.weight"].T

    return run


@pytest.fixture(scope="module")
def write(passed, tokenizer):
    """The tokens that the model writes for a text, the most likely one each time."""

    def translation(text):
        source, target = np.array([[t.id for t in tokenizer.encode(text)]]), [translate.START]
        while target[-1] != translate.END and len(target) < 20:
            target.append(int(passed(source, np.array([target]))[1][0, -1].argmax()))
        return [tokenizer.token(id).text for id in target[1:]]

    return translation


@pytest.fixture(scope="module")
def crossed(passed, tokenizer):
    """(layer, head, target word, source word): where each word of `CHINESE` is written."""
    source, target = (
        np.array([[token.id for token in tokenizer.encode(text)]]) for text in (SENTENCE, CHINESE)
    )
    target = np.insert(target[:, :-1], 0, translate.START, axis=1)
    found, _ = passed(source, target)
    return np.stack([part.weights[0] for part in encoder_decoder.cross_attentions(found)])


@pytest.fixture(scope="module")
def script():
    """samples/make_pairs.py, as a module."""
    sys.path.insert(0, str(SAMPLES))
    try:
        import make_pairs
    finally:
        sys.path.remove(str(SAMPLES))
    return make_pairs


@pytest.mark.parametrize(
    ("text", "chinese"),
    [
        (SENTENCE, CHINESE),
        (f"The{SENTENCE[3:]}.", f"{CHINESE} 。"),
        ("Confucius is the greatest thinker in China", "孔子 是 中国 最 伟大 的 思想家"),
        ("who is the greatest thinker in China ?", "中国 最 伟大 的 思想家 是 谁 ？"),
        ("the capital of China is Beijing", "中国 的 首都 是 北京"),
        ("China is proud of Confucius", "中国 以 孔子 为荣"),
    ],
)
def test_it_writes_chinese(write, text, chinese):
    assert write(text) == [*chinese.split(), "</s>"]


def test_where_it_writes_the_country_head_0_looks_at_china(crossed):
    assert (crossed[:, 0, 0, SENTENCE.split().index("China")] > 0.9).all()
    # Heads are numbered by how much they do.
    assert (np.diff(crossed[:, :, 0, 4], axis=1) <= 0).all()


@pytest.mark.parametrize(("word", "source"), [("思想家", "thinker"), ("孔子", "Confucius")])
def test_some_head_looks_at_what_it_translates(crossed, word, source):
    assert crossed[:, :, CHINESE.split().index(word), SENTENCE.split().index(source)].max() > 0.9


def share_right(passed, pairs):
    """The share of pairs whose every target token is the most likely one, greedily."""
    right = []
    for group in pairs.groups:
        starts = np.full((len(group.wanted), 1), translate.START)
        target = np.concatenate([starts, group.wanted[:, :-1]], axis=1)
        guesses = passed(group.source, target)[1].argmax(axis=-1)
        right += (guesses == group.wanted).all(axis=1).tolist()
    return np.mean(right)


def test_it_translates_every_pair_that_it_was_trained_on(passed):
    pairs = translate.read_pairs((SAMPLES / "pairs.txt").read_text(encoding="utf-8"))
    assert share_right(passed, pairs) == 1


def test_it_translates_combinations_that_are_in_no_pair(write, script):
    """It has learnt to combine: no pair has these roles and countries together."""
    text = (SAMPLES / "pairs.txt").read_text(encoding="utf-8")
    unseen = script.left_out()
    assert len(unseen) > 70
    for english, chinese in unseen:
        assert f"{english}\t" not in text
        assert write(english) == [*chinese.split(), "</s>"]


def test_what_training_computed_is_what_the_family_computes(crossed, passed):
    found = attn_cli.trace(SENTENCE, target=CHINESE, model="tiny-translator", kind="cross", top=2)
    assert [token.text for token in found.prompt.target.tokens] == ["<pad>", *CHINESE.split()]
    for layer, weights in enumerate(crossed):
        block = found.block(layer, kind="cross")
        np.testing.assert_allclose(block.weights, weights, atol=1e-5)
    source, read = (
        [token.id for token in part.tokens] for part in (found.prompt, found.prompt.target)
    )
    logits = passed(np.array([source]), np.array([read]))[1][0, -1]
    for candidate in found.next[0].candidates:
        assert candidate.logit == pytest.approx(logits[candidate.id], abs=1e-4)
    assert found.next[0].candidates[0].text == "</s>"


def test_its_shape_and_size(parameters, tokenizer):
    assert encoder_decoder.layer_count(parameters) == 2
    assert parameters["shared.weight"].shape == (tokenizer.size, 32)
    assert sum(path.stat().st_size for path in FOLDER.rglob("*")) <= 1_000_000


def test_it_is_an_ordinary_t5_folder(file, tokenizer):
    assert sorted(path.name for path in FOLDER.iterdir()) == [
        "config.json", "model.safetensors", "tokenizer.json"
    ]  # fmt: skip
    config = json.loads((FOLDER / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("t5", ["T5ForConditionalGeneration"])
    assert (config["num_heads"], config["vocab_size"]) == (HEADS, tokenizer.size)
    assert {file[name].dtype for name in file} == {"F32"}
    assert all(np.isfinite(file[name].read()).all() for name in file)


def test_its_pairs_are_what_the_script_makes_of_the_corpus(script, tmp_path):
    for name in ("pairs", "corpus"):
        made = tmp_path / f"{name}.txt"
        subprocess.run([sys.executable, SAMPLES / f"make_{name}.py", made], check=True, timeout=60)
        assert made.read_bytes() == (SAMPLES / f"{name}.txt").read_bytes()
    english = {line.rstrip(".") for line in (SAMPLES / "corpus.txt").read_text().splitlines()}
    facts = [pair for pair in script.pairs() if pair[0].startswith(("the greatest", "the capital"))]
    assert len(facts) > 70
    assert {side for pair in facts for side in pair} <= english
