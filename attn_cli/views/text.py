"""Text that came from outside, made safe and visible for a screen."""

import unicodedata
from collections.abc import Sequence

# Format characters hide or reorder what stands around them; the rest prints nothing of its own.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Blank or invisible although their category says letter, symbol or mark.
_INVISIBLE = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5")


def visible(text: str) -> str:
    """`text` with control, bidi, zero-width and unprintable characters as escapes (`\\x1b`)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(char) if _hidden(char) else char for char in text)


def _hidden(char: str) -> bool:
    if char.isascii():
        return not char.isprintable()
    category = unicodedata.category(char)
    if category == "Zs":
        return True
    variation = "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"
    return category in _UNPRINTABLE or variation or char in _INVISIBLE


def _escape(char: str) -> str:
    code = ord(char)
    if char in "\n\t\r":
        return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}[char]
    kind, width = ("x", 2) if code < 0x100 else ("u", 4) if code < 0x10000 else ("U", 8)
    return f"\\{kind}{code:0{width}x}"


def label(text: str, limit: int = 14) -> str:
    """A token as a heading: visible, spaces shown, cut to `limit` characters."""
    shown = visible(text).replace(" ", "␣")
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def labels(texts: Sequence[str]) -> list[str]:
    """A heading for each token, numbered where the same text stands twice."""
    shown = [label(text) for text in texts]
    twice = {text for text in shown if shown.count(text) > 1} if len(shown) < 1000 else set()
    return [f"{text}·{i}" if text in twice else text for i, text in enumerate(shown)]
