"""`attn why`: the arithmetic of one cell, term by term, and who wrote what a head matched."""

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from typer import Option

from attn_cli import parse
from attn_cli.cli import output
from attn_cli.cli.options import (
    AttentionOptions,
    Head,
    Layer,
    OutputOptions,
    PromptOptions,
    WhatIfOptions,
    complete,
    number,
    one_of,
)
from attn_cli.cli.prompts import answers, checked
from attn_cli.errors import UsageError
from attn_cli.words import Note

if TYPE_CHECKING:
    from attn_cli.model.family import Model
    from attn_cli.model.selection import Positions
    from attn_cli.records import Address, Prompt, Trace
    from attn_cli.session import Question

EXAMPLES = (
    'attn why "the greatest thinker in China is"',
    'attn why "the greatest thinker in China is" --layer 1 --query is --key China',
    'attn why "the greatest thinker in China is" --array q --query is --column 3',
    'attn why "the greatest thinker in China is" --layer 1 --by component --step-back',
    'attn why "the greatest thinker in China is" --by component --logit Mencius',
    "attn why --json | jq '.result | {scores, scaled, weight}'",
)
_ARRAYS = ("weights", "q", "k", "v", "z", "output", "logit")
_BY = ("component",)
_OF_KEYS = ("k", "v")

Query = Annotated[
    str | None, Option(metavar="QUERY", show_default="the last token",
                       help="The row: a position or a token's text."),
]  # fmt: skip
Key = Annotated[
    str | None, Option(metavar="KEY", show_default="the key with the largest weight",
                       help="The column: a position or a token's text."),
]  # fmt: skip
Array = Annotated[
    str,
    Option(metavar="ARRAY", parser=one_of("--array", _ARRAYS), autocompletion=complete(*_ARRAYS),
           help="Whose cell: weights, or with --column q, k, v, z or output. With --by also logit, "
           "that of the predicted token."),
]  # fmt: skip
ColumnOf = number(int | None, "--column", "C", 0, 10**9 - 1, "The column of q, k, v, z or output.")
By = Annotated[
    str,
    Option(metavar="component", parser=one_of("--by", _BY), autocompletion=complete(*_BY),
           help="Split the score by what wrote the parts of the query and of the key."),
]  # fmt: skip
StepBack = Annotated[
    bool,
    Option("--step-back", help="With --by: also why the head that wrote most looked where it did."),
]
Logit = Annotated[
    str | None,
    Option(metavar="WORD", show_default="no logit",
           help="With --by: split the logit of this token instead of a score."),
]  # fmt: skip


class _Asked(NamedTuple):
    """What was typed of a cell, beside the layer and the head."""

    array: str
    column: int | None
    by: str
    step_back: bool
    word: str | None

    def check(self, layer: str, head: str, key: str | None) -> None:
        """Raises UsageError for options that contradict each other, or do nothing together."""
        array, of_logit = self.array, self.array == "logit"
        if not self.by and (self.step_back or of_logit):
            option = "--step-back" if self.step_back else "a logit"
            raise UsageError(f"{option} needs --by component", "it says who wrote what")
        if self.by and not of_logit and array != "weights":
            raise UsageError(f"--by {self.by} splits a score, or a logit", "leave --array out")
        if of_logit:
            typed = {"--layer": layer is not None, "--head": head != "0", "--key": key is not None,
                     "--step-back": self.step_back}  # fmt: skip
            for option in (option for option, used in typed.items() if used):
                raise UsageError(f"{option} does nothing with a logit", "all layers add to it")
        if self.column is not None and array in ("weights", "logit"):
            raise UsageError(
                "--column is of q, k, v, z or output", "give --array too, for example --array q"
            )
        if array not in ("weights", "logit") and self.column is None:
            raise UsageError(f"--array {array} needs --column", "for example --column 0")
        if key is not None and array in ("q", "z", "output"):
            raise UsageError(
                f"--key does nothing with --array {array}", "its rows are queries: --query"
            )


def command(
    prompt: PromptOptions,
    attention: AttentionOptions,
    what_if: WhatIfOptions,
    out: OutputOptions,
    layer: Layer = None,
    head: Head = "0",
    query: Query = None,
    key: Key = None,
    array: Array = "weights",
    column: ColumnOf = None,
    by: By = "",
    step_back: StepBack = False,
    logit: Logit = None,
) -> int:
    """The arithmetic of one cell: every product, sum and power, to be redone with a calculator.

    Then what this key's value adds to the query's output and to the logit of the predicted token.
    Without --query and --key: the strongest cell of the last token's row. --by component says who
    wrote what the head matched.
    """

    asked = _Asked("logit" if logit is not None else array, column, by, step_back, logit)
    asked.check(layer, head, key)
    model = prompt.load()
    where = attention.of(model.facts)
    block, at = _one(model, where, layer, head)
    cell = _Cell(model, block, at, asked, what_if.settings(), where, prompt, out)

    work = cell.split if by else cell.explain if asked.array == "weights" else cell.enter
    results = answers(prompt, model, lambda read: work(read, *_places(read, block, query, key)))
    return output.deliver("why", out, results, quiet=prompt.quiet, each=bool(prompt.each))


def _one(
    model: "Model", where: tuple[tuple[str, str], ...], layer: str | None, head: str
) -> "tuple[Address, int]":
    """The block and the head. Raises UsageError for several."""
    from attn_cli import session

    counts = model.facts.layers_of, model.facts.heads_of
    for given, count, option in zip((layer, head), counts, ("--layer", "--head"), strict=True):
        if given and parse.INTEGER.fullmatch(given.strip()):
            parse.one(given, max(count(stack) for stack, _ in where), option)
    blocks, heads = session.chosen(model.facts, where, layer, head)
    if len(blocks) > 1 or any(len(chosen) > 1 for chosen in heads.values()):
        raise UsageError(
            "attn why explains one head of one layer of one attention",
            "choose it with --layer, --head, --stack and --kind",
        )
    return blocks[0], heads[blocks[0].stack][0]


Places = tuple[int | None, int | None]


def _places(
    read: "Prompt", block: "Address", query: str | None, key: str | None
) -> tuple[Places, tuple[Note, ...]]:
    """The positions of query and key that were named, and what to say of them."""
    from attn_cli.cli.places import one_place

    sides = read.sides(block.stack, block.kind)
    found, told = [], ()
    for given, side, option in zip((query, key), sides, ("--query", "--key"), strict=True):
        place, said = (None, ()) if given is None else one_place(given, side, option)
        found.append(place)
        told += said
    return (found[0], found[1]), told


class _Cell(NamedTuple):
    """The head in question, what is asked of it, and how the answer is written."""

    model: "Model"
    block: "Address"
    head: int
    asked: _Asked
    typed: dict[str, Any]
    where: tuple[tuple[str, str], ...]
    prompt: PromptOptions
    out: OutputOptions

    def explain(
        self, read: "Prompt", places: Places, told: tuple[Note, ...]
    ) -> "Generator[Question, Trace, output.Result]":
        """The arithmetic of a cell of the weights."""
        from attn_cli.analysis.why import NEEDS, why
        from attn_cli.views.why import page

        query = read.of(self.block.stack).followed if places[0] is None else places[0]
        need = {"arrays": NEEDS, "head": self.head, "ending": True}
        trace = yield self._ask(read, ((query,), None), **need)
        found = why(trace, self.block, self.head, query, places[1])
        return self._result(read, trace, found, page, told)

    def enter(
        self, read: "Prompt", places: Places, told: tuple[Note, ...]
    ) -> "Generator[Question, Trace, output.Result]":
        """The arithmetic of an entry of another array."""
        from attn_cli.analysis.entry import entry, wanted
        from attn_cli.views.entry import page

        array, block = self.asked.array, self.block
        position = _position(read, block, array, places)
        need = wanted(self.model.facts, array, self.head, position, block.crosses)
        trace = yield self._ask(read, need.pop("places"), **need, next=False)
        found = entry(trace, block, self.head, array, position, self.asked.column)
        return self._result(read, trace, found, page, told)

    def _ask(self, read: "Prompt", places: "Positions", **need: Any) -> "Question":
        from attn_cli import session

        block = self.block
        return session.ask(
            prompt=read, model=self.model, **block._asdict(), max_memory=self.prompt.max_memory,
            positions={(block.stack, block.kind): places}, **need, **self.typed,
        )  # fmt: skip

    def _result(
        self, read: "Prompt", trace: "Trace", found: Any, page: Any, told: tuple[Note, ...]
    ) -> output.Result:
        chosen = {"layer": self.block.layer, "head": self.head, "array": self.asked.array}
        from attn_cli.views.json import as_written

        drawn = partial(page, trace, as_written(found), self.out.digits, self.out.full)
        return output.Result(
            drawn, found, trace.model, read, {**trace.settings, **chosen}, trace.notes + told
        )

    def split(self, read: "Prompt", places: Places, told: tuple[Note, ...]) -> output.Result:
        """Who wrote a score, or a logit."""
        from attn_cli import notes, session
        from attn_cli.views import components as view
        from attn_cli.views.json import as_written

        changes = session.what_if(self.model, read, self.where, **self.typed)
        work = self._logit if self.asked.array == "logit" else self._score
        found, chosen, said, provenance, parts = work(read, places, changes)
        numbers = (part.value for part in parts)
        settings = {**self.typed, **parse.named(self.where), **read.settings, **chosen,
                    "array": self.asked.array, "by": self.asked.by}  # fmt: skip
        said += notes.run_notes(self.model, read, self.typed, changes, provenance, numbers=numbers)
        page = view.logit_page if self.asked.array == "logit" else view.page
        drawn = partial(page, self.model.facts, read, as_written(found), settings,
                        self.out.digits, self.out.full)  # fmt: skip
        return output.Result(drawn, found, self.model.facts, read, settings, said + told)

    def _score(self, read: "Prompt", places: Places, changes: Any) -> tuple:
        from attn_cli.analysis.components import Chain, components_steps, step_back
        from attn_cli.records import Address

        query = read.of(self.block.stack).followed if places[0] is None else places[0]

        def cell(at: "Address", head: int, query: int, key: int | None) -> Any:
            steps = components_steps(
                self.model, read, at, head, query, key, changes, self.prompt.max_memory
            )
            return output.watched(steps, quiet=self.prompt.quiet)

        cells = (cell(self.block, self.head, query, places[1]),)
        if self.asked.step_back:
            layer, head, position = step_back(cells[0])
            cells += (cell(Address(self.block.stack, "self", layer), head, position, None),)
        chosen = {"layer": self.block.layer, "head": self.head, "step_back": self.asked.step_back}
        parts = [part for cell in cells for part in (*cell.by_key, *cell.by_query, *cell.pairs)]
        return Chain(cells), chosen, (), cells[0].provenance, parts

    def _logit(self, read: "Prompt", places: Places, changes: Any) -> tuple:
        from attn_cli.analysis.attribution import attribution_steps
        from attn_cli.analysis.lens import chosen, watched

        (position,) = chosen(self.model, read, () if places[0] is None else places[:1])[:1]
        token, said = -1, ()
        if self.asked.word is not None:
            token, said = watched(self.model, read, checked(self.asked.word, "--logit"), "--logit")
        steps = attribution_steps(
            self.model, read, position, changes, self.prompt.max_memory, token=token
        )
        found = output.watched(steps, quiet=self.prompt.quiet)
        chosen_token = {"logit": None if token < 0 else token}
        return found, chosen_token, said, found.provenance, found.by


def _position(read: "Prompt", block: "Address", array: str, places: Places) -> int:
    """The row of an array. Raises UsageError where it was named twice, or on the wrong side."""
    of_keys = array in _OF_KEYS
    query, key = places
    if of_keys and query is not None and (key is not None or block.crosses):
        raise UsageError(f"the rows of {array} are keys", "give --key, without --query")
    named = key if of_keys and key is not None else query
    return read.sides(block.stack, block.kind)[of_keys].followed if named is None else named
