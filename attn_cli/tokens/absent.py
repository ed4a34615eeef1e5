"""Opening a tokenizer when it is first asked for, and what stands where none can be opened."""

from collections.abc import Callable, Iterable
from functools import cache

from attn_cli.errors import ContentError
from attn_cli.tokens.origins import Part
from attn_cli.tokens.token import Token, Tokenizer


def deferred(make: Callable[[], Tokenizer]) -> Callable[[], Tokenizer]:
    """`make`, called once and not before it is needed; an `Absent` where it fails."""

    @cache
    def tokenizer() -> Tokenizer:
        try:
            return make()
        except ContentError as problem:
            return Absent(problem)  # ids still work; a text raises it

    return tokenizer


class Absent:
    """Stands where a model has no usable tokenizer: ids work, texts raise ContentError."""

    size = 0
    unknown = mask = -1
    older = None

    def __init__(self, error: ContentError) -> None:
        self.error = error
        self.problem = error.message + (f" ({error.hint})" if error.hint else "")

    def encode(self, text: str, *, special: bool = True) -> tuple[Token, ...]:
        raise self.error

    def pair(
        self, text: str, second: str, *, special: bool = True
    ) -> tuple[tuple[Token, ...], tuple[int, ...]]:
        raise self.error

    def explain(self, text: str) -> tuple[Part, ...]:
        raise self.error

    def readable(self, entry: str) -> str:
        return entry

    def decode(self, ids: Iterable[int]) -> str:
        """The ids themselves, as `<5><7>`."""
        return "".join(f"<{id}>" for id in ids)

    def token(self, id: int) -> Token:
        raise KeyError(id)

    def id_of(self, text: str) -> int:
        return -1

    def added(self, text: str) -> int:
        raise self.error
