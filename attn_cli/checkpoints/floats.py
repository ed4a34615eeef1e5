"""Plain floats as they are stored in a file, widened to float32: one function for every format."""

import numpy as np

from attn_cli.errors import ContentError
from attn_cli.maths.cores import spread

# bf16 is the upper half of a float32; numpy has no type for it.
FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
# Numbers widened at once: 2 MB of float32, which stay in a cache from step to step.
_BLOCK = 1 << 19
_INFINITE, _SIGN = 0x7C00, 0x8000  # in float16; what is above infinity is no number
_ONE_SIGN = ~(0b111 << 28)  # a negative number that has moved has four


def widen(dtype: str, raw: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The float32 values of one of `FLOATS`; a view where they are float32 and without a gap.

    `raw` is bytes without a gap, whose values come flat, or holds a whole number for each float.
    Tensors may begin at any byte, and numpy's products avoid BLAS where one is not aligned: such a
    one is copied. Copies go to `out`, float32 without a gap, if it is given. Raises ContentError
    for any other type.
    """
    if dtype not in FLOATS:
        hint = "attn reads F64, F32, F16 and BF16 tensors"
        raise ContentError(f"has dtype {dtype}, which is not a float", hint)
    stored = raw.view(FLOATS[dtype])
    if stored.flags.c_contiguous:
        stored = stored.reshape(-1)
        if stored.dtype == np.float32 and stored.flags.aligned:
            return stored
    wide = np.empty(stored.shape, np.float32) if out is None else out.reshape(stored.shape)

    def fill(part: slice) -> None:
        with np.errstate(all="ignore"):  # infinite is what a large float64 becomes
            if dtype == "BF16":
                bits = wide[part].view(np.uint32)
                bits[...] = stored[part]
                bits <<= 16
            elif dtype == "F16":
                _widen_half(stored[part], wide[part])
            else:
                wide[part] = stored[part]

    spread(fill, len(stored), max(_BLOCK // max(stored[:1].size, 1), 1))
    return wide


def _widen_half(stored: np.ndarray, out: np.ndarray) -> None:
    """float16 to float32, as numpy does it one number at a time."""
    signed, unsigned = stored.view("<i2"), stored.view("<u2")
    if signed.max() >= _INFINITE or unsigned.max() >= _SIGN + _INFINITE:
        out[...] = stored
        return
    # Sign, exponent and fraction take their new places, where the same exponent is 2^112 smaller.
    bits = out.view(np.int32)
    bits[...] = signed
    bits <<= 13
    bits &= _ONE_SIGN
    out *= np.float32(2.0**112)
