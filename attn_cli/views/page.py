"""What pages have in common: the heading, headed matrices, sentences, bars."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich import box
from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from attn_cli import vocabulary
from attn_cli.records import Facts, Prediction, Prompt
from attn_cli.views import numbers
from attn_cli.views.matrix import INDENT, Look, matrix
from attn_cli.views.text import label, pad, visible, widest
from attn_cli.words import sentence

Page = list[RenderableType]
BAR = 24


def heading(model: Facts, where: str = "") -> Text:
    """The model in one line: `tiny · gpt2 family · 2 layers × 4 heads · width 32 (8 per head)`."""
    text = Text(no_wrap=False)
    text.append(f" {visible(model.name)}", "bold")
    text.append(
        f" · {model.family} · {model.layers} layer{'s' * (model.layers != 1)} × "
        f"{model.heads} head{'s' * (model.heads != 1)} · width "
        f"{model.model_width} ({model.head_width} per head)"
    )
    if where:
        # On a line of its own where it would be torn apart on the usual screen.
        gap = "   " if cell_len(text.plain) + len(where) < 77 else "\n "
        text.append(f"{gap}{where}", "bold")
    return text


def tokens_line(prompt: Prompt) -> RenderableType:
    """The tokens side by side, each behind a bar that no token can hold."""
    return _Tokens(prompt)


@dataclass(frozen=True, slots=True)
class _Tokens:
    """Laid out when the width is known: a line ends between two tokens."""

    prompt: Prompt

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line = Text(" ")
        for part in self._parts():
            if line.cell_len > 1 and line.cell_len + part.cell_len > options.max_width:
                yield line
                line = Text(" ")
            line.append_text(part)
        yield line

    def _parts(self) -> Iterator[Text]:
        for token in self.prompt.tokens:
            style = "italic dim" if token.special else ""
            yield Text.assemble(("▏", "dim"), (label(token.text, 40), style))
        count = len(self.prompt.tokens)
        yield Text(f"   {count} token{'' if count == 1 else 's'}", "dim")


def labels(prompt: Prompt) -> list[str]:
    """A heading for each token, numbered where the same text stands twice."""
    shown = [label(text) for text in prompt.labels]
    twice = {text for text in shown if shown.count(text) > 1} if len(shown) < 1000 else set()
    return [f"{text}·{i}" if text in twice else text for i, text in enumerate(shown)]


def say(key: str, /, **values: object) -> Padding:
    """One sentence of the word table, indented; token text in it must be made visible before."""
    return Padding(Text(sentence(key, **values)), (0, 1, 0, 4))


def step_title(number: int, equation: str = "") -> Text:
    """` 3  dot products   scores = q · kᵀ`; `equation` replaces that of the vocabulary."""
    step = vocabulary.STEPS[number - 1]
    text = Text(f"\n {step.number}  ", "bold")
    text.append(f"{step.name:<15}", "bold")
    text.append(equation or step.equation, "cyan")
    return text


def headed_matrix(
    name: str,
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    look: Look,
    *,
    axes: str,
    remark: str = "",
) -> Page:
    """A matrix under a line with its name, shape and which axis is which."""
    text = Text(f"\n    {name}", "bold")
    text.append(f"   {values.shape[0]} × {values.shape[1]}   {axes}", "not bold dim")
    if remark:
        text.append(f"   {remark}", "not bold yellow")
    return [
        text,
        *(Padding(table, (0, 0, 0, INDENT)) for table in matrix(values, rows, columns, look)),
    ]


def query_key_matrix(
    name: str, values_QK: np.ndarray, queries: Sequence[str], keys: Sequence[str], look: Look,
    remark: str = "",
) -> Page:  # fmt: skip
    """A (query, key) matrix, queries as rows or as columns as the user chose."""
    if look.columns_are_queries:
        axes = sentence("axes.rows_keys")
        return headed_matrix(name, values_QK.T, keys, queries, look, axes=axes, remark=remark)
    axes = sentence("axes.rows_queries")
    return headed_matrix(name, values_QK, queries, keys, look, axes=axes, remark=remark)


def shares(names: Sequence[str], values: Sequence[float], digits: int) -> Text:
    """One line per share: name, number, bar."""
    width = widest(names)
    lines = [
        f"      {pad(name, width)}  {text}  {numbers.bar(value, BAR)}".rstrip()
        for name, text, value in zip(names, numbers.column(values, digits), values, strict=True)
    ]
    return Text("\n".join(lines))


def prediction(found: Prediction, model: Facts, digits: int) -> Page:
    """The candidates for the next token, likeliest first."""
    key = "next.what_if" if found.provenance == vocabulary.WHAT_IF else "next.title"
    names = [f"{c.rank:>2}  {label(c.text, 24)}" for c in found.candidates]
    values = [c.probability for c in found.candidates]
    return [
        Text("\n " + sentence(key, layers=model.layers), "bold"),
        shares(names, values, max(digits, 2)),
    ]


@dataclass(frozen=True, slots=True)
class _Columns:
    """Columns of ready text, laid out when the width is known: nothing is ever left out.

    Those that do not fit follow in further panels, each beginning with the first column; a cell
    wider than the screen goes on in the next line.
    """

    headers: Sequence[str]
    columns: Sequence[Sequence[str]]
    left: Sequence[int]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.max_width - INDENT
        full = [widest([h, *cells]) for h, cells in zip(self.headers, self.columns, strict=True)]
        widths = [min(full[0], room // 2)]
        widths += [min(width, room - widths[0] - 2) for width in full[1:]]
        headers, columns = self.headers, self.columns
        if widths != full:
            headers = ["\n".join(chop_cells(h, w)) for h, w in zip(headers, widths, strict=True)]
            columns = _folded(columns, widths)
        for chosen in _panels(widths, room):
            table = Table(
                box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True
            )
            for i in chosen:
                justify = "left" if i in self.left else "right"
                table.add_column(Text(headers[i]), no_wrap=True, justify=justify, width=widths[i])
            table.add_row(*(Text("\n".join(columns[i]), no_wrap=True) for i in chosen))
            yield Padding(table, (0, 0, 0, INDENT))


def _folded(columns: Sequence[Sequence[str]], widths: Sequence[int]) -> list[list[str]]:
    """The same columns, a row taking as many lines as its tallest cell needs at these widths."""
    lines: list[list[str]] = [[] for _ in columns]
    for row in zip(*columns, strict=True):
        cells = [chop_cells(text, width) for text, width in zip(row, widths, strict=True)]
        for column, cell in zip(lines, cells, strict=True):
            column.extend(cell + [""] * (max(1, *map(len, cells)) - len(cell)))
    return lines


def _panels(widths: Sequence[int], room: int) -> Iterator[list[int]]:
    """The columns of each panel: the first one, and as many others as fit beside it."""
    panel, used = [0], widths[0]
    for i, width in enumerate(widths[1:], 1):
        if len(panel) > 1 and used + 2 + width > room:
            yield panel
            panel, used = [0], widths[0]
        panel.append(i)
        used += 2 + width
    yield panel


def columns_table(
    headers: Sequence[str], columns: Sequence[Sequence[str]], left: Sequence[int] = (0,)
) -> RenderableType:
    """Columns of ready text under headers; those in `left` are aligned left, the others right."""
    return _Columns(headers, columns, left)


def headline(key: str, /, **values: object) -> Padding:
    """The answer in words, before the numbers."""
    return Padding(Text(sentence(key, **values), "bold"), (1, 1, 0, 1))


def title(key: str, /, **values: object) -> Text:
    """The heading of a part of a page."""
    return Text("\n " + sentence(key, **values), "bold")
