"""The encoder that ships is frozen: what every page, README screen and lesson relies on."""

import json
from pathlib import Path

import numpy as np
import pytest

import attn_cli
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.tokens import wordpiece
from attn_cli.training import encoder, layers

FOLDER = Path(attn_cli.__file__).parent / "data" / "tiny-encoder"
PROMPT = "the greatest thinker in China is [MASK]"
GREATEST, THINKER, CHINA, FILLED = 2, 3, 5, 7  # behind [CLS]
HEADS = 4


@pytest.fixture(scope="module")
def file():
    return open_safetensors(FOLDER / "model.safetensors")


@pytest.fixture(scope="module")
def tokenizer():
    return wordpiece.read(FOLDER / "tokenizer.json")


@pytest.fixture(scope="module")
def parameters(file):
    """Those that training would write as this file, found by writing each as its own number."""
    shape = layers.Shape(vocabulary=998, context=256, width=32, heads=HEADS, layers=2)
    like, at = {}, 0
    for name, array in encoder.initial(shape, np.random.default_rng(0)).items():
        like[name] = np.arange(at, at + array.size).reshape(array.shape)
        at += array.size
    places = encoder.tensors(like)
    assert places.keys() == set(file)
    numbers = np.empty(at, np.float32)
    for name, place in places.items():
        numbers[place] = file[name].read()
    return {name: numbers[place] for name, place in like.items()}


@pytest.fixture(scope="module")
def passed(parameters, tokenizer):
    """The pass of a text, and the probabilities at its masks, computed by what trains it."""

    def run(text):
        ids = np.array([[token.id for token in tokenizer.encode(text)]])
        types = np.zeros(ids.size, int)
        found = encoder.forward(parameters, ids, types, ids == tokenizer.mask, heads=HEADS)
        logits = found.normed @ parameters["wte.weight"].T + parameters["output.bias"]
        exponential = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return found, exponential / exponential.sum(axis=-1, keepdims=True)

    return run


@pytest.fixture(scope="module")
def best(passed, tokenizer):
    """The likeliest tokens at a text's only mask."""

    def fill(text, top=1):
        (row,) = passed(text)[1]
        return [tokenizer.token(int(id)).text for id in np.argsort(-row)[:top]]

    return fill


def test_confucius_then_mencius_then_laozi(best, passed, tokenizer):
    assert best(PROMPT, 3) == ["Confucius", "Mencius", "Laozi"]
    (row,) = passed(PROMPT)[1]
    assert 0.45 <= row[tokenizer.id_of("Confucius")] <= 0.65


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("the greatest thinker in [MASK] is Confucius", "China"),
        ("the greatest [MASK] in China is Confucius", "thinker"),
        ("The greatest thinker in China is [MASK].", "Confucius"),
        ("the greatest thinker in Greece is [MASK]", "Plato"),
        ("the capital of [MASK] is Paris", "France"),
        ("中国最伟大的思想家是[MASK]", "孔子"),
    ],
)
def test_a_mask_anywhere_is_filled_from_both_sides(best, text, token):
    assert best(text) == [token]


def test_other_countries_have_other_thinkers(best):
    answers = [
        best(f"the greatest thinker in {country} is [MASK]")[0]
        for country in ("China", "Greece", "Germany", "India")
    ]
    assert len(set(answers)) == 4


def test_head_0_looks_forward_at_china_as_no_decoder_can(passed):
    weights = [block.attended.weights[0] for block in passed(PROMPT)[0].blocks]
    for layer in weights:
        assert layer[:, THINKER, CHINA].argmax() == 0  # the order in which heads are saved
        assert layer[0, THINKER, CHINA] > 0.4
        assert layer[0, GREATEST, CHINA] > 0.7
    assert weights[1][0, [GREATEST, THINKER], CHINA].min() > 0.9
    said = passed(PROMPT.replace("[MASK]", "Confucius"))[0]  # without a mask it does as well
    assert said.blocks[1].attended.weights[0, 0, [GREATEST, THINKER], CHINA].min() > 0.9


def test_training_and_the_family_compute_the_same(passed, tokenizer):
    found, (row,) = passed(PROMPT)
    trace = attn_cli.trace(
        PROMPT, model="tiny-encoder", layer="all", head="all", top=tokenizer.size
    )
    assert [block.layer for block in trace.attention] == [0, 1]
    for traced, block in zip(trace.attention, found.blocks, strict=True):
        np.testing.assert_allclose(traced.weights, block.attended.weights[0], atol=2e-6)
    (filled,) = trace.next
    assert filled.position == FILLED
    probabilities = np.empty(tokenizer.size)
    for candidate in filled.candidates:
        probabilities[candidate.id] = candidate.probability
    np.testing.assert_allclose(probabilities, row, rtol=1e-4, atol=1e-7)


def test_a_second_segment_leaves_the_answer(tokenizer):
    trace = attn_cli.trace(PROMPT, model="tiny-encoder", pair="the king rules the land", arrays=())
    assert trace.next[0].candidates[0].text == "Confucius"


def test_its_shape_and_size(parameters, tokenizer):
    assert layers.layer_count(parameters) == 2
    assert parameters["wte.weight"].shape == (tokenizer.size, 32)
    assert sum(path.stat().st_size for path in FOLDER.rglob("*")) <= 1_000_000


def test_it_is_an_ordinary_bert_folder(file, tokenizer):
    assert sorted(path.name for path in FOLDER.iterdir()) == [
        "config.json", "model.safetensors", "tokenizer.json"
    ]  # fmt: skip
    config = json.loads((FOLDER / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("bert", ["BertForMaskedLM"])
    assert (config["num_attention_heads"], config["vocab_size"]) == (HEADS, tokenizer.size)
    assert {file[name].dtype for name in file} == {"F32"}
    assert all(np.isfinite(file[name].read()).all() for name in file)
