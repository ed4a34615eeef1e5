"""`attn mask`: what a mask hides, and what moves."""

from functools import partial

from attn_cli import parse
from attn_cli.cli import output
from attn_cli.cli.options import Head, Layer, OutputOptions, PromptOptions, Top, WhatIfOptions
from attn_cli.cli.prompts import answers
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
    layer: Layer = "0",
    head: Head = "0",
    top: Top = 5,
) -> int:
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

    def answer(read):
        def run(words):
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
        page = partial(view.page, after, found, *names)
        return output.Result(page, found, model.facts, read, chosen, after.notes)

    results, each = answers(prompt, model, answer), bool(prompt.each)
    return output.deliver("mask", out, results, quiet=prompt.quiet, each=each)
