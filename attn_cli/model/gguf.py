"""GGUF's names for a family's config and tensors. The tables stand in the families."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from attn_cli.errors import ContentError
from attn_cli.model.weights import Stored, as_stored

Arrange = Callable[[np.ndarray], np.ndarray]


def config_values(
    metadata: Mapping[str, Any],
    architecture: str,
    keys: Mapping[str, str],
    harmless: frozenset[str],
    ignored: Iterable[str],
    where: str,
) -> dict[str, Any]:
    """The architecture's own keys under the names that config.json has for them.

    Only these keys are judged: one that is neither in `keys` nor harmless nor ignored raises
    ContentError; a harmless `group` takes with it every `group.key`. A list with one value per
    layer is taken if all are equal.
    """
    found: dict[str, Any] = {}
    for key in metadata:
        own = key.removeprefix(f"{architecture}.")
        if own == key or key in ignored or _is_of(own, harmless):
            continue
        if own not in keys:
            raise ContentError(
                f"{where}: the key {key} is unknown and could change the numbers",
                f"if you know that it does not: --ignore-config {key}",
            )
        value = metadata[key]
        if isinstance(value, list):
            if not value or any(other != value[0] for other in value):
                raise ContentError(f"{where}: {key} differs from layer to layer")
            value = value[0]
        found[keys[own]] = value
    return found


def stored_names(
    tensors: Iterable[str],
    names: Mapping[str, str],
    arranged: Mapping[str, Arrange],
    left_out: Iterable[str],
    layers: int,
) -> dict[str, Stored]:
    """Each tensor under the family's name. `*` in `names` stands for the layer's number.

    `left_out` are tensors, or groups of them, that carry nothing for the family. What the table
    does not know keeps its own name in brackets, which no family has.
    """
    table = {}
    for ours, theirs in names.items():
        for layer in range(layers if "*" in ours else 1):
            number = str(layer)
            arrange = arranged.get(ours, as_stored)
            table[theirs.replace("*", number)] = ours.replace("*", number), arrange
    none = frozenset(left_out)
    found = {}
    for place in tensors:
        if not _is_of(place, none):
            name, arrange = table.get(place, (f"[{place}]", as_stored))
            found[name] = Stored(place, arrange)
    return found


def embedding_rows(tensors: Mapping[str, Any], where: str) -> int:
    """The size of the vocabulary, which files do not always state. Raises ContentError."""
    if "token_embd.weight" not in tensors:
        raise ContentError(f"{where}: the tensor token_embd.weight is missing")
    return tensors["token_embd.weight"].shape[0]


def _is_of(name: str, groups: frozenset[str]) -> bool:
    """Whether a name is one of these, or of a group that is: `vision.block_count` of `vision`."""
    return name in groups or name.partition(".")[0] in groups


def unpaired(heads: int) -> Arrange:
    """Rows (head, pair, 2) back to (head, 2, pair), as the reference library rotates them."""

    def arrange(array: np.ndarray) -> np.ndarray:
        rows = array.reshape(heads, array.shape[0] // heads // 2, 2, *array.shape[1:])
        return np.ascontiguousarray(rows.swapaxes(1, 2)).reshape(array.shape)

    return arrange


def reinterleaved(heads: int) -> Arrange:
    """Rows (query | key | value, head, width) back to (head, query | key | value, width)."""

    def arrange(array: np.ndarray) -> np.ndarray:
        rows = array.reshape(3, heads, array.shape[0] // heads // 3, *array.shape[1:])
        return np.ascontiguousarray(rows.swapaxes(0, 1)).reshape(array.shape)

    return arrange
