"""How long a cold `attn` takes, as a ratio to the imports it cannot do without.

    python tests/benchmarks/cold_start.py [runs]

Every command runs in a fresh process, in turn with its floor, so that a machine whose speed drifts
slows both alike. Prints the median of each and of the pairwise ratios; nothing is asserted.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

PYTHON = sys.executable
ATTN = str(Path(PYTHON).with_name("attn"))
# What pip installs has its bytecode, and a working tree has it after the first round.
ENVIRONMENT = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
PROMPT = "the greatest thinker in China is"
TYPER = (PYTHON, "-c", "import typer")
ALL_THREE = (PYTHON, "-c", "import numpy, rich.table, typer")
TABLE = (ATTN, "trace", PROMPT)
PAIRS = (
    ("attn trace, all tables", TABLE, "import numpy, rich.table, typer", ALL_THREE),
    (
        "attn trace --json, all layers and heads",
        (ATTN, "trace", PROMPT, "--layer", "all", "--head", "all", "--json"),
        "attn trace, all tables",
        TABLE,
    ),
    ("attn --version", (ATTN, "--version"), "import typer", TYPER),
    ("attn --help", (ATTN, "--help"), "import typer", TYPER),
)


def seconds(command: tuple[str, ...]) -> float:
    start = time.perf_counter()
    subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, check=True, env=ENVIRONMENT
    )
    return time.perf_counter() - start


def main(runs: int) -> None:
    print(f"{'command':<42}{'median':>9}   {'floor':<34}{'median':>9}{'ratio':>8}")
    for name, command, floor_name, floor in PAIRS:
        seconds(command), seconds(floor)
        pairs = [(seconds(command), seconds(floor)) for _ in range(runs)]
        medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"{name:<42}{medians[0]:>8.3f}s   {floor_name:<34}{medians[1]:>8.3f}s{ratio:>7.2f}×")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
