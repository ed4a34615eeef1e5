"""Pictures of pages: a parser reads them, and what their cells say is compared with the numbers."""

import base64
import re
import struct
import xml.etree.ElementTree as ET
import zlib
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from views.test_screens import AWKWARD, MODEL, TEXTS, items_of

import attn_cli
from attn_cli.errors import ContentError
from attn_cli.records import Prompt
from attn_cli.tokens.token import Token
from attn_cli.views import panels, svg, table
from attn_cli.views.drawers import DRAWERS
from attn_cli.views.formats import FORMATS
from attn_cli.views.items import Grids, Heading, Matrix, Picture, say
from attn_cli.views.look import Look
from attn_cli.views.strips import pad
from attn_cli.views.text import labels, visible
from attn_cli.views.trace import picture

PROMPT = "the greatest thinker in China is"
SPACE = "{http://www.w3.org/2000/svg}"
LOWER = np.tri(3, dtype=bool)
NAMES = ["the", "king", "is"]
HOSTILE = (
    "</svg><script>alert(1)</script>", "&", "]]>", "<![CDATA[", '"', "'", "\u202eabc", "\x00\x1b",
    "\ud800", "\ufffe", "&#0;", "--><!--", "\u2028", "%s{0}", "url(http://a.b)",
)  # fmt: skip


def parsed(data):
    root = ET.fromstring(data)
    assert root.tag == f"{SPACE}svg" and root.get("role") == "img"
    ids = root.get("aria-labelledby").split()
    told = [root.find(f"{SPACE}{name}") for name in ("title", "desc")]
    assert ids == [one.get("id") for one in told] and all(one.text for one in told)
    return root


def rendered(page, **look):
    return parsed(svg.render(page, Look(**look)))


def squares(root):
    """The groups of cells, each with its title."""
    return [
        group for group in root.iter(f"{SPACE}g") if group.find(f"{SPACE}title") is not None
    ]  # fmt: skip


def cells(group):
    """The rects of a group that have a title: words, shade, and fill if one of its own."""
    return [
        (rect.find(f"{SPACE}title").text, float(rect.get("fill-opacity", "nan")), rect.get("fill"))
        for rect in group.iter(f"{SPACE}rect")
        if rect.find(f"{SPACE}title") is not None
    ]


def words(root):
    """The text that is seen, without titles and descriptions."""
    return ["".join(one.itertext()) for one in root.iter(f"{SPACE}text")]


@pytest.fixture(scope="module")
def trace():
    return attn_cli.trace(PROMPT, layer="all", head="all")


@pytest.mark.parametrize("columns", [False, True])
def test_every_cell_is_a_weight_of_the_trace(trace, columns):
    root = rendered(picture(trace), columns_are_queries=columns, digits=6)
    names, found = PROMPT.split(), iter(squares(root))
    for block in trace.attention:
        for head in block.heads:
            group = next(found)
            assert group.find(f"{SPACE}title").text == f"head {head}"
            weights, seen = block.weights[head], block.visible
            order = [(q, k) for q in range(6) for k in range(6)]
            order = sorted(order, key=lambda at: at[::-1]) if columns else order
            for (q, k), (said, shade, fill) in zip(order, cells(group), strict=True):
                pair, _, number = said.rpartition(" ")
                assert pair == f"{names[q]} → {names[k]}"
                if seen[q, k]:
                    assert float(number) == pytest.approx(float(weights[q, k]), abs=6e-7)
                    assert shade == pytest.approx(float(weights[q, k]), abs=6e-5)
                    assert fill is None
                else:
                    assert number == "masked" and fill == panels.HIDDEN
    assert next(found, None) is None
    axes = "rows: keys   columns: queries" if columns else "rows: queries   columns: keys"
    assert sum(axes in line for line in words(root)) == len(trace.attention)


def test_cells_stand_where_row_and_column_say(trace):
    (group,) = squares(rendered(picture(attn_cli.trace(PROMPT, layer=0, head=0))))
    rects = [one for one in group.iter(f"{SPACE}rect") if one.find(f"{SPACE}title") is not None]
    places = [(float(r.get("y")), float(r.get("x"))) for r in rects]
    assert places == sorted(places) and len(set(places)) == 36
    drawn = "".join(group.itertext())
    assert "0.93" in drawn and "is → China 0.93" in drawn


def test_the_description_says_where_each_query_looks():
    root = rendered(picture(attn_cli.trace(PROMPT, layer=0, head=0)))
    said = root.find(f"{SPACE}desc").text
    assert "head 0: the → the 1.00, greatest → greatest 0.62," in said
    assert said.endswith("is → China 0.93.")
    turned = rendered(picture(attn_cli.trace(PROMPT, layer=0, head=0)), columns_are_queries=True)
    assert turned.find(f"{SPACE}desc").text.endswith("is → China 0.93.")


def test_a_queries_row_is_chosen_and_a_key_left_out(trace):
    shown = {block.address: ((5, 2), (0, 4)) for block in trace.attention}
    group = squares(rendered(picture(trace, shown)))[0]
    said = [title.rpartition(" ")[0] for title, _, _ in cells(group)]
    assert said == ["is → the", "is → China", "thinker → the", "thinker → China"]


@pytest.mark.parametrize("heads, lines", [(12, 1), (16, 1), (32, 2), (33, 2)])
def test_a_layer_stands_in_one_line_or_in_equal_ones(heads, lines):
    root = rendered([Grids(NAMES, range(heads), np.full((heads, 3, 3), 0.3))])
    places = [g.get("transform") for g in root.iter(f"{SPACE}g") if g.get("transform")]
    ys = [re.search(r",([\d.]+)\)", at)[1] for at in places]
    assert len(ys) == heads and len(set(ys)) == lines
    assert {ys.count(y) for y in ys} <= {-(-heads // lines), heads // lines}


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_no_number_has_a_pattern_and_its_name(count):
    values = np.full((1, count, count), 0.5)
    values[0, -1, 0] = np.nan
    values[0, 0, -1] = np.inf if count > 1 else np.nan
    root = rendered([Grids(NAMES[:count], [0], values)])
    found = {title.rpartition(" ")[2]: fill for title, _, fill in cells(squares(root)[0])}
    assert found["NaN"] == panels.BROKEN
    assert found.get("∞", panels.BROKEN) == panels.BROKEN
    assert "not a finite number" in words(root) and "masked" not in words(root)
    nothing = rendered([Grids(NAMES, [0], np.full((1, 3, 3), np.nan))])
    assert "NaN" in "".join(nothing.itertext()) and "→" not in nothing.find(f"{SPACE}desc").text


def test_what_a_hidden_cell_gets_is_shown_under_its_hatch():
    item = Matrix("weights", np.array([[0.75, 0.25, 0.0]]), ["q"], NAMES,
                  hidden=np.array([[False, True, True]]))  # fmt: skip
    (group,) = squares(rendered([item]))
    assert [title for title, _, _ in cells(group)] == [
        "q → the 0.75", "q → king 0.25, masked", "q → is masked",
    ]  # fmt: skip
    shades = [r.get("fill-opacity") for r in group.iter(f"{SPACE}rect")]
    assert shades.count("0.25") == 1


def test_a_mask_has_a_mark_where_it_changes():
    item = Picture(NAMES, LOWER, LOWER.T)
    root = rendered([item])
    before, after = squares(root)
    assert [t for t, _, _ in cells(before)] == [
        f"{q} → {k} {'sees' if LOWER[i, j] else 'masked'}"
        for i, q in enumerate(NAMES) for j, k in enumerate(NAMES)
    ]  # fmt: skip
    marks = [one.text for one in after.iter(f"{SPACE}text")]
    assert marks == ["+", "+", "−", "+", "−", "−"] and not list(before.iter(f"{SPACE}text"))
    same = rendered([Picture(NAMES, LOWER, LOWER)])
    assert not any("newly" in line for line in words(same)) and "sees" in words(same)


@pytest.mark.parametrize("count", [40, 150])
def test_changes_of_a_large_mask_are_marked_with_patterns(count):
    before = np.tri(count, dtype=bool)
    after = before.copy()
    after[9, :4], after[3, 20:22] = False, True
    root = rendered([Picture([str(i) for i in range(count)], before, after)])
    _, changed = squares(root)
    paths = {one.get("fill"): one.get("d") for one in changed.iter(f"{SPACE}path")}
    assert paths[panels.CHANGED["−"]].count("M") == 1 == paths[panels.CHANGED["+"]].count("M")
    assert {"newly hidden", "newly opened"} <= {*words(root)}


def test_axes_of_cross_attention_say_which_side_they_are():
    item = Grids(NAMES, [0], np.full((1, 3, 3), 1 / 3), crosses=True)
    assert "rows: queries (target)   columns: keys (source)" in " ".join(words(rendered([item])))


# --- many cells ----------------------------------------------------------------------------------


def png(uri):
    """The colours (row, column, 3) of a PNG of a palette whose rows have no filter."""
    data = base64.b64decode(uri.partition("base64,")[2], validate=True)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", data, at + 8 + size)[0] == zlib.crc32(kind + body)
        chunks[kind], at = body, at + 12 + size
    wide, high, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert rest == [8, 3, 0, 0, 0]
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(high, wide + 1)
    assert not rows[:, 0].any()
    return np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)[rows[:, 1:]].astype(int)


def test_many_cells_are_an_image_of_the_same_shades():
    count = 150
    values = np.random.default_rng(1).uniform(size=(1, count, count)).astype(np.float32)
    hidden = ~np.tri(count, dtype=bool)
    values[0, hidden] = 0
    values[0, -1, 0] = np.nan
    page = [Grids([str(i) for i in range(count)], [3], values, hidden)]
    root = rendered(page)
    (group,) = squares(root)
    image = group.find(f"{SPACE}image")
    ink = np.array([0x08, 0x30, 0x6B])
    shown = np.nan_to_num(values[0])[..., None]
    assert np.abs(png(image.get("href")) - (255 + (ink - 255) * shown)).max() <= 1.01
    side = int(image.get("width")) // count
    areas = {}
    for path in group.iter(f"{SPACE}path"):
        runs = re.findall(r"M(\d+) (\d+)h(\d+)v(\d+)h-(\d+)z", path.get("d"))
        covered = np.zeros((count, count), bool)
        for x, y, wide, high, back in (map(int, run) for run in runs):
            assert high == side and wide == back
            covered[y // side, x // side : (x + wide) // side] = True
        areas[path.get("fill")] = covered
    assert (areas[panels.HIDDEN] == hidden).all()
    assert (areas[panels.BROKEN] == np.isnan(values[0])).all()
    assert not cells(group) and len(svg.render(page, Look())) < 100_000


def test_a_large_mask_has_one_shade_that_the_legend_has_too():
    lower = np.tri(110, dtype=bool)
    root = rendered([Picture(labels(["a"] * 110), lower, lower.T)])
    before, after = squares(root)
    ink = np.array([0x08, 0x30, 0x6B])
    for square, seen in ((before, lower), (after, lower.T)):
        wanted = 255 + (ink - 255) * (panels.SEES * seen)[..., None]
        assert np.abs(png(square.find(f"{SPACE}image").get("href")) - wanted).max() <= 1.01
    key = [r for r in root.iter(f"{SPACE}rect") if r.get("fill-opacity") == f"{panels.SEES:g}"]
    assert len(key) == 1 and "sees" in words(root)


@pytest.mark.parametrize("value", [1.5, -0.5])
def test_what_are_no_shares_of_one_is_a_screen(value):
    item = Matrix("scores", np.array([[value, 0.5]]), ["is"], NAMES[:2])
    assert not squares(rendered([item])) and b"#000000" in svg.render([item], Look())


def test_too_many_cells_are_refused_with_the_size_and_what_to_do():
    with pytest.raises(
        ContentError, match=r"would take up to 170\.\d MiB, more than 16\.0 MiB"
    ) as no:
        panels.check(8 * 4096 * 4096)
    assert "--layer" in no.value.hint
    checkered = np.indices((1000, 2000)).sum(axis=0) % 2 == 0
    item = Grids(["a"] * 1000, [0], np.zeros((1, 1000, 2000)), checkered, ["b"] * 2000)
    with pytest.raises(ContentError, match="MiB"):
        svg.render([item], Look())
    panels.check(12_000_000)


# --- safety --------------------------------------------------------------------------------------


def page_of(texts):
    tokens = tuple(Token(id=i, text=text, span=(0, 0)) for i, text in enumerate(texts))
    names, count = labels(texts), len(texts)
    model = MODEL._replace(name=texts[0]) if hasattr(MODEL, "_replace") else MODEL
    return [
        Heading(model, Prompt(text="", has_text=False, tokens=tokens)),
        say("page.what_if", "what-if", changes=texts[-1]),
        Grids(names, [0], np.full((1, count, count), 1 / count), ~np.tri(count, dtype=bool)),
    ]


def check_safe(data):
    root = parsed(data)
    assert {one.tag.removeprefix(SPACE) for one in root.iter()} <= {
        "svg", "title", "desc", "style", "defs", "pattern", "path", "rect", "g", "text", "tspan",
        "image",
    }  # fmt: skip
    for one in root.iter():
        for name, value in one.attrib.items():
            assert not name.startswith("on")
            assert "href" not in name or value.startswith("data:image/png;base64,")
            assert "url(" not in value or re.fullmatch(r"url\(#[\w-]+\)", value)
    style = root.find(f"{SPACE}style").text
    assert "url" not in style and "@" not in style
    shown = "".join(root.itertext())
    assert shown.replace("\n", "") == visible(shown.replace("\n", ""))
    return root


@pytest.mark.parametrize("view", ["", *DRAWERS])
@given(texts=st.lists(st.sampled_from(HOSTILE + AWKWARD), min_size=1, max_size=6))
@settings(max_examples=10, deadline=None)
def test_no_token_becomes_markup_script_or_control(view, texts):
    check_safe(svg.render(page_of(texts), Look(view=view)))


def test_each_hostile_token_is_seen_as_it_is():
    for text in HOSTILE:
        root = check_safe(svg.render(page_of([text]), Look()))
        assert labels([text])[0] in words(root)
        assert f"{labels([text])[0]} → {labels([text])[0]} 1.00" in "".join(root.itertext())


@given(texts=TEXTS)
@settings(max_examples=5, deadline=None)
def test_every_page_has_a_picture_or_is_a_screen_and_has_the_same_bytes(texts):
    for item in items_of(texts):
        data = svg.render([item], Look())
        check_safe(data)
        assert data == svg.render([item], Look())


# --- legibility ----------------------------------------------------------------------------------


def luminance(colour):
    share = (
        [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] if isinstance(colour, str) else colour
    )
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in share]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(first, second):
    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def test_numbers_in_cells_and_words_can_be_read():
    values = np.linspace(0, 1, 256).reshape(1, 16, 16)
    (group,) = squares(rendered([Grids(["a"] * 16, [0], values)]))
    texts = list(group.iter(f"{SPACE}text"))
    assert len(texts) == 256
    ink = [int(panels.INK[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    for value, text in zip(values.flat, texts, strict=True):
        behind = [1 + (c - 1) * value for c in ink]
        assert contrast(behind, text.get("fill")) >= 4.5
    assert contrast(panels.TEXT, panels.PAPER) >= 7 and contrast(panels.LINE, panels.PAPER) >= 4.5


def test_no_text_is_wider_than_the_picture_or_stands_on_another():
    long = [f"internation·{i}" for i in range(40)]
    for page in ([Grids(long, range(12), np.full((12, 40, 40), 0.1))], page_of(list(AWKWARD))):
        root = rendered(page, digits=9)
        wide, high = float(root.get("width")), float(root.get("height"))
        for group in root.iter(f"{SPACE}g"):
            if at := re.match(r"translate\(([\d.]+),([\d.]+)\)", group.get("transform", "")):
                frame = group.find(f".//{SPACE}rect[@class='frame']")
                assert float(at[1]) + float(frame.get("width")) <= wide
                assert float(at[2]) + float(frame.get("height")) <= high
        for square in squares(root):
            cell = square.find(f"{SPACE}rect")
            numerals = [len(t.text) for t in square.iter(f"{SPACE}text")]
            assert max(numerals, default=0) * 6.6 <= float(cell.get("width"))
        places = [t for t in root.iter(f"{SPACE}text") if t.get("text-anchor") == "end"]
        ys = sorted({float(t.get("y")) for t in places})
        assert min(np.diff(ys), default=11) >= 11


# --- screens -------------------------------------------------------------------------------------


WIDE = Matrix("x", np.array([[2.0, -2.0], [0.5, 4.0]]), ["中文字", "王"], ["a", "号码"], "axes")


@pytest.mark.parametrize("view", DRAWERS)
def test_a_screen_has_the_words_of_its_page_where_the_terminal_has_them(trace, view):
    page = [*picture(trace), WIDE]
    root = rendered(page, view=view)
    text = import_module(DRAWERS[view]).draw(page, Look(view=view)).strip("\n").split("\n")
    lines = {}
    for line in root.iter(f"{SPACE}text"):
        row = round((float(line.get("y")) - 26) / 18)
        shown = ""
        for part in line.iter(f"{SPACE}tspan"):
            shown = pad(shown, round((float(part.get("x")) - 12) / 8.4)) + part.text
        lines[row] = shown
    assert [lines.get(row, "") for row in range(len(text))] == text


def test_a_screen_keeps_the_colours_of_the_terminal():
    item = Matrix("x", np.array([[2.0, -2.0]]), ["is"], range(2), "axes")
    root = rendered([item, say("mask.same", "block")])
    style = root.find(f"{SPACE}style").text
    of = {
        part.text: part.get("class").split()
        for part in root.iter(f"{SPACE}tspan")
        if part.get("class")
    }
    colours = dict(re.findall(r"\.(c\d+)\{fill:(#\w+)\}", style))
    assert colours[of["2.00"][-1]] == "#5f5fff" and colours[of["−2.00"][-1]] == "#af5f5f"
    assert "b" in of["2.00"]
    reverse = [r for r in root.iter(f"{SPACE}rect") if r.get("fill") == "#e6e6e6"]
    assert len(reverse) == 1
    assert table.draw([item], Look())  # what is not a picture of weights is a screen


def test_only_svg_draws_pages():
    assert {name for name, form in FORMATS.items() if form.page} == {"svg"}
