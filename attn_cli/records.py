"""The frozen records of a trace: what every command reads and every format writes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from attn_cli import vocabulary
from attn_cli.tokens.token import Token
from attn_cli.words import Note


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attention:
    """One attention block: the chosen heads of one layer.

    `arrays` maps names of `vocabulary.ARRAYS` to read-only arrays with the axes given there, and
    each is an attribute too: `block.weights` is `block.arrays["weights"]`, axes (head, query, key).
    Head axes keep only `heads`, kv_head axes only `kv_heads`, in that order. `what_if` names the
    arrays that a changed mask, attention temperature or head has touched; the others are real.
    `scaled` is scores × `scale`, bent by a `soft_cap` if that is not 0, and with `bias` added.
    `embedding` is one of `vocabulary.EMBEDDINGS`: what the model makes of a token's vector;
    `residual` one of `vocabulary.RESIDUALS`: where the output goes.
    `own_names` are arrays that mean something else here than in other tools (see `exchange`).
    """

    stack: str
    kind: str
    layer: int
    heads: tuple[int, ...]
    kv_heads: tuple[int, ...]
    scale: float
    soft_cap: float = 0.0
    embedding: str = "token"
    residual: str = "added"
    arrays: Mapping[str, np.ndarray]
    what_if: frozenset[str] = frozenset()
    own_names: frozenset[str] = frozenset()

    def __getattr__(self, name: str) -> np.ndarray:
        try:
            return self.arrays[name]
        except KeyError:
            known = ", ".join(self.arrays)
            raise AttributeError(f"no array {name!r} in this block; it has {known}") from None

    def provenance(self, name: str) -> str:
        return vocabulary.WHAT_IF if name in self.what_if else vocabulary.REAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One possible next token; `rank` counts from 1, ties ranked by the lower id."""

    rank: int
    id: int
    text: str
    logit: float
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The likeliest tokens after (or, for a masked token, at) `position`."""

    position: int
    provenance: str
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """A model in numbers. `context` 0 means unbounded; `encoder` is (layers, heads) or ()."""

    name: str
    family: str
    source: str
    layers: int
    heads: int
    kv_heads: int
    model_width: int
    head_width: int
    vocabulary: int
    context: int
    parameters: int
    encoder: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """Tokens and, unless only ids were given, the text they came from.

    `special`: the tokens that the tokenizer adds by itself were asked for. `chat` names the format
    of a user's turn, and `ends` are the ids that end the answer to it.
    """

    text: str
    has_text: bool
    tokens: tuple[Token, ...]
    special: bool = True
    chat: str = ""
    ends: tuple[int, ...] = ()

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(token.id for token in self.tokens)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(token.text for token in self.tokens)

    @property
    def settings(self) -> dict[str, Any]:
        """How the text was read, as documents record it."""
        return {"special": self.special, "chat": self.chat or None}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace:
    """Everything one forward pass computed that was asked for. `logits` (position, vocabulary)."""

    model: ModelFacts
    prompt: Prompt
    settings: Mapping[str, Any]
    attention: tuple[Attention, ...]
    next: tuple[Prediction, ...]
    notes: tuple[Note, ...]
    logits: np.ndarray

    def block(self, layer: int) -> Attention:
        """The traced block of one layer. Raises KeyError if that layer was not asked for."""
        for block in self.attention:
            if block.layer == layer:
                return block
        raise KeyError(layer)


def nonfinite(name: str, array: np.ndarray) -> int:
    """How many numbers are NaN or infinite, the −∞ of a masked cell not counted."""
    if array.dtype == bool:
        return 0
    # A sum is finite only if every number is; numbers too large to add up are counted one by one.
    with np.errstate(all="ignore"):
        if name != "masked" and np.isfinite(array.sum()):
            return 0
    count = array.size - int(np.isfinite(array).sum())
    return count - int(np.isneginf(array).sum()) if name == "masked" else count
