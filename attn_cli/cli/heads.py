"""`attn heads`: every head of a layer side by side."""

from functools import partial

from attn_cli import parse
from attn_cli.cli import output
from attn_cli.cli.options import Heads, Layers, OutputOptions, PromptOptions, WhatIfOptions
from attn_cli.cli.prompts import prompts
from attn_cli.errors import UsageError

EXAMPLES = (
    'attn heads "the greatest thinker in China is" --layer 1',
    "attn heads --json | jq '.result.heads[] | {head, entropy, norm}'",
)


def command(
    prompt: PromptOptions,
    what_if: WhatIfOptions,
    out: OutputOptions,
    layer: Layers = "0",
    head: Heads = "all",
) -> None:
    """Multi-head mode: the weights of every head, a summary of each, and the sum of their pulls."""
    from attn_cli import session
    from attn_cli.analysis.heads import NEEDS, heads
    from attn_cli.views import heads as view

    model = session.load(prompt.model, ignore_config=prompt.ignore_config)
    layers = parse.selection(layer, model.facts.layers, "--layer")
    if len(layers) > 1 and output.chosen_format("heads", out) == "json":
        raise UsageError("several layers are several documents", "--format ndjson, or one --layer")

    def results():
        for read in prompts(prompt, model):
            trace = session.trace(
                prompt=read, model=model, layer=layers, head=head, next=False,
                arrays=NEEDS | {"b_o", "visible"}, **what_if.settings(),
            )  # fmt: skip
            for number in layers:
                found = heads(trace, number)
                chosen = {**trace.settings, "layer": number, "head": list(trace.attention[0].heads)}
                page = partial(view.render, trace, found)
                yield output.Result(page, found, model.facts, read, chosen, trace.notes)

    output.deliver("heads", out, results(), quiet=prompt.quiet)
