"""Signals that end a run, and the temporary files that no end of it may leave behind."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from attn_cli.errors import Terminated

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Files of this process that go when it ends, however it does; a forked one has none of its own.
temporaries: set[str] = set()
os.register_at_fork(after_in_child=temporaries.clear)


class _State:
    """`held` blocks around what runs now, whether signals wait, and which do; if one was raised."""

    depth = 0
    waits = False
    raised = False
    came: list[int] = []  # noqa: RUF012 - there is one state, as there is one process


def end_at_once() -> None:
    """From here on these signals end the process in silence."""
    _answer(lambda number, _: leave(128 + number))


def listen() -> None:
    """From here on these signals are exceptions: KeyboardInterrupt and Terminated.

    A second one, while what is open is closed for the first, ends the process at once.
    """
    _answer(_arrived)


def _answer(handler: Callable[[int, Any], None]) -> None:
    for number in ENDING:
        # A background job of a shell ignores SIGINT, a job of nohup SIGHUP, and goes on doing so.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _arrived(number: int, _: Any = None) -> None:
    if _State.waits:
        _State.came.append(number)
        return
    if _State.raised:
        leave(128 + number)
    _State.raised = True
    # What is held around here is now on its way to its end, and is not to be broken off.
    _State.waits = _State.depth > 0
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)


def leave(code: int) -> NoReturn:
    """Ends the process, without a file of which only a part is written."""
    for name in tuple(temporaries):
        with contextlib.suppress(OSError):
            os.unlink(name)
    os._exit(code)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """What is inside is not broken off: a signal that comes is raised at the end of it.

    The second one, of a block that the first one ends, is passed over.
    """
    before, _State.waits = _State.waits, True
    _State.depth += 1
    try:
        yield
    finally:
        _State.depth -= 1
        _State.waits = before
        _deliver()


@contextlib.contextmanager
def let_through() -> Iterator[None]:
    """Inside a block that is `held`, what a signal may break off; the rest of the block then ends.

    None comes between the two.
    """
    before, _State.waits = _State.waits, False
    try:
        _deliver()
        yield
    finally:
        _State.waits = before


def waiting() -> bool:
    """Whether a signal will be raised at the end of what is held."""
    return bool(_State.came) and not _State.raised


def _deliver() -> None:
    while _State.came and not _State.waits:
        number = _State.came.pop(0)
        if not _State.raised:
            _arrived(number)
