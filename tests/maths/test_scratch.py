"""Memory that is used again, and numpy's buffers."""

import os
import subprocess
import sys

import numpy as np
import pytest

from attn_cli.maths import scratch
from attn_cli.maths.layers import layer_norm, rms_norm

# Four arrays of half a MiB, thrown away together: how often the system was asked for a page of one.
THROWN_AWAY = """
import resource
import numpy as np
{first}
for time in range(65):
    if time == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    [np.ones(1 << 19, np.uint8) for _ in range(4)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages_asked_for(first: str) -> int:
    code = THROWN_AWAY.format(first=first)
    own = {name: text for name, text in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=own, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not scratch._trim(), reason="glibc alone has such thresholds")
def test_what_is_thrown_away_is_not_fresh_memory_each_time() -> None:
    assert pages_asked_for("from attn_cli.maths import scratch") < 64 * 4 * 128 / 8


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("length", [scratch._LONG - 1, scratch._LONG])
def test_buffers_are_small_along_long_axes_and_as_they_were_afterwards(
    order: str, length: int
) -> None:
    shape = (3, length) if order == "C" else (length, 300)
    before = np.getbufsize(), np.geterr()
    with scratch.unbuffered(np.empty(shape, np.float32, order), over="raise"):
        small = scratch._COPIES and length == scratch._LONG
        assert np.getbufsize() == (16 if small else before[0])
        assert np.geterr()["over"] == "raise"
    assert (np.getbufsize(), np.geterr()) == before


@pytest.mark.parametrize("size", [16, 2048])
def test_the_size_of_buffers_changes_no_digit(size: int) -> None:
    x_PM = np.random.default_rng(1).normal(0, 3, (70, 1000)).astype(np.float32)

    def made() -> list[np.ndarray]:
        top, total = x_PM.max(axis=1, keepdims=True), x_PM.sum(axis=1, keepdims=True)
        return [x_PM - top, x_PM / total, x_PM * x_PM[0], total, np.add.reduce(x_PM * x_PM)]

    plain = made()
    with scratch.buffered(size):
        for one, other in zip(made(), plain, strict=True):
            assert np.array_equal(one, other)


@pytest.mark.parametrize("order", ["C", "F"])
def test_norms_along_long_axes_are_those_of_each_vector(order: str) -> None:
    rng = np.random.default_rng(0)
    x_PM = np.asarray(rng.normal(0, 3, (300, 400)), np.float32, order=order)
    gain, bias = rng.normal(1, 0.1, (2, 400)).astype(np.float32)
    plain = x_PM.astype(np.float64)
    centred = plain - plain.mean(axis=1, keepdims=True)
    wanted = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5) * gain + bias
    assert np.abs(layer_norm(x_PM, gain, bias, 1e-5) - wanted).max() < 2e-5
    wanted = plain / np.sqrt((plain**2).mean(axis=1, keepdims=True) + 1e-5) * gain
    assert np.abs(rms_norm(x_PM, gain, 1e-5) - wanted).max() < 2e-5


def test_squares_of_a_long_row_are_added_in_pairs() -> None:
    """One after the other they would lose the fifth digit."""
    x_PM = np.full((2, 1 << 16), 0.1, np.float32)
    assert np.abs(rms_norm(x_PM, np.ones(1, np.float32), 0.0) - 1).max() < 1e-6
