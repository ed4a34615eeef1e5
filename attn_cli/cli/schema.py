"""`attn schema`: the JSON Schema of a command's document."""

from importlib import import_module
from typing import Annotated

from typer import Argument, Option

from attn_cli.cli import output
from attn_cli.cli.commands import COMMANDS
from attn_cli.cli.options import complete, one_of

EXAMPLES = ("attn schema", "attn schema sample > sample.schema.json")

_NAMES = tuple(name for name, known in COMMANDS.items() if known.records)


def command(
    name: Annotated[
        str,
        Argument(metavar="[COMMAND]", parser=one_of("COMMAND", _NAMES),
                 autocompletion=complete(*_NAMES), help=f"One of {', '.join(_NAMES)}."),
    ] = "trace",
    line: Annotated[
        bool, Option("--line", help="Of a line of --format ndjson, not of a document.")
    ] = False,
    out: Annotated[str | None, Option("--out", metavar="FILE", help="Write there.")] = None,
) -> None:  # fmt: skip
    """The JSON Schema (draft 2020-12) that a command's JSON document follows."""
    from attn_cli.views.json import encode_pretty

    output.emit(encode_pretty(document_schema(name, line=line)), out)


def document_schema(name: str, *, line: bool = False) -> dict:
    """The schema of a command's document, or of one of its ndjson lines, as a dictionary."""
    from attn_cli.views.schema import line_schema, scan_line_schema, schema

    found, lines = schema(name, kinds_of(name)), {"trace": line_schema, "scan": scan_line_schema}
    return lines[name](found) if line and name in lines else found


def kinds_of(name: str) -> tuple[type, ...]:
    """The records that the result of a command's document can be."""
    places = (place.partition(":") for place in COMMANDS[name].records)
    return tuple(getattr(import_module(module), kind) for module, _, kind in places)
