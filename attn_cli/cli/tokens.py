"""`attn tokens`: how a text became tokens."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from typer import Option

from attn_cli import vocabulary
from attn_cli.cli import output
from attn_cli.cli.options import ModelNames, OutputOptions, PromptOptions
from attn_cli.cli.prompts import answers, reader
from attn_cli.errors import UsageError

EXAMPLES = (
    'attn tokens "the greatest thinker in China is"',
    'attn tokens "the unhappiest thinker" --model tiny --model tiny-translator',
    "attn tokens --json | jq '.result.words[] | {spelled, merges}'",
)
_MOST = 2  # models

Merges = Annotated[
    bool,
    Option("--merges", help="List how each word was cut: merges in order, word pieces, scores."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensOptions(PromptOptions):
    """A prompt, and the models whose tokenizers read it."""

    model: ModelNames = (vocabulary.DEFAULT_MODEL,)


def command(prompt: TokensOptions, out: OutputOptions, merges: Merges = False) -> int:
    """How a text became tokens: ids, bytes, merges, and what the tokenizer adds.

    No weights are read. With two models, where their tokenizers cut the text alike.
    """
    from attn_cli.analysis.tokens import aligned, remarks, tokens
    from attn_cli.notes import text_notes
    from attn_cli.opening.reader import load_reader
    from attn_cli.views import tokens as view

    _check(prompt)
    opened = [load_reader(name, ignore_config=prompt.ignore_config) for name in prompt.model]
    (model, _), *others = opened
    if merges and (kind := output.chosen_format("tokens", out)) != "table":
        output.note("note.unused", option="--merges", format=kind, quiet=prompt.quiet)
    choice = view.Choice(full=out.full, merges=merges)
    read_first, *read_others = (
        partial(reader(prompt, one), alone=True) for one, _ in opened
    )  # fmt: skip

    def answer(read):
        prompts = [read, *(again(text=read.text) for again in read_others)]
        readings, said = [], []
        for (one, told), of in zip(opened, prompts, strict=True):
            readings.append(tokens(one, of))
            said += [*told, *text_notes(one, of), *remarks(one, readings[-1])]
        settings = {"models": list(prompt.model), **read.settings}
        facts = model.facts if model.facts.layers else None
        if others:
            found = aligned(*readings)
            page = partial(view.pages, found, choice)
        else:
            (found,) = readings
            page = partial(view.page, found, choice, facts)
        return output.Result(page, found, facts, read, settings, tuple(said))

    results = answers(prompt, model, answer, read_first)
    return output.deliver("tokens", out, results, quiet=prompt.quiet, each=bool(prompt.each))


def _check(prompt: TokensOptions) -> None:
    """Raises UsageError for what two models cannot be asked."""
    models = prompt.model
    if len(models) > _MOST:
        raise UsageError(f"{len(models)} models: two are compared at most", "give --model twice")
    if len(models) == _MOST:
        for option, given in (("--chat", prompt.chat), ("--ids", prompt.ids is not None)):
            if given:
                what = "markers" if prompt.chat else "ids"
                raise UsageError(
                    f"{option} goes with one model: {what} are each tokenizer's own",
                    "give one --model",
                )
