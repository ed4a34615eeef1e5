"""One word in two texts against the arrays of a trace."""

from dataclasses import replace

import numpy as np
import pytest

from attn_cli import session
from attn_cli.analysis.contexts import contexts_notes, contexts_steps, side
from attn_cli.errors import UsageError
from attn_cli.model.family import output_matrix
from attn_cli.reading import tokenise
from attn_cli.views.contexts import page
from attn_cli.views.look import Look
from attn_cli.views.table import draw

TEXTS = ("the fashion model", "we train the model")


def found(model, texts, words, top=5, **settings):
    prompts = [tokenise(model, text) for text in texts]
    sides = [side(read, word, "first") for read, word in zip(prompts, words, strict=True)]
    return session.finished(contexts_steps(model, prompts, sides, top, **settings))


def streams(model, text, position, stack):
    """What enters each layer at a position, from a trace; the last is what the last layer gives."""
    trace = session.trace(text, model=model, stack=stack, next=False)
    return [block.x[position] for block in trace.attention]


def angle(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize("name", ["tiny", "tiny-encoder", "tiny-translator"])
def test_cosines_and_lengths_are_those_of_the_streams(name):
    model = session.load(name)
    words = ("model", "model") if name != "tiny-translator" else ("the", "the")
    result, _ = found(model, TEXTS, words)
    stack = "decoder" if name == "tiny" else "encoder"
    assert result.stack == stack and result.provenance == "derived"
    both = [
        streams(model, text, one.position, stack)
        for text, one in zip(TEXTS, result.sides, strict=True)
    ]
    assert [row.layers for row in result.layers] == list(range(model.facts.layers + 1))
    for row, first, second in zip(result.layers, *both, strict=False):
        assert row.cosine == pytest.approx(angle(first, second), abs=1e-6)
        lengths = np.linalg.norm(first), np.linalg.norm(second)
        assert row.lengths == pytest.approx(lengths, rel=1e-6)


def test_after_the_last_layer_it_is_what_the_prediction_is_made_from():
    model = session.load("tiny")
    result, _ = found(model, TEXTS, ("model", "model"))
    ends = []
    for text in TEXTS:
        read = tokenise(model, text)
        _, end = session.run(model, read.ids, session.request_for(read))
        ends.append(end.x[-1])
    assert result.layers[-1].cosine == pytest.approx(angle(*ends), abs=1e-6)
    # The pull through the final norm, and the rows of the output matrix it points to.
    first, second = model.family.final(model, np.stack(ends)).astype(np.float64)
    table = model.weights[output_matrix(model)].astype(np.float64)
    near = np.array([angle(row, first - second) for row in table])
    for tokens, sign in ((result.layers[-1].first, 1), (result.layers[-1].second, -1)):
        assert [one.id for one in tokens] == np.argsort(-sign * near)[:5].tolist()
        assert [one.cosine for one in tokens] == pytest.approx(
            [sign * near[one.id] for one in tokens], abs=1e-5
        )
    assert result.through == "output"
    assert {"fashion", "poses"} <= {one.token for one in result.layers[-1].first}


def test_an_encoder_before_a_decoder_names_rows_of_the_embedding():
    model = session.load("tiny-translator")
    result, _ = found(model, ("the king", "a king"), ("king", "king"))
    assert result.through == "embedding"
    first, second = (
        streams(model, text, one.position, "encoder")[1]
        for text, one in zip(("the king", "a king"), result.sides, strict=True)
    )
    table = model.weights[model.family.embedding]
    near = np.array([angle(row, first - second) for row in table])
    assert result.layers[1].first[0].id == near.argmax()


def test_the_rows_are_the_embeddings_even_where_the_output_matrix_is_another(golden_path):
    model = session.load(str(golden_path / "t5-gelu"))
    assert not model.config.tied
    prompts = [tokenise(model, ids=ids, target_ids=(1,)) for ids in ((3, 7), (5, 7))]
    sides = [side(read, "1", "first") for read in prompts]
    result, _ = session.finished(contexts_steps(model, prompts, sides, 1))
    first, second = (
        session.trace(model=model, prompt=read, stack="encoder", next=False).attention[1].x[1]
        for read in prompts
    )
    near = [angle(row, first - second) for row in model.weights[model.family.embedding]]
    assert result.layers[1].first[0].id == np.argmax(near)


def test_rows_of_another_width_name_no_tokens(golden_path):
    model = session.load(str(golden_path / "albert"))
    model = replace(model, facts=replace(model.facts, predicts=False))
    prompts = [tokenise(model, ids=ids) for ids in ((3, 7), (5, 7))]
    sides = [side(read, "1", "first") for read in prompts]
    result, _ = session.finished(contexts_steps(model, prompts, sides, 3))
    assert result.through == "" and result.layers[-1].cosine < 1
    assert not any(row.first or row.second for row in result.layers)
    drawn = draw(page(model.facts, result, {"without": ()}), Look(width=80))
    assert "no tokens can be named" in " ".join(drawn.split())


def test_what_comes_later_changes_nothing_in_a_decoder():
    model = session.load("tiny")
    result, _ = found(model, ("the king is", "the king of China"), ("king", "king"))
    assert [row.cosine for row in result.layers] == pytest.approx([1, 1, 1], abs=1e-6)
    assert not any(row.first or row.second for row in result.layers)
    encoder = session.load("tiny-encoder")
    result, _ = found(encoder, ("the king is", "the king of China"), ("king", "king"))
    assert result.layers[-1].cosine < 0.99


def test_a_what_if_is_called_one_and_acts():
    model = session.load("tiny")
    result, _ = found(model, TEXTS, ("model", "model"), without=("positions",))
    assert result.provenance == "what-if"
    assert result.layers[0].cosine == pytest.approx(1)
    plain, _ = found(model, TEXTS, ("model", "model"))
    assert plain.layers[0].cosine < 0.999


# --- which token ---------------------------------------------------------------------------------


def test_a_token_is_named_by_text_or_position():
    read = tokenise(session.load("tiny"), "the model of the model")
    assert side(read, "of", "first").position == 2
    assert side(read, "1", "first").position == 1
    assert side(read, "model·4", "first").position == 4
    assert side(read, "-1", "first").position == 4


def test_one_that_stands_twice_has_to_be_chosen():
    read = tokenise(session.load("tiny"), "the model of the model")
    with pytest.raises(UsageError) as refused:
        side(read, "model", "second")
    assert "in the second text at positions 1, 4" in refused.value.message
    assert "--token model·1" in refused.value.hint


def test_of_a_word_of_several_tokens_the_last_is_followed():
    model = session.load("tiny")
    texts = ("the kingness is", "we see the kingness")
    result, traces = found(model, texts, ("kingness", "kingness"))
    for one in result.sides:
        assert len(one.pieces) > 1 and one.tokens[one.position] == one.pieces[-1]
        assert one.word == "kingness"
    said = [str(note) for note in contexts_notes(model, result, traces)]
    assert sum("the last stands for it" in note for note in said) == 1
    with pytest.raises(UsageError) as refused:
        side(tokenise(model, "kingness kingness"), "kingness", "first")
    assert "positions" in refused.value.message


@pytest.mark.parametrize("word", ["zebra", "", " ", "9", "queen"])
def test_one_that_does_not_stand_there_is_refused_with_what_does(word):
    read = tokenise(session.load("tiny"), "the king")
    with pytest.raises(UsageError) as refused:
        side(read, word, "first")
    assert "one of: the king" in refused.value.hint
