"""The sentences a user reads: one table per language, looked up by key."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import NamedTuple

from attn_cli.errors import bounded, shorten

# The first one is that of documents, and of who has said nothing else.
LANGUAGES = ("en", "zh")
# The modules of each language, one for each part of what is said.
PARTS = (
    "commands", "common", "compare", "cost", "embed", "exercise", "heads", "html", "inside", "lens",
    "parts", "routing", "scan", "steps", "svg", "tokens", "trace", "views", "why", "xlsx",
)  # fmt: skip
_LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")


class _Spoken:
    """The language of this process. A context of its own for each thread would not do: what a
    thread draws while a command runs is said in the command's language."""

    language = LANGUAGES[0]


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


def grouped(count: int, one: str, many: str) -> Note:
    """The same with the thousands of the count apart."""
    return Note(one if count == 1 else many, {"count": f"{count:,}"})


def few(names: Iterable[object], most: int = 5) -> "str | Note":
    """A list that a remark can hold: the first names, and how many more there are."""
    every = [shorten(str(name)) for name in names]
    shown = ", ".join(every[:most])
    return note("list.more", names=shown, count=len(every) - most) if every[most:] else shown


def sentence(key: str, /, **values: object) -> str:
    """The sentence of `key` with its `{names}` filled in. Raises KeyError for an unknown key."""
    return table(_Spoken.language)[key].format(**values)


def in_english(said: object) -> str:
    """A remark as documents have it, whose bytes do not depend on who reads them."""
    if not isinstance(said, Note):
        return bounded(str(said))
    filled = {name: in_english(v) if isinstance(v, Note) else v for name, v in said.values.items()}
    return bounded(table(LANGUAGES[0])[said.key].format(**filled))


def helped(text: str) -> str:
    """Help in the language that is spoken. It is written in English, beside what it is of."""
    if _Spoken.language == LANGUAGES[0]:
        return text
    return import_module(f"{__name__}.{_Spoken.language}.help").HELP.get(text, text)


@cache
def table(language: str) -> Mapping[str, str]:
    """All sentences of a language by key. It is imported when it is asked for: no run needs two."""
    parts = (import_module(f"{__name__}.{language}.{part}") for part in PARTS)
    return {key: words for part in parts for key, words in part.SENTENCES.items()}


def language() -> str:
    """The language that is spoken."""
    return _Spoken.language


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Inside, sentences are of this one of `LANGUAGES`, in every thread."""
    before, _Spoken.language = _Spoken.language, language
    try:
        yield
    finally:
        _Spoken.language = before


def of_locale(environ: Mapping[str, str]) -> str:
    """The language of a locale: English where there is none, or no table of its own."""
    name = next(filter(None, map(environ.get, _LOCALE)), "")
    found = name.replace("-", "_").partition("_")[0].partition(".")[0].lower()
    return found if found in LANGUAGES else LANGUAGES[0]
