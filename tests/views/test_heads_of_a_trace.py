"""Each head's numbers stand under that head's title."""

import numpy as np
import pytest

import attn_cli
from attn_cli import vocabulary
from attn_cli.views import table
from attn_cli.views import trace as view
from attn_cli.views.items import Matrix, StepTitle, say
from attn_cli.views.look import Look
from attn_cli.words import note

PROMPT = "the greatest thinker in China is"


@pytest.fixture(scope="module")
def trace():
    return attn_cli.trace(PROMPT)


def page(trace, *steps, queries=range(6), keys=range(6)):
    shown = {block.address: (queries, keys) for block in trace.attention}
    return view.page(trace, steps=frozenset(steps), shown=shown)


def test_the_weights_of_every_head_stand_under_its_own_title(trace):
    items = page(trace, 5)
    places = [i for i, item in enumerate(items) if getattr(item, "role", "") == "block"]
    assert len(places) == 8
    expected = ((layer, head) for layer in (0, 1) for head in range(4))
    for place, (layer, head) in zip(places, expected, strict=True):
        assert items[place] == say(
            "page.head", "block", where=note("page.layer", layer=layer), head=head
        )
        weights = next(item for item in items[place:] if isinstance(item, Matrix))
        assert weights.name == "weights"
        assert np.array_equal(weights.values, trace.attention[layer].weights[head])


def test_only_the_chosen_queries_and_keys_are_shown(trace):
    items = page(trace, 3, 6, queries=[2, 5], keys=[0, 1])
    first = next(item for item in items if isinstance(item, Matrix) and item.name == "scores")
    assert (first.rows, first.columns) == (["thinker", "is"], ["the", "greatest"])
    scores = trace.attention[0].scores[0]
    assert np.array_equal(first.values, scores[np.ix_([2, 5], [0, 1])])


def test_what_enters_a_layer_is_shown_once_for_all_its_heads(trace):
    items = page(trace, 1)
    assert [item.number for item in items if isinstance(item, StepTitle)] == [1, 1]
    assert [str(i.name) for i in items if isinstance(i, Matrix)] == [
        "token_embedding", "position_embedding", "x = their sum", "x"
    ]  # fmt: skip


def test_parameters_say_which_axis_is_which():
    names = vocabulary.PARAMETERS | {"normed", "q", "k", "v", "z", "head_output", "output", "x"}
    found = attn_cli.trace(PROMPT, layer=0, head=0, arrays=names)
    items = {
        item.name: item
        for item in page(found, 2, 6)
        if isinstance(item, Matrix) and item.name in vocabulary.PARAMETERS
    }
    of_latents = {
        name for name, spec in vocabulary.ARRAYS.items()
        if "latent" in spec.axes or name.endswith("_rotated")
    }  # fmt: skip
    assert set(items) == vocabulary.PARAMETERS - of_latents
    for name, axes in (
        ("w_q", ("model", "width")),
        ("b_k", ("1", "width")),
        ("b_o", ("1", "model")),
    ):
        assert str(items[name].axes) == f"rows: {axes[0]}   columns: {axes[1]}"
        assert items[name].elided == note("parameters.elided", name=name)
    assert np.array_equal(items["w_v"].values, found.attention[0].w_v[0])
    assert (items["b_o"].rows, items["b_o"].values.shape) == ([""], (1, 32))


def test_the_sum_is_that_of_the_rows_above_it(trace):
    items = page(trace, 6, keys=[0, 3])
    sums = [item for item in items if isinstance(item, Matrix) and item.summed]
    assert len(sums) == 8
    for item in sums:
        np.testing.assert_allclose(item.values[:-1].sum(axis=0), item.values[-1], atol=1e-6)
        assert item.rows[-1] == "Σ"


def test_a_page_is_the_same_for_every_look(trace):
    items = page(trace, *range(1, 7))
    wide, narrow = (table.draw(items, Look(width=width)) for width in (200, 40))
    assert wide != narrow
    assert max(map(len, narrow.splitlines())) <= 40
    exact = table.draw(items, Look(digits=5))
    assert f"{trace.attention[0].weights[0, 5, 5]:.5f}" in exact
