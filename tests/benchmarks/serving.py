"""A worker's side: one measurement for each line of JSON that comes in, and its answer.

Imports only the standard library, so that the environment of every peer can.
"""

import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")


def peak_mib(field: str = "VmHWM") -> float:
    """The most memory that this process has held; with `VmRSS`, what it holds."""
    if STATUS.exists():
        lines = (line.split() for line in STATUS.read_text().splitlines())
        return next(int(line[1]) / 1024 for line in lines if line[0] == f"{field}:")
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def serve(about: dict[str, Any], answers: dict[str, Callable[..., dict[str, Any]]]) -> None:
    """Says what this process is, then answers `{"do": NAME, …}` until its input ends."""
    # Libraries print where they like; the answers keep a way out of their own.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps({"python": sys.version.split()[0], **about}), file=out, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            found = answers[request.pop("do")](**request)
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({"mib": peak_mib(), **found}), file=out, flush=True)
