"""What a learner watches while a model trains: one head's attention forming, one word moving."""

from typing import NamedTuple

import numpy as np

from attn_cli.errors import UsageError
from attn_cli.maths import masks
from attn_cli.maths.masks import Visible
from attn_cli.training.data import Corpus
from attn_cli.training.model import Parameters, forward

_NEIGHBOURS = 5


class Watch(NamedTuple):
    """A prompt with one of its tokens, and a word; all as ids. Without a prompt `ids` is empty."""

    ids: np.ndarray  # (position,)
    key: int  # the position in the prompt that its last token is watched to look at
    word: int  # the id whose embedding is watched, -1 for none
    candidates: np.ndarray  # the ids that can be its neighbours


class Neighbour(NamedTuple):
    """A token and the cosine of its embedding with the watched one's."""

    text: str
    cosine: float


def watch(corpus: Corpus, *, prompt: str, key: str, word: str) -> Watch:
    """The watched texts as ids of `corpus`. Raises UsageError if one of them is not in it.

    An empty prompt or word is not watched. A key that occurs twice means its last occurrence.
    """
    tokens = corpus.tokenizer.encode(prompt)
    # Pieces that the corpus never uses are trained by nothing, so they are nobody's neighbours.
    used = np.unique(corpus.ids)
    word_id = corpus.tokenizer.id_of(word) if word else -1
    wanted = [(token.text, token.id) for token in tokens] + ([(word, word_id)] if word else [])
    for text, id in wanted:
        if id not in used:
            what = f"the corpus has no {text!r}, so it cannot be watched"
            raise UsageError(what, "watch words that the corpus has")
    places = [place for place, token in enumerate(tokens) if token.text == key]
    if tokens and not places:
        raise UsageError(
            f"the watched prompt has no token {key!r}",
            "its tokens are " + " ".join(token.text for token in tokens),
        )
    return Watch(
        ids=np.array([token.id for token in tokens], dtype=np.int64),
        key=places[-1] if places else -1,
        word=word_id,
        candidates=used[(used != word_id) & (used != corpus.end)],
    )


def watchable(corpus: Corpus, text: str) -> bool:
    """Whether every token of `text` stands in the corpus."""
    used = set(corpus.ids.tolist())
    return all(token.id in used for token in corpus.tokenizer.encode(text))


def attention_to_key(
    parameters: Parameters, watched: Watch, heads: int, mask: Visible = masks.causal
) -> np.ndarray:
    """(layer, head): the weight with which the prompt's last token attends to the watched key."""
    if not watched.ids.size:
        return np.zeros((0, 0), np.float32)
    blocks = forward(parameters, watched.ids[None], heads=heads, mask=mask).blocks
    return np.stack([block.weights[0, :, -1, watched.key] for block in blocks])


def neighbours(embeddings: np.ndarray, watched: Watch, corpus: Corpus) -> tuple[Neighbour, ...]:
    """The tokens whose embeddings point most nearly in the watched word's direction, nearest first.

    cos(a, b) = a·b / (|a| |b|).
    """
    if watched.word < 0:
        return ()
    own, others = embeddings[watched.word], embeddings[watched.candidates]
    lengths = np.sqrt((others * others).sum(axis=-1)) * np.sqrt(own @ own)
    cosines = (others @ own) / np.maximum(lengths, np.finfo(lengths.dtype).tiny)
    nearest = np.argsort(-cosines, kind="stable")[:_NEIGHBOURS]
    pairs = zip(watched.candidates[nearest].tolist(), cosines[nearest].tolist(), strict=True)
    return tuple(Neighbour(corpus.tokenizer.token(id).text, cosine) for id, cosine in pairs)
