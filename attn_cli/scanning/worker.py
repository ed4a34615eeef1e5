"""A process that measures parts: opens the model, then answers one part after the other.

Messages are bytes whose first says what they are. It takes parts as JSON. It gives `READY` once it
has the model, `TOKENS` with how many have been read since the last, `RECORD` with what a part has
come to, and `REFUSED` with why there will be none.
"""

import json
import os
import signal
import time
import warnings
from contextlib import suppress
from multiprocessing.connection import Connection

from attn_cli import files
from attn_cli.errors import AttnError, ContentError, UsageError
from attn_cli.maths import cores

READY, TOKENS, RECORD, REFUSED = b"O", b"T", b"R", b"X"
_BETWEEN = 0.2  # seconds


def serve(given: Connection, job: bytes, threads: int) -> None:
    """Runs until the other end closes. An interrupt is the parent's to act on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    warnings.simplefilter("ignore")
    cores.before_numpy()
    cores.use(threads)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            _serve(given, job)
        except (EOFError, OSError):
            raise
        except Exception as problem:
            given.send_bytes(refused(problem))
    os._exit(0)  # nothing is left to be done, or to be complained of


def _serve(given: Connection, job: bytes) -> None:
    from attn_cli.scanning.corpus import Part
    from attn_cli.scanning.job import Job
    from attn_cli.scanning.measuring import Scanner

    scanner = Scanner(Job.from_json(job))
    given.send_bytes(READY)
    while True:
        steps = scanner.scan(Part.from_json(given.recv_bytes()))
        tokens, told = 0, time.monotonic()
        while True:
            try:
                tokens += next(steps)
            except StopIteration as end:
                given.send_bytes(TOKENS + str(tokens).encode())
                given.send_bytes(RECORD + end.value.to_bytes())
                break
            if time.monotonic() - told > _BETWEEN:
                given.send_bytes(TOKENS + str(tokens).encode())
                tokens, told = 0, time.monotonic()


def refused(problem: Exception) -> bytes:
    """The message that says why there will be no record."""
    if isinstance(problem, MemoryError):
        problem = ContentError("a worker has not enough memory")
    elif isinstance(problem, OSError):
        problem = ContentError(f"a worker cannot go on: {files.reason(problem)}")
    elif not isinstance(problem, AttnError):
        problem = _bug(problem)
    told = [problem.exit_code, problem.message, problem.hint]
    return REFUSED + json.dumps(told).encode()


def problem_of(data: bytes) -> AttnError:
    """What such a message says, without its first byte."""
    code, message, hint = json.loads(data)
    return (UsageError if code == UsageError.exit_code else ContentError)(message, hint)


def _bug(problem: Exception) -> AttnError:
    if os.environ.get("ATTN_DEBUG"):
        raise problem
    what = "this should not have happened: a fault in attn itself, in a worker"
    return AttnError(what, "ATTN_DEBUG=1 --workers 1 shows where; please report it")
