"""What a model's shapes and a context length cost: parameters, cells, bytes and operations.

Nothing is read but headers. Every number follows from shapes; n is the count of tokens, in an
encoder–decoder that of each stack.
"""

from collections.abc import Sequence
from math import isqrt
from typing import NamedTuple

from attn_cli.analysis import parameters
from attn_cli.analysis.parameters import LayerKind, Part
from attn_cli.errors import UsageError
from attn_cli.model.family import Model
from attn_cli.notes import shape_notes
from attn_cli.opening.presets import SPARSE
from attn_cli.records import Address, Facts
from attn_cli.words import Note, few, note

FLOAT32, BFLOAT16 = 4, 2  # bytes
# A multiplication and an addition are two operations.
_OPERATIONS = 2
_LARGEST = 2**63 - 1  # of a document's integers
_STEPS = 6
_USUAL = 2048


class Attentions(NamedTuple):
    """The `layers` of one stack and kind of attention whose queries see equally far.

    `window` 0 means that there is none, `value_width` 0 that values are as wide as keys. Of a token
    `latent_width` numbers are what the keys and values of all heads are made of, where they are
    made of a latent, with the part of the key that all heads share; 0 where they are not.
    """

    stack: str
    kind: str
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    window: int
    value_width: int = 0
    latent_width: int = 0

    @property
    def both_widths(self) -> int:
        """How wide a head's key and its value are together."""
        return self.head_width + (self.value_width or self.head_width)

    @property
    def address(self) -> Address:
        """Where one of the layers would stand."""
        return Address(self.stack, self.kind, 0)

    @property
    def causal(self) -> bool:
        """Whether keys after a query are hidden from it."""
        return self.address.causal

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
    `weights` are the numbers in all attention matrices, `cache` the keys and values of every kv
    head, kept for later tokens, `latents` what may be kept instead of them where they are made of
    it; their bytes stand beside them. `attention` are the operations of the dot products and
    weighted sums, `others` those of all products with parameters; `share` is that of attention in
    both.
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
    latents: int = 0
    latents_float32: int = 0
    latents_bfloat16: int = 0


class Cost(NamedTuple):
    """All parts, and what each context length costs.

    `layer_kinds` are there where layers differ in what they are. `matrices` counts the attention
    matrices of a pass. Each token is multiplied with `multiplied` parameters, of which the
    `output_matrix` gives the logits. At `overtakes` tokens attention takes as many operations as
    all products with parameters; 0 where windows let it never be so. `tied`: the output matrix is
    the embedding. `disentangled`: products of positions with queries and keys come on top of the
    operations.
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
    layer_kinds: tuple[LayerKind, ...] = ()


def usual(facts: Facts) -> tuple[int, ...]:
    """Context lengths to show unasked: doublings, up to what the model was trained on."""
    most = facts.context or _USUAL
    lengths = (most >> step for step in reversed(range(_STEPS)))
    return tuple(length for length in lengths if length)


def cost(model: Model, contexts: Sequence[int] = ()) -> Cost:
    """The cost of a model at each of these context lengths, without any at the `usual` ones.

    Raises UsageError for a length whose operations are too many for a document's integers.
    """
    counted = parameters.count(model)
    kinds, multiplied = attentions(model), counted.multiplied
    contexts = tuple(contexts) or usual(model.facts)
    _check(contexts, kinds, multiplied)
    total = sum(part.parameters for part in counted.parts)
    return Cost(
        parts=counted.parts,
        parameters=total,
        parameters_float32=FLOAT32 * total,
        parameters_bfloat16=BFLOAT16 * total,
        attentions=kinds,
        matrices=sum(one.layers * one.heads for one in kinds),
        multiplied=multiplied,
        output_matrix=counted.output_matrix,
        tied=model.config.tied,
        disentangled=model.facts.positions == "disentangled",
        overtakes=_overtakes(kinds, multiplied),
        contexts=tuple(_at(n, kinds, multiplied) for n in contexts),
        layer_kinds=counted.layer_kinds,
    )


def cost_notes(model: Model, found: Cost, preset: str | None = None) -> tuple[Note, ...]:
    """What the counts do not say: lengths beyond the training, how a preset was published."""
    facts, notes = model.facts, list(shape_notes(model))
    longer = [f"{row.tokens:,}" for row in found.contexts if row.tokens > facts.context > 0]
    if longer:
        context = f"{facts.context:,}"
        notes.append(note("cost.longer", name=facts.name, context=context, tokens=few(longer)))
    if preset in SPARSE:
        notes.append(note("cost.sparse", name=preset))
    return tuple(notes)


def _check(contexts: Sequence[int], kinds: Sequence[Attentions], multiplied: int) -> None:
    wide = sum(one.layers * one.heads * one.both_widths for one in kinds)
    most = isqrt(_LARGEST // (_OPERATIONS * wide))
    most = min(most, _LARGEST // (_OPERATIONS * max(1, multiplied)))
    for tokens in contexts:
        if not 1 <= tokens <= most:
            what = "is too long to count its operations" if tokens > most else "is out of range"
            raise UsageError(f"--context {tokens} {what}", f"a whole number, 1 to {most}")


# --- attention -----------------------------------------------------------------------------------


def attentions(model: Model) -> tuple[Attentions, ...]:
    """A model's layers by stack and kind of attention, and by how far their queries see."""
    facts, found = model.facts, {}
    latents = (0, 0)
    if facts.kv_latent:
        latents = facts.of_values, facts.kv_latent + facts.rotated
    for stack, kind in facts.attentions:
        heads = facts.heads_of(stack)
        width = _head_width(model, stack)
        own = stack == facts.stack and not Address(stack, kind, 0).crosses
        windows = getattr(model.config, "windows", ()) if own else ()
        for layer, window in enumerate(windows or (0,) * facts.layers_of(stack)):
            if own and facts.mixers and facts.mixers[layer]:
                continue  # something other than attention
            kv_heads = heads // facts.group_of(stack)
            key = (stack, kind, heads, kv_heads, width, window, *latents)
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
        _OPERATIONS * tokens * one.keys(tokens) * one.heads * one.both_widths * one.layers
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
    last = [one for one in kinds if one.stack == kinds[-1].stack and not one.address.crosses]
    farthest = max(last, key=lambda one: one.keys(tokens))
    weights = sum(one.layers * one.heads * tokens * one.keys(tokens) for one in kinds)
    kept = [one for one in kinds if not one.address.both_sides]
    cache = sum(one.layers * one.kv_heads * one.both_widths * one.keys(tokens) for one in kept)
    latents = sum(one.layers * one.latent_width * one.keys(tokens) for one in kept)
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
        latents=latents,
        latents_float32=FLOAT32 * latents,
        latents_bfloat16=BFLOAT16 * latents,
    )
