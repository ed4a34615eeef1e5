"""What is shown takes the columns that `wcwidth` says, alone, beside others, and in tables; no page
is wider than its screen."""

import random
import unicodedata

import pytest
from wcwidth import wcswidth, wcwidth

from attn_cli.views.strips import Strip, fitted, folded, side_by_side
from attn_cli.views.text import label, visible
from attn_cli.views.width import cell_len, chop_cells

# Blank, or of no width of their own: Unicode's Default_Ignorable_Code_Point, and an empty pattern.
IGNORED = {
    *map(chr, (0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFEFF, 0xFFA0, 0x2800)),
    *map(chr, range(0x180B, 0x1810)), *map(chr, range(0x200B, 0x2010)),
    *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2060, 0x2070)),
    *map(chr, range(0xFE00, 0xFE10)), *map(chr, range(0xFFF0, 0xFFF9)),
    *map(chr, range(0x1BCA0, 0x1BCA4)), *map(chr, range(0x1D173, 0x1D17B)),
    *map(chr, range(0xE0000, 0xE1000)),
}  # fmt: skip
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
WORDS = (
    "plain", "中国人", "한글", "\u1112\u1161\u11ab\u1100\u1173\u11af", "\u1161", "\ud55c\u11a8",
    "日本ご", "ハﾊﾞ", "か\u3099", "ไทยที่", "\u0e33", "שָׁלוֹם", "العَرَبِيَّة", "हिन्दी", "विद्यालय",
    "தமிழ்", "বাংলা", "తెలుగు", "മലയാളം", "မြန်မာ", "ភាសាខ្មែរ", "བོད་སྐད", "e\u0301", "\u0301e",
    " \u0301", "'\u0308'", "Z" + "\u0310" * 40, "1\u20e3", "☺\ufe0f", "👨\u200d👩\u200d👧",
    "👍\U0001f3fd", "🇨🇳🇩🇪", "🇨", "🏴\U000e0067", "a\u200bb", "\u202eabc", "ﷺ", "𝒳", "①", "…—",
    "\u3000", "\x1b[31m", "\ud800", "\ue000", "ｆｕｌｌ",
)  # fmt: skip
AROUND = (("", ""), ("a", ""), ("", "b"), ("中", "文"), ("\u1100", "\u0301"), ("क", "क"))


def columns(text: str) -> int:
    found = wcswidth(text)
    assert found >= 0, ascii(text)
    return found


def sound(text: str) -> list[str]:
    """What of a text a screen would not just show."""
    alone = {
        char
        for before, char in zip(f" {text}", text, strict=False)
        if wcwidth(char) == 0 and (before in " '\"(" or unicodedata.category(before) in HIDDEN)
    }
    bad = {c for c in text if c in IGNORED or unicodedata.category(c) in HIDDEN or wcwidth(c) < 0}
    return sorted(map(ascii, alone | bad))


def test_every_character_is_shown_as_wide_as_it_is_or_escaped():
    few = (range(0x3400), range(0xA000, 0xAC10), range(0xD7A0, 0x12000), range(0x1BC00, 0x1FC00))
    every = [chr(code) for some in (*few, range(0xE0000, 0xE0200)) for code in some]
    for apart in ("", "a"):
        shown = visible(apart.join(every))
        assert sound(shown) == []
        assert visible(shown) == shown
        plain = shown.encode("ascii", "backslashreplace").decode()
        assert plain.count("\\") > 5000


@pytest.mark.faults
@pytest.mark.parametrize(
    "around", [("", ""), ("a", ""), ("", "b"), ("中", "文"), ("\u1100", "\u0301")]
)
def test_every_character_of_unicode_alone_and_beside_others(around):
    wrong, judged = [], set()
    for char in map(chr, range(0x110000)):
        shown, escape = visible(char.join(around)), ascii(char)[1:-1]
        assert char in shown or escape in shown, (ascii(char), shown)
        # Most are escapes: texts that differ in the letters of one are judged once.
        kind = shown if char == escape else shown.replace(escape, "\\x00")
        if kind in judged:
            continue
        judged.add(kind)
        if sound(shown) or visible(shown) != shown or cell_len(shown) != wcswidth(shown):
            wrong.append((ascii(shown), cell_len(shown), wcswidth(shown)))
    assert wrong == []


@pytest.mark.parametrize("word", WORDS, ids=ascii)
def test_a_word_is_as_wide_as_it_is_counted(word):
    shown = visible(word)
    assert sound(shown) == []
    assert cell_len(shown) == columns(shown)
    for width in (1, 2, 3, 7):
        parts = chop_cells(shown, width)
        assert "".join(parts) == shown
        assert all(columns(part) <= max(width, 2) for part in parts)


def test_a_cell_is_folded_between_words():
    assert folded("the mask was forgotten", 9) == ["the mask", "was", "forgotten"]
    assert folded("forgotten", 4) == ["forg", "otte", "n"] and folded("", 4) == [""]


def test_every_line_of_a_table_is_as_wide_as_the_others():
    draw = random.Random(1)
    for _ in range(150):
        texts = ["".join(draw.choices(WORDS, k=draw.randint(1, 3))) for _ in range(6)]
        names, width = [label(text) for text in texts], draw.randint(4, 20)
        strips = [
            Strip([], fitted(names, width), True),
            Strip(folded(names[0], width), names),
            Strip([names[1]], [label(text, 40) for text in texts], True),
        ]
        lines = side_by_side(strips).plain.split("\n")
        assert len({columns(line) for line in lines}) == 1, lines
