"""How a scan is shown while it goes on, on stderr."""

import time
from collections.abc import Generator
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, TypeVar

from attn_cli.cli import output
from attn_cli.cli.streams import CURRENT
from attn_cli.errors import ContentError
from attn_cli.views.progress import ScanPace

if TYPE_CHECKING:
    from attn_cli.scanning.run import State

T = TypeVar("T")
_FAILED = 20  # lines that are named


def watched(steps: "Generator[State, None, T]", *, quiet: bool) -> T:
    """What a scan comes to. Lines that fail are told as they come, up to so many; how far it is, in
    a line on a terminal that can be drawn on, else in one now and then."""
    live, told, pace = CURRENT.get().is_live, 0, ScanPace(time.monotonic)
    with closing(steps), ExitStack() as shown:
        while True:
            try:
                state = next(steps)
            except StopIteration as end:
                return end.value
            for one in state.failures[: max(0, _FAILED - told)]:
                where = f"{one.file}: line {one.line}"
                output.error(ContentError(f"{where}: {one.message}", one.hint))
                told += 1
            if pace.add(state) and not quiet:
                if not live:
                    output.to_stderr(pace.line())
                elif pace.waiting:
                    shown.enter_context(output.drawn_anew(pace.line))
                pace.waiting = False
