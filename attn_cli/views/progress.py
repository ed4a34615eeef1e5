"""The lines that show how far a pass is, or a scan."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from attn_cli.errors import size
from attn_cli.records import Passed
from attn_cli.views import numbers
from attn_cli.words import counted, grouped, note, sentence

if TYPE_CHECKING:
    from attn_cli.scanning.run import State

_PATIENCE, _BETWEEN = 1.0, 10.0  # seconds


def line(passed: Passed, elapsed: float, left: float) -> str:
    """How far a pass is after so many seconds, with about so many `left`."""
    tokens = grouped(passed.tokens, "page.tokens_one", "page.tokens_many")
    return sentence(
        "progress.line", where=note(f"progress.{passed.stack}"), done=passed.layer + 1,
        layers=passed.layers, tokens=tokens, read=size(passed.read),
        size=size(passed.size), elapsed=numbers.clock(elapsed), left=numbers.clock(left),
    )  # fmt: skip


class ScanPace:
    """How fast a scan is; `now` gives seconds. `waiting`: no line has been drawn."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self._began = now, now()
        self._told, self._state, self.waiting = self._began, None, True

    def add(self, state: "State") -> bool:
        """Takes in how far it is; whether it is time for a line."""
        self._state, now = state, self._now()
        patience = _PATIENCE if self.waiting else _BETWEEN
        if now - self._told < patience:
            return False
        self._told = now
        return True

    def line(self) -> str:
        """Tokens a second, parts, the share of the files that is read, the time left, workers."""
        state, elapsed = self._state, max(self._now() - self._began, 1e-9)
        here = state.read - state.before
        left = (state.size - state.read) * elapsed / here if here > 0 else 0.0
        key = "progress.scan" if here > 0 else "progress.scan_begun"
        return sentence(
            key, parts=counted(state.parts, "progress.parts_one", "progress.parts_many"),
            tokens=grouped(state.tokens, "page.tokens_one", "page.tokens_many"),
            speed=f"{state.tokens / elapsed:,.0f}", read=size(state.read), size=size(state.size),
            elapsed=numbers.clock(elapsed), left=numbers.clock(max(0.0, left)),
            workers=counted(state.workers, "progress.workers_one", "progress.workers_many"),
        )  # fmt: skip
