"""Reading rows: the same numbers however they are cut, where they lie, and on any threads."""

import mmap
import struct
import threading
import tracemalloc

import gguf
import numpy as np
import pytest

from attn_cli.checkpoints import dequantise as blocks
from attn_cli.checkpoints import floats
from attn_cli.checkpoints import tensor as module
from attn_cli.checkpoints.dequantise import BY_NAME, dequantise, scales_of
from attn_cli.checkpoints.tensor import span
from attn_cli.maths import cores

PLAIN = ["F16", "BF16", "F64", "F32"]
OURS = sorted(blocks._OURS)
KINDS = [*PLAIN, *OURS, "TQ1_0"]  # and one that is left to the package
ROWS, COLUMNS = 37, 512


@pytest.fixture(autouse=True)
def threads():
    yield cores.use
    cores.use(0)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks so small that these tensors have many, and the last is not whole."""
    for limit, value in {"_CHUNK": 3 * 256, "_OF_PACKAGE": 2 * 256, "_SCALED": 90}.items():
        monkeypatch.setattr(blocks, limit, value)
    monkeypatch.setattr(floats, "_BLOCK", 700)


def mapped(data, begin=0):
    """A map of memory that has these bytes from `begin` on."""
    found = mmap.mmap(-1, begin + len(data) + 1)
    found[begin : begin + len(data)] = data
    return found


def stored(kind, rows=ROWS, columns=COLUMNS):
    """Rows of a type, and what others make of them: struct, numpy or the gguf package."""
    values = np.random.default_rng(len(kind)).normal(0, 0.02, (rows, columns)).astype(np.float32)
    if kind not in PLAIN:
        _, block, size = BY_NAME[kind]
        shape = (rows, columns // block * size)
        raw = np.random.default_rng(size).integers(0, 256, shape, dtype=np.uint8)
        with np.errstate(all="ignore"):
            return raw.tobytes(), gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[kind])
    if kind == "BF16":
        data = (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        pairs = zip(data[::2], data[1::2], strict=True)
        wide = b"".join(bytes((0, 0, low, high)) for low, high in pairs)
        return data, np.frombuffer(wide, np.float32).reshape(rows, columns)
    code, dtype = {"F16": ("e", "f2"), "F64": ("d", "f8"), "F32": ("f", "f4")}[kind]
    data = values.astype(dtype).tobytes()
    numbers = struct.unpack(f"<{rows * columns}{code}", data)
    return data, np.array(numbers).astype(np.float32).reshape(rows, columns)


def tensor(kind, begin=0, rows=ROWS, columns=COLUMNS):
    data, wanted = stored(kind, rows, columns)
    widen = floats.widen if kind in PLAIN else dequantise
    return span(mapped(data, begin), begin, len(data), kind, (rows, columns), "here", widen), wanted


def assert_same_bits(found, wanted):
    """Equal to the last bit; where both are no number, which of those is free."""
    assert found.dtype == wanted.dtype == np.float32
    assert found.shape == wanted.shape
    same = found.view(np.uint32) == wanted.view(np.uint32)
    assert (same | (np.isnan(found) & np.isnan(wanted))).all()


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("begin", [0, 1, 2, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_those_of_others_on_any_threads_and_from_any_byte(
    kind, begin, count, small_blocks, threads
):
    threads(count)
    found, wanted = tensor(kind, begin)
    assert_same_bits(found.read(), wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_the_blocks_that_are_used_give_these_numbers_too(kind):
    rows = 3 * floats._BLOCK // 4096 + 1
    found, wanted = tensor(kind, rows=rows, columns=4096)
    assert_same_bits(found.read(), wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_those_of_the_whole_wherever_they_are_written(kind, small_blocks):
    found, wanted = tensor(kind, 2)
    for some in (range(37), range(1), range(36, 37), range(5, 30), range(9, 9), slice(3, 20)):
        rows = np.arange(ROWS)[some] if isinstance(some, slice) else list(some)
        assert_same_bits(found.rows(some), wanted[rows])
        out = np.full((len(rows), COLUMNS), 7, np.float32)
        assert_same_bits(found.rows(some, out), wanted[rows])
        assert_same_bits(out, wanted[rows])
    for some in ([5, 0, 5], range(30, 3, -4), range(0, 37, 5), range(-3, 0), np.array([-1])):
        out = np.empty((len(some), COLUMNS), np.float32)
        assert_same_bits(found.rows(some, out), wanted[list(some)])


def test_float32_that_is_aligned_is_the_file_itself():
    found, _ = tensor("F32", 4)
    whole, out = found.read(), np.zeros((2, COLUMNS), np.float32)
    assert not whole.flags.writeable
    for rows in (found.rows(range(3, 5)), found.rows(slice(3, 5)), found.rows(range(3, 5), out)):
        assert np.shares_memory(rows, whole[3:5])
    assert not out.any()
    beside, wanted = tensor("F32", 3)
    assert beside.read().flags.aligned
    assert beside.rows(range(3, 5), out).base is out
    assert_same_bits(out, wanted[3:5])


@pytest.mark.parametrize("some", [range(30, 38), [37], range(-38, 0), [-38]])
def test_a_row_that_is_not_there_is_an_error(some):
    found, _ = tensor("BF16")
    with pytest.raises(IndexError):
        found.rows(some)


@pytest.mark.parametrize("out", [
    np.empty((3, COLUMNS), np.float32), np.empty((2, COLUMNS), np.float64),
    np.empty((COLUMNS, 2), np.float32).T, np.empty(2 * COLUMNS, np.float32),
])  # fmt: skip
def test_rows_are_not_written_where_they_do_not_fit(out):
    found, _ = tensor("BF16")
    with pytest.raises(ValueError, match="do not fit"):
        found.rows(range(2), out)


def test_a_vector_has_rows_of_one_number(small_blocks):
    data, wanted = stored("BF16")
    found = span(mapped(data), 0, len(data), "BF16", (ROWS * COLUMNS,), "here")
    assert_same_bits(found.rows(range(700, 1500)), wanted.reshape(-1)[700:1500])
    assert_same_bits(found.rows([3, 0]), wanted.reshape(-1)[[3, 0]])


@pytest.mark.parametrize("kind", ["F16", "BF16", "F64", "F32"])
def test_values_with_gaps_between_them_are_read_where_they_stand(kind, small_blocks):
    """As PyTorch stores a matrix that was turned, or every other row of one."""
    data, wanted = stored(kind)
    width = len(data) // wanted.size
    flat = np.frombuffer(data, f"u{width}").reshape(wanted.shape)
    for turn in (lambda a: a.T, lambda a: a[::2], lambda a: a[:, ::3]):
        whole, few = floats.widen(kind, turn(flat)), floats.widen(kind, turn(flat)[4:6])
        assert whole.flags.c_contiguous
        assert_same_bits(whole, np.ascontiguousarray(turn(wanted)))
        assert_same_bits(few, np.ascontiguousarray(turn(wanted)[4:6]))


@pytest.mark.parametrize("begin", [0, 1])
def test_every_finite_float16_is_exact(begin):
    """Those beside an infinite one are read in another way."""
    codes = [code for code in range(1 << 16) if code & 0x7C00 != 0x7C00]
    data = struct.pack(f"<{len(codes)}H", *codes)
    found = span(mapped(data, begin), begin, len(data), "F16", (len(codes),), "here").read()
    wanted = np.array(struct.unpack(f"<{len(codes)}e", data)).astype(np.float32)
    assert found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("code", [0x7C00, 0xFC00, 0x7C01, 0xFE00, 0x7FFF, 0xFFFF])
@pytest.mark.parametrize("place", [0, 699, 700, 1399, 2000])
def test_an_infinite_float16_is_seen_wherever_it_is(code, place, small_blocks):
    codes = np.random.default_rng(0).integers(0, 0x7C00, 2001, dtype=np.uint16)
    codes[::2] |= 0x8000
    codes[place] = code
    found = floats.widen("F16", codes.view(np.uint8))
    numbers = struct.unpack("<2001e", codes.tobytes())
    assert_same_bits(found, np.array(numbers).astype(np.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_many_threads_may_read_rows_at_once(kind, small_blocks, threads):
    threads(4)
    found, wanted = tensor(kind)
    copies = np.zeros((8, ROWS, COLUMNS), np.float32)
    begun = threading.Barrier(4, timeout=60)

    def work(copy):
        if copy < 4:  # each of these on a thread of its own
            begun.wait()
        for rows in (slice(0, 16), slice(16, 32), slice(32, 37)):
            copies[copy, rows] = found.rows(rows, np.empty_like(copies[copy, rows]))

    cores.each(work, range(8))
    for copy in copies:
        assert_same_bits(copy, wanted)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "F32"])
def test_reading_is_cut_into_blocks_whose_size_is_the_same_on_any_threads(
    kind, threads, monkeypatch
):
    module, cut = floats if kind in PLAIN else blocks, []

    def spread(work, count, block):
        cut.append((count, block))
        cores.spread(work, count, block)

    monkeypatch.setattr(module, "spread", spread)
    found, _ = tensor(kind, rows=1100)
    for count in (1, 3):
        threads(count)
        found.read()
    unit = 1 if kind in PLAIN else BY_NAME[kind].block
    block = 3 << 18 if kind in OURS else 1 << 19
    assert cut == [(1100 * COLUMNS // unit, block // unit)] * 2


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "F32"])
@pytest.mark.parametrize("count", [1, 2])
def test_reading_takes_little_memory_beside_what_it_gives(kind, count, threads):
    threads(count)
    _, block, size = BY_NAME[kind]
    rows, columns = 2048, 4096
    data = bytes(rows * columns // block * size)
    widen = floats.widen if kind in PLAIN else dequantise
    found = span(mapped(data, 1), 1, len(data), kind, (rows, columns), "here", widen)
    found.rows(range(2))  # what is made once
    out = np.empty((rows, columns), np.float32)
    tracemalloc.start()
    taken = []
    for read, given in ((found.read, out.nbytes), (lambda: found.rows(range(rows), out), 0)):
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        read()
        taken.append(tracemalloc.get_traced_memory()[1] - before - given)
    tracemalloc.stop()
    assert max(taken) < count * out.nbytes // (16 if kind in PLAIN + OURS else 4)


@pytest.mark.parametrize("kind", [*KINDS, "Q4_K", "Q6_K"])
def test_a_reader_gives_the_rows_that_were_chosen_by_their_places(kind):
    _, block, size = BY_NAME[kind]
    raw = np.random.default_rng(4).integers(0, 60, (9, 512 // block * size), np.uint8).tobytes()
    widen, scales, asked = floats.widen if kind in PLAIN else dequantise, scales_of(kind), []

    def spied(part):
        asked.append(len(part))
        return scales(part)

    more = (spied,) if scales else ()
    found = span(mapped(raw), 0, len(raw), kind, (9, 512), "here", widen, *more)
    whole, out = found.read(), np.empty((2, 512), np.float32)
    for chosen in (range(1, 8), np.array([7, 0, 0, 3, 8])):
        asked.clear()
        rows = found.reader(chosen)
        for at in range(len(chosen) - 1):
            given = rows(slice(at, at + 2), out)
            assert given.shape == (2, 512)
            assert_same_bits(given, whole[np.array(chosen)[at : at + 2]])
            assert kind == "F32" or np.shares_memory(given, out)
        assert asked == ([len(chosen)] if scales else [])
        assert rows(slice(2, 2), None).shape == (0, 512)
        with pytest.raises(ValueError, match="do not fit"):
            rows(slice(0, 1), out)
    assert found.reader([])(slice(0, 0), None).shape == (0, 512)


@pytest.mark.parametrize("kind", KINDS)
def test_lines_are_forgotten_where_they_stand(kind, monkeypatch):
    calls = []
    monkeypatch.setattr(module, "forget", lambda data, *place: calls.append(data[slice(*place)]))
    data, _ = stored(kind, 6)
    each = len(data) // 6
    widen = floats.widen if kind in PLAIN else dequantise
    found = span(mapped(data, 7), 7, len(data), kind, (2, 3, COLUMNS), "here", widen)
    found.forget(1, 5)
    found.within(1, slice(1, None)).forget(0, 1)
    found.within(1, slice(None, None, 2)).forget(1, 2)
    assert calls == [data[each * first : each * end] for first, end in ((1, 5), (4, 5), (5, 6))]
