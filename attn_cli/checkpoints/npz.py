"""A strict, lazy reader of numpy's archives: what they hold is known before any of it is read.

An archive is a zip of `.npy` files: magic, version, a header of Python literals, the numbers.
https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

import io
import math
import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from attn_cli.checkpoints import zips
from attn_cli.errors import ContentError, shorten
from attn_cli.strict import looks_like

_LONGEST = 10_000  # bytes of a header
_MOST = 1 << 63
# What arrays hold that are not of numbers, by numpy's kinds.
_OTHERS = {"O": "Python objects", "c": "complex numbers", "M": "dates", "m": "times", "U": "text",
           "S": "bytes", "V": "records", "b": "truth values"}  # fmt: skip


class Array(NamedTuple):
    """An array of an archive by its header, and what reads it."""

    dtype: np.dtype
    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]

    @property
    def size(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)

    @property
    def problem(self) -> str:
        """Why it is not an array of numbers; empty if it is one."""
        if what := _OTHERS.get(self.dtype.kind):
            return f"holds {what}, not real numbers"
        return "" if self.size else "is empty"


def open_npz(data: bytes, where: str) -> dict[str, Array]:
    """The arrays of an archive, of which only the headers are read here. Raises ContentError."""

    def broken(what: object, hint: str = "") -> ContentError:
        hint = hint or "the file is damaged or incomplete"
        return ContentError(f"{where} is not a readable npz archive: {what}", hint)

    if data.startswith(b"\x93NUMPY"):
        raise broken("it is one array", "numpy.savez(FILE, NAME=array) keeps arrays with names")
    if not data.startswith(b"PK"):
        looks = looks_like(data[:64])
        raise broken("it is empty" if not data else "it is no zip", looks and f"it is {looks}")
    try:
        members = zips.members(io.BytesIO(data))
    except zips.Damaged as problem:
        raise broken(problem) from None
    archive, found = zipfile.ZipFile(io.BytesIO(data)), {}
    for name, info in members.items():
        try:
            if not name.endswith(".npy"):
                raise zips.Damaged("it is no array")
            damaged = partial(broken, f"{shorten(name)} is damaged")
            found[name.removesuffix(".npy")] = _array(archive, info, damaged)
        except zips.Damaged as problem:
            raise broken(f"{shorten(name)}: {problem}") from None
    return found


def _array(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, damaged: Callable[[], ContentError]
) -> Array:
    """A member of an archive; `damaged` makes the error if reading it fails later."""
    try:
        with archive.open(info) as member:
            begin = member.read(12)
            (version, _), wide = np.lib.format.read_magic(io.BytesIO(begin)), begin[6] > 1
            length = int.from_bytes(begin[8 : 12 if wide else 10], "little")
            start = length + (12 if wide else 10)
            header = begin + member.read(min(max(start - 12, 0), _LONGEST))
        read = np.lib.format.read_array_header_2_0 if wide else np.lib.format.read_array_header_1_0
        with warnings.catch_warnings():  # on what Python 2 wrote
            warnings.simplefilter("ignore")
            shape, by_columns, dtype = read(io.BytesIO(header[8:]), _LONGEST)
    except Exception:  # numpy raises whatever the header leads to
        raise zips.Damaged("its header is damaged") from None
    size = math.prod(shape)
    if version > 2 or not all(0 <= n < _MOST for n in shape) or size >= _MOST:
        raise zips.Damaged("its shape is impossible")
    if not dtype.hasobject and size * dtype.itemsize != info.file_size - start:
        raise zips.Damaged("it has another size than its shape says")

    def values() -> np.ndarray:
        try:
            with archive.open(info) as member:
                raw = member.read(info.file_size)[start:]
        except Exception:  # as above; a wrong checksum too
            raise damaged() from None
        if len(raw) != size * dtype.itemsize:
            raise damaged()
        return np.frombuffer(raw, dtype).reshape(shape, order="F" if by_columns else "C")

    return Array(dtype, shape, values)
