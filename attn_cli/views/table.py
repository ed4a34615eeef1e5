"""The table drawer: every item of a page as text of a screen, matrices as tables."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from io import StringIO

from rich.padding import Padding
from rich.text import Text

from attn_cli.records import Prompt
from attn_cli.views import charts, items, matrix, numbers
from attn_cli.views.folding import wrapped
from attn_cli.views.items import Page
from attn_cli.views.look import STYLES, Look
from attn_cli.views.matrix import FINE
from attn_cli.views.strips import INDENT, Drawn, fitted, packed, pad, widest
from attn_cli.views.text import label, named
from attn_cli.views.width import cell_len
from attn_cli.words import counted, sentence

Kinds = Mapping[type, Callable[..., Iterator[Drawn]]]
_BAR = 12
_INSET = 6
_TOKEN_LINES = 2
# For a sentence of each role: its style, and the space around it.
_ROLES = {
    "plain": ("plain", (0, 1, 0, INDENT)),
    "colours": ("plain", (0, 1, 0, INDENT)),
    "headline": ("strong", (1, 1, 0, 1)),
    "title": ("strong", (1, 0, 0, 1)),
    "block": ("block", (1, 0, 0, 1)),
    "what-if": ("what-if", (0, 0, 0, 1)),
    "aside": ("plain", (0, 0, 0, 1)),
    "lead": ("plain", (1, 0, 0, 1)),
    "line": ("plain", (0, 0, 0, 1)),
}


def draw(page: Page, look: Look, kinds: Kinds | None = None) -> str:
    """The page as text, with escapes only where `look` has colour; `kinds` says how each kind of
    item is drawn, if not as here."""
    found = renderables(page, look, kinds)
    texts = [text for drawn in found for text in laid_out(drawn, look.width)]
    written = _coloured(texts, look) if look.colour else "".join(f"{t.plain}\n" for t in texts)
    return "\n".join(line.rstrip() for line in written.split("\n"))


def laid_out(drawn: Drawn, width: int) -> Iterator[Text]:
    """Its lines, or several at once, as Rich would set them in so many columns."""
    text, left, right = drawn, 0, 0
    if isinstance(drawn, Padding):
        text, left, right = drawn.renderable, drawn.left, drawn.right
        yield from [Text()] * drawn.top
    room = width - left - right
    if not left and widest(text.plain.split("\n")) <= room:  # a table
        yield text
        return
    for line in wrapped(text, room):
        yield Text.assemble(" " * left, line)


def _coloured(texts: Iterable[Text], look: Look) -> str:
    # It is slow to import, and most pages have no colours.
    from rich.console import Console

    # TTY_COMPATIBLE, FORCE_COLOR and the like must not bring other escapes.
    console = Console(
        file=StringIO(), width=look.width, force_terminal=True, _environ=look.terminal,
        legacy_windows=False, emoji=False, markup=False, highlight=False,
    )  # fmt: skip
    for text in texts:
        console.print(text, soft_wrap=True)
    return console.file.getvalue()


def renderables(page: Iterable[object], look: Look, kinds: Kinds | None = None) -> Iterator[Drawn]:
    """What Rich prints, item by item; a matrix follows its sentence without a blank line."""
    told = False
    for item in page:
        drawn = (kinds or KINDS)[type(item)](item, look)
        if told and isinstance(item, items.Matrix):
            title = next(drawn)
            title.top = 0  # it follows what is said of it
            yield title
        yield from drawn
        told = isinstance(item, items.Say) and item.role == "plain"


def _say(item: items.Say, look: Look) -> Iterator[Drawn]:
    style, space = _ROLES[item.role]
    if item.role != "colours" or look.colour:
        yield Padding(Text(numbers.in_words(item.words, look.digits), STYLES[style]), space)


def _heading(item: items.Heading, look: Look) -> Iterator[Drawn]:
    yield of_model(item)
    if item.prompt:
        yield from _tokens(item.prompt, look)
        if item.prompt.target:
            yield Text(f" {sentence('page.target')}")
            yield from _tokens(item.prompt.target, look)
    else:
        yield from source_of(item)


def source_of(item: items.Heading) -> Iterator[Drawn]:
    """Where the model is from."""
    yield Text(f"    {named(item.model.source)}")


def of_model(item: items.Heading) -> Text:
    """The model in a line or two, and which part of it is meant."""
    model, where = item.model, str(item.where)
    if isinstance(model, str):
        return Text(f" {named(model)}", STYLES["strong"])
    own, stacks = _stack(model.layers, model.heads), ""
    if model.encoder:
        stacks = sentence("page.stacks_of", encoder=_stack(*model.encoder), decoder=own)
    shape = sentence(
        "page.model_two" if stacks else "page.model", family=named(model.family), stack=own,
        width=model.model_width, head_width=model.head_width,
    )  # fmt: skip
    stacks = f"\n {stacks}" if stacks else ""
    text = Text.assemble((f" {named(model.name)}", STYLES["strong"]), f" · {shape}{stacks}")
    if where:
        # On a line of its own where it would be torn apart on the usual screen.
        fits = not stacks and text.cell_len + len(where) < 77
        gap = "   " if fits else "\n "
        text.append(f"{gap}{where}", STYLES["strong"])
    return text


def _stack(layers: int, heads: int) -> str:
    return sentence(
        "page.stack", layers=counted(layers, "page.layers_one", "page.layers_many"),
        heads=counted(heads, "page.heads_one", "page.heads_many"),
    )  # fmt: skip


def _tokens(prompt: Prompt, look: Look) -> Iterator[Text]:
    """Each token behind a bar that no token can hold; a line ends between two tokens. The first
    and the last lines, where there are many, unless `look.full`."""
    parts = [
        Text.assemble("▏", (label(token.text, 40), STYLES["term" if token.special else "plain"]))
        for token in prompt.tokens
    ]
    count = counted(len(parts), "page.tokens_one", "page.tokens_many")
    parts.append(Text(f"   {count}"))
    lines = packed([part.cell_len for part in parts], look.width - 1)
    if look.full or len(lines) <= 2 * _TOKEN_LINES + 1:
        left_out = 0
    else:
        left_out = sum(map(len, lines[_TOKEN_LINES:-_TOKEN_LINES]))
    for number, line in enumerate(lines):
        if not left_out or min(number, len(lines) - 1 - number) < _TOKEN_LINES:
            yield Text.assemble(" ", *(parts[i] for i in line))
        elif number == _TOKEN_LINES:
            yield Text("  " + sentence("mask.more", count=left_out))


def _step_title(item: items.StepTitle, look: Look) -> Iterator[Drawn]:
    equation = str(item.equation) or sentence(f"step.equation_{item.number}")
    name = f"\n {item.number}  {pad(sentence(f'step.name_{item.number}'), 15)}"
    if cell_len(name) - 1 + cell_len(equation) < look.width:
        yield Text.assemble((name, STYLES["strong"]), equation)
    else:
        yield Text(name.rstrip(), STYLES["strong"])
        yield Padding(Text(equation), (0, 1, 0, INDENT))


def _shares(item: items.Shares, look: Look) -> Iterator[Drawn]:
    """As many in a line as fit."""
    texts = numbers.column(item.values, max(look.digits, FINE) if item.fine else look.digits)
    room = look.width - _INSET
    names = fitted(item.names, max(1, room - widest(texts) - _BAR - 2))
    parts = [
        f"{name} {text} {numbers.bar(value, _BAR)}".rstrip()
        for name, text, value in zip(names, texts, item.values, strict=True)
    ]
    lines = packed([cell_len(part) + 3 for part in parts], room + 3)
    text = "\n".join("   ".join(parts[i] for i in line) for line in lines)
    yield Padding(Text(text), (0, 0, 0, _INSET))


KINDS = {
    items.Say: _say,
    items.Heading: _heading,
    items.StepTitle: _step_title,
    items.Shares: _shares,
    items.Matrix: matrix.draw_matrix,
    items.Columns: matrix.draw_columns,
    items.Measured: lambda item, look: matrix.draw_columns(item.columns, look),
    items.Grids: charts.draw_grids,
    items.Picture: charts.draw_picture,
    items.Progress: charts.draw_progress,
    items.Chart: charts.draw_chart,
    items.Gauges: charts.draw_gauges,
    items.Rankings: charts.draw_rankings,
}
