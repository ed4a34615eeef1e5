"""How the results of two scans differ: two models, one before and after a change, two corpora."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from attn_cli import vocabulary
from attn_cli.errors import ContentError
from attn_cli.records import Facts, Prompt
from attn_cli.scanning.results import Head, Measure, Scan

# Settings that say neither what was measured nor how.
_BESIDE = ("sort", "by", "layer", "head")


class Side(NamedTuple):
    """What a result is of; it has no prompt."""

    model: Facts
    prompt: Prompt | None
    settings: Mapping[str, Any]


class Corpus(NamedTuple):
    """How much was measured."""

    files: int
    prompts: int
    tokens: int
    failed: int


class Shift(NamedTuple):
    """How a measure of a head differs: `difference` is the right mean − the left one, `size` that
    over the pooled deviation √((n₁s₁² + n₂s₂²) / (n₁ + n₂)) (Cohen 1988), n queries and s the
    deviations; 0 where nothing differs, NaN where nothing varies. It tells how far, not how sure:
    the queries of a prompt are no independent draws."""

    stack: str
    kind: str
    layer: int
    head: int
    measure: str
    provenance: str
    left: float
    right: float
    left_deviation: float
    right_deviation: float
    left_count: int
    right_count: int
    difference: float
    size: float


class Differs(NamedTuple):
    """A setting, or what is known of the model or the corpus, that is not the same."""

    what: str
    left: str
    right: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shifts:
    """How two results differ: `shifts` of all heads and measures that both have, the largest size
    first. `only_left` and `only_right` count the heads that one of them has."""

    right: Side
    corpora: tuple[Corpus, ...]
    differs: tuple[Differs, ...]
    shifts: tuple[Shift, ...]
    only_left: int
    only_right: int


def compare(left: Scan, right: Scan, of_left: Side, of_right: Side) -> Shifts:
    """Compares two results. Raises ContentError where they have no head in common, or are of models
    of another shape."""
    _check(of_left.model, of_right.model)
    own, other = ({head[:4]: head for head in one.heads} for one in (left, right))
    common = [at for at in own if at in other]
    shifts = [one for at in common for one in _shifts(own[at], other[at])]
    if not shifts:
        raise ContentError(
            "the two results have no measure of a head in common", "scan the same layers and heads"
        )
    shifts.sort(key=lambda one: -(math.inf if math.isnan(one.size) else abs(one.size)))
    corpora = tuple(Corpus(one.files, one.prompts, one.tokens, one.failed) for one in (left, right))
    return Shifts(
        right=of_right, corpora=corpora, shifts=tuple(shifts),
        differs=tuple(_differs(of_left, of_right, corpora)),
        only_left=len(own) - len(common), only_right=len(other) - len(common),
    )  # fmt: skip


def _check(left: Facts, right: Facts) -> None:
    """Raises ContentError for models whose heads are not each other's."""
    shapes = [
        (one.layers, one.heads, one.encoder, one.attentions, one.attending(one.stack))
        for one in (left, right)
    ]
    if shapes[0] != shapes[1]:
        sizes = [f"{one.layers} layers × {one.heads} heads" for one in (left, right)]
        raise ContentError(
            f"the heads of {left.name} ({sizes[0]}) and {right.name} ({sizes[1]}) are not each "
            "other's", "compare results of models of the same shape"
        )  # fmt: skip


def _shifts(left: Head, right: Head) -> Iterator[Shift]:
    others = {one.measure: one for one in right.measures}
    touched = vocabulary.WHAT_IF in (left.provenance, right.provenance)
    provenance = vocabulary.WHAT_IF if touched else vocabulary.DERIVED
    for one in left.measures:
        other = others.get(one.measure)
        if other is None or not (one.count and other.count):
            continue
        yield Shift(
            *left[:4], one.measure, provenance, one.mean, other.mean, one.deviation,
            other.deviation, one.count, other.count, other.mean - one.mean, _size(one, other),
        )  # fmt: skip


def _size(left: Measure, right: Measure) -> float:
    difference = right.mean - left.mean
    squares = left.count * left.deviation**2 + right.count * right.deviation**2
    pooled = math.sqrt(squares / (left.count + right.count))
    return difference / pooled if pooled else math.nan if difference else 0.0


def _differs(left: Side, right: Side, corpora: tuple[Corpus, ...]) -> Iterator[Differs]:
    """What is not the same, the model first."""
    for name in ("name", "source", "parameters", "vocabulary", "quantised"):
        yield from _one(f"model.{name}", *(getattr(side.model, name) for side in (left, right)))
    names = dict.fromkeys((*left.settings, *right.settings))
    for name in (name for name in names if name not in _BESIDE):
        yield from _one(name, *(side.settings.get(name) for side in (left, right)))
    for name in Corpus._fields:
        yield from _one(f"corpus.{name}", *(getattr(one, name) for one in corpora))


def _one(what: str, left: Any, right: Any) -> Iterator[Differs]:
    if left != right:
        yield Differs(what, *(_told(value) for value in (left, right)))


def _told(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_told, value))
    return "" if value is None else f"{value:,}" if type(value) is int else str(value)
