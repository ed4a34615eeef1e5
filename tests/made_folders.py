"""Folders of the models that `golden/make_types.py` knows, as a checkpoint of them would be."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from golden.made_weights import made

from attn_cli.checkpoints.safetensors import encode

TYPES = Path(__file__).parent / "golden" / "types"
Arrays = dict[str, np.ndarray]


def document(name: str) -> dict[str, Any]:
    """What is stored of a model: its config, its tensors' shapes, its seed."""
    return json.loads((TYPES / f"{name}.json").read_text())


def weights_of(found: Mapping[str, Any]) -> Arrays:
    """The tensors of a model's document."""
    return made(found["tensors"], found["seed"])


def made_folder(
    place: Path,
    name: str,
    config: Mapping[str, Any] | None = None,
    arrange: Callable[[Arrays], Arrays] = dict,
) -> Path:
    """Writes a model's folder, with another config, and other tensors, if they are given."""
    found = document(name)
    return write_model(place, config or found["config"], arrange(weights_of(found)))


def write_model(place: Path, config: Mapping[str, Any], arrays: Arrays) -> Path:
    """A folder of this config and these tensors."""
    place.mkdir(parents=True, exist_ok=True)
    write_config(place, config)
    (place / "model.safetensors").write_bytes(encode(arrays, {"format": "pt"}))
    return place


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Gives a folder this config."""
    (folder / "config.json").write_text(json.dumps(config))
