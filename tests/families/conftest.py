"""Shared by the families' tests: a spy behind a model, and a writer of GGUF files not our own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gguf
import pytest

from attn_cli import session
from attn_cli.model.family import Model


class Spied:
    """A tensor that tells its spy what is asked of it."""

    def __init__(self, name, tensor, spy):
        self.name, self.tensor, self.spy = name, tensor, spy
        self.dtype, self.shape, self.release = tensor.dtype, tensor.shape, tensor.release

    def read(self):
        self.spy.whole.append(self.name)
        return self.tensor.read()

    def rows(self, indices):
        indices = list(indices)
        self.spy.by_row.append((self.name, indices))
        return self.tensor.rows(indices)


class Spy:
    """Tensors that remember what was asked of those behind them."""

    def __init__(self, tensors):
        self.whole, self.by_row = [], []
        self.tensors = {name: Spied(name, t, self) for name, t in tensors.items()}


@pytest.fixture
def spied() -> Callable[[Path], tuple[Model, Spy]]:
    """Opens a folder with a spy between the model and its file."""

    def opened(folder: Path) -> tuple[Model, Spy]:
        model = session.load(str(folder))
        spy = Spy(model.weights.tensors)
        return replace(model, weights=replace(model.weights, tensors=spy.tensors)), spy

    return opened


def _write(path, architecture, add, tensors, kinds=None):
    writer = gguf.GGUFWriter(path, architecture)
    add(writer)
    for name, array in tensors.items():
        writer.add_tensor(name, array, raw_dtype=(kinds or {}).get(name))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(path)


@pytest.fixture(scope="session")
def write_gguf() -> Callable[..., str]:
    """Writes tensors with the package; `add(writer)` adds the keys, `kinds` says what bytes are."""
    return _write
