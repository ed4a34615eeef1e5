"""A trace as a numpy archive under the names that interpretability code already uses."""

import io
from collections.abc import Iterator

import numpy as np

from attn_cli.hook_names import to_arrays
from attn_cli.records import Trace
from attn_cli.views.json import encode, trace_document


def render(trace: Trace) -> Iterator[bytes]:
    """The archive in one piece, the same bytes for the same trace.

    `attn.document` is the trace's JSON without the values, `attn.logits` (position, vocabulary).
    """
    out = io.BytesIO()
    document = encode(trace_document(trace, values=False)).decode()
    logits = {"attn.logits": trace.logits} if trace.logits.size else {}
    np.savez(out, **to_arrays(trace), **logits, **{"attn.document": np.array(document)})
    yield out.getvalue()
