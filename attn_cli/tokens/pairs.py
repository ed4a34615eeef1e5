"""Merging as SentencePiece and llama.cpp do it: the pair with the best score, leftmost first.

The library ranks pairs, and cannot let two pairs of one score go by where they stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heapify, heappop, heappush


def merged(text: str, scores: Mapping[str, float]) -> list[str]:
    """The pieces of a text: single characters, and what merging made of them."""
    size = len(text)
    ends = list(range(1, size + 1))  # by where a piece begins; its own begin where it is no more
    before, found = list(range(-1, size - 1)), []

    def pair(left: int) -> tuple[float, int, int] | None:
        middle = ends[left]
        if middle >= size or (score := scores.get(text[left : ends[middle]])) is None:
            return None
        return -score, left, ends[middle]

    heap = [entry for left in range(size - 1) if (entry := pair(left))]
    heapify(heap)
    while heap:
        entry = heappop(heap)
        _, left, end = entry
        if ends[left] == left or pair(left) != entry:
            continue
        middle = ends[left]
        ends[left], ends[middle] = end, middle
        if end < size:
            before[end] = left
            if entry := pair(left):
                heappush(heap, entry)
        if before[left] >= 0 and (entry := pair(before[left])):
            heappush(heap, entry)
    at = 0
    while at < size:
        found.append(text[at : ends[at]])
        at = ends[at]
    return found
