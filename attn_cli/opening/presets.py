"""Published models by name, as shapes: a literal table of configs, with where each is published."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from attn_cli.errors import UsageError, shorten

_TABLE = Path(__file__).parent.parent / "data" / "presets.json"
# Published with attention that is sparse in some layers, in a way that shapes do not tell.
SPARSE = frozenset({"gpt3"})


def names() -> tuple[str, ...]:
    """Every preset."""
    return tuple(_table())


def find(name: str) -> tuple[str, dict[str, Any]]:
    """Where a preset is published, and its config. Raises UsageError with the valid names."""
    table = _table()
    if name not in table:
        from difflib import get_close_matches  # for errors alone

        close = get_close_matches(name.lower(), table, 1)
        first = f"did you mean {close[0]}? all: " if close else "one of "
        raise UsageError(f"no preset {shorten(name)!r}", first + ", ".join(table))
    entry = table[name]
    return entry["published"], entry["config"]


@cache
def _table() -> dict[str, dict[str, Any]]:
    return json.loads(_TABLE.read_text())
