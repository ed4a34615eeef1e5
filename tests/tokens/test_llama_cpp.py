"""Tokenizers in GGUF files: llama.cpp's own tokens. Goldens: tests/golden/make_llama_cpp.py."""

import importlib.util
import json
from itertools import pairwise, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attn_cli.tokens.gguf import from_metadata
from attn_cli.tokens.pairs import merged

GOLDEN = Path(__file__).parents[1] / "golden"
STORED = json.loads((GOLDEN / "llama_cpp.json").read_text())
TEXTS, FILES = STORED["texts"], STORED["files"]


@pytest.fixture(scope="session")
def read():
    """The tokenizer of a file by its name in the golden, with some keys changed."""
    spec = importlib.util.spec_from_file_location("make", GOLDEN / "make_llama_cpp.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    return lambda name, **keys: from_metadata(maker.metadata(FILES[name]) | keys, "x.gguf")


@pytest.mark.parametrize("name", FILES)
def test_ids_are_those_of_llama_cpp(read, name):
    tokenizer = read(name)
    for special, wanted in zip((True, False), FILES[name]["ids"], strict=True):
        for text, ids in zip(TEXTS, wanted, strict=True):
            tokens = tokenizer.encode(text, special=special) if text else ()
            assert [token.id for token in tokens] == ids, text
            spans = [token.span for token in tokens if token.span[0] < token.span[1]]
            assert spans == sorted(spans)


def test_with_the_whole_vocabulary_a_text_is_cut_as_with_the_part_it_needs(read):
    text = "aaa bababa ananan  thethe\n"
    tokenizer = read("few-scores")
    short = [token.id for token in tokenizer.encode(text)]
    assert not tokenizer._whole
    tokenizer.encode("a" * 1000)
    assert tokenizer._whole
    assert [token.id for token in tokenizer.encode(text)] == short


@pytest.mark.parametrize(("name", "takes"), [
    ("Phi-3-mini", True), ("phi3", True), ("my PHI3 tune", True), ("phi-4", False), ("", False),
])  # fmt: skip
def test_the_name_of_the_model_decides_on_white_space_after_markers(read, name, takes):
    tokens = read("phi3", **{"general.name": name}).encode("<|end|>\n the", special=False)
    assert (tokens[0].span == (0, 9)) is takes
    assert (len(tokens) == 2) is takes


# --- merging -------------------------------------------------------------------------------------


def plainly(text, scores):
    """The rule as it is told: the pair with the best score, the leftmost of several, again."""
    pieces = list(text)
    while True:
        found = enumerate(pairwise(pieces))
        pairs = [(-scores[a + b], at) for at, (a, b) in found if a + b in scores]
        if not pairs:
            return pieces
        _, at = min(pairs)
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]


WORDS = ["".join(word) for size in (2, 3, 4, 5) for word in product("ab", repeat=size)]
SCORES = st.dictionaries(st.sampled_from(WORDS), st.sampled_from([0.0, -1.0, -2.0]), min_size=12)


@given(st.text("abc", max_size=30), SCORES)
def test_merging_takes_the_best_pair_and_the_leftmost_of_equals(text, scores):
    def rank(left, right):
        return -scores[left + right] if left + right in scores else None

    found = merged(text, rank)
    assert found == plainly(text, scores)
    assert "".join(found) == text
