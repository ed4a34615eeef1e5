"""Every page is made of items whose words stand in the word table, and every item can be drawn."""

import re

import numpy as np
import pytest

import attn_cli
from attn_cli import session, vocabulary
from attn_cli.analysis.activations import read_reference
from attn_cli.analysis.sample import Sampling
from attn_cli.analysis.verify import verify
from attn_cli.opening.listing import Listed, Listing, contents, listing
from attn_cli.views import heads, loss, mask, models, numbers, sample, table, trace
from attn_cli.views import verify as verify_view
from attn_cli.views.items import Column, Columns, Matrix, Say, Shares, say
from attn_cli.views.look import Look
from attn_cli.words import Note, note
from attn_cli.words import table as sentences

PROMPT = "the greatest thinker in China is"
EVERY = {"steps": frozenset(range(1, 7))}


@pytest.fixture(scope="module")
def pages():
    model = session.load("tiny")
    prompt = session.tokenise(model, PROMPT)
    before, after = (attn_cli.trace(PROMPT, mask=words) for words in (["none"], ["window:2"]))
    warm = Sampling(temperature=1.5)
    drawn = attn_cli.sample(model, prompt, warm, seed=1, draws=5, sweep=[0.5])
    settings = {"temperature": 1.5, "seed": 1, "draws": 5}
    checked = verify(model, prompt, *read_reference(None, model, prompt)[:2])
    return {
        "trace": trace.page(after, **EVERY),
        "heads": heads.page(before, attn_cli.heads(before)),
        "mask": mask.page(after, attn_cli.mask(before, after), "no mask", "--mask window:2"),
        "sample": sample.page(model.facts, prompt, drawn, settings),
        "loss": loss.page(model.facts, prompt, attn_cli.loss(model, prompt)),
        "verify": verify_view.page(model.facts, prompt, checked),
        "models": models.listing(listing()),
        "model": models.contents(model.facts, contents(model)),
    }


def said(value):
    """Every word of an item: notes, and the notes that fill them in."""
    if isinstance(value, Note):
        yield value
        yield from (inner for filling in value.values.values() for inner in said(filling))
    elif isinstance(value, tuple | list):
        yield from (note for part in value for note in said(part))


def test_every_word_of_a_page_stands_in_the_table_and_is_filled_in(pages):
    for name, page in pages.items():
        found = [note for item in page for note in said(item)]
        assert found, name
        for one in found:
            names = set(re.findall(r"{(\w+)}", sentences("en")[one.key]))
            assert names <= set(one.values), one.key


def test_headers_are_words_of_the_table_or_names(pages):
    names = {*vocabulary.ARRAYS, "temperature", "top_k", "top_p", "min_p"}
    for name, page in pages.items():
        tables = [item for item in page if isinstance(item, Columns)]
        assert tables or name == "trace"
        for item in tables:
            assert isinstance(item.title, Note) or name == "trace"
            for column in item.columns:
                text = isinstance(column.header, str) and re.search(r"[a-z]", column.header)
                assert not text or column.header in names, column.header
            assert len({len(column.cells) for column in item.columns}) == 1


def test_every_page_begins_with_the_model_and_an_answer(pages):
    assert [item.words.key for item in pages["trace"][1:2]] == ["trace.what_if"]
    for name in ("heads", "mask", "sample", "loss", "verify"):
        assert pages[name][0].model.name == "tiny"
        if pages[name][1].role == "what-if":
            del pages[name][1]
        assert pages[name][1].role == "headline", name


def test_the_mask_is_told_in_the_terms_of_the_record(pages):
    keys = [item.words.key for item in pages["mask"] if isinstance(item, Say)]
    assert keys == ["mask.headline", "mask.compared", "mask.may_decoder", "mask.why"]
    titles = [item.title.key for item in pages["mask"] if isinstance(item, Columns)]
    assert titles == ["mask.removed", "mask.moved", "mask.next"]
    assert [len(t.columns[0].cells) for t in pages["mask"] if isinstance(t, Columns)][:2] == [25, 6]
    hidden = 36 - 11
    assert pages["mask"][1].words.values["removed"] == hidden
    names = [str(item.name) for item in pages["mask"] if isinstance(item, Matrix)]
    assert names == ["weights before", "weights after"]


def test_numbers_are_written_where_the_page_is_drawn():
    told = say("sum.here", query="is", pull=0.5, output=1.0, cosine=-0.25)
    assert "`is`: 0.50; " in numbers.in_words(told.words, 2)
    assert "cosine: −0.250" in numbers.in_words(told.words, 3)
    moved, rest = numbers.together(0.04, 0.5)
    assert numbers.in_words(moved, 0) == "0.04"
    assert numbers.in_words(note("mask.moves", query="is", moved=rest), 3) == (
        "`is` moves 0.500 of its attention"
    )
    assert numbers.in_words(3, 2) == "3"


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("width", [24, 80])
def test_every_page_can_be_drawn(pages, width, full):
    for name, page in pages.items():
        look = Look(width=width, full=full, columns_are_queries=full)
        text = table.draw(page, look)
        assert max(map(len, text.splitlines())) <= width, name
        assert "Note(" not in text


def test_long_tables_are_cut_at_the_end_that_matters_less():
    cells = [f"row {i}" for i in range(30)]
    for most, shown in (("first", "row 0"), ("last", "row 29")):
        item = Columns("", [Column("", cells, "left")], most)
        short, whole = (table.draw([item], Look(full=full)) for full in (False, True))
        assert shown in short
        assert short.count("row") == 12
        assert "… 18 more (--full shows all)" in short
        assert whole.count("row") == 30
    assert table.draw([Columns("", [Column("", cells, "left")])], Look()).count("row") == 30


def test_a_matrix_says_that_it_is_cut_only_where_the_page_wants_it():
    values, labels = np.arange(900.0).reshape(30, 30), range(30)
    told = Matrix("w_q", values, labels, labels, note("axes.tokens", axis="model"))
    silent = table.draw([told], Look())
    assert silent.startswith("\n    w_q   30 × 30   rows: tokens   columns: model\n")
    assert silent.count("… 18 more") == 1
    assert silent.rstrip("\n") + "\n" == silent
    elided = told._replace(elided=note("parameters.elided", name="w_q"))
    cut = "    … part of w_q is left out; --full shows all of it\n"
    assert table.draw([elided], Look()) == silent + cut
    assert table.draw([elided], Look(full=True)) == table.draw([told], Look(full=True))
    assert table.draw([elided], Look(full=True, width=400)).count("more") == 0


def test_a_matrix_of_queries_and_keys_is_turned_round_and_no_other():
    item = Matrix("scores", np.array([[1.0, 2.0]]), ["q"], ["k", "l"])
    rows, columns = (
        table.draw([item], Look(columns_are_queries=turned)).split("\n") for turned in (False, True)
    )
    assert rows[1].endswith("scores   1 × 2   rows: queries   columns: keys")
    assert columns[1].endswith("scores   2 × 1   rows: keys   columns: queries")
    assert [line.split() for line in columns[3:5]] == [["k", "1.00"], ["l", "2.00"]]
    tokens = item._replace(axes=note("axes.tokens", axis="width"))
    looks = (Look(), Look(columns_are_queries=True))
    assert len({table.draw([tokens], look) for look in looks}) == 1


def test_probabilities_keep_two_decimals_and_bars_are_shares():
    item = Columns(
        note("loss.title"),
        (
            Column(note("column.token"), ["a", note("mask.gone"), 3], "left"),
            Column("scaled", [0.5, 0.25, float("nan")]),
            Column(note("column.probability"), [0.5, 0.25, 0.125], "fine"),
            Column("", [0.5, 0, 1], "bar"),
        ),
    )
    lines = table.draw([item], Look(digits=0)).splitlines()
    assert lines[1] == " each position and its next token"
    assert [line.split() for line in lines[4:]] == [
        ["a", "0", "0.50", "█" * 8], ["all", "gone", "0", "0.25"], ["3", "NaN", "0.12", "█" * 16],
    ]  # fmt: skip
    shares = Shares(["a"], [0.5], fine=True)
    assert table.draw([shares], Look(digits=0)).split() == ["a", "0.50", "█" * 6]
    assert table.draw([shares._replace(fine=False)], Look(digits=0)).split()[1] == "0"


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("plain", "    {}\n"),
        ("headline", "\n {}\n"),
        ("title", "\n {}\n"),
        ("block", "\n {}\n"),
        ("what-if", " {}\n"),
        ("aside", " {}\n"),
        ("lead", "\n {}\n"),
        ("line", " {}\n"),
    ],
)
def test_each_role_has_its_place(role, expected):
    assert table.draw([say("mask.same", role)], Look()) == expected.format(
        sentences("en")["mask.same"]
    )


def test_numbers_of_a_column_stand_together(pages):
    (summary, _) = (item for item in pages["heads"] if isinstance(item, Columns))
    assert [column.kind for column in summary.columns] == ["left", *["number"] * 6]
    model = session.load("tiny")
    single = heads.page(attn_cli.trace("the"), attn_cli.heads(attn_cli.trace("the")))
    (summary, _) = (item for item in single if isinstance(item, Columns))
    assert summary.columns[3][1:] == (["–"] * model.facts.heads, "right")


def test_errors_are_told_against_what(pages):
    model = session.load("tiny")
    source = read_reference(None, model, session.tokenise(model, PROMPT))[1]
    titles = [item.title for item in pages["verify"] if isinstance(item, Columns)]
    assert titles == [note("verify.float64"), note("verify.reference", source=source)]


def test_what_does_not_open_is_told_with_its_reason_and_not_in_the_table():
    shared = {"parameters": 5, "bytes": 20, "quantisation": "", "place": "hub", "remark": ""}
    good = Listed(name="a", family="f", opens=True, reason="", **shared)
    bad = Listed(name="b\x1b", family="g", opens=False, reason="no", **shared)
    columns, broken, *_ = models.listing(Listing(models=(good, bad), folders=("/x",)))
    assert columns.title == note("models.hub")
    assert [column.cells for column in columns.columns] == [["a"], ["f"], ["5"], ["20 B"], ["–"]]
    assert broken == say("models.broken", name="b\\x1b", family=" (g)", reason="no")
    alone = models.listing(Listing(models=(bad,), folders=()))
    assert alone[:2] == [say("models.hub", "title"), broken]
