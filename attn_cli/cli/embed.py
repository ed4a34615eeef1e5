"""`attn embed`: word vectors."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

from typer import Option

from attn_cli import vocabulary
from attn_cli.cli import output
from attn_cli.cli.options import OutputOptions, PromptOptions, Top, WhatIfOptions
from attn_cli.cli.prompts import answers, checked
from attn_cli.errors import UsageError, shorten

if TYPE_CHECKING:
    from attn_cli.model.family import Model

EXAMPLES = (
    'attn embed "China"',
    'attn embed "father - man + woman"',
    'attn embed --in "the fashion model" --in "we train the model" --token model',
)
_TEXTS = ("first", "second")

Texts = Annotated[
    list[str],
    Option("--in", metavar="TEXT", help="A text in which --token is followed, layer by layer. Two "
           "of them, instead of words."),
]  # fmt: skip
Tokens = Annotated[
    list[str],
    Option("--token", metavar="WORD", help="The token to follow: its text or position. Once for "
           "both texts, or once for each."),
]  # fmt: skip


def command(
    prompt: PromptOptions,
    what_if: WhatIfOptions,
    out: OutputOptions,
    texts: Texts = (),
    token: Tokens = (),
    top: Top = 5,
) -> int:
    """Word vectors: the tokens nearest to a word, or to a sum such as father - man + woman.

    Words have + or - between them, with spaces around each sign; "-" in double quotes is a word
    too. With --in, one word is followed through the layers in two texts.
    """

    model = prompt.load()
    if texts or token:
        result = _in_texts(model, prompt, what_if, list(texts), list(token), top)
        return output.deliver("embed", out, [result], quiet=prompt.quiet)
    if typed := vocabulary.changes(what_if.settings()):
        what = f"{' '.join(map(shorten, typed))} changes no row of the embedding"
        raise UsageError(what, "it acts on texts: --in TEXT --in TEXT --token WORD")
    from attn_cli.analysis.embed import SAMPLE, embed_notes, expression, nearest
    from attn_cli.views import embed as view

    def answer(read):
        found = nearest(model, read, top, prompt.max_memory)
        page = partial(view.page, model.facts, read, found)
        settings, notes = {"top": top}, embed_notes(model, found)
        return output.Result(page, found, model.facts, read, settings, notes)

    results = answers(prompt, model, answer, partial(expression, model), SAMPLE)
    return output.deliver("embed", out, results, quiet=prompt.quiet, each=bool(prompt.each))


def _in_texts(
    model: "Model",
    options: PromptOptions,
    what_if: WhatIfOptions,
    texts: list[str],
    words: list[str],
    top: int,
) -> output.Result:
    """One word in two texts. Raises UsageError."""
    from attn_cli.analysis.contexts import contexts_notes, contexts_steps, side
    from attn_cli.reading import tokenise
    from attn_cli.views import contexts as view

    given = {"TEXT": options.text, "--file": options.file, "--ids": options.ids,
             "--each": options.each or None}  # fmt: skip
    others = [name for name, value in given.items() if value is not None]
    if others:
        raise UsageError(f"--in and {others[0]} contradict each other", "give one of them")
    if len(texts) != 2 or len(words) not in (1, 2):
        raise UsageError(
            f"two texts and the token in them are needed; given: {len(texts)} --in, "
            f"{len(words)} --token",
            "--in TEXT --in TEXT --token WORD",
        )
    prompts = [tokenise(model, checked(text, "--in")) for text in texts]
    chosen = zip(prompts, words * 2 if len(words) == 1 else words, _TEXTS, strict=True)
    sides = [side(read, checked(word, "--token"), which) for read, word, which in chosen]
    typed = what_if.settings()
    steps = contexts_steps(model, prompts, sides, top, options.max_memory, **typed)
    found, traces = output.watched(steps, quiet=options.quiet)
    settings = {**typed, "token": words, "top": top}
    page = partial(view.page, model.facts, found, settings)
    notes = contexts_notes(model, found, traces)
    return output.Result(page, found, model.facts, None, settings, notes)
