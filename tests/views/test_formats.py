"""The formats of documents: strict, exact, and the same bytes each time."""

import csv
import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

import attn_cli
from attn_cli import vocabulary
from attn_cli.checkpoints.safetensors import encode, open_safetensors
from attn_cli.cli import app
from attn_cli.views import csv as csv_view
from attn_cli.views import json as json_view
from attn_cli.views import npz as npz_view

PROMPT = "the greatest thinker in China is"
NAMES = {
    "x": "hook_resid_pre", "q": "attn.hook_q", "k": "attn.hook_k", "v": "attn.hook_v",
    "masked": "attn.hook_attn_scores", "weights": "attn.hook_pattern", "z": "attn.hook_z",
    "head_output": "attn.hook_result", "output": "hook_attn_out",
}  # fmt: skip


def strict(data):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(data, parse_constant=refuse)


@pytest.fixture(scope="module")
def trace():
    return attn_cli.trace(PROMPT)


@pytest.fixture
def attn(capsysbinary, monkeypatch):
    """Runs a command that must succeed and gives its stdout."""
    for name in ("COLUMNS", "ATTN_MODEL", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments):
        assert app.run([str(argument) for argument in arguments]) == 0
        return capsysbinary.readouterr().out

    return run


@pytest.fixture
def poisoned(tiny_folder):
    """The folder of a model with one NaN in layer 0's W_Q and an infinity in its W_V."""
    path = tiny_folder / "model.safetensors"
    file = open_safetensors(path)
    tensors = {name: np.array(file[name].read()) for name in file}
    weight = next(a for n, a in tensors.items() if n.endswith("h.0.attn.c_attn.weight"))
    weight[3, 0] = np.nan
    weight[0, 64] = np.inf
    path.write_bytes(encode(tensors, {}))
    return tiny_folder


# --- json ----------------------------------------------------------------------------------------


def numbers_in(values):
    if isinstance(values, list):
        for item in values:
            yield from numbers_in(item)
    else:
        yield values


def test_every_float32_reads_back_to_itself_in_the_shortest_digits(trace):
    data = json_view.encode(json_view.trace_document(trace))
    document = strict(data)
    for block, written in zip(trace.attention, document["attention"], strict=True):
        assert list(written["arrays"]) == list(block.arrays)
        for name, array in block.arrays.items():
            values = written["arrays"][name]["values"]
            assert written["arrays"][name]["shape"] == list(array.shape)
            if name == "masked":
                continue
            np.testing.assert_array_equal(np.array(values, array.dtype), array)


@pytest.mark.parametrize("layer", ["all", 0])
def test_a_documents_pieces_are_the_document(layer):
    """Whatever its prompt holds: only what stands between blocks is put together by hand."""
    trace = attn_cli.trace('"attention":[]', layer=layer, mask=["none"])
    prompt = replace(trace.prompt, other_keys={"attention": [], "text": '"attention":['})
    for found in (trace, replace(trace, prompt=prompt), replace(trace, attention=())):
        pieces = list(json_view.trace_pieces(found))
        assert b"".join(pieces) == json_view.encode(json_view.trace_document(found)) + b"\n"


def test_float32_is_written_with_the_shortest_digits():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 5000, dtype=np.uint32).view(np.float32)
    array = bits[np.isfinite(bits)]
    written = json_view.encode(array).strip(b"[]").decode().split(",")
    assert len(written) == array.size
    for text, value in zip(written, array, strict=True):
        assert np.float32(text) == value
        digits = text.lower().split("e")[0].replace(".", "").strip("-0")
        shortest = np.format_float_scientific(value, unique=True).split("e")[0]
        assert len(digits) <= len(shortest.replace(".", "").strip("-0"))


def test_masked_cells_are_null_and_visible_says_so(trace):
    arrays = strict(json_view.encode(json_view.trace_document(trace)))["attention"][0]["arrays"]
    visible = arrays["visible"]["values"]
    for head in arrays["masked"]["values"]:
        for row, seen in zip(head, visible, strict=True):
            assert [value is not None for value in row] == seen
    assert "nonfinite" not in arrays["masked"]
    assert all(isinstance(cell, bool) for row in visible for cell in row)


def test_not_finite_is_null_counted_and_noted(poisoned):
    found = attn_cli.trace(PROMPT, model=str(poisoned), layer=0)
    document = strict(json_view.encode(json_view.trace_document(found)))
    arrays = document["attention"][0]["arrays"]
    visible = np.array(arrays["visible"]["values"])
    counted = {}
    for name, array in arrays.items():
        values = np.array(array["values"], object)
        empty = np.equal(values, None)
        if name == "masked":
            empty &= visible
        assert array.get("nonfinite", 0) == int(empty.sum())
        if empty.any():
            counted[name] = array["nonfinite"]
    # q and v of one head have a number of their width spoilt, in every row.
    assert (counted["q"], counted["v"]) == (6, 6)
    assert {"scores", "weights", "z", "head_output", "output"} <= set(counted)
    assert not {"x", "normed", "k"} & set(counted)
    assert f"layer 0: NaN or infinite numbers in q: {counted['q']}" in document["notes"]


@pytest.mark.parametrize("command", ["trace", "heads", "mask", "loss"])
def test_a_poisoned_model_is_computed_by_every_command(attn, poisoned, command):
    assert strict(attn(command, PROMPT, "-m", poisoned, "--json"))
    assert "NaN" in attn(command, PROMPT, "-m", poisoned).decode()


def test_numbers_beyond_float32_keep_their_digits():
    values = {"huge": 1e308, "tiny": 5e-324, "third": 1 / 3, "nan": float("nan"), "zero": 0.0}
    written = strict(json_view.encode(json_view.record(values)))
    assert written == {"huge": 1e308, "tiny": 5e-324, "third": 0.33333334, "nan": None, "zero": 0}


def test_arrays_that_are_not_contiguous_are_written():
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert strict(json_view.encode({"a": array, "b": np.float32(0.1)})) == {
        "a": array.tolist(), "b": 0.1
    }  # fmt: skip


# --- ndjson --------------------------------------------------------------------------------------


def test_ndjson_has_a_line_per_array_and_head_then_next(trace, attn):
    data = attn("trace", PROMPT, "--format", "ndjson", "--layer", "all", "--head", "1,3")
    lines = [strict(line) for line in data.splitlines()]
    headed = sum(spec.axes[0] in ("head", "kv_head") for n, spec in vocabulary.ARRAYS.items()
                 if n in trace.attention[0].arrays and not spec.opt_in)  # fmt: skip
    plain = sum(spec.axes[0] == "query" for n, spec in vocabulary.ARRAYS.items()
                if n in trace.attention[0].arrays and not spec.opt_in)  # fmt: skip
    assert len(lines) == 2 * (2 * headed + plain) + 1
    assert list(lines[-1]) == ["next"]
    for line in lines[:-1]:
        axes = vocabulary.ARRAYS[line["name"]].axes
        block = trace.block(line["layer"])
        array = block.arrays[line["name"]]
        if axes[0] in ("head", "kv_head"):
            other = {"head": "kv_head", "kv_head": "head"}[axes[0]]
            assert (line[axes[0]] in (1, 3), line[other]) == (True, None)
            array, axes = array[line[axes[0]]], axes[1:]
        else:
            assert (line["head"], line["kv_head"]) == (None, None)
        assert line["axes"] == list(axes)
        assert line["shape"] == list(array.shape)
        if line["name"] != "masked":
            np.testing.assert_array_equal(np.array(line["values"], array.dtype), array)


# --- csv -----------------------------------------------------------------------------------------


def rows_of(data):
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def test_csv_has_a_row_per_number(trace):
    data = b"".join(csv_view.render(trace))
    assert data.splitlines()[0].decode() == (
        "stack,kind,layer,head,step,name,row,column,row_token,column_token,value,provenance"
    )
    rows = rows_of(data)
    assert len(rows) == sum(a.size for block in trace.attention for a in block.arrays.values())
    for row in rows[:: max(1, len(rows) // 500)]:
        block = trace.block(int(row["layer"]))
        array = block.arrays[row["name"]]
        axes = vocabulary.ARRAYS[row["name"]].axes
        if row["head"]:
            array, axes = array[int(row["head"])], axes[1:]
        place = (int(row["row"]), int(row["column"])) if array.ndim == 2 else int(row["column"])
        assert np.float32(row["value"]) == np.float32(array[place])
        assert row["step"] == str(vocabulary.ARRAYS[row["name"]].step or "")
        assert row["provenance"] == "real"
        tokens = PROMPT.split()
        of = [tokens[int(row[k])] if a in ("query", "key") else ""
              for k, a in (("row", axes[0]), ("column", axes[-1]))]  # fmt: skip
        assert [row["row_token"], row["column_token"]] == of
    masked = [row["value"] for row in rows if row["name"] == "masked"]
    assert masked.count("-inf") == 2 * 4 * 15


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM", "=", "-", "\t=x"])
def test_no_text_cell_of_csv_is_a_formula(text):
    tokens = [token for token in ("=", "+", "-", "@") if token in text]
    rows = rows_of(b"".join(csv_view.render(attn_cli.trace(f"{text} the", layer=0, head=0))))
    cells = {row[key] for row in rows for key in ("row_token", "column_token")}
    assert not any(cell[:1] in ("=", "+", "-", "@", "\t", "\r") for cell in cells)
    assert {f"'{token}" for token in tokens} <= cells
    assert any(row["value"].startswith("-") for row in rows)


def test_csv_quotes_what_needs_it(trace):
    rows = rows_of(b"".join(csv_view.render(attn_cli.trace('the , " king', layer=0, head=0))))
    assert {row["column_token"] for row in rows if row["name"] == "weights"} == {
        "the", ",", '"', "king"
    }  # fmt: skip


# --- npz -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [{}, {"head": "2,0"}])
def test_npz_has_the_names_and_axes_of_interpretability_code(asked):
    trace = attn_cli.trace(PROMPT, **asked)
    archive = np.load(io.BytesIO(b"".join(npz_view.render(trace))))
    expected = {"tokens", "attn.document", "attn.logits"}
    document = json_view.trace_document(trace)
    for block in document["attention"]:
        for array in block["arrays"].values():
            del array["values"]
    assert strict(str(archive["attn.document"])) == strict(json_view.encode(document))
    np.testing.assert_array_equal(archive["attn.logits"], trace.logits)
    np.testing.assert_array_equal(archive["tokens"], trace.prompt.ids)
    for block in trace.attention:
        start = f"blocks.{block.layer}."
        for kept in ("heads", "kv_heads", "queries", "keys"):
            expected.add(f"{start}attn.{kept}")
            assert archive[f"{start}attn.{kept}"].tolist() == list(getattr(block, kept))
        for name, array in block.arrays.items():
            stored = archive[start + NAMES.get(name, f"attn.{name}")]
            expected.add(start + NAMES.get(name, f"attn.{name}"))
            if name in ("q", "k", "v", "z", "head_output"):
                assert stored.shape[:2] == (6, len(block.heads))
                stored = stored.swapaxes(0, 1)
            np.testing.assert_array_equal(stored, array)
            assert stored.dtype == array.dtype
    assert set(archive.files) == expected


def test_npz_is_the_same_bytes_whenever_it_is_made(attn, tmp_path, monkeypatch):
    first = attn("trace", PROMPT, "--format", "npz")
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr("time.localtime", lambda *_: (2033, 5, 18, 3, 33, 20, 2, 138, 0))
    assert attn("trace", PROMPT, "--format", "npz") == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert archive.testzip() is None
        assert all(info.filename.endswith(".npy") for info in archive.infolist())


# --- which format, and where ---------------------------------------------------------------------


def kind_of(data):
    if data.startswith(b"PK"):
        return "npz"
    if data.startswith(b"stack,"):
        return "csv"
    if data.startswith(b"{"):
        return "json" if data.count(b"\n") == 1 else "ndjson"
    return "table"


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("x", (), "table"), ("x.txt", (), "table"), ("x.json", (), "json"), ("X.JSON", (), "json"),
        ("x.ndjson", (), "ndjson"), ("x.jsonl", (), "ndjson"), ("x.csv", (), "csv"),
        ("x.npz", (), "npz"), ("x", ("--format", "npz"), "npz"), ("x.csv", ("--json",), "json"),
        ("x.npz", ("--format", "csv"), "csv"),
    ],
)  # fmt: skip
def test_the_suffix_chooses_unless_a_format_is_given(attn, tmp_path, name, given, expected):
    assert attn("trace", PROMPT, "--out", tmp_path / name, *given) == b""
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert kind_of((tmp_path / name).read_bytes()) == expected


@pytest.mark.parametrize("command", ["heads", "mask", "sample", "loss", "models"])
def test_other_commands_write_pages_and_documents(attn, tmp_path, command):
    arguments = (command,) if command == "models" else (command, PROMPT)
    arguments += ("--seed", "1") if command == "sample" else ()
    document = attn(*arguments, "--json")
    assert strict(document)["schema"] == f"attn.{command}/1"
    assert document.endswith(b"}\n")
    assert attn(*arguments, "--format", "ndjson") == document
    attn(*arguments, "--out", tmp_path / "x.json")
    assert (tmp_path / "x.json").read_bytes() == document
    attn(*arguments, "--out", tmp_path / "x.txt")
    assert (tmp_path / "x.txt").read_bytes() == attn(*arguments)
