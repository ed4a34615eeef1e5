"""Shared by every test: the golden models, and a safetensors writer that is not the package's."""

import json
import shutil
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from attn_cli.training import tokenizer as making

GOLDEN = Path(__file__).parent / "golden"
SMALLEST_VOCABULARY = 37

Entry = tuple[str, tuple[int, ...], bytes]


def pack(entries: Mapping[str, Entry]) -> bytes:
    """A safetensors file made by hand from (dtype, shape, bytes), as the format's page says."""
    header, body = {}, b""
    for name, (dtype, shape, data) in entries.items():
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": offsets}
        body += data
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def small_tokenizer() -> dict:
    """A tokenizer.json with fewer entries than the smallest golden model has rows."""
    contents = making.build(["the cat sees a dog"])
    vocabulary = contents["model"]["vocab"]
    few = sorted(vocabulary, key=vocabulary.get)[: SMALLEST_VOCABULARY - 1]
    contents["model"]["vocab"] = {word: vocabulary[word] for word in few}
    return contents


@pytest.fixture(autouse=True)
def no_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the models that the machine's own user has downloaded."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-hub"))
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "no-ollama"))


@pytest.fixture(scope="session")
def packed() -> Callable[[Mapping[str, Entry]], bytes]:
    return pack


@pytest.fixture(scope="session")
def golden_path() -> Path:
    """The folder of reference activations, to be read only."""
    return GOLDEN


@pytest.fixture
def golden_copy(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a copy of a golden model's folder, with a tokenizer, that a test may change."""

    def copy(name: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(GOLDEN / name, folder)
        (folder / "tokenizer.json").write_text(json.dumps(small_tokenizer()))
        return folder

    return copy


@pytest.fixture
def tiny_folder(tmp_path: Path) -> Path:
    """A copy of the embedded checkpoint that a test may change."""
    return shutil.copytree(GOLDEN.parents[1] / "attn_cli" / "data" / "tiny", tmp_path / "tiny")


@pytest.fixture
def chatml_folder(golden_copy: Callable[[str], Path]) -> Path:
    """A golden model whose tokenizer has ChatML's markers in place of two entries."""
    path = golden_copy("llama-plain")
    tokenizer = json.loads((path / "tokenizer.json").read_text())
    vocabulary, added = tokenizer["model"]["vocab"], tokenizer["added_tokens"]
    for last in sorted(vocabulary, key=vocabulary.get)[-2:]:
        del vocabulary[last]
    for id, marker in enumerate(("<|im_start|>", "<|im_end|>"), len(vocabulary)):
        added.append({**added[0], "id": id, "content": marker})
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    return path
