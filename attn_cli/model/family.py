"""What a family is, and an opened model of one."""

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from attn_cli.errors import AttnError
from attn_cli.maths import cores
from attn_cli.maths.layers import soft_cap
from attn_cli.maths.products import through
from attn_cli.model.cache import Pass
from attn_cli.model.config import ConfigReader
from attn_cli.model.gguf import Gguf
from attn_cli.model.tensors import OUTPUT, Naming, Shapes
from attn_cli.model.weights import NOTHING, Weights
from attn_cli.records import Facts
from attn_cli.tokens.token import Tokenizer

S, T = TypeVar("S"), TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Everything that tells a family from the others, each a function of that name in its file.

    `read_config` raises ContentError for a config that cannot be honoured exactly. `shapes` names
    every tensor, with `*` for the number of a layer. `describe` adds what pages say to the facts.
    `forward` is a pass (see `Stack`): it yields the record of each block and returns its `End`.
    `final` makes of any layer's vectors (position, model) those that the output matrix takes, which
    is the `embedding` where the two are tied; `output_bias` is added to its logits, if there is
    one. `head` names (`*` for anything) the tensors without which a checkpoint predicts nothing.
    `complete` has a config say what only the names of the tensors tell. `gguf` is how GGUF files
    have it; `untrained` makes a config of sizes, for random models. `columns` are the maps of a
    layer whose matrix the family has as (input, output).
    """

    read_config: Callable[[ConfigReader], Any]
    shapes: Callable[[Any], Shapes]
    naming: Callable[[Any], Naming]
    describe: Callable[[Facts, Any], Facts]
    forward: Callable[..., Pass]
    final: Callable[["Model", np.ndarray], np.ndarray]
    embedding: str
    gguf: Gguf | None = None
    untrained: Callable[[dict[str, int]], dict[str, Any]] | None = None
    output_bias: str = ""
    head: tuple[str, ...] = (OUTPUT,)
    complete: Callable[[Any, Collection[str]], Any] = lambda config, names: config
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """Everything needed to trace a prompt. `config` is the family's own record.

    `end_tokens` are the ids that end a text, `ignored` the config keys that the user accepts,
    `unknown` those that mean nothing to the reference library, `untrue_copies` tensors of the file
    with those that they should repeat and do not, `left_aside` those of another task; `unread` is
    how many tensors belong to what makes vectors of pictures, and their parameters; `reserved` are
    ids that stand for pictures in a prompt, each with the key that says so, `reserved_texts` the
    texts of such tokens, each with that of another without which it does not; `metadata` is a GGUF
    file's.
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
    unread: tuple[int, int] = (0, 0)
    reserved: Mapping[int, str] = field(default_factory=dict)
    reserved_texts: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """How it was opened, as documents record it."""
        return {"ignore_config": list(self.ignored), **self.facts.settings}

    @property
    def tokenizer(self) -> Tokenizer:
        """Opened when it is first asked for."""
        return self.open_tokenizer()


def output_matrix(model: Model) -> str:
    """The tensor whose rows (vocabulary, model) the final vectors are compared with."""
    return model.family.embedding if model.config.tied else OUTPUT


def output_bias(model: Model) -> np.ndarray:
    """What is added to the logits (vocabulary), of size 0 where nothing is."""
    return model.weights.get(model.family.output_bias, NOTHING).reshape(-1)


def predict(model: Model, x: np.ndarray) -> np.ndarray:
    """Logits (position, vocabulary) of any layer's vectors (position, model)."""
    x = model.family.final(model, x)
    if model.facts.logit_scale != 1:
        x = x * x.dtype.type(model.facts.logit_scale)
    name, weights = output_matrix(model), model.weights
    if weights.shared:  # no layer, and too tall to be held for a moment
        weights = replace(weights, hold=False)
    matrix = weights.map(name.removesuffix(".weight"))._replace(bias=NOTHING)
    (logits,) = through(x, matrix)
    if not weights.hold:
        weights.tensor(name).release()
    bias = output_bias(model)
    if bias.size:
        logits += bias
    cap = model.facts.logit_cap
    return soft_cap(logits, cap) if cap else logits


def in_memory(model: Model) -> Model:
    """The same model, keeping every tensor it reads: for many passes instead of one."""
    return replace(model, weights=replace(model.weights, hold=True, held={}))


def side_by_side(model: Model) -> Model:
    """The same model for several passes that share what is read of each layer: see `abreast`."""
    return replace(model, weights=replace(model.weights, hold=True, shared=True, held={}))


def abreast(
    model: Model, passes: Sequence[Generator[S, None, T]]
) -> Generator[S, None, list[T | AttnError]]:
    """What passes through a model that is `side_by_side` return, or why one could not.

    They go layer by layer, so that each layer is read once; each is computed by itself, so that no
    digit depends on the others. Yields the steps of the first of them.
    """
    found: dict[int, T | AttnError] = {}

    def advance(place: int) -> S | None:
        try:
            return next(passes[place])
        except StopIteration as stop:
            found[place] = stop.value
        except AttnError as problem:
            found[place] = problem
        return None

    while left := [place for place in range(len(passes)) if place not in found]:
        step = advance(left[0])  # reads what the others will want
        cores.each(advance, left[1:])
        model.weights.forget()
        if step is not None:
            yield step
    return [found[place] for place in range(len(passes))]
