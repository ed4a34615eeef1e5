"""The frozen record of what a model reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from attn_cli.tokens.token import Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """Tokens and, unless only ids were given, the text they came from.

    `special`: the tokens that the tokenizer adds by itself were asked for. `chat` names the format
    of a user's turn, and `ends` are the ids that end the answer to it. The last `added` tokens are
    the model's own. `other_keys` are those of a JSON line that are not its text. Of two segments
    `pair` is the second's text and `types` the segment of each token. In an encoder–decoder the
    prompt is the encoder's and `target` what the decoder reads. Pages follow the token `follow`.
    `forced`: it may be longer than the context of the model's training.
    """

    text: str
    has_text: bool
    tokens: tuple[Token, ...]
    special: bool = True
    chat: str = ""
    ends: tuple[int, ...] = ()
    added: int = 0
    other_keys: Mapping[str, Any] = field(default_factory=dict)
    pair: str = ""
    types: tuple[int, ...] = ()
    target: "Prompt | None" = None
    follow: int = -1
    forced: bool = False

    @property
    def followed(self) -> int:
        """The position that pages follow."""
        return self.follow % len(self.tokens)

    def sides(self, stack: str, kind: str) -> tuple["Prompt", "Prompt"]:
        """What the queries and the keys of an attention are made from."""
        return self.of(stack), self if kind == "cross" else self.of(stack)

    def of(self, stack: str) -> "Prompt":
        """What a stack reads."""
        return self.target if self.target and stack == "decoder" else self

    @property
    def last(self) -> "Prompt":
        """What the stack that predicts reads."""
        return self.target or self

    def with_last(self, read: "Prompt") -> "Prompt":
        """The same, where the stack that predicts reads this instead."""
        return replace(self, target=read) if self.target else read

    @property
    def given(self) -> tuple[str, ...]:
        """The texts of the tokens that the model has not added."""
        return self.labels[: len(self.tokens) - self.added]

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(token.id for token in self.tokens)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(token.text for token in self.tokens)

    @property
    def settings(self) -> dict[str, Any]:
        """How the text was read, as documents record it."""
        pair = {"pair": self.pair} if self.types else {}
        forced = {"force_context": True} if self.forced else {}
        return {"special": self.special, "chat": self.chat or None, **pair, **forced}
