"""`attn exercise`: sheets whose blanks follow from what is shown, and what is said of answers."""

import inspect
import json
import math
import re
from functools import partial
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from made_folders import made_folder
from test_pencil import ON_PAPER

import attn_cli
from attn_cli.analysis import exercise, marking, recipes
from attn_cli.views.numbers import as_written
from attn_cli.words.en.exercise import SENTENCES

GOLDEN = Path(__file__).parents[1] / "golden"
PENCIL = ("exercise", "--model", "pencil", "--seed", "7")
CROSS = ("-m", "tiny-translator", "--target", "中国 最", "--kind", "cross")
# Each with the steps that can have blanks: those that one formula leads to, not too wide.
SHEETS = [
    (("dogs chase cats", "-m", "pencil"), "123456"),
    (("cats chase dogs chase", "-m", "pencil", "--blanks", "40"), "123456"),
    (("dogs", "-m", "pencil"), "123456"),
    (("the greatest thinker in China is",), "3456"),
    (("the king is", "--layer", "1", "--head", "3", "--digits", "4", "--blanks", "20"), "3456"),
    (("the king is", "--digits", "0"), "3456"),
    (("the king [MASK] a man", "-m", "tiny-encoder", "--blanks", "30"), "3456"),
    (("the king", *CROSS, "--blanks", "20"), "3456"),
    (("the king", "-m", "tiny-translator", "--stack", "encoder"), "3456"),
    (("the king", "-m", "random:layers=1,heads=2,model_width=8", "--blanks", "60"), "123456"),
    (("the king", "-m", "smollm2"), "45"),
    (("--ids", "5,6,7", "-m", GOLDEN / "deberta-both"), "3456"),
    (("--ids", "5,6,7", "-m", GOLDEN / "bloom"), "3456"),
    (("--ids", "5,6,7", "-m", GOLDEN / "gemma2"), "3456"),
]


def sheet(attn, *arguments, seed=1):
    return attn("exercise", *arguments, "--seed", seed, "--json", "--quiet").json


def check(attn, tmp_path, answers, *options, partial=True):
    path = tmp_path / "answers.json"
    path.write_text(answers if isinstance(answers, str) else json.dumps(answers))
    return attn("exercise", "--check", path, *options, partial=partial)


def marks(run):
    return {mark["number"]: mark for mark in run.json["result"]["marks"]}


def by_hand(result, blank):
    """A blank worked out from the numbers on the sheet alone, one after the other."""
    shown = {table["array"]: table["values"] for table in result["tables"]}
    i, j, array = blank["row"], blank["column"], blank["array"]

    def row(name, at):
        assert None not in shown[name][at]
        return shown[name][at]

    def column(name, at):
        assert None not in [line[at] for line in shown[name]]
        return [line[at] for line in shown[name]]

    def dot(left, right):
        return sum(a * b for a, b in zip(left, right, strict=True))

    if array == "x":
        parts = [name for name in shown if name.endswith("_embedding")]
        return sum(shown[name][i][j] for name in parts)
    if array in "qkv":
        crosses = result["kind"] == "cross" and array != "q"
        source = "key_x" if crosses else "normed" if "normed" in shown else "x"
        bias = shown[f"b_{array}"][0][j] if f"b_{array}" in shown else 0
        return dot(row(source, i), column(f"w_{array}", j)) + bias
    if array == "scores":
        terms = [name for name in shown if "_to_" in name]
        return sum(shown[n][i][j] for n in terms) if terms else dot(row("q", i), row("k", j))
    if array == "scaled":
        value, cap = shown["scores"][i][j] * result["scale"], result["soft_cap"]
        value = cap * math.tanh(value / cap) if cap else value
        return value + (shown["bias"][i][j] if "bias" in shown else 0)
    if array == "weights":
        powers = [
            math.exp(score) if seen else 0
            for score, seen in zip(row("scaled", i), row("visible", i), strict=True)
        ]
        return powers[j] / (sum(powers) + sum(math.exp(x) for x in shown.get("sink", [[]])[0]))
    left, right = {"z": ("weights", "v"), "head_output": ("z", "w_o")}[array]
    return dot(row(left, i), column(right, j))


def check_sheet(attn, arguments, steps):
    """A sheet has blanks in these steps, and each follows from what it shows."""
    found = sheet(attn, *arguments)["result"]
    key = sheet(attn, *arguments, "--key")["result"]
    assert found["tables"] == key["tables"]
    assert "".join(map(str, found["steps"])) == steps
    nulls = sum(value is None for t in found["tables"] for row in t["values"] for value in row)
    assert nulls == len(found["blanks"]) > 0
    assert all(blank["answer"] is None for blank in found["blanks"])
    for blank, solved in zip(found["blanks"], key["blanks"], strict=True):
        assert abs(by_hand(found, blank) - solved["answer"]) <= solved["within"], blank
        assert solved["within"] <= 26


@pytest.mark.parametrize(("arguments", "steps"), SHEETS, ids=str)
def test_each_blank_can_be_worked_out_from_what_the_sheet_shows(attn, arguments, steps):
    check_sheet(attn, arguments, steps)


def test_a_sink_is_on_the_sheet_and_leaving_it_out_is_a_known_mistake(attn, tmp_path):
    folder = made_folder(tmp_path / "sunk", "gpt_oss-a")
    asked = ("--ids", "5,6,7", "-m", folder, "--blanks", "20")
    check_sheet(attn, asked, "3456")
    result = sheet(attn, *asked, "--step", "5")["result"]
    shown = {table["array"]: table["values"] for table in result["tables"]}
    assert np.shape(shown["sink"]) == (1, 1)
    blank = next(b for b in result["blanks"] if shown["visible"][b["row"]][b["column"]])
    powers = np.exp(shown["scaled"][blank["row"]]) * shown["visible"][blank["row"]]
    without = powers[blank["column"]] / powers.sum()
    options = ("--ids", "5,6,7", "-m", folder, "--blanks", "20", "--step", "5", "--seed", "1")
    mark = marks(check(attn, tmp_path, {blank["number"]: without}, *options, "--json"))
    assert "sink" in mark[blank["number"]]["mistakes"]


def test_the_answers_of_pencil_are_what_paper_gives(attn):
    seen = set()
    for seed in range(12):
        for blank in sheet(attn, "-m", "pencil", "--key", seed=seed)["result"]["blanks"]:
            want = ON_PAPER[blank["array"]][blank["row"]][blank["column"]]
            assert blank["answer"] == pytest.approx(want, abs=1e-6)
            seen.add(blank["array"])
    assert seen == set(ON_PAPER) - {"output"}


def test_the_same_seed_gives_the_same_sheet_and_without_one_it_is_said(attn):
    first = attn(*PENCIL)
    assert first.out == attn(*PENCIL).out
    assert first.out != attn(*PENCIL[:-1], "8").out
    assert "--seed 7 --check FILE" in " ".join(first.text.split())
    drawn = attn("exercise", "--json", "--quiet").json
    assert drawn["model"]["name"] == "pencil"
    again = attn("exercise", "--json", "--quiet", "--seed", drawn["settings"]["seed"]).json
    assert again == drawn


def test_blanks_stand_in_tables_of_every_view_and_nothing_is_left_out(attn):
    page = attn(*PENCIL, columns=40).text
    count = page.count(") ____")
    assert count == 8
    assert "more" not in page
    saved = attn(*PENCIL, "--json").out
    for view in ("table", "heatmap", "dots", "lines"):
        shown = attn("show", "--view", view, stdin=saved).text
        assert [shown.count(f"({n}) ____") for n in range(1, 9)] == [1] * 8
    assert attn("show", stdin=saved).out == attn(*PENCIL).out


def test_blanks_stay_with_their_queries_in_the_other_layout(attn):
    saved = attn(*PENCIL, "--step", "3,4,5", "--blanks", "9", "--json")
    turned = attn("show", "--layout", "columns", "--view", "lines", stdin=saved.out).text
    assert turned != attn("show", "--view", "lines", stdin=saved.out).text
    for blank in saved.json["result"]["blanks"]:
        cell = f"{blank['column_token']} ← {blank['row_token']}: ({blank['number']}) ____"
        assert cell in turned


def test_steps_and_the_number_of_blanks(attn):
    found = sheet(attn, "-m", "pencil", "--step", "softmax", "--blanks", "3")["result"]
    assert [blank["step"] for blank in found["blanks"]] == [5, 5, 5]
    assert [table["array"] for table in found["tables"]] == ["scaled", "visible", "weights"]
    every = sheet(attn, "-m", "pencil", "--blanks", "6")["result"]["blanks"]
    assert [blank["step"] for blank in every] == [1, 2, 3, 4, 5, 6]
    run = attn("exercise", "dogs", "-m", "pencil", "--blanks", "100")
    assert "numbers can be left blank here" in run.said
    assert "Steps 1, 2 have no blanks" in " ".join(attn("exercise", "the king").text.split())


def test_a_key_is_all_right_and_an_empty_sheet_is_not(attn, tmp_path):
    empty, key = attn(*PENCIL, "--json").text, attn(*PENCIL, "--json", "--key").text
    run = check(attn, tmp_path, key)
    assert (run.code, "All 8 are right." in run.text) == (0, True)
    run = check(attn, tmp_path, empty, "--json")
    assert run.code == 1
    assert {mark["verdict"] for mark in marks(run).values()} == {"empty"}
    filled = json.loads(empty)
    blank = filled["result"]["blanks"][0]
    (table,) = [t for t in filled["result"]["tables"] if t["array"] == blank["array"]]
    answer = json.loads(key)["result"]["blanks"][0]["answer"]
    table["values"][blank["row"]][blank["column"]] = answer
    run = check(attn, tmp_path, filled, "--json")
    assert [mark["verdict"] for mark in marks(run).values()] == ["right"] + ["empty"] * 7
    page = check(attn, tmp_path, filled)
    assert attn("show", stdin=run.out).out == page.out


def test_an_answer_is_right_within_the_digits_shown(attn, tmp_path):
    asked = ("--model", "pencil", "--seed", "3", "--step", "4", "--json")
    (first, *_) = attn("exercise", *asked, "--key").json["result"]["blanks"]
    for off, verdict in ((0.009, "right"), (-0.009, "right"), (0.02, "wrong"), (-0.02, "wrong")):
        run = check(attn, tmp_path, {"1": first["answer"] + off}, *asked)
        assert marks(run)[1]["verdict"] == verdict
        assert marks(run)[1]["answer"] is None
    assert marks(check(attn, tmp_path, {}, *asked, "--key"))[1]["answer"] == first["answer"]


# Each with the cell of `dogs chase cats`, what someone wrote, and the mistake that gives it. The
# numbers are worked out by hand from those of test_pencil.py.
MISTAKES = [
    ("x", 1, 0, 1, "only_token_embedding"),  # 1 without the 1 of position 1
    ("q", 2, 0, 4, "sign"),
    ("q", 2, 0, -2, "matrix"),  # 2·2 + 6·−1 with W_K
    ("v", 1, 1, 2, "transposed"),  # (2, 2) · (0, 1), W_V's last row
    ("scores", 2, 0, -24, "swapped"),  # the score of dogs and cats
    ("scores", 0, 1, 5.66, "scaled_already"),
    ("scores", 0, 0, 32, "queries"),  # 4·4 + 4·4
    ("scaled", 0, 0, 48, "not_scaled"),
    ("scaled", 0, 1, 11.31, "multiplied"),  # 8 × √2
    ("scaled", 0, 1, 4, "squared"),  # 8 ÷ 2
    ("scaled", 2, 0, -16.97, "swapped"),
    ("weights", 1, 0, 0.33, "mask_forgotten"),  # three keys alike
    ("weights", 1, 2, 0.33, "mask_forgotten"),
    ("weights", 1, 1, 1, "not_divided"),  # e⁰
    ("weights", 1, 0, 0, "wrong_axis"),  # beside 33.94 in its column
    ("weights", 1, 1, 1, "wrong_axis"),  # e⁰ ÷ (e⁰ + e^−5.66), without what the mask hides
    ("weights", 1, 1, 0, "wrong_axis"),  # with that: e⁰ ÷ (e^5.66 + e⁰ + e^−5.66)
    ("z", 1, 0, 4, "row"),  # that of dogs
    ("z", 1, 1, 8, "not_weighted"),  # 4 + 4
    ("head_output", 1, 0, 3, "no_w_o"),
    ("head_output", 1, 1, 0, None),
]  # fmt: skip


@pytest.mark.parametrize(("array", "row", "column", "given", "mistake"), MISTAKES)
def test_a_known_mistake_is_named(attn, array, row, column, given, mistake):
    trace = attn_cli.trace(model="pencil", arrays=recipes.NEEDS, next=False)
    found = exercise.solved(
        trace, partial(as_written, digits=2), steps=frozenset(range(1, 7)), blanks=1, seed=1
    )
    blank = exercise.Blank(
        number=1, step=1, array=array, row=row, column=column, row_token="", column_token="",
        within=0.01, answer=float(found.shown.of(array)[row, column]),
    )  # fmt: skip
    units = {**found.units, array: np.full(found.head.of(array).shape, 0.01)}
    found = found._replace(sheet=found.sheet._replace(blanks=(blank,)), units=units)
    (mark,) = marking.marked(found, {1: given}).marks
    assert mark.verdict == "wrong"
    assert mistake in mark.mistakes if mistake else not mark.mistakes


def test_every_mistake_has_a_sentence():
    named = set(re.findall(r'yield "(\w+)"', inspect.getsource(marking)))
    named |= {"only_token_embedding", "only_position_embedding"}
    assert {f"mistake.{name}" for name in named} == {
        key for key in SENTENCES if key.startswith("mistake.")
    }


def test_a_wrong_answer_is_said_in_words(attn, tmp_path):
    asked = ("-m", "pencil", "--step", "4", "--seed", "2", "--blanks", "9")
    blanks = {(b["row"], b["column"]): b for b in sheet(attn, *asked[:4], "--blanks", "9", seed=2)[
        "result"]["blanks"]}  # fmt: skip
    number = blanks[2, 0]["number"]
    run = check(attn, tmp_path, {number: -48}, *asked)
    assert run.code == 1
    assert "wrong: as if nothing was scaled" in " ".join(run.text.split())
    assert f"0 of {len(blanks)} are right." in run.text


BAD = [
    ('{"1":2,', 1, "is not JSON"),
    ("", 1, "is not JSON"),
    ("[1]", 1, "no answers"),
    ('{"9": 1}', 1, 'the sheet has "1" to "8"'),
    ('{"0": 1}', 1, "there is no blank '0'"),
    ('{"-1": 1}', 1, "there is no blank '-1'"),
    ('{"\\u0661": 1}', 1, "there is no blank"),
    ('{"1": "two"}', 1, "the answer to '1' is no number: \"two\""),
    ('{"1": true}', 1, "is no number: true"),
    ('{"1": NaN}', 1, "is not JSON"),
    ('{"1": 1e999}', 1, "is not JSON"),
    ('{"1": [1]}', 1, "is no number: [1]"),
    ('{"schema": "attn.trace/1"}', 1, "which no command writes"),
    ('{"schema": "attn.exercise/1"}', 1, "does not follow attn.exercise/1"),
]


@pytest.mark.parametrize(("text", "code", "said"), BAD, ids=lambda value: str(value)[:30])
def test_bad_answers_are_refused(attn, tmp_path, text, code, said):
    run = check(attn, tmp_path, text, "-m", "pencil", "--seed", "7", partial=False)
    assert run.code == code
    assert said in run.said


CHANGED = [
    ('"seed":7', '"seed":8', (), 1, "its numbers are not those that pencil gives"),
    ('"digits":2', '"digits":5000', (), 1, "do not fit together"),
    ('"step":[]', '"step":["x"]', (), 1, "is no step"),
    ('"kind":"self"', '"kind":"x"', (), 1, "an attention that its model does not have"),
    ('"special":true', '"special":1', (), 1, "attn.exercise/1"),
    ("48.0", "47.0", (), 1, "its numbers are not those that pencil gives"),
    ("", "", ("--seed", "8"), 2, "is a sheet with --seed 7, not 8"),
    ("", "", ("--step", "3"), 2, "is a sheet with --step"),
    ("", "", ("dogs",), 2, "is a sheet with TEXT dogs chase cats, not dogs"),
    ("", "", ("-m", "tiny"), 2, "a sheet of pencil, not of tiny"),
    ("", "", ("--each", "line"), 2, "contradict each other"),
]


@pytest.mark.parametrize(("old", "new", "options", "code", "said"), CHANGED)
def test_a_sheet_of_something_else_is_refused(attn, tmp_path, old, new, options, code, said):
    saved = attn(*PENCIL, "--json").text
    run = check(attn, tmp_path, saved.replace(old, new) if old else saved, *options, partial=False)
    assert run.code == code, run
    assert said in run.said


def test_other_refusals(attn, tmp_path):
    for arguments, code, said in (
        (("the king " * 9,), 1, "a sheet has room for 12 tokens, not 18 tokens"),
        (("mice", "-m", "pencil"), 1, "it knows: dogs, chase, cats"),
        (("the king", "--step", "2"), 2, "--step 2 has no blanks here"),
        (("--head", "0,1", "the king"), 2, "one head of one layer"),
        (("--blanks", "0"), 2, "1 to 100"),
    ):
        run = attn("exercise", *arguments)
        assert run.code == code, run
        assert said in run.said
    run = check(attn, tmp_path, "{}", "-m", "pencil", partial=False)
    assert (run.code, "needs the seed" in run.said) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [("the king [MASK]", "-m", "tiny-encoder"), ("the king", *CROSS), ("--ids", "5,6,7"),
     ("the king", "-m", "random:layers=1,heads=2", "--layer", "-1", "--head", "1")],
    ids=" ".join,
)  # fmt: skip
def test_a_sheet_carries_all_that_its_check_needs(attn, tmp_path, arguments):
    key = attn("exercise", *arguments, "--seed", "5", "--json", "--key", "--quiet").text
    run = check(attn, tmp_path, key)
    assert (run.code, run.said) == (0, "")
    assert attn("exercise", "--check", "-", stdin=key.encode()).out == run.out


def test_documents_follow_their_schema_and_each_line_is_a_sheet(attn, tmp_path):
    schema = attn("schema", "exercise").json
    for document in (
        attn(*PENCIL, "--json").json,
        check(attn, tmp_path, {}, "--seed", "7", "-m", "pencil", "--json").json,
    ):
        jsonschema.validate(document, schema)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("the king\nthe queen is\n")
    run = attn("exercise", "--file", prompts, "--each", "line", "--seed", "1", "--format", "ndjson")
    assert [len(line["prompt"]["tokens"]) for line in run.lines] == [2, 3]
