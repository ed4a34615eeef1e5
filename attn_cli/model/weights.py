"""A family's tensors by its own names, read from a checkpoint when they are asked for."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from attn_cli.checkpoints.floats import FLOATS
from attn_cli.checkpoints.tensor import Tensor
from attn_cli.maths.layers import layer_norm
from attn_cli.maths.products import NOTHING, Activation, Map, laid_out, through
from attn_cli.maths.scratch import room
from attn_cli.maths.tiles import POSITIONS, UNPACKED, WIDENED
from attn_cli.records import Passed

NO_NORMS = np.zeros((0, 2, 0), np.float32)
# Before the number of an expert in the name of a tensor.
OF_EXPERTS = ".experts."
# Bytes of a matrix that are given back at a time while it is still used.
_LENT = 1 << 22


def as_stored(array: np.ndarray) -> np.ndarray:
    """The family's own arrangement: nothing to do."""
    return array


def transposed(array: np.ndarray) -> np.ndarray:
    """Stored (output, input) where the family has (input, output), or the other way round."""
    return array.T


def reorders(arrange: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Whether the family has the rows of a tensor in another order than the file."""
    return arrange not in (as_stored, transposed)


class NonFinite(NamedTuple):
    """What was found to be NaN or infinite: how many numbers of each tensor that was looked at,
    and of passes, by their tokens, the first layer that gave such vectors."""

    tensors: dict[str, int]
    passes: dict[tuple[int, ...], Passed]


class Part(NamedTuple):
    """One of the matrices that a tensor holds, and which of its rows and columns."""

    index: int
    rows: slice = slice(None)
    columns: slice = slice(None)


class Stored(NamedTuple):
    """Where a file keeps a tensor, and how its numbers become the family's arrangement of them.

    It may be a part of what the file has under that name.
    """

    name: str
    arrange: Callable[[np.ndarray], np.ndarray] = as_stored
    part: Part | None = None

    def of(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The tensor among those of the file."""
        whole = tensors[self.name]
        return whole.within(*self.part) if self.part else whole


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """Tensors under the names a family uses, whatever the file calls them.

    `held` keeps what has been read, for running many times over; otherwise a layer's memory is
    given back once it has been passed, that of a large matrix while it is used. `shared`: several
    passes go through the layers side by side, and what they read of one is held until all have.
    `dtype` is float64 only to check float32. `nonfinite` is shared by all copies.
    """

    tensors: Mapping[str, Tensor]
    stored: Mapping[str, Stored]
    held: dict[str, np.ndarray] = field(default_factory=dict)
    hold: bool = False
    shared: bool = False
    dtype: type = np.float32
    nonfinite: NonFinite = field(default_factory=lambda: NonFinite({}, {}))

    def tensor(self, name: str) -> Tensor:
        """What the checkpoint has under a name of the family's."""
        return self.stored[name].of(self.tensors)

    @property
    def size(self) -> int:
        """The bytes of all tensors as they are stored."""
        return sum(tensor.size for tensor in self.tensors.values())

    def get(self, name: str, default: np.ndarray) -> np.ndarray:
        """The tensor, or `default` if the model has none of this name."""
        return self[name] if name in self.stored else default

    def __getitem__(self, name: str) -> np.ndarray:
        if name in self.held:
            return self.held[name]
        array = self.stored[name].arrange(self.tensor(name).read()).astype(self.dtype, copy=False)
        if self.hold:
            self.held[name] = array
            if self.tensor(name).dtype != "F32":  # it is a copy
                self.tensor(name).release()
        return array

    def forget(self) -> None:
        """Gives back the memory of all that is held."""
        for name in self.held:
            self.tensor(name).release()
        self.held.clear()

    def rows(self, name: str, indices: Sequence[int]) -> np.ndarray:
        """Only these rows along the first axis of a tensor that is stored as it is used, in the
        order in which products read them."""
        if name in self.held:
            return laid_out(self.held[name][list(indices)])
        tensor = self.tensor(name)
        found = tensor.rows(indices).astype(self.dtype, copy=False)
        if not self.hold:
            tensor.release()
        return laid_out(found)

    def map(self, name: str, *, few: bool = True, columns: bool = False) -> Map:
        """The linear map of this name, its matrix and its bias, if it has one.

        `columns`: the family has the matrix as (input, output), not (output, input). For a `few`
        positions, a matrix that has to be made of what the file stores is made some rows at a time.
        """
        bias, matrix = self.get(f"{name}.bias", NOTHING), f"{name}.weight"
        stored = self.stored[matrix]
        by_rows = columns == (stored.arrange is transposed)
        if self.hold or not (few and by_rows):
            w_NM = self[matrix].T if columns else self[matrix]
            return Map(len(w_NM), w_NM.__getitem__, bias)
        tensor, order = self.tensor(matrix), None
        if reorders(stored.arrange):
            order = stored.arrange(np.arange(tensor.shape[0]))

        steps = WIDENED if tensor.dtype in FLOATS else UNPACKED
        made = 0 if tensor.dtype == "F32" else steps

        def chosen(part: slice) -> Sequence[int]:
            return range(part.start, part.stop) if order is None else order[part]

        def own(part: slice) -> np.ndarray | None:
            shape = (part.stop - part.start, tensor.shape[1])
            return room(shape, np.dtype(np.float32), "rows") if made else None

        def rows(part: slice) -> np.ndarray:
            return tensor.rows(chosen(part), own(part)).astype(self.dtype, copy=False)

        def reader(part: slice) -> Callable[[slice], np.ndarray]:
            read = tensor.reader(chosen(part))
            return lambda some: read(some, own(some)).astype(self.dtype, copy=False)

        def release(part: slice) -> None:
            first, end = (at - at % some for at in (part.start, part.stop))
            if first == end:
                return
            first = max(0, first - some)  # of which another thread may have had the last part
            if order is not None:
                first, end = int(order[first:end].min()), int(order[first:end].max()) + 1
            tensor.forget(first, end)

        some = max(1, _LENT * tensor.shape[0] // max(tensor.size, 1))
        return Map(tensor.shape[0], rows, bias, made, release, reader if tensor.scales else None)

    def layers(self, prefix: str, last: int, positions: int) -> "Iterator[LayerWeights]":
        """The tensors of layers 0 to `last`, by their names after `prefix` and the number.

        A tensor is read when it is asked for, for so many `positions`. The system is told of those
        of the next layer while this one is used, so that the disk need not be waited for.
        """
        tails = self._tails(prefix)
        for layer in range(last + 1):
            of_layer = LayerWeights(self, f"{prefix}{layer}.", tails[str(layer)], positions)
            if layer < last and not self.hold:
                LayerWeights(self, f"{prefix}{layer + 1}.", tails[str(layer + 1)]).expect()
            try:
                yield of_layer
            finally:  # of a pass that ends early too
                of_layer.release()

    def _tails(self, prefix: str) -> dict[str, list[str]]:
        """What names have after `prefix` and a number, by that number."""
        found: dict[str, list[str]] = defaultdict(list)
        for name in self.stored:
            if name.startswith(prefix):
                number, _, tail = name.removeprefix(prefix).partition(".")
                found[number].append(tail)
        return found


class LayerWeights:
    """One layer's tensors by short name; each is read once, when it is first asked for.

    Those of experts are left alone until a token is routed there; `routed` counts their bytes.
    """

    def __init__(
        self, weights: Weights, prefix: str, tails: Iterable[str], positions: int = 0
    ) -> None:
        self._weights, self._prefix, self._tails = weights, prefix, frozenset(tails)
        self._few = positions <= POSITIONS
        self._read: dict[str, np.ndarray] = {}
        self.routed = 0

    def get(self, name: str, default: np.ndarray) -> np.ndarray:
        """The tensor, or `default` if the model has none of this name."""
        return self[name] if name in self._tails else default

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._read:
            self._read[name] = self._weights[self._prefix + name]
        return self._read[name]

    def map(self, name: str, *, columns: bool = False) -> Map:
        """The linear map of this name: see `Weights.map`."""
        matrix = f"{self._prefix}{name}.weight"
        if OF_EXPERTS in name and matrix not in self._weights.held:
            self.routed += self._weights.tensor(matrix).size
        return self._weights.map(self._prefix + name, few=self._few, columns=columns)

    def _always_read(self) -> Iterator[str]:
        return (self._prefix + tail for tail in self._tails if OF_EXPERTS not in tail)

    @property
    def size(self) -> int:
        """The bytes of these tensors as they are stored, but for those that memory holds."""
        names = (name for name in self._always_read() if name not in self._weights.held)
        return sum(self._weights.tensor(name).size for name in names)

    def expect(self) -> None:
        """Tells the system that these tensors will be read."""
        for name in self._always_read():
            self._weights.tensor(name).expect()

    def release(self) -> None:
        """Gives back the memory of what was read, unless it is held for other passes."""
        if self._weights.hold:
            return
        self._read.clear()
        for name in {self._weights.stored[self._prefix + tail].name for tail in self._tails}:
            self._weights.tensors[name].release()


# --- what families do with the tensors of a layer ------------------------------------------------


def linear(
    parts: LayerWeights | Weights, name: str, x: np.ndarray, activation: Activation | None = None
) -> np.ndarray:
    """A linear map by its name, and an activation of what it gives."""
    return through(x, parts.map(name), activation=activation)[0]


def layer_normed(
    parts: LayerWeights | Weights, name: str, x: np.ndarray, epsilon: float, base: float = 0.0
) -> np.ndarray:
    """A layer norm by its name, whose stored weight is added to `base`."""
    learned = norm_of(parts, name, base)
    return layer_norm(x, learned["w_norm"], learned["b_norm"], epsilon)


def norm_of(parts: LayerWeights | Weights, name: str, base: float = 0.0) -> dict[str, np.ndarray]:
    """The learned numbers of a norm, as the arrays that they are of a block."""
    weight = parts[f"{name}.weight"]
    return {"w_norm": base + weight if base else weight, "b_norm": bias_of(parts, name)}


def entering(
    parts: LayerWeights | Weights, name: str, x: np.ndarray, epsilon: float, base: float = 0.0
) -> dict[str, np.ndarray]:
    """What enters a layer, the layer norm before attention, and what it gives."""
    learned = norm_of(parts, name, base)
    return {"x": x, **learned, "normed": layer_norm(x, *learned.values(), epsilon)}


def norms_of(parts: LayerWeights | Weights, *names: str) -> np.ndarray:
    """The weight and the bias of layer norms by their names, (norm, 2, model)."""
    return np.stack([[parts[f"{name}.weight"], parts[f"{name}.bias"]] for name in names])


def bias_of(parts: LayerWeights | Weights, name: str) -> np.ndarray:
    """The bias of a map, of size 0 if it has none."""
    return parts.get(f"{name}.bias", NOTHING)
