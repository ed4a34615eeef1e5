"""The number types of GGUF tensors, and float32 out of each of them.

The common block types are read here, about twice as fast as by the `gguf` package and bit for bit
the same; the rare ones are left to that package. A block is a few scales in float16 and packed
whole numbers: value = scale x number (+ or - a minimum).
https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from attn_cli.checkpoints.floats import FLOATS, widen
from attn_cli.errors import ContentError


class GgmlType(NamedTuple):
    """A block of this type holds `block` numbers in `size` bytes."""

    name: str
    block: int
    size: int


# Numbers: enum ggml_type in ggml.h (the gaps were withdrawn); sizes: the structs in ggml-common.h.
# Q8_1 and Q8_K exist inside ggml only. The gguf package still counts 40 bytes for Q8_1, the size
# it had when its two scales were float32.
TYPES = {number: GgmlType(*entry) for number, *entry in (
    (0, "F32", 1, 4), (1, "F16", 1, 2), (30, "BF16", 1, 2), (28, "F64", 1, 8),
    (24, "I8", 1, 1), (25, "I16", 1, 2), (26, "I32", 1, 4), (27, "I64", 1, 8),
    (2, "Q4_0", 32, 18), (3, "Q4_1", 32, 20), (6, "Q5_0", 32, 22), (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34), (9, "Q8_1", 32, 36), (10, "Q2_K", 256, 84), (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144), (13, "Q5_K", 256, 176), (14, "Q6_K", 256, 210), (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66), (17, "IQ2_XS", 256, 74), (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50), (20, "IQ4_NL", 32, 18), (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82), (23, "IQ4_XS", 256, 136), (29, "IQ1_M", 256, 56),
    (34, "TQ1_0", 256, 54), (35, "TQ2_0", 256, 66), (39, "MXFP4", 32, 17), (40, "NVFP4", 64, 36),
    (41, "Q1_0", 128, 18),
)}  # fmt: skip
BY_NAME = {kind.name: kind for kind in TYPES.values()}
# Mixtures of types, as `general.file_type` numbers them: enum llama_ftype in llama.h.
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M",
    30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip
# Numbers dequantised at once: their float32 (512 KB) and all that is between fit a core's cache.
_CHUNK = 1 << 17
# Blocks to whole numbers, a scale and, in some types, an addend: value = number x scale + addend.
Unpack = Callable[[np.ndarray], tuple[np.ndarray, ...]]


def dequantise(dtype: str, raw: np.ndarray) -> np.ndarray:
    """The float32 numbers of whole blocks, flat; F32 is a view. `raw` is uint8 without a gap.

    Raises ContentError for a type that is not a float, or that only a missing package can read.
    """
    with np.errstate(all="ignore"):  # infinite scales are data; who computes with them counts them
        if dtype in FLOATS:
            return widen(dtype, raw)
        unpack = _OURS.get(dtype) or _of_package(dtype)
        _, block, size = BY_NAME[dtype]
        blocks = raw.reshape(-1, size)
        out = np.empty((len(blocks), block), np.float32)
        for at in range(0, len(blocks), _CHUNK // block):
            part = slice(at, at + _CHUNK // block)
            numbers, scale, *added = unpack(blocks[part])
            cells = out[part].reshape(*scale.shape[:-1], -1)
            cells[...] = numbers.reshape(cells.shape)
            cells *= scale
            for minimum in added:
                cells += minimum
        return out.reshape(-1)


def _of_package(dtype: str) -> Unpack:
    if dtype in {"I8", "I16", "I32", "I64"}:
        raise ContentError(f"type {dtype} is not a float", "attn reads float and quantised tensors")
    try:
        from gguf import GGMLQuantizationType, quants

        kind = GGMLQuantizationType[dtype]
        quants.dequantize(np.zeros((1, BY_NAME[dtype].size), np.uint8), kind)
    except ImportError:
        hint = 'pip install "attn-cli[models]"'
        raise ContentError(f"type {dtype} needs the package gguf", hint) from None
    except (KeyError, NotImplementedError):
        raise ContentError(f"the gguf package installed here cannot read type {dtype}") from None
    # As one row: the package takes 16 rows at a time, however short they are.
    one = np.ones((1, 1), np.float32)
    return lambda blocks: (quants.dequantize(blocks.reshape(1, -1), kind), one)


def _half(scales: np.ndarray) -> np.ndarray:
    return scales.view("<f2").astype(np.float32)


def _nibbles(packed: np.ndarray) -> np.ndarray:
    """(..., width) bytes to (..., 2, width): all low halves, then all high ones; 8 bytes a step."""
    lanes = np.array(packed, order="C").view(np.uint64)
    both = np.empty((*lanes.shape[:-1], 2, lanes.shape[-1]), np.uint64)
    np.bitwise_and(lanes, 0x0F0F0F0F0F0F0F0F, out=both[..., 0, :])
    lanes >>= 4
    np.bitwise_and(lanes, 0x0F0F0F0F0F0F0F0F, out=both[..., 1, :])
    return both.view(np.uint8)


def _minus(numbers: np.ndarray, half: int) -> np.ndarray:
    numbers -= half  # wraps below zero, which is right once read as int8
    return numbers.view(np.int8)


def _fifths(bits: np.ndarray, packed: np.ndarray) -> np.ndarray:
    """32 numbers of five bits: the fifth bit of each stands apart."""
    numbers = np.unpackbits(np.array(bits), axis=1, bitorder="little")
    numbers <<= 4
    numbers |= _nibbles(packed).reshape(-1, 32)
    return numbers


def _q4_0(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    return _minus(_nibbles(blocks[:, 2:]), 8), _half(blocks[:, :2])


def _q4_1(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    return _nibbles(blocks[:, 4:]), _half(blocks[:, :2]), _half(blocks[:, 2:4])


def _q5_0(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    return _minus(_fifths(blocks[:, 2:6], blocks[:, 6:]), 16), _half(blocks[:, :2])


def _q5_1(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    return _fifths(blocks[:, 4:8], blocks[:, 8:]), _half(blocks[:, :2]), _half(blocks[:, 2:4])


def _q8_0(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    return blocks[:, 2:].view(np.int8), _half(blocks[:, :2])


def _eighths(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale and negated minimum of each eighth: 6 bits each, the last four eighths' cut in two."""
    low, middle, high = blocks[:, 4:8], blocks[:, 8:12], blocks[:, 12:16]
    scale = np.concatenate([low & 63, (high & 15) | ((low >> 2) & 48)], axis=1)
    minimum = np.concatenate([middle & 63, (high >> 4) | ((middle >> 2) & 48)], axis=1)
    both = _half(blocks[:, :4])
    return (both[:, :1] * scale)[..., None], -(both[:, 1:] * minimum)[..., None]


def _q4_k(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    return _nibbles(blocks[:, 16:].reshape(-1, 4, 32)), *_eighths(blocks)


def _q5_k(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    numbers = _nibbles(blocks[:, 48:].reshape(-1, 4, 32)).view(np.uint64).reshape(-1, 8, 4)
    high = np.array(blocks[:, 16:48], order="C").view(np.uint64)
    for j in range(8):
        numbers[:, j] |= ((high >> j) & 0x0101010101010101) << 4
    return numbers.view(np.uint8), *_eighths(blocks)


def _q6_k(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    numbers = _nibbles(blocks[:, :128].reshape(-1, 2, 64)).view(np.uint64).reshape(-1, 2, 4, 4)
    high = np.array(blocks[:, 128:192], order="C").view(np.uint64).reshape(-1, 2, 4)
    for j in range(4):
        numbers[:, :, j] |= ((high >> 2 * j) & 0x0303030303030303) << 4
    scale = _half(blocks[:, 208:]) * blocks[:, 192:208].view(np.int8)
    return _minus(numbers.view(np.uint8), 32), scale[..., None]


_OURS: dict[str, Unpack] = {
    "Q4_0": _q4_0, "Q4_1": _q4_1, "Q5_0": _q5_0, "Q5_1": _q5_1, "Q8_0": _q8_0,
    "Q4_K": _q4_k, "Q5_K": _q5_k, "Q6_K": _q6_k,
}  # fmt: skip
