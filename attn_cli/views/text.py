"""Text that came from outside, made safe and visible for a screen."""

import unicodedata
from collections.abc import Sequence

from attn_cli.errors import bounded

# Format characters hide or reorder what stands around them; the rest prints nothing of its own.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Blank or invisible although their category says letter, symbol or mark.
_INVISIBLE = frozenset(
    "\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5\u180b\u180c\u180d\u180f\U00016fe4\U0001d159"
)
_RANGES = (
    ("hidden", "\ufe00", "\ufe0f"), ("hidden", "\U000e0100", "\U000e01ef"),  # variations
    ("hidden", "\U0001f3fb", "\U0001f3ff"),  # tones
    ("flag", "\U0001f1e6", "\U0001f1ff"),
    ("hangul", "\u1100", "\u115e"), ("hangul", "\ua960", "\ua97c"), ("hangul", "\uac00", "\ud7a3"),
    ("vowel", "\u1161", "\u11ff"), ("vowel", "\ud7b0", "\ud7fb"),
    ("brahmic", "\u0900", "\u1cff"), ("brahmic", "\ua800", "\uabff"),
    ("brahmic", "\U00010a00", "\U00011fff"),
)  # fmt: skip
_BESIDE = "\U0001171e"  # a mark that takes a column in newer versions of Unicode
_MARKS = ("Mn", "Me", "Mc")
_STACKED = 8  # marks on a letter; Hebrew and Tibetan have up to six


def visible(text: str) -> str:
    """`text` with control, bidi, zero-width and unprintable characters as escapes (`\\x1b`).

    So are marks that stand on nothing, halves of a flag, and tones of a skin: how wide they are
    depends on the terminal.
    """
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    before, marks, at = "", 0, 0  # the kind of the letter before, and how many marks it has
    while at < len(text):
        kind = _kind(text[at])
        size = 1 + (kind == "flag" and at + 1 < len(text) and _kind(text[at + 1]) == "flag")
        marks = marks + 1 if kind in ("mark", "joint") else 0
        if kind == "hidden" or (kind == "flag" and size == 1) or not _stands(kind, before, marks):
            shown.append(_escape(text[at]))
            before = ""
        else:
            shown.append(text[at : at + size])
            before = before if marks else "" if kind in ("flag", "other") else kind
        at += size
    return "".join(shown)


def _stands(kind: str, before: str, marks: int) -> bool:
    """Whether a character has before it what it needs to be drawn."""
    if kind == "vowel":
        return before in ("vowel", "hangul")
    if marks:
        return marks <= _STACKED and (before == "brahmic" if kind == "joint" else bool(before))
    return True


def _kind(char: str) -> str:
    """What a character needs to be drawn: `hidden` ones are not, and `other` ones need nothing.

    A `mark` needs a letter, a `base` or one of the kinds in `_RANGES`, and a `joint`, a mark that
    takes a column or joins letters, one of the scripts that have them; a `vowel` of a syllable that
    is written by its parts needs its beginning.
    """
    if char.isascii():
        return "base" if char.isalnum() else "other" if char.isprintable() else "hidden"
    category = unicodedata.category(char)
    if category in _UNPRINTABLE or category == "Zs" or char in _INVISIBLE:
        return "hidden"
    kind = next((kind for kind, first, last in _RANGES if first <= char <= last), "base")
    if kind in ("flag", "hidden"):
        return kind
    if category in _MARKS:
        joins = category == "Mc" or char == _BESIDE or unicodedata.combining(char) == 9
        return "joint" if joins else "mark"
    return kind if category[0] in "LN" or category == "So" else "other"


def _escape(char: str) -> str:
    code = ord(char)
    if char in "\n\t\r":
        return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}[char]
    kind, width = ("x", 2) if code < 0x100 else ("u", 4) if code < 0x10000 else ("U", 8)
    return f"\\{kind}{code:0{width}x}"


def named(text: str) -> str:
    """A name or a command as part of a page: visible, and no longer than a message may be."""
    return bounded(visible(bounded(text)))


def label(text: str, limit: int = 14) -> str:
    """A token as a heading: visible, spaces shown, cut to `limit` characters."""
    shown = visible(text).replace(" ", "␣")
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def labels(texts: Sequence[str]) -> list[str]:
    """A heading for each token, numbered where the same text stands twice."""
    shown = [label(text) for text in texts]
    twice = {text for text in shown if shown.count(text) > 1} if len(shown) < 1000 else set()
    return [f"{text}·{i}" if text in twice else text for i, text in enumerate(shown)]
