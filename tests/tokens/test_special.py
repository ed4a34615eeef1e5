"""Special tokens as the configs beside a vocabulary name them, and what is told the library."""

import json

import pytest
from tokenizers import Tokenizer, models

from attn_cli.tokens import special
from attn_cli.tokens.token import Around


class Recorder:
    """Takes the place of a library's tokenizer, and keeps the tokens it is given, in order."""

    def __init__(self):
        self.given = []

    def get_added_tokens_decoder(self):
        return {}

    def add_tokens(self, tokens):
        self.given += [(t.content, t.special, t.normalized) for t in tokens]


def added(config, names, further=(), **options):
    recorder = Recorder()
    special.add(recorder, config, names, further, **options)
    return recorder.given


def entry(content, **flags):
    return {"content": content, "special": False, "normalized": True, **flags}


def test_tokens_are_added_by_id_then_the_named_then_those_listed_each_once():
    config = {
        "added_tokens_decoder": {"1000": entry("<x>"), "999": entry("<y>")},
        "extra_special_tokens": ["<list>", "<y>"],
    }
    found = added(config, {"bos": "<s>", "eos": "<x>"}, [("<more>", False), ("<list>", False)])
    assert [content for content, *_ in found] == ["<y>", "<x>", "<s>", "<list>", "<more>"]


def test_a_named_token_is_special_whatever_its_entry_says():
    config = {"added_tokens_decoder": {"5": entry("<s>"), "6": entry("<x>")}}
    assert added(config, {"bos": "<s>"}) == [("<s>", True, True), ("<x>", False, True)]


def test_without_normalising_every_token_is_looked_for_as_it_was_typed():
    config = {"added_tokens_decoder": {"6": entry("<x>")}}
    assert added(config, {}, normalize=False) == [("<x>", False, False)]


@pytest.fixture
def settings(tmp_path):
    """The settings of a folder with these files."""

    def read(**files):
        for name, values in files.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(values))
        return special.settings(tmp_path)

    return read


def test_the_newer_name_of_the_listed_tokens_comes_first(settings):
    newer = {"extra_special_tokens": ["<new>"], "additional_special_tokens": ["<old>"]}
    assert special.listed(settings(tokenizer_config=newer)) == ["<new>"]
    older = {"extra_special_tokens": [], "additional_special_tokens": ["<old>"]}
    assert special.listed(settings(tokenizer_config=older)) == ["<old>"]


def test_older_files_say_which_added_tokens_are_special_and_those_are_not_normalised(settings):
    found = settings(
        tokenizer_config={},
        special_tokens_map={"bos_token": "<s>"},
        added_tokens={"<s>": 7, "b": 8},
    )
    assert found["added_tokens_decoder"] == {
        7: {"content": "<s>", "special": True, "normalized": False},
        8: {"content": "b", "special": False, "normalized": True},
    }


def test_ends_need_a_token_of_that_name():
    wanted = {"add_bos_token": True, "add_eos_token": True}
    bos, eos = ("<s>",), ("</s>",)
    names = {"bos": "<s>", "eos": "</s>"}
    assert special.ends(wanted, names) == Around(bos, eos, bos, eos, type=1)
    assert special.ends(wanted, {}) == special.ends({}, names) == ((), (), (), (), 1)


@pytest.mark.parametrize("token", ["</s>", "two words", "a:b", "a:1", "$B", "7"])
def test_any_token_can_stand_around(token):
    made = Tokenizer(models.WordLevel({"a": 0, "b": 1, token: 2}, unk_token="a"))
    form = Around((), (token,), (token, token), (), type=1)
    made.post_processor = special.around(made, form)
    assert (made.encode("b").ids, made.encode("b").tokens) == ([1, 2], ["b", token])
    pair = made.encode("b", "b")
    assert (pair.ids, pair.type_ids) == ([1, 2, 2, 2, 1], [0, 0, 1, 1, 1])
