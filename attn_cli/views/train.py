"""The screen of a training run, made anew for each record.

The loss against what the corpus allows, a head forming, a word moving.
"""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from attn_cli.views import numbers
from attn_cli.views.items import Chart, Gauges, Page, Progress, Rankings, Say, say
from attn_cli.views.text import label, named, visible
from attn_cli.words import note, sentence

if TYPE_CHECKING:
    from attn_cli.training.loop import StepRecord, TrainingResult, TrainingSettings

_RECENT = 50
WHAT = {
    "next": "training.what",
    "masked": "training.what_masked",
    "translate": "training.what_translate",
}
MEAN_OF = 100  # steps, that the loss of a result is of


def page(
    record: "StepRecord", history: "Sequence[StepRecord]", settings: "TrainingSettings"
) -> Page:
    """The screen after `record`; `history` holds the run's records up to it."""
    items: Page = [
        Progress(record.step, record.steps, record.tokens_per_second, record.seconds_left),
        *losses(history or [record], record.steps),
    ]
    if record.attention.size:
        # As they are saved, so that a number means the same head there.
        items += [_watched(settings), Gauges(-np.sort(-record.attention, axis=1))]
    if record.neighbours:
        word = label(settings.watched_word)
        found = (record.neighbours, record.neighbours_at_start)
        lists = [[(label(n.text, 20), n.cosine) for n in neighbours] for neighbours in found]
        items += [
            say("training.neighbours", "lead", word=word),
            Rankings((note("training.now"), note("training.start")), lists),
            say("training.moved", "line", word=word, moved=numbers.fixed(record.moved)),
        ]
    return items


def _watched(settings: "TrainingSettings") -> Say:
    """Whose attention to what is shown."""
    key = "training.attention_of" if settings.watched_query else "training.attention"
    if settings.objective == "translate":
        key = "training.attention_translate"
    prompt = label(settings.watched_prompt, 60).replace("␣", " ")
    query, watched = label(settings.watched_query), label(settings.watched_key)
    return say(key, "lead", prompt=prompt, query=query, key=watched)


def losses(history: "Sequence[StepRecord]", steps: int) -> Page:
    """The loss of the latest steps in numbers, and its distance to the floor as a chart."""
    recent = history[-_RECENT:]
    loss = float(np.mean([step.loss for step in recent]))
    floor = float(np.mean([step.floor for step in recent]))
    # A batch's own floor is known, so the distance to it does not jump from batch to batch.
    key = "training.under" if loss < floor else "training.over"
    side = note(key, amount=numbers.fixed(abs(loss - floor), 3))
    return [
        say("training.loss", "lead", **_nats(loss=loss, floor=floor), side=side, recent=_RECENT),
        Chart([step.step for step in history], [step.loss - step.floor for step in history], steps),
    ]


def _nats(**values: float) -> dict[str, str]:
    return {name: numbers.fixed(value, 3) for name, value in values.items()}


def line(record: "StepRecord") -> str:
    """One step in one line, for a log."""
    return sentence(
        "training.line", step=record.step, steps=record.steps,
        **_nats(loss=record.loss, floor=record.floor),
        tokens=numbers.count(record.tokens_per_second), left=numbers.clock(record.seconds_left),
    )  # fmt: skip


def result(found: "TrainingResult", settings: "TrainingSettings", begin: str) -> Page:
    """What a run came to, in which terms, and what to type next; `begin` begins a text."""
    distance = found.loss - found.floor
    loss, above = (numbers.number(n, 3) for n in (found.loss, abs(distance)))
    done = {"steps": found.steps, "time": numbers.clock(found.seconds)}
    checkpoint, last = named(found.checkpoint), min(MEAN_OF, len(found.losses))
    side = note("training.below" if distance < 0 else "training.above", amount=above)
    items: Page = [
        say("training.result", "lead", checkpoint=checkpoint, **done, loss=loss, last=last,
            side=side),
        say(WHAT[settings.objective], "lead"),
    ]  # fmt: skip
    if settings.objective == "next" and settings.mask == "none" and begin:
        command = ["attn", "sample", begin, "--model", found.checkpoint]
        again = shlex.join([*command, "--max-tokens", "12", "--temperature", "0"])
        items.append(say("training.unmasked", "lead", command=visible(again)))
    elif settings.watched_prompt:
        items.append(say("training.heads", "lead"))
    return items
