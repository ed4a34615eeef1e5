"""Results of scans read again: every form, what is drawn, what is refused, two compared."""

import csv
import io
import json
import math
import re

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli.conftest import run

from attn_cli import session, vocabulary
from attn_cli.cli.schema import document_schema
from attn_cli.errors import ContentError
from attn_cli.views import parquet, parquet_apart, saved_scan, scan_rows
from attn_cli.views.check import fault
from attn_cli.views.json import encode

LINES = [
    f"the {a} is a {b} and the {a}\n" for a in ("king", "queen", "man") for b in ("wife", "man")
]


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    """One scan in every form that can be read again."""
    folder = tmp_path_factory.mktemp("forms")
    (folder / "x.txt").write_text("".join(LINES))
    for name in ("a.parquet", "a.json", "a.jsonl"):
        assert run("scan", folder / "x.txt", "--by", "token", "--out", folder / name).code == 0
    what_if = ("--mask", "window:2", "--out", folder / "b.json")
    assert run("scan", folder / "x.txt", *what_if).code == 0
    return folder


def lines_of(forms):
    return (forms / "a.jsonl").read_bytes().splitlines()


def test_every_form_is_the_same_document_and_page(attn, forms):
    shown = [attn("show", forms / f"a.{kind}", "--json").out for kind in ("json", "jsonl")]
    data = (forms / "a.parquet").read_bytes()
    shown.append(attn("show", "--json", stdin=data).out)
    assert shown[0] == shown[1] == shown[2]
    assert json.loads(shown[0])["result"] == json.loads((forms / "a.json").read_bytes())["result"]
    schema = document_schema("scan", line=True)
    assert {fault(schema, json.loads(line)) for line in lines_of(forms)} == {""}


@pytest.mark.parametrize("column", ["first", "entropy"])
def test_a_ranking_is_that_of_sql(attn, forms, column):
    order = "ASC" if column in vocabulary.SMALLEST_FIRST else "DESC"
    table, name = forms / "a.parquet", vocabulary.SCAN_COLUMNS[column]
    wanted = duckdb.sql(
        f"SELECT layer, head, mean, deviation FROM '{table}' WHERE measure = '{name}' "
        f"ORDER BY mean {order}, layer, head"
    ).fetchall()
    found = attn("show", forms / "a.json", "--sort", column, "--format", "json").json
    heads = found["result"]["heads"]
    assert found["settings"]["sort"] == column
    told = [next(m for m in head["measures"] if m["measure"] == name) for head in heads]
    assert [(h["layer"], h["head"]) for h in heads] == [row[:2] for row in wanted]
    numbers = [(m["mean"], m["deviation"]) for m in told]
    assert np.allclose(numbers, [row[2:] for row in wanted], rtol=1e-6)
    page = attn("show", forms / "a.json", "--sort", column).text.partition("──\n")[2]
    ranked = [line.split()[0] for line in page.splitlines()[: len(wanted)]]
    assert ranked == [f"{layer}.{head}" for layer, head, *_ in wanted]
    rows = list(csv.DictReader(io.StringIO(
        attn("show", forms / "a.json", "--sort", column, "--format", "csv").text)))  # fmt: skip
    assert [(r["layer"], r["head"]) for r in rows[:: len(rows) // len(wanted)]] == [
        (str(a), str(b)) for a, b, *_ in wanted
    ]


def test_the_examples_of_a_head_are_drawn_with_the_model_s_own_weights(attn, forms):
    found = attn("show", forms / "a.json", "--head", "1.3", "--sort", "previous", "--json").json
    (head,) = found["result"]["heads"]
    assert (head["layer"], head["head"]) == (1, 3)
    (measure,) = (m for m in head["measures"] if m["measure"] == "previous_share")
    first = measure["examples"][0]
    text = found["result"]["texts"][first["text"]]
    weights = session.trace(ids=text["ids"], layer=1, head=3).attention[0].weights[0]
    assert first["value"] == pytest.approx(weights[first["query"], first["query"] - 1], rel=1e-6)
    page = attn("show", forms / "a.json", "--head", "1.3", "--sort", "previous")
    assert page.text.count("fuller = more") == len(measure["examples"])
    svg = attn("show", forms / "a.json", "--head", "1.3", "--sort", "previous", "--format", "svg")
    cell = f"{weights[first['query'], first['query'] - 1]:.2f}"
    assert f">{cell}<" in svg.text and svg.text.count("<g") > len(measure["examples"])


def test_every_measure_is_found_again(attn, forms):
    for column in vocabulary.SCAN_COLUMNS:
        if column != "sink":
            page = attn("show", forms / "a.json", "--head", "0.2", "--sort", column).text
            assert "computed again" in page and "not drawn" not in page


@pytest.mark.parametrize("more, said", [
    (("-m", "tiny-encoder"), "tiny-encoder has other sizes than the model that was scanned"),
    (("-m", "{other}"), "so it is another model"),
])  # fmt: skip
def test_another_model_draws_nothing_and_the_page_says_why(attn, forms, tmp_path, more, said):
    import shutil
    from pathlib import Path

    other = shutil.copytree(Path(vocabulary.__file__).parent / "data/tiny", tmp_path / "other")
    weights = next(other.glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    floats = np.frombuffer(data[-200_000:], "<f4") * np.float32(1.5)
    weights.write_bytes(data[:-200_000] + floats.tobytes())
    more = [word.format(other=other) for word in more]
    page = attn("show", forms / "a.json", "--head", "1.3", *more, "--full")
    assert said in " ".join(page.text.split()) and "fuller = more" not in page.text
    assert "[" in page.text  # the query among its tokens


def test_a_model_at_a_path_is_opened_by_who_names_it(attn, forms, tmp_path):
    document = json.loads((forms / "a.json").read_bytes())
    document["settings"]["model"] = "/dev/zero"
    data = json.dumps(document).encode()
    found = attn("show", "--head", "0.1", stdin=data)
    assert "`--model` opens /dev/zero" in found.text
    assert "computed again" in attn("show", "--head", "0.1", "-m", "tiny", stdin=data).text


def test_a_picture_of_all_heads(attn, forms):
    result = json.loads((forms / "a.json").read_bytes())["result"]
    svg = attn("show", forms / "a.json", "--sort", "distance", "--format", "svg").text
    for head in result["heads"]:
        (mean,) = (m["mean"] for m in head["measures"] if m["measure"] == "distance")
        assert f">{mean:.2f}<" in svg


@pytest.mark.parametrize("typed, said", [
    (("{a}", "--head", "2.0"), "--head 2.0"),
    (("{a}", "--head", "1"), "--head '1' is not L.H"),
    (("{a}", "--sort", "sink"), "nothing of --sort sink was measured"),
    (("{a}", "--sort", "bogus"), "--sort 'bogus' is unknown"),
    (("{a}", "--kind", "cross", "--head", "0.0"), "--kind cross"),
    (("{a}", "-m", "tiny"), "--model does nothing without --head"),
    (("{a}", "--format", "npz"), "cannot be written as npz"),
    (("{a}", "--step", "3"), "has no steps"),
])  # fmt: skip
def test_what_is_typed_wrongly(attn, forms, typed, said):
    found = attn("show", *(word.format(a=forms / "a.json") for word in typed))
    assert found.code == 2 and said in found.said


# --- Parquet that is none of ours ----------------------------------------------------------------


def told(data):
    """What is said of it, without a process of its own."""
    with pytest.raises(ContentError) as problem:
        parquet_apart.rows(data, 1 << 30)
    return problem.value.message


def stored(table):
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def test_foreign_tables_are_refused_by_what_is_wrong(forms):
    table = pq.read_table(forms / "a.parquet")
    about = table.schema.metadata[parquet.DOCUMENT]
    assert told(stored(pa.table({"x": [1]}))) == "it is Parquet, but no table of attn scan"
    assert "has no column mean" in told(stored(table.drop_columns(["mean"])))
    assert "unknown column 'more'" in told(stored(table.append_column("more", table["mean"])))
    place = table.column_names.index("mean")
    texts = table.set_column(place, "mean", table["mean"].cast(pa.string()))
    assert "its column mean is of another type, string" in told(stored(texts))
    for other, said in (
        (b"{", "it is not JSON"), (b"[]", "no document of attn"), (b"{}", "no schema of attn"),
        (about.replace(b"attn.scan/1", b"attn.scan/2"), "this attn reads attn.scan/1"),
        (b"[" * 10**6, "it is not JSON"),
    ):  # fmt: skip
        assert said in told(stored(table.replace_schema_metadata({parquet.DOCUMENT: other})))
    with pytest.raises(ContentError, match="of memory, more than half"):
        parquet_apart.rows((forms / "a.parquet").read_bytes(), 1000)


def test_a_damaged_table_is_said_to_be_one(attn, forms, tmp_path):
    data = (forms / "a.parquet").read_bytes()
    for cut in range(8, len(data), len(data) // 40):
        assert told(data[:cut]) == parquet_apart.UNREADABLE
    whole, refused = encode(parquet_apart.rows(data, 1 << 30)), 0
    footer = len(data) - int.from_bytes(data[-8:-4], "little") - 8
    for place in range(4, footer, footer // 40):  # its pages have checksums
        changed = data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]
        try:
            found = parquet_apart.rows(changed, 1 << 30)
        except ContentError as problem:
            assert problem.message == parquet_apart.UNREADABLE
            refused += 1
        else:  # in what is no part of a row
            assert encode(found) == whole, place
    assert refused > 30
    (tmp_path / "cut.parquet").write_bytes(data[:-100])
    found = attn("show", tmp_path / "cut.parquet")
    assert found.code == 1 and "it begins as Parquet and cannot be read" in found.said


def test_a_library_that_ends_its_process_ends_nothing_else(attn, forms, monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")
    found = attn("show", forms / "a.parquet")
    assert found.code == 1 and "it begins as Parquet and cannot be read" in found.said


def test_without_the_extra(attn, forms, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    found = attn("show", forms / "a.parquet")
    assert found.code == 1 and 'pip install "attn-cli[scan]"' in found.said


@pytest.mark.parametrize("change, said", [
    (lambda rows: rows[:-1], "its last line, which says what its rows are of, is missing"),
    (lambda rows: [{**rows[0], "mean": "x"}, *rows[1:]], "row 0 is none of attn scan: mean is 'x'"),
    (lambda rows: [{**rows[0], "head": None}, *rows[1:]], "head is null"),
    (lambda rows: [rows[0], rows[-2], *rows[1:]], "its rows do not fit together"),
    (lambda rows: [rows[0], rows[0], *rows[1:]], "its parts do not fit together"),
    (lambda rows: [*rows[:-1], {**rows[-1], "result": {}}], "no document of attn scan"),
    (lambda rows: [*rows, rows[0]], "its last line"),
])  # fmt: skip
def test_lines_that_are_no_result(attn, forms, change, said):
    rows = [json.loads(line) for line in lines_of(forms)]
    data = b"".join(json.dumps(row).encode() + b"\n" for row in change(rows))
    found = attn("show", stdin=data)
    assert found.code == 1 and said in found.said


# --- two results ---------------------------------------------------------------------------------


def test_two_results_by_hand(attn, forms):
    left, right = (json.loads((forms / f"{n}.json").read_bytes())["result"]["heads"] for n in "ab")
    found = attn("compare", forms / "a.parquet", forms / "b.json", "--json").json
    pairs = {}
    for one, other in zip(left, right, strict=True):
        for a, b in zip(one["measures"], other["measures"], strict=True):
            pairs[one["layer"], one["head"], a["measure"]] = a, b
    shifts = found["result"]["shifts"]
    assert len(shifts) == len(pairs)
    for one in shifts:
        a, b = pairs[one["layer"], one["head"], one["measure"]]
        variance = np.average(
            [a["deviation"] ** 2, b["deviation"] ** 2], weights=[a["count"], b["count"]]
        )
        assert one["difference"] == pytest.approx(b["mean"] - a["mean"], abs=1e-6)
        size = (b["mean"] - a["mean"]) / math.sqrt(variance)
        assert one["size"] == pytest.approx(size, rel=1e-4, abs=1e-6)
        assert one["provenance"] == "what-if"
    sizes = [abs(one["size"]) for one in shifts]
    assert sizes == sorted(sizes, reverse=True)
    names = {one["what"]: (one["left"], one["right"]) for one in found["result"]["differs"]}
    assert names == {"mask": ("", "window:2")}
    page = attn("compare", forms / "a.json", forms / "b.json")
    assert f"Of {len(shifts)} means of heads {sum(s >= 0.2 for s in sizes)} have moved" in page.text
    saved = attn("compare", forms / "a.json", forms / "b.json", "--json").out
    assert attn("show", stdin=saved).out == page.out
    assert fault(document_schema("compare"), found) == ""


def test_two_results_as_a_table_and_as_a_page_that_can_be_sorted(attn, forms, tmp_path):
    asked = ("compare", forms / "a.json", forms / "b.json")
    document = attn(*asked, "--json")
    shifts = document.json["result"]["shifts"]
    table, out = attn(*asked, "--format", "csv").text, tmp_path / "x.html"
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [list(row) for row in rows] == [list(one) for one in shifts]
    for row, one in zip(rows, shifts, strict=True):
        assert (row["measure"], int(row["head"])) == (one["measure"], one["head"])
        assert float(row["size"]) == pytest.approx(one["size"], rel=1e-6)
    assert attn(*asked, "--out", out).code == 0
    page = out.read_text()
    assert page.count("<tr>") == len(shifts) + 3 and "window:2" in page  # two heads, one setting
    change = f">{shifts[0]['difference']:.2f}<".replace("-", "−")
    assert page.count("data-first") == 6 and change in page
    for kind, made in (("csv", table), ("html", page)):  # of numbers that are shorter
        shown = attn("show", "--format", kind, stdin=document.out).text
        assert re.sub(r"\d+", "", shown) == re.sub(r"\d+", "", made)
    refused = attn("compare", "the king", "the queen", "--format", "csv")
    assert refused.code == 2 and "two prompts cannot be written as csv" in refused.said


def test_a_scan_writes_the_page_that_show_draws(attn, forms):
    page = attn("scan", forms / "x.txt", "--by", "token", "--format", "html").text
    assert page.count("<details") == 8
    assert len(page.split()) == len(attn("show", forms / "a.json", "--format", "html").text.split())


def test_a_result_beside_itself_has_not_moved(attn, forms):
    page = attn("compare", forms / "a.json", forms / "a.jsonl").text
    assert "Not one of 104 means differs." in page and "are the same, as far as" in page


@pytest.mark.parametrize("typed, code, said", [
    (("{a}", "no.parquet"), 1, "no file no.parquet"),
    (("{a}",), 2, "one result of attn scan alone"),
    (("{a}", "{b}", "--mask", "none"), 2, "--mask does nothing with two results"),
    (("{a}", "{b}", "--layer", "1"), 2, "--layer does nothing with two results"),
    (("{a}", "{trace}"), 1, "it is of attn trace, not of attn scan"),
    (("{a}", "{encoder}"), 1, "are not each other's"),
    (("{a}", "{one}", "--format", "npz"), 2, "cannot write npz"),
])  # fmt: skip
def test_what_cannot_be_compared(attn, forms, tmp_path, typed, code, said):
    known = {"a": forms / "a.parquet", "b": forms / "b.json", "trace": tmp_path / "t.json",
             "encoder": tmp_path / "e.json", "one": tmp_path / "o.json"}  # fmt: skip
    if "{trace}" in typed:
        attn("trace", "the", "--out", known["trace"])
    if "{encoder}" in typed:
        attn("scan", forms / "x.txt", "-m", "tiny-encoder", "--out", known["encoder"])
    found = attn("compare", *(word.format(**known) for word in typed))
    assert (found.code, found.out) == (code, b"") and said in found.said


# --- the schema ----------------------------------------------------------------------------------


def test_the_documented_columns_are_those_of_the_code():
    """What `columns.md` says of each column, as the README has it."""
    from pathlib import Path

    text = (Path(__file__).parents[1] / "scanning" / "columns.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    found = {name.strip("`"): kind for names, kind, _ in rows[2:] for name in names.split(", ")}
    wanted = {field.name: _called(field.type) for field in parquet.schema(pa)}
    assert found == wanted and [*wanted] == [*scan_rows.COLUMNS, "examples", "pairs"]
    assert saved_scan.MAGIC == b"PAR1"


def _called(kind):
    if pa.types.is_list(kind):
        return f"list of {_called(kind.value_type)}"
    if pa.types.is_struct(kind):
        return f"({', '.join(f'{f.name} {_called(f.type)}' for f in kind)})"
    return str(kind)
