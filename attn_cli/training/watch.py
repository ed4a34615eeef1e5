"""What a learner watches while a model trains: one head's attention forming, one word moving."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from attn_cli.errors import UsageError, shorten
from attn_cli.maths.directions import compared, cosines, length
from attn_cli.maths.products import of_matrix
from attn_cli.tokens.token import Token
from attn_cli.training.corpus import Corpus
from attn_cli.training.layers import Attention
from attn_cli.training.settings import TrainingSettings

_NEIGHBOURS = 5


class Watch(NamedTuple):
    """A prompt with two of its tokens, and a word; all as ids. Without a prompt `ids` is empty."""

    ids: np.ndarray  # (position,)
    query: int  # the position in the prompt that is watched
    key: int  # the one that it may come to look at
    word: int  # the id whose embedding is watched, -1 for none
    candidates: np.ndarray  # the ids that can be its neighbours


class Neighbour(NamedTuple):
    """A token and the cosine of its embedding with the watched one's."""

    text: str
    cosine: float


def watch(corpus: Corpus, settings: TrainingSettings) -> Watch:
    """The watched texts as ids of `corpus`. Raises UsageError if one of them is not in it.

    An empty prompt or word is not watched. A key or a query that occurs twice means its last
    occurrence, an empty query the prompt's last token.
    """
    word, known = settings.watched_word, corpus.tokenizer
    tokens = known.encode(settings.watched_prompt, special=False)
    # Pieces that the corpus never uses are trained by nothing, so they are nobody's neighbours.
    used = corpus.used
    word_id = known.id_of(word) if word else -1
    wanted = [(token.text, token.id) for token in tokens] + ([(word, word_id)] if word else [])
    for text, id in wanted:
        if id not in used:
            what = f"the corpus has no {shorten(text)!r}, so it cannot be watched"
            raise UsageError(what, "watch words that the corpus has")
    key = place(tokens, settings.watched_key)
    query = place(tokens, settings.watched_query) if settings.watched_query else len(tokens) - 1
    special = np.array([known.token(id).special for id in used.tolist()])
    return Watch(
        ids=np.array([token.id for token in tokens], dtype=np.int64),
        query=query,
        key=key,
        word=word_id,
        candidates=used[(used != word_id) & ~special],
    )


def place(tokens: Sequence[Token], text: str) -> int:
    """Where `text` stands last in a watched prompt, -1 if that is empty. Raises UsageError."""
    places = [at for at, token in enumerate(tokens) if token.text == text]
    if tokens and not places:
        raise UsageError(
            f"the watched prompt has no token {shorten(text)!r}",
            "its tokens are " + " ".join(token.text for token in tokens),
        )
    return places[-1] if places else -1


def watchable(corpus: Corpus, text: str) -> bool:
    """Whether every token of `text` stands in the corpus."""
    used = set(corpus.used.tolist())
    return all(token.id in used for token in corpus.tokenizer.encode(text, special=False))


def shares(attentions: Sequence[Attention], watched: Watch) -> np.ndarray:
    """(layer, head): the weight that the watched query gives to the key, in the first row."""
    return np.stack([found.weights[0, :, watched.query, watched.key] for found in attentions])


def neighbours(embeddings: np.ndarray, watched: Watch, corpus: Corpus) -> tuple[Neighbour, ...]:
    """The tokens whose embeddings point most nearly in the watched word's direction, nearest first.

    cos(a, b) = a·b / (|a| |b|).
    """
    if watched.word < 0:
        return ()
    own = embeddings[[watched.word]]
    dots, lengths = compared(own, of_matrix(embeddings[watched.candidates].T))
    near = cosines(dots[0], length(own), lengths)
    nearest = np.argsort(-near, kind="stable")[:_NEIGHBOURS]
    pairs = zip(watched.candidates[nearest].tolist(), near[nearest].tolist(), strict=True)
    return tuple(Neighbour(corpus.tokenizer.token(id).text, cosine) for id, cosine in pairs)
