"""A trace as a numpy archive under the names that interpretability code already uses."""

import io

import numpy as np

from attn_cli.hook_names import to_arrays
from attn_cli.records import Trace


def render(trace: Trace) -> bytes:
    """The archive's bytes, the same for the same trace (see `hook_names`)."""
    out = io.BytesIO()
    np.savez(out, **to_arrays(trace))
    return out.getvalue()
