"""Measures: how far two arrays are apart, and how much work and memory something takes."""

import sys
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from attn_cli import session, vocabulary
from attn_cli.maths.attention import PRODUCT
from attn_cli.model.cache import Cache, End
from attn_cli.model.family import Model
from attn_cli.model.stack import Request
from attn_cli.model.what_if import UNCHANGED, Changes
from attn_cli.records import Address, Attention, Prompt, Trace


def logits_of(
    model: Model, ids: tuple[int, ...], changes: Changes = UNCHANGED, types: tuple[int, ...] = ()
) -> np.ndarray:
    """Logits (position, vocabulary) at every position of a prompt."""
    request = Request(what_if=changes, types=types)
    return session.predict(model, session.run(model, ids, request)[1].x)


def next_logits_of(
    model: Model, ids: tuple[int, ...], cache: Cache | None = None, changes: Changes = UNCHANGED
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


def addresses(model: Model) -> list[Address]:
    """All blocks of a model of one stack or two, in computing order."""
    facts = model.facts
    found = []
    for stack in dict.fromkeys(stack for stack, _ in facts.attentions):
        kinds = [kind for name, kind in facts.attentions if name == stack]
        found += [Address(stack, k, n) for n in range(facts.layers_of(stack)) for k in kinds]
    return found


def every_block(
    model: Model,
    source: tuple[int, ...],
    ids: tuple[int, ...],
    what_if: Changes = UNCHANGED,
    cache: Cache | None = None,
    arrays: frozenset[str] = vocabulary.LIGHT_ARRAYS - {"mlp_output"},
) -> tuple[dict[Address, Attention], End]:
    """What every block computes, and where the pass ends; `source` are the encoder's tokens."""
    blocks = frozenset(addresses(model))
    request = Request(blocks=blocks, arrays=arrays, source=source, what_if=what_if)
    return session.run(model, ids, request, cache)


def following(
    found: Mapping[str, np.ndarray],
    visible: np.ndarray,
    w_o: np.ndarray,
    *,
    scale: float,
    cap: float = 0.0,
) -> dict[str, np.ndarray]:
    """What follows in float64 from a block's q, k, z, bias and terms: steps 3, 4, `head_output`.

    `w_o` is (head × value_width, model).
    """
    terms = [name for name in vocabulary.TERMS if name in found]
    q, k, z = (found[name].astype(np.float64) for name in "qkz")
    group = len(q) // len(k)
    product = np.stack([q[head] @ k[head // group].T for head in range(len(q))])
    scores = product + sum(found[name].astype(np.float64) for name in terms)
    scaled = scores * scale
    scaled = cap * np.tanh(scaled / cap) if cap else scaled
    scaled = scaled + found.get("bias", 0)
    width = z.shape[-1]
    rows = w_o.astype(np.float64)
    pulls = [z[h] @ rows[h * width : (h + 1) * width] for h in range(len(z))]
    return {
        **({PRODUCT: product} if terms else {}),
        "scores": scores, "scaled": scaled, "visible": visible,
        "masked": np.where(visible, scaled, -np.inf), "head_output": np.stack(pulls),
    }  # fmt: skip


def block_errors(block: Attention, wanted: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The error of every array of a block, which has just the wanted ones."""
    assert set(block.arrays) - vocabulary.PARAMETERS - vocabulary.EMBEDDING_PARTS == set(wanted)
    assert np.array_equal(block.visible, wanted["visible"])
    numbers = {name: array for name, array in wanted.items() if name != "visible"}
    assert {block.arrays[name].dtype for name in numbers} == {np.dtype(np.float32)}
    return {name: row_error(block.arrays[name], array) for name, array in numbers.items()}


def of_layer(golden: Mapping[str, np.ndarray], layer: int) -> dict[str, np.ndarray]:
    """The arrays of one layer by their own names; an archive has them as `LAYER.NAME`."""
    prefix = f"{layer}."
    return {n.removeprefix(prefix): array for n, array in golden.items() if n.startswith(prefix)}


def trace_errors(trace: Trace, golden: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The largest error of every array over the layers of a model of one stack."""
    found: dict[str, float] = {}
    for block in trace.attention:
        for name, error in block_errors(block, of_layer(golden, block.layer)).items():
            found[name] = max(error, found.get(name, 0))
    return found


def every_array(trace: Trace) -> dict[str, np.ndarray]:
    """The arrays of a trace of one stack as `LAYER.NAME`, and the logits."""
    arrays = {f"{b.layer}.{name}": a for b in trace.attention for name, a in b.arrays.items()}
    return arrays | {"logits": trace.logits}


def in_float64(path: str | Path) -> Model:
    """A model in which only a wrong number or order can make a difference."""
    model = session.load(str(path))
    return replace(model, weights=replace(model.weights, dtype=np.float64))


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


def check_gradients(loss, parameters, gradients, *, step):
    """Each gradient is the central difference of the loss, entry by entry, in float64."""
    assert list(gradients) == list(parameters)
    for name, array in parameters.items():
        expected = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            ends = []
            for sign in (1, -1):
                moved = array.copy()
                moved[index] += sign * step
                ends.append(loss(parameters | {name: moved}))
            expected[index] = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(gradients[name], expected, rtol=1e-5, atol=1e-9, err_msg=name)
