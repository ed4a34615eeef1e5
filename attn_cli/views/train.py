"""The screen of a training run, drawn anew for each record.

The loss against what the corpus allows, a head forming, a word moving.
"""

from collections.abc import Sequence

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from attn_cli.training.loop import StepRecord, TrainingResult, TrainingSettings
from attn_cli.training.watch import Neighbour
from attn_cli.views import numbers
from attn_cli.views.text import label, visible
from attn_cli.words import sentence

_CHART_ROWS = 5
_BLOCKS = " ▁▂▃▄▅▆▇█"
_RECENT = 50
_NARROWEST, _WIDEST = 7, 13
_GAP = 2
_LABEL = 9
_COSINE = 5
_INDENT = 4


def render(
    record: StepRecord,
    history: Sequence[StepRecord],
    settings: TrainingSettings,
    *,
    width: int = 80,
) -> RenderableType:
    """The screen after `record`, for a Rich Live. `history` holds the run's records up to it."""
    parts: list[RenderableType] = [_progress(record, width), Text("")]
    parts += _loss(record, history or [record], width)
    if record.attention.size:
        parts += [Text(""), *_attention(record, settings, width)]
    if record.neighbours:
        parts += [Text(""), *_neighbours(record, settings, width)]
    return Group(*parts)


def _sentence(key: str, /, **values: object) -> Text:
    return Text(" " + sentence(key, **values))


def _progress(record: StepRecord, width: int) -> Text:
    """` step  250 / 2500  ██▌        80,000 tokens/s   0:56 left`, its parts never moving."""
    digits = len(str(record.steps))
    counted = f" step {record.step:>{digits}} / {record.steps}  "
    speed = sentence(
        "training.progress",
        tokens=f"{record.tokens_per_second:>9,.0f}",
        left=clock(record.seconds_left).rjust(7),
    )
    room = max(0, min(40, width - len(counted) - len(speed) - 2))
    text = Text(counted, "bold", no_wrap=True, overflow="ellipsis", end="\n")
    text.append(numbers.bar(record.step / record.steps, room).ljust(room), "green")
    text.append(f"  {speed}", "not bold")
    return text


def clock(seconds: float) -> str:
    """`1:02:03`, without the hours below one hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _loss(record: StepRecord, history: Sequence[StepRecord], width: int) -> list[RenderableType]:
    """The loss of the latest steps in numbers, and its distance to the floor as a chart."""
    recent = history[-_RECENT:]
    loss = float(np.mean([step.loss for step in recent]))
    floor = float(np.mean([step.floor for step in recent]))
    # A batch's own floor is known, so the distance to it does not jump from batch to batch.
    said = _sentence(
        "training.loss",
        loss=f"{loss:.3f}",
        floor=f"{floor:.3f}",
        above=f"{loss - floor:.3f}".replace("-", "−"),
    )
    columns = max(8, min(record.steps, width - _INDENT - 10))
    heights = chart_heights(history, record.steps, columns)
    top = float(np.nanmax(heights, initial=0.0)) or 1.0
    eighths = np.nan_to_num(np.ceil(heights / top * _CHART_ROWS * 8 - 0.5)).astype(int)
    lines: list[RenderableType] = [said]
    for row in reversed(range(_CHART_ROWS)):
        name = {_CHART_ROWS - 1: f"+{top:.2f}", 0: "+0.00"}.get(row, "")
        line = Text(f"{'':{_INDENT}}{name:>6} │", "dim", no_wrap=True, overflow="crop")
        line.append("".join(_BLOCKS[min(8, max(0, n - 8 * row))] for n in eighths), "not dim cyan")
        lines.append(line)
    return lines


def chart_heights(history: Sequence[StepRecord], steps: int, columns: int) -> np.ndarray:
    """(column,): the mean of loss - floor, not below 0, over each column's steps; NaN where none.

    Columns share the steps of the whole run, so that the chart grows to the right.
    """
    place = np.array([(record.step - 1) * columns // steps for record in history])
    above = np.array([record.loss - record.floor for record in history])
    count = np.bincount(place, minlength=columns)
    total = np.bincount(place, above, minlength=columns)
    return np.where(count, np.maximum(total / np.maximum(count, 1), 0), np.nan)


def _attention(record: StepRecord, settings: TrainingSettings, width: int) -> list[RenderableType]:
    """A row per layer, a column per head: the weight as a number and as a bar of that share."""
    layers, heads = record.attention.shape
    room = width - _INDENT - _LABEL
    fitting = room // (_NARROWEST + _GAP)
    # A column less where some heads are left out: their number stands there.
    shown = heads if heads <= fitting else max(1, fitting - 1)
    cell = min(_WIDEST, max(_NARROWEST, room // (shown + (shown < heads)) - _GAP))
    table = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
    table.add_column(width=_INDENT + _LABEL - _GAP, no_wrap=True)
    for _ in range(shown):
        table.add_column(width=cell, no_wrap=True)
    more = [Text(f"+{heads - shown}", "dim")] if shown < heads else []
    table.add_row("", *(Text(f"head {n}", "dim") for n in range(shown)), *more)
    for layer in range(layers):
        row = record.attention[layer, :shown]
        cells = [_share(float(share), cell, share == record.attention.max()) for share in row]
        table.add_row(Text(f"{'':{_INDENT}}layer {layer}", "dim"), *cells)
    said = _sentence(
        "training.attention",
        prompt=label(settings.watched_prompt, 60).replace("␣", " "),
        key=label(settings.watched_key),
    )
    return [said, table]


def _share(share: float, width: int, strongest: bool) -> Text:
    number = f"{share:.2f} "
    text = Text(number, "bold" if strongest else "")
    text.append(numbers.bar(share, width - len(number)), "not bold yellow")
    return text


def _neighbours(record: StepRecord, settings: TrainingSettings, width: int) -> list[RenderableType]:
    """The nearest words now, and beside them those that chance had put near."""
    word = label(settings.watched_word)
    table = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
    table.add_column(width=_INDENT - _GAP)
    half = (width - _INDENT) // 2
    for _ in range(2):
        table.add_column(width=max(4, min(24, half - _COSINE) - 2 * _GAP), no_wrap=True)
        table.add_column(width=_COSINE, no_wrap=True)
    now, start = (Text(sentence(f"training.{key}"), "dim") for key in ("now", "start"))
    table.add_row("", now, "", start, "")
    for pair in zip(record.neighbours, record.neighbours_at_start, strict=True):
        table.add_row("", *(cell for neighbour in pair for cell in _neighbour(neighbour)))
    return [
        _sentence("training.neighbours", word=word),
        table,
        _sentence("training.moved", word=word, moved=f"{record.moved:.2f}"),
    ]


def _neighbour(neighbour: Neighbour) -> tuple[Text, Text]:
    cosine = f"{neighbour.cosine:.2f}".replace("-", "−").rjust(5)
    return Text(label(neighbour.text, 20)), Text(cosine)


def line(record: StepRecord) -> str:
    """One step in one line, for a log."""
    return sentence(
        "training.line",
        step=record.step,
        steps=record.steps,
        loss=f"{record.loss:.3f}",
        floor=f"{record.floor:.3f}",
        tokens=f"{record.tokens_per_second:,.0f}",
        left=clock(record.seconds_left),
    )


def render_result(found: TrainingResult) -> RenderableType:
    """What a run came to, and what to type next."""
    said = sentence(
        "training.result",
        checkpoint=visible(found.checkpoint),
        steps=found.steps,
        loss=numbers.number(found.loss, 3),
        above=numbers.number(found.loss - found.floor, 3),
        time=clock(found.seconds),
    )
    return Text(f"\n {said}")
