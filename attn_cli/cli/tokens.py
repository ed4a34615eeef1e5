"""`attn tokens`: how a text became tokens."""

from functools import partial
from typing import Annotated

from typer import Option

from attn_cli import vocabulary
from attn_cli.cli import output
from attn_cli.cli.options import OutputOptions, PromptOptions, complete_models
from attn_cli.cli.prompts import answers, reading
from attn_cli.errors import UsageError

EXAMPLES = (
    'attn tokens "the greatest thinker in China is"',
    'attn tokens "the unhappiest thinker" --model tiny --model tiny-translator',
    "attn tokens --json | jq '.result.words[] | {spelled, merges}'",
)
_MOST = 2  # models

Models = Annotated[
    list[str],
    Option(
        "--model", "-m", envvar="ATTN_MODEL", show_envvar=True, metavar="MODEL",
        help="As in attn trace; a folder with a tokenizer alone too. Given twice, the two "
        "tokenizers are aligned over the text.",
        autocompletion=complete_models,
    ),
]  # fmt: skip
Merges = Annotated[
    bool,
    Option("--merges", help="List how each word was cut: merges in order, word pieces, scores."),
]


def command(
    prompt: PromptOptions,
    out: OutputOptions,
    models: Models = (vocabulary.DEFAULT_MODEL,),
    merges: Merges = False,
) -> int:
    """How a text became tokens: ids, bytes, merges, and what the tokenizer adds.

    No weights are read. With two models, where their tokenizers cut the text alike.
    """
    from attn_cli.analysis.tokens import aligned, remarks, tokens
    from attn_cli.notes import text_notes
    from attn_cli.opening.reader import load_reader
    from attn_cli.reading import tokenise
    from attn_cli.views import tokens as view

    _check(prompt, models)
    opened = [load_reader(name, ignore_config=prompt.ignore_config) for name in models]
    (model, _), *others = opened
    if merges and (kind := output.chosen_format("tokens", out)) != "table":
        output.note("note.unused", option="--merges", format=kind, quiet=prompt.quiet)
    choice = view.Choice(full=out.full, merges=merges)

    def answer(read):
        typed = {"special": read.special, "pair": read.pair or None, "alone": True}
        prompts = [read, *(tokenise(other, read.text, **typed) for other, _ in others)]
        readings, readers, said = [], [], []
        for (one, told), of in zip(opened, prompts, strict=True):
            reading = tokens(one, of)
            readings.append(reading)
            readers.append(view.Reader(one.facts, of, one.tokenizer.readable))
            said += [*told, *text_notes(one, of), *remarks(one, reading)]
        settings = {"models": list(models), **read.settings}
        facts = model.facts if model.facts.layers else None
        found = aligned(*readings) if others else readings[0]
        page = (
            partial(view.pages, readers, found, choice) if others
            else partial(view.page, readers[0], found, choice)
        )  # fmt: skip
        return output.Result(page, found, facts, read, settings, tuple(said))

    results = answers(prompt, model, answer, reading(prompt, model, alone=True))
    return output.deliver("tokens", out, results, quiet=prompt.quiet, each=bool(prompt.each))


def _check(prompt: PromptOptions, models: list[str]) -> None:
    """Raises UsageError for what two models cannot be asked."""
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
