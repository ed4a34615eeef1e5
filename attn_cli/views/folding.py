"""Where lines of prose end: between words and, in Chinese, between characters."""

import re
from collections.abc import Iterator
from itertools import accumulate, pairwise

from rich.text import Text

from attn_cli.views.width import cell_len, chop_cells

# Han, kana, hangul and full-width marks: a line may end on either side of each.
_WIDE = (
    "\u2e80-\u303f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef"
)
_IS_WIDE = re.compile(f"[{_WIDE}]")
# What stays whole: a token in its quotes, a character, a word.
_UNIT = re.compile(rf"`[^`\s]*`|[{_WIDE}“”‘’…—]|[^\s`{_WIDE}“”‘’…—]+|`")
# Marks that end what stands before them, and that begin what follows (line-breaking rules of
# Chinese typesetting, W3C clreq section 3.1).
_CLOSING = frozenset("，。、；：！？）》〉」』】〕”’…—～％·),.:;!?]}")
_TAB = 8
_OPENING = frozenset("（《〈「『【〔“‘([{")


def is_wide(text: str) -> bool:
    """Whether a text has characters of two columns, between which lines may end."""
    return bool(_IS_WIDE.search(text))


def wrapped(text: Text, width: int) -> Iterator[Text]:
    """The lines of a text, none wider than `width` columns of the screen."""
    if not is_wide(text.plain) and cell_len(text.plain) == text.cell_len:
        yield from text.wrap(None, width)  # it asks the console only to justify
        return
    for paragraph in text.split("\n", allow_blank=True):
        paragraph.expand_tabs(_TAB)
        for line in paragraph.divide(_ends(paragraph.plain, width)):
            line.rstrip()
            yield line


def lines(text: str, width: int) -> list[str]:
    """The same of plain text."""
    return [line.plain for line in wrapped(Text(text), width)]


def _ends(text: str, width: int) -> list[int]:
    """Where each line but the first begins."""
    found: list[int] = []
    used = 0
    for start, part in _parts(text):
        size = cell_len(part.rstrip())
        if used and used + size > width:
            found.append(start)
            used = 0
        pieces = chop_cells(part, max(1, width)) if size > width else [part]
        places = list(accumulate(map(len, pieces), initial=start))
        found += places[1:-1]
        used = cell_len(pieces[-1]) + (used if len(pieces) == 1 else 0)
    return found


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """The pieces of a line between which it may end, each with its place and the space after it."""
    begin = 0
    units = list(_UNIT.finditer(text))
    for before, after in pairwise(units):
        if _may_end(before[0], after[0], spaced=before.end() < after.start()):
            yield begin, text[begin : after.start()]
            begin = after.start()
    yield begin, text[begin:]


def _may_end(before: str, after: str, *, spaced: bool) -> bool:
    if after[0] in _CLOSING or before[-1] in _OPENING:
        return False
    return spaced or is_wide(before[-1]) or is_wide(after[0]) or before[-1] in _CLOSING
