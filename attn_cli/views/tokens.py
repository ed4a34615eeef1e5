"""The pages of `attn tokens`: tokens, how words were cut, and two tokenizers side by side."""

from collections.abc import Callable, Iterator, Sequence
from math import isnan
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from attn_cli.errors import some
from attn_cli.records import Facts, Prompt
from attn_cli.views import numbers
from attn_cli.views.items import Column, Columns, Heading, Page, Say, Words, say
from attn_cli.views.text import label, visible
from attn_cli.words import Note, note

if TYPE_CHECKING:
    from attn_cli.analysis.tokens import Aligned, Origin, Split, Stretch, Tokens, Word

# Of different words as many are listed unasked, and with --merges; of a word's merges, and of the
# tokens of a stretch, the first and the last.
_UNASKED, _ASKED = 8, 24
_FIRST, _LAST = 10, 5
_STRETCHES = 24
# Characters of a cell, unless the page is full.
_WIDE, _HALF, _TOKEN, _PART, _BYTES = 40, 24, 18, 12, 17
_SAME = {
    "added": "tokens.how_added", "given": "tokens.how_given", "found": "tokens.how_found",
    "bytes": "tokens.how_bytes", "unknown": "tokens.how_unknown", "whole": "tokens.how_whole",
    "unexplained": "tokens.how_unexplained", "long": "tokens.how_long",
}  # fmt: skip


class Reader(NamedTuple):
    """A model that reads the text: its facts, the prompt as it reads it, and what an entry of its
    vocabulary stands for."""

    facts: Facts
    prompt: Prompt
    readable: Callable[[str], str]


class Choice(NamedTuple):
    """What was asked for: nothing left out, and the words one by one."""

    full: bool = False
    merges: bool = False


def page(reader: Reader, found: "Tokens", choice: Choice) -> Page:
    """One tokenizer: what the tokens are, then how they came about."""
    return [
        Heading(reader.facts, reader.prompt),
        *_headlines(reader, found),
        *_remarkable(reader, found),
        _table(found, reader.facts.context, choice.full),
        *_words(found, reader, choice),
    ]


def _counted(count: int, one: str, many: str) -> Note:
    return note(one if count == 1 else many, count=numbers.count(count))


def _characters(count: int) -> Note:
    return _counted(count, "tokens.characters_one", "tokens.characters_many")


def _tokens(count: int) -> Note:
    return _counted(count, "page.tokens_one", "page.tokens_many")


def _headlines(reader: Reader, found: "Tokens") -> Iterator[Say]:
    if not (reader.prompt.has_text or found.spells):
        yield say("tokens.headline_no_text", "headline", tokens=_tokens(found.own))
        return
    if not reader.prompt.has_text:
        sizes = {"characters": _characters(found.characters), "tokens": _tokens(found.own)}
        spelled = label(found.spells, _WIDE)
        yield say("tokens.headline_ids", "headline", text=spelled, **sizes)
        ids = tuple(row.id for row in found.tokens)
        same = ids == found.again
        key = "tokens.again_same" if same else "tokens.again_other"
        if found.again:
            yield say(key, **({} if same else {"ids": some(found.again, 12)}))
        return
    names = some(_whole(found.tokens[place].text) for place in found.added)
    added = note("tokens.added", names=names) if found.added else ""
    if not found.own:
        yield say("tokens.headline_none", "headline", added=added)
        return
    sizes = {"characters": _characters(found.characters), "tokens": _tokens(found.own)}
    ratio = numbers.number(found.characters_per_token, 1)
    yield say("tokens.headline", "headline", ratio=ratio, added=added, **sizes)


def _remarkable(reader: Reader, found: "Tokens") -> Iterator[Say]:
    """What a reader would otherwise have to find in the table."""
    if found.split:
        names = (
            note("tokens.split_name", character=visible(one.character), count=len(one.positions))
            for one in found.split
        )
        count = _counted(len(found.split), "tokens.split_one", "tokens.split_many")
        yield say("tokens.split", characters=count, names=some(dict.fromkeys(map(str, names))))
    if found.beyond:
        first = len(found.tokens) - found.beyond
        yield say(
            "tokens.beyond", model=visible(found.model), first=first,
            context=numbers.count(reader.facts.context), tokens=_tokens(found.beyond),
            token=label(found.tokens[first].text),
        )  # fmt: skip


# --- the table -----------------------------------------------------------------------------------


def _table(found: "Tokens", context: int, full: bool) -> Columns:
    rows, places = found.tokens, _places(found.split)
    scores = iter(numbers.column([row.score for row in rows if not isnan(row.score)], 2))
    hows = [_how(row, found, "" if isnan(row.score) else next(scores)) for row in rows]
    texts = [_cut(_whole(row.text), _TOKEN, full) for row in rows]
    beyond = [f"✗ {row.position}" if 0 < context <= row.position else "" for row in rows]
    numbered = [mark or str(row.position) for row, mark in zip(rows, beyond, strict=True)]
    columns = [
        Column("", numbered, "right"),
        Column(note("tokens.column_id"), [str(row.id) for row in rows], "right"),
        Column(note("column.token"), texts, "left"),
        Column(note("tokens.column_bytes"), [_bytes(row.bytes, full) for row in rows], "left"),
        Column(note("tokens.column_characters"), [_span(row, places) for row in rows], "left"),
        Column(note("tokens.column_how"), hows, "left"),
    ]
    return Columns(note("tokens.title"), columns, "ends")


def _bytes(shown: str, full: bool) -> str:
    return shown if full or len(shown) <= _BYTES else f"{shown[: _BYTES - 3]} …"


def _places(split: Sequence["Split"]) -> dict[int, list[str]]:
    """By position, the characters that the token has a part of: brackets hold one together."""
    found: dict[int, list[str]] = {}
    for one in split:
        first, *middle, last = one.positions
        shown = visible(one.character)
        for place, mark in ((first, "┐"), *((place, "┤") for place in middle), (last, "┘")):
            found.setdefault(place, []).append(f"{shown}{mark}")
    return found


def _span(row: "Origin", places: dict[int, list[str]]) -> str:
    """The characters from 0, and which of them other tokens have a part of too."""
    last = row.end - 1
    where = "" if last < row.start else str(last) if last == row.start else f"{row.start}–{last}"
    return " ".join(filter(None, (where, *places.get(row.position, ()))))


def _how(row: "Origin", found: "Tokens", score: str) -> Words:
    if row.how in _SAME:
        return note(_SAME[row.how])
    if row.how == "merged":
        several = _counted(row.merges, "tokens.how_merge", "tokens.how_merges")
        return several if row.merges else note("tokens.how_unmerged")
    if row.how == "scores":
        return note("tokens.how_score", score=score)
    word = found.words[row.word]
    if len(word.spelled) == 1:
        return note("tokens.how_whole")
    begins = row.position == word.first
    return note("tokens.how_begins" if begins else "tokens.how_goes_on")


# --- how words were cut --------------------------------------------------------------------------


def _words(found: "Tokens", reader: Reader, choice: Choice) -> Iterator[NamedTuple]:
    """The words one by one, each once; unasked only where they are few."""
    different = {word.spelled: word for word in found.words if _tells(word)}
    words = list(different.values())
    shown = len(words) if choice.full else _ASKED if choice.merges else _UNASKED
    yield from _methods(found)
    if not words:
        return
    count = _counted(len(words), "tokens.words_one", "tokens.words_many")
    if not choice.full and not choice.merges and len(words) > shown:
        yield say("tokens.more_words", words=count)
        return
    some_of = {"shown": shown, "count": len(words)}
    left_out = len(words) > shown
    title = note("tokens.words_some", **some_of) if left_out else note("tokens.words")
    for how, draw in _DRAWN.items():
        if of := [word for word in words[:shown] if word.how == how]:
            yield Columns(title, draw(of, reader.readable, full=choice.full))


def _tells(word: "Word") -> bool:
    """Whether there is more to tell of a word than that it is a token."""
    several = word.how in ("pieces", "scores") and len(word.spelled) > 1
    return several or bool(word.merges or word.runner_up)


def _methods(found: "Tokens") -> Iterator[Say]:
    """The rule that each kind of word was cut by."""
    hows = dict.fromkeys(word.how for word in found.words)
    keys = [f"tokens.{how}" for how in ("merged", "whole", "pieces", "scores") if how in hows]
    ranks = {merge.rank for word in found.words for merge in word.merges[:1]}
    if max(ranks, default=0) < 0:
        keys = [key.replace("merged", "merged_scores") for key in keys]
    for place, key in enumerate(keys):
        yield say(key, "line" if place else "lead")


def _cut(text: str, most: int, full: bool) -> str:
    return text if full or len(text) <= most else f"{text[: most - 1]}…"


def _shown(entries: Sequence[str], readable: Callable[[str], str], full: bool) -> str:
    """Entries side by side."""
    return _cut(" ".join(_whole(readable(entry)) for entry in entries), _WIDE, full)


def _whole(text: str) -> str:
    return label(text, len(text) * 10)


def _name(word: "Word", readable: Callable[[str], str], full: bool) -> str:
    first, *others = word.spelled
    whole = first + "".join(entry.removeprefix("##") for entry in others)
    return _cut(_whole(readable(whole)), _HALF, full)


def _merges(words: Sequence["Word"], readable: Callable[[str], str], *, full: bool) -> list[Column]:
    """For each word its beginning, then what is left after each merge."""
    scored = words[0].merges[0].rank < 0
    rows: list[tuple[Words, ...]] = []
    for word in words:
        pieces = list("".join(word.spelled))
        rows.append(("", _name(word, readable, full), _shown(pieces, readable, full)))
        count = len(word.merges)
        few = full or count <= _FIRST + _LAST + 1
        for place, merge in enumerate(word.merges):
            pieces[merge.at : merge.at + 2] = [merge.left + merge.right]
            if few or place < _FIRST or place >= count - _LAST:
                order = numbers.number(merge.score) if scored else numbers.count(merge.rank)
                sides = (_cut(_whole(readable(side)), _PART, full) for side in merge[:2])
                pair = note("tokens.pair", **dict(zip(("left", "right"), sides, strict=True)))
                rows.append((order, pair, _shown(pieces, readable, full)))
            elif place == _FIRST:
                rows.append(("", note("tokens.gap", count=count - _FIRST - _LAST), ""))
    orders, pairs, states = zip(*rows, strict=True)
    order = note("tokens.column_score" if scored else "tokens.column_rank")
    return [
        Column(order, orders, "right"),
        Column(note("tokens.column_merge"), pairs, "left"),
        Column(note("tokens.column_then"), states, "left"),
    ]


def _pieces(words: Sequence["Word"], readable: Callable[[str], str], *, full: bool) -> list[Column]:
    rows: list[tuple[str, str, str]] = []
    for word in words:
        bare = [entry.removeprefix("##") if n else entry for n, entry in enumerate(word.spelled)]
        for place, entry in enumerate(word.spelled):
            name = "" if place else _name(word, readable, full)
            left = _cut(_whole("".join(bare[place:])), _HALF, full)
            rows.append((name, left, _cut(_whole(entry), _HALF, full)))
    names, rests, entries = zip(*rows, strict=True)
    return [
        Column(note("tokens.column_word"), names, "left"),
        Column(note("tokens.column_left"), rests, "left"),
        Column(note("column.token"), entries, "left"),
    ]


def _sums(words: Sequence["Word"], readable: Callable[[str], str], *, full: bool) -> list[Column]:
    """Each word as it was cut, and the next best way."""
    totals = numbers.column([word.total for word in words], 2)
    others = numbers.column([word.runner_up_total for word in words], 2)
    nothing = note("tokens.nothing")
    ways = [_shown(word.runner_up, readable, full) or nothing for word in words]
    others = [total if way != nothing else "" for total, way in zip(others, ways, strict=True)]
    cuts = [_shown(word.spelled, readable, full) for word in words]
    return [
        Column(note("tokens.column_cut"), cuts, "left"),
        Column(note("tokens.column_sum"), totals, "right"),
        Column(note("tokens.column_next"), ways, "left"),
        Column(note("tokens.column_its"), others, "right"),
    ]


_DRAWN = {"merged": _merges, "pieces": _pieces, "scores": _sums}


# --- two tokenizers ------------------------------------------------------------------------------


def pages(readers: Sequence[Reader], found: "Aligned", choice: Choice) -> Page:
    """Two tokenizers over the same characters."""
    first, second = found.readings
    every = sum(found.boundaries) - found.common
    agree = note("tokens.agree", common=found.common, all=every)
    items: Page = [Heading(reader.facts, reader.prompt) for reader in readers]
    items.append(say(
        "tokens.two", "headline", first=visible(first.model), second=visible(second.model),
        characters=_characters(first.characters), tokens=_tokens(first.own),
        others=numbers.count(second.own), agree=agree if every else note("tokens.agree_none"),
    ))  # fmt: skip
    for reader, reading in zip(readers, found.readings, strict=True):
        items += _remarkable(reader, reading)
    items += [_compared(readers, found), _stretches(found, choice)]
    for reader, reading in zip(readers, found.readings, strict=True):
        if choice.full or choice.merges:
            items.append(say("tokens.of_model", "block", model=visible(reading.model)))
            items += _words(reading, reader, choice)
    return items


def _compared(readers: Sequence[Reader], found: "Aligned") -> Columns:
    keys = ("vocabulary", "tokens", "per_token", "added", "boundaries", "alone")
    columns = [Column("", [note(f"tokens.row_{key}") for key in keys], "left")]
    for reader, one, inside in zip(readers, found.readings, found.boundaries, strict=True):
        counts = (reader.facts.vocabulary, one.own, len(one.added), inside, inside - found.common)
        cells = list(map(numbers.count, counts))
        cells.insert(2, numbers.number(one.characters_per_token))
        columns.append(Column(visible(one.model), cells, "right"))
    return Columns(note("tokens.compared"), columns)


def _stretches(found: "Aligned", choice: Choice) -> Columns:
    """All of the text where that is short, else where the two differ."""
    rows = list(found.stretches)
    title = note("tokens.aligned")
    if len(rows) > _STRETCHES and not choice.full:
        rows = [row for row in rows if _differs(row)]
        title = note("tokens.differing", count=len(rows), all=len(found.stretches))
    first, second = found.readings
    texts = [_cut(_whole(row.text), _PART, choice.full) for row in rows]
    sides = [
        [_side(of_row(row), of, choice.full) for row in rows]
        for of_row, of in ((attrgetter("first"), first), (attrgetter("second"), second))
    ]
    columns = [
        Column(note("tokens.column_at"), [str(row.start) for row in rows], "right"),
        Column("", ["≠" if _differs(row) else "" for row in rows], "left"),
        Column(note("tokens.column_text"), texts, "left"),
        Column(visible(first.model), sides[0], "left"),
        Column(visible(second.model), sides[1], "left"),
    ]
    return Columns(title, columns, "ends")


def _differs(row: "Stretch") -> bool:
    return (len(row.first), len(row.second)) != (1, 1)


def _side(positions: Sequence[int], of: "Tokens", full: bool) -> Words:
    """Tokens of a stretch, each behind a bar; the first of very many."""
    few = positions if full else positions[:_HALF]
    shown = "".join(f"▏{_whole(of.tokens[place].text)}" for place in few)
    return _cut(shown, _HALF, full) or note("tokens.nothing")
