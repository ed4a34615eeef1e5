"""How two results of scans differ as one HTML file, whose table can be sorted."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from attn_cli.records import Facts
from attn_cli.views import shifts
from attn_cli.views.items import Say
from attn_cli.views.markup import element, text
from attn_cli.views.scan import at, name_of
from attn_cli.views.scan_html import file, number, sorter, start
from attn_cli.words import Note, note, sentence

if TYPE_CHECKING:
    from attn_cli.scanning.compare import Shifts

_NUMBERS = ("size", "left", "right", "difference")


def render(model: Facts, found: "Shifts", notes: Sequence[Note] = ()) -> Iterator[bytes]:
    """The page in pieces."""
    names = {"compare.left": model.name, "compare.right": found.right.model.name}
    title = " · ".join(f"{sentence(side)}: {name}" for side, name in names.items())
    said = [item for item in shifts.page(model, found) if isinstance(item, Say)]
    told = [element("p", text(str(item.words)), class_="" if item.role == "headline" else "aside")
            for item in said]  # fmt: skip
    told += [element("p", text(str(one)), class_="aside") for one in notes]
    begun = start(title, element("h1", text(title)), *told, _differs(found))
    yield begun.encode("utf-8", "replace")
    yield _table(model, found).encode("utf-8", "replace")
    script = element("script", file("sorting", "mjs"))
    yield f"</main>{script}</body></html>\n".encode()


def _differs(found: "Shifts") -> str:
    names = ("shifts.setting", "compare.column_a", "compare.column_b")
    header = element("tr", *(element("th", text(str(note(name))), scope="col") for name in names))
    rows = [
        element("tr", element("th", text(row[0]), scope="row"),
                *(element("td", text(cell)) for cell in row[1:]))
        for row in shifts.differing(found)
    ]  # fmt: skip
    return _wide("shifts.differs", "", header, rows) if rows else ""


def _table(model: Facts, found: "Shifts") -> str:
    names = (
        "column.head_number", "scan.measure", "shifts.size", "compare.column_a",
        "compare.column_b", "compare.column_change",
    )  # fmt: skip
    header = element("tr", *(sorter(str(note(name)), "up" if place < 2 else "down")
                             for place, name in enumerate(names)))  # fmt: skip
    measures = list(dict.fromkeys(one.measure for one in found.shifts))
    rows = [
        element("tr", element("th", text(str(at(model, one))), scope="row",
                              data_value=f"{one.layer * 10**6 + one.head}"),
                element("td", text(str(name_of(one.measure))),
                        data_value=f"{measures.index(one.measure)}"),
                *(number(getattr(one, name)) for name in _NUMBERS))
        for one in found.shifts
    ]  # fmt: skip
    return _wide("shifts.ranking", "ranking", header, rows)


def _wide(key: str, id: str, header: str, rows: Sequence[str]) -> str:
    name = sentence(key)
    table = element(
        "table", element("caption", text(name)), element("thead", header),
        element("tbody", *rows), id=id,
    )  # fmt: skip
    return element("div", table, class_="wide", tabindex="0", role="region", aria_label=name)
