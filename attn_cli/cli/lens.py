"""`attn lens`: what each layer would predict."""

from functools import partial
from typing import Annotated

from typer import Option

from attn_cli import parse
from attn_cli.cli import output
from attn_cli.cli.options import AttentionOptions, OutputOptions, PromptOptions, Top, WhatIfOptions
from attn_cli.cli.prompts import answers, checked

EXAMPLES = (
    'attn lens "the greatest thinker in China is"',
    'attn lens "the greatest thinker in China is" --watch Laozi --per-head',
    'attn lens "the greatest thinker in China is" --query all',
    "attn lens --json | jq '.result.positions[0].rows[] | {layer, watched}'",
)

Query = Annotated[
    list[str],
    Option(metavar="QUERIES", show_default="the last, or each mask token",
           help="Positions, ranges or tokens' texts, or all. Repeatable."),
]  # fmt: skip
Watch = Annotated[
    str | None,
    Option(metavar="WORD", show_default="the predicted token",
           help="A token to follow from layer to layer: its text, or its id."),
]  # fmt: skip
PerHead = Annotated[
    bool, Option("--per-head", help="Also what each head adds to the watched token's logit.")
]


def command(
    prompt: PromptOptions,
    attention: AttentionOptions,
    what_if: WhatIfOptions,
    out: OutputOptions,
    query: Query = (),
    watch: Watch = None,
    per_head: PerHead = False,
    top: Top = 3,
) -> int:
    """What each layer would predict, and what attention and feed-forward add to one word's logit.

    The vector after each layer goes through the last norm and the output matrix (logit lens).
    """
    from attn_cli import notes, session
    from attn_cli.analysis import lens
    from attn_cli.views import lens as view
    from attn_cli.views.text import labels

    model = prompt.load()
    session.check_predicts(model.facts)
    where, typed = attention.of(model.facts), what_if.settings()

    def answer(read):
        changes = session.what_if(model, read, where, **typed)
        texts = read.last.labels
        places = parse.positions(query, texts, "--query", labels(texts)) if query else ()
        places = lens.chosen(model, read, places)
        id, said = -1, ()
        if watch is not None:
            id, said = lens.watched(model, read, checked(watch, "--watch"))
        steps = lens.lens_steps(
            model, read, places, changes, prompt.max_memory, watch=id, top=top, per_head=per_head
        )
        found = output.watched(steps, quiet=prompt.quiet)
        chosen = {"query": list(places), "watch": None if id < 0 else id, "per_head": per_head}
        settings = {**typed, **parse.named(where), **chosen, "top": top, **read.settings}
        said += notes.run_notes(
            model, read, typed, changes, found.provenance, numbers=lens.told(found)
        )
        said += lens.remarks(model, found)
        page = partial(view.page, model.facts, read, found, settings)
        return output.Result(page, found, model.facts, read, settings, said)

    results, each = answers(prompt, model, answer), bool(prompt.each)
    return output.deliver("lens", out, results, quiet=prompt.quiet, each=each)
