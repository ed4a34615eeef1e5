"""A matrix with what a low-rank adapter adds to it, made some rows at a time.

W + s · B · A (Hu et al. 2022, "LoRA", arXiv 2106.09685), as
https://github.com/huggingface/peft computes it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from attn_cli.checkpoints.packed.modules import Rows, made
from attn_cli.checkpoints.tensor import Tensor


class LowRank(NamedTuple):
    """What is added: `scale` · left · right, of (row, rank) and (rank, column).

    The two are tensors, and `turned` if the file has them the other way round. `order` says which
    row of `left` belongs to each row of the matrix. With a `magnitude` (row) the sum's rows are
    then made so long: Liu et al. 2024, "DoRA", arXiv 2402.09353.
    """

    left: Tensor
    right: Tensor
    scale: float
    turned: bool = False
    order: np.ndarray | None = None
    magnitude: Tensor | None = None


def added(base: Tensor, to: LowRank) -> Tensor:
    """The matrix with the adapter's part; what is read of this is kept until it is released."""
    kept: dict[str, np.ndarray] = {}

    def once(name: str, read: Callable[[], np.ndarray]) -> np.ndarray:
        found = kept.get(name)
        if found is None:
            found = kept[name] = read()
        return found

    def left() -> np.ndarray:
        found = to.left.read()
        found = found.T if to.turned else found
        return np.ascontiguousarray(found if to.order is None else found[to.order])

    def right() -> np.ndarray:
        found = to.right.read()
        return np.ascontiguousarray(found.T if to.turned else found)

    def fill(rows: Rows, out: np.ndarray) -> None:
        indices = range(rows.start, rows.stop) if isinstance(rows, slice) else rows
        found = base.rows(indices, out)
        if found.base is not out and found is not out:
            out[...] = found
        # Row by row, so that no digit depends on which rows are made together.
        change = np.matmul(once("left", left)[rows][:, None], once("right", right))[:, 0]
        change *= np.float32(to.scale)
        out += change
        if to.magnitude is not None:
            lengths = np.sqrt(np.einsum("ij,ij->i", out, out))
            magnitude = to.magnitude.read().reshape(-1)
            if to.order is not None:
                magnitude = magnitude[to.order]
            out *= (magnitude[rows] / lengths)[:, None]

    parts = [base, to.left, to.right, *([] if to.magnitude is None else [to.magnitude])]
    tensor = made(f"{base.dtype}+LoRA", base.shape, parts, base.where, fill)

    def release() -> None:
        kept.clear()
        tensor.release()

    return tensor._replace(release=release)
