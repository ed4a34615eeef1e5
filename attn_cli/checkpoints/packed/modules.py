"""Quantised matrices that a folder keeps in several tensors: from those to one tensor, read lazily.

A `Format` says how the parts' names end and makes of a module's parts a `Tensor` under the plain
name, some rows at a time: the whole matrix is never there in float32 unless it is asked for.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from attn_cli.checkpoints.floats import FLOATS, widen
from attn_cli.checkpoints.tensor import Tensor
from attn_cli.errors import ContentError, shorten
from attn_cli.maths.cores import spread

# Numbers made at once, 2 MB of float32, as of GGUF blocks.
_CHUNK = 1 << 19
_TYPES = {
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
    "F8_E4M3": "u1", "F8_E5M2": "u1", "F8_E8M0": "u1",
}  # fmt: skip
# Rows of a matrix: those between two, or their numbers.
Rows = slice | np.ndarray
# Writes the numbers of these rows to an array (row, …) in float32.
Fill = Callable[[Rows, np.ndarray], None]


class Module(NamedTuple):
    """The tensors of one quantised matrix, by how their names end; `name` is what they begin with.

    `where` begins the message of an error.
    """

    name: str
    parts: Mapping[str, Tensor]
    where: str

    def error(self, what: str, hint: str = "") -> ContentError:
        """The bare fact as an error that says where."""
        return ContentError(f"{self.where}: {what}", hint)

    def has(self, end: str) -> bool:
        """Whether there is a part whose name ends so."""
        return end in self.parts

    def part(self, end: str, types: Collection[str], axes: int | Collection[int] = 2) -> Tensor:
        """A part that must be there, of one of these types, with so many axes.

        Raises ContentError.
        """
        name = f"{self.name}{end}"
        tensor = self.parts.get(end)
        if tensor is None:
            beside = max(self.parts, key=lambda other: self.parts[other].size)
            raise self.error(f"the tensor {name} is missing, which {self.name}{beside} needs")
        if tensor.dtype not in types:
            what = f"the tensor {name} has dtype {tensor.dtype}, not {' or '.join(types)}"
            raise self.error(what)
        if len(tensor.shape) not in ((axes,) if isinstance(axes, int) else axes):
            raise self.error(f"the tensor {name} has {len(tensor.shape)} axes")
        return tensor

    def shaped(self, end: str, types: Collection[str], *shapes: tuple[int, ...]) -> Tensor:
        """A part that must be there, of one of these types and shapes. Raises ContentError."""
        tensor = self.part(end, types, {len(shape) for shape in shapes})
        if tensor.shape not in shapes:
            wanted = " or ".join(_by(shape) for shape in shapes)
            what = f"the tensor {self.name}{end} is {_by(tensor.shape)}, not {wanted}"
            raise self.error(what, "the parts of a quantised matrix do not fit each other")
        return tensor

    def tensor(self, kind: str, shape: tuple[int, ...], fill: Fill) -> Tensor:
        """The matrix that `fill` makes of the parts; `kind` names how it is stored."""
        return made(kind, shape, list(self.parts.values()), f"{self.where}: {self.name}", fill)


class Format(NamedTuple):
    """How names of parts `end`, and what makes a tensor of a module's.

    The tensor is named as the module with `gives` after it. Where a part has this name too, a
    module that has no other, and floats in it, is not quantised. `make` raises ContentError for
    parts that do not fit.
    """

    ends: tuple[str, ...]
    make: Callable[[Module], Tensor]
    gives: str = ".weight"

    def _module_of(self, name: str) -> tuple[str, str]:
        """What a name begins with and how it ends, as a part's; or nothing."""
        ends = [end for end in self.ends if name.endswith(end)]
        end = max(ends, key=len, default="")
        return (name.removesuffix(end), end) if end else ("", "")

    def modules(self, tensors: Mapping[str, Tensor], where: str) -> dict[str, Module]:
        """The quantised modules, by the names of their parts."""
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            stem, end = self._module_of(name)
            if end:
                parts.setdefault(stem, {})[end] = tensor
        found = {}
        for stem, of in parts.items():
            if set(of) != {self.gives} or of[self.gives].dtype not in FLOATS:
                module = Module(stem, of, where)
                found |= {stem + end: module for end in of}
        return found


def unpacked(tensors: Mapping[str, Tensor], form: Format, where: str) -> dict[str, Tensor]:
    """The tensors with those of each quantised module replaced by the one that they make.

    Nothing is read but what `form.make` reads. Raises ContentError for parts that do not fit.
    """
    modules, found, done = form.modules(tensors, where), {}, set()
    for name, tensor in tensors.items():
        module = modules.get(name)
        if module is None:
            found[name] = tensor
        elif module.name not in done:
            done.add(module.name)
            plain = module.name + form.gives
            if plain in tensors and plain not in modules:
                what = f"the tensor {shorten(plain)} stands there twice, plain and quantised"
                raise ContentError(f"{where}: {what}")
            found[plain] = form.make(module)
    return found


def made(
    kind: str, shape: tuple[int, ...], parts: Sequence[Tensor], where: str, fill: Fill
) -> Tensor:
    """The tensor that `fill` makes of others, some rows at a time; `kind` names how it is stored.

    `fill` is called on several threads at once, and may raise ContentError.
    """

    def make(_: str, numbers: np.ndarray, out: np.ndarray | None) -> np.ndarray:
        if out is None:
            out = np.empty((len(numbers), *shape[1:]), np.float32)

        def some(part: slice) -> None:
            with np.errstate(all="ignore"):
                fill(_run(numbers[part]), out[part])

        spread(some, len(numbers), max(1, _CHUNK // max(1, prod(shape[1:]))))
        return out

    def release() -> None:
        for part in parts:
            part.release()

    def expect() -> None:
        for part in parts:
            part.expect()

    def forget(first: int, end: int) -> None:
        for part in parts:
            each, apart = divmod(prod(part.shape[:-1]), prod(shape[:-1]))
            if each and not apart:  # as many lines for each of the matrix's
                part.forget(first * each, end * each)

    return Tensor(
        dtype=kind, shape=shape, size=sum(part.size for part in parts), where=where,
        stored=lambda: _numbers(shape[0]), widen=make, release=release, expect=expect,
        forget=forget,
    )  # fmt: skip


@lru_cache(maxsize=64)
def _numbers(count: int) -> np.ndarray:
    numbers = np.arange(count)
    numbers.flags.writeable = False
    return numbers


def _run(numbers: np.ndarray) -> Rows:
    """A slice, if the numbers follow each other."""
    if not len(numbers) or (numbers[1:] - numbers[:-1] != 1).any():
        return numbers
    return slice(int(numbers[0]), int(numbers[-1]) + 1)


def _by(shape: Sequence[int]) -> str:
    return " × ".join(str(n) for n in shape) or "a single number"


# --- what formats are written with ---------------------------------------------------------------


def values(tensor: Tensor) -> np.ndarray:
    """What is stored, as it is stored: whole numbers, bits of floats, in the tensor's shape."""
    return tensor.stored().view((_TYPES | FLOATS)[tensor.dtype]).reshape(tensor.shape)


def scales(tensor: Tensor, index: tuple[Rows, ...] | Rows, columns: int = 0) -> np.ndarray:
    """Some of a tensor's floats in float32; `columns` reads it as a matrix of so many.

    A byte of U8 or F8_E8M0 is the exponent of a power of two. Raises ContentError where one is not
    finite.
    """
    stored = values(tensor)
    some = np.ascontiguousarray((stored.reshape(-1, columns) if columns else stored)[index])
    if some.dtype == np.uint8:
        floats = np.where(some == 255, np.nan, np.ldexp(np.float32(1), some.astype(int) - 127))
        floats = floats.astype(np.float32)
    else:
        floats = widen(tensor.dtype, some, None).reshape(some.shape)
    if not np.isfinite(floats).all():
        raise ContentError("has a scale that is not a finite number", "the file is damaged")
    return floats


def unpacked_numbers(packed: np.ndarray, bits: int) -> np.ndarray:
    """Whole numbers of so many bits each, uint8, from bytes along the last axis.

    The first stands in the lowest bits, and each goes on where the one before it ends.
    """
    packed = np.ascontiguousarray(packed)
    if bits == 8:
        return packed
    wide = np.empty((*packed.shape[:-1], packed.shape[-1] * 8 // bits), np.uint8)
    if bits == 4:
        pairs = wide.view("<u2")
        pairs[...] = packed
        pairs |= pairs << 4
        pairs &= 0x0F0F
    elif bits == 2:
        fours = wide.view("<u4")
        fours[...] = packed
        fours |= fours << 12
        fours |= fours << 6
        fours &= 0x03030303
    else:  # eight of them are as many bytes as each has bits
        eights = np.zeros((*packed.shape[:-1], packed.shape[-1] // bits, 8), np.uint8)
        eights[..., :bits] = packed.reshape(*eights.shape[:-1], bits)
        words = eights.view("<u8")
        shifts = bits * np.arange(8, dtype=np.uint64)
        wide.reshape(eights.shape)[...] = (words >> shifts) & np.uint64((1 << bits) - 1)
    return wide


_SAFE = 60_000.0  # below the largest float16
_TINY, _BESIDE = np.float32(2.0**-14), np.float32(0.75)  # the smallest float16 with all its bits


def round_products(floats: np.ndarray, dtype: str, largest: float, *, whole: bool = True) -> None:
    """Rounds products of numbers and scales of a type to this type, in place.

    The libraries multiply in the type that the scales are stored in. No product is larger than
    `largest`. That of a `whole` number is a multiple of the type's smallest number, so that it
    needs no rounding where the type has fewer bits than usual, and all are rounded alike.
    """
    if dtype == "F16" and largest > _SAFE:
        floats[...] = floats.astype(np.float16)
    elif dtype in ("F16", "BF16"):
        tiny = np.abs(floats) < _TINY if dtype == "F16" and not whole else None
        # Float32 has as many digits after the point beside this number as float16 has here.
        fewer = None if tiny is None else (floats[tiny] + _BESIDE) - _BESIDE
        _round_bits(floats, 13 if dtype == "F16" else 16)
        if tiny is not None:
            floats[tiny] = fewer


def _round_bits(floats: np.ndarray, dropped: int) -> None:
    """Rounds to numbers whose last bits are 0; of two as near, to the one with an even last bit."""
    bits = floats.view(np.uint32)
    odd = bits >> dropped
    odd &= 1
    odd += (1 << (dropped - 1)) - 1
    bits += odd
    bits &= 0xFFFFFFFF << dropped & 0xFFFFFFFF
