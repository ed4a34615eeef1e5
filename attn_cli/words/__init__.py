"""The sentences a user reads: one table per language, looked up by key."""

from collections.abc import Mapping
from typing import NamedTuple

from attn_cli.words import en

LANGUAGES = {"en": en.SENTENCES}


class Note(NamedTuple):
    """A remark as its sentence's key and what fills it in; `str` puts it into words."""

    key: str
    values: Mapping[str, object]

    def __str__(self) -> str:
        return sentence(self.key, **self.values)


def note(key: str, /, **values: object) -> Note:
    """The remark of `key` with what fills it in."""
    return Note(key, values)


def counted(count: int, one: str, many: str) -> Note:
    """The remark of one thing, or that of many with their `count`."""
    return Note(one if count == 1 else many, {"count": count})


def language() -> str:
    """The language that is spoken."""
    return "en"


def table(language: str) -> Mapping[str, str]:
    """All sentences of a language by key, with their `{names}`."""
    return LANGUAGES[language]


def sentence(key: str, /, **values: object) -> str:
    """The sentence of `key` with its `{names}` filled in. Raises KeyError for an unknown key."""
    return LANGUAGES["en"][key].format(**values)
