"""What can be opened on this machine, and what is inside one checkpoint."""

import importlib.util
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from attn_cli.checkpoints.dequantise import FILE_TYPES
from attn_cli.checkpoints.folder import is_model
from attn_cli.checkpoints.parts import of_one_model
from attn_cli.errors import AttnError, ContentError
from attn_cli.families import UNTRAINED
from attn_cli.model.family import Model
from attn_cli.opening import hub, ollama, places
from attn_cli.opening.load import family_of, load
from attn_cli.opening.places import BY_HAND, EMBEDDED, PACKAGES

# What tells that a folder is a model, or goes with one.
_CONFIGS = frozenset({"config.json", "adapter_config.json", "model_index.json", "params.json"})
PLACES = PACKAGE, HUB, OLLAMA, INSIDE = "package", "hub", "ollama", "inside"
_DEEPEST, _MOST = 3, 1000  # folders within a folder that are looked through, and models of one


class Listed(NamedTuple):
    """One model by the name that `--model` takes, and whether it opens; if not, the reason why.

    `place` is one of `PLACES`. What is not known is empty or 0; `parameters` and `bytes` are 0 too
    where a model is made on demand. `bytes` are those of the tensors.
    """

    name: str
    family: str = ""
    parameters: int = 0
    bytes: int = 0
    quantisation: str = ""
    place: str = ""
    opens: bool = False
    reason: str = ""
    remark: str = ""


class Listing(NamedTuple):
    """All of them, and the folders that were looked through."""

    models: tuple[Listed, ...]
    folders: tuple[str, ...]


class Tensor(NamedTuple):
    """One stored tensor under the family's name for it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    parameters: int
    bytes: int


class Part(NamedTuple):
    """Tensors of one kind over all layers: `h.*.attn.c_attn`."""

    name: str
    parameters: int
    bytes: int


class Contents(NamedTuple):
    """One checkpoint: the family's reading of its config, its tensors, and their parts."""

    config: Mapping[str, Any]
    tokens: int
    parameters: int
    bytes: int
    parts: tuple[Part, ...]
    tensors: tuple[Tensor, ...]


def listing() -> Listing:
    """The models that need no path. Each is opened as far as its headers, and none breaks it."""
    carried = [name for name, (package, _) in PACKAGES.items() if importlib.util.find_spec(package)]
    names = [(n, PACKAGE, "by_hand" if n in BY_HAND else "embedded") for n in EMBEDDED]
    names += [(name, PACKAGE, "packaged") for name in carried]
    found = [_listed(*entry) for entry in names]
    untrained = Listed(name="random", family=UNTRAINED, place=PACKAGE, opens=True, remark="random")
    found += [untrained, *_stored(HUB, hub.root(), hub.names)]
    for store in ollama.roots():
        found += _stored(OLLAMA, store, lambda store=store: ollama.names_in(store))
    return Listing(models=tuple(found), folders=(str(hub.root()), *map(str, ollama.roots())))


def inside(name: str) -> Listing:
    """The models, by path, within a folder that is none itself; none where `name` is another's."""
    folder = Path(name)
    named = name in ("", *EMBEDDED, *PACKAGES)
    other = named or not folder.is_dir() or is_model(folder)
    paths = () if other else islice(_inside(folder), _MOST)
    return Listing(tuple(_listed(str(path), INSIDE, "") for path in paths), (name,))


def _inside(folder: Path) -> Iterator[Path]:
    """The folders with a config of a model or of what goes with one, and the GGUF files."""
    for place, folders, files in os.walk(folder):
        path = Path(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if path != folder and not _CONFIGS.isdisjoint(files):
            folders.clear()
            yield path
        elif len(path.relative_to(folder).parts) >= _DEEPEST:
            folders.clear()
        parts = {of_one_model(path / name)[0] for name in files if hub.is_gguf(name)}
        yield from sorted(parts)


def _stored(place: str, folder: Path, names: Callable[[], list[str]]) -> list[Listed]:
    """The models of a store; one row that says why if it cannot be read."""
    try:
        return [_listed(open_as(name, place), place, "") for name in names()]
    except ContentError as problem:
        return [Listed(name=str(folder), place=place, reason=problem.message)]


def open_as(name: str, place: str) -> str:
    """What `--model` takes for a stored model: its path where its name means something else."""
    if place == OLLAMA:
        return ollama.PREFIX + name
    if name not in (*EMBEDDED, *PACKAGES, "random") and not os.path.lexists(name):
        return name
    try:
        return str(hub.find(name) or name)
    except ContentError:
        return name


def _listed(name: str, place: str, remark: str) -> Listed:
    here: dict[str, Any] = {"name": name, "place": place, "remark": remark}
    try:
        model = load(name)
        check(model)
        sizes = _sizes(model)
        if model.unread[0]:
            here["remark"] = "text"
        return Listed(
            **here, family=model.facts.family, parameters=model.facts.parameters,
            bytes=sum(sizes.values()), quantisation=_quantisation(model, sizes), opens=True,
        )  # fmt: skip
    except AttnError as problem:
        return Listed(**here, family=family_of(name), reason=_reason(problem, name))
    except (MemoryError, OSError):
        return Listed(**here, reason="it cannot be read")


def _reason(problem: AttnError, name: str) -> str:
    """What is wrong, without the path that the list's own columns stand for, and what to do."""
    message = problem.message
    with suppress(AttnError):
        path = places.find(name).path
        home = path if path.is_dir() else path.parent
        message = message.replace(f"{home}{os.sep}", "").replace(f" of {home}", "")
        message = message.replace(str(home), "it")
    where, colon, what = message.partition(": ")
    in_full = os.sep in where and " " not in where
    short = (
        what if colon and (in_full or where in ("config.json", "it", Path(name).name)) else message
    )
    subject, _, rest = short.partition(" ")
    if subject == name or (os.path.isabs(subject) and rest.startswith(("is ", "has "))):
        short = f"it {rest}"
    first = problem.hint.partition(" ")[0]
    does = first in ("hf", "ollama", "pip", "name", "it") or "@COMMIT" in first
    return f"{short} ({problem.hint})" if does else short


def _sizes(model: Model) -> dict[str, int]:
    """The bytes of the tensors of each type."""
    sizes = Counter[str]()
    for name in {stored.name for stored in model.weights.stored.values()}:
        tensor = model.weights.tensors[name]
        sizes[tensor.dtype] += tensor.size
    return sizes


def _quantisation(model: Model, sizes: Mapping[str, int]) -> str:
    """The mixture that a GGUF file says it is, else the type that most bytes have."""
    said = model.metadata.get("general.file_type")
    known = type(said) is int and said in FILE_TYPES
    return FILE_TYPES[said] if known else max(sizes, key=sizes.__getitem__, default="")


def check(model: Model) -> None:
    """Reads a row of each type that tensors have. Raises ContentError for one that attn cannot."""
    found = [model.weights.tensor(name) for name in model.weights.stored]
    for tensor in {tensor.dtype: tensor for tensor in found if tensor.size}.values():
        tensor.rows([0])


def _plain(model: Model) -> dict[str, Any]:
    """The config as documents have it, records within it as mappings; unbounded is None."""
    found = {
        key: one._asdict() if isinstance(one, tuple) and hasattr(one, "_asdict") else one
        for key, one in asdict(model.config).items()
    }
    return found | ({"context": model.facts.context or None} if "context" in found else {})


def contents(model: Model) -> Contents:
    """Reads headers, and a row of each type. Raises ContentError for what does not open."""
    check(model)
    infos = {name: model.weights.tensor(name) for name in model.weights.stored}
    tensors = tuple(
        Tensor(name, info.dtype, info.shape, int(np.prod(info.shape, dtype=np.int64)), info.size)
        for name, info in infos.items()
    )
    parts: dict[str, list[Tensor]] = {}
    for tensor in tensors:
        kind = re.sub(r"\.\d+\.", ".*.", tensor.name).rpartition(".")[0]
        parts.setdefault(kind, []).append(tensor)
    return Contents(
        config=_plain(model),
        tokens=model.tokenizer.size,
        parameters=sum(tensor.parameters for tensor in tensors),
        bytes=sum(tensor.bytes for tensor in tensors),
        parts=tuple(
            Part(name, sum(t.parameters for t in of), sum(t.bytes for t in of))
            for name, of in parts.items()
        ),
        tensors=tensors,
    )
