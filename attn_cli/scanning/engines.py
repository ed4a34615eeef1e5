"""What an engine is: it takes parts one by one as it can, and yields `Done` for each, in any order;
meanwhile how many tokens have been read, and how many are at work when that changes."""

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, NamedTuple

from attn_cli.scanning.corpus import Part

if TYPE_CHECKING:
    from attn_cli.scanning.measuring import Scanner


class Done(NamedTuple):
    """A part, and its record as bytes."""

    part: Part
    record: bytes


class Working(NamedTuple):
    """How many are at work now."""

    count: int


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
