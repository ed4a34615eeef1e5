"""`attn schema`: the JSON Schema of a command's document."""

from importlib import import_module
from typing import Annotated

from typer import Argument, Option

from attn_cli.cli import output
from attn_cli.cli.commands import COMMANDS
from attn_cli.cli.options import one_of

EXAMPLES = ("attn schema", "attn schema sample > sample.schema.json")

_NAMES = tuple(name for name, known in COMMANDS.items() if known.records)


def command(
    name: Annotated[
        str,
        Argument(metavar="[COMMAND]", parser=one_of("COMMAND", _NAMES),
                 help=f"One of {', '.join(_NAMES)}."),
    ] = "trace",
    out: Annotated[str | None, Option("--out", metavar="FILE", help="Write there.")] = None,
) -> None:  # fmt: skip
    """The JSON Schema (draft 2020-12) that a command's JSON document follows."""
    from attn_cli.views.json import encode_pretty
    from attn_cli.views.schema import schema

    kinds = []
    for place in COMMANDS[name].records:
        module, _, kind = place.partition(":")
        kinds.append(getattr(import_module(module), kind))
    output.emit(encode_pretty(schema(name, tuple(kinds))), out)
