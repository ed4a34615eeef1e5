"""Turns numbers, ranges and names, as typed or given to Python, into checked values. No numpy."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from attn_cli import vocabulary
from attn_cli.errors import PromptError, UsageError, shorten

# ASCII digits only: int() would also take 1_000, ٣ and five thousand digits.
INTEGER = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_DIGITS = re.compile(r"[+-]?[0-9]+", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,18})(\.[0-9]{1,9})? ?([kmgt]?)(i?b?)", re.ASCII | re.IGNORECASE)
_UNITS = ("", "k", "m", "g", "t")
_SIZES = "a size such as 2GiB, 500MB or 1.5G, or a whole number of bytes"
_THREADS = "ATTN_THREADS"
STEP_NAMES = tuple(step.name.replace(" ", "-") for step in vocabulary.STEPS)
_RANGE = re.compile(r"(-?[0-9]{1,9})(?:-(-?[0-9]{1,9}))?", re.ASCII)
_SIGNS = {"+": 1, "-": -1, "−": -1}
_PIECE = re.compile(r'"[^"]+"(?!\S)|\S+')
_EXPRESSION = "words with + or - between them, spaces around each sign: father - man + woman"


def integer(text: str, option: str, low: int, high: int) -> int:
    """A whole number from `low` to `high`. Raises UsageError."""
    if INTEGER.fullmatch(text) and low <= int(text) <= high:
        return int(text)
    what = "out of range" if _DIGITS.fullmatch(text) else "no whole number"
    raise UsageError(f"{option} {shorten(text)} is {what}", f"a whole number, {low} to {high}")


def threads(environ: Mapping[str, str]) -> int:
    """How many threads ATTN_THREADS asks for; 0 where it is not set or empty. Raises UsageError."""
    given = environ.get(_THREADS, "")
    return integer(given, _THREADS, 1, 1024) if given else 0


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


def memory(text: str, option: str) -> int:
    """Bytes from a size such as `2GiB`, `500MB` or `1.5G`, which is GiB. Raises UsageError."""
    match = _SIZE.fullmatch(text)
    whole, part, unit, rest = match.groups() if match else ("", "", "", "")
    if not match or (not unit and (part or rest.lower() not in ("", "b"))):
        raise UsageError(f"{option} {shorten(text)} is no size", _SIZES)
    base, part = 1000 if rest.lower() == "b" else 1024, (part or ".")[1:]
    count = int(whole + part) * base ** _UNITS.index(unit.lower()) // 10 ** len(part)
    if not 1 <= count <= 1 << 60:
        raise UsageError(f"{option} {shorten(text)} is out of range", _SIZES)
    return count


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


def within(given: str | int | Iterable[int], count: int, most: int, option: str) -> tuple[int, ...]:
    """As `selection`, of what is there of a choice that another has `most` of.

    Raises UsageError for what even that one lacks.
    """
    given = given if isinstance(given, str | int) else list(given)
    if count == most or given == "all":
        return selection(given, count, option)
    selection(given, most, option)
    found: list[int] = []
    for part in str(given).split(",") if isinstance(given, str | int) else map(str, given):
        first, last = _RANGE.fullmatch(part.strip()).groups()
        start, stop = (n + count if n < 0 else n for n in (int(first), int(last or first)))
        found.extend(range(max(0, start), min(stop, count - 1) + 1))
    return tuple(dict.fromkeys(found))


def attentions(
    stack: str, kind: str, known: Sequence[tuple[str, str]]
) -> tuple[tuple[str, str], ...]:
    """The chosen of a model's `known` attentions, each (stack, kind), in computing order.

    Without a stack it is the last one, the decoder where there are two; `all` is any. Raises
    UsageError with what there is.
    """
    stack, stacks = stack or known[-1][0], list(dict.fromkeys(own for own, _ in known))
    there = f"it has {', '.join(f'{own} {other}-attention' for own, other in known)}"
    if stack not in ("all", *stacks):
        which = f"one stack, the {stacks[0]}" if len(stacks) == 1 else f"the {' and '.join(stacks)}"
        raise UsageError(f"--stack {shorten(stack)}: this model has {which}", there)
    chosen = [(own, other) for own, other in known if stack in ("all", own)]
    found = tuple((own, other) for own, other in chosen if kind in ("all", other))
    if not found:
        where = "model" if stack == "all" or len(stacks) == 1 else stack
        raise UsageError(f"--kind {shorten(kind)}: this {where} has no {kind}-attention", there)
    return found


def named(chosen: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The choice of attentions as documents record it: one stack and one kind, or all."""
    words = (set(names) for names in zip(*chosen, strict=True))
    stack, kind = (names.pop() if len(names) == 1 else "all" for names in words)
    return {"stack": stack, "kind": kind}


def one(given: str, count: int, option: str) -> int:
    """A single index, as in `selection`. Raises UsageError."""
    if INTEGER.fullmatch(given.strip()) and not -count <= int(given) < count:
        what = f"{option} {shorten(given)} is out of range"
        raise UsageError(what, f"valid: 0 to {count - 1}, or -1 for the last")
    found = selection(given, count, option)
    if len(found) != 1:
        raise UsageError(f"{option} {shorten(given)}: this command shows one at a time",
                         f"0 to {count - 1}")  # fmt: skip
    return found[0]


def head(given: str, layers: int, heads: int, option: str) -> tuple[int, int]:
    """One head as `L.H`, its layer and its number, negative from the end. Raises UsageError."""
    layer, number = layer_and_head(given, option, f"0.0 to {layers - 1}.{heads - 1}")
    if not (-layers <= layer < layers and -heads <= number < heads):
        raise UsageError(
            f"{option} {given}: there is no such head",
            f"layer 0 to {layers - 1}, head 0 to {heads - 1}, as in 0.{heads - 1}",
        )
    return layer % layers, number % heads


def layer_and_head(
    given: str, option: str, hint: str = "layer and head, as in 1.3"
) -> tuple[int, int]:
    """The two numbers of `L.H`, of whatever model. Raises UsageError."""
    layer, dot, number = given.partition(".")
    if not (dot and INTEGER.fullmatch(layer) and INTEGER.fullmatch(number)):
        raise UsageError(f"{option} {shorten(given)!r} is not L.H", hint)
    return int(layer), int(number)


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
            names = ", ".join(STEP_NAMES)
            raise UsageError(f"--step {shorten(part)!r} is no step", f"1 to 6, or {names}")
        found.add(by_name[word])
    return frozenset(found)


def positions(
    given: str | Iterable[str], texts: Sequence[str], option: str, printed: Sequence[str] = ()
) -> tuple[int, ...]:
    """Positions of the tokens named, each once, in the order given; all where nothing is given.

    A name is a number or range as in `selection`, or a token's text as typed or as `printed`: every
    place where it stands. Several are separated by commas, which tokens may hold themselves.
    Raises UsageError.
    """
    found: list[int] = []
    words = [given] if isinstance(given, str) else list(given)
    known = {*texts, *printed, *(text.strip() for text in texts)}
    most = 1 + max((text.count(",") for text in (*texts, *printed)), default=0)
    for word in words:
        parts = word.split(",")
        while parts:
            # The longest that is a token: `,` and `1,000` are some.
            for count in range(min(most, len(parts)), 0, -1):
                part = ",".join(parts[:count])
                here = part in known or part.strip() in known
                places = _places(part, texts if here else (), printed if here else ())
                places = places or _numbered(part, texts, option)
                if places:
                    break
            else:
                raise PromptError(
                    f"{option} {shorten(parts[0])!r} is no token of this prompt",
                    f"a position from 0 to {len(texts) - 1}, or one of: "
                    f"{shorten(' '.join(texts[:12]))}",
                )
            found += places
            del parts[:count]
    return tuple(dict.fromkeys(found)) if words else tuple(range(len(texts)))


def _places(part: str, texts: Sequence[str], printed: Sequence[str]) -> tuple[int, ...]:
    """Where a token stands that is named by its text, or as it is printed."""
    named = [n for n, text in enumerate(texts) if text == part]
    if not part.startswith(" ") and part.strip():
        named = [n for n, text in enumerate(texts) if text.strip() == part] or named
    return tuple(named or [n for n, text in enumerate(printed) if text == part])


def _numbered(part: str, texts: Sequence[str], option: str) -> tuple[int, ...]:
    """Where a name stands as a number, as a text with its place, or up to outer spaces."""
    if not part.strip():
        return ()
    if part.strip() == "all" or _RANGE.fullmatch(part.strip()):
        return selection(part, len(texts), option)
    text, dot, place = part.replace("␣", " ").rpartition("·")
    if dot and INTEGER.fullmatch(place) and int(place) in range(len(texts)):
        return (int(place),) if text.strip() == texts[int(place)].strip() else ()
    spaced = part.replace("␣", " ")
    exact = tuple(n for n, other in enumerate(texts) if other == spaced)
    return exact or tuple(n for n, other in enumerate(texts) if other.strip() == spaced.strip())


class Term(NamedTuple):
    """A word of an expression, which is added or (`sign` −1) taken away.

    One that is `exact` was given in quotes: what spaces it has belong to it.
    """

    sign: int
    word: str
    exact: bool = False


def terms(text: str) -> tuple[Term, ...]:
    """`father - man + woman`: words with a sign between two of them, which spaces set apart.

    A sign stands alone: `well-known` is one word, and so is `-` where a word is due. What is in
    double quotes is taken as it is: `"-"`, `" model"`. Raises UsageError.
    """
    pieces = _PIECE.findall(text)
    found, words, sign = [], [], 1
    if len(pieces) > 1 and pieces[0] in _SIGNS and pieces[1] not in _SIGNS:
        sign = _SIGNS[pieces.pop(0)]
    for piece in pieces:
        if words and piece in _SIGNS:
            found.append(_term(sign, words))
            sign, words = _SIGNS[piece], []
        else:
            words.append(piece)
    if not words:
        what = f"ends with {pieces[-1]}, and a word is missing" if pieces else "is empty"
        raise UsageError(f"the expression {shorten(text)!r} {what}", _EXPRESSION)
    return (*found, _term(sign, words))


def _term(sign: int, words: Sequence[str]) -> Term:
    word = " ".join(words)
    if len(words) > 1 and words[0] in _SIGNS:
        raise UsageError(f"two signs stand together before {shorten(words[1])!r}", _EXPRESSION)
    exact = len(words) == 1 and len(word) > 2 and word[0] == word[-1] == '"'
    return Term(sign, word[1:-1] if exact else word, exact)
