"""A family's tensors by its own names, read from a checkpoint when they are asked for."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from attn_cli.checkpoints.tensor import Tensor
from attn_cli.maths.layers import layer_norm

_ROWS = 8192
NOTHING = np.zeros(0, np.float32)  # a bias that a model does not have


def as_stored(array: np.ndarray) -> np.ndarray:
    """The family's own arrangement: nothing to do."""
    return array


def transposed(array: np.ndarray) -> np.ndarray:
    """Stored (output, input) where the family has (input, output), or the other way round."""
    return array.T


class Stored(NamedTuple):
    """Where a file keeps a tensor, and how its numbers become the family's arrangement of them."""

    name: str
    arrange: Callable[[np.ndarray], np.ndarray] = as_stored


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """Tensors under the names a family uses, whatever the file calls them.

    `held` keeps what has been read, for running many times over; otherwise a layer's memory is
    given back once it has been passed. `dtype` is float64 only to check float32.
    """

    tensors: Mapping[str, Tensor]
    stored: Mapping[str, Stored]
    held: dict[str, np.ndarray] = field(default_factory=dict)
    hold: bool = False
    dtype: type = np.float32

    def tensor(self, name: str) -> Tensor:
        """What the checkpoint has under a name of the family's."""
        return self.tensors[self.stored[name].name]

    def get(self, name: str, default: np.ndarray) -> np.ndarray:
        """The tensor, or `default` if the model has none of this name."""
        return self[name] if name in self.stored else default

    def __getitem__(self, name: str) -> np.ndarray:
        if name in self.held:
            return self.held[name]
        array = self.stored[name].arrange(self.tensor(name).read()).astype(self.dtype, copy=False)
        if self.hold:
            self.held[name] = array
        return array

    def rows(self, name: str, indices: Sequence[int]) -> np.ndarray:
        """Only these rows along the first axis of a tensor that is stored as it is used."""
        if name in self.held:
            return self.held[name][list(indices)]
        return self.tensor(name).rows(indices).astype(self.dtype, copy=False)

    def times_rows(self, name: str, x_PM: np.ndarray) -> np.ndarray:
        """x · Wᵀ for a tall W (row, model), a few thousand rows in memory at a time."""
        tensor = self.tensor(name)
        count = tensor.shape[0]
        if self.hold or count <= _ROWS:
            return x_PM @ self[name].T
        product = np.empty((len(x_PM), count), self.dtype)

        def fill(first: int) -> None:
            for start in range(first * _ROWS, count, 2 * _ROWS):
                stop = min(start + _ROWS, count)
                product[:, start:stop] = x_PM @ self.rows(name, range(start, stop)).T
                tensor.release()

        with _helper() as helper:
            other = helper.submit(fill, 1)
            fill(0)
            other.result()
        return product

    def layers(self, prefix: str, last: int) -> "Iterator[LayerWeights]":
        """The tensors of layers 0 to `last`, by their names after `prefix` and the number.

        A tensor is read when it is asked for; those of the next layer are read by another thread
        while this one is used, if reading them costs something.
        """
        tails = self._tails(prefix)
        ready = LayerWeights(self, f"{prefix}0.", tails["0"])
        with _helper() if last and ready.costs() else nullcontext() as helper:
            for layer in range(last + 1):
                following = LayerWeights(self, f"{prefix}{layer + 1}.", tails[f"{layer + 1}"])
                needed = helper and layer < last and following.costs()
                ahead = helper.submit(following.read_all) if helper and needed else None
                yield ready
                if not self.hold:
                    ready.release()
                if ahead:
                    ahead.result()
                ready = following

    def _tails(self, prefix: str) -> dict[str, list[str]]:
        """What names have after `prefix` and a number, by that number."""
        found: dict[str, list[str]] = defaultdict(list)
        for name in self.stored:
            if name.startswith(prefix):
                number, _, tail = name.removeprefix(prefix).partition(".")
                found[number].append(tail)
        return found


def _helper() -> Any:
    """One further thread. The import takes a while, and most small models never need it."""
    from concurrent.futures import ThreadPoolExecutor

    # numpy's error state belongs to a thread.
    return ThreadPoolExecutor(1, initializer=np.seterr, initargs=("ignore",))


class LayerWeights:
    """One layer's tensors by short name; each is read once, when it is first asked for."""

    def __init__(self, weights: Weights, prefix: str, tails: Iterable[str]) -> None:
        self._weights, self._prefix, self._tails = weights, prefix, frozenset(tails)
        self._read: dict[str, np.ndarray] = {}

    def get(self, name: str, default: np.ndarray) -> np.ndarray:
        """The tensor, or `default` if the model has none of this name."""
        return self[name] if name in self._tails else default

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._read:
            self._read[name] = self._weights[self._prefix + name]
        return self._read[name]

    def read_all(self) -> None:
        """Reads every tensor of the layer."""
        for name in self._tails:
            self[name]

    def costs(self) -> bool:
        """Whether reading takes work: float32 is a view of the file, or memory holds it."""
        names = [self._prefix + tail for tail in self._tails]
        return any(
            name not in self._weights.held and self._weights.tensor(name).dtype != "F32"
            for name in names
        )

    def release(self) -> None:
        """Gives back the memory of what was read."""
        for name in self._read:
            self._weights.tensor(self._prefix + name).release()
        self._read.clear()


# --- what families do with the tensors of a layer ------------------------------------------------


def layer_normed(
    parts: LayerWeights | Weights, name: str, x: np.ndarray, epsilon: float
) -> np.ndarray:
    """A layer norm by its name."""
    return layer_norm(x, parts[f"{name}.weight"], bias_of(parts, name), epsilon)


def norm_of(parts: LayerWeights | Weights, name: str) -> dict[str, np.ndarray]:
    """The learned numbers of a norm, as the arrays that they are of a block."""
    return {"w_norm": parts[f"{name}.weight"], "b_norm": bias_of(parts, name)}


def entering(
    parts: LayerWeights | Weights, name: str, x: np.ndarray, epsilon: float
) -> dict[str, np.ndarray]:
    """What enters a layer, the layer norm before attention, and what it gives."""
    norm = {"w_norm": parts[f"{name}.weight"], "b_norm": bias_of(parts, name)}
    return {"x": x, **norm, "normed": layer_normed(parts, name, x, epsilon)}


def bias_of(parts: LayerWeights | Weights, name: str) -> np.ndarray:
    """The bias of a map, of size 0 if it has none."""
    return parts.get(f"{name}.bias", NOTHING)
