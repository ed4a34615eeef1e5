"""The examples of a head computed again: their attention, if the model is the one that was scanned.

It is the one where it gives the number that was measured, of every example.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from attn_cli import session, vocabulary
from attn_cli.analysis.measures import Reading
from attn_cli.analysis.verify import NORMAL
from attn_cli.errors import AttnError
from attn_cli.model.family import Model
from attn_cli.reading import tokenise
from attn_cli.records import Address, Prompt
from attn_cli.scanning.measuring import all_measures, of_block
from attn_cli.scanning.results import Example, Head, Scan
from attn_cli.words import Note, note

# Queries and keys of an example that are shown, if it has more: those up to its query, and the
# keys that this weighs most.
SHOWN = 24


class Again(NamedTuple):
    """An example and the weights (query, key) of its head, at these positions, whose tokens are
    `names` and `key_names`; `hidden` has their shape."""

    example: Example
    queries: tuple[int, ...]
    keys: tuple[int, ...]
    names: tuple[str, ...]
    key_names: tuple[str, ...]
    weights: np.ndarray
    hidden: np.ndarray


class Other(Exception):
    """The model is not the one that was scanned, or cannot read the examples; `why` says it."""

    def __init__(self, why: Note) -> None:
        super().__init__(str(why))
        self.why = why


def again(
    model: Model, found: Scan, head: Head, examples: Sequence[tuple[str, Example]],
    settings: Mapping[str, Any],
) -> Iterator[Again]:  # fmt: skip
    """The attention of examples of one head, each with the name of its measure.

    Raises `Other`.
    """
    if settings.get("pair") is not None:
        raise Other(note("scan.again_pair"))
    changes = {n: settings[n] for n in vocabulary.WHAT_IFS if n in settings}
    forced = bool(settings.get("force_context"))
    for measure, example in examples:
        try:
            prompt = tokenise(model, ids=found.texts[example.text].ids, force_context=forced)
            yield _one(model, prompt, head, measure, example, changes)
        except AttnError as problem:
            raise Other(note("scan.again_fails", why=problem.message)) from None


def _one(
    model: Model, prompt: Prompt, head: Head, measure: str, example: Example,
    changes: Mapping[str, Any],
) -> Again:  # fmt: skip
    at = Address(head.stack, head.kind, head.layer)
    reading = Reading(prompt, *at[:2])
    (block,) = session.trace(
        prompt=prompt, model=model, stack=at.stack, kind=at.kind, layer=at.layer, head=head.head,
        arrays={"weights", "visible", "sink_share"}, next=False,
        measures={at[:2]: all_measures(reading)}, **changes,
    ).attention  # fmt: skip
    (value_Q,) = of_block(block, reading)[measure]
    queries, keys = len(block.queries), len(block.keys)
    if not (0 <= example.query < queries and 0 <= example.key < keys):
        raise Other(note("scan.again_lengths"))
    value = float(value_Q[example.query])
    if not abs(value - example.value) <= NORMAL * max(1.0, abs(example.value)):
        said = {"value": example.value, "found": value}
        raise Other(note("scan.again_other", model=model.facts.name, **said))
    sides = prompt.sides(*at[:2])
    return _shown(example, sides, block.weights[0], ~block.visible)


def _shown(
    example: Example, sides: Sequence[Prompt], weights_QK: np.ndarray, hidden_QK: np.ndarray
) -> Again:
    rows, columns = (np.arange(count) for count in weights_QK.shape)
    if max(weights_QK.shape) > SHOWN:
        rows = rows[max(0, example.query + 1 - SHOWN) : example.query + 1]
        most = np.argsort(-weights_QK[example.query], kind="stable")[:SHOWN]
        columns = np.sort(most)
    at, places = np.ix_(rows, columns), (tuple(rows.tolist()), tuple(columns.tolist()))
    names = (tuple(side.labels[i] for i in own) for side, own in zip(sides, places, strict=True))
    return Again(example, *places, *names, weights_QK[at], hidden_QK[at])
