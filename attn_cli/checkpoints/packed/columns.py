"""GPTQ and AWQ: whole numbers in 32-bit words, of a matrix that is stored (input, output).

GPTQ (Frantar et al. 2023, arXiv 2210.17323) packs along the inputs, AWQ (Lin et al. 2024, arXiv
2306.00978) along the outputs. W = scale · (number − zero), rounded to the type of the scales, as
`BaseQuantLinear.dequantize_weight` of https://github.com/ModelCloud/GPTQModel and `dequantize_gemm`
of https://github.com/casper-hansen/AutoAWQ have it.
"""

from collections.abc import Callable
from functools import cache

import numpy as np

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
from attn_cli.errors import ContentError

WORDS = ("I32", "U32")
FLOAT_SCALES = ("F16", "BF16", "F32")
# Where in a word of eight each of eight outputs stands: AWQ_REVERSE_ORDER of AutoAWQ.
_AWQ_ORDER = np.array([0, 4, 1, 5, 2, 6, 3, 7])


def gptq(*, bits: int, group_size: int, offset: int, acts: bool) -> Format:
    """GPTQ's `qweight`, `qzeros`, `scales` and `g_idx`.

    Inputs share a scale `group_size` at a time (−1: all of them), or as `g_idx` says, which must be
    there and may be in any order where `acts`. `offset` is added to the stored zeros: 1, but 0 in
    the second version of the format.
    """

    def make(module: Module) -> Tensor:
        packed = module.part(".qweight", WORDS)
        inputs, outputs = packed.shape[0] * 32 // bits, packed.shape[1]
        _whole(module, ".qweight", packed.shape[0], bits)
        groups = _groups(module, inputs, group_size)
        factors = module.shaped(".scales", FLOAT_SCALES, (groups, outputs))
        zeros = module.shaped(".qzeros", WORDS, (groups, -(-outputs * bits // 32)))
        _whole(module, ".qzeros", zeros.shape[1], bits)
        if acts:
            module.part(".g_idx", ("I32", "I64"), 1)
        order = group_of_inputs(module, ".g_idx", inputs, groups)

        def codes(rows: Rows) -> np.ndarray:
            words = np.ascontiguousarray(values(packed)[:, rows].T)
            return unpacked_numbers(words.view(np.uint8), bits)

        def lows(rows: Rows) -> np.ndarray:
            found = packed_columns(values(zeros), bits, rows)
            if offset and (found == (1 << bits) - 1).any():
                raise ContentError(f"has a zero of {1 << bits}, which its readers read differently")
            return found + np.uint8(offset)

        return _matrix(module, f"GPTQ-{bits}", (outputs, inputs), codes, factors, lows, order)

    return Format((".qweight", ".qzeros", ".scales", ".g_idx"), make)


def awq(*, group_size: int) -> Format:
    """AWQ's `qweight`, `qzeros` and `scales` in 4 bits, in the order of its `gemm` kernels."""

    def make(module: Module) -> Tensor:
        packed = module.part(".qweight", WORDS)
        inputs, outputs = packed.shape[0], packed.shape[1] * 8
        groups = _groups(module, inputs, group_size)
        factors = module.shaped(".scales", FLOAT_SCALES, (groups, outputs))
        zeros = module.shaped(".qzeros", WORDS, (groups, packed.shape[1]))

        def codes(rows: Rows) -> np.ndarray:
            return np.ascontiguousarray(packed_columns(values(packed), 4, rows, _AWQ_ORDER).T)

        def lows(rows: Rows) -> np.ndarray:
            return packed_columns(values(zeros), 4, rows, _AWQ_ORDER)

        return _matrix(module, "AWQ-4", (outputs, inputs), codes, factors, lows, lambda: None)

    return Format((".qweight", ".qzeros", ".scales"), make)


def _whole(module: Module, end: str, words: int, bits: int) -> None:
    if words * 32 % (8 * bits):
        what = f"the tensor {module.name}{end} does not hold whole numbers of {bits} bits"
        raise module.error(what, "the config and the weights may belong to different models")


def _groups(module: Module, inputs: int, group_size: int) -> int:
    """How many groups the inputs make. Raises ContentError where they do not divide."""
    if group_size == -1:
        return 1
    if inputs % group_size:
        what = f"{module.name}: {inputs} inputs do not divide into groups of {group_size}"
        raise module.error(what, "group_size of the config does not fit the weights")
    return inputs // group_size


def group_of_inputs(
    module: Module, end: str, inputs: int, groups: int
) -> Callable[[], np.ndarray | None]:
    """What reads which group each input is of, where a part says so: None if they are in order.

    Raises ContentError for a part that does not fit, and when it is read for an unknown group.
    """
    if not module.has(end):
        return lambda: None
    stored = module.shaped(end, ("I32", "I64"), (inputs,))

    @cache
    def order() -> np.ndarray | None:
        found = values(stored).reshape(-1)
        if found.size and not 0 <= found.min() <= found.max() < groups:
            raise ContentError(f"has a {end[1:]} that names a group beyond its {groups}")
        in_order = np.arange(inputs) // max(1, inputs // groups)
        return None if np.array_equal(found, in_order) else found.astype(np.intp)

    return order


def packed_columns(
    words: np.ndarray, bits: int, rows: Rows, order: np.ndarray | None = None
) -> np.ndarray:
    """Numbers packed along the last axis, only those of some outputs: (…, output).

    Of eight numbers that begin with a byte the i-th output is at `order[i]`.
    """
    packed = np.ascontiguousarray(words).view(np.uint8)
    if missing := -packed.shape[1] % bits:  # to eight numbers
        packed = np.pad(packed, ((0, 0), (0, missing)))
    run = isinstance(rows, slice)
    if run:
        first, last = rows.start // 8, -(-rows.stop // 8)
        eights = packed[:, first * bits : last * bits].reshape(len(words), last - first, bits)
        wanted = np.arange(rows.start, rows.stop) - 8 * first
    else:
        eights = packed.reshape(len(words), -1, bits)[:, rows // 8]
        wanted = 8 * np.arange(len(rows)) + rows % 8
    found = unpacked_numbers(eights, bits)
    if order is not None:
        found = found[..., order]
    found = found.reshape(len(words), -1)
    return found[:, wanted[0] : wanted[-1] + 1] if run else found[:, wanted]


def _matrix(
    module: Module,
    kind: str,
    shape: tuple[int, int],
    codes: Callable[[Rows], np.ndarray],
    factors: Tensor,
    lows: Callable[[Rows], np.ndarray],
    order: Callable[[], np.ndarray | None],
) -> Tensor:
    """W = scale · (number − zero), (output, input), of scales and zeros (group, output)."""

    def fill(rows: Rows, out: np.ndarray) -> None:
        scale, zero = scales(factors, (slice(None), rows)).T, lows(rows).T.astype(np.float32)
        of_input = order()
        if of_input is None:
            cells = out.reshape(*scale.shape, -1)
            cells[...] = codes(rows).reshape(cells.shape)
            cells -= zero[..., None]
            cells *= scale[..., None]
        else:
            # Numpy takes much faster where it need not fear for places beyond the end.
            np.subtract(codes(rows), zero.take(of_input, axis=1, mode="clip"), out=out)
            out *= scale.take(of_input, axis=1, mode="clip")
        round_products(out, factors.dtype, 256 * float(np.abs(scale).max(initial=0)))

    return module.tensor(kind, shape, fill)
