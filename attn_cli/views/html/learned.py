"""What the page tells of how vectors are made: learned numbers, rotations, and which experts."""

from typing import Any

import numpy as np

from attn_cli.notes import place
from attn_cli.records import Address, Attention, Facts, Trace
from attn_cli.views import numbers
from attn_cli.views import routing as experts
from attn_cli.views.html.budget import LEARNED
from attn_cli.views.html.embedding import array
from attn_cli.views.text import labels
from attn_cli.words import note, sentence

_FACTS = (
    "partial", "embedding", "norm", "affine", "epsilon", "clipped", "head_norm", "rotated",
    "rotated_from", "interleaved", "kv_latent", "q_latent", "alibi", "slopes",
    "logit_scale", "logit_cap",
)  # fmt: skip
_ADDED = ("attention", "cross", "mlp")  # to the stream, in order


def facts(model: Facts) -> dict[str, Any]:
    """What the arithmetic of a vector depends on."""
    from attn_cli.model.latent import EPSILON

    return {"latent_epsilon": EPSILON, **{name: getattr(model, name) for name in _FACTS}}


def of_block(trace: Trace, block: Attention, told: str) -> dict[str, Any]:
    """The learned numbers of a block, its rotation, and what its x is the sum of."""
    arrays, shown = block.arrays, block.shown
    norms = {letter: shown.get(f"{letter}_norm_bias") for letter in "qk"}
    return {
        "learned": {name: array(arrays[name]) for name in sorted(LEARNED & arrays.keys())},
        "norm_bias": {n: array(_of_heads(v, block, n)) for n, v in norms.items() if v is not None},
        "turn": _turn(block),
        "enters": _enters(trace, block) if told == "float" else None,
    }


def _of_heads(values: np.ndarray, block: Attention, letter: str) -> np.ndarray:
    """The rows of the block's heads, or of the kv heads these use."""
    return values[list(block.heads if letter == "q" else block.kv_heads)]


def _turn(block: Attention) -> dict[str, Any] | None:
    """By which angles (query, pair) a block rotates."""
    if "angles" not in block.shown:
        return None
    growth = block.shown.get("query_factor")
    return {
        "angles": array(block.shown["angles"]),
        "factor": float(block.shown["attention_factor"]),
        "growth": None if growth is None else array(growth),
    }


def _enters(trace: Trace, block: Attention) -> list[list[Any]] | None:
    """What x is the sum of where the layer before, or in cross-attention the same layer's
    self-attention, is in the page too: names and vectors."""
    address = Address(block.stack, "self", block.layer - (not block.address.crosses))
    before = next((one for one in trace.attention if one.address == address), None)
    if before is None or trace.model.residual not in ("added", "normed"):
        return None
    names = ["attention"] if block.address.crosses else [n for n in _ADDED if n in before.shown]
    if not {*names} <= before.shown.keys() or "mlp" not in before.shown:
        return None
    called = place(trace.model, before)
    parts = [(sentence("html.x_of", place=called), before.arrays["x"])]
    parts += [(sentence(f"html.stream_{name}"), before.shown[name]) for name in names]
    return [[words, array(values)] for words, values in parts]


def routing(trace: Trace) -> dict[str, Any] | None:
    """Which experts the tokens of each layer were sent to."""
    if not trace.experts:
        return None
    return {
        "title": numbers.in_words(experts.title(trace.experts).words, 2),
        "said": [
            numbers.in_words(one.words, 2) for one in experts.said(trace.model, trace.experts)
        ],
        "names": labels(trace.prompt.last.labels),
        "layers": {
            f"{of.stack}.{of.layer}": {
                "title": str(note("routing.layer", layer=of.layer)),
                "queries": list(of.queries),
                "chosen": array(of.chosen),
                "shares": array(of.shares),
                "used": numbers.in_words(experts.used(of), 2),
            }
            for of in trace.experts
        },
    }
