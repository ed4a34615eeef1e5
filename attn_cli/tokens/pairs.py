"""Byte-pair merging: of all neighbours the pair that ranks first becomes one, leftmost first.

Sennrich et al. (2016), "Neural Machine Translation of Rare Words with Subword Units". Published
merges have ranks; SentencePiece and llama.cpp go by the score of what a pair becomes. The library
ranks pairs, and cannot let two pairs of one score go by where they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from itertools import pairwise

Rank = Callable[[str, str], float | None]  # of two neighbours, the lowest first; None: no pair


def merging(text: str, rank: Rank) -> Iterator[tuple[int, int, int]]:
    """Each pair in the order of merging: where it begins, where its second part does, its end.

    A text begins as single characters.
    """
    size = len(text)
    ends = list(range(1, size + 1))  # by where a piece begins; its own begin where it is no more
    before = list(range(-1, size - 1))

    def pair(left: int) -> tuple[float, int, int] | None:
        middle = ends[left]
        if middle >= size:
            return None
        place = rank(text[left:middle], text[middle : ends[middle]])
        return None if place is None else (place, left, ends[middle])

    heap = [entry for left in range(size - 1) if (entry := pair(left))]
    heapify(heap)
    while heap:
        entry = heappop(heap)
        _, left, end = entry
        if ends[left] == left or pair(left) != entry:
            continue
        middle = ends[left]
        yield left, middle, end
        ends[left], ends[middle] = end, middle
        if end < size:
            before[end] = left
            if entry := pair(left):
                heappush(heap, entry)
        if before[left] >= 0 and (entry := pair(before[left])):
            heappush(heap, entry)


def merged(text: str, rank: Rank) -> list[str]:
    """The pieces of a text: single characters, and what merging made of them."""
    inside = {middle for _, middle, _ in merging(text, rank)}
    places = [at for at in range(len(text) + 1) if at not in inside]
    return [text[start:end] for start, end in pairwise(places)]
