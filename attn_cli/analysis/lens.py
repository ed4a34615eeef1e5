"""What each layer would predict, and what each part of the model adds to a token's logit.

The logit lens (nostalgebraist 2020): the vector after a layer goes through the last norm and the
output matrix, as if no layer followed. Axes, as suffixes: R row (the embedding, then every layer),
P position (those chosen), M model, V vocabulary, W writer.
"""

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from attn_cli import candidates, room, session, vocabulary
from attn_cli.analysis import parts
from attn_cli.analysis.readout import readout, refusal
from attn_cli.errors import ContentError, UsageError, shorten
from attn_cli.maths.layers import soft_cap
from attn_cli.model.cache import End
from attn_cli.model.family import Model
from attn_cli.model.stack import Request
from attn_cli.model.what_if import UNCHANGED, Changes
from attn_cli.notes import no_mask_notes
from attn_cli.reading import looked_up, typed_id
from attn_cli.records import Candidate, Passed, Prompt
from attn_cli.words import Note, note

_LOGITS = 1 << 24  # numbers of one product
_NONE = float("nan")
_ID = re.compile(r"([0-9]+)|<([0-9]+)>", re.ASCII)
_SUMMED = ("embedding", "attention", "cross", "mlp", "biases")
_OF_LAYER = ("attention", "cross", "mlp")
# What each kind of writer counts as in the sum of a logit.
_ADDENDS = {
    **dict.fromkeys(("token", "position", "type", "embedding"), "embedding"),
    **dict.fromkeys(("head", "bias", "attention"), "attention"),
    **dict.fromkeys(("cross_head", "cross_bias", "cross"), "cross"),
    **dict.fromkeys(("mlp", "convolution"), "mlp"),
    **dict.fromkeys(("norm", "final_norm", "output"), "biases"),
}


class LensRow(NamedTuple):
    """What is predicted after a layer; -1: from what enters the first.

    `watched` is the watched token with its rank, logit and probability here. What `attention`,
    `cross`-attention and `mlp`, the feed-forward network, of this layer add to its last logit is
    NaN where there is no such part, or where logits are no sum over parts.
    """

    layer: int
    candidates: tuple[Candidate, ...]
    watched: Candidate
    attention: float
    cross: float
    mlp: float


class Part(NamedTuple):
    """What one writer (see `parts.Writer`) adds to the last logit of the watched token."""

    kind: str
    layer: int
    head: int
    name: str
    logit: float


class LogitSum(NamedTuple):
    """What the last logit is the sum of, NaN where it is none; `biases` are those of norms and of
    the logit. `total` is the sum, before a soft cap; `error` how far the logit is from it.
    """

    embedding: float
    attention: float
    cross: float
    mlp: float
    biases: float
    total: float
    error: float


class LensPosition(NamedTuple):
    """One position: a row for the embedding and for every layer, and what its last logit is made
    of: the sum and, where they were asked for, all `parts`."""

    position: int
    token: str
    rows: tuple[LensRow, ...]
    sum: LogitSum
    parts: tuple[Part, ...]


class Lens(NamedTuple):
    """The lens at chosen positions of the stack that predicts."""

    provenance: str
    positions: tuple[LensPosition, ...]


def lens(
    model: Model,
    prompt: Prompt,
    positions: Sequence[int] = (),
    changes: Changes = UNCHANGED,
    *,
    watch: int = -1,
    top: int = 5,
    per_head: bool = False,
    max_memory: int = 0,
) -> Lens:
    """What each layer predicts at some positions (see `chosen`) of a tokenised prompt.

    `watch` is the id of the token to watch; without one it is the predicted token of each position.
    With `per_head` there is a part for each head. Raises UsageError and ContentError.
    """
    steps = lens_steps(
        model, prompt, chosen(model, prompt, positions), changes, max_memory, watch=watch, top=top,
        per_head=per_head,
    )  # fmt: skip
    return session.finished(steps)


def chosen(model: Model, prompt: Prompt, positions: Sequence[int]) -> tuple[int, ...]:
    """The positions asked for; without any those that are predicted: the last one, or each mask.

    Raises UsageError where there is none, ContentError for a model that predicts nothing.
    """
    session.check_predicts(model.facts)
    found = tuple(positions) or session.predicted(model, prompt)
    if not found:
        said = no_mask_notes(model)[0]
        hint = "mask the token to be predicted, or name a position: --query 0"
        raise UsageError(str(said), hint)
    return found


def lens_steps(
    model: Model,
    prompt: Prompt,
    positions: tuple[int, ...],
    changes: Changes,
    max_memory: int,
    *,
    watch: int,
    top: int,
    per_head: bool,
) -> Generator[Passed, None, Lens]:
    """`lens`, which yields each layer that is done."""
    facts = model.facts
    if per_head and (refused := refusal(model)):
        raise ContentError(refused, "attn lens without --per-head shows what each layer predicts")
    if per_head and len(positions) > 1:
        few = ", ".join(map(str, positions[:8])) + ", …" * (len(positions) > 8)
        raise UsageError(
            f"--per-head shows one position, and these are {len(positions)}: {few}",
            f"choose one: --query {positions[-1]}",
        )
    request = parts.request_for(
        facts, prompt, facts.stack, positions, range(facts.layers), changes, by_head=per_head
    )
    rows = min(_at_once(model), len(positions) * (facts.layers + 1))
    room.check(model, prompt, request, max_memory, logits=rows)
    x_RPM, stream, end = yield from _passed(model, prompt, request)
    ranked = _ranked(model, x_RPM, top, watch)
    ids = [of_rows[-1][1].id for of_rows in ranked]
    added = _added(model, stream.parts(x_RPM[-1]), ids) if stream else [{}] * len(ids)
    found = zip(positions, ranked, added, strict=True)
    return Lens(
        vocabulary.WHAT_IF if end.touched else vocabulary.DERIVED,
        tuple(_position(model, prompt, *each, per_head=per_head) for each in found),
    )


def _passed(
    model: Model, prompt: Prompt, request: Request
) -> Generator[Passed, None, tuple[np.ndarray, parts.Stream | None, End]]:
    """What enters the first layer and leaves each, and, where logits are sums, the parts of it."""
    steps = parts.split(
        model.facts, session.records(model, prompt.last.ids, request), model.facts.stack
    )
    rows, stream = [], None if refusal(model) else parts.Stream()

    def take(layer: parts.Layer) -> None:
        rows.extend([layer.leaving_PM] if rows else [layer.entering_PM, layer.leaving_PM])
        if stream:
            stream.take(*layer.embedding, *layer.moves)

    end = yield from session.taking(steps, take)
    return np.stack(rows), stream, end


Ranked = tuple[tuple[Candidate, ...], Candidate]


def _ranked(model: Model, x_RPM: np.ndarray, top: int, watch: int) -> list[list[Ranked]]:
    """The likeliest tokens and the watched one, position by position, in each row."""
    *_, count, width = x_RPM.shape
    also = () if watch < 0 else (watch,)
    # The last row as every command has it, to the digit; the others together.
    last = [candidates.rank(model, logits, top, also) for logits in _logits(model, x_RPM[-1])]
    ids = [ranked[0].id if watch < 0 else watch for ranked in last]
    found: list[list[Ranked]] = [[] for _ in ids]
    for place, logits_V in enumerate(_logits(model, x_RPM[:-1].reshape(-1, width))):
        id = ids[place % count]
        ranked = candidates.rank(model, logits_V, top, (id,))
        found[place % count].append(_apart(ranked, id, top))
    for of_rows, ranked, id in zip(found, last, ids, strict=True):
        of_rows.append(_apart(ranked, id, top))
    return found


def _logits(model: Model, x_PM: np.ndarray) -> Iterator[np.ndarray]:
    """The logits (vocabulary) of each vector; of many vectors some at a time are there."""
    for start in range(0, len(x_PM), _at_once(model)):
        yield from session.predict(model, x_PM[start : start + _at_once(model)])


def _at_once(model: Model) -> int:
    """How many vectors become logits together."""
    return max(1, _LOGITS // model.facts.vocabulary)


def _apart(ranked: tuple[Candidate, ...], id: int, top: int) -> Ranked:
    """The likeliest tokens, and one of these or a further one."""
    return ranked[:top], next(candidate for candidate in ranked if candidate.id == id)


def _added(model: Model, split: parts.Parts, ids: Sequence[int]) -> list[dict[parts.Writer, float]]:
    """What each writer adds to the logit of one token, position by position."""
    way = readout(model, split.x, ids)
    each_WP = np.concatenate([way.of(split.values), way.constants_WP])
    writers = (*split.writers, *way.writers)
    return [dict(zip(writers, of_writers, strict=True)) for of_writers in each_WP.T.tolist()]


def _position(
    model: Model,
    prompt: Prompt,
    position: int,
    ranked: Sequence[Ranked],
    added: Mapping[parts.Writer, float],
    *,
    per_head: bool,
) -> LensPosition:
    def total(name: str, layer: int | None = None) -> float:
        """What the writers of a name add, of one layer or of all; NaN where there are none."""
        found = [
            logit
            for writer, logit in added.items()
            if _ADDENDS[writer.kind] == name and layer in (None, writer.layer)
        ]
        return sum(found) if found else _NONE

    rows = tuple(
        LensRow(layer, likeliest, watched, *(total(name, layer) for name in _OF_LAYER))
        for layer, (likeliest, watched) in enumerate(ranked, -1)
    )
    whole = sum(added.values()) if added else _NONE
    cap, logit = model.facts.logit_cap, rows[-1].watched.logit
    capped = float(soft_cap(np.float64(whole), cap)) if cap else whole
    each = added.items() if per_head else ()
    return LensPosition(
        position=position,
        token=prompt.last.tokens[position].text,
        rows=rows,
        sum=LogitSum(*(total(name) for name in _SUMMED), whole, abs(capped - logit)),
        parts=tuple(Part(*writer, writer.label, logit) for writer, logit in each),
    )


# --- the watched token ---------------------------------------------------------------------------


def watched(
    model: Model, prompt: Prompt, typed: str, option: str = "--watch"
) -> tuple[int, tuple[Note, ...]]:
    """The id of the token that `--watch`, or another option, names, and what is to be said of it.

    It is a word of the vocabulary, as it would go on after the prompt or as it is typed, or an id,
    `<5>` where the number is a word too. Of a word of several tokens it is the last. Raises
    UsageError for what the model has no token for.
    """
    number = _ID.fullmatch(typed)
    if number and (number[2] or model.tokenizer.problem):
        return typed_id(model, number[2] or number[1], option), ()
    forms = [" " + typed, typed]
    if typed[:1].isspace() or prompt.last.text[-1:].isspace():
        forms = [typed]
    spelt = looked_up(model, forms) if typed.strip() else []
    alone = [tokens[0] for tokens in spelt if len(tokens) == 1]
    if number and not alone:
        return typed_id(model, number[1], option), ()
    if not spelt:
        raise UsageError(
            f"{option} {shorten(typed)!r}: {model.facts.name} has no token for it",
            f"a word of its vocabulary, or an id: {option} '<5>'",
        )
    if alone:
        id, other = alone[0].id, alone[-1]
        words = {"word": repr(shorten(typed)), "read": repr(alone[0].text), "id": other.id}
        return id, () if other.id == id else (note("lens.spaced", option=option, **words),)
    tokens = min(spelt, key=len)
    names = {"first": repr(tokens[0].text), "last": repr(tokens[-1].text)}
    return tokens[-1].id, (
        note("lens.pieces", option=option, word=repr(shorten(typed)), count=len(tokens), **names),
    )


def told(found: Lens) -> Iterator[float]:
    """Logit and probability of every token that is told."""
    for row in (row for one in found.positions for row in one.rows):
        for one in (row.watched, *row.candidates):
            yield from (one.logit, one.probability)


def remarks(model: Model, found: Lens) -> tuple[Note, ...]:
    """Why logits are no sum over parts, and where they are no numbers."""
    refused = refusal(model)
    said = [note("lens.no_sum", reason=refused)] if refused else []
    broken = sum(not np.isfinite(one.rows[-1].watched.logit) for one in found.positions)
    if broken:
        said.append(note("lens.nan", broken=broken, count=len(found.positions)))
    return tuple(said)
