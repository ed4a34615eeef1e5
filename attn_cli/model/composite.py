"""A checkpoint of text and pictures, of which attn reads the text: its config and its tensors."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

from attn_cli.checkpoints.tensor import Tensor
from attn_cli.model.config import ConfigReader
from attn_cli.model.tensors import Naming

_TEXT, _TIED = "text_config", "tie_word_embeddings"
# What stands before the names of the text's tensors, in newer files and in older ones.
_PREFIXES = (
    "language_model.model.", "model.language_model.", "model.text_model.", "language_model.",
)  # fmt: skip
# How the names of all other tensors begin: in folders, and in GGUF.
_OTHERS = re.compile(
    r"(model\.)?(connector|image_newline|multi_modal_projector|vision_model|vision_tower|visual)\b"
)
_OTHERS_IN_GGUF = re.compile(r"(a|mm|v)\.")
# The keys of these configs that are about pictures, or that the text has of its own.
_OF_PICTURES = frozenset(
    """
    _pad_token_id downsample_ratio image_grid_pinpoints image_seq_length initializer_range
    mm_tokens_per_image multimodal_projector_bias projector_hidden_act scale_factor
    spatial_merge_size vision_aspect_ratio vision_config vision_feature_layer
    vision_feature_select_strategy
    """.split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """A `model_type` whose config has that of its text in `text_config`.

    `text` is the text's own type, where it says none or if it is `fixed`, whatever it says. `flat`:
    older files have the keys of the text among those around it. The output matrix is `tied` to the
    embedding unless the outer config says otherwise; with `either`, the text's word counts too.
    `reserved` are the keys that name ids which stand for pictures in a prompt, and the ids that
    the reference library's class has for them.
    """

    text: str
    fixed: bool = False
    flat: bool = False
    tied: bool = False
    either: bool = False
    reserved: Mapping[str, int]


class TextPart(NamedTuple):
    """The type and the config of a composite's text, and the `reserved` ids, each with its key."""

    kind: Any
    reader: ConfigReader
    reserved: Mapping[int, str]


def text_part(
    composite: Composite, values: Mapping[str, Any], where: str, ignored: Iterable[str] = ()
) -> TextPart:
    """Judges the config around the text, and hands out that of the text. Raises ContentError."""
    flat = composite.flat and values.get(_TEXT) is None
    around = {*_OF_PICTURES, *_spellings(composite), _TIED, _TEXT}
    outer = ConfigReader(
        {k: v for k, v in values.items() if k in around} if flat else values, where, ignored
    )
    tied, reserved = outer.flag(_TIED, composite.tied), _reserved(composite, outer)
    inner = {k: v for k, v in values.items() if k not in around} if flat else outer.mapping(_TEXT)
    if not flat and not outer.has(_TEXT):
        raise outer.error(f"the key {_TEXT} is missing")
    outer.finish({*_OF_PICTURES, *_spellings(composite), _TEXT})
    if tied or not composite.either:
        inner = {key: value for key, value in inner.items() if key != _TIED}
    kind = composite.text if composite.fixed else inner.get("model_type", composite.text)
    if flat:
        reader = ConfigReader(inner, where, ignored, unknown=outer.unknown)
    else:
        reader = outer.section(_TEXT, inner)
    return TextPart(kind, reader.with_defaults({_TIED: tied}), reserved)


def _spellings(composite: Composite) -> dict[str, str]:
    """Each key of a reserved id with the other name that the reference library has for it."""
    return {
        spelling: key
        for key in composite.reserved
        for spelling in (key, key.replace("_index", "_id"))
    }


def _reserved(composite: Composite, outer: ConfigReader) -> dict[int, str]:
    found: dict[int, str] = {}
    for spelling, key in _spellings(composite).items():
        if spelling == key or outer.has(spelling):
            id = outer.integer(spelling, composite.reserved[key], low=-(2**31))
            found = {other: name for other, name in found.items() if name != key} | {id: spelling}
    return found


def naming_of_text(naming: Naming) -> Naming:
    """A family's names for its tensors where they stand among others."""
    return naming._replace(prefixes=(*_PREFIXES, *naming.prefixes))


def text_alone(
    tensors: Mapping[str, Tensor], *, gguf: bool = False
) -> tuple[dict[str, Tensor], tuple[int, int]]:
    """The tensors of the text, and how many others there are, with how many parameters."""
    pattern = _OTHERS_IN_GGUF if gguf else _OTHERS
    others = [tensor for name, tensor in tensors.items() if pattern.match(name)]
    text = {name: tensor for name, tensor in tensors.items() if not pattern.match(name)}
    return text, (len(others), sum(prod(tensor.shape) for tensor in others))
