"""The environments of the peers that table.py measures beside attn.

    python tests/benchmarks/peers.py DIR [NAME ...]

Makes DIR/NAME for each peer that is not there yet, and says which versions each holds. torch comes
from wherever pip is told to look; a build for CPUs is enough, and far smaller:
PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu. llama.cpp is compiled here, which takes
cmake, a C++ compiler and minutes.
"""

import subprocess
import sys
import venv
from pathlib import Path

_TORCH = ("torch==2.13.0", "transformers==5.24.0", "numpy==2.4.6")
PEERS = {
    "transformers": _TORCH,
    "transformer-lens": ("transformer-lens==4.3.0", *_TORCH),
    "llama-cpp": ("llama-cpp-python==0.3.36", "numpy==2.4.6"),
    "glassllm": ("glassllm==0.1.0", "numpy==2.4.6"),
}
_VERSIONS = """
import importlib.metadata, sys
print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in sys.argv[1:]))
"""


def python_of(place: Path, name: str) -> Path:
    return place / name / "bin" / "python"


def versions(place: Path, name: str) -> str:
    """What an environment holds of its packages. Raises where one is missing."""
    names = [package.partition("==")[0] for package in PEERS[name]]
    command = [python_of(place, name), "-c", _VERSIONS, *names]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def make(place: Path, name: str) -> None:
    """Makes or completes an environment. Raises CalledProcessError with what pip said."""
    if not python_of(place, name).exists():
        venv.create(place / name, with_pip=True, symlinks=True)
    command = [python_of(place, name), "-m", "pip", "install", "--quiet", *PEERS[name]]
    subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def main() -> int:
    if len(sys.argv) < 2 or not set(sys.argv[2:]) <= set(PEERS):
        print(f"usage: peers.py DIR [{' | '.join(PEERS)} ...]", file=sys.stderr)
        return 2
    place, failed = Path(sys.argv[1]), False
    for name in sys.argv[2:] or PEERS:
        try:
            make(place, name)
            print(f"{name}: {versions(place, name)}", flush=True)
        except subprocess.CalledProcessError as error:
            failed = True
            print(f"{name}: failed\n{(error.stdout or error.stderr or '')[-2000:]}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
