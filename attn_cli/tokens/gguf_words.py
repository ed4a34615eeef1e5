"""The word pieces that a GGUF file carries: BERT's tokenizer, cut as llama.cpp cuts it.

The file has its pieces in another spelling than a vocab.txt: a word's beginning with `▁` before it,
its continuations without `##`. They are shown as in a vocab.txt.
"""

import unicodedata
from collections.abc import Iterable, Iterator

from attn_cli.tokens.gguf_keys import CONTROL, UNKNOWN, USER_DEFINED, Keys
from attn_cli.tokens.plain import Plain
from attn_cli.tokens.token import MASKS, PREFIX, Around, Token
from attn_cli.tokens.wordpiece import WHITE_SPACE, joined

_START = "▁"
_LONGEST = 256  # characters; no vocabulary has such a piece, and without a limit a word costs n*n
_CHINESE = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip
_CONTROLS = ("Cc", "Cf", "Co", "Cs")
# Where the file does not say, the ids are those of BERT's first vocabulary.
_UNKNOWN_ID, _CLS_ID, _SEP_ID = 100, 101, 102


class WordPieces(Plain):
    """A tokenizer (see `Tokenizer`) of the kind `bert`. Raises ContentError for a broken one."""

    def __init__(self, data: Keys) -> None:
        tokens, marked = data.items("tokens", str), data.marked()
        self._pieces = {token: id for id, token in enumerate(tokens)}
        if len(self._pieces) < len(tokens):
            raise data.broken("has a token twice")
        self._longest = min(max(map(len, tokens)), _LONGEST)
        self._lowers = data.get("normalizer.lowercase", True)
        self._strips = data.get("normalizer.strip_accents", self._lowers)
        special = {id for id, kind in marked.items() if kind in (CONTROL, UNKNOWN)}
        found = special | {id for id, kind in marked.items() if kind == USER_DEFINED}
        texts = {
            id: token.removeprefix(_START) if id in found else _shown(token)
            for id, token in enumerate(tokens)
        }
        cls = texts[data.id("bos", data.get("cls_token_id", _CLS_ID))]
        sep = texts[data.id("seperator", _SEP_ID)]
        named = next((self._pieces[name] for name in MASKS if name in self._pieces), -1)
        mask = data.mask()
        super().__init__(
            texts,
            {tokens[id]: id for id in found if tokens[id]},
            special,
            Around((cls,), (sep,), (), (sep,), type=int(data.get("token_type_count", 0) > 1)),
            unknown=data.id("unknown", _UNKNOWN_ID),
            mask=named if mask < 0 else mask,
        )

    def decode(self, ids: Iterable[int]) -> str:
        return joined(self._texts[id] for id in ids if id in self._texts)

    def _read_gap(self, gap: str, offset: int, tokens: list[Token]) -> None:
        for word, places in self._words(gap):
            pieces = self._cut(word) or [(self.unknown, 0, len(word))]
            for id, start, end in pieces:
                first, last = places[start], places[end - 1]
                tokens.append(self._make(id, offset + first[0], offset + last[1]))

    def _words(self, text: str) -> Iterator[tuple[str, list[tuple[int, int]]]]:
        """Each word in the spelling of the pieces, and where each of its characters stands."""
        word: list[tuple[str, tuple[int, int]]] = []
        for char, at, apart in self._characters(text):
            if apart and word:
                yield _spelled(word)
                word = []
            if char:
                word.append((char, (at, at + 1)))
            if apart and word:
                yield _spelled(word)
                word = []
        if word:
            yield _spelled(word)

    def _characters(self, text: str) -> Iterator[tuple[str, int, bool]]:
        """The characters that are left, where they stood, and whether they end a word and are one
        of their own; white space ends one and is nothing."""
        for at, char in enumerate(text):
            # llama.cpp keeps the first character of what a character is made of.
            base = unicodedata.normalize("NFD", char)[0] if self._strips else char
            kind = unicodedata.category(base)
            if base in WHITE_SPACE:
                yield "", at, True
            elif base == "\ufffd" or kind in _CONTROLS or (self._strips and kind == "Mn"):
                continue
            else:
                mark = kind[0] == "P" or (base < "\x7f" and kind[0] == "S")
                lower = base.lower()[0] if self._lowers else base
                yield lower, at, mark or _is_chinese(base)

    def _cut(self, word: str) -> list[tuple[int, int, int]]:
        """(id, start, end) of each piece, greedy from the left; empty when some rest has none."""
        pieces: list[tuple[int, int, int]] = []
        start = 0
        while start < len(word):
            ends = range(min(len(word), start + self._longest), start, -1)
            end = next((end for end in ends if word[start:end] in self._pieces), 0)
            if not end:
                return []
            pieces.append((self._pieces[word[start:end]], start, end))
            start = end
        return pieces


def _spelled(word: list[tuple[str, tuple[int, int]]]) -> tuple[str, list[tuple[int, int]]]:
    """A word with the mark before it, which stands where its first character does."""
    chars, places = zip(*word, strict=True)
    return _START + "".join(chars), [places[0], *places]


def _shown(token: str) -> str:
    """A stored piece as a vocab.txt has it. Older files have names in brackets without the mark."""
    if token.startswith(_START):
        return token[len(_START) :]
    return token if token[:1] == "[" and token[-1:] == "]" else PREFIX + token


def _is_chinese(char: str) -> bool:
    return any(first <= ord(char) <= last for first, last in _CHINESE)
