"""The reference library's classes of tokenizer: which one a folder gets, and how it cuts text.

Some classes cut text their own way, whatever a tokenizer.json says; the others leave it to the
file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from attn_cli.tokens.pretokenizers import PRE_TOKENIZERS
from attn_cli.tokens.token import Around

# The class by the config's model_type; "" goes by the file alone, whatever class is named.
_OF_MODELS = {
    "gpt2": "GPT2Tokenizer", "opt": "GPT2Tokenizer", "gpt_neo": "GPT2Tokenizer",
    "gptj": "GPT2Tokenizer", "gpt_neox": "GPTNeoXTokenizer", "qwen2": "Qwen2Tokenizer",
    "qwen3": "Qwen2Tokenizer", "gemma2": "GemmaTokenizer", "gemma3": "GemmaTokenizer",
    "gemma3_text": "GemmaTokenizer", "t5": "T5Tokenizer", "deberta-v2": "DebertaV2Tokenizer",
    "bert": "BertTokenizer", "electra": "BertTokenizer", "distilbert": "BertTokenizer",
    "roberta": "RobertaTokenizer", "bart": "RobertaTokenizer", "albert": "AlbertTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer", "camembert": "CamembertTokenizer", "mt5": "T5Tokenizer",
    "mistral": "", "phi3": "", "modernbert": "", "umt5": "",
}  # fmt: skip
# Models without a class of their own, and one whose folders name a class that misleads.
_OPEN, _MISLED = ("llama", "bloom"), ("qwen2",)
# Classes that say nothing of how a text is cut.
_GENERIC = ("PreTrainedTokenizer", "TokenizersBackend", "BloomTokenizer")
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
    kind = KINDS.get(name or "")
    typed = "token_type_ids" in given if isinstance(given, list) else bool(kind and kind.typed)
    return {"mask": names.get("mask", ""), "typed": typed}


def spaced(
    config: Mapping[str, Any], name: str | None, names: Mapping[str, str]
) -> Mapping[str, Any]:
    """The config with the tokens that take the space before them, unless it says how they are."""
    kind = KINDS.get(name or "")
    given = {f"{role}_token": role for role in (kind.spaced if kind else ())}
    written = {key for key in given if isinstance(config.get(key), dict)}
    own = {key: {"content": names[role], "lstrip": True} for key, role in given.items()}
    return {**config, **{key: value for key, value in own.items() if key not in written}}


class Kind(NamedTuple):
    """A class with a way of its own, around a model of the library's class `model`.

    `parts` makes the rest, by the config and the normalizer that a SentencePiece file holds;
    `options` are the model's; `names` are the special tokens that no config need name; with
    `again`, all special tokens lose their flags in the end. `around` are the tokens around a text,
    whatever a config says; with `keeps_ends` those of a tokenizer.json stay. `typed`: it gives
    the type of each token. `spaced` are the roles whose tokens take the space before them.
    """

    parts: Callable[[Any, Mapping[str, Any], Any], dict[str, Any]]
    options: Mapping[str, Any]
    names: Mapping[str, str]
    again: bool = False
    keeps_ends: bool = True
    model: str = "BPE"
    around: Callable[[Mapping[str, str]], Around] | None = None
    typed: bool = False
    spaced: tuple[str, ...] = ()


def _gpt2(package: Any, config: Mapping[str, Any], _: Any = None) -> dict[str, Any]:
    spaced = bool(config.get("add_prefix_space"))
    return {
        "normalizer": None,
        "pre_tokenizer": package.pre_tokenizers.ByteLevel(add_prefix_space=spaced),
        "decoder": package.decoders.ByteLevel(),
    }


def _gpt_neox(package: Any, config: Mapping[str, Any], _: Any = None) -> dict[str, Any]:
    return {**_gpt2(package, config), "normalizer": package.normalizers.NFC()}


def _qwen(name: str) -> Callable[[Any, Mapping[str, Any], Any], dict[str, Any]]:
    def parts(package: Any, config: Mapping[str, Any], _: Any) -> dict[str, Any]:
        cuts, spaced = package.pre_tokenizers, bool(config.get("add_prefix_space"))
        split = cuts.Split(package.Regex(PRE_TOKENIZERS[name].splits[0]), "isolated")
        alphabet = cuts.ByteLevel(add_prefix_space=spaced, use_regex=False)
        whole = _gpt_neox(package, config)
        return {**whole, "pre_tokenizer": cuts.Sequence([split, alphabet])}

    return parts


def _llama(package: Any, config: Mapping[str, Any], _: Any) -> dict[str, Any]:
    prefix = config.get("add_prefix_space") in (None, True)
    scheme = "always" if config.get("legacy", False) else "first"
    return {
        "normalizer": None,
        "pre_tokenizer": package.pre_tokenizers.Metaspace(
            "▁", scheme if prefix else "never", split=False
        ),
        "decoder": spaces(package, prefix=prefix),
    }


def _gemma(package: Any, config: Mapping[str, Any], _: Any) -> dict[str, Any]:
    return {
        "normalizer": package.normalizers.Replace(" ", "▁"),
        "pre_tokenizer": package.pre_tokenizers.Split(" ", "merged_with_previous"),
        "decoder": spaces(package, prefix=False),
    }


def _bert(package: Any, config: Mapping[str, Any], _: Any) -> dict[str, Any]:
    accents = config.get("strip_accents")
    return {
        "normalizer": package.normalizers.BertNormalizer(
            handle_chinese_chars=bool(config.get("tokenize_chinese_chars", True)),
            strip_accents=None if accents is None else bool(accents),
            lowercase=bool(config.get("do_lower_case", True)),
        ),
        "pre_tokenizer": package.pre_tokenizers.BertPreTokenizer(),
        "decoder": package.decoders.WordPiece(prefix="##"),
    }


def _pieces(package: Any, config: Mapping[str, Any], charsmap: Any) -> dict[str, Any]:
    scheme = "always" if config.get("add_prefix_space", True) else "never"
    cuts = package.pre_tokenizers
    return {
        "normalizer": charsmap,
        "pre_tokenizer": cuts.Sequence([cuts.WhitespaceSplit(), cuts.Metaspace("▁", scheme)]),
        "decoder": package.decoders.Metaspace("▁", scheme),
    }


def _t5(package: Any, config: Mapping[str, Any], charsmap: Any) -> dict[str, Any]:
    return _pieces(package, {}, charsmap)


def _albert(package: Any, config: Mapping[str, Any], charsmap: Any) -> dict[str, Any]:
    forms = package.normalizers
    steps = [forms.Replace("``", '"'), forms.Replace("''", '"')]
    steps += [] if config.get("keep_accents") else [forms.NFKD(), forms.StripAccents()]
    steps += [forms.Lowercase()] if config.get("do_lower_case", True) else []
    steps += [charsmap] if charsmap else []
    return {**_pieces(package, config, None), "normalizer": forms.Sequence(steps)}


def _deberta(package: Any, config: Mapping[str, Any], _: Any) -> dict[str, Any]:
    forms, cuts = package.normalizers, package.pre_tokenizers
    steps = [forms.Lowercase()] if config.get("do_lower_case") else []
    steps += [forms.Replace(package.Regex(r"\s{2,}|[\n\r\t]"), " "), forms.NFC()]
    before = [cuts.Punctuation("isolated")] if config.get("split_by_punct") else []
    scheme = "always" if config.get("add_prefix_space", True) else "first"
    return {
        "normalizer": forms.Sequence([*steps, forms.Strip(left=False, right=True)]),
        "pre_tokenizer": cuts.Sequence([*before, cuts.Metaspace("▁", scheme)]),
        "decoder": package.decoders.Metaspace("▁", scheme),
    }


def _between(first: str, last: str, *, twice: bool) -> Callable[[Mapping[str, str]], Around]:
    """Around a text the token of the role `first`, and `last`, which ends the second of a pair too.

    With `twice`, a second `last` begins it; without, it is of another type.
    """

    def around(names: Mapping[str, str]) -> Around:
        end = (names[last],)
        return Around((names[first],), end, end * twice, end, type=int(not twice))

    return around


def spaces(package: Any, *, prefix: bool, bytes_too: bool = True) -> Any:
    """The decoder of pieces with `▁` for a space, and with `prefix` one before every text."""
    steps = [package.decoders.Replace("▁", " ")]
    steps += [package.decoders.ByteFallback()] if bytes_too else []
    steps += [package.decoders.Fuse()] if bytes_too or prefix else []
    steps += [package.decoders.Strip(" ", 1, 0)] if prefix else []
    return package.decoders.Sequence(steps)


_PLAIN = {"dropout": None, "ignore_merges": False}
_BYTES = {"fuse_unk": False, "byte_fallback": False, "unk_token": None, **_PLAIN}
_PIECES = {"fuse_unk": True, "byte_fallback": True, **_PLAIN}
_WORDS = {"max_input_chars_per_word": 100, "continuing_subword_prefix": "##"}
_BRACKETS = {
    "unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]",
}  # fmt: skip
_BERT = Kind(
    _bert, _WORDS, _BRACKETS, model="WordPiece", around=_between("cls", "sep", twice=False),
    typed=True, keeps_ends=False,
)  # fmt: skip
_ANGLES = {
    "bos": "<s>", "eos": "</s>", "unk": "<unk>", "sep": "</s>", "pad": "<pad>", "cls": "<s>",
    "mask": "<mask>",
}  # fmt: skip
_ROBERTA = Kind(_gpt2, _BYTES, _ANGLES, around=_between("cls", "sep", twice=True), keeps_ends=False)
_XLM = Kind(
    _pieces, {}, _ANGLES, model="Unigram", around=_between("bos", "eos", twice=True),
    keeps_ends=False,
)  # fmt: skip
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
    **dict.fromkeys(("BertTokenizer", "ElectraTokenizer", "MobileBertTokenizer"), _BERT),
    "DistilBertTokenizer": _BERT._replace(typed=False),
    **dict.fromkeys(("RobertaTokenizer", "BartTokenizer", "LongformerTokenizer"), _ROBERTA),
    "XLMRobertaTokenizer": _XLM,
    "CamembertTokenizer": _XLM._replace(spaced=("mask",)),
    "AlbertTokenizer": Kind(
        _albert,
        {},
        {**_BRACKETS, "bos": "[CLS]", "eos": "[SEP]", "unk": "<unk>", "pad": "<pad>"},
        model="Unigram",
        around=_between("cls", "sep", twice=False),
    ),
    "T5Tokenizer": Kind(
        _t5,
        {},
        {"eos": "</s>", "unk": "<unk>", "pad": "<pad>"},
        model="Unigram",
        around=lambda names: Around((), (names["eos"],), (), (names["eos"],)),
        keeps_ends=False,
    ),
    "DebertaV2Tokenizer": _BERT._replace(
        parts=_deberta,
        options={},
        names={**_BRACKETS, "bos": "[CLS]", "eos": "[SEP]"},
        model="Unigram",
    ),
}
