"""Answers to a sheet: those that are right within rounding, and known mistakes in the others."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from attn_cli.analysis.exercise import NONE, Blank, Solved
from attn_cli.analysis.recipes import Head, softmax

RIGHT, WRONG, EMPTY = "right", "wrong", "empty"
_SLACK = 1e-6  # of a unit: numbers are float32
Wrong = Iterator[tuple[str, np.ndarray]]


class Mark(NamedTuple):
    """One answer, NaN where none is `given`; `verdict` is right, wrong or empty. `mistakes` are the
    known ones that give this number; `answer` is NaN unless the key was asked for."""

    number: int
    step: int
    array: str
    row: int
    column: int
    row_token: str
    column_token: str
    given: float
    verdict: str
    mistakes: tuple[str, ...]
    answer: float


class Marked(NamedTuple):
    """The answers to the sheet of one head, and how many of them are right."""

    stack: str
    kind: str
    layer: int
    head: int
    right: int
    marks: tuple[Mark, ...]


def marked(found: Solved, answers: Mapping[int, float], *, key: bool = False) -> Marked:
    """The answers, by the numbers of the blanks; those that are left out are empty."""
    sheet = found.sheet
    marks = tuple(_mark(found, blank, answers.get(blank.number, NONE)) for blank in sheet.blanks)
    if not key:
        marks = tuple(mark._replace(answer=NONE) for mark in marks)
    right = sum(mark.verdict == RIGHT for mark in marks)
    return Marked(sheet.stack, sheet.kind, sheet.layer, sheet.head, right, marks)


def _mark(found: Solved, blank: Blank, given: float) -> Mark:
    if np.isnan(given):
        verdict = EMPTY
    else:
        off = abs(given - blank.answer)
        verdict = RIGHT if off <= blank.within * (1 + _SLACK) else WRONG
    mistakes = _known(found, blank, given) if verdict == WRONG else ()
    return Mark(*blank[:7], given, verdict, mistakes, blank.answer)


def _known(found: Solved, blank: Blank, given: float) -> tuple[str, ...]:
    """The mistakes that give a number, with the digits shown or with all."""
    at, unit = (blank.row, blank.column), found.units[blank.array][blank.row, blank.column]
    names = []
    with np.errstate(all="ignore"):
        exact, rounded = (mistakes(head, blank.array) for head in (found.head, found.shown))
        for (name, left), (_, right) in zip(exact, rounded, strict=True):
            low, high = sorted((left[at], right[at]))
            if low - unit <= given <= high + unit:
                names.append(name)
    return tuple(dict.fromkeys(names))


def mistakes(head: Head, array: str) -> Wrong:
    """What each known mistake would make of an array, those that are likeliest first."""
    known = head.of(array)
    yield from _OF[array](head)
    if known.shape[0] == known.shape[1] and array in ("scores", "scaled", "weights"):
        yield "swapped", known.T
    yield "sign", -known


def _of_x(head: Head) -> Wrong:
    for name in ("token_embedding", "position_embedding"):
        if head.has(name):
            yield f"only_{name}", head.of(name)


def _of_projection(letter: str) -> Callable[[Head], Wrong]:
    def wrong(head: Head) -> Wrong:
        source = "key_x" if head.crosses and letter != "q" else head.source
        x, w = head.of(source), head.of(f"w_{letter}")
        bias = head.of(f"b_{letter}") if head.has(f"b_{letter}") else 0.0
        if head.has(f"b_{letter}"):
            yield "bias", x @ w
        if w.shape[0] == w.shape[1]:
            yield "transposed", x @ w.T + bias
        for other in "qkv".replace(letter, ""):
            if head.has(f"w_{other}") and head.of(f"w_{other}").shape == w.shape:
                yield "matrix", x @ head.of(f"w_{other}") + bias
        if source == "normed" and head.has("x"):
            yield "not_normed", head.of("x") @ w + bias

    return wrong


def _of_scores(head: Head) -> Wrong:
    if head.has("scaled"):
        yield "scaled_already", head.of("scaled")
    if head.has("q", "k") and not head.crosses:
        yield "queries", head.of("q") @ head.of("q").T
        yield "keys", head.of("k") @ head.of("k").T


def _of_scaled(head: Head) -> Wrong:
    scores, scale = head.of("scores"), head.scale
    bias = head.of("bias") if head.has("bias") else 0.0
    if scale != 1:
        yield "not_scaled", scores + bias
        yield "multiplied", scores / scale + bias
    if head.has("q") and abs(scale**2 * head.of("q").shape[1] - 1) < _SLACK:
        yield "squared", scores * scale**2 + bias
    if head.has("bias"):
        yield "bias", scores * scale


def _of_weights(head: Head) -> Wrong:
    scores, visible = head.of("scaled"), head.of("visible")
    everything, sink = np.ones_like(visible), head.arrays.get("sink")
    if head.has("scores") and head.scale != 1:
        yield "not_scaled", softmax(head.of("scores"), visible, sink)
        yield "not_scaled_mask", softmax(head.of("scores"), everything, sink)
    yield "mask_forgotten", softmax(scores, everything, sink)
    yield "wrong_axis", softmax(scores.T, visible.T).T
    yield "wrong_axis", softmax(scores.T, everything.T).T
    powers = np.where(visible > 0, np.exp(scores), 0.0)
    yield "not_divided", powers
    yield "not_divided", np.where(visible > 0, np.exp(scores - scores.max(1, keepdims=True)), 0.0)
    seen = np.where(visible > 0, scores, 0.0)
    yield "no_exponential", seen / seen.sum(axis=1, keepdims=True)
    if sink is not None:
        yield "sink", softmax(scores, visible)


def _of_z(head: Head) -> Wrong:
    weights, v = head.of("weights"), head.of("v")
    if head.has("scaled", "visible"):
        yield "mask_forgotten", softmax(head.of("scaled"), np.ones_like(weights)) @ v
    for shift in range(1, len(weights)):
        yield "row", np.roll(weights, shift, axis=0) @ v
    if weights.shape[0] == weights.shape[1]:
        yield "column", weights.T @ v
    seen = (weights != 0).astype(np.float64)
    yield "not_weighted", seen @ v
    yield "not_weighted", seen @ v / np.maximum(1, seen.sum(axis=1, keepdims=True))


def _of_head_output(head: Head) -> Wrong:
    z, w_o = head.of("z"), head.of("w_o")
    if z.shape[1] == w_o.shape[1]:
        yield "no_w_o", z
        yield "transposed", z @ w_o.T
    for shift in range(1, len(z)):
        yield "row", np.roll(z, shift, axis=0) @ w_o


_OF = {
    "x": _of_x, **{letter: _of_projection(letter) for letter in "qkv"}, "scores": _of_scores,
    "scaled": _of_scaled, "weights": _of_weights, "z": _of_z, "head_output": _of_head_output,
}  # fmt: skip
