"""Where the time goes: attn beside the products that it cannot do without, by threads and tokens.

    python tests/benchmarks/shares.py [--threads 1,2,4] [--tokens 6,128,512,2048] [--json FILE]
    python tests/benchmarks/shares.py --memory [--lengths 512,1024,2048,4096,8192]

Makes a random float32 folder of a Llama shape (SmolLM2-135M's unless options say otherwise), or
takes one with --folder. For each count of threads one process traces every layer and keeps its
weights, and one does nothing but the products, with BLAS's own threads; all take turns. `serial`
is the share of attn's time on one thread that more threads do not shorten, by Amdahl's law:
(n·tₙ − t₁) / (n − 1) / t₁; after the slash the same of the products alone, which is what this
machine and BLAS leave to be reached. With --memory: the peak memory of a process that traces so
many tokens, and the exponent with which it grows. Nothing is asserted.
"""

import argparse
import json
import math
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from made import SMOLLM2, Shape, make, shape_of
from processes import HERE, OURS, Trouble, Worker, in_turn, machine, median

PRODUCTS = (OURS[0], str(HERE / "products.py"))
Rows = list[dict[str, Any]]


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def ids_of(shape: Shape, count: int) -> list[int]:
    return random.Random(0).choices(range(10, shape.vocabulary), k=count)


def threaded(count: int) -> dict[str, str]:
    names = ("ATTN_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return dict.fromkeys(names, str(count))


@contextmanager
def folder_of(options: argparse.Namespace) -> Iterator[tuple[Path, Shape]]:
    """The folder that is measured, made for this run unless there is one."""
    if options.folder:
        yield options.folder, shape_of(options.folder)
        return
    sizes = {name: getattr(options, name) for name in Shape._fields if name != "tied"}
    shape = Shape(**sizes, tied=not options.untied)
    with tempfile.TemporaryDirectory() as place:
        make("folder", Path(place) / "model", shape, "F32")
        yield Path(place) / "model", shape


# --- time ----------------------------------------------------------------------------------------


def shares(options: argparse.Namespace, folder: Path, shape: Shape) -> dict[str, Any]:
    cores = machine()["cores"]
    for count in (count for count in options.threads if count > cores):
        print(f"{count} threads: left out, this process may use {cores} cores")
    threads = [count for count in options.threads if count <= cores]
    rows: Rows = []
    with ExitStack() as stack:
        workers = {}
        for count in threads:
            for name, command in (("ours", OURS), ("products", (*PRODUCTS, json.dumps(shape)))):
                worker = stack.enter_context(Worker(command, threaded(count)))
                workers[name, count] = worker
        about = {f"{name}, {count} threads": w.about for (name, count), w in workers.items()}
        print(
            f"{'tokens':>6}{'threads':>9}{'ours':>11}{'products':>11}{'ratio':>8}"
            f"{'products':>10}{'all else':>10}{'serial /':>10}"
        )
        for tokens in options.tokens:
            rows += _of_tokens(options, workers, threads, str(folder), ids_of(shape, tokens))
    return {"rows": rows, "processes": about}


def _of_tokens(
    options: argparse.Namespace,
    workers: dict[tuple[str, int], Worker],
    threads: Sequence[int],
    folder: str,
    ids: list[int],
) -> Rows:
    calls: dict[Any, Callable[[], dict[str, Any]]] = {}
    for count in threads:
        calls["ours", count] = partial(workers["ours", count].ask, "warm", path=folder, ids=ids)
        ask = partial(workers["products", count].ask, "products", tokens=len(ids))
        calls["products", count] = ask
    turns = in_turn(calls, options.runs, warm_up=True)
    rows: Rows = []
    for count in threads:
        row = {"tokens": len(ids), "threads": count}
        for name in ("ours", "products"):
            if (name, count) in turns.failed:
                row["failed"] = f"{name}: {turns.failed[name, count]}"
                continue
            found = turns.found[name, count]
            row[name], row[f"{name}_all"] = median(found, "seconds"), found
        if "failed" not in row:
            row |= _derived(row, [*rows, row])
        rows.append(row)
        _print(row)
    return rows


def _derived(row: dict[str, Any], rows: Rows) -> dict[str, float]:
    count, found = row["threads"], {"ratio": row["ours"] / row["products"]}
    found["products_share"] = row["products"] / row["ours"]
    found["other_share"] = 1 - found["products_share"]
    for name, key in (("ours", "serial_share"), ("products", "serial_share_of_products")):
        alone = next((r[name] for r in rows if r["threads"] == 1 and name in r), None)
        if alone and count > 1:
            found[key] = (count * row[name] - alone) / (count - 1) / alone
    return found


def _print(row: dict[str, Any]) -> None:
    text = f"{row['tokens']:>6}{row['threads']:>9}"
    if "failed" in row:
        print(f"{text}   {row['failed']}", flush=True)
        return
    text += f"{row['ours']:>9.4f} s{row['products']:>9.4f} s{row['ratio']:>7.2f}×"
    text += f"{row['products_share']:>10.0%}{row['other_share']:>10.0%}"
    if "serial_share" in row and "serial_share_of_products" in row:
        text += f"{row['serial_share']:>8.0%} /{row['serial_share_of_products']:>4.0%}"
    print(text, flush=True)


# --- memory --------------------------------------------------------------------------------------


def growth(options: argparse.Namespace, folder: Path, shape: Shape) -> dict[str, Any]:
    rows: Rows = []
    print(f"{'tokens':>6}{'seconds':>11}{'peak MiB':>11}{'above MiB':>11}   kept: {options.arrays}")
    for length in options.lengths:
        asked = {"ids": ids_of(shape, length), "arrays": options.arrays.split(",")}
        row: dict[str, Any] = {"tokens": length}
        try:
            with Worker(OURS) as worker:
                row |= worker.ask("memory", path=str(folder), **asked)
                row |= {"above": row["mib"] - row["before"], "process": worker.about}
        except Trouble as trouble:
            row["failed"] = str(trouble)
            print(f"{length:>6}   {trouble}", flush=True)
        else:
            print(
                f"{length:>6}{row['seconds']:>9.2f} s{row['mib']:>11.0f}{row['above']:>11.0f}",
                flush=True,
            )
        rows.append(row)
    done = [row for row in rows if "failed" not in row]
    exponents = {key: exponent(done, key) for key in ("mib", "above", "seconds")}
    if len(done) > 1:
        print(
            f"grows with the length to the power of: peak {exponents['mib']:.2f}, what the pass "
            f"adds {exponents['above']:.2f}, seconds {exponents['seconds']:.2f}"
        )
    return {"rows": rows, "exponents": exponents, "arrays": options.arrays}


def exponent(rows: Rows, key: str) -> float:
    """The slope of log(value) over log(tokens), by least squares."""
    points = [(math.log(row["tokens"]), math.log(max(row[key], 1e-9))) for row in rows]
    if len(points) < 2:
        return math.nan
    middle = [sum(axis) / len(points) for axis in zip(*points, strict=True)]
    above = sum((x - middle[0]) * (y - middle[1]) for x, y in points)
    return above / sum((x - middle[0]) ** 2 for x, _ in points)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=numbers, default=[1, 2])
    parser.add_argument("--tokens", type=numbers, default=[6, 128, 512, 2048])
    parser.add_argument("--runs", type=int, default=5, help="rounds, after one to warm up")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--lengths", type=numbers, default=[512, 1024, 2048, 4096, 8192])
    parser.add_argument("--arrays", default="output", help="what --memory keeps of every layer")
    parser.add_argument("--folder", type=Path, help="a Llama-shaped folder; else one is made")
    parser.add_argument("--untied", action="store_true", help="an output matrix of its own")
    for name, size in SMOLLM2._asdict().items():
        if name != "tied":
            parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=size)
    parser.add_argument("--json", type=Path, help="every number and what made it")
    options = parser.parse_args()
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores")
    with folder_of(options) as (folder, shape):
        measure = growth if options.memory else shares
        found = {"machine": here, "shape": shape._asdict(), **measure(options, folder, shape)}
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
