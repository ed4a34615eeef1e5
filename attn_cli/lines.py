"""What a line of an input is: a text, or a JSON object with the key text."""

import json
import re
from typing import Any

from attn_cli import files, strict
from attn_cli.errors import ContentError, shorten
from attn_cli.words import Note

LONGEST = 1 << 24  # bytes of a line
OF_JSON = (".jsonl", ".ndjson")
_VALUES = 1 << 20  # of a JSON line: a list of nothing has two bytes, and takes thirty times that
_MARK = b"\xef\xbb\xbf"
_BEGUN = re.compile(rb'\s*\{\s*"[^"]{0,99}"\s*:')


def are_json(name: str, first: bytes) -> bool:
    """Whether a file of this name with this first line, which may be damaged, holds JSON lines."""
    begun = _BEGUN.match(first.removeprefix(_MARK))
    return bool(begun) or name.endswith(OF_JSON) or as_object(first) is not None


def text_of(line: bytes) -> tuple[str, tuple[Note, ...]]:
    """A line as it is, and notes on what was dropped. Raises ContentError."""
    return files.decode(line.removesuffix(b"\r"), "it")


def json_of(line: bytes) -> tuple[str, dict[str, Any]]:
    """The key text of a JSON line, and its other keys. Raises ContentError."""
    if strict.values_of(line) > _VALUES:
        raise ContentError(f"it holds more than {_VALUES:,} values", "leave out what is not needed")
    found = as_object(line)
    if found is None:
        raise ContentError("it is not a JSON object", "each line is one, with the key text")
    if not isinstance(found.get("text"), str):
        keys = shorten(", ".join(found)) or "none"
        what = "is not a text" if "text" in found else "is missing"
        raise ContentError(f"the key text {what}", f"it holds the prompt; the keys here: {keys}")
    text = found.pop("text")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise ContentError("it holds half a surrogate pair, not text")
    return text, found


def too_long() -> ContentError:
    """What is said of a line that is not even kept."""
    return ContentError(f"it has more than {LONGEST >> 20} MiB", "shorten it")


def as_object(line: bytes) -> dict[str, Any] | None:
    """The JSON object that a line is, None where it is none."""
    if not line.removeprefix(_MARK).lstrip().startswith(b"{"):
        return None
    try:
        text = line.decode("utf-8-sig")
        value = json.loads(text, parse_constant=lambda _: None, parse_int=_whole)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _whole(digits: str) -> int:
    """A whole number; one of more digits than Python reads is like any other beyond 64 bits."""
    return int(digits) if len(digits) < 100 else 1 << 99
