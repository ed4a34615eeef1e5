"""A sheet of `attn exercise` as a workbook: what to do, the matrices with their blanks, and the
answers, which follow the blanks and can be saved as CSV for `attn exercise --check`."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from attn_cli.records import Facts, Prompt
from attn_cli.views import exercise, form
from attn_cli.views.handout import command_of
from attn_cli.views.items import Columns, Matrix, Page, Say, StepTitle, axes_of
from attn_cli.views.workbook.sheets import column_name, shortest
from attn_cli.views.workbook.writing import Book, pattern, written
from attn_cli.words import sentence

if TYPE_CHECKING:
    from attn_cli.analysis.exercise import Sheet

ANSWERS, FILE = "answers", "answers.csv"
_WIDE, _NARROW, _NAMES = 76, 11, 24  # characters
_LINE = 16  # points
_BLANK = {"bg_color": "#FFE699", "border": 1, "bold": True, "align": "center"}


def render(
    model: Facts, prompt: Prompt, sheet: "Sheet", settings: Mapping[str, Any]
) -> Iterator[bytes]:
    """The workbook in one piece. Raises ContentError where the writer is not installed."""
    heading, *items = exercise.questions(model, prompt, sheet, settings)
    title = sentence("exercise.title", where=heading.where, model=model.name)
    said = [str(item.words) for item in items if isinstance(item, Say)]
    said += [sentence("exercise.yellow"), sentence("exercise.as_csv")]
    command = command_of(model, prompt, sheet, settings, FILE)

    def fill(book: Any) -> None:
        writer = _Writer(book, settings["digits"])
        writer.first(title, said, command)
        writer.questions(title, items)
        writer.answers(sheet)
        if sheet.keyed:
            writer.key(exercise.key(prompt, sheet))

    yield written(fill)


class _Writer(Book):
    """Writes a sheet with so many decimals; `places` are the cells of its blanks."""

    def __init__(self, book: Any, digits: int) -> None:
        super().__init__(book)
        self.digits, self.places = digits, dict[int, str]()
        self.blank = book.add_format({"quote_prefix": True, **_BLANK})
        self.above = book.add_format({
            "quote_prefix": True, "bold": True, "bottom": 1, "align": "right",
        })  # fmt: skip
        self.folded = book.add_format({"quote_prefix": True, "text_wrap": True, "valign": "top"})

    def first(self, title: str, said: list[str], command: str) -> None:
        """What to do with the workbook."""
        page = self.book.add_worksheet(sentence("exercise.read_me"))
        page.set_column(0, 0, _WIDE)
        self.text(page, 0, 0, title, self.title)
        page.fit_to_pages(1, 0)
        for row, words in enumerate([*said, command], 2):
            wide = sum(1 if char.isascii() else 2 for char in words)
            page.set_row(row, _LINE * (1 + wide // _WIDE))
            self.text(page, row, 0, words, self.folded)

    def questions(self, title: str, items: Page) -> None:
        """The matrices of every step, one below the other."""
        self.name = sentence("exercise.sheet")
        page = self.book.add_worksheet(self.name)
        page.set_column(0, 0, _NAMES)
        page.set_column(1, 1 + max(i.values.shape[1] for i in items if isinstance(i, Matrix)),
                        _NARROW)  # fmt: skip
        page.set_paper(9)
        page.fit_to_pages(1, 0)
        self.text(page, 0, 0, title, self.title)
        row = 2
        for item in items:
            if isinstance(item, StepTitle):
                name = sentence(f"step.name_{item.number}")
                self.text(page, row, 0, f"{item.number}  {name}   {item.equation}", self.title)
                row += 2
            elif isinstance(item, Matrix):
                self._matrix(page, row, item)
                row += len(item.values) + 3

    def _matrix(self, page: Any, top: int, item: Matrix) -> None:
        axes = item.axes or axes_of(crosses=item.crosses, columns_are_queries=False)
        shape = "×".join(map(str, item.values.shape))
        self.text(page, top, 0, f"{item.name}   {shape}   {axes}", self.plain)
        self.text(page, top + 1, 0, "", self.heading)
        for column, word in enumerate(item.columns, 1):
            self.text(page, top + 1, column, str(word), self.above)
        look = self.format(pattern(item.values, self.digits))
        for row, values in enumerate(shortest(item.values).tolist()):
            at = top + 2 + row
            self.text(page, at, 0, str(item.rows[row]), self.plain)
            for column, value in enumerate(values):
                number = item.blanks[row, column]
                if number:
                    self._blank(page, at, 1 + column, number)
                else:
                    self.number(page, at, 1 + column, value, look)

    def _blank(self, page: Any, row: int, column: int, number: int) -> None:
        self.text(page, row, column, sentence("exercise.number", number=number), self.blank)
        page.data_validation(row, column, row, column, {
            "validate": "decimal", "criteria": "between", "minimum": -1e30, "maximum": 1e30,
            "input_title": sentence("exercise.number_here", number=number),
            "input_message": sentence("exercise.only_number"),
            "error_title": sentence("exercise.number_here", number=number),
            "error_message": sentence("exercise.only_number"),
        })  # fmt: skip
        self.places[number] = f"'{self.name}'!{column_name(column)}{row + 1}"

    def answers(self, sheet: "Sheet") -> None:
        """The rows that are saved as CSV: each answer is the number in its blank, if it is one."""
        page = self.book.add_worksheet(ANSWERS)
        page.set_column(0, len(form.COLUMNS) - 1, 16)
        for column, name in enumerate(form.COLUMNS):
            self.text(page, 0, column, name, self.heading)
        for row, blank in enumerate(sheet.blanks, 1):
            for column, value in enumerate(form.told(blank)):
                if isinstance(value, str):
                    self.text(page, row, column, value, self.plain)
                else:
                    page.write_number(row, column, value)
            place = self.places[blank.number]
            answer = f'=IF(ISNUMBER({place}),{place},"")'
            page.write_formula(row, len(form.COLUMNS) - 1, answer, None, "")

    def key(self, key: Columns) -> None:
        """Every blank with its answer."""
        page = self.book.add_worksheet(str(key.title))
        page.set_column(0, len(key.columns) - 1, _NAMES)
        for column, one in enumerate(key.columns):
            self.text(page, 0, column, one.header, self.heading)
            for row, cell in enumerate(one.cells, 1):
                self.text(page, row, column, cell, self.plain)
