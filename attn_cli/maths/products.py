"""Products with matrices that are asked for by rows, in blocks over the cores.

Axes, as suffixes: P position, M input, N output. A matrix is stored (output, input). What comes
after a product (a bias, an activation) is done to each block while the cache still has it.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np

from attn_cli.maths import blas, cores, tiles
from attn_cli.maths.attention import pull
from attn_cli.maths.layers import sigmoid
from attn_cli.maths.scratch import in_columns, room_like
from attn_cli.maths.tiles import Job, Tile

T = TypeVar("T")
Activation = Callable[[np.ndarray], np.ndarray]
# What a gated network makes of gate(x) and up(x), written to the first; both may be overwritten.
Gate = Callable[[np.ndarray, np.ndarray], object]
NOTHING = np.zeros(0, np.float32)
# With its kernels for AVX-512, OpenBLAS multiplies as it is what takes no more multiplications than
# so many (sgemm_small_kernel_permit_skylakex.c): so many rows of a matrix at a time with a few
# vectors, or, where those stand in columns, with up to so many.
_UNTURNED, _ROWS, _ROWS_OF_COLUMNS, _COLUMNS = 1_000_000, (24, 12, 6), (24, 12), 32
# Seconds to gate or activate a number, and in how many steps.
_ACTIVATING, _STEPS = 2.5e-9, 6


class Map(NamedTuple):
    """x ↦ xWᵀ + b. `rows` gives some rows of W, (output, input); a bias of size 0 is none.

    A matrix whose rows are `made` when they are asked for, in so many steps, of quantised blocks
    say, is so never there as a whole; they may stand where those stood that this thread asked for
    before. `release` gives back the memory of rows that have been used; None where the matrix is
    kept. `reader`, of many rows, gives what gives some of those, by their places among them, where
    that costs less than to ask `rows` for each.
    """

    outputs: int
    rows: Callable[[slice], np.ndarray]
    bias: np.ndarray = NOTHING
    made: int = 0
    release: Callable[[slice], None] | None = None
    reader: Callable[[slice], Callable[[slice], np.ndarray]] | None = None

    @property
    def matrix(self) -> np.ndarray:
        """The whole matrix as x is multiplied with it, (input, output)."""
        if not self.made:
            return self.rows(slice(0, self.outputs)).T
        first = self.rows(slice(0, min(tiles.VECTORS, self.outputs)))
        whole = np.empty((self.outputs, first.shape[1]), first.dtype)
        whole[: len(first)] = first
        rest, block = whole[len(first) :], max(1, tiles.MADE // max(1, first.shape[1]))
        later = self.part(slice(len(first), self.outputs))

        def make(some: slice) -> None:
            np.copyto(rest[some], later.rows(some))
            if later.release:
                later.release(some)

        cores.spread(make, len(rest), block)
        return whole.T

    def part(self, rows: slice) -> "Map":
        """The map to some of the outputs."""
        at, bias = rows.start, self.bias[rows] if self.bias.size else self.bias

        def shifted(act: Callable[[slice], T]) -> Callable[[slice], T]:
            return lambda some: act(slice(at + some.start, at + some.stop))

        release, reader = (act and shifted(act) for act in (self.release, self.reader))
        return Map(rows.stop - at, shifted(self.rows), bias, self.made, release, reader)

    @property
    def halves(self) -> tuple["Map", "Map"]:
        """The map to the first half of the outputs, and to the second."""
        half = self.outputs // 2
        return self.part(slice(0, half)), self.part(slice(half, 2 * half))


def laid_out(x_PM: np.ndarray) -> np.ndarray:
    """The same numbers in the order in which products read and write them (`tiles.by_columns`)."""
    return np.asfortranarray(x_PM) if tiles.by_columns(len(x_PM)) else x_PM


def _job(x_PM: np.ndarray, of: Map) -> Job:
    return Job(*x_PM.shape, of.outputs, of.made, bool(of.release), bool(of.reader))


def _empty(positions: int, outputs: int, dtype: np.dtype) -> np.ndarray:
    return np.empty((positions, outputs), dtype, "F" if tiles.by_columns(positions) else "C")


def of_matrix(w_MN: np.ndarray, b_N: np.ndarray = NOTHING) -> Map:
    """The map of a matrix (input, output) that is there."""
    return Map(w_MN.shape[1], w_MN.T.__getitem__, b_N)


def through(
    x_PM: np.ndarray, *maps: Map, activation: Activation | None = None
) -> tuple[np.ndarray, ...]:
    """x through each of these maps, (position, output), and its numbers through the activation."""
    return _each_through([(x_PM, of) for of in maps], activation)


def _each_through(
    pairs: Sequence[tuple[np.ndarray, Map]], activation: Activation | None = None
) -> tuple[np.ndarray, ...]:
    """Each x through its own map, as one work."""
    products = tuple(_empty(len(x), of.outputs, x.dtype) for x, of in pairs)

    def whole(place: int) -> None:
        (x_PM, of), out = pairs[place], products[place]
        _multiply(x_PM, of, slice(0, of.outputs), out)
        if activation:
            _in_parts(lambda part: np.copyto(part, activation(part)), out)

    if _by_blas(whole, len(pairs), pairs):
        return products

    def work(tile: Tile) -> None:
        (x_PM, of), out = pairs[tile.job], products[tile.job][tile.positions, tile.outputs]
        _multiply(x_PM[tile.positions], of, tile.outputs, out)
        if activation:
            out[...] = activation(out)

    cores.each(work, *tiles.cut(_job(x, of) for x, of in pairs))
    return products


def feed_forward(x_PM: np.ndarray, wide: Map, narrow: Map, activation: Activation) -> np.ndarray:
    """narrow(activation(wide(x))), (position, model)."""
    (inner,) = through(x_PM, wide, activation=activation)
    return through(inner, narrow)[0]


def gated_feed_forward(
    x_PM: np.ndarray, gate: Map, up: Map, down: Map, activation: Activation
) -> np.ndarray:
    """down(activation(gate(x)) · up(x)), (position, model). Shazeer 2020, "GLU Variants"."""
    return gated_feed_forwards([(x_PM, gate, up, down)], gated_by(activation))[0]


def gated_by(activation: Activation) -> Gate:
    """activation(gate(x)) · up(x)."""
    return lambda gate, up: np.multiply(activation(gate), up, out=gate)


def clamped_swiglu(alpha: float, limit: float) -> Gate:
    """gate · σ(α·gate) · (up + 1), of a gate(x) up to the limit and an up(x) within it."""

    def gating(gate: np.ndarray, up: np.ndarray) -> None:
        np.minimum(gate, limit, out=gate)
        np.clip(up, -limit, limit, out=up)
        up += 1
        up *= sigmoid(gate * gate.dtype.type(alpha))
        gate *= up

    return gating


def gated_feed_forwards(
    networks: Sequence[tuple[np.ndarray, Map, Map, Map]], gating: Gate
) -> tuple[np.ndarray, ...]:
    """down(gating(gate(x), up(x))) of each network, of an x (position, model) of its own.

    The parts of all of them are one work, so that small networks keep every core busy.
    """
    # So few numbers are not worth to be gated on two threads.
    if all(len(x) <= tiles.FEW for x, *_ in networks):
        both = _each_through([(x, of) for x, gate, up, _ in networks for of in (gate, up)])
        inner = both[::2]
        for gate_PN, up_PN in zip(inner, both[1::2], strict=True):
            gating(gate_PN, up_PN)
    else:
        inner = _gated([network[:3] for network in networks], gating)
    return _each_through([(x, down) for x, (*_, down) in zip(inner, networks, strict=True)])


def _gated(networks: Sequence[tuple[np.ndarray, Map, Map]], gating: Gate) -> tuple[np.ndarray, ...]:
    inner = tuple(_empty(len(x), gate.outputs, x.dtype) for x, gate, _ in networks)

    def whole(place: int) -> None:
        x_PM, gate, up = networks[place]
        for some in tiles.in_turn(len(x_PM)):
            part = inner[place][some]
            other = room_like(part, "gated")
            for of, product in ((gate, part), (up, other)):
                _multiply(x_PM[some], of, slice(0, of.outputs), product)
            _in_parts(gating, part, other)

    if _by_blas(whole, len(networks), [(x, of) for x, *both in networks for of in both]):
        return inner

    def work(tile: Tile) -> None:
        x_PM, gate, up = networks[tile.job]
        x, part = x_PM[tile.positions], inner[tile.job][tile.positions, tile.outputs]
        _multiply(x, gate, tile.outputs, part)
        other = room_like(part, "gated")
        _multiply(x, up, tile.outputs, other)
        gating(part, other)

    cores.each(work, *tiles.cut((_job(x, gate) for x, gate, _ in networks), alike=2))
    return inner


def pulls(z_HPV: np.ndarray, w_NM: np.ndarray, chosen_Q: np.ndarray) -> np.ndarray:
    """`attention.pull` of some positions, in their order.

    Positions are multiplied in the same blocks, whichever of them are chosen, so that it changes no
    digit which others are.
    """
    heads, positions, width = z_HPV.shape
    w_HVM, most = w_NM.reshape(heads, width, -1), min(positions, tiles.POSITIONS // 2)
    found = np.empty((heads, len(chosen_Q), w_NM.shape[-1]), z_HPV.dtype)
    together = max(1, int(tiles.WAKING / (max(1, w_HVM[0].size) * (1 + most / 4))))

    def work(tile: tuple[int, int]) -> None:
        some = slice(tile[0], tile[0] + together)
        block = slice(tile[1], min(tile[1] + most, positions))
        here = np.flatnonzero((chosen_Q >= block.start) & (chosen_Q < block.stop))
        if not here.size:
            return
        z, w, side_by_side = z_HPV[some, block], w_HVM[some], slice(here[0], here[-1] + 1)
        if np.array_equal(chosen_Q[side_by_side], np.arange(block.start, block.stop)):
            pull(z, w, out=found[some, side_by_side])
        else:
            found[some, here] = pull(z, w)[:, chosen_Q[here] - block.start]

    blocks = range(0, positions, max(1, most))
    cores.each(work, [(head, at) for at in blocks for head in range(0, heads, together)])
    return found


def value_lengths(v_GKV: np.ndarray, w_NM: np.ndarray) -> np.ndarray:
    """‖v·W_O‖ (head, key): how long each value is once it is in the stream."""
    groups, keys, width = v_GKV.shape
    w_HVM = w_NM.reshape(len(w_NM) // width, width, -1)
    found = np.empty((len(w_HVM), keys), v_GKV.dtype)

    def work(some: slice) -> None:
        for head, w_VM in enumerate(w_HVM):  # of all at once the vectors would take many times more
            v_1KV = v_GKV[head * groups // len(w_HVM), None, some]
            found[head, some] = np.linalg.norm(pull(v_1KV, w_VM)[0], axis=-1)

    cores.spread(work, keys, tiles.POSITIONS // 2)
    return found


def sum_error(z_HPV: np.ndarray, w_NM: np.ndarray, b_M: np.ndarray, output_PM: np.ndarray) -> float:
    """max |Σ z·W over the heads + b − output|: how far a product is from the sum of its parts."""
    found, w_HVM = np.zeros(len(output_PM)), w_NM.reshape(*z_HPV.shape[::2], -1)

    def work(some: slice) -> None:
        added = np.zeros(output_PM[some].shape)
        for z_PV, w_VM in zip(z_HPV, w_HVM, strict=True):
            added += pull(z_PV[None, some], w_VM)[0]
        added += b_M if b_M.size else 0
        found[some] = np.abs(added - output_PM[some]).max(axis=-1)

    cores.spread(work, len(output_PM), tiles.POSITIONS // 2)
    return float(found.max())


def _by_blas(
    work: Callable[[int], None], count: int, pairs: Sequence[tuple[np.ndarray, Map]]
) -> bool:
    """Calls work(0) to work(count − 1), whose products are those of `pairs`, BLAS sharing out each;
    False, and nothing is done, where these are too small or digits would change."""
    if not cores.many():  # first, or on few cores each product is measured for nothing
        return False
    jobs = [_job(x, of) for x, of in pairs if x.dtype == np.float32]
    large = all(tiles.shared_whole(job) and not _unturned(*job[:3]) for job in jobs)
    if not pairs or len(jobs) < len(pairs) or not large:
        return False
    numbers = sum(job.positions * job.outputs for job in jobs)
    seconds = tiles.multiplying(jobs) + _ACTIVATING * numbers
    return cores.by_blas(work, range(count), seconds)


def _in_parts(work: Callable[..., object], *arrays_PN: np.ndarray) -> None:
    """Work on parts of arrays that are stored alike, each part of each in one piece."""
    turned = in_columns(arrays_PN[0])
    arrays = [array.T if turned else array for array in arrays_PN]
    count = cores.worth(arrays[0].size * _ACTIVATING, _STEPS)

    def some(rows: slice) -> None:
        work(*(array[rows].T if turned else array[rows] for array in arrays))

    cores.spread(some, len(arrays[0]), max(1, -(-len(arrays[0]) // count)), count)


def _multiply(x_PM: np.ndarray, of: Map, outputs: slice, out_PN: np.ndarray) -> None:
    few = of.reader and len(x_PM) <= tiles.FEW
    if few and len(parts := tiles.in_parts(x_PM.shape[1], out_PN.shape[1])) > 1:
        rows = of.reader(outputs)
        for some in parts:
            _product(x_PM, rows(some), of.outputs, out_PN[:, some])
    else:
        _product(x_PM, of.rows(outputs), of.outputs, out_PN)
    if of.release:
        of.release(outputs)
    if of.bias.size:
        out_PN += of.bias[outputs]


def _product(x_PM: np.ndarray, w_NM: np.ndarray, outputs: int, out_PN: np.ndarray) -> None:
    """With some rows of a matrix that has so many outputs, which decide how it is multiplied."""
    if rows := _unturned(*x_PM.shape, outputs):
        _in_blocks(x_PM, w_NM, out_PN, rows)
    elif len(x_PM) <= tiles.FEW:
        _one_by_one(x_PM, w_NM, out_PN)
    elif in_columns(out_PN):
        np.matmul(w_NM, x_PM.T, out=out_PN.T)
    else:
        np.matmul(x_PM, w_NM.T, out=out_PN)


@lru_cache
def _unturned(positions: int, inputs: int, outputs: int) -> int:
    """How many rows of a matrix BLAS multiplies without rearranging them; 0: it always does, or
    never for one of so few outputs."""
    of_row = positions * max(1, inputs)
    large = 1 < positions <= _COLUMNS and of_row * outputs > _UNTURNED
    if not large or not blas.multiplies_as_it_is():
        return 0
    fitting = _UNTURNED // of_row
    choices = _ROWS if positions <= tiles.FEW else _ROWS_OF_COLUMNS
    return next((rows for rows in choices if rows <= fitting), 0)


def _in_blocks(x_PM: np.ndarray, w_NM: np.ndarray, out_PN: np.ndarray, rows: int) -> None:
    """So many rows of W at a time."""
    whole = len(w_NM) - len(w_NM) % rows
    w_BNM = w_NM[:whole].reshape(-1, rows, w_NM.shape[1])
    out_BPN = out_PN[:, :whole].reshape(len(x_PM), -1, rows).swapaxes(0, 1)
    parts = [(w_BNM, out_BPN), (w_NM[whole:], out_PN[:, whole:])]
    for w, out in parts[: 1 + (whole < len(w_NM))]:
        if tiles.by_columns(len(x_PM)):
            np.matmul(w, x_PM.T, out=out.swapaxes(-1, -2))
        else:
            np.matmul(x_PM, w.swapaxes(-1, -2), out=out)


def _one_by_one(x_PM: np.ndarray, w_NM: np.ndarray, out_PN: np.ndarray) -> None:
    """As many rows of W at a time as the innermost cache holds, with one position after another."""
    (positions, inputs), count = x_PM.shape, len(w_NM)
    whole = count - count % tiles.VECTORS
    if whole:
        blocks = w_NM[:whole].reshape(-1, 1, tiles.VECTORS, inputs)
        product = blocks @ x_PM.reshape(1, positions, inputs, 1)
        out_PN[:, :whole] = product[..., 0].swapaxes(0, 1).reshape(positions, whole)
    if whole < count:
        product = w_NM[None, whole:] @ x_PM.reshape(positions, inputs, 1)
        out_PN[:, whole:] = product[..., 0]
