"""What is promised of every run of the command, whatever it was asked."""

import json
from typing import Any

# Words of Python and its libraries that no user should have to read.
PYTHON = (
    "Traceback", "Errno", "Exception", "object at 0x", "NoneType", "codec", "could not convert",
    "invalid literal", "Warning", "this should not have happened",
)  # fmt: skip


def strict(data: bytes | str) -> Any:
    """A JSON document; NaN, Infinity and a key that stands twice are refused."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        assert len(found) == len(pairs), "a key stands twice"
        return found

    return json.loads(data, parse_constant=refuse, object_pairs_hook=once)


def controls(text: str, allowed: str = "\n") -> list[str]:
    """Characters that a screen would obey or hide instead of showing them."""
    bad = {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), *"\xad\u061c\u200b\u200c\u200d"}
    bad |= {*map(chr, range(0x200E, 0x2010)), *map(chr, range(0x2028, 0x202F)), "\ufeff"}
    bad |= {*map(chr, range(0x2060, 0x2070))}
    return [f"U+{ord(char):04X}" for char in text if char in bad and char not in allowed]
