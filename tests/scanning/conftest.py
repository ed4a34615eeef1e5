"""Scans made by hand: a corpus in a file, a scanner, its parts' records."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_folders import made_folder

from attn_cli import vocabulary
from attn_cli.scanning.corpus import Piece, part_of
from attn_cli.scanning.job import Job
from attn_cli.scanning.measuring import Scanner

TEXTS = (
    "the king is a man and the king is a man", "the queen is a woman", "the", "the king is",
    "the greatest thinker in China is", "the king is a man", "the wizard helps the prince",
)  # fmt: skip


def job(model: str, **more: Any) -> Job:
    typed = {name: one.neutral for name, one in vocabulary.WHAT_IFS.items()}
    typed = {n: list(v) if v == () else v for n, v in typed.items()} | more.pop("what_if", {})
    return Job(model=model, what_if=typed, **more)


def parts_of(*groups: tuple[str, ...]) -> list[Any]:
    """Parts of the lines of one file, in order."""
    pieces, found = [], []
    for number, group in enumerate(groups):
        line = len(pieces) + 1
        own = [Piece("x.txt", line + i, text) for i, text in enumerate(group)]
        pieces += own
        found.append(part_of(number, own, 0))
    return found


def record_of(scanner: Scanner, part: Any) -> Any:
    steps = scanner.scan(part)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.fixture
def sunk(tmp_path: Path, golden_copy: Callable[..., Path]) -> str:
    """A model with sinks, a window, grouped heads, and a tokenizer."""
    folder = made_folder(tmp_path / "sunk", "gpt_oss-a")
    shutil.copy(golden_copy("llama-plain") / "tokenizer.json", folder / "tokenizer.json")
    return str(folder)


@pytest.fixture
def grouped(golden_copy: Callable[..., Path]) -> str:
    """A model whose heads share keys and values."""
    return str(golden_copy("llama-plain"))
