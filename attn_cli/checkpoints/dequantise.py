"""The number types of GGUF tensors, and float32 out of each of them.

The common block types are read here, several times as fast as by the `gguf` package and bit for bit
the same; the rare ones are left to that package. A block is a few scales in float16 and packed
whole numbers: value = scale x number (+ or - a minimum).
https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from attn_cli.checkpoints.floats import FLOATS, widen
from attn_cli.errors import ContentError
from attn_cli.maths.cores import spread
from attn_cli.maths.scratch import buffered


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
# Numbers unpacked at once: so many that threads seldom wait for each other, as they do between the
# two dozen steps; fewer by the gguf package, which takes many times the memory. And numbers scaled
# at once; numpy copies the scales into its buffers, which fit into the first-level cache.
_CHUNK, _OF_PACKAGE, _SCALED, _BUFFER = 3 << 18, 1 << 19, 3 << 17, 2048
# Blocks to whole numbers, scales and, in some types, minimums: value = number x scale - minimum.
# All scales stand for equally many numbers, one after the other.
Unpack = Callable[[np.ndarray], tuple[np.ndarray, ...]]


def dequantise(dtype: str, raw: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The float32 numbers of whole blocks, flat; F32 is a view. `raw` is uint8 without a gap.

    Other numbers are written to `out`, float32 without a gap, where it is given. Raises
    ContentError for a type that is not a float, or that only a missing package can read.
    """
    if dtype in FLOATS:
        return widen(dtype, raw, out)
    unpack = _OURS.get(dtype) or _of_package(dtype)
    _, block, size = BY_NAME[dtype]
    blocks = raw.reshape(-1, size)
    cells = np.empty((len(blocks), block), np.float32) if out is None else out.reshape(-1, block)

    def fill(part: slice) -> None:
        # Infinite scales are data; who computes counts them.
        with buffered(_BUFFER, all="ignore"):
            numbers, scale, *minimums = unpack(blocks[part])
            floats = cells[part].reshape(scale.size, -1)
            numbers = numbers.reshape(floats.shape)
            together = max(1, _SCALED // floats.shape[1])
            for some in (slice(at, at + together) for at in range(0, len(floats), together)):
                floats[some] = numbers[some]
                floats[some] *= scale.reshape(-1, 1)[some]
                for minimum in minimums:
                    floats[some] -= minimum.reshape(-1, 1)[some]

    spread(fill, len(blocks), (_CHUNK if dtype in _OURS else _OF_PACKAGE) // block)
    return cells.reshape(-1)


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
    one = np.ones(1, np.float32)
    return lambda blocks: (quants.dequantize(blocks.reshape(1, -1), kind), one)


# --- the types that are read here ----------------------------------------------------------------

# numpy is slow where its inner loop is short, and the fields of blocks are: each is copied as one
# item of its width (V16 and so on), and bits are moved eight bytes at a time in all blocks at once.
_EVERY, _FOUR = 0x0101010101010101, 0x01010101  # times a byte: that byte, eight or four times
_HALVES = np.array([[0], [4]], np.uint32)  # by how many bits the low and the high half are moved


def _bytes(blocks: np.ndarray, begin: int, end: int) -> np.ndarray:
    """These bytes of every block, flat."""
    return blocks[:, begin:end].view(f"V{end - begin}").copy().view(np.uint8).reshape(-1)


def _scales(blocks: np.ndarray, begin: int, count: int = 1) -> np.ndarray:
    return _bytes(blocks, begin, begin + 2 * count).view("<f2").astype(np.float32)


def _in_turn(width: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """So many bytes of the one, as many of the other, and so on."""
    both = np.empty((one.nbytes // width, 2), f"V{width}")
    both[:, 0], both[:, 1] = one.view(both.dtype), other.view(both.dtype)
    return both.reshape(-1).view(np.uint8)


def _nibbles(packed: np.ndarray, width: int) -> np.ndarray:
    """The low halves of so many bytes, then their high halves, and so on. `packed`, which is whole
    multiples of eight bytes, is overwritten."""
    both = np.empty((packed.size // width, 2), f"V{width}")
    both[:, 0] = packed.view(both.dtype)
    eights = packed.view(np.uint64)
    eights >>= 4  # what comes from the next byte is masked below
    both[:, 1] = packed.view(both.dtype)
    halves = both.reshape(-1).view(np.uint64)
    halves &= 0x0F * _EVERY
    return halves.view(np.uint8)


def _minus(numbers: np.ndarray, half: int) -> np.ndarray:
    numbers -= half  # wraps below zero, which is right once read as int8
    return numbers.view(np.int8)


def _fourths(blocks: np.ndarray, begin: int) -> np.ndarray:
    """32 numbers of four bits."""
    return _nibbles(_bytes(blocks, begin, begin + 16), 16)


def _fifths(blocks: np.ndarray, begin: int) -> np.ndarray:
    """32 numbers of five bits: the fifth bit of each stands apart."""
    numbers = np.unpackbits(_bytes(blocks, begin, begin + 4), bitorder="little")
    numbers <<= 4
    numbers |= _fourths(blocks, begin + 4)
    return numbers


def _q4_0(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    return _minus(_fourths(blocks, 2), 8), _scales(blocks, 0)


def _q4_1(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    return _fourths(blocks, 4), _scales(blocks, 0), -_scales(blocks, 2)


def _q5_0(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    return _minus(_fifths(blocks, 2), 16), _scales(blocks, 0)


def _q5_1(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    return _fifths(blocks, 4), _scales(blocks, 0), -_scales(blocks, 2)


def _q8_0(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    return blocks[:, 2:].view(np.int8), _scales(blocks, 0)


def _eighths(blocks: np.ndarray) -> np.ndarray:
    """Scales of the eighths, and their minimums, one row of each: 6 bits times one of two floats.

    In the first two words of 32 bits each byte has the scale (then the minimum) of one of the first
    four eighths, and above it two bits of that of one of the last four, whose other four bits are
    in the third: those of a scale below, those of a minimum above.
    """
    words = blocks[:, 4:16].view("<u4").T.copy()
    first, last = words[:2], words[2]
    sixths = np.empty((2, len(blocks), 2), np.uint32)  # all scales, then all minimums
    np.bitwise_and(first, 0x3F * _FOUR, out=sixths[..., 0])
    first >>= 2
    first &= 0x30 * _FOUR
    fourths = last >> _HALVES
    fourths &= 0x0F * _FOUR
    np.bitwise_or(first, fourths, out=sixths[..., 1])
    pair = blocks[:, :4].view("<f2").T.astype(np.float32, order="C")
    found = np.repeat(pair, 8)
    found *= sixths.reshape(-1).view(np.uint8)
    return found.reshape(2, -1)


def _q4_k(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    return _nibbles(_bytes(blocks, 16, 144), 32), *_eighths(blocks)


def _q5_k(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of each byte of fifth bits, one bit belongs to each of the eighths."""
    bits = _bytes(blocks, 16, 48).view(np.uint64)
    for eighths in (1, 2, 4):  # that stand side by side so far
        bits = _in_turn(32 * eighths, bits, bits >> eighths).view(np.uint64)
    bits &= _EVERY
    bits <<= 4
    bits |= _nibbles(_bytes(blocks, 48, 176), 32).view(np.uint64)
    return bits.view(np.uint8), *_eighths(blocks)


def _q6_k(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of each byte of upper bits, two belong to each of the quarters of half a block."""
    bits = _bytes(blocks, 128, 192).view(np.uint64)
    bits = _in_turn(32, bits, bits >> 2).view(np.uint64)
    bits = _in_turn(64, bits << 4, bits).view(np.uint64)
    bits &= 0x30 * _EVERY
    bits |= _nibbles(_bytes(blocks, 0, 128), 64).view(np.uint64)
    scale = _bytes(blocks, 192, 208).view(np.int8).reshape(-1, 16) * _scales(blocks, 208)[:, None]
    return _minus(bits.view(np.uint8), 32), scale


# What the four bits of a number stand for where the numbers are not evenly spaced.
_UNEVEN = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.int8
)


def _iq4_nl(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    return _UNEVEN[_fourths(blocks, 2)], _scales(blocks, 0)


def _iq4_xs(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    """The scale of each eighth has 6 bits: four of them side by side, two in the 16 before."""
    low = (blocks[:, 4:8, None] >> np.array([0, 4], np.uint8)).reshape(-1, 8) & 0x0F
    upper = blocks[:, 2:4].view("<u2") >> np.arange(0, 16, 2, np.uint16)
    sixths = low | (upper.astype(np.uint8) & 3) << 4
    scale = (sixths.view(np.int8) - np.int8(32)) * _scales(blocks, 0)[:, None]
    return _UNEVEN[_nibbles(_bytes(blocks, 8, 136), 16)], scale


# Twice what four bits are as a float with two bits of exponent and one of mantissa, and half of
# what each exponent stands for; the smallest two are subnormal.
_FOUR_BIT_FLOATS = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.int8)
_HALF_POWERS = np.ldexp(np.float32(1), np.arange(256) - 128)


def _mxfp4(blocks: np.ndarray) -> tuple[np.ndarray, ...]:
    """Microscaling: a power of two and 32 floats of four bits. Open Compute Project 2023."""
    return _FOUR_BIT_FLOATS[_fourths(blocks, 1)], _HALF_POWERS[blocks[:, 0]]


_OURS: dict[str, Unpack] = {
    "Q4_0": _q4_0, "Q4_1": _q4_1, "Q5_0": _q5_0, "Q5_1": _q5_1, "Q8_0": _q8_0,
    "Q4_K": _q4_k, "Q5_K": _q5_k, "Q6_K": _q6_k, "MXFP4": _mxfp4,
    "IQ4_NL": _iq4_nl, "IQ4_XS": _iq4_xs,
}  # fmt: skip
