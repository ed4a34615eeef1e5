"""Which tokens of two prompts, and which entries of two vocabularies, are each other's."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from attn_cli.model.family import Model
from attn_cli.reading import token_of
from attn_cli.records import Prompt

_MOST = 1 << 16  # pairs of tokens between which runs are looked for: it may take their square


class Alignment(NamedTuple):
    """Positions of what a stack reads: those of `left` and of `right` belong together, in order.

    Where a pair is not the `same` token, one has taken the place of the other. `stack` is the left
    model's.
    """

    stack: str
    left: tuple[int, ...]
    right: tuple[int, ...]
    same: tuple[bool, ...]


def alignment(
    stack: str, left: Prompt, right: Prompt, ids: Mapping[int, int] | None = None
) -> Alignment:
    """Aligns what two stacks read: what begins and ends alike, and between them the longest runs
    that both have. Runs as long as each other between two of these are paired one for one.

    With `ids` (see `partners`) the vocabularies differ: tokens are compared by their texts, and no
    token takes the place of another.
    """
    if ids is None:
        first, second = left.ids, right.ids
    else:
        first, second = (tuple(map(_plain, side.labels)) for side in (left, right))
    pairs = [pair for pair in _pairs(first, second) if pair[2] or ids is None]
    columns = zip(*pairs, strict=True) if pairs else ((), (), ())
    return Alignment(stack, *map(tuple, columns))


def _pairs(left: Sequence[Hashable], right: Sequence[Hashable]) -> Iterator[tuple[int, int, bool]]:
    begin, most = 0, min(len(left), len(right))
    while begin < most and left[begin] == right[begin]:
        yield begin, begin, True
        begin += 1
    end = 0
    while end < most - begin and left[-1 - end] == right[-1 - end]:
        end += 1
    middles = left[begin : len(left) - end], right[begin : len(right) - end]
    for of_left, of_right, count, same in _runs(*middles):
        yield from ((begin + of_left + i, begin + of_right + i, same) for i in range(count))
    yield from ((len(left) - i, len(right) - i, True) for i in range(end, 0, -1))


def _runs(
    left: Sequence[Hashable], right: Sequence[Hashable]
) -> Iterator[tuple[int, int, int, bool]]:
    """Where runs begin in both, how long they are, and whether they are the same."""
    if len(left) * len(right) > _MOST:
        if len(left) == len(right):
            yield from ((i, i, 1, left[i] == right[i]) for i in range(len(left)))
        return
    for word, start, stop, other, last in SequenceMatcher(
        None, left, right, autojunk=False
    ).get_opcodes():
        if stop - start == last - other:
            yield start, other, stop - start, word == "equal"


def partners(left: Model, right: Model) -> Mapping[int, int] | None:
    """The right vocabulary's id of each token of the left one that both have; None if the two are
    the same, as far as their tokenizers say."""
    tokenizers = left.tokenizer, right.tokenizer
    if left is right or tokenizers[0] is tokenizers[1]:
        return None
    texts = [_texts(model) for model in (left, right)]
    unread = any(tokenizer.problem for tokenizer in tokenizers)
    if len(texts[0]) == len(texts[1]) and (unread or texts[0] == texts[1]):
        return None
    if unread:
        return {}
    exact = {text: id for id, text in enumerate(texts[1])}
    # A word that begins with its space is the one of running text.
    spaced_last = sorted(exact, key=lambda text: text.startswith(" "))
    plain = {_plain(text): exact[text] for text in spaced_last}
    found = ((id, exact.get(text, plain.get(_plain(text), -1))) for id, text in enumerate(texts[0]))
    return {id: other for id, other in found if other >= 0}


def _texts(model: Model) -> list[str]:
    return [token_of(model, id).text for id in range(model.facts.vocabulary)]


def _plain(text: str) -> str:
    """Without the spaces around it, which one tokenizer gives to a token and another does not."""
    return text.strip() or text
