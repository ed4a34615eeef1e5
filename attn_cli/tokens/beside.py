"""What stands beside a vocabulary: the configs of its tokenizer, and the special tokens in them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attn_cli.errors import ContentError
from attn_cli.files import read_bytes
from attn_cli.tokens.published import load

_LARGEST = 100_000_000
_NAMES = ("unk", "bos", "eos", "pad", "cls", "sep", "mask")


def config(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object of the folder, empty if there is no such file. Raises ContentError."""
    place = folder / name
    if not os.path.lexists(place):
        return {}
    try:
        values = json.loads(read_bytes(place, limit=_LARGEST))
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise ContentError(f"{place} is not a JSON object", "the file may be damaged")
    return values


def text(value: Any) -> str:
    """A special token, which a config writes as a text or as an object with `content`."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else ""


def named(config: Mapping[str, Any], defaults: Mapping[str, str]) -> dict[str, str]:
    """The special tokens by what they are for: the config's, else the class's own."""
    given = {name: text(config.get(f"{name}_token")) for name in _NAMES}
    return {**defaults, **{name: token for name, token in given.items() if token}}


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
    package, found = load(), {}
    decoder = config.get("added_tokens_decoder")
    entries = decoder.items() if isinstance(decoder, dict) else ()
    for _, entry in sorted(entries, key=lambda item: int(item[0])):
        content, flags = text(entry), ("single_word", "lstrip", "rstrip")
        found[content] = package.AddedToken(
            content,
            normalized=normalize and bool(entry.get("normalized")),
            special=bool(entry.get("special")) or content in names.values(),
            **{flag: bool(entry.get(flag)) for flag in flags},
        )
    listed = config.get("additional_special_tokens")
    others = [(token, True) for token in names.values()]
    others += [(text(entry), True) for entry in (listed if isinstance(listed, list) else ())]
    for token, special in (*others, *further):
        if token and token not in found:
            found[token] = package.AddedToken(token, normalized=False, special=special)
    for token in found.values():
        (made.add_special_tokens if token.special else made.add_tokens)([token])


def ends(
    config: Mapping[str, Any], names: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The tokens that the config wants before and behind a text."""
    bos = config.get("add_bos_token") and "bos" in names
    eos = config.get("add_eos_token") and "eos" in names
    return (names["bos"],) if bos else (), (names["eos"],) if eos else ()


def around(made: Any, before: Iterable[str], behind: Iterable[str]) -> Any:
    """The post-processor that puts these tokens around a text."""
    before, behind = list(before), list(behind)
    ids = [
        {"id": token, "ids": [made.token_to_id(token)], "tokens": [token]}
        for token in dict.fromkeys([*before, *behind])
    ]
    return load().processors.TemplateProcessing(single=[*before, "$A", *behind], special_tokens=ids)
