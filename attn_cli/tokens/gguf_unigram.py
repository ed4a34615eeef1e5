"""The unigram model that a GGUF file carries: T5's tokenizer, cut as llama.cpp cuts it."""

import struct
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence

from attn_cli.errors import ContentError
from attn_cli.tokens.gguf_keys import CONTROL, UNKNOWN, UNUSED, USER_DEFINED, Keys
from attn_cli.tokens.origins import Algorithm, by_sum
from attn_cli.tokens.plain import Plain
from attn_cli.tokens.token import Around, Token

_SPACE = "▁"
_LONGEST = 256  # characters; no vocabulary has such a piece, and without a limit a text costs n*n
_PENALTY = 10.0  # what an unknown character costs more than the worst piece
_WORST = -sys.float_info.max
_CHECK, _LEAF, _VALUE = 1 << 31 | 0xFF, 1 << 8, (1 << 31) - 1


class Unigram(Plain):
    """A tokenizer (see `Tokenizer`) of the kind `t5`. Raises ContentError for a broken one."""

    def __init__(self, data: Keys) -> None:
        tokens, marked = data.items("tokens", str), data.marked()
        self._tokens = tokens
        scores = data.items("scores", float, len(tokens))
        if len(set(tokens)) < len(tokens):
            raise data.broken("has a token twice")
        cut = {id for id in range(len(tokens)) if marked.get(id, 0) in (0, USER_DEFINED, UNUSED)}
        free = {id for id, kind in marked.items() if kind == USER_DEFINED}
        self._pieces = {tokens[id]: (id, 0.0 if id in free else scores[id]) for id in cut}
        self._longest = min(max(map(len, tokens)), _LONGEST)
        worst = min((score for id, score in enumerate(scores) if id not in marked), default=0.0)
        self._unknown_score = array("f", [worst - _PENALTY])[0]  # in float32, as all scores are
        self._prefix = data.get("add_space_prefix", False)
        self._fewer = data.get("remove_extra_whitespaces", False)
        self._charsmap = _Charsmap(data)
        special = {id for id, kind in marked.items() if kind in (CONTROL, UNKNOWN)}
        found = special | free
        texts = {
            id: token if id in found else token.replace(_SPACE, " ")
            for id, token in enumerate(tokens)
        }
        ends = data.ends(bos=-1, eos=1, add_bos=False, add_eos=True)
        super().__init__(
            texts,
            {tokens[id]: id for id in found if tokens[id]},
            special,
            Around(*(tuple(texts[id] for id in ids) for ids in ends)),
            unknown=data.id("unknown", 2),
            mask=data.mask(),
        )

    def readable(self, entry: str) -> str:
        return entry.replace(_SPACE, " ")

    def decode(self, ids: Iterable[int]) -> str:
        text = "".join(self._texts[id] for id in ids if id in self._texts)
        return text.removeprefix(" ") if self._prefix else text

    def id_of(self, text: str) -> int:
        return super().id_of(text.replace(_SPACE, " "))

    @property
    def _algorithm(self) -> Algorithm:
        return by_sum({piece: score for piece, (_, score) in self._pieces.items()})

    def _entry(self, id: int) -> str:
        return self._tokens[id]

    def _begins(self, entry: str) -> bool:
        return entry.startswith(_SPACE)

    def _read_gap(self, gap: str, offset: int, tokens: list[Token]) -> None:
        chars = self._normalized(gap)
        for id, start, end in self._best("".join(char for char, _, _ in chars)):
            span = offset + chars[start][1], offset + chars[end - 1][2]
            tokens.append(self._make(id, *span))

    def _normalized(self, text: str) -> list[tuple[str, int, int]]:
        """The characters to cut, with where in the text each comes from."""
        chars: list[tuple[str, int, int]] = []
        inside = begun = False
        for string, start, end in self._charsmap.replaced(text):
            for char in string:
                if char == " ":
                    inside = False
                    chars += [] if self._fewer else [(_SPACE, start, end)]
                    continue
                if not inside and (self._fewer or (self._prefix and not begun)):
                    chars.append((_SPACE, start, end))  # as the library has it
                    begun = True
                inside = True
                chars.append((char, start, end))
        return chars

    def _best(self, text: str) -> list[tuple[int, int, int]]:
        """(id, start, end) of the pieces with the best sum of scores; of equal sums the one found
        first. Unknown characters side by side are one piece."""
        size = len(text)
        sums, backs = [0.0] + [_WORST] * size, [(self.unknown, 0)] * (size + 1)
        for start in range(size):
            whole = False
            for end in range(start + 1, min(size, start + self._longest) + 1):
                if piece := self._pieces.get(text[start:end]):
                    whole = whole or end == start + 1
                    if (total := sums[start] + piece[1]) > sums[end]:
                        sums[end], backs[end] = total, (piece[0], start)
            if not whole and (total := sums[start] + self._unknown_score) > sums[start + 1]:
                sums[start + 1], backs[start + 1] = total, (self.unknown, start)
        found: list[tuple[int, int, int]] = []
        end = size
        while end > 0:
            id, start = backs[end]
            if found and id == found[-1][0] == self.unknown:
                end = found.pop()[2]
            found.append((id, start, end))
            end = start
        return found[::-1]


class _Charsmap:
    """What SentencePiece replaces in a text: a table of strings that are found by a double array.

    Shunsuke Kanda (2018), "Space- and Time-Efficient String Dictionaries": a node has its base in
    bits 10 to 30 and whether it is a leaf in bit 8; bit 9 says how far the base is shifted.
    """

    def __init__(self, data: Keys) -> None:
        values, self._broken = data.get("precompiled_charsmap", []), data.broken
        try:
            stored = array("B" if min(values, default=0) >= 0 else "b", values).tobytes()
            size = struct.unpack_from("<I", stored)[0] if stored else 0
            self._nodes = struct.unpack_from(f"<{size // 4}I", stored, 4) if stored else ()
        except (struct.error, OverflowError, TypeError):
            raise self._damaged() from None
        self._strings = stored[4 + size :]

    def _damaged(self) -> ContentError:
        return self._broken("has a precompiled_charsmap that is damaged")

    def replaced(self, text: str) -> Iterator[tuple[str, int, int]]:
        """The strings that stand for the parts of a text, and where each part begins and ends."""
        coded = [char.encode("utf-8", "surrogatepass") for char in text]
        at = 0
        while at < len(text):
            found = self._replacement(coded[at : at + _LONGEST]) if self._nodes else None
            length, string = found or (1, text[at])
            yield string, at, at + length
            at += length

    def _replacement(self, coded: Sequence[bytes]) -> tuple[int, str] | None:
        """How many of these characters a string stands for, the most there are, and that string."""
        found = None
        try:
            entry = self._nodes[0]
            place = _base(entry)
            for count, char in enumerate(coded, 1):
                for byte in char:
                    place ^= byte
                    entry = self._nodes[place]
                    if not byte or entry & _CHECK != byte:
                        return found
                    place ^= _base(entry)
                if entry & _LEAF:
                    start = self._nodes[place] & _VALUE
                    string = self._strings[start : self._strings.index(b"\0", start)]
                    found = count, string.decode(errors="replace")
        except (IndexError, ValueError):
            raise self._damaged() from None
        return found


def _base(entry: int) -> int:
    return (entry >> 10) << ((entry & 1 << 9) >> 6)
