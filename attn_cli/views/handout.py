"""How a sheet that was handed out is checked: the command that makes it again."""

import os
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from attn_cli.records import Facts, Prompt
from attn_cli.views.text import visible

if TYPE_CHECKING:
    from attn_cli.analysis.exercise import Sheet

BLANKS, DIGITS = 8, 2  # of a sheet of which nothing else is said
# What a shell may read otherwise within double quotes.
_QUOTED = frozenset('"\\$`!%')


def opens(facts: Facts) -> str:
    """What --model is given to open a model again: its name, or the file or folder it is from."""
    by_name = facts.source == "package" or not os.path.lexists(facts.source)
    return facts.name if by_name else facts.source


def as_ids(prompt: Prompt) -> bool:
    """Whether a prompt can be read again from its ids alone."""
    return bool(prompt.chat) or not prompt.has_text


def command_of(
    model: Facts, prompt: Prompt, sheet: "Sheet", settings: Mapping[str, Any], answers: str
) -> str:
    """The command that checks a file of `answers` to a sheet, as it is typed."""
    words = ["attn", "exercise", *_options(model, prompt, sheet, settings)]
    return " ".join([*map(_typed, words), "--check", answers])


def _options(
    model: Facts, prompt: Prompt, sheet: "Sheet", settings: Mapping[str, Any]
) -> Iterator[str]:
    pair = settings.get("pair")
    unsafe = prompt.text[:1] in ("", "-") or visible(prompt.text) != prompt.text
    if as_ids(prompt) or (unsafe and pair is None):
        yield from ("--ids", ",".join(map(str, prompt.ids)))
    else:
        yield prompt.text
    yield from ("--model", opens(model))
    if prompt.target:
        yield from ("--target-ids", ",".join(map(str, prompt.target.ids)))
    given = {
        "--pair": (pair, None), "--adapter": (settings.get("adapter"), None),
        "--stack": (sheet.stack, model.stack), "--kind": (sheet.kind, "self"),
        "--layer": (sheet.layer, 0), "--head": (sheet.head, 0),
        "--step": (",".join(map(str, settings["step"])), ""),
        "--blanks": (settings["blanks"], BLANKS), "--digits": (settings["digits"], DIGITS),
        "--seed": (settings["seed"], None),
    }  # fmt: skip
    for option, (value, usual) in given.items():
        if value != usual:
            yield from (option, str(value))
    yield from (["--no-special"] if not settings["special"] else [])
    for name in settings.get("ignore_config", ()):
        yield from ("--ignore-config", name)


def _typed(word: str) -> str:
    """A word as a shell takes it, in double quotes where those do."""
    if word and shlex.quote(word) == word:
        return word
    return shlex.quote(word) if _QUOTED & {*word} else f'"{word}"'
