"""Memory that is used again, and numpy's buffers."""

import subprocess
import sys

import numpy as np
import pytest

from attn_cli.maths import scratch
from attn_cli.maths.layers import layer_norm, rms_norm

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


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("length", [scratch._LONG - 1, scratch._LONG])
def test_numpy_copies_nothing_along_long_axes_and_forgets_that_afterwards(
    order: str, length: int
) -> None:
    shape = (3, length) if order == "C" else (length, 300)
    before = np.getbufsize(), np.geterr()
    with scratch.unbuffered(np.empty(shape, np.float32, order), over="raise"):
        assert np.getbufsize() == (16 if length == scratch._LONG else before[0])
        assert np.geterr()["over"] == "raise"
    assert (np.getbufsize(), np.geterr()) == before


@pytest.mark.parametrize("order", ["C", "F"])
def test_norms_along_long_axes_are_those_of_each_vector(order: str) -> None:
    """A vector by itself is a short axis by columns."""
    rng = np.random.default_rng(0)
    x_PM = np.asarray(rng.normal(0, 3, (300, 400)), np.float32, order=order)
    gain, bias = rng.normal(1, 0.1, (2, 400)).astype(np.float32)
    plain = x_PM.astype(np.float64)
    centred = plain - plain.mean(axis=1, keepdims=True)
    wanted = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5) * gain + bias
    assert np.abs(layer_norm(x_PM, gain, bias, 1e-5) - wanted).max() < 2e-5
    wanted = plain / np.sqrt((plain**2).mean(axis=1, keepdims=True) + 1e-5) * gain
    assert np.abs(rms_norm(x_PM, gain, 1e-5) - wanted).max() < 2e-5
