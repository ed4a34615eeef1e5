"""The errors a user can meet. The message says what and where; the hint says what to do next."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

PATH, _WHOLE = 400, 2000  # characters of a path, or of any word, and of a message
_LONG = re.compile(rf"\S{{{PATH + 1},}}")


class AttnError(Exception):
    """Base of every error this package raises on purpose; nothing else should reach a user."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = bounded(message), bounded(hint)
        super().__init__(self.message)


class ContentError(AttnError):
    """A file, stdin or the machine is at fault: exit code 1."""

    exit_code = 1


class UsageError(AttnError):
    """What was typed is at fault: exit code 2."""

    exit_code = 2


class PromptError(UsageError):
    """What was typed does not go with this prompt; it may with another."""


class NoModelError(ContentError):
    """The model named does not exist on this machine."""


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived; raised so that files are finished or removed on the way out."""

    def __init__(self, number: int = 15) -> None:
        super().__init__()
        self.exit_code = 128 + number


def shorten(text: str, most: int = 60) -> str:
    """What was typed or read, if longer its ends, which tell names of one folder apart."""
    if len(text) <= most:
        return text
    return f"{text[: most * 4 // 9]}…{text[-most * 2 // 9 :]} ({len(text):,} characters)"


def bounded(message: str) -> str:
    """What is told does not grow with what it quotes: a long word, and a long whole, lose their
    middle."""
    if len(message) <= PATH:
        return message
    return _ends(_LONG.sub(lambda word: _ends(word[0], PATH), message), _WHOLE)


def _ends(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room * 2 // 3]}…{text[-room // 4 :]}"


def some(names: Iterable[object], most: int = 5) -> str:
    """A list that a message can hold."""
    every = [shorten(str(name)) for name in names]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def plural(count: int, what: str) -> str:
    """So many of a thing in words: `1 query`, `2 queries`, `1,000 tokens`."""
    if count == 1:
        return f"1 {what}"
    return f"{count:,} {what[:-1]}ies" if what.endswith("ry") else f"{count:,} {what}s"


def size(count: float) -> str:
    """Bytes in the unit that fits."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB"


@contextmanager
def told_where(place: str) -> Iterator[None]:
    """Errors raised inside also say in which of several places, if it has a name."""
    try:
        yield
    except AttnError as problem:
        if not place:
            raise
        raise type(problem)(f"{problem.message} ({place})", problem.hint) from None
