"""The commands, one line each: help, formats and schemas follow from this list."""

from typing import NamedTuple

from attn_cli.errors import UsageError, shorten
from attn_cli.views.drawers import DRAWERS
from attn_cli.views.formats import FORMATS


class Command(NamedTuple):
    """What the module of that name in this package does, and what it writes.

    `records` are those that its document's result can be written from, as `module:name`; without
    any it has no document. `formats` are those it offers, the first one unasked, `views` what its
    page can be drawn as; `lacks` names the options of every output that would do nothing here.
    """

    help: str
    records: tuple[str, ...] = ()
    formats: tuple[str, ...] = ("table", "json", "ndjson", "svg")
    lacks: tuple[str, ...] = ()
    views: tuple[str, ...] = ()


_VIEWS = tuple(DRAWERS)
_OF_TRACE = tuple(name for name, form in FORMATS.items() if not form.scans)
COMMANDS = {
    "trace": Command("The six steps of attention, then the next-token prediction.",
                     ("attn_cli.records:Trace",), _OF_TRACE, views=_VIEWS),
    "heads": Command("Every head of a layer side by side, and what each one adds.",
                     ("attn_cli.analysis.heads:Heads", "attn_cli.analysis.heads:Layers",
                      "attn_cli.analysis.prove:Proof", "attn_cli.analysis.circuit:Circuit"),
                     views=_VIEWS),
    "mask": Command("What a mask hides, and how far the prediction moves.",
                    ("attn_cli.analysis.mask:MaskEffect",), views=_VIEWS),
    "sample": Command("Next-token probabilities under temperature; draws tokens.",
                      ("attn_cli.analysis.sample:Sample",), lacks=("layout",)),
    "loss": Command("Every position predicts its next token: what training sees.",
                    ("attn_cli.analysis.loss:Loss",), lacks=("layout",)),
    "embed": Command("Word vectors: nearest tokens, analogies, one word in two texts.",
                     ("attn_cli.analysis.embed:Nearest", "attn_cli.analysis.contexts:Contexts"),
                     lacks=("layout", "pair", "target", "target_ids", "chat", "no_special",
                            "force_context")),
    "lens": Command("What each layer would predict; what each part adds to a logit.",
                    ("attn_cli.analysis.lens:Lens",), lacks=("layout",)),
    "compare": Command("Two prompts, two models or a what-if, step by step.",
                       ("attn_cli.analysis.compare:Comparison", "attn_cli.scanning.compare:Shifts"),
                       ("table", "json", "ndjson", "svg", "csv", "html"), lacks=("layout",),
                       views=_VIEWS),
    "why": Command("The arithmetic of one cell; who wrote what a head matched.",
                   ("attn_cli.analysis.why:Cell", "attn_cli.analysis.entry:Entry",
                    "attn_cli.analysis.components:Chain",
                    "attn_cli.analysis.attribution:Attribution"),
                   lacks=("layout",)),
    "train": Command("Train a small model on a text file, watching attention form.",
                     ("attn_cli.training.loop:TrainingResult",), ("table", "json")),
    "verify": Command("How exact a trace is: against float64 and against other tools.",
                      ("attn_cli.analysis.verify:Verification",), lacks=("digits", "layout")),
    "tokens": Command("How a text became tokens; two tokenizers side by side.",
                      ("attn_cli.analysis.tokens:Tokens", "attn_cli.analysis.tokens:Aligned"),
                      lacks=("target", "target_ids", "force_context", "max_memory", "digits",
                             "layout", "adapter")),
    "exercise": Command("A sheet with numbers left blank; what is wrong with an answer.",
                        ("attn_cli.analysis.exercise:Sheet", "attn_cli.analysis.marking:Marked"),
                        ("table", "json", "ndjson", "svg", "html", "xlsx", "csv"),
                        lacks=("digits", "full", "layout")),
    "cost": Command("What a context length costs: parameters, memory, operations.",
                    ("attn_cli.analysis.cost:Cost",), lacks=("digits", "full", "layout")),
    "models": Command("What can be opened here; what is inside one checkpoint.",
                      ("attn_cli.opening.listing:Listing", "attn_cli.opening.listing:Contents"),
                      lacks=("digits", "full", "layout")),
    "show": Command("A saved document as a page again, in any view.",
                    formats=_OF_TRACE,
                    views=_VIEWS),
    "scan": Command("Every head over files of prompts: statistics and examples.",
                    ("attn_cli.scanning.results:Scan",),
                    ("table", "json", "ndjson", "csv", "svg", "html", "parquet"),
                    lacks=("text", "file", "each", "strict", "ids", "layout")),
    "schema": Command("The JSON Schema of a command's document.", formats=()),
}  # fmt: skip


def check_format(command: str, kind: str) -> str:
    """A format that the command writes. Raises UsageError for another."""
    known = COMMANDS[command].formats
    if kind not in known:
        what = f"attn {command} cannot write {shorten(kind) or repr(kind)}"
        raise UsageError(what, f"one of {', '.join(known)}")
    return kind
