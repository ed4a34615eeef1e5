"""`attn loss`: what training sees."""

from functools import partial

from attn_cli import parse
from attn_cli.cli import output
from attn_cli.cli.options import AttentionOptions, OutputOptions, PromptOptions, WhatIfOptions
from attn_cli.cli.prompts import answers

EXAMPLES = (
    'attn loss "the greatest thinker in China is Confucius"',
    "attn loss --json | jq '.result.perplexity'",
)


def command(
    prompt: PromptOptions, attention: AttentionOptions, what_if: WhatIfOptions, out: OutputOptions
) -> int:
    """Every position predicts its next token at once: probability, loss and best guess of each."""
    from attn_cli import notes, session
    from attn_cli.analysis.loss import loss_steps
    from attn_cli.views import loss as view

    model = prompt.load()
    where = attention.of(model.facts)

    def answer(read):
        typed = what_if.settings()
        changes = session.what_if(model, read, where, **typed)
        steps = loss_steps(model, read, changes, prompt.max_memory)
        found = output.watched(steps, quiet=prompt.quiet)
        losses = (one.loss for one in found.positions)
        said = notes.run_notes(model, read, typed, changes, found.provenance, numbers=losses)
        settings = {**typed, **parse.named(where), **read.settings}
        page = partial(view.page, model.facts, read, found, settings)
        return output.Result(page, found, model.facts, read, settings, said)

    results, each = answers(prompt, model, answer), bool(prompt.each)
    return output.deliver("loss", out, results, quiet=prompt.quiet, each=each)
