"""Measures: how far two arrays are apart, and how much work and memory something takes."""

import sys
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from attn_cli import session, vocabulary
from attn_cli.maths.attention import PRODUCT
from attn_cli.model.cache import Cache
from attn_cli.model.family import Model
from attn_cli.model.stack import Request
from attn_cli.model.what_if import UNCHANGED, WhatIf
from attn_cli.records import Prompt, Trace


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


def encoder_prompt(model: Model, golden: Mapping[str, np.ndarray]) -> Prompt:
    """The prompt of an archive: its ids and, where the model tells segments apart, its types."""
    prompt = session.tokenise(model, ids=golden["ids"].tolist())
    known = getattr(model.config, "types", 0)
    return replace(prompt, types=tuple(golden["types"].tolist())) if known else prompt


def following(
    layer: Mapping[str, np.ndarray],
    w_o: np.ndarray,
    visible: np.ndarray,
    scale: float,
    cap: float = 0,
    terms: tuple[str, ...] = (),
) -> dict[str, np.ndarray]:
    """In float64, what follows from a layer's stored q, k and z, and its bias and `terms` if any.

    `w_o` (model, head × width) is as folders store it.
    """
    q, k, z = (layer[name].astype(np.float64) for name in "qkz")
    group, width = len(q) // len(k), z.shape[-1]
    product = np.stack([q[head] @ k[head // group].T for head in range(len(q))])
    scores = product + sum(layer[name].astype(np.float64) for name in terms)
    scaled, w_o = scores * scale, w_o.astype(np.float64)
    scaled = (cap * np.tanh(scaled / cap) if cap else scaled) + layer.get("bias", 0)
    pulls = [z[h] @ w_o[:, h * width : (h + 1) * width].T for h in range(len(q))]
    return {
        **({PRODUCT: product} if terms else {}), "scores": scores, "scaled": scaled,
        "visible": visible, "masked": np.where(visible, scaled, -np.inf),
        "head_output": np.stack(pulls),
    }  # fmt: skip


def layer_of(golden: Mapping[str, np.ndarray], layer: int) -> dict[str, np.ndarray]:
    """The arrays of one layer, which an archive has as `LAYER.NAME`."""
    start = f"{layer}."
    return {n.removeprefix(start): array for n, array in golden.items() if n.startswith(start)}


def array_errors(golden: Mapping[str, np.ndarray], trace: Trace) -> dict[str, float]:
    """The largest error of every array over the layers; a trace has just those that are stored.

    Parameters and the parts of an embedding are not compared.
    """
    found: dict[str, float] = {}
    for block in trace.attention:
        wanted = layer_of(golden, block.layer)
        assert set(block.arrays) - vocabulary.PARAMETERS - vocabulary.EMBEDDING_PARTS == set(wanted)
        for name, array in wanted.items():
            if name == "visible":
                assert np.array_equal(block.visible, array)
            else:
                assert block.arrays[name].dtype == np.float32
                error = row_error(block.arrays[name], array)
                found[name] = max(error, found.get(name, 0))
    return found


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
