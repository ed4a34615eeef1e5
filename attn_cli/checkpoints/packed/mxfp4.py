"""Microscaled floats of four bits, of every expert in one tensor. Open Compute Project 2023.

`_blocks` (expert, output, group, 16) holds 32 numbers of a group, the first of two in the low half
of a byte; `_scales` (expert, output, group) the exponent of a power of two, with 127 added. Every
product is exact in float32, and in bfloat16 too, where that is not too large for both.
"""

import numpy as np

from attn_cli.checkpoints.packed.modules import Format, Module, Rows, scales, values
from attn_cli.checkpoints.tensor import Tensor

_FLOATS = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
# Of each byte both numbers, side by side as one item.
_PAIRS = np.stack([_FLOATS[np.arange(256) & 15], _FLOATS[np.arange(256) >> 4]], axis=-1)
_BOTH = _PAIRS.view(np.float64)[:, 0]
_BYTES = 16


def mxfp4() -> Format:
    """Matrices (expert, output, input): an expert's are asked for by its rows."""

    def make(module: Module) -> Tensor:
        blocks = module.part("_blocks", ("U8",), 4)
        experts, outputs, groups, size = blocks.shape
        if size != _BYTES:
            name = f"{module.name}_blocks"
            raise module.error(f"the tensor {name} has blocks of {size} bytes, not of {_BYTES}")
        powers = module.shaped("_scales", ("U8",), blocks.shape[:-1])
        count, inputs = experts * outputs, groups * 2 * _BYTES

        def fill(rows: Rows, out: np.ndarray) -> None:
            stored = values(blocks).reshape(count, groups * _BYTES)[rows]
            floats = out.reshape(len(out), groups, 2 * _BYTES)
            np.take(_BOTH, stored, out=out.view(np.float64).reshape(stored.shape))
            floats *= scales(powers, rows, groups)[..., None]

        rows = module.tensor("MXFP4", (count, inputs), fill)

        def widen(kind: str, numbers: np.ndarray, out: np.ndarray | None) -> np.ndarray:
            flat = None if out is None else out.reshape(-1, inputs)
            return rows.widen(kind, numbers.reshape(-1), flat)

        return rows._replace(
            shape=(experts, outputs, inputs),
            stored=lambda: rows.stored().reshape(experts, outputs),
            widen=widen,
        )

    return Format(("_blocks", "_scales"), make, gives="_blocks")
