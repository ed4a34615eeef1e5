"""How a scan grows with its corpus, and what that comes to for a billion tokens.

    PYTHONPATH=tests python tests/benchmarks/scan_growth.py [--model tiny] [--text FILE]
        [--sample 8192] [--each 64]

Of a sample of so many tokens, as the lines have them or cut to `--each` tokens: time and memory
against the length of prompts and against how many there are, with the exponents that fit best; what
a part moves and what merging it costs; what these come to for a billion tokens on so many workers;
and the same plan of runs that are made here, in 1, 2 and 4 parts on as many worker processes, at
most two, beside their time from when all have the model open. One thread each. Memory is the peak
of what Python and numpy hold, above what they hold before. Nothing is asserted.
"""

import argparse
import itertools
import math
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from processes import machine
from scan import ROOT, job_of

from attn_cli.maths import cores
from attn_cli.scanning.corpus import Part, Piece, corpus, part_of
from attn_cli.scanning.engines import Done, Working, in_process
from attn_cli.scanning.measuring import Scanner
from attn_cli.scanning.records import Record, read
from attn_cli.scanning.run import scan
from attn_cli.scanning.saved import TOGETHER
from attn_cli.scanning.workers import on_workers
from attn_cli.writing import write_bytes

_PART = 1 << 16  # bytes of text of a part of a corpus that is large
_BILLION = 10**9


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
            write_bytes(Path(folder) / "0.part", data)

    with tempfile.TemporaryDirectory() as folder:
        merge()
        merging = seconds(merge, 5, time.perf_counter) / len(records)
    merging += seconds(whole.to_bytes, 5) / TOGETHER
    large = tokens * _PART / size
    sent = len(parts[0].to_json()) * _PART * len(parts) // size
    given = max(map(len, records))
    print(
        f"\n  of a part of {large:,.0f} tokens: {large / speed:.2f} s of a worker at {speed:,.0f} "
        f"tokens/s;\n  {sent:,} bytes to it, {given:,} back (of {tokens // len(parts):,} tokens: "
        f"those of more are larger);\n  {merging * 1000:.2f} ms to read, merge and save these"
    )
    return Costs(speed, large, sent, given, merging)


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
    parser.add_argument("--sample", type=int, default=8192)
    parser.add_argument("--each", type=int, default=0)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    cores.use(1)
    print(machine())
    growth(options)


if __name__ == "__main__":
    main()
