"""The pages of `attn tokens`: tokens, how words were cut, and two tokenizers side by side."""

from collections.abc import Iterator, Sequence
from math import isnan
from typing import TYPE_CHECKING, NamedTuple

from attn_cli.records import Facts, Prompt
from attn_cli.tokens.token import Token
from attn_cli.views import numbers
from attn_cli.views.items import Column, Columns, Heading, Page, Say, Words, say
from attn_cli.views.text import label, named, visible
from attn_cli.words import Note, few, note

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


class Choice(NamedTuple):
    """What was asked for: nothing left out, and the words one by one."""

    full: bool = False
    merges: bool = False


def page(found: "Tokens", choice: Choice, model: Facts | None = None) -> Page:
    """One tokenizer: what the tokens are, then how they came about; `model`, if it opens."""
    return [
        Heading(model or found.model, _prompt(found)),
        *_headlines(found),
        *_remarkable(found),
        _table(found, choice.full),
        *_words(found, choice),
    ]


def _prompt(found: "Tokens") -> Prompt:
    """The tokens as a heading shows them."""
    special = ("added", "found")
    tokens = (
        Token(id=row.id, text=row.text, span=(row.start, row.end), special=row.how in special)
        for row in found.tokens
    )
    return Prompt(text=found.spells, has_text=not found.from_ids, tokens=tuple(tokens))


def _counted(count: int, one: str, many: str) -> Note:
    return note(one if count == 1 else many, count=numbers.count(count))


def _characters(count: int) -> Note:
    return _counted(count, "tokens.characters_one", "tokens.characters_many")


def _tokens(count: int) -> Note:
    return _counted(count, "page.tokens_one", "page.tokens_many")


def _headlines(found: "Tokens") -> Iterator[Say]:
    if found.from_ids and not found.spells:
        yield say("tokens.headline_no_text", "headline", tokens=_tokens(found.own))
        return
    if found.from_ids:
        sizes = {"characters": _characters(found.characters), "tokens": _tokens(found.own)}
        spelled = label(found.spells, _WIDE)
        yield say("tokens.headline_ids", "headline", text=spelled, **sizes)
        ids = tuple(row.id for row in found.tokens)
        same = ids == found.again
        key = "tokens.again_same" if same else "tokens.again_other"
        if found.again:
            yield say(key, **({} if same else {"ids": few(found.again, 12)}))
        return
    names = few(_whole(found.tokens[place].text) for place in found.added)
    added = note("tokens.added", names=names) if found.added else ""
    if not found.own:
        yield say("tokens.headline_none", "headline", added=added)
        return
    sizes = {"characters": _characters(found.characters), "tokens": _tokens(found.own)}
    ratio = numbers.number(found.characters_per_token, 1)
    yield say("tokens.headline", "headline", ratio=ratio, added=added, **sizes)


def _remarkable(found: "Tokens") -> Iterator[Say]:
    """What a reader would otherwise have to find in the table."""
    if found.split:
        names = (
            note("tokens.split_name", character=visible(one.character), count=len(one.positions))
            for one in found.split
        )
        count = _counted(len(found.split), "tokens.split_one", "tokens.split_many")
        yield say("tokens.split", characters=count, names=few(dict.fromkeys(map(str, names))))
    if found.beyond:
        first = len(found.tokens) - found.beyond
        yield say(
            "tokens.beyond", model=named(found.model), first=first,
            context=numbers.count(found.context), tokens=_tokens(found.beyond),
            token=label(found.tokens[first].text),
        )  # fmt: skip


# --- the table -----------------------------------------------------------------------------------


def _table(found: "Tokens", full: bool) -> Columns:
    places = _places(found.split)
    scores = iter(numbers.column([r.score for r in found.tokens if not isnan(r.score)], 2))
    rows: list[tuple[Words, ...]] = []
    for row in found.tokens:
        how = _how(row, found, "" if isnan(row.score) else next(scores))
        beyond = "✗ " if 0 < found.context <= row.position else ""
        text, raw = _cut(_whole(row.text), _TOKEN, full), _bytes(visible(row.bytes), full)
        where = f"{beyond}{row.position}"
        rows.append((where, str(row.id), text, raw, _span(row, places), how))
    headers = ("", note("tokens.column_id"), note("column.token"), note("tokens.column_bytes"),
               note("tokens.column_characters"), note("tokens.column_how"))  # fmt: skip
    return Columns(note("tokens.title"), _columns(headers, rows, right=2), "ends")


def _columns(
    headers: Sequence[Words], rows: Sequence[tuple[Words, ...]], right: int = 0
) -> list[Column]:
    """The columns of rows, the first ones aligned to the right."""
    sides = ["right"] * right + ["left"] * (len(headers) - right)
    columns = zip(headers, zip(*rows, strict=True), sides, strict=True)
    return [Column(header, cells, side) for header, cells, side in columns]


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


def _words(found: "Tokens", choice: Choice) -> Iterator[NamedTuple]:
    """The words one by one, each once; unasked only where they are few."""
    different = {word.spelled: word for word in found.words if _tells(word)}
    words = list(different.values())
    shown = len(words) if choice.full else _ASKED if choice.merges else _UNASKED
    yield from _methods(found)
    if not words:
        return
    if not choice.merges and len(words) > shown:
        count = _counted(len(words), "tokens.words_one", "tokens.words_many")
        yield say("tokens.more_words", words=count)
        return
    title = note("tokens.words")
    if len(words) > shown:
        title = note("tokens.words_some", shown=shown, count=len(words))
    for how, draw in _DRAWN.items():
        if of := [word for word in words[:shown] if word.how == how]:
            yield Columns(title, draw(of, _Reading(found, choice.full)))


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


def _whole(text: str) -> str:
    return label(text, len(text) * 10)


class _Reading(NamedTuple):
    """How the entries of a vocabulary are shown."""

    found: "Tokens"
    full: bool

    def cut(self, text: str, most: int) -> str:
        return _cut(_whole(text), most, self.full)

    def one(self, entry: str, most: int = _HALF) -> str:
        return self.cut(self.found.readable.get(entry, entry), most)

    def all(self, entries: Sequence[str]) -> str:
        """Entries side by side."""
        texts = (_whole(self.found.readable.get(entry, entry)) for entry in entries)
        return _cut(" ".join(texts), _WIDE, self.full)

    def name(self, word: "Word") -> str:
        return self.cut(self.found.spells[word.start : word.end], _HALF)


def _merges(words: Sequence["Word"], read: _Reading) -> list[Column]:
    """For each word its beginning, then what is left after each merge."""
    scored = words[0].merges[0].rank < 0
    rows: list[tuple[Words, ...]] = []
    for word in words:
        pieces = list("".join(word.spelled))
        rows.append(("", read.name(word), read.all(pieces)))
        count = len(word.merges)
        few = read.full or count <= _FIRST + _LAST + 1
        for place, merge in enumerate(word.merges):
            pieces[merge.at : merge.at + 2] = [merge.left + merge.right]
            if few or place < _FIRST or place >= count - _LAST:
                order = numbers.number(merge.score) if scored else numbers.count(merge.rank)
                left, right = (read.one(side, _PART) for side in (merge.left, merge.right))
                pair = note("tokens.pair", left=left, right=right)
                rows.append((order, pair, read.all(pieces)))
            elif place == _FIRST:
                rows.append(("", note("tokens.gap", count=count - _FIRST - _LAST), ""))
    order = note("tokens.column_score" if scored else "tokens.column_rank")
    headers = (order, note("tokens.column_merge"), note("tokens.column_then"))
    return _columns(headers, rows, right=1)


def _pieces(words: Sequence["Word"], read: _Reading) -> list[Column]:
    rows: list[tuple[Words, ...]] = []
    for word in words:
        bare = [entry.removeprefix("##") if n else entry for n, entry in enumerate(word.spelled)]
        for place, entry in enumerate(word.spelled):
            name = "" if place else read.name(word)
            rows.append((name, read.cut("".join(bare[place:]), _HALF), read.one(entry)))
    names = ("tokens.column_word", "tokens.column_left", "column.token")
    return _columns([note(name) for name in names], rows)


def _sums(words: Sequence["Word"], read: _Reading) -> list[Column]:
    """Each word as it was cut, and the next best way."""
    totals = numbers.column([word.total for word in words], 2)
    others = numbers.column([word.runner_up_total for word in words], 2)
    nothing = note("tokens.nothing")
    ways = [read.all(word.runner_up) or nothing for word in words]
    others = [total if word.runner_up else "" for total, word in zip(others, words, strict=True)]
    cuts = [read.all(word.spelled) for word in words]
    return [
        Column(note("tokens.column_cut"), cuts, "left"),
        Column(note("tokens.column_sum"), totals, "right"),
        Column(note("tokens.column_next"), ways, "left"),
        Column(note("tokens.column_its"), others, "right"),
    ]


_DRAWN = {"merged": _merges, "pieces": _pieces, "scores": _sums}


# --- two tokenizers ------------------------------------------------------------------------------


def pages(found: "Aligned", choice: Choice) -> Page:
    """Two tokenizers over the same characters."""
    first, second = found.readings
    every = sum(found.boundaries) - found.common
    agree = note("tokens.agree", common=found.common, all=every)
    items: Page = [Heading(one.model, _prompt(one)) for one in found.readings]
    items.append(say(
        "tokens.two", "headline", first=named(first.model), second=named(second.model),
        characters=_characters(first.characters), tokens=_tokens(first.own),
        others=numbers.count(second.own), agree=agree if every else note("tokens.agree_none"),
    ))  # fmt: skip
    for one in found.readings:
        items += _remarkable(one)
    items += [_compared(found), *_stretches(found, choice.full)]
    for one in found.readings if choice.full or choice.merges else ():
        items.append(say("tokens.of_model", "block", model=named(one.model)))
        items += _words(one, choice)
    return items


def _compared(found: "Aligned") -> Columns:
    keys = ("vocabulary", "tokens", "per_token", "added", "boundaries", "alone")
    columns = [Column("", [note(f"tokens.row_{key}") for key in keys], "left")]
    for one, inside in zip(found.readings, found.boundaries, strict=True):
        counts = (one.vocabulary, one.own, len(one.added), inside, inside - found.common)
        cells = list(map(numbers.count, counts))
        cells.insert(2, numbers.number(one.characters_per_token))
        columns.append(Column(named(one.model), cells, "right"))
    return Columns(note("tokens.compared"), columns)


def _stretches(found: "Aligned", full: bool) -> Iterator[Columns]:
    """All of the text where that is short, else where the two differ."""
    kept = list(found.stretches)
    title = note("tokens.aligned")
    if len(kept) > _STRETCHES and not full:
        kept = [row for row in kept if _differs(row)]
        title = note("tokens.differing", count=len(kept), all=len(found.stretches))
    first, second = found.readings
    rows: list[tuple[Words, ...]] = []
    for row in kept:
        text, mark = _cut(_whole(row.text), _PART, full), "≠" if _differs(row) else ""
        sides = (_side(row.first, first, full), _side(row.second, second, full))
        rows.append((str(row.start), mark, text, *sides))
    headers = (note("tokens.column_at"), "", note("tokens.column_text"), named(first.model),
               named(second.model))  # fmt: skip
    if rows:
        yield Columns(title, _columns(headers, rows, right=1), "ends")


def _differs(row: "Stretch") -> bool:
    return (len(row.first), len(row.second)) != (1, 1)


def _side(positions: Sequence[int], of: "Tokens", full: bool) -> Words:
    """Tokens of a stretch, each behind a bar; the first of very many."""
    if positions and not 0 <= min(positions) <= max(positions) < len(of.tokens):
        raise ValueError
    few = positions if full else positions[:_HALF]
    shown = "".join(f"▏{_whole(of.tokens[place].text)}" for place in few)
    return _cut(shown, _HALF, full) or note("tokens.nothing")
