"""How tokens came about: the merges, the word pieces or the scores by which a text was cut.

A token's own part of the text is cut as it would be alone: no merge reaches over the end of a
token that is left, a word piece is chosen by what follows it in its word alone, and each stretch
between two cuts of the best sum has the best sum. So words are explained one by one, and what is
explained is compared with the tokens that are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import inf, isclose, nan
from typing import NamedTuple

from attn_cli.tokens.pairs import Rank, merging

# What made the tokens of a part. FOUND: an added token that is written in the text; UNEXPLAINED:
# the algorithm as it is known here does not give them; LONG: a word of more than MOST characters.
MERGED, PIECES, SCORES, WHOLE = "merged", "pieces", "scores", "whole"
FOUND, BYTES, UNKNOWN, UNEXPLAINED, LONG = "found", "bytes", "unknown", "unexplained", "long"
HOW = (MERGED, PIECES, SCORES, WHOLE, FOUND, BYTES, UNKNOWN, UNEXPLAINED, LONG)
MOST = 1000
_MARK = "▁"  # a space, where a vocabulary writes it so


class Merge(NamedTuple):
    """Two neighbours that became one: the pair of the lowest `rank` (−1: ranks are not what
    counts), or the one that becomes a token of the best `score`; `at` is the place of the left one
    among the pieces before it."""

    left: str
    right: str
    at: int
    rank: int = -1
    score: float = nan


class Cut(NamedTuple):
    """A token where it stands: its id, how the vocabulary spells it, its characters of the text.

    `how` is one of `HOW`, or nothing for an ordinary entry; a `word` is what is cut by itself.
    """

    id: int
    entry: str
    span: tuple[int, int]
    how: str = ""
    word: int = 0


class Steps(NamedTuple):
    """How a word became its tokens: `merges` in their order, or a score for each token and the
    `runner_up`, the tokens of the next best sum, which is `runner_up_score`."""

    how: str
    merges: tuple[Merge, ...] = ()
    scores: tuple[float, ...] = ()
    runner_up: tuple[str, ...] = ()
    runner_up_score: float = nan


class Part(NamedTuple):
    """Neighbouring tokens that came about together."""

    cuts: tuple[Cut, ...]
    steps: Steps


# Of a word's entries, and whether they are all that was cut by itself; None if it is another way.
Algorithm = Callable[[tuple[str, ...], bool], Steps | None]


def explained(cuts: Sequence[Cut], algorithm: Algorithm) -> tuple[Part, ...]:
    """The tokens of a text in parts, each with how it came about."""
    known: dict[tuple[tuple[str, ...], bool], Steps] = {}

    def steps(of: tuple[Cut, ...], whole: bool) -> Steps:
        if of[0].how:
            return Steps(of[0].how)
        entries = tuple(cut.entry for cut in of)
        if (entries, whole) not in known:
            long = sum(map(len, entries)) > MOST
            found = Steps(LONG) if long else algorithm(entries, whole)
            known[entries, whole] = found or Steps(UNEXPLAINED)
        return known[entries, whole]

    places = [0, *_ends(cuts)]
    words = [-1, *(cut.word for cut in cuts), -1]
    return tuple(
        Part(of, steps(of, words[start] != words[start + 1] and words[end] != words[end + 1]))
        for start, end in pairwise(places)
        if (of := tuple(cuts[start:end]))
    )


def _ends(cuts: Sequence[Cut]) -> Iterator[int]:
    """Where each part ends; the bytes of one character are one, and a space's mark begins one."""
    for place, (cut, after) in enumerate(pairwise(cuts), 1):
        same = cut.how == after.how in ("", BYTES)
        apart = cut.span != after.span if cut.how == BYTES else cut.word != after.word
        marked = after.entry.startswith(_MARK) and cut.entry.strip(_MARK)
        if not same or apart or marked:
            yield place
    yield len(cuts)


def by_rank(ranks: Mapping[tuple[str, str], int], *, whole: bool = False) -> Algorithm:
    """Merges in the order of their ranks. With `whole`, a word that is an entry is not merged."""

    def steps(entries: tuple[str, ...], alone: bool) -> Steps | None:
        if whole and alone and len(entries) == 1:
            return Steps(WHOLE)
        return _merged(entries, lambda left, right: ranks.get((left, right)))

    return steps


def by_score(rank: Rank) -> Algorithm:
    """Merges whose rank is less the better the score of what they make."""

    def steps(entries: tuple[str, ...], _: bool) -> Steps | None:
        found = _merged(entries, rank)
        merges = found.merges if found else ()
        scored = (merge._replace(rank=-1, score=-merge.rank) for merge in merges)
        return found and found._replace(merges=tuple(scored))

    return steps


def _merged(entries: tuple[str, ...], rank: Rank) -> Steps | None:
    text, merges = "".join(entries), []
    begins = list(range(len(text)))
    for start, middle, end in merging(text, rank):
        left, right = text[start:middle], text[middle:end]
        merges.append(Merge(left, right, begins.index(start), rank(left, right)))
        begins.remove(middle)
    made = tuple(text[start:end] for start, end in pairwise([*begins, len(text)]))
    return Steps(MERGED, tuple(merges)) if made == entries else None


def by_longest(known: Callable[[str], bool], prefix: str) -> Algorithm:
    """Word pieces: of what is left of a word, the longest entry that it begins with.

    Wu et al. (2016), "Google's Neural Machine Translation System"; all but a word's first piece
    are spelled with the prefix.
    """

    def steps(entries: tuple[str, ...], _: bool) -> Steps | None:
        bare = (entries[0], *(entry.removeprefix(prefix) for entry in entries[1:]))
        word, start = "".join(bare), 0
        for entry in entries:
            mark = prefix if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if known(mark + word[start:end])), 0)
            if mark + word[start:end] != entry:
                return None
            start = end
        return Steps(PIECES)

    return steps


def by_sum(scores: Mapping[str, float]) -> Algorithm:
    """The unigram model: of all ways to cut a word, the one with the best sum of scores.

    Kudo (2018), "Subword Regularization"; a score is the logarithm of a probability.
    """
    longest = max(map(len, scores), default=0)

    def steps(entries: tuple[str, ...], _: bool) -> Steps | None:
        text = "".join(entries)
        # By where they end, the two best sums with the cut before, and which of the two there.
        best: list[list[tuple[float, int, int]]] = [[(0.0, 0, 0)]]
        for end in range(1, len(text) + 1):
            ways = [
                (total + score, start, place)
                for start in range(max(0, end - longest), end)
                if (score := scores.get(text[start:end])) is not None
                for place, (total, _, _) in enumerate(best[start])
            ]
            best.append(sorted(ways, key=lambda way: -way[0])[:2])
        found = [(total, _way(text, best, place)) for place, (total, _, _) in enumerate(best[-1])]
        own = sum(scores.get(entry, -inf) for entry in entries)
        if not found or not isclose(own, found[0][0], rel_tol=1e-6):
            return None
        other, way = next(((s, way) for s, way in found if way != entries), (nan, ()))
        return Steps(SCORES, (), tuple(map(scores.__getitem__, entries)), way, other)

    return steps


def _way(text: str, best: list[list[tuple[float, int, int]]], place: int) -> tuple[str, ...]:
    """The pieces of one of the two best ways to cut all of a text."""
    end, pieces = len(text), []
    while end:
        _, start, place = best[end][place]
        pieces.append(text[start:end])
        end = start
    return tuple(pieces[::-1])


def by_nothing(_entries: tuple[str, ...], _alone: bool) -> None:
    """For an algorithm that is not known here."""


def whole_words(entries: tuple[str, ...], _: bool) -> Steps | None:
    """Every word is an entry."""
    return Steps(WHOLE) if len(entries) == 1 else None
