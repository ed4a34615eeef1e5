"""A tokenizer.json and the files beside it, against the ids of both versions of the reference."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from attn_cli.errors import ContentError
from attn_cli.notes import prompt_notes
from attn_cli.opening.load import load, tokenizer_of
from attn_cli.reading import tokenise
from attn_cli.tokens.chat import turn

GOLDEN = Path(__file__).parents[1] / "golden"
STORED = json.loads((GOLDEN / "beside.json").read_text())
FOLDERS, TEXTS = STORED["folders"], STORED["texts"]


@pytest.fixture
def place(tmp_path):
    """Lays a folder out, with some of its files changed."""

    def lay_out(name, **changed):
        recipe = FOLDERS[name]
        contents = json.loads((GOLDEN / recipe["base"] / "tokenizer.json").read_text())
        if recipe["bare"]:
            contents["added_tokens"] = []
        files = {"tokenizer.json": contents, **recipe["files"]}
        for file, values in (files | changed).items():
            (tmp_path / file).write_text(json.dumps(values))
        return tmp_path

    return lay_out


def ids_of(tokenizer, special):
    return [[token.id for token in tokenizer.encode(text, special=special)] for text in TEXTS]


@pytest.mark.parametrize("name", FOLDERS)
def test_ids_are_the_references(place, name):
    tokenizer, recipe = tokenizer_of(place(name)), FOLDERS[name]
    found = [ids_of(tokenizer, special) for special in (True, False)]
    assert found == recipe["ids"]
    if recipe["older"] is None:
        assert tokenizer.older is None
    else:
        assert [ids_of(tokenizer.older, special) for special in (True, False)] == recipe["older"]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_pair_and_the_mask_token_are_the_references(place, name):
    tokenizer, recipe = tokenizer_of(place(name)), FOLDERS[name]
    # Where no config tells the mask token, its name does: the reference then has none.
    named = tokenizer.token(tokenizer.mask).text if tokenizer.mask >= 0 else ""
    assert tokenizer.mask == (recipe["mask"] if name != "modernbert-silent" else 605)
    assert named in ("", "[MASK]", "<mask>")
    ids, types = recipe["pair"]
    try:
        tokens, found = tokenizer.pair(*TEXTS[:2])
    except ContentError:
        first, second = ids_of(tokenizer, True)[0], ids_of(tokenizer, False)[1]
        assert ids == first + second
    else:
        assert ([token.id for token in tokens], list(found)) == (ids, types)


def test_the_golden_has_folders_where_the_versions_agree_and_where_they_differ():
    same = [recipe["ids"] == recipe["older"] for recipe in FOLDERS.values() if recipe["older"]]
    assert same.count(True) > 8 and same.count(False) > 8


@pytest.mark.parametrize("name", ["added-tokens", "added-tokens-decoder", "special-tokens-map"])
def test_markers_that_stand_beside_make_a_chat_format(place, name):
    found = turn(tokenizer_of(place(name)), "hi")
    assert found.format == "chatml"
    assert [token.text for token in found.tokens if token.special] == [
        "<|im_start|>", "<|im_end|>", "<|im_start|>",
    ]  # fmt: skip


def test_a_prompt_that_the_versions_read_differently_gets_one_note(place):
    tokenizer = tokenizer_of(place("llama-without-bos"))
    model = replace(load("tiny"), open_tokenizer=lambda: tokenizer)
    notes = [str(one) for one in prompt_notes(model, tokenise(model, "the"))]
    assert len(notes) == 1 and notes[0].startswith("these tokens are those of transformers 5;")
    assert prompt_notes(model, tokenise(model, "the", special=False)) == ()
    assert prompt_notes(model, tokenise(model, ids=[5])) == ()


@pytest.mark.parametrize("name", ["GPT2Tokenizer", "XLMRobertaTokenizer"])
def test_a_class_of_another_kind_of_model_leaves_the_file_as_it_is(place, name):
    before = ids_of(tokenizer_of(place("bert-file")), special=True)
    config = {"tokenizer_class": name, "mask_token": "[MASK]", "bos_token": "[CLS]"}
    config |= {"eos_token": "[SEP]", "unk_token": "[UNK]", "pad_token": "[PAD]"}
    folder = place("bert-file", **{"tokenizer_config.json": config})
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    found = tokenizer_of(folder)
    names = ("<s>", "</s>", "<mask>", "<|endoftext|>")
    plain = [text for text in TEXTS if not any(token in text for token in names)]
    assert len(plain) > 2
    for text in plain:
        assert [t.id for t in found.encode(text)] == before[TEXTS.index(text)]


def test_a_class_adds_its_own_tokens_only_where_the_embedding_has_room(place):
    folder = place("gpt2-silent")
    roomy = tokenizer_of(folder)
    contents = json.loads((folder / "tokenizer.json").read_text())
    contents["added_tokens"] = []
    contents["model"]["vocab"].pop("<|endoftext|>", None)
    (folder / "tokenizer.json").write_text(json.dumps(contents))
    count = len(contents["model"]["vocab"])
    assert tokenizer_of(folder, count + 1).added("<|endoftext|>") == count
    assert tokenizer_of(folder, count).added("<|endoftext|>") == -1
    assert roomy.added("<|endoftext|>") >= 0


@pytest.mark.parametrize(("file", "contents"), [
    ("added_tokens.json", "{"), ("added_tokens.json", '{"<x>": "y"}'),
    ("special_tokens_map.json", "[]"), ("tokenizer_config.json", '{"added_tokens_decoder": 3}'),
    ("tokenizer_config.json", '{"added_tokens_decoder": {"x": {}}}'),
    ("tokenizer_config.json", '{"added_tokens_decoder": {"1": 3}}'),
])  # fmt: skip
def test_damaged_files_beside_give_our_error_or_a_tokenizer(place, file, contents):
    folder = place("added-tokens")
    (folder / file).write_text(contents)
    try:
        assert tokenizer_of(folder).encode("hi")
    except ContentError as refused:
        assert str(folder) in refused.message


@pytest.mark.parametrize("model", ["gpt2", "opt", "qwen2", "qwen3", "gpt_neox"])
def test_vocab_json_and_merges_txt_are_read_like_a_tokenizer_json(place, tmp_path, model):
    config = {"bos_token": "<FOO>", "additional_special_tokens": ["<BAZ>"]}
    folder = place("gpt2-silent", **{
        "config.json": {"model_type": model}, "tokenizer_config.json": config,
    })  # fmt: skip
    contents = json.loads((folder / "tokenizer.json").read_text())
    contents |= {"added_tokens": [], "post_processor": None}
    (folder / "tokenizer.json").write_text(json.dumps(contents))
    whole = ids_of(tokenizer_of(folder), special=True)
    (folder / "tokenizer.json").unlink()
    vocabulary, merges = contents["model"]["vocab"], contents["model"]["merges"]
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    pairs = [one if isinstance(one, str) else " ".join(one) for one in merges]
    (folder / "merges.txt").write_text("\n".join(pairs))
    assert ids_of(tokenizer_of(folder), special=True) == whole
