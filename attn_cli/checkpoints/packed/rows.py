"""FP8, compressed-tensors and MLX: numbers of a matrix that is stored (output, input), and scales.

W = scale · (number − zero), in MLX W = scale · number + bias; a scale belongs to the whole matrix,
to an output, to a group of inputs, or to a block of both.
"""

from collections.abc import Callable, Mapping
from math import prod
from typing import NamedTuple

import numpy as np

from attn_cli.checkpoints.packed.columns import FLOAT_SCALES, WORDS, group_of_inputs, packed_columns
from attn_cli.checkpoints.packed.modules import (
    Format,
    Module,
    Rows,
    round_products,
    scales,
    unpacked_numbers,
    values,
)
from attn_cli.checkpoints.tensor import Tensor

E4M3, INT8 = "F8_E4M3", "I8"
_SCALES = (*FLOAT_SCALES, "F8_E8M0", "U8")


def _e4m3() -> np.ndarray:
    """What each byte stands for: 1 sign, 4 of exponent, 3 of fraction, NaN where all are set.

    Micikevicius et al. 2022, arXiv 2209.05433.
    """
    bytes_ = np.arange(128)
    exponent, fraction = bytes_ >> 3, bytes_ & 7
    normal = np.ldexp(1 + fraction / 8, exponent - 7)
    found = np.where(exponent, normal, np.ldexp(fraction / 8, -6))
    found[127] = np.nan
    return np.concatenate([found, -found]).astype(np.float32)


_TABLE = _e4m3()


class Grid(NamedTuple):
    """How many outputs and inputs share a scale."""

    outputs: int
    inputs: int

    def of(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """The shape of the scales of a matrix; the last ones may stand for less."""
        return -(-shape[0] // self.outputs), -(-shape[1] // self.inputs)

    def shapes(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """The shapes that a file may have for them: an axis of one may be left out."""
        grid = self.of(shape)
        one = ((), (1,)) if prod(grid) == 1 else ()
        return (grid, *one, grid[:1]) if grid[1] == 1 else (grid, *one)


def grid_of(shape: tuple[int, ...], outputs: int = 0, inputs: int = 0) -> Grid:
    """The grid of a matrix; 0 stands for all of an axis, as does more than there is."""
    most = [max(1, size) for size in shape]
    return Grid(min(outputs or most[0], most[0]), min(inputs or most[1], most[1]))


# The zeros of some rows of the grid, as scales are stored.
Zeros = Callable[[np.ndarray], np.ndarray]


class _Scaled(NamedTuple):
    """What a matrix is made of: `codes` writes the numbers of some rows, which may be `whole`."""

    codes: Callable[[Rows, np.ndarray], None]
    factors: Tensor
    grid: Grid
    zeros: Zeros | None = None
    order: Callable[[], np.ndarray | None] = lambda: None
    largest: float = 512.0
    rounded: bool = True
    whole: bool = True

    def tensor(self, module: Module, kind: str, shape: tuple[int, int]) -> Tensor:
        groups = self.grid.of(shape)[1]

        def fill(rows: Rows, out: np.ndarray) -> None:
            self.codes(rows, out)
            numbers = np.arange(shape[0])[rows] // self.grid.outputs
            factors, of_input = self.factors, self.order()
            scale = scales(factors, numbers, groups)
            if self.zeros:
                _spread(np.subtract, out, self.zeros(numbers), self.grid, of_input)
            _spread(np.multiply, out, scale, self.grid, of_input)
            if self.rounded:
                largest = self.largest * float(np.abs(scale).max(initial=0))
                round_products(out, self.factors.dtype, largest, whole=self.whole)

        return module.tensor(kind, shape, fill)


def _spread(
    apply: np.ufunc, out: np.ndarray, of: np.ndarray, grid: Grid, order: np.ndarray | None
) -> None:
    """Applies numbers (row, group) to a matrix whose columns are in these groups, in place."""
    if order is not None:
        apply(out, of.take(order, axis=1, mode="clip"), out=out)
    elif of.shape[1] * grid.inputs == out.shape[1]:
        cells = out.reshape(len(out), of.shape[1], grid.inputs)
        apply(cells, of[..., None], out=cells)
    else:
        apply(out, np.repeat(of, grid.inputs, axis=1)[:, : out.shape[1]], out=out)


def _codes(weight: Tensor) -> Callable[[Rows, np.ndarray], None]:
    """The numbers of a matrix of int8 or e4m3 values."""

    def codes(rows: Rows, out: np.ndarray) -> None:
        if weight.dtype == E4M3:
            np.take(_TABLE, values(weight)[rows], out=out, mode="clip")
        else:
            out[...] = values(weight)[rows]

    return codes


# --- FP8 -----------------------------------------------------------------------------------------


def fp8(block: tuple[int, int] | None, *, by_output: bool = False) -> Format:
    """Values of type e4m3 with `weight_scale_inv` or `weight_scale`, multiplied in float32.

    A scale belongs to a `block` of (outputs, inputs), whose last may be cut off; without it to an
    output, or to the matrix. https://github.com/deepseek-ai/DeepSeek-V3 (`weight_dequant`); the
    reference library's `Fp8Dequantize` and `FbgemmFp8Linear`.
    """

    def make(module: Module) -> Tensor:
        weight = module.part(".weight", (E4M3,))
        grid = grid_of(weight.shape, *(block or ((1, 0) if by_output else (0, 0))))
        end = ".weight_scale" if module.has(".weight_scale") else ".weight_scale_inv"
        factors = module.shaped(end, _SCALES, *grid.shapes(weight.shape))
        scaled = _Scaled(_codes(weight), factors, grid, rounded=False)
        return scaled.tensor(module, "FP8", weight.shape)

    ends = (".weight", ".weight_scale_inv", ".weight_scale", ".activation_scale", ".input_scale")
    return Format(ends, make)


# --- bitsandbytes in 8 bits ----------------------------------------------------------------------


def int8() -> Format:
    """LLM.int8's `weight` with `SCB`, the largest of each output: W = number · SCB / 127.

    Dettmers et al. 2022, arXiv 2208.07339; `int8_vectorwise_dequant` of bitsandbytes.
    """

    def make(module: Module) -> Tensor:
        weight = module.part(".weight", (INT8,))
        largest = module.shaped(".SCB", ("F32",), weight.shape[:1])
        if module.has(".weight_format") and values(module.parts[".weight_format"]).any():
            raise module.error(f"{module.name}.weight_format is not 0, for rows", _AGAIN)

        def fill(rows: Rows, out: np.ndarray) -> None:
            np.multiply(values(weight)[rows], scales(largest, rows)[:, None], out=out)
            out *= np.float32(7.874015718698502e-3)

        return module.tensor("INT8", weight.shape, fill)

    return Format((".weight", ".SCB", ".weight_format"), make)


_AGAIN = "save the model again with a newer bitsandbytes"

# --- compressed-tensors --------------------------------------------------------------------------


class Scheme(NamedTuple):
    """How compressed-tensors keeps the matrices of one group; a size of 0 is all of an axis."""

    kind: str
    bits: int
    packed: bool
    symmetric: bool
    block: tuple[int, int]


def compressed(scheme_of: Callable[[Module], Scheme]) -> Format:
    """compressed-tensors' `weight_packed` or `weight`, `weight_scale` and `weight_zero_point`.

    Multiplied in the type of the scales: `dequantize` of
    https://github.com/vllm-project/compressed-tensors.
    """

    def make(module: Module) -> Tensor:
        scheme = scheme_of(module)
        return (_packed if scheme.packed else _plain)(module, scheme)

    ends = ("packed", "shape", "scale", "zero_point", "g_idx")
    of_inputs = (".input_scale", ".input_zero_point")
    return Format((".weight", *(f".weight_{end}" for end in ends), *of_inputs), make)


def _plain(module: Module, scheme: Scheme) -> Tensor:
    whole = scheme.kind == "int"
    weight = module.part(".weight", (INT8 if whole else E4M3,))
    grid = grid_of(weight.shape, *scheme.block)
    factors = module.shaped(".weight_scale", FLOAT_SCALES, *grid.shapes(weight.shape))
    zeros = _plain_zeros(module, factors, scheme)
    scaled = _Scaled(_codes(weight), factors, grid, zeros=zeros, whole=whole)
    kind = "INT8" if whole else "FP8"
    return scaled.tensor(module, kind, weight.shape)


def _plain_zeros(module: Module, factors: Tensor, scheme: Scheme) -> Zeros | None:
    """Zeros that are stored as the scales are, or none."""
    end = ".weight_zero_point"
    if not module.has(end):
        if not scheme.symmetric:
            module.part(end, (INT8,))
        return None
    stored = module.shaped(end, (INT8, E4M3, *FLOAT_SCALES), factors.shape)

    def zeros(numbers: np.ndarray) -> np.ndarray:
        rows = values(stored).reshape(-1, factors.shape[-1] if len(factors.shape) > 1 else 1)
        if stored.dtype == E4M3:
            return _TABLE[rows[numbers]]
        return rows[numbers].astype(np.float32)

    return zeros


def _packed(module: Module, scheme: Scheme) -> Tensor:
    bits, half = scheme.bits, 1 << (scheme.bits - 1)
    said = values(module.shaped(".weight_shape", ("I64", "I32"), (2,))).tolist()
    shape, words = (said[0], said[1]), -(-said[1] * bits // 32)
    packed = module.shaped(".weight_packed", WORDS, (shape[0], words))
    grid = grid_of(shape, *scheme.block)
    if shape[1] % grid.inputs:
        raise module.error(f"{module.name}: {shape[1]} inputs do not divide into {grid.inputs}")
    factors = module.shaped(".weight_scale", FLOAT_SCALES, *grid.shapes(shape))
    order = group_of_inputs(module, ".weight_g_idx", shape[1], grid.of(shape)[1])

    def codes(rows: Rows, out: np.ndarray) -> None:
        some = np.ascontiguousarray(values(packed)[rows])
        out[...] = unpacked_numbers(some.view(np.uint8), bits)[:, : shape[1]]
        out -= half

    if scheme.symmetric or scheme.block[0] != 1:  # those of a whole matrix or of blocks are apart
        zeros = _plain_zeros(module, factors, scheme)
    else:
        zeros = _packed_zeros(module, bits, shape[0], grid.of(shape)[1])
    scaled = _Scaled(codes, factors, grid, zeros=zeros, order=order)
    return scaled.tensor(module, f"INT{bits}", shape)


def _packed_zeros(module: Module, bits: int, outputs: int, groups: int) -> Zeros:
    """Zeros that are packed along the outputs."""
    words = -(-outputs * bits // 32)
    stored = module.shaped(".weight_zero_point", WORDS, (words, groups))

    def zeros(numbers: np.ndarray) -> np.ndarray:
        found = packed_columns(np.ascontiguousarray(values(stored).T), bits, numbers)
        return found.T.astype(np.float32) - (1 << (bits - 1))

    return zeros


# --- MLX -----------------------------------------------------------------------------------------


def mlx(bits: int, group_size: int, others: Mapping[str, tuple[int, int]]) -> Format:
    """MLX's `weight` in 32-bit words with `scales` and `biases`; `others` are modules' own sizes.

    Multiplied and added in the type of the scales: `mx.dequantize` of
    https://github.com/ml-explore/mlx.
    """

    def make(module: Module) -> Tensor:
        of_bits, size = others.get(module.name, (bits, group_size))
        packed = module.part(".weight", ("U32", "I32"))
        factors = module.part(".scales", FLOAT_SCALES)
        shape = packed.shape[0], factors.shape[1] * size
        module.shaped(".scales", FLOAT_SCALES, (shape[0], packed.shape[1] * 32 // of_bits // size))
        module.shaped(".weight", ("U32", "I32"), (shape[0], -(-shape[1] * of_bits // 32)))
        lowest = module.shaped(".biases", (factors.dtype,), factors.shape)

        def fill(rows: Rows, out: np.ndarray) -> None:
            some = np.ascontiguousarray(values(packed)[rows])
            cells = out.reshape(len(out), -1, size)
            cells[...] = unpacked_numbers(some.view(np.uint8), of_bits).reshape(cells.shape)
            scale, low = scales(factors, rows), scales(lowest, rows)
            cells *= scale[..., None]
            largest = 256 * float(np.abs(scale).max(initial=0))
            round_products(out, factors.dtype, largest)
            cells += low[..., None]
            round_products(out, factors.dtype, largest + float(np.abs(low).max(initial=0)))

        return module.tensor(f"MLX-{of_bits}", shape, fill)

    return Format((".weight", ".scales", ".biases"), make)
