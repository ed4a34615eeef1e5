"""`attn mask`: what a mask hides, and what moves."""

from functools import partial
from typing import Annotated

from typer import Option

from attn_cli import parse
from attn_cli.cli import output
from attn_cli.cli.options import OutputOptions, PromptOptions, Top, WhatIfOptions
from attn_cli.cli.prompts import prompts
from attn_cli.words import sentence

EXAMPLES = (
    'attn mask "the greatest thinker in China is"',
    'attn mask "the greatest thinker in China is" --mask window:2',
    'attn mask "the greatest thinker in China is" --mask block:5:4 --layout columns',
)


def command(
    prompt: PromptOptions,
    what_if: WhatIfOptions,
    out: OutputOptions,
    layer: Annotated[str, Option("--layer", "-l", metavar="LAYER", help="One layer.")] = "0",
    head: Annotated[str, Option("--head", "-H", metavar="HEAD", help="One head.")] = "0",
    top: Top = 5,
) -> None:
    """The mask as a picture, the cells it hides, and how weights, output and prediction move.

    Compares --mask with the model's own mask; the model's own, or none given, with no mask at all.
    """
    from attn_cli import session
    from attn_cli.analysis.mask import NEEDS, mask
    from attn_cli.views import mask as view

    model = session.load(prompt.model, ignore_config=prompt.ignore_config)
    numbers = [
        parse.one(layer, model.facts.layers, "--layer"),
        parse.one(head, model.facts.heads, "--head"),
    ]
    own = sentence("mask.own")

    def results():
        for read in prompts(prompt, model):

            def run(words, read=read):
                return session.trace(
                    prompt=read, model=model, layer=numbers[0], head=numbers[1], arrays=NEEDS,
                    top=model.facts.vocabulary, **{**what_if.settings(), "mask": words},
                )  # fmt: skip

            after, before = run(what_if.mask), run([])
            names = (own, " ".join(f"--mask {word}" for word in what_if.mask))
            if (after.attention[0].visible == before.attention[0].visible).all():
                before, names = run(["none"]), (sentence("mask.none"), names[1] or own)
            found = mask(before, after, *numbers, top=top)
            chosen = {**after.settings, "compared_with": names[0], "layer": numbers[0],
                      "head": numbers[1]}  # fmt: skip
            page = partial(view.render, after, found, *names)
            yield output.Result(page, found, model.facts, read, chosen, after.notes)

    output.deliver("mask", out, results(), quiet=prompt.quiet)
