"""A lazy, memory-mapped reader of `pytorch_model.bin`, without PyTorch and without running code.

Since PyTorch 1.6 such a file is a zip: `data.pkl` says which tensors there are, `data/KEY` holds
the values of a storage. Before, it was a row of pickles, followed by the storages.
https://github.com/pytorch/pytorch/blob/main/torch/serialization.py
"""

import mmap
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from attn_cli.checkpoints import zips
from attn_cli.checkpoints.mapped import map_file
from attn_cli.checkpoints.pickles import MOST, Broken, Cursor, View, walk
from attn_cli.checkpoints.tensor import Tensor, span
from attn_cli.errors import ContentError, shorten
from attn_cli.strict import looks_like

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
# A pickle's version; or, in the oldest, a name or a mark: then it is refused by what it asks for.
_BEGINNINGS = (b"\x80", b"c", b"(")
_LOCAL = struct.Struct("<4s22xHH")
_U64 = struct.Struct("<Q")
_STREAMED, _UTF8 = 1 << 3, 1 << 11


class _Place(NamedTuple):
    """Where a storage lies: in the file from `begin` on, or `packed` in this member of the zip."""

    begin: int
    packed: str = ""


def open_torch(path: Path) -> dict[str, Tensor]:
    """The tensors of one file, of which only the pickle is walked here.

    Raises ContentError for a file that is not exactly what torch.save writes, or whose pickle asks
    for anything that tensors are not rebuilt from.
    """
    data = map_file(path, "PyTorch", 4)
    zipped = data[:4] == b"PK\x03\x04"
    try:
        table, places = _zip(data, path) if zipped else _row(data, path)
        views = _state(table, path)
        for key in (view.storage.key for view in views.values()):
            if key not in places:
                raise Broken(f"a storage {shorten(key)!r} that is not there")
    except Broken as broken:
        looks = "" if zipped else looks_like(data[:64])
        hint = f"it looks like {looks}" if looks else "the file is damaged or incomplete"
        raise ContentError(f"{path} is not a PyTorch file: {broken}", hint) from None
    unpack = lru_cache(maxsize=1)(partial(_unpack, path))  # tensors may share a packed storage
    return {
        name: _tensor(data, view, places[view.storage.key], f"{path}: tensor {name}", unpack)
        for name, view in views.items()
    }


def _tensor(
    data: mmap.mmap, view: View, place: _Place, where: str, unpack: Callable[[str], bytes]
) -> Tensor:
    _, dtype, width, numel = view.storage
    begin = place.begin + view.offset * width
    found = span(data, begin, view.numel * width, dtype, view.shape, where)
    if view.contiguous and not place.packed:
        return found

    def stored() -> np.ndarray:
        """The values where they stand, which may be apart from each other: no copy is made."""
        whole, at = (unpack(place.packed), 0) if place.packed else (data, place.begin)
        values = np.frombuffer(whole, f"u{width}", numel, at)[view.offset :]
        steps = [step * width for step in view.strides]
        return np.lib.stride_tricks.as_strided(values, view.shape, steps, writeable=False)

    release = (lambda: None) if place.packed else found.release
    return found._replace(stored=stored, release=release, forget=lambda first, end: None)


def _state(table: Any, path: Path) -> dict[str, View]:
    """The tensors by name. Raises ContentError for a table of anything else."""
    if type(table) is not dict:
        raise Broken("something that is no table of tensors")
    for name, value in table.items():
        if type(name) is not str or type(value) is not View:
            holds = "a table" if type(value) is dict else f"a value of type {type(value).__name__}"
            raise ContentError(
                f"{path}: {shorten(str(name))} is {holds}, not a tensor",
                "attn reads a plain table of tensors, as save_pretrained writes it",
            )
    return table


# --- the zip -------------------------------------------------------------------------------------


def _zip(data: mmap.mmap, path: Path) -> tuple[Any, dict[str, _Place]]:
    """What the pickle holds, and where each storage is."""
    try:
        with path.open("rb") as file:
            members = zips.members(file)
    except zips.Damaged as problem:
        raise Broken(str(problem)) from None
    tables = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
    if len(tables) != 1:
        raise Broken(f"{len(tables) or 'no'} members data.pkl")
    prefix = tables[0].removesuffix("data.pkl")
    order = members.get(f"{prefix}byteorder")
    if order is not None and _contents(data, path, order, 16) != b"little":
        raise ContentError(f"{path} is big endian", "attn reads little-endian files")
    table = walk(Cursor(_contents(data, path, members[tables[0]], MOST)), str(path))
    places: dict[str, _Place] = {}
    used: Counter[str] = Counter()  # values of each storage that the tensors take, all together
    for view in _views(table):
        used[view.storage.key] += view.numel
    for storage in {view.storage for view in _views(table)}:
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


def _views(table: Any) -> list[View]:
    values = table.values() if type(table) is dict else ()
    return [value for value in values if type(value) is View]


def _begin(data: mmap.mmap, info: zipfile.ZipInfo) -> int:
    """Where a stored member's bytes begin: after its local header, which is of its own length."""
    at = info.header_offset
    if not 0 <= at <= len(data) - _LOCAL.size - 4:
        raise Broken("a member that runs past the end")
    magic, name, extra = _LOCAL.unpack_from(data, at)
    begin = at + _LOCAL.size + name + extra
    encoding = "utf-8" if info.flag_bits & _UTF8 else "cp437"
    if data[begin - name - extra : begin - extra] != info.orig_filename.encode(encoding, "replace"):
        raise Broken(f"a member {shorten(info.filename)!r} that is another")
    place, end = begin - extra, begin + info.file_size
    while place < begin:  # records of their own length each, between the name and the bytes
        place += 4 + int.from_bytes(data[place + 2 : place + 4], "little")
    if place != begin:
        raise Broken(f"a member {shorten(info.filename)!r} whose header is damaged")
    # Behind the bytes their checksum or the next header begins: where a length above is not true,
    # it does not.
    checksum = b"PK\x07\x08" + info.CRC.to_bytes(4, "little")
    behind = (checksum,) if info.flag_bits & _STREAMED else (b"PK\x01\x02", b"PK\x03\x04")
    if not data[end : end + 8].startswith(behind):
        raise Broken("a member that runs past the end, or ends before it")
    if magic != b"PK\x03\x04" or begin + info.file_size > len(data):
        raise Broken("a member that runs past the end")
    return begin


def _contents(data: mmap.mmap, path: Path, info: zipfile.ZipInfo, limit: int) -> bytes:
    if info.file_size > limit:
        raise Broken(f"a member {shorten(info.filename)!r} of {info.file_size:,} bytes")
    if info.compress_type != zipfile.ZIP_STORED:
        return _unpack(path, info.filename)
    begin = _begin(data, info)
    found = data[begin : begin + info.file_size]
    if info.CRC not in (0, zlib.crc32(found)):
        raise Broken(f"a member {shorten(info.filename)!r} with a wrong checksum")
    return found


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
        raise Broken("it does not begin like a PyTorch file")
    cursor = Cursor(data)
    magic, protocol, machine = (walk(cursor, str(path)) for _ in range(3))
    if (magic, protocol) != (_MAGIC, _PROTOCOL) or type(machine) is not dict:
        raise Broken("another version")
    if machine.get("little_endian") is not True:
        raise ContentError(f"{path} is big endian", "attn reads little-endian files")
    table, keys = walk(cursor, str(path)), walk(cursor, str(path))
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise Broken("no list of storages")
    known = {view.storage.key: view.storage for view in _views(table)}
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
