"""Nearest tokens and analogies against the embedding itself, in float64."""

import numpy as np
import pytest

from attn_cli import parse, session
from attn_cli.analysis.embed import embed_notes, expression, nearest, tokens_of
from attn_cli.errors import ContentError, UsageError


@pytest.fixture(scope="module")
def tiny():
    return session.load("tiny")


@pytest.fixture(scope="module")
def table(tiny):
    return tiny.weights["wte.weight"].astype(np.float64)


def found(model, text, top=5):
    return nearest(model, expression(model, text), top)


def ranked(table, target):
    """Cosines of a vector with every row, and the rows' ids, nearest first."""
    near = table @ target / np.linalg.norm(table, axis=1) / np.linalg.norm(target)
    return near, np.argsort(-near)


# --- what was typed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("China", [(1, "China")]),
        ("father - man + woman", [(1, "father"), (-1, "man"), (1, "woman")]),
        ("father − man", [(1, "father"), (-1, "man")]),
        ("- man + woman", [(-1, "man"), (1, "woman")]),
        ("well-known", [(1, "well-known")]),
        ("New York - USA + France", [(1, "New York"), (-1, "USA"), (1, "France")]),
        ("-", [(1, "-")]),
        ("- + woman", [(1, "-"), (1, "woman")]),
        ("king - -", [(1, "king"), (-1, "-")]),
        ("a-b + c+d", [(1, "a-b"), (1, "c+d")]),
    ],
)
def test_signs_stand_alone_and_a_word_may_be_one(text, terms):
    assert parse.terms(text) == tuple(parse.Term(*term) for term in terms)


def test_what_is_in_quotes_is_taken_as_it_is():
    assert parse.terms('" model" - "-"') == (
        parse.Term(1, " model", True), parse.Term(-1, "-", True),
    )  # fmt: skip
    assert parse.terms('"') == (parse.Term(1, '"'),)


@pytest.mark.parametrize("text", ["", "   ", "king -", "king +  ", "a + - b", "+ +"])
def test_an_expression_without_a_word_where_one_is_due_is_refused(text):
    with pytest.raises(UsageError) as refused:
        parse.terms(text)
    assert "father - man + woman" in refused.value.hint


# --- nearest -------------------------------------------------------------------------------------


def test_father_less_man_and_woman_is_mother_and_king_is_queen(tiny):
    assert found(tiny, "father - man + woman").nearest[0].token == "mother"
    assert found(tiny, "king - man + woman").nearest[0].token == "queen"


@pytest.mark.parametrize("text", ["China", "father - man + woman", "king + queen - prince"])
def test_every_number_is_that_of_the_embedding(tiny, table, text):
    result = found(tiny, text, top=9)
    ids = [term.id for term in result.terms]
    target = sum(term.sign * table[term.id] for term in result.terms)
    near, order = ranked(table, target)
    assert [row.id for row in result.nearest] == [i for i in order.tolist() if i not in ids][:9]
    assert [row.id for row in result.left_out] == [i for i in order.tolist() if i in ids]
    for row in (*result.nearest, *result.left_out):
        assert row.rank == order.tolist().index(row.id) + 1
        assert row.cosine == pytest.approx(near[row.id], abs=1e-6)
        assert row.dot == pytest.approx(table[row.id] @ target, abs=1e-6)
        assert row.length == pytest.approx(np.linalg.norm(table[row.id]), rel=1e-6)
        assert row.cosine == pytest.approx(row.dot / (row.length * result.length), abs=1e-6)
        assert row.token == tiny.tokenizer.token(row.id).text
    assert result.length == pytest.approx(np.linalg.norm(target), rel=1e-6)
    for term in result.terms:
        assert term.length == pytest.approx(np.linalg.norm(table[term.id]), rel=1e-6)


@pytest.mark.parametrize("text", ["father - man + woman", "woman + father - man"])
def test_an_analogy_compares_both_differences(tiny, table, text):
    result = found(tiny, text)
    (one,) = result.analogies
    plus, minus, answer, other = (
        table[tiny.tokenizer.id_of(word)] for word in (one.plus, one.minus, one.answer, one.other)
    )
    first, second = plus - minus, answer - other
    angle = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert one.cosine == pytest.approx(angle, abs=1e-6)
    assert one.answer == "mother" and one.minus == "man"
    assert {one.plus, one.other} == {"father", "woman"}
    for words in ("father", "father + woman", "a - the", "father - man - woman"):
        assert found(tiny, words).analogies == ()


def test_many_terms_and_one_twice(tiny, table):
    result = found(tiny, "king + king - man")
    king, man = (tiny.tokenizer.id_of(word) for word in ("king", "man"))
    _, order = ranked(table, 2 * table[king] - table[man])
    assert result.nearest[0].id == next(i for i in order if i not in (king, man))
    assert len(result.left_out) == 2 and len(result.terms) == 3


def test_ids_are_added(tiny):
    king, queen = (tiny.tokenizer.id_of(word) for word in ("king", "queen"))
    by_id = nearest(tiny, expression(tiny, ids=(king, queen)))
    assert by_id.nearest == found(tiny, "king + queen").nearest
    with pytest.raises(UsageError):
        expression(tiny, ids=(995,))


def test_a_sum_of_nothing_points_nowhere(tiny):
    with pytest.raises(UsageError):
        found(tiny, "king - king")


def test_what_is_not_a_number_is_said(tiny, golden_copy, repack):
    folder = golden_copy("llama-plain")

    def broken(entries):
        name = next(name for name in entries if "embed_tokens" in name)
        kind, shape, data = entries[name]
        array = np.frombuffer(data, np.float32).copy()
        array[:2] = np.nan
        return {**entries, name: (kind, shape, array.tobytes())}

    repack(folder, broken)
    model = session.load(str(folder))
    with pytest.raises(ContentError):
        nearest(model, expression(model, ids=(0,)))
    rows = nearest(model, expression(model, ids=(3,)), 99).nearest
    assert rows[-1].id == 0 and np.isnan(rows[-1].cosine)


def test_more_than_there_are_is_all_of_them(tiny):
    result = found(tiny, "king", top=10**9)
    assert len(result.nearest) == 994


# --- words and tokens ----------------------------------------------------------------------------


def test_of_a_word_of_several_tokens_the_last_stands_for_it(tiny):
    result = found(tiny, "kingness")
    (term,) = result.terms
    assert len(term.pieces) > 1
    assert term.token == term.pieces[-1] == tiny.tokenizer.token(term.id).text
    (said,) = embed_notes(tiny, result)
    assert f"'kingness' is {len(term.pieces)} tokens" in str(said)
    assert "the last stands for it" in str(said)
    assert embed_notes(tiny, found(tiny, "king")) == ()
    assert "'China is' is 2 tokens for tiny" in str(*embed_notes(tiny, found(tiny, "China is")))


def test_an_unknown_word_is_refused(tiny):
    with pytest.raises(UsageError) as refused:
        found(tiny, "king - ☃")
    assert "no token for '☃'" in refused.value.message


def test_a_word_is_looked_up_with_its_space_first():
    model = session.load("smollm2")
    known = model.tokenizer
    for text, token in (("China", " China"), ('"China"', "China"), ('" China"', " China")):
        ((read,),) = [tokens_of(model, term) for term in parse.terms(text)]
        assert (read.id, read.text) == (known.id_of(token), token)
    (term,) = found(model, "China").terms
    assert (term.token, term.other) == (" China", "China")
    assert found(model, '"China"').terms[0].other == ""
    # What is true of this model: the queen is found, the mother is not.
    assert found(model, "king - man + woman").nearest[0].token == " queen"
    first = found(model, "father - man + woman").nearest[0]
    assert first.token == " grandmother" and first.rank == 2


# --- how it is read ------------------------------------------------------------------------------


def test_a_matrix_that_is_stored_otherwise_is_never_there_as_a_whole(spied, golden_path):
    """Every dtype but float32 has to be made, and is made some rows at a time."""
    model, spy = spied(golden_path / "llama-plain")
    name = model.weights.stored[model.family.embedding].name
    spy.tensors[name].dtype = "F16"
    nearest(model, expression(model, ids=(3,)))
    assert name not in spy.whole
    assert {place for place, _ in spy.by_row} == {name}
