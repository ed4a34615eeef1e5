"""All that whoever measures a part has to know, as it goes to other processes: as JSON."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from attn_cli import __version__, files, vocabulary
from attn_cli.blocks import chosen
from attn_cli.errors import ContentError
from attn_cli.model.family import Model
from attn_cli.model.what_if import path_of
from attn_cli.parse import attentions
from attn_cli.records import Address, Facts

_TOGETHER = 1 << 24  # numbers of a tensor that are read at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is measured with which model: the model as it is named and opened, how a text is read
    (see `reading.tokenise`), which heads, the what-if settings under the names of
    `vocabulary.WHAT_IFS`, and tokens to a prompt where documents are cut (0: they are not).

    `model_digest` is of the opened model, `masks` has those of the files that words of `--mask`
    name, and `version` is of this program: another one gives other numbers.
    """

    model: str
    adapter: str = ""
    ignore_config: tuple[str, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)
    stack: str = ""
    kind: str = "self"
    layer: str = "all"
    head: str = "all"
    what_if: Mapping[str, Any] = field(default_factory=dict)
    chunk: int = 0
    by_token: bool = False
    max_memory: int = 0
    model_digest: str = ""
    masks: Mapping[str, str] = field(default_factory=dict)
    version: str = __version__

    def to_json(self) -> bytes:
        """As `from_json` takes it."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Job":
        """The job that `to_json` has written."""
        found = json.loads(data)
        return cls(**{**found, "ignore_config": tuple(found["ignore_config"])})

    @property
    def digest(self) -> str:
        """Of all that the numbers depend on: neither where files were found nor how much memory may
        be used."""
        masks = [self.masks.get(word, word) for word in self.what_if.get("mask", ())]
        beside = {
            "model": "", "adapter": "", "max_memory": 0, "masks": {},
            "what_if": {**self.what_if, "mask": masks},
        }  # fmt: skip
        told = json.dumps(asdict(self) | beside, sort_keys=True).encode()
        return blake2b(told, digest_size=16).hexdigest()

    def anywhere(self) -> "Job":
        """The same for a process that has the same files and works in another folder."""
        mask = [_anywhere(word) for word in self.what_if.get("mask", ())]
        return replace(
            self, model=_absolute(self.model), adapter=_absolute(self.adapter),
            what_if={**self.what_if, "mask": mask},
            masks={_anywhere(word): digest for word, digest in self.masks.items()},
        )  # fmt: skip

    @property
    def settings(self) -> dict[str, Any]:
        """What was typed, as documents have it."""
        cut = {"chunk": self.chunk or None, "by": "token" if self.by_token else None}
        chosen = {"model": self.model, "layer": self.layer, "head": self.head}
        return {**self.what_if, **chosen, **cut}


def _absolute(name: str) -> str:
    return os.path.abspath(name) if name and os.path.lexists(name) else name


def _anywhere(word: str) -> str:
    path = path_of(word)
    return word if path is None else f"file:{os.path.abspath(path)}"


class Measured(NamedTuple):
    """A measure: its field in `HeadSummary`, the power of two that it stays below, and whether the
    largest (1) or the smallest (−1) numbers are the best."""

    name: str
    top: int
    sign: int


_TOPS = {"entropy": 5, "distance": 20, "effective_keys": 20}


def measured(facts: Facts) -> tuple[Measured, ...]:
    """The measures of a model's heads, in the order of `vocabulary.SCAN_COLUMNS`."""
    return tuple(
        Measured(name, _TOPS.get(name, 1), -1 if short in vocabulary.SMALLEST_FIRST else 1)
        for short, name in vocabulary.SCAN_COLUMNS.items()
        if name != "sink_share" or facts.sinks
    )


class Rows(NamedTuple):
    """The heads of a scan in the order of their statistics: the chosen heads of each block."""

    blocks: tuple[Address, ...]
    heads: Mapping[str, tuple[int, ...]]

    @property
    def places(self) -> dict[Address, np.ndarray]:
        """Where the heads of each block stand."""
        found, start = {}, 0
        for block in self.blocks:
            end = start + len(self.heads[block.stack])
            found[block], start = np.arange(start, end), end
        return found

    @property
    def each(self) -> list[tuple[Address, int]]:
        """The block and the number of each head."""
        return [(block, head) for block in self.blocks for head in self.heads[block.stack]]


def rows(facts: Facts, job: Job) -> Rows:
    """The heads that a job measures. Raises UsageError."""
    where = attentions(job.stack, job.kind, facts.attentions)
    return Rows(*chosen(facts, where, job.layer, job.head))


def digest_of(model: Model) -> str:
    """A digest of all that a model computes with: its config, every number, how it reads."""
    told = blake2b(digest_size=16)
    told.update(re.sub(r" at 0x[0-9a-f]+", "", repr(model.config)).encode())
    told.update(repr([token.id for token in model.tokenizer.encode(model.facts.sample)]).encode())
    for name in sorted(model.weights.tensors):
        tensor = model.weights.tensors[name]
        told.update(repr((name, tensor.dtype, tensor.shape)).encode())
        for part in _lines(tensor.stored()):
            told.update(np.ascontiguousarray(part))
        tensor.release()
    return told.hexdigest()


def digests_of(words: Sequence[str]) -> dict[str, str]:
    """Of the files that some of these words of `--mask` name, as far as they can be read."""
    found = {}
    for word in words:
        path = path_of(word)
        if path is not None:
            with suppress(ContentError):
                text, _ = files.read_text(Path(path))
                found[word] = blake2b(text.encode(), digest_size=16).hexdigest()
    return found


def _lines(stored: np.ndarray) -> Sequence[np.ndarray]:
    flat = stored.reshape(-1)
    return [flat[start : start + _TOGETHER] for start in range(0, flat.size, _TOGETHER)]
