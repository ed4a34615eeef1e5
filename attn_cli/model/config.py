"""A strict reader of config.json: a key is used, known to be harmless, refused, or unknown."""

import json
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
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

    A null is as good as absent. Every getter raises ContentError where the value is missing (and
    has no default) or unfit; the message names `where` the config is, and the key as `names` has
    it. Keys that the user said to ignore are not there. `unknown` collects, for this config and
    its sections, the keys that nobody asked for.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        where: str,
        ignored: Iterable[str] = (),
        *,
        names: Mapping[str, str] = MappingProxyType({}),
        within: str = "",
        unknown: list[str] | None = None,
    ) -> None:
        self._ignored = frozenset(ignored)
        self._values = {key: values[key] for key in values if key not in self._ignored}
        self._names, self._where, self._within = dict(names), where, within
        self._asked: set[str] = set()
        self.unknown: list[str] = [] if unknown is None else unknown

    def error(self, message: str, hint: str = "") -> ContentError:
        """The bare fact as an error that says where."""
        return ContentError(f"{self._where}: {message}", hint)

    @property
    def _in_gguf(self) -> bool:
        return any("." in name for name in self._names.values())

    def named(self, key: str) -> str:
        """The key as the user's file has it."""
        return self._names.get(key, key)

    def section(self, key: str, values: Mapping[str, Any] | None = None) -> "ConfigReader":
        """The reader of an object within, or of `values` that stand for it."""
        inner = self.mapping(key) if values is None else values
        # The keys of a GGUF file say in full where they belong.
        where = self._where if self._in_gguf else f"{self._where}: {key}"
        return self._again(inner, where, f"{self._within}{key}.")

    def with_defaults(self, defaults: Mapping[str, Any]) -> "ConfigReader":
        """The same config with values for the keys that are not there. A null stays: it is one."""
        return self._again({**defaults, **self._values}, self._where, self._within)

    def without(self, *keys: str) -> "ConfigReader":
        """The same config without keys that have been judged."""
        values = {key: value for key, value in self._values.items() if key not in keys}
        return self._again(values, self._where, self._within)

    def _again(self, values: Mapping[str, Any], where: str, within: str) -> "ConfigReader":
        return ConfigReader(
            values, where, self._ignored, names=self._names, within=within, unknown=self.unknown
        )

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        self._asked.add(key)
        return self._values.get(key) is not None

    def says(self, key: str) -> bool:
        """Whether the key is there, be it null."""
        self._asked.add(key)
        return key in self._values

    def _get(self, key: str, default: Any) -> Any:
        self._asked.add(key)
        value = self._values.get(key)
        if value is None and default is None:
            raise self.error(f"the key {self.named(key)} is missing")
        return default if value is None else value

    def _unfit(self, key: str, value: Any, wanted: str) -> ContentError:
        return self.error(f"{self.named(key)} is {shorten(repr(value))}, not {wanted}")

    def integer(
        self, key: str, default: int | None = None, *, low: int = 1, high: int = 2**31 - 1
    ) -> int:
        """A whole number from `low` to `high`."""
        value = self._get(key, default)
        if type(value) is not int or not low <= value <= high:
            raise self._unfit(key, value, f"a whole number from {low} to {high}")
        return value

    def take(self, own: str, standard: str) -> None:
        """Another spelling of a key, which has the last word where both stand."""
        self._asked.add(standard)
        if self.has(standard):
            self._values[own] = self._values[standard]
            self._names[own] = self.named(standard)

    def equal_shares(self, width: str, heads: str) -> tuple[int, int]:
        """A width that divides by the count of heads, and that count."""
        whole, parts = self.integer(width), self.integer(heads)
        if whole % parts:
            raise self.error(
                f"{self.named(width)} {whole} does not divide by {self.named(heads)} {parts}"
            )
        return whole, parts

    def positive(self, key: str, default: float | None = None) -> float:
        """A finite number above 0."""
        value = self._get(key, default)
        if type(value) not in (int, float) or not 0 < value <= sys.float_info.max:
            raise self._unfit(key, value, "a number above 0")
        return float(value)

    def cap(self, key: str) -> float:
        """A number above 0; 0 where the key is missing or null."""
        self._asked.add(key)
        return self.positive(key) if self.has(key) else 0.0

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number."""
        value = self._get(key, default)
        if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:
            raise self._unfit(key, value, "a finite number")
        return float(value)

    def positives(self, key: str, count: int) -> tuple[float, ...]:
        """A list of `count` finite numbers above 0."""
        value = self._get(key, None)
        if not isinstance(value, list) or len(value) != count:
            raise self.error(f"{self.named(key)} is not a list of {count} numbers")
        for number in value:
            if type(number) not in (int, float) or not 0 < number <= sys.float_info.max:
                raise self._unfit(key, number, "numbers above 0")
        return tuple(map(float, value))

    def integers(self, key: str, least: int, *, high: int) -> tuple[int, ...]:
        """A list of at least so many whole numbers from 0 to `high`, empty if it is missing."""
        value = self._get(key, [])
        if not isinstance(value, list) or (self.has(key) and len(value) < least):
            raise self.error(f"{self.named(key)} is not a list of {least} numbers")
        return self._whole(key, value, f"whole numbers from 0 to {high}", high=high)

    def _whole(
        self, key: str, values: Iterable[Any], wanted: str, low: int = 0, high: float = math.inf
    ) -> tuple[int, ...]:
        for number in values:
            if type(number) is not int or not low <= number <= high:
                raise self._unfit(key, number, wanted)
        return tuple(values)

    def lists(self, key: str) -> bool:
        """Whether the key holds a list."""
        return isinstance(self._values.get(key), list)

    def flags(self, key: str, count: int) -> tuple[bool, ...]:
        """A list of `count` times true or false."""
        value = self._get(key, None)
        if not isinstance(value, list) or len(value) != count or {*map(type, value)} != {bool}:
            raise self.error(f"{self.named(key)} is not a list of {count} times true or false")
        return tuple(value)

    def mapping(self, key: str) -> dict[str, Any]:
        """An object, empty if it is missing."""
        value = self._get(key, {})
        if not isinstance(value, dict):
            raise self._unfit(key, value, "an object")
        return value

    def sizes(
        self, key: str, count: int, default: tuple[int, ...] | None = None
    ) -> tuple[int, ...]:
        """A list of `count` whole numbers above 0."""
        value = self._get(key, default)
        if not isinstance(value, list | tuple) or len(value) != count:
            raise self._unfit(key, value, f"a list of {count} whole numbers")
        return self._whole(key, value, "whole numbers above 0", low=1, high=2**31 - 1)

    def numbers(self, key: str) -> tuple[int, ...]:
        """A whole number from 0 on, or a list of them; none if it is missing."""
        value = self._get(key, [])
        return self._whole(key, value if isinstance(value, list) else [value], "whole numbers")

    def text_or_texts(self, key: str) -> tuple[str, ...] | str:
        """A text, or a list of texts; an empty list if it is missing."""
        value = self._get(key, [])
        return value if isinstance(value, str) else self.texts(key)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, empty if it is missing."""
        value = self._get(key, [])
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise self.error(f"{self.named(key)} is not a list of texts")
        return tuple(value)

    def words(self, key: str, choices: tuple[str, ...], count: int) -> tuple[str, ...]:
        """A list of `count` of these words, empty if it is missing."""
        value = self._get(key, [])
        if not isinstance(value, list) or (value and len(value) != count):
            raise self.error(f"{self.named(key)} is not a list of {count} words")
        for word in value:
            if word not in choices:
                raise self._unfit(key, word, f"one of {', '.join(choices)}")
        return tuple(value)

    def repeated(self, key: str, default: list) -> tuple[str, ...]:
        """Words of `[[words, count], …]`, each list of words as often as it says."""
        value, wanted = self._get(key, default), "a list of [[words, …], count]"
        found: list[str] = []
        for item in value if isinstance(value, list) else [None]:
            words, count = item if isinstance(item, list) and len(item) == 2 else (None, None)
            fits = isinstance(words, list) and all(isinstance(word, str) for word in words)
            if not fits or type(count) is not int or not 0 <= count * len(words) <= 2**16:
                raise self._unfit(key, value, wanted)
            found += words * count
        return tuple(found)

    def wholes(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers from 0, empty if it is missing."""
        value = self._get(key, [])
        if not isinstance(value, list):
            raise self._unfit(key, value, "a list of whole numbers")
        return self._whole(key, value, "whole numbers from 0")

    def some_words(self, key: str, choices: tuple[str, ...]) -> tuple[str, ...]:
        """Some of these words, in a list or in one text with | between; none if it is missing."""
        value = self._get(key, [])
        if isinstance(value, str):
            value = [word for word in map(str.strip, value.lower().split("|")) if word]
        if not isinstance(value, list):
            raise self._unfit(key, value, "a list of words")
        for word in value:
            if word not in choices:
                raise self._unfit(key, word, f"one of {', '.join(choices)}")
        return tuple(dict.fromkeys(value))

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._get(key, default)
        if type(value) is not bool:
            raise self._unfit(key, value, "true or false")
        return value

    def choice(self, key: str, choices: Iterable[str], default: str | None = None) -> str:
        """One of a few words."""
        value = self._get(key, default)
        known = tuple(choices)
        if value not in known:
            raise self.error(
                f"{self.named(key)} is {shorten(repr(value))}", f"attn knows {', '.join(known)}"
            )
        return value

    def only(self, key: str, *neutral: Any, null: bool = True) -> None:
        """A key that may be there with a `neutral` value, which changes nothing, or null if so.

        Another is not known here, and the user may say that it changes nothing either.
        """
        self._asked.add(key)
        value = self._values.get(key)
        if key in self._values and value not in neutral and not (null and value is None):
            raise self.error(
                f"{self.named(key)} is {shorten(json.dumps(value))}, which attn does not know",
                f"if it changes no number: --ignore-config {self.named(key)}",
            )

    def finish(self, harmless: Iterable[str] = ()) -> None:
        """The end of a model's config: refuses what changes any family, and see `leave`.

        `is_causal` does where a mask is causal; for an encoder it is among the `harmless`.
        """
        harmless = set(harmless)
        if "is_causal" not in harmless:
            self.only("is_causal", True, null=False)
        self.only("per_layer_config", {})
        self.leave(_ANY_FAMILY | harmless)

    def leave(self, harmless: Iterable[str] = ()) -> None:
        """Notes the keys that are neither asked for nor harmless: the reference reads them not."""
        known = self._asked | set(harmless)
        self.unknown += sorted(self._within + key for key in self._values if key not in known)


# Keys of any family that say how a checkpoint was made or is sampled from, not what it computes;
# the last three are refused before, unless they are null.
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
    chunk_size_feed_forward _commit_hash _attn_implementation add_cross_attention
    assistant_confidence_threshold assistant_lookbehind attn_implementation
    cross_attention_hidden_size encoder_repetition_penalty epsilon_cutoff eta_cutoff
    experts_implementation gradient_checkpointing is_decoder is_encoder_decoder name_or_path
    num_assistant_tokens num_assistant_tokens_schedule num_labels target_lookbehind
    tie_encoder_decoder tie_last_hidden_states
    compression_config quantization quantization_config
    """.split()
)
