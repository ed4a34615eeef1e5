"""The table of a scan as Parquet, with what its document says beside in the file's metadata."""

from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from itertools import groupby
from math import isnan
from typing import Any

from attn_cli.errors import ContentError
from attn_cli.views.json import encode
from attn_cli.words import sentence

DOCUMENT = b"attn.document"


def schema(pa: Any) -> Any:
    """The columns and their types."""
    words = pa.list_(pa.string())
    example = [
        ("value", pa.float64()), ("query", pa.int32()), ("key", pa.int32()), ("file", pa.string()),
        ("line", pa.int64()), ("chunk", pa.int32()), ("ids", pa.list_(pa.int32())),
        ("tokens", words),
    ]  # fmt: skip
    pair = [
        ("query", pa.string()), ("key", pa.string()), ("query_id", pa.int32()),
        ("key_id", pa.int32()), ("count", pa.int64()),
    ]  # fmt: skip
    names = ("mean", "deviation", "minimum", "maximum", "p05", "p25", "p50", "p75", "p95")
    return pa.schema([
        ("stack", pa.string()), ("kind", pa.string()), ("layer", pa.int32()), ("head", pa.int32()),
        ("measure", pa.string()), ("provenance", pa.string()), ("count", pa.int64()),
        ("nonfinite", pa.int64()), *((name, pa.float64()) for name in names),
        ("examples", pa.list_(pa.struct(example))), ("pairs", pa.list_(pa.struct(pair))),
    ])  # fmt: skip


def check() -> None:
    """Raises ContentError where the package pyarrow is not there."""
    if find_spec("pyarrow") is None:
        raise ContentError(sentence("scan.lacks"), sentence("scan.lacks_hint"))


def library() -> Any:
    """The package pyarrow. Raises ContentError where it is not there."""
    check()
    import pyarrow
    import pyarrow.parquet

    return pyarrow


def render(rows: Iterable[Mapping[str, Any]], about: Mapping[str, Any]) -> Iterator[bytes]:
    """The file, a layer at a time."""
    pa = library()
    columns = schema(pa).with_metadata({DOCUMENT: encode(about)})
    sink = _Sink()
    with pa.parquet.ParquetWriter(
        pa.PythonFile(sink, mode="w"), columns, write_page_checksum=True
    ) as writer:
        for _, some in groupby(rows, lambda row: (row["stack"], row["kind"], row["layer"])):
            writer.write_table(pa.Table.from_pylist(list(map(_known, some)), schema=columns))
            yield sink.taken()
    yield sink.taken()


def _known(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row where null stands for what is no number."""
    return {n: None if isinstance(v, float) and isnan(v) else v for n, v in row.items()}


class _Sink:
    """A file that holds what was written until it is taken."""

    closed = False

    def __init__(self) -> None:
        self._held, self._at = bytearray(), 0

    def write(self, data: Any) -> int:
        taken = bytes(data)
        self._held += taken
        self._at += len(taken)
        return len(taken)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        """Nothing is between this and the one who takes."""

    def close(self) -> None:
        """It is taken afterwards."""

    def taken(self) -> bytes:
        found = bytes(self._held)
        self._held.clear()
        return found
