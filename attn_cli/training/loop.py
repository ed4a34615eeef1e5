"""Training: a generator that makes one step per record. Who iterates says when to stop and save."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from attn_cli import machine
from attn_cli.errors import ContentError, UsageError, size
from attn_cli.maths import blas
from attn_cli.training import adamw
from attn_cli.training.corpus import Batch, Corpus
from attn_cli.training.layers import Parameters
from attn_cli.training.objective import Objective
from attn_cli.training.objectives import OBJECTIVES
from attn_cli.training.settings import TrainingSettings, require
from attn_cli.training.watch import Neighbour, Watch, neighbours, watchable

LAST = 100
# Of each token: vectors of the model's width, that a layer keeps for the way back, those that the
# way back through one takes, and its logits, which their gradient overwrites.
_VECTORS, _BACK, _LOGITS = 15, 8, 1.2


def settings_for(corpus: Corpus, given: Mapping[str, Any]) -> TrainingSettings:
    """The settings of a new run: what is given, and the defaults that suit the corpus."""
    name = given.get("objective", TrainingSettings().objective)
    defaults = TrainingSettings(objective=name, **OBJECTIVES[name].defaults)
    # What is watched unless the user says otherwise is in our corpus, but need not be in theirs.
    if not watchable(corpus, defaults.watched_prompt):
        nothing = {field: "" for field in asdict(defaults) if field.startswith("watched_")}
        defaults = replace(defaults, **nothing)
    return replace(defaults, **given)


def check_corpus(text: str, objective: str, max_memory: int = 0) -> None:
    """Refuses a text whose words alone take more than may be used, before it is read."""
    words = 1 + text.count(" ") + text.count("\n")
    need, have = words * OBJECTIVES[objective].of_word, machine.allowed(max_memory)
    if need > have:
        raise ContentError(
            f"reading {words:,} words takes {size(need)}; {size(have)} may be used",
            f"what fits: {have // OBJECTIVES[objective].of_word:,} words{_more(need)}",
        )


def _more(need: int) -> str:
    return f", --max-memory {-(-need // 2**20)}MiB" if need <= machine.available() else ""


class Takes(NamedTuple):
    """The bytes of a run's largest step: for the attention of rows of so many tokens, for
    parameters, and for logits and the vectors of layers."""

    attention: int
    parameters: int
    tokens: int
    longest: int
    shorter: str

    @property
    def all(self) -> int:
        return self.attention + self.parameters + self.tokens


def takes(settings: TrainingSettings, corpus: Corpus) -> Takes:
    """What the largest step of a run takes."""
    needs = OBJECTIVES[settings.objective].needs(settings, corpus)
    of_token = _LOGITS * corpus.tokenizer.size * needs.predicted
    of_token += (_VECTORS * settings.layers + _BACK) * settings.width
    return Takes(
        # Weights of every layer are kept for the way back, which has about five such arrays more.
        attention=4 * needs.cells * (settings.layers + 5),
        # They, two moments and gradients, the new ones of the first three, and the state before;
        # the gradients of every part are there until they are added up.
        parameters=4 * needs.parameters * (9 + needs.parts),
        tokens=int(4 * settings.batch_tokens / needs.parts * of_token),
        longest=needs.longest,
        shorter=needs.shorter,
    )


def check_memory(settings: TrainingSettings, corpus: Corpus, max_memory: int = 0) -> None:
    """Refuses, before anything is allocated, a run whose largest step takes more than it may."""
    need, have = takes(settings, corpus), machine.allowed(max_memory)
    machine.expect(need.all)
    if need.all <= have:
        return

    def fits(**change: int) -> bool:
        return takes(replace(settings, **change), corpus).all <= have

    heads = settings.heads
    width = heads * machine.largest(settings.width // heads - 1, lambda n: fits(width=n * heads))
    layers = machine.largest(settings.layers - 1, lambda n: fits(layers=n))
    context = 0
    if not need.shorter:
        context = machine.largest(settings.context - 1, lambda n: n < 2 or fits(context=n))
    ways = [
        f"--context {context}" if context > 1 else "",
        need.shorter if need.attention > need.parameters else "",
        f"--width {width}" if width else "",
        f"--layers {layers}" if layers else "",
    ]
    what = f"what fits: {', '.join(filter(None, ways))}{_more(need.all)}"
    raise ContentError(
        f"a step takes {size(need.all)}: {size(need.attention)} for the attention of rows of "
        f"{need.longest:,} tokens, {size(need.parameters)} for parameters and "
        f"{size(need.tokens)} for logits and the vectors of layers; {size(have)} may be used",
        what if any(ways) else "a smaller --context, --width or --layers",
    )


class State(NamedTuple):
    """A model after `step` steps, and what the next step needs."""

    step: int
    parameters: Parameters
    moments: adamw.Moments


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepRecord:
    """What one step did, and what the learner watches. Steps count from 1.

    `loss` and `floor` are means in nats over the same tokens, the loss being that of the parameters
    the step began with. `attention` (layer, head) is the weight that the watched query gives to the
    watched key; (0, 0) and no neighbours where nothing is watched.
    """

    step: int
    steps: int
    loss: float
    floor: float
    gradient_length: float
    tokens: int
    tokens_per_second: float
    seconds_left: float
    attention: np.ndarray
    moved: float  # how far the watched word's embedding is from where it started
    neighbours: tuple[Neighbour, ...]
    neighbours_at_start: tuple[Neighbour, ...]


class TrainingResult(NamedTuple):
    """What a run came to. `loss` and `floor` are means in nats over its last steps."""

    checkpoint: str
    steps: int
    finished: bool
    loss: float
    floor: float
    corpus_floor: float  # NaN where it is not known
    seconds: float
    tokens: int
    losses: tuple[float, ...]  # of every step made here
    floors: tuple[float, ...]


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """A run under way. `state` is replaced as a whole once per step, never half a step."""

    settings: TrainingSettings
    corpus: Corpus
    watched: Watch
    state: State
    before: State  # the state of the step before, at first the one that the run began with
    began: int  # the step of that one
    start_embeddings: np.ndarray  # (vocabulary, model), before step 1

    @property
    def objective(self) -> Objective:
        """What the model is trained for."""
        return OBJECTIVES[self.settings.objective]

    @property
    def finished(self) -> bool:
        return self.state.step >= self.settings.steps


def start(settings: TrainingSettings, corpus: Corpus, state: State | None = None) -> Run:
    """A new run, or with a `state` (see `checkpoint.resume`) one that goes on from there.

    Raises UsageError if something watched is not in the corpus or does not fit the context.
    """
    objective = OBJECTIVES[settings.objective]
    watched = objective.watch(corpus, settings)
    require(
        len(watched.ids) <= settings.context,
        f"the watched prompt has {len(watched.ids)} tokens, the context is {settings.context}",
    )
    beginning = initial_state(settings, corpus)
    return Run(
        settings=settings,
        corpus=corpus,
        watched=watched,
        state=state or beginning,
        before=state or beginning,
        began=(state or beginning).step,
        start_embeddings=beginning.parameters[objective.embedding],
    )


def initial_state(settings: TrainingSettings, corpus: Corpus) -> State:
    """The seed's random start: generator [seed, 0]; step s draws with [seed, s], from s = 1."""
    rng = np.random.default_rng([settings.seed, 0])
    parameters = OBJECTIVES[settings.objective].initial(settings, corpus, rng)
    return State(0, parameters, adamw.no_moments(parameters))


def train(run: Run) -> Iterator[StepRecord]:
    """Makes the run's remaining steps, one per record; `run.state` is that after the record's step.

    To stop, stop iterating. Raises UsageError when the loss is no longer a number.
    """
    own, began, tokens_here = run.settings, time.perf_counter(), 0
    neighbours_at_start = neighbours(run.start_embeddings, run.watched, run.corpus)
    while not run.finished:
        step = run.state.step + 1
        batch = run.objective.draw(run.corpus, own, step)
        state, loss, length = _step(run, batch, step)
        run.before, run.state = run.state, state
        tokens_here += batch.tokens
        per_second = tokens_here / max(time.perf_counter() - began, 1e-9)
        yield StepRecord(
            step=step,
            steps=own.steps,
            loss=loss,
            floor=batch.floor,
            gradient_length=length,
            tokens=batch.tokens,
            tokens_per_second=per_second,
            seconds_left=(own.steps - step) * own.batch_tokens / per_second,
            neighbours_at_start=neighbours_at_start,
            **_look(run),
        )


def result_of(run: Run, history: Sequence[StepRecord], checkpoint: str) -> TrainingResult:
    """Sums up the steps made here; the loss is NaN if there were none."""
    last = history[-LAST:]
    tokens = sum(record.tokens for record in history)
    return TrainingResult(
        checkpoint=checkpoint,
        steps=run.state.step,
        finished=run.finished,
        loss=float(np.mean([record.loss for record in last])) if last else float("nan"),
        floor=float(np.mean([record.floor for record in last])) if last else float("nan"),
        corpus_floor=run.corpus.floor,
        seconds=tokens / history[-1].tokens_per_second if history else 0.0,
        tokens=tokens,
        losses=tuple(record.loss for record in history),
        floors=tuple(record.floor for record in history),
    )


def _step(run: Run, batch: Batch, step: int) -> tuple[State, float, float]:
    """The state after one step, the loss before it, and the gradients' length before clipping."""
    settings, state = run.settings, run.state
    rate = adamw.scheduled(
        step,
        steps=settings.steps,
        warm_up=min(settings.warm_up_steps, settings.steps),
        peak=settings.peak_learning_rate,
        final=settings.final_learning_rate,
    )
    # Too large a learning rate overflows; the check below says so, numpy need not warn as well.
    # The products are so small that BLAS's own threads would only wait for each other.
    with np.errstate(all="ignore"), blas.alone():
        computed = run.objective.learn(state.parameters, batch, settings)
        gradients, length = adamw.clip(computed.gradients, settings.gradient_limit)
        if not np.isfinite([computed.loss, length]).all():
            raise _diverged(step, "the loss", settings)
        parameters, moments = adamw.update(
            state.parameters,
            gradients,
            state.moments,
            step,
            learning_rate=rate,
            beta1=settings.beta1,
            beta2=settings.beta2,
            epsilon=settings.epsilon,
            weight_decay=settings.weight_decay,
        )
    after = State(step, parameters, moments)
    # Of any other step the next one's loss says it.
    if step == settings.steps and not is_sound(after):
        raise _diverged(step, "a parameter", settings)
    return after, computed.loss, length


def _diverged(step: int, what: str, settings: TrainingSettings) -> UsageError:
    return UsageError(
        f"training diverged at step {step}: {what} is no longer a number",
        f"use a smaller learning rate than {settings.peak_learning_rate:g}",
    )


def is_sound(state: State) -> bool:
    """Whether all that a state holds is finite, so that it may be saved."""
    parts = (state.parameters, state.moments.first, state.moments.second)
    return all(np.isfinite(array).all() for part in parts for array in part.values())


def watched_attention(run: Run) -> np.ndarray:
    """(layer, head): the weight that the watched query gives to the watched key; else (0, 0)."""
    if not run.watched.ids.size:
        return np.zeros((0, 0), np.float32)
    return run.objective.attention(run.state.parameters, run.watched, run.settings)


def _look(run: Run) -> dict[str, Any]:
    """What the learner watches of the run's state, as fields of a record."""
    embeddings, word = run.state.parameters[run.objective.embedding], run.watched.word
    moved = embeddings[word] - run.start_embeddings[word] if word >= 0 else 0.0
    # As in `_step`, where the next step will say that training diverged.
    with np.errstate(all="ignore"):
        return {
            "attention": watched_attention(run),
            "moved": float(np.linalg.norm(moved)),
            "neighbours": neighbours(embeddings, run.watched, run.corpus),
        }
