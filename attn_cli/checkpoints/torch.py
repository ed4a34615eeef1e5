"""A lazy, memory-mapped reader of `pytorch_model.bin`, without PyTorch and without running code.

Since PyTorch 1.6 such a file is a zip: `data.pkl` says which tensors there are, `data/KEY` holds
the numbers of a storage. Before, it was a row of pickles with the storages behind them.
https://github.com/pytorch/pytorch/blob/main/torch/serialization.py
"""

import io
import mmap
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from attn_cli.checkpoints.floats import FLOATS, float_type, rows_of, widen
from attn_cli.checkpoints.mapped import forget, looks_like, map_file
from attn_cli.checkpoints.pickles import MOST, Broken, Cursor, Storage, Tensor, walk
from attn_cli.checkpoints.safetensors import TensorInfo
from attn_cli.errors import ContentError, shorten

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
# A pickle's version; or, in the oldest, a name or a mark: then it is refused by what it asks for.
_BEGINNINGS = (b"\x80", b"c", b"(")
_LOCAL = struct.Struct("<4s22xHH")
_U64 = struct.Struct("<Q")
_ENCRYPTED = 1


class _Place(NamedTuple):
    """Where a storage lies: in the file from `begin` on, or `packed` in this member of the zip."""

    begin: int
    packed: str = ""


class Torch:
    """The tensors of one file. Opening walks its pickle; numbers are mapped when they are needed.

    Raises ContentError for a file that is not exactly what torch.save writes, or whose pickle asks
    for anything that tensors are not rebuilt from.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._map = map_file(path, "PyTorch", 4)
        self._unpacked: tuple[str, bytes] = ("", b"")
        try:
            zipped = self._map[:4] == b"PK\x03\x04"
            table, self._places = _zip(self._map, path) if zipped else _row(self._map, path)
            self._views = _state(table, path)
            for tensor in self._views.values():
                self._check(tensor)
        except Broken as broken:
            looks = "" if zipped else looks_like(self._map[:64])
            hint = f"it looks like {looks}" if looks else "the file is damaged or incomplete"
            raise ContentError(f"{path} is not a PyTorch file: {broken}", hint) from None
        self.tensors: Mapping[str, TensorInfo] = {
            name: self._info(tensor) for name, tensor in self._views.items()
        }

    def names(self) -> tuple[str, ...]:
        return tuple(self.tensors)

    def read(self, name: str) -> np.ndarray:
        """The whole tensor in float32 (a view of the map where it is stored so), read-only."""
        tensor, dtype = self._views[name], self._float_type(name)
        if tensor.contiguous:
            floats = widen(dtype, self._bytes(tensor))
        else:
            floats = _gathered(dtype, self._strided(tensor))
        floats = floats.reshape(tensor.shape)
        floats.flags.writeable = False
        return floats

    def rows(self, name: str, indices: Sequence[int]) -> np.ndarray:
        """Only these rows along the first axis, float32; other rows' pages stay untouched."""
        tensor, dtype = self._views[name], self._float_type(name)
        if not tensor.contiguous:
            some = self._strided(tensor)[np.array(indices, np.intp)]
            return _gathered(dtype, some).reshape(some.shape)
        flat = widen(dtype, rows_of(self._bytes(tensor), tensor.shape, indices))
        return flat.reshape(len(indices), *tensor.shape[1:])

    def release(self, name: str) -> None:
        """Lets go of the memory that reading this tensor's pages took."""
        tensor = self._views[name]
        place = self._places[tensor.storage.key]
        if not place.packed:
            forget(self._map, *self._info(tensor)[2:])

    def _check(self, tensor: Tensor) -> None:
        storage = tensor.storage
        if storage.key not in self._places:
            raise Broken(f"a storage {shorten(storage.key)!r} that is not there")
        place = self._places[storage.key]
        if not place.packed and place.begin + storage.numel * storage.size > len(self._map):
            raise Broken("a storage that runs past the end")

    def _info(self, tensor: Tensor) -> TensorInfo:
        storage = tensor.storage
        begin = self._places[storage.key].begin + tensor.offset * storage.size
        return TensorInfo(storage.dtype, tensor.shape, begin, begin + tensor.numel * storage.size)

    def _storage(self, storage: Storage) -> np.ndarray:
        place, size = self._places[storage.key], storage.numel * storage.size
        if not place.packed:
            return np.frombuffer(self._map, np.uint8, size, place.begin)
        unpacked = self._unpacked  # another thread may change it meanwhile
        if unpacked[0] != place.packed:
            self._unpacked = unpacked = place.packed, _unpack(self.path, place.packed)
        return np.frombuffer(unpacked[1], np.uint8, size)

    def _bytes(self, tensor: Tensor) -> np.ndarray:
        size = tensor.storage.size
        begin = tensor.offset * size
        return self._storage(tensor.storage)[begin : begin + tensor.numel * size]

    def _strided(self, tensor: Tensor) -> np.ndarray:
        """A tensor whose numbers do not follow each other, as it is stored and without a copy."""
        storage = self._storage(tensor.storage).view(FLOATS[tensor.storage.dtype])
        steps = [step * tensor.storage.size for step in tensor.strides]
        return np.lib.stride_tricks.as_strided(
            storage[tensor.offset :], tensor.shape, steps, writeable=False
        )

    def _float_type(self, name: str) -> str:
        return float_type(self.tensors[name].dtype, self.path, name)


def _gathered(dtype: str, strided: np.ndarray) -> np.ndarray:
    return widen(dtype, np.ascontiguousarray(strided).reshape(-1).view(np.uint8))


def _state(table: Any, path: Path) -> dict[str, Tensor]:
    """The tensors by name. Raises ContentError for a table of anything else."""
    if type(table) is not dict:
        raise Broken("something that is no table of tensors")
    for name, value in table.items():
        if type(name) is not str or type(value) is not Tensor:
            holds = "a table" if type(value) is dict else f"a value of type {type(value).__name__}"
            raise ContentError(
                f"{path}: {shorten(str(name))} is {holds}, not a tensor",
                "attn reads a plain table of tensors, as save_pretrained writes it",
            )
    return table


# --- the zip -------------------------------------------------------------------------------------


def _zip(data: mmap.mmap, path: Path) -> tuple[Any, dict[str, _Place]]:
    """What the pickle holds, and where each storage is."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in _members(path):
        if info.filename in members:
            raise Broken(f"two members {shorten(info.filename)!r}")
        if info.flag_bits & _ENCRYPTED:
            raise Broken(f"an encrypted member {shorten(info.filename)!r}")
        members[info.filename] = info
    tables = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
    if len(tables) != 1:
        raise Broken(f"{len(tables) or 'no'} members data.pkl")
    prefix = tables[0].removesuffix("data.pkl")
    order = members.get(f"{prefix}byteorder")
    if order is not None and _contents(data, path, order, 16) != b"little":
        raise ContentError(f"{path} is big endian", "attn reads little-endian files")
    table = walk(Cursor(_contents(data, path, members[tables[0]], MOST)), str(path))
    places, used = {}, _used(table)
    for storage in _storages(table):
        info = members.get(f"{prefix}data/{storage.key}")
        if info is None:
            continue  # told apart when the tensors are checked
        if info.file_size != storage.numel * storage.size:
            raise Broken(f"a storage {shorten(storage.key)!r} of another size than its tensors say")
        packed = "" if info.compress_type == zipfile.ZIP_STORED else info.filename
        if packed and storage.numel > used[storage.key]:
            raise Broken(f"a packed storage {shorten(storage.key)!r} larger than its tensors")
        places[storage.key] = _Place(0 if packed else _begin(data, info), packed)
    return table, places


def _storages(table: Any) -> Iterator[Storage]:
    values = table.values() if type(table) is dict else ()
    yield from {value.storage for value in values if type(value) is Tensor}


def _used(table: Any) -> dict[str, int]:
    """How many numbers of each storage the tensors take, all together."""
    used: dict[str, int] = {}
    for value in table.values() if type(table) is dict else ():
        if type(value) is Tensor:
            used[value.storage.key] = used.get(value.storage.key, 0) + value.numel
    return used


class _Sparing(io.FileIO):
    """Hands out a directory as long as a pickle may be: zipfile reads whatever length it claims."""

    def read(self, size: int | None = -1, /) -> bytes | None:
        if size is not None and size > MOST:
            raise Broken("a directory too long")
        return super().read(size)


def _members(path: Path) -> list[zipfile.ZipInfo]:
    try:
        with _Sparing(path) as file, zipfile.ZipFile(file) as archive:
            return archive.infolist()
    except Exception:  # zipfile raises a dozen kinds for a damaged directory
        raise Broken("its directory is damaged") from None


def _begin(data: mmap.mmap, info: zipfile.ZipInfo) -> int:
    """Where a stored member's bytes begin: behind its local header, which is of its own length."""
    at = info.header_offset
    if not 0 <= at <= len(data) - _LOCAL.size - 4:
        raise Broken("a member that runs past the end")
    magic, name, extra = _LOCAL.unpack_from(data, at)
    begin = at + _LOCAL.size + name + extra
    if magic != b"PK\x03\x04" or begin + info.file_size > len(data):
        raise Broken("a member that runs past the end")
    return begin


def _contents(data: mmap.mmap, path: Path, info: zipfile.ZipInfo, limit: int) -> bytes:
    if info.file_size > limit:
        raise Broken(f"a member {shorten(info.filename)!r} of {info.file_size:,} bytes")
    if info.compress_type != zipfile.ZIP_STORED:
        return _unpack(path, info.filename)
    begin = _begin(data, info)
    return data[begin : begin + info.file_size]


def _unpack(path: Path, name: str) -> bytes:
    """A packed member, never more of it than the directory says."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as member:
            size = archive.getinfo(name).file_size
            found = member.read(size)
    except Exception:  # as in `_members`; a wrong checksum too
        raise ContentError(f"{path}: the member {shorten(name)} is damaged") from None
    if len(found) != size:
        raise ContentError(f"{path}: the member {shorten(name)} is damaged")
    return found


# --- the row of pickles --------------------------------------------------------------------------


def _row(data: mmap.mmap, path: Path) -> tuple[Any, dict[str, _Place]]:
    """Magic number, version, facts of the machine, the table, the storages' keys; then storages."""
    if data[257:262] == b"ustar":
        raise ContentError(f"{path} is of the form before PyTorch 0.4", "save the model again")
    if data[:1] not in _BEGINNINGS:
        raise Broken("it begins like none")
    cursor = Cursor(data)
    magic, protocol, machine = (walk(cursor, str(path)) for _ in range(3))
    if (magic, protocol) != (_MAGIC, _PROTOCOL) or type(machine) is not dict:
        raise Broken("another version")
    if machine.get("little_endian") is not True:
        raise ContentError(f"{path} is big endian", "attn reads little-endian files")
    table, keys = walk(cursor, str(path)), walk(cursor, str(path))
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise Broken("no list of storages")
    known = {storage.key: storage for storage in _storages(table)}
    places: dict[str, _Place] = {}
    at = cursor.at
    for key in keys:
        if key not in known or key in places:
            raise Broken(f"a storage {shorten(key)!r} that belongs to no tensor")
        if at + _U64.size > len(data):
            raise Broken("a storage that runs past the end")
        storage = known[key]
        if _U64.unpack_from(data, at)[0] != storage.numel:
            raise Broken(f"a storage {shorten(key)!r} of another size than its tensors say")
        places[key] = _Place(at + _U64.size)
        at += _U64.size + storage.numel * storage.size
    if at != len(data):
        raise Broken("bytes behind its last storage" if at < len(data) else "it is cut off")
    return table, places
