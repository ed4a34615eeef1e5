"""An opened model: its facts, config, tensors by the family's own names, and tokenizer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from attn_cli.errors import ContentError
from attn_cli.settings import shorten
from attn_cli.tokens.token import Tokenizer
from attn_cli.trace import ModelFacts


class TensorSource(Protocol):
    """A checkpoint's tensors; `tensors` maps a name to something with a dtype and a shape."""

    tensors: Mapping[str, Any]

    def read(self, name: str) -> np.ndarray: ...

    def rows(self, name: str, indices: Iterable[int]) -> np.ndarray: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """Tensors under the names a family uses, whatever prefix the file puts before them."""

    source: TensorSource
    stored_names: Mapping[str, str]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.source.read(self.stored_names[name])

    def rows(self, name: str, indices: Iterable[int]) -> np.ndarray:
        """Only these rows along the first axis."""
        return self.source.rows(self.stored_names[name], indices)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """Everything needed to trace a prompt. `config` is the family's own record."""

    facts: ModelFacts
    family: Any
    config: Any
    weights: Weights
    tokenizer: Tokenizer
    end_token: int


def bind(
    source: TensorSource,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    prefix: str,
    buffers: tuple[str, ...],
    where: str,
) -> Weights:
    """Matches a file's tensors with the names and shapes a family needs.

    `prefix` is optional in the file; names ending in one of `buffers` are ignored. Raises
    ContentError for a tensor that is missing, unknown or of another shape.
    """
    stored: dict[str, str] = {}
    for full_name in source.tensors:
        name = full_name.removeprefix(prefix)
        if full_name.endswith(buffers):
            continue
        if name in stored:
            raise ContentError(
                f"{where}: the tensor {shorten(name)} stands there twice, with {prefix} and without"
            )
        stored[name] = full_name
    missing = [name for name in shapes if name not in stored]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ContentError(f"{where}: the tensor {missing[0]}{more} is missing")
    for name in stored:
        if name not in shapes:
            raise ContentError(
                f"{where}: the tensor {shorten(name)} has no place in this family",
                "the config and the weights may belong to different models",
            )
        found = tuple(source.tensors[stored[name]].shape)
        if found != shapes[name]:
            raise ContentError(
                f"{where}: the tensor {name} is {_by(found)}, "
                f"the config asks for {_by(shapes[name])}"
            )
    return Weights(source=source, stored_names=stored)


def _by(shape: tuple[int, ...]) -> str:
    return " × ".join(str(n) for n in shape) or "a single number"
