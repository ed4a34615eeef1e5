"""What a session refuses before it computes."""

import pytest

from attn_cli import machine, session
from attn_cli.errors import ContentError

TOKENS, HEADS, WIDTH = 100, 4, 32  # of more, weights are kept without what is hidden


def least(monkeypatch, layers, arrays):
    """The fewest bytes with which a trace is not refused; half of what is free may be taken."""
    free = [0]
    monkeypatch.setattr(machine, "available", lambda: free[0])

    def fits(need):
        free[0] = 2 * need
        try:
            found = session.trace(ids=[5] * TOKENS, layer=layers, arrays=arrays)
        except ContentError as error:
            count = "1 layer" if len(layers) == 1 else "2 layers"
            assert f"reading {TOKENS} tokens takes " in error.message
            assert f" for {count}; " in error.message
            return False
        assert len(found.attention) == len(layers)
        return True

    below, above = 0, 1 << 24
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if fits(middle) else (middle, above)
    return above


@pytest.mark.parametrize("arrays", [{"weights"}, {"weights", "scores", "q"}, {"q"}])
def test_a_further_layer_takes_what_is_kept_of_it(monkeypatch, arrays):
    """Four bytes a number."""
    kept = sum(TOKENS * HEADS * (WIDTH // HEADS if n == "q" else TOKENS) for n in arrays)
    one, two = (least(monkeypatch, layers, arrays) for layers in ([0], [0, 1]))
    assert two - one == 4 * kept
    # What one layer works with comes on top: at least the stream and what a network makes of it.
    assert one >= 4 * (kept + 5 * TOKENS * WIDTH)
