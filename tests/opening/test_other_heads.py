"""Folders of another task than predicting tokens: what opens, what is left aside, what is said."""

import json

import numpy as np
import pytest

from attn_cli import session
from attn_cli.analysis.loss import loss
from attn_cli.checkpoints.safetensors import encode, open_safetensors
from attn_cli.errors import ContentError

IDS = [5, 6, 7, 2]


def change(folder, tensors=lambda found: found, **config):
    """The folder with other tensors and keys."""
    path = folder / "model.safetensors"
    found = {name: np.array(t.read()) for name, t in open_safetensors(path).items()}
    path.write_bytes(encode(tensors(found), {}))
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | config))
    return str(folder)


def said(trace):
    return "\n".join(map(str, trace.notes))


@pytest.fixture
def headless(golden_copy):
    """Llama's decoder alone, which predicts nothing."""
    return change(golden_copy("llama-plain"), tie_word_embeddings=False)


def test_a_decoder_without_an_output_matrix_opens_without_prediction(headless, golden_path):
    found = session.trace(ids=IDS, model=headless)
    plain = session.trace(ids=IDS, model=str(golden_path / "llama-plain"))
    assert (found.next, found.model.predicts) == ((), False)
    assert "llama-plain has no output matrix, so there is no prediction" in said(found)
    for block in found.attention:
        for name, array in block.arrays.items():
            assert np.array_equal(array, plain.block(block.layer).arrays[name])


def test_what_needs_a_prediction_says_that_there_is_none(headless):
    model = session.load(headless)
    prompt = session.tokenise(model, ids=IDS)
    with pytest.raises(ContentError, match="has no output matrix, so it predicts no token"):
        loss(model, prompt)


@pytest.mark.parametrize("head", ["score.weight", "classifier.bias", "v_head.summary.weight"])
def test_a_classifiers_head_is_left_aside_with_a_note(golden_copy, head):
    folder = golden_copy("gpt2-a")
    before = session.trace(ids=IDS, model=str(folder))
    shape = (3, 12) if head.endswith("weight") else (3,)
    change(folder, lambda found: {**found, head: np.ones(shape, np.float32)})
    after = session.trace(ids=IDS, model=str(folder))
    assert head not in said(before) and f"left aside: {head}" in said(after)
    assert np.array_equal(before.logits, after.logits)


def test_a_tensor_of_no_known_head_is_still_refused(golden_copy):
    folder = change(
        golden_copy("gpt2-a"), lambda found: {**found, "scores.weight": np.ones(3, np.float32)}
    )
    with pytest.raises(ContentError, match=r"scores\.weight has no place in this family"):
        session.load(folder)
