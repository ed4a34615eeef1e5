"""Saving a run as an ordinary folder, and going on from an unfinished one.

While a run is unfinished the folder also holds `training.safetensors` (parameters, moments and
step) and `training.json`: settings, the corpus's SHA-256, a CRC-32 of each array, and a SHA-256 of
all that. `folder.replace_files` sees to it that state and model are of one save.
"""

import hashlib
import json
import math
import os
import traceback
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from attn_cli.checkpoints.safetensors import encode, open_safetensors
from attn_cli.checkpoints.tensor import Tensor
from attn_cli.errors import ContentError, UsageError, shorten
from attn_cli.strict import read_json_object
from attn_cli.training.adamw import Moments
from attn_cli.training.corpus import Corpus
from attn_cli.training.folder import NAMES, SETTINGS, STATE, make_folder, replace_files
from attn_cli.training.loop import Run, State, initial_state, is_sound, watched_attention
from attn_cli.training.objectives import OBJECTIVES
from attn_cli.training.settings import TrainingSettings, require

_STEP = "step"
_PARTS = ("parameter", "first", "second")
_KEYS = ["settings", "corpus_sha256", "arrays", "sha256"]
_DAMAGED = "the saved training is damaged or incomplete; train again into another --out"


def save(directory: Path, run: Run) -> None:
    """Writes the folder, with the training state if the run is unfinished, without it otherwise.

    The model's heads are put in order (see `layers.order_heads`). Raises ContentError.
    """
    make_folder(directory)
    gone = (STATE, SETTINGS) if run.finished else ()
    replace_files(directory, _files(run), without=gone)


def _files(run: Run) -> Iterator[tuple[str, bytes]]:
    """What a folder holds, one by one, so that the bytes of one at a time are kept."""
    objective, settings = run.objective, run.settings
    if not run.finished:
        yield from _state(run)
    yield "tokenizer.json", _json(run.corpus.contents)
    yield "config.json", _json(objective.config(settings, run.corpus))
    parameters = objective.order_heads(run.state.parameters, watched_attention(run), settings.heads)
    yield "model.safetensors", encode(objective.tensors(parameters), {"format": "pt"})


def rescue(directory: Path, run: Run, problem: BaseException) -> bool:
    """Saves what was learnt before the problem, if anything; whether the run can be resumed.

    A run that diverged goes back to the last state that gave a loss.
    """
    # The arrays of the step that failed are in the way of saving.
    traceback.clear_frames(problem.__traceback__)
    diverged = isinstance(problem, UsageError)
    if diverged or not is_sound(run.state):
        # It is the state last reached that gives no number; the one before it gave one.
        run.state = run.before
    if run.state.step > run.began:
        save(directory, run)
    return not (diverged or run.finished)


def refuse_to_overwrite(directory: Path) -> None:
    """Raises UsageError where the folder holds a run or a model, or is no folder."""
    if unfinished(directory):
        raise UsageError(f"{directory} holds an unfinished training", "--resume goes on with it")
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file, not a folder", "choose another --out")
    held = [name for name in reversed(NAMES) if os.path.lexists(directory / name)]
    if held:
        what = "a model" if "model.safetensors" in held else held[0]
        raise UsageError(f"{directory} already holds {what}", "choose another --out")


def unfinished(directory: Path) -> bool:
    """Whether the folder holds a run that can be resumed."""
    return (directory / SETTINGS).exists()


def saved_settings(directory: Path) -> TrainingSettings:
    """The settings of the unfinished run in the folder. Raises ContentError."""
    return _read_settings(directory)[0]


def resume(directory: Path, settings: TrainingSettings, corpus: Corpus) -> State:
    """The state of the unfinished run in the folder, for `loop.start`.

    Raises UsageError if that run had another setting or corpus, ContentError if there is none or
    its files are damaged.
    """
    saved, sha256, arrays = _read_settings(directory)
    for field in fields(TrainingSettings):
        was, now = getattr(saved, field.name), getattr(settings, field.name)
        if was != now:
            raise UsageError(
                f"the unfinished training in {directory} has {field.name} {was}, not {now}",
                "resume with the same settings, or train into another folder",
            )
    if sha256 != corpus.sha256:
        raise UsageError(
            f"the unfinished training in {directory} has another corpus",
            "resume with the same corpus, or train into another folder",
        )
    return _read_state(directory / STATE, settings, corpus, arrays)


def _state(run: Run) -> Iterator[tuple[str, bytes]]:
    """The files of an unfinished run."""
    parts = (run.state.parameters, run.state.moments.first, run.state.moments.second)
    tensors = {_STEP: np.array(run.state.step, np.float32)}
    for part, arrays in zip(_PARTS, parts, strict=True):
        tensors |= {f"{part}.{name}": array for name, array in arrays.items()}
    yield STATE, encode(tensors, {})
    saved = {
        "settings": asdict(run.settings),
        "corpus_sha256": run.corpus.sha256,
        "arrays": {name: _crc(array) for name, array in tensors.items()},
    }
    yield SETTINGS, _json(saved | {"sha256": _sha256(saved)})


def _read_settings(directory: Path) -> tuple[TrainingSettings, str, Mapping[str, Any]]:
    path = directory / SETTINGS
    if not os.path.lexists(path):
        raise ContentError(
            f"{directory} holds no unfinished training", f"resuming needs {SETTINGS} and {STATE}"
        )
    saved = read_json_object(path)
    values, sha256 = saved.get("settings"), saved.get("corpus_sha256")
    arrays = saved.get("arrays")
    kinds = {field.name: type(field.default) for field in fields(TrainingSettings)}
    if not isinstance(values, dict) or not isinstance(sha256, str) or values.keys() != kinds.keys():
        raise ContentError(f"{path} does not hold the settings of a training", _DAMAGED)
    if list(saved) != _KEYS or not isinstance(arrays, dict):
        raise ContentError(f"{path} does not have the keys {', '.join(_KEYS)}", _DAMAGED)
    for name, value in values.items():
        if type(value) is not kinds[name] and not (kinds[name] is float and type(value) is int):
            raise ContentError(f"{path}: the setting {name} is {shorten(repr(value))}", _DAMAGED)
    try:
        settings = TrainingSettings(**values)
        require(settings.objective in OBJECTIVES, f"no objective {shorten(settings.objective)!r}")
    except UsageError as error:
        raise ContentError(f"{path}: {error.message}", _DAMAGED) from None
    try:
        same = saved.pop("sha256") == _sha256(saved)
    except UnicodeEncodeError:  # half of a character, which no file holds
        same = False
    if not same:
        raise ContentError(f"{path} is damaged: its checksum is that of other contents", _DAMAGED)
    return settings, sha256, arrays


def _check_size(path: Path, state: Mapping[str, Tensor], parameters: int) -> None:
    """Refuses settings of another size before so many numbers are made. Raises ContentError."""
    if len(_PARTS) * parameters > sum(math.prod(tensor.shape) for tensor in state.values()):
        raise ContentError(f"{path} does not hold this training's tensors", _DAMAGED)


def _read_state(
    path: Path, settings: TrainingSettings, corpus: Corpus, arrays: Mapping[str, Any]
) -> State:
    state = open_safetensors(path)
    _check_size(path, state, OBJECTIVES[settings.objective].needs(settings, corpus).parameters)
    like = initial_state(settings, corpus).parameters
    expected = {f"{part}.{name}": a.shape for part in _PARTS for name, a in like.items()}
    found = {name: tensor.shape for name, tensor in state.items()}
    if found != expected | {_STEP: ()}:
        raise ContentError(f"{path} does not hold this training's tensors", _DAMAGED)
    step = float(state[_STEP].read())
    if not (step.is_integer() and 0 <= step <= settings.steps):
        raise ContentError(f"{path} says step {step:g} of {settings.steps}", _DAMAGED)

    # Copies: the file they would be views of may be replaced by the next save.
    read = {name: np.array(tensor.read()) for name, tensor in state.items()}
    for name, array in read.items():
        _check_array(array, f"{path}: the array {name}", arrays.get(name))

    def part(name: str) -> Mapping[str, np.ndarray]:
        return {key: read[f"{name}.{key}"] for key in like}

    return State(int(step), part("parameter"), Moments(part("first"), part("second")))


def _json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, ensure_ascii=False, indent=1) + "\n").encode()


def _check_array(array: np.ndarray, said: str, crc: Any) -> None:
    """Raises ContentError for an array that is not as it was saved."""
    unsound = np.count_nonzero(~np.isfinite(array))
    if unsound:
        raise ContentError(f"{said} has values that are not finite: {unsound:,}", _DAMAGED)
    if _crc(array) != crc:
        raise ContentError(f"{said} is not what was saved: its checksum differs", _DAMAGED)


def _crc(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array, "<f4").tobytes())


def _sha256(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(_json(values)).hexdigest()
