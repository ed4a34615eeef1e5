"""A process that reads the Parquet of a scan: its bytes in, JSON out, and so much memory at most.

Damaged bytes can make the library end the process that it is in, or ask for any amount of memory.
"""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from attn_cli import machine
from attn_cli.errors import ContentError, shorten, size
from attn_cli.views import parquet
from attn_cli.views.json import encode, record
from attn_cli.views.saved import command_of, parsed
from attn_cli.writing import write_all

DAMAGED = "it is damaged, or was changed since attn wrote it"
UNREADABLE = "it begins as Parquet and cannot be read"
_OTHER = "attn scan FILE… --out results.parquet writes what can be read here"
_TOGETHER = 256  # rows that are read at once
_ABOUT = 1 << 28  # bytes of what is said beside the rows
_GROWS = 8  # bytes that Python takes for one of what is held, about


def main() -> None:
    """Reads standard input, writes the rows and what is said beside them, or what is wrong."""
    allowed = machine.available() // 2
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
    try:
        with open(0, "rb") as given:
            found = rows(given.read(), allowed)
    except ContentError as problem:
        found = {"problem": [problem.message, problem.hint]}
    write_all(1, encode(found))
    os._exit(0)  # the library has threads that may not end


def rows(data: bytes, allowed: int) -> dict[str, Any]:
    """The rows as JSON has them, and what is said beside. Raises ContentError."""
    pa = parquet.library()
    with _told(pa):
        file = pa.parquet.ParquetFile(
            pa.BufferReader(data), page_checksum_verification=True,
            thrift_string_size_limit=_ABOUT, thrift_container_size_limit=1 << 24,
        )  # fmt: skip
        found = file.schema_arrow
        stored = (found.metadata or {}).get(parquet.DOCUMENT)
        if stored is None:
            raise ContentError("it is Parquet, but no table of attn scan", _OTHER)
        about = parsed(stored)
        command_of(about, ["scan"])
        _check_columns(parquet.schema(pa), found)
        _check_size(file.metadata, allowed)
        batches = file.iter_batches(_TOGETHER, use_threads=False)
        every = [row for batch in batches for row in batch.to_pylist()]
    return {"about": about, "rows": record(every)}


@contextmanager
def _told(pa: Any) -> Iterator[None]:
    """What the library cannot read is said in words of our own."""
    try:
        yield
    except ContentError:
        raise
    except (pa.ArrowException, ArithmeticError, LookupError, MemoryError, OSError, RuntimeError,
            TypeError, ValueError):  # fmt: skip
        raise ContentError(UNREADABLE, DAMAGED) from None


def _check_columns(wanted: Any, found: Any) -> None:
    """Raises ContentError where columns are not those that are written."""
    for name in found.names:
        if found.names.count(name) > 1 or name not in wanted.names:
            raise ContentError(f"it has an unknown column {shorten(name)!r}", DAMAGED)
    for name in wanted.names:
        if name not in found.names:
            raise ContentError(f"it has no column {name}", DAMAGED)
        if not found.field(name).type.equals(wanted.field(name).type):
            kind = shorten(str(found.field(name).type))
            raise ContentError(f"its column {name} is of another type, {kind}", DAMAGED)


def _check_size(metadata: Any, allowed: int) -> None:
    """Raises ContentError where what it says to hold would take too much memory."""
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    columns = (group.column(i) for group in groups for i in range(metadata.num_columns))
    held = sum(max(0, one.total_uncompressed_size) + 8 * max(0, one.num_values) for one in columns)
    needed = _GROWS * held
    if needed > allowed:
        raise ContentError(
            f"it would take {size(needed)} of memory, more than half of what is free"
        )


if __name__ == "__main__":
    main()
