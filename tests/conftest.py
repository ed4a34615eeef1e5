"""Shared by every test: the golden models, a spy behind a model, and writers not the package's."""

import gc
import json
import os
import shutil
import signal
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import hypothesis
import pytest
from made_folders import document, made_folder

from attn_cli import session, signals
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.maths import products, tiles
from attn_cli.model.family import Model
from attn_cli.training import tokenizer as making

GOLDEN = Path(__file__).parent / "golden"
SMALLEST_VOCABULARY = 37

# Where it is forbidden to keep bytecode, each process that is started compiles everything anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# A background job of a shell ignores SIGINT, one of nohup SIGHUP, and so would every process that a
# test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# A loaded machine must not fail a test that only asks what the answer is.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """The whole suite runs on all cores; a file of it, or a debugger, in this process."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    asked = getattr(config.option, "numprocesses", 0)  # not there without xdist
    inside = hasattr(config, "workerinput")  # one of the processes that this makes
    if whole and asked is None and not inside and not config.option.usepdb:
        config.option.numprocesses = "auto"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What tests are made of stays to the end: no search for garbage goes through it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


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


def small_tokenizer(form: making.Form) -> dict:
    """A tokenizer.json with fewer entries than the smallest golden model has rows."""
    contents = making.build(["the cat sees a dog"], form)
    vocabulary = contents["model"]["vocab"]
    few = sorted(vocabulary, key=vocabulary.get)[: SMALLEST_VOCABULARY - 1]
    contents["model"]["vocab"] = {word: vocabulary[word] for word in few}
    return contents


@pytest.fixture(scope="session", autouse=True)
def _machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees the models that the machine's own user has downloaded, nor his language."""
    nowhere = tmp_path_factory.mktemp("user")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_CACHE", str(nowhere / "no-hub"))
        patch.setenv("OLLAMA_MODELS", str(nowhere / "no-ollama"))
        patch.setenv("LC_ALL", "C.UTF-8")
        yield


@pytest.fixture(scope="session")
def packed() -> Callable[[Mapping[str, Entry]], bytes]:
    return pack


@pytest.fixture(scope="session")
def golden_path() -> Path:
    """The folder of reference activations, to be read only."""
    return GOLDEN


@pytest.fixture(scope="session")
def repack() -> Callable[[Path, Callable[[dict[str, Entry]], dict[str, Entry]]], None]:
    """Packs a folder's float32 tensors anew, as `change` of (dtype, shape, bytes) has them."""

    def repacked(folder, change):
        path = folder / "model.safetensors"
        entries = {
            name: ("F32", tensor.shape, tensor.read().tobytes())
            for name, tensor in open_safetensors(path).items()
        }
        path.unlink()  # the old file may still be mapped
        path.write_bytes(pack(change(entries)))

    return repacked


@pytest.fixture
def golden_copy(tmp_path: Path) -> Callable[..., Path]:
    """Copies a golden model's folder, with a tokenizer of a form, for a test to change.

    `NAME, with pictures` has its config within that of a model for pictures and text.
    """

    def copy(name: str, form: making.Form = making.DECODER) -> Path:
        name, _, around = name.partition(", ")
        folder = tmp_path / name
        shutil.copytree(GOLDEN / name, folder)
        if around:
            text = json.loads((folder / "config.json").read_text())
            whole = {"model_type": "gemma3", "text_config": text, "image_token_index": 99}
            (folder / "config.json").write_text(json.dumps(whole))
        (folder / "tokenizer.json").write_text(json.dumps(small_tokenizer(form)))
        return folder

    return copy


@pytest.fixture
def type_folder(tmp_path: Path) -> Callable[..., str]:
    """Makes the folder of a golden model type, with other values for some keys of its config."""

    def make(name: str, **changes: Any) -> str:
        return str(made_folder(tmp_path / name, name, document(name)["config"] | changes))

    return make


@pytest.fixture
def tiny_folder(tmp_path: Path) -> Path:
    """A copy of the embedded checkpoint that a test may change."""
    return shutil.copytree(GOLDEN.parents[1] / "attn_cli" / "data" / "tiny", tmp_path / "tiny")


class Spied:
    """A tensor that tells its spy what is asked of it."""

    def __init__(self, name, tensor, spy):
        self.name, self.tensor, self.spy = name, tensor, spy
        self.dtype, self.shape, self.size = tensor.dtype, tensor.shape, tensor.size
        self.release, self.expect, self.scales = tensor.release, tensor.expect, None

    def read(self):
        self.spy.whole.append(self.name)
        return self.tensor.read()

    def rows(self, indices, out=None):
        self.spy.by_row.append((self.name, list(indices)))
        return self.tensor.rows(indices, out)


class Spy:
    """Tensors that remember what was asked of those behind them."""

    def __init__(self, tensors):
        self.whole, self.by_row = [], []
        self.tensors = {name: Spied(name, t, self) for name, t in tensors.items()}

    def rows_read(self) -> dict[str, list[int]]:
        """Which rows of which tensors were read, in order; all of those that were read whole."""
        found = {name: list(range(self.tensors[name].shape[0])) for name in self.whole}
        for name, rows in self.by_row:
            found[name] = sorted(found.get(name, []) + rows)
        return found


@pytest.fixture
def spied() -> Callable[[Path], tuple[Model, Spy]]:
    """Opens a folder with a spy between the model and its file."""

    def opened(folder: Path) -> tuple[Model, Spy]:
        model = session.load(str(folder))
        spy = Spy(model.weights.tensors)
        return replace(model, weights=replace(model.weights, tensors=spy.tensors)), spy

    return opened


def _write(path, architecture, add, tensors, kinds=None):
    writer = gguf.GGUFWriter(path, architecture)
    add(writer)
    for name, array in tensors.items():
        writer.add_tensor(name, array, raw_dtype=(kinds or {}).get(name))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(path)


@pytest.fixture(scope="session")
def write_gguf() -> Callable[..., str]:
    """Writes tensors with the package; `add(writer)` adds the keys, `kinds` says what bytes are."""
    return _write


@pytest.fixture
def chatml_folder(golden_copy: Callable[..., Path]) -> Path:
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


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Sets a limit of how products are cut, which is then worked out anew."""
    for module, remembered in ((tiles, "_cut"), (tiles, "_apart"), (products, "_unturned")):
        monkeypatch.setattr(module, remembered, getattr(module, remembered).__wrapped__)

    def limit(name: str, value: int) -> None:
        monkeypatch.setattr(tiles if hasattr(tiles, name) else products, name, value)

    return limit


@pytest.fixture
def signals_heard() -> Iterator[None]:
    """Signals as the command has them, and the former handlers afterwards."""
    former = {number: signal.getsignal(number) for number in signals.ENDING}
    for number in signals.ENDING:
        signal.signal(number, signal.default_int_handler)
    signals.listen()
    yield
    signals._State.raised, signals._State.waits = False, False
    for number, handler in former.items():
        signal.signal(number, handler)
