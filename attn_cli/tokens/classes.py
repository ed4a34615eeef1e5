"""The reference library's classes of tokenizer: which one a folder gets, and how it cuts text.

Some classes cut text their own way, whatever a tokenizer.json says; the others leave it to the
file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from attn_cli.tokens.pretokenizers import PRE_TOKENIZERS

# The class by the config's model_type; "" goes by the file alone, whatever class is named.
_OF_MODELS = {
    "gpt2": "GPT2Tokenizer", "opt": "GPT2Tokenizer", "gpt_neo": "GPT2Tokenizer",
    "gptj": "GPT2Tokenizer", "gpt_neox": "GPTNeoXTokenizer", "qwen2": "Qwen2Tokenizer",
    "qwen3": "Qwen2Tokenizer", "gemma2": "GemmaTokenizer", "gemma3": "GemmaTokenizer",
    "gemma3_text": "GemmaTokenizer", "t5": "T5Tokenizer", "deberta-v2": "DebertaV2Tokenizer",
    "mistral": "", "phi3": "",
}  # fmt: skip
# Models without a class of their own, and one whose folders name a class that misleads.
_OPEN, _MISLED = ("llama", "bloom"), ("qwen2",)
# Classes that say nothing of how a text is cut.
_GENERIC = ("PreTrainedTokenizer", "TokenizersBackend", "BloomTokenizer")
# Classes that give the type of each token.
_TYPED = ("BertTokenizer", "DebertaV2Tokenizer")
_END = "<|endoftext|>"


def name_of(
    config: Mapping[str, Any], architecture: Mapping[str, Any], *, byte_level: bool = False
) -> str | None:
    """The class of a folder: "" goes by the file alone, None where nothing tells.

    `config` is tokenizer_config.json, `architecture` config.json. A tokenizer.json of bytes
    overrules Llama's class, which cannot read one.
    """
    model = str(architecture.get("model_type"))
    named = config.get("tokenizer_class") or architecture.get("tokenizer_class") or ""
    named, own = str(named).removesuffix("Fast"), _OF_MODELS.get(model)
    if own == "" or model in _MISLED:
        return own
    if named in _GENERIC or (named == "LlamaTokenizer" and byte_level):
        return ""
    return named or (own if own or model not in _OPEN else "")


def answers(
    name: str | None, config: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, Any]:
    """What a tokenizer of a class says of itself: its mask token, and whether it gives types."""
    given = config.get("model_input_names")
    typed = "token_type_ids" in given if isinstance(given, list) else name in _TYPED
    return {"mask": names.get("mask", ""), "typed": typed}


class Kind(NamedTuple):
    """A class with a way of its own.

    `parts` makes what stands around its BPE model, by the config; `options` are the model's;
    `names` are the special tokens that no config need name; with `again`, all special tokens lose
    their flags in the end. With `keeps_ends` a file's tokens around a text stay.
    """

    parts: Callable[[Any, Mapping[str, Any]], dict[str, Any]]
    options: Mapping[str, Any]
    names: Mapping[str, str]
    again: bool = False
    keeps_ends: bool = True


def _gpt2(package: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    spaced = bool(config.get("add_prefix_space"))
    return {
        "normalizer": None,
        "pre_tokenizer": package.pre_tokenizers.ByteLevel(add_prefix_space=spaced),
        "decoder": package.decoders.ByteLevel(),
    }


def _gpt_neox(package: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    return {**_gpt2(package, config), "normalizer": package.normalizers.NFC()}


def _qwen(name: str) -> Callable[[Any, Mapping[str, Any]], dict[str, Any]]:
    def parts(package: Any, config: Mapping[str, Any]) -> dict[str, Any]:
        cuts, spaced = package.pre_tokenizers, bool(config.get("add_prefix_space"))
        split = cuts.Split(package.Regex(PRE_TOKENIZERS[name].splits[0]), "isolated")
        alphabet = cuts.ByteLevel(add_prefix_space=spaced, use_regex=False)
        whole = _gpt_neox(package, config)
        return {**whole, "pre_tokenizer": cuts.Sequence([split, alphabet])}

    return parts


def _llama(package: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    prefix = config.get("add_prefix_space") in (None, True)
    scheme = "always" if config.get("legacy", False) else "first"
    return {
        "normalizer": None,
        "pre_tokenizer": package.pre_tokenizers.Metaspace(
            "▁", scheme if prefix else "never", split=False
        ),
        "decoder": spaces(package, prefix=prefix),
    }


def _gemma(package: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "normalizer": package.normalizers.Replace(" ", "▁"),
        "pre_tokenizer": package.pre_tokenizers.Split(" ", "merged_with_previous"),
        "decoder": spaces(package, prefix=False),
    }


def spaces(package: Any, *, prefix: bool, bytes_too: bool = True) -> Any:
    """The decoder of pieces with `▁` for a space, and with `prefix` one before every text."""
    steps = [package.decoders.Replace("▁", " ")]
    steps += [package.decoders.ByteFallback()] if bytes_too else []
    steps += [package.decoders.Fuse()] if bytes_too or prefix else []
    steps += [package.decoders.Strip(" ", 1, 0)] if prefix else []
    return package.decoders.Sequence(steps)


_BYTES = {"fuse_unk": False, "byte_fallback": False, "unk_token": None}
_PIECES = {"fuse_unk": True, "byte_fallback": True}
_ENDS = dict.fromkeys(("unk", "eos", "pad"), _END)
KINDS = {
    "GPT2Tokenizer": Kind(_gpt2, _BYTES, dict.fromkeys(("unk", "bos", "eos"), _END)),
    "GPTNeoXTokenizer": Kind(
        _gpt_neox, _BYTES, {**_ENDS, "bos": _END, "pad": "<|padding|>"}, keeps_ends=False
    ),
    "Qwen2Tokenizer": Kind(_qwen("qwen2"), _BYTES, _ENDS, again=True),
    "Qwen3_5Tokenizer": Kind(_qwen("qwen35"), _BYTES, _ENDS),
    "LlamaTokenizer": Kind(
        _llama, {**_PIECES, "unk_token": None}, {"unk": "<unk>", "bos": "<s>", "eos": "</s>"}
    ),
    "GemmaTokenizer": Kind(
        _gemma,
        _PIECES,
        {"unk": "<unk>", "bos": "<bos>", "eos": "<eos>", "pad": "<pad>", "mask": "<mask>"},
    ),
}
