"""Which language a run speaks: what was typed, or else the locale."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from typer import Option

from attn_cli.errors import UsageError, shorten
from attn_cli.words import LANGUAGES, of_locale

_OPTION = "--lang"


def chosen(arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    """The language of a run, found before typer reads what was typed, so that help has it too.

    What is no language is left for `Language` to refuse.
    """
    found = ""
    for n, word in enumerate(arguments):
        if word == "--":
            break
        name, equals, value = word.partition("=")
        if name == _OPTION:
            found = value if equals else "".join(arguments[n + 1 : n + 2])
    return found if found in LANGUAGES else of_locale(environ)


def _known(text: Any) -> str:
    if text not in LANGUAGES:
        raise UsageError(
            f"{_OPTION} {shorten(str(text))!r} is unknown", f"one of {', '.join(LANGUAGES)}"
        )
    return str(text)


def _complete(incomplete: str) -> list[str]:
    return [name for name in LANGUAGES if name.startswith(incomplete)]


Language = Annotated[
    str,
    Option(_OPTION, metavar="|".join(LANGUAGES), parser=_known, show_default="that of LANG",
           autocompletion=_complete,
           help="Words in English or Chinese; names of arrays and documents stay as they are."),
]  # fmt: skip
