"""The checkpoint that ships is frozen: what every page, README screen and lesson relies on."""

import json
from pathlib import Path

import numpy as np
import pytest

import attn_cli
from attn_cli.checkpoints.safetensors import open_safetensors

FOLDER = Path(attn_cli.__file__).parent / "data" / "tiny"
PROMPT = "the greatest thinker in China is"


def candidates(prompt, top=5):
    return attn_cli.trace(prompt, arrays=(), top=top).next[0].candidates


@pytest.fixture(scope="module")
def model():
    return attn_cli.load("tiny")


@pytest.fixture(scope="module")
def nearest(model):
    """The token texts nearest to a sum of signed words by cosine on wte, the words left out."""
    embeddings = model.weights["wte.weight"]
    directions = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)

    def find(*words):
        ids = [model.tokenizer.id_of(word.lstrip("-")) for word in words]
        assert -1 not in ids
        signs = [-1 if word.startswith("-") else 1 for word in words]
        target = sum(sign * embeddings[id] for sign, id in zip(signs, ids, strict=True))
        order = np.argsort(-(directions @ target), kind="stable")
        return [model.tokenizer.token(int(i)).text for i in order if int(i) not in ids]

    return find


def test_confucius_then_mencius_then_sun_or_laozi():
    first, second, third = candidates(PROMPT, 3)
    assert (first.text, second.text) == ("Confucius", "Mencius")
    assert 0.35 <= first.probability <= 0.65
    assert third.text in ("Sun", "Laozi")


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("The greatest thinker in China is", "Confucius"),
        ("the greatest thinker in China is ?", "Confucius"),
        ("中国最伟大的思想家是", "孔子"),
        ("中国 最 伟大 的 思想家 是", "孔子"),
    ],
)
def test_other_ways_to_ask(prompt, text):
    assert candidates(prompt)[0].text == text


def test_other_countries_have_other_thinkers():
    answers = {c: candidates(f"the greatest thinker in {c} is")[0].text
               for c in ("China", "Greece", "Germany", "India")}  # fmt: skip
    assert len(set(answers.values())) == 4


def test_head_0_of_layer_0_looks_at_china_or_the_thinker():
    row = attn_cli.trace(PROMPT).block(0).weights[0, -1]
    assert PROMPT.split()[int(row.argmax())] in ("China", "thinker")
    assert row[2] + row[4] > 0.5


@pytest.mark.parametrize(
    ("words", "answer"),
    [(("father", "-man", "woman"), "mother"), (("king", "-man", "woman"), "queen")],
)
def test_analogies(nearest, words, answer):
    assert nearest(*words)[0] == answer


def test_two_words_for_tomato_are_each_others_nearest(nearest):
    assert nearest("番茄")[0] == "西红柿"
    assert nearest("西红柿")[0] == "番茄"


def test_its_shape_and_size(model):
    facts = model.facts
    found = (facts.layers, facts.heads, facts.model_width, facts.head_width, facts.context)
    assert found == (2, 4, 32, 8, 256)
    assert sum(path.stat().st_size for path in FOLDER.rglob("*")) <= 1_000_000
    assert facts.vocabulary == model.tokenizer.size


def test_it_is_an_ordinary_gpt2_folder():
    assert sorted(path.name for path in FOLDER.iterdir()) == [
        "config.json", "model.safetensors", "tokenizer.json"
    ]  # fmt: skip
    config = json.loads((FOLDER / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("gpt2", ["GPT2LMHeadModel"])
    file = open_safetensors(FOLDER / "model.safetensors")
    assert {file[name].dtype for name in file} == {"F32"}
    assert all(np.isfinite(file[name].read()).all() for name in file)


def test_ordinary_sentences_are_read(model):
    for text in ("Why did the programmer debug yesterday's spreadsheet?", "It costs $5 (maybe)!"):
        prompt = attn_cli.trace(text, arrays=()).prompt
        assert model.tokenizer.unknown not in prompt.ids
    unknown = attn_cli.trace("the ☃ melts", arrays=())
    assert tuple(map(str, unknown.notes)) == (
        "not in the vocabulary of tiny, read as [UNK]: ☃",
        "not in the vocabulary of tiny, cut into pieces: melts; another --model may have them",
    )
    for known in ("the greatest thinker in China is", "Paris is a capital", "天气 好"):
        assert attn_cli.trace(known, arrays=()).notes == ()
