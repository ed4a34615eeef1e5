"""Temperature and filters: how logits become the token that is drawn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from attn_cli import session
from attn_cli.errors import ContentError
from attn_cli.maths.attention import softmax
from attn_cli.model.family import Model, in_memory
from attn_cli.model.stack import Cache
from attn_cli.records import Prompt
from attn_cli.tokens.token import Token
from attn_cli.words import Note, note


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
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
class SampleCandidate:
    """A possible next token; `after` holds its probability after each filter in order."""

    rank: int
    id: int
    text: str
    logit: float
    probability: float
    after: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A token that was drawn to stand at `position`, and the probability it was drawn with."""

    position: int
    id: int
    text: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How often a token was drawn, beside the share expected."""

    id: int
    text: str
    expected: float
    count: int
    observed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """One column of a sweep: the probabilities of the candidates at one temperature."""

    temperature: float
    probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """`kept` counts the tokens left after all filters; `text` is what the drawn tokens spell."""

    provenance: str
    filters: tuple[str, ...]
    candidates: tuple[SampleCandidate, ...]
    kept: int
    drawn: tuple[Drawn, ...]
    text: str
    counts: tuple[Count, ...]
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
) -> Sample:
    """Ranks the candidates for the next token, filters them, and draws.

    Draws `max_tokens` tokens one after the other, until the end token or the context is full; or,
    with `draws`, that many times the first. Raises ContentError.
    """
    if max_tokens > 1:
        model = in_memory(model)
    cache = Cache()
    logits_V = session.next_logits(model, prompt.ids, cache)
    stages = list(stages_of(logits_V, sampling))
    before = softmax(logits_V.astype(np.float64))
    ids = session.likeliest(logits_V, top)
    rng = np.random.default_rng(seed)
    counts = _counts(model, logits_V, stages[-1], draws, rng) if draws else ()
    drawn = (
        () if draws else tuple(_generate(model, prompt, sampling, max_tokens, rng, logits_V, cache))
    )
    return Sample(
        provenance="derived",
        filters=sampling.filters(),
        candidates=tuple(
            SampleCandidate(
                rank=place,
                id=int(i),
                text=session.token_of(model, int(i)).text,
                logit=float(logits_V[i]),
                probability=float(before[i]),
                after=tuple(float(stage[i]) for stage in stages),
            )
            for place, i in enumerate(ids, 1)
        ),
        kept=int(np.count_nonzero(stages[-1])),
        drawn=drawn,
        text=model.tokenizer.decode(token.id for token in drawn),
        counts=counts,
        sweep=tuple(_heat(logits_V, ids, temperature) for temperature in sweep),
    )


def continued(model: Model, prompt: Prompt, max_tokens: int) -> Prompt:
    """The prompt with what the model adds to it, always the likeliest token.

    It stops at an end token, and where the context is full.
    """
    room = model.facts.context - len(prompt.tokens) if model.facts.context else max_tokens
    if room <= 0:
        return prompt
    max_tokens = min(max_tokens, room)
    greedy, kept, cache = Sampling(temperature=0), in_memory(model), Cache()
    logits_V = session.next_logits(kept, prompt.ids, cache)
    rng = np.random.default_rng(0)  # nothing is left to chance at temperature 0
    drawn = list(_generate(kept, prompt, greedy, max_tokens, rng, logits_V, cache))
    added = tuple(_added(model, prompt, token.id) for token in drawn)
    text = prompt.text + model.tokenizer.decode(token.id for token in drawn)
    return replace(prompt, text=text, tokens=prompt.tokens + added)


def _added(model: Model, prompt: Prompt, id: int) -> Token:
    """A token behind the prompt; what ends the answer to a chat is special, as in the prompt."""
    token = session.token_of(model, id)
    return replace(token, special=token.special or id in prompt.ends)


def _ends(model: Model, prompt: Prompt) -> tuple[int, ...]:
    return (*model.end_tokens, *prompt.ends)


def stop_note(model: Model, prompt: Prompt, after: Sequence[int], asked: int) -> tuple[Note, ...]:
    """Why fewer tokens came than were asked for; nothing if all did. `after` are their ids."""
    if len(after) >= asked:
        return ()
    if after and after[-1] in _ends(model, prompt):
        return (note("note.ended", count=len(after), asked=asked),)
    context = model.facts.context
    return (note("note.full", count=len(after), asked=asked, context=context),)


def stages_of(logits_V: np.ndarray, sampling: Sampling) -> Iterator[np.ndarray]:
    """The probabilities after temperature and after each filter that acts, in float64.

    Temperature 0 takes the likeliest token, the lowest id on a tie. Raises ContentError where the
    logits leave nothing to draw from.
    """
    if np.isnan(logits_V).any() or np.isposinf(logits_V).any() or np.isneginf(logits_V).all():
        raise ContentError(
            "the logits hold NaN or infinity: nothing can be drawn",
            "attn trace counts what is not finite, step by step",
        )
    if sampling.temperature == 0:
        probabilities = np.zeros(logits_V.size)
        probabilities[session.likeliest(logits_V, 1)] = 1
    else:
        probabilities = softmax(logits_V.astype(np.float64), sampling.temperature)
    yield probabilities
    # The logits rank: a temperature can make probabilities equal, and never reorders them.
    if sampling.top_k > 0:
        probabilities = _keep(probabilities, session.likeliest(logits_V, sampling.top_k))
        yield probabilities
    if sampling.top_p < 1:
        order = session.likeliest(logits_V, logits_V.size)
        probabilities = _keep(probabilities, nucleus(probabilities, sampling.top_p, order))
        yield probabilities
    if sampling.min_p > 0:
        least = sampling.min_p * probabilities.max()
        probabilities = _keep(probabilities, np.flatnonzero(probabilities >= least))
        yield probabilities


def nucleus(probabilities_V: np.ndarray, share: float, order: np.ndarray) -> np.ndarray:
    """The fewest ids of `order`, likeliest first, that reach `share` together, at least one.

    Holtzman et al. 2020.
    """
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
    model: Model,
    prompt: Prompt,
    sampling: Sampling,
    max_tokens: int,
    rng: np.random.Generator,
    logits_V: np.ndarray,
    cache: Cache,
) -> Iterator[Drawn]:
    ids = list(prompt.ids)
    for _ in range(max_tokens):
        *_, probabilities = stages_of(logits_V, sampling)
        chosen = int(draw(probabilities, 1, rng)[0])
        token = session.token_of(model, chosen)
        yield Drawn(
            position=len(ids), id=chosen, text=token.text, probability=float(probabilities[chosen])
        )
        ids.append(chosen)
        full = model.facts.context and len(ids) >= model.facts.context
        if chosen in _ends(model, prompt) or full or len(ids) == len(prompt.ids) + max_tokens:
            return
        logits_V = session.next_logits(model, (chosen,), cache)


def _counts(
    model: Model,
    logits_V: np.ndarray,
    probabilities: np.ndarray,
    draws: int,
    rng: np.random.Generator,
) -> tuple[Count, ...]:
    drawn = np.bincount(draw(probabilities, draws, rng), minlength=probabilities.size)
    shown = np.flatnonzero((drawn > 0) | (probabilities * draws >= 0.5))
    order = shown[np.argsort(-logits_V[shown], kind="stable")]
    return tuple(
        Count(
            id=int(i),
            text=session.token_of(model, int(i)).text,
            expected=float(probabilities[i]),
            count=int(drawn[i]),
            observed=float(drawn[i] / draws),
        )
        for i in order
    )


def _heat(logits_V: np.ndarray, ids: np.ndarray, temperature: float) -> Heat:
    *_, probabilities = stages_of(logits_V, Sampling(temperature=temperature))
    return Heat(temperature=temperature, probabilities=tuple(probabilities[ids].tolist()))
