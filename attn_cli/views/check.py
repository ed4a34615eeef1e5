"""Whether a document follows its schema: exactly as much of JSON Schema as `schema.py` writes; and
whether its lists of numbers are arrays."""

from collections.abc import Mapping
from types import NoneType
from typing import Any

import numpy as np

from attn_cli.errors import ContentError, shorten

DAMAGED = "it is damaged, or was changed since attn wrote it"
_NAMES = {
    "object": "an object", "array": "a list", "string": "a text", "boolean": "true or false",
    "null": "null", "integer": "a whole number", "number": "a number",
}  # fmt: skip
_TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", NoneType: "null"}
_SIMPLE = {int, float, bool, str, NoneType}


def fault(schema: Mapping[str, Any], document: Any) -> str:
    """The first place that does not follow the schema, and what is wrong there; empty if none."""
    try:
        place, what = _fault(schema, document, schema.get("$defs", {})) or ("", "")
    except RecursionError:
        place, what = "", "is nested too deeply"
    return f"{place.removeprefix('.') or 'the document'} {what}" if what else ""


def _fault(
    schema: Mapping[str, Any], value: Any, defs: Mapping[str, Any], at: str = ""
) -> tuple[str, str] | None:
    """The place and what is wrong, None where nothing is."""
    if "$ref" in schema:
        schema = defs[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        found = [_fault(kind, value, defs, at) for kind in schema["anyOf"]]
        # The alternative that was meant is the one that fits furthest.
        return None if None in found else max(found, key=lambda one: len(one[0]))
    for allowed in ([schema["const"]] if "const" in schema else [], schema.get("enum", [])):
        if allowed and not any(_equal(value, one) for one in allowed):
            return at, f"is {_told(value)}, not {' or '.join(map(_told, allowed))}"
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(_is(value, name) for name in types):
        return at, f"is {_told(value)}, not {' or '.join(_NAMES[name] for name in types)}"
    if isinstance(value, dict):
        return _properties(schema, value, defs, at)
    return _items(schema["items"], value, defs, at) if "items" in schema else None


def _properties(
    schema: Mapping[str, Any], value: dict[str, Any], defs: Mapping[str, Any], at: str
) -> tuple[str, str] | None:
    known = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            return at, f"has no {name}"
    for name, inner in value.items():
        if name in known:
            if found := _fault(known[name], inner, defs, f"{at}.{name}"):
                return found
        elif schema.get("additionalProperties") is False:
            return at, f"has an unknown key {shorten(name)!r}"
    return None


def _items(
    schema: Mapping[str, Any], value: Any, defs: Mapping[str, Any], at: str
) -> tuple[str, str] | None:
    """Numbers come by the million: where only types are asked, one of each is looked at."""
    if not isinstance(value, list):
        return None
    kinds, places = set(map(type, value)), range(len(value))
    whole = "integer" in schema.get("type", "")
    if kinds <= _SIMPLE and schema.keys() <= {"type", "$ref"} and not (whole and float in kinds):
        places = [next(i for i, v in enumerate(value) if type(v) is kind) for kind in kinds]
    for i in sorted(places):
        if found := _fault(schema, value[i], defs, f"{at}[{i}]"):
            return found
    return None


def _is(value: Any, name: str) -> bool:
    if type(value) in (int, float):
        return name == "number" or (name == "integer" and value == value // 1)
    return _TYPES[type(value)] == name


def _equal(one: Any, other: Any) -> bool:
    """Whether two values of JSON are the same: true is not 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _told(value: Any) -> str:
    """A value in a message."""
    if isinstance(value, dict):
        return _NAMES["object"]
    if isinstance(value, list):
        return shorten(f"[{', '.join(map(str, value[:9]))}]")
    named = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return named[value]
    return shorten(repr(value))


def array_of(value: Any) -> np.ndarray:
    """Nested lists as float32, null as NaN, or as truth values. Raises ContentError."""
    first = value
    while isinstance(first, list) and first:
        first = first[0]
    kind = bool if isinstance(first, bool) else np.float64
    _check_cells(value, {bool} if kind is bool else {int, float, type(None)})
    try:
        found = np.array(value, kind)
    except (ValueError, TypeError, OverflowError):
        raise ContentError("its lists of numbers have rows of different lengths", DAMAGED) from None
    if kind is bool:
        return found
    with np.errstate(all="ignore"):
        small = found.astype(np.float32)
    if np.isinf(small).any():
        raise ContentError("it holds numbers that are too large for float32", DAMAGED)
    return small


def _check_cells(value: Any, allowed: set[type]) -> None:
    """Numbers and truth values do not stand together."""
    if isinstance(value, list):
        kinds = set(map(type, value))
        if list not in kinds and kinds <= allowed:
            return
        for inner in value:
            _check_cells(inner, allowed)
    elif type(value) not in allowed:
        raise ContentError("its lists of numbers hold something else", DAMAGED)
