"""Numbers that are not finite: where they begin is found, and what nobody sees does not spread."""

import numpy as np
import pytest
from made_folders import TYPES, document, made_folder

from attn_cli import session
from attn_cli.analysis.loss import loss
from attn_cli.model.cache import Cache
from attn_cli.notes import model_notes, prompt_notes
from measure import next_logits_of

SEEN = ("llama-a", "gpt_bigcode-a", "deepseek-v3-a", "gpt_oss-a", "lfm2-a", "mpt-a")
NAMES = sorted(path.stem for path in TYPES.glob("*.json"))


def broken(place, name, tensor, indices, value=np.nan):
    def arrange(arrays):
        arrays[tensor][indices] = value
        return arrays

    return session.load(str(made_folder(place, name, arrange=arrange)))


def counted(notes):
    """(name, count, all) of the tensors that notes name."""
    keys = ("name", "count", "all")
    return [tuple(n.values[key] for key in keys) for n in notes if n.key == "note.tensor"]


@pytest.mark.parametrize(
    ("tensor", "indices", "layer", "positions", "columns"),
    [  # of four tokens and all columns where an attention or a norm has mixed them
        ("model.layers.1.mlp.down_proj.weight", np.s_[2:4, 1], 1, 4, 2),
        ("model.layers.0.self_attn.v_proj.weight", np.s_[0], 0, 4, 0),
        ("model.embed_tokens.weight", np.s_[4, :3], 0, 2, 0),
    ],
)
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_the_first_layer_and_its_tensor_are_named_and_counted(
    tmp_path, tensor, indices, layer, positions, columns, value
):
    model = broken(tmp_path, "llama-a", tensor, indices, value)
    prompt = session.tokenise(model, ids=[0, 3, 4, 3])
    assert counted(model_notes(model)) == []
    loss(model, prompt)
    array = model.weights.tensors[tensor].read()
    bad = int(array.size - np.isfinite(array).sum())
    assert counted(model_notes(model)) == [(tensor, bad, array.size)]
    (said,) = (n for n in prompt_notes(model, prompt) if n.key == "note.layer")
    width = model.facts.model_width
    assert str(said.values["where"]) == f"layer {layer}"
    assert said.values["count"] == positions * (columns or width)
    assert said.values["all"] == 4 * width
    other = session.tokenise(model, ids=[0, 3])
    assert not [n for n in prompt_notes(model, other) if n.key == "note.layer"]


def test_a_row_of_the_output_matrix_is_named_by_its_logits(tmp_path):
    model = broken(tmp_path, "llama-a", "lm_head.weight", np.s_[5, :2], np.inf)
    trace = session.trace(model=model, ids=[0, 3])
    assert counted(trace.notes) == [("lm_head.weight", 2, model.weights.tensors["lm_head.weight"]
                                     .read().size)]  # fmt: skip
    assert [n.values["count"] for n in trace.notes if n.key == "note.logits"] == [1]


def test_what_is_too_large_for_float32_is_told_of_no_tensor(tmp_path):
    scale = 3e38
    model = broken(tmp_path, "llama-a", "model.layers.1.mlp.down_proj.weight", np.s_[:], scale)
    prompt = session.tokenise(model, ids=[0, 3, 4])
    notes = session.trace(model=model, prompt=prompt).notes
    assert counted(notes) == [] and [n for n in notes if n.key == "note.layer"]


def check_nothing_spreads(place, name, value):
    """Of a token whose vector is none: earlier queries of a decoder see it no more than later ones
    under padding; in one pass and one by one."""
    clean = session.load(str(made_folder(place / "clean", name)))
    ids = tuple(document(name)["ids"][:6])
    id = next(i for i in range(3, clean.facts.vocabulary) if i not in ids)
    tensor = clean.weights.stored[clean.family.embedding].name
    model = broken(place / "broken", name, tensor, id, value)
    sides = [((*ids, id), (), slice(0, len(ids)))]
    # What a convolution mixes no mask of attention hides.
    sides += [] if model.facts.mixers else [((id, *ids), ("padding-left:1",), slice(1, None))]
    for read, mask, rows in sides:
        found = []
        for one in (clean, model):
            prompt, cache = session.tokenise(one, ids=read), Cache()
            typed = {"mask_value": None, "attention_temperature": 1.0, "without_head": ()}
            changes = session.what_if(one, prompt, mask=mask, without=(), **typed)
            end = session.run(one, read, session.request_for(prompt, what_if=changes))[1]
            logits = [session.predict(one, end.x), *(() if not one.facts.writes else (
                np.array([next_logits_of(one, (i,), cache, changes) for i in read]),
            ))]  # fmt: skip
            found.append([np.delete(each, id, axis=1)[rows] for each in logits])
        for wanted, got in zip(*found, strict=True):
            assert np.isfinite(got).all()
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SEEN)
def test_what_a_mask_hides_does_not_spread(tmp_path, name):
    check_nothing_spreads(tmp_path, name, np.nan)


@pytest.mark.faults
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", NAMES)
def test_nor_in_any_type(tmp_path, name, value):
    check_nothing_spreads(tmp_path, name, value)
