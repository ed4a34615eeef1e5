"""A tokenizer that is opened when it is first asked something, and one that is not there."""

from collections.abc import Callable, Iterable

from attn_cli.errors import ContentError
from attn_cli.tokens.token import Token, Tokenizer


class Deferred:
    """Stands for the tokenizer that `make` opens; a question that needs none never opens it."""

    def __init__(self, make: Callable[[], Tokenizer]) -> None:
        self._make = make
        self._made: list[Tokenizer] = []

    def _tokenizer(self) -> Tokenizer:
        if not self._made:
            try:
                self._made.append(self._make())
            except ContentError as problem:
                self._made.append(Absent(problem))  # ids still work; a text raises it
        return self._made[0]

    @property
    def problem(self) -> str:
        """Why there is no tokenizer; empty if there is one."""
        tokenizer = self._tokenizer()
        if not isinstance(tokenizer, Absent):
            return ""
        hint = f" ({tokenizer.problem.hint})" if tokenizer.problem.hint else ""
        return tokenizer.problem.message + hint

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

    def added(self, text: str) -> int:
        """As in Tokenizer."""
        return self._tokenizer().added(text)


class Absent:
    """Stands where a model has no usable tokenizer: ids work, texts do not."""

    size = 0
    unknown = -1

    def __init__(self, problem: ContentError) -> None:
        self.problem = problem

    def encode(self, text: str, *, special: bool = True) -> tuple[Token, ...]:
        """Raises ContentError: a text cannot be read."""
        raise self.problem

    def decode(self, ids: Iterable[int]) -> str:
        """The ids themselves, as `<5><7>`."""
        return "".join(f"<{id}>" for id in ids)

    def token(self, id: int) -> Token:
        """Raises KeyError: no id has a text."""
        raise KeyError(id)

    def id_of(self, text: str) -> int:
        """-1: no text has an id."""
        return -1

    def added(self, text: str) -> int:
        """Raises ContentError: whether there is such a token is not known."""
        raise self.problem
