"""How fast a scan is: beside a bare loop of `session.trace`, and on several workers.

    PYTHONPATH=tests python tests/benchmarks/scan.py [--model tiny] [--text FILE]
        [--prompts 200] [--workers 1,2] [--clusters 1,2]

One thread each. In one process three loops over the same prompts take turns with a scan of them:
of `session.trace` as it is, of one that keeps the weights alone, and of one that keeps nothing.
Then worker processes scan the file, start-up excluded: the clock runs from when all of them have
the model open. With --clusters so do real Dask schedulers and workers. Nothing is asserted.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median

from clusters import cluster
from processes import machine

from attn_cli import session, vocabulary
from attn_cli.maths import cores
from attn_cli.scanning.cluster import on_cluster
from attn_cli.scanning.corpus import Corpus, Part, corpus
from attn_cli.scanning.engines import Done, Engine, Working
from attn_cli.scanning.job import Job, digest_of
from attn_cli.scanning.measuring import Scanner
from attn_cli.scanning.workers import on_workers

ROOT = Path(__file__).parents[2]
_TURNS = 5


def job_of(model: str) -> Job:
    typed = {name: one.neutral for name, one in vocabulary.WHAT_IFS.items()}
    return Job(model=model, what_if={n: list(v) if v == () else v for n, v in typed.items()})


def some(read: Corpus, count: int) -> tuple[list[Part], int]:
    """Parts with so many prompts or a little more, and how many these are."""
    found, pieces = [], 0
    for part in read.parts():
        found.append(part)
        pieces += len(part.pieces)
        if pieces >= count:
            break
    return found, pieces


def beside_loops(model: str, read: Corpus, count: int) -> None:
    """Tokens a second of a scan and of loops over the same prompts."""
    scanner, opened = Scanner(job_of(model)), session.load(model)
    parts, _ = some(read, count)
    texts = [piece.text for part in parts for piece in part.pieces]

    def scan() -> int:
        return sum(tokens for part in parts for tokens in scanner.scan(part))

    def loop(**options: object) -> Callable[[], int]:
        def run() -> int:
            traces = (session.trace(text, model=opened, **options) for text in texts)
            return sum(len(found.prompt.tokens) for found in traces)

        return run

    loops = {
        "scan": scan,
        "trace(text)": loop(),
        "trace(text, arrays=('weights',))": loop(arrays=("weights",)),
        "trace(text, arrays=(), next=False)": loop(arrays=(), next=False),
    }
    speeds: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(_TURNS + 1):
        for name, run in loops.items():
            began = time.process_time()
            tokens = run()
            if turn:  # the first one opens files
                speeds[name].append(tokens / (time.process_time() - began))
    own = median(speeds["scan"])
    print(f"{model}: {len(texts)} prompts, tokens a second of one core's time")
    for name, found in speeds.items():
        print(f"  {name:36} {median(found):9,.0f}   scan is {own / median(found):.2f} of it")


def on_engine(engine: Engine, parts: Iterator[Part], count: int) -> tuple[float, float]:
    """Tokens a second from when so many are at work to the end, and for how long."""
    began, tokens = 0.0, 0
    for event in engine(parts):
        if isinstance(event, Working) and event.count == count and not began:
            began = time.perf_counter()
        elif isinstance(event, int) and began:
            tokens += event
        elif isinstance(event, Done):
            ended = time.perf_counter()
    return tokens / (ended - began), ended - began


def in_turns(kind: str, engines: Mapping[int, Callable[[], Engine]], read: Corpus, parts: int
             ) -> None:  # fmt: skip
    """Tokens a second of engines of so many workers each."""
    speeds: dict[int, list[float]] = {count: [] for count in engines}
    for _ in range(_TURNS):
        for count, engine in engines.items():
            speeds[count].append(on_engine(engine(), islice(read.parts(), parts), count)[0])
    first = median(next(iter(speeds.values())))
    print(f"tokens a second of {kind}, one thread each")
    for count, found in speeds.items():
        each = " ".join(f"{one:,.0f}" for one in found)
        print(f"  {count} {median(found):9,.0f}   {median(found) / first:.2f} times ({each})")


def on_clusters(job: Job, read: Corpus, counts: list[int], parts: int) -> None:
    """Each of its own scheduler and workers, which wait while others work."""
    whole = replace(job, model_digest=digest_of(session.load(job.model)))
    with ExitStack() as stack:
        engines = {}
        for count in counts:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            there = stack.enter_context(cluster(folder, count))
            engines[count] = partial(on_cluster, whole, there.address)
        time.sleep(5)  # until all have come
        in_turns("workers of Dask clusters", engines, read, parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--text", default=str(ROOT / "samples" / "corpus.txt"))
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--parts", type=int, default=1000)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--clusters", default="")
    options = parser.parse_args()
    cores.use(1)
    read = corpus([options.text])
    print(machine())
    if options.prompts:
        beside_loops(options.model, read, options.prompts)
    job = job_of(options.model)
    if counts := [int(count) for count in options.workers.split(",") if count]:
        engines = {count: partial(on_workers, job, count, count) for count in counts}
        in_turns("worker processes", engines, read, options.parts)
    if counts := [int(count) for count in options.clusters.split(",") if count]:
        on_clusters(job, read, counts, options.parts)


if __name__ == "__main__":
    main()
