"""`attn heads`: every head of a layer side by side, all heads in one ranking, proofs, circuits."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import isqrt
from typing import TYPE_CHECKING, Annotated, NamedTuple

from typer import Option

from attn_cli import parse, vocabulary
from attn_cli.cli import output
from attn_cli.cli.options import (
    MOST,
    AttentionOptions,
    FirstLayers,
    OutputOptions,
    PromptOptions,
    WhatIfOptions,
    complete,
    heads,
    number,
    one_of,
)
from attn_cli.cli.prompts import answers
from attn_cli.errors import UsageError
from attn_cli.views.formats import FORMATS
from attn_cli.words import note

if TYPE_CHECKING:
    from attn_cli.model.family import Model
    from attn_cli.records import Address, Prompt

# Documents have the weights of prompts up to so many tokens; of several layers, of shorter ones,
# so that they are no more.
_MOST = 1024

EXAMPLES = (
    'attn heads "the greatest thinker in China is" --layer 1',
    "attn heads --layer all --sort first",
    "attn heads --circuit 1.2",
    "attn heads --prove",
    "attn heads --json | jq '.result.heads[] | {head, entropy, norm}'",
)
_DOCUMENT = (0, 0, 3.2)  # of the memory of the weights, as `room.Made` has it
_COLUMNS = tuple(vocabulary.HEAD_COLUMNS)
_NO_MATRIX = "there is no matrix of queries and keys"
_OF_MATRICES = ("heatmap", "dots")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadOptions:
    """Which heads, and how they are told."""

    layer: FirstLayers = None
    head: heads(str | None, show_default="all") = None
    sort: Annotated[
        str,
        Option("--sort", metavar="COLUMN", parser=one_of("--sort", _COLUMNS), show_default="norm",
               autocompletion=complete(*_COLUMNS),
               help=f"One ranking of the heads, as of several layers: {', '.join(_COLUMNS)}."),
    ] = ""  # fmt: skip
    without_first: Annotated[
        bool,
        Option("--without-first", help="Split off what the first token gets, and divide the other "
               "weights by their sum."),
    ] = False  # fmt: skip

    prove: Annotated[
        bool,
        Option("--prove", help="Read a block of random tokens twice: names for heads, what they "
               "are measured against, and the loss without them. Takes no TEXT."),
    ] = False  # fmt: skip
    seed: number(
        int | None, "--seed", "N", 0, MOST, "With --prove, draws another block.", "-s",
        show_default="0",
    ) = None  # fmt: skip
    circuit: Annotated[
        str | None,
        Option("--circuit", metavar="L.H", help="One head's two matrices, W_QK and W_OV: rank, "
               "which tokens attract which, what is copied."),
    ] = None  # fmt: skip


class _Asked(NamedTuple):
    """All that was typed; `documents`: the result is no page."""

    prompt: PromptOptions
    attention: AttentionOptions
    what_if: WhatIfOptions
    chosen: HeadOptions
    out: OutputOptions
    documents: bool
    picture: bool

    @property
    def of_matrices(self) -> dict[str, bool]:
        """Options for the matrices of a page, and whether they are used."""
        view = self.out.view
        used = {"--layout": self.out.layout != "rows", f"--view {view}": view in _OF_MATRICES}
        return {option: given and not self.documents for option, given in used.items()}


def command(
    prompt: PromptOptions,
    attention: AttentionOptions,
    what_if: WhatIfOptions,
    out: OutputOptions,
    chosen: HeadOptions,
) -> int:
    """Multi-head mode: the weights of every head, a summary of each, and the sum of their pulls.

    Several layers, or --sort, give one ranking of all their heads.
    """

    model = prompt.load()
    form = FORMATS[output.shown_as("heads", out)]
    documents = form.documents or bool(form.arrays)
    asked = _Asked(prompt, attention, what_if, chosen, out, documents, bool(form.page))
    _refuse_idle(asked)
    if chosen.prove:
        results = _proof(model, asked)
    else:
        how = _summaries if chosen.circuit is None else _circuit
        results = answers(prompt, model, how(model, asked))
    return output.deliver("heads", out, results, quiet=prompt.quiet, each=bool(prompt.each))


def _summaries(model: "Model", asked: _Asked) -> "Callable[[Prompt], output.Result]":
    """What the heads of the chosen layers do with a prompt."""
    from attn_cli import room, session
    from attn_cli.analysis.heads import each_summary, kept, ranked
    from attn_cli.views import heads as one_layer
    from attn_cli.views import ranking
    from attn_cli.views.items import GRID, NOTHING

    typed, where = asked.chosen, asked.attention.of(model.facts)
    layer, head = typed.layer, "all" if typed.head is None else typed.head
    blocks, of_stack = session.chosen(model.facts, where, layer, head)
    numbers = list(dict.fromkeys(block.layer for block in blocks))
    several = len(blocks) > 1 or bool(typed.sort)
    most = isqrt(_MOST**2 // len(blocks))
    _refuse_unused(asked, several=several)
    chosen = {"layer": numbers[0] if len(numbers) == 1 else numbers,
              "head": list(of_stack[blocks[0].stack]),
              "without_first": typed.without_first}  # fmt: skip

    def shown(read: "Prompt") -> int:
        """How many of the last weights are kept (0: all): a large square is read by nobody."""
        if asked.documents:
            return int(max(len(read.tokens), len(read.last.tokens)) > most)
        return 0 if asked.picture or (asked.out.full and not several) else 1 if several else GRID

    def answer(read: "Prompt") -> output.Result:
        _check_prompt(asked, read, blocks, of_stack)
        question = session.ask(
            prompt=read, model=model, layer=layer, head=head, next=False,
            **asked.what_if.settings(), stack=asked.attention.stack, kind=asked.attention.kind,
            max_memory=asked.prompt.max_memory, made=room.Made(*_DOCUMENT * asked.documents),
            **kept(read, where, shown(read), past_first=typed.without_first),
        )  # fmt: skip
        passing = session.steps(question)
        passing = each_summary(passing, model.facts, read, past_first=typed.without_first)
        summaries, trace = output.watched(passing, quiet=asked.prompt.quiet)
        trace = replace(trace, settings={**trace.settings, **chosen})
        found, notes = tuple(summaries[block] for block in blocks), trace.notes
        if asked.documents and shown(read):
            found = tuple(replace(one, visible=NOTHING, weights=NOTHING) for one in found)
            key = "heads.no_weights" if several else "note.no_weights"
            notes += (note(key, most=most, layers=len(blocks)),)
        result = ranked(found, typed.sort or "norm") if several else found[0]
        page = partial(ranking.page if several else one_layer.page, trace, result)
        page = partial(one_layer.picture, trace, found) if asked.picture else page
        return output.Result(page, result, model.facts, read, trace.settings, notes)

    return answer


def _refuse_unused(asked: _Asked, *, several: bool) -> None:
    """Raises UsageError for options that a picture, or a ranking of several layers, cannot use."""
    if asked.picture:
        given = {"--sort": asked.chosen.sort}
        _refuse(given, "a picture", "its heads are in the order of their numbers")
    elif several:
        _refuse(asked.of_matrices, "a ranking", _NO_MATRIX)


def _check_prompt(
    asked: _Asked, read: "Prompt", blocks: "Sequence[Address]", heads: "Mapping[str, Sequence[int]]"
) -> None:
    """Raises UsageError for too few tokens, ContentError for more than there is a picture of."""
    sides = [(len(heads[at.stack]), *read.sides(at.stack, at.kind)) for at in blocks]
    if asked.chosen.without_first and any(len(keys.tokens) < 2 for _, _, keys in sides):
        raise UsageError("--without-first leaves no key of a single token", "two or more")
    if asked.picture:
        from attn_cli.views.panels import check

        check(sum(count * len(q.tokens) * len(k.tokens) for count, q, k in sides))


def _refuse_idle(asked: _Asked) -> None:
    """Raises UsageError for options that would do nothing beside --prove and --circuit."""
    chosen, prompt = asked.chosen, asked.prompt
    if chosen.seed is not None and not chosen.prove:
        raise UsageError("--seed needs --prove", "it draws the block of random tokens")
    if not chosen.prove and chosen.circuit is None:
        return
    mode = "--prove" if chosen.prove else "--circuit"
    of_heads = {
        "--circuit": chosen.prove and chosen.circuit is not None,
        "--layer": chosen.layer is not None, "--head": chosen.head is not None,
        "--sort": chosen.sort, "--without-first": chosen.without_first,
    }  # fmt: skip
    _refuse(asked.of_matrices, mode, _NO_MATRIX)
    _refuse(of_heads, mode, "it looks at every head" if chosen.prove else "it shows one head")
    if chosen.prove:
        names = ("text", "file", "ids", "pair", "target", "target_ids")
        given = {f"--{name.replace('_', '-')}": getattr(prompt, name) is not None for name in names}
        names = ("each", "strict", "chat", "no_special", "force_context")
        given |= {f"--{name.replace('_', '-')}": getattr(prompt, name) for name in names}
        given["TEXT"] = given.pop("--text")
        _refuse(given, mode, "it reads tokens of its own")


def _refuse(given: Mapping[str, object], mode: str, why: str) -> None:
    for option in (option for option, value in given.items() if value):
        raise UsageError(f"{option} does nothing with {mode}", why)


def _proof(model: "Model", asked: _Asked) -> "Iterator[output.Result]":
    """What heads do with a block of random tokens that is read twice."""
    from attn_cli import notes, session
    from attn_cli.analysis import probes, prove
    from attn_cli.views import prove as view

    places = asked.attention.of(model.facts)
    if len(places) > 1:
        raise UsageError("--prove looks at one attention", "choose with --stack and --kind")
    typed, seed = asked.what_if.settings(), asked.chosen.seed or 0
    probe = probes.probe(model, places[0], seed)
    changes = session.what_if(model, probe.prompt, places, **typed)
    steps = prove.prove_steps(
        model, probe, places[0], typed, seed=seed, max_memory=asked.prompt.max_memory
    )
    found = output.watched(steps, quiet=asked.prompt.quiet)
    losses = [found.loss] if probes.loses(model.facts, places[0]) else []
    said = notes.run_notes(model, probe.prompt, typed, changes, found.provenance, numbers=losses)
    more = {"ignore_config": list(model.ignored), "prove": True, "seed": seed}
    settings = {**typed, **parse.named(places), **probe.prompt.settings, **more}
    page = partial(view.page, model.facts, probe.prompt, found, settings)
    yield output.Result(page, found, model.facts, probe.prompt, settings, said)


def _circuit(model: "Model", asked: _Asked) -> "Callable[[Prompt], output.Result]":
    """The two matrices of one head, and what they do with the tokens of a prompt."""
    from attn_cli import notes, session
    from attn_cli.analysis.circuit import circuit_steps
    from attn_cli.records import Address
    from attn_cli.views import circuit as view

    places = asked.attention.of(model.facts)
    if len(places) > 1:
        raise UsageError("--circuit shows one head", "choose with --stack and --kind")
    stack, kind = places[0]
    sizes = model.facts.layers_of(stack), model.facts.heads_of(stack)
    layer, head = parse.head(asked.chosen.circuit, *sizes, "--circuit")
    session.check_attend(model.facts, stack, (layer,), "--circuit")

    def answer(read: "Prompt") -> output.Result:
        typed = asked.what_if.settings()
        changes = session.what_if(model, read, places, **typed)
        place = Address(stack, kind, layer)
        steps = circuit_steps(model, read, place, head, asked.prompt.max_memory)
        found = output.watched(steps, quiet=asked.prompt.quiet)
        scores = (pair.score for pair in found.attractions)
        said = notes.run_notes(model, read, typed, changes, found.provenance, numbers=scores)
        more = {"ignore_config": list(model.ignored), "circuit": f"{layer}.{head}"}
        settings = {**typed, **parse.named(places), **read.settings, **more}
        page = partial(view.page, model.facts, read, found)
        return output.Result(page, found, model.facts, read, settings, said)

    return answer
