"""Shared by the families' tests: a model that remembers what was read from its file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from attn_cli import session
from attn_cli.families.model import Model


class Spy:
    """A TensorSource that remembers what was asked of the one behind it."""

    def __init__(self, source):
        self.source, self.tensors, self.whole, self.by_row = source, source.tensors, [], []

    def read(self, name):
        self.whole.append(name)
        return self.source.read(name)

    def rows(self, name, indices):
        indices = list(indices)
        self.by_row.append((name, indices))
        return self.source.rows(name, indices)

    def release(self, name):
        self.source.release(name)


@pytest.fixture
def spied() -> Callable[[Path], tuple[Model, Spy]]:
    """Opens a folder with a spy between the model and its file."""

    def opened(folder: Path) -> tuple[Model, Spy]:
        model = session.load(str(folder))
        spy = Spy(model.weights.source)
        object.__setattr__(model.weights, "source", spy)
        return model, spy

    return opened
