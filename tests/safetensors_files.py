"""Safetensors files of any type, as they are stored: read, changed and written again."""

import json

import numpy as np

from attn_cli.checkpoints.safetensors import open_safetensors

CODES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "U32": "<u4",
         "I8": "i1", "U8": "u1", "F8_E4M3": "u1", "F8_E8M0": "u1"}  # fmt: skip


def write(path, tensors):
    """A safetensors file of (dtype, array) by name."""
    header, parts, at = {}, [], 0
    for name, (dtype, array) in tensors.items():
        parts.append(np.ascontiguousarray(array).tobytes())
        end = at + len(parts[-1])
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))


def read(path):
    """(dtype, array) by name, and the section that a golden has in its header."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    section = json.loads(header.get("__metadata__", {}).get("section", "{}"))
    found = {}
    for name, tensor in open_safetensors(path).items():
        flat = tensor.stored().reshape(-1).view(np.uint8).view(CODES[tensor.dtype])
        found[name] = tensor.dtype, flat.reshape(tensor.shape).copy()
    return found, section
