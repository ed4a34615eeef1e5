"""Which tensors a family needs, how folders name them, and whether a file holds just these."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import translate
from math import prod
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from attn_cli.checkpoints.tensor import Tensor
from attn_cli.errors import ContentError, shorten
from attn_cli.model.weights import OF_EXPERTS, Part, Stored, Weights, as_stored, transposed

# Names and shapes are made for every layer before the file is asked for any.
MOST_LAYERS = 10_000
# The output matrix, in every family.
OUTPUT = "lm_head.weight"
Shapes = dict[str, tuple[int, ...]]


# --- shapes, in which `*` stands for the number of a layer ---------------------------------------


def norms(width: int, *names: str, biased: bool = True) -> Shapes:
    """The weight of each norm, and its bias if it has one."""
    parts = ("weight", "bias") if biased else ("weight",)
    return {f"{name}.{part}": (width,) for name in names for part in parts}


def maps(shapes: Mapping[str, tuple[int, int]], *, biased: bool = True, output: int = 0) -> Shapes:
    """The matrix of each linear map, and its bias if it has one; axis `output` is what it gives."""
    found: Shapes = {f"{name}.weight": shape for name, shape in shapes.items()}
    if biased:
        found |= {f"{name}.bias": (shape[output],) for name, shape in shapes.items()}
    return found


def output(config: Any, width: int) -> Shapes:
    """The output matrix, if it is not the embedding."""
    return {} if config.tied else {OUTPUT: (config.vocabulary, width)}


def copies(config: Any, embedding: str, *names: str) -> dict[str, str]:
    """A tied output may stand there again, under one of these names."""
    return dict.fromkeys((OUTPUT, *names), embedding) if config.tied else {}


def of_layers(shapes: Shapes, config: Any) -> Shapes:
    """The shapes with every `*` written out, layer by layer."""
    return {
        name.replace("*", number): shape
        for name, shape in shapes.items()
        for number in layer_numbers(name, config)
    }


def layer_numbers(name: str, config: Any) -> list[str]:
    """What the `*` in a tensor's name stands for; one empty text where there is none.

    Of a config with `encoder_layers`, names that begin with `encoder.` count these.
    """
    layers = config.layers
    if name.startswith("encoder."):
        layers = getattr(config, "encoder_layers", layers)
    return [str(layer) for layer in range(layers)] if "*" in name else [""]


def of_experts(shapes: Shapes, experts: int) -> Shapes:
    """The shapes of each expert: those of one, in whose names OF_EXPERTS precedes the number."""
    return {
        name.replace(OF_EXPERTS, f"{OF_EXPERTS}{expert}."): shape
        for name, shape in shapes.items()
        for expert in range(experts)
    }


# --- names ---------------------------------------------------------------------------------------


class Fused(NamedTuple):
    """Tensors that hold a matrix, or a vector, of each of so many `experts`.

    `names`: the tensors that share its outputs, for the name of such a tensor, both without a
    number of a layer, for which `*` stands, nor of an expert, which follows OF_EXPERTS. Outputs are
    rows, of those in `columns` columns; those of a tensor follow each other, or are taken
    `in_turn`.
    """

    experts: int = 0
    names: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    columns: Collection[str] = ()
    in_turn: bool = False

    def parts(self, name: str, place: str, tensor: Tensor, where: str) -> dict[str, Stored]:
        """Where the parts are of what is called `name` and stands at `place`, by their own names.

        None of what is not fused. Raises ContentError for another count of experts.
        """
        number = re.search(r"\.(\d+)\.", name) if self.names else None
        if number is None:
            return {}
        plain = f"{name[: number.start(1)]}*{name[number.end(1) :]}"
        ours, turned = self.names.get(plain, ()), plain in self.columns
        shape, shares = tensor.shape, len(ours)
        fits = len(shape) in ((3,) if turned else (2, 3)) and shape[0] == self.experts
        outputs = shape[1 + turned] if fits else 0
        apart = prod(shape) if turned else outputs  # what the bytes divide by
        if ours and (not fits or not apart or outputs % shares or tensor.size % apart):
            raise ContentError(
                f"{where}: the tensor {place} is {_by(shape)}, its settings ask for "
                f"{self.experts} experts"
            )

        def kept(expert: int, share: int) -> Stored:
            count = outputs // shares
            some = slice(share * count, (share + 1) * count)
            some = slice(share, None, shares) if self.in_turn else some
            part = Part(expert, columns=some) if turned else Part(expert, some)
            return Stored(place, transposed if turned else as_stored, part)

        return {
            own.replace("*", number[1]).replace(OF_EXPERTS, f"{OF_EXPERTS}{expert}."): kept(
                expert, share
            )
            for share, own in enumerate(ours)
            for expert in range(self.experts)
        }

    def places(self, there: Sequence[str]) -> dict[str, str]:
        """Where each expert's part stands, or should, `*` for the number of the layer.

        Of several places it is the one `there`, or the last.
        """
        return {
            own.replace(OF_EXPERTS, f"{OF_EXPERTS}{expert}."): place
            for place in sorted(self.names, key=there.__contains__)
            for own in self.names[place]
            for expert in range(self.experts)
        }


NOT_FUSED = Fused()


class Naming(NamedTuple):
    """How folders name a family's tensors.

    One of `prefixes` may stand before a name; names that match `left_out` (`*` for anything) carry
    nothing; `older` maps a name that published files still have to today's; `copies` maps a name
    to the tensor that it repeats, or that it stands for where the file has none of that name;
    `fused` hold several.
    """

    prefixes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    older: Mapping[str, str] = MappingProxyType({})
    copies: Mapping[str, str] = MappingProxyType({})
    fused: Fused = NOT_FUSED

    def without_prefix(self, place: str) -> str:
        """A file's name for a tensor as the family has it."""
        return place.removeprefix(next((p for p in self.prefixes if place.startswith(p)), ""))

    def family_name(self, place: str) -> str:
        """The family's name of today for a tensor of a file."""
        name = self.without_prefix(place)
        return self.older.get(name, name)

    def older_in(self, tensors: Mapping[str, Tensor]) -> dict[str, str]:
        """A file's names for today's, if it has any of the older ones: of several that mean the
        same, the one that it has in some layer."""
        there = {re.sub(r"\d+", "*", self.without_prefix(place)) for place in tensors}
        kinds = {older: re.sub(r"\d+", "*", older) for older in self.older}
        if there.isdisjoint(kinds.values()):
            return {}
        prefix = self.prefix_in(tensors)
        by_use = sorted(kinds, key=lambda older: kinds[older] in there)
        return {self.older[older]: prefix + older for older in by_use}

    def fused_in(self, tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, str]:
        """A file's names for those of `names` that it has, or should have, for all experts at once.

        Nothing where it has experts one by one.
        """
        layer = re.compile(r"\.(\d+)\.")
        own = [self.family_name(place) for place in tensors]
        there = {layer.sub(".*.", name, count=1) for name in own} & self.fused.names.keys()
        if not there and any(re.search(rf"{re.escape(OF_EXPERTS)}\d+\.", name) for name in own):
            return {}
        places, prefix, found = self.fused.places(sorted(there)), self.prefix_in(tensors), {}
        for name in names if places else ():
            number = layer.search(name)
            place = number and places.get(layer.sub(".*.", name, count=1))
            if place:
                found[name] = prefix + place.replace("*", number[1])
        return found

    def prefix_in(self, tensors: Mapping[str, Tensor]) -> str:
        """The prefix that most names of a file have, or nothing."""
        used = [next((p for p in self.prefixes if n.startswith(p)), "") for n in tensors]
        return max(dict.fromkeys(used), key=used.count, default="")


def names_in_folder(tensors: Mapping[str, Tensor], naming: Naming, where: str) -> dict[str, Stored]:
    """Tensors under the reference library's names of today, and where the file keeps them.

    Raises ContentError for a tensor that is there under two names.
    """
    left_out = re.compile("|".join(map(translate, naming.left_out)) or r"(?!)")
    there = {naming.family_name(place) for place in tensors}
    found: dict[str, Stored] = {}
    for place in tensors:
        own = naming.without_prefix(place)
        name = naming.copies.get(own) or naming.family_name(place)
        if left_out.match(place) or (own in naming.copies and name in there):
            continue
        there.add(name)
        parts = naming.fused.parts(name, place, tensors[place], where) or {name: Stored(place)}
        for part in found.keys() & parts.keys():
            raise ContentError(
                f"{where}: the tensor {shorten(part)} stands there twice, as "
                f"{shorten(found[part].name)} and as {shorten(place)}"
            )
        found |= parts
    return found


def of_head(shapes: Shapes, head: Sequence[str]) -> list[str]:
    """The tensors of the predicting `head`, which stands beside the model: it has no prefix."""
    pattern = re.compile("|".join(map(translate, head)))
    return [name for name in shapes if pattern.match(name)]


def without_head(shapes: Shapes, stored: Mapping[str, Stored], head: Sequence[str]) -> bool:
    """Takes the tensors of the predicting `head` out of the shapes if a file has none of them.

    Returns whether it did. A bias alone is no head: the matrix is the embedding, and is there.
    """
    names = of_head(shapes, head)
    missing = not any(name in stored for name in names)
    missing = missing and not all(name.endswith(".bias") for name in names)
    for name in names if missing else ():
        del shapes[name]
    return missing


# Heads that predict no tokens: of classifiers, of answers' places, of values in training by reward,
# of whether two segments belong together, of words that were put in. Some have names that a head
# which predicts has in other models.
_OTHER_HEAD = re.compile(
    r"(score|(\w+_)?classifier|classification_head|qa_outputs|multiple_choice_head|v_head|value_head"
    r"|(\w+_)?summary|cls\.seq_relationship|discriminator_predictions|mask_predictions"
    r"|lm_predictions|head)\..*"
)


def other_heads(stored: Mapping[str, Stored], shapes: Shapes) -> tuple[str, ...]:
    """The family's names of tensors that belong to another task than predicting tokens."""
    return tuple(name for name in stored if name not in shapes and _OTHER_HEAD.fullmatch(name))


def untrue_copies(
    tensors: Mapping[str, Tensor], naming: Naming, stored: Mapping[str, Stored]
) -> tuple[tuple[str, str], ...]:
    """Tensors that should repeat another and do not, each with the one it should be."""
    pairs = ((place, naming.copies.get(naming.without_prefix(place))) for place in tensors)
    return tuple(
        (place, stored[original].name)
        for place, original in pairs
        if original in stored and not _repeats(tensors[place], tensors[stored[original].name])
    )


def _repeats(copy: Tensor, original: Tensor) -> bool:
    """Whether a matrix has the shape of another, and three of its rows."""
    shape = copy.shape
    if (copy.dtype, shape) != (original.dtype, original.shape) or not shape or not shape[0]:
        return False
    rows = sorted({0, shape[0] // 2, shape[0] - 1})
    return np.array_equal(copy.rows(rows), original.rows(rows), equal_nan=True)


def bind(
    tensors: Mapping[str, Tensor],
    stored: Mapping[str, Stored],
    shapes: Shapes,
    where: str,
    named: Mapping[str, str] = MappingProxyType({}),
    prefix: str = "",
) -> Weights:
    """Checks that a file holds the tensors a family needs, no others, in the right shapes.

    `named` are the file's own names for the family's; one that it lacks is `prefix` and the name.
    Raises ContentError for a tensor that is missing, unknown or of another shape.
    """
    missing = [name for name in shapes if name not in stored]
    if missing:
        first, *others = dict.fromkeys(named.get(name, prefix + name) for name in missing)
        more = f" and {len(others)} more are" if others else " is"
        raise ContentError(f"{where}: the tensor {shorten(first)}{more} missing")
    for name, kept in stored.items():
        place = kept.name
        if name not in shapes:
            raise ContentError(
                f"{where}: the tensor {shorten(place)} has no place in this family",
                "the settings and the weights may belong to different models",
            )
        found, wanted = kept.of(tensors).shape, shapes[name]
        if kept.arrange is transposed:
            wanted = wanted[::-1]
        if found != wanted:
            raise ContentError(
                f"{where}: the tensor {place} is {_by(found)}, its settings ask for {_by(wanted)}"
            )
    return Weights(tensors=tensors, stored=stored)


def _by(shape: tuple[int, ...]) -> str:
    return " × ".join(str(n) for n in shape) or "a single number"
