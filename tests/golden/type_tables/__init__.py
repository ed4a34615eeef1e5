"""What `make_types.py` makes: one module for each group of model types, with its `MODELS`.

A module of this package holds `MODELS`, names mapped to `Golden`s; the first of a type ends in
`-a`. Sizes differ pairwise within a model, so that no swapped axis can pass.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a reference model keeps its parts: its layers, and within a layer the rest.

    `norm` is the one before the attention ("" where there is none), `out` the attention's output
    projection, `mlp` the module whose output is `mlp_output`. `columns`: the output projection is
    stored (input, output). `arrays` makes more arrays of one layer, or others, by their names in
    `attn_cli.vocabulary`: of the model, the layer's number, and what was heard (see `Heard`).
    """

    layers: str = "model.layers"
    norm: str = "input_layernorm"
    attention: str = "self_attn"
    out: str = "self_attn.o_proj"
    mlp: str = "mlp"
    columns: bool = False
    arrays: Callable[..., dict[str, Any]] | None = None


LLAMA_PLACES = Places()


@dataclass(frozen=True, kw_only=True)
class Golden:
    """A random model: the reference's class, what its config is given, and how many tokens.

    `config_class` is the type's own where its model is another type's class; `out` is how a
    checkpoint names the output projection (`*` for the layer) where that is not its place.

    `keys`: what each key of the config does is tried too; `trials` are values for those for which
    none follows from the value that is there. `extra` are keyword arguments of the forward pass,
    `attention` is the implementation that the reference takes.
    """

    model: str
    config_class: str = ""
    out: str = ""
    config: dict[str, Any]
    seed: int
    tokens: int
    places: Places = LLAMA_PLACES
    keys: bool = False
    trials: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    attention: str = "eager"
