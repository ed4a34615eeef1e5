"""What every tokenizer of this package gives and answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from attn_cli.errors import ContentError
from attn_cli.tokens.origins import Part

MASKS = ("[MASK]", "<mask>")  # what mask tokens are called
PREFIX = "##"  # of a word piece that goes on with a word


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One token of a prompt.

    `text` is readable: a leading space shows as one, word pieces keep their marker (`##ing`).
    `span` is the half-open range of character offsets in the prompt; a token that is not in the
    text has (n, n). `bytes` holds the raw bytes where `text` cannot show them exactly.
    """

    id: int
    text: str
    span: tuple[int, int]
    bytes: bytes = b""
    special: bool = False


def telling(tokens: Sequence[Token], masks: Sequence[int]) -> int:
    """The token to follow in an encoder: the first of those to fill, or the user's last."""
    own = [i for i, token in enumerate(tokens) if not token.special]
    return (list(masks) or own[::-1] or [len(tokens) - 1])[0]


class Around(NamedTuple):
    """The tokens that stand around a text, and around the second of a pair, which has its type."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    second_before: tuple[str, ...] = ()
    second_after: tuple[str, ...] = ()
    type: int = 0


NOTHING = Around()


def no_pairs() -> ContentError:
    """What a tokenizer raises that has no form for pairs."""
    return ContentError(
        "the model's tokenizer has no form for pairs of texts", "give one text, without --pair"
    )


class Tokenizer(Protocol):
    """`size` is one more than the largest id: the rows that an embedding needs at least.

    `unknown` is the id of the unknown token, -1 when there is none. `problem` says why texts cannot
    be read; it is empty where they can. `mask` is the id of the token that a masked-language model
    fills, -1 when there is none. `older` reads the same files as older versions of the
    reference library do, None where that is known to be the same or not known.
    """

    size: int
    unknown: int
    mask: int
    problem: str
    older: Tokenizer | None

    def encode(self, text: str, *, special: bool = True) -> tuple[Token, ...]:
        """The tokens of `text`; `special` puts in those that the tokenizer adds by itself."""
        ...

    def pair(
        self, text: str, second: str, *, special: bool = True
    ) -> tuple[tuple[Token, ...], tuple[int, ...]]:
        """The tokens of two segments as one sequence, and the segment (token type) of each.

        Spans are offsets in `text + second`. `special` puts in the tokens that stand around and
        between them. An empty second segment is none, as in the reference library. Raises
        ContentError where the tokenizer has no form for pairs.
        """
        ...

    def explain(self, text: str) -> tuple[Part, ...]:
        """How the tokens of a text came about, without those that are added; the same spans."""
        ...

    def readable(self, entry: str) -> str:
        """What an entry, or a part of one, stands for, as `Token.text` shows it."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, special tokens included; ids of no token are left out."""
        ...

    def token(self, id: int) -> Token:
        """The token of `id`, with span (0, 0); a KeyError when there is none."""
        ...

    def id_of(self, text: str) -> int:
        """The id of the entry that is exactly `text`, -1 when absent."""
        ...

    def added(self, text: str) -> int:
        """The id of the special or otherwise added token that is `text`, -1 when absent."""
        ...
