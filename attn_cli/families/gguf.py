"""GGUF's names for a family's config and tensors. The tables stand in the families."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from attn_cli.errors import ContentError
from attn_cli.families.model import Stored, as_stored

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
    ContentError. A list with one value per layer is taken if all are equal.
    """
    found: dict[str, Any] = {}
    for key in metadata:
        own = key.removeprefix(f"{architecture}.")
        if own == key or own in harmless or key in ignored:
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
    buffers: Iterable[str],
    layers: int,
) -> dict[str, Stored]:
    """Each tensor under the family's name. `*` in `names` stands for the layer's number.

    What the table does not know keeps its own name in brackets, which no family has.
    """
    table = {}
    for ours, theirs in names.items():
        for layer in range(layers if "*" in ours else 1):
            number = str(layer)
            arrange = arranged.get(ours, as_stored)
            table[theirs.replace("*", number)] = ours.replace("*", number), arrange
    left_out = set(buffers)
    found = {}
    for place in tensors:
        if place not in left_out:
            name, arrange = table.get(place, (f"[{place}]", as_stored))
            found[name] = Stored(place, arrange)
    return found


def unpaired(heads: int) -> Arrange:
    """Rows (head, pair, 2) back to (head, 2, pair), as the reference library rotates them."""

    def arrange(array: np.ndarray) -> np.ndarray:
        rows = array.reshape(heads, array.shape[0] // heads // 2, 2, *array.shape[1:])
        return np.ascontiguousarray(rows.swapaxes(1, 2)).reshape(array.shape)

    return arrange
