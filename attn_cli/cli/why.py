"""`attn why`: the arithmetic of one cell, term by term, and who wrote what it matched."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

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
from attn_cli.cli.prompts import answers
from attn_cli.errors import UsageError

if TYPE_CHECKING:
    from attn_cli.model.family import Model
    from attn_cli.records import Address, Prompt

EXAMPLES = (
    'attn why "the greatest thinker in China is"',
    'attn why "the greatest thinker in China is" --layer 1 --head 2 --query is --key China',
    "attn why --array q --query is --column 3",
    "attn why --json | jq '.result | {scores, scaled, weight}'",
)
_ARRAYS = ("weights", "q", "k", "v", "z", "output")
_OF_KEYS = ("k", "v")

Query = Annotated[
    str, Option(metavar="QUERY", show_default="the last token",
                help="The row: a position or a token's text."),
]  # fmt: skip
Key = Annotated[
    str, Option(metavar="KEY", show_default="the key with the largest weight",
                help="The column: a position or a token's text."),
]  # fmt: skip
Array = Annotated[
    str,
    Option(metavar="ARRAY", parser=one_of("--array", _ARRAYS), autocompletion=complete(*_ARRAYS),
           help=f"Whose cell: {', '.join(_ARRAYS)}; all but weights with --column."),
]  # fmt: skip
ColumnOf = number(int | None, "--column", "C", 0, 10**9 - 1, "The column of q, k, v, z or output.")


def command(
    prompt: PromptOptions,
    attention: AttentionOptions,
    what_if: WhatIfOptions,
    out: OutputOptions,
    layer: Layer = "0",
    head: Head = "0",
    query: Query = "",
    key: Key = "",
    array: Array = "weights",
    column: ColumnOf = None,
) -> int:
    """The arithmetic of one cell: every product, sum and power, to be redone with a calculator.

    Then what this key's value adds to the query's output and to the logit of the predicted token.
    Without --query and --key: the strongest cell of the last token's row.
    """
    from attn_cli import session

    _check(array, column, key)
    model = session.load(prompt.model, ignore_config=prompt.ignore_config)
    block, at = _one(model, attention, layer, head)

    def answer(read):
        shared = {
            "prompt": read, "model": model, "stack": block.stack, "kind": block.kind,
            "layer": block.layer, "max_memory": prompt.max_memory, **what_if.settings(),
        }  # fmt: skip
        places, told = _places(read, block, query, key)
        explain = _cell if array == "weights" else partial(_entry, array, column)
        trace, found, page = yield from explain(read, block, at, places, shared, out)
        chosen = {**trace.settings, "layer": block.layer, "head": at, "array": array}
        return output.Result(page, found, model.facts, read, chosen, trace.notes + told)

    results, each = answers(prompt, model, answer), bool(prompt.each)
    return output.deliver("why", out, results, quiet=prompt.quiet, each=each)


def _check(array: str, column: int | None, key: str) -> None:
    if array == "weights" and column is not None:
        raise UsageError(
            "--column is of q, k, v, z or output", "give --array too, for example --array q"
        )
    if array != "weights" and column is None:
        raise UsageError(f"--array {array} needs --column", "for example --column 0")
    if key and array in ("q", "z", "output"):
        raise UsageError(
            f"--key does nothing with --array {array}", "its rows are queries: --query"
        )


def _one(model: "Model", attention: AttentionOptions, layer: str, head: str) -> "tuple[Address, int]":
    """The block and the head. Raises UsageError for several."""
    from attn_cli import session

    blocks, heads = session.chosen(model.facts, attention.of(model.facts), layer, head)
    if len(blocks) > 1 or any(len(chosen) > 1 for chosen in heads.values()):
        raise UsageError(
            "attn why explains one head of one layer of one attention",
            "choose it with --layer, --head, --stack and --kind",
        )
    return blocks[0], heads[blocks[0].stack][0]


def _places(
    read: "Prompt", block: "Address", query: str, key: str
) -> tuple[tuple[int | None, int | None], tuple]:
    """The positions that were named, and what to say of them."""
    from attn_cli.cli.places import one_place

    found, told = [], ()
    for given, side, option in zip(
        (query, key), read.sides(block.stack, block.kind), ("--query", "--key"), strict=True
    ):
        place, said = one_place(given, side, option) if given else (None, ())
        found.append(place)
        told += said
    return tuple(found), told


def _cell(read, block, head, places, shared, out) -> Any:
    """One cell of the weights."""
    from attn_cli import session
    from attn_cli.analysis.why import NEEDS, why
    from attn_cli.views import why as view

    query, key = places
    query = read.of(block.stack).followed if query is None else query
    trace = yield session.ask(
        head=head, arrays=NEEDS, ending=True,
        positions={(block.stack, block.kind): ((query,), None)}, **shared,
    )  # fmt: skip
    found = why(trace, block, head, query, key)
    return trace, found, partial(view.page, trace, found, out.digits, out.full)


def _entry(array, column, read, block, head, places, shared, out) -> Any:
    """One entry of a projection, of the weighted sum or of the output."""
    from attn_cli import session
    from attn_cli.analysis.entry import entry, wanted
    from attn_cli.views import entry as view

    query, key = places
    position = (query if key is None else key) if array in _OF_KEYS else query
    if position is None:
        side = read.sides(block.stack, block.kind)[array in _OF_KEYS]
        position = side.followed
    need = wanted(array, head, position, block.crosses)
    trace = yield session.ask(
        head=need["head"], arrays=need["arrays"], next=False,
        positions={(block.stack, block.kind): need["places"]}, **shared,
    )  # fmt: skip
    found = entry(trace, block, head, array, position, column)
    return trace, found, partial(view.page, trace, found, out.digits, out.full)
