"""A model's parameters, counted by part and by kind of layer from the shapes of its tensors."""

from collections import Counter
from collections.abc import Iterator, Mapping
from math import prod
from typing import NamedTuple

from attn_cli.model.family import Model, output_matrix
from attn_cli.model.roles import (
    ATTENTION,
    EXPERTS,
    FROM_LATENT,
    FUSED,
    PARTS,
    PROJECTIONS,
    TO_LATENT,
    Place,
    place_of,
)
from attn_cli.records import Facts

_ADDED = ("embedding", "positions", "types")  # rows that are looked up, not multiplied with
# Whose shapes are those of maps, inputs first.
_MAPS = (*ATTENTION, "feed_forward", "router", "shared_experts", EXPERTS)

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
Places = Mapping[str, Place]


class Part(NamedTuple):
    """The tensors of one kind, outside of the layers (`layers` 0) or in `layers` of a stack.

    `shapes` are those of one layer, or of all of it outside: of a projection (input, all heads), of
    the attention's output (all heads, model). `per_layer` is that of the largest layer; `per_head`
    is a head's share of it, for keys and values that of a kv head, and 0 of what has no heads.
    """

    part: str
    stack: str
    kind: str
    shapes: tuple[Shape, ...]
    per_head: int
    per_layer: int
    layers: int
    parameters: int


class LayerKind(NamedTuple):
    """The `layers` of a stack that are alike: `what` is `sparse` (of experts) or `dense` in a
    mixture, `attention` or `mixer` (in its place) where not every layer attends. `per_layer` is
    that of the largest."""

    stack: str
    what: str
    layers: int
    per_layer: int
    parameters: int


class Counted(NamedTuple):
    """Every part in the order in which a text passes them, and the kinds of layers if there are
    several. Each token is multiplied with `multiplied` parameters, of which the `output_matrix`
    gives the logits."""

    parts: tuple[Part, ...]
    layer_kinds: tuple[LayerKind, ...]
    multiplied: int
    output_matrix: int


def count(model: Model) -> Counted:
    """The parameters of a model; nothing is read but headers."""
    family, weights, facts = model.family, model.weights, model.facts
    shapes = {name: weights.tensor(name).shape for name in weights.stored}
    if family.output_bias in shapes:
        shapes[family.output_bias] = (prod(shapes[family.output_bias]),)
    places = {name: place_of(name, facts, family.embedding) for name in shapes}
    output = prod(shapes[output_matrix(model)]) if facts.predicts else 0
    multiplied = _multiplied(facts, shapes, places)
    if facts.predicts and model.config.tied:
        multiplied += output
    parts, kinds = tuple(_parts(facts, shapes, places)), tuple(_kinds(facts, shapes, places))
    return Counted(parts, kinds, multiplied, output)


def _parts(facts: Facts, shapes: Shapes, places: Places) -> Iterator[Part]:
    groups: dict[tuple, dict[int, list[Shape]]] = {}
    for name, shape in shapes.items():
        place = places[name]
        for part, own in _split(place, shape, facts):
            stack = place.stack if place.layer >= 0 else facts.stack
            key = _order(part, place, facts), part, stack, place.kind
            groups.setdefault(key, {}).setdefault(place.layer, []).append(own)
    for (_, part, stack, kind), layers in sorted(groups.items()):
        sizes = [sum(map(prod, own)) for own in layers.values()]
        largest = max(layers.values(), key=lambda own: sum(map(prod, own)))
        inside, heads = -1 not in layers, _sharing(part, stack, facts)
        yield Part(
            part=part,
            stack=stack,
            kind=kind,
            shapes=tuple(_turned(shape, part, facts) for shape in largest),
            per_head=max(sizes) // heads if heads else 0,
            per_layer=max(sizes) if inside else 0,
            layers=len(layers) if inside else 0,
            parameters=sum(sizes),
        )


def _kinds(facts: Facts, shapes: Shapes, places: Places) -> Iterator[LayerKind]:
    sizes: dict[int, Counter[str]] = {}
    for name, place in places.items():
        if place.layer >= 0 and place.stack == facts.stack:
            sizes.setdefault(place.layer, Counter())[place.part] += prod(shapes[name])
    kinds: dict[str, list[int]] = {}
    for layer in sorted(sizes):
        what = "sparse" if EXPERTS in sizes[layer] else "dense"
        if facts.mixers:
            what = "mixer" if facts.mixers[layer] else "attention"
        kinds.setdefault(what, []).append(sizes[layer].total())
    for what, each in kinds.items() if len(kinds) > 1 else ():
        yield LayerKind(facts.stack, what, len(each), max(each), sum(each))


def _split(place: Place, shape: Shape, facts: Facts) -> Iterator[tuple[str, Shape]]:
    """A tensor as the parts that it holds: one, or several side by side."""
    if place.part == FUSED:
        rows = {"query": facts.heads, "key": facts.kv_heads, "value": facts.kv_heads}
        width = prod(shape) // (sum(rows.values()) * facts.head_width)
        for part, heads in rows.items():
            yield part, (width, heads * facts.head_width)
    elif place.part == TO_LATENT:
        yield "kv_latent", (facts.model_width, facts.kv_latent)
        yield "key_rotated", (facts.model_width, facts.rotated)
    elif place.part == FROM_LATENT:
        yield "key", (facts.kv_latent, facts.heads * facts.rotated_from)
        yield "value", (facts.kv_latent, facts.heads * facts.of_values)
    elif len(shape) == 3 and place.part in PROJECTIONS:  # head by head
        yield place.part, (facts.kv_latent, prod(shape) // facts.kv_latent)
    else:
        yield place.part, shape


def _order(part: str, place: Place, facts: Facts) -> tuple[int, int, int, int]:
    """What comes before the layers, each stack's layers, and what comes after them."""
    after = place.layer < 0 and part not in _ADDED
    begins = 2 if after else int(place.layer >= 0)
    stack = int(begins == 1 and place.stack == facts.stack)
    crosses = int(place.address.crosses and part in PROJECTIONS)
    mixed = int(part not in ATTENTION)
    return begins, stack, 2 * mixed + crosses, PARTS.index(part)


def _sharing(part: str, stack: str, facts: Facts) -> int:
    """How many heads share a part equally; 0 if it has none of its own."""
    if part not in PROJECTIONS:
        return 0
    return facts.heads_of(stack) // (facts.group_of(stack) if part in ("key", "value") else 1)


def _turned(shape: Shape, part: str, facts: Facts) -> Shape:
    """The shape of a map inside a layer with its input first; last for what comes out of one."""
    if len(shape) != 2 or part not in _MAPS:
        return shape
    of_latents = {"query": facts.q_latent, "key": facts.kv_latent, "value": facts.kv_latent}
    last = part == "attention_output"
    width = of_latents.get(part) or facts.model_width
    return shape if shape[last] == width else shape[::-1]


def _multiplied(facts: Facts, shapes: Shapes, places: Places) -> int:
    """With how many parameters a token is multiplied: those of an expert only if it passes it, and
    those that layers share again in each."""
    sums: Counter[tuple[str, bool, bool]] = Counter()
    stored: dict[str, set[int]] = {}
    for name, shape in shapes.items():
        place = places[name]
        inside = place.layer >= 0
        if inside:
            stored.setdefault(place.stack, set()).add(place.layer)
        if place.part not in _ADDED and len(shape) > 1:
            sums[place.stack, inside, place.part == EXPERTS] += prod(shape)
    total = 0
    for (stack, inside, routed), size in sums.items():
        count, used, *_ = facts.experts if routed else (1, 1)
        passed, own = (facts.layers_of(stack), len(stored[stack])) if inside else (1, 1)
        total += size * passed // own * used // count
    return total
