"""How exact a trace is: against float64, and against activations made elsewhere."""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from attn_cli import room, session, vocabulary
from attn_cli.analysis.activations import COMPARED, is_of
from attn_cli.errors import ContentError
from attn_cli.hook_names import find, hook_name, kept_in
from attn_cli.maths import attention as steps
from attn_cli.maths.gaps import SUSPECT, row_error
from attn_cli.model.family import Model
from attn_cli.records import Attention, Facts, Passed, Prompt, Trace, nonfinite

NORMAL = 5e-5
SUSPECT_VERDICT = "suspect"


class StepError(NamedTuple):
    """The largest error of one array over all blocks, and the block where it is.

    The error of two rows is max |a − b| / max(1, max |b|).
    """

    step: int
    name: str
    error: float
    layer: int
    stack: str
    kind: str
    verdict: str


class Verification(NamedTuple):
    """`float64` compares with a recomputation, `reference` with activations made elsewhere."""

    provenance: str
    layers: int
    largest: float
    verdict: str
    float64: tuple[StepError, ...]
    reference: tuple[StepError, ...]
    reference_source: str


def verify(
    model: Model,
    prompt: Prompt,
    reference: Mapping[str, np.ndarray],
    source: str = "",
    *,
    max_memory: int = 0,
) -> Verification:
    """Traces a prompt in float32 and checks every array of every layer.

    Steps 1 and 2 are compared with a whole pass in float64; steps 3 to 6 are recomputed in float64
    each from the float32 arrays before it. What the last layer gives and the logits are only looked
    at for NaN and infinity, which make the largest error NaN. `reference` holds arrays under hook
    names and may be empty. Raises ContentError if it is of another prompt or fits nowhere, and for
    what needs more than `max_memory` (see `session.trace`).
    """
    return session.finished(verify_steps(model, prompt, reference, source, max_memory))


def verify_steps(
    model: Model, prompt: Prompt, reference: Mapping[str, np.ndarray], source: str, max_memory: int
) -> Generator[Passed, None, Verification]:
    """`verify`, which yields each layer that is done."""
    every = {
        "prompt": prompt, "stack": "all", "kind": "all", "arrays": COMPARED, "next": False,
        "max_memory": max_memory,
    }  # fmt: skip
    _check_memory(model, prompt, max_memory)
    double = replace(model, weights=replace(model.weights, dtype=np.float64, hold=False, held={}))
    exact = yield from session.tracing(session.ask(model=double, **every))
    # The last one is what notes are of. It goes on to the prediction: NaN may begin there.
    asked = session.ask(model=model, **every)
    asked = asked._replace(request=replace(asked.request, whole=True), top=1)
    found = yield from session.tracing(asked)
    float64 = _worst(_against_float64(found, exact))
    compared = _worst(_against_file(found, reference, source)) if reference else ()
    errors = [entry.error for entry in (*float64, *compared)]
    if prompt.last.ids in model.weights.nonfinite.passes or nonfinite("logits", found.logits):
        errors.append(np.nan)
    largest = max(errors, key=_badness)
    return Verification(
        provenance=vocabulary.DERIVED,
        layers=len({(block.stack, block.layer) for block in found.attention}),
        largest=largest,
        verdict=verdict(largest),
        float64=float64,
        reference=compared,
        reference_source=source,
    )


def _check_memory(model: Model, prompt: Prompt, max_memory: int) -> None:
    """Refuses what has no room for the trace and, twice as large, its recomputation."""
    where = model.facts.attentions
    blocks, heads = session.chosen(model.facts, where, "all", "all")
    request = session.request_for(
        prompt, blocks=frozenset(blocks), heads=heads, arrays=COMPARED, whole=True
    )
    # A block is recomputed in float64 and subtracted from both.
    made = room.Made(of_block=6)
    # The two passes come one after the other.
    room.check(model, prompt, request, max_memory, times=3, working=2, made=made)


def verdict(error: float) -> str:
    """`normal` below 5e-5, `suspect` from 1e-4 on or if it is no number, `high` between."""
    return "normal" if error < NORMAL else "high" if error < SUSPECT else SUSPECT_VERDICT


def _badness(error: float) -> float:
    """NaN ranks above every error."""
    return float("inf") if np.isnan(error) else error


def _worst(errors: Iterator[tuple[str, Attention, float]]) -> tuple[StepError, ...]:
    worst: dict[str, tuple[float, Attention]] = {}
    for name, block, error in errors:
        if name not in worst or _badness(error) > _badness(worst[name][0]):
            worst[name] = error, block
    found = []
    for name, spec in vocabulary.ARRAYS.items():
        if name in worst:
            error, block = worst[name]
            where = {"layer": block.layer, "stack": block.stack, "kind": block.kind}
            found.append(StepError(spec.step, name, error, **where, verdict=verdict(error)))
    return tuple(found)


def _against_float64(found: Trace, exact: Trace) -> Iterator[tuple[str, Attention, float]]:
    for block, double in zip(found.attention, exact.attention, strict=True):
        again = _recomputed(block)
        for name, array in block.arrays.items():
            if name in again:
                yield name, block, row_error(array, again[name])
            elif name not in vocabulary.PARAMETERS and array.dtype != bool:
                yield name, block, row_error(array, double.arrays[name])


def _recomputed(block: Attention) -> dict[str, np.ndarray]:
    """Steps 3 to 6 in float64, each from the float32 arrays that the step before it gave."""
    given = {
        name: array if array.dtype == bool else array.astype(np.float64)
        for name, array in block.arrays.items()
    }
    group = len(block.heads) // len(block.kv_heads)
    k, v = (given[name].repeat(group, axis=0) for name in "kv")
    bias = given.get("bias", np.zeros(0))
    terms = [given[name] for name in vocabulary.TERMS if name in given]
    product = steps.dot_products(given["q"], k)
    return {
        **({steps.PRODUCT: product} if terms else {}),
        "scores": sum(terms) if terms else product,
        "scaled": steps.scale_scores(given["scores"], block.scale, bias, block.soft_cap),
        "masked": steps.mask_scores(given["scaled"], given["visible"]),
        **_shares(given["masked"], given.get("sink", steps.NO_SINK)),
        "z": steps.weighted_sum(given["weights"], v, given["visible"]),
        "head_output": given["z"] @ given["w_o"],
        "output": given["head_output"].sum(axis=0) + given.get("b_o", 0),
    }


def _shares(masked_HQK: np.ndarray, sink_H: np.ndarray) -> dict[str, np.ndarray]:
    """The weights, and the share of the sink if there is one: the softmax has it as a column."""
    if not sink_H.size:
        return {"weights": steps.softmax(masked_HQK)}
    sink_HQ1 = np.broadcast_to(sink_H[:, None, None], (*masked_HQK.shape[:-1], 1))
    both = steps.softmax(np.concatenate([masked_HQK, sink_HQ1], axis=-1))
    return {"weights": both[..., :-1], "sink_share": both[..., -1]}


def _against_file(
    found: Trace, reference: Mapping[str, np.ndarray], source: str
) -> Iterator[tuple[str, Attention, float]]:
    if not is_of(reference, found.prompt):
        raise ContentError(f"{source} holds another prompt", "--ids takes its token ids")
    some = False
    for block in found.attention:
        for name, array in block.arrays.items():
            other = find(reference, found.model, block, name)
            if other is None or array.dtype == bool:
                continue
            ours = _kept_of(array, name, found.model, block, reference)
            if other.shape != ours.shape:
                raise ContentError(
                    f"{source}: {hook_name(found.model, block, name)} ({name}) does not fit: "
                    f"{other.shape} against {ours.shape}"
                )
            some = True
            yield name, block, row_error(ours, other)
    if not some:
        raise ContentError(f"{source} holds no array of this model", "names as in --format npz")


def _kept_of(
    array: np.ndarray,
    name: str,
    model: Facts,
    block: Attention,
    reference: Mapping[str, np.ndarray],
) -> np.ndarray:
    """Our array with only the heads and positions that the reference holds."""
    for place, axis in enumerate(vocabulary.ARRAYS[name].axes):
        kept = kept_in(reference, model, block, axis)
        if kept:
            array = array.take([n for n in kept if 0 <= n < array.shape[place]], place)
    return array
