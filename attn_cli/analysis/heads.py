"""What each head of a layer does: where it looks, how sharply, and how hard it pulls."""

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from attn_cli import vocabulary
from attn_cli.errors import UsageError
from attn_cli.maths.kept import Measure
from attn_cli.maths.layers import cosine
from attn_cli.records import Address, Attention, Facts, Passed, Prompt, Trace

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
    """Every chosen head of one block. `weights` (head, query, key) are those that were kept.

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
    return summary(trace.model, trace.prompt, block)


def each_summary(
    steps: Generator[Attention | Passed, None, Trace], facts: Facts, prompt: Prompt
) -> Generator[Passed, None, tuple[dict[Address, Heads], Trace]]:
    """Summarises each block when `session.steps` comes to it; yields the other steps.

    Returns the summaries, and the trace with blocks that have forgotten their measures. See `kept`
    for what to ask.
    """
    found, blocks = {}, []
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            return found, replace(stop.value, attention=tuple(blocks))
        if isinstance(step, Passed):
            yield step
        else:
            found[step.address] = summary(facts, prompt, step)
            blocks.append(replace(step, measures={}))


def kept(prompt: Prompt, places: Iterable[tuple[str, str]], shown: int) -> dict[str, Any]:
    """What `session.ask` is to keep for summaries: of queries and keys the last that are `shown`
    (0: all) of each attention, and the query that is followed."""
    positions = {}
    for stack, kind in places if shown else ():
        queries, keys = (range(len(side.tokens)) for side in prompt.sides(stack, kind))
        chosen = sorted({prompt.of(stack).followed, *queries[-shown:]})
        positions[stack, kind] = tuple(chosen), tuple(keys[-shown:])
    return {"arrays": NEEDS | {"b_o", "visible"}, "measures": MEASURES, "positions": positions}


@np.errstate(all="ignore")
def summary(facts: Facts, prompt: Prompt, block: Attention) -> Heads:
    """Summarises a block, of which the arrays need only have the followed query.

    What is said of all queries comes from the block's measures (see `MEASURES`), else from its
    arrays, which have to be whole then.
    """
    query = prompt.of(block.stack).followed
    at, measured = block.queries.index(query), block.measures or _measured(block)
    whole = len(block.heads) == facts.heads_of(block.stack)
    return Heads(
        stack=block.stack,
        kind=block.kind,
        layer=block.layer,
        query=query,
        provenance=vocabulary.WHAT_IF if block.what_if else vocabulary.DERIVED,
        heads=tuple(
            _summary(block, place, at, {name: of[head] for name, of in measured.items()})
            for place, head in enumerate(block.heads)
        ),
        output_norm=float(np.linalg.norm(block.output[at])),
        largest_error=_sum_error(block) if whole else _NONE,
        weights=block.weights,
    )


def _sum_error(block: Attention) -> float:
    if block.measures:
        return block.sum_error
    added = block.head_output.sum(axis=0, dtype=np.float64) + block.arrays.get("b_o", 0)
    return float(np.abs(added - block.output).max())


def _measured(block: Attention) -> dict[str, dict[int, np.ndarray]]:
    """The measures of a block whose weights are all there, of each of its heads by number."""
    at = np.array(block.queries), np.array(block.keys)
    return {
        name: dict(zip(block.heads, measure(block.weights, *at), strict=True))
        for name, measure in MEASURES.items()
    }


def found(trace: Trace, where: int | Address) -> Attention:
    """A traced block, by its address or its layer. Raises UsageError if the trace lacks it."""
    stack, kind, layer = where if isinstance(where, Address) else ("", "self", where)
    try:
        return trace.block(layer, stack=stack, kind=kind)
    except KeyError:
        raise UsageError(f"layer {layer} was not traced", "trace(…, layer=…)") from None


def _summary(
    block: Attention, place: int, at: int, measured: Mapping[str, np.ndarray]
) -> HeadSummary:
    """One head, whose `measured` numbers are those of each query; `at` is the followed one."""
    pull, output = block.head_output[place, at], block.output[at]
    count = len(measured["entropy"])
    first = min(1, count - 1) if block.address.causal else 0
    before = max(first, 1)
    crosses = block.address.crosses
    return HeadSummary(
        head=block.heads[place],
        entropy=float(measured["entropy"][first:].mean()),
        looks_at=tuple(measured["looks_at"].astype(int).tolist()),
        first_share=float(measured["first_share"][first:].mean()),
        previous_share=_NONE if crosses else _mean(measured["previous_share"][before:]),
        self_share=_NONE if crosses else _mean(measured["self_share"][first:]),
        norm=float(np.linalg.norm(pull)),
        cosine=cosine(pull, output),
    )


_NONE = float("nan")


def _mean(numbers: np.ndarray) -> float:
    return float(numbers.mean()) if numbers.size else _NONE


# --- measures of weights (…, query, key), a number for each query; keys follow each other -------


def entropy(weights: np.ndarray, *_: np.ndarray) -> np.ndarray:
    """−Σ w·log₂ w of each row, in bits."""
    logs = np.maximum(weights, np.finfo(weights.dtype).tiny)
    np.log2(logs, out=logs)
    logs *= weights
    return 0.0 - logs.sum(axis=-1, dtype=np.float64)


def _looks_at(weights: np.ndarray, at_Q: np.ndarray, at_K: np.ndarray) -> np.ndarray:
    """The key with the largest weight, the first among equals; 0 where none has any."""
    best = weights.argmax(axis=-1)
    largest = np.take_along_axis(weights, best[..., None], axis=-1)[..., 0]
    return np.where(largest == 0, 0, at_K[best])


def _share_of(back: int) -> Measure:
    """The weight of the key so many positions back."""

    def measure(weights: np.ndarray, at_Q: np.ndarray, at_K: np.ndarray) -> np.ndarray:
        shares = np.zeros(weights.shape[:-1])
        places = at_Q - back - at_K[0]
        rows = np.flatnonzero((places >= 0) & (places < len(at_K)))
        shares[..., rows] = weights[..., rows, places[rows]]
        return shares

    return measure


def _first_share(weights: np.ndarray, at_Q: np.ndarray, at_K: np.ndarray) -> np.ndarray:
    """The weight of the first key of all."""
    return weights[..., 0] if not at_K[0] else np.zeros(weights.shape[:-1])


MEASURES: Mapping[str, Measure] = MappingProxyType({
    "entropy": entropy, "looks_at": _looks_at, "first_share": _first_share,
    "previous_share": _share_of(1), "self_share": _share_of(0),
})  # fmt: skip
