"""How nearly vectors point the same way: cos(a, b) = a·b / (|a| |b|).

Axes, as suffixes: P vector, M model, N row of a matrix.
"""

import numpy as np

from attn_cli.maths import cores
from attn_cli.maths.products import Map
from attn_cli.maths.tiles import MADE


def compared(x_PM: np.ndarray, of: Map) -> tuple[np.ndarray, np.ndarray]:
    """The dot product of each vector with each row of a matrix, (vector, row), and rows' lengths.

    The matrix is read once, some rows at a time.
    """
    dots, lengths = np.empty((len(x_PM), of.outputs), x_PM.dtype), np.empty(of.outputs, x_PM.dtype)

    def work(some: slice) -> None:
        w_NM = of.rows(some)
        np.matmul(x_PM, w_NM.T, out=dots[:, some])
        lengths[some] = length(w_NM)
        if of.release:
            of.release(some)

    together = MADE // 2 // max(1, x_PM.shape[1])  # rows, whose squares are made beside them
    cores.spread(work, of.outputs, max(1, together))
    return dots, lengths


def length(x: np.ndarray) -> np.ndarray:
    """|x| of each vector along the last axis."""
    return np.sqrt((x * x).sum(axis=-1))


def cosines(dots: np.ndarray, lengths: np.ndarray, others: np.ndarray) -> np.ndarray:
    """a·b / (|a| |b|), in float64; 0 where a vector has no length, and so no direction."""
    both = np.asarray(lengths, np.float64) * np.asarray(others, np.float64)
    return dots / np.maximum(both, np.finfo(np.float64).tiny)


def cosine(a_M: np.ndarray, b_M: np.ndarray) -> float:
    """That of two vectors."""
    a_M, b_M = (np.asarray(x, np.float64) for x in (a_M, b_M))
    return float(cosines(a_M @ b_M, length(a_M), length(b_M)))
