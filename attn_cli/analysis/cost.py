"""What a model's shapes and a context length cost: parameters, cells, bytes and operations.

Nothing is read but headers. Every number follows from shapes; n is the count of tokens, in an
encoder–decoder that of each stack.
"""

from collections.abc import Iterator, Sequence
from math import isqrt, prod
from typing import NamedTuple

from attn_cli.errors import ContentError, UsageError, some
from attn_cli.model.family import Model, output_matrix
from attn_cli.model.roles import EXPERTS, FUSED, PARTS, PROJECTIONS, ROUTER, Place, place_of
from attn_cli.notes import shape_notes
from attn_cli.opening.presets import SPARSE
from attn_cli.records import Address, Facts
from attn_cli.words import Note, note

FLOAT32, BFLOAT16 = 4, 2  # bytes
# A multiplication and an addition are two operations.
_OPERATIONS = 2
_LARGEST = 2**63 - 1  # of a document's integers
_STEPS = 6
_ADDED = ("embedding", "positions", "types")  # rows that are looked up, not multiplied with
_USUAL = 2048

Shape = tuple[int, ...]


class Part(NamedTuple):
    """The tensors of one kind, outside of the layers (`layers` 0) or in `layers` of a stack.

    `shapes` are those of one layer, or of all of it outside: of a projection (model, all heads), of
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


class Attentions(NamedTuple):
    """The `layers` of one stack and kind of attention whose queries see equally far.

    `window` 0 means that there is none.
    """

    stack: str
    kind: str
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    window: int

    @property
    def causal(self) -> bool:
        """Whether keys after a query are hidden from it."""
        return Address(self.stack, self.kind, 0).causal

    @property
    def reach(self) -> int:
        """The most keys that a window leaves a query; 0 where there is none."""
        return self.window if self.causal or not self.window else 2 * self.window - 1

    def keys(self, tokens: int) -> int:
        """The most keys that one of so many queries has."""
        return min(tokens, self.reach or tokens)

    def visible(self, tokens: int) -> int:
        """How many cells of one matrix are not masked."""
        near = min(tokens, self.window or tokens)
        before = near * tokens - near * (near - 1) // 2  # a key that is not after its query
        return before if self.causal else 2 * before - tokens


class AtContext(NamedTuple):
    """What so many tokens cost.

    `mask` has tokens² cells, of which `visible` are not masked in the layers that see farthest.
    `weights` are the numbers in all attention matrices, `cache` the keys and values that are kept
    for later tokens; their bytes stand beside them. `attention` are the operations of the dot
    products and weighted sums, `others` those of all products with parameters; `share` is that of
    attention in both.
    """

    tokens: int
    mask: int
    visible: int
    weights: int
    weights_float32: int
    weights_bfloat16: int
    cache: int
    cache_float32: int
    cache_bfloat16: int
    attention: int
    others: int
    share: float


class Cost(NamedTuple):
    """All parts, and what each context length costs.

    `matrices` counts the attention matrices of a pass. Each token is multiplied with `multiplied`
    parameters, of which the `output_matrix` gives the logits. At `overtakes` tokens attention takes
    as many operations as all products with parameters; 0 where windows let it never be so.
    `tied`: the output matrix is the embedding. `disentangled`: products of positions with queries
    and keys come on top of the operations.
    """

    parts: tuple[Part, ...]
    parameters: int
    parameters_float32: int
    parameters_bfloat16: int
    attentions: tuple[Attentions, ...]
    matrices: int
    multiplied: int
    output_matrix: int
    tied: bool
    disentangled: bool
    overtakes: int
    contexts: tuple[AtContext, ...]


def usual(facts: Facts) -> tuple[int, ...]:
    """Context lengths to show unasked: doublings, up to what the model was trained on."""
    most = facts.context or _USUAL
    lengths = (most >> step for step in reversed(range(_STEPS)))
    return tuple(length for length in lengths if length)


def cost(model: Model, contexts: Sequence[int] = ()) -> Cost:
    """The cost of a model at each of these context lengths, without any at the `usual` ones.

    Raises UsageError for a length whose operations are too many for a document's integers, and
    ContentError for a model that keeps latents.
    """
    if model.facts.kv_latent:
        raise ContentError(
            f"{model.facts.name} keeps a latent in place of keys and values, which is not counted",
            "attn models lists its parameters",
        )
    family, weights = model.family, model.weights
    shapes = {name: weights.tensor(name).shape for name in weights.stored}
    if family.output_bias in shapes:
        shapes[family.output_bias] = (prod(shapes[family.output_bias]),)
    found, kinds = tuple(_parts(model, shapes)), attentions(model)
    output = prod(shapes[output_matrix(model)]) if model.facts.predicts else 0
    multiplied = sum(_multiplied(part, model.facts) for part in found)
    if model.facts.predicts and model.config.tied:
        multiplied += output
    contexts = tuple(contexts) or usual(model.facts)
    _check(contexts, kinds, multiplied)
    parameters = sum(part.parameters for part in found)
    return Cost(
        parts=found,
        parameters=parameters,
        parameters_float32=FLOAT32 * parameters,
        parameters_bfloat16=BFLOAT16 * parameters,
        attentions=kinds,
        matrices=sum(one.layers * one.heads for one in kinds),
        multiplied=multiplied,
        output_matrix=output,
        tied=model.config.tied,
        disentangled=model.facts.positions == "disentangled",
        overtakes=_overtakes(kinds, multiplied),
        contexts=tuple(_at(n, kinds, multiplied) for n in contexts),
    )


def cost_notes(model: Model, found: Cost, preset: str | None = None) -> tuple[Note, ...]:
    """What the counts do not say: lengths beyond the training, how a preset was published."""
    facts, notes = model.facts, list(shape_notes(model))
    longer = [f"{row.tokens:,}" for row in found.contexts if row.tokens > facts.context > 0]
    if longer:
        context = f"{facts.context:,}"
        notes.append(note("cost.longer", name=facts.name, context=context, tokens=some(longer)))
    if preset in SPARSE:
        notes.append(note("cost.sparse", name=preset))
    return tuple(notes)


def _check(contexts: Sequence[int], kinds: Sequence[Attentions], multiplied: int) -> None:
    wide = sum(one.layers * one.heads * one.head_width for one in kinds)
    most = isqrt(_LARGEST // (2 * _OPERATIONS * wide))
    most = min(most, _LARGEST // (_OPERATIONS * max(1, multiplied)))
    for tokens in contexts:
        if not 1 <= tokens <= most:
            what = "is too long to count its operations" if tokens > most else "is out of range"
            raise UsageError(f"--context {tokens} {what}", f"a whole number, 1 to {most}")


# --- parameters ----------------------------------------------------------------------------------


def _parts(model: Model, shapes: dict[str, Shape]) -> Iterator[Part]:
    """Every part that the model has, in the order in which a text passes them."""
    facts, groups = model.facts, {}
    for name, shape in shapes.items():
        place = place_of(name, facts, model.family.embedding)
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


def _split(place: Place, shape: Shape, facts: Facts) -> Iterator[tuple[str, Shape]]:
    """A tensor as the parts that it holds: one, or queries, keys and values side by side."""
    if place.part != FUSED:
        yield place.part, shape
        return
    rows = {"query": facts.heads, "key": facts.kv_heads, "value": facts.kv_heads}
    width = prod(shape) // (sum(rows.values()) * facts.head_width)
    for part, heads in rows.items():
        yield part, (width, heads * facts.head_width)


def _order(part: str, place: Place, facts: Facts) -> tuple[int, int, int, int]:
    """What comes before the layers, each stack's layers, and what comes after them."""
    after = place.layer < 0 and part not in _ADDED
    begins = 2 if after else int(place.layer >= 0)
    stack = int(begins == 1 and place.stack == facts.stack)
    crosses = int(place.kind == "cross" and part in PROJECTIONS)
    mixed = int(part not in PROJECTIONS)
    return begins, stack, 2 * mixed + crosses, PARTS.index(part)


def _sharing(part: str, stack: str, facts: Facts) -> int:
    """How many heads share a part equally; 0 if it has none of its own."""
    if part not in PROJECTIONS:
        return 0
    return facts.heads_of(stack) // (facts.group_of(stack) if part in ("key", "value") else 1)


def _turned(shape: Shape, part: str, facts: Facts) -> Shape:
    """The shape of a map inside a layer with the model's width first; last for what comes out."""
    if len(shape) != 2 or part not in (*PROJECTIONS, "feed_forward", ROUTER):
        return shape
    last = part == "attention_output"
    return shape if shape[last] == facts.model_width else shape[::-1]


# What not every layer of a mixture has alike.
_OF_MIXTURES = (EXPERTS, ROUTER, "feed_forward")


def _multiplied(part: Part, facts: Facts) -> int:
    """With how many of a part's own parameters a token is multiplied, again where layers share."""
    if part.part in _ADDED:
        return 0
    if facts.experts and part.part in _OF_MIXTURES:
        count, used, *_ = facts.experts
        return part.parameters * used // count if part.part == EXPERTS else part.parameters
    matrices = sum(prod(shape) for shape in part.shapes if len(shape) > 1)
    if facts.mixers and part.layers:  # not in every layer, and none shares
        return matrices * part.layers
    return matrices * (facts.layers_of(part.stack) if part.layers else 1)


# --- attention -----------------------------------------------------------------------------------


def attentions(model: Model) -> tuple[Attentions, ...]:
    """A model's layers by stack and kind of attention, and by how far their queries see."""
    facts, found = model.facts, {}
    for stack, kind in facts.attentions:
        heads = facts.heads_of(stack)
        width = _head_width(model, stack)
        own = stack == facts.stack and kind == "self"
        windows = getattr(model.config, "windows", ()) if own else ()
        for layer, window in enumerate(windows or (0,) * facts.layers_of(stack)):
            if own and facts.mixers and facts.mixers[layer]:
                continue  # something other than attention
            kv_heads = heads // facts.group_of(stack)
            key = (stack, kind, heads, kv_heads, width, window)
            found[key] = found.get(key, 0) + 1
    return tuple(
        Attentions(stack, kind, layers, *numbers)
        for (stack, kind, *numbers), layers in found.items()
    )


def _head_width(model: Model, stack: str) -> int:
    facts = model.facts
    same = stack == facts.stack or facts.heads == facts.heads_of(stack)
    return facts.head_width if same else facts.model_width // facts.heads_of(stack)


def _attention(kinds: Sequence[Attentions], tokens: int) -> int:
    """The operations of q·kᵀ and of weights·v."""
    return sum(
        2 * _OPERATIONS * tokens * one.keys(tokens) * one.heads * one.head_width * one.layers
        for one in kinds
    )


def _overtakes(kinds: Sequence[Attentions], multiplied: int) -> int:
    """The least tokens with which attention takes as many operations as the rest; 0: none do."""

    def enough(tokens: int) -> bool:
        return _attention(kinds, tokens) >= _OPERATIONS * tokens * multiplied

    high = 1
    while not enough(high):
        high *= 2
        if high > max(1, multiplied):
            return 0
    low = high // 2
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _at(tokens: int, kinds: Sequence[Attentions], multiplied: int) -> AtContext:
    last = [one for one in kinds if one.kind == "self" and one.stack == kinds[-1].stack]
    farthest = max(last, key=lambda one: one.keys(tokens))
    weights = sum(one.layers * one.heads * tokens * one.keys(tokens) for one in kinds)
    cache = sum(
        2 * one.layers * one.kv_heads * one.head_width * one.keys(tokens)
        for one in kinds if one.stack == "decoder"
    )  # fmt: skip
    attention, others = _attention(kinds, tokens), _OPERATIONS * tokens * multiplied
    return AtContext(
        tokens=tokens,
        mask=tokens * tokens,
        visible=farthest.visible(tokens),
        weights=weights,
        weights_float32=FLOAT32 * weights,
        weights_bfloat16=BFLOAT16 * weights,
        cache=cache,
        cache_float32=FLOAT32 * cache,
        cache_bfloat16=BFLOAT16 * cache,
        attention=attention,
        others=others,
        share=attention / (attention + others),
    )
