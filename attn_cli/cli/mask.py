"""`attn mask`: what a mask hides, and what moves."""

from functools import partial
from typing import TYPE_CHECKING

from attn_cli.cli import output
from attn_cli.cli.options import (
    AttentionOptions,
    Head,
    Layer,
    OutputOptions,
    PromptOptions,
    Top,
    WhatIfOptions,
)
from attn_cli.cli.places import one_head
from attn_cli.cli.prompts import answers
from attn_cli.views.formats import FORMATS
from attn_cli.words import Note, in_english, note

if TYPE_CHECKING:
    from collections.abc import Callable

    from attn_cli.records import Trace

EXAMPLES = (
    'attn mask "the greatest thinker in China is"',
    'attn mask "the greatest thinker in China is" --mask window:2',
    'attn mask "the greatest thinker in China is" --mask block:is:China --layout columns',
    'attn mask "the greatest thinker in China is" --mask-value 0',
)


def command(
    prompt: PromptOptions,
    attention: AttentionOptions,
    what_if: WhatIfOptions,
    out: OutputOptions,
    layer: Layer = None,
    head: Head = "0",
    top: Top = 5,
) -> int:
    """The mask as a picture, the cells it hides, and how weights, output and prediction move.

    Compares --mask with the model's own mask; the model's own, or none given, with no mask at all;
    --mask-value with −∞.
    """
    from attn_cli import session
    from attn_cli.analysis.beside import both
    from attn_cli.analysis.mask import NEEDS, made, mask
    from attn_cli.views import mask as view

    model, kind = prompt.load(), output.chosen_format("mask", out)
    picture, document = output.is_picture(kind, out), FORMATS[kind].documents
    where = attention.of(model.facts)
    block, at = one_head(model.facts, where, layer, head, "mask")

    def answer(read):
        def asked(**changed):
            return session.ask(
                prompt=read, model=model, stack=block.stack, kind=block.kind, layer=block.layer,
                head=at, arrays=NEEDS, top=top, max_memory=None,
                **{**what_if.settings(), **changed},
            )  # fmt: skip

        def run(**changed):
            questions = asked(**changed), asked()
            kept = made(*questions, block, document=document)
            steps = both(*questions, prompt.max_memory, kept)
            return output.watched(steps, quiet=prompt.quiet)

        before, after, name = _compared(run, what_if)
        found = mask(before, after, block, at, top=top)
        chosen = {**after.settings, "compared_with": name, "layer": block.layer, "head": at}
        drawn = view.picture if picture else view.page
        page = partial(drawn, after, found, *view.names_of(after.settings, name))
        return output.Result(page, found, model.facts, read, chosen, _beside(after.notes))

    results, each = answers(prompt, model, answer), bool(prompt.each)
    return output.deliver("mask", out, results, quiet=prompt.quiet, each=each)


def _compared(
    run: "Callable[..., tuple[Trace, Trace]]", what_if: WhatIfOptions
) -> "tuple[Trace, Trace, str]":
    """The traces before and after, and the name of the mask before: `run` changes its settings."""
    if what_if.mask_value is not None:
        return *run(mask_value=None), in_english(note("mask.value", value="−∞"))
    if what_if.mask:
        before, after = run(mask=[])
        if (before.attention[0].visible != after.attention[0].visible).any():
            return before, after, in_english(note("mask.own"))
    return *run(mask=["none"]), in_english(note("mask.none"))


def _beside(notes: tuple[Note, ...]) -> tuple[Note, ...]:
    """The page itself says what a mask like the model's own changes."""
    return tuple(said for said in notes if said.key != "note.no_effect")
