"""The word-piece tokenizer: the one that training makes, and the embedded models have.

Ids and offsets are those of the `tokenizers` library, to which a file of any other form is left.
"""

import json
import os
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attn_cli.errors import ContentError, shorten, some
from attn_cli.files import read_bytes
from attn_cli.strict import DAMAGED, Limit, json_object
from attn_cli.tokens.plain import Plain
from attn_cli.tokens.token import MASKS, NOTHING, PREFIX, Around, Token

UNKNOWN = "[UNK]"
_LONGEST_WORD = 100
_LARGEST_FILE, _LARGEST_ID = 4 << 20, 2**32 - 1
_LIMIT = Limit(_LARGEST_FILE, 1 << 20)
_BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")

# Unicode's White_Space. str.isspace would not do: it also takes U+001C to U+001F.
WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)

# ASCII punctuation, and category P of the Unicode version that the library froze. A table, since
# unicodedata has a newer one, and another one in each version of Python.
_PUNCTUATION_RANGES = """
21-2f 3a-40 5b-60 7b-7e a1 a7 ab b6-b7 bb bf 37e 387 55a-55f 589-58a 5be 5c0 5c3 5c6 5f3-5f4
609-60a 60c-60d 61b 61e-61f 66a-66d 6d4 700-70d 7f7-7f9 830-83e 85e 964-965 970 af0 df4 e4f
e5a-e5b f04-f12 f14 f3a-f3d f85 fd0-fd4 fd9-fda 104a-104f 10fb 1360-1368 1400 166d-166e
169b-169c 16eb-16ed 1735-1736 17d4-17d6 17d8-17da 1800-180a 1944-1945 1a1e-1a1f 1aa0-1aa6
1aa8-1aad 1b5a-1b60 1bfc-1bff 1c3b-1c3f 1c7e-1c7f 1cc0-1cc7 1cd3 2010-2027 2030-2043 2045-2051
2053-205e 207d-207e 208d-208e 2308-230b 2329-232a 2768-2775 27c5-27c6 27e6-27ef 2983-2998
29d8-29db 29fc-29fd 2cf9-2cfc 2cfe-2cff 2d70 2e00-2e2e 2e30-2e42 3001-3003 3008-3011 3014-301f
3030 303d 30a0 30fb a4fe-a4ff a60d-a60f a673 a67e a6f2-a6f7 a874-a877 a8ce-a8cf a8f8-a8fa a8fc
a92e-a92f a95f a9c1-a9cd a9de-a9df aa5c-aa5f aade-aadf aaf0-aaf1 abeb fd3e-fd3f fe10-fe19
fe30-fe52 fe54-fe61 fe63 fe68 fe6a-fe6b ff01-ff03 ff05-ff0a ff0c-ff0f ff1a-ff1b ff1f-ff20
ff3b-ff3d ff3f ff5b ff5d ff5f-ff65 10100-10102 1039f 103d0 1056f 10857 1091f 1093f 10a50-10a58
10a7f 10af0-10af6 10b39-10b3f 10b99-10b9c 11047-1104d 110bb-110bc 110be-110c1 11140-11143
11174-11175 111c5-111c9 111cd 111db 111dd-111df 11238-1123d 112a9 114c6 115c1-115d7 11641-11643
1173c-1173e 12470-12474 16a6e-16a6f 16af5 16b37-16b3b 16b44 1bc9f 1da87-1da8b
"""

_HAN_RANGES = (
    (0x2E80, 0x2FD5), (0x3005, 0x3005), (0x3007, 0x3007), (0x3021, 0x3029), (0x3038, 0x303B),
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAD9), (0x20000, 0x323AF),
)  # fmt: skip


def _expand(ranges: str) -> Iterator[str]:
    for item in ranges.split():
        first, _, last = item.partition("-")
        yield from map(chr, range(int(first, 16), int(last or first, 16) + 1))


_PUNCTUATION = frozenset(_expand(_PUNCTUATION_RANGES))


def is_han(char: str) -> bool:
    """Whether a character is written without spaces around it, as Chinese is."""
    return any(first <= ord(char) <= last for first, last in _HAN_RANGES)


def split_words(text: str) -> list[tuple[int, int]]:
    """The spans of the words as BertPreTokenizer cuts them: white space is dropped, and each
    punctuation character is a word of its own. Chinese characters are not cut apart."""
    spans: list[tuple[int, int]] = []
    begin = -1
    for at, char in enumerate(text):
        mark = char in _PUNCTUATION
        if not mark and char not in WHITE_SPACE:
            if begin < 0:
                begin = at
            continue
        if begin >= 0:
            spans.append((begin, at))
            begin = -1
        if mark:
            spans.append((at, at + 1))
    if begin >= 0:
        spans.append((begin, len(text)))
    return spans


def file_of(
    vocab: Mapping[str, int], added: Mapping[str, bool], around: Around = NOTHING
) -> dict[str, Any]:
    """What tokenizer.json holds: a vocabulary, added tokens with whether they are special, and
    which tokens stand around a text.

    An added token that is not in the vocabulary has an id after all of it, in order.
    """
    ids = _numbered(vocab, added)
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": ids[token], "content": token, **flags, "special": special}
            for token, special in added.items()
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": _template(around, ids),
        "decoder": {"type": "WordPiece", "prefix": PREFIX, "cleanup": False},
        "model": {
            "type": "WordPiece",
            "unk_token": UNKNOWN,
            "continuing_subword_prefix": PREFIX,
            "max_input_chars_per_word": _LONGEST_WORD,
            "vocab": vocab,
        },
    }


def _numbered(vocab: Mapping[str, int], added: Mapping[str, bool]) -> dict[str, int]:
    after = max(vocab.values()) + 1
    others = [token for token in added if token not in vocab]
    return {**vocab, **{token: after + n for n, token in enumerate(others)}}


def _template(around: Around, ids: Mapping[str, int]) -> dict[str, Any] | None:
    """What stands around a text, as the file says it."""
    if around == NOTHING:
        return None

    def side(
        before: tuple[str, ...], name: str, after: tuple[str, ...], type: int
    ) -> list[dict[str, Any]]:
        token, text = "SpecialToken", "Sequence"
        pieces = [*((token, id) for id in before), (text, name), *((token, id) for id in after)]
        return [{kind: {"id": id, "type_id": type}} for kind, id in pieces]

    single = side(around.before, "A", around.after, 0)
    second = side(around.second_before, "B", around.second_after, around.type)
    tokens = {token for part in around[:4] for token in part}
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, *second],
        "special_tokens": {
            token: {"id": token, "ids": [ids[token]], "tokens": [token]}
            for token in sorted(tokens, key=ids.__getitem__)
        },
    }


def _around_in(template: Any) -> Around:
    """What `_template` was made of. Of anything else, some `Around` or an error of bad data."""
    if template is None:
        return NOTHING
    single, pair = template["single"], template["pair"]

    def side(pieces: list[Any]) -> tuple[tuple[str, ...], tuple[str, ...], int]:
        at = next(n for n, piece in enumerate(pieces) if "Sequence" in piece)
        names = [piece["SpecialToken"]["id"] for piece in (*pieces[:at], *pieces[at + 1 :])]
        return tuple(names[:at]), tuple(names[at:]), pieces[at]["Sequence"]["type_id"]

    before, after, _ = side(single)
    return Around(before, after, *side(pair[len(single) :]))


class AnotherForm(ContentError):
    """A tokenizer.json that `file_of` does not write."""


class WordPiece(Plain):
    """A tokenizer (see `Tokenizer`) made of what `file_of` gives, or a file holds.

    Raises AnotherForm for anything else, ContentError for a vocabulary that gives an id twice.
    """

    def __init__(self, contents: Any) -> None:
        if not _is_ours(contents):
            raise AnotherForm("it is not as training writes it")
        self._vocab: dict[str, int] = contents["model"]["vocab"]
        if len(set(self._vocab.values())) < len(self._vocab):
            raise ContentError("the vocabulary gives one id to two words", DAMAGED)
        special = {token["content"]: token["special"] for token in contents["added_tokens"]}
        ids = _numbered(self._vocab, special)
        self._longest = max(map(len, self._vocab))
        super().__init__(
            {id: text for text, id in ids.items()},
            {text: ids[text] for text in special},
            {ids[text] for text, is_special in special.items() if is_special},
            _around_in(contents["post_processor"]),
            unknown=self._vocab.get(UNKNOWN, -1),
            mask=next((ids[text] for text in MASKS if special.get(text)), -1),
        )

    def decode(self, ids: Iterable[int]) -> str:
        return joined(self._texts[id] for id in ids if id in self._texts)

    def _read_gap(self, gap: str, offset: int, tokens: list[Token]) -> None:
        for first, last in split_words(gap):
            at = offset + first
            pieces = self._pieces(gap[first:last]) or [self._unread(gap[first:last])]
            tokens.extend(self._make(id, at + a, at + b) for id, a, b in pieces)

    def _unread(self, word: str) -> tuple[int, int, int]:
        """The unknown token for a word that has no pieces. Raises ContentError if there is none."""
        if self.unknown < 0:
            what = f"the tokenizer has no tokens for {shorten(word)!r}, and no unknown token"
            raise ContentError(what, f"it knows: {some(self._vocab)}")
        return self.unknown, 0, len(word)

    def _pieces(self, word: str) -> list[tuple[int, int, int]]:
        """(id, start, end) of each piece, greedy from the left; empty when some rest has none."""
        pieces: list[tuple[int, int, int]] = []
        start = 0
        while start < len(word) <= _LONGEST_WORD:
            prefix = PREFIX if start else ""
            # No entry is longer than the longest, which keeps a very long word from costing n*n.
            for end in range(min(len(word), start + self._longest), start, -1):
                id = self._vocab.get(prefix + word[start:end])
                if id is not None:
                    pieces.append((id, start, end))
                    start = end
                    break
            else:
                return []
        return pieces


def joined(texts: Iterable[str]) -> str:
    """A text of word pieces, as the library writes it with its special tokens, but for some spaces.

    The library puts a space before every token that does not start with the prefix. Here there
    is none between two Han characters, none before any of `. , ? ! ; :`, and none on either
    side of an apostrophe.
    """
    parts: list[str] = []
    last = ""
    for text in texts:
        part = _join(last, text) if parts else text
        parts.append(part)
        last = part[-1:] or last
    return "".join(parts)


def _join(last: str, text: str) -> str:
    """`text` as it is written after the character `last`."""
    if text.startswith(PREFIX):
        return text[len(PREFIX) :]
    first = text[:1]
    if first and (first in ".,?!;:'" or last == "'"):
        return text
    if first and last and is_han(first) and is_han(last):
        return text
    return f" {text}"


def stands_alone(path: Path) -> bool:
    """Whether there are no files beside a tokenizer.json that add to it."""
    return not any(os.path.lexists(path.with_name(name)) for name in _BESIDE)


def read(path: Path) -> WordPiece:
    """The tokenizer of a tokenizer.json.

    Raises AnotherForm for a file that training does not write, ContentError for a damaged one.
    """
    large = os.path.isfile(path) and os.path.getsize(path) > _LARGEST_FILE
    data = b"" if large else read_bytes(path)
    if b'"WordPiece"' not in data or data.startswith(BOM_UTF8):  # the library refuses a mark
        raise AnotherForm(f"{path} is not as training writes it")
    contents = json_object(data, str(path), _LIMIT)
    try:
        return WordPiece(contents)
    except ContentError as error:
        raise type(error)(f"{path}: {error.message}", error.hint) from None


def _is_ours(contents: Any) -> bool:
    """Whether `file_of` would write the same."""
    try:
        vocab = contents["model"]["vocab"]
        added = {token["content"]: token["special"] for token in contents["added_tokens"]}
        ids, around = _numbered(vocab, added), _around_in(contents["post_processor"])
        same = _exactly(contents) == _exactly(file_of(vocab, added, around))
        "".join(ids).encode()  # half a surrogate pair can be written in JSON, but is no text
    except (TypeError, KeyError, ValueError, AttributeError, StopIteration):
        return False
    whole = all(type(id) is int and 0 <= id <= _LARGEST_ID for id in ids.values())
    flags = all(type(special) is bool for special in added.values())
    given = bool(vocab) and "" not in added and around.type in (0, 1)
    return same and whole and flags and given


def _exactly(contents: Any) -> str:
    """All but the vocabulary; tells 1 from 1.0 and from true, which == does not."""
    rest = {**contents, "model": {**contents["model"], "vocab": None}}
    return json.dumps(rest, sort_keys=True)
