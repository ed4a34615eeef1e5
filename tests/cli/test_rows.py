"""Rows and columns: which tokens are meant, and what each format keeps of the others."""

import csv
import io

import numpy as np
import pytest

from attn_cli import parse, vocabulary
from attn_cli.errors import UsageError

PROMPT = "the greatest thinker in China is"
SPACED = ["the", " is", ",", " is", "1,000", "5", " \n", "is"]
PRINTED = ["the", "␣is·1", ",", "␣is·3", "1,000", "5", "␣\\n", "is"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("is", (1, 3, 7)), ("␣is", (1, 3)), (" is", (1, 3)), ("is·3", (3,)), ("␣is·1", (1,)),
        ("is·7", (7,)), ("␣the", (0,)), (",", (2,)), ("is,,", (1, 3, 7, 2)), ("the,1,000", (0, 4)),
        ("1,000", (4,)), ("1-3,0", (1, 2, 3, 0)), ("all", tuple(range(8))), ("5", (5,)),
        ("-1", (7,)), ("0--1", tuple(range(8))), ("is, the", (1, 3, 7, 0)), ("␣\\n", (6,)),
        (["the", "1"], (0, 1)), (["1", "is"], (1, 3, 7)), ([], tuple(range(8))),
    ],
)  # fmt: skip
def test_tokens_are_named_as_typed_and_as_printed(given, expected):
    assert parse.positions(given, SPACED, "--query", PRINTED) == expected


@pytest.mark.parametrize(
    "given", ["", " ", "zz", "9", "the,zz", "is·0", "is·8", "·1", "3-1", ["the", ""]]
)
def test_what_names_no_token_is_refused(given):
    with pytest.raises(UsageError) as refused:
        parse.positions(given, SPACED, "--query", PRINTED)
    assert refused.value.message.startswith("--query ")
    assert "0 to 7" in refused.value.hint


def test_a_long_list_is_read_at_once():
    texts = [str(n) for n in range(20_000)]
    assert parse.positions(",".join(texts), texts[:1] * 20_000, "--key") == tuple(range(20_000))


def test_the_cut_name_of_a_long_token_is_taken(attn):
    model, text = "random:layers=1", "the internationalization"
    page = attn("trace", text, "-m", model, "--step", 5, "--no-next").text
    named = next(line.split()[0] for line in page.splitlines() if "…" in line)
    found = attn("trace", text, "-m", model, "--query", named, "--json").json
    assert len(found["attention"][0]["queries"]) == 1


ASKED = ("trace", PROMPT, "--head", "1,3", "--query", "is,0", "--query", "thinker", "--key", "1-2")
QUERIES, KEYS = [5, 0, 2], [1, 2]


def kept(array, name):
    """What is left of a whole array."""
    for place, axis in enumerate(vocabulary.ARRAYS[name].axes):
        rows = {"query": QUERIES, "key": KEYS}.get(axis)
        array = array if rows is None else np.take(array, rows, place)
    return array


@pytest.fixture
def whole(attn):
    """The same without a choice of rows and columns."""
    block = attn("trace", PROMPT, "--head", "1,3", "--json").json["attention"][0]
    return {n: np.array(a["values"], object) for n, a in block["arrays"].items()}


def test_json_keeps_the_rows_and_columns_asked_for(attn, whole):
    (block,) = attn(*ASKED, "--json").json["attention"]
    assert (block["queries"], block["keys"]) == (QUERIES, KEYS)
    assert list(block["arrays"]) == list(whole)
    for name, array in block["arrays"].items():
        expected = kept(whole[name], name)
        assert array["shape"] == list(expected.shape)
        assert array["values"] == expected.tolist()


def test_ndjson_keeps_them_too(attn, whole):
    lines = attn(*ASKED, "--format", "ndjson").lines
    for line in lines[:-1]:
        assert (line["queries"], line["keys"]) == (QUERIES, KEYS)
        expected = kept(whole[line["name"]], line["name"])
        head = line["kv_head"] if line["head"] is None else line["head"]
        assert line["values"] == (expected if head is None else expected[head // 2]).tolist()


def test_csv_keeps_them_too_under_their_positions(attn, whole):
    rows = list(csv.DictReader(io.StringIO(attn(*ASKED, "--format", "csv").text)))
    tokens = PROMPT.split()
    weights = [row for row in rows if row["name"] == "weights"]
    places = [(int(row["row"]), int(row["column"])) for row in weights if row["head"] == "3"]
    assert places == [(q, k) for q in QUERIES for k in KEYS]
    for row in weights:
        q, k = int(row["row"]), int(row["column"])
        assert (row["row_token"], row["column_token"]) == (tokens[q], tokens[k])
        assert float(row["value"]) == whole["weights"][int(row["head"]) // 2, q, k]
    assert {int(row["row"]) for row in rows if row["name"] == "k"} == set(KEYS)
    assert len(rows) == sum(kept(array, name).size for name, array in whole.items())


def test_npz_keeps_them_too(attn, whole):
    with np.load(io.BytesIO(attn(*ASKED, "--format", "npz").out)) as archive:
        assert archive["blocks.0.attn.queries"].tolist() == QUERIES
        assert archive["blocks.0.attn.keys"].tolist() == KEYS
        pattern = archive["blocks.0.attn.hook_pattern"]
        np.testing.assert_array_equal(pattern, kept(whole["weights"], "weights").astype(np.float32))
        assert archive["blocks.0.attn.hook_k"].shape == (2, 2, 8)


def test_a_page_shows_them(attn):
    page = attn(*ASKED, "--step", 5, "--no-next").text
    assert "weights   3 × 2" in page
    rows = page.partition("weights   3 × 2")[2].splitlines()[1:]
    rows = [row.removeprefix("  ▸").split()[0] for row in rows if row.strip(" ─")]
    assert rows[:4] == ["greatest", "is", "the", "thinker"]


@pytest.mark.parametrize("command", ["heads", "mask", "sample", "loss", "verify"])
def test_they_are_offered_where_they_act(attn, command):
    for option in ("--query", "--key", "--after"):
        assert f"no such option: {option}" in attn(command, PROMPT, option, "is").said


@pytest.mark.parametrize(
    ("command", "lacks"),
    [
        ("trace", ()), ("heads", ()), ("mask", ()), ("sample", ("--layout",)),
        ("loss", ("--layout",)), ("lens", ("--layout",)), ("verify", ("--digits", "--layout")),
        ("models", ("--digits", "--full", "--layout")),
    ],
)  # fmt: skip
def test_an_option_that_would_do_nothing_is_not_offered_or_noted(attn, command, lacks):
    values = {
        "--digits": ("--digits", 3),
        "--full": ("--full",),
        "--layout": ("--layout", "columns"),
    }
    asked = (command, "tiny" if command == "models" else PROMPT)
    for option, typed in values.items():
        assert (option in attn(command, "--help").text) == (option not in lacks)
        result = attn(*asked, *typed, "--json")
        if option in lacks:
            assert f"no such option: {option}" in result.said
        else:
            assert result.said == f"note: {option} changes nothing here: json is written in full\n"
            assert attn(*asked, *typed, "--json", "--quiet").said == ""


# --- what comes after attention ------------------------------------------------------------------


def test_mlp_output_comes_with_after(attn):
    asked = ("trace", PROMPT, "--layer", "all", "--query", "is")
    document = attn(*asked, "--after", "--json").json
    assert "mlp_output" not in attn(*asked, "--json").json["attention"][0]["arrays"]
    assert [b["arrays"]["mlp_output"]["step"] for b in document["attention"]] == [None, None]
    first, second = (block["arrays"] for block in document["attention"])
    for block in (first, second):
        assert block["mlp_output"]["shape"] == [1, 32]
    x, output, mlp = (np.array(first[name]["values"]) for name in ("x", "output", "mlp_output"))
    np.testing.assert_allclose(x + output + mlp, second["x"]["values"], atol=1e-5)
    rows = list(csv.DictReader(io.StringIO(attn(*asked, "--after", "--format", "csv").text)))
    assert {row["step"] for row in rows if row["name"] == "mlp_output"} == {""}
    assert "mlp_output   1 × 32" in attn(*asked, "--after", "--step", 5).text
    changed = attn(*asked, "--after", "--without", "mlp:0", "--format", "csv").text
    rows = list(csv.DictReader(io.StringIO(changed)))
    assert {(r["layer"], r["provenance"]) for r in rows if r["name"] == "weights"} == {
        ("0", "real"), ("1", "what-if")
    }  # fmt: skip
