"""What-if settings: another mask, another attention temperature, a head removed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attn_cli.errors import ContentError, UsageError, shorten
from attn_cli.files import read_text
from attn_cli.maths import masks
from attn_cli.parse import INTEGER, index


class MaskKind(NamedTuple):
    """How a mask word is written, and the function that makes (base) or hides cells."""

    usage: str
    base: bool
    make: Callable[..., np.ndarray]

    @property
    def numbers(self) -> int:
        """How many numbers the word takes."""
        return self.usage.count(":")


def _given_rows(*_: int) -> np.ndarray:
    raise TypeError("a mask file's rows are taken as they are")


MASKS = {
    "causal": MaskKind("causal", True, masks.causal),
    "none": MaskKind("none", True, masks.none),
    "window": MaskKind("window:N", True, masks.window),
    "prefix": MaskKind("prefix:N", True, masks.prefix),
    "file": MaskKind("file:PATH", True, _given_rows),
    "padding": MaskKind("padding:N", False, masks.hide_padding),
    "block": MaskKind("block:Q:K", False, masks.hide_cell),
}
MASK_WORDS = ", ".join(kind.usage for kind in MASKS.values())


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

    `without_head` holds (layer, head) pairs. They act on every layer of one stack's attention.
    """

    masks: tuple[Mask, ...] = ()
    attention_temperature: float = 1.0
    without_head: frozenset[tuple[int, int]] = frozenset()

    def visible(self, own_QK: np.ndarray, *, both_sides: bool = False) -> np.ndarray:
        """The model's own mask with the user's applied. Raises UsageError, ContentError."""
        visible = own_QK
        for mask in self.masks:
            visible = _apply(mask, visible, both_sides)
        return visible


def _apply(mask: Mask, visible_QK: np.ndarray, both_sides: bool) -> np.ndarray:
    queries, keys = visible_QK.shape
    kind = MASKS[mask.kind]
    if mask.kind == "file":
        if mask.rows.shape != visible_QK.shape:
            raise ContentError(
                f"{mask.word} has {mask.rows.shape[0]} × {mask.rows.shape[1]} cells, "
                f"this prompt needs {queries} × {keys}",
                "one row of 0/1 for each query, one column for each key",
            )
        return mask.rows
    _check_range(mask, queries, keys)
    if not kind.base:
        return kind.make(visible_QK, *mask.numbers)
    sides = {"both_sides": both_sides} if mask.kind == "window" else {}
    return kind.make(queries, keys, *mask.numbers, **sides)


def _check_range(mask: Mask, queries: int, keys: int) -> None:
    last = {"block": (queries - 1, keys - 1), "padding": (keys,), "prefix": (keys,)}
    for number, most in zip(mask.numbers, last.get(mask.kind, ()), strict=False):
        if number > most:
            raise UsageError(
                f"--mask {mask.word}: {number} is out of range for this prompt of {keys} tokens",
                f"give 0 to {most}",
            )


def read_what_if(
    mask: Sequence[str] = (),
    attention_temperature: float = 1.0,
    without_head: Sequence[str] = (),
    *,
    layers: int,
    heads: int,
) -> WhatIf:
    """The what-if settings of one run. Raises UsageError, and ContentError for a mask file."""
    given = tuple(parse_mask(word) for word in mask)
    bases = [m.word for m in given if MASKS[m.kind].base]
    if len(bases) > 1:
        raise UsageError(
            f"two base masks: {bases[0]} and {bases[1]}",
            "give at most one of causal, none, window, prefix, file; padding and block add to it",
        )
    if not math.isfinite(attention_temperature) or attention_temperature < 0:
        raise UsageError(
            f"attention temperature {attention_temperature} is out of range",
            "a finite number, 0 or more",
        )
    removed = frozenset(_removed_head(word, layers, heads) for word in without_head)
    # The base comes first whatever the order typed, since the others take away from it.
    ordered = sorted(given, key=lambda m: not MASKS[m.kind].base)
    return WhatIf(
        masks=tuple(ordered), attention_temperature=attention_temperature, without_head=removed
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
    empty = np.zeros((0, 0), bool)
    if name in MASKS and name != "file":
        numbers = rest.split(":") if colon else []
        kind = MASKS[name]
        fits = len(numbers) == kind.numbers and all(
            INTEGER.fullmatch(n) and int(n) >= (name == "window") for n in numbers
        )
        if not fits:
            raise UsageError(f"--mask {shorten(word)} is not understood", f"write {kind.usage}")
        return Mask(word=word, kind=name, numbers=tuple(int(n) for n in numbers), rows=empty)
    path = rest if name == "file" and rest else word
    if path == word and not _exists(path):
        raise UsageError(f"--mask {shorten(word)!r} is no mask and no file", f"known: {MASK_WORDS}")
    return Mask(word=word, kind="file", rows=_mask_rows(Path(path)))


def _exists(path: str) -> bool:
    try:
        return path != "" and Path(path).exists()
    except (OSError, ValueError):
        return False


def _mask_rows(path: Path) -> np.ndarray:
    text, _ = read_text(path)
    rows = [line.split() for line in text.splitlines() if line.strip()]
    for number_, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise ContentError(
                f"{path}: row {number_} has {len(row)} cells, row 1 has {len(rows[0])}",
                "rows of 0/1 separated by white space, all of one length",
            )
        for cell in row:
            if cell not in ("0", "1"):
                raise ContentError(
                    f"{path}: row {number_} has the cell {shorten(cell)!r}", "cells are 0 or 1"
                )
    if not rows:
        raise ContentError(f"{path} holds no rows", "rows of 0/1 separated by white space")
    return np.array(rows) == "1"
