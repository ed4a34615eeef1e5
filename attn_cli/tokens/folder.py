"""A tokenizer.json with what stands beside it, as the reference library reads the two together."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any

from attn_cli.errors import ContentError
from attn_cli.tokens import classes, guarded, special
from attn_cli.tokens.library import IDS_HINT, LibraryTokenizer, charsmap_of, load, parse

_NONE: Mapping[int, Any] = {}
# Before version 5 these put BOS and EOS around a text by their own settings: BOS without any.
_SET_ENDS = {"LlamaTokenizer": True, "GemmaTokenizer": True, "GPTNeoXTokenizer": False}
_OLDER = {"llama": "LlamaTokenizer", "mistral": "LlamaTokenizer", "phi3": "LlamaTokenizer",
          "bloom": "BloomTokenizer"}  # fmt: skip
_OLDER_NAMES = {name: kind.names for name, kind in classes.KINDS.items()} | {
    "GPTNeoXTokenizer": classes.KINDS["GPT2Tokenizer"].names,
    "GemmaTokenizer": {"unk": "<unk>", "bos": "<bos>", "eos": "<eos>", "pad": "<pad>"},
    "BloomTokenizer": {"unk": "<unk>", "bos": "<s>", "eos": "</s>", "pad": "<pad>"},
}


def read(path: Path, rows: int = sys.maxsize) -> LibraryTokenizer:
    """The tokenizer of a tokenizer.json and its folder, for an embedding of so many rows.

    A class that cuts text its own way takes of the file the vocabulary, the merges and what stands
    around a text, where the file holds merges. Raises ContentError.
    """
    parsed, contents = parse(path)
    architecture = special.config(path.parent, "config.json")
    added = parsed.get_added_tokens_decoder()
    config = special.settings(path.parent, {id: _entry(token) for id, token in added.items()})
    name = classes.name_of(config, architecture, byte_level=b'"ByteLevel"' in contents)
    kind = classes.KINDS.get(name or "")
    kind = kind if kind and kind.model == type(parsed.model).__name__ else None
    try:
        with guarded.quiet():
            # Its model is shared, unless the class wants another kind of model.
            same = kind is None or all(
                getattr(parsed.model, k) == v for k, v in kind.options.items()
            )
            raw = special.config(path.parent, "tokenizer_config.json")
            newer = raw.get("tokenizer_class") == "TokenizersBackend"
            newer = newer or isinstance(raw.get("extra_special_tokens"), list)
            other = parsed if same else parse(path)[0]
            older = None if newer else _older(other, config, architecture)
            names = special.named(config, kind.names if kind else {})
            made = _made(parsed, kind, config, names)
            if made.get_vocab_size() > rows:  # no room for tokens that only the class has
                made = _made(parsed, kind, config, special.named(config, {}))
            says = classes.answers(name, config, names)
            return LibraryTokenizer(made, older and LibraryTokenizer(older), **says)
    except ContentError:
        raise
    except Exception as error:  # the library has no class of its own
        what = f"{path} and the files beside it do not go together"
        raise ContentError(what, IDS_HINT) from error


def _made(
    parsed: Any, kind: classes.Kind | None, config: Mapping[str, Any], names: Mapping[str, str]
) -> Any:
    if kind is None:
        made = _copy(parsed, {}, parsed.get_added_tokens_decoder())
    else:
        options = {"unk_token": names.get("unk")} if hasattr(parsed.model, "unk_token") else {}
        for option, value in (options | dict(kind.options)).items():
            setattr(parsed.model, option, value)
        made = _copy(parsed, kind.parts(load(), config, charsmap_of(parsed)))
    special.add(made, config, names)
    if kind and kind.again:
        made.add_special_tokens([*names.values(), *map(special.text, special.listed(config))])
    if kind and not kind.keeps_ends:
        made.post_processor = kind.around and special.around(made, kind.around(names))
    return made


def _older(parsed: Any, config: Mapping[str, Any], architecture: Mapping[str, Any]) -> Any:
    """As versions before 5 read the folder: the file says how text is cut, but for a few settings.

    None where those read no such folder.
    """
    model = str(architecture.get("model_type"))
    named = config.get("tokenizer_class") or architecture.get("tokenizer_class")
    own = _OLDER.get(model) or classes.name_of({}, {"model_type": model})
    name = str(named or own).removesuffix("Fast")
    spaced = config.get("add_prefix_space")
    if name == "LlamaTokenizer" and spaced is not None:
        return None  # they want tokenizer.model then
    parts: dict[str, Any] = {}
    kind = classes.KINDS.get(name)
    if kind and kind.model == "WordPiece":
        if type(parsed.normalizer).__name__ != "BertNormalizer":
            return None
        parts["normalizer"] = kind.parts(load(), config, None)["normalizer"]
    if getattr(parsed.pre_tokenizer, "add_prefix_space", None) not in (None, bool(spaced)):
        parts["pre_tokenizer"] = copy(parsed.pre_tokenizer)
        parts["pre_tokenizer"].add_prefix_space = bool(spaced)
    known = {key: value for key, value in config.items() if not special.is_own(key)}
    extra = known.get("extra_special_tokens")
    own_roles = known.pop("extra_special_tokens") if isinstance(extra, dict) else {}
    names = special.named(known, _OLDER_NAMES.get(name, {}))
    made = _copy(parsed, parts, parsed.get_added_tokens_decoder())
    special.add(made, known, names, [(special.text(token), True) for token in own_roles.values()])
    if name in _SET_ENDS:
        ends = special.ends({"add_bos_token": _SET_ENDS[name], **config}, names)
        made.post_processor = special.around(made, ends)
    return made


def _entry(token: Any) -> dict[str, Any]:
    flags = ("special", "normalized", "single_word", "lstrip", "rstrip")
    return {"content": token.content, **{flag: getattr(token, flag) for flag in flags}}


def _copy(parsed: Any, parts: Mapping[str, Any], added: Mapping[int, Any] = _NONE) -> Any:
    """Another tokenizer of the same model, with some parts of its own."""
    made = load().Tokenizer(parsed.model)
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        setattr(made, part, parts[part] if part in parts else getattr(parsed, part))
    made.add_tokens([token for _, token in sorted(added.items())])
    return made
