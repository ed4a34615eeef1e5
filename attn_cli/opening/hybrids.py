"""Models in which something else stands in place of attention in layers, or beside it.

What does is data: a word by the model's type. Where it does follows from whichever key says so.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from attn_cli.errors import ContentError, some
from attn_cli.model.tensors import MOST_LAYERS


class _Hybrid(NamedTuple):
    """`what` is there instead. Without a key that says otherwise each `period`th layer, from
    `offset` on, has attention; 0: none has. `beside`: attention stands in every layer too."""

    what: str
    period: int = 0
    offset: int = 0
    beside: bool = False


_DELTA, _MAMBA, _MAMBA2 = "a gated delta net", "Mamba", "Mamba 2"
_KNOWN = {
    **dict.fromkeys(
        ("qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text", "qwen3next",
         "qwen35", "qwen35moe", "olmo_hybrid"),
        _Hybrid(_DELTA, 4, 3),
    ),
    "jamba": _Hybrid(_MAMBA, 8, 4),
    **dict.fromkeys(("mamba", "falcon_mamba"), _Hybrid(_MAMBA)),
    "mamba2": _Hybrid(_MAMBA2),
    **dict.fromkeys(
        ("bamba", "granitemoehybrid", "granitehybrid", "plamo2"), _Hybrid(_MAMBA2)
    ),
    **dict.fromkeys(
        ("nemotron_h", "nemotron_h_moe"), _Hybrid("Mamba 2 or a feed-forward network alone")
    ),
    **dict.fromkeys(("zamba", "zamba2"), _Hybrid(_MAMBA2, 6, 4)),
    **dict.fromkeys(("falcon_h1", "falcon-h1"), _Hybrid(_MAMBA2, beside=True)),
    "recurrent_gemma": _Hybrid("a gated linear recurrence", 3, 2),
    **dict.fromkeys(
        ("rwkv", "rwkv6", "rwkv7", "rwkv6qwen2", "arwkv7"), _Hybrid("a recurrence (RWKV)")
    ),
    **dict.fromkeys(("kimi_linear", "kimi-linear"), _Hybrid("Kimi delta attention")),
    "minimax": _Hybrid("linear attention", 2, 1),
    **dict.fromkeys(("lfm2_moe", "lfm2moe"), _Hybrid("a gated short convolution")),
}  # fmt: skip
_LISTS = ("layer_types", "layers_block_type", "block_types")


def refusal(values: Mapping[str, Any], where: str, kind: str) -> ContentError | None:
    """What to say of a model of this kind; None of one that is no hybrid."""
    known = _KNOWN.get(kind)
    if known is None:
        return None
    inner = values.get("text_config")
    attends = _attending({**values, **(inner if isinstance(inner, Mapping) else {})}, kind, known)
    others = [layer for layer, here in enumerate(attends) if not here]
    if attends and not others and not known.beside:
        return None
    what = f"{where}: {kind} has {known.what}"
    if known.beside:
        what += " beside attention in every layer"
    elif not any(attends):
        what += " in place of attention" + (" in every layer" if attends else "")
    else:
        own = [layer for layer, here in enumerate(attends) if here]
        what += f" in place of attention in layers {_ranges(others)}, attention in {_ranges(own)}"
    return ContentError(
        f"{what}; attn does not compute that", "open a model with attention in every layer"
    )


def _attending(values: Mapping[str, Any], kind: str, known: _Hybrid) -> list[bool]:
    """Which layers have attention, as far as a config, or the keys of a GGUF file, say so."""
    own = {key.removeprefix(f"{kind}."): value for key, value in values.items()}
    layers = next((own[n] for n in ("num_hidden_layers", "n_layer", "block_count") if n in own), 0)
    layers = layers if type(layers) is int and 0 < layers <= MOST_LAYERS else 0
    for key in _LISTS:
        if words := _list(own.get(key), str):
            count = layers if key == "block_types" else len(words)
            return [_is_attention(words[n % len(words)]) for n in range(count)]
    if isinstance(pattern := own.get("hybrid_override_pattern"), str):
        return [letter == "*" for letter in pattern[:MOST_LAYERS]]
    if heads := _list(own.get("attention.head_count_kv"), int):
        return [count > 0 for count in heads]
    if "attn_layer_indices" in own:
        return [n in _list(own["attn_layer_indices"], int) for n in range(layers)]
    period = own.get("attn_layer_period", own.get("full_attention_interval", known.period))
    offset = own.get("attn_layer_offset", period - 1 if "full_attention_interval" in own
                     else known.offset) if type(period) is int else 0  # fmt: skip
    return [bool(period) and n % period == offset for n in range(layers)]


def _list(value: Any, kind: type) -> Sequence[Any]:
    """A list of values of one kind, empty where it is none."""
    fits = isinstance(value, list) and all(type(one) is kind for one in value[:MOST_LAYERS])
    return value[:MOST_LAYERS] if fits else ()


def _is_attention(word: str) -> bool:
    return word == "hybrid" or ("attention" in word and "linear" not in word)


def _ranges(numbers: Sequence[int]) -> str:
    """`0-3, 5-11`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return some([f"{a}-{b}" if a < b else str(a) for a, b in runs], 12)
