"""The frozen records of a trace: what every command reads and every format writes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from attn_cli import vocabulary
from attn_cli.maths.masks import Reach
from attn_cli.routing import Experts
from attn_cli.tokens.token import Token
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
    `sum_error`, max |Σ head_output + bias − output| over all of these, and `value_lengths` (head,
    key), ‖v·W_O‖. `shown` are numbers that only pages tell: the `angles` (query, pair) by which q
    and k rotate, the `query_factor` (query) that q is multiplied by after that, what the norms of
    queries and keys add (`q_norm_bias`, `k_norm_bias`: head, width), and, if `mlp_output` was asked
    for, what `attention`, after self-attention `cross`, `convolution` (to `inner`) and `mlp` add to
    the stream, what the network reads if that is a norm (`middle`), and the next layer's `x`; then
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


class Passed(NamedTuple):
    """A layer that a pass of so many tokens is done with, of the `layers` of its stack.

    Of the `size` bytes of all weights it has `read` so many. Where many passes are one work, their
    layers are counted on, as if they were those of a stack `passes`. `experts` says where its
    tokens were routed to, if it is a mixture whose attention is recorded.
    """

    stack: str
    layer: int
    layers: int
    tokens: int
    read: int
    size: int
    experts: Experts | None = None


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
    """A model in numbers, and what a page says of it. `layers` and `heads` are those of `stack`.

    `context` 0 means unbounded; `encoder` is (layers, heads) where there are two stacks, else ().
    The rest, not part of documents: `predicts`: whether there is an output matrix, and `masked`
    whether it fills mask tokens instead of predicting the next; `start`: the token that a decoder's
    text starts with where the prompt is the encoder's (-1: none); `transform`: the activation of a
    prediction head that is a map, an activation and a norm; the `logit_scale` on all logits;
    whether norms have a weight (`affine`) and a bias (`norm_bias`), their `epsilon`, what is added
    to their stored weights, the name of the last one (none: ""), the cap on the logits; words of
    `vocabulary.NORMS`, `EMBEDDINGS`, `RESIDUALS`, `POSITIONS` and `HEAD_NORMS` (of queries and
    keys); by what the token's vector is multiplied (`embedding_factor`), and by what all that is
    added to the stream (`residual_factor`); `parallel`: whether the feed-forward network reads the
    layer's x instead of its sum with the attention, and whether it does so through the attention's
    norm (`shared_norm`); the largest number that is left in q, k and v where they are `clipped`,
    after a norm; `bounded`: whether the model has nothing for positions beyond the context;
    `windowed`: whether the mask of a layer is a window; `sinks`: whether every row of scores has
    one more, which is no key's; how many of a head's dimensions are `rotated`, whether neighbours
    are a pair (`interleaved`; see `maths.rotate`), and the factor on them, layer by layer; the
    layers that are `unrotated` where others rotate; the `slopes` of ALiBi, head by head, and what
    they multiply (`alibi`, of `vocabulary.ALIBIS`); of a mixture how many `experts` a layer has,
    how many of them a token passes, and how many more every token passes; in words, how weights are
    `quantised`, and whether the library that they are for rounds what enters a matrix too
    (`rounds_inputs`); the path of the `adapter` that changes them. Of a model that is only known
    from a document these are not known, and `partial` says so.
    """

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
    stack: str = "decoder"
    trained: bool = True
    predicts: bool = True
    transform: str = ""
    logit_scale: float = 1.0
    masked: bool = False
    start: int = -1
    norm: str = "layer"
    affine: bool = True
    norm_bias: bool = True
    epsilon: float = 0.0
    norm_base: float = 0.0
    logit_cap: float = 0.0
    last_norm: str = ""
    head_norm: str = ""
    clipped: float = 0.0
    embedding: str = "token"
    embedding_factor: float = 1.0
    residual: str = "added"
    residual_factor: float = 1.0
    parallel: bool = False
    shared_norm: bool = False
    positions: str = "none"
    bounded: bool = False
    windowed: bool = False
    sinks: bool = False
    rotated: int = 0
    interleaved: bool = False
    unrotated: tuple[int, ...] = ()
    attention_factors: tuple[float, ...] = ()
    slopes: tuple[float, ...] = ()
    alibi: str = "position"
    experts: tuple[int, ...] = ()
    quantised: str = ""
    rounds_inputs: bool = False
    adapter: str = ""
    partial: bool = False

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

    @property
    def reads_on(self) -> bool:
        """Whether there are positions beyond the context: they are no rows of a table."""
        rows = self.positions == "disentangled" and self.embedding.startswith("sum")
        return self.positions != "learned" and not rows and not self.bounded

    @property
    def attentions(self) -> tuple[tuple[str, str], ...]:
        """The kinds of attention in each stack, (stack, kind), in computing order."""
        own = ((self.stack, "self"),)
        return (("encoder", "self"), *own, (self.stack, "cross")) if self.encoder else own

    def layers_of(self, stack: str) -> int:
        """How many layers a stack has."""
        return self.layers if stack == self.stack else self.encoder[0]

    def heads_of(self, stack: str) -> int:
        """How many heads each layer of a stack has."""
        return self.heads if stack == self.stack else self.encoder[1]

    def group_of(self, stack: str) -> int:
        """How many heads of a stack share one kv head."""
        return self.heads // self.kv_heads if stack == self.stack else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """Tokens and, unless only ids were given, the text they came from.

    `special`: the tokens that the tokenizer adds by itself were asked for. `chat` names the format
    of a user's turn, and `ends` are the ids that end the answer to it. The last `added` tokens are
    the model's own. `other_keys` are those of a JSON line that are not its text. Of two segments
    `pair` is the second's text and `types` the segment of each token. In an encoder–decoder the
    prompt is the encoder's and `target` what the decoder reads. Pages follow the token `follow`.
    `forced`: it may be longer than the context of the model's training.
    """

    text: str
    has_text: bool
    tokens: tuple[Token, ...]
    special: bool = True
    chat: str = ""
    ends: tuple[int, ...] = ()
    added: int = 0
    other_keys: Mapping[str, Any] = field(default_factory=dict)
    pair: str = ""
    types: tuple[int, ...] = ()
    target: "Prompt | None" = None
    follow: int = -1
    forced: bool = False

    @property
    def followed(self) -> int:
        """The position that pages follow."""
        return self.follow % len(self.tokens)

    def sides(self, stack: str, kind: str) -> tuple["Prompt", "Prompt"]:
        """What the queries and the keys of an attention are made from."""
        return self.of(stack), self if kind == "cross" else self.of(stack)

    def of(self, stack: str) -> "Prompt":
        """What a stack reads."""
        return self.target if self.target and stack == "decoder" else self

    @property
    def last(self) -> "Prompt":
        """What the stack that predicts reads."""
        return self.target or self

    def with_last(self, read: "Prompt") -> "Prompt":
        """The same, where the stack that predicts reads this instead."""
        return replace(self, target=read) if self.target else read

    @property
    def given(self) -> tuple[str, ...]:
        """The texts of the tokens that the model has not added."""
        return self.labels[: len(self.tokens) - self.added]

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(token.id for token in self.tokens)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(token.text for token in self.tokens)

    @property
    def settings(self) -> dict[str, Any]:
        """How the text was read, as documents record it."""
        pair = {"pair": self.pair} if self.types else {}
        forced = {"force_context": True} if self.forced else {}
        return {"special": self.special, "chat": self.chat or None, **pair, **forced}


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
