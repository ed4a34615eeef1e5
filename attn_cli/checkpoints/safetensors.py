"""A strict, lazy, memory-mapped reader of safetensors files, and the writer that training uses.

Format: 8 bytes header length (little endian), a JSON header, the tensors' bytes without a hole.
https://github.com/huggingface/safetensors
"""

import json
import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from attn_cli.checkpoints.floats import FLOATS, float_type, rows_of, widen
from attn_cli.checkpoints.mapped import forget, looks_like, map_file
from attn_cli.errors import ContentError, shorten

_MAX_HEADER = 100_000_000
_MAX_SIZE = 2**63
_MAX_AXES = 64  # numpy has no more
_DTYPES = FLOATS | {
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "?",
    "F8_E4M3": "<u1", "F8_E5M2": "<u1", "F8_E8M0": "<u1",
}  # fmt: skip


class TensorInfo(NamedTuple):
    """What a header says of one tensor; begin and end are byte offsets in the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class Safetensors:
    """The tensors of one file. Opening reads the header only; `read` and `rows` map what they need.

    Raises ContentError for a file that is not exactly a safetensors file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._map = map_file(path, "safetensors", 8)
        self.tensors = _parse_header(self._map, path)

    def names(self) -> tuple[str, ...]:
        return tuple(self.tensors)

    def read(self, name: str) -> np.ndarray:
        """The whole tensor in float32 (a view of the map where it is stored so), read-only."""
        return widen(self._float_type(name), self._bytes(name)).reshape(self.tensors[name].shape)

    def rows(self, name: str, indices: Sequence[int]) -> np.ndarray:
        """Only these rows along the first axis, float32; other rows' pages stay untouched."""
        shape = self.tensors[name].shape
        flat = widen(self._float_type(name), rows_of(self._bytes(name), shape, indices))
        return flat.reshape(len(indices), *shape[1:])

    def release(self, name: str) -> None:
        """Lets go of the memory that reading this tensor's pages took."""
        forget(self._map, *self.tensors[name][2:])

    def _bytes(self, name: str) -> np.ndarray:
        _, _, begin, end = self.tensors[name]
        return np.frombuffer(self._map, np.uint8, end - begin, begin)

    def _float_type(self, name: str) -> str:
        return float_type(self.tensors[name].dtype, self.path, name)


def _parse_header(data: mmap.mmap, path: Path) -> dict[str, TensorInfo]:
    def broken(what: str) -> ContentError:
        # A length that can be one is a length, even if its bytes spell `<` or begin a pickle.
        looks = looks_like(data[:64]) if length > _MAX_HEADER else ""
        hint = f"it looks like {looks}" if looks else "the file is damaged or incomplete"
        return ContentError(f"{path} is not a safetensors file: {what}", hint)

    length = int.from_bytes(data[:8], "little")
    if length > _MAX_HEADER or length > len(data) - 8:
        raise broken(f"its header claims {length:,} bytes")
    try:
        header = json.loads(data[8 : 8 + length].decode("utf-8"), object_pairs_hook=_no_twice)
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
    tensors = {name: _tensor(name, entry, start, broken) for name, entry in header.items()}
    _check_coverage(tensors, start, len(data), broken)
    return tensors


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


def _tensor(name: str, entry: Any, start: int, broken: Any) -> TensorInfo:
    name = shorten(name)
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
    return TensorInfo(dtype, tuple(shape), start + offsets[0], start + offsets[1])


def _check_coverage(tensors: dict[str, TensorInfo], start: int, end: int, broken: Any) -> None:
    at = start
    for name, info in sorted(tensors.items(), key=lambda item: item[1][2:]):
        if info.begin != at:
            raise broken(f"tensor {shorten(name)} leaves a hole or overlaps another")
        at = info.end
    if at != end:
        kind = "ends before its last tensor" if at > end else "has bytes after its last tensor"
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
