"""Plain numbers as they stand in a file, widened to float32: one function for every container."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from attn_cli.errors import ContentError

# bf16 is the upper half of a float32; numpy has no type for it.
FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def float_type(dtype: str, path: Path, name: str) -> str:
    """The type of a tensor, if it is one of `FLOATS`. Raises ContentError."""
    if dtype not in FLOATS:
        raise ContentError(
            f"{path}: tensor {name} has dtype {dtype}, which is not a float",
            "attn reads F64, F32, F16 and BF16 tensors",
        )
    return dtype


def widen(dtype: str, raw: np.ndarray) -> np.ndarray:
    """The float32 numbers of bytes of one of `FLOATS`, flat; a view where they are float32.

    `raw` is uint8 without a gap. Tensors may begin at any byte, and numpy's products avoid BLAS
    where one is not aligned: such a one is copied.
    """
    stored = raw.view(FLOATS[dtype])
    if dtype == "BF16":
        wide = stored.astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    with np.errstate(over="ignore"):
        return stored.astype(np.float32, copy=not stored.flags.aligned)


def rows_of(raw: np.ndarray, shape: tuple[int, ...], indices: Sequence[int]) -> np.ndarray:
    """The bytes of some rows along the first axis, flat; a view where they follow each other."""
    rows = shape[0] if shape else 1
    table = raw.reshape(rows, raw.size // max(rows, 1))
    if isinstance(indices, range) and indices.step == 1:
        return table[indices.start : indices.stop].reshape(-1)
    return table[np.array(indices, np.intp)].reshape(-1)
