"""The six steps as arithmetic on one head's arrays, each from those before it, for who works by
hand: which numbers a cell is made from, and what they give."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from attn_cli import vocabulary
from attn_cli.records import Attention

NEEDS = frozenset({
    "token_embedding", "position_embedding", "type_embedding", "x", "key_x", "normed", "w_q", "b_q",
    "w_k", "b_k", "w_v", "b_v", "q", "k", "v", *vocabulary.TERMS, "scores", "scaled", "bias",
    "visible", "sink", "weights", "z", "w_o", "head_output",
})  # fmt: skip
_PARTS = ("token_embedding", "position_embedding", "type_embedding")
_CLOSE = 1e-4  # of the largest number: float32, in another order


class Head(NamedTuple):
    """One head: its arrays without a head axis, vectors and numbers as matrices of one row, in
    float64; `visible` holds 1 and 0. `crosses`: the keys are another stack's."""

    arrays: Mapping[str, np.ndarray]
    scale: float
    soft_cap: float
    crosses: bool

    def of(self, name: str) -> np.ndarray:
        """An array by its name."""
        return self.arrays[name]

    def has(self, *names: str) -> bool:
        return all(name in self.arrays for name in names)

    @property
    def source(self) -> str:
        """What the queries, and in self-attention the keys and values, are made from."""
        return "normed" if self.has("normed") else "x"


class Recipe(NamedTuple):
    """How an array is made of its `inputs`: each a name, and which of its cells one cell needs.

    These are: the same `cell`, its `row`, its `column`, the row that the `other` index counts, the
    cell of a single row at the `foot` of its column, or `all`.
    """

    array: str
    inputs: tuple[tuple[str, str], ...]
    make: Callable[[Head], np.ndarray]

    @property
    def step(self) -> int:
        return vocabulary.ARRAYS[self.array].step

    def cells(self, row: int, column: int) -> list[tuple[str, tuple[int | slice, int | slice]]]:
        """The cells of each input that a cell needs."""
        every = slice(None)
        places: dict[str, tuple[int | slice, int | slice]] = {
            "cell": (row, column), "row": (row, every), "column": (every, column),
            "other": (column, every), "foot": (0, column), "all": (every, every),
        }  # fmt: skip
        return [(name, places[which]) for name, which in self.inputs]


def head_of(block: Attention) -> Head:
    """The head of a block of which no other was traced."""
    arrays = {}
    for name in filter(block.arrays.__contains__, NEEDS):
        values, axes = block.arrays[name], vocabulary.ARRAYS[name].axes
        if axes[0] in ("head", "kv_head"):
            (values,) = values
        arrays[name] = np.atleast_2d(np.asarray(values, np.float64))
    return Head(arrays, block.scale, block.soft_cap, block.address.crosses)


def recipes(head: Head) -> list[Recipe]:
    """Those that give this head's own numbers, in the order of the steps.

    What a family does between two arrays, such as a rotation, has none.
    """
    with np.errstate(all="ignore"):
        return [one for one in _every(head) if _gives(one, head)]


def _every(head: Head) -> Iterator[Recipe]:
    parts = [name for name in _PARTS if head.has(name)]
    if parts:
        yield Recipe("x", tuple((name, "cell") for name in parts), partial(_sum, names=parts))
    for letter in "qkv":
        source = "key_x" if head.crosses and letter != "q" else head.source
        bias = ((f"b_{letter}", "foot"),) if head.has(f"b_{letter}") else ()
        inputs = ((source, "row"), (f"w_{letter}", "column"), *bias)
        yield Recipe(letter, inputs, partial(linear, letter=letter, source=source))
    terms = [name for name in vocabulary.TERMS if head.has(name)]
    if terms:
        yield Recipe("scores", tuple((name, "cell") for name in terms), partial(_sum, names=terms))
    else:
        yield Recipe("scores", (("q", "row"), ("k", "other")), lambda h: h.of("q") @ h.of("k").T)
    bias = (("bias", "cell"),) if head.has("bias") else ()
    yield Recipe("scaled", (("scores", "cell"), *bias), scaled)
    sink = (("sink", "all"),) if head.has("sink") else ()
    yield Recipe("weights", (("scaled", "row"), ("visible", "row"), *sink), weights)
    yield Recipe("z", (("weights", "row"), ("v", "column")), lambda h: h.of("weights") @ h.of("v"))
    yield Recipe(
        "head_output", (("z", "row"), ("w_o", "column")), lambda h: h.of("z") @ h.of("w_o")
    )


def _gives(recipe: Recipe, head: Head) -> bool:
    """Whether a recipe gives what the model has computed."""
    if not head.has(recipe.array, *(name for name, _ in recipe.inputs)):
        return False
    known = head.of(recipe.array)
    size = np.abs(known[np.isfinite(known)]).max(initial=1.0)
    try:
        made = recipe.make(head)
    except ValueError:  # shapes that do not fit: the model has something between the two
        return False
    return made.shape == known.shape and np.allclose(
        made, known, rtol=0, atol=_CLOSE * size, equal_nan=True
    )


def _sum(head: Head, names: list[str]) -> np.ndarray:
    return sum(head.of(name) for name in names)


def linear(head: Head, letter: str, source: str) -> np.ndarray:
    """Queries, keys or values: source · W, and the bias if there is one."""
    bias = head.of(f"b_{letter}") if head.has(f"b_{letter}") else 0.0
    return head.of(source) @ head.of(f"w_{letter}") + bias


def scaled(head: Head) -> np.ndarray:
    """Scores times the scale, bent by a soft cap and with a bias where there are."""
    found, cap = head.of("scores") * head.scale, head.soft_cap
    found = cap * np.tanh(found / cap) if cap else found
    return found + head.of("bias") if head.has("bias") else found


def weights(head: Head) -> np.ndarray:
    """Each row's softmax over the keys that are visible, and the sink if there is one."""
    return softmax(head.of("scaled"), head.of("visible"), head.arrays.get("sink"))


def softmax(scores: np.ndarray, visible: np.ndarray, sink: np.ndarray | None = None) -> np.ndarray:
    """Row by row; a row that sees nothing gives zeros."""
    found = np.where(visible > 0, scores, -np.inf)
    extra = np.broadcast_to(-np.inf if sink is None else sink, (len(found), 1))
    top = np.maximum(found.max(axis=1, keepdims=True), extra)
    top = np.where(np.isneginf(top), 0.0, top)
    powers = np.exp(found - top)
    total = powers.sum(axis=1, keepdims=True) + np.exp(extra - top)
    return powers / np.where(total == 0, 1.0, total)
