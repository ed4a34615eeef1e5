"""Text in, Trace out: open a model, tokenise, run the forward pass, rank the candidates."""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from attn_cli import parse, room, vocabulary
from attn_cli.blocks import check_attend, chosen, most
from attn_cli.candidates import ending_of, rank
from attn_cli.errors import AttnError, ContentError, UsageError, told_where
from attn_cli.maths import blas
from attn_cli.maths.kept import Measure
from attn_cli.maths.scratch import give_back
from attn_cli.maths.tiles import POSITIONS
from attn_cli.model import family, nonfinite
from attn_cli.model.cache import Cache, End, Pass
from attn_cli.model.family import Model
from attn_cli.model.selection import Positions
from attn_cli.model.stack import Request
from attn_cli.model.what_if import Changes, WhatIf, read_what_if
from attn_cli.notes import block_notes, logit_notes, no_mask_notes, trace_notes
from attn_cli.opening.load import load
from attn_cli.reading import tokenise
from attn_cli.records import Address, Attention, Facts, Passed, Prediction, Prompt, Trace
from attn_cli.records import nonfinite as nonfinite_of

S, T = TypeVar("S"), TypeVar("T")


def records(
    model: Model, ids: tuple[int, ...], request: Request, cache: Cache | None = None
) -> Pass:
    """One forward pass: yields each recorded block, and each layer that is done; returns its end.

    A pass that is not whole stops at its last record (of a mixture: when that layer is done). With
    a cache, `ids` follow the positions it holds, and it holds them too afterwards. What layers
    worked with is given back in the end, so that it does not count beside what is made of records.
    """
    passing = model.family.forward(model, ids, request, cache)
    left = {*request.blocks, *(block.layer for block in request.blocks if model.facts.experts)}
    model.weights.nonfinite.passes.pop(ids, None)
    unknown = True  # where numbers that are not finite begin, if there are some
    while request.whole or left:
        # Overflow and NaN are numbers of the model, counted and noted; numpy need not warn as well.
        with np.errstate(all="ignore"), blas.alone():
            try:
                found = next(passing)
            except StopIteration as stop:
                end = stop.value
                break
        left.discard(found.layer if isinstance(found, Passed) else found.address)
        if unknown and nonfinite.begins(model.weights, ids, found):
            unknown = False
        yield found
    else:
        passing.close()
        end = End(np.zeros((0, model.facts.model_width), np.float32), False)
    if len(ids) > POSITIONS:
        give_back()
    return end


def run(
    model: Model, ids: tuple[int, ...], request: Request, cache: Cache | None = None
) -> tuple[dict[Address, Attention], End]:
    """The recorded blocks of a pass (see `records`), and where it ended."""
    return finished(running(model, ids, request, cache))


def running(
    model: Model, ids: tuple[int, ...], request: Request, cache: Cache | None = None
) -> Generator[Passed, None, tuple[dict[Address, Attention], End]]:
    """`run`, which yields each layer that is done."""
    return _collected(records(model, ids, request, cache))


def _collected(
    steps: Generator[Attention | Passed, None, T],
) -> Generator[Passed, None, tuple[dict[Address, Attention], T]]:
    """Keeps the blocks that a generator yields; returns them with what it returns."""
    blocks: dict[Address, Attention] = {}

    def keep(block: Attention) -> None:
        blocks[block.address] = block

    found = yield from taking(steps, keep)
    return blocks, found


def taking(
    steps: Generator[S | Passed, None, T], take: Callable[[S], None]
) -> Generator[Passed, None, T]:
    """Yields the layers that are done, hands all else that a generator yields to `take`, and
    returns what it returns."""
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            return stop.value
        if isinstance(step, Passed):
            yield step
        else:
            take(step)


def finished(steps: Generator[Any, None, T]) -> T:
    """What a generator returns, whatever it yields."""
    with blas.alone():  # once, not once a layer
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                return stop.value


def predict(model: Model, x: np.ndarray) -> np.ndarray:
    """Logits (position, vocabulary) of any layer's vectors (position, model).

    Raises ContentError for a model that cannot predict.
    """
    check_predicts(model.facts)
    with np.errstate(all="ignore"):
        logits = family.predict(model, x)
        # A row of the matrix that is not finite shows in the logits of every position.
        if nonfinite_of("logits", logits[-1:]) and not nonfinite_of("x", x[-1:]):
            nonfinite.outside_layers(model.weights)
        return logits


def check_predicts(facts: Facts) -> None:
    """Raises ContentError for a model that cannot predict."""
    if not facts.predicts:
        raise ContentError(
            f"{facts.name} has no output matrix, so it predicts no token",
            "attn trace and attn heads show its attention",
        )


class Question(NamedTuple):
    """A prompt for a model, and what to keep of the pass: what `trace` was asked.

    `blocks` stand in the order of their choice, `settings` are as documents have them; `top`
    candidates are predicted (0: none), and with `ending` the trace says how they come about.
    """

    model: Model
    prompt: Prompt
    request: Request
    blocks: tuple[Address, ...]
    settings: Mapping[str, Any]
    top: int
    ending: bool


def ask(
    text: str | None = None,
    *,
    model: str | Model = vocabulary.DEFAULT_MODEL,
    ids: Sequence[int] = (),
    target: str | None = None,
    target_ids: Sequence[int] = (),
    pair: str | None = None,
    prompt: Prompt | None = None,
    stack: str = "",
    kind: str = "self",
    layer: str | int | Iterable[int] | None = "all",
    head: str | int | Iterable[int] = "all",
    arrays: Iterable[str] = vocabulary.LIGHT_ARRAYS,
    mask: Sequence[str] = (),
    mask_value: float | None = None,
    attention_temperature: float = 1.0,
    without_head: Sequence[str] = (),
    without: Sequence[str] = (),
    positions: Mapping[tuple[str, str], Positions] = MappingProxyType({}),
    rows: Mapping[tuple[str, str], tuple[int, ...]] = MappingProxyType({}),
    measures: Mapping[tuple[str, str], Mapping[str, Measure]] = MappingProxyType({}),
    next: bool = True,
    top: int = 5,
    ending: bool = False,
    special: bool = True,
    chat: bool = False,
    max_memory: int | None = 0,
    made: room.Made = room.NOTHING_MADE,
    force_context: bool = False,
) -> Question:
    """What `trace` is asked, checked; see there. Raises UsageError and ContentError.

    With `max_memory` None, whether there is room is for the caller to ask; there has to be some for
    what will be `made` of the trace too.
    """
    opened = load(model) if isinstance(model, str) else model
    _check_names(arrays := frozenset(arrays))
    read = {"ids": ids, "special": special, "chat": chat, "pair": pair,
            "force_context": force_context}  # fmt: skip
    prompt = prompt or tokenise(opened, text, **read, target=target, target_ids=target_ids)
    settings = _typed(mask, mask_value, attention_temperature, without_head, without)
    where = parse.attentions(stack, kind, opened.facts.attentions)
    blocks, heads = chosen(opened.facts, where, layer, head)
    _check_positions(prompt, where, positions, {at: (some, None) for at, some in rows.items()})
    request = request_for(
        prompt, blocks=frozenset(blocks), heads=heads, arrays=arrays, positions=positions,
        rows=rows, measures=measures, what_if=what_if(opened, prompt, where, **settings),
        whole=next and bool(predicted(opened, prompt)),
    )  # fmt: skip
    if max_memory is not None:
        room.check(opened, prompt, request, max_memory, made=made)
    settings |= {**parse.named(where), **prompt.settings, **opened.settings}
    return Question(opened, prompt, request, blocks, settings, top if next else 0, ending)


def steps(asked: Question) -> Generator[Attention | Passed, None, Trace]:
    """The answer step by step: yields each block as it is computed, and each layer that is done.

    Returns the trace without the blocks, which are the caller's to keep or to forget.
    """
    model, told, touched, routed = asked.model, [], False, []
    passing = records(model, asked.prompt.last.ids, asked.request)
    while True:
        try:
            step = next(passing)
        except StopIteration as stop:
            end = stop.value
            break
        if isinstance(step, Attention):
            told += block_notes(model.facts, step)
            touched = touched or bool(step.what_if)
        elif step.experts:
            routed.append(step.experts)
        yield step
    first = {"prompt": asked.prompt, "settings": asked.settings, "experts": tuple(routed)}
    found, changes = Trace(model=model.facts, attention=(), **first), asked.request.what_if
    found = _with_predictions(asked, found, end) if asked.top else found
    notes = trace_notes(model, found, told, changes, touched=touched or end.touched)
    return replace(found, notes=notes + found.notes)


def tracing(asked: Question) -> Generator[Passed, None, Trace]:
    """The whole trace that answers a question; yields each layer that is done."""
    blocks, found = yield from _collected(steps(asked))
    return replace(found, attention=tuple(blocks[address] for address in asked.blocks))


def together(asked: Sequence[Question]) -> list[Trace | AttnError]:
    """The whole traces that answer questions to one model, or why one could not be had.

    Their passes go side by side: see `family.abreast`.
    """
    model = family.side_by_side(asked[0].model)
    passes = [tracing(one._replace(model=model)) for one in asked]
    return finished(family.abreast(model, passes))


@wraps(ask, assigned=())
def trace(*arguments: Any, **options: Any) -> Trace:
    """Runs a prompt through a model and keeps what attention computed.

    The prompt is `text`, or token `ids`, or a `prompt` that is already tokenised; with `chat` the
    text is a user's turn in the model's chat format. See `tokenise` for `pair` and `target`.
    `stack` and `kind` choose which attention is kept and changed; `all` is every one, and without
    a `stack` it is the only one, or the decoder.
    `arrays` names the arrays of `vocabulary.ARRAYS` to keep (default: all but the projection
    matrices); `mask`, `without_head` and `without` take the words of the command line (`window:3`,
    `0.2`, `scale`). `positions` are the queries and the keys to keep of each attention (stack,
    kind), None for all; `rows` are the queries that its arrays (query, key) keep, where they are
    fewer; the `measures` of each (see `maths.kept.Keep`) are taken of all weights, kept or not.
    Without `next`, layers after the last chosen one are not computed; with `ending` the trace says
    how the prediction comes about. What needs more than `max_memory` bytes (0: half of what is
    available) is refused; with `force_context` a prompt may be longer than the context that the
    model was trained on. Raises UsageError and ContentError.
    """
    return finished(tracing(ask(*arguments, **options)))


def _typed(
    mask: Sequence[str],
    mask_value: float | None,
    attention_temperature: float,
    without_head: Sequence[str],
    without: Sequence[str],
) -> dict[str, Any]:
    """The what-if settings as documents have them, under the names of `vocabulary.WHAT_IFS`."""
    return {
        "mask": list(mask), "mask_value": mask_value,
        "attention_temperature": float(attention_temperature),
        "without_head": list(without_head), "without": list(without),
    }  # fmt: skip


def _check_positions(
    prompt: Prompt, where: Sequence[tuple[str, str]], *given: Mapping[tuple[str, str], Positions]
) -> None:
    for place, of_place in (item for each in given for item in each.items()):
        if place not in where:
            raise UsageError(f"no attention {place!r} here", f"known: {where}")
        for side, of_side in zip(prompt.sides(*place), of_place, strict=True):
            count = len(side.tokens)
            if of_side is not None and not (of_side and 0 <= min(of_side) <= max(of_side) < count):
                raise UsageError(f"positions of {place!r} are out of range", f"0 to {count - 1}")


def _check_names(arrays: Iterable[str]) -> None:
    for name in sorted(set(arrays) - set(vocabulary.ARRAYS)):
        raise UsageError(f"no array {name!r}", f"known: {', '.join(vocabulary.ARRAYS)}")


def check_writes(facts: Facts, what: str) -> None:
    """Raises UsageError where a model has no next token."""
    if not facts.writes:
        raise UsageError(
            f"{what} needs a next token, and {facts.name} is an encoder, which predicts none",
            "attn trace shows what it puts in the place of a mask token"
            if facts.masked else "attn trace and attn heads show its attention",
        )  # fmt: skip


def predicted(model: Model, prompt: Prompt) -> tuple[int, ...]:
    """The positions of which a token is predicted: the last, or each mask token's."""
    if not model.facts.predicts:
        return ()
    if model.facts.masked:
        return tuple(i for i, id in enumerate(prompt.ids) if id == model.tokenizer.mask)
    return (len(prompt.last.tokens) - 1,)


def request_for(prompt: Prompt, **more: Any) -> Request:
    """A request (see there) to read this prompt."""
    return Request(source=prompt.ids if prompt.target else (), types=prompt.types, **more)


def what_if(
    model: Model, prompt: Prompt, where: Sequence[tuple[str, str]] = (), **settings: Any
) -> Changes:
    """The what-if settings, under the names of `vocabulary.WHAT_IFS`, for this model and prompt.

    They act on each attention (stack, kind) of `where`, without it on the model's own. Raises
    UsageError, and ContentError for a mask file.
    """
    where = where or ((model.facts.stack, "self"),)
    return Changes(tuple(_what_if(model, prompt, where, place, settings) for place in where))


def _what_if(
    model: Model,
    prompt: Prompt,
    where: Sequence[tuple[str, str]],
    place: tuple[str, str],
    settings: Mapping[str, Any],
) -> WhatIf:
    """The settings of one of the attentions that they were typed for."""
    facts, (stack, kind) = model.facts, place
    queries, keys = prompt.sides(stack, kind)
    named = f"in {stack} {kind}-attention" if facts.encoder else ""
    with told_where(named):
        found = read_what_if(
            **settings, stack=stack, kind=kind, layers=facts.layers_of(stack),
            heads=facts.heads_of(stack), most=most(facts, where), queries=queries.given,
            keys=keys.given,
        )  # fmt: skip
    removed = sorted({layer for layer, _ in found.without_head})
    check_attend(facts, stack, removed, "--without-head")
    return replace(found, place=named)


def _with_predictions(asked: Question, found: Trace, end: End) -> Trace:
    model, top, told = asked.model, asked.top, asked.ending
    places = predicted(model, found.prompt)
    if not places:
        return replace(found, notes=no_mask_notes(model) if model.facts.masked else ())
    x_PM = end.x[list(places)]
    logits_PV = predict(model, x_PM)
    next = tuple(
        Prediction(
            position=place,
            provenance=vocabulary.WHAT_IF if end.touched else vocabulary.REAL,
            candidates=rank(model, logits_V, top),
        )
        for place, logits_V in zip(places, logits_PV, strict=True)
    )
    ending = tuple(
        ending_of(model, x_PM[i : i + 1], logits_PV[i], prediction.candidates)
        for i, prediction in enumerate(next if told else ())
    )
    told = logit_notes(logits_PV)
    return replace(found, next=next, logits=logits_PV, ending=ending, notes=told)
