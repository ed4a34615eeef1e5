"""Plain floats as they are stored in a file, widened to float32: one function for every format."""

import numpy as np

from attn_cli.errors import ContentError

# bf16 is the upper half of a float32; numpy has no type for it.
FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def widen(dtype: str, raw: np.ndarray) -> np.ndarray:
    """The float32 values of bytes of one of `FLOATS`, flat; a view where they are float32.

    `raw` is uint8 without a gap. Tensors may begin at any byte, and numpy's products avoid BLAS
    where one is not aligned: such a one is copied. Raises ContentError for any other type.
    """
    if dtype not in FLOATS:
        hint = "attn reads F64, F32, F16 and BF16 tensors"
        raise ContentError(f"has dtype {dtype}, which is not a float", hint)
    stored = raw.view(FLOATS[dtype])
    if dtype == "BF16":
        wide = stored.astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    with np.errstate(over="ignore"):
        return stored.astype(np.float32, copy=not stored.flags.aligned)
