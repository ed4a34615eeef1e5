"""What a session refuses before it computes."""

import os

import pytest

from attn_cli import session
from attn_cli.errors import ContentError


@pytest.mark.parametrize(("layers", "arrays", "kept"), [
    ([0], {"weights"}, 1), ([0, 1], {"weights"}, 2), ([0, 1], {"weights", "scores", "q"}, 4),
    ([0], {"q"}, 0),
])  # fmt: skip
def test_a_prompt_needs_five_squares_a_head_and_those_that_are_kept(
    monkeypatch, layers, arrays, kept
):
    """Of 4 bytes a cell: the working arrays of one layer, and what is kept of each."""
    tokens, heads = 200, 4
    need = 4 * tokens**2 * heads * (5 + kept)
    pages = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": need}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    given = {"ids": [5] * tokens, "layer": layers, "arrays": arrays}
    assert len(session.trace(**given).attention) == len(layers)
    pages["SC_PHYS_PAGES"] -= 1
    with pytest.raises(ContentError, match=f"200 tokens need .* attention of {len(layers)} layers"):
        session.trace(**given)
