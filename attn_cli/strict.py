"""What may be read of a stranger's file: what it looks like, JSON within the limits of its kind.

A list of nothing takes two bytes of text and 64 of memory, so that values are counted before a
file is parsed. Imports only the standard library.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from attn_cli.errors import ContentError, shorten
from attn_cli.files import decode, read_bytes

DAMAGED = "the file may be damaged"
# How a pickle begins: with its protocol, with a name that it asks for, or an empty table of text.
_PICKLE = re.compile(rb"\x80[\x02-\x05]|c[\w.]+\n[\w.]+\n|\([dl]p0\n")


class Limit(NamedTuple):
    """The most bytes, and the most commas and opening brackets, that a kind of file may have.

    Each of these takes some 150 bytes of memory at the most.
    """

    bytes: int
    values: int


# A hundred thousand labels, each there and back; an index of a million tensors; a vocabulary.
CONFIG = Limit(16_000_000, 1 << 19)
INDEX = Limit(128_000_000, 1 << 20)
VOCABULARY = Limit(64_000_000, 1 << 20)
MANIFEST = Limit(1_000_000, 1 << 14)


class _Constant(str):
    """NaN or an infinity, which JSON has not."""


def read_json_object(path: Path, limit: Limit = CONFIG) -> dict[str, Any]:
    """A JSON file that holds one object, without NaN or Infinity. Raises ContentError."""
    return json_object(read_bytes(path, limit=limit.bytes), str(path), limit)


def json_object(data: bytes, where: str, limit: Limit) -> dict[str, Any]:
    """The object that JSON holds. Raises ContentError, which names the key of a NaN."""
    if problem := too_many(data, limit):
        raise ContentError(f"{where} {problem}", DAMAGED)
    looks = looks_like(data[:64])
    try:
        text, _ = decode(data, where)
    except ContentError:
        if looks:
            raise ContentError(f"{where} is not strict JSON", f"it looks like {looks}") from None
        raise
    found: list[str] = []
    try:
        values = json.loads(text, parse_constant=lambda name: found.append(name) or _Constant(name))
    except (ValueError, RecursionError) as error:
        hint = f"it looks like {looks}" if looks else DAMAGED
        raise ContentError(f"{where} is not strict JSON{_place(error)}", hint) from None
    if found:
        named = next(_constants(values), f"a value is {found[0]}")  # unless its key stands twice
        raise ContentError(f"{where}: {named}, which JSON does not have", DAMAGED)
    if not isinstance(values, dict):
        raise ContentError(f"{where} is not a JSON object")
    return values


def too_many(data: bytes, limit: Limit) -> str:
    """What is wrong with JSON of more bytes or values than its kind may have; empty if nothing."""
    if len(data) > limit.bytes:
        return f"has more than {limit.bytes:,} bytes"
    if values_of(data) > limit.values:
        return f"has more than {limit.values:,} values, which no such file has"
    return ""


def values_of(data: bytes) -> int:
    """The commas and opening brackets of JSON: about as many as it has values."""
    return sum(map(data.count, (b"[", b"{", b",")))


def _place(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f" (at line {error.lineno}, column {error.colno})"
    return ""


def _constants(values: Any) -> Iterator[str]:
    """Each NaN of a document under its key: `rope_scaling.factor is NaN`."""
    left = [("", values)]
    while left:
        at, value = left.pop()
        if isinstance(value, _Constant):
            yield f"{shorten(at) or 'the document'} is {value}"
        elif isinstance(value, Mapping):
            left += [(f"{at}{at and '.'}{shorten(key)}", one) for key, one in value.items()][::-1]
        elif isinstance(value, list):
            left += [(f"{at}[{n}]", one) for n, one in enumerate(value)][::-1]


def looks_like(start: bytes) -> str:
    """What a file that begins so seems to be, with an article, or nothing."""
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file itself: run `git lfs pull`"
    if start[8:10] == b'{"':
        return "a safetensors file"
    if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<":
        return "an HTML page, perhaps a failed download"
    if start.startswith(b"PK\x03\x04") and b".npy" in start:
        return "an archive of NumPy arrays"
    if start.startswith(b"PK\x03\x04") or _PICKLE.match(start):
        return "a PyTorch pickle"
    if start.startswith(b"\x1f\x8b"):
        return "a gzip file: unpack it first"
    if start.startswith((b"lmgg", b"fmgg", b"tjgg")):
        return "a GGML file, the format before GGUF: convert the model again"
    return "a GGUF file" if start.startswith(b"GGUF") else ""
