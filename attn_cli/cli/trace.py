"""`attn trace`: the six steps, as tables or as a document."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from attn_cli import parse, vocabulary
from attn_cli.cli import options, output
from attn_cli.cli.prompts import answers, kept, positions
from attn_cli.views.formats import FORMATS, Drawing
from attn_cli.words import Note, grouped, note

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from attn_cli.model.family import Model
    from attn_cli.records import Prompt, Trace
    from attn_cli.session import Question

EXAMPLES = (
    'attn trace "the greatest thinker in China is"',
    'attn trace "the king is a man" --layer 1 --head all --step 5',
    'attn trace "the king is a man" --query man --key king,is',
    "attn trace --json | jq '.attention[0].arrays.weights.values[0][-1]'",
)


After = Annotated[
    bool, Option("--after", help="Also mlp_output: what the layer's feed-forward network gives.")
]
Parameters = Annotated[
    bool,
    Option(
        "--parameters",
        help="Also what is learned (W_Q, W_K, W_V, W_O, biases, norms), the embedding's "
        "parts, and key_x of cross-attention.",
    ),
]
NoNext = Annotated[bool, Option("--no-next", help="Leave out the prediction.")]


# A model of fewer parameters writes a sentence while a page is drawn.
_SMALL, _SENTENCE = 100_000_000, 24
_TOP = 5


def command(
    prompt: options.PromptOptions,
    attention: options.AttentionOptions,
    what_if: options.WhatIfOptions,
    out: options.OutputOptions,
    layer: options.FirstLayers = None,
    head: options.FirstHeads = None,
    query: options.Queries = (),
    key: options.Keys = (),
    step: options.Steps = (),
    parameters: Parameters = False,
    after: After = False,
    no_next: NoNext = False,
    max_tokens: options.MaxTokens = None,
    top: options.Top = _TOP,
) -> int:
    """The six steps of self-attention for a prompt, each matrix as a table.

    Then the next-token prediction. Layer 0, head 0 unless you choose others.
    """
    from attn_cli import session

    model = prompt.load()
    where, kind = attention.of(model.facts), output.shown_as("trace", out)
    layer, head = FORMATS[kind].chosen(layer, head)
    blocks, heads = session.chosen(model.facts, where, layer, head)
    steps, picture = _steps(step, kind, quiet=prompt.quiet), bool(FORMATS[kind].page)
    whole = kind == "table" and len(steps) == len(vocabulary.STEPS)
    arrays = _arrays(kind, steps, parameters, after or whole)
    _tell_idle({"--step": step, "--after": after, "--no-next": no_next, "--top": top != _TOP,
                "--parameters": parameters}, kind, arrays, quiet=prompt.quiet)  # fmt: skip

    def answer(read):
        asked, typed = max_tokens or (0 if no_next else None), what_if.settings()
        longer, settings, notes = _continued(model, read, asked, where, typed, prompt)
        places = {place: positions(longer, place, query, key) for place in where}
        drawing = Drawing(model.facts, longer, blocks, heads, places, parameters, after)
        asks = session.ask(
            prompt=longer, model=model, layer=layer, head=head,
            **_asked(kind, arrays, drawing),
            next=not (no_next or picture), top=top, ending=whole or FORMATS[kind].drawn,
            **typed, stack=attention.stack, kind=attention.kind, max_memory=None,
        )  # fmt: skip
        found = yield _with_room(asks, prompt.max_memory, kind, drawing)
        found = replace(found, settings={**found.settings, **settings}, notes=found.notes + notes)
        shown = {block.address: places[block.address[:2]] for block in found.attention}
        more = {"steps": steps, "shown": shown, "follow": bool(query), "after": after}
        page = partial(page_of, found, out, quiet=prompt.quiet, **more)
        page = partial(picture_of, found, shown) if picture else page
        written = _interactive(found, kind, places) if key else ()
        return output.Result(page, found, notes=_beside(found.notes, whole), written=written)

    results, each = answers(prompt, model, answer), bool(prompt.each)
    return output.deliver("trace", out, results, quiet=prompt.quiet, each=each)


def _steps(step: "Sequence[str]", kind: str, *, quiet: bool) -> frozenset[int]:
    """The chosen steps: what is drawn has all."""
    if step and FORMATS[kind].drawn:
        output.note("note.unused", option="--step", format=kind, quiet=quiet)
        step = ()
    return parse.steps(step) if step else frozenset(range(1, 7))


def _tell_idle(given: "Mapping[str, object]", kind: str, arrays: set[str], *, quiet: bool) -> None:
    """Says which of the options that were given do nothing: a picture shows weights alone, and
    parameters belong to steps."""
    if FORMATS[kind].page:
        for option in (option for option, typed in given.items() if typed):
            output.note("note.no_picture", option=option, format=kind, quiet=quiet)
    elif given["--parameters"] and not arrays & vocabulary.PARAMETERS - {"b_q", "b_o"}:
        output.note("note.no_step", quiet=quiet)


def _beside(notes: tuple[Note, ...], whole: bool) -> tuple[Note, ...]:
    """What a `whole` page says itself need not be said beside it."""
    from attn_cli.notes import WRITTEN

    return tuple(said for said in notes if not whole or said.key != WRITTEN)


def _arrays(kind: str, steps: frozenset[int], parameters: bool, after: bool) -> set[str]:
    """The arrays a format shows; a page needs some of the other steps' to explain its own."""
    names = {n for n, spec in vocabulary.ARRAYS.items() if not spec.opt_in or parameters}
    if kind == "table":
        names |= vocabulary.EMBEDDING_PARTS | vocabulary.LATENTS | {"b_q", "b_o"}
    shown = {n for n in names if vocabulary.ARRAYS[n].step in steps}
    shown |= {"mlp_output"} if after else set()
    if kind == "table":
        from attn_cli.views.trace import EXPLAINED_WITH

        shown |= {n for step in steps for n in EXPLAINED_WITH.get(step, ())}
    return shown


def _asked(kind: str, arrays: set[str], drawing: Drawing) -> dict[str, Any]:
    """What a format keeps of a pass: what is drawn tells of every token, a document just of those
    that were asked for."""
    form, chosen = FORMATS[kind], kept(drawing.prompt, drawing.shown)
    if kind != "table" and not (form.drawn or form.page):
        return {"arrays": arrays, "positions": chosen}
    if kind != "table":
        arrays = import_module(form.page or form.arrays).needed(drawing)
    return {"arrays": arrays, "rows": {at: some for at, (some, _) in chosen.items() if some}}


def _with_room(asks: "Question", max_memory: int, kind: str, drawing: Drawing) -> "Question":
    """The question, if there is room for its pass and for what a format takes to be written."""
    from attn_cli import room

    module = import_module(FORMATS[kind].arrays) if FORMATS[kind].drawn else None
    weight = module.weight(drawing) if hasattr(module, "weight") else None
    more = {"written": weight, "made": room.Made(*FORMATS[kind].takes)}
    room.check(asks.model, asks.prompt, asks.request, max_memory, **more)
    return asks


def _continued(
    model: "Model",
    read: "Prompt",
    asked: int | None,
    where: tuple[tuple[str, str], ...],
    typed: dict[str, Any],
    prompt: options.PromptOptions,
) -> tuple["Prompt", dict[str, int], tuple[Note, ...]]:
    """The prompt with so many more tokens, and what document and notes say of them.

    None asks what the decoder of a small model would write, where it was given nothing to read.
    """
    unread = read.target is not None and len(read.target.tokens) == 1
    if not asked and not (asked is None and unread and model.facts.parameters < _SMALL):
        return read, {}, ()
    from attn_cli import session
    from attn_cli.analysis.sample import continued_steps, stop_note
    from attn_cli.notes import WRITTEN

    session.check_writes(model.facts, "--max-tokens")
    changes = session.what_if(model, read, where, **typed)
    steps = continued_steps(model, read, asked or _SENTENCE, changes, prompt.max_memory)
    longer = output.watched(steps, quiet=prompt.quiet)
    if not asked:
        own = (token.id for token in longer.last.tokens[1:] if token.id not in model.end_tokens)
        return read, {}, (note(WRITTEN, text=model.tokenizer.decode(own)),)
    added = longer.last.ids[len(read.last.tokens) :]
    key = "note.continued_what_if" if vocabulary.changes(typed) else "note.continued"
    notes = (
        note(
            key,
            tokens=grouped(len(added), "page.tokens_one", "page.tokens_many"),
            read="target" if read.target else "prompt",
        ),
        *stop_note(model, longer, added, asked),
    )
    return longer, {"max_tokens": asked, "added_tokens": len(added)}, notes


def _interactive(trace: "Trace", kind: str, shown: dict[Any, Any]) -> "Iterable[bytes]":
    """A trace in a format that computes from all keys and shows just some, nothing in another."""
    form, keys = FORMATS[kind], {place: keys for place, (_, keys) in shown.items()}
    return import_module(form.arrays).render(trace, keys) if form.places else ()


def picture_of(trace: "Trace", shown: dict[Any, Any]) -> list[Any]:
    """The page of a trace's picture (see `views.trace.picture`)."""
    from attn_cli.views.trace import picture

    return picture(trace, shown)


def page_of(
    trace: "Trace", out: options.OutputOptions, *, quiet: bool, steps: frozenset[int],
    shown: dict[Any, Any], **more: Any,
) -> list[Any]:  # fmt: skip
    """The page of a trace (see `views.trace.page`); of too many tables a smaller one, with a note
    that says how many there are."""
    from attn_cli.views import trace as view

    count = view.count_tables(trace, steps)
    if count <= view.MOST_TABLES or out.full:
        return view.page(trace, steps=steps, full=out.full, shown=shown, **more)
    small = out.view in ("heatmap", "dots") and 5 in steps
    output.note("trace.overview" if small else "trace.too_many", count=count, quiet=quiet)
    if small:
        return view.overview(trace, shown)
    return view.page(trace, steps=frozenset(), shown=shown, **more)
