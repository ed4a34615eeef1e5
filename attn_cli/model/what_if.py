"""What-if settings: another mask, another attention temperature, a head removed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attn_cli.errors import ContentError, UsageError, shorten
from attn_cli.files import read_text
from attn_cli.maths import masks
from attn_cli.maths.masks import Visible
from attn_cli.parse import INTEGER, index
from attn_cli.records import Address
from attn_cli.vocabulary import MASKS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mask:
    """One mask word as typed and what it says; `rows` (query, key) is only used by `file`."""

    word: str
    kind: str
    numbers: tuple[int, ...] = ()
    rows: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WhatIf:
    """The changes a user asked for; the default changes nothing.

    `without_head` holds (layer, head) pairs. They act on every layer of one attention: that of
    `stack` and `kind`.
    """

    masks: tuple[Mask, ...] = ()
    attention_temperature: float = 1.0
    without_head: frozenset[tuple[int, int]] = frozenset()
    stack: str = "decoder"
    kind: str = "self"

    def at(self, address: Address) -> "WhatIf":
        """What of it acts on one block."""
        return self if (address.stack, address.kind) == (self.stack, self.kind) else WhatIf()

    def removed(self, layer: int) -> tuple[int, ...]:
        """The heads of a layer that are removed."""
        return tuple(sorted(head for at, head in self.without_head if at == layer))

    def visible(self, own: Visible, queries: int, keys: int, *, both_sides: bool) -> Visible:
        """The model's own mask with the user's applied, for so many positions of each.

        Raises UsageError, ContentError.
        """
        visible = own
        for mask in self.masks:
            visible = _applied(mask, visible, queries, keys, both_sides)
        return visible


def _applied(mask: Mask, before: Visible, queries: int, keys: int, both_sides: bool) -> Visible:
    if mask.kind == "file":
        if mask.rows.shape != (queries, keys):
            raise ContentError(
                f"{mask.word} has {mask.rows.shape[0]} × {mask.rows.shape[1]} cells, "
                f"this prompt needs {queries} × {keys}",
                "one row of 0/1 for each query, one column for each key",
            )
        return lambda at_Q, at_K: mask.rows[np.ix_(at_Q, at_K)]
    _check_range(mask, {"query": queries - 1, "key": keys - 1, "keys": keys})
    make, numbers = getattr(masks, mask.kind), mask.numbers
    if mask.kind == "padding":
        numbers = (keys - numbers[0],)
    sides = {"both_sides": both_sides} if mask.kind == "window" else {}
    if MASKS[mask.kind].base:
        return lambda at_Q, at_K: make(at_Q, at_K, *numbers, **sides)
    return lambda at_Q, at_K: before(at_Q, at_K) & make(at_Q, at_K, *numbers)


def _check_range(mask: Mask, limits: dict[str, int]) -> None:
    for number, name in zip(mask.numbers, MASKS[mask.kind].most, strict=False):
        if number > limits[name]:
            raise UsageError(
                f"--mask {mask.word}: {number} is out of range for this prompt of "
                f"{limits['keys']} tokens",
                f"give 0 to {limits[name]}",
            )


def read_what_if(
    mask: Sequence[str] = (),
    attention_temperature: float = 1.0,
    without_head: Sequence[str] = (),
    *,
    stack: str = "decoder",
    kind: str = "self",
    layers: int,
    heads: int,
) -> WhatIf:
    """The what-if settings of one run. Raises UsageError, and ContentError for a mask file."""
    given = tuple(parse_mask(word) for word in mask)
    bases = [m.word for m in given if MASKS[m.kind].base]
    if len(bases) > 1:
        every = [name for name, known in MASKS.items() if known.base]
        more = [name for name in MASKS if name not in every]
        raise UsageError(
            f"two base masks: {bases[0]} and {bases[1]}",
            f"give at most one of {', '.join(every)}; {' and '.join(more)} add to it",
        )
    if not math.isfinite(attention_temperature) or attention_temperature < 0:
        raise UsageError(
            f"attention temperature {attention_temperature} is out of range",
            "a finite number, 0 or more",
        )
    return WhatIf(
        # The base comes first whatever the order typed, since the others take away from it.
        masks=tuple(sorted(given, key=lambda m: not MASKS[m.kind].base)),
        attention_temperature=attention_temperature,
        without_head=frozenset(_removed_head(word, layers, heads) for word in without_head),
        stack=stack,
        kind=kind,
    )


def _removed_head(word: str, layers: int, heads: int) -> tuple[int, int]:
    layer, dot, head = word.partition(".")
    if not (dot and INTEGER.fullmatch(layer) and INTEGER.fullmatch(head)):
        raise UsageError(f"--without-head {shorten(word)!r} is not L.H", "for example 0.3")
    return (
        index(layer, layers, "--without-head: layer"),
        index(head, heads, "--without-head: head"),
    )


def parse_mask(word: str) -> Mask:
    """One word of `--mask`. Raises UsageError, and ContentError for an unreadable mask file."""
    name, colon, rest = word.partition(":")
    if name in MASKS and name != "file":
        numbers, known = rest.split(":") if colon else [], MASKS[name]
        fits = len(numbers) == known.usage.count(":") and all(
            INTEGER.fullmatch(n) and int(n) >= known.least for n in numbers
        )
        if not fits:
            raise UsageError(f"--mask {shorten(word)} is not understood", f"write {known.usage}")
        empty = np.zeros((0, 0), bool)
        return Mask(word=word, kind=name, numbers=tuple(int(n) for n in numbers), rows=empty)
    path = rest if name == "file" and rest else word
    if path == word and not _exists(path):
        known = ", ".join(word.usage for word in MASKS.values())
        raise UsageError(f"--mask {shorten(word)!r} is no mask and no file", f"known: {known}")
    return Mask(word=word, kind="file", rows=_mask_rows(Path(path)))


def _exists(path: str) -> bool:
    try:
        return path != "" and Path(path).exists()
    except (OSError, ValueError):
        return False


def _mask_rows(path: Path) -> np.ndarray:
    text, _ = read_text(path)
    rows = [line.split() for line in text.splitlines() if line.strip()]
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise ContentError(
                f"{path}: row {number} has {len(row)} cells, row 1 has {len(rows[0])}",
                "rows of 0/1 separated by white space, all of one length",
            )
        for cell in row:
            if cell not in ("0", "1"):
                raise ContentError(
                    f"{path}: row {number} has the cell {shorten(cell)!r}", "cells are 0 or 1"
                )
    if not rows:
        raise ContentError(f"{path} holds no rows", "rows of 0/1 separated by white space")
    return np.array(rows) == "1"
