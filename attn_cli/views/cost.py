"""The page of `attn cost`: what there is, what a context length takes, and how to recompute it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from attn_cli.errors import size
from attn_cli.records import Facts
from attn_cli.views import numbers
from attn_cli.views.items import Column, Columns, Heading, Page, Say, paragraph, say
from attn_cli.views.text import named
from attn_cli.words import Note, counted, note

if TYPE_CHECKING:
    from attn_cli.analysis.cost import Attentions, Cost
    from attn_cli.analysis.parameters import Part


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
        "cost.headline", "headline", model=named(model.name),
        parameters=numbers.count(found.parameters), tokens=_tokens(last.tokens),
        matrices=_matrices(found, "headline"), weights=numbers.count(last.weights),
        share=last.share,
    )  # fmt: skip


def _matrices(found: "Cost", where: str) -> Note:
    one = "one" if found.matrices == 1 else "many"
    return note(f"cost.{where}_{one}", count=numbers.count(found.matrices))


def _tokens(count: int) -> Note:
    return note("cost.tokens_one" if count == 1 else "cost.tokens_many", count=numbers.count(count))


def _sum(terms: Sequence[Note]) -> Note:
    """Terms with a plus between them."""
    first, *rest = terms
    return note("cost.and", first=first, rest=_sum(rest)) if rest else first


# --- parameters ----------------------------------------------------------------------------------


def _parameters(model: Facts, found: "Cost") -> Page:
    rows = [
        (_name(part, model, tied=found.tied), part.layers, _shapes(part), _per_layer([part]),
         part.parameters)
        for part in found.parts
    ]  # fmt: skip
    rows += _layer_rows(model, found)
    rows.append((note("cost.total"), 0, "", "", found.parameters))
    names, layers, shapes, each, totals = zip(*rows, strict=True)
    counts = [numbers.count(count) if count else "" for count in layers]
    columns = (
        Column(note("cost.part"), names, "left"),
        *([Column(note("cost.layers"), counts, "right")] if found.layer_kinds else []),
        Column(note("cost.shapes"), shapes, "left"),
        Column(note("cost.per_layer"), each, "right"),
        Column(note("cost.parameters"), _counts(totals), "right"),
    )
    heads = {one[3:6]: one for one in found.attentions}
    return [
        say("cost.bytes", float32=size(found.parameters_float32),
            bfloat16=size(found.parameters_bfloat16)),
        Columns(note("cost.parts"), columns),
        _embedding(found),
        *(_of_head(model, one, found) for one in heads.values()),
        *_shared(model, found),
    ]  # fmt: skip


def _layer_rows(model: Facts, found: "Cost") -> list[tuple]:
    """What all layers of a stack have together, or those of each kind."""
    rows = []
    for stack in dict.fromkeys(part.stack for part in found.parts if part.layers):
        own = [part for part in found.parts if part.layers and part.stack == stack]
        kinds = [kind for kind in found.layer_kinds if kind.stack == stack]
        for kind in kinds:
            each = _most(kind.per_layer, even=kind.per_layer * kind.layers == kind.parameters)
            rows.append((note(f"cost.layer_{kind.what}"), kind.layers, "", each, kind.parameters))
        if not kinds:
            count = max(part.layers for part in own)
            name = _of_stack(note("cost.layer", count=count), stack, model)
            rows.append((name, count, "", _per_layer(own), sum(p.parameters for p in own)))
    return rows


def _embedding(found: "Cost") -> Say:
    part = next(part for part in found.parts if part.part == "embedding")
    vocabulary, width, product = map(numbers.count, (*part.shapes[0], part.parameters))
    sides = {"vocabulary": vocabulary, "width": width, "product": product}
    return say("cost.embedding_is", **sides, tied=note("cost.tied") if found.tied else "")


def _of_head(model: Facts, one: "Attentions", found: "Cost") -> Say:
    parts = {part.part: part for part in found.parts if part.stack == one.stack}
    query = parts["query"]
    told = {
        "heads": counted(one.heads, "cost.the_head", "cost.each_head"),
        "width": one.head_width, "model": numbers.count(query.shapes[0][0]),
        "share": numbers.count(query.per_head),
    }  # fmt: skip
    if one.latent_width:
        key = parts["key"]
        latent, width = key.shapes[0]
        return say(
            "cost.head_latent", **told, value=one.value_width, latent=numbers.count(latent),
            key=width // one.heads, of_key=numbers.count(key.per_head),
            of_value=numbers.count(parts["value"].per_head),
            rotated=parts["key_rotated"].shapes[0][1],
        )  # fmt: skip
    if one.heads == one.kv_heads:
        return say("cost.head", four=numbers.count(4 * query.per_head), **told)
    group = one.heads // one.kv_heads
    shares = counted(one.kv_heads, "cost.shares_one", "cost.shares_many")
    return say("cost.head_grouped", group=group, shares=shares, all=one.heads, **told)


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


def _layers(count: int) -> Note:
    return counted(count, "cost.layers_one", "cost.layers_many")


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
    return _most(each, even=even and len({part.layers for part in parts}) == 1)


def _most(each: int, *, even: bool) -> str | Note:
    """What one layer has, at most where it is not `even`."""
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
                Column(_matrices(found, "weights"),
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
    name = note("cost.block", heads=_heads(one), layers=_layers(one.layers), cells=_square(one))
    return _of_stack(name, one.stack, model, crosses=one.kind == "cross")


def _heads(one: "Attentions") -> Note:
    return counted(one.heads, "cost.heads_one", "cost.heads_many")


def _square(one: "Attentions") -> Note:
    """How many cells a matrix has that are computed."""
    return note("cost.band", keys=numbers.count(one.reach)) if one.window else note("cost.square")


def _cache(model: Facts, found: "Cost") -> Page:
    own = [one for one in found.attentions if one.stack == "decoder"]
    if not own:
        return [say("cost.no_cache")]
    if own[0].latent_width:
        return _latents(own[0], found)
    terms = [
        note(
            "cost.cache_block", layers=_layers(one.layers), width=one.head_width,
            kv_heads=counted(one.kv_heads, "cost.kv_heads_one", "cost.kv_heads_many"),
        )
        for one in own
    ]  # fmt: skip
    blocks = note("cost.together", terms=_sum(terms)) if len(terms) > 1 else terms[0]
    first, more = own[0], []
    if first.heads > first.kv_heads:
        times = first.heads // first.kv_heads
        more.append(say("cost.cache_grouped", heads=first.heads, times=times))
    more += [say("cost.cache_windowed")] * any(one.window for one in own)
    more += [say("cost.cache_cross")] * any(one.kind == "cross" for one in own)
    table = _bytes("cost.cache", found, "cache")
    return [table, paragraph(say("cost.cache_is", blocks=blocks), *more)]


def _latents(one: "Attentions", found: "Cost") -> Page:
    """What has to be kept where keys and values are made of latents, and what attn keeps."""
    layers, first = _layers(one.layers), found.contexts[0]
    rotated = next(part.shapes[0][1] for part in found.parts if part.part == "key_rotated")
    ratio = numbers.number(first.cache / first.latents, 1)
    return [
        _bytes("cost.cache", found, "latents"),
        say("cost.latents_are", layers=layers, latent=one.latent_width - rotated, rotated=rotated),
        _bytes("cost.cache_whole", found, "cache"),
        say("cost.whole_is", layers=layers, heads=_heads(one), key=one.head_width,
            value=one.value_width, ratio=ratio),
    ]  # fmt: skip


def _bytes(title: str, found: "Cost", name: str) -> Columns:
    """A count of numbers at each context length, and the bytes that they take."""
    columns = [
        Column(note("cost.numbers"), _counts(getattr(r, name) for r in found.contexts), "right")
    ]
    columns += [
        Column(note(f"cost.{kind}"),
               [size(getattr(row, f"{name}_{kind}")) for row in found.contexts], "right")
        for kind in ("float32", "bfloat16")
    ]  # fmt: skip
    return Columns(note(title), (_lengths(found), *columns))


def _operations(model: Facts, found: "Cost") -> Page:
    rows, windowed = found.contexts, any(one.window for one in found.attentions)
    shares = [row.share for row in rows]
    latents = any(one.latent_width for one in found.attentions)
    terms = [_work(one) for one in found.attentions]
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
        say("cost.attention_latents" if latents else "cost.attention_windowed" if windowed
            else "cost.attention_is", blocks=_sum(terms)),
        say("cost.others_are", multiplied=numbers.count(found.multiplied),
            output=output if found.output_matrix else ""),
        *([say("cost.of_experts", count=model.experts[0], used=model.experts[1])]
          if model.experts else []),
        *([say("cost.masked_too")] if model.writes else []),
        *([say("cost.disentangled")] if found.disentangled else []),
        _overtaking(model, found),
    ]  # fmt: skip


def _work(one: "Attentions") -> Note:
    """The operations of the dot products and weighted sums of some layers."""
    told = {"cells": _square(one), "width": numbers.count(one.heads * one.head_width),
            "layers": one.layers}  # fmt: skip
    if not one.latent_width:
        return note("cost.work", **told)
    return note("cost.work_apart", value=numbers.count(one.heads * one.value_width), **told)


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
    wide, times = sum(one.heads * one.both_widths * one.layers for one in found.attentions), 2
    if not any(one.latent_width for one in found.attentions):
        wide, times = wide // 2, 4
    sides = {"multiplied": numbers.count(found.multiplied), "wide": numbers.count(wide),
             "times": times}  # fmt: skip
    return say("cost.overtakes", **sides, **told)
