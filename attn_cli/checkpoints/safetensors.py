"""A strict, lazy, memory-mapped reader of safetensors files, and the writer that training uses.

Format: 8 bytes header length (little endian), a JSON header, the tensors' bytes without a hole.
https://github.com/huggingface/safetensors
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from attn_cli.checkpoints.floats import FLOATS
from attn_cli.checkpoints.mapped import map_file
from attn_cli.checkpoints.tensor import Tensor, span
from attn_cli.errors import ContentError, shorten
from attn_cli.strict import Limit, looks_like, too_many

_MAX_HEADER = 100_000_000
_LIMIT = Limit(_MAX_HEADER, 1 << 21)  # some eight for a tensor
_MAX_SIZE = 2**63
_MAX_AXES = 64  # numpy has no more
_DTYPES = FLOATS | {
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "?",
    "F8_E4M3": "<u1", "F8_E5M2": "<u1", "F8_E8M0": "<u1",
}  # fmt: skip


def open_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of one file, of which only the header is read here.

    Raises ContentError for a file that is not exactly a safetensors file.
    """
    data = map_file(path, "safetensors", 8)

    def broken(what: str) -> ContentError:
        # A length that can be one is a length, even if its bytes spell `<` or begin a pickle.
        looks = looks_like(data[:64]) if length > _MAX_HEADER else ""
        hint = f"it looks like {looks}" if looks else "the file is damaged or incomplete"
        return ContentError(f"{path} is not a safetensors file: {what}", hint)

    length = int.from_bytes(data[:8], "little")
    if length > _MAX_HEADER or length > len(data) - 8:
        raise broken(f"its header claims {length:,} bytes")
    written = data[8 : 8 + length]
    if problem := too_many(written, _LIMIT):
        raise broken(f"its header {problem}")
    try:
        header = json.loads(written.decode("utf-8"), object_pairs_hook=_no_twice)
    except _Twice as error:
        raise broken(f"{shorten(str(error))} stands twice in the header") from None
    except (ValueError, RecursionError):
        raise broken("its header is not JSON") from None
    if not isinstance(header, dict):
        raise broken("its header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise broken("its metadata is not text")
    start = 8 + length
    found: dict[str, Tensor] = {}
    spans: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        dtype, shape, begin, end = _checked(shorten(name), entry, broken)
        spans.append((begin, end, name))
        where = f"{path}: tensor {name}"
        found[name] = span(data, start + begin, end - begin, dtype, shape, where)
    _check_coverage(spans, len(data) - start, broken)
    return found


class _Twice(Exception):
    """A key stands twice in a JSON object, which the json module would pass over."""


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        raise _Twice(next(name for name, _ in pairs if name in seen or seen.add(name)))
    return found


def _whole(value: object) -> bool:
    return type(value) is int and 0 <= value < _MAX_SIZE


def _checked(name: str, entry: Any, broken: Any) -> tuple[str, tuple[int, ...], int, int]:
    """Type, shape, and the offsets of the first byte and the one after the last."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise broken(f"tensor {name} lacks dtype, shape or data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise broken(f"tensor {name} has the unknown dtype {shorten(str(dtype))}")
    if not isinstance(shape, list) or not all(_whole(n) for n in shape):
        raise broken(f"tensor {name} has a shape that is not a list of sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_whole(n) for n in offsets):
        raise broken(f"tensor {name} has offsets that are not two whole numbers")
    size = largest = np.dtype(_DTYPES[dtype]).itemsize
    for n in shape:
        size, largest = size * n, largest * max(n, 1)
        if largest >= _MAX_SIZE or len(shape) > _MAX_AXES:
            raise broken(f"tensor {name} has an impossible shape")
    if offsets[1] - offsets[0] != size:
        raise broken(
            f"tensor {name} has {offsets[1] - offsets[0]:,} bytes, its shape needs {size:,}"
        )
    return dtype, tuple(shape), *offsets


def _check_coverage(spans: list[tuple[int, int, str]], size: int, broken: Any) -> None:
    at = 0
    for begin, end, name in sorted(spans, key=lambda entry: entry[:2]):
        if begin != at:
            raise broken(f"tensor {shorten(name)} leaves a hole or overlaps another")
        at = end
    if at != size:
        kind = "ends before its last tensor" if at > size else "has bytes after its last tensor"
        raise broken(f"it {kind}")


def encode(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a safetensors file with these tensors in float32, in the given order."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    at = 0
    for name, array in tensors.items():
        end = at + 4 * array.size
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    arrays = [np.ascontiguousarray(array, "<f4").tobytes() for array in tensors.values()]
    return b"".join([len(text).to_bytes(8, "little"), text, *arrays])
