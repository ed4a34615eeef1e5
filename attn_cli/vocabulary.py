"""The words of attn: steps, arrays, axes. Code, options, JSON, tables take them from here."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Step(NamedTuple):
    """One of the six steps of self-attention; `number` counts from 1."""

    number: int
    name: str
    equation: str


class ArraySpec(NamedTuple):
    """An array of a trace: its step, its axes in order, and whether it must be asked for.

    Step 0 is none: what comes after attention.
    """

    step: int
    axes: tuple[str, ...]
    opt_in: bool = False


class MaskWord(NamedTuple):
    """A word of `--mask`, with the numbers that it takes as its `usage` shows them.

    A `base` replaces the model's own mask, the others hide more of it, or `opens` some of it;
    `least` is the smallest number, and each number is at most what `most` names of the prompt: its
    last `query` or `key`, or its count of `keys`; nothing where anything goes.
    """

    usage: str
    base: bool
    least: int = 0
    most: tuple[str, ...] = ()
    opens: bool = False


class WhatIf(NamedTuple):
    """A setting that changes the attention itself: its option, and the value that changes nothing.

    A list is an option that can be repeated.
    """

    option: str
    neutral: Any


STEPS = (
    Step(1, "embed", "x = token vector + position vector"),
    Step(2, "project", "q = x·W_Q   k = x·W_K   v = x·W_V"),
    Step(3, "dot products", "scores = q · kᵀ"),
    Step(4, "scale and mask", "scaled = scores × scale   masked = −∞ where not visible"),
    Step(5, "softmax", "weights = softmax(masked), for each query"),
    Step(6, "weighted sum", "z = Σ weight × v   output = Σ over heads of z·W_O"),
)

# In computing order: an array is what-if from the first one touched onward, in this order.
ARRAYS = {
    "token_embedding": ArraySpec(1, ("query", "model"), opt_in=True),
    "position_embedding": ArraySpec(1, ("query", "model"), opt_in=True),
    "type_embedding": ArraySpec(1, ("query", "model"), opt_in=True),
    "x": ArraySpec(1, ("query", "model")),
    "key_x": ArraySpec(1, ("key", "model"), opt_in=True),
    "w_norm": ArraySpec(1, ("model",), opt_in=True),
    "b_norm": ArraySpec(1, ("model",), opt_in=True),
    "normed": ArraySpec(1, ("query", "model")),
    "w_q": ArraySpec(2, ("head", "model", "width"), opt_in=True),
    "b_q": ArraySpec(2, ("head", "width"), opt_in=True),
    "w_k": ArraySpec(2, ("kv_head", "model", "width"), opt_in=True),
    "b_k": ArraySpec(2, ("kv_head", "width"), opt_in=True),
    "w_v": ArraySpec(2, ("kv_head", "model", "value_width"), opt_in=True),
    "b_v": ArraySpec(2, ("kv_head", "value_width"), opt_in=True),
    "w_q_down": ArraySpec(2, ("model", "latent"), opt_in=True),
    "b_q_down": ArraySpec(2, ("latent",), opt_in=True),
    "w_q_latent_norm": ArraySpec(2, ("latent",), opt_in=True),
    "q_latent": ArraySpec(2, ("query", "latent"), opt_in=True),
    "w_q_latent": ArraySpec(2, ("head", "latent", "width"), opt_in=True),
    "w_kv_down": ArraySpec(2, ("model", "latent"), opt_in=True),
    "b_kv_down": ArraySpec(2, ("latent",), opt_in=True),
    "w_kv_latent_norm": ArraySpec(2, ("latent",), opt_in=True),
    "kv_latent": ArraySpec(2, ("key", "latent"), opt_in=True),
    "w_k_latent": ArraySpec(2, ("kv_head", "latent", "width"), opt_in=True),
    "w_k_rotated": ArraySpec(2, ("model", "width"), opt_in=True),
    "b_k_rotated": ArraySpec(2, ("width",), opt_in=True),
    "w_v_latent": ArraySpec(2, ("kv_head", "latent", "value_width"), opt_in=True),
    "q_unrotated": ArraySpec(2, ("head", "query", "width")),
    "k_unrotated": ArraySpec(2, ("kv_head", "key", "width")),
    "q": ArraySpec(2, ("head", "query", "width")),
    "k": ArraySpec(2, ("kv_head", "key", "width")),
    "v": ArraySpec(2, ("kv_head", "key", "value_width")),
    "q_position": ArraySpec(2, ("head", "bucket", "width"), opt_in=True),
    "k_position": ArraySpec(2, ("head", "bucket", "width"), opt_in=True),
    "content_to_content": ArraySpec(3, ("head", "query", "key")),
    "content_to_position": ArraySpec(3, ("head", "query", "key")),
    "position_to_content": ArraySpec(3, ("head", "query", "key")),
    "scores": ArraySpec(3, ("head", "query", "key")),
    "scaled": ArraySpec(4, ("head", "query", "key")),
    "bias": ArraySpec(4, ("head", "query", "key")),
    "visible": ArraySpec(4, ("query", "key")),
    "masked": ArraySpec(4, ("head", "query", "key")),
    "sink": ArraySpec(4, ("head",)),
    "weights": ArraySpec(5, ("head", "query", "key")),
    "sink_share": ArraySpec(5, ("head", "query")),
    "z": ArraySpec(6, ("head", "query", "value_width")),
    "w_o": ArraySpec(6, ("head", "value_width", "model"), opt_in=True),
    "b_o": ArraySpec(6, ("model",), opt_in=True),
    "head_output": ArraySpec(6, ("head", "query", "model")),
    "output": ArraySpec(6, ("query", "model")),
    "mlp_output": ArraySpec(0, ("query", "model"), opt_in=True),
}

OF_DISTANCES = frozenset({"q_position", "k_position"})  # whatever the prompt
# What the scores are the sum of, where they are more than the dot products.
TERMS = ("content_to_content", "content_to_position", "position_to_content")
# A sink is one learned score in every row of a head, which belongs to no key; its share and the row
# of weights add up to 1. What stands beside which array.
SINKS = {"masked": "sink", "weights": "sink_share"}
# What records have only of some models: those with sinks, with latents, with layers of two kinds.
OF_SOME = frozenset({
    "sink_row", "sink_share", "sink_share_before", "sink_share_after", "latents",
    "latents_float32", "latents_bfloat16", "latent_width", "value_width", "through", "unrotated",
    "layer_kinds",
})  # fmt: skip
PARAMETERS = frozenset(n for n in ARRAYS if n.startswith(("w_", "b_")))
LATENTS = frozenset({"q_latent", "kv_latent"})
EMBEDDING_PARTS = frozenset({"token_embedding", "position_embedding", "type_embedding"})
DEFAULT_ARRAYS = frozenset(name for name, spec in ARRAYS.items() if not spec.opt_in)
LIGHT_ARRAYS = frozenset(name for name in ARRAYS if not name.startswith("w_"))

# What a page tells of a model. What layer 0 makes of a token's vector: the vector itself, the sum
# with its position's (and its segment's), that sum after a matrix, the vector times a number
# (√width, or the model's own), its norm, the norm of that sum, which a matrix brings to the model's
# width.
EMBEDDINGS = (
    "token", "sum", "projected", "scaled", "normed", "sum_normed", "sum_normed_projected",
)  # fmt: skip
# Where a block's output goes: onto x; onto x, itself normed first; onto x, the sum normed after;
# onto normed.
RESIDUALS = ("added", "normed", "after", "onto_normed")
NORMS = ("layer", "rms")
# Which queries and keys a norm acts on: none; each head's by itself; those of all heads together;
# each head's, once it is rotated.
HEAD_NORMS = ("", "each", "all", "rotated")
# What a slope of ALiBi multiplies: the key's position, that rounded to bfloat16, or how far the key
# stands before the last.
ALIBIS = ("position", "rounded", "distance")
# How positions enter, and the first array that they change: vectors added in step 1, learned or
# waves of the position, rotation in step 2, terms of the scores in step 3 (DeBERTa), a bias in
# step 4 by the key's position (ALiBi) or learned for each distance (T5), not at all.
POSITIONS = {
    "learned": "position_embedding", "sinusoidal": "position_embedding", "rotary": "q",
    "disentangled": "content_to_position", "bias": "scaled", "relative": "scaled", "none": "",
}  # fmt: skip
# What stands in a layer in place of attention; `other` where only a document is known.
MIXERS = ("convolution", "other")
STACKS = ("encoder", "decoder")
KINDS = ("self", "cross")
REAL, DERIVED, WHAT_IF = "real", "derived", "what-if"

# Each is a function of that name in `maths/masks.py`, but for the file, whose rows are the mask.
MASKS = {
    "causal": MaskWord("causal", base=True),
    "none": MaskWord("none", base=True),
    "window": MaskWord("window:N", base=True, least=1),
    "prefix": MaskWord("prefix:N", base=True, most=("keys",)),
    "file": MaskWord("file:PATH", base=True),
    "padding": MaskWord("padding:N", base=False, most=("keys",)),
    "padding-left": MaskWord("padding-left:N", base=False, most=("keys",)),
    "block": MaskWord("block:Q:K", base=False, most=("query", "key")),
    "sinks": MaskWord("sinks:K", base=False, least=1, most=("keys",), opens=True),
}
WHAT_IFS = {
    "mask": WhatIf("--mask", ()),
    "mask_value": WhatIf("--mask-value", None),
    "attention_temperature": WhatIf("--attention-temperature", 1.0),
    "without_head": WhatIf("--without-head", ()),
    "without": WhatIf("--without", ()),
}
# What a ranking of heads can go by, and the field of a head's summary that it is; of those that
# `SMALLEST_FIRST` names the smallest comes first.
HEAD_COLUMNS = {
    "entropy": "entropy", "distance": "distance", "first": "first_share",
    "weighted": "first_weighted_share", "value": "first_value", "rest": "rest_share",
    "previous": "previous_share", "self": "self_share", "duplicate": "duplicate_share",
    "induction": "induction_share", "sink": "sink_share", "norm": "norm", "cosine": "cosine",
}  # fmt: skip
SMALLEST_FIRST = frozenset({"entropy", "effective", "distance", "value", "rest"})
# What a scan measures of each query, as `HEAD_COLUMNS` has it; `effective_keys` is 2^entropy, among
# how many keys as good as each other the query shares its weight out, and `…_weighted_share` a
# share where every weight is multiplied by its value's length.
SCAN_COLUMNS = {
    "entropy": "entropy", "effective": "effective_keys", "distance": "distance",
    "first": "first_share", "weighted": "first_weighted_share", "previous": "previous_share",
    "self": "self_share", "duplicate": "duplicate_share", "induction": "induction_share",
    "weighted-previous": "previous_weighted_share", "weighted-self": "self_weighted_share",
    "weighted-duplicate": "duplicate_weighted_share",
    "weighted-induction": "induction_weighted_share", "sink": "sink_share",
}  # fmt: skip
# What `--without` leaves out, `mlp:L` in one layer.
WITHOUT = ("positions", "scale", "mlp:L")

SAMPLE_PROMPT = "the greatest thinker in China is"
DEFAULT_MODEL = "tiny"


# What is made of the keys' side alone; in cross-attention that is another stack's vectors.
_OF_KEYS = frozenset({"key_x", "kv_latent", "k_unrotated", "k", "v"})


def arrays_from(name: str) -> frozenset[str]:
    """The arrays computed from `name` onward, itself included, without those of no prompt."""
    names = list(ARRAYS)
    return frozenset(names[names.index(name) :]) - PARAMETERS - OF_DISTANCES - {"sink"}


def arrays_after(queries: bool, keys: bool) -> frozenset[str]:
    """The arrays that are touched where what the queries, or the keys, are made of has been."""
    if not queries and not keys:
        return frozenset()
    after = arrays_from("content_to_content")
    before = arrays_from(next(iter(ARRAYS))) - after
    return after | (before - _OF_KEYS if queries else after) | (_OF_KEYS if keys else after)


def sides_of(array: str) -> tuple[str, str]:
    """The axes of an array of one head as a matrix; "" where a vector or a number has none."""
    own = [axis for axis in ARRAYS[array].axes if axis not in ("head", "kv_head")]
    return ("", "", *own)[-2:]


def changes(settings: Mapping[str, Any]) -> list[str]:
    """The what-if settings that change something, as they are typed: `--mask none`."""
    found = []
    for name, (option, neutral) in WHAT_IFS.items():
        value = settings.get(name, neutral)
        listed = isinstance(value, list | tuple)
        words = value if listed else [] if value == neutral else [f"{value:g}"]
        found += [f"{option} {word}" for word in words]
    return found
