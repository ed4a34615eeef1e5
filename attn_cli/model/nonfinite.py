"""Where numbers that are not finite come from. They are looked for once some are there.

A layer's vectors are looked at when it is done, which costs one sum of them; the tensors of the
layer are read once more only if there is something to find.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from attn_cli.model.weights import Weights
from attn_cli.records import Attention, Mixed, Passed, nonfinite

_ROWS = 1 << 22  # numbers that are counted together
_PASSES = 64  # of which it is remembered where they began


def begins(weights: Weights, ids: tuple[int, ...], found: Attention | Mixed | Passed) -> bool:
    """Whether a pass of these tokens has come to numbers that are not finite, with this record.

    Then what is not finite of the layer's tensors is counted, and of the first layer's also in the
    tensors that make its vectors. The first layer that gives such vectors is remembered.
    """
    if isinstance(found, Passed):
        if not found.nonfinite:
            return False
        known = weights.nonfinite.passes
        while len(known) >= _PASSES:
            known.pop(next(iter(known)), None)
        known[ids] = found
    elif not _tells(found):
        return False
    count_in(weights, (name for name in weights.stored if str(found.layer) in _numbers(name)))
    if not found.layer:
        outside_layers(weights)
    return isinstance(found, Passed)


def _tells(found: Attention | Mixed) -> bool:
    """Whether what a block gives shows such numbers, or else what enters it, or its weights."""
    # As they are kept: to make large weights whole for each layer would cost more than the pass.
    arrays = found.arrays.kept if isinstance(found, Attention) else {}
    there = [name for name in ("output", "x", "weights") if name in arrays]
    return bool(there) and nonfinite(there[0], arrays[there[0]]) > 0


def outside_layers(weights: Weights) -> None:
    """Counts in the tensors of no layer: the embedding, the last norm, the output matrix."""
    count_in(weights, (name for name in weights.stored if not _numbers(name)))


def count_in(weights: Weights, names: Iterable[str]) -> None:
    """Counts what is not finite in these tensors; in each once."""
    known = weights.nonfinite.tensors
    for name in names:
        if name in known:
            continue
        tensor = weights.tensor(name)
        height, some = tensor.shape[0] if tensor.shape else 1, 1
        if len(tensor.shape) > 1:
            some = max(1, _ROWS * height // max(1, tensor.size))
            parts: Iterable[Any] = (slice(at, at + some) for at in range(0, height, some))
            known[name] = sum(_count(tensor.rows(part)) for part in parts)
        else:
            known[name] = _count(tensor.read())
        if not weights.hold:
            tensor.release()


def found_in(weights: Weights) -> dict[str, int]:
    """How many such numbers the tensors hold that were looked at, by their names in the file."""
    counts: Counter[str] = Counter()
    for name, count in dict(weights.nonfinite.tensors).items():
        counts[weights.stored[name].name] += count
    return {name: count for name, count in counts.items() if count}


def _count(array: np.ndarray) -> int:
    return nonfinite("", array)


def _numbers(name: str) -> set[str]:
    return {part for part in name.split(".") if part.isdecimal()}
