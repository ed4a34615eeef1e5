"""Temperature and filters: how logits become the token that is drawn."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import numpy as np

from attn_cli import candidates, room, session, vocabulary
from attn_cli.errors import ContentError, some
from attn_cli.maths.attention import softmax
from attn_cli.model.cache import Cache, Ids
from attn_cli.model.family import Model, in_memory
from attn_cli.model.nonfinite import found_in
from attn_cli.model.what_if import UNCHANGED, Changes
from attn_cli.reading import token_of
from attn_cli.records import Candidate, Passed, Prompt
from attn_cli.words import Note, note


class Sampling(NamedTuple):
    """How to draw. Filters act in the order of the fields; top_k 0, top_p 1, min_p 0 are off."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def filters(self) -> tuple[str, ...]:
        """The names of the filters that act, in order."""
        on = {"top_k": self.top_k > 0, "top_p": self.top_p < 1, "min_p": self.min_p > 0}
        return ("temperature", *(name for name, used in on.items() if used))


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCandidate(Candidate):
    """A possible next token; `after` holds its probability after each filter in order."""

    after: tuple[float, ...]


class Others(NamedTuple):
    """Every token that is no candidate, together: how many, and as in `SampleCandidate`."""

    count: int
    probability: float
    after: tuple[float, ...]


class Change(NamedTuple):
    """The probability of one token before and after temperature."""

    id: int
    text: str
    before: float
    after: float


class Shift(NamedTuple):
    """What temperature moves, over the whole vocabulary: how much of the probability in all, and
    which token `loses` and which `gains` most."""

    moved: float
    loses: Change
    gains: Change


class Drawn(NamedTuple):
    """A token that was drawn to stand at `position`, and the probability it was drawn with."""

    position: int
    id: int
    text: str
    probability: float


class Count(NamedTuple):
    """How often a token was drawn, beside the share expected."""

    id: int
    text: str
    expected: float
    count: int
    observed: float


class OtherCounts(NamedTuple):
    """The tokens that could be drawn and are not listed, together; `tokens` is how many."""

    tokens: int
    expected: float
    count: int
    observed: float


class Heat(NamedTuple):
    """One column of a sweep: the probabilities of the candidates at one temperature."""

    temperature: float
    probabilities: tuple[float, ...]


class Sample(NamedTuple):
    """`kept` counts the tokens left after all filters; `text` is what the drawn tokens spell."""

    provenance: str
    filters: tuple[str, ...]
    candidates: tuple[SampleCandidate, ...]
    others: Others
    shift: Shift
    kept: int
    drawn: tuple[Drawn, ...]
    text: str
    counts: tuple[Count, ...]
    other_counts: OtherCounts
    sweep: tuple[Heat, ...]


def sample(
    model: Model,
    prompt: Prompt,
    sampling: Sampling,
    *,
    seed: int,
    max_tokens: int = 1,
    draws: int = 0,
    sweep: Sequence[float] = (),
    top: int = 10,
    changes: Changes = UNCHANGED,
    max_memory: int = 0,
) -> Sample:
    """Ranks the candidates for the next token, filters them, and draws.

    Draws `max_tokens` tokens one after the other, until the end token or the context is full; or,
    with `draws`, that many times the first. What-if settings change every pass. Raises
    ContentError, also for what needs more than `max_memory` (see `session.trace`).
    """
    more = {"seed": seed, "max_tokens": max_tokens, "draws": draws, "sweep": sweep, "top": top}
    return session.finished(sample_steps(model, prompt, sampling, changes, max_memory, **more))


def sample_steps(
    model: Model,
    prompt: Prompt,
    sampling: Sampling,
    changes: Changes,
    max_memory: int,
    *,
    seed: int,
    max_tokens: int,
    draws: int,
    sweep: Sequence[float],
    top: int,
) -> Generator[Passed, None, Sample]:
    """`sample`, which yields each layer of each pass that is done."""
    session.check_writes(model.facts, "sampling")
    kept = in_memory(model) if max_tokens > 1 else model
    reader = _Reader(kept, prompt, changes, max_tokens, max_memory)
    logits_V = yield from reader.next(prompt.last.ids)
    stages = list(stages_of(logits_V, sampling))
    before = softmax(logits_V.astype(np.float64))
    ranked = candidates.rank(model, logits_V, top)
    ids = [candidate.id for candidate in ranked]
    rng = np.random.default_rng(seed)
    counts, other_counts = _counts(model, logits_V, stages[-1], draws, top, rng)
    asked = 0 if draws else max_tokens
    drawn = yield from _generate(reader, prompt, sampling, asked, rng, logits_V)
    return Sample(
        provenance=vocabulary.WHAT_IF if reader.touched else vocabulary.DERIVED,
        filters=sampling.filters(),
        candidates=tuple(
            SampleCandidate(**asdict(c), after=tuple(float(stage[c.id]) for stage in stages))
            for c in ranked
        ),
        others=Others(
            logits_V.size - len(ids), _rest(before, ids), tuple(_rest(s, ids) for s in stages)
        ),
        shift=_shift(model, before, stages[0]),
        kept=int(np.count_nonzero(stages[-1])),
        drawn=drawn,
        text=model.tokenizer.decode(token.id for token in drawn),
        counts=counts,
        other_counts=other_counts,
        sweep=tuple(_heat(logits_V, ids, warmth) for warmth in sweep),
    )


def _rest(probabilities_V: np.ndarray, ids: Sequence[int]) -> float:
    """What all but these have together."""
    return float(np.delete(probabilities_V, ids).sum())


def _shift(model: Model, before_V: np.ndarray, after_V: np.ndarray) -> Shift:
    change_V = after_V - before_V

    def of(id: int) -> Change:
        return Change(id, token_of(model, id).text, float(before_V[id]), float(after_V[id]))

    moved = float(np.abs(change_V).sum() / 2)
    return Shift(moved, of(int(change_V.argmin())), of(int(change_V.argmax())))


class _Reader:
    """A model that reads a text piece by piece; `touched`: a what-if has changed a pass."""

    def __init__(
        self, model: Model, prompt: Prompt, changes: Changes, most: int, max_memory: int
    ) -> None:
        """It will read at most so many tokens after the prompt. Raises ContentError."""
        self.model, self.touched = model, False
        self._request = session.request_for(prompt, what_if=changes)
        context, read = _context(model, prompt), len(prompt.last.tokens)
        added = min(most, max(0, context - read)) if context else most
        cached = room.of_cache(model.facts)
        room.check(model, prompt, self._request, max_memory, added=added, per_token=cached)
        self._cache, self._ids = Cache(), ()

    def next(self, ids: Ids) -> Generator[Passed, None, np.ndarray]:
        """Logits (vocabulary) for the token after these, which follow those read before."""
        cache = self._cache
        if self._request.what_if.looks_ahead:
            ids, cache = self._ids + ids, None
            self._ids = ids
        _, end = yield from session.running(self.model, ids, self._request, cache)
        self.touched = self.touched or end.touched
        logits_V = session.predict(self.model, end.x[-1:])[0]
        _check(logits_V, self.model)
        return logits_V


def _check(logits_V: np.ndarray, model: Model) -> None:
    """Raises ContentError where the logits leave nothing to draw from."""
    if np.isnan(logits_V).any() or np.isposinf(logits_V).any() or np.isneginf(logits_V).all():
        known = found_in(model.weights)
        where = f" ({some(known)} hold{'s' * (len(known) == 1)} such numbers)"
        raise ContentError(
            f"the logits hold NaN or infinity{where if known else ''}: nothing can be drawn",
            "attn trace counts what is not finite, step by step",
        )


def continued(
    model: Model, prompt: Prompt, max_tokens: int, changes: Changes = UNCHANGED, max_memory: int = 0
) -> Prompt:
    """The prompt with what the model adds to it, always the likeliest token.

    It stops at an end token, and where the context is full. Raises ContentError.
    """
    return session.finished(continued_steps(model, prompt, max_tokens, changes, max_memory))


def continued_steps(
    model: Model, prompt: Prompt, max_tokens: int, changes: Changes, max_memory: int
) -> Generator[Passed, None, Prompt]:
    """`continued`, which yields each layer of each pass that is done."""
    read = prompt.last
    context = _context(model, prompt)
    left = context - len(read.tokens) if context else max_tokens
    if left <= 0:
        return prompt
    max_tokens = min(max_tokens, left)
    greedy = Sampling(temperature=0)
    reader = _Reader(in_memory(model), prompt, changes, max_tokens, max_memory)
    rng = np.random.default_rng(0)  # nothing is left to chance at temperature 0
    logits_V = yield from reader.next(read.ids)
    drawn = yield from _generate(reader, prompt, greedy, max_tokens, rng, logits_V)
    tokens = (token_of(model, token.id) for token in drawn)
    # What ends the answer to a chat is special, as in the prompt.
    added = tuple(replace(t, special=t.special or t.id in prompt.ends) for t in tokens)
    text = read.text + model.tokenizer.decode(token.id for token in drawn)
    return prompt.with_last(replace(read, text=text, tokens=read.tokens + added, added=len(added)))


def _context(model: Model, prompt: Prompt) -> int:
    """How many tokens the stack that predicts may read; 0 is any number."""
    return 0 if prompt.forced and model.facts.reads_on else model.facts.context


def _ends(model: Model, prompt: Prompt) -> tuple[int, ...]:
    return (*model.end_tokens, *prompt.ends)


def stop_note(model: Model, prompt: Prompt, after: Sequence[int], asked: int) -> tuple[Note, ...]:
    """Why fewer tokens came than were asked for; nothing if all did. `after` are their ids."""
    if len(after) >= asked:
        return ()
    if after and after[-1] in _ends(model, prompt):
        return (note("note.ended", count=len(after), asked=asked),)
    context = _context(model, prompt)
    return (note("note.full", count=len(after), asked=asked, context=context),)


def stages_of(logits_V: np.ndarray, sampling: Sampling) -> Iterator[np.ndarray]:
    """The probabilities after temperature and after each filter that acts, in float64.

    Temperature 0 takes the likeliest token, the lowest id on a tie. Filters rank by the logits,
    which no temperature rounds to ties.
    """
    if sampling.temperature == 0:
        probabilities = np.zeros(logits_V.size)
        probabilities[candidates.likeliest(logits_V, 1)] = 1
    else:
        probabilities = softmax(logits_V.astype(np.float64), sampling.temperature)
    yield probabilities
    # The logits rank: a temperature can make probabilities equal, and never reorders them.
    if sampling.top_k > 0:
        probabilities = _keep(probabilities, candidates.likeliest(logits_V, sampling.top_k))
        yield probabilities
    if sampling.top_p < 1:
        probabilities = _keep(probabilities, nucleus(logits_V, probabilities, sampling.top_p))
        yield probabilities
    if sampling.min_p > 0:
        least = sampling.min_p * probabilities.max()
        probabilities = _keep(probabilities, np.flatnonzero(probabilities >= least))
        yield probabilities


def nucleus(logits_V: np.ndarray, probabilities_V: np.ndarray, share: float) -> np.ndarray:
    """The fewest likeliest ids that reach `share` together, at least one. Holtzman et al. 2020."""
    order = candidates.likeliest(logits_V, logits_V.size)
    before = np.cumsum(probabilities_V[order]) - probabilities_V[order]
    return order[(before < share) | (np.arange(order.size) == 0)]


def _keep(probabilities: np.ndarray, ids: np.ndarray) -> np.ndarray:
    kept = np.zeros_like(probabilities)
    kept[ids] = probabilities[ids]
    return kept / kept.sum()


def draw(probabilities_V: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Ids by the inverse of the cumulative distribution; never one of probability 0."""
    cumulative = np.cumsum(probabilities_V)
    return np.searchsorted(cumulative, rng.random(count) * cumulative[-1], side="right")


def _generate(
    reader: _Reader,
    prompt: Prompt,
    sampling: Sampling,
    max_tokens: int,
    rng: np.random.Generator,
    logits_V: np.ndarray,
) -> Generator[Passed, None, tuple[Drawn, ...]]:
    model, ids, context = reader.model, list(prompt.last.ids), _context(reader.model, prompt)
    drawn: list[Drawn] = []
    for _ in range(max_tokens):
        *_, probabilities = stages_of(logits_V, sampling)
        chosen = int(draw(probabilities, 1, rng)[0])
        token = token_of(model, chosen)
        drawn.append(Drawn(len(ids), chosen, token.text, float(probabilities[chosen])))
        ids.append(chosen)
        full = context and len(ids) >= context
        if chosen in _ends(model, prompt) or full or len(ids) == len(prompt.last.ids) + max_tokens:
            break
        logits_V = yield from reader.next((chosen,))
    return tuple(drawn)


def _counts(
    model: Model,
    logits_V: np.ndarray,
    probabilities_V: np.ndarray,
    draws: int,
    top: int,
    rng: np.random.Generator,
) -> tuple[tuple[Count, ...], OtherCounts]:
    """The `top` likeliest that could be drawn, each counted, and the rest together."""
    if not draws:
        return (), OtherCounts(0, 0.0, 0, 0.0)
    drawn = np.bincount(draw(probabilities_V, draws, rng), minlength=probabilities_V.size)
    possible = [i for i in candidates.likeliest(logits_V, top).tolist() if probabilities_V[i]]
    listed = tuple(
        Count(i, token_of(model, i).text, float(probabilities_V[i]), int(drawn[i]),
              float(drawn[i] / draws))
        for i in possible
    )  # fmt: skip
    count = draws - sum(found.count for found in listed)
    tokens = int(np.count_nonzero(probabilities_V)) - len(listed)
    return listed, OtherCounts(tokens, _rest(probabilities_V, possible), count, count / draws)


def _heat(logits_V: np.ndarray, ids: list[int], temperature: float) -> Heat:
    *_, probabilities = stages_of(logits_V, Sampling(temperature=temperature))
    return Heat(temperature, tuple(probabilities[ids].tolist()))
