"""What a row finds in its folder: files and folders, whole or damaged."""

import json
import math
import os
import shutil
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors_files
from gguf_bytes import U32, entry, tensor, whole, word
from made_folders import document, made_folder

import attn_cli

Maker = Callable[[Path], object]
DATA = Path(attn_cli.__file__).parent / "data"
GOLDEN = Path(__file__).parents[1] / "golden"


def file(name: str, data: bytes | str = b"") -> Maker:
    """A file, in folders that are made for it."""

    def make(here: Path) -> None:
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)

    return make


def sparse(name: str, size: int, head: bytes = b"") -> Maker:
    """A file that says it is large and takes no room."""

    def make(here: Path) -> None:
        (here / name).write_bytes(head)
        os.truncate(here / name, size)

    return make


def folder(name: str, mode: int = 0o755) -> Maker:
    """A folder."""

    def make(here: Path) -> None:
        (here / name).mkdir(parents=True)
        (here / name).chmod(mode)

    return make


def fifo(name: str) -> Maker:
    """A named pipe at whose other end nobody is."""
    return lambda here: os.mkfifo(here / name)


def link(name: str, target: str) -> Maker:
    """A symbolic link, in place of what is there."""

    def make(here: Path) -> None:
        (here / name).unlink(missing_ok=True)
        (here / name).symlink_to(target)

    return make


def moved(name: str, target: str) -> Maker:
    """Another name for a file."""
    return lambda here: (here / name).rename(here / target)


def gone(name: str) -> Maker:
    """A file that is missing."""
    return lambda here: (here / name).unlink()


def tiny(name: str = "m", which: str = "tiny") -> Maker:
    """A copy of a model that comes with the package."""
    return lambda here: shutil.copytree(DATA / which, here / name)


def llama(name: str = "m", kind: str = "llama-a", arrange: Any = dict, **config: Any) -> Maker:
    """A small model without a tokenizer; with other values for keys of its config."""

    def make(here: Path) -> None:
        made_folder(here / name, kind, document(kind)["config"] | config, arrange)

    return make


def edited(name: str, change: Callable[[Any], Any]) -> Maker:
    """A JSON file with something changed: in place, or by giving another value."""

    def make(here: Path) -> None:
        value = json.loads((here / name).read_text())
        changed = change(value)
        (here / name).write_text(json.dumps(value if changed is None else changed))

    return make


def config(name: str = "m", **changes: Any) -> Maker:
    """A config with other values for some keys."""
    return edited(f"{name}/config.json", lambda found: {**found, **changes})


def without(key: str, name: str = "m/config.json") -> Maker:
    """A JSON file without one of its keys."""
    return edited(name, lambda found: {k: v for k, v in found.items() if k != key})


def cut(name: str, size: int) -> Maker:
    """A file that ends early; with a negative size so many bytes before its end."""

    def make(here: Path) -> None:
        data = (here / name).read_bytes()
        (here / name).write_bytes(data[:size])

    return make


def flipped(name: str, at: int, by: int = 0xFF) -> Maker:
    """A file one byte of which is another."""

    def make(here: Path) -> None:
        data = bytearray((here / name).read_bytes())
        data[at] ^= by
        (here / name).write_bytes(bytes(data))

    return make


def safe(header: Any, body: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file of this header, which may claim another length."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + body


def tensors(change: Callable[[dict[str, Any]], Any], name: str = "m/model.safetensors") -> Maker:
    """A model's tensors, (dtype, array) by name, with something changed."""

    def make(here: Path) -> None:
        found, _ = safetensors_files.read(here / name)
        changed = change(found)
        (here / name).unlink()
        safetensors_files.write(here / name, found if changed is None else changed)

    return make


def filled(part: str, value: float, count: int = 1) -> Maker:
    """The first numbers of a tensor whose name holds `part` are `value`."""

    def change(found: dict[str, Any]) -> None:
        name = next(name for name in found if part in name)
        found[name][1].reshape(-1)[:count] = value

    return tensors(change)


def header(change: Callable[[dict[str, Any]], Any], name: str = "m/model.safetensors") -> Maker:
    """A safetensors file whose header says something else; its bytes stay."""

    def make(here: Path) -> None:
        data = (here / name).read_bytes()
        size = struct.unpack("<Q", data[:8])[0]
        found = json.loads(data[8 : 8 + size])
        changed = change(found)
        found = found if changed is None else changed
        (here / name).write_bytes(safe(found, data[8 + size :]))

    return make


def sharded(name: str = "m") -> Maker:
    """A model in two files with an index."""

    def make(here: Path) -> None:
        path = here / name / "model.safetensors"
        found, _ = safetensors_files.read(path)
        path.unlink()
        names, total = list(found), sum(array.nbytes for _, array in found.values())
        half, files = len(names) // 2, ("one.safetensors", "two.safetensors")
        where = {n: files[i >= half] for i, n in enumerate(names)}
        for held in files:
            part = {n: found[n] for n in names if where[n] == held}
            safetensors_files.write(here / name / held, part)
        index = {"metadata": {"total_size": total}, "weight_map": where}
        (here / name / "model.safetensors.index.json").write_text(json.dumps(index))

    return make


GPT2_KEYS = {
    "general.architecture": word("general.architecture", "gpt2"),
    **{
        f"gpt2.{name}": entry(f"gpt2.{name}", U32, struct.pack("<I", value))
        for name, value in {
            "block_count": 1, "context_length": 7, "embedding_length": 4,
            "feed_forward_length": 5, "attention.head_count": 2,
        }.items()
    },
    "gpt2.attention.layer_norm_epsilon": entry(
        "gpt2.attention.layer_norm_epsilon", 6, struct.pack("<f", 1e-5)
    ),
}  # fmt: skip
# Dimensions as the file has them: the innermost first.
GPT2_TENSORS: dict[str, tuple[int, ...]] = {
    "token_embd.weight": (4, 11), "position_embd.weight": (4, 7), "output_norm.weight": (4,),
    "output_norm.bias": (4,), "blk.0.attn_norm.weight": (4,), "blk.0.attn_norm.bias": (4,),
    "blk.0.attn_qkv.weight": (4, 12), "blk.0.attn_qkv.bias": (12,),
    "blk.0.attn_output.weight": (4, 4), "blk.0.attn_output.bias": (4,),
    "blk.0.ffn_norm.weight": (4,), "blk.0.ffn_norm.bias": (4,),
    "blk.0.ffn_up.weight": (4, 5), "blk.0.ffn_up.bias": (5,),
    "blk.0.ffn_down.weight": (5, 4), "blk.0.ffn_down.bias": (4,),
}  # fmt: skip


def gpt2(
    keys: Mapping[str, bytes | None] | None = None,
    more: Mapping[str, bytes | None] | None = None,
    dims: Mapping[str, tuple[int, ...]] | None = None,
    **how: Any,
) -> bytes:
    """A GGUF file of a model of one layer: `keys` are other entries, `more` other descriptions of
    tensors, None one that is left out, `dims` other sizes of them."""
    entries = {**GPT2_KEYS, **(keys or {})}
    found: dict[str, bytes | None] = {}
    at = 0
    body = b""
    for name, sizes in {**GPT2_TENSORS, **(dims or {})}.items():
        found[name] = tensor(name, sizes, offset=at)
        numbers = np.random.default_rng(at).standard_normal(math.prod(sizes)).astype("<f4")
        body += numbers.tobytes() + bytes(-numbers.nbytes % 32)
        at = len(body)
    found |= more or {}
    return whole(
        tuple(e for e in entries.values() if e is not None),
        tuple(t for t in found.values() if t is not None),
        body, **how,
    )  # fmt: skip


def gguf(data: bytes, name: str = "m.gguf") -> Maker:
    """A GGUF file."""
    return file(name, data)
