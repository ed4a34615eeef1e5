"""A tokenizer that needs no library: a table of entries, and how a kind of it reads a text."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from attn_cli.tokens.origins import FOUND, UNKNOWN, Algorithm, Cut, Part, by_longest, explained
from attn_cli.tokens.token import NOTHING, PREFIX, Around, Token, no_pairs


class Plain:
    """A tokenizer (see `Tokenizer`), but for `_read_gap` and `decode`, which each kind has.

    `texts` are the tokens as they are shown, by id; `added` those that are found wherever they
    stand in a text, by how they are written there; `special` are the ids of special tokens.
    """

    problem = ""
    older = None

    def __init__(
        self,
        texts: Mapping[int, str],
        added: Mapping[str, int],
        special: Collection[int],
        around: Around,
        *,
        unknown: int,
        mask: int,
    ) -> None:
        self._texts, self._added, self._special, self._around = texts, added, special, around
        # Of two tokens that look alike the added one, then the first.
        self._ids = {text: id for id, text in reversed(texts.items())}
        self._ids |= {texts[id]: id for id in added.values()}
        self._starts = _by_first_character(added)
        self.unknown, self.mask = unknown, mask
        self.size = max(texts) + 1

    def encode(self, text: str, *, special: bool = True) -> tuple[Token, ...]:
        """Added and special tokens are recognised wherever they stand."""
        return tuple(self._first(text, self._around if special else NOTHING))

    def pair(
        self, text: str, second: str, *, special: bool = True
    ) -> tuple[tuple[Token, ...], tuple[int, ...]]:
        if not (self._around.after or self._around.second_before):
            raise no_pairs()
        around = self._around if special else NOTHING
        tokens = self._first(text, around)
        count = len(tokens)
        if second:
            self._put(around.second_before, tokens)
            self._read(second, len(text), tokens)
            self._put(around.second_after, tokens)
        return tuple(tokens), (0,) * count + (self._around.type,) * (len(tokens) - count)

    def explain(self, text: str) -> tuple[Part, ...]:
        cuts: list[Cut] = []
        for token in self.encode(text, special=False):
            entry = self._entry(token.id)
            written = self._added.get(text[slice(*token.span)]) == token.id
            how = FOUND if written else UNKNOWN if token.id == self.unknown else ""
            goes_on = cuts and not (cuts[-1].how or how or self._begins(entry))
            word = cuts[-1].word + (not goes_on) if cuts else 0
            cuts.append(Cut(token.id, entry, token.span, how, word))
        return explained(cuts, self._algorithm)

    def readable(self, entry: str) -> str:
        return entry

    def decode(self, ids: Iterable[int]) -> str:
        raise NotImplementedError

    def token(self, id: int) -> Token:
        return self._make(id, 0, 0)

    def id_of(self, text: str) -> int:
        return self._ids.get(text, -1)

    def added(self, text: str) -> int:
        return self._added.get(text, -1)

    def _read_gap(self, gap: str, offset: int, tokens: list[Token]) -> None:
        """Appends the tokens of what is between two added tokens, `offset` into the prompt."""
        raise NotImplementedError

    @property
    def _algorithm(self) -> Algorithm:
        """How a word is cut: into word pieces, unless a kind has another way."""
        return by_longest(self._ids.__contains__, PREFIX)

    def _entry(self, id: int) -> str:
        """A token as the algorithm spells it."""
        return self._texts[id]

    def _begins(self, entry: str) -> bool:
        """Whether a word begins with an entry."""
        return not entry.startswith(PREFIX)

    def _make(self, id: int, start: int, end: int) -> Token:
        return Token(id=id, text=self._texts[id], span=(start, end), special=id in self._special)

    def _first(self, text: str, around: Around) -> list[Token]:
        tokens: list[Token] = []
        self._put(around.before, tokens)
        self._read(text, 0, tokens)
        self._put(around.after, tokens)
        return tokens

    def _put(self, names: Iterable[str], tokens: list[Token]) -> None:
        end = tokens[-1].span[1] if tokens else 0
        tokens.extend(self._make(self._ids[name], end, end) for name in names)

    def _read(self, text: str, offset: int, tokens: list[Token]) -> None:
        """Appends the tokens of a text that begins at `offset` of the prompt."""
        at = 0
        for start, end in self._find_added(text):
            self._read_gap(text[at:start], offset + at, tokens)
            tokens.append(self._make(self._added[text[start:end]], offset + start, offset + end))
            at = end
        self._read_gap(text[at:], offset + at, tokens)

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


def _by_first_character(words: Iterable[str]) -> dict[str, list[str]]:
    """The longest first: the first that matches is then the one to take."""
    starts: dict[str, list[str]] = {}
    for word in sorted(words, key=len, reverse=True):
        starts.setdefault(word[0], []).append(word)
    return starts
