"""Workbooks read, changed and computed again, without the library that wrote them."""

import csv
import io
import re
import shutil
import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as Tree

import numpy as np

SOFFICE = shutil.which("soffice")
_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_LINK = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_ESCAPE = "_x([0-9A-F]{4})_"
_WORDS = {"−∞": -np.inf, "∞": np.inf, "NaN": np.nan}
_ALWAYS = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
<item oor:path="/org.openoffice.Office.Calc/Formula/Load">
<prop oor:name="OOXMLRecalcMode" oor:op="fuse"><value>0</value></prop></item></oor:items>
"""


class Cell:
    """What a cell holds: a text or a number, and its formula if it has one."""

    def __init__(self, element: Tree.Element, strings: Sequence[str]) -> None:
        kind, formula = element.get("t", "n"), element.find(f"{_MAIN}f")
        found = element.find(f"{_MAIN}v")
        text = "" if found is None or found.text is None else found.text
        self.formula = "" if formula is None else formula.text
        self.value = (
            strings[int(text)]
            if kind == "s"
            else text
            if kind == "str" or not text
            else float(text)
        )


def read(data: bytes) -> dict[str, dict[str, Cell]]:
    """Each sheet's cells by their names, `B3`; every part of the file is valid XML."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert file.testzip() is None
        parts = {name: Tree.fromstring(file.read(name)) for name in file.namelist()}
    strings = [
        re.sub(
            _ESCAPE,
            lambda found: chr(int(found[1], 16)),
            "".join(text.text or "" for text in one.iter(f"{_MAIN}t")),
        )
        for one in parts["xl/sharedStrings.xml"]
    ]
    targets = {one.get("Id"): one.get("Target") for one in parts["xl/_rels/workbook.xml.rels"]}
    found = {}
    for sheet in parts["xl/workbook.xml"].iter(f"{_MAIN}sheet"):
        page = parts[f"xl/{targets[sheet.get(_LINK)].removeprefix('/xl/')}"]
        cells = [c for c in page.iter(f"{_MAIN}c") if c.find(f"{_MAIN}v") is not None]
        found[sheet.get("name")] = {c.get("r"): Cell(c, strings) for c in cells}
    return found


def matrix(cells: Mapping[str, Cell], columns: int) -> np.ndarray:
    """The numbers of a sheet of an array that has so many columns; −∞ and NaN as such."""
    rows = max(int(re.sub(r"\D", "", name)) for name in cells)
    table = [[cells[f"{letters(c)}{r}"].value for c in range(columns)] for r in range(3, rows + 1)]
    return np.array([[number(value) for value in row] for row in table])


def number(value: str | float) -> float:
    return _WORDS[value] if isinstance(value, str) else value


def letters(column: int) -> str:
    """The letters of a column of numbers, the first of which is B."""
    first, last = divmod(column + 1, 26)
    assert first <= 26
    return (chr(ord("@") + first) if first else "") + chr(ord("A") + last)


def changed(data: bytes, changes: Mapping[str, Mapping[str, float]]) -> bytes:
    """The file with other numbers in some cells, as a person types them; nothing else moves."""
    out = io.BytesIO()
    names = list(read(data))
    with zipfile.ZipFile(io.BytesIO(data)) as file, zipfile.ZipFile(out, "w") as new:
        for name in file.namelist():
            text = file.read(name).decode()
            for sheet, cells in changes.items():
                if name == f"xl/worksheets/sheet{names.index(sheet) + 1}.xml":
                    for cell, value in cells.items():
                        pattern = rf'(<c r="{cell}"[^>]*?)( t="\w+")?>.*?</c>'
                        put = rf"\g<1>><v>{value}</v></c>"
                        text, count = re.subn(pattern, put, text)
                        assert count == 1
            new.writestr(name, text)
    return out.getvalue()


# Every sheet as a file, comma and quotes, UTF-8, numbers with all their digits.
_CSV = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,false,false,false,false,-1"


def recalculated(files: Mapping[str, bytes], folder: Path) -> dict[str, dict[str, Path]]:
    """What LibreOffice saves as CSV, sheet by sheet, when it computes every formula of workbooks
    anew: it is started once for all of them."""
    settings = folder / "profile" / "user"
    settings.mkdir(parents=True)
    (settings / "registrymodifications.xcu").write_text(_ALWAYS)
    paths = [folder / f"{name}.xlsx" for name in files]
    for path, data in zip(paths, files.values(), strict=True):
        path.write_bytes(data)
    out = folder / "out"
    subprocess.run(
        [SOFFICE, f"-env:UserInstallation={(folder / 'profile').as_uri()}", "--headless",
         "--convert-to", _CSV, "--outdir", out, *paths],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    return {
        name: {sheet: out / f"{name}-{sheet}.csv" for sheet in read(data)}
        for name, data in files.items()
    }


def saved_matrix(path: Path, columns: int) -> np.ndarray:
    """As `matrix`, of a sheet that was saved as CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row[1 : columns + 1] for row in csv.reader(file)][2:]
    return np.array([[_WORDS[value] if value in _WORDS else float(value) for value in row]
                     for row in rows])  # fmt: skip


# --- a spreadsheet, as far as these formulas go --------------------------------------------------

_AREA = r"(\w+)!\$?([A-Z]+)\$?(\d+):\$?([A-Z]+)\$?(\d+)"
_CELL = r"(\w+)!\$?([A-Z]+)\$?(\d+)"


_COLUMNS = [letters(n) for n in range(-1, 700)]


def _largest(*parts: np.ndarray) -> float:
    """The largest number; 0 where there is none."""
    every = np.concatenate([np.ravel(part) for part in parts])
    return max(every[~np.isnan(every)], default=0.0)


class Computed:
    """The numbers of a workbook, formulas computed anew from what they point to.

    Texts are NaN: no formula computes with them.
    """

    def __init__(self, data: bytes) -> None:
        self.sheets, self._known = read(data), {}
        settings = self.sheets["settings"]
        rows = range(3, 3 + sum(name[0] == "A" for name in settings) - 2)
        names = {settings[f"A{row}"].value: self.cell("settings", f"B{row}") for row in rows}
        self._words = {
            **names, "__builtins__": {}, "area": self.area, "cell": self.cell,
            "MMULT": lambda a, b: (a @ b).item(), "SUMPRODUCT": lambda *a: np.prod(a, axis=0).sum(),
            "SUM": np.sum, "SUMSQ": lambda a: np.square(a).sum(), "AVERAGE": np.mean,
            "VARP": np.var, "SQRT": np.sqrt, "EXP": np.exp, "TANH": np.tanh, "COS": np.cos,
            "SIN": np.sin, "ABS": np.abs, "ISNUMBER": lambda a: not np.isnan(a),
            "IF": lambda a, b, c: b if a else c, "MIN": min,
"MAX": _largest,
        }  # fmt: skip

    def cell(self, sheet: str, name: str) -> np.float64:
        if (sheet, name) not in self._known:
            found = self.sheets[sheet][name]
            value = found.value if isinstance(found.value, float) else np.nan
            if found.formula:
                text = re.sub(_AREA, r"area('\1','\2',\3,'\4',\5)", found.formula)
                text = re.sub(_CELL, r"cell('\1','\2\3')", text)
                with np.errstate(all="ignore"):
                    value = eval(re.sub(r"(?<![<>])=", "==", text), self._words)
            self._known[sheet, name] = np.float64(value)
        return self._known[sheet, name]

    def area(self, sheet: str, left: str, top: int, right: str, bottom: int) -> np.ndarray:
        columns = _COLUMNS[_COLUMNS.index(left) : _COLUMNS.index(right) + 1]
        rows = range(top, bottom + 1)
        return np.array([[self.cell(sheet, f"{c}{r}") for c in columns] for r in rows])

    def matrix(self, sheet: str, columns: int) -> np.ndarray:
        """As `matrix`, computed anew; a text is −∞."""
        rows = max(int(re.sub(r"\D", "", name)) for name in self.sheets[sheet])
        found = self.area(sheet, "B", 3, letters(columns - 1), rows)
        return np.where(np.isnan(found), -np.inf, found)
