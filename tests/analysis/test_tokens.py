"""What `attn tokens` finds: bytes, characters of several tokens, and two readings of one text."""

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.analysis.tokens import ADDED, aligned, remarks, tokens
from attn_cli.opening.reader import load_reader
from attn_cli.reading import tokenise

GOLDEN = Path(__file__).parents[1] / "golden"
TEXT = st.text("the king,\n 孙子👩‍💻é", min_size=1, max_size=20)


@cache
def reader(name):
    folder = GOLDEN / "tokenizers" / name
    return load_reader(str(folder) if folder.exists() else name)[0]


def found(name, text, **more):
    model = reader(name)
    return tokens(model, tokenise(model, text, alone=True, **more))


def own(of):
    return [row for row in of.tokens if row.how != ADDED]


@pytest.mark.parametrize("name", ["gpt2", "llama3"])
@given(text=TEXT)
def test_the_bytes_of_all_tokens_are_the_texts(name, text):
    result = found(name, text)
    assert b"".join(bytes.fromhex(row.bytes) for row in own(result)) == text.encode()
    assert result.characters_per_token == len(text) / len(own(result))


@pytest.mark.parametrize("name", ["gpt2", "llama2"])
@given(text=TEXT)
def test_a_character_of_several_tokens_is_put_together_from_their_bytes(name, text):
    result = found(name, text)
    for split in result.split:
        inside = [result.tokens[place] for place in split.positions]
        joined = b"".join(bytes.fromhex(row.bytes) for row in inside)
        assert text[split.start : split.end] == split.character
        assert split.character.encode() in joined and len(split.positions) > 1
        for row in inside:
            assert row.start <= split.start < split.end <= row.end
    # Every other character stands in one token.
    whole = {at for split in result.split for at in range(split.start, split.end)}
    for at in set(range(len(text))) - whole:
        holders = [row for row in own(result) if row.start <= at < row.end and row.bytes != "20"]
        assert len(holders) <= 1 or text[at] == " " or name == "llama2"


def test_a_chinese_character_of_three_tokens_is_one_character():
    result = found("smollm2", "is 孔子")
    [split] = result.split
    assert (split.character, split.start, split.end) == ("孔", 3, 4)
    assert [result.tokens[place].bytes for place in split.positions] == ["20 E5", "AD", "94"]
    spans = [(row.start, row.end) for row in result.tokens]
    assert spans == [(0, 2), (2, 4), (3, 4), (3, 4), (4, 5)]


def test_ids_that_their_text_gives_too_are_explained_by_it():
    model = reader("gpt2")
    ids = [row.id for row in found("gpt2", " the 孙").tokens]
    result = tokens(model, tokenise(model, ids=ids, alone=True))
    assert (result.spells, result.again) == (" the 孙", tuple(ids))
    assert result == found("gpt2", " the 孙")._replace(again=tuple(ids), from_ids=True)
    half = tokens(model, tokenise(model, ids=ids[:-1], alone=True))
    assert {row.how for row in half.tokens} == {"given"}
    assert half.again != tuple(ids[:-1]) and half.words == ()
    assert [row.bytes for row in half.tokens] == [row.bytes for row in result.tokens[:-1]]


def test_the_mark_of_a_word_piece_stands_for_nothing_and_another_does():
    model = reader("tiny")
    piece, whole = model.tokenizer.id_of("##h"), model.tokenizer.id_of("the")
    result = tokens(model, tokenise(model, ids=[piece, whole], alone=True))
    assert [row.bytes for row in result.tokens] == ["68", "74 68 65"]
    [row, *_] = found("tiny", "unhappy").tokens[1:]
    assert (row.text, row.bytes) == ("##h", "68")
    smollm2 = reader("smollm2")
    marks = [smollm2.tokenizer.id_of("##"), smollm2.tokenizer.id_of(" the")]
    given = tokens(smollm2, tokenise(smollm2, ids=[marks[0], 251, marks[1]], alone=True))
    assert given.tokens[0].how == "given" and given.tokens[0].bytes == "23 23"


@pytest.mark.parametrize(("name", "text", "at"), [
    ("llama2", "<s>the king", (1,)), ("bert", "[CLS] the", (1,)), ("bert", "the [SEP]", (3,)),
    ("t5", "the</s>", (1,)), ("llama3", "<|begin_of_text|>the", (1,)),
])  # fmt: skip
def test_a_special_token_that_is_added_and_written_is_there_twice(name, text, at):
    result = found(name, text)
    assert result.twice == at
    [told] = map(str, remarks(reader(name), result))
    assert "is there twice" in told and "--no-special" in told
    assert str(at[0]) in told.partition(" at ")[2].partition(":")[0]
    assert found(name, text, special=False).twice == ()


def test_once_is_not_twice():
    for name, text in (("llama2", "the <s> king"), ("bert", "the [CLS] king"), ("gpt2", "the")):
        assert found(name, text).twice == ()
        assert remarks(reader(name), found(name, text)) == ()


def test_what_a_tokenizer_adds_is_told_apart_from_what_is_written():
    result = found("bert", "the [SEP] king", pair="a king")
    assert [row.text for row in result.tokens if row.how == ADDED] == ["[CLS]", "[SEP]", "[SEP]"]
    assert result.added == tuple(row.position for row in result.tokens if row.how == ADDED)
    [written] = [row for row in result.tokens if row.how == "found"]
    assert (written.start, written.end) == (4, 9)
    assert result.spells == "the [SEP] kinga king"
    last = result.tokens[-2]
    assert result.spells[last.start :] == bytes.fromhex(last.bytes).decode()


# --- two tokenizers ------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("gpt2", "qwen2"), ("qwen2", "tekken")])
@settings(max_examples=50)
@given(text=st.text("the kingreats, 12孙子", min_size=1, max_size=24))
def test_boundaries_of_byte_level_tokens_are_where_both_end(names, text):
    first, second = (found(name, text, special=False) for name in names)
    result = aligned(first, second)

    def ends(of):  # of tokens that end with a character
        last = {row.end for row in of.tokens} - {len(text)}
        return {at for at in last if not any(row.start < at < row.end for row in of.tokens)}

    split = {at for of in (first, second) for one in of.split for at in (one.start, one.end)}
    mine, others = ends(first), ends(second)
    if not split:
        assert result.boundaries == (len(mine), len(others))
        assert result.common == len(mine & others)
        assert [row.end for row in result.stretches] == [*sorted(mine & others), len(text)]


@pytest.mark.parametrize("names", [("gpt2", "bert"), ("llama2", "t5"), ("bert", "deberta"),
                                   ("tiny", "smollm2"), ("t5", "gpt2")])  # fmt: skip
@settings(max_examples=50)
@given(text=TEXT)
def test_stretches_hold_all_of_the_text_and_every_token_once(names, text):
    readings = [found(name, f"x{text}", special=False) for name in names]
    result = aligned(*readings)
    assert "".join(row.text for row in result.stretches) == readings[0].spells
    for side, of in zip(("first", "second"), readings, strict=True):
        positions = [place for row in result.stretches for place in getattr(row, side)]
        assert positions == [row.position for row in own(of)]
        for row in result.stretches:
            for place in getattr(row, side):
                token = of.tokens[place]
                # White space beside a boundary may be of either.
                inside = range(token.start, token.end)
                missed = [at for at in inside if not row.start <= at < row.end]
                assert not "".join(of.spells[at] for at in missed).strip()
    assert result.common == len(result.stretches) - 1
    assert result.common <= min(result.boundaries)


def test_an_alignment_by_hand():
    """Word pieces drop the space that the other has before its token; both cut before it."""
    result = aligned(found("tiny", "the king is unhappy"), found("smollm2", "the king is unhappy"))
    rows = [(row.text, len(row.first), len(row.second)) for row in result.stretches]
    assert rows == [("the", 1, 1), (" king", 1, 1), (" is", 1, 1), (" unhappy", 6, 1)]
    assert result.boundaries == (8, 3)
    assert result.common == 3


def test_the_same_tokenizer_agrees_with_itself():
    reading = found("gpt2", "the greatest 孙 thinkers")
    result = aligned(reading, reading)
    assert result.boundaries == (result.common, result.common)
    assert all(row.first == row.second for row in result.stretches)
