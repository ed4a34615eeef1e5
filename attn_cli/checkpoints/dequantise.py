"""The number types of GGUF tensors, and float32 out of each of them.

The common block types are read here, several times as fast as by the `gguf` package and bit for bit
the same; the rare ones are left to that package. A block is a few scales in float16 and packed
whole numbers: value = scale x number (+ or - a minimum).
https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
"""

from collections.abc import Callable
from functools import cache
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
# dozen steps and more; fewer by the gguf package, which takes many times the memory. And numbers
# scaled at once; numpy copies the scales into its buffers, which fit into the first-level cache.
_CHUNK, _OF_PACKAGE, _SCALED, _BUFFER = 3 << 18, 1 << 19, 3 << 17, 2048
_LONG = 256  # numbers of a block whose scales are packed too
# What the numbers of a block are multiplied with, and in some types what is then subtracted:
# (block, part), where the parts of a block are equally long and follow each other.
Scales = tuple[np.ndarray, ...]


class Layout(NamedTuple):
    """What reads the whole numbers of blocks, flat, and their scales."""

    numbers: Callable[[np.ndarray], np.ndarray]
    scales: Callable[[np.ndarray], Scales]


def dequantise(
    dtype: str, raw: np.ndarray, out: np.ndarray | None = None, scales: Scales = ()
) -> np.ndarray:
    """The float32 numbers of whole blocks, flat; F32 is a view. `raw` is uint8 without a gap.

    Other numbers are written to `out`, float32 without a gap, where it is given; `scales` are those
    that `scales_of` has found. Raises ContentError for a type that is not a float, or that only a
    missing package can read.
    """
    if dtype in FLOATS:
        return widen(dtype, raw, out)
    layout = _OURS.get(dtype) or _of_package(dtype)
    _, block, size = BY_NAME[dtype]
    blocks = raw.reshape(-1, size)
    cells = np.empty((len(blocks), block), np.float32) if out is None else out.reshape(-1, block)
    found = [one.reshape(len(blocks), -1) for one in scales if one.size]

    def fill(part: slice) -> None:
        # Infinite scales are data; who computes counts them.
        with buffered(_BUFFER, all="ignore"):
            numbers = layout.numbers(blocks[part])
            of_part = [one[part] for one in found] or layout.scales(blocks[part])
            scale, *minimums = (one.reshape(-1, 1) for one in of_part)
            floats = cells[part].reshape(len(scale), -1)
            numbers = numbers.reshape(floats.shape)
            together = max(1, _SCALED // floats.shape[1])
            for some in (slice(at, at + together) for at in range(0, len(floats), together)):
                here = floats[some]
                here[...] = numbers[some]
                here *= scale[some]
                for minimum in minimums:
                    here -= minimum[some]

    spread(fill, len(blocks), (_CHUNK if dtype in _OURS else _OF_PACKAGE) // block)
    return cells.reshape(-1)


def scales_of(dtype: str) -> Callable[[np.ndarray], Scales] | None:
    """What finds the scales of the blocks in rows, (row, part), for many calls of `dequantise`.

    None where that is no gain: those of short blocks are found soonest when a cache has just had
    the bytes of their numbers.
    """
    if dtype not in _OURS or BY_NAME[dtype].block < _LONG:
        return None

    def scales(raw: np.ndarray) -> Scales:
        blocks = raw.reshape(-1, BY_NAME[dtype].size)
        with np.errstate(all="ignore"):
            found = _OURS[dtype].scales(blocks)
        return tuple(one.reshape(len(raw), one.size // max(1, len(raw))) for one in found)

    return scales


def _of_package(dtype: str) -> Layout:
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
    return Layout(
        lambda blocks: quants.dequantize(blocks.reshape(1, -1), kind), lambda blocks: (one,)
    )


# --- the types that are read here ----------------------------------------------------------------

# numpy is slow where its inner loop is short, and the fields of blocks are: each is copied as one
# item of its width (V16 and so on), and bits are moved eight bytes at a time in all blocks at once.
# What keeps the interpreter's lock while it works (np.repeat does) would stop all other threads.
_EVERY, _FOUR = 0x0101010101010101, 0x01010101  # times a byte: that byte, eight or four times
_HALVES = np.array([[0], [4]], np.uint32)  # by how many bits the low and the high half are moved


def _bytes(blocks: np.ndarray, begin: int, end: int) -> np.ndarray:
    """These bytes of every block, flat."""
    return blocks[:, begin:end].view(f"V{end - begin}").copy().view(np.uint8).reshape(-1)


def _scales(blocks: np.ndarray, begin: int) -> np.ndarray:
    return _bytes(blocks, begin, begin + 2).view("<f2").astype(np.float32)[:, None]


def _fourths(blocks: np.ndarray, begin: int, end: int) -> np.ndarray:
    """The low halves of 16 of these bytes of every block, then their high halves, and so on."""
    packed = _bytes(blocks, begin, end)
    both = np.empty((packed.size // 16, 2), "V16")
    both[:, 0] = packed.view("V16")
    eights = packed.view(np.uint64)
    eights >>= 4  # what comes from the next byte is masked below
    both[:, 1] = packed.view("V16")
    halves = both.reshape(-1).view(np.uint64)
    halves &= 0x0F * _EVERY
    return halves.view(np.uint8)


def _minus(numbers: np.ndarray, half: int) -> np.ndarray:
    numbers -= half  # wraps below zero, which is right once read as int8
    return numbers.view(np.int8)


def _fifths(blocks: np.ndarray, begin: int) -> np.ndarray:
    """32 numbers of five bits: the fifth bit of each stands apart."""
    numbers = np.unpackbits(_bytes(blocks, begin, begin + 4), bitorder="little")
    numbers <<= 4
    numbers |= _fourths(blocks, begin + 4, begin + 20)
    return numbers


_Q4_0 = Layout(
    lambda blocks: _minus(_fourths(blocks, 2, 18), 8), lambda blocks: (_scales(blocks, 0),)
)
_Q4_1 = Layout(
    lambda blocks: _fourths(blocks, 4, 20), lambda blocks: (_scales(blocks, 0), -_scales(blocks, 2))
)
_Q5_0 = Layout(lambda blocks: _minus(_fifths(blocks, 2), 16), _Q4_0.scales)
_Q5_1 = Layout(lambda blocks: _fifths(blocks, 4), _Q4_1.scales)
_Q8_0 = Layout(lambda blocks: blocks[:, 2:].view(np.int8), _Q4_0.scales)


# Blocks of 256 are eight parts of 32 numbers. Each takes its 32 bytes, which hold bits of other
# parts too, and then moves its own to where they belong.


def _by_parts(blocks: np.ndarray, begin: int, end: int, *runs: int) -> np.ndarray:
    """For each part of every block one of the runs of 32 bytes between these, as 4 words."""
    return np.take(blocks[:, begin:end].view("V32"), runs, axis=1).view(np.uint64)


@cache
def _of_parts(*bits: int) -> np.ndarray:
    """A number for each part of a block, for each of its words."""
    return np.repeat(np.array(bits, np.uint64), 4)


def _lowest(parts: np.ndarray, mask: int, *moved: int) -> np.ndarray:
    """The lowest bits of each byte, once those of each part have been moved down by so many."""
    parts >>= _of_parts(*moved)  # what comes from the next byte is masked
    parts &= mask * _EVERY
    return parts


def _eighths(blocks: np.ndarray) -> Scales:
    """Scales of the parts, and their minimums: 6 bits times one of two floats.

    In the first two words of 32 bits each byte has the scale (then the minimum) of one of the first
    four parts, and above it two bits of that of one of the last four, whose other four bits are in
    the third: those of a scale below, those of a minimum above.
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
    found = np.empty((2, len(blocks), 8), np.float32)
    found[...] = blocks[:, :4].view("<f2").T.astype(np.float32, order="C")[..., None]
    found *= sixths.view(np.uint8)
    return found[0], found[1]


def _q4_k(blocks: np.ndarray) -> np.ndarray:
    """The low halves of 32 bytes, then 16 times what their high halves are."""
    numbers = _by_parts(blocks, 16, 144, 0, 0, 1, 1, 2, 2, 3, 3)
    numbers &= _of_parts(*[0x0F * _EVERY, 0xF0 * _EVERY] * 4)
    return numbers.view(np.uint8)


def _q4_k_scales(blocks: np.ndarray) -> Scales:
    scale, minimum = _eighths(blocks)
    scale[:, 1::2] *= 1 / 16  # exact
    return scale, minimum


def _q5_k(blocks: np.ndarray) -> np.ndarray:
    """Of each byte of fifth bits, one bit belongs to each of the parts."""
    numbers = _by_parts(blocks, 48, 176, 0, 0, 1, 1, 2, 2, 3, 3)
    numbers = _lowest(numbers, 0x0F, 0, 4, 0, 4, 0, 4, 0, 4)
    fifth = _lowest(_by_parts(blocks, 16, 48, *[0] * 8), 0x01, *range(8))
    fifth <<= 4
    numbers |= fifth
    return numbers.view(np.uint8)


def _q6_k(blocks: np.ndarray) -> np.ndarray:
    """Of each byte of upper bits, two belong to each of four parts."""
    numbers = _by_parts(blocks, 0, 128, 0, 1, 0, 1, 2, 3, 2, 3)
    numbers = _lowest(numbers, 0x0F, 0, 0, 4, 4, 0, 0, 4, 4)
    upper = _by_parts(blocks, 128, 192, 0, 0, 0, 0, 1, 1, 1, 1)
    upper = _lowest(upper, 0x03, 0, 2, 4, 6, 0, 2, 4, 6)
    upper <<= 4
    numbers |= upper
    return _minus(numbers.view(np.uint8), 32)


def _q6_k_scales(blocks: np.ndarray) -> Scales:
    return (_bytes(blocks, 192, 208).view(np.int8).reshape(-1, 16) * _scales(blocks, 208),)


_LOOKED_UP = 1 << 16  # pairs at a time, of which numpy makes indices of eight bytes


def _in_pairs(numbers: list[int]) -> np.ndarray:
    """What two codes of four bits stand for, by both as one number: one look for two of them."""
    codes = np.array([(one, next_) for one in range(16) for next_ in range(16)], np.uint8)
    pairs = codes.view(np.uint16)[:, 0]
    found = np.zeros(pairs.max() + 1, np.uint16)
    found[pairs] = np.array(numbers, np.int8)[codes].view(np.uint16)[:, 0]
    return found


def _looked_up(codes: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """What codes stand for, which `_in_pairs` found, in their place."""
    both = codes.view(np.uint16)
    for some in (both[at : at + _LOOKED_UP] for at in range(0, len(both), _LOOKED_UP)):
        pairs.take(some, out=some, mode="wrap")  # "raise" would write to a copy first
    return codes.view(np.int8)


# Numbers that are not evenly spaced.
_UNEVEN = _in_pairs([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113])


def _iq4_xs(blocks: np.ndarray) -> np.ndarray:
    return _looked_up(_fourths(blocks, 8, 136), _UNEVEN)


def _iq4_xs_scales(blocks: np.ndarray) -> Scales:
    """The scale of each part has 6 bits: four of them side by side, two in the 16 before."""
    low = (blocks[:, 4:8, None] >> np.array([0, 4], np.uint8)).reshape(-1, 8) & 0x0F
    upper = blocks[:, 2:4].view("<u2") >> np.arange(0, 16, 2, np.uint16)
    sixths = low | (upper.astype(np.uint8) & 3) << 4
    return ((sixths.view(np.int8) - np.int8(32)) * _scales(blocks, 0),)


# Twice what four bits are as a float with two bits of exponent and one of mantissa, and half of
# what each exponent stands for; the smallest two are subnormal.
_FOUR_BIT_FLOATS = _in_pairs([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12])
_HALF_POWERS = np.ldexp(np.float32(1), np.arange(256) - 128)

_OURS: dict[str, Layout] = {
    "Q4_0": _Q4_0, "Q4_1": _Q4_1, "Q5_0": _Q5_0, "Q5_1": _Q5_1, "Q8_0": _Q8_0,
    "Q4_K": Layout(_q4_k, _q4_k_scales), "Q5_K": Layout(_q5_k, _eighths),
    "Q6_K": Layout(_q6_k, _q6_k_scales),
    "IQ4_NL": Layout(lambda blocks: _looked_up(_fourths(blocks, 2, 18), _UNEVEN), _Q4_0.scales),
    "IQ4_XS": Layout(_iq4_xs, _iq4_xs_scales),
    # Microscaling: a power of two and 32 floats of four bits. Open Compute Project 2023.
    "MXFP4": Layout(
        lambda blocks: _looked_up(_fourths(blocks, 1, 17), _FOUR_BIT_FLOATS),
        lambda blocks: (_HALF_POWERS[blocks[:, 0], None],),
    ),
}  # fmt: skip
