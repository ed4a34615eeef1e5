"""What stands beside a vocabulary: the configs of its tokenizer, and the special tokens in them."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attn_cli.errors import ContentError, shorten
from attn_cli.strict import CONFIG, Limit, read_json_object
from attn_cli.tokens.library import IDS_HINT, load
from attn_cli.tokens.token import Around

_NONE: Mapping[int, Any] = {}
_FLAGS, _AS_TYPED = ("normalized", "single_word", "lstrip", "rstrip"), {"normalized": False}
_NAMES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


def config(folder: Path, name: str, limit: Limit = CONFIG) -> dict[str, Any]:
    """A JSON object of the folder, empty if there is no such file. Raises ContentError."""
    place = folder / name
    if not os.path.lexists(place):
        return {}
    return read_json_object(place, limit)


def unread_class(folder: Path, name: str | None, model: Any) -> ContentError:
    """For a folder whose class, if it tells one, is not read from the files that it has."""
    what = f"the class {shorten(name)!r}" if name else f"no class for {shorten(str(model))!r}"
    return ContentError(f"{folder} names {what} of tokenizer, but has no tokenizer.json", IDS_HINT)


def text(value: Any) -> str:
    """A special token, which a config writes as a text or as an object with `content`."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else ""


def settings(folder: Path, added: Mapping[int, Any] = _NONE) -> dict[str, Any]:
    """tokenizer_config.json; without `added_tokens_decoder` in it, the older files beside it too.

    special_tokens_map.json then has the last word, and added_tokens.json the ids, but for those of
    the vocabulary's own file, which `added` has. The config's `additional_special_tokens` is there
    under its newer name, `extra_special_tokens`. Raises ContentError.
    """
    values = config(folder, "tokenizer_config.json")
    if not values.get("extra_special_tokens") and "additional_special_tokens" in values:
        values["extra_special_tokens"] = values.pop("additional_special_tokens")
    if "added_tokens_decoder" in values:
        return values
    values |= config(folder, "special_tokens_map.json")
    extra = values.get("extra_special_tokens")
    extra = extra if isinstance(extra, list) else []
    special = {text(value) for value in (*_roles(values).values(), *extra)}
    values["added_tokens_decoder"] = {
        id: {"content": token, "special": token in special, "normalized": token not in special}
        for token, id in config(folder, "added_tokens.json").items()
    } | dict(added)
    return values


def listed(config: Mapping[str, Any]) -> list[Any]:
    """The special tokens without a role, under the newer name unless that is a table of roles."""
    extra = config.get("extra_special_tokens", {})
    given = config.get("additional_special_tokens") if isinstance(extra, dict) else extra
    return given if isinstance(given, list) else []


def is_own(key: str) -> bool:
    """Whether a key names a special token whose role is a model's own."""
    return key.endswith("_token") and key.removesuffix("_token") not in _NAMES


def _roles(config: Mapping[str, Any]) -> dict[str, Any]:
    """The special tokens by their role as they are written: the usual ones, then a model's own."""
    own = {name: value for name, value in config.items() if is_own(name)}
    extra = config.get("extra_special_tokens")
    own |= extra if isinstance(extra, dict) else {}
    usual = {f"{name}_token": config.get(f"{name}_token") for name in _NAMES}
    return {name.removesuffix("_token"): value for name, value in (usual | own).items()}


def named(config: Mapping[str, Any], defaults: Mapping[str, str]) -> dict[str, str]:
    """The special tokens by what they are for: the config's, else the class's own."""
    given = {name: text(value) or defaults.get(name) for name, value in _roles(config).items()}
    return {name: token for name, token in given.items() if token}


def add(
    made: Any,
    config: Mapping[str, Any],
    names: Mapping[str, str],
    further: Iterable[tuple[str, bool]] = (),
    *,
    normalize: bool = True,
) -> None:
    """Gives a library's tokenizer the tokens that are found in a text before it is cut.

    In the reference's order, which decides their ids: the config's by id, the named, those it
    lists, and `further` ones with whether they are special. Without `normalize`, all are looked for
    in the text as it was typed.
    """
    package, found = load(), []
    known = {token.content: repr(token) for token in made.get_added_tokens_decoder().values()}
    written = {text(value): value for value in (*_roles(config).values(), *listed(config))}

    def put(content: str, entry: Any, special: bool, named: bool) -> None:
        flags = entry if isinstance(entry, dict) else {}
        given = [flag for flag in _FLAGS if flag in flags and (normalize or flag != "normalized")]
        form = {flag: bool(flags[flag]) for flag in given} | ({} if normalize else _AS_TYPED)
        token = package.AddedToken(content, special=special, **form)
        if known.get(content) != repr(token):
            token.special = special or named  # what is special is not normalised unasked
            found.append(token)
        known.setdefault(content, "")

    decoder = config.get("added_tokens_decoder")
    entries = decoder.items() if isinstance(decoder, dict) else ()
    for _, entry in sorted(entries, key=lambda item: int(item[0])):
        content = text(entry)
        put(content, entry, bool(entry.get("special")), content in names.values())
    others = [(token, True) for token in names.values()]
    others += [(text(entry), True) for entry in listed(config)]
    for token, special in (*others, *further):
        if token and token not in known:
            put(token, written.get(token, _AS_TYPED), special, False)
    made.add_tokens(found)
    made.encode_special_tokens = bool(config.get("split_special_tokens"))


def ends(config: Mapping[str, Any], names: Mapping[str, str]) -> Around:
    """The tokens that the config wants before and after each text."""
    bos = (names["bos"],) if config.get("add_bos_token") and "bos" in names else ()
    eos = (names["eos"],) if config.get("add_eos_token") and "eos" in names else ()
    return Around(bos, eos, bos, eos, type=1)


def around(made: Any, form: Around) -> Any:
    """The post-processor that puts these tokens around a text, or around two."""
    ids = {token: made.token_to_id(token) for part in form[:4] for token in part}

    def side(before: tuple[str, ...], text: str, after: tuple[str, ...], type: int) -> list[str]:
        names = [*(str(ids[token]) for token in before), text, *(str(ids[t]) for t in after)]
        return [f"{name}:{type}" for name in names]

    single = side(form.before, "$A", form.after, 0)
    second = side(form.second_before, "$B", form.second_after, form.type)
    tokens = [{"id": str(id), "ids": [id], "tokens": [token]} for token, id in ids.items()]
    template = load().processors.TemplateProcessing
    return template(single=single, pair=[*single, *second], special_tokens=tokens)
