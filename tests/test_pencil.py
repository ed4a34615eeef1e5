"""`pencil` worked out on paper: every number of `dogs chase cats`, and what comes next."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import attn_cli

ROOT = Path(__file__).parents[1]
PROMPT = "dogs chase cats"
ROOT2 = 1.41421356

# Worked out on paper, from x = token + position to what the head adds. Rows: dogs, chase, cats.
ON_PAPER = {
    "x": [[4, 0], [2, 2], [2, 6]],
    "q": [[4, -4], [0, 0], [-4, 4]],
    "k": [[8, -4], [2, 0], [-2, 4]],
    "v": [[4, 4], [2, 4], [2, 8]],
    "scores": [[48, 8, -24], [0, 0, 0], [-48, -8, 24]],
    "scaled": [[33.94, 5.66, -16.97], [0, 0, 0], [-33.94, -5.66, 16.97]],
    "weights": [[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]],
    "z": [[4, 4], [3, 4], [2, 8]],
    "head_output": [[0, 4], [1, 3], [6, 2]],
    "output": [[0, 4], [1, 3], [6, 2]],
}


@pytest.mark.parametrize("name", ON_PAPER)
def test_every_step_is_what_paper_gives(name):
    found = attn_cli.trace(model="pencil").attention[0].arrays[name]
    found = found[0] if found.ndim == 3 else found
    assert found == pytest.approx(np.array(ON_PAPER[name]), abs=0.005)
    if name not in ("scaled", "weights"):
        assert (found == ON_PAPER[name]).all()


def test_only_the_scale_and_a_share_of_e_to_the_minus_16_are_no_whole_numbers():
    block = attn_cli.trace(model="pencil").attention[0]
    assert block.scaled[0] * ROOT2 == pytest.approx(np.array(ON_PAPER["scores"]), abs=1e-5)
    assert block.visible.tolist() == [[True, False, False], [True, True, False], [True] * 3]
    assert np.abs(block.weights[0] - ON_PAPER["weights"]).max() < np.exp(-16)


@pytest.mark.parametrize(
    ("text", "next", "logits"),
    [
        # x + output is (4, 4): what is left of it after the mean is (0, 0), and less 1 (−1, −1).
        ("dogs", "chase", {"dogs": -4, "chase": -2, "cats": -4}),
        ("cats", "chase", {"dogs": -4, "chase": -2, "cats": -4}),
        # (2, 2) + (1, 3) = (3, 5): mean 4, root 1, so (−1, 1), less 1 (−2, 0).
        ("dogs chase", "cats", {"dogs": -8, "chase": -2, "cats": 0}),
        ("cats chase", "dogs", {"dogs": 0, "chase": -2, "cats": -8}),
        ("dogs chase cats", "chase", {"dogs": -4, "chase": -2, "cats": -4}),
        ("cats chase dogs", "chase", {"dogs": -4, "chase": -2, "cats": -4}),
    ],
)
def test_the_next_word_and_its_logits(text, next, logits):
    first, *others = attn_cli.trace(text, model="pencil", arrays=()).next[0].candidates
    assert first.text == next
    found = {one.text: one.logit for one in (first, *others)}
    assert found == pytest.approx(logits, abs=0.01)


def test_it_is_made_by_its_script_and_says_that_it_is_not_trained(tmp_path):
    make = runpy.run_path(str(ROOT / "samples" / "make_pencil.py"))
    make["write"](tmp_path)
    shipped = sorted((ROOT / "attn_cli" / "data" / "pencil").iterdir())
    assert [p.name for p in shipped] == ["config.json", "model.safetensors", "tokenizer.json"]
    for path in shipped:
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    for tensor in make["tensors"]().values():
        assert (tensor == np.round(tensor)).all() and np.abs(tensor).max() <= 4
    facts = attn_cli.load("pencil").facts
    assert (facts.trained, facts.by_hand, facts.sample) == (False, True, PROMPT)
    assert attn_cli.load(str(tmp_path)).facts.by_hand is False
