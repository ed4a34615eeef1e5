"""The page of `attn cost`: what there is, what a context length takes, and how to recompute it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from attn_cli.errors import size
from attn_cli.records import Facts
from attn_cli.views import numbers
from attn_cli.views.items import Column, Columns, Heading, Page, Say, paragraph, say
from attn_cli.views.text import visible
from attn_cli.words import Note, note

if TYPE_CHECKING:
    from attn_cli.analysis.cost import Attentions, Cost, Part


def page(model: Facts, found: "Cost") -> Page:
    """Parameters, cells, cache and operations, each under the formula that gives its numbers."""
    return [
        Heading(model),
        _headline(model, found),
        *_parameters(model, found),
        *_cells(model, found),
        *_cache(model, found),
        *_operations(model, found),
    ]


def _headline(model: Facts, found: "Cost") -> Say:
    last = found.contexts[-1]
    return say(
        "cost.headline", "headline", model=visible(model.name),
        parameters=numbers.count(found.parameters), tokens=_tokens(last.tokens),
        matrices=numbers.count(found.matrices), weights=numbers.count(last.weights),
        share=last.share,
    )  # fmt: skip


def _tokens(count: int) -> Note:
    return note("cost.tokens_one" if count == 1 else "cost.tokens_many", count=numbers.count(count))


def _sum(terms: Sequence[Note]) -> Note:
    """Terms with a plus between them."""
    first, *rest = terms
    return note("cost.and", first=first, rest=_sum(rest)) if rest else first


# --- parameters ----------------------------------------------------------------------------------


def _parameters(model: Facts, found: "Cost") -> Page:
    rows = [
        (_name(part, model, tied=found.tied), _shapes(part), _per_layer([part]), part.parameters)
        for part in found.parts
    ]
    for stack in dict.fromkeys(part.stack for part in found.parts if part.layers):
        own = [part for part in found.parts if part.layers and part.stack == stack]
        count = max(part.layers for part in own)
        name = _of_stack(note("cost.layer", count=count), stack, model)
        rows.append((name, "", _per_layer(own), sum(part.parameters for part in own)))
    rows.append((note("cost.total"), "", "", found.parameters))
    names, shapes, each, totals = zip(*rows, strict=True)
    columns = (
        Column(note("cost.part"), names, "left"),
        Column(note("cost.shapes"), shapes, "left"),
        Column(note("cost.per_layer"), each, "right"),
        Column(note("cost.parameters"), _counts(totals), "right"),
    )
    heads = {(one.heads, one.kv_heads, one.head_width): one for one in found.attentions}
    return [
        say("cost.bytes", float32=size(found.parameters_float32),
            bfloat16=size(found.parameters_bfloat16)),
        Columns(note("cost.parts"), columns),
        _embedding(found),
        *(_of_head(model, one, found) for one in heads.values()),
        *_shared(model, found),
    ]  # fmt: skip


def _embedding(found: "Cost") -> Say:
    part = next(part for part in found.parts if part.part == "embedding")
    vocabulary, width, product = map(numbers.count, (*part.shapes[0], part.parameters))
    sides = {"vocabulary": vocabulary, "width": width, "product": product}
    return say("cost.embedding_is", **sides, tied=note("cost.tied") if found.tied else "")


def _of_head(model: Facts, one: "Attentions", found: "Cost") -> Say:
    share = next(p.per_head for p in found.parts if (p.part, p.stack) == ("query", one.stack))
    told = {
        "heads": one.heads, "width": one.head_width, "model": numbers.count(model.model_width),
        "share": numbers.count(share),
    }  # fmt: skip
    if one.heads == one.kv_heads:
        return say("cost.head", four=numbers.count(4 * share), **told)
    group = one.heads // one.kv_heads
    return say("cost.head_grouped", group=group, kv_heads=one.kv_heads, **told)


def _shared(model: Facts, found: "Cost") -> Page:
    """That layers use each other's tensors, if they do."""
    stored = next(part.layers for part in found.parts if part.part == "query")
    layers = model.layers_of(found.attentions[0].stack) - sum(map(bool, model.mixers))
    return [say("cost.shared", layers=layers, stored=stored)] if stored < layers else []


def _name(part: "Part", model: Facts, *, tied: bool) -> Note:
    if not part.layers:
        # Where the output matrix is the embedding, what is left is what stands around it.
        others = {"norms": "norms_outside", "output": "head_outside" if tied else "output"}
        return note(f"cost.{others.get(part.part, part.part)}")
    return _of_stack(note(f"cost.{part.part}"), part.stack, model, crosses=part.kind == "cross")


def _of_stack(name: Note, stack: str, model: Facts, *, crosses: bool = False) -> Note:
    """A name with whose it is, where a model has two stacks."""
    if not model.encoder:
        return name
    return note("cost.of_cross" if crosses else f"cost.of_{stack}", part=name)


def _shapes(part: "Part") -> str:
    """`2 × 768 × 3,072 + 10`: what a calculator can redo."""
    times = Counter(" × ".join(map(numbers.count, shape)) for shape in part.shapes)
    return " + ".join(shape if n == 1 else f"{n} × {shape}" for shape, n in times.items())


def _per_layer(parts: "Sequence[Part]") -> str | Note:
    """What one layer has of these, at most where layers differ; nothing outside of the layers."""
    each = sum(part.per_layer for part in parts)
    if not each:
        return ""
    even = all(part.per_layer * part.layers == part.parameters for part in parts)
    even = even and len({part.layers for part in parts}) == 1
    return numbers.count(each) if even else note("cost.up_to", count=numbers.count(each))


# --- what a context takes ------------------------------------------------------------------------


def _cells(model: Facts, found: "Cost") -> Page:
    windowed = any(one.window for one in found.attentions)
    own = [one for one in found.attentions if (one.stack, one.kind) == (model.stack, "self")]
    farthest = "window" if all(one.window for one in own) else "causal" if model.writes else "all"
    some = "_some" if windowed and farthest != "window" else ""
    visible = note(f"cost.visible_{farthest}{some}")
    blocks = _sum([_block(model, one) for one in found.attentions])
    rows = found.contexts
    return [
        Columns(
            note("cost.cells"),
            (
                _lengths(found),
                Column(note("cost.mask"), _counts(row.mask for row in rows), "right"),
                Column(note("cost.visible"), _counts(row.visible for row in rows), "right"),
                Column(note("cost.weights", count=numbers.count(found.matrices)),
                       _counts(row.weights for row in rows), "right"),
                Column(note("cost.float32"), [size(row.weights_float32) for row in rows], "right"),
                Column(note("cost.bfloat16"), [size(row.weights_bfloat16) for row in rows],
                       "right"),
            ),
        ),
        say("cost.cells_windowed" if windowed else "cost.cells_are", visible=visible,
            blocks=blocks),
        *([say("cost.stacks")] if model.encoder else []),
    ]  # fmt: skip


def _lengths(found: "Cost") -> Column:
    return Column(note("cost.context"), _counts(row.tokens for row in found.contexts), "right")


def _counts(values: Iterable[int]) -> list[str]:
    return [numbers.count(value) for value in values]


def _block(model: Facts, one: "Attentions") -> Note:
    name = note("cost.block", heads=one.heads, layers=one.layers, cells=_square(one))
    return _of_stack(name, one.stack, model, crosses=one.kind == "cross")


def _square(one: "Attentions") -> Note:
    """How many cells a matrix has that are computed."""
    return note("cost.band", keys=numbers.count(one.reach)) if one.window else note("cost.square")


def _cache(model: Facts, found: "Cost") -> Page:
    own = [one for one in found.attentions if one.stack == "decoder"]
    if not own:
        return [say("cost.no_cache")]
    rows = found.contexts
    terms = [
        note("cost.cache_block", layers=one.layers, kv_heads=one.kv_heads, width=one.head_width)
        for one in own
    ]
    blocks = note("cost.together", terms=_sum(terms)) if len(terms) > 1 else terms[0]
    first, more = own[0], []
    if first.heads > first.kv_heads:
        times = first.heads // first.kv_heads
        more.append(say("cost.cache_grouped", heads=first.heads, times=times))
    more += [say("cost.cache_windowed")] * any(one.window for one in own)
    more += [say("cost.cache_cross")] * any(one.kind == "cross" for one in own)
    return [
        Columns(
            note("cost.cache"),
            (
                _lengths(found),
                Column(note("cost.numbers"), _counts(row.cache for row in rows), "right"),
                Column(note("cost.float32"), [size(row.cache_float32) for row in rows], "right"),
                Column(note("cost.bfloat16"), [size(row.cache_bfloat16) for row in rows], "right"),
            ),
        ),
        paragraph(say("cost.cache_is", blocks=blocks), *more),
    ]


def _operations(model: Facts, found: "Cost") -> Page:
    rows, windowed = found.contexts, any(one.window for one in found.attentions)
    shares = [row.share for row in rows]
    terms = [
        note("cost.work", width=numbers.count(one.heads * one.head_width), layers=one.layers,
             cells=_square(one))
        for one in found.attentions
    ]  # fmt: skip
    output = note("cost.with_output", output=numbers.count(found.output_matrix))
    return [
        Columns(
            note("cost.operations"),
            (
                _lengths(found),
                Column(note("cost.attention"), _counts(row.attention for row in rows), "right"),
                Column(note("cost.others"), _counts(row.others for row in rows), "right"),
                Column(note("cost.share"), shares, "fine"),
                Column("", shares, "bar"),
            ),
        ),
        say("cost.attention_windowed" if windowed else "cost.attention_is", blocks=_sum(terms)),
        say("cost.others_are", multiplied=numbers.count(found.multiplied),
            output=output if found.output_matrix else ""),
        *([say("cost.of_experts", count=model.experts[0], used=model.experts[1])]
          if model.experts else []),
        *([say("cost.masked_too")] if model.writes else []),
        *([say("cost.disentangled")] if found.disentangled else []),
        _overtaking(model, found),
    ]  # fmt: skip


def _overtaking(model: Facts, found: "Cost") -> Say:
    if not found.overtakes:
        return say("cost.never", keys=numbers.count(max(one.reach for one in found.attentions)))
    context = ""
    if model.context:
        key = "cost.beyond" if found.overtakes > model.context else "cost.within"
        context = note(key, context=numbers.count(model.context))
    told = {"tokens": numbers.count(found.overtakes), "context": context}
    if any(one.window for one in found.attentions):
        return say("cost.overtakes_windowed", **told)
    wide = sum(one.heads * one.head_width * one.layers for one in found.attentions)
    sides = {"multiplied": numbers.count(found.multiplied), "wide": numbers.count(wide)}
    return say("cost.overtakes", **sides, **told)
