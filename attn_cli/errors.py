"""The errors a user can meet. The message says what and where; the hint says what to do next."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class AttnError(Exception):
    """Base of every error this package raises on purpose; nothing else should reach a user."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


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
    """SIGTERM arrived; raised so that files are finished or removed on the way out."""


def shorten(text: str) -> str:
    """What was typed, cut to a length that an error message can hold."""
    return text if len(text) <= 60 else f"{text[:40]}… ({len(text):,} characters)"


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
