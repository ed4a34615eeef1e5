"""How products are cut into parts, each for one thread, so that no digit depends on the threads.

Vectors (position, input) through a matrix that is stored (output, input).
"""

from collections.abc import Iterable
from functools import lru_cache
from math import sqrt
from typing import NamedTuple

from attn_cli.maths import cores

# BLAS rearranges a whole matrix before it multiplies it with several vectors, which with so few
# costs more than to read a part of it from the cache for each: they are multiplied one by one.
FEW = 8
VECTORS = 48  # rows of a matrix that stay in the innermost cache for the next position
POSITIONS = 256  # of more, a pass is long: matrices are made as a whole, and given back after it
WAKING = 1e6  # numbers that could be read while another thread is woken
# Multiplications that a thread does while another one is woken, or wakes to go on.
LEAD = 6_000_000
# Numbers that are made at a time: so many that threads seldom wait for each other between the steps
# of making them, and not so many that a matrix is shared out unevenly.
MADE = 3 << 18
# How many times as many a thread takes on, for a few positions, of blocks whose scales are packed:
# to unpack them is a dozen short steps.
SHARING = 4
MULTIPLYING = 2e-11  # seconds for a multiplication by one thread
# In how many steps a matrix is made that is stored in fewer bits, of floats and of blocks; and
# seconds of one step for a number.
WIDENED, UNPACKED, MAKING = 4, 16, 1e-10
VIEWED = 1 << 20  # numbers at a time of a matrix that is read where it is and then given back
# Every kernel of BLAS goes through the second factor in steps that divide so many, and gives the
# same digits wherever it is cut between two; not so what is so small that another kernel takes it.
STEP, LEAST = 48, 2_000_000
THIN = 8  # outputs; fewer it multiplies in other ways, by how many positions there are
# BLAS takes the last inputs in two halves: with one thread in such as its kernels' widths divide
# (those for float32).
HALVED = 64
NARROWEST = 144  # outputs that pay for rearranging the vectors anew
TOGETHER = 480  # positions of many in a part: what comes after a product finds them in a cache


class Job(NamedTuple):
    """One product. The rows of its matrix may be `made`, in so many steps, when they are asked for,
    or given back once they have been used (`released`). `sharing`: to make many together costs less
    for each."""

    positions: int
    inputs: int
    outputs: int
    made: int = 0
    released: bool = False
    sharing: bool = False

    @property
    def size(self) -> int:
        """How many multiplications it takes."""
        return self.positions * self.inputs * self.outputs

    @property
    def kept(self) -> bool:
        """Whether the whole matrix is there and stays."""
        return not self.made and not self.released


class Tile(NamedTuple):
    """Some positions and some outputs of one job."""

    job: int
    positions: slice
    outputs: slice


def by_columns(positions: int) -> bool:
    """Whether the vectors of so many positions are stored column by column.

    BLAS rearranges both factors, and W·xᵀ, whose second factor has its rows in one piece, takes
    down to three quarters of the time of x·Wᵀ; of many positions what is done by rows then loses
    more.
    """
    return FEW < positions <= 2 * POSITIONS


def shared_whole(job: Job) -> bool:
    """Whether a product is one of two matrices, large and there, which BLAS may share out."""
    matrices = job.positions > FEW and job.outputs >= STEP
    return matrices and job.kept and job.size > LEAST and job.inputs % HALVED == 0


def in_turn(positions: int) -> list[slice]:
    """The positions whose products are shared out by BLAS at a time: all of what is by columns."""
    return [slice(0, positions)] if by_columns(positions) else _blocks(positions, TOGETHER)


def cut(jobs: Iterable[Job], alike: int = 1) -> tuple[tuple[Tile, ...], int]:
    """Jobs cut into parts that are worth a thread, each part of so many products `alike`, and how
    many threads they are worth together."""
    return _cut(tuple(jobs), alike, cores.threads())


@lru_cache(16)  # the layers of a pass are alike, but for what is routed to experts
def _cut(jobs: tuple[Job, ...], alike: int, threads: int) -> tuple[tuple[Tile, ...], int]:
    if all(by_columns(job.positions) and job.kept for job in jobs):
        threads = cores.worth(multiplying(jobs, alike), 2 * alike)
        return _as_one(jobs, alike, threads), threads
    made = alike * sum(job.inputs * job.outputs for job in jobs if job.made)
    if made:
        steps = max(job.made for job in jobs)
        threads = cores.worth(MAKING * steps * made + multiplying(jobs, alike), steps)
    tiles = (
        Tile(place, positions, outputs)
        for place, job in enumerate(jobs)
        for positions, outputs in _apart(job, alike, threads, made // threads if job.made else 0)
    )
    return tuple(tiles), threads


def multiplying(jobs: Iterable[Job], alike: int = 1) -> float:
    """Seconds of these products on one thread."""
    return MULTIPLYING * alike * sum(job.size for job in jobs)


def asked_at_once(positions: int, inputs: int, outputs: int) -> int:
    """How many numbers of a matrix a thread asks for at a time, at most."""
    if positions <= FEW:
        most = _whole(max(MADE, VIEWED) // max(1, inputs)) * inputs
    else:
        most = _asked(inputs) * inputs * 3 // 2
    return min(outputs * inputs, most)


def taken_at_once(positions: int, inputs: int, outputs: int) -> int:
    """How many it takes on, at most, where to make many together costs less (`Job.sharing`)."""
    if positions > FEW:
        return asked_at_once(positions, inputs, outputs)
    return min(outputs * inputs, _whole(SHARING * max(MADE, VIEWED) // max(1, inputs)) * inputs)


@lru_cache
def in_parts(inputs: int, outputs: int) -> tuple[slice, ...]:
    """The outputs of a tile of which a thread makes the rows of a matrix at a time."""
    count = max(1, -(-outputs // _whole(MADE // max(1, inputs))))
    size = VECTORS * max(1, -(-outputs // (count * VECTORS)))
    return tuple(slice(at, min(at + size, outputs)) for at in range(0, outputs, size))


def _as_one(jobs: tuple[Job, ...], alike: int, threads: int) -> tuple[Tile, ...]:
    """Jobs by columns, shared out by their outputs as if they were one.

    The largest part comes first: that of the thread that hands out, which need not be woken.
    """
    works = [alike * job.positions * max(1, job.inputs) for job in jobs]
    total = sum(work * job.outputs for work, job in zip(works, jobs, strict=True))
    others = max(0, total - LEAD) / threads
    tiles, share = list[tuple[int, Tile]](), others + LEAD
    for place, (work, job) in enumerate(zip(works, jobs, strict=True)):
        least, start = STEP * max(1, -(-LEAST * alike // (work * STEP))), 0
        while start < job.outputs:
            end = start + max(least, STEP * round(share / (work * STEP)))
            end = end if job.outputs - end >= least else job.outputs
            done = work * (end - start)
            tiles.append((done, Tile(place, slice(0, job.positions), slice(start, end))))
            share -= done
            share += others if share < work * least / 2 else 0
            start = end
    return tuple(tile for _, tile in sorted(tiles, key=lambda found: -found[0]))


@lru_cache
def _apart(job: Job, alike: int, threads: int, share: int) -> list[tuple[slice, slice]]:
    """The parts of one product: positions and outputs; `share` is how many numbers a thread makes.

    One axis is shared out among the threads, which changes no digit: outputs, of a few positions or
    by columns; else positions. How the other one is cut follows from the shape alone.
    """
    positions, inputs, outputs = job[:3]
    asked, shared = _asked(inputs), outputs // threads
    if not outputs:
        return []
    if positions <= FEW:
        width = _width(job, alike, threads, share)
        some = [slice(at, min(at + width, outputs)) for at in range(0, outputs, width)]
        return [(slice(0, positions), part) for part in some]
    if by_columns(positions):
        shared = max(shared, LEAST // (positions * max(1, inputs)))
        some = _blocks(outputs, shared if job.kept else min(shared, asked))
        return [(slice(0, positions), part) for part in some]
    some = _blocks(outputs, asked)
    thinnest = min(part.stop - part.start for part in some)
    least = LEAST // max(1, thinnest * inputs) if thinnest >= THIN else positions
    rows = _blocks(positions, max(min(positions // threads, TOGETHER), NARROWEST, least))
    return [(block, part) for block in rows for part in some]


def _blocks(count: int, size: int) -> list[slice]:
    """So many in blocks of this size, of which the last has between half and one and a half."""
    size = max(STEP, size - size % STEP)
    starts = [at for at in range(0, count, size) if not at or count - at >= size // 2]
    return [slice(*ends) for ends in zip(starts, [*starts[1:], count], strict=True)]


def _asked(inputs: int) -> int:
    """How many rows of a matrix are made, or viewed, at a time for more than a few positions."""
    return max(NARROWEST, MADE // max(1, inputs))


def _width(job: Job, alike: int, threads: int, share: int) -> int:
    """How many outputs of a few positions one thread does at a time."""
    inputs = max(1, job.inputs)
    if job.made:  # the cache holds what is made until it has been multiplied
        # Where a part waits little, each thread takes two, as the first to be awake takes more.
        each_takes = 2 if job.made <= WIDENED and threads > 1 else 1
        parts = max(1, round(each_takes * alike * inputs * job.outputs / max(1, share)))
        limit = MADE
        if job.sharing:
            limit = SHARING * MADE
            if (least := -(-job.outputs // _whole(limit // inputs))) > parts:
                parts = threads * -(-least // threads)  # few: as many for each
    else:
        # To read a number, and to multiply it.
        work = alike * inputs * (1 + job.positions / 4) * job.outputs / max(1, WAKING)
        fewer = max(2, round(sqrt(work)))  # `cores.worth`, where a step is to wake the next thread
        # Here too each takes two.
        parts = 1 if work * (1 - 1 / threads) < 1 else 2 * threads if fewer >= threads else fewer
        limit = VIEWED if job.released else 0
    width = VECTORS * max(1, -(-job.outputs // (parts * VECTORS)))
    return min(width, _whole(limit // inputs)) if limit else width


def _whole(rows: int) -> int:
    """The rows of as many whole blocks of `VECTORS` as are in so many, one at least."""
    return max(VECTORS, rows - rows % VECTORS)
