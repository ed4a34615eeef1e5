"""The objective `masked`: an encoder of BERT's layout learns to fill in masked tokens.

A sentence is one line of the corpus, as `[CLS] sentence [SEP]`, or two of them with their segments.
Some of its tokens are hidden behind [MASK], at least one, and the loss is that of those alone. The
hidden tokens are always [MASK], where Devlin et al. 2019 keep or exchange a fifth of them: that is
for a model that will be trained further on texts without [MASK], while this one fills masks only,
and so the smallest loss there can be is known exactly.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from attn_cli.errors import ContentError, UsageError
from attn_cli.tokens.wordpiece import WordPiece
from attn_cli.training import encoder
from attn_cli.training.layers import EPSILON, LossAndGradients, Parameters, Shape, order_heads
from attn_cli.training.objective import Needs, Objective
from attn_cli.training.settings import TrainingSettings
from attn_cli.training.tokenizer import ENCODER, build
from attn_cli.training.watch import Watch, shares, watch

_AROUND = 2  # [CLS] and [SEP]
import os

PAIRED = float(os.environ.get("PAIRED", "0"))


class Group:
    """All distinct sentences of one length, and how often each of them occurs."""

    def __init__(self, sentences: Mapping[tuple[int, ...], int]) -> None:
        self.ids = np.array(list(sentences))  # (sentence, position)
        self.counts = np.array(list(sentences.values()))  # (sentence,)


class Corpus(NamedTuple):
    """The sentences, grouped by length. Rows of a batch are of one length and need no padding."""

    contents: Mapping[str, Any]  # what tokenizer.json holds
    tokenizer: WordPiece
    groups: Mapping[int, Group]  # by the number of tokens
    lengths: np.ndarray  # (sentence,), of every sentence
    sha256: str

    @property
    def used(self) -> np.ndarray:
        """The ids that occur, and the mask's."""
        of_groups = [group.ids.ravel() for group in self.groups.values()]
        return np.unique(np.concatenate([*of_groups, [self.tokenizer.mask]]))

    @property
    def floor(self) -> float:
        """It depends on which tokens are masked."""
        return float("nan")


class Batch(NamedTuple):
    """One step's rows. Axes: row, position; `targets` are the tokens that are masked."""

    ids: np.ndarray
    types: np.ndarray  # (position,), the segment
    chosen: np.ndarray  # boolean: the masked positions
    targets: np.ndarray
    floor: float  # the mean loss, in nats, of a model that knows how often every sentence occurs

    @property
    def tokens(self) -> int:
        """How many positions there are."""
        return self.ids.size


def read_corpus(text: str) -> Corpus:
    """The corpus of a text of one sentence per line, empty lines left out. ContentError if none."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise ContentError("the corpus is empty", "give a text file with one sentence per line")
    contents = build(lines, ENCODER)
    tokenizer = WordPiece(contents)
    counts: dict[str, int] = {}
    for line in lines:
        counts[line] = counts.get(line, 0) + 1
    groups: dict[int, dict[tuple[int, ...], int]] = {}
    for line, count in counts.items():
        sentence = tuple(token.id for token in tokenizer.encode(line, special=False))
        group = groups.setdefault(len(sentence), {})
        group[sentence] = group.get(sentence, 0) + count
    sizes = {length: sum(group.values()) for length, group in groups.items()}
    return Corpus(
        contents=contents,
        tokenizer=tokenizer,
        groups={length: Group(group) for length, group in groups.items()},
        lengths=np.repeat(list(sizes), list(sizes.values())),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


@lru_cache(maxsize=1024)
def surprises(group: Group, hidden: tuple[bool, ...]) -> np.ndarray:
    """(sentence, hidden position): -log p(token | the tokens that are not hidden) in nats.

    p is how many of the sentences of this length with the same visible tokens have it there.
    """
    at = np.array(hidden)
    _, seen = np.unique(group.ids[:, ~at], axis=0, return_inverse=True)
    seen = seen.reshape(-1)
    alike = np.bincount(seen, group.counts)[seen]
    columns = []
    for tokens in group.ids[:, at].T:
        pairs = np.stack([seen, tokens], axis=1)
        _, same = np.unique(pairs, axis=0, return_inverse=True)
        same = same.reshape(-1)
        columns.append(np.log(alike / np.bincount(same, group.counts)[same]))
    return np.stack(columns, axis=1)


def draw_batch(
    corpus: Corpus, *, seed: int, step: int, context: int, tokens: int, rate: float
) -> Batch:
    """Step `step`'s batch: about `tokens` positions of sentences drawn uniformly.

    It depends on the arguments only, so that a resumed run draws what an uninterrupted one draws.
    All rows have one or two sentences, of the lengths of such as were drawn first.
    """
    rng = np.random.default_rng([seed, step])
    lengths = rng.choice(corpus.lengths, 1 + (rng.random() < PAIRED)).tolist()
    if sum(lengths) + len(lengths) + 1 > context:
        del lengths[1:]
    rows = max(1, tokens // (sum(lengths) + len(lengths) + 1))
    cls, sep = (np.full((rows, 1), corpus.tokenizer.id_of(word)) for word in ("[CLS]", "[SEP]"))
    plain = np.zeros((rows, 1), bool)
    ids, chosen, surprise = [cls], [plain], 0.0
    for length in lengths:
        group = corpus.groups[length]
        drawn = rng.choice(len(group.counts), rows, p=group.counts / group.counts.sum())
        hidden = rng.random((rows, length)) < rate
        hidden[np.arange(rows), rng.integers(length, size=rows)] = True
        ids += [group.ids[drawn], sep]
        chosen += [hidden, plain]
        surprise += _surprise(group, drawn, hidden)
    ids, chosen = np.concatenate(ids, axis=1), np.concatenate(chosen, axis=1)
    types = np.repeat(np.arange(len(lengths)), [length + 1 for length in lengths])
    return Batch(
        ids=np.where(chosen, corpus.tokenizer.mask, ids),
        types=np.concatenate([[0], types]),
        chosen=chosen,
        targets=ids[chosen],
        floor=surprise / int(chosen.sum()),
    )


def _surprise(group: Group, drawn: np.ndarray, hidden: np.ndarray) -> float:
    """The sum over all hidden tokens of the sentences that were drawn; hidden: (row, position)."""
    patterns, of_row = np.unique(hidden, axis=0, return_inverse=True)
    of_row = of_row.reshape(-1)
    found = [
        surprises(group, tuple(pattern.tolist()))[drawn[of_row == number]].sum()
        for number, pattern in enumerate(patterns)
    ]
    return float(sum(found))


def _needs(settings: TrainingSettings, corpus: Corpus) -> Needs:
    width, longest = settings.width, max(corpus.groups) + _AROUND
    if longest > settings.context:
        raise UsageError(
            f"training: a sentence takes {longest} tokens, the context is {settings.context}",
            "choose a larger --context, or cut the sentences of the corpus",
        )
    length = min(settings.context, 2 * longest)
    rows = max(1, settings.batch_tokens // length)
    tables = corpus.tokenizer.size + settings.context
    size = 12 * settings.layers * width**2 + width * (tables + width)
    cells = rows * settings.heads * length**2
    return Needs(cells, size, length, "choose a smaller --context")


def _initial(
    settings: TrainingSettings, corpus: Corpus, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    sizes = (settings.context, settings.width, settings.heads, settings.layers)
    return encoder.initial(Shape(corpus.tokenizer.size, *sizes), rng)


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
    return encoder.loss_and_gradients(
        parameters, batch.ids, batch.types, batch.targets, batch.chosen, heads=settings.heads
    )


def _watch(corpus: Corpus, settings: TrainingSettings) -> Watch:
    """The watched texts; the prompt's special tokens are put around it once all is found."""
    found = watch(corpus, settings)
    if not found.ids.size:
        return found
    around = [token.id for token in corpus.tokenizer.encode("")]
    ids = np.concatenate([around[:1], found.ids, around[1:]])
    return found._replace(ids=ids, query=found.query + 1, key=found.key + 1)


def _attention(parameters: Parameters, watched: Watch, settings: TrainingSettings) -> np.ndarray:
    ids = watched.ids[None]
    types, chosen = np.zeros(ids.size, int), np.zeros(ids.shape, bool)
    passed = encoder.forward(parameters, ids, types, chosen, heads=settings.heads)
    return shares([block.attended for block in passed.blocks], watched)


def _config(settings: TrainingSettings, corpus: Corpus) -> dict[str, Any]:
    known = corpus.tokenizer
    return {
        "model_type": "bert",
        "architectures": ["BertForMaskedLM"],
        "vocab_size": known.size,
        "max_position_embeddings": settings.context,
        "type_vocab_size": encoder.TYPES,
        "hidden_size": settings.width,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.heads,
        "intermediate_size": 4 * settings.width,
        "hidden_act": "gelu",
        "layer_norm_eps": EPSILON,
        "tie_word_embeddings": True,
        "pad_token_id": known.id_of("[PAD]"),
        "attention_probs_dropout_prob": 0.0,
        "hidden_dropout_prob": 0.0,
    }


_NAMES = {
    "wte": "bert.embeddings.word_embeddings",
    "wpe": "bert.embeddings.position_embeddings",
    "wtt": "bert.embeddings.token_type_embeddings",
    "ln_e": "bert.embeddings.LayerNorm",
    "attn.c_proj": "attention.output.dense",
    "ln_1": "attention.output.LayerNorm",
    "mlp.c_fc": "intermediate.dense",
    "mlp.c_proj": "output.dense",
    "ln_2": "output.LayerNorm",
    "head": "cls.predictions.transform.dense",
    "ln_h": "cls.predictions.transform.LayerNorm",
    "output": "cls.predictions",
}
_MAPS = ("c_attn", "c_proj", "c_fc", "head")


def _tensors(parameters: Parameters) -> dict[str, np.ndarray]:
    """Under the layout's names, whose matrices are (output, input), and q, k and v apart."""
    tensors = {}
    for name, array in parameters.items():
        whole, _, part = name.rpartition(".")
        layer, own = "", whole
        if whole.startswith("h."):
            _, number, own = whole.split(".", 2)
            layer = f"bert.encoder.layer.{number}."
        stored = array.T if array.ndim == 2 and own.endswith(_MAPS) else array
        if own == "attn.c_attn":
            for third, rows in zip(("query", "key", "value"), np.split(stored, 3), strict=True):
                tensors[f"{layer}attention.self.{third}.{part}"] = rows
        else:
            tensors[f"{layer}{_NAMES[own]}.{part}"] = stored
    return tensors


MASKED = Objective(
    defaults={
        "mask": "none",
        "masking_rate": 0.15,
        "watched_prompt": "the greatest thinker in China is [MASK]",
        "watched_query": "thinker",
    },
    options=("context", "masking_rate", "watched_query"),
    embedding="wte.weight",
    read=read_corpus,
    needs=_needs,
    initial=_initial,
    draw=_draw,
    learn=_learn,
    watch=_watch,
    attention=_attention,
    order_heads=order_heads,
    config=_config,
    tensors=_tensors,
)
