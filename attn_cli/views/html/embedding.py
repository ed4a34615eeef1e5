"""Data inside a page: JSON that no text in it can leave, and arrays as base64."""

import json
from base64 import b64encode
from typing import Any

import numpy as np

from attn_cli.views.json import encode

_HALF = 32768.0  # what half precision holds with room to spare


def embedded(value: Any) -> bytes:
    """`value` as JSON in ASCII without a character of markup; NaN and infinity become null."""
    finite = json.loads(encode(value))
    found = json.dumps(finite, separators=(",", ":")).encode("ascii")
    for char in b"<>&":  # what would end the script, or begin a comment
        found = found.replace(bytes([char]), b"\\u%04x" % char)
    return found


def array(values: np.ndarray, *, half: bool = False) -> dict[str, Any]:
    """An array as base64 of little-endian bytes: float32, `half` precision times a power of two
    that keeps the largest in range, or bits (the first of a byte is its highest)."""
    shape = list(values.shape)
    if values.dtype == bool:
        return {"type": "bits", "shape": shape, "data": _base64(np.packbits(values))}
    if not half:
        return {"type": "float", "shape": shape, "data": _base64(values.astype("<f4"))}
    finite = np.abs(values[np.isfinite(values)])
    largest = float(finite.max()) if finite.size else 0.0
    factor = 2.0 ** max(0, int(np.ceil(np.log2(largest / _HALF)))) if largest > _HALF else 1.0
    packed = (values / np.float32(factor)).astype("<f2")
    return {"type": "half", "shape": shape, "factor": factor, "data": _base64(packed)}


def _base64(values: np.ndarray) -> str:
    return b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
