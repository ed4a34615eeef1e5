"""Folders of the golden types: a config of the reference's, and weights made of its seed."""

import json
from pathlib import Path
from typing import Any

from golden.made_weights import made

from attn_cli.checkpoints.safetensors import encode

TYPES = Path(__file__).parent / "golden" / "types"


def made_folder(place: Path, name: str) -> tuple[Path, dict[str, Any]]:
    """Writes the folder of a golden type; returns it and the document that it is made of."""
    document = json.loads((TYPES / f"{name}.json").read_text())
    place.mkdir(exist_ok=True)
    write_config(place, document["config"])
    tensors = made(document["tensors"], document["seed"])
    (place / "model.safetensors").write_bytes(encode(tensors, {"format": "pt"}))
    return place, document


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Gives a folder this config."""
    (folder / "config.json").write_text(json.dumps(config))
