"""The tokenizer's keys in the metadata of a GGUF file, each checked when it is asked for."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from attn_cli.errors import ContentError

T = TypeVar("T")
_HINT = "--ids 1,2,3 needs no tokenizer and always works"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED = 1, 2, 3, 4, 5


class Ends(NamedTuple):
    """The ids before and after a text, and before and after the second of a pair."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    second_before: tuple[int, ...]
    second_after: tuple[int, ...]


class Keys:
    """What `tokenizer.ggml` says, each key checked for its type when it is asked for."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self._values, self._where = values, where

    def broken(self, what: str) -> ContentError:
        return ContentError(f"the tokenizer in {self._where} {what}", _HINT)

    @property
    def general_name(self) -> str:
        name = self._values.get("general.name", "")
        return name if isinstance(name, str) else ""

    def get(self, name: str, default: T) -> T:
        value = self._values.get(f"tokenizer.ggml.{name}", default)
        if type(value) is not type(default):
            raise self.broken(f"has a {name} that is not {type(default).__name__}")
        return value

    def items(self, name: str, kind: type[T], count: int = 0) -> list[T]:
        """An array. One of GGUF is of one type throughout, so that its first item tells."""
        values: list[T] = self.get(name, [])
        if not values or type(values[0]) is not kind or (count and len(values) != count):
            raise self.broken(f"has no {name}, or they are not as many or not what they should be")
        return values

    def marked(self) -> dict[int, int]:
        """The types of the tokens that are not normal; of none in a file without types."""
        types = self.get("token_type", [])
        if types:
            self.items("token_type", int, len(self.items("tokens", str)))
        return {id: type for id, type in enumerate(types) if type != NORMAL}

    def id(self, name: str, default: int) -> int:
        value = self.get(f"{name}_token_id", default)
        if not 0 <= value < len(self.items("tokens", str)):
            raise self.broken(f"has {value} as its {name} token, which is not in the vocabulary")
        return value

    def mask(self) -> int:
        """The id of the mask token, -1 where the file names none."""
        return self.id("mask", -1) if self.get("mask_token_id", -1) != -1 else -1

    def ends(self, *, bos: int, eos: int, add_bos: bool, add_eos: bool) -> Ends:
        """By the keys; these ids, and whether they are added, hold where a key is absent."""
        before = (self.id("bos", bos),) if self.get("add_bos_token", add_bos) else ()
        after = (self.id("eos", eos),) if self.get("add_eos_token", add_eos) else ()
        # The separator between two texts is a second end of the first: RoBERTa's form.
        parted = before and after and self.get("add_sep_token", False)
        return Ends(before, after, after if parted else before, after)
