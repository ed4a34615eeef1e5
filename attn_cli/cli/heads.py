"""`attn heads`: every head of a layer side by side."""

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
    from attn_cli.analysis.heads import NEEDS, Layers, heads
    from attn_cli.views import heads as view

    model = session.load(prompt.model, ignore_config=prompt.ignore_config)
    blocks, _ = session.chosen(model.facts, attention.of(model.facts), layer, head)

    def answer(read):
        trace = session.trace(
            prompt=read, model=model, layer=layer, head=head, next=False,
            arrays=NEEDS | {"b_o", "visible"}, **what_if.settings(),
            stack=attention.stack, kind=attention.kind, max_memory=prompt.max_memory,
        )  # fmt: skip
        found = [heads(trace, block) for block in blocks]
        layers = list(dict.fromkeys(block.layer for block in blocks))
        chosen = {"layer": layers[0] if len(layers) == 1 else layers,
                  "head": list(trace.attention[0].heads)}  # fmt: skip
        return output.Result(
            lambda: [
                *(view.ranking(trace, found) if len(found) > 1 else ()),
                *(item for one in found for item in view.page(trace, one)),
            ],
            found[0] if len(found) == 1 else Layers(layers=tuple(found)),
            model.facts, read, {**trace.settings, **chosen}, trace.notes,
        )  # fmt: skip

    results, each = answers(prompt, model, answer), bool(prompt.each)
    return output.deliver("heads", out, results, quiet=prompt.quiet, each=each)
