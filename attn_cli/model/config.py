"""A strict reader of config.json: every key is either used, known to be harmless, or an error."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from attn_cli.errors import ContentError, shorten


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualHeads:
    """The sizes of a model in which every head has keys and values of its own, and equal shares."""

    layers: int
    heads: int
    model_width: int
    vocabulary: int
    context: int

    @property
    def kv_heads(self) -> int:
        """As many as heads."""
        return self.heads

    @property
    def head_width(self) -> int:
        """The model's width shared among the heads."""
        return self.model_width // self.heads


class ConfigReader:
    """Hands out the values of a config and remembers which were asked for.

    Every getter raises ContentError where the value is missing (and has no default) or unfit.
    """

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self._values = values
        self.where = where
        self._asked: set[str] = set()

    def _get(self, key: str, default: Any) -> Any:
        self._asked.add(key)
        value = self._values.get(key)
        if value is None and default is None:
            raise ContentError(f"{self.where}: the key {key} is missing")
        return default if value is None else value

    def integer(
        self, key: str, default: int | None = None, *, low: int = 1, high: int = 2**31 - 1
    ) -> int:
        """A whole number from `low` to `high`."""
        value = self._get(key, default)
        if type(value) is not int or not low <= value <= high:
            raise self._unfit(key, value, f"a whole number from {low} to {high}")
        return value

    def either(self, key: str, other: str, *, high: int = 2**31 - 1) -> int:
        """A whole number under one of two names; the first has the last word."""
        second = self.integer(other, high=high) if self._values.get(other) is not None else None
        return self.integer(key, second, high=high)

    def _unfit(self, key: str, value: Any, wanted: str) -> ContentError:
        return ContentError(f"{self.where}: {key} is {shorten(repr(value))}, not {wanted}")

    def positive(self, key: str, default: float | None = None) -> float:
        """A finite number above 0."""
        value = self._get(key, default)
        if type(value) not in (int, float) or not 0 < value <= sys.float_info.max:
            raise self._unfit(key, value, "a number above 0")
        return float(value)

    def cap(self, key: str) -> float:
        """A number above 0; 0 where the key is missing or null."""
        return self.positive(key) if self._values.get(key) is not None else self._none(key)

    def _none(self, key: str) -> float:
        self._asked.add(key)
        return 0.0

    def number(self, key: str, default: float) -> float:
        """A finite number."""
        value = self._get(key, default)
        if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:
            raise self._unfit(key, value, "a finite number")
        return float(value)

    def positives(self, key: str, count: int) -> tuple[float, ...]:
        """A list of `count` finite numbers above 0."""
        value = self._get(key, None)
        if not isinstance(value, list) or len(value) != count:
            raise ContentError(f"{self.where}: {key} is not a list of {count} numbers")
        for number in value:
            if type(number) not in (int, float) or not 0 < number <= sys.float_info.max:
                raise self._unfit(key, number, "numbers above 0")
        return tuple(map(float, value))

    def mapping(self, key: str) -> dict[str, Any]:
        """An object, empty if it is missing."""
        value = self._get(key, {})
        if not isinstance(value, dict):
            raise self._unfit(key, value, "an object")
        return value

    def words(self, key: str, choices: tuple[str, ...], count: int) -> tuple[str, ...]:
        """A list of `count` of these words, empty if it is missing."""
        value = self._get(key, [])
        if not isinstance(value, list) or (value and len(value) != count):
            raise ContentError(f"{self.where}: {key} is not a list of {count} words")
        for word in value:
            if word not in choices:
                raise self._unfit(key, word, f"one of {', '.join(choices)}")
        return tuple(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self._get(key, default)
        if type(value) is not bool:
            raise self._unfit(key, value, "true or false")
        return value

    def never(self, key: str) -> None:
        """A flag that may be there, but must be false: what it turns on is not known here."""
        if self.flag(key, False):
            raise ContentError(f"{self.where}: {key} is true, which attn does not know")

    def choice(self, key: str, choices: Iterable[str], default: str | None = None) -> str:
        """One of a few words."""
        value = self._get(key, default)
        known = tuple(choices)
        if value not in known:
            raise ContentError(
                f"{self.where}: {key} is {shorten(repr(value))}", f"attn knows {', '.join(known)}"
            )
        return value

    def finish(self, harmless: frozenset[str], ignored: Iterable[str]) -> None:
        """Raises ContentError if a key is neither asked for, harmless nor ignored by the user."""
        left = set(self._values) - self._asked - harmless - _ANY_FAMILY - set(ignored)
        if left:
            key = shorten(min(left))
            more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
            raise ContentError(
                f"{self.where}: the key {key}{more} is unknown and could change the numbers",
                f"if you know that it does not: --ignore-config {key}",
            )


# Keys of any family that say how a checkpoint was made or is sampled from, not what it computes.
_ANY_FAMILY = frozenset(
    """
    _name_or_path architectures auto_map bos_token_id decoder_start_token_id diversity_penalty
    do_sample dtype early_stopping encoder_no_repeat_ngram_size eos_token_id
    exponential_decay_length_penalty finetuning_task forced_bos_token_id forced_eos_token_id
    id2label label2id length_penalty max_length min_length model_type no_repeat_ngram_size
    num_beam_groups num_beams num_return_sequences output_attentions output_hidden_states
    output_scores pad_token_id prefix problem_type remove_invalid_values repetition_penalty
    return_dict return_dict_in_generate sep_token_id suppress_tokens task_specific_params
    temperature tf_legacy_loss tokenizer_class top_k top_p torch_dtype torchscript
    transformers_version typical_p use_bfloat16 use_cache bad_words_ids begin_suppress_tokens
    chunk_size_feed_forward
    """.split()
)
