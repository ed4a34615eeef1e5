"""The training screen: aligned, as wide as the screen, and text is data."""

from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console, Group

from attn_cli.training import loop, next_token
from attn_cli.training.watch import Neighbour
from attn_cli.views import charts, numbers, table, train
from attn_cli.views.items import Chart, Gauges, Progress, Rankings, Say
from attn_cli.views.look import Look


def drawn(record, history, settings, width=80):
    console = Console(file=StringIO(), width=width, color_system=None)
    page = train.page(record, history, settings)
    console.print(Group(*table.renderables(page, Look(width=width))))
    return console.file.getvalue().splitlines()


@pytest.fixture
def records(corpus, settings):
    return list(loop.train(loop.start(settings, corpus)))


def test_the_screen_shows_what_the_record_says(records, settings):
    record = records[-1]
    text = "\n".join(drawn(record, records, settings))
    assert " step 12 / 12 " in text
    assert "0:00 left" in text
    loss = np.mean([r.loss for r in records])
    floor = np.mean([r.floor for r in records])
    assert f"loss {loss:.3f}   floor {floor:.3f}   above {loss - floor:.3f}" in text
    assert "of `the cat sees the` looks at `cat`" in text
    for share in record.attention.ravel():
        assert f"{share:.2f}" in text
    for neighbour in record.neighbours + record.neighbours_at_start:
        assert f"{neighbour.cosine:.2f}".replace("-", "−") in text
    assert f"`dog` has moved {record.moved:.2f}" in text


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_nothing_is_wider_than_the_screen_and_the_height_does_not_change(records, settings, width):
    heights = set()
    for place in (0, 5, 11):
        lines = drawn(records[place], records[: place + 1], settings, width)
        assert max(map(cell_len, lines)) <= width
        heights.add(len(lines))
    assert len(heights) == 1


def test_columns_are_aligned_whatever_the_script(records, settings):
    words = ("西红柿", "the", "[bold]x[/]", "a" * 30, "\x1b[31m")
    strange = tuple(Neighbour(text=word, cosine=-0.5) for word in words)
    record = replace(records[-1], neighbours=strange, neighbours_at_start=strange)
    lines = [line for line in drawn(record, records, settings) if "−0.50" in line]
    assert len(lines) == 5
    assert len({cell_len(line[: line.index("−0.50")]) for line in lines}) == 1
    assert len({cell_len(line[: line.rindex("−0.50")]) for line in lines}) == 1
    assert any("[bold]x[/]" in line for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_many_heads_are_cut_and_counted(records, settings):
    record = replace(records[-1], attention=np.full((2, 16), 0.25, np.float32))
    lines = drawn(record, records, settings)
    (head_line,) = [line for line in lines if "head 0" in line]
    shown = head_line.count("head")
    assert f"+{16 - shown}" in head_line
    layer_lines = [line for line in lines if "layer" in line]
    assert [line.count("0.25") for line in layer_lines] == [shown, shown]


def test_watching_nothing_leaves_its_parts_out(corpus, settings):
    blind = replace(settings, watched_prompt="", watched_key="", watched_word="", steps=2)
    records = list(loop.train(loop.start(blind, corpus)))
    text = "\n".join(drawn(records[-1], records, blind))
    assert "looks at" not in text
    assert "moved" not in text
    assert "loss" in text


def test_a_corpus_of_few_words_has_few_neighbours():
    few = next_token.read_corpus("a b\n")
    settings = loop.TrainingSettings(
        layers=1, heads=1, width=4, context=16, steps=1, batch_tokens=16,
        watched_prompt="a", watched_key="a", watched_word="b",
    )  # fmt: skip
    (record,) = loop.train(loop.start(settings, few))
    assert [neighbour.text for neighbour in record.neighbours] == ["a"]
    assert any("0." in line for line in drawn(record, [record], settings))


def test_the_items_are_what_the_record_says(records, settings):
    record = records[-1]
    page = train.page(record, records, settings)
    assert [type(item) for item in page if not isinstance(item, Say)] == [
        Progress, Chart, Gauges, Rankings
    ]  # fmt: skip
    progress, _, chart, _, gauges, _, rankings, _ = page
    assert progress[:2] == (12, 12)
    assert list(chart.at) == list(range(1, 13))
    assert chart.values == [r.loss - r.floor for r in records]
    assert np.array_equal(gauges.values, -np.sort(-record.attention, axis=1))
    now = [(neighbour.text, neighbour.cosine) for neighbour in record.neighbours]
    assert rankings.lists[0] == now


def test_chart_heights():
    heights = charts.chart_heights(Chart((1, 2, 3, 4), (4.0, 3.0, 2.0, -0.5), 8), 4)
    np.testing.assert_allclose(heights[:2], [3.5, 0.75])
    assert np.isnan(heights[2:]).all()


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3661, "1:01:01")]
)
def test_clock(seconds, expected):
    assert numbers.clock(seconds) == expected


def test_the_progress_bar_and_the_chart_grow_with_the_steps(records, settings):
    lengths, columns = [], []
    for place in (2, 5, 11):
        lines = drawn(records[place], records[: place + 1], settings)
        lengths.append(lines[0].count("█"))
        (floor_line,) = [line for line in lines if "+0.00" in line]
        columns.append(len(floor_line.rstrip().partition("│")[2]))
    assert lengths[0] == pytest.approx(lengths[2] / 4, abs=1)
    assert lengths[1] == pytest.approx(lengths[2] / 2, abs=1)
    assert columns == [3, 6, 12]
