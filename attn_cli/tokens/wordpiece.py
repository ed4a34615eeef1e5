"""A reader of the `tokenizer.json` files whose model is WordPiece.

Ids and offsets are those of the `tokenizers` library. A file that asks for anything this module
does not do is refused: a wrong id would give a wrong picture with no sign of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from attn_cli.errors import ContentError
from attn_cli.files import read_bytes
from attn_cli.tokens.token import Token

_LARGEST_ID = 2**32 - 1
_LARGEST_FILE = 4 << 20

_HINT = "attn reads WordPiece tokenizer.json files with BertPreTokenizer and no normalizer."
_DECODER_KEYS = {"type", "prefix", "cleanup"}
_MODEL_KEYS = {
    "type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab",
}  # fmt: skip
_FILE_KEYS = {
    "version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
    "post_processor", "decoder", "model",
}  # fmt: skip
ADDED_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")
_ADDED_KEYS = {"id", "content", "special", *ADDED_FLAGS}

# Unicode's White_Space. str.isspace would not do: it also takes U+001C to U+001F.
_WHITE_SPACE = frozenset(
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
        if not mark and char not in _WHITE_SPACE:
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


class WordPiece:
    """A tokenizer (see `Tokenizer`) made of the contents of a `tokenizer.json`.

    Raises ContentError for contents that are malformed, or that ask for what is not supported.
    """

    problem = ""

    def __init__(self, contents: object) -> None:
        file = _object(contents, "the file", _FILE_KEYS, None)
        _check_steps(file)
        model = _object(file.get("model"), "model", _MODEL_KEYS, "WordPiece")
        self._prefix = _string(model.get("continuing_subword_prefix"), "continuing_subword_prefix")
        self._limit = _count(model.get("max_input_chars_per_word"), "max_input_chars_per_word")
        self._vocab = _vocabulary(model.get("vocab"))
        _check_decoder(file.get("decoder"), self._prefix)
        self._longest = max(map(len, self._vocab))
        self._ids, self._special = _added(file.get("added_tokens", []), self._vocab)
        self._starts = _by_first_character(self._special)
        self._texts = {id: text for text, id in self._ids.items()}
        unknown = _string(model.get("unk_token"), "unk_token")
        if unknown not in self._vocab:
            raise ContentError(f"unk_token {_show(unknown)} is not in the vocabulary", _HINT)
        self.unknown = self._vocab[unknown]
        self.size = max(self._texts) + 1

    def encode(self, text: str, *, special: bool = True) -> tuple[Token, ...]:
        """The tokens of `text`; added and special tokens are recognised wherever they stand.

        `special` changes nothing: a file that adds tokens by itself is refused.
        """
        tokens: list[Token] = []
        at = 0
        for start, end in self._find_added(text):
            self._encode_gap(text, at, start, tokens)
            tokens.append(self._make(self._ids[text[start:end]], start, end))
            at = end
        self._encode_gap(text, at, len(text), tokens)
        return tuple(tokens)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids` as the library writes it with its special tokens, but for some spaces.

        The library puts a space before every token that does not start with the prefix. Here there
        is none between two Han characters, none before any of `. , ? ! ; :`, and none on either
        side of an apostrophe. Ids of no token are left out, as in the library.
        """
        parts: list[str] = []
        last = ""
        for text in map(self._texts.get, ids):
            if text is None:
                continue
            part = self._join(last, text) if parts else text
            parts.append(part)
            last = part[-1:] or last
        return "".join(parts)

    def token(self, id: int) -> Token:
        """The token of `id`, with span (0, 0); a KeyError when there is none."""
        return self._make(id, 0, 0)

    def id_of(self, text: str) -> int:
        """The id of the entry that is exactly `text` (with its `##`), -1 when absent."""
        return self._ids.get(text, -1)

    def added(self, text: str) -> int:
        """The id of the added token `text`, -1 when absent."""
        return self._ids[text] if text in self._special else -1

    def _make(self, id: int, start: int, end: int) -> Token:
        text = self._texts[id]
        special = self._special.get(text, False)
        return Token(id=id, text=text, span=(start, end), special=special)

    def _find_added(self, text: str) -> Iterator[tuple[int, int]]:
        """Leftmost, then longest, never overlapping: as the library's Aho-Corasick finds them."""
        at = 0
        while at < len(text):
            for word in self._starts.get(text[at], ()):
                if text.startswith(word, at):
                    yield at, at + len(word)
                    at += len(word)
                    break
            else:
                at += 1

    def _encode_gap(self, text: str, start: int, end: int, tokens: list[Token]) -> None:
        gap = text[start:end]
        for first, last in split_words(gap):
            offset = start + first
            pieces = self._pieces(gap[first:last]) or [(self.unknown, 0, last - first)]
            tokens.extend(self._make(id, offset + a, offset + b) for id, a, b in pieces)

    def _pieces(self, word: str) -> list[tuple[int, int, int]]:
        """(id, start, end) of each piece, greedy from the left; empty when some rest has none."""
        pieces: list[tuple[int, int, int]] = []
        start = 0
        while start < len(word) <= self._limit:
            prefix = self._prefix if start else ""
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

    def _join(self, last: str, text: str) -> str:
        """`text` as it is written after the character `last`."""
        if text.startswith(self._prefix):
            return text[len(self._prefix) :]
        first = text[:1]
        if first and (first in ".,?!;:'" or last == "'"):
            return text
        if first and last and is_han(first) and is_han(last):
            return text
        return f" {text}"


def looks_like_ours(path: Path) -> bool:
    """Whether a `tokenizer.json` is likely one that `read` takes. Raises ContentError."""
    if path.stat().st_size > _LARGEST_FILE:
        return False
    data = read_bytes(path)
    return b'"WordPiece"' in data and b"Normalizer" not in data


def read(path: Path) -> WordPiece:
    """The tokenizer of a `tokenizer.json` file; a ContentError that names it when it won't do."""
    try:
        return WordPiece(json.loads(read_bytes(path).decode()))
    except (ValueError, RecursionError) as error:
        # ValueError is bad UTF-8, bad JSON, or a number too long for int.
        raise ContentError(f"{path} is not a JSON file that can be read", _HINT) from error
    except ContentError as error:
        named = error.message if str(path) in error.message else f"{path}: {error.message}"
        raise ContentError(named, error.hint) from error


def _show(value: object) -> str:
    """A short name of a value of the file, safe to print whatever it holds."""
    if isinstance(value, dict) and "type" in value:
        value = value["type"]
    if isinstance(value, str):
        return repr(value[:40])
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return {dict: "an object", list: "a list"}.get(type(value), "a number")


def _expect(value: object, wanted: object, where: str) -> None:
    # By type too, as 0 == False and 1 == True.
    if type(value) is not type(wanted) or value != wanted:
        raise ContentError(f"{where} {_show(value)} is not supported", _HINT)


def _object(value: object, where: str, keys: set[str], type: str | None) -> dict:
    if not isinstance(value, dict):
        raise ContentError(f"{where} is not a JSON object", _HINT)
    # Before the keys: another type has other keys, and its name tells more.
    _expect(value.get("type"), type, f"{where} type")
    for key in value:
        if key not in keys:
            raise ContentError(f"{where} has {_show(key)}, which is not supported", _HINT)
    return value


def _string(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise ContentError(f"{where} is not a string", _HINT)
    return value


def _count(value: object, where: str) -> int:
    # bool is an int to isinstance.
    if type(value) is not int or not 0 <= value <= _LARGEST_ID:
        raise ContentError(f"{where} is not a whole number from 0 to {_LARGEST_ID}", _HINT)
    return value


def _check_steps(file: dict) -> None:
    for step in ("normalizer", "post_processor", "truncation", "padding"):
        _expect(file.get(step), None, step)
    _expect(file.get("version", "1.0"), "1.0", "version")
    _expect(file.get("pre_tokenizer"), {"type": "BertPreTokenizer"}, "pre_tokenizer")


def _check_decoder(value: object, prefix: str) -> None:
    decoder = _object(value, "decoder", _DECODER_KEYS, "WordPiece")
    _expect(decoder.get("prefix"), prefix, "decoder prefix")
    _expect(decoder.get("cleanup"), False, "decoder cleanup")


def _vocabulary(value: object) -> dict[str, int]:
    if not isinstance(value, dict) or not value:
        raise ContentError("vocab is not an object of words and their ids", _HINT)
    ids = value.values()
    if set(map(type, ids)) != {int} or min(ids) < 0 or max(ids) > _LARGEST_ID:
        raise ContentError(f"vocab has an id that is not from 0 to {_LARGEST_ID}", _HINT)
    if len(set(ids)) < len(ids):
        raise ContentError("vocab gives one id to two words", _HINT)
    _check_text(" ".join(value), "vocab")
    return value


def _check_text(text: str, where: str) -> None:
    """Half a surrogate pair can be written in JSON, but is no text: it could not be printed."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ContentError(f"{where} is not valid Unicode", _HINT) from None


def _added(value: object, vocab: dict[str, int]) -> tuple[dict[str, int], dict[str, bool]]:
    """All words with their ids, and of each added token whether it is special.

    A token that the vocabulary has keeps the vocabulary's id; the others follow the largest id,
    in order. In a vocabulary without holes the library numbers them so whatever the file says.
    """
    if not isinstance(value, list):
        raise ContentError("added_tokens is not a list", _HINT)
    ids, special = dict(vocab), {}
    free = max(vocab.values()) + 1
    for item in value:
        token = _object(item, "an added token", _ADDED_KEYS, None)
        content = _string(token.get("content"), "the content of an added token")
        _check_added(token, content, special)
        special[content] = token["special"]
        if content not in vocab:
            if token["id"] != free:
                raise ContentError(f"added token {_show(content)} should have id {free}", _HINT)
            ids[content] = free
            free += 1
    return ids, special


def _check_added(token: dict, content: str, seen: dict[str, bool]) -> None:
    name = f"added token {_show(content)}"
    _count(token.get("id"), f"the id of {name}")
    _check_text(content, name)
    if not content or content in seen:
        raise ContentError(f"{name} is empty, or is there twice", _HINT)
    for flag in ADDED_FLAGS:
        _expect(token.get(flag), False, f"{name}: {flag}")
    if not isinstance(token.get("special"), bool):
        raise ContentError(f"{name}: special is neither true nor false", _HINT)


def _by_first_character(words: Iterable[str]) -> dict[str, list[str]]:
    """The longest first: the first that matches is then the one to take."""
    starts: dict[str, list[str]] = {}
    for word in sorted(words, key=len, reverse=True):
        starts.setdefault(word[0], []).append(word)
    return starts
