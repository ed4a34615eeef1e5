"""Calls of the tokenizers library, which can panic, end the process, or take for ever.

A panic prints, and is no Exception; memory that runs out ends the process; a pattern of a file can
go through more ways to match than anyone can wait for, and until the library is done no signal is
answered. What a file asks of it is therefore judged first: what could do the latter two is tried
out in a process of its own, which has its limits and prints nothing.
"""

import base64
import os
import re
import select
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import RLock
from typing import Any

from attn_cli.errors import ContentError
from attn_cli.signals import ENDING, held, let_through
from attn_cli.tokens.pretokenizers import PRE_TOKENIZERS

IDS_HINT = "--ids works without a tokenizer: --ids 5,6,7"
# Published patterns, and those that the reference library makes, whose time grows as the text does.
_HARMLESS = {split for each in PRE_TOKENIZERS.values() for split in each.splits} | {
    " {2,}", r"\A +| +\z", r"\A▁", r"\s{2,}|[\n\r\t]", r"\s+", r"\d", r"\d+", r"\p{N}", r"\p{N}+",
    r"\p{N}{1,3}", "[0-9]", "[\r\n]", "\n", r"\n+", "[一-龥぀-ゟ゠-ヿ]+", r"\s?\p{L}+", r"\s?\p{P}+",
}  # fmt: skip
# Characters one after the other, or one of several such rows: there is only one way to match.
_ROW = r"(?:[^\\.^$*+?{}()\[\]|]|\\[^0-9A-Za-z])+"
_LITERAL = re.compile(rf"{_ROW}(?:\|{_ROW})*")
# A text may become so many times as long, and a character so many bytes; the time of a word piece
# grows with the square of the longest word.
_GROWTH, _BYTES, _WORD = 16, 64, 200
_ROOM, _OF_CHARACTER = 1 << 30, 1000  # bytes that a trial may take, and for each character more
_SECONDS, _PER_SECOND = 3, 200_000  # of the processor's time, and characters for one more
_LONGEST = 20  # times as many seconds may pass meanwhile
_LATEST = 0.2  # seconds: a signal just before a wait is answered after the wait
_LOCK = RLock()


class Panicked(Exception):
    """The library gave up."""


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, a library prints nothing, and a panic is raised as Panicked."""
    with _LOCK:
        before = null = -1
        with suppress(OSError):  # standard error may be closed
            before = os.dup(2)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
        try:
            yield
        except BaseException as problem:
            if type(problem).__name__ != "PanicException":
                raise
            raise Panicked(str(problem)) from None
        finally:
            if null >= 0:
                os.dup2(before, 2)
                os.close(null)
            if before >= 0:
                os.close(before)


def is_risky(steps: Iterable[Mapping[str, Any]], model: Any) -> bool:
    """Whether a tokenizer of these steps (see `library.steps`) may take far more than its text."""
    growth = 1.0
    for step in steps:
        pattern = step.get("pattern")
        pattern = pattern if isinstance(pattern, dict) else {}
        regex = pattern.get("Regex")
        if not (regex is None or regex in _HARMLESS or _LITERAL.fullmatch(regex)):
            return True
        if step["type"] == "Replace":
            growth *= max(1.0, len(step["content"]) / max(1, len(pattern.get("String", "1"))))
        elif step["type"] == "Prepend":
            growth *= max(1, len(step["prepend"]))
        elif step["type"] == "Precompiled" and _longest(step["precompiled_charsmap"]) > _BYTES:
            return True
    return growth > _GROWTH or getattr(model, "max_input_chars_per_word", 0) > _WORD


def _longest(charsmap: str | None) -> int:
    """The most bytes that a character becomes: after a trie stand all of them, each with a NUL."""
    blob = base64.b64decode(charsmap or "")
    start = 4 + int.from_bytes(blob[:4], "little")
    return max(map(len, blob[start:].split(b"\0")))


def try_out(call: Callable[[], Any], characters: int, what: str) -> None:
    """Makes a call in a process of its own, to see whether it may be made here.

    Raises ContentError where it takes too long or too much for so many characters, naming `what`
    it does. What it raises is left to be raised here. Does nothing where no process can be forked.
    """
    if not hasattr(os, "fork"):
        return
    seconds = _SECONDS + characters // _PER_SECOND
    with held():  # a signal while the child has no name here would leave it alone
        ended, end = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of threads: the child asks nothing of them
            child = os.fork()
        if not child:
            _tried(call, seconds, _ROOM + _OF_CHARACTER * characters)
        os.close(end)  # now the child alone has it, and it is closed as that ends
        try:
            with let_through():
                while not select.select([ended], [], [], _LATEST)[0]:
                    pass
        except BaseException:
            os.kill(child, signal.SIGKILL)
            raise
        finally:
            os.close(ended)
            _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        return
    if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGALRM, signal.SIGKILL):
        reason = "takes far longer than such a text should"
    else:
        reason = "takes too much memory, or ends the process"
    raise ContentError(f"the model's tokenizer cannot {what}: it {reason}", IDS_HINT)


def _tried(call: Callable[[], Any], seconds: int, room: int) -> None:
    """What the child does; it never returns."""
    with suppress(BaseException):
        import faulthandler
        import resource

        faulthandler.disable()
        for number in (*ENDING, signal.SIGALRM, signal.SIGXCPU):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        for handle in range(3):
            os.dup2(null, handle)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        signal.setitimer(signal.ITIMER_REAL, _LONGEST * seconds)
        with suppress(OSError, ValueError), open("/proc/self/statm") as known:
            most = int(known.read().split()[0]) * resource.getpagesize() + room
            least = resource.getrlimit(resource.RLIMIT_AS)
            if least[0] == resource.RLIM_INFINITY or most < least[0]:
                resource.setrlimit(resource.RLIMIT_AS, (most, least[1]))
        call()
    os._exit(0)
