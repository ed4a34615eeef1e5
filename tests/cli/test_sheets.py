"""Sheets to hand out: what is filled in comes back, and a wrong number is told, in every format."""

import csv
import html.parser
import io
import json
import re
import shlex
from pathlib import Path

import chromium
import pytest
import workbooks
from html_pages import HOSTILE

from attn_cli.views.form import COLUMNS

PENCIL = ("exercise", "--model", "pencil", "--seed", "7", "--quiet")
GOLDEN = Path(__file__).parents[1] / "golden"
# "not scaled" of the cell that is blank (6), and its answer.
NOT_SCALED, SCALED = 24, 16.97


def key_of(attn, *asked):
    blanks = attn(*asked, "--key", "--json").json["result"]["blanks"]
    return {blank["number"]: blank["answer"] for blank in blanks}


def marks(run):
    return {mark["number"]: mark for mark in run.json["result"]["marks"]}


def told(attn, path, *more):
    """What is said of a file of answers: right ones but for (6), which is not scaled."""
    run = attn("exercise", "--check", path, "--json", "--quiet", *more, partial=True)
    assert run.code == 1
    found = marks(run)
    assert found.pop(6)["mistakes"] == ["not_scaled"]
    assert {mark["verdict"] for mark in found.values()} == {"right"}


@pytest.fixture(scope="module")
def browser():
    with chromium.browser() as found:
        yield found


# --- html ----------------------------------------------------------------------------------------


class Read(html.parser.HTMLParser):
    """The fields of a page, and the text of its cells."""

    def __init__(self, text):
        super().__init__()
        self.fields, self.cells, self.inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.inside = tag == "td"
        if tag == "input":
            self.fields.append(dict(attrs))

    def handle_data(self, data):
        if self.inside and data.strip():
            self.cells.append(data)


def test_blanks_are_fields_and_no_answer_is_in_the_page(attn):
    plain, keyed = (attn(*PENCIL, "--format", "html", *more).text for more in ((), ("--key",)))
    found = Read(plain)
    assert [field["data-number"] for field in found.fields] == [str(n) for n in range(1, 9)]
    assert found.fields[5]["aria-label"] == "(6) scaled   cats · cats"
    assert all("value" not in field for field in found.fields)
    assert str(SCALED) not in plain.replace("-16.97", "").replace("−16.97", "")
    assert Read(keyed).cells.count(str(SCALED)) == 1
    for page in (plain, keyed):
        data = json.loads(re.search(r'type="application/json">(.*?)</script>', page)[1])
        assert {one["answer"] for one in data["sheet"]["result"]["blanks"]} == {None}
    shown = [[c for row in t["values"] for c in row] for t in attn(*PENCIL, "--json").json[
        "result"]["tables"]]  # fmt: skip
    numbers = [f"{c:.2f}".replace("-", "−") for values in shown for c in values if c is not None]
    assert [c for c in found.cells if "(" not in c and c.strip("\xa0")] == numbers


def test_the_page_asks_for_nothing_and_a_token_is_text(attn):
    saved = attn(*PENCIL, "--json").text
    for text in HOSTILE:
        page = attn("show", "--format", "html", stdin=saved.replace('"dogs"', json.dumps(text))
                    .encode()).text  # fmt: skip
        assert page.count("<script") == 2 and "<img" not in page
        assert not re.search(r"(?:src|href)=\"(?!data:)", page)


@pytest.mark.skipif(bool(chromium.missing()), reason=chromium.missing())
def test_what_is_typed_in_a_browser_is_saved_and_checked(attn, tmp_path, browser):
    path, answers = tmp_path / "sheet.html", key_of(attn, *PENCIL)
    assert attn(*PENCIL, "--out", path).code == 0
    status = ("read", "document.getElementById('status').textContent")
    typed = {**answers, 6: NOT_SCALED, 3: ""}
    fill = [("fill", f'[data-number="{n}"]', str(typed[n]).replace(".", ",")) for n in typed]
    here = ("read", "document.activeElement.dataset.number || document.activeElement.id")
    results = browser.open(
        path, *fill, ("fill", '[data-number="2"]', "x"), ("click", "#save"), status, here,
        ("fill", '[data-number="2"]', f" {answers[2]} "), ("press", "Enter"), here,
        ("fill", '[data-number="3"]', str(answers[3])), ("press", "Tab"), here,
        ("download", "#save"), status, ("axe",),
    )  # fmt: skip
    wrong, first, after, tabbed, file, said, faults = results
    assert wrong.startswith("(2) is no number") and first == "2"
    assert (after, tabbed) == ("3", "4")
    assert file["name"] == "answers.json" and said == "8 of 8 answers are in answers.json."
    assert faults == []
    (tmp_path / "answers.json").write_text(file["text"])
    told(attn, tmp_path / "answers.json")
    (scheme, narrow) = browser.open(
        path, ("axe",), ("read", "document.documentElement.scrollWidth"), scheme="dark", width=390
    )
    assert scheme == [] and narrow <= 390


# --- csv -----------------------------------------------------------------------------------------


def rows_of(attn, *asked):
    return list(csv.reader(io.StringIO(attn(*asked, "--format", "csv").text)))


def saved(rows, mark=",", decimal=".", end="\n", start="", **how):
    out = io.StringIO()
    written = [[c.replace(".", decimal) for c in row] for row in rows]
    csv.writer(out, delimiter=mark, lineterminator=end, **how).writerows(written)
    return (start + out.getvalue()).encode()


WAYS = {
    "plain": {}, "german": {"mark": ";", "decimal": ",", "end": "\r\n", "start": "\ufeff"},
    "quoted": {"decimal": ",", "quoting": csv.QUOTE_ALL}, "tabs": {"mark": "\t", "end": "\r\n"},
    "old": {"end": "\r"},
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_form_as_spreadsheets_save_it_is_checked(attn, tmp_path, way):
    rows = rows_of(attn, *PENCIL, "--key")
    assert tuple(rows[0]) == COLUMNS
    path = tmp_path / "answers.csv"
    path.write_bytes(saved(rows, **WAYS[way]))
    run = attn(*PENCIL, "--check", path)
    assert "All 8 are right." in run.text
    rows[6][-1] = f"\u2212{NOT_SCALED}".lstrip("\u2212")
    path.write_bytes(saved([*rows, [], [""] * len(COLUMNS)], **WAYS[way]))
    told(attn, path, *PENCIL[1:-1])


def test_columns_stand_in_any_order_and_some_can_be_left_out(attn, tmp_path):
    path = tmp_path / "mine"
    path.write_bytes("Answer;name;BLANK\n24;Ren\xe9;6\n;;1\n".encode("latin-1"))
    found = marks(attn(*PENCIL, "--check", path, "--json", partial=True))
    assert found[6]["mistakes"] == ["not_scaled"]
    assert [found[n]["verdict"] for n in (1, 2)] == ["empty", "empty"]


BAD = [
    (b"", "lacks the column blank"),
    (b"blank,value\n1,2\n", "lacks the column answer"),
    (b"blank,answer,answer\n1,2,3\n", "has twice the column answer"),
    (b"blank,answer\n1,2\n1,3\n", "answers '1' twice"),
    (b"blank,answer\n9,2\n", "there is no blank '9'"),
    (b"blank,answer\n(1),2\n", "there is no blank '(1)'"),
    (b"blank,answer\n,2\n", "there is no blank ''"),
    (b'blank,answer\n1,"1.234,5"\n', "is no number: 1.234,5"),
    (b"blank,answer\n1,1e999\n", "is no number: 1e999"),
    (b"blank,answer\n1,nan\n", "is no number: nan"),
    ("blank,answer\n1,\u0663\n".encode(), "is no number"),
    (b'blank,answer\n1,"2\n', "is no CSV"),
    (b"blank,answer\n1," + b"9" * 200_000 + b"\n", "is no CSV"),
    ("blank\tanswer\n".encode("utf-16"), "is no CSV"),
    (b"PK\x03\x04rest", "is a workbook"),
    (b"blank,answer,array,row,column\n1,2,x,0,0\n", "has x 0 0 as blank 1; on this sheet it is"),
]


@pytest.mark.parametrize(("data", "said"), BAD, ids=lambda value: str(value)[:40])
def test_bad_tables_are_refused(attn, tmp_path, data, said):
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    run = attn(*PENCIL, "--check", path)
    assert run.code == 1
    assert said in run.said


# --- the workbook --------------------------------------------------------------------------------


def test_a_workbook_has_blanks_that_the_answers_follow(attn):
    data = attn(*PENCIL, "--format", "xlsx").out
    sheets = workbooks.read(data)
    assert list(sheets) == ["read me", "exercise", "answers"]
    assert not [c for c in sheets["exercise"].values() if c.value == SCALED]
    for number in range(1, 9):
        formula = sheets["answers"][f"H{number + 1}"].formula
        at = re.fullmatch(r"IF\(ISNUMBER\('exercise'!(\w+)\),'exercise'!\1,\"\"\)", formula)[1]
        assert sheets["exercise"][at].value == f"({number})"
    rows = rows_of(attn, *PENCIL)
    for n, row in enumerate(rows, 1):
        cells = [sheets["answers"].get(f"{letter}{n}") for letter in "ABCDEFG"]
        assert [str(c.value).removesuffix(".0") if c else "" for c in cells] == row[:-1]
    assert list(workbooks.read(attn(*PENCIL, "--format", "xlsx", "--key").out))[3:] == ["the key"]
    assert attn(*PENCIL, "--format", "xlsx").out == data
    assert "习题" in workbooks.read(attn(*PENCIL, "--format", "xlsx", "--lang", "zh").out)


SHEETS = [
    ("dogs chase", "-m", "pencil", "--blanks", "5", "--step", "3,5"),
    ('the "king"', "-m", "tiny", "--layer", "1", "--head", "3", "--digits", "4"),
    ("-the king", "-m", "tiny"),
    ("the $king", "--layer", "1"),
    ("the king [MASK]", "-m", "tiny-encoder", "--no-special"),
    ("the king", "-m", "tiny-translator", "--target", "中国 最", "--kind", "cross"),
    ("the king", "-m", "tiny-translator", "--stack", "encoder"),
    ("--ids", "5,6,7", "-m", GOLDEN / "bloom"),
    ("the king", "-m", "random:layers=1,heads=2"),
]


@pytest.mark.parametrize("asked", SHEETS, ids=str)
def test_the_command_of_a_workbook_checks_its_answers(attn, tmp_path, asked):
    asked = ("exercise", "--seed", "3", "--quiet", *(["--"] * (asked[0][:4] == "-the")), *asked)
    if "--" in asked:
        asked = ("exercise", "--seed", "3", "--quiet", "-m", "tiny", "--", "-the king")
        options = ("exercise", "--seed", "3", "--quiet", "-m", "tiny")
    else:
        options = asked
    rest = asked[len(options) :]
    sheets = workbooks.read(attn(*options, "--format", "xlsx", *rest).out)
    (command,) = [c.value for c in sheets["read me"].values() if str(c.value).startswith("attn ")]
    (tmp_path / "answers.csv").write_bytes(attn(*options, "--format", "csv", "--key", *rest).out)
    name, *typed, file = shlex.split(command)
    assert (name, file) == ("attn", "answers.csv")
    assert attn(*typed, tmp_path / "answers.csv", "--quiet").code == 0


# --- all of them ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["html", "xlsx", "csv"])
def test_a_saved_sheet_is_written_the_same(attn, kind):
    document = attn(*PENCIL, "--json").out
    shown = attn("show", "--format", kind, stdin=document)
    assert shown.out == attn(*PENCIL, "--format", kind).out
    run = attn("show", "--format", kind, stdin=attn("heads", "the", "--json", "--quiet").out)
    assert run.code == 2 and f"attn.heads/1 cannot be written as {kind}" in run.said


def test_what_cannot_be_handed_out_is_refused(attn, tmp_path):
    path = tmp_path / "a.json"
    path.write_text("{}")
    for more, said in (
        (("--check", path), "--check cannot be written as html"),
        (("--each", "line"), "--each cannot be written as html"),
        (("--full",), "no such option"),
    ):
        run = attn(*PENCIL, "--format", "html", *more, stdin=b"dogs\n")
        assert (run.code, said in run.said) == (2, True), run
    checked = attn(*PENCIL, "--check", path, "--json", partial=True).out
    assert attn("show", "--format", "xlsx", stdin=checked).code == 2


CHANGED = [
    ('"row":1,', '"row":9,'), ('"digits":2', '"digits":5000'), ('"digits":2', '"digits":"x"'),
    ('"step":[]', '"step":7'), ('"seed":7', '"seed":[1]'), ('"number":2,', '"number":1,'),
    ('"number":2,', '"number":90,'), ('"row_token":"dogs"', '"row_token":7'),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["html", "xlsx", "csv"])
@pytest.mark.parametrize(("old", "new"), CHANGED)
def test_a_damaged_sheet_is_refused(attn, kind, old, new):
    document = attn(*PENCIL, "--json").text.replace(old, new)
    run = attn("show", "--format", kind, stdin=document.encode())
    assert (run.code, run.out) == (1, b""), run
