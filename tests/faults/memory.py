"""One run of attn in a process that tells how much memory it has had, or one that only imports.

    python memory.py FILE import|ARGUMENT…

FILE gets the exit code and the peak of the resident memory in bytes.
"""

import os
import re
import sys
from importlib import import_module
from pathlib import Path

from attn_cli.maths import cores

if __name__ == "__main__":
    place, *arguments = sys.argv[1:]
    cores.before_numpy()
    from attn_cli.cli import app

    if arguments == ["import"]:
        for name in ("analysis.why", "opening.load", "views.table"):
            import_module(f"attn_cli.{name}")
        code = 0
    else:
        code = app.run(arguments)
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    Path(place).write_text(f"{code} {1024 * int(peak[1])}")
    os._exit(0)
