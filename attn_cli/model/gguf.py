"""How GGUF files have a family: tables that the families hold, and the one opener of them."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from attn_cli.errors import ContentError, shorten
from attn_cli.model.config import ConfigReader
from attn_cli.model.tensors import NOT_FUSED, Fused, layer_numbers
from attn_cli.model.weights import Stored, as_stored

if TYPE_CHECKING:
    from attn_cli.checkpoints.gguf import Gguf as File

Arrange = Callable[[np.ndarray], np.ndarray]
_LAYER = re.compile(r"\.\d+\.")
_EMBEDDING, _OUTPUT = "token_embd.weight", "output.weight"


# The count of experts is of mixtures, refused before, or none. Pooling is of embedding vectors.
HARMLESS = frozenset({"vocab_size", "expert_count", "expert_used_count", "pooling_type"})
# Keys that carry nothing with such a value.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "tensor_data_layout": ("reference",), "attention.causal": (True,), "rope.scale_linear": (1,),
    "expert_shared_count": (0,), "logit_scale": (0, 1), "residual_scale": (0, 1),
    "embedding_scale": (0, 1), "attention.scale": (0,), "attention.clamp_kqv": (0,),
    "attention.max_alibi_bias": (0,), "use_parallel_residual": (False,),
}  # fmt: skip
# What llama.cpp asks of every file, and the norms' epsilon, by whichever name a family has it.
_REQUIRED = (
    "block_count", "context_length", "embedding_length", "feed_forward_length",
    "attention.head_count",
)  # fmt: skip
_EPSILON = "epsilon"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gguf:
    """One architecture of GGUF as the folder form of its family.

    `keys`: config.json's name for each of the architecture's keys, of which those `by_layer` may
    differ from layer to layer. `tensors`: the file's name for
    each of the family's, `*` for the layer's number. `harmless` keys, and `left_out` tensors, or
    groups of them, carry nothing; nor do `neutral` keys with one of these values. `required` keys
    are those that a file may not lack, beside those of every architecture. `say` completes, in
    place, the values of config.json by what the file says by other means; `finish` completes the
    config by what config.json cannot say: both take a reader of the values as the file has them,
    and its tensors. `more` are the tensors' names that depend on the config, `fused` those that
    hold a matrix of every expert; `arrange` tells which tensors stand otherwise than in a folder,
    `raised` by how much more the weight of a norm is.
    """

    keys: Mapping[str, str]
    tensors: Mapping[str, str]
    harmless: frozenset[str] = HARMLESS
    neutral: Mapping[str, tuple[Any, ...]] = field(default_factory=lambda: NEUTRAL)
    required: tuple[str, ...] = ()
    by_layer: frozenset[str] = frozenset()
    left_out: tuple[str, ...] = ()
    say: Callable[[ConfigReader, dict[str, Any], Mapping[str, Any]], None] = lambda *_: None
    more: Callable[[Any], Mapping[str, str]] = lambda config: {}
    fused: Callable[[Any], Fused] = lambda config: NOT_FUSED
    arrange: Callable[[Any], Mapping[str, Arrange]] = lambda config: {}
    raised: float = 0.0
    finish: Callable[[Any, ConfigReader, Mapping[str, Any]], Any] = lambda config, *_: config


def open_gguf(
    form: Gguf,
    file: "File",
    architecture: str,
    read_config: Callable[[ConfigReader], Any],
    ignored: Iterable[str] = (),
) -> tuple[Any, dict[str, Stored]]:
    """The config and tensors of a file. Raises ContentError with the file's own names."""
    where = str(file.path)
    values = _config_values(form, file.metadata, architecture, ignored, where)
    if _EMBEDDING not in file.tensors:
        raise ContentError(f"{where}: the tensor {_EMBEDDING} is missing")
    values["vocab_size"] = file.tensors[_EMBEDDING].shape[0]
    values["tie_word_embeddings"] = _OUTPUT not in file.tensors
    names = {key: f"{architecture}.{own}" for own, key in reversed(form.keys.items())}
    given = ConfigReader(values, where, names=names)
    form.say(given, values, file.tensors)
    reader = ConfigReader(values, where, names=names)
    config = form.finish(read_config(reader), given, file.tensors)
    if reader.unknown:
        raise _unknown(where, names.get(reader.unknown[0], reader.unknown[0]))
    return config, _stored_names(form, file.tensors, config, where)


def _config_values(
    form: Gguf, metadata: Mapping[str, Any], architecture: str, ignored: Iterable[str], where: str
) -> dict[str, Any]:
    """The architecture's own keys under the names that config.json has for them.

    Only these keys are judged: one that is neither known nor harmless nor ignored raises
    ContentError, as does a required one that is missing; a harmless `group` takes with it every
    `group.key`. A list with one value per layer is taken if all are equal.
    """
    norms = (own for own in form.keys if own.endswith(_EPSILON))
    for own in (*_REQUIRED, *norms, *form.required):
        if f"{architecture}.{own}" not in metadata:
            raise ContentError(f"{where}: the key {architecture}.{own} is missing")
    found: dict[str, Any] = {}
    for key in metadata:
        own = key.removeprefix(f"{architecture}.")
        if own == key or key in ignored or _is_of(own, form.harmless):
            continue
        value = metadata[key]
        if own not in form.keys:
            if own in form.neutral and value not in form.neutral[own]:
                raise ContentError(
                    f"{where}: {key} is {shorten(str(value))}, which attn does not know",
                    f"if it changes no number: --ignore-config {key}",
                )
            if own not in form.neutral:
                raise _unknown(where, key)
            continue
        if isinstance(value, list) and own not in form.by_layer:
            if not value or any(other != value[0] for other in value):
                raise ContentError(f"{where}: {key} differs from layer to layer")
            value = value[0]
        found[form.keys[own]] = value
    return found


def _unknown(where: str, key: str) -> ContentError:
    return ContentError(
        f"{where}: the key {shorten(key)} is unknown and could change the numbers",
        f"if you know that it does not: --ignore-config {shorten(key)}",
    )


def file_names(form: Gguf, config: Any, tensors: Mapping[str, Any]) -> dict[str, str]:
    """The file's name for each of the family's tensors, layer by layer."""
    names, fused = {**form.tensors, **form.more(config)}, form.fused(config)
    kinds = {_LAYER.sub(".*.", place, count=1) for place in tensors} if fused.names else set()
    there = [theirs for theirs in fused.names if theirs in kinds]  # the first layers may have none
    if there:
        names |= fused.places(there)
    return {
        ours.replace("*", number): theirs.replace("*", number)
        for ours, theirs in names.items()
        for number in layer_numbers(ours, config)
    }


def _stored_names(
    form: Gguf, tensors: Mapping[str, Any], config: Any, where: str
) -> dict[str, Stored]:
    """Each tensor under the family's name; one that the table lacks keeps its own in brackets."""
    arranged, fused = form.arrange(config), form.fused(config)
    table = {}
    for ours, theirs in {**form.tensors, **form.more(config)}.items():
        arrange = arranged.get(ours, as_stored)
        for number in layer_numbers(ours, config):
            table[theirs.replace("*", number)] = Stored(ours.replace("*", number), arrange)
    left_out = frozenset(form.left_out)
    found = {}
    for place in tensors:
        if _is_of(place, left_out):
            continue
        name, arrange, _ = table.get(place, Stored(f"[{place}]"))
        parts = fused.parts(place, place, tensors[place], where)
        found |= parts or {name: Stored(place, arrange)}
    return found


def _is_of(name: str, groups: frozenset[str]) -> bool:
    """Whether a name is one of these, or of a group that is: `vision.block_count` of `vision`."""
    return name in groups or name.partition(".")[0] in groups


def named(ours_to_theirs: Mapping[str, str], *parts: str) -> dict[str, str]:
    """The same table for the `parts` of each tensor: its weight, and its bias."""
    parts = parts or ("weight", "bias")
    return {
        f"{ours}.{part}": f"{theirs}.{part}"
        for ours, theirs in ours_to_theirs.items()
        for part in parts
    }


def unpaired(heads: int) -> Arrange:
    """Rows (head, pair, 2) back to (head, 2, pair), as the reference library rotates them."""

    def arrange(array: np.ndarray) -> np.ndarray:
        rows = array.reshape(heads, array.shape[0] // heads // 2, 2, *array.shape[1:])
        return np.ascontiguousarray(rows.swapaxes(1, 2)).reshape(array.shape)

    return arrange


def reinterleaved(heads: int, groups: int = 0) -> Arrange:
    """Rows of all queries, all keys, all values back to (group, its queries | key | value, width).

    A head is a group by itself unless there are fewer `groups`, each with a key of its own.
    """
    groups = groups or heads
    places = np.arange(heads + 2 * groups)
    queries, keys = places[:heads].reshape(groups, -1), places[heads:].reshape(2, groups)
    order = np.concatenate([queries, keys.T], axis=1).reshape(-1)

    def arrange(array: np.ndarray) -> np.ndarray:
        rows = array.reshape(len(order), array.shape[0] // len(order), *array.shape[1:])
        return rows[order].reshape(array.shape)

    return arrange


def fused_rows(name: str, heads: int, groups: int = 0) -> dict[str, Arrange]:
    """How the rows of a fused matrix, and its bias, come to stand as in a folder."""
    return dict.fromkeys((f"{name}.weight", f"{name}.bias"), reinterleaved(heads, groups))
