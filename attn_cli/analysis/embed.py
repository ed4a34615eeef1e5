"""Where words stand in the embedding: whose vectors point the same way, and what differences do.

Mikolov et al. 2013, "Linguistic Regularities in Continuous Space Word Representations", for vectors
as the model has them, not scaled to one length.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from attn_cli import parse, room, vocabulary
from attn_cli.candidates import likeliest
from attn_cli.errors import ContentError, UsageError, shorten
from attn_cli.maths.directions import compared, cosine, cosines, length
from attn_cli.model.family import Model
from attn_cli.model.nonfinite import count_in
from attn_cli.model.weights import NOTHING
from attn_cli.notes import model_notes
from attn_cli.reading import given, looked_up, token_of
from attn_cli.records import Prompt
from attn_cli.tokens.token import Token
from attn_cli.words import Note, note

SAMPLE = "father - man + woman"
_OF_TOKEN = 6 * 8  # bytes: what it has with the sum, in float64, and what ranks it
_LONGEST = 100_000  # characters of an expression
_SIGNS = re.compile(r"(?<=\w) ?([+-]) ?(?=\w)")


class Term(NamedTuple):
    """A word that is added, or taken away where `sign` is −1, and the token that stands for it.

    `pieces` are all its tokens, of which the last stands for it; `other` is the token of the same
    word without a leading space, empty where there is none or it is that one. `length` is |v|.
    """

    sign: int
    word: str
    id: int
    token: str
    pieces: tuple[str, ...]
    other: str
    length: float


class Near(NamedTuple):
    """A token whose vector was compared: `rank` counts from 1 among all tokens of the model."""

    rank: int
    id: int
    token: str
    cosine: float
    dot: float
    length: float


class Analogy(NamedTuple):
    """`plus` − `minus` beside `answer` − `other`: how nearly the two differences are parallel."""

    plus: str
    minus: str
    answer: str
    other: str
    cosine: float


class Nearest(NamedTuple):
    """The tokens nearest to a sum of vectors, whose `length` is that of the sum.

    The terms themselves are not among the `nearest` but `left_out`, with the rank that they would
    have. There is one of `analogies` for a word minus one plus one. Directions need not mean
    anything in a model that is not `trained`.
    """

    provenance: str
    trained: bool
    terms: tuple[Term, ...]
    length: float
    nearest: tuple[Near, ...]
    left_out: tuple[Near, ...]
    analogies: tuple[Analogy, ...]


# --- what was typed ------------------------------------------------------------------------------


def expression(model: Model, text: str = SAMPLE, *, ids: Sequence[int] = ()) -> Prompt:
    """The tokens that stand for the words of an expression (see `parse.terms`), or those of ids.

    Raises UsageError for a word that the model has no token for.
    """
    if ids:
        tokens = tuple(given(model, id, "--ids") for id in ids)
        return Prompt(text="", has_text=False, tokens=tokens)
    if len(text) > _LONGEST:
        raise ContentError(f"the expression has more than {_LONGEST:,} characters", "shorten it")
    tokens = tuple(tokens_of(model, term)[-1] for term in parse.terms(text))
    return Prompt(text=text, has_text=True, tokens=tokens)


def tokens_of(model: Model, term: parse.Term) -> tuple[Token, ...]:
    """The tokens of a word: one, with its leading space if there is such a one, or its pieces."""
    word = term.word
    found = looked_up(model, (word,) if term.exact else (f" {word}", word))
    if not found:
        raise UsageError(
            f"{model.facts.name} has no token for {shorten(word)!r}",
            "another word, or another --model: attn embed looks words up in its vocabulary",
        )
    return min(found, key=len)


def _terms(model: Model, prompt: Prompt, lengths_T: np.ndarray) -> tuple[Term, ...]:
    known = model.tokenizer
    if not prompt.has_text:
        return tuple(
            Term(1, token.text, token.id, token.text, (token.text,), "", float(long))
            for token, long in zip(prompt.tokens, lengths_T, strict=True)
        )
    found = []
    for typed, token, long in zip(parse.terms(prompt.text), prompt.tokens, lengths_T, strict=True):
        bare = -1 if typed.exact else known.id_of(typed.word)
        pieces = tuple(piece.text for piece in tokens_of(model, typed))
        other = token_of(model, bare).text if bare not in (-1, token.id) else ""
        found.append(Term(typed.sign, typed.word, token.id, token.text, pieces, other, float(long)))
    return tuple(found)


# --- the answer ----------------------------------------------------------------------------------


@np.errstate(all="ignore")
def nearest(model: Model, prompt: Prompt, top: int = 5, max_memory: int = 0) -> Nearest:
    """The `top` tokens nearest to what an `expression` comes to, by cosine.

    The embedding is read some rows at a time. Raises UsageError where nothing is left of the sum,
    ContentError for what needs more than `max_memory` (see `session.trace`).
    """
    room.check_vocabulary(model, _OF_TOKEN, max_memory)
    family, weights = model.family, model.weights
    vectors_TM = weights.rows(family.embedding, prompt.ids)
    terms = _terms(model, prompt, length(vectors_TM))
    signs_T = np.array([term.sign for term in terms], vectors_TM.dtype)
    target_M = signs_T @ vectors_TM
    own = length(target_M)
    if own == 0:
        raise UsageError("nothing is left of the sum, so it points nowhere", "give other words")
    if not np.isfinite(own):
        raise ContentError("the vectors of these words are NaN or infinite", "other words")
    matrix = weights.map(family.embedding.removesuffix(".weight"))._replace(bias=NOTHING)
    (dots_V,), lengths_V = compared(target_M[None], matrix)
    weights.tensor(family.embedding).release()
    if not np.isfinite(lengths_V).all():
        count_in(weights, [family.embedding])
    near_V = cosines(dots_V, own, lengths_V)
    ids = list(dict.fromkeys(prompt.ids))
    ranked = likeliest(near_V, top + len(ids))
    ranks = {id: _rank(near_V, id) for id in ids}

    def near(id: int, rank: int) -> Near:
        numbers = (float(of[id]) for of in (near_V, dots_V, lengths_V))
        return Near(rank, id, token_of(model, id).text, *numbers)

    found = [near(int(id), place) for place, id in enumerate(ranked, 1) if id not in ids]
    return Nearest(
        provenance=vocabulary.DERIVED,
        trained=model.facts.trained,
        terms=terms,
        length=float(own),
        nearest=tuple(found[:top]),
        left_out=tuple(near(id, ranks[id]) for id in sorted(ids, key=ranks.__getitem__)),
        analogies=_analogies(model, terms, found[:1], vectors_TM),
    )


def _rank(near_V: np.ndarray, id: int) -> int:
    """The place of a token among all, the lowest id first among equals, NaN after all numbers."""
    near_V = np.where(np.isnan(near_V), -np.inf, near_V)
    return int((near_V > near_V[id]).sum() + (near_V[:id] == near_V[id]).sum()) + 1


def _analogies(
    model: Model, terms: Sequence[Term], found: Sequence[Near], vectors_TM: np.ndarray
) -> tuple[Analogy, ...]:
    """a − b beside the answer − c, for a − b + c in any order."""
    plus = [place for place, term in enumerate(terms) if term.sign > 0]
    minus = [place for place, term in enumerate(terms) if term.sign < 0]
    if (len(plus), len(minus), len(found)) != (2, 1, 1):
        return ()
    (first, other), (away,) = plus, minus
    (answer_M,) = model.weights.rows(model.family.embedding, [found[0].id])
    parallel = cosine(vectors_TM[first] - vectors_TM[away], answer_M - vectors_TM[other])
    names = (terms[first].token, terms[away].token, found[0].token, terms[other].token)
    return (Analogy(*names, parallel),)


def embed_notes(model: Model, found: Nearest) -> tuple[Note, ...]:
    """What a document says beside its numbers: of the model, of words of several tokens."""
    pieces = [pieces_note(model, term.word, term.pieces) for term in found.terms]
    signs = [note for term in found.terms for note in _signs_notes(term)]
    return (*model_notes(model), *(said for said in pieces if said), *signs)


def _signs_notes(term: Term) -> Iterator[Note]:
    """That a word of several tokens with a sign in it may have been meant as a sum."""
    if len(term.pieces) > 1 and _SIGNS.search(term.word):
        meant = " ".join(_SIGNS.sub(r" \1 ", term.word).split())
        yield note("embed.signs", word=repr(shorten(term.word)), sum=f'"{shorten(meant)}"')


def pieces_note(model: Model, word: str, pieces: Sequence[str]) -> Note | None:
    """That the last of several tokens stands for a word."""
    if len(pieces) < 2:
        return None
    told = {"word": repr(shorten(word)), "count": len(pieces), "pieces": shorten("|".join(pieces))}
    return note("embed.pieces", model=model.facts.name, **told)
