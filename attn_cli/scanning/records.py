"""What is known of some parts of a corpus: a `Record`, which is saved, read and merged.

Records are a commutative monoid: any merging of the same parts has the same bytes, and an empty one
changes nothing.
"""

import json
import zlib
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from attn_cli.errors import ContentError
from attn_cli.scanning.examples import Examples, Place
from attn_cli.scanning.job import Measured
from attn_cli.scanning.pairs import Pairs
from attn_cli.scanning.statistics import Statistics

_MAGIC = b"attn.scan.part/1\n"
_PAYLOAD = 1 << 34  # bytes at most
_STANDS_FOR = 1100  # bytes, more than a packed one can
_TOGETHER, _UNPACKED = 1 << 16, 1 << 22  # bytes that are unpacked at once, and come of it at most
_FAILED = 20  # lines that are named
_TYPES = {"<i8", "<i4", "<f8"}


class Failed(NamedTuple):
    """A line that could not be measured, and why."""

    file: str
    line: int
    chunk: int
    message: str
    hint: str


class Shape(NamedTuple):
    """How many heads a record has, of which measures, and whether it counts pairs of tokens."""

    heads: int
    measures: tuple[Measured, ...]
    by_token: bool


class Record:
    """What is known of the parts whose numbers and digests `parts` has, for one job.

    `prompts` and `tokens` count what was measured, `failed` the lines that were not, of which
    `failures` are the first. `blind` queries saw no key; `touched` (head) is 1 where a what-if has
    changed something of a head.
    """

    def __init__(self, job: str, shape: Shape) -> None:
        self.job, self.shape = job, shape
        self.parts: dict[int, str] = {}
        self.prompts = self.tokens = self.failed = self.blind = 0
        self.touched = np.zeros(shape.heads, np.int64)
        self.failures: list[Failed] = []
        self.statistics = Statistics(shape.heads, [one.top for one in shape.measures])
        self.examples = Examples(shape.heads, [one.sign for one in shape.measures])
        self.pairs = Pairs() if shape.by_token else None

    def fail(self, *failure: Any) -> None:
        """Counts a line that could not be measured, and why: the fields of `Failed`."""
        self.failed += 1
        if len(self.failures) < _FAILED:
            self.failures.append(Failed(*failure))

    def merge(self, other: "Record") -> None:
        """Takes in what is known of other parts. Raises ValueError where they are not others."""
        if other.job != self.job or self.parts.keys() & other.parts.keys():
            raise ValueError("records of another job, or of a part that is known")
        self.parts |= other.parts
        for name in ("prompts", "tokens", "failed", "blind"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.touched |= other.touched
        self.failures = sorted(self.failures + other.failures)[:_FAILED]
        self.statistics.merge(other.statistics)
        self.examples.merge(other.examples)
        if self.pairs is not None:
            self.pairs.take(other.pairs.arrays)

    # --- as bytes --------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """As `read` takes it; equal records have equal bytes."""
        self.examples.settle()
        arrays = self._arrays()
        packer = zlib.compressobj(1)  # array by array: all of them are large
        packed = [packer.compress(array) for array in arrays.values() if array.size]
        counts = ("prompts", "tokens", "failed", "blind", "failures")
        header = {
            "job": self.job,
            "parts": sorted(self.parts.items()),
            **{name: getattr(self, name) for name in counts},
            "places": self.examples.places,
            "arrays": [[n, a.dtype.str, a.shape] for n, a in arrays.items()],
        }
        told = json.dumps(header, ensure_ascii=True, separators=(",", ":")).encode()
        rest = b"".join((len(told).to_bytes(4, "big"), told, *packed, packer.flush()))
        return _MAGIC + _digest(rest) + rest

    def _arrays(self) -> dict[str, np.ndarray]:
        ids = self.examples.prompts
        found = {"touched": self.touched}
        found |= {f"statistics.{n}": a for n, a in self.statistics.arrays.items()}
        found |= {f"examples.{n}": a for n, a in self.examples.arrays.items()}
        found["examples.lengths"] = np.array([len(one) for one in ids], np.int32)
        found["examples.ids"] = np.concatenate([np.zeros(0, np.int32), *ids])
        if self.pairs is not None:
            found |= {f"pairs.{n}": a for n, a in self.pairs.arrays.items()}
        return {n: np.ascontiguousarray(a, a.dtype.newbyteorder("<")) for n, a in found.items()}


def read(data: bytes, job: str, shape: Shape) -> Record:
    """The record that `to_bytes` has written. Raises ContentError where it is another job's, or
    damaged."""
    header, payload = _split(data)
    if header.get("job") != job:
        raise ContentError("it is of another model, other settings or another version of attn")
    record = Record(job, shape)
    try:
        arrays = _unpacked(header, payload)
        _fill(record, header, arrays)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, zlib.error):
        raise ContentError("it is damaged") from None
    return record


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the payload of a record, once they are what was written."""
    start = len(_MAGIC) + 16
    if not data.startswith(_MAGIC):
        raise ContentError("it is no part of a scan")
    if data[len(_MAGIC) : start] != _digest(data[start:]):
        raise ContentError("it is damaged, or cut off")
    size = int.from_bytes(data[start : start + 4], "big")
    header, payload = data[start + 4 : start + 4 + size], data[start + 4 + size :]
    try:
        found = json.loads(header)
    except (ValueError, RecursionError):
        raise ContentError("it is damaged") from None
    if not isinstance(found, dict):
        raise ContentError("it is damaged")
    return found, payload


def _unpacked(header: Mapping[str, Any], payload: bytes) -> dict[str, np.ndarray]:
    """The arrays of a record, each as long as it says. Raises ValueError, zlib.error."""
    shapes = {name: (kind, tuple(map(int, shape))) for name, kind, shape in header["arrays"]}
    sizes = {}
    for name, (kind, shape) in shapes.items():
        if kind not in _TYPES or any(side < 0 for side in shape) or len(shape) > 4:
            raise ValueError
        count = 1
        for side in shape:
            count *= side
        sizes[name] = count * np.dtype(kind).itemsize
    whole = sum(sizes.values())
    if whole > min(_PAYLOAD, _STANDS_FOR * len(payload)):
        raise ValueError
    data, start, found = _inflated(payload, whole), 0, {}
    for name, (kind, shape) in shapes.items():
        count = sizes[name] // np.dtype(kind).itemsize
        array = np.frombuffer(data, kind, count, start).reshape(shape)
        found[name] = array.astype(kind[1:], copy=False)
        start += sizes[name]
    return found


def _inflated(payload: bytes, size: int) -> bytearray:
    """So many bytes, never twice in memory. Raises ValueError, zlib.error."""
    unpacker, found, end = zlib.decompressobj(), bytearray(size), 0
    for start in range(0, len(payload), _TOGETHER):
        rest = payload[start : start + _TOGETHER]
        while rest:
            some = unpacker.decompress(rest, _UNPACKED)
            rest = unpacker.unconsumed_tail
            if end + len(some) > size:
                raise ValueError
            found[end : end + len(some)] = some
            end += len(some)
    if end != size or not unpacker.eof:
        raise ValueError
    return found


def _fill(record: Record, header: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> None:
    record.parts = {int(number): str(digest) for number, digest in header["parts"]}
    for name in ("prompts", "tokens", "failed", "blind"):
        setattr(record, name, int(header[name]))
    record.failures = [
        Failed(str(f), int(line), int(chunk), str(m), str(h))
        for f, line, chunk, m, h in header["failures"]
    ]
    wanted = record._arrays()
    free = ("examples.lengths", "examples.ids", "pairs.rows", "pairs.counts")
    for name, array in wanted.items():
        given = arrays[name]
        same = given.shape == array.shape
        if given.dtype != array.dtype or not (same or (name in free and given.ndim == array.ndim)):
            raise ValueError
    record.touched = arrays["touched"]
    for name in record.statistics.arrays:
        setattr(record.statistics, name, arrays[f"statistics.{name}"])
    _fill_examples(record.examples, header, arrays)
    if record.pairs is not None:
        record.pairs.take({n: arrays[f"pairs.{n}"] for n in ("rows", "counts", "below")})


def _fill_examples(
    examples: Examples, header: Mapping[str, Any], arrays: dict[str, np.ndarray]
) -> None:
    for name in examples.arrays:
        setattr(examples, f"_{name}", arrays[f"examples.{name}"])
    examples.places = [Place(str(f), int(line), int(n)) for f, line, n in header["places"]]
    lengths, ids = arrays["examples.lengths"], arrays["examples.ids"]
    ends = np.cumsum(lengths, dtype=np.int64)
    at = arrays["examples.place"]
    if len(lengths) != len(examples.places) or (lengths < 0).any() or ids.size != lengths.sum():
        raise ValueError
    if at.size and not -1 <= at.min() <= at.max() < len(lengths):
        raise ValueError
    # Copies: what they are merged into keeps them, and would keep all that was unpacked.
    examples.prompts = [ids[end - n : end].copy() for end, n in zip(ends, lengths, strict=True)]
