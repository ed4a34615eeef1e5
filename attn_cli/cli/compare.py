"""`attn compare`: two prompts, two models or two settings, step by step."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from attn_cli import parse, vocabulary
from attn_cli.cli import compare_scans, options, output
from attn_cli.cli.prompts import answers, kept, positions, reader, refuse_two, single
from attn_cli.errors import UsageError, shorten, told_where

if TYPE_CHECKING:
    from attn_cli.model.family import Model
    from attn_cli.records import Prompt
    from attn_cli.session import Question

EXAMPLES = (
    'attn compare "the greatest thinker in China is" --mask none',
    'attn compare "the king is a man" "the queen is a woman" --layer 1',
    'attn compare "the king is" "the king is a man"',
    'attn compare "the king is" --model ./base --adapter ./lora',
    "attn compare --ids 5,6,7 --model ./model.gguf --model ./folder",
    "attn compare before.parquet after.parquet",
    "attn compare --without-head 0.1 --json | jq '.result.prediction[0].divergence'",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedOptions(options.PromptOptions):
    """Two prompts, and the models that read them."""

    other: Annotated[
        str | None,
        Argument(metavar="[OTHER]", show_default=False,
                 help="What the right side reads, the same prompt if left out; - reads standard "
                 "input."),
    ] = None  # fmt: skip
    ids: Annotated[
        list[str],
        Option("--ids", metavar="1,2,3",
               help="Token ids instead of a text; a second time for the right side."),
    ] = ()  # fmt: skip
    model: options.ModelNames = (vocabulary.DEFAULT_MODEL,)
    adapter: options.Adapters = ()

    def models(self) -> "tuple[Model, Model]":
        """The model of each side; one adapter is the right side's, like every change."""
        adapters = (None, *self.adapter)[-2:] if self.adapter else (None, None)
        asked = list(zip((self.model[0], self.model[-1]), adapters, strict=True))
        found = {
            one: options.opened_model(*one, self.ignore_config) for one in dict.fromkeys(asked)
        }
        return found[asked[0]], found[asked[1]]

    def sides(self, *, changes: bool) -> tuple[options.PromptOptions, options.PromptOptions | None]:
        """The options of the left side, and of the right one if a prompt was given for it.

        Raises UsageError for a third prompt or model, and where both sides are the same, unless
        there are `changes` to one.
        """
        of_sides = {"--ids": self.ids, "--model": self.model, "--adapter": self.adapter}
        for name, given in of_sides.items():
            if len(given) > 2:
                hint = "two at most: one for the left side, one for the right"
                raise UsageError(f"{name} is given {len(given)} times", hint)
        first, second = (*self.ids, None, None)[:2]
        if second is not None and self.other is not None:
            raise UsageError("two prompts for the right side: OTHER and --ids", "give one of them")
        left = replace(self, ids=first)
        if self.text is not None and self.other is None and self.file is not None:
            asked = f"attn compare - {shlex.quote(shorten(self.text))} < {shorten(self.file)}"
            raise UsageError("two prompts: TEXT and --file", f"for a left side of a file: {asked}")
        refuse_two(left)
        if second is None and self.other is None:
            if len(self.model) < 2 and not changes and not self.adapter:
                raise UsageError(
                    "there is nothing to compare: both sides are the same",
                    "give a second text, a second --model, an --adapter, or a what-if such as "
                    "--mask none",
                )
            return left, None
        if self.other == "-" and ("-" in (self.text, self.file) or self.text is None):
            raise UsageError("both prompts would come from standard input", "give one as text")
        return left, replace(self, text=self.other, file=None, ids=second)


def command(
    prompt: ComparedOptions,
    attention: options.AttentionOptions,
    what_if: options.WhatIfOptions,
    out: options.OutputOptions,
    layer: options.Layers = "all",
    head: options.Heads = "all",
    query: options.Queries = (),
    key: options.Keys = (),
    step: options.Steps = (),
    top: options.Top = 5,
) -> int:
    """How much every step differs between two prompts, two models, or with and without a what-if.

    Left: TEXT, the first --model, its own settings. Right: OTHER, the second --model, the
    --adapter, every what-if option. What is not given is the same on both sides; --adapter twice is
    one for each. TEXT and OTHER may be the files of two results of attn scan.
    """
    from attn_cli import session
    from attn_cli.analysis.compare import compare_steps
    from attn_cli.views import compare as view

    if compare_scans.are_results(prompt.text, prompt.other, out):
        own = {"layer": layer != "all", "head": head != "all", "query": query, "key": key,
               "step": step, "top": top != 5}  # fmt: skip
        return compare_scans.command(prompt, (attention, what_if), own, out)
    typed = what_if.settings()
    mine, other = prompt.sides(changes=bool(vocabulary.changes(typed)))
    left, right = prompt.models()
    steps = parse.steps(step) if step else frozenset(range(1, 7))
    same = {
        "stack": attention.stack, "kind": attention.kind, "layer": layer, "head": head, "top": top,
        "arrays": {n for n in vocabulary.DEFAULT_ARRAYS if vocabulary.ARRAYS[n].step in steps},
        "max_memory": None,
    }  # fmt: skip
    read_right = _right(mine, other, left, right)

    def answer(read):
        named = right is not left
        with told_where(f"left, {left.facts.name}" if named else ""):
            own = session.ask(model=left, prompt=read, **same)
        places = dict.fromkeys(block[:2] for block in own.blocks)
        chosen = kept(read, {place: positions(read, place, query, key) for place in places})
        own = own._replace(request=replace(own.request, positions=chosen))
        with told_where(f"right, {right.facts.name}" if named else ""):
            beside = session.ask(model=right, prompt=read_right(read), **same, **typed)
        passing = compare_steps(own, beside, top=top, max_memory=prompt.max_memory)
        found, notes = output.watched(passing, quiet=prompt.quiet)
        page = partial(view.page, left.facts, read, found)
        settings = {**own.settings, "step": sorted(steps), "query": list(query), "key": list(key),
                    "top": top, **_chosen(own)}  # fmt: skip
        return output.Result(page, found, left.facts, read, settings, notes)

    results, each = answers(mine, left, answer), bool(prompt.each)
    return output.deliver("compare", out, results, quiet=prompt.quiet, each=each)


def _chosen(asked: "Question") -> dict[str, list[int]]:
    """The layers and the heads that were asked for."""
    heads = asked.request.heads[asked.blocks[0].stack]
    return {"layer": sorted({block.layer for block in asked.blocks}), "head": list(heads)}


def _right(
    mine: options.PromptOptions, other: options.PromptOptions | None, left: "Model", right: "Model"
) -> "Callable[[Prompt], Prompt]":
    """What the right model reads beside what the left one does."""
    if other is not None:
        with told_where("right"):
            read = single(other, right, reader(other, right))
        return lambda _: read
    if len(mine.model) < 2:  # an adapter has no tokenizer of its own
        return lambda same: same
    if mine.chat:
        raise UsageError(
            "--chat: two models may have two chat formats", "give the text twice, once for each"
        )
    read = reader(mine, right)

    def again(same: "Prompt") -> "Prompt":
        return read(**{"text": same.text} if same.has_text else {"ids": same.ids})

    return again
