"""Every item on screens of every width: nothing is wider than the screen, and no number is cut."""

import io
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, Group

from attn_cli.records import Facts, Prompt
from attn_cli.tokens.token import Token
from attn_cli.views import items as kinds
from attn_cli.views import numbers, table
from attn_cli.views.items import Column, Grids, Heading, Matrix, say
from attn_cli.views.look import Look
from attn_cli.views.strips import fitted, packed
from attn_cli.views.text import labels
from attn_cli.words import note

AWKWARD = (
    "is", "China", "internationalisation" * 3, "中文字符号很多的一个词语在这里", "😀" * 9,
    "e\u0301" * 12, "שלום עולם", "", " ", "▏", "\u200d\u202e", "a·1", "…", "x" * 13 + "y",
    "x" * 13 + "z",
)  # fmt: skip
WIDTHS = (1, 5, 10, 20, 24, 40, 80, 200)
TEXTS = st.lists(st.sampled_from(AWKWARD), min_size=1, max_size=9)
MODEL = Facts(
    name="m", family="f", source="s", layers=1, heads=1, kv_heads=1, model_width=2, head_width=2,
    vocabulary=3, context=0, parameters=4,
)  # fmt: skip


def drawn(item, width, **look):
    return table.draw([item], Look(width=max(20, width), **look)).splitlines()


def items_of(texts):
    """One of each item, with these tokens."""
    count, names = len(texts), labels(texts)
    rng = np.random.default_rng(count)
    values = rng.normal(size=(count, count))
    shares = np.abs(values) / np.abs(values).sum(axis=1, keepdims=True)
    lower = np.tri(count, dtype=bool)
    tokens = tuple(Token(id=i, text=text, span=(0, 0)) for i, text in enumerate(texts))
    ranked = list(zip(names, shares[0].tolist(), strict=True))
    cells = [
        Column("token", names, "left"),
        Column("score", values[0]),
        Column("", shares[0], "bar"),
    ]
    return [
        Heading(MODEL, Prompt(text="", has_text=False, tokens=tokens), "layer 0 · head 0"),
        kinds.StepTitle(4), say("softmax.what"),
        Matrix("scores", values, names, names, remark="what-if", marked=count - 1),
        Matrix("weights", shares, names, names, hidden=~lower),
        Matrix("Σ", values, names, range(count), note("axes.tokens", axis="width"), summed=True),
        Matrix("x", rng.normal(size=(count, 32)), names, range(32), "axes"),
        kinds.Shares(names, shares[0]),
        kinds.Columns(note("mask.moved"), cells),
        kinds.Measured(kinds.Columns("", cells), Matrix("x", shares, names, range(count), "axes")),
        Grids(names, range(4), np.stack([shares] * 4), ~lower),
        kinds.Picture(names, lower, lower.T),
        kinds.Progress(3, 10, 80_000.0, 9.0), kinds.Chart([1, 2], [0.5, 0.25], 9),
        kinds.Gauges(rng.uniform(size=(2, 9))),
        kinds.Rankings(("now", "at the start"), (ranked, ranked)),
    ]  # fmt: skip


def test_no_item_is_forgotten():
    assert {type(item) for item in items_of(["is"])} == set(table.KINDS)


@given(texts=TEXTS, width=st.integers(20, 200), full=st.booleans(), columns=st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_line_of_any_item_is_wider_than_the_screen(texts, width, full, columns):
    for item in items_of(texts):
        lines = drawn(item, width, full=full, columns_are_queries=columns)
        assert max(map(cell_len, lines)) <= width, (type(item), lines)


@given(
    texts=TEXTS, width=st.integers(20, 200), digits=st.integers(0, 7), columns=st.booleans(),
    scale=st.sampled_from([1e-9, 1.0, 99.0, 1e7]),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_every_number_of_a_full_matrix_is_whole(texts, width, digits, columns, scale):
    names = labels(texts)
    values = np.random.default_rng(len(texts)).normal(size=(len(texts), len(texts))) * scale
    item = Matrix("scores", values, names, names, marked=0)
    text = "\n".join(drawn(item, width, full=True, digits=digits, columns_are_queries=columns)[2:])
    found = Counter(re.findall(r"(?<=\s)−?\d[\d.]*(?:e[+-]\d+)?(?=\s|$)", text))
    wanted = Counter(numbers.column(values, digits))
    assert not wanted - found, text


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("full", [False, True])
def test_nothing_is_cut_inside_a_number_at_any_width(width, full):
    for item in items_of(list(AWKWARD[:6])):
        text = "\n".join(drawn(item, width, full=full))
        assert not re.search(r"\d…", text), text


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("width", [20, 33, 80, 160])
def test_a_page_is_set_as_rich_would_set_it(width, colour):
    terminal = {"TERM": "xterm-256color"}
    long = say("page.on", "aside", first=" ".join(["wörter"] * 30), rest="國王 is a\n\nman  ")
    page = [*items_of(["is", "\u4e2d\u56fd", "[MASK]"]), long, say("page.on", first="", rest="")]
    console = Console(
        file=io.StringIO(), width=width, force_terminal=colour, no_color=not colour,
        color_system="auto" if colour else None, _environ=terminal, legacy_windows=False,
        emoji=False, markup=False, highlight=False,
    )  # fmt: skip
    look = Look(width=width, colour=colour, terminal=terminal)
    console.print(Group(*table.renderables(page, look)))
    wanted = "\n".join(line.rstrip() for line in console.file.getvalue().split("\n"))
    assert ("\x1b[" in wanted) == colour
    assert table.draw(page, look) == wanted


def test_a_matrix_too_wide_for_the_screen_is_told_in_lines():
    names = ["is", "China"]
    values = np.array([[0.25, 0.75], [0.5, -np.inf]])
    item = Matrix("weights", values, names, names, hidden=values < 0.5, marked=0)
    assert drawn(item, 20)[4:] == [
        "  ▸ is → is        ·", "  ▸ is → China  0.75", "    China → is  0.50", "    China →",
        "      China       −∞",
    ]  # fmt: skip
    assert drawn(item, 20, digits=9)[4:] == [
        "  ▸ is → is", "    ·", "  ▸ is → China", "    0.750000000", "    China → is",
        "    0.500000000", "    China → China", "    −∞",
    ]  # fmt: skip
    elided = Matrix("x", np.ones((20, 20)), range(20), range(20), "axes")
    lines = drawn(elided, 20)[3:]
    assert [line.split() for line in lines[:8]] == [
        ["0", "→", "0", "1.00"], ["0", "→", "1", "1.00"], ["0", "→", "2", "1.00"],
        ["…", "14", "more"], ["0", "→", "17", "1.00"], ["0", "→", "18", "1.00"],
        ["0", "→", "19", "1.00"], ["1", "→", "0", "1.00"],
    ]  # fmt: skip
    assert lines.count("    … 8 more") == 1
    assert len(lines) == 12 * 7 + 1


def test_long_headings_are_folded_before_a_column_is_left_out():
    texts = ["the", "greatest", "thinker", "internationalisation", "China", "is", "a", "man"]
    names = labels(texts)
    lines = drawn(Matrix("scores", np.full((8, 8), -9.75), names, names), 80)
    assert [line.split() for line in lines[2:5]] == [
        ["intern"], ["greate", "thinke", "ationa"],
        ["the", "st", "r", "l…", "China", "is", "a", "man"],
    ]  # fmt: skip
    assert all(line.count("−9.75") == 8 for line in lines[6:14])
    many = [*texts, *texts, "internationalised"]
    shown = drawn(Matrix("scores", np.full((17, 17), -9.75), labels(many), labels(many)), 80)
    assert shown[-1].count("−9.75") >= 4


def test_a_marked_row_is_shown_wherever_it_stands():
    names = [f"t{i}" for i in range(30)]
    item = Matrix("weights", np.full((30, 30), 0.5), names, names, marked=12)
    rows = [line.split()[:2] for line in drawn(item, 80)]
    assert [row for row in rows if row[:1] in (["▸"], ["…"])] == [
        ["…", "6"], ["▸", "t12"], ["…", "11"],
    ]  # fmt: skip
    assert sum(line.startswith("  ▸ ") for line in drawn(item, 20)) == 7
    turned = drawn(item, 80, columns_are_queries=True)
    assert "▸t12" in turned[2]
    assert turned[2].count("more") == 2
    assert not any("▸" in line for line in turned[3:])
    assert not any("▸" in line for line in drawn(item._replace(marked=-1), 80))


def test_hidden_cells_have_a_mark_and_count_for_nothing():
    hidden = ~np.tri(2, dtype=bool)
    values = np.array([[1.0, 5000.0], [0.25, 0.004]])
    item = Matrix("weights", values, ["a", "b"], ["a", "b"], hidden=hidden)
    assert [line.split() for line in drawn(item, 80)[3:]] == [
        ["a", "1.00", "·"], ["b", "0.25", "0.00"],
    ]  # fmt: skip
    turned = drawn(item, 80, columns_are_queries=True)
    assert [line.split() for line in turned[3:]] == [["a", "1.00", "0.25"], ["b", "·", "0.00"]]
    masked = item._replace(values=np.where(hidden, -np.inf, values))
    assert drawn(masked, 80)[3].split() == ["a", "1.00", "−∞"]
    grid = drawn(Grids(["a", "b"], [0], values[None], hidden), 80)
    assert grid[3] == "    a  ██·"


def test_a_long_prompt_prints_a_few_lines_of_tokens():
    tokens = tuple(Token(id=i, text=f"token{i}", span=(0, 0)) for i in range(300))
    item = Heading(MODEL, Prompt(text="", has_text=False, tokens=tokens))
    lines = drawn(item, 80)[1:]
    assert [len(lines), lines[2]] == [5, "  … 265 more (--full shows all)"]
    shown = "".join(lines[:2] + lines[3:])
    assert shown.count("▏") == 35
    assert shown.endswith("▏token299   300 tokens")
    assert "".join(drawn(item, 80, full=True)).count("▏") == 300
    assert "more" not in "".join(drawn(item._replace(prompt=item.prompt), 4000))


def test_names_cut_to_the_same_text_are_told_apart():
    assert fitted(["abcdefghi", "short", "abcXXXghi"], 7) == ["ab…hi·0", "short", "ab…hi·2"]
    assert fitted(["中文字符号", "中文字"], 7) == ["中…符号", "中文字"]
    assert fitted(["same", "same"], 7) == ["same", "same"]


def test_places_are_packed_in_order():
    assert packed([3, 3, 3, 9, 1], 6) == [[0, 1], [2], [3], [4]]


def test_on_a_narrow_screen_lists_stand_below_each_other_and_bars_are_shorter():
    lists = [[("Confucius", 0.5)], [("Mencius", -0.25)]]
    ranked = kinds.Rankings(("now", "start"), lists)
    assert [line.split() for line in drawn(ranked, 80)] == [
        ["now", "start"], ["Confucius", "0.50", "Mencius", "−0.25"],
    ]  # fmt: skip
    assert [line.split() for line in drawn(ranked, 24)] == [
        ["now"], ["Confucius", "0.50"], ["start"], ["Mencius", "−0.25"],
    ]  # fmt: skip
    bars = kinds.Columns(
        "", [Column("token", ["is", "China"], "left"), Column("", [1, 0.5], "bar")]
    )
    assert [line.split()[-1] for line in drawn(bars, 20)[-2:]] == ["█" * 6, "█" * 3]
    assert [line.split()[-1] for line in drawn(bars, 80)[-2:]] == ["█" * 16, "█" * 8]


def test_a_table_without_a_title_begins_with_its_headers():
    bare = kinds.Columns("", [Column("token", ["is"], "left")])
    assert drawn(bare, 80) == ["    token", "    ─────", "    is"]
