"""bitsandbytes in 4 bits: places in a table of 16 floats, and the largest number of each block.

Dettmers et al. 2023, "QLoRA", arXiv 2305.14314; `dequantize_4bit` of
https://github.com/bitsandbytes-foundation/bitsandbytes, multiplied in float32.
"""

import json
from collections.abc import Callable
from functools import cache
from math import prod
from typing import Any

import numpy as np

from attn_cli.checkpoints.floats import FLOATS
from attn_cli.checkpoints.packed.modules import Format, Module, Rows, scales, values
from attn_cli.checkpoints.tensor import Tensor
from attn_cli.errors import shorten

_STATE = ".weight.quant_state.bitsandbytes__"
_KINDS = ("nf4", "fp4")
_BLOCKS = (32, 64, 128, 256, 512, 1024, 2048, 4096)
_LONGEST = 10_000  # bytes of what a matrix says of itself
_PARTS = ("absmax", "quant_map", "nested_absmax", "nested_quant_map")


def four_bits() -> Format:
    """The packed `weight` with what QLoRA keeps beside it."""
    ends = (*(f".weight.{part}" for part in _PARTS), *(_STATE + kind for kind in _KINDS))
    return Format((".weight", *ends), _make)


def _make(module: Module) -> Tensor:
    kind = next((kind for kind in _KINDS if module.has(_STATE + kind)), _KINDS[0])
    state = _state(module, _STATE + kind)
    shape, block = _shape(module, state), _size(module, state, "blocksize", _BLOCKS)
    count = prod(shape)
    packed = module.part(".weight", ("U8", *FLOATS), (1, 2))
    if packed.size != -(-count // 2):
        what = f"the tensor {module.name}.weight has {packed.size} bytes for {count} numbers"
        raise module.error(f"{what} of 4 bits")
    table = module.shaped(".weight.quant_map", ("F32",), (16,))
    largest = _largest(module, state, -(-count // block))

    def codes(first: int, last: int) -> np.ndarray:
        """The places of some numbers in the table; the first of a byte is in its upper half."""
        some = packed.stored().reshape(-1).view(np.uint8)[first // 2 : -(-last // 2)]
        pairs = np.empty((len(some), 2), np.uint8)
        pairs[:, 0], pairs[:, 1] = some >> 4, some & 15
        return pairs.reshape(-1)[first % 2 :][: last - first]

    def run(first: int, last: int, out: np.ndarray) -> None:
        np.take(scales(table, slice(None)), codes(first, last), out=out, mode="clip")
        begin, end = first // block, -(-last // block)
        factors = largest(begin, end)
        if first % block or last % block:
            at = np.arange(first, last) // block - begin
            out *= factors[at]
        else:
            cells = out.reshape(-1, block)
            cells *= factors[:, None]

    def fill(rows: Rows, out: np.ndarray) -> None:
        width = shape[1]
        if isinstance(rows, slice):
            run(rows.start * width, rows.stop * width, out.reshape(-1))
        else:
            for row, numbers in zip(rows.tolist(), out, strict=True):
                run(row * width, (row + 1) * width, numbers)

    return module.tensor(kind.upper(), shape, fill)


def _state(module: Module, end: str) -> dict[str, Any]:
    """What a matrix says of itself, as JSON in bytes."""
    stored = module.part(end, ("U8",), 1)
    try:
        found = json.loads(values(stored)[:_LONGEST].tobytes())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise module.error(f"the tensor {module.name}{end} is not a JSON object")
    return found


def _shape(module: Module, state: dict[str, Any]) -> tuple[int, int]:
    found = state.get("shape")
    if not (isinstance(found, list) and len(found) == 2) or not all(
        type(n) is int and 0 < n < 1 << 31 for n in found
    ):
        raise module.error(f"{module.name}: the shape of its quant_state is not that of a matrix")
    return found[0], found[1]


def _size(module: Module, state: dict[str, Any], key: str, known: tuple[int, ...]) -> int:
    if state.get(key) not in known or type(state[key]) is not int:
        what = f"{module.name}: the {key} of its quant_state is {shorten(repr(state.get(key)))}"
        raise module.error(what, f"attn knows {', '.join(map(str, known))}")
    return state[key]


def _largest(module: Module, state: dict[str, Any], count: int) -> Callable[[int, int], np.ndarray]:
    """What gives the largest numbers of some of the blocks, which may be quantised themselves."""
    if not module.has(".weight.nested_absmax"):
        plain = module.shaped(".weight.absmax", ("F32",), (count,))
        return lambda begin, end: scales(plain, slice(begin, end))
    block = _size(module, state, "nested_blocksize", (256,))
    offset = state.get("nested_offset")
    if type(offset) not in (int, float) or not abs(offset) < 1e30:
        raise module.error(f"{module.name}: the nested_offset of its quant_state is no number")
    places = module.shaped(".weight.absmax", ("U8",), (count,))
    table = module.shaped(".weight.nested_quant_map", ("F32",), (256,))
    factors = module.shaped(".weight.nested_absmax", ("F32",), (-(-count // block),))

    @cache
    def all_of_them() -> tuple[np.ndarray, np.ndarray]:
        return scales(table, slice(None)), scales(factors, slice(None))

    def some(begin: int, end: int) -> np.ndarray:
        of_place, of_block = all_of_them()
        found = of_place[values(places)[begin:end]] * of_block[np.arange(begin, end) // block]
        return found + np.float32(offset)

    return some
