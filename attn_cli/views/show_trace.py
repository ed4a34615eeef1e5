"""What of a saved trace is there to be shown, and the page of a part of one."""

from collections.abc import Sequence

import numpy as np

from attn_cli import vocabulary
from attn_cli.notes import place
from attn_cli.records import Attention, Trace
from attn_cli.views import bare, ending
from attn_cli.views import trace as six_steps
from attn_cli.views.formats import Drawing
from attn_cli.views.head_view import HeadView
from attn_cli.views.items import Heading, Page, Say, Words, what_ifs
from attn_cli.words import Note, note

_ALL = frozenset(range(1, 7))


def told(items: Page, lacks: Sequence[Words]) -> Page:
    """The page, and after its heading what the document lacks."""
    if not lacks:
        return items
    at = next((i for i, item in enumerate(items, 1) if isinstance(item, Heading)), 0)
    return [*items[:at], Say(lacking(lacks), "aside"), *items[at:]]


def lacking(lacks: Sequence[Words]) -> Note:
    """What a page says of what its document lacks."""
    return note("show.lacks", lacks=ending.listed(lacks))


def steps_of(trace: Trace) -> frozenset[int]:
    """The steps of which a document has arrays."""
    names = {name for block in trace.attention for name in block.arrays}
    return frozenset(vocabulary.ARRAYS[name].step for name in names) - {0}


def whole(trace: Trace) -> bool:
    """Whether every query and every key is there."""
    return all(
        shown == tuple(range(len(side.tokens)))
        for block in trace.attention
        for shown, side in zip(
            (block.queries, block.keys), trace.prompt.sides(block.stack, block.kind), strict=True
        )
    )


def drawing(trace: Trace) -> Drawing:
    """What is drawn of a whole trace."""
    blocks = tuple(block.address for block in trace.attention)
    heads = {block.stack: block.heads for block in trace.attention}
    shown = {block.address[:2]: (block.queries, block.keys) for block in trace.attention}
    found = Drawing(trace.model, trace.prompt, blocks, heads, shown, parameters=False, after=False)
    there = {name for block in trace.attention for name in block.arrays}
    return found._replace(parameters="w_v" in there)


def explained(steps: frozenset[int]) -> frozenset[str]:
    """The arrays of other steps that the pages of these need."""
    return frozenset(n for step in steps for n in six_steps.EXPLAINED_WITH.get(step, ()))


def trace_lacks(trace: Trace, steps: frozenset[int]) -> list[Words]:
    """What the page of these steps has that the document lacks."""
    if not whole(trace):
        return [note("show.positions")]
    names = {name for block in trace.attention for name in block.arrays}
    wanted, of_sinks = explained(steps - {1, 2}), {*vocabulary.SINKS.values()}
    if not names & of_sinks:  # few models have any
        wanted -= of_sinks
    missing = [name for name in vocabulary.ARRAYS if name in wanted - names]
    lacks: list[Words] = [f"`{name}`" for name in missing]
    unknown = trace.model.positions == "none"  # of a model that adds a bias
    of_bias = 4 in steps and "bias" in names and unknown
    lacks += [note("show.model")] * bool(steps & {1, 2, 6} or of_bias)
    return lacks + [note("show.ending")] * (steps == _ALL)


@np.errstate(all="ignore")
def parts(trace: Trace, steps: frozenset[int], *, full: bool) -> Page:
    """The page of a trace that lacks queries or keys: its arrays, and nothing said of the whole."""
    found: Page = [Heading(trace.model, trace.prompt), *what_ifs(trace.settings)]
    for block in trace.attention:
        for at in range(len(block.heads)):
            view = _part(trace, block, at, full=full)
            where = note("page.head", where=place(trace.model, block), head=view.head)
            found.append(Say(where, "block"))
            for number in sorted(steps):
                if not at or number > 1:
                    found.extend(bare.step(view, number))
    return [*found, *six_steps.predictions(trace, full=full)]


def _part(trace: Trace, block: Attention, at: int, *, full: bool) -> HeadView:
    """A head whose rows and columns are counted among those that are there, and none followed."""
    view = six_steps.view_of(trace, block, at, (block.queries, block.keys), follow=False, full=full)
    return view._replace(
        queries=list(range(len(block.queries))), keys=list(range(len(block.keys))),
        kept=range(len(block.queries)), query=-1, names=[view.names[i] for i in block.queries],
        key_names=[view.key_names[i] for i in block.keys],
    )  # fmt: skip
