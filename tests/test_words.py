"""Every language says the same: the same keys and blanks, in its own writing."""

import re
import string
from importlib import import_module
from pathlib import Path

import pytest

from attn_cli import words
from attn_cli.words import LANGUAGES, Note, few, in_english, note, of_locale, sentence, speaking

FOLDER = Path(words.__file__).parent
EN, ZH = (words.table(language) for language in ("en", "zh"))
HAN = "\u4e00-\u9fff"
# What stands in a formula or is a name of its own, in any language.
SYMBOLS = set(
    "A B K KL KV NaN O Q V W W_K W_O W_Q W_V attn b b_ b_norm bfloat16 bias cap "
    "content_to_position cos float32 g head_output id k key_x kv_latent kᵀ logit masked min n "
    "norm normed n² output position_to_content q scale scaled scores sin softmax tanh traced u "
    "v value w_k w_o w_q w_v weight weights x z Σ σ".split()
)  # fmt: skip


def blanks(text: str) -> list[tuple[str, str]]:
    """The names in braces, with how each is written."""
    return sorted((name, spec) for _, name, spec, _ in string.Formatter().parse(text) if name)


def own_words(text: str) -> set[str]:
    """What a sentence says beside what fills it in."""
    return set(re.findall(r"[^\W\d]\w*", re.sub(r"\{[^}]*\}", " ", text)))


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_a_language_has_the_files_and_keys_of_english(language):
    files = {path.stem for path in (FOLDER / "en").glob("*.py")}
    assert {path.stem for path in (FOLDER / language).glob("*.py")} == files | {
        "help",
        "help_commands",
    }
    assert files == {"__init__", *words.PARTS}
    for name in words.PARTS:
        en, other = (
            import_module(f"attn_cli.words.{spoken}.{name}").SENTENCES
            for spoken in ("en", language)
        )
        assert list(other) == list(en), name
    assert words.table(language).keys() == EN.keys()


def test_a_sentence_has_the_same_blanks():
    for key, text in EN.items():
        assert blanks(ZH[key]) == blanks(text), key
        assert [ZH[key].count(brace) for brace in "{}"] == [text.count(brace) for brace in "{}"]


def test_no_sentence_is_left_in_english():
    for key, text in ZH.items():
        if not re.search(f"[{HAN}]", text):
            assert own_words(text) <= SYMBOLS, (key, text)
            assert own_words(EN[key]) <= SYMBOLS or text != EN[key], key


def test_a_sentence_left_in_english_would_be_seen():
    assert not own_words("the mask hides {hidden} cells") <= SYMBOLS
    assert own_words("softmax({x}) = {y}") <= SYMBOLS


def test_chinese_is_set_as_chinese_is():
    """Full-width marks after Han characters, a space between these and Latin ones."""
    for text in ZH.values():
        assert not re.search(rf"[{HAN}][,;:!?(]|[,;:!?)][{HAN}]", text), text
        assert not re.search(rf"[{HAN}][A-Za-z0-9`]|[A-Za-z0-9`][{HAN}]", text), text
        assert not re.search(r"[，。；：、（）] | [，。；：、（）]", text.replace("   ", "")), text
        assert text.count("（") == text.count("）"), text


@pytest.mark.parametrize(
    "environ, language",
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh"}, "zh"),
        ({"LANG": "zh_TW.Big5"}, "zh"),
        ({"LANG": "ZH-cn"}, "zh"),
        ({"LANG": "zh.UTF-8"}, "zh"),
        ({"LANG": "zhuang"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "", "LC_MESSAGES": "zh_CN", "LANG": "en_US"}, "zh"),
        ({"LC_ALL": "POSIX"}, "en"),
        ({"LC_CTYPE": "zh_CN.UTF-8"}, "en"),
    ],
)
def test_the_locale_says_which_language(environ, language):
    assert of_locale(environ) == language


def test_a_sentence_is_said_in_the_language_that_is_spoken():
    said = note("page.head", where=note("page.layer", layer=1), head=2)
    assert str(said) == "layer 1 · head 2"
    with speaking("zh"):
        assert str(said) == "第 1 层 · 头 2"
        assert in_english(said) == "layer 1 · head 2"
        with pytest.raises(KeyError):
            sentence("no.such")
    assert str(said) == "layer 1 · head 2"


def test_a_language_ends_with_an_error():
    with pytest.raises(ZeroDivisionError), speaking("zh"):
        raise ZeroDivisionError
    assert words.language() == "en"


def test_a_list_says_how_many_more():
    assert few("ab") == "a, b"
    assert few("abc", 2) == Note("list.more", {"names": "a, b", "count": 1})
    assert str(few("abc", 2)) == "a, b and 1 more"
    assert len(str(few(["x" * 500]))) < 80
