"""`attn trace`: the six steps, as tables or as a document."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from attn_cli import parse, vocabulary
from attn_cli.cli import output
from attn_cli.cli.options import (
    Heads,
    Layers,
    MaxTokens,
    OutputOptions,
    PromptOptions,
    Top,
    WhatIfOptions,
)
from attn_cli.cli.prompts import prompts
from attn_cli.errors import UsageError
from attn_cli.words import note

if TYPE_CHECKING:
    from attn_cli.model.weights import Model
    from attn_cli.records import Prompt, Trace

EXAMPLES = (
    'attn trace "the greatest thinker in China is"',
    'attn trace "the king is a man" --layer 1 --head all --step 5',
    "attn trace --json | jq '.attention[0].arrays.weights.values[0][-1]'",
)


Queries = Annotated[
    str, Option(metavar="QUERIES", help="Rows to show: positions or a token's text.")
]
Keys = Annotated[str, Option(metavar="KEYS", help="Columns to show: positions or a token's text.")]
Steps = Annotated[list[str], Option(metavar="STEP", help="1 to 6 or a step's name. Repeatable.")]
Parameters = Annotated[bool, Option("--parameters", help="Also W_Q, W_K, W_V, W_O and the biases.")]
NoNext = Annotated[bool, Option("--no-next", help="Leave out the prediction.")]


# What a step's page needs of other steps, to say what happened in this sentence.
_EXPLAINED_WITH = {1: ("bias",), 2: ("normed",), 3: ("q", "k", "visible"), 6: ("weights", "v")}


def command(
    prompt: PromptOptions,
    what_if: WhatIfOptions,
    out: OutputOptions,
    layer: Layers = "0",
    head: Heads = "0",
    query: Queries = "",
    key: Keys = "",
    step: Steps = [],  # noqa: B006 - typer's own way to declare a repeatable option
    parameters: Parameters = False,
    no_next: NoNext = False,
    max_tokens: MaxTokens = None,
    top: Top = 5,
) -> None:
    """The six steps of self-attention for a prompt, each matrix as a table.

    Then the next-token prediction. Layer 0, head 0 unless you choose others.
    """
    from attn_cli import session

    model = session.load(prompt.model, ignore_config=prompt.ignore_config)
    steps = parse.steps(step) if step else frozenset(range(1, 7))
    kind = output.chosen_format(out)
    each = bool(prompt.each)
    if each and kind in ("csv", "npz"):
        raise UsageError(f"--each cannot be written as {kind}", "--format ndjson")
    pages: list[Any] = []
    documents: list[bytes] = []
    for read in prompts(prompt, model):
        longer = _continued(model, read, max_tokens)
        found = session.trace(
            prompt=longer, model=model, layer=layer, head=head,
            arrays=_arrays(kind, steps, parameters), mask=what_if.mask,
            attention_temperature=what_if.attention_temperature,
            without_head=what_if.without_head, next=not no_next, top=top,
        )  # fmt: skip
        found = _with_notes(found, model, len(read.tokens), max_tokens)
        queries = parse.positions(query, found.prompt.labels, "--query")
        keys = parse.positions(key, found.prompt.labels, "--key")
        if kind != "json":  # the other formats have no place for notes
            for remark in found.notes:
                output.tell(remark, quiet=prompt.quiet)
        if kind == "table":
            pages.extend(_page(found, out.full, steps, (queries, keys), prompt.quiet))
        else:
            documents.append(_encode(found, kind, each))
    if kind == "table":
        output.print_page(pages, output.look(out), out.out)
    else:
        output.emit(b"".join(documents), out.out)


def _arrays(kind: str, steps: frozenset[int], parameters: bool) -> set[str]:
    """The arrays a format shows; a page needs some of the other steps' to explain its own."""
    names = {n for n, spec in vocabulary.ARRAYS.items() if not spec.opt_in or parameters}
    if kind == "table":
        names |= vocabulary.EMBEDDING_PARTS | {"b_q", "b_o"}
    shown = {n for n in names if vocabulary.ARRAYS[n].step in steps}
    if kind == "table":
        shown |= {n for step in steps for n in _EXPLAINED_WITH.get(step, ())}
    return shown


def _with_notes(found: "Trace", model: "Model", before: int, asked: int | None) -> "Trace":
    """The trace with what there is to say of the tokens that were added to the prompt."""
    from attn_cli.analysis.sample import stop_note

    if not asked:
        return found
    added = found.prompt.ids[before:]
    notes = (note("note.continued", count=len(added)),)
    notes += stop_note(model, found.prompt, added, asked)
    settings_now = {**found.settings, "max_tokens": asked, "added_tokens": len(added)}
    return replace(found, settings=settings_now, notes=found.notes + notes)


def _continued(model: "Model", read: "Prompt", max_tokens: int | None) -> "Prompt":
    from attn_cli.analysis.sample import continued

    return continued(model, read, max_tokens) if max_tokens else read


def _page(
    trace: "Trace",
    full: bool,
    steps: frozenset[int],
    cells: tuple[tuple[int, ...], tuple[int, ...]],
    quiet: bool,
) -> list[Any]:
    from attn_cli.views import trace as view

    count = view.count_tables(trace, steps)
    if count > view.MOST_TABLES and not full:
        output.note("trace.too_many", count=count, quiet=quiet)
        steps = frozenset()
    return view.page(trace, steps=steps, queries=cells[0], keys=cells[1])


def _encode(trace: "Trace", kind: str, each: bool) -> bytes:
    if kind == "csv":
        from attn_cli.views import csv

        return csv.render(trace)
    if kind == "npz":
        from attn_cli.views import npz

        return npz.render(trace)
    from attn_cli.views import json

    if kind == "json" or each:
        return json.encode(json.trace_document(trace)) + b"\n"
    return b"".join(json.encode(line) + b"\n" for line in json.ndjson_lines(trace))
