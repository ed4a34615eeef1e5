"""What each head of a layer does: where it looks, how sharply, and how hard it pulls."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from attn_cli import vocabulary
from attn_cli.errors import UsageError
from attn_cli.records import Address, Attention, Trace

NEEDS = frozenset({"weights", "head_output", "output"})


class HeadSummary(NamedTuple):
    """One head. Shares and entropy are means over the queries, in a decoder without the first,
    which sees itself alone (of a single token they are its own).

    `entropy` is in bits: 0 = one key takes all, 1 = two keys equally. `looks_at` is the key that
    each query weighs most. `previous_share` and `self_share` are NaN where there is no such key:
    before a single token, or in cross-attention. `norm` is the length of the followed query's
    `head_output`, `cosine` the cosine between that and the block's `output`.
    """

    head: int
    entropy: float
    looks_at: tuple[int, ...]
    first_share: float
    previous_share: float
    self_share: float
    norm: float
    cosine: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heads:
    """Every chosen head of one block. `weights` (head, query, key).

    `largest_error` is max |Σ head_output + bias − output| over all heads, NaN if not all were
    traced; `output_norm` is the length of the block's output at the followed `query`.
    """

    stack: str
    kind: str
    layer: int
    query: int
    provenance: str
    heads: tuple[HeadSummary, ...]
    output_norm: float
    largest_error: float
    weights: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layers:
    """The heads of several blocks."""

    layers: tuple[Heads, ...]


@np.errstate(all="ignore")
def heads(trace: Trace, where: int | Address = 0) -> Heads:
    """Summarises one traced layer, or block. Raises UsageError if the trace lacks it."""
    block = found(trace, where)
    missing = NEEDS - set(block.arrays)
    if missing:
        raise UsageError(f"the trace lacks {', '.join(sorted(missing))}", "trace(…, arrays=…)")
    whole = len(block.heads) == trace.model.heads_of(block.stack)
    query = trace.prompt.of(block.stack).followed
    added = block.head_output.sum(axis=0, dtype=np.float64) + block.arrays.get("b_o", 0)
    return Heads(
        stack=block.stack,
        kind=block.kind,
        layer=block.layer,
        query=query,
        provenance=vocabulary.WHAT_IF if block.what_if else vocabulary.DERIVED,
        heads=tuple(_summary(block, place, query) for place in range(len(block.heads))),
        output_norm=float(np.linalg.norm(block.output[query])),
        largest_error=float(np.abs(added - block.output).max()) if whole else float("nan"),
        weights=block.weights,
    )


def found(trace: Trace, where: int | Address) -> Attention:
    """A traced block, by its address or its layer. Raises UsageError if the trace lacks it."""
    stack, kind, layer = where if isinstance(where, Address) else ("", "self", where)
    try:
        return trace.block(layer, stack=stack, kind=kind)
    except KeyError:
        raise UsageError(f"layer {layer} was not traced", "trace(…, layer=…)") from None


def _summary(block: Attention, place: int, query: int) -> HeadSummary:
    weights = block.weights[place].astype(np.float64)
    pull, output = block.head_output[place, query], block.output[query]
    first = min(1, len(weights) - 1) if block.address.causal else 0
    behind = np.arange(first, len(weights))
    before = behind[behind > 0]
    crosses = block.address.crosses
    return HeadSummary(
        head=block.heads[place],
        entropy=float(entropy(weights)[behind].mean()),
        looks_at=tuple(weights.argmax(axis=1).tolist()),
        first_share=float(weights[behind, 0].mean()),
        previous_share=_NONE if crosses else _mean(weights, before, before - 1),
        self_share=_NONE if crosses else _mean(weights, behind, behind),
        norm=float(np.linalg.norm(pull)),
        cosine=cosine(pull, output),
    )


_NONE = float("nan")


def _mean(weights_QK: np.ndarray, queries: np.ndarray, keys: np.ndarray) -> float:
    return float(weights_QK[queries, keys].mean()) if queries.size else _NONE


def entropy(weights: np.ndarray) -> np.ndarray:
    """−Σ w·log₂ w of each row, in bits."""
    logs = np.log2(weights, out=np.zeros_like(weights), where=weights > 0)
    return -(weights * logs).sum(axis=-1) + 0.0


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The cosine of the angle between two vectors, 0 if one of them is 0."""
    lengths = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else 0.0
