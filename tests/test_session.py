"""What a session refuses before it computes."""

import pytest

from attn_cli import machine, session
from attn_cli.errors import ContentError


@pytest.mark.parametrize(("layers", "arrays"), [
    ([0], {"weights"}), ([0, 1], {"weights"}), ([0, 1], {"weights", "scores", "q"}), ([0], {"q"}),
])  # fmt: skip
def test_a_prompt_needs_what_is_kept_and_what_a_layer_works_with(monkeypatch, layers, arrays):
    """Of 4 bytes a number; half of what is free may be taken."""
    tokens, heads, width = 200, 4, 32
    kept = sum(tokens * heads * (width // heads if name == "q" else tokens) for name in arrays)
    working = tokens * 14 * width + session.room.cores.threads() * 2 * 128 * tokens
    need = 4 * (len(layers) * kept + working)
    free = [2 * need]
    monkeypatch.setattr(machine, "available", lambda: free[0])
    given = {"ids": [5] * tokens, "layer": layers, "arrays": arrays}
    assert len(session.trace(**given).attention) == len(layers)
    free[0] -= 2
    count = "1 layer" if len(layers) == 1 else "2 layers"
    with pytest.raises(ContentError, match=f"reading 200 tokens takes .* for {count}; "):
        session.trace(**given)
