"""Which tokens of two prompts belong together, written out by hand."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from attn_cli import session
from attn_cli.analysis.align import alignment, partners
from attn_cli.records import Prompt
from attn_cli.tokens.token import Token


def prompt(text):
    """A token for each letter, its id that of the letter."""
    tokens = tuple(Token(id=ord(letter), text=letter, span=(0, 0)) for letter in text)
    return Prompt(text="", has_text=False, tokens=tokens)


@pytest.mark.parametrize(
    ("left", "right", "pairs"),
    [
        ("abc", "abc", "00 11 22"),
        ("abc", "abcde", "00 11 22"),
        ("abcde", "abc", "00 11 22"),
        ("cde", "abcde", "02 13 24"),
        ("abc", "axc", "00 1~1 22"),  # one token in the place of another
        ("abbc", "axyc", "00 1~1 2~2 33"),
        ("abc", "axyc", "00 23"),  # two for one are nobody's
        ("aXbYc", "abc", "00 21 42"),
        ("aPQRbc", "aQRSbc", "00 21 32 44 55"),  # a run that both have, with others around it
        ("aab", "ab", "00 21"),  # the beginning first
        ("a", "b", "0~0"),
        ("ab", "c", ""),
    ],
)
def test_tokens_are_aligned(left, right, pairs):
    found = alignment("decoder", prompt(left), prompt(right))
    columns = zip(found.left, found.right, found.same, strict=True)
    assert " ".join(f"{i}{'' if same else '~'}{j}" for i, j, same in columns) == pairs
    # Each with itself, and both in order.
    for i, j, same in zip(found.left, found.right, found.same, strict=True):
        assert (left[i] == right[j]) == same
    assert list(found.left) == sorted(set(found.left))
    assert list(found.right) == sorted(set(found.right))


def test_long_middles_of_one_length_are_paired_in_order_and_others_not():
    """Looking for runs there could take their square."""
    one, other = "".join(map(chr, range(1000, 1300))), "".join(map(chr, range(1001, 1301)))
    found = alignment("decoder", prompt(f"a{one}b"), prompt(f"a{other}b"))
    assert found.left == found.right == tuple(range(302)) and sum(found.same) == 2
    found = alignment("decoder", prompt(f"a{one}b"), prompt(f"a{other}cb"))
    assert found.left == (0, 301) and found.right == (0, 302)


def test_other_vocabularies_are_aligned_by_texts_and_nothing_takes_anothers_place():
    left, right = prompt("abc"), prompt("axc")
    others = (replace(t, id=t.id + 500, text=f" {t.text}") for t in right.tokens)
    spaced = replace(right, tokens=tuple(others))
    found = alignment("encoder", left, spaced, {})
    assert found[1:] == ((0, 2), (0, 2), (True, True))


def test_one_model_and_equal_ones_share_their_vocabulary(tiny_folder):
    tiny, copy = session.load("tiny"), session.load(str(tiny_folder))
    assert partners(tiny, tiny) is None
    assert partners(tiny, copy) is None
    assert partners(tiny, session.load("random")) is None  # it reads as tiny does


def test_a_model_without_a_tokenizer_has_the_other_ones_ids_if_it_has_as_many(tiny_folder):
    for path in tiny_folder.iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            path.unlink()
    unread = session.load(str(tiny_folder))
    assert unread.tokenizer.problem
    assert partners(session.load("tiny"), unread) is None
    assert partners(session.load("tiny-encoder"), unread) == {}


def test_different_vocabularies_are_paired_by_text(tiny_folder):
    tiny, encoder = session.load("tiny"), session.load("tiny-encoder")
    ids = partners(tiny, encoder)
    assert ids
    for id, other in ids.items():
        assert tiny.tokenizer.token(id).text.strip() == encoder.tokenizer.token(other).text.strip()
    # Nobody who has a partner is left out.
    ours, theirs = (
        {model.tokenizer.token(id).text.strip() for id in range(model.facts.vocabulary)}
        for model in (tiny, encoder)
    )
    assert {tiny.tokenizer.token(id).text.strip() for id in ids} == ours & theirs
    # One entry is another word: no ids are shared blindly.
    contents = json.loads((tiny_folder / "tokenizer.json").read_text())
    vocabulary = contents["model"]["vocab"]
    vocabulary["emperor of all"] = vocabulary.pop("king")
    (tiny_folder / "tokenizer.json").write_text(json.dumps(contents))
    ids = partners(tiny, session.load(str(tiny_folder)))
    assert tiny.tokenizer.id_of("king") not in ids and tiny.tokenizer.id_of("man") in ids


def of_texts(*texts):
    """A model of which only the vocabulary counts."""
    entries = [Token(id=id, text=text, span=(0, 0)) for id, text in enumerate(texts)]
    tokenizer = SimpleNamespace(problem="", token=entries.__getitem__)
    return SimpleNamespace(tokenizer=tokenizer, facts=SimpleNamespace(vocabulary=len(entries)))


def test_the_exact_text_comes_before_one_with_other_spaces_and_running_text_before_a_piece():
    left, right = of_texts("is", " a", "of", " "), of_texts(" is", "of", "is", " of", "in", "a")
    assert partners(left, right) == {0: 2, 1: 5, 2: 1}
    assert partners(of_texts("is\n", "xx"), of_texts(" is", "is")) == {0: 0}
    assert partners(of_texts("is\n", "xx"), of_texts("is", " is")) == {0: 1}
