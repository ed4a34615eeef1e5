"""The table drawer: every item of a page as text of a screen, matrices as tables."""

from collections.abc import Iterable, Iterator
from io import StringIO

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

from attn_cli import vocabulary
from attn_cli.records import Prompt
from attn_cli.views import charts, items, matrix, numbers
from attn_cli.views.items import Page
from attn_cli.views.look import Look
from attn_cli.views.matrix import FINE, INDENT, pad, widest
from attn_cli.views.text import label, visible
from attn_cli.words import counted, sentence

Drawn = Iterator[RenderableType]
_BAR = 24
_TERMS = 3
# For a sentence of each role: what stands before it, its style, and the space around it.
_ROLES = {
    "plain": ("", "", (0, 1, 0, INDENT)),
    "headline": ("", "bold", (1, 1, 0, 1)),
    "title": ("\n ", "bold", ()),
    "block": ("\n ", "bold reverse", ()),
    "what-if": (" ", "yellow", ()),
    "aside": (" ", "dim", ()),
    "lead": ("\n ", "", ()),
    "line": (" ", "", ()),
}


def draw(page: Page, look: Look) -> str:
    """The page as text, with escapes only where `look` has colour."""
    # TTY_COMPATIBLE, FORCE_COLOR and the like must not bring escapes into a pipe.
    console = Console(
        file=StringIO(), width=look.width, force_terminal=look.colour, no_color=not look.colour,
        color_system="auto" if look.colour else None, _environ=look.terminal,
        legacy_windows=False, emoji=False, markup=False, highlight=False,
    )  # fmt: skip
    for item in renderables(page, look):
        console.print(item, soft_wrap=False)
    return "\n".join(line.rstrip() for line in console.file.getvalue().split("\n"))


def renderables(page: Iterable[object], look: Look) -> Drawn:
    """What Rich prints, item by item."""
    for item in page:
        yield from _DRAWN[type(item)](item, look)


def _say(item: items.Say, look: Look) -> Drawn:
    before, style, space = _ROLES[item.role]
    text = Text(before + numbers.in_words(item.words, look.digits), style)
    yield Padding(text, space) if space else text


def _heading(item: items.Heading, look: Look) -> Drawn:
    model, where = item.model, str(item.where)
    shape = sentence(
        "page.model", family=model.family, width=model.model_width, head_width=model.head_width,
        layers=counted(model.layers, "page.layers_one", "page.layers_many"),
        heads=counted(model.heads, "page.heads_one", "page.heads_many"),
    )  # fmt: skip
    text = Text.assemble((f" {visible(model.name)}", "bold"), f" · {shape}")
    if where:
        # On a line of its own where it would be torn apart on the usual screen.
        gap = "   " if text.cell_len + len(where) < 77 else "\n "
        text.append(f"{gap}{where}", "bold")
    yield text
    if item.prompt:
        yield from _tokens(item.prompt, look.width)
    else:
        yield Text(f"    {visible(model.source)}", "dim")


def _tokens(prompt: Prompt, width: int) -> Iterator[Text]:
    """Each token behind a bar that no token can hold; a line ends between two tokens."""
    parts = [
        Text.assemble(("▏", "dim"), (label(token.text, 40), "italic dim" if token.special else ""))
        for token in prompt.tokens
    ]
    count = counted(len(parts), "page.tokens_one", "page.tokens_many")
    line = Text(" ")
    for part in [*parts, Text(f"   {count}", "dim")]:
        if line.cell_len > 1 and line.cell_len + part.cell_len > width:
            yield line
            line = Text(" ")
        line.append_text(part)
    yield line


def _step_title(item: items.StepTitle, look: Look) -> Drawn:
    step = vocabulary.STEPS[item.number - 1]
    name, equation = f"{step.name:<15}", str(item.equation) or step.equation
    number = f"\n {step.number}  "
    yield Text.assemble(number, (name, "bold"), (equation, "cyan"), style="bold")


def _shares(item: items.Shares, look: Look) -> Drawn:
    width = widest(item.names)
    texts = numbers.column(item.values, max(look.digits, FINE) if item.fine else look.digits)
    lines = [
        f"      {pad(name, width)}  {text}  {numbers.bar(value, _BAR)}".rstrip()
        for name, text, value in zip(item.names, texts, item.values, strict=True)
    ]
    yield Text("\n".join(lines))


def _product(item: items.Product, look: Look) -> Drawn:
    """The first terms, and the sum."""
    shown, count = item.left[:_TERMS], len(item.left)
    texts = numbers.column([*shown, *item.right[:_TERMS]], look.digits)
    pairs = zip(texts[: len(shown)], texts[len(shown) :], strict=True)
    terms = " + ".join(f"{a}×{b}" for a, b in pairs)
    if len(shown) < count:
        terms += f" + {sentence('page.terms', count=count - len(shown))}"
    line = f"{' · '.join(item.names)} = {terms} = {numbers.number(item.result, look.digits)}"
    yield Padding(Text(line, "italic"), (0, 0, 0, 6))


_DRAWN = {
    items.Say: _say,
    items.Heading: _heading,
    items.StepTitle: _step_title,
    items.Shares: _shares,
    items.Product: _product,
    items.Matrix: matrix.draw_matrix,
    items.Columns: matrix.draw_columns,
    items.Grids: charts.draw_grids,
    items.Picture: charts.draw_picture,
    items.Progress: charts.draw_progress,
    items.Chart: charts.draw_chart,
    items.Gauges: charts.draw_gauges,
    items.Rankings: charts.draw_rankings,
}
