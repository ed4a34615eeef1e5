"""What a result says beside its numbers: of model and prompt, of settings and arrays."""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import Any

import numpy as np

from attn_cli import vocabulary
from attn_cli.errors import ContentError, shorten
from attn_cli.model.family import Model
from attn_cli.model.nonfinite import found_in
from attn_cli.model.what_if import Changes
from attn_cli.reading import token_of
from attn_cli.records import Address, Attention, Facts, Prompt, Trace, nonfinite
from attn_cli.words import Note, few, grouped, note

_WORD = re.compile(r"[^\W\d_]{2,}")
TENSOR, LAYER = "note.tensor", "note.layer"
# Notes of numbers that are NaN or infinite, each with its count, and what it is of; a tensor of the
# file and an array have a name of their own.
NONFINITE = {
    TENSOR: "", LAYER: "vectors", "note.nonfinite": "", "note.logits": "logits",
    "note.numbers": "result",
}  # fmt: skip
_TENSORS = 8  # that are named
# The note of what a decoder writes, which a page has a place for.
WRITTEN = "note.written"
# What a decoder reads that nobody was asked about.
NO_TARGET = "note.no_target"


def shape_notes(model: Model) -> tuple[Note, ...]:
    """Notes on a model's config and tensors."""
    notes = [note("note.ignored", key=key) for key in model.ignored]
    if model.facts.quantised:
        rounds = "note.rounds" if model.facts.rounds_inputs else "note.quantised"
        key = "note.unpacked" if model.facts.unpacked else rounds
        notes.append(note(key, how=model.facts.quantised))
    if model.unknown:
        notes.append(note("note.keys", keys=few(model.unknown)))
    if model.unread[0]:
        tensors = grouped(model.unread[0], "note.tensors_one", "note.tensors_many")
        numbers = f"{model.unread[1]:,}"
        notes.append(note("note.text", tensors=tensors, parameters=numbers))
    if model.left_aside:
        notes.append(note("note.aside", tensors=few(model.left_aside)))
    if not model.facts.predicts:
        notes.append(note("note.no_output", model=model.facts.name))
    for copy, original in model.untrue_copies:
        notes.append(note("note.untied", copy=copy, original=original))
    return tuple(notes)


def model_notes(model: Model) -> tuple[Note, ...]:
    """Notes on a model however it is used: its config, its tensors, its tokenizer."""
    problem = model.tokenizer.problem
    return (
        *shape_notes(model),
        *([note("note.no_tokenizer", problem=problem)] if problem else []),
        *_tensor_notes(model),
    )


def _tensor_notes(model: Model) -> Iterator[Note]:
    """Which tensors hold numbers that are not finite, as far as that was looked at."""
    found = found_in(model.weights)
    for name in list(found)[:_TENSORS]:
        numbers = prod(model.weights.tensors[name].shape)
        yield note(TENSOR, name=shorten(name), count=found[name], all=numbers)
    if len(found) > _TENSORS:
        yield note("note.more_tensors", count=len(found) - _TENSORS)


def _layer_notes(model: Model, prompt: Prompt) -> Iterator[Note]:
    """Which layer was the first that gave vectors that are not finite."""
    passed = model.weights.nonfinite.passes.get(prompt.last.ids)
    if passed:
        where = place(model.facts, Address(passed.stack, "self", passed.layer))
        numbers = passed.tokens * model.facts.model_width
        yield note(LAYER, where=where, count=passed.nonfinite, all=numbers)


def prompt_notes(model: Model, prompt: Prompt, added: int = 0) -> tuple[Note, ...]:
    """The model's notes, on the chat format, and on what the tokenizer could not represent.

    The stack that predicts reads `added` tokens more.
    """
    notes = [*model_notes(model), *_layer_notes(model, prompt)]
    notes += _context_notes(model, prompt, added)
    if prompt.target and prompt.target.has_text and len(prompt.target.tokens) == 1:
        start = prompt.target.tokens[0].text
        notes.append(note(NO_TARGET, start=start))
    return (*notes, *text_notes(model, prompt))


def text_notes(model: Model, prompt: Prompt) -> tuple[Note, ...]:
    """Notes on how the tokenizer read a text."""
    notes = [note("note.chat", format=prompt.chat)] if prompt.chat else []
    if not prompt.has_text:
        return tuple(notes)
    older = _older_ids(model, prompt)
    if older != prompt.ids:
        notes.append(note("note.older", ids=few(older, 12)))
    unknown = [
        (read.text + read.pair)[slice(*token.span)]
        for read in (prompt, prompt.target) if read
        for token in read.tokens
        if token.id == model.tokenizer.unknown
    ]  # fmt: skip
    spelt = _spelt(prompt)
    case = "" if "".join(spelt).islower() else note("note.case")
    named = token_of(model, model.tokenizer.unknown).text
    for key, words in (("note.unknown", unknown), ("note.letters", spelt)):
        if words:
            found = few(dict.fromkeys(words))
            more = {"unknown": named} if key == "note.unknown" else {"case": case}
            notes.append(note(key, words=found, model=model.facts.name, **more))
    return tuple(notes)


def _context_notes(model: Model, prompt: Prompt, added: int) -> tuple[Note, ...]:
    """What `--force-context` does here."""
    if not prompt.forced:
        return ()
    name, context = model.facts.name, model.facts.context
    count = max(len(prompt.tokens), len(prompt.last.tokens) + added)
    if not 0 < context < count:
        return (note("note.within", model=name),)
    more = f"{count - context:,}"
    tokens = grouped(count, "page.tokens_one", "page.tokens_many")
    return (note("note.beyond", tokens=tokens, more=more, model=name),)


def _spelt(prompt: Prompt) -> list[str]:
    """The words of the prompt that are cut into tokens of less than two letters on average."""
    starts = sorted({begin for begin, end in (t.span for t in prompt.tokens) if begin < end})
    found = []
    start = len(prompt.text)
    words = [(word[0], word.start()) for word in _WORD.finditer(prompt.text)]
    words += [(word[0], start + word.start()) for word in _WORD.finditer(prompt.pair)]
    for word, begin in words:
        first, after = (bisect_left(starts, at) for at in (begin, begin + len(word)))
        pieces = after - first + (starts[first : first + 1] != [begin])
        # Scripts without capitals (Chinese, say) have one token to a character anyway.
        if len(word) < 2 * pieces and pieces > 1 and word.lower() != word.upper():
            found.append(word)
    return found


def _older_ids(model: Model, prompt: Prompt) -> tuple[int, ...]:
    """The prompt's ids as older versions of the reference library give them, as far as is known."""
    older = model.tokenizer.older
    if older is None or not prompt.has_text or prompt.chat or prompt.types:
        return prompt.ids
    try:
        return tuple(token.id for token in older.encode(prompt.text, special=prompt.special))
    except ContentError:
        return prompt.ids


def trace_notes(
    model: Model, found: Trace, of_blocks: Iterable[Note], changes: Changes, *, touched: bool
) -> tuple[Note, ...]:
    """All notes on a trace but for its prediction; `touched`: a what-if has changed something."""
    idle = _idle_notes(model, found.settings, changes, touched)
    return (*prompt_notes(model, found.prompt), *of_blocks, *idle)


def logit_notes(logits: np.ndarray) -> tuple[Note, ...]:
    """Whether a prediction can be trusted."""
    bad = int(logits.size - np.isfinite(logits).sum())
    return (note("note.logits", count=bad),) if bad else ()


def no_mask_notes(model: Model) -> tuple[Note, ...]:
    """Why a model that fills mask tokens predicts nothing."""
    if model.tokenizer.mask < 0:
        return (note("note.no_mask_known", model=model.facts.name),)
    return (note("note.no_mask_token", mask=token_of(model, model.tokenizer.mask).text),)


def place(facts: Facts, block: Address | Attention) -> Note:
    """The layer of a block, and of which attention where a model has several."""
    kind = f"_{block.stack}_{block.kind}" if facts.encoder else ""
    return note(f"page.layer{kind}", layer=block.layer)


def writer(kind: str, layer: int, head: int) -> Note:
    """Who wrote a part of a vector (see `analysis.parts.Writer`)."""
    key = "norm_first" if kind == "norm" and layer < 0 else kind
    return note(f"writer.{key}", layer=layer, head=head)


def block_notes(facts: Facts, block: Attention) -> Iterator[Note]:
    """Notes on one block: queries that see no key, numbers that are none."""
    where = place(facts, block)
    if block.blind:
        key = "note.hidden_row_sink" if facts.sinks else "note.hidden_row"
        yield note(key, where=where, rows=few(block.blind, 8))
    for name, array in block.arrays.kept.items():
        count = nonfinite(name, array)
        if count:
            yield note("note.nonfinite", where=where, name=name, count=count)


def run_notes(
    model: Model,
    prompt: Prompt,
    typed: Mapping[str, Any],
    changes: Changes,
    provenance: str,
    *,
    added: int = 0,
    numbers: Iterable[float] = (),
) -> tuple[Note, ...]:
    """All notes on a run whose arrays nobody keeps.

    `provenance` is that of its result; of its `numbers` those that are not finite are counted.
    """
    touched = provenance == vocabulary.WHAT_IF
    notes = prompt_notes(model, prompt, added) + _idle_notes(model, typed, changes, touched)
    told = np.fromiter(numbers, np.float64)
    bad = told.size - int(np.isfinite(told).sum())
    return (*notes, note("note.numbers", count=bad, all=told.size)) if bad else notes


def _idle_notes(
    model: Model, typed: Mapping[str, Any], changes: Changes, touched: bool
) -> tuple[Note, ...]:
    """Notes on what-if settings without effect; `touched`: they have changed what is shown."""
    windowed = model.facts.windowed
    idle = dict.fromkeys(word for one in changes.each for word in one.idle_sinks(windowed))
    notes = [note("note.no_window", mask=f"--mask {word}") for word in idle]
    words = [word for word in typed["mask"] if word not in idle]
    others = vocabulary.changes({**typed, "mask": words})
    if others and not touched:
        notes.append(note("note.no_effect", changes=" ".join(others)))
    return tuple(notes)
