"""A scan from its beginning, or from the parts that are saved; yields how far it is.

Who measures is an engine (see `engines`).
"""

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import NamedTuple

from attn_cli.errors import ContentError
from attn_cli.scanning.corpus import Corpus, Part
from attn_cli.scanning.engines import Engine, Working
from attn_cli.scanning.records import Failed, Record, Shape, read
from attn_cli.scanning.saved import FRESH, Parts


class State(NamedTuple):
    """How far a scan is: parts that are done, tokens that were read in this run, bytes of files
    that are done of all, and those that were done before; `failures` of the last part."""

    parts: int
    tokens: int
    read: int
    size: int
    before: int
    workers: int
    failures: tuple[Failed, ...] = ()


def scan(
    corpus: Corpus, job: str, shape: Shape, engine: Engine, saved: Parts | None = None, *,
    strict: bool = False,
) -> Generator[State, None, Record]:  # fmt: skip
    """The record of a whole corpus for a job of this digest.

    Raises ContentError: for parts that are another corpus's and, if `strict`, for the first line
    that could not be measured.
    """
    found = saved.load() if saved else Record(job, shape)
    known, seen = dict(found.parts), _Seen()
    state = State(len(known), 0, 0, corpus.size, 0, 1, tuple(found.failures))
    if strict:
        _refuse(found)
    yield state
    with closing(engine(_left(corpus, known, seen))) as events:
        for event in events:
            if isinstance(event, Working):
                state = state._replace(workers=event.count, failures=())
            elif isinstance(event, int):
                state = state._replace(tokens=state.tokens + event, failures=())
            else:
                record = read(event.record, job, shape)
                if strict:
                    _refuse(record)
                found.merge(record)
                if saved:
                    saved.save(event.record, event.part.number, found)
                seen.done += seen.of.pop(event.part.number, 0)
                state = state._replace(
                    parts=len(found.parts),
                    read=seen.done + seen.before,
                    before=seen.before,
                    failures=tuple(record.failures),
                )
            yield state
    return found


class _Seen:
    """Bytes of files: of parts that are being measured, of those that are done, and of those that
    were done before."""

    def __init__(self) -> None:
        self.of: dict[int, int] = {}
        self.done = self.before = 0


def _left(corpus: Corpus, known: dict[int, str], seen: _Seen) -> Iterator[Part]:
    """The parts that are not known. Raises ContentError where a known one is of other text."""
    before = 0
    for part in corpus.parts():
        size, before = part.read - before, part.read
        digest = known.pop(part.number, "")
        if digest:
            seen.before += size
            if digest != part.digest:
                raise ContentError(
                    f"{part.pieces[0].file} is not what it was when its part was saved", FRESH
                )
        else:
            seen.of[part.number] = size
            yield part
    if known:
        raise ContentError("more parts are saved than the corpus has", FRESH)


def _refuse(record: Record) -> None:
    for one in record.failures[:1]:
        raise ContentError(f"{one.file}: line {one.line}: {one.message}", one.hint)
