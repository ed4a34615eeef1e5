"""A sheet of `attn exercise` as one HTML file: blanks are fields, and what is typed into them is
saved as the document that `attn exercise --check` reads.

The elements are those of the page's items; the answers are nowhere in the file, but for a key.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from attn_cli.records import Facts, Prompt
from attn_cli.views import exercise, html, numbers
from attn_cli.views.items import Columns, Heading, Matrix, Say, StepTitle, Words, axes_of
from attn_cli.views.json import document
from attn_cli.views.markup import element, text
from attn_cli.views.text import label
from attn_cli.words import sentence, table

if TYPE_CHECKING:
    from attn_cli.analysis.exercise import Sheet

MODULES = ("words", "sheet")
_SCRIPT_WORDS = ("exercise.no_number", "exercise.saved")  # what the script says
Names = Mapping[int, Words]  # what each blank is, by its number


def render(
    model: Facts, prompt: Prompt, sheet: "Sheet", settings: Mapping[str, Any]
) -> Iterator[bytes]:
    """The page in pieces."""
    heading, *items = exercise.questions(model, prompt, sheet, settings)
    names = dict(enumerate(exercise.named(prompt, sheet), 1))
    parts = {
        "style": html.file("page.css") + html.file("sheet.css"),
        "heading": _heading(heading),
        "questions": "\n".join(_questions(items, names, settings["digits"])),
        "saving": _saving(),
        "key": _key(exercise.key(prompt, sheet)) if sheet.keyed else "",
    }
    page = html.file("sheet.html")
    for name, part in parts.items():
        page = page.replace(f"<!-- {name} -->", part, 1)
    blank = document("exercise", model, prompt, settings, sheet.without_key(), ())
    spoken = table(html.language())
    data = {"sheet": blank, "words": {key: spoken[key] for key in _SCRIPT_WORDS}}
    yield from html.whole(page, data, html.script(MODULES))


def _heading(item: Heading) -> str:
    """The model, and the tokens of what is read."""
    title = sentence("exercise.title", where=item.where, model=item.model.name)
    parts = [element("h1", text(title))]
    for read in filter(None, (item.prompt, item.prompt.target)):
        tokens = (element("li", text(label(token.text, 40))) for token in read.tokens)
        parts.append(element("ul", *tokens, class_="tokens"))
    return "\n".join([*parts, element("noscript", text(sentence("exercise.noscript")))])


def _questions(items: Iterable[Any], names: Names, digits: int) -> Iterator[str]:
    """Sentences, and a section of tables for each step."""
    step: list[str] = []
    for item in items:
        if isinstance(item, Say):
            yield element("p", _marked(item.words))
            continue
        if isinstance(item, StepTitle):
            yield from _section(step)
            step = [_title(item)]
        else:
            step.append(_matrix(item, names, digits))
    yield from _section(step)


def _section(step: list[str]) -> Iterator[str]:
    if step:
        title, *tables = step
        yield element("section", title, "\n", element("div", *tables, class_="steps"))


def _title(item: StepTitle) -> str:
    number = element("span", str(item.number), class_="number")
    name = text(sentence(f"step.name_{item.number}"))
    equation = element("p", _marked(item.equation), class_="equation")
    return element("h2", number, " ", name) + equation


def _matrix(item: Matrix, names: Names, digits: int) -> str:
    """A table whose blanks are fields."""
    shape, axes = "\u00d7".join(map(str, item.values.shape)), item.axes
    axes = axes or axes_of(crosses=item.crosses, columns_are_queries=False)
    texts = iter(numbers.column(item.values, digits))
    rows = [
        [_blank(number, names[number]) if number else text(written)
         for number, written in zip(line, texts, strict=False)]
        for line in item.blanks.tolist()
    ]  # fmt: skip
    caption = element("strong", text(str(item.name))) + text(f"   {shape}   {axes}")
    return _table(caption, f"{item.name}", map(str, item.columns), map(str, item.rows), rows)


def _blank(number: int, name: Words) -> str:
    """A field for an answer, called by its number and the place of its cell."""
    said = str(sentence("exercise.number", number=number))
    field = element(
        "input", type="text", inputmode="decimal", size=8, data_number=number,
        aria_label=f"{said} {name}".replace("`", ""),
    )  # fmt: skip
    return element("span", text(said), aria_hidden="true") + "\u00a0" + field


def _table(
    caption: str, name: str, headers: Iterable[str], rows: Iterable[str],
    cells: Iterable[Iterable[str]],
) -> str:  # fmt: skip
    """A table that scrolls by itself where it is too wide; `cells` are markup."""
    head = [element("td", " "), *(element("th", text(one) or " ", scope="col") for one in headers)]
    body = (
        element("tr", element("th", text(row) or " ", scope="row"),
                *(element("td", cell or " ") for cell in line))
        for row, line in zip(rows, cells, strict=True)
    )  # fmt: skip
    whole = element(
        "table", element("thead", element("tr", *head)), element("tbody", *body), aria_label=name
    )
    told = element("p", caption) if caption else ""
    return (
        element("div", told, whole, class_="scroll", tabindex=0, role="region", aria_label=name)
        + "\n"
    )


def _saving() -> str:
    said = _marked(sentence("exercise.fill"))
    button = element("button", text(sentence("exercise.save")), type="button", id="save")
    status = element("p", " ", id="status", role="status")
    return element("section", element("p", said), button, status, class_="saving")


def _key(item: Columns) -> str:
    """The key, on a page of its own where it is printed."""
    first, *columns = item.columns
    cells = zip(*(map(str, column.cells) for column in columns), strict=True)
    title = text(str(item.title))
    headers = (str(column.header) for column in columns)
    rows = ([_marked(cell) for cell in line] for line in cells)
    body = _table("", str(item.title), headers, map(str, first.cells), rows)
    return element("section", element("h2", title), body, class_="key")


def _marked(words: Words) -> str:
    """A sentence whose `names` between backticks are set apart."""
    parts = str(words).split("`")
    return "".join(element("code", text(p)) if n % 2 else text(p) for n, p in enumerate(parts))
