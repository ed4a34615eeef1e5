"""The commands, one line each: help, formats and schemas follow from this list."""

from typing import NamedTuple

from attn_cli.errors import UsageError, shorten
from attn_cli.views.formats import FORMATS


class Command(NamedTuple):
    """What the module of that name in this package does, and what it writes.

    `records` are those that its document's result can be written from, as `module:name`; without
    any it has no document. `formats` are those it offers, the first one unasked; `lacks` names the
    options of every output that would do nothing here.
    """

    help: str
    records: tuple[str, ...] = ()
    formats: tuple[str, ...] = ("table", "json", "ndjson")
    lacks: tuple[str, ...] = ()


COMMANDS = {
    "trace": Command("The six steps of attention, then the next-token prediction.",
                     ("attn_cli.records:Trace",), tuple(FORMATS)),
    "heads": Command("Every head of a layer side by side, and what each one adds.",
                     ("attn_cli.analysis.heads:Heads", "attn_cli.analysis.heads:Layers")),
    "mask": Command("What a mask hides, and how far the prediction moves.",
                    ("attn_cli.analysis.mask:MaskEffect",)),
    "sample": Command("Next-token probabilities under temperature; draws tokens.",
                      ("attn_cli.analysis.sample:Sample",), lacks=("layout",)),
    "loss": Command("Every position predicts its next token: what training sees.",
                    ("attn_cli.analysis.loss:Loss",), lacks=("layout",)),
    "train": Command("Train a small model on a text file, watching attention form.",
                     ("attn_cli.training.loop:TrainingResult",), ("table", "json")),
    "verify": Command("How exact a trace is: against float64 and against other tools.",
                      ("attn_cli.analysis.verify:Verification",), lacks=("digits", "layout")),
    "tokens": Command("How a text became tokens; two tokenizers side by side.",
                      ("attn_cli.analysis.tokens:Tokens", "attn_cli.analysis.tokens:Aligned"),
                      lacks=("model", "target", "target_ids", "force_context", "max_memory",
                             "digits", "layout")),
    "models": Command("What can be opened here; what is inside one checkpoint.",
                      ("attn_cli.opening.listing:Listing", "attn_cli.opening.listing:Contents"),
                      lacks=("digits", "full", "layout")),
    "schema": Command("The JSON Schema of a command's document.", formats=()),
}  # fmt: skip


def check_format(command: str, kind: str) -> str:
    """A format that the command writes. Raises UsageError for another."""
    known = COMMANDS[command].formats
    if kind not in known:
        what = f"attn {command} cannot write {shorten(kind)}"
        raise UsageError(what, f"one of {', '.join(known)}")
    return kind
