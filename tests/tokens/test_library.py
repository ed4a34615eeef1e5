"""Files of tokenizer.json read by the library: the reference's ids, and tokens that show exactly
what stands in the prompt. Goldens: tests/golden/make_tokens.py."""

import json
import os
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from attn_cli.errors import ContentError
from attn_cli.tokens.folder import read
from attn_cli.tokens.library import ALPHABET, LibraryTokenizer
from attn_cli.tokens.token import Token

GOLDEN = Path(__file__).parents[1] / "golden"
STORED = json.loads((GOLDEN / "tokens.json").read_text())
BYTE_LEVEL = ("gpt2", "llama3", "qwen2", "tekken")
NAMES = (*BYTE_LEVEL, "llama2")
FILES = {name: GOLDEN / "tokenizers" / name / "tokenizer.json" for name in NAMES}
READ = {name: read(path) for name, path in FILES.items()}
TEXTS = st.lists(
    st.one_of(
        st.sampled_from(STORED["texts"]),
        st.sampled_from(["<s>", "<|endoftext|>", "▁", " ", "\n", "'S", "12345", "中", "👨‍👩‍👧"]),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=8,
).map("".join)


def ids(tokens: tuple[Token, ...]) -> list[int]:
    return [token.id for token in tokens]


def exact(tokens: tuple[Token, ...]) -> bytes:
    return b"".join(token.bytes or token.text.encode() for token in tokens)


def token(tokenizer: LibraryTokenizer, text: str) -> Token:
    [found] = tokenizer.encode(text, special=False)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_ids_are_the_reference_librarys(name: str):
    # Also the rule of BOS and EOS: a tokenizer_config.json beside each says the opposite.
    for text, expected in zip(STORED["texts"], STORED["ids"][name], strict=True):
        assert ids(READ[name].encode(text)) == expected, text


def test_without_special_tokens_in_the_text_the_ids_are_sentencepieces():
    for text, expected in zip(STORED["texts"], STORED["sentencepiece"], strict=True):
        if "<s>" not in text:
            assert ids(READ["llama2"].encode(text, special=False)) == expected, text


@pytest.mark.parametrize("name", BYTE_LEVEL)
@given(text=TEXTS)
def test_the_bytes_of_byte_level_tokens_are_the_prompt(name: str, text: str):
    if name == "qwen2":
        text = unicodedata.normalize("NFC", text)
        normalizer = normalizers.NFC()
        if any(normalizer.normalize_str(part) != part for part in (text, *text)):
            return  # the library's Unicode is of another version
    tokens = READ[name].encode(text, special=False)
    if not any(token.special for token in tokens):
        assert exact(tokens) == text.encode()
    assert READ[name].decode(ids(tokens)) == text


@pytest.mark.parametrize("name", NAMES)
@given(text=TEXTS)
def test_a_token_shows_its_bytes_or_has_them(name: str, text: str):
    end = 0
    for found in READ[name].encode(text):
        assert not (found.bytes and found.special)
        if found.bytes:
            with pytest.raises(UnicodeDecodeError):
                found.bytes.decode()
        start, end = found.span
        assert 0 <= start <= end <= len(text)
        assert READ[name].token(found.id).text == found.text


def test_half_characters_have_bytes_and_a_readable_text():
    # 孙 is in no corpus of these.
    halves = READ["gpt2"].encode("a孙", special=False)
    assert exact(halves) == "a孙".encode()
    assert halves[0] == Token(id=halves[0].id, text="a", span=(0, 1))
    for half in halves[1:]:
        assert half.span == (1, 2)
        assert half.text == "".join(f"<0x{byte:02X}>" for byte in half.bytes)
    fallback = READ["llama2"].encode("孙", special=False)
    assert [found.bytes for found in fallback[-3:]] == [b"\xe5", b"\xad", b"\x99"]
    assert fallback[-1].text == "<0x99>"


def test_half_a_character_after_a_space_shows_the_space():
    made = Tokenizer(models.BPE({"Ġ": 0, "ä": 1, "½": 2, "ł": 3, "Ġä": 4}, [("Ġ", "ä")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    found = LibraryTokenizer(made).encode(" 你")
    assert [(token.text, token.bytes) for token in found] == [
        (" <0xE4>", b" \xe4"), ("<0xBD>", b"\xbd"), ("<0xA0>", b"\xa0"),
    ]  # fmt: skip


def test_markers_of_spaces_are_spaces_in_the_text():
    assert token(READ["gpt2"], " the").text == " the"
    assert [t.text for t in READ["llama2"].encode("the the", special=False)] == [" the", " the"]
    assert token(READ["gpt2"], "\n").text == "\n"
    assert READ["llama2"].token(3 + 0x0A) == Token(id=13, text="\n", span=(0, 0))


def test_what_the_file_adds_is_left_out_on_request_and_stands_nowhere_in_the_text():
    tokenizer = READ["llama3"]
    with_bos = tokenizer.encode("a<|end_of_text|>")
    begin, end = (tokenizer.id_of(f"<|{name}_of_text|>") for name in ("begin", "end"))
    assert with_bos[0] == Token(id=begin, text="<|begin_of_text|>", span=(0, 0), special=True)
    assert with_bos[-1] == Token(id=end, text="<|end_of_text|>", span=(1, 16), special=True)
    assert tokenizer.encode("a<|end_of_text|>", special=False) == with_bos[1:]


def word_piece() -> Tokenizer:
    words = ["[UNK]", "[CLS]", "[SEP]", "the", "book", "##s"]
    made = Tokenizer(models.WordPiece({w: id for id, w in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    made.add_special_tokens(["[UNK]", "[CLS]", "[SEP]"])
    return made


def test_word_pieces_keep_their_mark_and_sep_stands_behind_the_text():
    tokenizer = LibraryTokenizer(word_piece())
    found = tokenizer.encode("The books")
    assert [(token.text, token.span, token.special) for token in found] == [
        ("[CLS]", (0, 0), True), ("the", (0, 3), False), ("book", (4, 8), False),
        ("##s", (8, 9), False), ("[SEP]", (9, 9), True),
    ]  # fmt: skip
    assert tokenizer.unknown == 0
    assert ids(tokenizer.encode("what", special=False)) == [0]


def test_a_pair_is_one_sequence_whose_spans_go_on_in_the_second_text():
    tokenizer = LibraryTokenizer(word_piece())
    tokens, types = tokenizer.pair("The book", "books")
    assert [(token.text, token.span) for token in tokens] == [
        ("[CLS]", (0, 0)), ("the", (0, 3)), ("book", (4, 8)), ("[SEP]", (8, 8)),
        ("book", (8, 12)), ("##s", (12, 13)), ("[SEP]", (13, 13)),
    ]  # fmt: skip
    assert types == (0, 0, 0, 0, 1, 1, 1)
    bare, types = tokenizer.pair("The book", "books", special=False)
    assert bare == tuple(token for token in tokens if not token.special)
    assert types == (0, 0, 1, 1)
    _, types = LibraryTokenizer(word_piece(), typed=False).pair("the", "the")
    assert types == (0,) * 5


def test_without_a_token_between_there_is_no_form_for_pairs():
    made = word_piece()
    for form in (None, processors.TemplateProcessing("[CLS] $A", "[CLS] $A $B", [("[CLS]", 1)])):
        made.post_processor = form
        with pytest.raises(ContentError, match="no form for pairs"):
            LibraryTokenizer(made).pair("the", "book")


@pytest.mark.parametrize(("added", "named", "mask"), [
    ([], "", None), (["[MASK]"], "", "[MASK]"), (["<mask>"], "", "<mask>"),
    (["<mask>", "[MASK]"], "<mask>", "<mask>"), (["<fill>"], "<fill>", "<fill>"),
    (["[MASK]"], "<fill>", None),
])  # fmt: skip
def test_the_mask_token_is_the_named_one_or_has_a_usual_name(added, named, mask):
    made = word_piece()
    made.add_tokens(["[mask]", "<mask>"])
    made.add_special_tokens(added)
    found = LibraryTokenizer(made, mask=named)
    assert found.mask == (-1 if mask is None else found.id_of(mask))
    if mask:
        [token] = found.encode(mask, special=False)
        assert (token.id, token.special) == (found.mask, True)


def test_bytes_that_only_one_of_a_pair_loses_are_refused():
    made = Tokenizer(models.BPE({"a": 0, "Ã": 1, "</s>": 2}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    form = processors.TemplateProcessing("$A </s>", "$A </s> $B </s>", [("</s>", 2)])
    made.add_special_tokens(["</s>"])
    made.post_processor = form
    tokenizer = LibraryTokenizer(made)
    assert ids(tokenizer.pair("a", "aa")[0]) == [0, 2, 0, 0, 2]
    for pair in (("aé", "a"), ("a", "aé")):
        with pytest.raises(ContentError, match="no token for the byte 0xA9"):
            tokenizer.pair(*pair)


def test_nothing_is_cut_or_filled_up(tmp_path: Path):
    made = word_piece()
    made.enable_truncation(3)
    made.enable_padding(length=99)
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    assert len(read(path).encode("the book the book")) == 6


def test_a_tokenizer_config_changes_nothing(tmp_path: Path):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(FILES["gpt2"].read_bytes())
    (tmp_path / "tokenizer_config.json").write_text('{"add_bos_token": true, "bos_token": "a"}')
    assert read(path).encode("the") == READ["gpt2"].encode("the")


def test_ids_of_texts_and_of_no_text():
    tokenizer = READ["gpt2"]
    the = token(tokenizer, " the").id
    assert tokenizer.id_of(" the") == tokenizer.id_of("Ġthe") == the
    assert READ["llama2"].id_of(" the") == READ["llama2"].id_of("▁the") > 0
    assert tokenizer.id_of("<|endoftext|>") == tokenizer.size - 1
    assert tokenizer.id_of("no such entry") == -1
    assert (tokenizer.unknown, READ["llama2"].unknown) == (-1, 0)
    assert tokenizer.decode([the, tokenizer.size, -1, 2**70, the]) == " the the"
    for id in (tokenizer.size, -1, 2**32, 2**70):
        with pytest.raises(KeyError):
            tokenizer.token(id)


def test_size_counts_to_the_largest_id_over_holes():
    made = Tokenizer(models.BPE({"a": 0, "b": 900}, []))
    assert LibraryTokenizer(made).size == 901


def test_a_byte_that_the_library_would_drop_is_refused():
    made = Tokenizer(models.BPE({"a": 0, "Ã": 1}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = LibraryTokenizer(made)
    assert ids(tokenizer.encode("aa")) == [0, 0]
    with pytest.raises(ContentError, match="no token for the byte 0xA9"):
        tokenizer.encode("aé")
    made.add_special_tokens(["<é>"])
    assert ids(LibraryTokenizer(made).encode("a<é>")) == [0, 2]


def test_a_prompt_that_the_library_refuses_is_an_error_of_ours():
    made = Tokenizer(models.WordLevel({"a": 0}, unk_token="[UNK]"))
    with pytest.raises(ContentError, match="no tokens for this prompt"):
        LibraryTokenizer(made).encode("b")
    with pytest.raises(ContentError, match="no tokens for this prompt"):
        READ["gpt2"].encode("\ud800")


def test_without_the_extra_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ContentError) as raised:
        read(FILES["gpt2"])
    assert raised.value.hint == 'pip install "attn-cli[models]"'


def refused(path: Path) -> ContentError:
    with pytest.raises(ContentError) as raised:
        read(path)
    assert str(path) in raised.value.message
    for word in ("Error", "Errno", "invalid", "expected"):
        assert word not in raised.value.message
    return raised.value


def test_paths_that_are_no_file(tmp_path: Path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("fifo", "missing", "loop", "."):
        refused(tmp_path / name)


@pytest.mark.parametrize(
    "contents",
    [
        b"", b"{}", b"[]", b"\xff", b"null", b"<html>", b'{"version":"1.0"}', b"[" * 100_000,
        b'{"version":"1.0","model":{"type":"BPE","vocab":{},"merges":[["a","b"]]}}',
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    ],
)  # fmt: skip
def test_malformed_files(tmp_path: Path, contents: bytes):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(contents)
    refused(path)


@pytest.mark.parametrize("key", ["continuing_subword_prefix", "continuing_subword_prefi\\u0078"])
def test_a_prefix_that_ends_the_process_is_refused(tmp_path: Path, key: str):
    contents = FILES["gpt2"].read_text().replace('"continuing_subword_prefix":null', f'"{key}":"x"')
    assert f'"{key}":"x"' in contents
    (tmp_path / "tokenizer.json").write_text(contents)
    refused(tmp_path / "tokenizer.json")


def test_escapes_in_entries_are_no_reason_to_refuse(tmp_path: Path):
    contents = json.loads(FILES["gpt2"].read_text())
    contents["model"]["vocab"] |= {'Ġ":': 700, 'Ġ"': 701, "Ġ\\": 702, '":"': 703, 'é":["': 704}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(contents, ensure_ascii=True))
    assert read(path).encode("naïve 中") == READ["gpt2"].encode("naïve 中")


def test_a_template_of_undefined_tokens_is_refused(tmp_path: Path):
    # The library would panic, and print that, when it encodes.
    contents = json.loads(FILES["llama2"].read_text())
    contents["post_processor"]["special_tokens"] = {}
    (tmp_path / "tokenizer.json").write_text(json.dumps(contents))
    refused(tmp_path / "tokenizer.json")


def test_a_template_for_pairs_of_undefined_tokens_is_refused(tmp_path: Path):
    contents = json.loads(FILES["llama2"].read_text())
    contents["post_processor"]["pair"].append({"SpecialToken": {"id": "<none>", "type_id": 0}})
    (tmp_path / "tokenizer.json").write_text(json.dumps(contents))
    refused(tmp_path / "tokenizer.json")


def places(value: object, path: tuple = ()) -> list[tuple]:
    """Where each value of a JSON document is, the first dozen of long lists only."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = [path] if path else []
    for key, item in list(inner)[:12]:
        here = (*path, key)
        found += places(item, here) if isinstance(item, dict | list) else [here]
    return found


ODD = [None, -1, 1.5, "", "x", [], {}, True, 2**64, {"type": "ByteLevel"}, [["a", "b"]]]
PLACES = {name: places(json.loads(FILES[name].read_text())) for name in ("llama3", "llama2")}


@pytest.mark.parametrize("name", PLACES)
@settings(max_examples=250)
@given(data=st.data())
def test_only_our_errors_escape(name: str, data: st.DataObject, tmp_path_factory):
    contents = json.loads(FILES[name].read_text())
    *way, last = data.draw(st.sampled_from(PLACES[name]))
    place = contents
    for key in way:
        place = place[key]
    place[last] = data.draw(st.sampled_from(ODD))
    path = tmp_path_factory.getbasetemp() / f"{name}.json"
    path.write_text(json.dumps(contents))
    try:
        tokenizer = read(path)
        tokenizer.decode(ids(tokenizer.encode("Hello wörld <s> 1\n")))
        assert tokenizer.size >= 0
    except ContentError:
        pass


@pytest.mark.parametrize("share", range(0, 100, 4))
def test_a_truncated_file_is_refused(tmp_path: Path, share: int):
    contents = FILES["llama2"].read_bytes()
    path = tmp_path / "tokenizer.json"
    path.write_bytes(contents[: len(contents) * share // 100])
    refused(path)


def test_a_byte_that_is_lost_in_one_place_and_kept_in_another_is_refused():
    alphabet = {chr(char): id for id, char in enumerate(ALPHABET.values())}
    del alphabet["~"]
    made = Tokenizer(models.BPE(alphabet, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_tokens(["a~"])
    tokenizer = LibraryTokenizer(made)
    assert [token.text for token in tokenizer.encode("a~ b")] == ["a~", " ", "b"]
    with pytest.raises(ContentError, match="no token for the byte 0x7E"):
        tokenizer.encode("a~ ~")


def test_a_decoder_that_replaces_something_else_than_a_space_mark_says_nothing_of_spaces():
    made = Tokenizer(models.WordLevel({"a_b": 0, "<unk>": 1}, "<unk>"))
    made.decoder = decoders.Replace("_", "-")
    tokenizer = LibraryTokenizer(made)
    assert [token.text for token in tokenizer.encode("a_b")] == ["a_b"]
    assert (tokenizer.id_of("a_b"), tokenizer.id_of("a b")) == (0, -1)
