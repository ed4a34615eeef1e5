"""Digests of what the commands print, to hold two versions of attn against each other.

    python tests/digests.py --keep /tmp/before > before.txt      # with one version installed
    python tests/digests.py --keep /tmp/after > after.txt        # with the other
    diff before.txt after.txt

One line per run: the SHA-256 of exit code, stdout and stderr, and the command. Every golden model
and `tiny` go through trace, heads, mask, sample and loss in every format that each writes, with
some of the options that change numbers. `--keep` also writes what was printed, to see what differs.
"""

import argparse
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"
IDS = "--ids=5,6,7,5,9,11,2"
WHAT_IF = ("--mask=window:2", "--attention-temperature=1.5", "--without-head=0.1")
RUNS = {
    "trace": ("table", "json", "ndjson", "csv", "npz"),
    "heads": ("table", "json", "ndjson"),
    "mask": ("table", "json", "ndjson"),
    "sample": ("table", "json", "ndjson"),
    "loss": ("table", "json", "ndjson"),
}
OPTIONS = {
    "trace": ("--layer=all", "--head=all", "--parameters", "--full"),
    "sample": ("--seed=7", "--temperature=1.3", "--top-k=5"),
}
# Beside the plain run of each: one table more, under changed settings.
OTHERS = {
    "trace": (("--layer=1", *WHAT_IF), ("--step=1", "--layout=columns"), ("--max-tokens=3",)),
    "heads": (("--layer=1", *WHAT_IF), ("--layout=columns", "--head=0")),
    "mask": (("--mask=window:2", "--mask=block:3:1", "--layer=1"), ("--mask=none",)),
    "sample": (("--seed=7", "--max-tokens=4"), ("--seed=7", "--draws=50", "--sweep=0,1,2")),
}


def commands() -> list[tuple[str, ...]]:
    """Every run, as arguments of `attn`."""
    found = []
    models = sorted(path.parent.name for path in GOLDEN.glob("*/model.safetensors"))
    for model, prompt in [*((name, (IDS,)) for name in models), ("tiny", ("the king is a man",))]:
        for command, formats in RUNS.items():
            start = (command, *prompt, f"--model={model}")
            for kind in formats:
                found.append((*start, f"--format={kind}", *OPTIONS.get(command, ())))
            found += [(*start, *others) for others in OTHERS.get(command, ())]
    return found


def run(arguments: tuple[str, ...]) -> bytes:
    """Exit code, stdout and stderr of one run."""
    env = {**os.environ, "COLUMNS": "80", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "attn_cli", *arguments], cwd=GOLDEN, env=env, capture_output=True,
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return b"%d\n" % done.returncode + done.stdout + b"\0" + done.stderr


def main() -> None:
    """Runs everything, two at a time, and prints in the order of the list."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--keep", type=Path, help="a folder for what was printed")
    keep = options.parse_args().keep
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        for arguments, printed in zip(commands(), pool.map(run, commands()), strict=True):
            name = " ".join(arguments)
            sys.stdout.write(f"{hashlib.sha256(printed).hexdigest()}  {name}\n")
            if keep:
                (keep / name.replace("/", "_")).write_bytes(printed)


if __name__ == "__main__":
    main()
