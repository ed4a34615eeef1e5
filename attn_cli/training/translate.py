"""The objective `translate`: an encoder–decoder of T5's layout learns to translate.

A line of the corpus holds both texts, a tab between them. The source ends with the end token; the
decoder reads the start token and the target, and at each position learns what comes next, at last
the end token. Pairs are grouped by their two lengths, and all rows of a batch are of one group, so
that nothing is padded.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from attn_cli.errors import ContentError
from attn_cli.tokens.wordpiece import WordPiece
from attn_cli.training import encoder_decoder
from attn_cli.training.layers import LossAndGradients, Parameters
from attn_cli.training.next_token import surprises
from attn_cli.training.objective import Needs, Objective
from attn_cli.training.settings import TrainingSettings
from attn_cli.training.tokenizer import TRANSLATOR, build
from attn_cli.training.watch import Watch, shares, watch

START, END = (TRANSLATOR.special.index(token) for token in ("<pad>", "</s>"))


class Group(NamedTuple):
    """All pairs of one source length and one target length, the end tokens included."""

    source: np.ndarray  # (pair, source position)
    wanted: np.ndarray  # (pair, target position), what the decoder is to write
    surprise: np.ndarray  # (pair, target position), nats: -log p(token | source, target up to it)


class Pairs(NamedTuple):
    """The pairs of a corpus, by their lengths."""

    contents: Mapping[str, Any]  # what tokenizer.json holds
    tokenizer: WordPiece
    groups: tuple[Group, ...]
    sha256: str

    @property
    def used(self) -> np.ndarray:
        """The ids that occur."""
        return np.unique(
            [id for group in self.groups for ids in group[:2] for id in np.unique(ids)]
        )

    @property
    def floor(self) -> float:
        """How uncertain translations are, in nats per token: no mean loss can be smaller."""
        return float(np.mean(np.concatenate([group.surprise.ravel() for group in self.groups])))


class Batch(NamedTuple):
    """One step's rows. Axes: row, position; `wanted` is what follows each position of `target`."""

    source: np.ndarray
    target: np.ndarray
    wanted: np.ndarray
    surprise: np.ndarray  # nats, of what is wanted

    @property
    def tokens(self) -> int:
        """How many positions there are in both stacks."""
        return self.source.size + self.target.size

    @property
    def floor(self) -> float:
        """The mean loss, in nats, of a model that knows the corpus's distribution exactly."""
        return float(self.surprise.mean())


def read_pairs(text: str) -> Pairs:
    """The pairs of a text of one pair per line, empty lines left out. Raises ContentError."""
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    pairs = [_pair(n, line) for n, line in lines]
    if len(pairs) < 2:
        what = f"line {lines[0][0]} is the only pair" if pairs else "there are no pairs"
        raise ContentError(what, "a translator learns from many pairs, one to a line")
    contents = build([side for pair in pairs for side in pair], TRANSLATOR)
    tokenizer = WordPiece(contents)
    ids = {
        side: tuple(token.id for token in tokenizer.encode(side))
        for side in dict.fromkeys(side for pair in pairs for side in pair)
    }
    # The number of the source goes first, so that what is surprising is so given the source.
    numbers = {source: n for n, source in enumerate(dict.fromkeys(source for source, _ in pairs))}
    surprise = iter(surprises([(numbers[source], *ids[target]) for source, target in pairs]))
    groups: dict[tuple[int, int], list[tuple[Any, ...]]] = {}
    for source, target in pairs:
        _, *own = (next(surprise) for _ in range(1 + len(ids[target])))
        rows = groups.setdefault((len(ids[source]), len(ids[target])), [])
        rows.append((ids[source], ids[target], own))
    return Pairs(
        contents=contents,
        tokenizer=tokenizer,
        groups=tuple(Group(*map(np.array, zip(*rows, strict=True))) for rows in groups.values()),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


def _pair(number: int, line: str) -> tuple[str, str]:
    """The two sides of a line. Raises ContentError."""
    sides = [side.strip() for side in line.split("\t")]
    if len(sides) != 2:
        what = f"line {number} has {len(sides) - 1 or 'no'} tab{'s' if len(sides) > 2 else ''}"
    elif not all(sides):
        what = f"line {number} has nothing {'after' if sides[0] else 'before'} its tab"
    else:
        return sides[0], sides[1]
    raise ContentError(what, "a line is a text, a tab, and its translation")


def draw_batch(pairs: Pairs, *, seed: int, step: int, tokens: int) -> Batch:
    """Step `step`'s batch: as many pairs of one group as have `tokens` tokens, with replacement.

    It depends on the arguments only, so that a resumed run draws what an uninterrupted one draws.
    A group is drawn with probability in proportion to its pairs, so that all pairs are alike.
    """
    rng = np.random.default_rng([seed, step])
    sizes = np.array([len(group.source) for group in pairs.groups])
    source, wanted, surprise = pairs.groups[rng.choice(sizes.size, p=sizes / sizes.sum())]
    rows = max(1, tokens // (source.shape[1] + wanted.shape[1]))
    drawn = rng.integers(len(source), size=rows)
    source, wanted, surprise = source[drawn], wanted[drawn], surprise[drawn]
    starts = np.full((rows, 1), START)
    return Batch(source, np.concatenate([starts, wanted[:, :-1]], axis=1), wanted, surprise)


def _needs(settings: TrainingSettings, pairs: Pairs) -> Needs:
    width, lengths = settings.width, [(g.source.shape[1], g.wanted.shape[1]) for g in pairs.groups]
    squares = (max(1, settings.batch_tokens // (s + t)) * max(s, t) ** 2 for s, t in lengths)
    # Two linear maps of a feed-forward network, or four of an attention, have 8 or 4 width².
    size = 28 * settings.layers * width**2 + width * pairs.tokenizer.size
    longest = max(max(pair) for pair in lengths)
    return Needs(3 * settings.heads * max(squares), size, longest, "the pairs without the longest")


def _initial(
    settings: TrainingSettings, pairs: Pairs, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    return encoder_decoder.initial(
        rng,
        vocabulary=pairs.tokenizer.size,
        width=settings.width,
        heads=settings.heads,
        layers_each=settings.layers,
    )


def _draw(pairs: Pairs, settings: TrainingSettings, step: int) -> Batch:
    return draw_batch(pairs, seed=settings.seed, step=step, tokens=settings.batch_tokens)


def _learn(parameters: Parameters, batch: Batch, settings: TrainingSettings) -> LossAndGradients:
    return encoder_decoder.loss_and_gradients(
        parameters, batch.source, batch.target, batch.wanted, heads=settings.heads
    )


def _watch(pairs: Pairs, settings: TrainingSettings) -> Watch:
    """The query is the decoder's first position, which writes the first word of the translation."""
    found = watch(pairs, settings)
    ends = [END] if found.ids.size else []
    return found._replace(ids=np.append(found.ids, ends).astype(np.int64), query=0)


def _attention(parameters: Parameters, watched: Watch, settings: TrainingSettings) -> np.ndarray:
    passed = encoder_decoder.forward(
        parameters, watched.ids[None], np.array([[START]]), heads=settings.heads
    )
    return shares(encoder_decoder.cross_attentions(passed), watched)


def _config(settings: TrainingSettings, pairs: Pairs) -> dict[str, Any]:
    return {
        "model_type": "t5",
        "architectures": ["T5ForConditionalGeneration"],
        "vocab_size": pairs.tokenizer.size,
        "d_model": settings.width,
        "d_kv": settings.width // settings.heads,
        "d_ff": 4 * settings.width,
        "num_layers": settings.layers,
        "num_decoder_layers": settings.layers,
        "num_heads": settings.heads,
        "relative_attention_num_buckets": encoder_decoder.BUCKETS,
        "relative_attention_max_distance": encoder_decoder.FARTHEST,
        "feed_forward_proj": "relu",
        "layer_norm_epsilon": encoder_decoder.EPSILON,
        "dropout_rate": 0.0,
        "is_encoder_decoder": True,
        "tie_word_embeddings": True,
        "scale_decoder_outputs": True,
        "decoder_start_token_id": START,
        "pad_token_id": START,
        "eos_token_id": END,
    }


TRANSLATE = Objective(
    defaults={"weight_decay": 0.5, "watched_prompt": "the greatest thinker in China is Confucius"},
    options=(),
    embedding=f"{encoder_decoder.EMBEDDING}.weight",
    read=read_pairs,
    of_word=270,
    needs=_needs,
    initial=_initial,
    draw=_draw,
    learn=_learn,
    watch=_watch,
    attention=_attention,
    order_heads=encoder_decoder.order_heads,
    config=_config,
    tensors=encoder_decoder.tensors,
)
