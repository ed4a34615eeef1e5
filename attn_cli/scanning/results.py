"""What a scan has found, as documents, pages and tables are made of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from attn_cli import vocabulary
from attn_cli.model.family import Model
from attn_cli.reading import token_of
from attn_cli.scanning.job import Rows
from attn_cli.scanning.pairs import Joined
from attn_cli.scanning.records import Failed, Record

_PAIRS = 20  # of each head that are told


class Text(NamedTuple):
    """A prompt that is an example: where it begins, lines counted from 1, and its tokens."""

    file: str
    line: int
    chunk: int
    ids: tuple[int, ...]
    tokens: tuple[str, ...]


class Example(NamedTuple):
    """A number that was measured: of which of `Scan.texts`, of which query; `key` is the one that
    the query weighs most."""

    value: float
    text: int
    query: int
    key: int


class Measure(NamedTuple):
    """A measure of a head over all queries that have it: `count` of them; `nonfinite` more were no
    numbers. `deviation` is √(mean of squares − square of the mean), `p50` the median, and so on,
    each at most 1/64 of itself away (below 2⁻¹²: at most 2⁻¹³). All are NaN where there are none.
    """

    measure: str
    count: int
    nonfinite: int
    mean: float
    deviation: float
    minimum: float
    maximum: float
    p05: float
    p25: float
    p50: float
    p75: float
    p95: float
    examples: tuple[Example, ...]


class Pair(NamedTuple):
    """Two tokens, and how many queries that are the first weigh the second most."""

    query: str
    key: str
    query_id: int
    key_id: int
    count: int


class Head(NamedTuple):
    """What is known of a head: the measures of `vocabulary.SCAN_COLUMNS`, and the pairs of tokens
    it joins most, if they were asked for."""

    stack: str
    kind: str
    layer: int
    head: int
    provenance: str
    measures: tuple[Measure, ...]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scan:
    """Statistics of heads over a corpus of so many `files`.

    `prompts` and `tokens` were measured, `failed` lines were not, of which `failures` are the
    first; `blind` queries saw no key. Of pairs only tokens whose ids are below `pairs_below` are
    counted, if that is not 0.
    """

    files: int
    prompts: int
    tokens: int
    failed: int
    failures: tuple[Failed, ...]
    blind: int
    pairs_below: int
    texts: tuple[Text, ...]
    heads: tuple[Head, ...]


def result(record: Record, model: Model, rows: Rows, files: int) -> Scan:
    """What a record of the whole corpus comes to."""
    texts = {}
    for number, (place, ids) in enumerate(
        zip(record.examples.places, record.examples.prompts, strict=True)
    ):
        texts[place] = number, ids.tolist()
    named: dict[int, str] = {}

    def name(id: int) -> str:
        if id not in named:
            named[id] = token_of(model, id).text
        return named[id]

    def head(at: int, block: tuple[str, str, int], number: int) -> Head:
        touched = bool(record.touched[at])
        measures = tuple(_measure(record, at, m, texts) for m in range(len(record.shape.measures)))
        pairs = record.pairs.of(at, _PAIRS) if record.pairs is not None else ()
        return Head(
            *block, number, vocabulary.WHAT_IF if touched else vocabulary.DERIVED, measures,
            tuple(_pair(one, name) for one in pairs),
        )  # fmt: skip

    return Scan(
        files=files, prompts=record.prompts, tokens=record.tokens, failed=record.failed,
        failures=tuple(record.failures), blind=record.blind,
        pairs_below=record.pairs.bound if record.pairs is not None else 0,
        texts=tuple(Text(*place, tuple(ids), tuple(map(name, ids)))
                    for place, (_, ids) in texts.items()),
        heads=tuple(head(at, *one) for at, one in enumerate(rows.each)),
    )  # fmt: skip


def _measure(record: Record, head: int, measure: int, texts: dict) -> Measure:
    count, broken, *moments, quantiles = record.statistics.totals(head, measure)
    examples = tuple(
        Example(value, texts[place][0], query, key)
        for value, place, query, key in record.examples.of(head, measure)
    )
    name = record.shape.measures[measure].name
    return Measure(name, count, broken, *moments, *quantiles, examples)


def _pair(one: Joined, name: Callable[[int], str]) -> Pair:
    return Pair(name(one.query), name(one.key), *one)
