"""The frozen records of a trace: what every command reads and every format writes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from attn_cli import vocabulary
from attn_cli.maths.kept import Blocks
from attn_cli.maths.masks import Reach
from attn_cli.prompt import Prompt
from attn_cli.routing import Experts
from attn_cli.words import Note


class Address(NamedTuple):
    """Where an attention block stands: in a stack, self- or cross-attention, of a layer."""

    stack: str
    kind: str
    layer: int

    @property
    def crosses(self) -> bool:
        """Whether the keys are another stack's."""
        return self.kind == "cross"

    @property
    def key_stack(self) -> str:
        """The stack whose vectors the keys are made from."""
        return "encoder" if self.crosses else self.stack

    @property
    def both_sides(self) -> bool:
        """Whether the stack reads a text in both directions."""
        return self.stack == "encoder"

    @property
    def causal(self) -> bool:
        """Whether the model itself hides later keys from every query."""
        return not self.crosses and not self.both_sides


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attention:
    """One attention block, that of an `Address`: the chosen heads of one layer.

    `arrays` maps names of `vocabulary.ARRAYS` to read-only arrays with the axes given there, and
    each is an attribute too: `block.weights` is `block.arrays["weights"]`, axes (head, query, key).
    Head axes keep only `heads`, kv_head axes only `kv_heads`, in that order; rows and columns are
    the positions in `queries` and `keys`, but arrays (query, key) have only the queries `rows`
    where that is not empty. `reach` is the whole mask's, None where that is not known. `what_if`
    names the arrays that a changed mask, attention temperature or head has touched; the others are
    real.
    `scaled` is scores × `scale`, bent by a `soft_cap` if that is not 0, and with `bias` added.
    `removed` are the heads of the layer that `--without-head` took away, `blind` the queries that
    see no key. `measures` (head, query) are of all heads and queries, and with them come
    `value_lengths` (head, key), ‖v·W_O‖, and, if `head_output` was asked for, `sum_error`, max |Σ
    head_output + bias − output| over all of these. `shown` are numbers that only pages tell: the
    `angles` (query, pair) by which q and k rotate and the `attention_factor` that lengthens them,
    the `query_factor` (query) that q is multiplied by after that, what the norms of queries and
    keys add (`q_norm_bias`, `k_norm_bias`: head, width), and, if `mlp_output` was asked for, what
    `attention`, after self-attention `cross`, `convolution` (to `inner`) and `mlp` add to the
    stream, what the network reads if that is a norm (`middle`), and the next layer's `x`; then
    `norms` (norm, 2, model) are the weight and the bias of each norm that follows a sum in the
    layer, in order.
    """

    stack: str
    kind: str
    layer: int
    heads: tuple[int, ...]
    kv_heads: tuple[int, ...]
    queries: tuple[int, ...]
    keys: tuple[int, ...]
    rows: tuple[int, ...] = ()
    scale: float
    soft_cap: float = 0.0
    removed: tuple[int, ...] = ()
    arrays: Mapping[str, np.ndarray]
    measures: Mapping[str, np.ndarray] = field(default_factory=dict)
    blind: tuple[int, ...] = ()
    reach: Reach | None = None
    sum_error: float = math.nan
    value_lengths: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    shown: Mapping[str, np.ndarray] = field(default_factory=dict)
    norms: np.ndarray = field(default_factory=lambda: np.zeros((0, 2, 0), np.float32))
    what_if: frozenset[str] = frozenset()

    def __getattr__(self, name: str) -> np.ndarray:
        try:
            return self.arrays[name]
        except KeyError:
            known = ", ".join(self.arrays)
            raise AttributeError(f"no array {name!r} in this block; it has {known}") from None

    @property
    def address(self) -> Address:
        """Which of a model's attention blocks this is."""
        return Address(self.stack, self.kind, self.layer)

    def provenance(self, name: str) -> str:
        """`real`, or `what-if` where a changed setting has touched the array."""
        return vocabulary.WHAT_IF if name in self.what_if else vocabulary.REAL


class Mixed(NamedTuple):
    """A layer that has something else in place of attention, `what` of `vocabulary.MIXERS`, for who
    splits the stream at some positions, (position, model): what entered it, what this and what the
    feed-forward network added, and what left it.
    """

    stack: str
    layer: int
    what: str
    x: np.ndarray
    added: np.ndarray
    mlp: np.ndarray
    leaving: np.ndarray

    @property
    def address(self) -> Address:
        """Where attention would stand."""
        return Address(self.stack, "self", self.layer)


class Passed(NamedTuple):
    """A layer that a pass of so many tokens is done with, of the `layers` of its stack.

    Of the `size` bytes of all weights it has `read` so many. Where many passes are one work, their
    layers are counted on, as if they were those of a stack `passes`. `experts` says where its
    tokens were routed to, if it is a mixture whose attention is recorded. Of what the layer gives
    so many numbers are NaN or infinite (`nonfinite`).
    """

    stack: str
    layer: int
    layers: int
    tokens: int
    read: int
    size: int
    experts: Experts | None = None
    nonfinite: int = 0


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ending:
    """How a prediction comes about, for pages: from the last layer's vector to every token's score.

    `x` (model) at its position; `final` (model) after the last norm, of which `w_norm` and `b_norm`
    are the parameters (size 0 where there is none); `vectors` (candidate, model) the candidates'
    rows of the output matrix, and (candidate) their `biases`, size 0 where there are none. With the
    largest logit `top`, `total` is Σ e^(logit − top) over the vocabulary; `others` counts the
    tokens that are no candidates, `share` is their probability.
    """

    x: np.ndarray
    final: np.ndarray
    w_norm: np.ndarray
    b_norm: np.ndarray
    vectors: np.ndarray
    biases: np.ndarray
    top: float
    total: float
    others: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A model in numbers, and what a page says of it: documents have those up to `encoder`, and
    under `facts` each of the others that is not as it is here.

    Of a model whose document has no `facts` they are not known: `partial` says so.
    """

    name: str
    family: str
    source: str
    # Of the stack that predicts.
    layers: int
    heads: int
    kv_heads: int
    model_width: int
    head_width: int
    vocabulary: int
    context: int  # 0: unbounded
    parameters: int
    encoder: tuple[int, ...] = ()  # (layers, heads) of the other stack, where there are two
    stack: str = "decoder"
    partial: bool = False

    # What is done with it.
    trained: bool = True
    by_hand: bool = False  # whether its numbers were chosen one by one; it is not trained then
    sample: str = vocabulary.SAMPLE_PROMPT  # the prompt where none is given
    quantised: str = ""  # in words, how weights are kept
    unpacked: bool = False  # whether that is said and the file has plain numbers
    rounds_inputs: bool = False  # whether the library they are for rounds what enters a matrix too
    adapter: str = ""  # the path of what changes them
    predicts: bool = True  # whether there is an output matrix
    masked: bool = False  # whether it fills mask tokens instead of predicting the next
    start: int = -1  # the token that a decoder's text starts with where the prompt is the encoder's

    # What enters: words of `vocabulary.EMBEDDINGS` and `POSITIONS`.
    embedding: str = "token"
    embedding_factor: float = 1.0  # multiplies the token's vector
    positions: str = "none"
    bounded: bool = False  # whether the model has nothing for positions beyond the context
    rotated: int = 0  # how many of a head's dimensions rotate,
    rotated_from: int = 0  # after so many that do not,
    interleaved: bool = False  # and whether neighbours are a pair (see `maths.Rotary`)
    unrotated: tuple[int, ...] = ()  # layers that do not rotate where others do
    attention_factors: tuple[float, ...] = ()  # on what is rotated, layer by layer,
    longer: tuple[int, float] = (0, 1.0)  # but in a text of more tokens, if not 0, this one
    grown: bool = False  # whether rotated queries also grow with their position
    slopes: tuple[float, ...] = ()  # of ALiBi, head by head
    alibi: str = "position"  # what they multiply, of `vocabulary.ALIBIS`

    # Norms: words of `vocabulary.NORMS` and `HEAD_NORMS` (of queries and keys).
    norm: str = "layer"
    affine: bool = True  # whether norms have a weight
    norm_bias: bool = True
    norm_base: float = 0.0  # what a stored weight is added to
    epsilon: float = 0.0
    head_norm: str = ""
    last_norm: str = ""  # its name, "" where there is none

    # Attention.
    clipped: float = 0.0  # the largest number left in q, k and v, after a norm
    windowed: bool = False  # whether the mask of a layer is a window
    sinks: bool = False  # whether every row of scores has one more, which is no key's
    kv_latent: int = 0  # how wide the latents of keys and values are,
    q_latent: int = 0  # and those of queries; 0: none
    value_width: int = 0  # of a head; 0: as its keys
    mixers: tuple[str, ...] = ()  # instead of attention, layer by layer (`vocabulary.MIXERS`)

    # What is added to the stream, of `vocabulary.RESIDUALS`.
    residual: str = "added"
    norm_first: bool = True  # where that is `normed`: whether a norm stands before each part too
    residual_factor: float = 1.0  # multiplies all that is added
    parallel: bool = False  # whether the feed-forward network reads the layer's x, not its sum
    shared_norm: bool = False  # and does so through the attention's norm
    experts: tuple[int, ...] = ()  # in a layer; those a token passes; those every token passes
    expert_groups: tuple[int, ...] = ()  # in how many of how many groups they stand
    corrected: bool = False  # whether they are chosen by corrected scores

    # Logits.
    transform: str = ""  # the activation of a head that is a map, an activation and a norm
    logit_scale: float = 1.0
    logit_cap: float = 0.0

    @property
    def settings(self) -> dict[str, Any]:
        """What was asked of the model beside its name, as documents record it."""
        return {"adapter": self.adapter} if self.adapter else {}

    @property
    def encodes(self) -> bool:
        """Whether an encoder reads the prompt."""
        return bool(self.encoder) or not self.writes

    @property
    def writes(self) -> bool:
        """Whether the stack that predicts is a decoder, which writes the next token."""
        return self.stack == "decoder"

    def rotates(self, layer: int) -> bool:
        """Whether positions rotate the queries and keys of a layer."""
        return self.positions == "rotary" and layer not in self.unrotated

    def attention_factor(self, layer: int) -> float:
        """By how much rotation lengthens queries and keys of a layer."""
        return self.attention_factors[layer] if self.attention_factors else 1.0

    @property
    def reads_on(self) -> bool:
        """Whether there are positions beyond the context: they are no rows of a table."""
        rows = self.positions == "disentangled" and self.embedding.startswith("sum")
        return self.positions != "learned" and not rows and not self.bounded

    @property
    def of_values(self) -> int:
        """How wide a head's values are."""
        return self.value_width or self.head_width

    @property
    def attentions(self) -> tuple[tuple[str, str], ...]:
        """The kinds of attention in each stack, (stack, kind), in computing order."""
        own = ((self.stack, "self"),)
        return (("encoder", "self"), *own, (self.stack, "cross")) if self.encoder else own

    def layers_of(self, stack: str) -> int:
        """How many layers a stack has."""
        return self.layers if stack == self.stack else self.encoder[0]

    def attending(self, stack: str) -> tuple[int, ...]:
        """The layers of a stack that have attention."""
        layers = range(self.layers_of(stack))
        mixers = self.mixers if stack == self.stack else ()
        return tuple(layer for layer in layers if not (mixers and mixers[layer]))

    def heads_of(self, stack: str) -> int:
        """How many heads each layer of a stack has."""
        return self.heads if stack == self.stack else self.encoder[1]

    def group_of(self, stack: str) -> int:
        """How many heads of a stack share one kv head."""
        return self.heads // self.kv_heads if stack == self.stack else 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace:
    """Everything one forward pass computed that was asked for.

    `experts` are of the layers of `attention` that are mixtures, and of the same queries. `logits`
    (prediction, vocabulary) has one row for each of `next`, and `ending` one entry if it was asked
    for.
    """

    model: Facts
    prompt: Prompt
    settings: Mapping[str, Any]
    attention: tuple[Attention, ...]
    experts: tuple[Experts, ...] = ()
    next: tuple[Prediction, ...] = ()
    notes: tuple[Note, ...] = ()
    logits: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    ending: tuple[Ending, ...] = ()

    def block(self, layer: int, *, stack: str = "", kind: str = "self") -> Attention:
        """A traced block, of the model's own stack unless one is named.

        Raises KeyError if it was not asked for.
        """
        wanted = Address(stack or self.model.stack, kind, layer)
        for block in self.attention:
            if block.address == wanted:
                return block
        raise KeyError(wanted)


def nonfinite(name: str, array: np.ndarray | Blocks) -> int:
    """How many numbers are NaN or infinite, the −∞ of a masked cell not counted."""
    if isinstance(array, Blocks):
        if array.finite:
            return 0
        array = array.whole()
    if array.dtype == bool:
        return 0
    # A sum is finite only if every number is; numbers too large to add up are counted one by one.
    with np.errstate(all="ignore"):
        if name != "masked" and math.isfinite(array.sum()):
            return 0
    count = array.size - int(np.isfinite(array).sum())
    return count - int(np.isneginf(array).sum()) if name == "masked" else count
