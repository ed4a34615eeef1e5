"""Memory that is used again."""

import subprocess
import sys

import pytest

from attn_cli.maths import scratch

# Four arrays of a MiB, thrown away together: how often the system was asked for a page of one.
THROWN_AWAY = """
import resource
import numpy as np
{first}
for time in range(65):
    if time == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    [np.ones(1 << 20, np.uint8) for _ in range(4)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages_asked_for(first: str) -> int:
    code = THROWN_AWAY.format(first=first)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not scratch._trim(), reason="glibc alone has such thresholds")
def test_what_is_thrown_away_is_not_fresh_memory_each_time() -> None:
    assert pages_asked_for("from attn_cli.maths import scratch") < 64 * 4 * 256 / 8
