"""A checkpoint as published on Hugging Face: a folder with config.json and its weights."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.checkpoints.tensor import Tensor
from attn_cli.errors import ContentError, shorten, some
from attn_cli.strict import INDEX, read_json_object

INCOMPLETE = "the download may be incomplete"
_GENERATION = "generation_config.json"
_OTHER_WEIGHTS = (".safetensors", ".bin", ".pth", ".pt", ".gguf", ".h5", ".msgpack", ".onnx")
# How weights are published, the first that is there to be read: one file, or an index of several.
_SINGLE, _PICKLED = "model.safetensors", "pytorch_model.bin"
_INDEX = ".index.json"

Opener = Callable[[Path], dict[str, Tensor]]


class Folder(NamedTuple):
    """An opened folder: its configs and its tensors.

    `generation` is the config of sampling, empty where the folder has none.
    """

    path: Path
    config: dict[str, Any]
    generation: dict[str, Any]
    tensors: dict[str, Tensor]


def open_shards(index: Path, opener: Opener) -> dict[str, Tensor]:
    """The tensors of several files, each opened by `opener`, found by the index beside them.

    Raises ContentError for an index that leaves the folder or disagrees with its files.
    """
    where = read_json_object(index, INDEX).get("weight_map")
    if not isinstance(where, dict) or not all(isinstance(f, str) for f in where.values()):
        raise ContentError(f"{index} has no weight_map from tensors to files")
    files = {name: _inside(index.parent, name) for name in dict.fromkeys(where.values())}
    missing = [name for name, path in files.items() if not os.path.exists(path)]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        what = f"the file {some(missing, 1)} of {index.parent} {are} missing"
        raise ContentError(what, INCOMPLETE)
    found: dict[str, Tensor] = {}
    for name, path in files.items():
        opened = opener(path)
        listed = {tensor for tensor, file in where.items() if file == name}
        different = sorted(listed ^ set(opened))
        if different:
            raise ContentError(f"{index} and {name} disagree about the tensor {some(different, 1)}")
        found |= opened
    return found


def _inside(folder: Path, name: str) -> Path:
    """A file of the folder. Links may lead into the same Hugging Face cache entry's blobs only."""
    if os.path.basename(name) != name or name in ("", ".", "..") or not name.isprintable():
        raise ContentError(
            f"the index of {folder} names {shorten(name)!r}, which leaves the folder"
        )
    path = folder / name
    home, target = os.path.realpath(folder), os.path.realpath(path)
    allowed = [home]
    if os.path.basename(os.path.dirname(home)) == "snapshots":
        allowed.append(os.path.join(os.path.dirname(os.path.dirname(home)), "blobs"))
    if os.path.dirname(target) not in allowed:
        raise ContentError(f"{path} is a link that leaves the folder", "only the cache's own may")
    return path


def open_folder(path: Path) -> Folder:
    """Reads the configs and the headers of the weights. Raises ContentError."""
    config, form = read_json_object(path / "config.json"), _form(path)
    if not form:
        names = sorted(os.listdir(path)) if path.is_dir() else []
        other = [n for n in names if n.endswith(_OTHER_WEIGHTS)]
        raise ContentError(
            f"there is no {path / _SINGLE}, no {_PICKLED}, nor an index of shards",
            f"it has {shorten(', '.join(other))}" if other else INCOMPLETE,
        )
    place, weights, opener = path / _GENERATION, path / form[0], _opener(form[0])
    generation = read_json_object(place) if os.path.lexists(place) else {}
    tensors = open_shards(weights, opener) if form[1] else opener(weights)
    return Folder(path, config, generation, tensors)


def is_model(path: Path) -> bool:
    """Whether a folder has a config and weights of a form that is read here."""
    return os.path.lexists(path / "config.json") and bool(_form(path))


def _form(path: Path) -> tuple[str, ...]:
    """The file that the weights are read from, and how an index ends if it is one; or nothing."""
    forms = [(name + end, end) for name in (_SINGLE, _PICKLED) for end in ("", _INDEX)]
    return next((form for form in forms if os.path.lexists(path / form[0])), ())


def _opener(name: str) -> Opener:
    if name.startswith(_SINGLE):
        return open_safetensors
    from attn_cli.checkpoints.torch import open_torch

    return open_torch
