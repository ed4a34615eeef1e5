"""The workbook: its formulas give what attn computed, and follow what is changed."""

import json
import re
import tracemalloc
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import workbooks

import attn_cli
from attn_cli import vocabulary
from attn_cli.cli import app
from attn_cli.maths.attention import attend
from attn_cli.tokens.token import Token
from attn_cli.views import xlsx
from attn_cli.views.formats import Drawing
from measure import row_error

PROMPT = "the greatest thinker in China is"
LIVE = ("scores", "scaled", "masked", "weights", "z", "head_output")
# What a changed cell may not reach, in models of each kind: a norm of q and k, or latents.
NORMED = {"q_unrotated", "k_unrotated"}
FIXED = {"qwen3-yarn": NORMED, "deepseek-v2-a": NORMED | {"v"}}


def traced(model="tiny", **more):
    arrays = {*xlsx._KEPT, *(f"{w}_{letter}" for w in "wb" for letter in "qkv")}
    more = {"layer": 0, "head": 1, "arrays": arrays} | more
    given = {} if "ids" in more else {"text": PROMPT}
    return attn_cli.trace(model=model, **given, **more)


def book(trace):
    return b"".join(xlsx.render(trace))


@cache
def the_plain():
    return traced()


@cache
def the_book():
    return book(the_plain())


def of_head(trace, name):
    """An array of the only head as the workbook has it."""
    array = np.asarray(trace.attention[0].arrays[name])
    return array[0] if vocabulary.ARRAYS[name].axes[0] in ("head", "kv_head") else array


def errors(trace, matrix, names=LIVE):
    """How far recomputed sheets are from the trace; `matrix` gives one of so many columns."""
    wanted = {name: np.atleast_2d(of_head(trace, name)) for name in names}
    return {n: row_error(matrix(n, a.shape[1]), a) for n, a in wanted.items()}


@pytest.fixture
def attn(capsysbinary, monkeypatch):
    """Runs a command and gives its exit code, stdout and stderr."""
    for name in ("COLUMNS", "ATTN_MODEL", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments):
        code = app.run([str(argument) for argument in arguments])
        return code, *capsysbinary.readouterr()

    return run


# --- what it holds -------------------------------------------------------------------------------


def test_cells_hold_the_float32_numbers_of_the_trace():
    trace, sheets = the_plain(), workbooks.read(the_book())
    for name in (*LIVE, "x", "normed", "q", "k", "v", "w_q", "b_q", "w_o", "w_norm", "visible"):
        wanted = np.atleast_2d(of_head(trace, name))
        found = workbooks.matrix(sheets[name], wanted.shape[1])
        np.testing.assert_array_equal(found.astype(wanted.dtype), wanted, err_msg=name)


def test_the_same_trace_gives_the_same_bytes():
    assert the_book() == book(traced())


def test_sheets_stand_in_computing_order_and_the_first_lists_them():
    sheets = workbooks.read(the_book())
    first, settings, *names = sheets
    assert (first, settings) == ("read me", "settings")
    order = [name for name in vocabulary.ARRAYS if name in names]
    order.remove("bias") if "bias" in order else None
    assert sorted(order, key=names.index) == [n for n in names if n in vocabulary.ARRAYS]
    column = [c.value for name, c in sheets[first].items() if re.fullmatch(r"A\d+", name)]
    at = column.index("settings")
    assert column[at : at + len(names) + 1] == ["settings", *names]
    assert all(len(name) <= 31 for name in sheets)


def test_the_first_sheet_says_the_prompt_the_prediction_and_what_if_settings():
    trace = traced(attention_temperature=2.0, mask=["block:5:0"])
    said = [c.value for c in workbooks.read(book(trace))["read me"].values()]
    (best, *_) = trace.next[0].candidates
    assert {PROMPT, best.text, best.id, "what-if"} <= set(said)
    assert any(one == pytest.approx(best.logit) for one in said if isinstance(one, float))
    assert any("--mask block:5:0 --attention-temperature 2" in str(one) for one in said)
    plain = [str(c.value) for c in workbooks.read(the_book())["read me"].values()]
    assert any("no what-if" in one for one in plain)
    assert not any("--mask" in one for one in plain)


HOSTILE = ("=1+1", "+2", "-3", "@x", "\t=1", "\r", "<b>&amp;", "_x0041_", "\u202eabc", "\x00\x1b",
           "[red]", '"', "a" * 40_000)  # fmt: skip


def test_a_token_is_text_whatever_it_begins_with():
    trace = traced(ids=tuple(range(5, 5 + len(HOSTILE))))
    tokens = tuple(Token(id=7, text=text, span=None, bytes=None) for text in HOSTILE)
    trace = replace(
        trace, prompt=replace(trace.prompt, tokens=tokens, text="=cmd()", has_text=True)
    )
    sheets = workbooks.read(book(trace))
    texts = [c.value for c in sheets["read me"].values() if isinstance(c.value, str)]
    assert {"=1+1", "+2", "-3", "@x", "\\t=1", "\\r", "<b>&amp;", "_x0041_", "=cmd()"} <= {*texts}
    assert {"\\u202eabc", "\\x00\\x1b", "[red]", '"'} <= {*texts}
    assert max(map(len, texts)) == 32_767
    formulas = {c.formula for sheet in sheets.values() for c in sheet.values() if c.formula}
    assert not any("1+1" in one or "cmd" in one for one in formulas)
    assert sheets["q"]["A3"].value == "=1+1"


def test_a_number_that_is_none_is_a_word_and_its_formulas_are_numbers(tiny_folder):
    trace = traced()
    (block,) = trace.attention
    q = np.array(block.q)
    q[0, 2, 3] = np.nan
    scores = np.array(block.scores)
    scores[0, 2] = np.nan
    arrays = {**block.arrays, "q": q, "scores": scores}
    sheets = workbooks.read(book(replace(trace, attention=(replace(block, arrays=arrays),))))
    assert sheets["q"]["E5"].value == "NaN"
    assert not any(c.formula for c in sheets["q"].values())
    assert not any(c.formula for c in sheets["scores"].values())
    said = [str(c.value) for c in sheets["read me"].values()]
    assert any("do not follow" in one and "q, scores" in one for one in said)


# --- formulas ------------------------------------------------------------------------------------

MODELS = ("llama-yarn", "gemma2", "qwen3-yarn", "bloom", "deberta-both", "bert")
TYPES = ("gpt_oss-a", "mpt-a", "deepseek-v2-a", "gptj-a", "ministral3-a")


def checked(name, model, **more):
    trace = traced(model, ids=(5, 6, 7, 5, 9), next=False, **more)
    data = book(trace)
    computed = workbooks.Computed(data)
    for sheet, cells in computed.sheets.items():
        for at, cell in cells.items():
            if cell.formula and isinstance(cell.value, float):
                assert computed.cell(sheet, at) == pytest.approx(cell.value, rel=1e-4, abs=1e-5)
    named = [n for n in computed.sheets if n in vocabulary.ARRAYS]
    assert max(errors(trace, computed.matrix, named).values()) < 1e-5
    fixed = {n for n in (*LIVE, "q", "k", "v", "normed", "q_unrotated", "k_unrotated",
                         *vocabulary.TERMS)
             if n in named and not computed.sheets[n]["B3"].formula}  # fmt: skip
    assert fixed == FIXED.get(name, set())


@pytest.mark.parametrize("name", MODELS)
def test_formulas_give_what_the_pass_computed(golden_path, name):
    checked(name, str(golden_path / name))


@pytest.mark.parametrize("name", TYPES)
def test_formulas_give_what_other_kinds_of_models_compute(type_folder, name):
    checked(name, type_folder(name))


def test_formulas_of_cross_attention(golden_path):
    more = {"stack": "decoder", "kind": "cross", "target_ids": (3, 4, 5)}
    checked("t5", str(golden_path / "t5-gelu"), **more)


WHAT_IFS = {
    "cold": ({"attention_temperature": 0.0}, {"settings": {"B4": 0}}),
    "heated": ({"attention_temperature": 0.5}, {"settings": {"B4": 0.5}}),
    "masked": ({"mask": ["block:0:0", "block:5:2"]}, {"visible": {"B3": 0, "D8": 0}}),
    "zero": ({"mask_value": 0.0}, {"settings": {"B5": 0}}),
    "unscaled": ({"without": ["scale"]}, {"settings": {"B3": 1}}),
    "removed": ({"without_head": ["0.1"]}, {"settings": {"B6": 0}}),
}


@pytest.mark.parametrize("name", WHAT_IFS)
def test_a_changed_cell_does_what_the_option_does(name):
    options, cells = WHAT_IFS[name]
    plain, there = the_plain(), traced(**options)
    computed = workbooks.Computed(workbooks.changed(the_book(), cells))
    assert max(errors(there, computed.matrix).values()) < 1e-5
    moved = computed.cell("read me", "B5")
    change = np.abs(of_head(there, "weights") - of_head(plain, "weights")).max()
    assert moved == pytest.approx(change, abs=1e-6)
    # A workbook of the what-if itself comes back to the model's own numbers.
    if name in ("heated", "masked"):
        back = {s: {c: _PLAIN[s, c] for c in found} for s, found in cells.items()}
        own = workbooks.Computed(workbooks.changed(book(there), back))
        assert max(errors(plain, own.matrix).values()) < 1e-5


_PLAIN = {("settings", "B3"): 8**-0.5, ("settings", "B4"): 1, ("settings", "B6"): 1,
          ("visible", "B3"): 1, ("visible", "D8"): 1}  # fmt: skip


def test_a_large_sink_takes_all(type_folder):
    data = book(traced(type_folder("gpt_oss-a"), ids=(5, 6, 7), next=False))
    settings = workbooks.read(data)["settings"]
    (cell,) = (at.replace("A", "B") for at, one in settings.items() if one.value == "sink")
    computed = workbooks.Computed(workbooks.changed(data, {"settings": {cell: 5000}}))
    np.testing.assert_array_equal(computed.matrix("weights", 4), [[0, 0, 0, 1]] * 3)
    assert not computed.matrix("z", 2).any()


def after_query(trace, cell=(5, 2), value=3.0):
    """What follows from another number in q, by the six steps themselves."""
    block = trace.attention[0]
    q = np.array(block.q)
    q[0][cell] = value
    visible = block.visible
    steps = attend(q, block.k, block.v, lambda at_Q, at_K: visible[np.ix_(at_Q, at_K)],
                   scale=block.scale)  # fmt: skip
    found = {name: getattr(steps, name) for name in LIVE[:-1]}
    found["head_output"] = steps.z @ block.w_o
    return replace(trace, attention=(replace(block, arrays={**block.arrays, "q": q, **found}),))


def test_a_changed_query_moves_all_that_follows():
    trace = the_plain()
    computed = workbooks.Computed(workbooks.changed(the_book(), {"q": {"D8": 3}}))
    wanted = after_query(trace)
    assert max(errors(wanted, computed.matrix).values()) < 1e-5
    assert row_error(of_head(wanted, "weights"), of_head(trace, "weights")) > 0.01


SHEET = ("exercise", "--model", "pencil", "--seed", "7", "--quiet")


def filled_sheet(attn):
    """The workbook of a sheet with a number typed into each blank, one of which is wrong."""
    data = attn(*SHEET, "--format", "xlsx")[1]
    key = json.loads(attn(*SHEET, "--key", "--json")[1])["result"]["blanks"]
    answers = {blank["number"]: blank["answer"] for blank in key} | {6: 24}
    cells = workbooks.read(data)["exercise"].items()
    places = {str(cell.value): at for at, cell in cells}
    typed = {places[f"({number})"]: answer for number, answer in answers.items()}
    return workbooks.changed(data, {"exercise": typed})


@pytest.mark.skipif(not workbooks.SOFFICE, reason="apt-get install libreoffice-calc")
def test_libreoffice_computes_the_same(attn, tmp_path, golden_path, type_folder):
    plain = traced()
    cases = {
        "query": (plain, {"q": {"D8": 3}}, after_query(plain)),
        **{n: (plain, WHAT_IFS[n][1], traced(**WHAT_IFS[n][0])) for n in ("heated", "masked")},
    }
    for name, path in (
        ("sinks", type_folder("gpt_oss-a")),
        ("terms", golden_path / "deberta-both"),
    ):
        there = traced(str(path), ids=(5, 6, 7, 5, 9), next=False)
        cases[name] = there, {}, there
    files = {n: workbooks.changed(book(trace), cells) for n, (trace, cells, _) in cases.items()}
    found = workbooks.recalculated({**files, "exercise": filled_sheet(attn)}, tmp_path)
    for name, (_, _, wanted) in cases.items():

        def matrix(n, count, sheets=found[name]):
            return workbooks.saved_matrix(sheets[n], count)

        assert max(errors(wanted, matrix).values()) < 1e-5, name
    # The sheet of answers is what is checked: (6) is not scaled, the others are right.
    code, out, _ = attn(*SHEET, "--check", found["exercise"]["answers"], "--json")
    marks = json.loads(out)["result"]["marks"]
    assert code == 1
    assert [mark["verdict"] for mark in marks] == ["right"] * 5 + ["wrong"] + ["right"] * 2
    assert marks[5]["mistakes"] == ["not_scaled"]


# --- the command ---------------------------------------------------------------------------------


def test_the_workbook_is_made_by_its_suffix(attn, tmp_path):
    path = tmp_path / "head.xlsx"
    assert attn("trace", PROMPT, "--head", 1, "--no-next", "--out", path) == (0, b"", b"")
    assert path.read_bytes() == attn("trace", PROMPT, "-H", 1, "--no-next", "--format", "xlsx")[1]


def test_queries_choose_rows_and_every_token_stays(attn):
    data = attn("trace", PROMPT, "--query", "is,China", "--format", "xlsx")[1]
    whole = workbooks.read(attn("trace", PROMPT, "--format", "xlsx")[1])
    sheets = workbooks.read(data)
    computed = workbooks.Computed(data)
    for name, columns in {"q": 8, "masked": 6, "weights": 6, "z": 8, "head_output": 32}.items():
        wanted = workbooks.matrix(whole[name], columns)[[5, 4]]
        assert row_error(workbooks.matrix(sheets[name], columns), wanted) == 0
        assert row_error(computed.matrix(name, columns), wanted) < 1e-5
    assert len(workbooks.matrix(sheets["k"], 8)) == 6
    assert [sheets["weights"][name].value for name in ("A3", "A4")] == ["is", "China"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--head", "all"), (b"one head of one layer", b"0.0, 0.1, 0.2 and 1 more", b"--head 0")),
        (("--layer", "all"), (b"0.0, 1.0", b"--layer 0")),
        (("--key", "0"), (b"--key", b"--query chooses rows")),
        (("--after",), (b"--after", b"--format csv")),
        (("--each", "line"), (b"--each cannot be written as xlsx",)),
    ],
)
def test_what_cannot_be_a_workbook_is_refused(attn, monkeypatch, options, words):
    monkeypatch.setattr(xlsx, "render", None)
    code, out, said = attn("trace", PROMPT, "--format", "xlsx", *options)
    assert (code, out) == (2, b"")
    assert all(word in said for word in words) and said.count(b"\n") <= 3


def test_several_kinds_of_attention_are_told_apart(attn):
    asked = ("trace", "the king", "--model", "tiny-translator", "--kind", "all", "--quiet")
    code, _, said = attn(*asked, "--format", "xlsx")
    assert code == 2
    assert b"decoder self 0.0, decoder cross 0.0\n" in said
    assert b"--stack decoder --kind self --layer 0" in said


@pytest.mark.parametrize(
    ("name", "limit", "words"),
    [
        ("MOST_COLUMNS", 10, (b"at most 10 columns, and 6 tokens need 11", b"up to 5 tokens fit")),
        ("MOST_COLUMNS", 30, (b"32 dimensions of the model need 37",)),
        ("MOST_CELLS", 2000, (b"of 2,272 cells", b"--query with up to 3 queries")),
        ("MOST_CELLS", 800, (b"choose a shorter prompt; --format npz",)),
    ],
)
def test_a_workbook_too_large_says_the_limit_and_what_fits(attn, monkeypatch, name, limit, words):
    monkeypatch.setattr(xlsx, name, limit)
    code, out, said = attn("trace", PROMPT, "--format", "xlsx")
    assert (code, out) == (1, b"")
    assert all(word in said for word in words), said
    assert said.count(b"\n") <= 3


def test_wide_matrices_stay_out_unless_they_are_asked_for(attn, monkeypatch):
    monkeypatch.setattr(xlsx, "MOST_PARAMETERS", 700)
    sheets = workbooks.read(attn("trace", PROMPT, "--format", "xlsx")[1])
    assert "w_q" not in sheets and not sheets["q"]["B3"].formula and sheets["z"]["B3"].formula
    assert any("--parameters" in str(c.value) for c in sheets["read me"].values())
    sheets = workbooks.read(attn("trace", PROMPT, "--format", "xlsx", "--parameters")[1])
    assert sheets["w_q"] and sheets["q"]["B3"].formula


def test_without_the_writer_one_command_is_named(attn, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "xlsxwriter", None)
    code, out, said = attn("trace", PROMPT, "--format", "xlsx")
    assert (code, out) == (1, b"")
    assert said.endswith(b'hint: pip install "attn-cli[xlsx]"\n')


def test_a_step_changes_nothing_and_is_said_to(attn):
    code, data, said = attn("trace", PROMPT, "--step", 5, "--format", "xlsx")
    assert (code, data) == (0, attn("trace", PROMPT, "--format", "xlsx")[1])
    assert said == b"note: --step changes nothing here: xlsx is written in full\n"


# --- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "tokens", "parameters"),
    [("tiny", 36, False), ("random:layers=1,heads=2,model_width=96", 4, True)],
)
def test_what_a_workbook_takes_is_known_before(monkeypatch, model, tokens, parameters):
    if not parameters:
        monkeypatch.setattr(xlsx, "MOST_PARAMETERS", 0)
    arrays = {"arrays": xlsx._KEPT} if not parameters else {}
    trace = traced(model, ids=tuple(5 + n % 20 for n in range(tokens)), next=False, **arrays)
    (block,) = trace.attention
    at = block.address
    shown = {at[:2]: (block.queries, block.keys)}
    drawing = Drawing(trace.model, trace.prompt, (at,), {}, shown, parameters, after=False)
    tracemalloc.start()
    try:
        book(trace)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert xlsx.weight(drawing)({at.stack: tokens}) == pytest.approx(peak, rel=0.2)


def test_a_workbook_that_needs_too_much_is_refused_with_what_fits(attn):
    ids = ",".join(str(5 + n % 20) for n in range(60))
    asked = ("trace", "--format", "xlsx", "--max-memory", "16MiB", "--no-next", "--ids")
    code, out, said = attn(*asked, ids)
    assert (code, out) == (1, b"")
    assert b"reading 60 tokens and writing the result takes" in said
    fits = int(re.search(rb"a prompt of (\d+) tokens", said)[1])
    assert 40 < fits < 60
    for count, code in ((fits, 0), (fits + 1, 1)):
        assert attn(*asked, ",".join(ids.split(",")[:count]))[0] == code
