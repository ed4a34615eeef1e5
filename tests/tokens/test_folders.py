"""Tokenizers of folders that have no tokenizer.json, against the reference library's ids."""

import json
import random
import shutil
import sys

import pytest

from attn_cli.errors import ContentError
from attn_cli.opening.load import tokenizer_of
from attn_cli.tokens import merges, special, spm
from attn_cli.tokens.absent import Absent
from attn_cli.tokens.library import LibraryTokenizer
from attn_cli.tokens.wordpiece import WordPiece
from attn_cli.training.tokenizer import build

NAMES = (
    "llama", "phi3", "phi3-symbols", "bare", "mistral", "no-class", "generic", "renamed", "older",
    "gemma", "gemma-listed", "t5", "t5-silent", "deberta", "deberta-named",
    "gpt2", "gpt2-older", "opt", "opt-map", "roberta", "roberta-named", "bart",
    "bert", "bert-cased", "bert-accents", "bert-stripped", "distilbert", "distilbert-named",
    "electra", "xlm-roberta", "xlm-roberta-named", "camembert", "camembert-named", "albert",
    "albert-cased", "mt5", "mt5-silent", "deberta-lower",
)  # fmt: skip
WITHOUT_PAIRS = ("bare", "no-class", "gemma-listed", "gpt2")  # they add no token at all
SPM = (
    "llama", "phi3", "gemma", "t5", "deberta", "xlm-roberta", "camembert", "albert",
)  # fmt: skip


@pytest.fixture(scope="module")
def golden(golden_path):
    return json.loads((golden_path / "folders.json").read_text())


@pytest.fixture
def folder(golden_path, tmp_path):
    """A copy of one of the folders, which a test may change."""

    def copy(name):
        return shutil.copytree(golden_path / "folders" / name, tmp_path / name)

    return copy


def file_of(folder):
    return next(folder / name for name in spm.NAMES if (folder / name).exists())


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_ids_are_the_references(golden, golden_path, name, special):
    tokenizer = tokenizer_of(golden_path / "folders" / name)
    for text, ids in zip(golden["texts"], golden["ids"][name][not special], strict=True):
        tokens = tokenizer.encode(text, special=special)
        assert [token.id for token in tokens] == ids, text
        spans = [token.span for token in tokens if token.span[0] < token.span[1]]
        assert spans == sorted(spans)
        assert all(0 <= start < end <= len(text) for start, end in spans)


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_pairs_and_the_mask_token_are_the_references(golden, golden_path, name, special):
    tokenizer = tokenizer_of(golden_path / "folders" / name)
    assert tokenizer.mask == golden["mask"][name]
    pairs = zip(golden["pair texts"], golden["pairs"][name][not special], strict=True)
    for (text, second), (ids, types) in pairs:
        if name in WITHOUT_PAIRS:
            with pytest.raises(ContentError, match="no form for pairs"):
                tokenizer.pair(text, second, special=special)
            continue
        tokens, found = tokenizer.pair(text, second, special=special)
        assert ([token.id for token in tokens], list(found)) == (ids, types)
        spans = [token.span for token in tokens]
        assert spans == sorted(spans) and spans[-1][1] <= len(text + second)
        alone = tokenizer.encode(second, special=False)
        moved = [(a + len(text), b + len(text)) for a, b in (token.span for token in alone)]
        assert [span for span in moved if span[0] < span[1]] == [
            span for span in spans if span[0] < span[1] and span[0] >= len(text)
        ]


def test_every_golden_is_tested(golden, golden_path):
    assert set(golden["ids"]) == set(NAMES) == {p.name for p in (golden_path / "folders").iterdir()}


@pytest.mark.parametrize("name", ["llama", "phi3", "gemma", "gpt2", "opt"])
def test_decoding_gives_the_text_back(golden_path, name):
    tokenizer = tokenizer_of(golden_path / "folders" / name)
    for text in ("the greatest thinker", "naïve café 中国", "a  b\n\n c", "x\ty 123"):
        ids = [token.id for token in tokenizer.encode(text, special=False)]
        assert tokenizer.decode(ids) == text


def test_markers_are_special_and_symbols_are_not(golden_path):
    tokenizer = tokenizer_of(golden_path / "folders" / "gemma")
    tokens = tokenizer.encode("<start_of_turn>a\n\n<end_of_turn>")
    shown = {token.text: token.special for token in tokens}
    assert shown["<bos>"] and shown["<start_of_turn>"] and shown["<end_of_turn>"]
    assert not shown["\n\n"]


def test_a_tokenizer_json_is_read_before_all_others(folder, golden_path):
    place = folder("llama")
    shutil.copy(golden_path / "tokenizers" / "gpt2" / "tokenizer.json", place)
    assert tokenizer_of(place).size != spm.read(place / "tokenizer.model").size


def test_a_word_piece_file_of_another_form_is_read_by_the_library(tmp_path):
    contents = build(["the king is a man"])
    place = tmp_path / "tokenizer.json"
    place.write_text(json.dumps(contents))
    ours = tokenizer_of(tmp_path)
    contents["model"]["max_input_chars_per_word"] = 200
    place.write_text(json.dumps(contents))
    theirs = tokenizer_of(tmp_path)
    assert (type(ours), type(theirs)) == (WordPiece, LibraryTokenizer)
    assert ours.encode("the kings") == theirs.encode("the kings")


def test_a_tokenizer_json_that_leads_nowhere_is_named(tmp_path):
    (tmp_path / "tokenizer.json").symlink_to("gone")
    with pytest.raises(ContentError, match=r"no file .*tokenizer\.json"):
        tokenizer_of(tmp_path)


def test_without_any_file_ids_still_work(tmp_path):
    found = tokenizer_of(tmp_path)
    assert isinstance(found, Absent)
    assert "--ids" in found.problem
    assert (
        "has no tokenizer.json, tokenizer.model, vocab.txt, or vocab.json with merges.txt"
        in found.problem
    )


@pytest.mark.parametrize("name", ["BarthezTokenizer", "XLNetTokenizer", "MyTokenizer"])
def test_a_class_that_is_not_known_is_refused_by_name(folder, name):
    """Some of them shift every id: none is taken for another."""
    place = folder("llama")
    (place / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name}))
    with pytest.raises(ContentError, match=name):
        spm.read(place / "tokenizer.model")


def test_without_a_class_the_config_of_the_model_decides(folder):
    place = folder("bare")
    before = [t.id for t in spm.read(place / "tokenizer.model").encode("the thinker")]
    (place / "tokenizer_config.json").unlink()
    assert [t.id for t in spm.read(place / "tokenizer.model").encode("the thinker")] == before
    (place / "config.json").write_text('{"model_type": "unheard-of"}')
    with pytest.raises(ContentError, match="names no class"):
        spm.read(place / "tokenizer.model")


def test_the_class_may_be_named_in_the_config_of_the_model(folder):
    place = folder("gemma")
    before = tokenizer_of(place).encode("the thinker", special=False)
    (place / "tokenizer_config.json").unlink()
    (place / "config.json").write_text('{"tokenizer_class": "GemmaTokenizerFast"}')
    assert tokenizer_of(place).encode("the thinker", special=False) == before


def test_umt5s_file_without_a_tokenizer_json_is_read_as_t5s(folder):
    place = folder("t5")
    before = tokenizer_of(place).encode("the thinker <extra_id_0>")
    (place / "config.json").write_text('{"model_type": "umt5"}')
    assert tokenizer_of(place).encode("the thinker <extra_id_0>") == before


def test_a_config_can_leave_out_the_types_of_tokens(folder):
    place = folder("bert")
    assert tokenizer_of(place).pair("the", "is")[1][-1] == 1
    names = {"model_input_names": ["input_ids", "attention_mask"]}
    (place / "tokenizer_config.json").write_text(json.dumps(names))
    assert set(tokenizer_of(place).pair("the", "is")[1]) == {0}


@pytest.mark.parametrize(("mask", "start"), [
    (None, 3), ("<mask>", 3), ({"content": "<mask>", "lstrip": False}, 4),
    ({"content": "<mask>", "lstrip": True}, 3),
])  # fmt: skip
def test_camemberts_mask_token_takes_the_space_before_it_unless_the_config_says_how(
    folder, mask, start
):
    place = folder("camembert")
    if mask is not None:
        (place / "tokenizer_config.json").write_text(json.dumps({"mask_token": mask}))
    tokenizer = tokenizer_of(place)
    [found] = [token for token in tokenizer.encode("the <mask>") if token.id == tokenizer.mask]
    assert found.span == (start, 10)


def test_berts_file_without_a_word_on_the_model_is_read_as_berts(folder):
    place = folder("bert")
    before = tokenizer_of(place).encode("The thinker")
    (place / "config.json").unlink()
    assert tokenizer_of(place).encode("The thinker") == before


def test_deberta_lowers_and_cuts_at_marks_where_the_config_says_so(folder):
    place = folder("deberta")
    path = place / "tokenizer_config.json"
    config = json.loads(path.read_text())

    def spans(text, **more):
        path.write_text(json.dumps(config | more))
        return [(t.id, t.span) for t in tokenizer_of(place).encode(text, special=False)]

    lower = spans("the thinker")
    assert spans("THE Thinker", do_lower_case=True) == lower
    assert spans("THE Thinker", do_lower_case=False) != lower
    whole = [(0, 3), (3, 4), (4, 11)]
    assert [span for _, span in spans("the.thinker")] == whole
    # Each part has a space of its own before it.
    parts = [(0, 3), (3, 4), (3, 4), (4, 11)]
    assert [span for _, span in spans("the.thinker", split_by_punct=True)] == parts


def test_gpt2s_end_token_is_special_whatever_else_the_config_names(folder):
    place = folder("gpt2")
    names = {"tokenizer_class": "GPT2Tokenizer", "bos_token": "the", "eos_token": "the"}
    (place / "tokenizer_config.json").write_text(json.dumps(names))
    [token] = tokenizer_of(place).encode("<|endoftext|>")
    assert token.special


@pytest.mark.parametrize("package", ["sentencepiece", "tokenizers"])
def test_a_missing_package_is_named_with_the_command(golden_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ContentError, match=f"needs the package {package}") as refused:
        spm.read(golden_path / "folders" / "llama" / "tokenizer.model")
    assert refused.value.hint == 'pip install "attn-cli[models]"'


@pytest.mark.parametrize("config", [
    b"{", b"[]", b'{"added_tokens_decoder": {"x": {}}}', b'{"added_tokens_decoder": {"1": 3}}',
    b'{"tokenizer_class": "T5Tokenizer", "extra_ids": 100000000000}',
    b'{"tokenizer_class": "T5Tokenizer", "extra_ids": "many"}',
    b'{"tokenizer_class": "DebertaV2Tokenizer"}', b"\xff\xfe",
])  # fmt: skip
def test_a_damaged_config_gives_our_error_or_a_tokenizer(folder, config):
    place = folder("llama")
    (place / "tokenizer_config.json").write_bytes(config)
    try:
        spm.read(place / "tokenizer.model").encode("the thinker")
    except ContentError as refused:
        assert refused.message


@pytest.mark.parametrize("name", SPM)
def test_truncated_models_give_our_error_or_a_tokenizer(folder, name):
    place = folder(name)
    file = file_of(place)
    data = file.read_bytes()
    for length in [*range(0, 40), *range(40, len(data), len(data) // 60)]:
        file.write_bytes(data[:length])
        try:
            spm.read(file).encode("the thinker")
        except ContentError as refused:
            assert refused.message


@pytest.mark.parametrize("name", ["llama", "t5", "xlm-roberta"])
def test_flipped_bytes_give_our_error_or_a_tokenizer(folder, name):
    place, rng = folder(name), random.Random(3)
    file = file_of(place)
    data = file.read_bytes()
    for _ in range(150):
        changed = bytearray(data)
        for _ in range(rng.choice((1, 3, 30))):
            changed[rng.randrange(len(data))] = rng.randrange(256)
        file.write_bytes(changed)
        try:
            spm.read(file).encode("the thinker")
        except ContentError as refused:
            assert refused.message


@pytest.mark.parametrize("data", [b"", b"\x0a", b"not a model", b"<html>", b"\0" * 100])
def test_what_is_no_model_is_said(folder, data):
    file = file_of(folder("llama"))
    file.write_bytes(data)
    with pytest.raises(ContentError, match="is not a SentencePiece model"):
        spm.read(file)


@pytest.mark.parametrize("kind", [3, 4])
def test_models_of_words_or_characters_are_refused(folder, kind):
    file = file_of(folder("llama"))
    settings = bytes([0x12, 2, 0x18, kind])  # trainer_spec.model_type; the last one counts
    file.write_bytes(file.read_bytes() + settings)
    with pytest.raises(ContentError, match="is of words or characters"):
        spm.read(file)


def test_special_tokens_map_has_the_last_word_where_the_config_lists_no_added_tokens(folder):
    place = folder("older")
    config = json.loads((place / "tokenizer_config.json").read_text())
    token = {"bos_token": "the"}
    (place / "tokenizer_config.json").write_text(json.dumps(config | {"bos_token": "a"}))
    (place / "special_tokens_map.json").write_text(json.dumps(token))
    assert special.settings(place)["bos_token"] == "the"
    assert tokenizer_of(place).encode("x")[0].text == "the"


def test_special_tokens_are_cut_like_any_text_where_the_config_says_so(folder):
    place = folder("llama")
    whole = spm.read(place / "tokenizer.model").encode("</s>", special=False)
    (place / "tokenizer_config.json").write_text('{"split_special_tokens": true}')
    cut = spm.read(place / "tokenizer.model").encode("</s>", special=False)
    assert [t.id for t in whole] == [2]
    assert "".join(t.text for t in cut) == " </s>" and len(cut) > 1


@pytest.mark.parametrize(("model", "config"), [
    ("llama", {}), ("gemma2", {}), ("qwen3", {"tokenizer_class": "DebertaTokenizer"}),
    ("deberta", {}), ("bert", {}), ("xlm-roberta", {}),
])  # fmt: skip
def test_other_models_with_gpt2s_two_files_are_refused(folder, model, config):
    place = folder("gpt2")
    (place / "config.json").write_text(json.dumps({"model_type": model}))
    (place / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ContentError, match=r"has no tokenizer\.json"):
        merges.read(place)


def test_the_package_says_nothing_on_stderr(folder, capfd):
    """It would warn of a piece that is a null character."""
    file = file_of(folder("llama"))
    file.write_bytes(file.read_bytes() + b"\x0a\x03\x0a\x01\0")
    assert spm.read(file).size == 501
    assert capfd.readouterr().err == ""


def test_a_model_of_too_many_pieces_is_refused(folder):
    """Half a million is twice Gemma's; merges of millions would take minutes and gigabytes."""
    file = file_of(folder("llama"))
    more = (b"x%06x" % n for n in range(500_000))
    file.write_bytes(file.read_bytes() + b"".join(b"\x0a\x09\x0a\x07" + piece for piece in more))
    with pytest.raises(ContentError, match="has 500,500 pieces; attn reads up to 500,000"):
        spm.read(file)


@pytest.mark.parametrize(("vocabulary", "pairs"), [
    (b"{", b"a b"), (b"[]", b"a b"), (b"{}", b"a b"), (b'{"a": 0, "b": 1}', b"a b"),
    (b'{"a": 0, "b": 0}', b""), (b'{"a": "x"}', b""), (b'{"a": -1}', b""),
    (b'{"a": 0}', b"a"), (b'{"a": 0}', b"a b c"),
    (b'{"a": 0}', b"\xff"), (b'{"a": 100000000000}', b""), (b'{"a": 2147483648}', b""),
])  # fmt: skip
def test_a_vocabulary_and_merges_that_do_not_fit_are_refused(folder, vocabulary, pairs):
    place = folder("gpt2")
    (place / "vocab.json").write_bytes(vocabulary)
    (place / "merges.txt").write_bytes(pairs)
    with pytest.raises(ContentError):
        merges.read(place)


def test_merges_of_another_class_are_refused(folder):
    place = folder("gpt2")
    (place / "tokenizer_config.json").write_text('{"tokenizer_class": "DebertaTokenizer"}')
    with pytest.raises(ContentError, match="DebertaTokenizer"):
        merges.read(place)


@pytest.mark.parametrize(("model", "config"), [
    ("mpnet", {}), ("gpt2", {}), ("roberta", {}), ("bert", {"tokenizer_class": "MPNetTokenizer"}),
    ("bert", {"tokenizer_class": "BertJapaneseTokenizer"}), ("modernbert", {}),
])  # fmt: skip
def test_other_models_with_berts_file_are_refused(folder, model, config):
    place = folder("bert")
    (place / "config.json").write_text(json.dumps({"model_type": model}))
    (place / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ContentError, match=r"has no tokenizer\.json"):
        tokenizer_of(place)


@pytest.mark.parametrize("change", [
    lambda data: data.replace(b"\n", b"\r\n"), lambda data: data.removesuffix(b"\n"),
    lambda data: data.replace(b"\n", b" \xe3\x80\x80\n"),
])  # fmt: skip
def test_line_ends_of_a_list_of_words_change_nothing(folder, change):
    place = folder("bert")
    before = tokenizer_of(place).encode("the [MASK] thinker")
    (place / "vocab.txt").write_bytes(change((place / "vocab.txt").read_bytes()))
    assert tokenizer_of(place).encode("the [MASK] thinker") == before


def test_of_equal_words_the_last_counts_and_only_white_space_ends_a_line(folder):
    place = folder("bert")
    words = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "the", "x", "the", "a\x1c", "", "b"]
    (place / "vocab.txt").write_text("\n".join(words))
    found = tokenizer_of(place)
    assert (found.size, found.id_of("the"), found.id_of("a\x1c"), found.id_of("a")) == (
        11,
        7,
        8,
        -1,
    )
    with pytest.raises(KeyError):
        found.token(5)


@pytest.mark.parametrize("data", [b"", b"\xff", b"[UNK]\nthe", b"\0", b"a" * 40_000_000])
def test_a_list_of_words_that_will_not_do_gives_our_error_or_a_tokenizer(folder, data):
    place = folder("bert")
    (place / "vocab.txt").write_bytes(data)
    try:
        assert tokenizer_of(place).encode("the [MASK]")
    except ContentError as refused:
        assert refused.message


@pytest.mark.parametrize("name", ["bert", "roberta", "xlm-roberta", "camembert", "albert", "mt5"])
@pytest.mark.parametrize("config", [
    {"mask_token": None}, {"mask_token": 3}, {"mask_token": ["a"]}, {"mask_token": {}},
    {"cls_token": {"content": 3}}, {"pad_token": ""}, {"unk_token": "not there"},
    {"bos_token": {"lstrip": 7}}, {"strip_accents": "x", "do_lower_case": []},
    {"add_prefix_space": "no", "keep_accents": 1}, {"model_input_names": [3, None]},
    {"model_input_names": "token_type_ids"}, {"eos_token": "\ud800"}, {"extra_ids": -1},
    {"added_tokens_decoder": {"-3": {"content": "a"}}}, {"extra_special_tokens": 3},
])  # fmt: skip
def test_odd_configs_of_encoders_give_our_error_or_a_tokenizer(folder, name, config):
    place = folder(name)
    (place / "tokenizer_config.json").write_text(json.dumps(config))
    try:
        tokenizer = tokenizer_of(place)
        assert tokenizer.pair("the", "thinker [MASK]")[1][0] == 0
        assert -1 <= tokenizer.mask < tokenizer.size
    except ContentError as refused:
        assert refused.message


def test_line_ends_of_other_systems_change_nothing(folder):
    place = folder("gpt2")
    before = [token.id for token in merges.read(place).encode("the thinker")]
    pairs = (place / "merges.txt").read_bytes().replace(b"\n", b"\r\n")
    (place / "merges.txt").write_bytes(pairs)
    assert [token.id for token in merges.read(place).encode("the thinker")] == before


def test_a_config_that_is_a_dangling_link_is_not_passed_over(folder):
    place = folder("llama")
    (place / "tokenizer_config.json").unlink()
    (place / "tokenizer_config.json").symlink_to("nowhere")
    with pytest.raises(ContentError, match="tokenizer_config"):
        spm.read(place / "tokenizer.model")


def test_a_unigram_models_unknown_token_may_have_any_name(golden_path):
    tokenizer = tokenizer_of(golden_path / "folders" / "deberta")
    [token] = [t for t in tokenizer.encode("\u2603", special=False) if t.span == (0, 1)][-1:]
    assert token.text == "[UNK]"
    assert tokenizer.unknown == token.id
