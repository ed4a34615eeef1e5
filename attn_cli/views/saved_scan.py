"""Tables of a scan read again, Parquet and JSON lines: the document that they were made of."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attn_cli.errors import ContentError
from attn_cli.views import parquet, parquet_apart
from attn_cli.views.check import fault
from attn_cli.views.json import encode
from attn_cli.views.saved import command_of, parsed
from attn_cli.views.scan_rows import OF_HEAD, found_without_rows
from attn_cli.views.schema import scan_row

MAGIC = b"PAR1"
DAMAGED = parquet_apart.DAMAGED
_PATIENCE = 300.0  # seconds


# --- Parquet -------------------------------------------------------------------------------------


def of_parquet(data: bytes, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a scan, of this schema, whose table is this Parquet. Raises ContentError for
    any other, one that is damaged, and where pyarrow is not there."""
    parquet.check()
    found = _apart(data)
    if "problem" in found:
        raise ContentError(*found["problem"])
    return _joined(found["rows"], found["about"], schema)


def _apart(data: bytes) -> dict[str, Any]:
    """What a process of its own reads: damaged bytes can end the one that has the library."""
    path = os.pathsep.join(filter(None, sys.path))
    try:
        found = subprocess.check_output(
            [sys.executable, "-m", "attn_cli.views.parquet_apart"], input=data,
            stderr=subprocess.DEVNULL, timeout=_PATIENCE, env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )  # fmt: skip
        return parsed(found)
    except (subprocess.SubprocessError, OSError, ContentError):
        raise ContentError(parquet_apart.UNREADABLE, DAMAGED) from None


# --- JSON lines ----------------------------------------------------------------------------------


def is_row(found: Mapping[str, Any]) -> bool:
    """Whether an object is a row of a scan."""
    return "measure" in found and "schema" not in found


def of_lines(lines: Iterable[Mapping[str, Any]], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a scan, of this schema, whose rows are these lines, and last what it says
    beside them. Raises ContentError."""
    *rows, about = lines
    if is_row(about):
        raise ContentError("its last line, which says what its rows are of, is missing", DAMAGED)
    command_of(about, ["scan"])
    return _joined(rows, about, schema)


# --- both ----------------------------------------------------------------------------------------


def _joined(
    rows: Iterable[Mapping[str, Any]], about: Mapping[str, Any], schema: Mapping[str, Any]
) -> dict[str, Any]:
    """The document whose rows these are. Raises ContentError where they are none."""
    result = about.get("result")
    if not isinstance(result, dict) or {*result} != {*found_without_rows()}:
        raise ContentError("what it says beside its rows is no document of attn scan", DAMAGED)
    allowed, texts, heads = scan_row(schema), {}, {}
    for number, row in enumerate(rows):
        if wrong := fault({**allowed, "$defs": schema["$defs"]}, row):
            raise ContentError(f"row {number} is none of attn scan: {wrong}", DAMAGED)
        at = tuple(row[name] for name in OF_HEAD)
        if at not in heads:
            own = {name: row[name] for name in (*OF_HEAD, "provenance")}
            heads[at] = {**own, "measures": [], "pairs": row["pairs"]}
        elif at != next(reversed(heads)) or row["provenance"] != heads[at]["provenance"]:
            raise ContentError("its rows do not fit together", DAMAGED)
        left_out = (*OF_HEAD, "provenance", "examples", "pairs")
        own = {name: value for name, value in row.items() if name not in left_out}
        examples = [_example(one, texts) for one in row["examples"]]
        heads[at]["measures"].append({**own, "examples": examples})
    order = sorted(texts)
    _number(heads.values(), order)
    shown = {"texts": [texts[place] for place in order], "heads": list(heads.values())}
    return parsed(encode({**about, "result": {**result, **shown}}))


def _example(one: Mapping[str, Any], texts: dict[tuple[Any, ...], Any]) -> dict[str, Any]:
    """An example that says where its prompt begins; the prompt is kept once."""
    text = {name: v for name, v in one.items() if name not in ("value", "query", "key")}
    place = text["file"], text["line"], text["chunk"]
    if texts.setdefault(place, text) != text:
        raise ContentError("two prompts of it stand at the same place", DAMAGED)
    return {"value": one["value"], "text": place, "query": one["query"], "key": one["key"]}


def _number(heads: Iterable[Mapping[str, Any]], order: Sequence[tuple[Any, ...]]) -> None:
    """Numbers the prompts in the order of their places."""
    numbers = {place: i for i, place in enumerate(order)}
    for head in heads:
        for measure in head["measures"]:
            for example in measure["examples"]:
                example["text"] = numbers[example["text"]]
