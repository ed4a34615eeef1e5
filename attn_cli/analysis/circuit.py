"""What one head's two matrices say of tokens: which attract which, and what is copied."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from attn_cli import room, session, vocabulary
from attn_cli.analysis import low_rank
from attn_cli.analysis.low_rank import Matrices
from attn_cli.candidates import likeliest
from attn_cli.errors import ContentError
from attn_cli.maths import cores
from attn_cli.maths.tiles import MADE
from attn_cli.model.family import Model
from attn_cli.reading import token_of
from attn_cli.records import Address, Attention, Passed, Prompt

_DIRECTIONS, _TOP, _PAIRS, _TOKENS = 3, 5, 20, 64


class LowRank(NamedTuple):
    """A model × model matrix: its rank, Frobenius norm and singular values, largest first."""

    rank: int
    norm: float
    singular_values: tuple[float, ...]


class Direction(NamedTuple):
    """One singular direction of W_QK, and the tokens of the vocabulary that lie most along it.

    `share` is that of its squared singular value in the sum of all. A query like `queries` scores
    high with a key like `keys`; both may be turned round together.
    """

    singular_value: float
    share: float
    queries: tuple[str, ...]
    keys: tuple[str, ...]


class Attraction(NamedTuple):
    """A query token with a key token, their `score`, × scale, and that with the roles changed."""

    query: str
    key: str
    score: float
    reverse: float


class Copied(NamedTuple):
    """What looking at a token makes likelier, most first; `rank` is its own among all tokens."""

    token: str
    rank: int
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Circuit:
    """W_QK and W_OV of one head.

    `folded`: the weight of the norm before the attention is in both. Where they lead `through`
    latents, so are the weights of their norms, whose roots are left out, and W_QK is of the first
    `unrotated` dimensions of a head alone (0: of all). `symmetric` is the share of
    W_QK's symmetric part in its squared Frobenius norm: 1 is symmetric, 0 antisymmetric, a random
    matrix ½. `copying` is Σ λ / Σ |λ| over the eigenvalues of W_OV (Elhage et al. 2021).
    `attractions` are the largest scores among the prompt's tokens, biases included, positions left
    out; of its different tokens the first `most` count, here and in `copies`. Where token vectors
    cannot be read so, `directions` and `attractions` are empty, and where nothing is predicted
    `copies` is.
    """

    stack: str
    kind: str
    layer: int
    head: int
    kv_head: int
    provenance: str
    folded: bool
    scale: float
    most: int
    qk: LowRank
    symmetric: float
    ov: LowRank
    copying: float
    directions: tuple[Direction, ...]
    attractions: tuple[Attraction, ...]
    copies: tuple[Copied, ...]
    through: tuple[str, ...] = ()
    unrotated: int = 0


def circuit_steps(
    model: Model, prompt: Prompt, place: Address, head: int, max_memory: int = 0
) -> Generator[Passed, None, Circuit]:
    """The matrices of one head and what they do with a prompt's tokens; yields each layer that is
    done, since a layer's parameters come with its record.

    Raises ContentError for what needs more than `max_memory` (see `session.trace`), and for numbers
    that are none.
    """
    request = session.request_for(
        prompt, blocks=frozenset({place}), heads={place.stack: (head,)}, whole=False,
        arrays=low_rank.NEEDS, positions={(place.stack, place.kind): ((0,), (0,))},
    )  # fmt: skip
    # Each token along the directions, and the logits of each token's value.
    of_token = 8 * 2 * _DIRECTIONS + 4 * min(_TOKENS, len(prompt.last.tokens))
    made = room.Made(bytes=of_token * model.facts.vocabulary)
    room.check(model, prompt, request, max_memory, made=made)
    blocks, _ = yield from session.running(model, prompt.last.ids, request)
    return _circuit(model, prompt, blocks[place], head)


@np.errstate(all="ignore")
def _circuit(model: Model, prompt: Prompt, block: Attention, head: int) -> Circuit:
    group = model.facts.group_of(block.stack)
    of = low_rank.matrices(block, head, group)
    if not all(np.isfinite(matrix).all() for matrix in (*of.matched, *of.moved)):
        raise ContentError(
            f"the matrices of head {block.layer}.{head} hold NaN or infinite numbers, and have no "
            "singular values",
            "attn trace --parameters shows them",
        )
    w_q, w_k = of.matched
    matches, taken = low_rank.svd(w_q, w_k.T), low_rank.svd(*of.moved)
    sides = prompt.sides(block.stack, block.kind)
    queries, keys = (tuple(dict.fromkeys(side.ids))[:_TOKENS] for side in sides)
    readable = readable_tokens(model)
    predicts = readable and model.facts.predicts and block.stack == model.facts.stack
    return Circuit(
        stack=block.stack,
        kind=block.kind,
        layer=block.layer,
        head=head,
        kv_head=head // group,
        provenance=vocabulary.DERIVED,
        folded=of.folded,
        scale=block.scale,
        most=_TOKENS,
        qk=_low_rank(matches, model),
        symmetric=low_rank.symmetric_share(w_q, w_k.T),
        ov=_low_rank(taken, model),
        copying=low_rank.copying(*of.moved),
        directions=_directions(model, matches) if readable else (),
        attractions=_attractions(model, of, queries, keys, block.scale) if readable else (),
        copies=_copies(model, of, keys) if predicts else (),
        through=tuple(n for n, one in (("q_latent", of.q), ("kv_latent", of.k)) if one.latent),
        unrotated=of.k.latent.width if of.k.latent else 0,
    )


def readable_tokens(model: Model) -> bool:
    """Whether a token's row of the embedding is a vector of the model's width."""
    return model.weights.tensor(model.family.embedding).shape[1] == model.facts.model_width


def _low_rank(of: low_rank.Svd, model: Model) -> LowRank:
    rank = low_rank.rank(of.s, model.facts.model_width)
    return LowRank(rank, float(np.linalg.norm(of.s)), tuple(of.s.tolist()))


def _vectors(model: Model, rows: np.ndarray) -> np.ndarray:
    """Rows of the embedding as the model's norm scales them, without its weight."""
    vectors = rows.astype(np.float64)
    if model.facts.norm == "layer":
        vectors -= vectors.mean(axis=-1, keepdims=True)
    return vectors / np.sqrt((vectors**2).mean(axis=-1, keepdims=True) + model.facts.epsilon)


def _of_ids(model: Model, ids: Sequence[int]) -> np.ndarray:
    return _vectors(model, model.weights.rows(model.family.embedding, ids))


def _texts(model: Model, ids: np.ndarray) -> tuple[str, ...]:
    return tuple(token_of(model, int(id)).text for id in ids)


def _directions(model: Model, of: low_rank.Svd) -> tuple[Direction, ...]:
    """The first singular directions, each with the tokens at its clearer end."""
    count = min(_DIRECTIONS, len(of.s))
    table = model.weights.map(model.family.embedding.removesuffix(".weight"))
    sides = np.concatenate([of.u[:, :count], of.vt[:count].T], axis=1)
    along_VD = np.empty((table.outputs, 2 * count))

    def work(some: slice) -> None:
        along_VD[some] = _vectors(model, table.rows(some)) @ sides
        if table.release:
            table.release(some)

    together = MADE // 2 // model.facts.model_width  # rows, of which copies in float64 are made
    cores.spread(work, table.outputs, max(1, together))
    whole, found = float((of.s**2).sum()), []
    for place in range(count):
        queries, keys = along_VD[:, place], along_VD[:, count + place]
        sign = 1 if queries.max() >= -queries.min() else -1
        tops = (_texts(model, likeliest(sign * side, _TOP)) for side in (queries, keys))
        value = float(of.s[place])
        found.append(Direction(value, value**2 / whole, *tops))
    return tuple(found)


def _attractions(
    model: Model, of: Matrices, queries: Sequence[int], keys: Sequence[int], scale: float
) -> tuple[Attraction, ...]:
    """The pairs with the largest scores, most first."""
    both = list(dict.fromkeys((*queries, *keys)))
    vectors = _of_ids(model, both)
    scores = of.q.of(vectors) @ of.k.of(vectors).T * scale
    at = {id: place for place, id in enumerate(both)}
    pairs = [(query, key) for query in queries for key in keys]
    pairs.sort(key=lambda pair: -np.nan_to_num(scores[at[pair[0]], at[pair[1]]]))
    return tuple(
        Attraction(
            token_of(model, query).text,
            token_of(model, key).text,
            float(scores[at[query], at[key]]),
            float(scores[at[key], at[query]]),
        )
        for query, key in pairs[:_PAIRS]
    )


def _copies(model: Model, of: Matrices, keys: Sequence[int]) -> tuple[Copied, ...]:
    """What each token's value, through the last norm and the output matrix, makes likelier."""
    w_v, w_o = of.moved
    written = (_of_ids(model, keys) @ w_v @ w_o).astype(np.float32)
    return tuple(
        Copied(
            token_of(model, id).text,
            1 + int((logits > logits[id]).sum()),
            _texts(model, likeliest(logits, _TOP)),
        )
        for id, logits in zip(keys, session.predict(model, written), strict=True)
    )
