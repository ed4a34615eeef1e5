"""How far two arrays are apart: one measure for every comparison with a reference."""

import numpy as np


def row_error(found: np.ndarray, wanted: np.ndarray) -> float:
    """max |a − b| / max(1, max |b| of that row), as `attn verify` has it; −∞ must meet −∞."""
    assert found.shape == wanted.shape
    hidden = np.isneginf(wanted)
    assert np.array_equal(np.isneginf(found), hidden)
    a, b = (np.where(hidden, 0, x).astype(np.float64) for x in (found, wanted))
    assert np.isfinite(a).all()
    return (np.abs(a - b) / np.maximum(1, np.abs(b).max(axis=-1, keepdims=True))).max()
