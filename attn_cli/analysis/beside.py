"""Two passes side by side: what is asked twice, of two prompts, two models or two settings."""

from collections import deque
from collections.abc import Generator
from dataclasses import replace
from typing import Any

from attn_cli import room, session
from attn_cli.records import Attention, Passed, Trace
from attn_cli.session import Question

Pair = tuple[Attention, Attention]


def beside(
    left: Question,
    right: Question,
    max_memory: int = 0,
    *,
    forgotten: bool = True,
    made: room.Made = room.NOTHING_MADE,
) -> Generator[Pair | Passed, None, tuple[Trace, Trace]]:
    """Answers two questions layer by layer: yields each two blocks, as soon as both are computed,
    and the layers of one of the passes as they are done.

    The questions ask for as many blocks, and the first of one is compared with the first of the
    other. Returns both traces without their blocks; unless these are `forgotten`, all are kept.
    Raises ContentError where there is no room for both and for what is `made` of them, and
    ValueError for more blocks of one.
    """
    run = room.Run(right.model, right.prompt, right.request)
    more = {"beside": [run], "forgotten": forgotten, "made": made}
    room.check(left.model, left.prompt, left.request, max_memory, **more)
    passes = _Pass(left), _Pass(right)
    while not all(one.ended for one in passes):
        # Who is ahead waits: no more blocks are there than have to be.
        behind = [one for one in passes if not one.ended and not one.waiting]
        if not behind:
            raise ValueError("the two questions ask for different numbers of blocks")
        done = [passed for passed in [one.advance() for one in behind] if passed]
        while all(one.waiting for one in passes):
            yield passes[0].waiting.popleft(), passes[1].waiting.popleft()
        if done:
            yield done[-1]
    return passes[0].found, passes[1].found


def both(
    left: Question, right: Question, max_memory: int = 0, made: room.Made = room.NOTHING_MADE
) -> Generator[Passed, None, tuple[Trace, Trace]]:
    """Both whole traces; yields the layers of one of the passes as they are done."""
    pairs: list[Pair] = []
    steps = beside(left, right, max_memory, forgotten=False, made=made)
    traces = yield from session.taking(steps, pairs.append)
    return tuple(
        replace(trace, attention=tuple(pair[side] for pair in pairs))
        for side, trace in enumerate(traces)
    )


class _Pass:
    """One of the passes: the blocks that `waiting` holds have come before the other's."""

    def __init__(self, asked: Question) -> None:
        self._steps: Generator[Any, None, Trace] = session.steps(asked)
        self.waiting: deque[Attention] = deque()
        self.ended, self.found = False, None

    def advance(self) -> Passed | None:
        """Goes on to the end of a layer, or to the end."""
        while True:
            try:
                step = next(self._steps)
            except StopIteration as stop:
                self.ended, self.found = True, stop.value
                return None
            if isinstance(step, Passed):
                return step
            self.waiting.append(step)
