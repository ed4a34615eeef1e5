"""What runs in a Dask worker: opens the model when it is first asked to, then measures parts.

Messages are those of `worker`. A process measures one part at a time, with its share of the cores
and of the memory: those of its host, which so many workers are `sharing`.
"""

import threading
import warnings
from dataclasses import replace

from attn_cli import machine
from attn_cli.errors import ContentError, shorten
from attn_cli.maths import blas, cores
from attn_cli.opening.load import load
from attn_cli.scanning.corpus import Part
from attn_cli.scanning.job import Job, digest_of, digests_of
from attn_cli.scanning.measuring import Scanner
from attn_cli.scanning.worker import READY, RECORD, refused

_COPY = "the same files are needed on every machine"
_MOST = 2  # models that stay open
_alone = threading.Lock()
_kept: dict[bytes, Scanner] = {}


def ready(job: bytes, sharing: int) -> bytes:
    """Opens the model of a job: `READY`, or why it cannot be."""
    with _alone:
        try:
            _scanner(job, sharing)
        except Exception as problem:
            return refused(problem)
    return READY


def measure(job: bytes, part: bytes, sharing: int) -> bytes:
    """`RECORD`, how many tokens a part has, a space, and what it has come to; or why nothing."""
    from distributed import get_worker

    with _alone, warnings.catch_warnings(), blas.alone():
        warnings.simplefilter("ignore")
        before = cores.threads()
        threads = get_worker().state.nthreads
        cores.use(min(threads, max(1, cores.of_machine() // sharing)))
        try:
            return _measured(_scanner(job, sharing), Part.from_json(part))
        except Exception as problem:
            return refused(problem)
        finally:
            cores.use(before)


def _measured(scanner: Scanner, part: Part) -> bytes:
    steps, tokens = scanner.scan(part), 0
    while True:
        try:
            tokens += next(steps)
        except StopIteration as end:
            return b"%b%d %b" % (RECORD, tokens, end.value.to_bytes())


def forget(job: bytes) -> None:
    """Closes the model of a job."""
    with _alone:
        _kept.pop(job, None)


def _scanner(given: bytes, sharing: int) -> Scanner:
    """The open model of a job. Raises ContentError and UsageError."""
    if given in _kept:
        return _kept[given]
    job = Job.from_json(given)
    model = load(job.model, ignore_config=job.ignore_config, adapter=job.adapter)
    if digest_of(model) != job.model_digest:
        raise ContentError(f"it has another model called {shorten(job.model)}", _COPY)
    if digests_of(tuple(job.masks)) != job.masks:
        raise ContentError("it has no file of --mask, or another one", _COPY)
    while len(_kept) >= _MOST:
        del _kept[next(iter(_kept))]
    _kept[given] = Scanner(replace(job, max_memory=_share(job, sharing)), model)
    return _kept[given]


def _share(job: Job, sharing: int) -> int:
    """The bytes that may be taken here."""
    from distributed import get_worker

    limit = get_worker().memory_manager.memory_limit
    allowed = machine.allowed(job.max_memory) // sharing
    return max(1, min(allowed, int(limit) // 2) if limit else allowed)
