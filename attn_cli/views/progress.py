"""The line that shows how far a pass is."""

from attn_cli.errors import size
from attn_cli.records import Passed
from attn_cli.views import numbers
from attn_cli.words import grouped, note, sentence


def line(passed: Passed, elapsed: float, left: float) -> str:
    """How far a pass is after so many seconds, with about so many `left`."""
    tokens = grouped(passed.tokens, "page.tokens_one", "page.tokens_many")
    return sentence(
        "progress.line", where=note(f"progress.{passed.stack}"), done=passed.layer + 1,
        layers=passed.layers, tokens=tokens, read=size(passed.read),
        size=size(passed.size), elapsed=numbers.clock(elapsed), left=numbers.clock(left),
    )  # fmt: skip
