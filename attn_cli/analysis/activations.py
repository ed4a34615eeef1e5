"""Activations made elsewhere: which of an archive's arrays a trace is compared with."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attn_cli.checkpoints.npz import Array, open_npz
from attn_cli.errors import ContentError, shorten
from attn_cli.files import is_stdin, read_input
from attn_cli.hook_names import is_beside, names_of
from attn_cli.model.family import Model
from attn_cli.records import Facts, Prompt
from attn_cli.vocabulary import ARRAYS, DEFAULT_ARRAYS

_DATA = Path(__file__).parent.parent / "data" / "reference"
COMPARED = DEFAULT_ARRAYS | {"w_o", "b_o"}
# What nobody expects to be compared.
_UNASKED = ("attn.document", "source", ".visible")
_NAMES = "names as in --format npz"


class Reference(NamedTuple):
    """Arrays under hook names, where they are from, and what else stood there, not compared."""

    arrays: Mapping[str, np.ndarray]
    source: str
    others: tuple[str, ...] = ()


def read_reference(path: str | None, model: Model, prompt: Prompt) -> Reference:
    """The arrays of a given file; else those stored for this model, if they are of this prompt.

    Only what can be of this model and prompt is read. Raises ContentError for an archive that is
    damaged, or holds anything else: names that are not known, and what are no numbers.
    """
    stored = _DATA / f"{model.facts.name}.npz"
    if path is not None:
        data, where = read_input(path), "standard input" if is_stdin(path) else path
        arrays, others = _read(data, where, model.facts, prompt)
        if not arrays:
            what = "array of this model" if others else "arrays"
            raise ContentError(f"{where} holds no {what}", _NAMES)
        return Reference(arrays, where, others)
    if model.facts.source == "package" and stored.exists():
        data, where = stored.read_bytes(), str(stored)
        arrays, _ = _read(data, where, model.facts, prompt)
        if is_of(arrays, prompt):
            source = open_npz(data, where)["source"].read()
            return Reference(arrays, str(source))
    return Reference({}, "")


def _read(
    data: bytes, path: str, model: Facts, prompt: Prompt
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    compared, kept = names_of(model, COMPARED - {"visible"})
    own, found = names_of(model, ARRAYS)[0], open_npz(data, path)
    most, others = _most(model, prompt), []
    for name, array in found.items():
        if name in compared | kept:
            _check(array, f"{path}: {name}", most, whole=name in kept)
        elif name in own or is_beside(model, name):
            others.append(name)
        else:
            what = f"{path} holds {shorten(name)!r}, which is no array of {model.name}"
            raise ContentError(what, _NAMES)
    read = {name: array.read() for name, array in found.items() if name in compared | kept}
    return read, tuple(name for name in others if not name.endswith(_UNASKED))


def _most(model: Facts, prompt: Prompt) -> int:
    """So many numbers no array of the model and prompt has."""
    tokens = max(len(side.ids) for side in (prompt, prompt.target) if side is not None)
    heads = max(model.heads_of(stack) for stack, _ in model.attentions)
    width = max(model.model_width, tokens)
    return 4 * heads * width * max(tokens, model.head_width, model.of_values)


def _check(array: Array, where: str, most: int, *, whole: bool) -> None:
    """Raises ContentError for what is not so many numbers, or not `whole` ones."""
    problem = array.problem
    if not problem and array.size > most:
        problem = f"holds {array.size:,} numbers, more than an array of this model and prompt has"
    if not problem and whole and array.dtype.kind not in "iu":
        problem = "holds numbers that are not whole"
    if problem:
        raise ContentError(f"{where} {problem}", "the array is not what its name says")


def is_of(reference: Mapping[str, np.ndarray], prompt: Prompt) -> bool:
    """Whether activations are of this prompt, as far as they say of which they are."""
    read = {"tokens": prompt, "target_tokens": prompt.target}
    return all(
        tokens is None or tuple(np.ravel(reference.get(name, tokens.ids)).tolist()) == tokens.ids
        for name, tokens in read.items()
    )
