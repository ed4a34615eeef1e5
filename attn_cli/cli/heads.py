"""`attn heads`: every head of a layer side by side, or of a model in one ranking."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import isqrt
from typing import TYPE_CHECKING, Annotated, NamedTuple

from typer import Option

from attn_cli import vocabulary
from attn_cli.cli import output
from attn_cli.cli.options import (
    AttentionOptions,
    Heads,
    Layers,
    OutputOptions,
    PromptOptions,
    WhatIfOptions,
    complete,
    one_of,
)
from attn_cli.cli.prompts import answers
from attn_cli.errors import UsageError
from attn_cli.words import note

if TYPE_CHECKING:
    from attn_cli.model.family import Model
    from attn_cli.records import Prompt

# Documents have the weights of prompts up to so many tokens; of several layers, of shorter ones,
# so that they are no more.
_MOST = 1024

EXAMPLES = (
    'attn heads "the greatest thinker in China is" --layer 1',
    "attn heads --layer all --sort first",
    "attn heads --json | jq '.result.heads[] | {head, entropy, norm}'",
)
_COLUMNS = tuple(vocabulary.HEAD_COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadOptions:
    """Which heads, and how they are told."""

    layer: Layers = "0"
    head: Heads = "all"
    sort: Annotated[
        str,
        Option("--sort", metavar="COLUMN", parser=one_of("--sort", _COLUMNS), show_default="norm",
               autocompletion=complete(*_COLUMNS),
               help=f"With several layers, what their heads are ranked by: {', '.join(_COLUMNS)}."),
    ] = ""  # fmt: skip
    without_first: Annotated[
        bool,
        Option("--without-first", help="Split off what the first token gets, and divide the other "
               "weights by their sum."),
    ] = False  # fmt: skip


class _Asked(NamedTuple):
    """All that was typed; `documents`: the result is no page."""

    prompt: PromptOptions
    attention: AttentionOptions
    what_if: WhatIfOptions
    heads: HeadOptions
    documents: bool
    full: bool


def command(
    prompt: PromptOptions,
    attention: AttentionOptions,
    what_if: WhatIfOptions,
    out: OutputOptions,
    heads: HeadOptions,
) -> int:
    """Multi-head mode: the weights of every head, a summary of each, and the sum of their pulls.

    Several layers give one ranking of all their heads.
    """
    from attn_cli import session

    model = session.load(prompt.model, ignore_config=prompt.ignore_config)
    documents = output.chosen_format("heads", out) != "table"
    asked = _Asked(prompt, attention, what_if, heads, documents, out.full)
    results = answers(prompt, model, _summaries(model, asked))
    return output.deliver("heads", out, results, quiet=prompt.quiet, each=bool(prompt.each))


def _summaries(model: "Model", asked: _Asked) -> "Callable[[Prompt], output.Result]":
    """What the heads of the chosen layers do with a prompt."""
    from attn_cli import session
    from attn_cli.analysis.heads import each_summary, kept, ranked
    from attn_cli.views import heads as one_layer
    from attn_cli.views import ranking
    from attn_cli.views.items import GRID, NOTHING

    heads, where = asked.heads, asked.attention.of(model.facts)
    blocks, of_stack = session.chosen(model.facts, where, heads.layer, heads.head)
    layers = list(dict.fromkeys(block.layer for block in blocks))
    several, most = len(blocks) > 1, isqrt(_MOST**2 // len(blocks))
    if heads.sort and not several:
        raise UsageError("--sort ranks the heads of several layers", "--layer all")
    chosen = {"layer": layers[0] if len(layers) == 1 else layers,
              "head": list(of_stack[blocks[0].stack]),
              "without_first": heads.without_first}  # fmt: skip

    def shown(read: "Prompt") -> int:
        """How many of the last weights are kept (0: all): a large square is read by nobody."""
        if asked.documents:
            return int(max(len(read.tokens), len(read.last.tokens)) > most)
        return 1 if several else 0 if asked.full else GRID

    def answer(read: "Prompt") -> output.Result:
        question = session.ask(
            prompt=read, model=model, layer=heads.layer, head=heads.head, next=False,
            **asked.what_if.settings(), stack=asked.attention.stack, kind=asked.attention.kind,
            max_memory=asked.prompt.max_memory,
            **kept(read, where, shown(read), past_first=heads.without_first),
        )  # fmt: skip
        passing = session.steps(question)
        passing = each_summary(passing, model.facts, read, past_first=heads.without_first)
        summaries, trace = output.watched(passing, quiet=asked.prompt.quiet)
        trace = replace(trace, settings={**trace.settings, **chosen})
        found, notes = tuple(summaries[block] for block in blocks), trace.notes
        if asked.documents and shown(read):
            found = tuple(replace(one, weights=NOTHING) for one in found)
            key = "heads.no_weights" if several else "note.no_weights"
            notes += (note(key, most=most, layers=len(blocks)),)
        result = ranked(found, heads.sort or "norm") if several else found[0]
        page = partial(ranking.page if several else one_layer.page, trace, result)
        return output.Result(page, result, model.facts, read, trace.settings, notes)

    return answer
