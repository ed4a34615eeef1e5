"""Turns numbers, ranges and names, as typed or given to Python, into checked values. No numpy."""

import math
import re
from collections.abc import Iterable, Sequence

from attn_cli import vocabulary
from attn_cli.errors import UsageError, shorten

# ASCII digits only: int() would also take 1_000, ٣ and five thousand digits.
INTEGER = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", re.ASCII)
_RANGE = re.compile(r"(-?[0-9]{1,9})(?:-(-?[0-9]{1,9}))?", re.ASCII)


def integer(text: str, option: str, low: int, high: int) -> int:
    """A whole number from `low` to `high`. Raises UsageError."""
    if INTEGER.fullmatch(text) and low <= int(text) <= high:
        return int(text)
    raise UsageError(
        f"{option} {shorten(text)} is out of range", f"a whole number, {low} to {high}"
    )


def number(text: str, option: str, low: float, high: float = math.inf) -> float:
    """A finite number from `low` to `high`. Raises UsageError."""
    most = f" to {high:g}" if math.isfinite(high) else " or more"
    hint = f"a finite number, {low:g}{most}"
    if len(text) > 400 or not _NUMBER.fullmatch(text):
        raise UsageError(f"{option} {shorten(text)} is not a number", hint)
    value = float(text)
    if not math.isfinite(value) or not low <= value <= high:
        raise UsageError(f"{option} {shorten(text)} is out of range", hint)
    return value + 0.0  # −0.0 becomes 0.0


def selection(given: str | int | Iterable[int], count: int, option: str) -> tuple[int, ...]:
    """`3`, `-1`, `0,2,5`, `0-3`, `all` (or numbers) as indices below `count`, each once, in order.

    Raises UsageError with the valid range.
    """
    if given == "all":
        return tuple(range(count))
    if isinstance(given, int):
        given = str(given)
    parts = given.split(",") if isinstance(given, str) else [str(n) for n in given]
    found: list[int] = []
    for part in parts:
        match = _RANGE.fullmatch(part.strip())
        first, last = match.groups() if match else ("", None)
        if not match:
            raise UsageError(f"{option} {shorten(part)!r} is not understood", _range_hint(count))
        start = index(first, count, option)
        stop = start if last is None else index(last, count, option)
        if stop < start:
            raise UsageError(f"{option} {part} runs backwards", _range_hint(count))
        found.extend(range(start, stop + 1))
    return tuple(dict.fromkeys(found))


def one(given: str, count: int, option: str) -> int:
    """A single index, as in `selection`. Raises UsageError."""
    found = selection(given, count, option)
    if len(found) != 1:
        raise UsageError(f"{option} {shorten(given)}: this command shows one at a time",
                         f"0 to {count - 1}")  # fmt: skip
    return found[0]


def _range_hint(count: int) -> str:
    return f"0 to {count - 1}, -1 for the last, 0,{count - 1} for several, 0-{count - 1}, or all"


def index(text: str, count: int, option: str) -> int:
    """One whole number as an index below `count`, negative from the end. Raises UsageError."""
    value = int(text)
    if not -count <= value < count:
        raise UsageError(f"{option} {text} is out of range", f"valid: {_range_hint(count)}")
    return value % count


def steps(given: Iterable[str]) -> frozenset[int]:
    """Step numbers from `1`–`6` or names, words joined by `-` or a space. Raises UsageError."""
    by_name = {step.name: step.number for step in vocabulary.STEPS}
    by_name |= {str(step.number): step.number for step in vocabulary.STEPS}
    found = set()
    for part in ",".join(given).split(","):
        word = part.strip().lower().replace("-", " ").replace("_", " ")
        if word not in by_name:
            names = ", ".join(step.name.replace(" ", "-") for step in vocabulary.STEPS)
            raise UsageError(f"--step {shorten(part)!r} is no step", f"1 to 6, or {names}")
        found.add(by_name[word])
    return frozenset(found)


def positions(given: str, texts: Sequence[str], option: str) -> tuple[int, ...]:
    """Positions from numbers as in `selection`, or from a token's text (every place it stands).

    Raises UsageError.
    """
    if not given:
        return tuple(range(len(texts)))
    if given in texts:
        return tuple(i for i, text in enumerate(texts) if text == given)
    if given == "all" or re.fullmatch(r"[-0-9, ]+", given, re.ASCII):
        return selection(given, len(texts), option)
    raise UsageError(
        f"{option} {shorten(given)!r} is no token of this prompt",
        f"a position from 0 to {len(texts) - 1}, or one of: {' '.join(texts[:12])}",
    )
