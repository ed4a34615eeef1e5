"""A checkpoint as published on Hugging Face: a folder with config.json and its weights."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from attn_cli.checkpoints.safetensors import Safetensors
from attn_cli.errors import ContentError
from attn_cli.files import decode, read_bytes

_MAX_JSON = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Folder:
    """An opened folder: its config, its tensors, and where its tokenizer is."""

    path: Path
    config: dict[str, Any]
    tensors: Safetensors
    tokenizer: Path


def open_folder(path: Path) -> Folder:
    """Reads config.json and the header of model.safetensors. Raises ContentError."""
    config = read_json_object(path / "config.json")
    return Folder(
        path=path,
        config=config,
        tensors=Safetensors(path / "model.safetensors"),
        tokenizer=path / "tokenizer.json",
    )


def read_json_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds one object, without NaN or Infinity. Raises ContentError."""
    text, _ = decode(read_bytes(path, limit=_MAX_JSON), str(path))
    try:
        values = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ContentError(f"{path} is not strict JSON", "the file may be damaged") from None
    if not isinstance(values, dict):
        raise ContentError(f"{path} is not a JSON object")
    return values


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
