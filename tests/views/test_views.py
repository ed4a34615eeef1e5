"""What a page looks like as a heatmap, as dots, and as lines for a screen reader."""

import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.style import Style
from views.test_screens import AWKWARD, TEXTS, items_of

from attn_cli.views import cells, dots, heatmap, lines, table
from attn_cli.views.drawers import DRAWERS
from attn_cli.views.items import Column, Columns, Grids, Matrix, Measured, Picture, say
from attn_cli.views.look import STYLES, Look
from attn_cli.views.text import labels

VIEWS = {"table": table, "heatmap": heatmap, "dots": dots, "lines": lines}
NAMES = ["the", "king", "is"]
LOWER = np.tri(3, dtype=bool)
WEIGHTS = Matrix(
    "weights", np.array([[1, 0, 0], [0.75, 0.25, 0], [0.5, 0.01, 0.49]]), NAMES, NAMES,
    hidden=~LOWER, marked=2,
)  # fmt: skip
SIGNED = Matrix("q", np.array([[4.0, -4.0, 2.0, -0.01], [-1.2, 1.2, 0, 3.0]]), NAMES[:2], range(4),
                "rows: tokens   columns: width")  # fmt: skip


def drawn(view, item, width=80, **look):
    return VIEWS[view].draw([item], Look(view=view, width=width, **look)).splitlines()


def test_each_view_has_its_module():
    assert {name: module.__name__ for name, module in VIEWS.items()} == DRAWERS


@pytest.mark.parametrize("view", VIEWS)
def test_no_item_is_forgotten(view):
    kinds = getattr(VIEWS[view], "KINDS", table.KINDS)
    assert {type(item) for item in items_of(["is"])} == set(kinds)


@pytest.mark.parametrize("view", ["heatmap", "dots", "lines"])
@given(texts=TEXTS, width=st.integers(20, 200), full=st.booleans(), columns=st.booleans())
@settings(max_examples=25, deadline=None)
def test_no_line_is_wider_than_the_screen(view, texts, width, full, columns):
    for item in items_of(texts):
        found = drawn(view, item, width, full=full, columns_are_queries=columns)
        assert max(map(cell_len, found), default=0) <= width, (type(item), found)


@pytest.mark.parametrize("marks", [cells.SHADES, cells.DOTS])
def test_every_mark_takes_its_cell_and_no_two_are_alike(marks):
    wide = [*marks.above, *marks.below[1:], marks.hidden]
    assert {cell_len(mark) for mark in wide} == {2}
    assert {cell_len(mark) for mark in marks.narrow} <= {1}
    assert len(set(wide)) == len(wide) == 10
    assert len(set(marks.narrow)) == len(marks.narrow)


def test_a_heatmap_of_weights():
    assert drawn("heatmap", WEIGHTS) == [
        "",
        "    weights   3 × 3   rows: queries   columns: keys",
        "            0 1 2",
        "    0 the   ██· ·",
        "    1 king  ▓▓░░·",
        "  ▸ 2 is    ▒▒  ▒▒",
        "    size:   ░░ > 0.03   ▒▒ > 0.28   ▓▓ > 0.53   ██ > 0.78   largest 1.00",
        "    · masked",
    ]  # fmt: skip


def test_numbers_of_a_table_can_be_drawn_as_cells():
    columns = Columns("moved", [Column("token", NAMES, "left"), Column("by", [0.0, 0.5, 2.0])])
    item = Measured(columns, Matrix("moved", np.array([[0.0, 0.5, 2.0]]), ["by"], range(3), "axes"))
    for view in ("table", "lines"):
        assert drawn(view, item) == drawn(view, columns)
    for view in ("heatmap", "dots"):
        assert drawn(view, item) == drawn(view, item.matrix)


def test_dots_grow_and_hidden_cells_have_a_mark_of_their_own():
    found = drawn("dots", WEIGHTS)
    assert [line[12:] for line in found[3:6]] == ["⬤ × ×", "● · ×", "•   •"]
    assert found[-1].endswith("× masked")


def test_negative_numbers_are_told_apart_without_colour():
    for view, rows in (("heatmap", ["██−█▒▒", "−▒▒▒  ▓▓"]), ("dots", ["⬤ ◯ •", "◦ •   ●"])):
        found = drawn(view, SIGNED)
        assert [line[10:] for line in found[3:5]] == rows
        assert "below zero" in found[-1]
    positive = SIGNED._replace(values=np.abs(SIGNED.values))
    assert "below zero" not in "".join(drawn("heatmap", positive))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 999))
@settings(max_examples=30, deadline=None)
def test_the_scale_says_which_numbers_have_which_mark(rows, columns, seed):
    """Each cell is found again from the printed bounds, to within their last digit."""
    values = np.random.default_rng(seed).normal(size=(rows, columns)).round(3)
    item = Matrix("q", values, [f"t{i}" for i in range(rows)], range(columns), "axes")
    text = drawn("heatmap", item, digits=6)
    bounds = [float(b) for b in re.findall(r"> (\d\.\d+)", "".join(text))]
    found = [line[8:] for line in text[3 : 3 + rows]]
    for line, row in zip(found, values, strict=True):
        for j, value in enumerate(row):
            mark = line.ljust(2 * columns)[2 * j : 2 * j + 2]
            level = sum(abs(value) > bound + 1e-6 for bound in bounds)
            assert mark == (cells.SHADES.below if value < 0 else cells.SHADES.above)[level]


def test_what_is_no_number_is_said():
    values = np.array([[np.nan, np.inf, -np.inf, 1.0]])
    for view in ("heatmap", "dots"):
        line = drawn(view, Matrix("q", values, ["a"], range(4), "axes"))[3]
        assert line == ("    a  ? ∞ −∞██" if view == "heatmap" else "    a  ? ∞ −∞⬤")
        assert "   ? NaN" in drawn(view, Matrix("q", values, ["a"], range(4), "axes"))[-1]
        assert "NaN" not in drawn(view, Matrix("q", values[:, 1:], ["a"], range(3), "axes"))[-1]
    told = drawn("lines", Matrix("q", values, ["a"], range(4), "axes"))
    assert [line.strip() for line in told[2:]] == ["a → 0: NaN", "a → 1: ∞", "a → 2: −∞",
                                                   "a → 3: 1.00"]  # fmt: skip
    assert "size: all 0" in drawn("heatmap", Matrix("q", np.zeros((1, 2)), ["a"], [0, 1], "x"))[-1]


def test_sixty_tokens_fit_the_usual_screen():
    names = [f"word{i}" for i in range(60)]
    shares = np.tri(60) / np.arange(1, 61)[:, None]
    item = Matrix("weights", shares, names, names, hidden=~np.tri(60, dtype=bool))
    found = drawn("heatmap", item)
    rows = [line for line in found if re.match(r"    \d+ word", line)]
    assert len(rows) == 60
    assert {len(line) for line in rows[:-1]} == {4 + 9 + 2 + 60}
    # What has a sign has wide cells, and so two panels of the same width.
    found = drawn("heatmap", item._replace(values=-shares))
    rows = [line for line in found if re.match(r"    \d+ word", line)]
    assert len(rows) == 120
    assert "more" not in "".join(found)
    assert rows[0].count("·") == 29


def test_wide_matrices_leave_out_their_middle_unless_they_are_full():
    item = Matrix("x", np.ones((2, 300)), ["a", "b"], range(300), "axes")
    short, whole = (drawn("heatmap", item, full=full) for full in (False, True))
    assert [line.count("…") for line in short if line.startswith("    a")] == [1]
    assert sum(line.count("█") for line in whole if line.startswith("    a")) == 300
    tall = Matrix("x", np.ones((300, 2)), range(300), range(2), "axes")
    assert sum("… 204 more" in line for line in drawn("heatmap", tall)) == 1


@pytest.mark.parametrize("full", [False, True])
def test_what_is_left_out_counts_for_the_size_and_not_for_the_marks(full):
    values = np.full((300, 300), 0.5, np.float32)
    values[150, 150], values[150, 151] = -8, np.nan  # in the middle, which is left out
    text = " ".join(drawn("heatmap", Matrix("q", values, range(300), range(300), "x"), full=full))
    assert "8.00" in text
    assert ("below zero" in text, "NaN" in text) == (full, full)


@pytest.mark.parametrize("view", ["heatmap", "dots"])
def test_a_long_prompts_matrix_is_drawn_in_less_than_a_square_of_it(view):
    count = 1500
    names = [str(i) for i in range(count)]
    hidden = ~np.tri(count, dtype=bool)
    item = Matrix("weights", np.ones((count, count), np.float32), names, names, hidden=hidden)
    tracemalloc.start()
    drawn(view, item)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < item.values.nbytes


def test_columns_that_are_no_rows_have_their_names_below():
    item = Matrix("scores", np.ones((1, 2)), ["a"], ["x", "y"], crosses=True)
    assert drawn("dots", item)[-1] == "    columns:   0 x   1 y"
    mixed = Matrix("q", np.ones((1, 3)), ["a"], ["score", 0, 1], "axes")
    assert drawn("dots", mixed)[2].split() == ["a", "0", "1"]
    assert drawn("dots", mixed)[-1] == "    columns:   a score"


def test_columns_as_queries_turn_the_picture_round():
    found = drawn("heatmap", WEIGHTS, columns_are_queries=True)
    assert [line[12:] for line in found[3:7]] == ["0 1 2", "██▓▓▒▒", "· ░░", "· · ▒▒"]
    assert found[2].index("▾") == 16
    assert not any("▸" in line for line in found)
    told = drawn("lines", WEIGHTS, columns_are_queries=True)
    assert told[2:5] == ["    the ← the 1.00", "    the ← king 0.75", "    the ← is 0.50"]


@pytest.mark.parametrize("view", ["heatmap", "dots"])
def test_colours_say_the_sign_again(view):
    drawings = list(table.renderables([SIGNED], Look(colour=True), VIEWS[view].KINDS))
    spans = {str(span.style) for span in drawings[1].spans}
    assert spans - {""} == {STYLES[n] for n in ("above", "above.large", "below", "below.large")}
    plain = list(table.renderables([SIGNED], Look(), VIEWS[view].KINDS))[1]
    assert plain.plain == drawings[1].plain
    assert not any(Style.parse(str(span.style)).color for span in plain.spans)


def test_lines_tell_the_largest_first_and_sum_the_rest():
    names = labels([f"t{i}" for i in range(9)])
    shares = np.array([[0.3, 0.05, 0.2, 0.04, 0.15, 0.03, 0.1, 0.08, 0.05]])
    item = Matrix("weights", shares, ["is"], names)
    assert [line.strip() for line in drawn("lines", item)[2:]] == [
        "is → t0 0.30", "is → t2 0.20", "is → t4 0.15", "is → t6 0.10", "is → t7 0.08",
        "is, 4 others together 0.17",
    ]  # fmt: skip
    scores = item._replace(name="scores", values=-shares)
    assert [line.strip() for line in drawn("lines", scores)[2:]][-2:] == [
        "is → t7 −0.08", "is, 4 others from −0.30 to −0.10",
    ]  # fmt: skip
    assert len(drawn("lines", item, full=True)) == 2 + 9
    # A dimension has no order: the largest size is first.
    told = drawn("lines", SIGNED._replace(values=-SIGNED.values))
    assert told[2].strip() == "the → 0: −4.00"


def test_masked_cells_are_said_as_words():
    told = [line.strip() for line in drawn("lines", WEIGHTS)[2:]]
    assert told[:2] == ["the → the 1.00", "the, masked: king, is"]
    grids = Grids(NAMES, [3], WEIGHTS.values[None], ~LOWER)
    assert drawn("lines", grids)[2] == "    head 3: the → the 1.00"
    told = drawn("lines", Picture(NAMES, np.ones((3, 3), bool), LOWER))
    assert told[2:4] == ["    the sees 1 of 3 keys", "    the, newly hidden: king, is"]


@pytest.mark.parametrize("width", [30, 80])
def test_lines_hold_no_boxes_bars_or_colours(width):
    for item in [*items_of(list(AWKWARD[:5])), say("table.colours", "colours")]:
        text = "\n".join(drawn("lines", item, width, colour=False))
        assert not re.search("[\u2500-\u259f●⬤]", text), text
    terminal = {"TERM": "xterm-256color"}
    page = [say("table.colours", "colours")]
    assert lines.draw(page, Look(colour=True, terminal=terminal)) == ""


def test_a_row_of_columns_is_a_statement():
    item = Columns("", [Column("token", ["is", "a"], "left"), Column("", [1, 0], "bar"),
                        Column("share", [0.5, 0.25])])  # fmt: skip
    assert drawn("lines", item) == ["    token is, share 0.50", "    token a, share 0.25"]


def test_a_chart_tells_each_stretch_of_steps():
    (*_, chart) = (i for i in items_of(["is"]) if type(i).__name__ == "Chart")
    told = drawn("lines", chart)
    assert told == ["    steps 1 to 1: 0.50", "    steps 2 to 2: 0.25"]
    long = chart._replace(at=range(1, 121), values=np.arange(120.0), steps=120)
    assert drawn("lines", long)[1] == "    steps 11 to 20: 14.50"


def test_hidden_cells_count_for_nothing_in_the_scale():
    loud = WEIGHTS._replace(values=np.where(LOWER, WEIGHTS.values, 5000.0))
    for view in ("heatmap", "dots", "lines"):
        assert drawn(view, loud) == drawn(view, WEIGHTS)
