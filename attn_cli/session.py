"""Text in, Trace out: open a model, tokenise, run the forward pass, rank the candidates."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from attn_cli import parse, vocabulary
from attn_cli.errors import ContentError, UsageError, some
from attn_cli.maths.attention import softmax
from attn_cli.model import family
from attn_cli.model.family import Model
from attn_cli.model.stack import Cache, End, Request
from attn_cli.model.weights import NOTHING, bias_of
from attn_cli.model.what_if import WhatIf, read_what_if
from attn_cli.opening.load import load
from attn_cli.records import (
    Address,
    Attention,
    Candidate,
    Ending,
    Facts,
    Prediction,
    Prompt,
    Trace,
    nonfinite,
)
from attn_cli.tokens.chat import turn
from attn_cli.tokens.token import Token
from attn_cli.words import Note, note

# --- the prompt ----------------------------------------------------------------------------------


def tokenise(
    model: Model,
    text: str | None = None,
    *,
    ids: Sequence[int] = (),
    special: bool = True,
    chat: bool = False,
) -> Prompt:
    """The prompt as tokens. Raises UsageError, and ContentError if it is too long.

    `chat`: the text is a user's turn, and the markers of the model's chat format stand around it.
    """
    if ids and chat:
        raise UsageError("--chat and --ids contradict each other", "ids are taken as they are")
    text = vocabulary.SAMPLE_PROMPT if text is None else text
    if ids:
        tokens = tuple(_given(model, i) for i in ids)
        read = Prompt(text="", has_text=False, tokens=tokens, special=special)
    elif chat:
        found = turn(model.tokenizer, text, special=special)
        read = Prompt(
            text=found.text, has_text=True, tokens=found.tokens, special=special,
            chat=found.format, ends=found.ends,
        )  # fmt: skip
    else:
        tokens = model.tokenizer.encode(text, special=special)
        read = Prompt(text=text, has_text=True, tokens=tokens, special=special)
    if not read.tokens:
        raise UsageError(
            "the prompt gives no tokens" if read.text.strip() else "the prompt is empty",
            f"for example: attn trace {vocabulary.SAMPLE_PROMPT!r}",
        )
    count, context = len(read.tokens), model.facts.context
    if context and count > context:
        raise ContentError(
            f"the prompt has {count:,} tokens, {model.facts.name} reads at most {context:,}",
            f"shorten it by {count - context:,} tokens",
        )
    return read


def _given(model: Model, id: int) -> Token:
    if not 0 <= id < model.facts.vocabulary:
        last = model.facts.vocabulary - 1
        raise UsageError(f"--ids {id} is out of range", f"{model.facts.name} has ids 0 to {last}")
    return token_of(model, id)


def token_of(model: Model, id: int) -> Token:
    """The token of an id; `<5>` where the tokenizer has none."""
    try:
        return model.tokenizer.token(id)
    except KeyError:
        return Token(id=id, text=f"<{id}>", span=(0, 0))


# --- running -------------------------------------------------------------------------------------


def run(
    model: Model, ids: tuple[int, ...], request: Request, cache: Cache | None = None
) -> tuple[dict[Address, Attention], End]:
    """One forward pass: the recorded blocks, and where it ended.

    A pass that is not whole stops at its last record. With a cache, `ids` follow the positions it
    holds, and it holds them too afterwards.
    """
    blocks: dict[Address, Attention] = {}
    passing = model.family.forward(model, ids, request, cache)
    # Overflow and NaN are numbers of the model, counted and noted; numpy need not warn as well.
    with np.errstate(all="ignore"):
        while request.whole or len(blocks) < len(request.blocks):
            try:
                block = next(passing)
            except StopIteration as stop:
                return blocks, stop.value
            blocks[block.address] = block
    passing.close()
    return blocks, End(np.zeros((0, model.facts.model_width), np.float32), False)


def predict(model: Model, x: np.ndarray) -> np.ndarray:
    """Logits (position, vocabulary) of any layer's vectors (position, model).

    Raises ContentError for a model that cannot predict.
    """
    if not model.facts.predicts:
        raise ContentError(
            f"{model.facts.name} has no output matrix, so it predicts no token",
            "attn trace and attn heads show its attention",
        )
    with np.errstate(all="ignore"):
        return family.predict(model, x)


def trace(
    text: str | None = None,
    *,
    model: str | Model = vocabulary.DEFAULT_MODEL,
    ids: Sequence[int] = (),
    prompt: Prompt | None = None,
    layer: str | int | Iterable[int] = "all",
    head: str | int | Iterable[int] = "all",
    arrays: Iterable[str] = vocabulary.LIGHT_ARRAYS,
    mask: Sequence[str] = (),
    mask_value: float | None = None,
    attention_temperature: float = 1.0,
    without_head: Sequence[str] = (),
    without: Sequence[str] = (),
    next: bool = True,
    top: int = 5,
    ending: bool = False,
    special: bool = True,
    chat: bool = False,
) -> Trace:
    """Runs a prompt through a model and keeps what attention computed.

    The prompt is `text`, or token `ids`, or a `prompt` that is already tokenised; with `chat` the
    text is a user's turn in the model's chat format.
    `arrays` names the arrays of `vocabulary.ARRAYS` to keep (default: all but the projection
    matrices); `mask`, `without_head` and `without` take the words of the command line (`window:3`,
    `0.2`, `scale`). Without `next`, layers after the last chosen one are not computed; with
    `ending` the trace says how the prediction comes about. Raises UsageError and ContentError.
    """
    opened = load(model) if isinstance(model, str) else model
    facts, arrays = opened.facts, frozenset(arrays)
    if unknown := sorted(arrays - set(vocabulary.ARRAYS)):
        raise UsageError(f"no array {unknown[0]!r}", f"known: {', '.join(vocabulary.ARRAYS)}")
    prompt = prompt or tokenise(opened, text, ids=ids, special=special, chat=chat)
    layers = parse.selection(layer, facts.layers, "--layer")
    chosen = [Address(facts.stack, "self", number) for number in layers]
    settings = {
        "mask": list(mask),
        "mask_value": mask_value,
        "attention_temperature": float(attention_temperature),
        "without_head": list(without_head),
        "without": list(without),
    }
    request = Request(
        blocks=frozenset(chosen), heads={facts.stack: parse.selection(head, facts.heads, "--head")},
        arrays=arrays, whole=next and facts.predicts, what_if=what_if(opened, prompt, **settings),
    )  # fmt: skip
    _check_memory(len(prompt.tokens), request, facts)
    blocks, end = run(opened, prompt.ids, request)
    found = Trace(
        model=facts,
        prompt=prompt,
        settings={**settings, **prompt.settings, "ignore_config": list(opened.ignored)},
        attention=tuple(blocks[address] for address in chosen),
        next=(), notes=(), logits=np.zeros((0, facts.vocabulary), np.float32),
    )  # fmt: skip
    if request.whole:
        found = _with_prediction(opened, found, end, top, ending)
    return replace(found, notes=_notes(opened, found, request.what_if, end.touched))


def what_if(model: Model, prompt: Prompt, **settings: Any) -> WhatIf:
    """The what-if settings, under the names of `vocabulary.WHAT_IFS`, for this model and prompt.

    Raises UsageError, and ContentError for a mask file.
    """
    facts = model.facts
    return read_what_if(
        **settings, stack=facts.stack, layers=facts.layers, heads=facts.heads, tokens=prompt.given
    )


def idle_notes(
    model: Model, typed: Mapping[str, Any], changes: WhatIf, touched: bool
) -> tuple[Note, ...]:
    """Notes on what-if settings without effect; `touched`: they have changed what is shown."""
    idle = changes.idle_sinks(model.facts.windowed)
    notes = [note("note.no_window", mask=f"--mask {word}") for word in idle]
    words = [word for word in typed["mask"] if word not in idle]
    others = vocabulary.changes({**typed, "mask": words})
    if others and not touched:
        notes.append(note("note.no_effect", changes=" ".join(others)))
    return tuple(notes)


def _with_prediction(model: Model, found: Trace, end: End, top: int, told: bool) -> Trace:
    logits_PV = predict(model, end.x[-1:])
    prediction = Prediction(
        position=len(found.prompt.tokens) - 1,
        provenance=vocabulary.WHAT_IF if end.touched else vocabulary.REAL,
        candidates=rank(model, logits_PV[0], top),
    )
    ending = (_ending(model, end.x[-1:], logits_PV[0], prediction.candidates),) if told else ()
    return replace(found, next=(prediction,), logits=logits_PV, ending=ending)


@np.errstate(all="ignore")
def _ending(
    model: Model, x_PM: np.ndarray, logits_V: np.ndarray, candidates: Sequence[Candidate]
) -> Ending:
    weights, name = model.weights, model.facts.last_norm
    norm = weights.get(f"{name}.weight", NOTHING)
    if model.facts.norm_base and norm.size:
        norm = model.facts.norm_base + norm
    finite_V = logits_V[np.isfinite(logits_V)]
    top = float(finite_V.max()) if finite_V.size else float("nan")
    return Ending(
        x=x_PM[0],
        final=model.family.final(model, x_PM)[0],
        w_norm=norm,
        b_norm=bias_of(weights, name),
        vectors=weights.rows(family.output_matrix(model), [c.id for c in candidates]),
        top=top,
        total=float(np.exp(logits_V.astype(np.float64) - top).sum()),
        others=logits_V.size - len(candidates),
        share=max(0.0, 1 - sum(c.probability for c in candidates)),
    )


def rank(model: Model, logits_V: np.ndarray, top: int) -> tuple[Candidate, ...]:
    """The `top` likeliest tokens, the lowest id first among equals."""
    ids = likeliest(logits_V, top)
    probabilities = softmax(logits_V.astype(np.float64))
    return tuple(
        Candidate(
            rank=place,
            id=int(id),
            text=token_of(model, int(id)).text,
            logit=float(logits_V[id]),
            probability=float(probabilities[id]),
        )
        for place, id in enumerate(ids, 1)
    )


def likeliest(values_V: np.ndarray, count: int) -> np.ndarray:
    """The ids of the `count` largest values, largest first, the lowest id first among equals."""
    count = min(count, values_V.size)
    comparable = np.where(np.isnan(values_V), -np.inf, values_V)
    threshold = np.partition(comparable, -count)[-count]
    ids = np.flatnonzero(comparable >= threshold)
    return ids[np.argsort(-comparable[ids], kind="stable")][:count]


def _check_memory(tokens: int, request: Request, facts: Facts) -> None:
    """Refuses a prompt whose attention arrays cannot fit, before anything is allocated."""
    kept = sum("key" in vocabulary.ARRAYS[name].axes for name in request.arrays)
    cells = tokens * tokens * facts.heads
    need = 4 * cells * (5 + kept * len(request.blocks))
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if need > have:
        raise ContentError(
            f"{tokens:,} tokens need {need / 2**30:.1f} GiB for the attention of "
            f"{len(request.blocks)} layers, this machine has {have / 2**30:.1f} GiB",
            "choose one --layer, or a shorter prompt",
        )


def model_notes(model: Model) -> tuple[Note, ...]:
    """Notes on a model however it is used: its config, its tensors, its tokenizer."""
    notes = [note("note.ignored", key=key) for key in model.ignored]
    if model.unknown:
        notes.append(note("note.keys", keys=some(model.unknown)))
    if model.left_aside:
        notes.append(note("note.aside", tensors=some(model.left_aside)))
    if not model.facts.predicts:
        notes.append(note("note.no_output", model=model.facts.name))
    for copy, original in model.untrue_copies:
        notes.append(note("note.untied", copy=copy, original=original))
    if model.tokenizer.problem:
        notes.append(note("note.no_tokenizer", problem=model.tokenizer.problem))
    return tuple(notes)


def prompt_notes(model: Model, prompt: Prompt) -> tuple[Note, ...]:
    """The model's notes, on the chat format, and on what the tokenizer could not represent."""
    notes = list(model_notes(model))
    if prompt.chat:
        notes.append(note("note.chat", format=prompt.chat))
    if not prompt.has_text:
        return tuple(notes)
    older = _older_ids(model, prompt)
    if older != prompt.ids:
        notes.append(note("note.older", ids=some(older, 12)))
    unknown = [
        prompt.text[slice(*token.span)]
        for token in prompt.tokens
        if token.id == model.tokenizer.unknown
    ]
    spelt = _spelt(prompt)
    case = "" if "".join(spelt).islower() else note("note.case")
    for key, words in (("note.unknown", unknown), ("note.letters", spelt)):
        if words:
            found = some(dict.fromkeys(words))
            notes.append(note(key, words=found, model=model.facts.name, case=case))
    return tuple(notes)


def _spelt(prompt: Prompt) -> list[str]:
    """The words of the prompt that are cut into tokens of less than two letters on average."""
    owner = {at: i for i, token in enumerate(prompt.tokens) for at in range(*token.span)}
    found = []
    for word in re.finditer(r"[^\W\d_]{2,}", prompt.text):
        pieces = len({owner.get(at) for at in range(*word.span())})
        # Scripts without capitals (Chinese, say) have one token to a character anyway.
        if len(word[0]) < 2 * pieces and pieces > 1 and word[0].lower() != word[0].upper():
            found.append(word[0])
    return found


def _older_ids(model: Model, prompt: Prompt) -> tuple[int, ...]:
    """The prompt's ids as older versions of the reference library give them, as far as is known."""
    older = model.tokenizer.older
    if older is None or not prompt.has_text or prompt.chat:
        return prompt.ids
    try:
        return tuple(token.id for token in older.encode(prompt.text, special=prompt.special))
    except ContentError:
        return prompt.ids


def _notes(model: Model, found: Trace, changes: WhatIf, touched: bool) -> tuple[Note, ...]:
    of_blocks = (remark for block in found.attention for remark in _block_notes(block))
    bad = int(found.logits.size - np.isfinite(found.logits).sum())
    of_logits = (note("note.logits", count=bad),) if bad else ()
    touched = touched or any(block.what_if for block in found.attention)
    idle = idle_notes(model, found.settings, changes, touched)
    return (*prompt_notes(model, found.prompt), *of_blocks, *of_logits, *idle)


def _block_notes(block: Attention) -> Iterator[Note]:
    visible = block.arrays.get("visible")
    if visible is not None and not visible.any(axis=1).all():
        rows = np.flatnonzero(~visible.any(axis=1)).tolist()
        yield note("note.hidden_row", layer=block.layer, rows=some(rows, 8))
    for name, array in block.arrays.items():
        count = nonfinite(name, array)
        if count:
            yield note("note.nonfinite", layer=block.layer, name=name, count=count)
