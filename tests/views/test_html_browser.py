"""The HTML page in a browser: its numbers beside the trace's, its keyboard, its looks."""

from dataclasses import replace
from pathlib import Path

import chromium
import numpy as np
import pytest
from html_pages import HOSTILE, hostile, page_of, traced
from made_folders import made_folder

from attn_cli import session, vocabulary
from attn_cli.records import Trace
from attn_cli.views.text import labels
from measure import row_error

GOLDEN = Path(__file__).parents[1] / "golden"
pytestmark = pytest.mark.skipif(bool(chromium.missing()), reason=chromium.missing())
IDS = (5, 6, 7, 9, 5, 6, 8)
NUMBERS = (
    "read",
    "JSON.parse(JSON.stringify(attn.numbers(), (key, value) => "
    "Number.isFinite(value) || typeof value !== 'number' ? value : String(value)))",
)
PANEL = ("read", "document.getElementById('why').innerText")
RESULT = ("read", "document.getElementById('result').textContent")
MARKED = (
    "read",
    "[...document.querySelectorAll('[role=grid]')].filter(table => "
    "table.caption.textContent.includes('what-if')).map(table => table.dataset.name)",
)
BADGE = ("read", "document.getElementById('badge').checkVisibility()")
FOCUS = (
    "read",
    "(() => { const cell = document.activeElement.closest('td'); return [cell.closest("
    "'table').dataset.name, cell.parentNode.rowIndex - 1, cell.cellIndex - 1]; })()",
)


@pytest.fixture(scope="module")
def browser():
    with chromium.browser() as found:
        yield found


@pytest.fixture
def shown(browser, tmp_path):
    """Opens the page of a trace and takes steps on it."""

    def show(trace: Trace, *steps, keys=None, **look):
        path = tmp_path / "page.html"
        path.write_text(page_of(trace, keys or {}))
        return browser.open(path, *steps, **look)

    return show


def at(name: str, row: int, column: int) -> str:
    return f'[data-name="{name}"] tbody tr:nth-child({row + 1}) td:nth-child({column + 2})'


def same(found: dict, block, place: int, what: str = "") -> None:
    """The page's numbers of one head are those of a block, all of them."""
    for name in ("scores", "scaled", "masked", "weights", "z"):
        values = np.array(found[name]).astype(float)
        assert row_error(values, block.arrays[name][place]) < 1e-5, (name, what)
    output = block.head_output[place].astype(np.float64)
    lengths = np.linalg.norm(output, axis=1)
    assert row_error(np.array(found["lengths"], float), lengths) < 1e-5
    if found["head_output"][0] is not None:
        assert row_error(np.array(found["head_output"], float), output) < 1e-5
    if "sink_share" in block.arrays:
        assert row_error(np.array(found["share"], float), block.sink_share[place]) < 1e-5


def every_head(shown, trace: Trace) -> None:
    steps, wanted = [], []
    for number, block in enumerate(trace.attention):
        for place, head in enumerate(block.heads):
            steps += [("pick", "#layer", number), ("pick", "#head", place), NUMBERS]
            wanted.append((block, place, head))
    results = shown(trace, *steps)
    assert len(results) == len(wanted)
    for found, (block, place, head) in zip(results, wanted, strict=True):
        same(found, block, place, f"{block.address} {head}")


@pytest.mark.parametrize("model", ["tiny", "tiny-translator"])
def test_every_number_of_every_head_is_the_trace_s(shown, model):
    every_head(shown, traced(model=model, stack="all", kind="all"))


# Terms of distance; a bias, and two stacks; a soft cap; sinks.
@pytest.mark.parametrize("name", ["deberta-both", "t5-gelu", "gemma2", "gpt_oss-a"])
def test_every_kind_of_attention_is_computed(shown, name, tmp_path):
    folder = GOLDEN / name
    if not folder.exists():
        folder = made_folder(tmp_path / name, name)
    every_head(shown, traced(model=str(folder), ids=IDS, stack="all", kind="all", layer=1))


def test_lengths_alone_follow_too(shown, monkeypatch):
    monkeypatch.setattr("attn_cli.views.html.payload.plan", lambda trace: "length")
    found = shown(traced(), NUMBERS)[0]
    assert found["head_output"] == [None] * 6
    same(found, traced().attention[0], 0)


def test_a_changed_temperature_is_attn_s_own(shown):
    results = shown(
        traced(),
        BADGE,
        ("click", at("weights", 5, 4)),
        ("fill", "#temperature", "0.5"),
        BADGE,
        NUMBERS,
        PANEL,
        MARKED,
        ("fill", "#temperature", "0"),
        NUMBERS,
        ("click", "#reset"),
        BADGE,
        NUMBERS,
        MARKED,
    )
    before, now, half, panel, marked, cold, after, real, none = results
    assert (before, now, after) == (False, True, False)
    assert (marked, none) == (["weights", "z", "head_output"], [])
    assert f"= {traced(attention_temperature=0.5).attention[0].weights[0, 5, 4]:.4f}" in panel
    same(half, traced(attention_temperature=0.5).attention[0], 0)
    same(cold, traced(attention_temperature=0).attention[0], 0)
    same(real, traced().attention[0], 0)


def test_a_changed_scale_is_attn_s_own(shown):
    found = shown(traced(), ("pick", "#head", 2), ("fill", "#scale", "1"), NUMBERS)[-1]
    same(found, traced(without=["scale"]).attention[0], 2)


def test_clicked_cells_of_the_mask_are_attn_s_own(shown, tmp_path):
    cells = [(5, 4), (0, 3), (2, 1), (0, 0)]
    visible = np.tril(np.ones((6, 6), int))
    for query, key in cells:
        visible[query, key] ^= 1
    mask = tmp_path / "mask.txt"
    mask.write_text("\n".join(" ".join(map(str, row)) for row in visible))
    clicks = [("click", at("visible", query, key)) for query, key in cells]
    said = ("read", "document.getElementById('what').textContent")
    *_, found, words, badge = shown(traced(), *clicks, NUMBERS, said, BADGE)
    same(found, traced(mask=[f"file:{mask}"]).attention[0], 0)
    assert badge and "cells of the mask changed: 4" in words
    twice = shown(traced(), *clicks, *clicks, NUMBERS, BADGE)
    same(twice[-2], traced().attention[0], 0)
    assert twice[-1] is False


def test_what_was_typed_is_where_the_page_begins(shown):
    trace = traced(attention_temperature=2.0, mask=["none"], mask_value=-1.0)
    noted = ("read", "document.getElementById('notes').textContent")
    found, notes, badge = shown(trace, NUMBERS, noted, BADGE)
    same(found, trace.attention[0], 0)
    assert "--attention-temperature 2" in notes and badge is False


def test_the_prediction_is_there_with_its_logits(shown):
    rows = (
        "read",
        "[...document.querySelectorAll('[data-name=candidates] tbody tr')]"
        ".map(row => [...row.cells].map(cell => cell.textContent))",
    )
    trace = traced()
    found, panel = shown(
        trace,
        rows,
        ("hover", at("candidates", 0, 0)),
        ("read", "document.getElementById('why').textContent"),
    )
    best = trace.next[0].candidates[0]
    assert found[0][0] == best.text and found[0][1] == f"{best.logit:.2f}"
    assert found[0][3] == f"{best.probability:.2f}"
    assert f"{best.logit:.4f}" in panel


def test_pointing_at_a_cell_shows_its_arithmetic(shown):
    panel = ("read", "document.getElementById('why').innerText")
    block = traced().attention[0]
    results = shown(
        traced(),
        ("hover", at("scores", 5, 4)),
        panel,
        ("hover", at("weights", 5, 4)),
        panel,
        ("hover", at("z", 5, 3)),
        panel,
        ("hover", at("head_output", 5, 30)),
        panel,
        ("hover", at("scaled", 5, 4)),
        panel,
    )
    score, weight, z, pull, scaled = results
    for value in (*block.q[0, 5], *block.k[0, 4], block.scores[0, 5, 4]):
        assert f"{value:.4f}".replace("-", "−") in score
    for value in (*block.masked[0, 5], block.weights[0, 5, 4]):
        assert f"{value:.4f}".replace("-", "−") in weight
    for text, value in ((z, block.z[0, 5, 3]), (pull, block.head_output[0, 5, 30])):
        assert f"{value:.4f}".replace("-", "−") in text
    assert f"{block.scaled[0, 5, 4]:.4f}".replace("-", "−") in scaled


def test_the_keyboard_walks_every_control_and_grid(shown):
    tab = ("press", "Tab")
    stop = (
        "read",
        "(() => { const on = document.activeElement; const grid = on.closest('table');"
        "return on.id || (grid ? grid.dataset.name ?? 'table' : on.className); })()",
    )
    stops = shown(traced(), *[tab, stop] * 24)
    assert stops[:5] == ["layer", "head", "query", "temperature", "scale"]
    names = ["x", "normed", "q", "k", "v", "scores", "scaled", "visible", "masked", "weights", "z",
             "head_output", "output", "candidates"]  # fmt: skip
    assert [name for name in stops if name in names] == names


def test_arrows_walk_in_a_grid_and_enter_changes_the_mask(shown):
    keys = ["ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft", "End", "ArrowRight", "Home",
            "ArrowUp", "Control+End", "Control+Home"]  # fmt: skip
    click = ("click", at("weights", 0, 0))
    steps = [step for key in keys for step in (("press", key), FOCUS)]
    found = shown(traced(), click, *steps)
    cells = [(0, 1), (1, 1), (2, 1), (2, 0), (2, 5), (2, 5), (2, 0), (1, 0), (5, 5), (0, 0)]
    assert found == [["weights", *cell] for cell in cells]
    one_stop = ("read", "document.querySelectorAll('[data-name=weights] [tabindex=\"0\"]').length")
    steps = [("click", at("visible", 0, 0)), ("press", "ArrowRight"), ("press", "Enter"), FOCUS,
             BADGE, ("press", " "), one_stop, NUMBERS]  # fmt: skip
    focus, badge, stops, numbers = shown(traced(), *steps)
    assert (focus, badge, stops) == (["visible", 0, 1], True, 1)
    same(numbers, traced(mask=["causal", "block:0:0"]).attention[0], 0)


def test_a_what_if_is_told_to_who_cannot_see_it(shown):
    said = "document.getElementById('result').textContent"
    steps = [("fill", "#temperature", "3"), ("until", said), RESULT,
             ("read", "document.getElementById('result').getAttribute('aria-live')"),
             ("click", at("visible", 0, 0)), ("pick", "#query", 0),
             ("until", f"{said}.includes('no key')"), RESULT, MARKED]  # fmt: skip
    *_, words, live, blind, marked = shown(traced(), *steps)
    length = np.linalg.norm(traced().attention[0].head_output[0, 0])
    assert blind.startswith("what-if: the now sees no key, so it takes nothing")
    assert blind.endswith(f"head_output is 0.00, before {length:.2f}.")
    assert marked == ["visible", "masked", "weights", "z", "head_output"]
    weights = traced(attention_temperature=3.0).attention[0].weights[0, 5]
    assert words.startswith("what-if: is now looks at China most") and live == "polite"
    assert f"weight {weights[4]:.2f}, before {traced().attention[0].weights[0, 5, 4]:.2f}" in words


def test_tables_are_tables(shown):
    bare = (
        "read",
        "[...document.querySelectorAll('table')].filter(one => !one.caption || "
        "!one.querySelector('th[scope=col]') || !one.querySelector('th[scope=row]')).length",
    )
    assert shown(traced(), bare) == [0]


@pytest.mark.parametrize("look", [
    {"scheme": "light"}, {"scheme": "dark", "width": 390},
], ids=["light", "dark, on a phone"])  # fmt: skip
def test_no_rule_of_accessibility_is_broken(shown, look):
    steps = [("fill", "#temperature", "0.3"), ("click", at("visible", 1, 0)), ("axe",),
             ("read", "document.documentElement.scrollWidth")]  # fmt: skip
    broken, width = shown(traced("China is", layer=0), *steps, **look)
    assert broken == []
    assert width <= look.get("width", 1280)


def test_hostile_tokens_are_shown_as_they_are(shown):
    names = (
        "read",
        "[...document.querySelectorAll('[data-name=weights] tbody th')]"
        ".map(cell => cell.textContent)",
    )
    scripts = ("read", "document.querySelectorAll('script, img').length")
    trace = hostile(traced())
    found, count = shown(trace, names, scripts)
    assert found[2:5] == ["\\u202eabc", "<!--", "&lt;`b`"] and count == 2
    assert len(found) == len(HOSTILE)


def test_nan_is_called_nan(shown):
    trace = traced()
    block = trace.attention[0]
    q = block.q.copy()
    q[0, 2, 1] = np.nan
    changed = replace(block, arrays={**block.arrays, "q": q})
    cells = (
        "read",
        "[...document.querySelectorAll('[data-name=weights] tbody tr')]"
        ".map(row => row.textContent)",
    )
    said = ("read", "document.getElementById('step-5').textContent")
    found = shown(replace(trace, attention=(changed, *trace.attention[1:])), cells,
                  ("click", at("weights", 2, 1)), ("pick", "#query", 2),
                  ("fill", "#temperature", "2"), cells, said,
                  ("until", f"{RESULT[1]}.includes('NaN')"), RESULT)  # fmt: skip
    for rows in found[:2]:
        assert "NaN" in rows[2] and "NaN" not in rows[1] + rows[3]
    assert "the powers of e add up to NaN" in found[2]
    assert found[3].startswith("what-if: the weights of thinker are NaN")


def test_one_token_and_many_work(shown):
    same(shown(traced("China"), NUMBERS)[0], traced("China").attention[0], 0)
    long = traced(ids=list(range(5, 105)))
    text = page_of(long)
    found, rows = shown(long, NUMBERS, ("read", "attn.numbers().weights[0].length"))
    assert rows == 100 and len(found["z"]) == 100 and len(text) < 3_000_000
    count, ends, pager = shown(
        long,
        ("read", "document.querySelectorAll('[data-name=weights] td').length"),
        ("click", at("weights", 0, 0)),
        ("press", "Control+Home"),
        FOCUS,
        ("read", "document.activeElement.closest('tr').cells[0].textContent + "
                 "document.activeElement.textContent"),
    )  # fmt: skip
    assert count == 24 * 32 + 1 and ends == ["weights", 0, 0]
    assert pager == f"{labels(long.prompt.labels)[0]}1.00"
    block = long.attention[0]
    weights = np.array(found["weights"], float)
    assert row_error(weights, block.weights[0]) < 1e-5


def test_keys_that_were_chosen_are_columns_and_all_are_computed_with(shown):
    """In the order that was typed, as in every format."""
    trace, keys = traced(), (4, 0)
    cells = ("read", "['k', 'weights'].map(name => [...document.querySelectorAll("
                     "`[data-name=${name}] tr`)].map(row => [...row.cells].map("
                     "cell => cell.textContent)))")  # fmt: skip
    found, panel, numbers = shown(
        trace, cells, ("hover", at("weights", 5, 0)), PANEL, ("click", at("visible", 5, 0)),
        NUMBERS, keys={("decoder", "self"): keys},
    )  # fmt: skip
    names = labels(trace.prompt.labels)
    assert [row[0] for row in found[0]] == ["", *(names[key] for key in keys)]
    weights = trace.attention[0].weights[0]
    assert found[1][0] == ["", *(names[key] for key in keys)]
    assert found[1][6] == [names[5], *(f"{weights[5, key]:.2f}" for key in keys)]
    assert f"weight = 1.0000 ÷ {1 / weights[5, 4]:.4f}" in panel
    same(numbers, traced(mask=["causal", "block:5:4"]).attention[0], 0)


def test_a_changed_mask_is_of_the_layers_that_have_it(shown):
    trace = traced(ids=IDS, model=str(GOLDEN / "gemma2"), layer="all")
    masks = [block.visible for block in trace.attention]
    other = next(n for n, mask in enumerate(masks) if not np.array_equal(mask, masks[0]))
    click = ("click", at("visible", 6, 0))
    assert shown(trace, click, BADGE, ("pick", "#layer", other), BADGE) == [True, False]


def test_what_has_the_focus_is_not_covered(shown):
    seen = (
        "read",
        "(() => { const { left, right, top, bottom } = document.activeElement"
        ".getBoundingClientRect(); return document.activeElement.contains("
        "document.elementFromPoint(left + 4, top + 4)) && document.activeElement.contains("
        "document.elementFromPoint(right - 4, bottom - 4)); })()",
    )
    keys = ["Control+End", "Control+Home", *["ArrowRight"] * 5, *["ArrowLeft"] * 4,
            *["ArrowDown"] * 3]  # fmt: skip
    steps = [step for key in keys for step in (("press", key), seen)]
    start = ("read", "document.querySelector('[data-name=normed] td[tabindex=\"0\"]').focus()")
    edge = ("read", "void scrollBy(0, document.activeElement.getBoundingClientRect().bottom"
                    " - document.getElementById('why').getBoundingClientRect().top)")  # fmt: skip
    _, *found = shown(traced(), start, *steps, edge, ("press", "ArrowDown"), seen, width=360)
    assert found == [*[True] * len(keys), None, True]


def test_a_large_grid_is_turned_by_buttons_and_walked_by_keys(shown):
    trace = traced(ids=list(range(5, 105)))
    weights, names = trace.attention[0].weights[0], labels(trace.prompt.labels)
    own = ".grid:has([data-name=z])"
    seen = ("read", f"[...document.querySelectorAll('{own} tbody th')].map(th => th.textContent)")
    told = ("read", f"document.querySelector('{own} [role=status]').textContent")
    steps = [seen, told, ("click", f"{own} .turn button"), seen, told,
             ("click", at("z", 0, 0)), ("press", "ArrowUp"), seen]  # fmt: skip
    last, where, before, there, half = shown(trace, *steps)
    assert (last, where) == (names[76:], "rows 77–100 of 100")
    assert (before, there) == (names[52:76], "rows 53–76 of 100")
    assert half == names[40:64]
    cell = ("read", "document.activeElement.textContent")
    found = shown(trace, ("click", at("weights", 0, 0)), ("press", "Home"), cell,
                  ("press", "PageUp"), cell, ("press", "Control+End"), cell)  # fmt: skip
    wanted = [weights[76, 0], weights[52, 0], weights[99, 99]]
    assert np.array(found, float) == pytest.approx(wanted, abs=0.0051)


# The last number that each panel ends with, beside the number of its cell, wherever that is a sum.
ENDS = (
    "read",
    """(() => { const found = []; const names = ["visible", "masked", "scaled", "bias",
      "candidates", "experts", "weights",
      "content_to_content", "content_to_position", "position_to_content"];
    for (const cell of document.querySelectorAll("[role=grid] tbody td")) {
      const { name } = cell.closest("table").dataset;
      if (names.includes(name)) continue;
      cell.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
      const parts = [...document.getElementById("why").children].slice(2);
      const told = parts.map((part) => part.textContent).join(" ");
      const last = /(−?[0-9]+[.]?[0-9]*)[^0-9]*$/.exec(told);
      found.push([name, cell.textContent, told.includes("Σ") || / = /.test(told) ? last[1] : null]);
    } return found; })()""",
)
MADE = ("tiny", "llama-plain", "deberta-both", "bloom", "deepseek-v2-a", "hunyuan_v1_dense-a",
        "qwen3-yarn", "falcon-a", "minicpm3-a", "t5-gelu")  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_the_arithmetic_of_every_vector_ends_in_its_number(shown, name, tmp_path):
    folder = GOLDEN / name
    if name != "tiny" and not folder.exists():
        folder = made_folder(tmp_path / name, name)
    model = name if name == "tiny" else str(folder)
    trace = traced(ids=IDS, model=model, stack="all", kind="all", layer="all")
    last = len(trace.attention) - 1
    (found,) = shown(trace, ("pick", "#layer", last), ENDS)
    read = [(array, float(cell.replace("−", "-")), float(end.replace("−", "-")))
            for array, cell, end in found if end is not None]  # fmt: skip
    assert {"q", "k", "v", "z", "output"} <= {array for array, *_ in read}
    assert [one for one in read if abs(one[1] - one[2]) > 0.0051] == []


def test_what_a_document_does_not_say_of_a_model_is_not_guessed(shown):
    trace = traced()
    panel = ("read", "document.getElementById('why').innerText")
    told = shown(
        replace(trace, model=replace(trace.model, partial=True)),
        ("hover", at("q", 5, 1)),
        panel,
        ("hover", at("output", 5, 1)),
        panel,
    )
    assert "The document does not say how" in told[0] and "·W" not in told[0]
    assert f"{trace.attention[0].output[5, 1]:.4f}".replace("-", "−") in told[1]
    assert "head 3" in told[1]


def test_experts_and_the_network_are_shown(shown, tmp_path):
    folder = made_folder(tmp_path / "mixtral-a", "mixtral-a")
    trace = traced(ids=IDS, model=str(folder), layer="all")
    rows = (
        "read",
        "[...document.querySelectorAll('[data-name=experts] tbody tr')]"
        ".map(row => [...row.cells].slice(1).map(cell => cell.textContent))",
    )
    network = ("read", "[...document.querySelectorAll('[data-name=mlp_output] tbody tr')]"
                       ".map(row => row.cells[1].textContent)")  # fmt: skip
    found, values = shown(trace, ("pick", "#layer", 1), rows, network)
    of = trace.experts[1]
    assert found == [
        [f"{e}: {s:.2f}" for e, s in zip(*one, strict=True)]
        for one in zip(of.chosen.tolist(), of.shares.tolist(), strict=True)
    ]
    wanted = trace.attention[1].arrays["mlp_output"][:, 0]
    assert np.abs(np.array([v.replace("−", "-") for v in values], float) - wanted).max() < 0.006


def test_words_of_a_step_are_those_of_the_terminal(shown):
    step = ("read", "document.getElementById('step-5').innerText")
    own = session.trace(vocabulary.SAMPLE_PROMPT).block(0)
    words = shown(traced(), step)[0]
    row = own.masked[0, 5].astype(float)
    total = np.exp(row - row.max()).sum()
    assert "Each query's weights add up to 1. The exponential favours larger scores." in words
    assert f"For is the largest is {row.max():.2f}".replace("-", "−") in words
    assert f"the powers of e add up to {total:.2f}." in words
