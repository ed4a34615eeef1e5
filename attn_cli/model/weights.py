"""An opened model: its facts, config, tensors by the family's own names, and tokenizer."""

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import translate
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np

from attn_cli.errors import ContentError, shorten
from attn_cli.records import ModelFacts
from attn_cli.tokens.deferred import Deferred

_ROWS = 8192


class TensorSource(Protocol):
    """A checkpoint's tensors; `tensors` maps a name to something with a dtype and a shape."""

    tensors: Mapping[str, Any]

    def read(self, name: str) -> np.ndarray: ...

    def rows(self, name: str, indices: Sequence[int]) -> np.ndarray: ...

    def release(self, name: str) -> None: ...


def as_stored(array: np.ndarray) -> np.ndarray:
    """The family's own arrangement: nothing to do."""
    return array


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

    source: TensorSource
    stored: Mapping[str, Stored]
    held: dict[str, np.ndarray] = field(default_factory=dict)
    hold: bool = False
    dtype: type = np.float32

    def __getitem__(self, name: str) -> np.ndarray:
        if name in self.held:
            return self.held[name]
        place, arrange = self.stored[name]
        array = arrange(self.source.read(place)).astype(self.dtype, copy=False)
        if self.hold:
            self.held[name] = array
        return array

    def rows(self, name: str, indices: Sequence[int]) -> np.ndarray:
        """Only these rows along the first axis of a tensor that is stored as it is used."""
        if name in self.held:
            return self.held[name][list(indices)]
        return self.source.rows(self.stored[name].name, indices).astype(self.dtype, copy=False)

    def times_rows(self, name: str, x_PM: np.ndarray) -> np.ndarray:
        """x · Wᵀ for a tall W (row, model), a few thousand rows in memory at a time."""
        count = self.source.tensors[self.stored[name].name].shape[0]
        if self.hold or count <= _ROWS:
            return x_PM @ self[name].T
        product = np.empty((len(x_PM), count), self.dtype)

        def fill(first: int) -> None:
            for start in range(first * _ROWS, count, 2 * _ROWS):
                stop = min(start + _ROWS, count)
                product[:, start:stop] = x_PM @ self.rows(name, range(start, stop)).T
                self.source.release(self.stored[name].name)

        other = Ahead(lambda: fill(1))
        fill(0)
        other.result()
        return product

    def layers(self, prefix: str, last: int) -> "Iterator[LayerWeights]":
        """The tensors of layers 0 to `last`, by their names behind `prefix` and the number.

        A tensor is read when it is asked for; those of the next layer are read by another thread
        while this one is used, if reading them costs something.
        """
        tails = [n.removeprefix(f"{prefix}0.") for n in self.stored if n.startswith(f"{prefix}0.")]
        ready = LayerWeights(self, f"{prefix}0.", tails)
        for layer in range(last + 1):
            following = LayerWeights(self, f"{prefix}{layer + 1}.", tails)
            ahead = Ahead(following.read_all) if layer < last and following.costs() else None
            yield ready
            if not self.hold:
                ready.release()
            if ahead:
                ahead.result()
            ready = following


class LayerWeights:
    """One layer's tensors by short name; each is read once, when it is first asked for."""

    def __init__(self, weights: Weights, prefix: str, tails: Iterable[str]) -> None:
        self._weights, self._prefix, self._tails = weights, prefix, frozenset(tails)
        self._read: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._read:
            self._read[name] = self._weights[self._prefix + name]
        return self._read[name]

    def get(self, name: str, default: np.ndarray) -> np.ndarray:
        """The tensor, or `default` if the model has none of this name."""
        return self[name] if name in self._tails else default

    def read_all(self) -> None:
        """Reads every tensor of the layer."""
        for name in self._tails:
            self[name]

    def costs(self) -> bool:
        """Whether reading takes work: float32 is a view of the file, or memory holds it."""
        stored, tensors = self._weights.stored, self._weights.source.tensors
        names = [self._prefix + tail for tail in self._tails]
        return any(
            name not in self._weights.held and tensors[stored[name].name].dtype != "F32"
            for name in names
        )

    def release(self) -> None:
        """Gives back the memory of what was read."""
        for name in self._read:
            self._weights.source.release(self._weights.stored[self._prefix + name].name)
        self._read.clear()


class Ahead:
    """Work begun on another thread; `result` waits for it and raises what it raised."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._outcome: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            # numpy's error state belongs to a thread.
            with np.errstate(all="ignore"):
                self._outcome = self._work()
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        """What the work returned."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._outcome


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """Everything needed to trace a prompt. `config` is the family's own record.

    `end_tokens` are the ids that end a text, `ignored` the config keys that the user accepts,
    `untrue_copies` tensors of the file that are not used, with those that they should repeat.
    """

    facts: ModelFacts
    family: Any
    config: Any
    weights: Weights
    tokenizer: Deferred
    end_tokens: tuple[int, ...]
    ignored: tuple[str, ...] = ()
    untrue_copies: tuple[tuple[str, str], ...] = ()


def in_memory(model: Model) -> Model:
    """The same model, keeping every tensor it reads: for many passes instead of one."""
    return replace(model, weights=replace(model.weights, hold=True, held={}))


class Naming(NamedTuple):
    """How folders name a family's tensors.

    One of `prefixes` may stand before a name; names that match `left_out` (`*` for anything) carry
    nothing; `older` maps a name that published files still have to today's; `copies` maps a name
    to the tensor that it repeats, if it is there.
    """

    prefixes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    older: Mapping[str, str] = MappingProxyType({})
    copies: Mapping[str, str] = MappingProxyType({})


def names_in_folder(source: TensorSource, naming: Naming, where: str) -> dict[str, Stored]:
    """Tensors under the reference library's names of today, and where the file keeps them.

    Raises ContentError for a tensor that is there under two names.
    """
    left_out = re.compile("|".join(map(translate, naming.left_out)) or r"(?!)")
    found: dict[str, Stored] = {}
    for place in source.tensors:
        name = _without_prefix(place, naming)
        if left_out.match(place) or name in naming.copies:
            continue
        name = naming.older.get(name, name)
        if name in found:
            raise ContentError(
                f"{where}: the tensor {shorten(name)} stands there twice, as "
                f"{shorten(found[name].name)} and as {shorten(place)}"
            )
        found[name] = Stored(place)
    return found


def _without_prefix(place: str, naming: Naming) -> str:
    return place.removeprefix(next((p for p in naming.prefixes if place.startswith(p)), ""))


def untrue_copies(
    source: TensorSource, naming: Naming, stored: Mapping[str, Stored]
) -> tuple[tuple[str, str], ...]:
    """Tensors that should repeat another and do not, each with the one it should be."""
    pairs = ((place, naming.copies.get(_without_prefix(place, naming))) for place in source.tensors)
    return tuple(
        (place, original)
        for place, original in pairs
        if original in stored and not _repeats(source, place, stored[original].name)
    )


def _repeats(source: TensorSource, copy: str, original: str) -> bool:
    """Whether a matrix has the shape of another, and three of its rows."""
    one, other = source.tensors[copy], source.tensors[original]
    shape = tuple(one.shape)
    if (one.dtype, shape) != (other.dtype, tuple(other.shape)) or not shape or not shape[0]:
        return False
    rows = sorted({0, shape[0] // 2, shape[0] - 1})
    return np.array_equal(source.rows(copy, rows), source.rows(original, rows), equal_nan=True)


def bind(
    source: TensorSource,
    stored: Mapping[str, Stored],
    shapes: Mapping[str, tuple[int, ...]],
    where: str,
) -> Weights:
    """Checks that a file holds the tensors a family needs, no others, in the right shapes.

    Raises ContentError for a tensor that is missing, unknown or of another shape.
    """
    missing = [name for name in shapes if name not in stored]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ContentError(f"{where}: the tensor {missing[0]}{more} is missing")
    for name, (place, arrange) in stored.items():
        if name not in shapes:
            raise ContentError(
                f"{where}: the tensor {shorten(place)} has no place in this family",
                "the config and the weights may belong to different models",
            )
        found = tuple(source.tensors[place].shape)
        wanted = shapes[name]
        if arrange is transposed:
            wanted = wanted[::-1]
        if found != wanted:
            raise ContentError(
                f"{where}: the tensor {place} is {_by(found)}, the config asks for {_by(wanted)}"
            )
    return Weights(source=source, stored=stored)


def transposed(array: np.ndarray) -> np.ndarray:
    """Stored (output, input) where the family has (input, output), or the other way round."""
    return array.T


def _by(shape: tuple[int, ...]) -> str:
    return " × ".join(str(n) for n in shape) or "a single number"
