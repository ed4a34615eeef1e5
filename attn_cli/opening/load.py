"""From a model's name to an opened model: its place, its family, its tensors and tokenizer."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from attn_cli import parse, vocabulary
from attn_cli.checkpoints.folder import INCOMPLETE, is_model, open_folder
from attn_cli.errors import ContentError, UsageError, shorten
from attn_cli.families import UNTRAINED
from attn_cli.model.composite import text_alone
from attn_cli.model.config import ConfigReader
from attn_cli.model.family import Family, Model
from attn_cli.model.gguf import file_names, open_gguf
from attn_cli.model.tensors import (
    OUTPUT,
    Naming,
    Shapes,
    bind,
    names_in_folder,
    of_head,
    of_layers,
    other_heads,
    untrue_copies,
    without_head,
)
from attn_cli.opening import places, quantised, refusals
from attn_cli.opening.configs import end_ids, family_named, ids, read_config
from attn_cli.records import Facts
from attn_cli.strict import read_json_object
from attn_cli.tokens import wordpiece
from attn_cli.tokens.absent import Absent, deferred
from attn_cli.tokens.token import Tokenizer

_DATA = Path(__file__).parent.parent / "data"
# Of a random model: the default, the least and the most.
_RANDOM = {
    "layers": (2, 1, 96), "heads": (4, 1, 96), "model_width": (32, 1, 12288),
    "context": (256, 1, 4096), "seed": (0, 0, 10**9 - 1),
}  # fmt: skip


def load(
    name: str = vocabulary.DEFAULT_MODEL, *, ignore_config: Sequence[str] = (), adapter: str = ""
) -> Model:
    """Opens a model: one of `places.EMBEDDED` or `places.PACKAGES`, `random[:key=value,…]`, a
    folder, a GGUF file, `org/name` in the local Hugging Face cache, or `ollama:name[:tag]`.

    Only headers are read; tensors and the tokenizer follow when a question needs them. `adapter`
    is the folder of a LoRA adapter that is added to the weights. Raises NoModelError, ContentError,
    UsageError.
    """
    model = _load(name, ignore_config)
    if not adapter:
        return model
    from attn_cli.opening.adapter import adapted

    return adapted(model, adapter)


def _load(name: str, ignore_config: Sequence[str]) -> Model:
    if name == "random" or name.startswith("random:"):
        return _random_model(name)
    place = places.find(name)
    opened = _open_folder if place.path.is_dir() else _open_gguf
    try:
        return opened(place, ignore_config)
    except ContentError as problem:
        if problem.hint == INCOMPLETE and place.again:
            raise ContentError(problem.message, place.again) from None
        raise


def family_of(name: str) -> str:
    """The family that a model which does not open says it is of, or nothing."""
    from attn_cli.checkpoints.gguf import Gguf

    try:
        path = places.find(name).path
        if path.is_dir():
            kind = read_json_object(path / "config.json").get("model_type")
        else:
            kind = Gguf(path).metadata.get("general.architecture")
    except ContentError:
        return ""
    return shorten(kind) if isinstance(kind, str) else ""


def _open_folder(place: places.Place, ignored: Sequence[str]) -> Model:
    if not is_model(place.path):
        refusals.check_folder(place.path)
    folder = open_folder(place.path)
    where, of_config = str(place.path), str(place.path / "config.json")
    noted: list[str] = []
    scheme = quantised.read_scheme(folder.config, of_config, ignored, noted)
    read = read_config(folder.config, of_config, ignored)
    tensors, unread = read.tensors(folder.tensors)
    family, config, naming = read.family, read.config, read.naming
    said: dict[str, Any] = {}
    if scheme:
        plain, tensors = tensors, scheme.unpack(tensors, where)
        none = all(plain.get(name) is tensor for name, tensor in tensors.items())
        said = {"quantised": scheme.how, "unpacked": none, "rounds_inputs": scheme.rounds}
    else:
        refusals.check_tensors(tensors, where)
    untrue = untrue_copies(tensors, naming, names_in_folder(tensors, naming, where))
    for copy, original in untrue:
        if naming.family_name(copy) != OUTPUT:
            what = f"the tensor {copy} differs from {original}, which it should repeat"
            raise ContentError(f"{where}: {what}", "attn reads one tensor for the two")
        # The reference library then ties nothing, whatever the config says.
        config = replace(config, tied=False)
        naming = read._replace(config=config).naming
    stored = names_in_folder(tensors, naming, where)
    config = family.complete(config, stored)
    stored |= quantised.turned(tensors, stored, family, config) if scheme else {}
    shapes = of_layers(family.shapes(config), config)
    idle = quantised.idle_biases(tensors, stored, shapes)
    aside = {n: stored.pop(n).name for n in (*other_heads(stored, shapes), *idle)}
    said |= {"predicts": not without_head(shapes, stored, family.head)} | _by_hand(place)
    named = naming.fused_in(tensors, shapes) | naming.older_in(tensors)
    named |= {name: name for name in of_head(shapes, family.head)}
    facts = _facts(place, folder.config["model_type"], family, config, shapes, **said)
    return _model(
        facts=_of_text(facts, of_config) if read.composite else facts,
        family=family,
        config=config,
        weights=bind(tensors, stored, shapes, where, named, naming.prefix_in(tensors)),
        make=lambda: tokenizer_of(place.path, config.vocabulary),
        where=where,
        end_tokens=end_ids(folder.config, folder.generation),
        ignored=tuple(ignored),
        unknown=(*noted, *read.unknown),
        untrue_copies=untrue,
        left_aside=tuple(place for name, place in aside.items() if name not in idle),
        unread=unread,
        reserved=read.reserved,
    )


def _by_hand(place: places.Place) -> dict[str, Any]:
    """What is to be said of an embedded model whose numbers were chosen; nothing of another."""
    sample = places.BY_HAND.get(place.name) if place.source == "package" else None
    return {"trained": False, "by_hand": True, "sample": sample} if sample else {}


def _of_text(facts: Facts, where: str) -> Facts:
    """The facts of a text that a model for pictures has. Raises ContentError for an encoder.

    The reference's output matrix then stands outside of the text, and nothing scales or caps it.
    """
    if facts.encodes:
        raise ContentError(f"{where}: the text of text_config is read by an encoder")
    return replace(facts, logit_scale=1.0, logit_cap=0.0)


def tokenizer_of(folder: Path, rows: int = sys.maxsize) -> Tokenizer:
    """What training writes is read by our own reader, any other by the library."""
    if folder.parent.name == "snapshots":  # of the Hugging Face cache, whose files are links
        from attn_cli.opening import hub

        hub.check_tokenizer(folder)
    path = folder / "tokenizer.json"
    if os.path.lexists(path):
        try:
            if wordpiece.stands_alone(path):
                return wordpiece.read(path)
        except wordpiece.AnotherForm:
            pass
        from attn_cli.tokens import folder as files

        return files.read(path, rows)
    from attn_cli.tokens import merges, spm, vocab_txt

    for name in spm.NAMES:
        if os.path.lexists(folder / name):
            return spm.read(folder / name)
    if all(os.path.lexists(folder / name) for name in merges.NAMES):
        return merges.read(folder)
    if os.path.lexists(folder / vocab_txt.NAME):
        return vocab_txt.read(folder / vocab_txt.NAME)
    hint = "--ids works without one: --ids 5,6,7"
    what = "has no tokenizer.json, tokenizer.model, vocab.txt, or vocab.json with merges.txt"
    return Absent(ContentError(f"{folder} {what}", hint))


def _open_gguf(place: places.Place, ignored: Sequence[str]) -> Model:
    from attn_cli.checkpoints.parts import open_gguf_files

    file, where = open_gguf_files(place.path, place.parts), str(place.path)
    refusals.check_gguf(file.metadata, where)
    kind = file.metadata.get("general.architecture")
    family = family_named(file.metadata, where, "general.architecture")
    if family.gguf is None:
        raise ContentError(
            f"{where}: the architecture {kind} is not what the converters write",
            "open the folder that the file was made from",
        )
    refusals.check_experts(file.metadata, where, known="expert_count" in family.gguf.keys)
    file.tensors, unread = text_alone(file.tensors, gguf=True)
    config, stored = open_gguf(family.gguf, file, kind, family.read_config, ignored)
    config = family.complete(config, stored)
    shapes = of_layers(family.shapes(config), config)
    predicts = not without_head(shapes, stored, family.head)

    def make() -> Tokenizer:
        from attn_cli.tokens import gguf

        return gguf.from_metadata(file.metadata, where)

    from attn_cli.families.composites import reserved_texts

    ends = [file.metadata.get(f"tokenizer.ggml.{kind}_token_id") for kind in ("eos", "eot")]
    named = file_names(family.gguf, config, file.tensors)
    return _model(
        facts=_facts(place, kind, family, config, shapes, predicts=predicts),
        family=family,
        config=config,
        weights=bind(file.tensors, stored, shapes, where, named),
        make=make,
        where=where,
        end_tokens=ids(*ends),
        ignored=tuple(ignored),
        unread=unread,
        reserved_texts=reserved_texts(kind, pictures=bool(unread[0])),
        metadata=file.metadata,
    )


def _model(*, facts: Facts, make: Callable[[], Tokenizer], where: str, **parts: Any) -> Model:
    def checked() -> Tokenizer:
        tokenizer = make()
        if tokenizer.size > facts.vocabulary:
            raise ContentError(
                f"{where} has token ids up to {tokenizer.size - 1}, "
                f"the embedding has {facts.vocabulary} rows",
                "the tokenizer belongs to another model",
            )
        return tokenizer

    return Model(facts=facts, open_tokenizer=deferred(checked), **parts)


def _random_model(name: str) -> Model:
    numbers = {key: default for key, (default, _, _) in _RANDOM.items()}
    given: set[str] = set()
    for part in filter(None, name.partition(":")[2].split(",")):
        key, _, value = part.partition("=")
        if key in given:
            raise UsageError(f"--model random: {key} is given twice", "give it once")
        given.add(key)
        if key not in numbers:
            raise UsageError(
                f"--model random: the key {shorten(key)!r} is unknown",
                f"known: {', '.join(numbers)}",
            )
        numbers[key] = parse.integer(value, f"--model random: {key}", *_RANDOM[key][1:])
    if numbers["model_width"] % numbers["heads"]:
        raise UsageError(
            f"--model random: model_width {numbers['model_width']} does not divide by "
            f"heads {numbers['heads']}",
            "each head takes an equal share of the width",
        )
    tokenizer = wordpiece.read(_DATA / vocabulary.DEFAULT_MODEL / "tokenizer.json")
    sizes = {**numbers, "vocabulary": tokenizer.size}
    config = family_named({"model_type": UNTRAINED}, name).untrained(sizes)
    place = places.Place(Path(), name, f"untrained, seed {numbers['seed']}")
    return _untrained(
        place, {"model_type": UNTRAINED, **config}, lambda: tokenizer, numbers["seed"]
    )


def preset(name: str) -> Model:
    """A published model by its shapes alone: untrained, and it reads no text. Raises UsageError."""
    from attn_cli.opening import presets

    published, config = presets.find(name)

    def absent() -> Tokenizer:
        raise ContentError(f"{name} stands for shapes alone", "--model opens a model")

    return _untrained(places.Place(Path(), name, published), config, absent)


def _untrained(
    place: places.Place, values: Mapping[str, Any], make: Callable[[], Tokenizer], seed: int = 0
) -> Model:
    """A model made of a config, its tensors drawn when they are asked for."""
    from attn_cli.checkpoints.random import random_tensors

    name = place.name
    family = family_named(values, name)
    config = family.read_config(ConfigReader(values, name))
    shapes = of_layers(family.shapes(config), config)
    tensors = random_tensors(shapes, seed)
    return _model(
        facts=_facts(place, values["model_type"], family, config, shapes, trained=False),
        family=family,
        config=config,
        weights=bind(tensors, names_in_folder(tensors, Naming(), name), shapes, name),
        make=make,
        where=name,
        end_tokens=(),
    )


def _facts(
    place: places.Place, kind: str, family: Family, config: Any, shapes: Shapes, **more: Any
) -> Facts:
    numbers = ("layers", "heads", "kv_heads", "model_width", "head_width", "vocabulary", "context")
    plain = Facts(
        name=place.name,
        family=kind,
        source=place.source,
        parameters=sum(int(np.prod(shape, dtype=np.int64)) for shape in shapes.values()),
        **{name: getattr(config, name) for name in numbers},
        **more,
    )
    return family.describe(plain, config)
