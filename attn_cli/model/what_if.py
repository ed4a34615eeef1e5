"""What-if settings: another mask, another attention temperature, a head removed."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attn_cli.errors import PATH, ContentError, PromptError, UsageError, plural, shorten, told_where
from attn_cli.files import read_text
from attn_cli.maths import masks
from attn_cli.maths.attention import Relation
from attn_cli.maths.masks import Visible
from attn_cli.parse import INTEGER, index, positions, selection, within
from attn_cli.records import Address
from attn_cli.vocabulary import MASKS, WITHOUT, MaskWord

# Bytes and rows of a mask file, and characters of a row.
_BYTES, _ROWS, _LONGEST = 1 << 28, 1 << 17, 1 << 22
_LINE = re.compile(r"[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")


class Mask(NamedTuple):
    """One mask word as typed and what it says; `rows` (query, key) is only used by `file`."""

    word: str
    kind: str
    rows: np.ndarray
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WhatIf:
    """The changes a user asked for in one attention, that of `stack` and `kind`, in every layer.

    The default changes nothing. `queries` and `keys` count those of the prompt, which the numbers
    of masks are of (0: of whatever is there). `mask_value` stands where the mask hides.
    `without_head` holds (layer, head) pairs, `without_mlp` layers of the stack, `without` words of
    `vocabulary.WITHOUT`. Errors name the `place` where there are several.
    """

    masks: tuple[Mask, ...] = ()
    queries: int = 0
    keys: int = 0
    mask_value: float = -math.inf
    attention_temperature: float = 1.0
    without_head: frozenset[tuple[int, int]] = frozenset()
    without_mlp: frozenset[int] = frozenset()
    without: frozenset[str] = frozenset()
    stack: str = "decoder"
    kind: str = "self"
    place: str = ""

    def removed(self, layer: int) -> tuple[int, ...]:
        """The heads of a layer that are removed."""
        return tuple(sorted(head for at, head in self.without_head if at == layer))

    def visible(self, own: Visible, queries: int, keys: int, *, both_sides: bool) -> Visible:
        """The model's own mask with the user's applied, for so many positions of each.

        Raises UsageError, ContentError.
        """
        if not self.masks:
            return own
        base, more = own, list[tuple[bool, Visible]]()
        queries, keys = self.queries or queries, self.keys or keys
        with told_where(self.place):
            for mask in self.masks:
                if mask.kind == "file":
                    base, more = _from_file(mask, own, queries, keys), []
                elif MASKS[mask.kind].base:
                    base, more = _made(mask, queries, keys, both_sides), []
                else:
                    made = _made(mask, queries, keys, both_sides)
                    more.append((MASKS[mask.kind].opens, made))
        return _together(base, more) if more else base

    @property
    def looks_ahead(self) -> bool:
        """Whether what comes later changes what came before, so that no cache can hold that."""
        return self.mask_value != -math.inf or any(mask.kind == "none" for mask in self.masks)

    def idle_sinks(self, windowed: bool) -> list[str]:
        """The `sinks` that open nothing, since there is no window."""
        bases = [mask.kind for mask in self.masks if MASKS[mask.kind].base]
        narrow = windowed if not bases else bases[0] in ("window", "file")
        return [] if narrow else [mask.word for mask in self.masks if mask.kind == "sinks"]

    @property
    def skipped(self) -> int:
        """How many positions at the left are not counted."""
        return sum(mask.numbers[0] for mask in self.masks if mask.kind == "padding-left")


_NO_CHANGE = WhatIf()


class Changes(NamedTuple):
    """The changes of every attention that a user asked for; none at all by default."""

    each: tuple[WhatIf, ...] = ()

    def at(self, block: Address) -> WhatIf:
        """What acts on one block."""
        same = (one for one in self.each if (one.stack, one.kind) == (block.stack, block.kind))
        return next(same, _NO_CHANGE)

    def without_mlp(self, stack: str) -> frozenset[int]:
        """The layers of a stack that lose their feed-forward network."""
        return frozenset(n for one in self.each if one.stack == stack for n in one.without_mlp)

    @property
    def looks_ahead(self) -> bool:
        """Whether what comes later changes what came before, so that no cache can hold that."""
        return self.at(Address("decoder", "self", 0)).looks_ahead


UNCHANGED = Changes()


# --- what they make of a block's numbers --------------------------------------------------------


def without(heads: tuple[int, ...], z_HQV: np.ndarray) -> np.ndarray:
    """What the heads pull with, where some are removed."""
    if not heads:
        return z_HQV
    return np.where(np.isin(np.arange(len(z_HQV)), heads)[:, None, None], 0, z_HQV)


def nothing(term: Relation) -> Relation:
    """A term of the scores, without what it says."""
    return lambda at_Q, at_K: np.zeros_like(term(at_Q, at_K))


def counted_from(first: int, bias: Relation) -> Relation:
    """A bias whose positions count from this one."""
    if not first:
        return bias
    return lambda at_Q, at_K: bias(np.maximum(at_Q - first, 0), np.maximum(at_K - first, 0))


# --- masks, and what was typed ------------------------------------------------------------------


def _together(base: Visible, more: Sequence[tuple[bool, Visible]]) -> Visible:
    """A base and what opens or hides more, in this order: there may be thousands of them."""

    def visible(at_Q: np.ndarray, at_K: np.ndarray) -> np.ndarray:
        seen = base(at_Q, at_K)
        for opens, made in more:
            seen = seen | made(at_Q, at_K) if opens else seen & made(at_Q, at_K)
        return seen

    return visible


def _made(mask: Mask, queries: int, keys: int, both_sides: bool) -> Visible:
    """What one word says by itself."""
    numbers = _numbers(mask, {"query": queries - 1, "key": keys - 1, "keys": keys})
    make = getattr(masks, mask.kind.replace("-", "_"))
    if mask.kind == "padding":
        numbers = keys - numbers[0], keys
    sides = {"both_sides": both_sides} if mask.kind in ("window", "sinks") else {}
    return lambda at_Q, at_K: make(at_Q, at_K, *numbers, **sides)


def _from_file(mask: Mask, own: Visible, queries: int, keys: int) -> Visible:
    """The rows of a file; what comes after the prompt has the model's own mask."""
    if mask.rows.shape != (queries, keys):
        raise ContentError(
            f"{mask.word} has {mask.rows.shape[0]} × {mask.rows.shape[1]} cells, "
            f"this prompt needs {queries} × {keys}",
            "one row of 0/1 for each query, one column for each key",
        )

    def visible(at_Q: np.ndarray, at_K: np.ndarray) -> np.ndarray:
        seen = own(at_Q, at_K)
        rows, columns = np.flatnonzero(at_Q < queries), np.flatnonzero(at_K < keys)
        seen[np.ix_(rows, columns)] = mask.rows[np.ix_(at_Q[rows], at_K[columns])]
        return seen

    return visible


def _numbers(mask: Mask, limits: dict[str, int]) -> tuple[int, ...]:
    """The numbers of a mask word, each within the prompt. Raises UsageError."""
    for number, name in zip(mask.numbers, MASKS[mask.kind].most, strict=False):
        if number > limits[name]:
            queries, keys = limits["query"] + 1, limits["keys"]
            sides = {"token": keys} if queries == keys else {"query": queries, "key": keys}
            here = " and ".join(plural(count, what) for what, count in sides.items())
            raise PromptError(
                f"--mask {mask.word}: {number} is out of range for this prompt of {here}",
                f"give 0 to {limits[name]}",
            )
    return mask.numbers


def read_what_if(
    mask: Sequence[str] = (),
    mask_value: float | None = None,
    attention_temperature: float = 1.0,
    without_head: Sequence[str] = (),
    without: Sequence[str] = (),
    *,
    stack: str = "decoder",
    kind: str = "self",
    layers: int,
    heads: int,
    most: tuple[int, int] = (0, 0),
    queries: Sequence[str] = (),
    keys: Sequence[str] = (),
) -> WhatIf:
    """The what-if settings of one attention. Raises UsageError, and ContentError for a mask file.

    Mask words may name a token of `queries` and `keys`, the prompt's texts. `most` are the layers
    and heads that any of the attentions has for which the settings were typed.
    """
    most_layers, most_heads = max(layers, most[0]), max(heads, most[1])
    given = _masks(mask, queries, keys)
    _finite(attention_temperature, "attention temperature", 0)
    if mask_value is not None:
        _finite(mask_value, "mask value", -math.inf)
    parts = [part for word in without for part in word.split(",")]
    return WhatIf(
        # The base comes first whatever the order typed, since the others change it; what opens
        # cells comes next, so that what hides them has the last word.
        masks=tuple(sorted(given, key=lambda m: (not MASKS[m.kind].base, not MASKS[m.kind].opens))),
        queries=len(queries),
        keys=len(keys),
        mask_value=-math.inf if mask_value is None else mask_value,
        attention_temperature=attention_temperature,
        without_head=frozenset(
            (layer, head)
            for word in without_head
            for layer, head in removed_heads(word, most_layers, most_heads)
            if layer < layers and head < heads
        ),
        without_mlp=frozenset(
            layer
            for part in parts
            if part.startswith("mlp:")
            for layer in within(part[4:], layers, most_layers, "--without mlp: layer")
        ),
        without=frozenset(_left_out(part) for part in parts if not part.startswith("mlp:")),
        stack=stack,
        kind=kind,
    )


def _masks(words: Sequence[str], queries: Sequence[str], keys: Sequence[str]) -> tuple[Mask, ...]:
    """The masks of the words, of which at most one may be a base."""
    given = tuple(parse_mask(word, queries, keys) for word in words)
    bases = [m.word for m in given if MASKS[m.kind].base]
    if len(bases) > 1:
        every = [name for name, known in MASKS.items() if known.base]
        more = [name for name in MASKS if name not in every]
        raise UsageError(
            f"two base masks: {bases[0]} and {bases[1]}",
            f"give at most one of {', '.join(every)}; {', '.join(more)} add to it",
        )
    return given


def _finite(number: float, name: str, low: float) -> None:
    if not math.isfinite(number) or number < low:
        more = "" if low < 0 else f", {low} or more"
        raise UsageError(f"{name} {number} is out of range", f"a finite number{more}")


def _left_out(word: str) -> str:
    if word not in WITHOUT or ":" in word:
        raise UsageError(f"--without {shorten(word)!r} is unknown", f"one of {', '.join(WITHOUT)}")
    return word


def removed_heads(word: str, layers: int, heads: int) -> list[tuple[int, int]]:
    """The (layer, head) pairs of `0.3`, `0.1,2`, `1.0-2` or `0.all`."""
    layer, dot, chosen = word.partition(".")
    if not (dot and INTEGER.fullmatch(layer) and chosen):
        raise UsageError(
            f"--without-head {shorten(word)!r} is not L.H", "for example 0.3, or 0.1,2, or 0.all"
        )
    at = index(layer, layers, "--without-head: layer")
    return [(at, head) for head in selection(chosen, heads, "--without-head: head")]


def parse_mask(word: str, queries: Sequence[str] = (), keys: Sequence[str] = ()) -> Mask:
    """One word of `--mask`. Raises UsageError, and ContentError for an unreadable mask file."""
    texts = {"query": queries, "key": keys}
    name, colon, rest = word.partition(":")
    path = path_of(word)
    if path is None:
        known = MASKS[name]
        count = known.usage.count(":")
        parts = _split(rest, count, queries, keys) if colon else []
        named = [texts.get(name, ()) for name in (*known.most, "", "")]
        numbers = [
            _position(part, known, where, word) for part, where in zip(parts, named, strict=False)
        ]
        if len(numbers) != count:
            raise UsageError(f"--mask {shorten(word)} is not understood", f"write {known.usage}")
        if any(number < known.least for number in numbers):
            raise UsageError(
                f"--mask {shorten(word)} is out of range", f"{known.usage}, from {known.least}"
            )
        empty = np.zeros((0, 0), bool)
        return Mask(word=word, kind=name, numbers=tuple(numbers), rows=empty)
    if path == word and not _exists(path):
        known = ", ".join(word.usage for word in MASKS.values())
        said = shorten(word, PATH) if "/" in word else shorten(word)
        raise UsageError(f"--mask {said!r} is no mask and no file", f"known: {known}")
    return Mask(word=word, kind="file", rows=_mask_rows(Path(path)))


def path_of(word: str) -> str | None:
    """The file that a word of `--mask` names, None where it is another mask."""
    name, _, rest = word.partition(":")
    if name in MASKS and name != "file":
        return None
    return rest if name == "file" and rest else word


def _split(text: str, count: int, queries: Sequence[str], keys: Sequence[str]) -> list[str]:
    """The parts of a mask word; a token may hold a colon itself."""
    parts, texts = text.split(":"), (queries, keys)
    if count == 2 and len(parts) > 2:
        ways = [(":".join(parts[:n]), ":".join(parts[n:])) for n in range(1, len(parts))]
        named = [
            way for way in ways
            if all(INTEGER.fullmatch(w) or w in t for w, t in zip(way, texts, strict=True))
        ]  # fmt: skip
        return list(named[0]) if named else parts
    return parts


def _position(part: str, known: MaskWord, texts: Sequence[str], word: str) -> int:
    """A number, or the position of one of `texts` where the word takes positions."""
    if INTEGER.fullmatch(part):
        return int(part)
    if not texts:
        raise UsageError(f"--mask {shorten(word)} is not understood", f"write {known.usage}")
    return positions(part, texts, f"--mask {known.usage}")[-1]


def _exists(path: str) -> bool:
    try:
        return path != "" and Path(path).exists()
    except (OSError, ValueError):
        return False


def _mask_rows(path: Path) -> np.ndarray:
    text, _ = read_text(path, _BYTES)
    rows: list[np.ndarray] = []
    lines = (found[0] for found in _LINE.finditer(text))  # one at a time: all may be many
    for number, line in enumerate(filter(str.strip, lines), 1):
        if number > _ROWS:
            raise ContentError(f"{path} has more than {_ROWS:,} rows")
        if len(line) > _LONGEST:
            raise ContentError(f"{path}: row {number} has more than {_LONGEST:,} characters")
        row = line.split()
        if rows and len(row) != len(rows[0]):
            raise ContentError(
                f"{path}: row {number} has {len(row)} cells, row 1 has {len(rows[0])}",
                "rows of 0/1 separated by white space, all of one length",
            )
        if {*row} - {"0", "1"}:
            cell = next(cell for cell in row if cell not in ("0", "1"))
            raise ContentError(
                f"{path}: row {number} has the cell {shorten(cell)!r}", "cells are 0 or 1"
            )
        rows.append(np.array(row) == "1")
    if not rows:
        raise ContentError(f"{path} holds no rows", "rows of 0/1 separated by white space")
    return np.array(rows)
