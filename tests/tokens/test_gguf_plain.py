"""Word pieces and unigram models in GGUF metadata: the ids of the folder, where llama.cpp agrees.

The ids of llama.cpp itself are in test_llama_cpp.py.
"""

import importlib.util
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models, normalizers, pre_tokenizers

from attn_cli.errors import ContentError
from attn_cli.opening.load import tokenizer_of
from attn_cli.tokens.gguf import from_metadata
from attn_cli.tokens.library import LibraryTokenizer
from attn_cli.tokens.token import Token

GOLDEN = Path(__file__).parents[1] / "golden"
STORED = json.loads((GOLDEN / "llama_cpp.json").read_text())
_SPEC = importlib.util.spec_from_file_location("make", GOLDEN / "make_llama_cpp.py")
MAKER = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(MAKER)
KINDS = ("bert", "t5", "xlm-roberta")
METADATA = {name: MAKER.metadata(STORED["files"][name]) for name in KINDS}
WORDS = ["the", "thinker", "thinking", "greatest", "is", "xyz", "un", "happy", "!", ",", " ", "  "]
TEXTS = st.lists(st.one_of(st.sampled_from(WORDS), st.text("aehinrstk .'", max_size=8)), max_size=9)


def read(name, **keys):
    given = {f"tokenizer.ggml.{key}": value for key, value in keys.items()}
    values = {key: value for key, value in (METADATA[name] | given).items() if value is not None}
    return from_metadata(values, "x.gguf")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The folders that the files could be made from."""
    found = {}
    for name in KINDS:
        place = tmp_path_factory.mktemp(name)
        contents = (GOLDEN / "tokenizers" / name / "tokenizer.json").read_bytes()
        (place / "tokenizer.json").write_bytes(contents)
        (place / "config.json").write_text(json.dumps({"model_type": name}))
        found[name] = tokenizer_of(place)
    return found


def ids(tokens):
    return [token.id for token in tokens]


@pytest.mark.parametrize("name", KINDS)
@given(parts=TEXTS, second=TEXTS)
def test_tokens_are_those_of_the_folder(folders, name, parts, second):
    here, there, text = read(name), folders[name], "".join(parts)
    assert here.encode(text) == there.encode(text)
    assert here.encode(text, special=False) == there.encode(text, special=False)
    assert here.pair(text, "".join(second)) == there.pair(text, "".join(second))
    for token in here.encode(text):
        assert here.token(token.id) == there.token(token.id)
        assert here.id_of(token.text) == there.id_of(token.text) == token.id
    assert (here.size, here.unknown, here.mask) == (there.size, there.unknown, there.mask)


@pytest.mark.parametrize("name", KINDS)
def test_entries_have_the_ids_of_the_folder_in_both_spellings(folders, name):
    here, there = read(name), folders[name]
    for text in (" the", "▁the", "the", "##s", "[CLS]", "</s>", "<mask>", "no such"):
        assert here.id_of(text) == there.id_of(text)
        assert here.added(text) == there.added(text)
    with pytest.raises(KeyError):
        here.token(here.size)


@pytest.mark.parametrize("name", KINDS)
def test_decoding_gives_words_back(name):
    tokenizer = read(name)
    for text in ("the greatest thinker", "unhappy learner, thinking!", ""):
        back = tokenizer.decode(ids(tokenizer.encode(text, special=False)))
        assert back == text
    assert tokenizer.decode([-1, 10**9]) == ""


def test_accents_are_dropped_as_in_the_folder_however_they_are_written(folders):
    """llama.cpp b9190, which made the golden, keeps those that are characters of their own."""
    for text in ("cafe\u0301", "caf\u00e9", "e\u0301te\u0301 i\u0308n", "a\u0323\u0308b"):
        found = read("bert").encode(text)
        assert ids(found) == ids(folders["bert"].encode(text))
    [token] = read("bert").encode("e\u0301", special=False)
    assert token.span == (0, 1)


@pytest.mark.parametrize("lowercase", [True, False, None])
@pytest.mark.parametrize("accents", [True, False, None])
def test_the_file_can_say_what_is_done_to_letters(lowercase, accents):
    keys = {"normalizer.lowercase": lowercase, "normalizer.strip_accents": accents}
    here = read("bert", **keys)
    pieces = {token: id for id, token in enumerate(METADATA["bert"]["tokenizer.ggml.tokens"])}
    shown = {here.token(id).text: id for id in pieces.values()}
    library = LibraryTokenizer(_built(shown, lowercase is not False, accents))
    for text in ("The THINKER", "caf\u00e9 CAF\u00c9", "\u00c5ngstr\u00f6m"):
        assert ids(here.encode(text, special=False)) == ids(library.encode(text))


def _built(vocabulary, lowercase, accents):
    from tokenizers import Tokenizer

    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=accents)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return made


def test_spans_are_those_of_the_characters_that_are_left():
    text = " THE\u00ad  Th\u00efnker\u4e2dis$"
    found = read("bert").encode(text, special=False)
    assert all(token.span[0] < token.span[1] for token in found)
    parts = [text[slice(*token.span)] for token in found]
    assert "".join(parts) == text.replace(" ", "").replace("\u00ad", "")
    assert [part for part in parts if not part.isascii()] == ["Th\u00efnk", "\u4e2d"]
    [whole] = read("bert").encode("th\u2603\u2603e", special=False)
    assert (whole.id, whole.span) == (read("bert").unknown, (0, 5))


def test_spans_follow_what_is_replaced_in_a_text():
    text = "the\u3000\u3000\u00bdthe \U000f0000\U000f0001"
    found = read("t5").encode(text, special=False)
    assert [(token.text, token.span) for token in found] == [
        (" the", (0, 3)), (" 12", (5, 6)), ("the", (6, 9)), (" ", (10, 11)), ("<unk>", (10, 12)),
    ]  # fmt: skip


def test_the_ids_of_berts_first_vocabulary_hold_where_the_file_names_none():
    bare = dict.fromkeys(
        ("bos_token_id", "seperator_token_id", "unknown_token_id", "mask_token_id")
    )
    found = read("bert", **bare).encode("\u2603")
    assert ids(found) == [101, 100, 102]
    assert read("bert", **bare).mask == 4  # by its name
    assert ids(read("bert", **bare, cls_token_id=2).encode("\u2603")) == [2, 100, 102]
    assert ids(read("bert", **bare, cls_token_id=2, eos_token_id=9).encode(""))[-1] == 102


def test_types_of_a_pair_need_more_than_one_type():
    tokens, types = read("bert").pair("a", "b")
    assert ([token.text for token in tokens], types) == (
        ["[CLS]", "a", "[SEP]", "b", "[SEP]"], (0, 0, 0, 1, 1)
    )  # fmt: skip
    for count in (None, 0, 1):
        assert read("bert", token_type_count=count).pair("a", "b")[1] == (0,) * 5


def test_older_files_have_names_in_brackets_without_the_mark():
    tokens = ["[UNK]", "[CLS]", "[SEP]", "[unused1]", "▁the", "s", "▁[x]", "[", "▁"]
    keys = {"tokens": tokens, "token_type": None, "bos_token_id": 1, "seperator_token_id": 2}
    found = read("bert", **keys, unknown_token_id=0, mask_token_id=None)
    texts = [found.token(id).text for id in range(len(tokens))]
    assert texts == ["[UNK]", "[CLS]", "[SEP]", "[unused1]", "the", "##s", "[x]", "##[", ""]
    assert [token.text for token in found.encode("thes")] == ["[CLS]", "the", "##s", "[SEP]"]
    assert found.mask == -1


def test_of_tokens_that_look_alike_the_added_one_counts_then_the_first():
    tokens = ["[UNK]", "[CLS]", "[SEP]", "▁[x]", "[x]", "▁##b", "b"]
    keys = {"tokens": tokens, "bos_token_id": 1, "seperator_token_id": 2, "unknown_token_id": 0}
    found = read("bert", **keys, token_type=[3, 3, 3, 1, 3, 1, 1], mask_token_id=None)
    assert [found.token(id).text for id in (3, 4, 5, 6)] == ["[x]", "[x]", "##b", "##b"]
    assert (found.id_of("[x]"), found.id_of("##b")) == (4, 5)
    assert ids(found.encode("[x]", special=False)) == [4]


def test_user_defined_tokens_are_shown_without_the_mark_and_found_with_it():
    metadata = MAKER.metadata(STORED["files"]["bert-user-defined"])
    found = from_metadata(metadata, "x.gguf")
    id = metadata["tokenizer.ggml.tokens"].index("▁ing")
    assert found.token(id).text == "ing"
    assert found.encode("a▁ing", special=False)[-1] == Token(id=id, text="ing", span=(1, 5))
    assert (found.id_of("ing"), found.added("▁ing"), found.added("ing")) == (id, id, -1)


def test_a_user_defined_token_that_a_replacement_makes_costs_nothing():
    tokens, keys = METADATA["t5"]["tokenizer.ggml.tokens"], {}
    for kind, wanted in ((5, False), (4, True)):
        keys["tokens"] = [*tokens, "IX"]
        keys["scores"] = [*METADATA["t5"]["tokenizer.ggml.scores"], -99.0]
        keys["token_type"] = [*METADATA["t5"]["tokenizer.ggml.token_type"], kind]
        assert (len(tokens) in ids(read("t5", **keys).encode("\u2168"))) is wanted


def test_the_form_of_t5_has_an_end_after_each_text():
    tokenizer = read("t5")
    assert ids(tokenizer.encode("the")) == [*ids(tokenizer.encode("the", special=False)), 1]
    first, second = tokenizer.encode("the"), tokenizer.encode("is")
    assert ids(tokenizer.pair("the", "is")[0]) == ids(first) + ids(second)
    parted = read("t5", add_sep_token=True)  # which is for files with a token before the text
    assert parted.pair("the", "is") == tokenizer.pair("the", "is")
    with pytest.raises(ContentError, match="no form for pairs"):
        read("t5", add_eos_token=False).pair("the", "is")


def test_the_form_of_roberta_has_a_second_end_between_two_texts(tmp_path):
    contents = (GOLDEN / "tokenizers" / "roberta" / "tokenizer.json").read_bytes()
    (tmp_path / "tokenizer.json").write_bytes(contents)
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    there = tokenizer_of(tmp_path)
    named = dict.fromkeys(("add_bos_token", "add_eos_token", "add_sep_token"), True)
    keys = {f"tokenizer.ggml.{name}": value for name, value in named.items()}
    keys |= {"tokenizer.ggml.bos_token_id": 0, "tokenizer.ggml.eos_token_id": 2}
    here = from_metadata(MAKER.metadata(STORED["files"]["roberta"]) | keys, "x.gguf")
    assert here.encode("the thinker<mask>") == there.encode("the thinker<mask>")
    assert here.pair("the", "is it") == there.pair("the", "is it")
    assert ids(here.pair("the", "is")[0]).count(2) == 3


def test_of_equal_sums_the_piece_that_is_found_first_is_taken():
    tokens = ["<pad>", "</s>", "<unk>", *"abc", "ab", "bc", "abc"]
    scores = [0.0, 0.0, 0.0, -1.0, -1.0, -1.0, -2.0, -2.0, -3.0]
    keys = {
        "add_eos_token": False, "add_space_prefix": False, "precompiled_charsmap": None,
        "remove_extra_whitespaces": False,
    }  # fmt: skip

    def cut(text):
        found = read("t5", tokens=tokens, scores=scores, token_type=[3, 3, 2] + [1] * 6, **keys)
        return [token.text for token in found.encode(text)]

    assert cut("abc") == ["abc"]
    scores[-1] = -3.5
    assert cut("abc") == ["a", "bc"]
    assert cut("ab") == ["ab"]
    scores[-3] = -2.5
    assert cut("ab") == ["a", "b"]


def test_an_unknown_character_costs_ten_more_than_the_worst_piece():
    tokens = ["<pad>", "</s>", "<unk>", "a", "b", "ab\u2603c", "c"]
    keys = {"add_space_prefix": False, "add_eos_token": False, "remove_extra_whitespaces": False}
    for score, pieces in ((-12.5, ["ab\u2603c"]), (-13.5, ["a", "b", "<unk>", "c"])):
        scores = [0.0, 0.0, 0.0, -1.0, -0.5, score, -0.5]
        types = [3, 3, 2, 1, 1, 5, 1]  # what is unused is not the worst
        found = read("t5", tokens=tokens, scores=scores, token_type=types, **keys)
        assert [token.text for token in found.encode("ab\u2603c")] == pieces
    scores = [0.0, 0.0, 0.0, -1.0, -0.5, -20.0, -0.5]
    found = read("t5", tokens=tokens, scores=scores, token_type=[3, 3, 2, 1, 1, 4, 1], **keys)
    assert ids(found.encode("ab\u2603c")) == [5]  # user-defined, at no cost


def test_a_character_that_is_a_piece_is_never_unknown_and_of_equal_sums_a_piece_comes_first():
    tokens = ["<pad>", "</s>", "<unk>", "a", "z", "a\u2603"]
    keys = {"add_space_prefix": False, "add_eos_token": False, "remove_extra_whitespaces": False}
    scores = [0.0, 0.0, 0.0, -1.0, -50.0, -12.0]
    found = read("t5", tokens=tokens, scores=scores, token_type=[3, 3, 2, 1, 5, 5], **keys)
    assert ids(found.encode("z")) == [4]  # which costs more than an unknown character
    assert ids(found.encode("a\u2603")) == [5]  # as much as `a` and an unknown character


def test_what_holds_for_t5_where_the_file_does_not_say():
    names = ("add_space_prefix", "remove_extra_whitespaces", "eos_token_id", "unknown_token_id")
    found = read("t5", **dict.fromkeys((*names, "add_eos_token", "precompiled_charsmap")))
    tokens = METADATA["t5"]["tokenizer.ggml.tokens"]
    space = tokens.index("▁")
    assert ids(found.encode("  \u2603")) == [space, space, 2, 1]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("changes", [
    {"tokens": []}, {"tokens": None}, {"tokens": [1, 2]}, {"token_type": [1]},
    {"unknown_token_id": 10**6}, {"mask_token_id": 10**6}, {"mask_token_id": "x"},
    {"add_space_prefix": 1, "normalizer.lowercase": 1}, {"tokens": ["a", "a"]},
    {"bos_token_id": -1, "add_bos_token": True},
], ids=str)  # fmt: skip
def test_metadata_that_contradicts_itself(name, changes):
    if changes.get("tokens") == ["a", "a"]:
        changes = {**changes, "token_type": None, "scores": [0.0, 0.0]}
    with pytest.raises(ContentError, match=r"the tokenizer in x\.gguf has "):
        read(name, **changes)


@pytest.mark.parametrize("name", KINDS)
def test_a_token_that_is_there_twice_is_refused(name):
    tokens = METADATA[name]["tokenizer.ggml.tokens"]
    with pytest.raises(ContentError, match="has a token twice"):
        read(name, tokens=[*tokens[:-1], tokens[-2]])


@pytest.mark.parametrize("charsmap", [
    [1, 2, 3], [255] * 8, [-1] * 8, [300], [1.5], ["x"], "x", [0, 0, 0, -1], [16, 0, 0, 0, 1],
], ids=str)  # fmt: skip
def test_a_damaged_charsmap_is_refused(charsmap):
    with pytest.raises(ContentError, match="has a precompiled_charsmap that is"):
        read("t5", precompiled_charsmap=charsmap).encode("the")


def test_a_charsmap_may_be_stored_in_signed_bytes():
    stored = METADATA["t5"]["tokenizer.ggml.precompiled_charsmap"]
    signed = [value - 256 * (value > 127) for value in stored]
    assert min(signed) < 0
    text = "\ufb01 \u2168\t\u00bd e\u0301"
    assert read("t5", precompiled_charsmap=signed).encode(text) == read("t5").encode(text)


@given(st.lists(st.integers(0, 2**32 - 1), max_size=40), st.binary(max_size=9), st.text())
def test_any_charsmap_gives_tokens_or_our_error(nodes, strings, text):
    stored = struct.pack(f"<{len(nodes) + 1}I", 4 * len(nodes), *nodes) + strings
    try:
        found = read("t5", precompiled_charsmap=list(stored)).encode(text)
        assert all(0 <= token.span[0] <= token.span[1] <= len(text) for token in found)
    except ContentError as refused:
        assert "precompiled_charsmap" in refused.message


def test_a_null_character_is_never_replaced():
    stored = struct.pack("<3I", 8, 1 << 10, 1 << 8) + b"x\0" * 200
    found = read("t5", precompiled_charsmap=list(stored))._charsmap
    assert list(found.replaced("\0")) == [("\0", 0, 1)]


def test_a_charsmap_that_goes_round_ends():
    """Each node leads back to the first: a prefix would match for as long as there is text."""
    node = (ord("a") << 10) | 1 << 8 | ord("a")
    stored = struct.pack("<2I", 4 * 256, 0) + struct.pack("<255I", *[node] * 255) + b"x\0"
    found = read("t5", precompiled_charsmap=list(stored))
    places = [place for _, *place in found._charsmap.replaced("a" * 5000)]
    assert places == [[at, min(at + 256, 5000)] for at in range(0, 5000, 256)]


class Counting(dict):
    """How often entries are looked up."""

    looked = 0

    def get(self, key, default=None):
        self.looked += 1
        return super().get(key, default)

    def __contains__(self, key):
        self.looked += 1
        return super().__contains__(key)


@pytest.mark.parametrize("name", ["bert", "t5"])
def test_a_very_long_piece_does_not_make_a_long_word_slow(name):
    tokens = [*METADATA[name]["tokenizer.ggml.tokens"], "q" * 100_000]
    scores = [*METADATA[name].get("tokenizer.ggml.scores", []), -1.0]
    types = [*METADATA[name]["tokenizer.ggml.token_type"], 1]
    tokenizer = read(name, tokens=tokens, scores=scores, token_type=types)
    tokenizer._pieces = Counting(tokenizer._pieces)
    tokenizer.encode("the" * 700)
    assert 0 < tokenizer._pieces.looked < 2200 * 256


ODD = [
    None, -1, 0, 10**9, 2**64, 1.5, True, False, "", "x", [], [1], [1.5], [""], ["x"], [[]],
    ["a", "a"], [float("nan")] * 700, [0] * 700, ["▁"], ["é é"], [-(2**70)], [float("inf")],
]  # fmt: skip
NAMES = [
    "tokens", "scores", "token_type", "add_bos_token", "add_eos_token", "add_sep_token",
    "add_space_prefix", "remove_extra_whitespaces", "precompiled_charsmap", "bos_token_id",
    "eos_token_id", "unknown_token_id", "mask_token_id", "seperator_token_id", "cls_token_id",
    "token_type_count", "normalizer.lowercase", "normalizer.strip_accents",
]  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=300)
@given(changes=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(ODD), max_size=3))
def test_only_our_errors_escape(name, changes):
    try:
        tokenizer = read(name, **changes)
        for text in ("Hello w\u00f6rld \u5b59 <s> 1\n", "\ud800x", "\0", "x" * 300, ""):
            tokenizer.decode(ids(tokenizer.encode(text)))
        tokenizer.pair("a", "b")
    except ContentError as error:
        assert "Error" not in error.message


@pytest.mark.parametrize("name", KINDS)
@given(text=st.text(max_size=30))
def test_spans_are_in_order_whatever_the_text(name, text):
    tokens, types = read(name).pair(text, text)
    spans = [token.span for token in tokens]
    assert len(types) == len(spans)
    assert all(0 <= start <= end <= 2 * len(text) for start, end in spans)
    starts = [start for start, _ in spans]
    assert starts == sorted(starts)


def test_scores_that_are_no_numbers_end_too():
    scores = [float("nan")] * len(METADATA["t5"]["tokenizer.ggml.tokens"])
    found = read("t5", scores=scores).encode("the thinker")
    assert ids(found)[-1] == 1
    far = [-1e300] * len(scores)
    assert ids(read("t5", scores=far).encode("the"))[-1] == 1
