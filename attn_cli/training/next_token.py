"""The objective `next`: a decoder of GPT-2's layout learns to predict each token's successor.

A sentence is one line of the corpus; its tokens are followed by the end token. Sentences are drawn
independently, so nothing but the sentence's own beginning can help to predict its next token.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from attn_cli.errors import ContentError
from attn_cli.tokens.wordpiece import WordPiece
from attn_cli.training import decoder
from attn_cli.training.layers import EPSILON, LossAndGradients, Parameters, order_heads, shape_of
from attn_cli.training.objective import Needs, Objective
from attn_cli.training.settings import TrainingSettings
from attn_cli.training.tokenizer import build
from attn_cli.training.watch import Watch, shares, watch

END = "<|endoftext|>"
_SHORTEST_ROW = 16
_FEW = 500  # steps that may be too few to draw the longest row


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
    def used(self) -> np.ndarray:
        """The ids that occur."""
        return np.unique(self.ids)

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
    def tokens(self) -> int:
        """How many positions there are."""
        return self.ids.size

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


def _length(rng: np.random.Generator, context: int) -> int:
    lengths = row_lengths(context)
    return int(rng.choice(lengths, p=1 / lengths / (1 / lengths).sum()))


def longest_row(*, seed: int, steps: int, context: int) -> int:
    """The tokens of the longest row that a run draws; the context, where it has many steps."""
    if steps > _FEW:
        return context
    every = (np.random.default_rng([seed, step]) for step in range(1, steps + 1))
    return max(_length(rng, context) for rng in every)


def draw_batch(corpus: Corpus, *, seed: int, step: int, context: int, tokens: int) -> Batch:
    """Step `step`'s batch: `tokens` positions of sentences drawn uniformly, with replacement.

    It depends on the arguments only, so that a resumed run draws what an uninterrupted one draws.
    All rows have one length, drawn with probability in inverse proportion to it: most prompts are
    short, and long rows are only needed for the later positions' embeddings. A row starts with the
    first token of a sentence, as a prompt does, and is cut at its end.
    """
    rng = np.random.default_rng([seed, step])
    length = _length(rng, context)
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


def _needs(settings: TrainingSettings, corpus: Corpus) -> Needs:
    width, context = settings.width, settings.context
    longest = longest_row(seed=settings.seed, steps=settings.steps, context=context)
    rows = max(1, settings.batch_tokens // longest)
    size = 12 * settings.layers * width**2 + width * (corpus.tokenizer.size + context)
    return Needs(rows * settings.heads * longest**2, size, longest)


def _initial(
    settings: TrainingSettings, corpus: Corpus, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    return decoder.initial(shape_of(settings, corpus.tokenizer.size), rng)


def _draw(corpus: Corpus, settings: TrainingSettings, step: int) -> Batch:
    return draw_batch(
        corpus,
        seed=settings.seed,
        step=step,
        context=settings.context,
        tokens=settings.batch_tokens,
    )


def _learn(parameters: Parameters, batch: Batch, settings: TrainingSettings) -> LossAndGradients:
    return decoder.loss_and_gradients(
        parameters, batch.ids, batch.targets, np.ones(batch.ids.shape, bool), heads=settings.heads,
        mask=settings.visible,
    )  # fmt: skip


def _attention(parameters: Parameters, watched: Watch, settings: TrainingSettings) -> np.ndarray:
    ids = watched.ids[None]
    passed = decoder.forward(parameters, ids, heads=settings.heads, mask=settings.visible)
    return shares([block.attended for block in passed.blocks], watched)


def _config(settings: TrainingSettings, corpus: Corpus) -> dict[str, Any]:
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": corpus.tokenizer.size,
        "n_positions": settings.context,
        "n_embd": settings.width,
        "n_layer": settings.layers,
        "n_head": settings.heads,
        "n_inner": None,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": EPSILON,
        "tie_word_embeddings": True,
        "bos_token_id": corpus.end,
        "eos_token_id": corpus.end,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
    }


def _tensors(parameters: Parameters) -> dict[str, np.ndarray]:
    return {f"transformer.{name}": array for name, array in parameters.items()}


NEXT = Objective(
    defaults={},
    options=("context", "mask", "watched_query"),
    embedding="wte.weight",
    read=read_corpus,
    of_word=200,
    needs=_needs,
    initial=_initial,
    draw=_draw,
    learn=_learn,
    watch=watch,
    attention=_attention,
    order_heads=order_heads,
    config=_config,
    tensors=_tensors,
)
