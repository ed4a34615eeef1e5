"""Quantised matrices, with the library of each form as the oracle: `golden/make_packed.py`."""

import json
from pathlib import Path

import numpy as np
import pytest

from attn_cli.checkpoints.packed import modules
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.maths import cores
from attn_cli.opening.quantised import read_scheme

GOLDEN = Path(__file__).parent.parent / "golden" / "packed"
NAMES = sorted(path.stem for path in GOLDEN.iterdir())


@pytest.fixture
def threads():
    yield cores.use
    cores.use(0)


def opened(name):
    """The matrix of a golden as it is read, what the library makes of it, and the form in words."""
    path = GOLDEN / f"{name}.safetensors"
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    section = json.loads(header["__metadata__"]["section"])
    unknown: list[str] = []
    scheme = read_scheme({"quantization_config": section}, "config.json", (), unknown)
    tensors = open_safetensors(path)
    wanted = tensors.pop("wanted").read()
    found = scheme.unpack(tensors, "here")
    assert list(found) == ["m.weight"] and not unknown
    return found["m.weight"], wanted, scheme


def assert_same_bits(found, wanted):
    assert found.dtype == wanted.dtype == np.float32 and found.shape == wanted.shape
    assert np.array_equal(found + 0, wanted + 0, equal_nan=True)  # −0 is 0


@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_the_librarys_to_the_bit(name):
    found, wanted, scheme = opened(name)
    assert_same_bits(found.read(), wanted)
    assert found.dtype != "F32" and scheme.how
    assert found.size == sum(t.size for n, t in open_safetensors(
        GOLDEN / f"{name}.safetensors").items() if n != "wanted")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_those_of_the_whole_on_any_threads(name, threads, monkeypatch):
    threads(3)
    monkeypatch.setattr(modules, "_CHUNK", 300)
    found, wanted, _ = opened(name)
    count, columns = wanted.shape
    assert_same_bits(found.read(), wanted)
    for some in (range(count), range(3, 4), range(5, 19), slice(7, 20), range(4, 4), [9, 2, 9, -1]):
        rows = some if isinstance(some, slice) else list(some)
        out = np.full((len(range(count)[some] if isinstance(some, slice) else some), columns), 7.0,
                      np.float32)  # fmt: skip
        assert_same_bits(found.rows(some), wanted[rows])
        assert found.rows(some, out).base is out or not len(out)
        assert_same_bits(out, wanted[rows])
    with pytest.raises(IndexError):
        found.rows([count])
