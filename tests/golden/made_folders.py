"""Folders of the models that `make_types.py` knows, as a checkpoint of them would be."""

import json
from pathlib import Path
from typing import Any

from golden.made_weights import made

from attn_cli.checkpoints.safetensors import encode

TYPES = Path(__file__).parent / "types"


def document(name: str) -> dict[str, Any]:
    """What is stored of a model: its config, its tensors' shapes, its seed."""
    return json.loads((TYPES / f"{name}.json").read_text())


def write_folder(name: str, place: Path, config: dict[str, Any] | None = None) -> str:
    """Writes a model's folder, with another config if one is given."""
    found = document(name)
    (place / "config.json").write_text(json.dumps(config or found["config"]))
    tensors = made(found["tensors"], found["seed"])
    (place / "model.safetensors").write_bytes(encode(tensors, {"format": "pt"}))
    return str(place)
