"""The `tokenizers` library is the reference: same file, same ids, same offsets."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from attn_cli.errors import ContentError
from attn_cli.tokens import wordpiece
from attn_cli.tokens.token import Around, Token
from attn_cli.tokens.wordpiece import AnotherForm, WordPiece, file_of, read, split_words
from attn_cli.training.tokenizer import DECODER, ENCODER, TRANSLATOR, Form, build

CORPUS = [
    "The book is on the table . It's Sam's book, isn't it?",
    "中国 最 伟大 的 国人 是 中国人 。",
    "the capital of France is Paris",
    "中 x中y naïve café",
    "<|endoftext|>",
]
FORMS = {"decoder": DECODER, "encoder": ENCODER, "translator": TRANSLATOR}
FILES = {name: build(CORPUS, form) for name, form in FORMS.items()}
BOTH = {n: (WordPiece(file), Tokenizer.from_str(json.dumps(file))) for n, file in FILES.items()}
CONTENTS = FILES["decoder"]
OURS, THEIRS = BOTH["decoder"]

WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
FRAGMENTS = [
    *("The", "book", "is", "table", "It's", "naïve", "café"),
    *("中国", "中国人", "国人", "中", "国", "最", "伟", "伟大", "x中y", "x中"),
    *("[UNK]", "[UNK", "[unk]", "<|endoftext|>", "<|endoftext|", "<|endoftext|>>", "##", "##ing"),
    *("unbelievable", "running", "。", "，", "’", "'", "--", "☃", "😀", "👨‍👩‍👧", "e\u0301"),
    *("\0", "\x1c", "\x1f", "\x7f", "\u200b", "\ufeff", "\u166d", "\u2e4f", "\U000111c9"),
    *("a" * 100, "a" * 101, "ing" * 40, "龍" * 101, "中" * 101),
]
CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXTS = st.lists(
    st.one_of(
        st.sampled_from(FRAGMENTS),
        st.sampled_from(WHITE_SPACE),
        st.text("abcdeinst'.#", max_size=6),
        st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF),
        CHARACTERS,
    ),
    max_size=14,
).map("".join)
JOINED = ["the", "book", "中国", "最", "##ing", "##s", "'", ".", "!", "[UNK]", "Sam"]
HAN = "[\u3400-\u9fff]"


def ids(tokens):
    return [token.id for token in tokens]


def assert_same(ours, theirs, text):
    same_tokens(ours.encode(text), theirs.encode(text), text)
    whole = theirs.encode(text, add_special_tokens=False)
    same_tokens(ours.encode(text, special=False), whole, text)


def same_tokens(tokens, reference, *texts):
    assert ids(tokens) == reference.ids
    assert [token.text for token in tokens] == reference.tokens
    end = 0
    for token, (a, b), part in zip(tokens, reference.offsets, reference.sequence_ids, strict=True):
        start = len(texts[0]) if part else 0
        # What is added stands at the end of what is before it.
        assert token.span == ((end, end) if part is None else (start + a, start + b))
        end = token.span[1]


def changed(**parts):
    """The contents of a good file with some parts of it replaced."""
    return {**copy.deepcopy(CONTENTS), **parts}


def with_model(**parts):
    return changed(model={**CONTENTS["model"], **parts})


def with_vocab(vocab):
    return with_model(vocab=vocab) | {"added_tokens": []}


def with_added(*others, **flags):
    first = {**CONTENTS["added_tokens"][0], **flags}
    return changed(added_tokens=[first, *others])


def added(id, content, special=False):
    return {**CONTENTS["added_tokens"][0], "id": id, "content": content, "special": special}


# ---------------------------------------------------------------- encode


def test_pencil_example():
    vocab = {"[UNK]": 0, "un": 1, "##a": 2, "##ff": 3, "##able": 4, "中国": 5, "!": 6, "##aff": 7}
    tokenizer = WordPiece(file_of(vocab, {"[UNK]": True, "中国": False}))
    assert tokenizer.encode("unaffable! 中国x") == (
        Token(id=1, text="un", span=(0, 2)),
        Token(id=7, text="##aff", span=(2, 5)),
        Token(id=4, text="##able", span=(5, 9)),
        Token(id=6, text="!", span=(9, 10)),
        Token(id=5, text="中国", span=(11, 13)),
        Token(id=0, text="[UNK]", span=(13, 14), special=True),
    )
    assert (tokenizer.size, tokenizer.unknown) == (8, 0)


@pytest.mark.parametrize("form", FORMS)
@given(TEXTS)
def test_ids_and_offsets_are_the_librarys(form, text):
    assert_same(*BOTH[form], text)
    if form == "decoder":
        assert OURS.encode(text, special=False) == OURS.encode(text)


@pytest.mark.parametrize("form", ["encoder", "translator"])
@given(TEXTS, TEXTS.filter(bool))
def test_pairs_are_the_librarys(form, text, second):
    ours, theirs = BOTH[form]
    tokens, types = ours.pair(text, second)
    reference = theirs.encode(text, second)
    same_tokens(tokens, reference, text, second)
    assert types == tuple(reference.type_ids)
    tokens, types = ours.pair(text, second, special=False)
    reference = theirs.encode(text, second, add_special_tokens=False)
    same_tokens(tokens, reference, text, second)
    assert types == tuple(part * (form == "encoder") for part in reference.sequence_ids)


def test_the_forms_by_hand():
    encoder, translator = BOTH["encoder"][0], BOTH["translator"][0]
    tokens, types = encoder.pair("the [MASK]", "book中国")
    assert [(token.text, token.span, token.special) for token in tokens] == [
        ("[CLS]", (0, 0), True), ("the", (0, 3), False), ("[MASK]", (4, 10), True),
        ("[SEP]", (10, 10), True), ("book", (10, 14), False), ("中国", (14, 16), False),
        ("[SEP]", (16, 16), True),
    ]  # fmt: skip
    assert types == (0, 0, 0, 0, 1, 1, 1)
    assert [token.text for token in encoder.encode("book")] == ["[CLS]", "book", "[SEP]"]
    assert [token.text for token in translator.encode("book")] == ["book", "</s>"]
    tokens, types = translator.pair("the", "book")
    assert [token.text for token in tokens] == ["the", "</s>", "book", "</s>"]
    assert types == (0, 0, 0, 0)
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert [encoder.id_of(name) for name in names] == [0, 1, 2, 3, 4]
    assert [translator.id_of(name) for name in ("<pad>", "</s>", "[UNK]")] == [0, 1, 2]
    assert (encoder.mask, encoder.unknown, translator.mask, translator.unknown) == (4, 1, -1, 2)


def test_an_empty_second_text_is_none():
    ours, _ = BOTH["encoder"]
    assert ours.pair("book", "") == (ours.encode("book"), (0, 0, 0))
    assert ids(ours.pair("", "book")[0]) == [2, 3, ours.id_of("book"), 3]


@pytest.mark.parametrize("names", [(), ("[UNK]",), ("[MASK]", "<mask>"), ("<mask>", "[UNK]")])
def test_the_mask_token_is_a_special_one_with_a_usual_name(names):
    vocab = {name: id for id, name in enumerate(["[UNK]", "<mask>", "[MASK]"])}
    found = WordPiece(file_of(vocab, dict.fromkeys(names, True)))
    assert found.mask == (2 if "[MASK]" in names else 1 if "<mask>" in names else -1)
    assert WordPiece(file_of(vocab, dict.fromkeys(names, False))).mask == -1


@given(
    st.lists(st.text("中国人ab", min_size=1, max_size=4), unique=True),
    st.lists(st.text("ab#中", min_size=1, max_size=4), unique=True),
    st.text("中国人ab #[UNK]", max_size=20),
)
def test_any_vocabulary_gives_the_librarys_ids(words, entries, text):
    vocab = {word: at for at, word in enumerate(dict.fromkeys(["[UNK]", *entries]))}
    contents = file_of(vocab, {word: len(word) == 2 for word in words})
    ours, theirs = WordPiece(contents), Tokenizer.from_str(json.dumps(contents))
    assert_same(ours, theirs, text)
    assert ours.size == theirs.get_vocab_size()
    assert all(ours.id_of(word) == theirs.token_to_id(word) for word in [*vocab, *words])


@pytest.mark.parametrize("start", range(0, 0x110000, 0x8000))
def test_every_character_splits_as_in_the_library(start):
    codes = (c for c in range(start, start + 0x8000) if not 0xD800 <= c < 0xE000)
    text = "".join(f"a{chr(code)}" for code in codes) + "b"
    assert split_words(text) == [span for _, span in BertPreTokenizer().pre_tokenize_str(text)]


def test_special_tokens_are_marked_and_han_words_are_not():
    tokens = OURS.encode("x<|endoftext|>中国")
    assert [(token.text, token.special) for token in tokens] == [
        ("x", False),
        ("<|endoftext|>", True),
        ("中国", False),
    ]


def test_a_lone_surrogate_is_unknown():
    assert OURS.encode("a \ud800") == (
        Token(id=OURS.id_of("a"), text="a", span=(0, 1)),
        Token(id=0, text="[UNK]", span=(2, 3), special=True),
    )


@pytest.mark.parametrize(("length", "unknown"), [(99, False), (100, False), (101, True)])
def test_a_word_past_the_limit_is_one_unknown_token(length, unknown):
    assert (ids(OURS.encode("z" * length)) == [OURS.unknown]) == unknown
    assert_same(OURS, THEIRS, "z" * length)


def test_a_token_that_only_begins_the_second_text_makes_a_form_for_pairs():
    tokenizer = WordPiece(file_of({"[UNK]": 0, "a": 1, "b": 2}, {}, Around((), (), ("b",), ())))
    tokens, types = tokenizer.pair("a", "a")
    assert (ids(tokens), types) == ([1, 2, 1], (0, 0, 0))


@pytest.mark.parametrize("around", [Around(), Around(("a",)), Around(("a",), second_after=("a",))])
def test_without_a_token_between_there_is_no_form_for_pairs(around):
    tokenizer = WordPiece(file_of({"[UNK]": 0, "a": 1}, {}, around))
    for second in ("a", ""):
        with pytest.raises(ContentError, match="no form for pairs"):
            tokenizer.pair("a", second)


# ---------------------------------------------------------------- decode, token, id_of


def without_our_spaces(text):
    return re.sub(rf" (?=[.,?!;:'])|(?<=') |(?<={HAN}) (?={HAN})", "", text)


@given(st.lists(st.integers(0, OURS.size + 3), max_size=12))
def test_decode_is_the_librarys_but_for_our_spaces(some):
    theirs = THEIRS.decode(some, skip_special_tokens=False)
    assert OURS.decode(some) == without_our_spaces(theirs)


@given(st.lists(st.sampled_from(JOINED), max_size=9))
def test_decode_near_marks_and_han(words):
    some = [OURS.id_of(word) for word in words]
    assert -1 not in some
    theirs = THEIRS.decode(some, skip_special_tokens=False)
    assert OURS.decode(iter(some)) == without_our_spaces(theirs)


def test_decode_sees_han_past_a_piece_that_shows_nothing():
    tokenizer = WordPiece(with_vocab({"[UNK]": 0, "中": 1, "##": 2, "a": 3}))
    assert tokenizer.decode([1, 2, 1, 2, 3]) == "中中 a"


@pytest.mark.parametrize(
    ("text", "back"),
    [
        ("It's Sam's book, isn't it?", "It's Sam's book, isn't it?"),
        ("中国 最 伟大", "中国最伟大"),
        ("中国 book 最", "中国 book 最"),
        ("the unbelievable book", "the unbelievable book"),
        ("who , what ; when : how ! why ?", "who, what; when: how! why?"),
        ("the\n☃ <|endoftext|> (is)", "the [UNK] <|endoftext|> ( is )"),
        ("", ""),
    ],
)
def test_decode_of_encode(text, back):
    assert OURS.decode(ids(OURS.encode(text))) == back


@given(TEXTS.filter(lambda text: not re.search("[\u2e80-\u9fff\uf900-\U0003ffff]", text)))
def test_text_without_han_keeps_its_ids_through_decode(text):
    some = ids(OURS.encode(text))
    assert ids(OURS.encode(OURS.decode(some))) == some


def test_token_and_id_of_are_inverse():
    for id in range(OURS.size):
        token = OURS.token(id)
        assert (token.id, token.span, OURS.id_of(token.text)) == (id, (0, 0), id)
    assert OURS.token(0).special
    assert OURS.id_of("no such entry") == -1
    with pytest.raises(KeyError):
        OURS.token(OURS.size)


def test_ids_may_have_holes():
    tokenizer = WordPiece(with_vocab({"[UNK]": 7, "a": 40}))
    assert (tokenizer.size, tokenizer.unknown) == (41, 7)
    assert tokenizer.decode([40, 8, 7]) == "a [UNK]"
    assert WordPiece(with_vocab({"[UNK]": 0, "a": 2**32 - 1})).size == 2**32


def test_the_longest_entry_is_found():
    assert ids(WordPiece(file_of({"[UNK]": 0, "abcdef": 1}, {})).encode("abcdef")) == [1]


def test_a_word_of_the_corpus_may_be_the_name_of_a_part_of_other_files(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(build(["the BertNormalizer of the ByteLevel"])))
    assert read(path).encode("BertNormalizer")[0].text == "BertNormalizer"


# ---------------------------------------------------------------- build and read


def test_the_embedded_file_is_what_build_makes():
    package = Path(wordpiece.__file__).parents[1]
    stored = json.loads((package / "data" / "tiny" / "tokenizer.json").read_bytes())
    lines = (package.parent / "samples" / "corpus.txt").read_text().splitlines()
    assert json.dumps(build(lines)) == json.dumps(stored)


def test_the_words_of_special_tokens_are_no_words_of_a_corpus():
    for form in FORMS.values():
        vocab = build([*form.special, "a"], form)["model"]["vocab"]
        assert list(vocab)[len(form.special)] == "a"


def test_build_numbers_the_words_in_order():
    form = Form(("[UNK]", "<end>"))
    vocab = build(["b中 a", "a", "中", "中", "[UNK]", "it's"], form)["model"]["vocab"]
    assert list(vocab)[:8] == ["[UNK]", "<end>", "b中", "a", "中", "it", "'", "s"]
    assert list(vocab.values()) == list(range(len(vocab)))
    assert {chr(code) for code in range(0x21, 0x7F)} < set(vocab)
    assert {"##a", "##Z", "##9", "##ing", "##tion"} < set(vocab)


def test_build_adds_the_special_tokens_and_the_han_words():
    tokens = build(["b中 a", "中", "b中"])["added_tokens"]
    assert [(token["id"], token["content"], token["special"]) for token in tokens] == [
        (0, "[UNK]", True),
        (1, "<|endoftext|>", True),
        (2, "b中", False),
        (4, "中", False),
    ]


def test_english_outside_the_corpus_falls_into_few_pieces():
    words = "government nothing interesting happiness yesterday reading management station workers"
    tokens = OURS.encode(words)
    assert OURS.unknown not in ids(tokens)
    assert len(tokens) < len(words) / 2


@pytest.mark.parametrize("form", FORMS)
def test_read_gives_the_same_tokenizer(tmp_path, form):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(FILES[form], ensure_ascii=False), encoding="utf-8")
    text = "中国 is [MASK] unbelievable, it's 😀"
    ours = BOTH[form][0]
    assert read(path).encode(text) == read(str(path)).encode(text) == ours.encode(text)
    assert ids(read(path).encode(text)) == Tokenizer.from_file(str(path)).encode(text).ids


@pytest.mark.parametrize("form", FORMS)
def test_what_the_library_writes_of_a_file_is_read_again(tmp_path, form):
    path = tmp_path / "tokenizer.json"
    BOTH[form][1].save(str(path))
    assert read(path).encode("the [MASK]") == BOTH[form][0].encode("the [MASK]")


@pytest.mark.parametrize("form", FORMS)
def test_our_forms_are_read_without_the_library(tmp_path, form):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(FILES[form]))
    code = (
        "import sys; from pathlib import Path; from attn_cli.tokens.wordpiece import read;"
        f"read(Path({str(path)!r})).encode('the'); print('tokenizers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# ---------------------------------------------------------------- refusals

BPE = {"type": "BPE", "vocab": {}, "merges": []}
TEMPLATE = FILES["encoder"]["post_processor"]
CLS, SEP = TEMPLATE["single"][0], TEMPLATE["single"][-1]


def with_template(**parts):
    return {**FILES["encoder"], "post_processor": {**TEMPLATE, **parts}}


DECODER = CONTENTS["decoder"]
OTHERS = {
    "another model": changed(model=BPE),
    "a normalizer": changed(normalizer={"type": "BertNormalizer"}),
    "another cut": changed(pre_tokenizer={"type": "ByteLevel"}),
    "no cut": changed(pre_tokenizer=None),
    "a post-processor": changed(post_processor={"type": "TemplateProcessing"}),
    "no text in a template": with_template(single=[CLS, SEP]),
    "two texts in a template": with_template(single=TEMPLATE["pair"]),
    "a pair without its first text": with_template(pair=TEMPLATE["pair"][2:]),
    "another type in a template": with_template(
        single=[TEMPLATE["pair"][-1], *TEMPLATE["single"][1:]]
    ),
    "a third type": with_template(
        pair=json.loads(json.dumps(TEMPLATE["pair"]).replace("1}", "2}"))
    ),
    "a token that is not there": with_template(special_tokens={}),
    "a token more": with_template(special_tokens={**TEMPLATE["special_tokens"], "x": {}}),
    "a template of text": with_template(single="[CLS] $A"),
    "an id that is a list": with_template(single=[{"SpecialToken": {"id": [], "type_id": 0}}]),
    "no template": with_template(single=None),
    "BERT's own": {
        **FILES["encoder"],
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
    },
    "no decoder": changed(decoder=None),
    "another decoder": changed(decoder={**DECODER, "type": "Fuse"}),
    "another prefix": changed(decoder={**DECODER, "prefix": "@@"}),
    "cleanup": changed(decoder={**DECODER, "cleanup": True}),
    "cleanup 0": changed(decoder={**DECODER, "cleanup": 0}),
    "truncation": changed(truncation={"max_length": 3}),
    "padding": changed(padding={}),
    "a version": changed(version="2.0"),
    "a key more": changed(novelty=1),
    "a key less": {key: value for key, value in CONTENTS.items() if key != "padding"},
    "a key more in the model": with_model(novelty=1),
    "another limit": with_model(max_input_chars_per_word=200),
    "a limit of another type": with_model(max_input_chars_per_word=100.0),
    "another mark": with_model(continuing_subword_prefix="@@"),
    "another unknown token": with_model(unk_token="the"),
    "no unknown token": with_model(unk_token=None),
    "a key more in a token": with_added(novelty=1),
    "lstrip": with_added(lstrip=True),
    "rstrip": with_added(rstrip=True),
    "normalized": with_added(normalized=True),
    "single_word": with_added(single_word=True),
    "single_word null": with_added(single_word=None),
    "special 1": with_added(special=1),
    "a list": [],
    "nothing": None,
    "no model": changed(model={}),
    "no vocabulary": with_vocab(None),
    "a list of words": with_vocab([]),
    "an empty vocabulary": with_vocab({}),
    "an id as text": with_vocab({"[UNK]": "0"}),
    "an id as truth": with_vocab({"[UNK]": 0, "a": True}),
    "an id as float": with_vocab({"[UNK]": 0, "a": 1.0}),
    "an id below 0": with_vocab({"[UNK]": 0, "a": -1}),
    "an id of 33 bits": with_vocab({"[UNK]": 0, "a": 2**32}),
    "half a surrogate pair": with_vocab({"[UNK]": 0, "\ud800": 1}),
    "added tokens as an object": changed(added_tokens={}),
    "no added tokens": changed(added_tokens=None),
    "an added text": with_added("text"),
    "an added number": with_added({**CONTENTS["added_tokens"][0], "content": 1}),
    "added twice": with_added(CONTENTS["added_tokens"][0]),
    "an empty token": with_added(added(OURS.size, "")),
    "half a pair added": with_added(added(OURS.size, "\udfff")),
    "another id than the vocabulary's": with_added(added(9999, "the")),
    "an id of another token": with_added(added(1, "not in the vocabulary")),
    "an id with a gap": with_added(added(OURS.size + 1, "not in the vocabulary")),
}


@pytest.mark.parametrize("contents", OTHERS.values(), ids=OTHERS)
def test_another_form_is_left_to_the_library(tmp_path, contents):
    with pytest.raises(AnotherForm):
        WordPiece(contents)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(contents))
    with pytest.raises(AnotherForm, match=r"tokenizer\.json"):
        read(path)


def test_a_larger_file_is_left_to_the_library_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(wordpiece, "_LARGEST_FILE", 1000)
    monkeypatch.setattr(wordpiece, "read_bytes", None)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(CONTENTS))
    with pytest.raises(AnotherForm):
        read(path)


def test_the_order_of_keys_and_an_added_token_outside_the_vocabulary_do_not_matter():
    contents = with_added(added(OURS.size, "not in it"), added(OURS.size + 1, "nor this"))
    ours = WordPiece(dict(reversed(contents.items())))
    assert_same(ours, Tokenizer.from_str(json.dumps(contents)), "the not in it nor this[UNK]")
    assert ours.added("nor this") == OURS.size + 1


def test_without_an_unknown_token_an_unknown_word_is_refused():
    contents = {**with_vocab({"cats": 0, "dog": 1, "##s": 2}), "added_tokens": []}
    ours, theirs = WordPiece(contents), Tokenizer.from_str(json.dumps(contents))
    assert ours.unknown == -1
    assert ids(ours.encode("cats dogs")) == theirs.encode("cats dogs").ids == [0, 1, 2]
    with pytest.raises(ContentError, match="no tokens for 'mice'") as caught:
        ours.encode("cats mice")
    assert caught.value.hint == "it knows: cats, dog, ##s"
    with pytest.raises(Exception, match="UNK"):
        theirs.encode("cats mice")


def test_one_id_of_two_words_is_refused_by_path(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(with_vocab({"[UNK]": 0, "a": 3, "b": 3})))
    with pytest.raises(ContentError, match=r"tokenizer\.json: .* one id to two words") as caught:
        read(path)
    assert type(caught.value) is ContentError


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff{}",
        b"\xef\xbb\xbf{}",
        b"[" * 200_000,
        b'{"model":' * 200_000,
        b"9" * 10_000,
        b"\0",
    ],
)
def test_malformed_files_are_refused_by_path(tmp_path, raw):
    path = tmp_path / "bad.json"
    path.write_bytes(raw)
    with pytest.raises(AnotherForm, match=r"bad\.json"):
        read(path)
    path.write_bytes(b'{"WordPiece": ' + raw)
    with pytest.raises(ContentError, match=r"bad\.json is not (strict JSON|valid UTF-8)") as caught:
        read(path)
    assert caught.value.message.encode()


def test_a_file_that_cannot_be_opened_is_refused_by_path(tmp_path):
    with pytest.raises(ContentError, match=r"no file .*none\.json"):
        read(tmp_path / "none.json")


SMALL = json.dumps(
    file_of(
        {"[UNK]": 0, "a": 1, "##b": 2, "中": 3},
        {"[UNK]": True, "中": False},
        Around(("a",), ("中",), ("中", "a"), (), type=1),
    ),
    ensure_ascii=False,
).encode()


def outcome(path):
    """The ids of a text, or None where the file is refused; any other error is a failure."""
    try:
        return ids(read(path).encode("ab 中[UNK]"))
    except ContentError as error:
        assert error.message.encode()
        return None


@given(st.binary(max_size=60), st.integers(0, len(SMALL)), st.integers(0, 60))
def test_no_bytes_give_another_error(tmp_path_factory, junk, at, cut):
    path = tmp_path_factory.getbasetemp() / "fuzz.json"
    path.write_bytes(SMALL[:at] + junk + SMALL[at + cut :])
    got = outcome(path)
    assert got is None or len(got) >= 3
    path.write_bytes(junk)
    assert outcome(path) is None


def places(value, path=()):
    """The path of every value inside a JSON value, itself left out."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 5) | st.floats() | st.text(max_size=3)
    | st.sampled_from(["WordPiece", "BertPreTokenizer", "##", "[UNK]", 2**32, 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)  # fmt: skip


@given(st.sampled_from(sorted(places(json.loads(SMALL)), key=repr)), JSON, st.booleans())
def test_what_is_taken_of_a_changed_file_is_read_as_the_library_does(
    tmp_path_factory, place, value, drop
):
    contents = json.loads(SMALL)
    *outer, last = place
    inside = contents
    for key in outer:
        inside = inside[key]
    if drop:
        del inside[last]
    else:
        inside[last] = value
    path = tmp_path_factory.getbasetemp() / "changed.json"
    path.write_text(json.dumps(contents))
    got = outcome(path)
    assert got is None or got == Tokenizer.from_file(str(path)).encode("ab 中[UNK]").ids
