"""A bounded, lazy, memory-mapped reader of GGUF files, versions 2 and 3, little endian.

Format: magic, version, counts; the metadata; what each tensor is; padding; the tensors' bytes.
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
import mmap
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from attn_cli.checkpoints.dequantise import TYPES, dequantise, scales_of
from attn_cli.checkpoints.mapped import map_file
from attn_cli.checkpoints.tensor import Tensor, span
from attn_cli.errors import ContentError
from attn_cli.strict import looks_like

Value = int | float | bool | str | list["Value"]
T = TypeVar("T", int, float, bool, str, list)

_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
# The value types of the metadata.
_SCALARS = dict(enumerate("BbHhIif?")) | {10: "Q", 11: "q", 12: "d"}
_BOOL, _STRING, _ARRAY, _UINT32 = 7, 8, 9, 4
_SIZES = {kind: struct.calcsize(f"<{code}") for kind, code in _SCALARS.items()}
# The fewest bytes a value can have, and an entry: no name, and one byte or no dimensions.
_LEAST = _SIZES | {_STRING: 8, _ARRAY: 12}
_LEAST_ENTRY, _LEAST_TENSOR = 13, 24
_MAX_HEADER = 100_000_000
_MAX_ENTRIES = 1 << 17
# Of an array: vocabularies have 300,000 tokens, and twice as many merges. It takes 100 MB decoded.
_MAX_VALUES = 1 << 21
_MAX_NAME, _MAX_NESTING, _MAX_DIMENSIONS = 65_535, 4, 4
_ALIGNMENTS = {1 << n for n in range(3, 21)}


class Gguf:
    """The metadata and tensors of one file. Opening walks the header and decodes none of it.

    Shapes are numpy's, the reverse of the file's: rows first, the contiguous axis last.
    Raises ContentError for a file that is not exactly a GGUF file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        header = _Header(map_file(path, "GGUF", 24), path)
        tensors, entries = header.start()
        spans = header.entries(entries)
        self.metadata: Mapping[str, Value] = _Metadata(header, spans)
        self.tensors = header.tensors(tensors, header.alignment(spans))

    def field(self, key: str, kind: type[T]) -> T:
        """A metadata value that must be there and of exactly this type. Raises ContentError."""
        value = self.metadata.get(key)
        if type(value) is not kind:
            what = "lacks" if value is None else f"has a value that is not {kind.__name__} for"
            raise ContentError(f"{self.path} {what} the key {key}")
        return value


class _Header:
    """A cursor over the header: nothing is read, looped over or stored before `claim` allows it."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self._data, self._path, self._at = data, path, 0
        self._inner = 0  # arrays within arrays so far
        self._end = min(len(data), _MAX_HEADER)

    def broken(self, what: str, hint: str = "the file is damaged or incomplete") -> ContentError:
        return ContentError(f"{self._path} is not a readable GGUF file: {what[:300]}", hint)

    def claim(self, count: int, size: int, what: str) -> int:
        """Moves past count x size bytes if they are there; returns where they begin."""
        begin = self._at
        if count * size > self._end - begin:
            limit = "file" if self._end == len(self._data) else "100 MB a header may have"
            raise self.broken(f"{what} runs past the end of the {limit}")
        self._at = begin + count * size
        return begin

    def start(self) -> tuple[int, int]:
        """The counts of tensors and of metadata entries."""
        start = self._data[:64]
        if start[:4] != b"GGUF":
            looks = looks_like(start)
            hint = f"it looks like {looks}" if looks else "attn reads GGUF and safetensors files"
            raise self.broken("it does not begin with GGUF", hint)
        version = int.from_bytes(start[4:8], "little")
        if version and not version & 0xFFFF:
            raise self.broken("it is big endian", "attn reads little-endian files")
        if version not in {2, 3}:
            raise self.broken(f"its version is {version}", "attn reads versions 2 and 3")
        self._at = 8
        return self._number(_U64, "the header"), self._number(_U64, "the header")

    def entries(self, count: int) -> dict[str, tuple[int, int]]:
        """The value type of each key and where its value begins."""
        self._few(count, _LEAST_ENTRY, "metadata entries")
        spans: dict[str, tuple[int, int]] = {}
        for _ in range(count):
            key = self._name("a metadata key")
            if key in spans:
                raise self.broken(f"two entries have the key {key}")
            kind = self._number(_U32, key)
            spans[key] = kind, self._at
            self._skip(kind, key, 0)
        return spans

    def alignment(self, spans: Mapping[str, tuple[int, int]]) -> int:
        """What the offsets of tensors are multiples of."""
        kind, begin = spans.get("general.alignment", (0, 0))
        if not begin:
            return 32
        alignment = _U32.unpack_from(self._data, begin)[0] if kind == _UINT32 else 0
        if alignment not in _ALIGNMENTS:
            raise self.broken("its alignment is not a power of two from 8 to 1,048,576")
        return alignment

    def tensors(self, count: int, alignment: int) -> dict[str, Tensor]:
        self._few(count, _LEAST_TENSOR, "tensors")
        read: dict[str, tuple[int, int, str, tuple[int, ...]]] = {}
        for _ in range(count):
            name = self._name("a tensor name")
            if name in read:
                raise self.broken(f"two tensors have the name {name}")
            read[name] = self._tensor(f"tensor {name}", alignment)
        start, last = self._at + -self._at % alignment, 0
        for name, (offset, size, *_) in sorted(read.items(), key=lambda item: item[1][:2]):
            if offset < last:
                raise self.broken(f"tensor {name} overlaps another")
            hole, last = offset >= last + alignment, offset + size
            if start + last > len(self._data):
                raise self.broken(f"tensor {name} runs past the end of the file")
            if hole:
                raise self.broken(f"a hole before tensor {name}")
        tensors: dict[str, Tensor] = {}
        for name, (offset, size, dtype, shape) in read.items():
            where, begin = f"{self._path}: tensor {name}:", start + offset
            readers = dequantise, scales_of(dtype)
            tensors[name] = span(self._data, begin, size, dtype, shape, where, *readers)
        return tensors

    def _tensor(self, what: str, alignment: int) -> tuple[int, int, str, tuple[int, ...]]:
        """Offset from where the tensors' bytes begin, size, type and shape."""
        dimensions = self._number(_U32, what)
        if dimensions > _MAX_DIMENSIONS:
            raise self.broken(f"{dimensions} dimensions, more than 4, in {what}")
        begin = self.claim(dimensions, 8, what)
        shape = struct.unpack_from(f"<{dimensions}Q", self._data, begin)[::-1]
        number, offset = self._number(_U32, what), self._number(_U64, what)
        if number not in TYPES:
            raise self.broken(f"unknown type {number} in {what}")
        dtype, block, size = TYPES[number]
        if 0 in shape:
            raise self.broken(f"an empty dimension in {what}")
        if (shape[-1] if shape else 1) % block:
            raise self.broken(f"rows that are not whole blocks of {block} in {what}")
        if offset % alignment:
            raise self.broken(f"misaligned offset {offset} in {what}")
        return offset, math.prod(shape) // block * size, dtype, shape

    def _few(self, count: int, least: int, what: str) -> None:
        if count > _MAX_ENTRIES or count * least > self._end - self._at:
            raise self.broken(f"it claims {count:,} {what}")

    def _number(self, form: struct.Struct, what: str) -> int:
        return form.unpack_from(self._data, self.claim(1, form.size, what))[0]

    def _name(self, what: str) -> str:
        length = self._number(_U64, what)
        if length > _MAX_NAME:
            raise self.broken(f"{what} claims {length:,} bytes")
        return self._text(self.claim(length, 1, what), length, what)

    def _text(self, begin: int, length: int, what: str) -> str:
        try:
            return self._data[begin : begin + length].decode()
        except UnicodeDecodeError:
            raise self.broken(f"{what} is not UTF-8") from None

    def _skip(self, kind: int, key: str, depth: int) -> None:
        """Moves past a value."""
        if kind in _SIZES:
            self.claim(1, _SIZES[kind], key)
        elif kind == _STRING:
            self.claim(self._number(_U64, key), 1, key)
        elif kind != _ARRAY:
            raise self.broken(f"unknown value type {kind} in {key}")
        elif depth == _MAX_NESTING:
            raise self.broken(f"arrays nested deeper than {_MAX_NESTING} in {key}")
        else:
            self._skip_array(self._number(_U32, key), self._number(_U64, key), key, depth + 1)

    def _skip_array(self, inner: int, count: int, key: str, depth: int) -> None:
        if inner not in _LEAST:
            raise self.broken(f"unknown value type {inner} in {key}")
        begin = self.claim(count, _LEAST[inner], key)
        if count > _MAX_VALUES:
            raise self.broken(f"{key} has {count:,} values")
        if inner in _SIZES:
            return
        self._at = begin
        if inner != _STRING:
            self._inner += count
            self._few(self._inner, 0, f"arrays within {key}")
            for _ in range(count):
                self._skip(inner, key, depth)
            return
        # A vocabulary has 100,000 strings: this loop is most of the time that opening takes.
        data, length_at, after, last = self._data, _U64.unpack_from, begin, self._end - _U64.size
        for _ in range(count):
            if after > last:
                after = self._end + 1
                break
            after += 8 + length_at(data, after)[0]
        self.claim(after - begin, 1, key)

    def value(self, kind: int, begin: int, key: str) -> tuple[Value, int]:
        """The value there, which `_skip` has measured, and where it ends."""
        if kind in _SCALARS:
            values, end = self._scalars(kind, 1, begin, key)
            return values[0], end
        if kind == _STRING:
            length, begin = _U64.unpack_from(self._data, begin)[0], begin + 8
            return self._text(begin, length, key), begin + length
        inner, count = struct.unpack_from("<IQ", self._data, begin)
        begin += 12
        if inner in _SCALARS:
            return self._scalars(inner, count, begin, key)
        values = []
        for _ in range(count):
            item, begin = self.value(inner, begin, key)
            values.append(item)
        return values, begin

    def _scalars(self, kind: int, count: int, begin: int, key: str) -> tuple[list[Value], int]:
        end = begin + count * _SIZES[kind]
        if kind == _BOOL and self._data[begin:end].strip(b"\0\1"):
            raise self.broken(f"a truth value that is neither 0 nor 1 in {key}")
        return list(struct.unpack_from(f"<{count}{_SCALARS[kind]}", self._data, begin)), end


class _Metadata(Mapping[str, Value]):
    """The header's values, each decoded when it is first asked for."""

    def __init__(self, header: _Header, spans: dict[str, tuple[int, int]]) -> None:
        self._header, self._spans = header, spans
        self._known: dict[str, Value] = {}

    def __getitem__(self, key: str) -> Value:
        if key not in self._known:
            self._known[key] = self._header.value(*self._spans[key], key)[0]
        return self._known[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)
