"""What a family is, and an opened model of one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from attn_cli.model.config import ConfigReader
from attn_cli.model.gguf import Gguf
from attn_cli.model.stack import Pass
from attn_cli.model.tensors import Naming, Shapes
from attn_cli.model.weights import Weights
from attn_cli.records import Facts
from attn_cli.tokens.token import Tokenizer


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Everything that tells a family from the others, each a function of that name in its file.

    `read_config` raises ContentError for a config that cannot be honoured exactly. `shapes` names
    every tensor, with `*` for the number of a layer. `describe` adds what pages say to the facts.
    `forward` is a pass (see `Stack`): it yields the record of each block and returns its `End`.
    `predict` makes logits (position, vocabulary) of any layer's vectors (position, model).
    `gguf` is how GGUF files have it; `untrained` makes a config of sizes, for random models.
    """

    read_config: Callable[[ConfigReader], Any]
    shapes: Callable[[Any], Shapes]
    naming: Callable[[Any], Naming]
    describe: Callable[[Facts, Any], Facts]
    forward: Callable[..., Pass]
    predict: Callable[["Model", np.ndarray], np.ndarray]
    gguf: Gguf | None = None
    untrained: Callable[[dict[str, int]], dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """Everything needed to trace a prompt. `config` is the family's own record.

    `end_tokens` are the ids that end a text, `ignored` the config keys that the user accepts,
    `unknown` those that mean nothing to the reference library, `untrue_copies` tensors of the file
    that are not used, with those that they should repeat, `left_aside` those of another task;
    `metadata` is a GGUF file's.
    """

    facts: Facts
    family: Family
    config: Any
    weights: Weights
    open_tokenizer: Callable[[], Tokenizer]
    end_tokens: tuple[int, ...]
    ignored: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    untrue_copies: tuple[tuple[str, str], ...] = ()
    left_aside: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tokenizer(self) -> Tokenizer:
        """Opened when it is first asked for."""
        return self.open_tokenizer()


def in_memory(model: Model) -> Model:
    """The same model, keeping every tensor it reads: for many passes instead of one."""
    return replace(model, weights=replace(model.weights, hold=True, held={}))
