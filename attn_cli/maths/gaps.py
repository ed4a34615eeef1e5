"""How far two arrays are apart, row by row, as every comparison of attn measures it."""

import numpy as np

SUSPECT = 1e-4  # an error of float32 from here on


def row_error(a: np.ndarray, b: np.ndarray) -> float:
    """max |a − b| / max(1, max |b|) over rows; cells infinite alike in both are left out."""
    with np.errstate(all="ignore"):
        gap, size = row_gaps(a, b)
        return float((gap.max(axis=-1, initial=0.0) / size).max())


def row_gaps(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """|a − b| and, of each row, max(1, max |b|); a cell infinite alike in both counts as 0."""
    with np.errstate(all="ignore"):
        a, b = np.atleast_2d(a).astype(np.float64), np.atleast_2d(b).astype(np.float64)
        gap = np.abs(a - b)
        if not np.isfinite(gap.sum()):
            alike = (a == b) & ~np.isfinite(b)
            gap, b = np.where(alike, 0, gap), np.where(alike, 0, b)
        return gap, np.abs(b).max(axis=-1, initial=1.0)
