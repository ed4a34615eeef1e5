"""A tokenizer that is opened when it is first asked something."""

from collections.abc import Callable, Iterable

from attn_cli.tokens.token import Token, Tokenizer


class Deferred:
    """Stands for the tokenizer that `make` opens: a question about ids alone need not pay for it."""

    def __init__(self, make: Callable[[], Tokenizer]) -> None:
        self._make = make
        self._made: list[Tokenizer] = []

    def _tokenizer(self) -> Tokenizer:
        if not self._made:
            self._made.append(self._make())
        return self._made[0]

    @property
    def size(self) -> int:
        """As in Tokenizer."""
        return self._tokenizer().size

    @property
    def unknown(self) -> int:
        """As in Tokenizer."""
        return self._tokenizer().unknown

    def encode(self, text: str, *, special: bool = True) -> tuple[Token, ...]:
        """As in Tokenizer."""
        return self._tokenizer().encode(text, special=special)

    def decode(self, ids: Iterable[int]) -> str:
        """As in Tokenizer."""
        return self._tokenizer().decode(ids)

    def token(self, id: int) -> Token:
        """As in Tokenizer."""
        return self._tokenizer().token(id)

    def id_of(self, text: str) -> int:
        """As in Tokenizer."""
        return self._tokenizer().id_of(text)
