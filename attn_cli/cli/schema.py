"""`attn schema`: the JSON Schema of a command's document."""

from importlib import import_module
from typing import Annotated

from typer import Argument, Option

from attn_cli.cli import output
from attn_cli.cli.options import one_of

EXAMPLES = ("attn schema", "attn schema sample > sample.schema.json")

# The records that the `result` of each command's document is written from.
RESULTS = {
    "trace": (),
    "heads": ("attn_cli.analysis.heads:Heads",),
    "mask": ("attn_cli.analysis.mask:MaskEffect",),
    "sample": ("attn_cli.analysis.sample:Sample",),
    "loss": ("attn_cli.analysis.loss:Loss",),
    "train": ("attn_cli.training.loop:TrainingResult",),
    "verify": ("attn_cli.analysis.verify:Verification",),
    "models": ("attn_cli.opening.listing:Listing", "attn_cli.opening.listing:Contents"),
}


def command(
    name: Annotated[
        str,
        Argument(metavar="[COMMAND]", parser=one_of("COMMAND", tuple(RESULTS)),
                 help=f"One of {', '.join(RESULTS)}."),
    ] = "trace",
    out: Annotated[str | None, Option("--out", metavar="FILE", help="Write there.")] = None,
) -> None:  # fmt: skip
    """The JSON Schema (draft 2020-12) that a command's JSON document follows."""
    from attn_cli.views.json import encode_pretty

    output.emit(encode_pretty(document_schema(name)), out)


def document_schema(name: str) -> dict:
    """The schema of a command's document, as a dictionary."""
    from attn_cli.views.schema import schema

    kinds = []
    for place in RESULTS[name]:
        module, _, kind = place.partition(":")
        kinds.append(getattr(import_module(module), kind))
    return schema(name, tuple(kinds))
