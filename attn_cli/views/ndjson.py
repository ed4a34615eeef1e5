"""A trace as JSON lines: one per array and head, one for `experts` of a mixture, then `next`."""

from collections.abc import Iterator
from typing import Any

from attn_cli import vocabulary
from attn_cli.records import Trace
from attn_cli.views.json import array_document, encode, experts, record


def render(trace: Trace) -> Iterator[bytes]:
    """The lines; `head` is null for arrays without a head axis, `kv_head` set for k and v."""
    return (encode(line, line=True) for line in _lines(trace))


def _lines(trace: Trace) -> Iterator[dict[str, Any]]:
    for block in trace.attention:
        where = {"stack": block.stack, "kind": block.kind, "layer": block.layer}
        where |= {"queries": list(block.queries), "keys": list(block.keys)}
        for name, array in block.arrays.items():
            axes = vocabulary.ARRAYS[name].axes
            none = {"head": None, "kv_head": None}
            heads = {"head": block.heads, "kv_head": block.kv_heads}.get(axes[0], ())
            for i, number in enumerate(heads):
                found = array_document(block, name, array[i], axes[1:])
                yield {**where, **none, axes[0]: number, "name": name, **found}
            if not heads:
                yield {**where, **none, "name": name, **array_document(block, name, array)}
    if trace.experts:
        yield experts(trace)
    yield {"next": [record(entry) for entry in trace.next]}
