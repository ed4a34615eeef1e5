"""The corpus as token ids, how surprising each of its tokens has to be, and the batches drawn.

A sentence is one line of the corpus; its tokens are followed by the end token. Sentences are drawn
independently, so nothing but the sentence's own beginning can help to predict its next token.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from attn_cli.errors import ContentError
from attn_cli.tokens.wordpiece import WordPiece
from attn_cli.training.tokenizer import build

END = "<|endoftext|>"
_SHORTEST_ROW = 16


class Corpus(NamedTuple):
    """All sentences one after the other. Axes: token of the corpus; sentence."""

    contents: Mapping[str, Any]  # what tokenizer.json holds
    tokenizer: WordPiece
    end: int
    ids: np.ndarray  # (token,), the end tokens included
    starts: np.ndarray  # (sentence + 1,), where each sentence starts, and the end of the last
    surprise: np.ndarray  # (token,), nats: -log p(token | its sentence up to it)
    sha256: str

    @property
    def floor(self) -> float:
        """The entropy of the corpus in nats per token: no model can have a smaller mean loss."""
        return float(self.surprise.mean())


class Batch(NamedTuple):
    """One step's rows. Axes: row, position; `targets` are the next tokens of `ids`."""

    ids: np.ndarray
    targets: np.ndarray
    surprise: np.ndarray  # nats, of the targets

    @property
    def floor(self) -> float:
        """The mean loss, in nats, of a model that knows the corpus's distribution exactly."""
        return float(self.surprise.mean())


def read_corpus(text: str) -> Corpus:
    """The corpus of a text of one sentence per line, empty lines left out. ContentError if none."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise ContentError("the corpus is empty", "give a text file with one sentence per line")
    contents = build(lines)
    tokenizer = WordPiece(contents)
    end = tokenizer.id_of(END)
    distinct = {
        line: (*(token.id for token in tokenizer.encode(line)), end)
        for line in dict.fromkeys(lines)
    }
    sentences = [distinct[line] for line in lines]
    return Corpus(
        contents=contents,
        tokenizer=tokenizer,
        end=end,
        ids=np.array([id for sentence in sentences for id in sentence]),
        starts=np.cumsum([0, *map(len, sentences)]),
        surprise=surprises(sentences),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


def surprises(sentences: list[tuple[int, ...]]) -> np.ndarray:
    """-log p(token | the tokens of its sentence before it) in nats, one number per token.

    p is how many of the sentences that begin so go on with that token, found in a tree of all
    beginnings. A first token thus has the distribution of first tokens, whatever came before.
    Shannon 1951, "Prediction and Entropy of Printed English", equation 1.
    """
    children: dict[tuple[int, int], int] = {}
    count = [len(sentences)]
    paths = []
    for sentence in sentences:
        node = 0
        path = [0]
        for id in sentence:
            node = children.setdefault((node, id), len(count))
            if node == len(count):
                count.append(0)
            count[node] += 1
            path.append(node)
        paths.append(path)
    log_count = np.log(np.array(count))
    before = log_count[[node for path in paths for node in path[:-1]]]
    return before - log_count[[node for path in paths for node in path[1:]]]


def row_lengths(context: int) -> np.ndarray:
    """The lengths a row can have: powers of two from 16, and the context itself."""
    lengths = [_SHORTEST_ROW]
    while lengths[-1] * 2 < context:
        lengths.append(lengths[-1] * 2)
    return np.array([*(length for length in lengths if length < context), context])


def draw_batch(corpus: Corpus, *, seed: int, step: int, context: int, tokens: int) -> Batch:
    """Step `step`'s batch: `tokens` positions of sentences drawn uniformly, with replacement.

    It depends on the arguments only, so that a resumed run draws what an uninterrupted one draws.
    All rows have one length, drawn with probability in inverse proportion to it: most prompts are
    short, and long rows are only needed for the later positions' embeddings. A row starts with the
    first token of a sentence, as a prompt does, and is cut at its end.
    """
    rng = np.random.default_rng([seed, step])
    lengths = row_lengths(context)
    length = int(rng.choice(lengths, p=1 / lengths / (1 / lengths).sum()))
    rows = max(1, tokens // length)
    sizes = np.diff(corpus.starts)
    # So many of the shortest sentence fill a row and the one token more that its targets need.
    needed = -(-(length + 1) // int(sizes.min()))
    drawn = rng.integers(sizes.size, size=(rows, needed))
    drawn_sizes = sizes[drawn]
    ends = drawn_sizes.cumsum().reshape(drawn.shape)
    # The drawn sentences laid end to end: corpus index of token i = i + (its sentence's offset).
    offsets = corpus.starts[drawn] - (ends - drawn_sizes)
    laid = np.repeat(offsets.ravel(), drawn_sizes.ravel()) + np.arange(ends[-1, -1])
    row_starts = np.concatenate([[0], ends[:-1, -1]])
    picked = laid[row_starts[:, None] + np.arange(length + 1)]
    ids = corpus.ids[picked]
    return Batch(ids[:, :-1], ids[:, 1:], corpus.surprise[picked[:, 1:]])
