"""How fast a scan is: beside a bare loop of `session.trace`, and on several workers.

    python tests/benchmarks/scan.py [--model tiny] [--text FILE] [--prompts 200] [--workers 1,2]
    python tests/benchmarks/scan.py --growth [--model tiny] [--sample 8192] [--each 64]

One thread each. In one process three loops over the same prompts take turns with a scan of them:
of `session.trace` as it is, of one that keeps the weights alone, and of one that keeps nothing.
Then worker processes scan the file, start-up excluded: the clock runs from when all of them have
the model open. Nothing is asserted.

With `--growth`, of `--sample` tokens, as the lines have them or cut to `--each` tokens: time and
memory against the length of prompts and against how many there are, with the exponents that fit
best; what a part moves and what merging it costs; what these come to for a billion tokens on so
many workers; and the same plan of runs that are made here, in 1, 2 and 4 parts, beside their time.
Memory is the peak of what Python and numpy hold, above what they hold before.
"""

import argparse
import itertools
import math
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from processes import machine

from attn_cli import files, session, vocabulary
from attn_cli.maths import cores
from attn_cli.scanning.corpus import Corpus, Part, Piece, corpus, part_of
from attn_cli.scanning.engines import Done, Engine, Working, in_process
from attn_cli.scanning.job import Job
from attn_cli.scanning.measuring import Scanner
from attn_cli.scanning.records import Record, read
from attn_cli.scanning.run import scan
from attn_cli.scanning.saved import TOGETHER
from attn_cli.scanning.workers import on_workers

ROOT = Path(__file__).parents[2]
_TURNS = 5
_PART = 1 << 16  # bytes of text of a part of a corpus that is large
_BILLION = 10**9


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


def on_processes(model: str, read: Corpus, counts: list[int], parts: int) -> None:
    """Tokens a second of workers, in turns."""
    speeds: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(_TURNS):
        for count in counts:
            engine = on_workers(job_of(model), count, count)
            speeds[count].append(on_engine(engine, islice(read.parts(), parts), count)[0])
    first = median(speeds[counts[0]])
    print(f"{model}: tokens a second of worker processes, one thread each")
    for count, found in speeds.items():
        print(f"  {count} workers {median(found):9,.0f}   {median(found) / first:.2f} times")


# --- growth --------------------------------------------------------------------------------------


class Costs(NamedTuple):
    """What a plan is made of: tokens a second of a worker, tokens of a part, bytes that go to a
    worker and come back, seconds that it takes to read, merge and keep its record."""

    speed: float
    tokens: float
    sent: int
    given: int
    merging: float

    def seconds(self, tokens: float, workers: int, parts: int) -> tuple[float, float]:
        """How long the workers need, and how long the one who merges."""
        each = tokens / parts / self.speed
        return math.ceil(parts / workers) * each, parts * self.merging


def exponent(sizes: Sequence[float], found: Sequence[float]) -> float:
    """The slope of the straight line that fits best to the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(found), 1)[0])


def peak(run: Callable[[], object]) -> float:
    """MiB that are held at most, above what is held before."""
    tracemalloc.start()
    run()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 2**20


def seconds(
    run: Callable[[], object], turns: int, clock: Callable[[], float] = time.process_time
) -> float:
    """The median of this process's seconds."""
    found = []
    for _ in range(turns):
        began = clock()
        run()
        found.append(clock() - began)
    return median(found)


def table(title: str, sizes: Sequence[int], times: list[float], held: list[float]) -> None:
    print(f"\n  {title:>10} {'seconds':>10} {'MiB':>8}")
    for row in zip(sizes, times, held, strict=True):
        print("  {:10,} {:10.4f} {:8.2f}".format(*row))
    told = [f"{exponent(sizes, of):.2f} (last step {exponent(sizes[-2:], of[-2:]):.2f})"
            for of in (times, held)]  # fmt: skip
    print(f"  grows with the power of: seconds {told[0]}, MiB {told[1]}")


def against_length(scanner: Scanner, text: str, sample: int, turns: int) -> None:
    """Seconds of a prompt, memory of a scan: the same text, cut to prompts of so many tokens."""
    tokens = scanner.model.tokenizer.encode(text, special=False)
    most = min(scanner.model.facts.context or sample, sample)
    sizes = [size for size in (16, 32, 64, 128, 256, 512) if size <= most]
    times, held = [], []
    for size in sizes:
        cut = Scanner(replace(scanner.job, chunk=size), scanner.model)
        count = max(1, sample // 4 // size)
        some = text[: tokens[min(count * size, len(tokens)) - 1].span[1]]
        part = part_of(0, [Piece("text", 1, some)], 0)

        def run(cut: Scanner = cut, part: Part = part) -> None:
            for _ in cut.scan(part):
                pass

        for _ in cut.scan(part_of(0, [Piece("text", 1, text[:40])], 0)):
            pass  # what is read of the model stays
        held.append(peak(run))
        times.append(seconds(run, turns) / count)
    table("tokens", sizes, times, held)


def against_prompts(scanner: Scanner, lines: list[str], prompts: int) -> None:
    """Seconds and memory of a whole scan, its parts read and merged."""
    sizes = [prompts // 8, prompts // 4, prompts // 2, prompts]
    times, held = [], []
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            path = Path(folder) / f"{size}.txt"
            path.write_text("\n".join((lines * (1 + size // len(lines)))[:size]))

            def run(path: Path = path) -> None:
                found = corpus([str(path)])
                for _ in scan(found, scanner.job.digest, scanner.shape, in_process(scanner)):
                    pass

            held.append(peak(run))
            times.append(seconds(run, 1))
    table("prompts", sizes, times, held)


def costs(scanner: Scanner, lines: list[str], turns: int) -> Costs:
    """Measures a few parts, and merges their records as if they were many."""
    pieces = [Piece("text.txt", number, line) for number, line in enumerate(lines, 1)]
    parts = [part_of(number, pieces[number::4], 0) for number in range(4)]
    records: list[bytes] = []
    tokens = 0

    def measure() -> None:
        nonlocal tokens
        records.clear()
        tokens = 0
        for event in in_process(scanner)(iter(parts)):
            tokens += event if isinstance(event, int) else 0
            records.extend([event.record] if isinstance(event, Done) else [])

    took = seconds(measure, turns)
    speed = tokens / took
    size = sum(len(piece.text.encode()) for piece in pieces)
    job, shape = scanner.job.digest, scanner.shape
    whole = Record(job, shape)

    def merge() -> None:
        for data in records:
            one = read(data, job, shape)
            one.parts = {len(whole.parts): ""}
            whole.merge(one)
            files.write_bytes(Path(folder) / "0.part", data)

    with tempfile.TemporaryDirectory() as folder:
        merge()
        merging = seconds(merge, 5, time.perf_counter) / len(records)
    merging += seconds(whole.to_bytes, 5) / TOGETHER
    large = tokens * _PART / size
    sent = len(parts[0].to_json()) * _PART * len(parts) // size
    print(f"\n  of a part: {large:,.0f} tokens, {large / speed:.2f} s of a worker at {speed:,.0f} "
          f"tokens/s; {sent:,} bytes to it,\n  {max(map(len, records)):,} back, "
          f"{merging * 1000:.2f} ms to read and merge it and to keep it with {TOGETHER - 1} others"
          f"; all together are {len(whole.to_bytes()):,} bytes")  # fmt: skip
    return Costs(speed, large, sent, max(map(len, records)), merging)


def plan(costs: Costs) -> None:
    parts = math.ceil(_BILLION / costs.tokens)
    sent, given = (parts * of / 1e9 for of in (costs.sent, costs.given))
    busy = costs.tokens / costs.speed / costs.merging
    print(f"\n  a billion tokens: {parts:,} parts, {sent:.1f} GB to workers, {given:.1f} GB back; "
          f"more than {busy:,.0f} workers\n  would wait for the merging")  # fmt: skip
    print(f"  {'workers':>10} {'hours':>10} {'merging':>10}")
    for workers in (1, 16, 64, 256, 1024):
        work, merging = (s / 3600 for s in costs.seconds(_BILLION, workers, parts))
        print(f"  {workers:10,} {max(work, merging):10.2f} {merging:10.2f}")


def beside_plan(scanner: Scanner, lines: list[str], found: Costs) -> None:
    """Runs that are made here, on a worker for each part and at most two."""
    print(
        f"\n  {'parts':>10} {'workers':>8} {'planned s':>10} {'measured s':>11} {'bytes back':>11}"
    )
    job, shape = scanner.job.digest, scanner.shape
    for count in (1, 2, 4):
        pieces = [Piece("text.txt", number, line) for number, line in enumerate(lines, 1)]
        parts = [part_of(number, pieces[number::count], 0) for number in range(count)]
        whole, workers = Record(job, shape), min(count, 2)
        engine = on_workers(scanner.job, workers, workers)
        began = ended = 0.0
        back = 0
        for event in engine(iter(parts)):
            if isinstance(event, Working) and event.count == workers and not began:
                began = time.perf_counter()
            elif isinstance(event, Done):
                back += len(event.record)
                whole.merge(read(event.record, job, shape))
                ended = time.perf_counter()
        planned = sum(found.seconds(whole.tokens, workers, count))
        print(f"  {count:10} {workers:10} {planned:10.2f} {ended - began:10.2f} {back:10,}")


def prompts_of(scanner: Scanner, text: str, each: int) -> list[str]:
    """The lines of a text, or all of it cut to prompts of so many tokens."""
    if not each:
        return [line for line in text.split("\n") if line.strip()]
    tokens = scanner.model.tokenizer.encode(text, special=False)
    ends = [0, *(token.span[1] for token in tokens[each - 1 :: each])]
    return [" ".join(text[a:b].split()) for a, b in itertools.pairwise(ends)]


def growth(options: argparse.Namespace) -> None:
    scanner, text = Scanner(job_of(options.model)), Path(options.text).read_text()
    sample, turns = options.sample, options.turns
    lines = prompts_of(scanner, text[: 1 << 16], options.each)
    whole = sum(len(scanner.model.tokenizer.encode(line)) for line in lines)
    count = max(8, int(sample * len(lines) / whole) // 8 * 8)
    some = (lines * (1 + count // len(lines)))[:count]
    print(f"{options.model}: a sample of {sample:,} tokens, or {count:,} prompts; one thread")
    for _ in scanner.scan(part_of(0, [Piece("text", 1, some[0])], 0)):
        pass  # what is read of the model stays
    against_length(scanner, text, sample, turns)
    against_prompts(scanner, some, count)
    found = costs(scanner, some, turns)
    plan(found)
    beside_plan(scanner, some, found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--text", default=str(ROOT / "samples" / "corpus.txt"))
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--parts", type=int, default=1000)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--sample", type=int, default=8192)
    parser.add_argument("--each", type=int, default=0)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    cores.use(1)
    print(machine())
    if options.growth:
        growth(options)
        return
    read = corpus([options.text])
    beside_loops(options.model, read, options.prompts)
    on_processes(options.model, read, [int(n) for n in options.workers.split(",")], options.parts)


if __name__ == "__main__":
    main()
