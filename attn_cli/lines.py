"""What a line of an input is: a text, or a JSON object with the key text."""

import json
from typing import Any

from attn_cli import files
from attn_cli.errors import ContentError, shorten
from attn_cli.words import Note

LONGEST = 1 << 24  # bytes of a line; JSON that says nothing takes twenty times its size
OF_JSON = (".jsonl", ".ndjson")


def are_json(name: str, first: bytes) -> bool:
    """Whether a file of this name with this first line holds JSON lines."""
    return name.endswith(OF_JSON) or as_object(first) is not None


def text_of(line: bytes) -> tuple[str, tuple[Note, ...]]:
    """A line as it is, and notes on what was dropped. Raises ContentError."""
    return files.decode(line.removesuffix(b"\r"), "it")


def json_of(line: bytes) -> tuple[str, dict[str, Any]]:
    """The key text of a JSON line, and its other keys. Raises ContentError."""
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
    if not line.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return None
    try:
        value = json.loads(line.decode("utf-8-sig"), parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
