"""`attn heads`: every head of a layer side by side."""

from dataclasses import replace

from attn_cli.cli import output
from attn_cli.cli.options import (
    AttentionOptions,
    Heads,
    Layers,
    OutputOptions,
    PromptOptions,
    WhatIfOptions,
)
from attn_cli.cli.prompts import answers
from attn_cli.words import note

# Documents have the weights of prompts up to so many tokens.
_MOST = 1024

EXAMPLES = (
    'attn heads "the greatest thinker in China is" --layer 1',
    "attn heads --json | jq '.result.heads[] | {head, entropy, norm}'",
)


def command(
    prompt: PromptOptions,
    attention: AttentionOptions,
    what_if: WhatIfOptions,
    out: OutputOptions,
    layer: Layers = "0",
    head: Heads = "all",
) -> int:
    """Multi-head mode: the weights of every head, a summary of each, and the sum of their pulls.

    Several layers come one after another, after one ranking of all their heads.
    """
    from attn_cli import session
    from attn_cli.analysis.heads import Layers, each_summary, kept
    from attn_cli.views import heads as view
    from attn_cli.views.items import GRID, NOTHING

    model = session.load(prompt.model, ignore_config=prompt.ignore_config)
    where = attention.of(model.facts)
    blocks, _ = session.chosen(model.facts, where, layer, head)
    layers = list(dict.fromkeys(block.layer for block in blocks))
    documents = output.chosen_format("heads", out) != "table"

    def whole(read):
        """Whether all weights are kept: of a long prompt they are a square that nobody reads."""
        long = max(len(read.tokens), len(read.last.tokens)) > _MOST
        return not long if documents else out.full

    def answer(read):
        asked = session.ask(
            prompt=read, model=model, layer=layer, head=head, next=False, **what_if.settings(),
            stack=attention.stack, kind=attention.kind, max_memory=prompt.max_memory,
            **kept(read, where, 0 if whole(read) else GRID),
        )  # fmt: skip
        passing = each_summary(session.steps(asked), model.facts, read)
        summaries, trace = output.watched(passing, quiet=prompt.quiet)
        found = tuple(summaries[block] for block in blocks)
        notes = trace.notes
        if documents and not whole(read):
            found = tuple(replace(one, weights=NOTHING) for one in found)
            notes += (note("note.no_weights", most=_MOST),)
        chosen = {"layer": layers[0] if len(layers) == 1 else layers,
                  "head": list(asked.request.heads[blocks[0].stack])}  # fmt: skip
        return output.Result(
            lambda: view.pages(trace, found),
            found[0] if len(found) == 1 else Layers(layers=found),
            model.facts, read, {**trace.settings, **chosen}, notes,
        )  # fmt: skip

    results, each = answers(prompt, model, answer), bool(prompt.each)
    return output.deliver("heads", out, results, quiet=prompt.quiet, each=each)
