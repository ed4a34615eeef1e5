"""Measures: how far two arrays are apart, and how much work and memory something takes."""

import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from attn_cli import session
from attn_cli.model.cache import Cache
from attn_cli.model.family import Model
from attn_cli.model.stack import Request
from attn_cli.model.what_if import UNCHANGED, WhatIf
from attn_cli.records import Trace


def logits_of(
    model: Model, ids: tuple[int, ...], changes: WhatIf = UNCHANGED, types: tuple[int, ...] = ()
) -> np.ndarray:
    """Logits (position, vocabulary) at every position of a prompt."""
    request = Request(what_if=changes, types=types)
    return session.predict(model, session.run(model, ids, request)[1].x)


def next_logits_of(
    model: Model, ids: tuple[int, ...], cache: Cache | None = None, changes: WhatIf = UNCHANGED
) -> np.ndarray:
    """Logits (vocabulary) for the token after the last; `ids` follow what the cache holds."""
    end = session.run(model, ids, Request(what_if=changes), cache)[1]
    return session.predict(model, end.x[-1:])[0]


def row_error(found: np.ndarray, wanted: np.ndarray) -> float:
    """max |a − b| / max(1, max |b| of that row), as `attn verify` has it; −∞ must meet −∞."""
    assert found.shape == wanted.shape
    hidden = np.isneginf(wanted)
    assert np.array_equal(np.isneginf(found), hidden)
    a, b = (np.where(hidden, 0, x).astype(np.float64) for x in (found, wanted))
    assert np.isfinite(a).all()
    return (np.abs(a - b) / np.maximum(1, np.abs(b).max(axis=-1, keepdims=True))).max()


def same_bits(one: Trace, two: Trace) -> bool:
    """Whether two traces hold the same arrays and logits, to the last bit."""
    pairs = list(zip(one.attention, two.attention, strict=True))
    return np.array_equal(one.logits, two.logits) and all(
        a.arrays.keys() == b.arrays.keys()
        and all(np.array_equal(a.arrays[name], b.arrays[name]) for name in a.arrays)
        for a, b in pairs
    )


@dataclass
class Work:
    """Lines of Python that were run, and the most bytes that they held at once."""

    lines: int = 0
    memory: int = 0


@contextmanager
def counted() -> Iterator[Work]:
    """Counts what the functions called inside do. A count is the same on a slow machine."""
    work, before = Work(), sys.gettrace()

    def trace(frame, event, argument):
        work.lines += event == "line"
        return trace

    tracemalloc.start()
    sys.settrace(trace)
    try:
        yield work
    finally:
        sys.settrace(before)
        work.memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
