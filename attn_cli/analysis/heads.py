"""What each head of a layer does: where it looks, how sharply, and how hard it pulls."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from attn_cli import vocabulary
from attn_cli.analysis.measures import PARTS, Reading, measures, taken
from attn_cli.errors import UsageError
from attn_cli.maths.layers import cosine
from attn_cli.maths.products import NOTHING
from attn_cli.records import Address, Attention, Facts, Passed, Prompt, Trace

NEEDS = frozenset({"visible", "weights", "head_output", "output"})
_WANTED = NEEDS | {"sink_share", "b_o"}


class HeadSummary(NamedTuple):
    """One head. Shares, entropy and distance are means over the queries, in a decoder without the
    first, which sees itself alone (of a single token they are its own).

    `entropy` is in bits: 0 = one key takes all, 1 = two keys equally; a sink counts as one more.
    Shares are of the whole row, the sink's included, which is `sink_share` (NaN: no sink).
    `distance` is Σ weight × |query − key|. `looks_at` is the key that each query weighs most.
    `previous_share` and `self_share` are NaN where there is no such key: before a single token, or
    in cross-attention.
    `duplicate_share` is what queries whose token stands elsewhere too, in a decoder before them,
    give to its other places, and `induction_share` what they give to the tokens after these; NaN
    where no token comes again. `first_weighted_share` is `first_share` where every weight is
    multiplied by its value's length ‖v·W_O‖ (Kobayashi et al. 2020), and `first_value` the first
    key's length over the mean of the others'; NaN where the pass has not measured them.
    `rest_share` is what all keys but the first get. `norm` is the length of the followed query's
    `head_output`, `cosine` the cosine between that and the block's `output`.

    Where the first key is split off (see `kept`), all but `first_share`, `first_weighted_share`,
    `first_value`, `rest_share`, `norm` and `cosine` are of the weights of the other keys, each row
    divided by its sum; rows without any are left out.
    """

    head: int
    entropy: float
    looks_at: tuple[int, ...]
    first_share: float
    previous_share: float
    self_share: float
    distance: float
    duplicate_share: float
    induction_share: float
    first_weighted_share: float
    first_value: float
    rest_share: float
    norm: float
    cosine: float
    sink_share: float = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heads:
    """Every chosen head of one block. `weights` (head, query, key) are those that were kept, and
    `visible` (query, key) says which of their cells are not masked.

    `sink_share` (head, query) is what the sinks have of the rows of weights, of size 0 where there
    are none or the first key is split off. `largest_error` is max |Σ head_output + bias − output|
    over all heads, NaN if not all were traced; `output_norm` is the length of the block's output at
    the followed `query`.
    """

    stack: str
    kind: str
    layer: int
    query: int
    provenance: str
    heads: tuple[HeadSummary, ...]
    output_norm: float
    largest_error: float
    visible: np.ndarray
    weights: np.ndarray
    sink_share: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layers:
    """The heads of several blocks, and all of them in the order of a `column` (see `ranked`)."""

    layers: tuple[Heads, ...]
    column: str
    ranking: tuple["Ranked", ...]


class Ranked(NamedTuple):
    """A head in a ranking, and the number that it is ranked by."""

    stack: str
    kind: str
    layer: int
    head: int
    value: float


@np.errstate(all="ignore")
def heads(trace: Trace, where: int | Address = 0) -> Heads:
    """Summarises one traced layer, or block. Raises UsageError if the trace lacks it."""
    block = found(trace, where)
    missing = NEEDS - set(block.arrays)
    if missing:
        raise UsageError(f"the trace lacks {', '.join(sorted(missing))}", "trace(…, arrays=…)")
    return summary(trace.model, trace.prompt, block)


def ranked(found: Sequence[Heads], column: str = "norm") -> Layers:
    """The heads of several blocks in the order of a column of `vocabulary.HEAD_COLUMNS`.

    The largest comes first, in some columns the smallest, and last what is NaN. Raises UsageError.
    """
    if column not in vocabulary.HEAD_COLUMNS:
        known = ", ".join(vocabulary.HEAD_COLUMNS)
        raise UsageError(f"no column {column!r} to rank heads by", f"one of {known}")
    field = vocabulary.HEAD_COLUMNS[column]
    rows = [
        Ranked(one.stack, one.kind, one.layer, head.head, getattr(head, field))
        for one in found
        for head in one.heads
    ]
    if column == "sink" and all(np.isnan(row.value) for row in rows):
        raise UsageError(
            "these heads have no sink, so they cannot be ranked by it",
            "first ranks by what the first token gets",
        )
    sign = 1 if column in vocabulary.SMALLEST_FIRST else -1
    rows.sort(key=lambda row: (np.isnan(row.value), sign * np.nan_to_num(row.value)))
    return Layers(layers=tuple(found), column=column, ranking=tuple(rows))


def each_summary(
    steps: Generator[Attention | Passed, None, Trace],
    facts: Facts,
    prompt: Prompt,
    *,
    past_first: bool = False,
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
            found[step.address] = summary(facts, prompt, step, past_first=past_first)
            blocks.append(replace(step, measures={}))


def kept(
    prompt: Prompt, places: Iterable[tuple[str, str]], shown: int, *, past_first: bool = False
) -> dict[str, Any]:
    """What `session.ask` is to keep for summaries: of queries and keys the last that are `shown`
    (0: all) of each attention, and the query that is followed.

    `past_first`: the first key is split off, and the others' weights divided by their sum.
    """
    places = tuple(places)
    positions = {}
    for stack, kind in places if shown else ():
        queries, keys = (range(len(side.tokens)) for side in prompt.sides(stack, kind))
        chosen = sorted({prompt.of(stack).followed, *queries[-shown:]})
        positions[stack, kind] = tuple(chosen), tuple(keys[-shown:])
    wanted = {place: measures(Reading(prompt, *place, past_first=past_first)) for place in places}
    return {"arrays": _WANTED, "measures": wanted, "positions": positions}


@np.errstate(all="ignore")
def summary(facts: Facts, prompt: Prompt, block: Attention, *, past_first: bool = False) -> Heads:
    """Summarises a block, of which the arrays need only have the followed query.

    What is said of all queries comes from the block's measures (see `kept`), else from its
    arrays, which have to be whole then.
    """
    query = prompt.of(block.stack).followed
    reading = Reading(prompt, block.stack, block.kind, past_first=past_first)
    measured = taken(block, reading)
    whole = len(block.heads) == facts.heads_of(block.stack)
    return Heads(
        stack=block.stack,
        kind=block.kind,
        layer=block.layer,
        query=query,
        provenance=vocabulary.WHAT_IF if block.what_if else vocabulary.DERIVED,
        heads=tuple(_summary(block, head, query, measured[head], reading) for head in block.heads),
        output_norm=float(np.linalg.norm(block.output[block.queries.index(query)])),
        largest_error=_sum_error(block) if whole else _NONE,
        visible=block.visible,
        weights=_past_first(block, measured) if past_first else block.weights,
        sink_share=NOTHING if past_first else block.arrays.get("sink_share", NOTHING),
    )


def _past_first(block: Attention, measured: Mapping[int, Mapping[str, np.ndarray]]) -> np.ndarray:
    """The kept weights without the first key's, each row divided by what the others have."""
    queries = list(block.queries)
    rest = np.array([measured[head]["rest_share"][queries] for head in block.heads])[..., None]
    others = np.where(np.array(block.keys) == 0, 0, block.weights)
    return np.divide(others, rest, out=np.zeros(others.shape, np.float32), where=rest != 0)


def _sum_error(block: Attention) -> float:
    if block.measures:
        return block.sum_error
    added = block.head_output.sum(axis=0, dtype=np.float64) + block.arrays.get("b_o", 0)
    return float(np.abs(added - block.output).max())


def found(trace: Trace, where: int | Address) -> Attention:
    """A traced block, by its address or its layer. Raises UsageError if the trace lacks it."""
    stack, kind, layer = where if isinstance(where, Address) else ("", "self", where)
    try:
        return trace.block(layer, stack=stack, kind=kind)
    except KeyError:
        raise UsageError(f"layer {layer} was not traced", "trace(…, layer=…)") from None


def _summary(
    block: Attention, head: int, query: int, measured: Mapping[str, np.ndarray], of: Reading
) -> HeadSummary:
    """One head, whose `measured` numbers are those of each query."""
    place, at = block.heads.index(head), block.queries.index(query)
    pull, output = block.head_output[place, at], block.output[at]
    left = measured["rest_share"] != 0 if of.past_first else np.ones(of.queries, bool)

    def mean(name: str) -> float:
        chosen = of.counts(name) & left if name in PARTS else of.counts(name)
        return float(measured[name][chosen].mean()) if chosen.any() else _NONE

    means = [*PARTS, "first_share", "first_weighted_share", "rest_share"]
    means += ["sink_share"] if "sink_share" in measured else []
    lengths = block.value_lengths[head] if block.value_lengths.size else np.full(2, np.nan)
    return HeadSummary(
        head=head,
        looks_at=tuple(measured["looks_at"].astype(int).tolist()),
        **{name: mean(name) for name in means},
        first_value=float(lengths[0] / lengths[1:].mean()) if len(lengths) > 1 else _NONE,
        norm=float(np.linalg.norm(pull)),
        cosine=cosine(pull, output),
    )


_NONE = float("nan")
