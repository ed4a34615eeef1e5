"""One token of a prompt, as it was named: a position, its text, or a word that is several; one
head of a model."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attn_cli import parse
from attn_cli.errors import UsageError, shorten
from attn_cli.words import Note, note

if TYPE_CHECKING:
    from attn_cli.records import Address, Facts, Prompt


def one_place(given: str, side: "Prompt", option: str) -> tuple[int, tuple[Note, ...]]:
    """The position, and what to say of a word of several tokens, of which the last is taken.

    Raises UsageError for what stands at several positions, or nowhere.
    """
    from attn_cli.views.text import labels

    if parse.INTEGER.fullmatch(given.strip()):
        return parse.one(given, len(side.tokens), option), ()
    printed = labels(side.labels)
    try:
        found = parse.positions(given, side.labels, option, printed)
    except UsageError:
        spans = _words(given, side)
        if not spans:
            raise
        places = [span[-1] for span in spans]
        last = _only(given, places, option)
        pieces = next(span for span in spans if span[-1] == last)
        if len(pieces) == 1:
            return last, ()
        names = " ".join(f"`{printed[i]}`" for i in pieces[:12])
        return last, (note("why.word", word=shorten(given), count=len(pieces), pieces=names,
                           last=printed[last], place=last),)  # fmt: skip
    return _only(given, found, option), ()


def one_head(
    facts: "Facts", where: "Sequence[tuple[str, str]]", layer: str | None, head: str, command: str
) -> "tuple[Address, int]":
    """The block and the head that were chosen. Raises UsageError where these are several."""
    from attn_cli import session

    blocks, heads = session.chosen(facts, where, layer, head)
    if len(blocks) > 1 or any(len(chosen) > 1 for chosen in heads.values()):
        raise UsageError(
            f"attn {command} shows one head of one layer of one attention",
            "choose it with --layer, --head, --stack and --kind",
        )
    (block,), ((at,),) = blocks, heads.values()
    return block, at


def _only(given: str, places: Sequence[int], option: str) -> int:
    if len(places) == 1:
        return places[0]
    where = ", ".join(map(str, places[:8])) + ("" if len(places) <= 8 else ", …")
    raise UsageError(
        f"{option} {shorten(given)} stands at positions {where}",
        f"choose one: {option} {places[0]}, or {option} {places[-1]}",
    )


def _words(given: str, side: "Prompt") -> list[list[int]]:
    """The tokens of each place where a word stands in the text."""
    word = given.strip()
    if not side.has_text or not word:
        return []
    found = []
    for match in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", side.text):
        begin, end = match.span()
        inside = [
            i for i, token in enumerate(side.tokens)
            if token.span[0] < end and begin < token.span[1] and not token.special
        ]  # fmt: skip
        if inside:
            found.append(inside)
    return found
