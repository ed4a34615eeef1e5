"""Saving a run as an ordinary folder, and going on from an unfinished one.

While a run is unfinished the folder also holds `training.json` (settings and the corpus's SHA-256,
the same for the whole run) and `training.safetensors` (parameters, moments and step). Only the
latter changes from save to save, in one atomic write, so that no interruption leaves a mixture.
"""

import json
import math
import os
import traceback
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from attn_cli.checkpoints.safetensors import encode, open_safetensors
from attn_cli.checkpoints.tensor import Tensor
from attn_cli.errors import ContentError, UsageError, shorten
from attn_cli.files import reason, write_bytes
from attn_cli.strict import read_json_object
from attn_cli.training.adamw import Moments
from attn_cli.training.corpus import Corpus
from attn_cli.training.loop import Run, State, initial_state, watched_attention
from attn_cli.training.objectives import OBJECTIVES
from attn_cli.training.settings import TrainingSettings, require

_STATE = "training.safetensors"
_SETTINGS = "training.json"
_STEP = "step"
_PARTS = ("parameter", "first", "second")
_WRITTEN = ("model.safetensors", "config.json", "tokenizer.json", _STATE, _SETTINGS)
_DAMAGED = "train again without resuming; the saved training state is damaged or incomplete"


def save(directory: Path, run: Run) -> None:
    """Writes the folder, with the training state if the run is unfinished, without it otherwise.

    The model's heads are put in order (see `layers.order_heads`). Raises ContentError.
    """
    make_folder(directory)
    objective, settings = run.objective, run.settings
    parameters = objective.order_heads(run.state.parameters, watched_attention(run), settings.heads)
    if not run.finished:
        _save_state(directory, run)
    write_bytes(directory / "tokenizer.json", _json(run.corpus.contents))
    write_bytes(directory / "config.json", _json(objective.config(settings, run.corpus)))
    tensors = encode(objective.tensors(parameters), {"format": "pt"})
    write_bytes(directory / "model.safetensors", tensors)
    if run.finished:
        _remove(directory / _SETTINGS)
        _remove(directory / _STATE)


def rescue(directory: Path, run: Run, problem: BaseException) -> bool:
    """Saves what was learnt before the problem, if anything; whether the run can be resumed.

    A run that diverged goes back to the last state that gave a loss.
    """
    # The arrays of the step that failed are in the way of saving.
    traceback.clear_frames(problem.__traceback__)
    diverged = isinstance(problem, UsageError)
    if diverged:
        # It is the state last reached that gives no number; the one before it gave one.
        run.state = run.before
    if run.state.step > 0:
        save(directory, run)
    return not (diverged or run.finished)


def make_folder(directory: Path) -> None:
    """Makes the folder if it is not there. Raises ContentError where nothing can be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ContentError(f"cannot make the folder {directory}: {reason(error)}") from None
    if not os.access(directory, os.W_OK):
        raise ContentError(f"cannot write into {directory}", "choose another --out")


def refuse_to_overwrite(directory: Path) -> None:
    """Raises UsageError where the folder holds a run or a model, or is no folder."""
    if unfinished(directory):
        raise UsageError(f"{directory} holds an unfinished training", "--resume goes on with it")
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file, not a folder", "choose another --out")
    held = [name for name in _WRITTEN if os.path.lexists(directory / name)]
    if held:
        what = "a model" if held[0] == _WRITTEN[0] else held[0]
        raise UsageError(f"{directory} already holds {what}", "choose another --out")


def unfinished(directory: Path) -> bool:
    """Whether the folder holds a run that can be resumed."""
    return (directory / _SETTINGS).exists()


def saved_settings(directory: Path) -> TrainingSettings:
    """The settings of the unfinished run in the folder. Raises ContentError."""
    return _read_settings(directory)[0]


def resume(directory: Path, settings: TrainingSettings, corpus: Corpus) -> State:
    """The state of the unfinished run in the folder, for `loop.start`.

    Raises UsageError if that run had another setting or corpus, ContentError if there is none or
    its files are damaged.
    """
    saved, sha256 = _read_settings(directory)
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
    return _read_state(directory / _STATE, settings, corpus)


def _save_state(directory: Path, run: Run) -> None:
    settings = _json({"settings": asdict(run.settings), "corpus_sha256": run.corpus.sha256})
    path = directory / _SETTINGS
    # Another run's settings must not meet this run's state, even if the next write fails.
    if path.is_file() and path.read_bytes() != settings:
        _remove(path)
    parts = (run.state.parameters, run.state.moments.first, run.state.moments.second)
    tensors = {_STEP: np.array(run.state.step, np.float32)}
    for part, arrays in zip(_PARTS, parts, strict=True):
        tensors |= {f"{part}.{name}": array for name, array in arrays.items()}
    write_bytes(directory / _STATE, encode(tensors, {}))
    write_bytes(path, settings)


def _read_settings(directory: Path) -> tuple[TrainingSettings, str]:
    path = directory / _SETTINGS
    if not path.exists():
        raise ContentError(
            f"{directory} holds no unfinished training", f"resuming needs {_SETTINGS} and {_STATE}"
        )
    saved = read_json_object(path)
    values, sha256 = saved.get("settings"), saved.get("corpus_sha256")
    kinds = {field.name: type(field.default) for field in fields(TrainingSettings)}
    if not isinstance(values, dict) or not isinstance(sha256, str) or values.keys() != kinds.keys():
        raise ContentError(f"{path} does not hold the settings of a training", _DAMAGED)
    for name, value in values.items():
        if type(value) is not kinds[name] and not (kinds[name] is float and type(value) is int):
            raise ContentError(f"{path}: the setting {name} is {shorten(repr(value))}", _DAMAGED)
    try:
        settings = TrainingSettings(**values)
        require(settings.objective in OBJECTIVES, f"no objective {shorten(settings.objective)!r}")
        return settings, sha256
    except UsageError as error:
        raise ContentError(f"{path}: {error.message}", _DAMAGED) from None


def _check_size(path: Path, state: Mapping[str, Tensor], parameters: int) -> None:
    """Refuses settings of another size before so many numbers are made. Raises ContentError."""
    if len(_PARTS) * parameters > sum(math.prod(tensor.shape) for tensor in state.values()):
        raise ContentError(f"{path} does not hold this training's tensors", _DAMAGED)


def _read_state(path: Path, settings: TrainingSettings, corpus: Corpus) -> State:
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

    def part(name: str) -> Mapping[str, np.ndarray]:
        # Copies: the file they would be views of may be replaced by the next save.
        return {key: np.array(state[f"{name}.{key}"].read()) for key in like}

    return State(int(step), part("parameter"), Moments(part("first"), part("second")))


def _json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, ensure_ascii=False, indent=1) + "\n").encode()


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ContentError(f"cannot remove {path}: {reason(error)}") from None
