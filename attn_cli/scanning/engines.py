"""What an engine is: it takes parts one by one as it can, and yields `Done` for each, in any order;
meanwhile how many tokens have been read, and how many are at work when that changes."""

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, NamedTuple

from attn_cli.errors import ContentError
from attn_cli.scanning.corpus import Part

if TYPE_CHECKING:
    from attn_cli.scanning.measuring import Scanner


TRIES = 3


class Done(NamedTuple):
    """A part, and its record as bytes."""

    part: Part
    record: bytes


class Working(NamedTuple):
    """How many are at work now."""

    count: int


class OnceMore:
    """Parts whose worker was lost: `left` to be done again, each `TRIES` times at the most."""

    def __init__(self) -> None:
        self.left: list[Part] = []
        self._tries: Counter[int] = Counter()

    def add(self, part: Part, what: str, hint: str, *, how: str = "", counted: bool = True) -> None:
        """Leaves a part to be done again. Raises ContentError, which says `what` came to pass so
        often, `how`, and where, if it was tried often enough."""
        self._tries[part.number] += counted
        if self._tries[part.number] >= TRIES:
            first = part.pieces[0]
            at = f"at the part that begins at {first.file}: line {first.line}"
            told = f"{what} {TRIES} times{how} {at}"
            raise ContentError(told, f"what is done is kept beside --out; {hint}")
        self.left.append(part)


Event = Done | Working | int
Events = Generator[Event, None, None]
Engine = Callable[[Iterator[Part]], Events]


def in_process(scanner: "Scanner") -> Engine:
    """Measures parts here, one after the other."""

    def engine(parts: Iterator[Part]) -> Events:
        for part in parts:
            record = yield from scanner.scan(part)
            yield Done(part, record.to_bytes())

    return engine
