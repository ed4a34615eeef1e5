"""What can be opened on this machine, and what is inside one checkpoint."""

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from attn_cli.families import UNTRAINED
from attn_cli.families.load import EMBEDDED, PACKAGES, load
from attn_cli.families.model import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One model that opens by name; `parameters` and `bytes` are 0 where it is made on demand."""

    name: str
    family: str
    parameters: int
    bytes: int
    remark: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All of them."""

    models: tuple[Listed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One stored tensor under the family's name for it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    parameters: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Tensors of one kind over all layers: `h.*.attn.c_attn`."""

    name: str
    parameters: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """One checkpoint: the family's reading of its config, its tensors, and their parts."""

    config: Mapping[str, Any]
    tokens: int
    parameters: int
    bytes: int
    parts: tuple[Part, ...]
    tensors: tuple[Tensor, ...]


def listing() -> Listing:
    """The models that need no path."""
    found = []
    carried = [name for name, package in PACKAGES.items() if importlib.util.find_spec(package)]
    for name in (*EMBEDDED, *carried):
        model = load(name)
        inside = contents(model)
        found.append(
            Listed(
                name=name,
                family=model.facts.family,
                parameters=inside.parameters,
                bytes=inside.bytes,
                remark="packaged" if name in PACKAGES else name,
            )
        )
    untrained = Listed(name="random", family=UNTRAINED, parameters=0, bytes=0, remark="random")
    return Listing(models=(*found, untrained))


def contents(model: Model) -> Contents:
    """Reads headers only."""
    tensors = tuple(
        _tensor(name, model.weights.source.tensors[stored.name])
        for name, stored in model.weights.stored.items()
    )
    parts: dict[str, list[Tensor]] = {}
    for tensor in tensors:
        kind = re.sub(r"\.\d+\.", ".*.", tensor.name).rpartition(".")[0]
        parts.setdefault(kind, []).append(tensor)
    return Contents(
        config=asdict(model.config),
        tokens=model.tokenizer.size,
        parameters=sum(tensor.parameters for tensor in tensors),
        bytes=sum(tensor.bytes for tensor in tensors),
        parts=tuple(
            Part(
                name=name, parameters=sum(t.parameters for t in of), bytes=sum(t.bytes for t in of)
            )
            for name, of in parts.items()
        ),
        tensors=tensors,
    )


def _tensor(name: str, info: Any) -> Tensor:
    count = int(np.prod(info.shape, dtype=np.int64))
    size = info.end - info.begin if hasattr(info, "end") else 4 * count
    return Tensor(name=name, dtype=info.dtype, shape=info.shape, parameters=count, bytes=size)
