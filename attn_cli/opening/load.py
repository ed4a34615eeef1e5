"""From a model's name to an opened model: its place, its family, its tensors and tokenizer."""

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from attn_cli import parse, vocabulary
from attn_cli.checkpoints.folder import INCOMPLETE, open_folder, read_json_object
from attn_cli.checkpoints.gguf import Gguf
from attn_cli.checkpoints.random import RandomInfo, RandomTensors
from attn_cli.errors import ContentError, UsageError, shorten
from attn_cli.families import FAMILIES, UNTRAINED
from attn_cli.model.weights import Model, Naming, Weights, bind, names_in_folder, untrue_copies
from attn_cli.opening import places
from attn_cli.records import ModelFacts
from attn_cli.tokens import wordpiece
from attn_cli.tokens.deferred import Absent, Deferred
from attn_cli.tokens.token import Tokenizer

_DATA = Path(__file__).parent.parent / "data"
_RANDOM_LIMITS = {
    "layers": (1, 96), "heads": (1, 96), "model_width": (1, 12288), "context": (1, 4096),
    "seed": (0, 10**9 - 1),
}  # fmt: skip
_RANDOM_DEFAULTS = {"layers": 2, "heads": 4, "model_width": 32, "context": 256, "seed": 0}


def load(name: str = vocabulary.DEFAULT_MODEL, *, ignore_config: Sequence[str] = ()) -> Model:
    """Opens a model: `tiny`, `random[:key=value,…]`, `smollm2`, a folder, a GGUF file, `org/name`
    in the local Hugging Face cache, or `ollama:name[:tag]`.

    Only headers are read; tensors and the tokenizer follow when a question needs them.
    Raises NoModelError, ContentError, UsageError.
    """
    if name == "random" or name.startswith("random:"):
        return _random_model(name)
    place = places.find(name)
    opened = _open_folder if place.path.is_dir() else _open_gguf
    try:
        return opened(place.path, place.name, place.source, ignore_config)
    except ContentError as problem:
        if problem.hint == INCOMPLETE and place.again:
            raise ContentError(problem.message, place.again) from None
        raise


def family_of(name: str) -> str:
    """The family that a model which does not open says it is of, or nothing."""
    try:
        path = places.find(name).path
        if path.is_dir():
            kind = read_json_object(path / "config.json").get("model_type")
        else:
            kind = Gguf(path).metadata.get("general.architecture")
    except ContentError:
        return ""
    return shorten(kind) if isinstance(kind, str) else ""


def _family(kind: object, where: str) -> ModuleType:
    if not isinstance(kind, str) or kind not in FAMILIES:
        shown = shorten(repr(kind))
        raise ContentError(
            f"{where}: the model type {shown} is not supported", f"attn knows {', '.join(FAMILIES)}"
        )
    return importlib.import_module(f"attn_cli.families.{FAMILIES[kind]}")


def _open_folder(path: Path, name: str, source: str, ignored: Sequence[str]) -> Model:
    folder = open_folder(path)
    where = str(path / "config.json")
    kind = folder.config.get("model_type")
    family = _family(kind, where)
    config = family.read_config(folder.config, where, ignored)
    shapes = family.tensor_shapes(config)
    naming = family.naming(config)
    stored = names_in_folder(folder.tensors, naming, str(path))
    return _model(
        facts=_facts(name, kind, source, config, shapes),
        family=family,
        config=config,
        weights=bind(folder.tensors, stored, shapes, str(path)),
        make=lambda: _tokenizer_of(path),
        where=str(path),
        end_tokens=_ids(*(part.get("eos_token_id") for part in (folder.config, folder.generation))),
        ignored=ignored,
        untrue=untrue_copies(folder.tensors, naming, stored),
    )


def _tokenizer_of(folder: Path) -> Tokenizer:
    """The embedded model's kind is read by our own reader, any other by the library."""
    path = folder / "tokenizer.json"
    if os.path.lexists(path):
        if wordpiece.looks_like_ours(path):
            return wordpiece.read(path)
        from attn_cli.tokens import library

        return library.read(path)
    from attn_cli.tokens import merges, spm

    for name in spm.NAMES:
        if os.path.lexists(folder / name):
            return spm.read(folder / name)
    if all(os.path.lexists(folder / name) for name in merges.NAMES):
        return merges.read(folder)
    hint = "--ids works without one: --ids 5,6,7"
    return Absent(ContentError(f"{folder} has no tokenizer.json, nor what it is made from", hint))


def _open_gguf(path: Path, name: str, source: str, ignored: Sequence[str]) -> Model:
    found = Gguf(path)
    kind = found.metadata.get("general.architecture")
    family = _family(kind, str(path))
    if not hasattr(family, "open_gguf"):
        raise ContentError(
            f"{path}: the architecture {kind} is not what the converters write",
            "open the folder that the file was made from",
        )
    config, stored = family.open_gguf(found, kind, ignored)
    shapes = family.tensor_shapes(config)

    def make() -> Tokenizer:
        from attn_cli.tokens import gguf

        return gguf.from_metadata(found.metadata, str(path))

    ends = [found.metadata.get(f"tokenizer.ggml.{kind}_token_id") for kind in ("eos", "eot")]
    return _model(
        facts=_facts(name, kind, source, config, shapes),
        family=family,
        config=config,
        weights=bind(found, stored, shapes, str(path)),
        make=make,
        where=str(path),
        end_tokens=_ids(*ends),
        ignored=ignored,
    )


def _ids(*given: Any) -> tuple[int, ...]:
    """Ids, or lists of them, each once; what is neither is left out."""
    values = (v for value in given for v in (value if isinstance(value, list) else [value]))
    return tuple(dict.fromkeys(v for v in values if type(v) is int and v >= 0))


def _model(
    *,
    facts: ModelFacts,
    family: ModuleType,
    config: Any,
    weights: Weights,
    make: Callable[[], Tokenizer],
    where: str,
    end_tokens: tuple[int, ...],
    ignored: Sequence[str] = (),
    untrue: tuple[tuple[str, str], ...] = (),
) -> Model:
    def checked() -> Tokenizer:
        tokenizer = make()
        if tokenizer.size > facts.vocabulary:
            raise ContentError(
                f"{where} has token ids up to {tokenizer.size - 1}, "
                f"the embedding has {facts.vocabulary} rows",
                "the tokenizer belongs to another model",
            )
        return tokenizer

    return Model(
        facts=facts,
        family=family,
        config=config,
        weights=weights,
        tokenizer=Deferred(checked),
        end_tokens=end_tokens,
        ignored=tuple(ignored),
        untrue_copies=untrue,
    )


def _random_model(name: str) -> Model:
    numbers = dict(_RANDOM_DEFAULTS)
    for part in filter(None, name.partition(":")[2].split(",")):
        key, _, value = part.partition("=")
        if key not in numbers:
            raise UsageError(
                f"--model random: the key {shorten(key)!r} is unknown",
                f"known: {', '.join(numbers)}",
            )
        numbers[key] = parse.integer(value, f"--model random: {key}", *_RANDOM_LIMITS[key])
    if numbers["model_width"] % numbers["heads"]:
        raise UsageError(
            f"--model random: model_width {numbers['model_width']} does not divide by "
            f"heads {numbers['heads']}",
            "each head takes an equal share of the width",
        )
    family = _family(UNTRAINED, name)
    tokenizer = wordpiece.read(_DATA / vocabulary.DEFAULT_MODEL / "tokenizer.json")
    config = family.untrained({**numbers, "vocabulary": tokenizer.size})
    shapes = family.tensor_shapes(config)
    source = RandomTensors(
        tensors={key: RandomInfo("F32", shape) for key, shape in shapes.items()},
        seed=numbers["seed"],
    )
    return _model(
        facts=_facts(name, UNTRAINED, f"untrained, seed {numbers['seed']}", config, shapes),
        family=family,
        config=config,
        weights=bind(source, names_in_folder(source, Naming(), name), shapes, name),
        make=lambda: tokenizer,
        where=name,
        end_tokens=(),
    )


def _facts(
    name: str, kind: str, source: str, config: Any, shapes: Mapping[str, tuple[int, ...]]
) -> ModelFacts:
    return ModelFacts(
        name=name,
        family=kind,
        source=source,
        layers=config.layers,
        heads=config.heads,
        kv_heads=config.kv_heads,
        model_width=config.model_width,
        head_width=config.head_width,
        vocabulary=config.vocabulary,
        context=config.context,
        parameters=sum(int(np.prod(shape, dtype=np.int64)) for shape in shapes.values()),
    )
