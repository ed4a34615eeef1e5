"""One pass through a stack of layers: what every family's forward needs beside its own order.

A forward makes a `Stack`, takes its layers one by one, hands each block's vectors to `attend`,
which yields the record and returns the block's output, and ends with `end`:

    stack = Stack(model, ids, request, cache)
    for parts in stack.layers("h."):
        normed = layer_norm(x, …)
        output = yield from stack.attend({"x": x, "normed": normed, **projections}, …)
        x = x + output
        inner = stack.mlp(mlp(…))
        x = yield from stack.after(x + inner)
    return stack.end(x)

It is lazy: who wants no more records closes it, and nothing after the last one is computed.
"""

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from attn_cli import vocabulary
from attn_cli.errors import UsageError
from attn_cli.maths import masks
from attn_cli.maths.attention import (
    NO_SINK,
    NO_TERMS,
    Relation,
    attend,
    default_scale,
    merge_heads,
    no_bias,
)
from attn_cli.maths.kept import Keep
from attn_cli.maths.masks import Look, Visible
from attn_cli.maths.products import Map, of_matrix, sum_error, through, value_lengths
from attn_cli.model.cache import Cache, End, Ids
from attn_cli.model.request import Request
from attn_cli.model.selection import made_late, selected
from attn_cli.model.weights import NO_NORMS, NOTHING, LayerWeights
from attn_cli.model.what_if import WhatIf, counted_from, nothing, without
from attn_cli.records import Address, Attention, Mixed, Passed, nonfinite

if TYPE_CHECKING:
    from attn_cli.model.rope import Angles, Rope

S, T = TypeVar("S"), TypeVar("T")
_KIND = {True: "self", False: "cross"}
# What no document has.
_SHOWN = {"angles", "attention_factor", "query_factor", "q_norm_bias", "k_norm_bias"}


class Stack:
    """A pass of `ids` through one stack. With a cache they follow the positions that it holds.

    `start` is the position of the first of `ids`. Where the text grows beyond `restart_beyond`
    positions, if that is not 0, what the cache holds is wrong: then it is emptied, and its tokens
    are the first of `ids`. `touched`: a what-if setting has changed the vectors. `experts` is what
    the layer's router has said.
    """

    def __init__(
        self,
        model: Any,
        ids: Ids,
        request: Request,
        cache: Cache | None = None,
        *,
        name: str = "decoder",
        restart_beyond: int = 0,
    ) -> None:
        start = cache.length if cache else 0
        if cache and 0 < start <= restart_beyond < start + len(ids):
            ids, start = cache.restart() + ids, 0
        self.name, self.ids, self.start = name, ids, start
        self.layer, self.touched, self._read, self._size = -1, False, 0, 0
        self._model, self._request, self._cache = model, request, cache
        of_self = request.what_if.at(Address(name, "self", 0))
        self._placeless, self._skipped = "positions" in of_self.without, of_self.skipped
        self._placed = False
        self._pending: list[Attention] = []
        self._mixed: tuple[np.ndarray, np.ndarray] | None = None
        self._outputs: dict[str, np.ndarray] = {}
        self._mlp: tuple[np.ndarray, bool] = NOTHING, False
        self._middle, self.experts = NOTHING, None
        self._looks: dict[tuple[Visible, int], tuple[Look, ...]] = {}
        self._told: dict[tuple[Visible, int], dict[str, Any]] = {}

    @property
    def indices(self) -> range:
        """Where `ids` stand in the text."""
        return range(self.start, self.start + len(self.ids))

    @property
    def positions(self) -> Sequence[int]:
        """What the model counts `ids` as, from the first that `padding-left` leaves."""
        if not self._skipped:
            return self.indices
        return [max(0, index - self._skipped) for index in self.indices]

    def placed(self, vectors: np.ndarray) -> np.ndarray:
        """The vectors that positions add, or zeros under `--without positions`."""
        self._placed = True
        return np.zeros_like(vectors) if self._placeless else vectors

    def angles(self, rope: "Rope") -> "Angles":
        """By how much queries and keys rotate: not at all under `--without positions`."""
        return rope.angles([0] * len(self.ids) if self._placeless else self.positions)

    def rotated(self, arrays: Mapping[str, Any], by: "Angles") -> Mapping[str, Any]:
        """The arrays with q and k rotated, in a layer that rotates."""
        from attn_cli.model.rope import rotated

        return rotated(arrays, by) if self._model.facts.rotates(self.layer) else arrays

    def segments(self, known: int) -> Ids:
        """The segment of each token, for a model that tells so many apart. Raises UsageError."""
        types = self._request.types or (0,) * len(self.ids)
        if max(types) >= known:
            name, count = self._model.facts.name, "1 segment" if known == 1 else f"{known} segments"
            raise UsageError(f"{name} knows {count} of a text", "leave out --pair")
        return types

    def layers(self, prefix: str) -> Iterator[LayerWeights]:
        """The tensors of each layer that is needed, by their names after `prefix` and number."""
        last = self._request.last_layer(self.name, self._model.facts.layers_of(self.name))
        self._size = self._model.weights.size
        found = self._model.weights.layers(prefix, last, len(self.ids))
        for layer, parts in enumerate(found):
            self.layer = layer
            self._read, self._parts = self._read + parts.size, parts
            yield parts

    def mlp(self, output: np.ndarray, middle: np.ndarray = NOTHING) -> np.ndarray:
        """What the feed-forward network of the layer gives, or zeros under `--without mlp:L`.

        `middle` is what it reads where that is a norm of the sum so far (post-norm).
        """
        removed = self.layer in self._request.what_if.without_mlp(self.name)
        if removed:
            output = np.zeros_like(output)
        self._mlp, self._middle = (output, self.touched or removed), middle
        self.touched = self.touched or removed
        return output

    @property
    def kept(self) -> tuple[int, ...]:
        """The positions at which this layer is recorded."""
        block = Address(self.name, "self", self.layer)
        queries, _ = self._request.positions.get(block[:2], (None, None))
        return tuple(queries or self.indices) if block in self._request.blocks else ()

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What this layer makes of the encoder's vectors: from the cache, if it is there."""
        kept = self._cache.once if self._cache else {}
        if (name, self.layer) not in kept:
            kept[name, self.layer] = make()
        return kept[name, self.layer]

    def mixed(self, x: np.ndarray, work: Callable[[S | None], tuple[np.ndarray, S]]) -> np.ndarray:
        """What stands in this layer in place of attention makes of its input `x`.

        `work` gives that, and the state in which later positions find it; it takes the one that the
        positions before have left, None where there are none.
        """
        place, cache = (self.name, self.layer), self._cache
        output, state = work(cache.resumed(place) if cache else None)
        if cache:
            cache.leave(place, self.start + len(self.ids), state)
        self._mixed = x, output
        return output

    def after(
        self,
        x: np.ndarray,
        attention: np.ndarray = NOTHING,
        mlp: np.ndarray = NOTHING,
        convolution: np.ndarray = NOTHING,
        inner: np.ndarray = NOTHING,
        norms: np.ndarray = NO_NORMS,
    ) -> Generator[Attention | Mixed | Passed, None, np.ndarray]:
        """The end of a layer, which gives `x`: yields the records that wait for it, and that it is
        done; returns x.

        `attention` and `mlp` are what the two parts add to the stream, where that is not their
        output as it is; `convolution` is what a layer that has one adds to `inner`, what the other
        parts have come to; `norms` those after the sums (see `norms_of`).
        """
        gives, touched = self._mlp
        gives = gives.view()
        gives.flags.writeable = False
        for record in self._pending:
            shown = {
                "attention": attention if attention.size else self._outputs[record.kind],
                "mlp": mlp if mlp.size else gives,
                "x": x,
            }
            more = {"middle": self._middle, "convolution": convolution, "inner": inner}
            if not record.address.crosses:
                more["cross"] = self._outputs.get("cross", NOTHING)
            shown |= {name: array for name, array in more.items() if array.size}
            rows = [query - self.start for query in record.queries]
            whole = rows == list(range(len(gives)))
            yield replace(
                record,
                arrays=record.arrays.having("mlp_output", gives if whole else gives[rows]),
                what_if=record.what_if | (frozenset({"mlp_output"}) if touched else frozenset()),
                shown={**record.shown, **shown},
                norms=norms,
            )
        if self._mixed and self.kept:
            yield self._of_mixer(x, attention, mlp if mlp.size else gives)
        self._pending.clear()
        self._outputs.clear()
        self._mixed = None
        layers, experts = self._model.facts.layers_of(self.name), self.experts
        self._read, self.experts = self._read + self._parts.routed, None
        self._parts.release()  # before anything is made of the records
        told = self.name, self.layer, layers, len(self.ids), self._read, self._size, experts
        yield Passed(*told, nonfinite("x", x))
        return x

    def _of_mixer(self, x: np.ndarray, added: np.ndarray, mlp: np.ndarray) -> Mixed:
        """The record of a layer without attention, at the positions that are asked for."""
        entered, output = self._mixed
        rows = [query - self.start for query in self.kept]
        arrays = (entered, added if added.size else output, mlp, x)
        what = self._model.facts.mixers[self.layer]
        return Mixed(self.name, self.layer, what, *(array[rows] for array in arrays))

    def end(self, x: np.ndarray) -> End:
        """What the pass comes to; the cache has its positions from now on."""
        if self._cache:
            self._cache.advance(self.ids)
        return End(x, self.touched)

    def attend(
        self,
        arrays: Mapping[str, np.ndarray],
        *,
        visible: Visible,
        out: Map,
        scale: float = 0.0,
        soft_cap: float = 0.0,
        bias: Relation = no_bias,
        terms: Mapping[str, Relation] = NO_TERMS,
        sink: np.ndarray = NO_SINK,
        source: End | None = None,
    ) -> Generator[Attention, None, np.ndarray]:
        """Steps 3 to 6 of one block under the what-if settings; yields its record if it is wanted.

        `arrays` are those of steps 1 and 2; `visible`, `bias`, `terms` and `sink` see
        `maths.attend`; `out` is the output projection, of (head × value_width). In cross-attention
        `source` is the end of the stack that the keys come from. Returns the block's `output`.
        """
        request, block = self._request, Address(self.name, _KIND[source is None], self.layer)
        recorded, what_if = block in request.blocks, request.what_if.at(block)
        q, k, v = (arrays[letter] for letter in "qkv")
        if self._cache and not source:
            k, v = self._cache.extend(block, k, v)
        sight = self._sight(what_if, block, visible, k.shape[1])
        own = scale or default_scale(q.shape[-1])
        scale = 1.0 if "scale" in what_if.without else own
        bias, terms = self._of_positions(bias, terms)
        chosen = selected(request, block, len(q), len(k), self.indices, sight.keys)
        if chosen.measures or (recorded and request.arrays & {"w_o", "head_output"}):
            out = of_matrix(out.matrix, out.bias)
        lengths = value_lengths(v, out.matrix) if chosen.measures else NOTHING
        steps = attend(
            q, k, v, sight.visible, scale=scale, cap=soft_cap, bias=bias, terms=terms,
            mask_value=what_if.mask_value, attention_temperature=what_if.attention_temperature,
            keep=chosen.keep(request.arrays, lengths) if recorded else Keep(()),
            start=self.start, at=sight.looks, sink=sink,
        )  # fmt: skip
        z = without(removed := what_if.removed(self.layer), steps.z)
        output = self._outputs[block.kind] = through(merge_heads(z), out)[0]
        touched = self._touched(what_if, sight, source or self, scaled=scale == own)
        self.touched = self.touched or bool(touched)
        if recorded:
            computed = {**arrays, "k": k, "v": v, "sink": sink, "sink_share": steps.sink_share}
            computed |= {"z": steps.z, "output": output, "b_o": out.bias}
            late = made_late(chosen, steps, z, out, sight.visible, bias)
            found = chosen.arrays(request.arrays, computed, late)
            record = Attention(
                **chosen.named, **block._asdict(), scale=scale, soft_cap=soft_cap, removed=removed,
                arrays=found, what_if=touched & frozenset(found), measures=steps.measures,
                **self._what_is_seen(sight),
                sum_error=self._sum_error(z, out, output) if lengths.size else math.nan,
                shown={n: arrays[n] for n in arrays.keys() & _SHOWN}, value_lengths=lengths,
            )  # fmt: skip
            yield from self._now_or_later(record)
        return output

    def _sum_error(self, z: np.ndarray, out: Map, output: np.ndarray) -> float:
        """How far the output is from the sum of the heads' outputs, NaN where these are not asked
        for."""
        asked = "head_output" in self._request.arrays
        return sum_error(z, out.matrix, out.bias, output) if asked else math.nan

    def _now_or_later(self, record: Attention) -> Iterator[Attention]:
        """Yields a block's record, or lets it wait for what the feed-forward network gives."""
        if "mlp_output" in self._request.arrays:
            self._pending.append(record)
        else:
            yield record

    def _sight(self, what_if: WhatIf, block: Address, own: Visible, keys: int) -> "_Sight":
        """What a block's queries see, under the mask that the settings make of its own."""
        read = self.start + len(self.ids)
        visible = what_if.visible(own, read, keys, both_sides=block.both_sides)
        return _Sight(own, visible, self._looks_of(visible, keys, kept=visible is own), keys)

    def _what_is_seen(self, sight: "_Sight") -> dict[str, Any]:
        """What a record says of the mask, which layers may share."""
        of = sight.visible, sight.keys
        if of not in self._told:
            blind = tuple(self.start + query for query in masks.blind(sight.looks))
            self._told[of] = {"blind": blind, "reach": masks.reach(sight.looks, self.start)}
        return self._told[of]

    def _looks_of(self, visible: Visible, keys: int, *, kept: bool) -> tuple[Look, ...]:
        """Where queries look; `kept` for other layers where it is the model's own mask."""
        found = self._looks.get((visible, keys))
        found = found or masks.looks(visible, self.start, len(self.ids), keys)
        if kept:
            self._looks[visible, keys] = found
        return found

    def _of_positions(
        self, bias: Relation, terms: Mapping[str, Relation]
    ) -> tuple[Relation, Mapping[str, Relation]]:
        """The same, where positions are left out or counted otherwise."""
        if self._placeless:
            return no_bias, {name: nothing(term) for name, term in terms.items()}
        return counted_from(self._skipped, bias), terms

    def _moved_by_positions(self) -> str:
        """The first array that changes where positions are left out, or counted otherwise."""
        if not self._placeless and not self._skipped:
            return ""
        positions = "learned" if self._placed else self._model.facts.positions
        if positions == "rotary" and not self._model.facts.rotates(self.layer):
            return ""
        # How far apart two tokens are is the same, wherever counting begins.
        apart = positions == "disentangled" and not self._placeless
        return "" if apart else vocabulary.POSITIONS[positions]

    def _touched(
        self, what_if: WhatIf, sight: "_Sight", source: "End | Stack", *, scaled: bool
    ) -> frozenset[str]:
        """The arrays of this layer that the settings change, here or before; `source` is where the
        keys come from."""
        before, keys = vocabulary.arrays_after(self.touched, source.touched), sight.keys
        if before:
            return before
        enter = self._moved_by_positions()
        if enter:
            return vocabulary.arrays_from(enter)
        if not scaled:
            return vocabulary.arrays_from("scaled")
        if what_if.masks and not masks.same(
            self._looks_of(sight.own, keys, kept=True), sight.looks
        ):
            return vocabulary.arrays_from("visible")
        if what_if.mask_value != -np.inf and masks.hides(sight.looks, keys):
            return vocabulary.arrays_from("masked")
        if what_if.attention_temperature != 1:
            return vocabulary.arrays_from("weights")
        return vocabulary.arrays_from("head_output") if what_if.removed(self.layer) else frozenset()


class _Sight(NamedTuple):
    """What the queries of a block see of its `keys`: by the model's `own` mask, and by the one in
    force, with its looks."""

    own: Visible
    visible: Visible
    looks: tuple[Look, ...]
    keys: int


@cache
def causal_or_window(width: int) -> Visible:
    """A decoder's own mask: causal, or a window if it has one."""
    if not width:
        return masks.causal
    return lambda at_Q, at_K: masks.window(at_Q, at_K, width)
