"""How a text became tokens: where each comes from, and two tokenizers over the same characters."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby, pairwise
from math import nan
from typing import NamedTuple

from attn_cli.errors import ContentError
from attn_cli.model.family import Model
from attn_cli.records import Prompt
from attn_cli.tokens import origins
from attn_cli.tokens.origins import Cut, Merge, Part
from attn_cli.tokens.token import PREFIX, Token
from attn_cli.words import Note, grouped, note

# Beside those of `origins.HOW`: a token that the tokenizer adds by itself, and one given as an id.
ADDED, GIVEN = "added", "given"


class Origin(NamedTuple):
    """A token: what it stands for (`bytes` in hex, none of a token that is not in the text), its
    characters of the text, half-open, and how it came about.

    `word` is its place among the words (−1: none), `merges` how many made it, `score` that of the
    unigram model.
    """

    position: int
    id: int
    text: str
    bytes: str
    start: int
    end: int
    how: str
    word: int = -1
    merges: int = 0
    score: float = nan


class Word(NamedTuple):
    """Tokens that came about together, as the vocabulary spells them, from the position `first`.

    `merges` stand in their order; `total` is the sum of the tokens' scores, and `runner_up` are the
    tokens of the next best sum.
    """

    first: int
    spelled: tuple[str, ...]
    start: int
    end: int
    how: str
    merges: tuple[Merge, ...] = ()
    total: float = nan
    runner_up: tuple[str, ...] = ()
    runner_up_total: float = nan


class Split(NamedTuple):
    """A character whose bytes are in several tokens, at these positions."""

    character: str
    start: int
    end: int
    positions: tuple[int, ...]


class Tokens(NamedTuple):
    """All tokens that a model's tokenizer makes of a prompt.

    `own` are those of the text, without those that the tokenizer `added`; so many tokens are
    `beyond` the context (0: none is known). `twice` are positions of special tokens that stand in
    the text beside the same one that is added. Of a prompt `from_ids`, `spells` is the text, and
    `again` the ids that it gives. `readable` has what entries and parts of them in `words` stand
    for, where that is spelled otherwise.
    """

    model: str
    vocabulary: int
    context: int
    from_ids: bool
    characters: int
    own: int
    characters_per_token: float
    added: tuple[int, ...]
    twice: tuple[int, ...]
    beyond: int
    spells: str
    again: tuple[int, ...]
    tokens: tuple[Origin, ...]
    words: tuple[Word, ...]
    split: tuple[Split, ...]
    readable: Mapping[str, str]


def tokens(model: Model, prompt: Prompt) -> Tokens:
    """What the tokens of a prompt are, and how each came about. Raises ContentError.

    Ids that the text they spell gives too are explained by it.
    """
    text, again = prompt.text + prompt.pair, ()
    told = prompt
    if not prompt.has_text:
        text = "" if model.tokenizer.problem else model.tokenizer.decode(prompt.ids)
        told = replace(prompt, text=text, tokens=_read_again(model, text))
        again = told.ids
    words: tuple[Word, ...] = ()
    if prompt.has_text or again == prompt.ids:
        found, words = _origins(told, _parts(model, told))
    else:
        found = [_given(model, i, token) for i, token in enumerate(prompt.tokens)]
    own = [row for row in found if row.how != ADDED]
    context = model.facts.context
    return Tokens(
        model=model.facts.name,
        vocabulary=model.facts.vocabulary,
        context=context,
        from_ids=not prompt.has_text,
        characters=len(text),
        own=len(own),
        characters_per_token=len(text) / len(own) if own else nan,
        added=tuple(row.position for row in found if row.how == ADDED),
        twice=tuple(_twice(found)),
        beyond=max(0, len(found) - context) if context else 0,
        spells=text,
        again=again,
        tokens=tuple(found),
        words=words,
        split=tuple(_split(told.tokens if words else prompt.tokens)),
        readable=_readable(model, words),
    )


def _readable(model: Model, words: Sequence[Word]) -> dict[str, str]:
    """What the entries of words stand for, and the parts that merging made them of."""
    entries = {entry for word in words for entry in word.spelled}
    entries |= {side for word in words for merge in word.merges for side in merge[:2]}
    entries |= {char for word in words if word.merges for char in "".join(word.spelled)}
    entries |= {entry for word in words for entry in word.runner_up}
    pairs = ((entry, model.tokenizer.readable(entry)) for entry in sorted(entries))
    return {entry: text for entry, text in pairs if text != entry}


def _read_again(model: Model, text: str) -> tuple[Token, ...]:
    """The tokens of a text that ids spell, none where it cannot be read."""
    try:
        return model.tokenizer.encode(text, special=False) if text else ()
    except ContentError:
        return ()


def _given(model: Model, position: int, token: Token) -> Origin:
    """A token of an id alone. The mark of a word piece, which stands for nothing, is left out."""
    found, bare = _origin(position, token, GIVEN), token.text.removeprefix(PREFIX)
    if model.tokenizer.problem:
        return found._replace(bytes="")
    if bare != token.text and model.tokenizer.decode((token.id, token.id)) == token.text + bare:
        return found._replace(bytes=bare.encode().hex(" ").upper())
    return found


def _parts(model: Model, prompt: Prompt) -> list[Part]:
    """How the tokens of a prompt's text, or of its two segments, came about."""
    parts = list(model.tokenizer.explain(prompt.text))
    by = len(prompt.text)
    for part in model.tokenizer.explain(prompt.pair) if prompt.pair else ():
        spans = ((cut.span[0] + by, cut.span[1] + by) for cut in part.cuts)
        cuts = [cut._replace(span=span) for cut, span in zip(part.cuts, spans, strict=True)]
        parts.append(part._replace(cuts=tuple(cuts)))
    return parts


def _origins(prompt: Prompt, parts: Sequence[Part]) -> tuple[list[Origin], tuple[Word, ...]]:
    """Each token with the part that it is of; one that is of none was added."""
    places = [(word, place) for word, part in enumerate(parts) for place in range(len(part.cuts))]
    found, firsts, at = [], {}, 0
    for position, token in enumerate(prompt.tokens):
        word, place = places[at] if at < len(places) else (-1, 0)
        cut = parts[word].cuts[place] if word >= 0 else None
        if cut is None or (cut.id, cut.span) != (token.id, token.span):
            inside = token.span[0] < token.span[1]
            found.append(_origin(position, token, origins.UNEXPLAINED if inside else ADDED))
            continue
        firsts.setdefault(word, position)
        found.append(_made(position, token, cut, place, parts[word].steps)._replace(word=word))
        at += 1
    words = (_word(parts[word], first) for word, first in firsts.items())
    return found, tuple(words)


def _origin(position: int, token: Token, how: str) -> Origin:
    raw = token.bytes or token.text.encode()
    shown = "" if how in (ADDED, origins.UNKNOWN) else raw.hex(" ").upper()
    return Origin(position, token.id, token.text, shown, *token.span, how)


def _made(position: int, token: Token, cut: Cut, place: int, steps: origins.Steps) -> Origin:
    """A token of a word, and what of the word's steps is its own."""
    found = _origin(position, token, steps.how)
    if steps.how == origins.MERGED:
        return found._replace(merges=len(cut.entry) - 1)
    if steps.how == origins.PIECES and place:  # its mark is no part of the text
        raw = cut.entry.removeprefix(PREFIX).encode()
        return found._replace(bytes=raw.hex(" ").upper())
    return found._replace(score=steps.scores[place]) if steps.scores else found


def _word(part: Part, first: int) -> Word:
    steps, spans = part.steps, [cut.span for cut in part.cuts]
    return Word(
        first=first,
        spelled=tuple(cut.entry for cut in part.cuts),
        start=min(start for start, _ in spans),
        end=max(end for _, end in spans),
        how=steps.how,
        merges=steps.merges,
        total=sum(steps.scores) if steps.scores else nan,
        runner_up=steps.runner_up,
        runner_up_total=steps.runner_up_score,
    )


def _twice(rows: Sequence[Origin]) -> Iterator[int]:
    """The positions of special tokens of the text that stand beside the same one, added."""
    for before, after in pairwise(rows):
        if before.id == after.id and {before.how, after.how} == {ADDED, origins.FOUND}:
            yield (before if before.how == origins.FOUND else after).position


def _split(tokens: Sequence[Token]) -> Iterator[Split]:
    """The characters that stand in several tokens, which all have bytes that are no text."""
    for odd, run in groupby(enumerate(tokens), key=lambda item: bool(item[1].bytes)):
        if not odd:
            continue
        places = list(run)
        owners = [place for place, token in places for _ in token.bytes]
        text = b"".join(token.bytes for _, token in places).decode(errors="surrogateescape")
        at = 0
        for character in text:
            size = len(character.encode(errors="surrogateescape"))
            positions = tuple(dict.fromkeys(owners[at : at + size]))
            at += size
            if len(positions) > 1:
                spans = [tokens[place].span for place in positions]
                start, end = max(a for a, _ in spans), min(b for _, b in spans)
                yield Split(character, start, max(start, end), positions)


def remarks(model: Model, found: Tokens) -> tuple[Note, ...]:
    """Notes on the tokenizer, and on what is odd about the tokens of a text."""
    notes = [note("note.ignored", key=key) for key in model.ignored]
    if model.tokenizer.problem:
        notes.append(note("note.no_tokenizer", problem=model.tokenizer.problem))
    texts = {row.text for row in found.tokens if row.position in found.twice}
    notes += [note("note.twice", token=text, positions=_beside(found, text)) for text in texts]
    for how, key in ((origins.UNEXPLAINED, "note.unexplained"), (origins.LONG, "note.long_word")):
        count = sum(word.how == how for word in found.words)
        if count:
            words = grouped(count, "tokens.words_one", "note.words_many")
            notes.append(note(key, words=words, most=origins.MOST))
    return tuple(notes)


def _beside(found: Tokens, text: str) -> str | Note:
    """The positions of a token that is there twice."""
    places = {row.position for row in found.tokens if row.text == text}
    near = {place + step for place in found.twice for step in (-1, 0, 1)}
    *others, last = map(str, sorted(places & near))
    return note("list.and", first=", ".join(others), last=last) if others else last


# --- two tokenizers ------------------------------------------------------------------------------


class Stretch(NamedTuple):
    """Characters between two boundaries that both have, and the positions of either's tokens."""

    text: str
    start: int
    end: int
    first: tuple[int, ...]
    second: tuple[int, ...]


class Aligned(NamedTuple):
    """Two tokenizers over one text: how many boundaries each has inside it, and both have."""

    boundaries: tuple[int, ...]
    common: int
    stretches: tuple[Stretch, ...]
    readings: tuple[Tokens, ...]


class _Boundary(NamedTuple):
    """A place between two tokens: somewhere from `low` to `high`, for white space may be of
    neither; `after` tokens of the text stand before it."""

    low: int
    high: int
    after: int


def aligned(first: Tokens, second: Tokens) -> Aligned:
    """Both readings of a text, side by side over its characters."""
    own = [[row for row in of.tokens if row.how != ADDED] for of in (first, second)]
    mine, others = (_boundaries(rows) for rows in own)
    shared = list(_shared(mine, others))
    stretches, text = [], first.spells
    start = _Boundary(0, 0, 0), _Boundary(0, 0, 0)
    end = tuple(_Boundary(len(text), len(text), len(rows)) for rows in own)
    at = 0
    for pair in (*shared, end):
        to = max(boundary.low for boundary in pair)
        positions = (
            tuple(row.position for row in rows[a.after : b.after])
            for rows, a, b in zip(own, start, pair, strict=True)
        )
        stretches.append(Stretch(text[at:to], at, to, *positions))
        start, at = pair, to
    return Aligned((len(mine), len(others)), len(shared), tuple(stretches), (first, second))


def _boundaries(rows: Sequence[Origin]) -> list[_Boundary]:
    """The boundaries inside a text; none is inside a character."""
    found: list[_Boundary] = []
    low = 0
    for after, row in enumerate(rows):
        if after and low <= row.start and (not found or found[-1].high < row.start):
            found.append(_Boundary(low, row.start, after))
        low = max(low, row.end)
    return found


def _shared(
    first: Sequence[_Boundary], second: Sequence[_Boundary]
) -> Iterator[tuple[_Boundary, _Boundary]]:
    """The boundaries that are at the same place."""
    i = j = 0
    while i < len(first) and j < len(second):
        mine, other = first[i], second[j]
        same = max(mine.low, other.low) <= min(mine.high, other.high)
        if same:
            yield mine, other
        i, j = i + (same or mine.high < other.high), j + (same or other.high <= mine.high)
