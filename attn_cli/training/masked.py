"""The objective `masked`: an encoder of BERT's layout learns to fill in tokens that are hidden.

A sentence is one line of the corpus, as `[CLS] sentence [SEP]`; now and then a row has two of them,
as two segments. Some tokens of each are chosen, at least one, and the loss is that of those alone.
Of the chosen, eight in ten are read as [MASK], one as some word, one as itself (Devlin et al. 2019,
section 3.1): since any token may turn out to be wanted, each looks at what tells it. With [MASK]
alone, only [MASK] would learn where to look.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from attn_cli.errors import ContentError, UsageError
from attn_cli.tokens.wordpiece import WordPiece
from attn_cli.training import encoder
from attn_cli.training.layers import (
    EPSILON,
    LossAndGradients,
    Parameters,
    joined,
    order_heads,
    shape_of,
)
from attn_cli.training.objective import Needs, Objective
from attn_cli.training.settings import TrainingSettings
from attn_cli.training.tokenizer import ENCODER, build
from attn_cli.training.watch import Watch, shares, watch

CLS, SEP, MASK = (ENCODER.special.index(token) for token in ("[CLS]", "[SEP]", "[MASK]"))
AS_MASK, AS_ANY, AS_ITSELF = 0.8, 0.1, 0.1
_PARTS = 4  # of a batch, each of one length
_PAIRED = 1 / 4  # of the parts


class Group(NamedTuple):
    """All distinct sentences of one length."""

    ids: np.ndarray  # (sentence, place)
    counts: np.ndarray  # (sentence,), how often each occurs


class Corpus(NamedTuple):
    """The sentences, grouped by length, so that rows of one length need no padding."""

    contents: Mapping[str, Any]  # what tokenizer.json holds
    tokenizer: WordPiece
    groups: Mapping[int, Group]  # by the number of tokens
    lengths: np.ndarray  # of every sentence, in tokens
    words: np.ndarray  # the ids that occur
    sha256: str

    @property
    def used(self) -> np.ndarray:
        """The ids that occur, and the mask's."""
        return np.union1d(self.words, [MASK])

    @property
    def floor(self) -> float:
        """It depends on what is hidden."""
        return float("nan")


class Rows(NamedTuple):
    """Rows of one form. Axes: row, position; `targets` and `surprise` are of the chosen ones."""

    ids: np.ndarray  # as they are read
    types: np.ndarray  # (position,), the segment
    chosen: np.ndarray  # boolean
    targets: np.ndarray
    surprise: np.ndarray  # nats


class Batch(NamedTuple):
    """One step's rows."""

    parts: tuple[Rows, ...]

    @property
    def tokens(self) -> int:
        """How many positions there are."""
        return sum(part.ids.size for part in self.parts)

    @property
    def floor(self) -> float:
        """The mean loss, in nats, of a model that knows the corpus's distribution exactly."""
        return float(np.concatenate([part.surprise for part in self.parts]).mean())


def read_corpus(text: str) -> Corpus:
    """The corpus of a text of one sentence per line, empty lines left out. ContentError if none."""
    lines = Counter(line for line in text.splitlines() if line.strip())
    if not lines:
        raise ContentError("the corpus is empty", "give a text file with one sentence per line")
    contents = build(lines, ENCODER)
    tokenizer = WordPiece(contents)
    groups: dict[int, Counter[tuple[int, ...]]] = {}
    for line, count in lines.items():
        sentence = tuple(token.id for token in tokenizer.encode(line, special=False))
        groups.setdefault(len(sentence), Counter())[sentence] += count
    return Corpus(
        contents=contents,
        tokenizer=tokenizer,
        groups={
            length: Group(np.array(list(counts)), np.array(list(counts.values())))
            for length, counts in groups.items()
        },
        lengths=np.repeat(list(groups), [counts.total() for counts in groups.values()]),
        words=np.unique([id for counts in groups.values() for ids in counts for id in ids]),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


# --- batches -------------------------------------------------------------------------------------


def draw_batch(
    corpus: Corpus, *, seed: int, step: int, context: int, tokens: int, rate: float
) -> Batch:
    """Step `step`'s batch: about `tokens` positions of sentences drawn uniformly.

    It depends on the arguments only, so that a resumed run draws what an uninterrupted one draws.
    The rows of a part have the lengths of a sentence, or of two, that were drawn first.
    """
    rng = np.random.default_rng([seed, step])
    parts = []
    for _ in range(_PARTS):
        lengths = rng.choice(corpus.lengths, 2 if rng.random() < _PAIRED else 1).tolist()
        if _length(lengths) > context:
            lengths = lengths[:1]
        rows = max(1, tokens // _PARTS // _length(lengths))
        parts.append(_draw_rows(corpus, rng, lengths, rows, rate))
    return Batch(tuple(parts))


def _length(lengths: list[int]) -> int:
    """Of a row with sentences of these lengths: [CLS], and [SEP] after each."""
    return 1 + sum(lengths) + len(lengths)


def _draw_rows(
    corpus: Corpus, rng: np.random.Generator, lengths: list[int], rows: int, rate: float
) -> Rows:
    """Rows of sentences of these lengths; everything is made side by side, and joined at last."""
    ids, read = [np.full((rows, 1), CLS)], [np.full((rows, 1), CLS)]
    chosen, surprise = [np.zeros((rows, 1), bool)], [np.zeros((rows, 1))]
    for length in lengths:
        group = corpus.groups[length]
        true = group.ids[rng.choice(len(group.counts), rows, p=group.counts / group.counts.sum())]
        where = choose(rng, true.shape, rate)
        seen = hide(rng, true, where, corpus.words)
        own = np.zeros(true.shape)
        own[where] = surprises(group, true, seen, where, rate=rate, words=corpus.words.size)
        ids += [true, np.full((rows, 1), SEP)]
        read += [seen, np.full((rows, 1), SEP)]
        chosen += [where, np.zeros((rows, 1), bool)]
        surprise += [own, np.zeros((rows, 1))]
    places = np.concatenate(chosen, axis=1)
    types = np.repeat(np.arange(len(lengths)), [length + 1 for length in lengths])
    return Rows(
        ids=np.concatenate(read, axis=1),
        types=np.concatenate([[0], types]),
        chosen=places,
        targets=np.concatenate(ids, axis=1)[places],
        surprise=np.concatenate(surprise, axis=1)[places],
    )


def choose(rng: np.random.Generator, shape: tuple[int, ...], rate: float) -> np.ndarray:
    """Each place of (row, place) at the rate; rows without any are drawn again."""
    chosen = rng.random(shape) < rate
    while not (some := chosen.any(axis=1)).all():
        chosen[~some] = rng.random((int((~some).sum()), shape[1])) < rate
    return chosen


def hide(
    rng: np.random.Generator, ids: np.ndarray, chosen: np.ndarray, words: np.ndarray
) -> np.ndarray:
    """What is read: [MASK], any word or the token itself where `chosen`, else the token itself."""
    drawn, others = rng.random(ids.shape), rng.choice(words, ids.shape)
    read = np.where(chosen & (drawn < AS_MASK + AS_ANY), others, ids)
    return np.where(chosen & (drawn < AS_MASK), MASK, read)


def surprises(
    group: Group, ids: np.ndarray, read: np.ndarray, chosen: np.ndarray, *, rate: float, words: int
) -> np.ndarray:
    """-log p(token | the row as it is read, and that its place is chosen) in nats, of the chosen.

    Bayes over the sentences of this length: each is as likely as it is frequent, times how likely
    it would be read so. Where [MASK] is read, all are equal; a word is read more often where it is
    the true one, by a factor that is larger where it is not known that the place is chosen.
    """
    any_word = AS_ANY / words
    here = np.log((AS_ITSELF + any_word) / any_word)
    anywhere = np.log((1 - rate + rate * (AS_ITSELF + any_word)) / (rate * any_word))
    same = group.ids == read[:, None]  # (row, sentence, place)
    likely = np.log(group.counts) + anywhere * same.sum(axis=-1)  # (row, sentence)
    rows, places = chosen.nonzero()
    likely = likely[rows] + (here - anywhere) * same[rows, :, places]  # (chosen, sentence)
    weights = np.exp(likely - likely.max(axis=1, keepdims=True))
    right = group.ids.T[places] == ids[rows, places][:, None]
    return np.log(weights.sum(axis=1) / (weights * right).sum(axis=1))


# --- the objective -------------------------------------------------------------------------------


def _needs(settings: TrainingSettings, corpus: Corpus) -> Needs:
    longest, width = max(corpus.groups), settings.width
    if _length([longest]) > settings.context:
        raise UsageError(
            f"training: a sentence takes {_length([longest])} tokens, the context is "
            f"{settings.context}",
            "choose a larger --context, or shorter sentences",
        )
    length = min(settings.context, _length([longest, longest]))
    cells = max(1, settings.batch_tokens // _PARTS // length) * settings.heads * length**2
    size = 12 * settings.layers * width**2
    size += width * (corpus.tokenizer.size + settings.context + width)
    return Needs(cells, size, length, "shorter sentences", _PARTS, settings.masking_rate)


def _initial(
    settings: TrainingSettings, corpus: Corpus, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    return encoder.initial(shape_of(settings, corpus.tokenizer.size), rng)


def _draw(corpus: Corpus, settings: TrainingSettings, step: int) -> Batch:
    return draw_batch(
        corpus,
        seed=settings.seed,
        step=step,
        context=settings.context,
        tokens=settings.batch_tokens,
        rate=settings.masking_rate,
    )


def _learn(parameters: Parameters, batch: Batch, settings: TrainingSettings) -> LossAndGradients:
    return joined(
        encoder.loss_and_gradients(
            parameters, part.ids, part.types, part.targets, part.chosen, heads=settings.heads
        )
        for part in batch.parts
    )


def _watch(corpus: Corpus, settings: TrainingSettings) -> Watch:
    """The watched texts; the prompt as a row has it."""
    found = watch(corpus, settings)
    if not found.ids.size:
        return found
    ids = np.concatenate([[CLS], found.ids, [SEP]])
    return found._replace(ids=ids, query=found.query + 1, key=found.key + 1)


def _attention(parameters: Parameters, watched: Watch, settings: TrainingSettings) -> np.ndarray:
    ids = watched.ids[None]
    types, chosen = np.zeros(ids.size, int), np.zeros(ids.shape, bool)
    passed = encoder.forward(parameters, ids, types, chosen, heads=settings.heads)
    return shares([block.attended for block in passed.blocks], watched)


def _config(settings: TrainingSettings, corpus: Corpus) -> dict[str, Any]:
    return {
        "model_type": "bert",
        "architectures": ["BertForMaskedLM"],
        "vocab_size": corpus.tokenizer.size,
        "max_position_embeddings": settings.context,
        "type_vocab_size": encoder.TYPES,
        "hidden_size": settings.width,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.heads,
        "intermediate_size": 4 * settings.width,
        "hidden_act": "gelu",
        "layer_norm_eps": EPSILON,
        "tie_word_embeddings": True,
        "pad_token_id": corpus.tokenizer.id_of("[PAD]"),
        "attention_probs_dropout_prob": 0.0,
        "hidden_dropout_prob": 0.0,
    }


MASKED = Objective(
    defaults={
        "masking_rate": 0.15,
        "batch_tokens": 1280,
        "watched_prompt": "the greatest thinker in China is [MASK]",
        "watched_query": "thinker",
    },
    options=("context", "masking_rate", "watched_query"),
    embedding="wte.weight",
    read=read_corpus,
    of_word=60,
    needs=_needs,
    initial=_initial,
    draw=_draw,
    learn=_learn,
    watch=_watch,
    attention=_attention,
    order_heads=order_heads,
    config=_config,
    tensors=encoder.tensors,
)
