"""What is read of a file, when, and that half precision is exactly its widened values."""

import mmap
from contextlib import contextmanager

import numpy as np
import pytest

from attn_cli import session
from attn_cli.checkpoints import tensor as tensors
from attn_cli.checkpoints.dequantise import BY_NAME, dequantise, scales_of
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.maths import cores, products
from attn_cli.model import family
from attn_cli.model import weights as module
from attn_cli.model.weights import Stored, Weights
from measure import row_error, same_bits

WEIGHTS = "model.safetensors"


# --- half precision -------------------------------------------------------------------------------


def bf16_bytes(array):
    return (array.view(np.uint32) >> 16).astype("<u2").tobytes()


def f16_bytes(array):
    return array.astype("<f2").tobytes()


def widen_bf16(data, shape):
    return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)


def widen_f16(data, shape):
    return np.frombuffer(data, "<f2").astype(np.float32).reshape(shape)


@pytest.mark.parametrize(
    ("dtype", "narrow", "widen"), [("F16", f16_bytes, widen_f16), ("BF16", bf16_bytes, widen_bf16)]
)
def test_half_precision_gives_exactly_what_its_widened_values_give(
    golden_copy, packed, dtype, narrow, widen
):
    folder = golden_copy("gpt2-a")
    stored = open_safetensors(folder / "model.safetensors")
    data = {name: narrow(np.array(stored[name].read())) for name in stored}
    shapes = {name: stored[name].shape for name in data}
    traces = []
    for entries in (
        {name: (dtype, shapes[name], data[name]) for name in data},
        {name: ("F32", shapes[name], widen(data[name], shapes[name]).tobytes()) for name in data},
    ):
        (folder / "model.safetensors").write_bytes(packed(entries))
        traces.append(session.trace(ids=[3, 1, 4, 1, 5], model=str(folder)))
    half, full = traces
    assert same_bits(half, full)
    assert [list(block.arrays) for block in half.attention] == [
        list(block.arrays) for block in full.attention
    ]
    assert half.logits.dtype == np.float32


def test_bf16_gives_exactly_what_its_widened_values_give(golden_copy, tmp_path, packed, repack):
    """Some rows at a time, on all cores."""
    folder = golden_copy("qwen3-yarn")
    wide = tmp_path / "wide"
    wide.mkdir()
    for file in ("config.json", "tokenizer.json"):
        (wide / file).write_bytes((folder / file).read_bytes())

    def halves(entries):
        return {
            name: ("BF16", shape, (np.frombuffer(data, "<u4") >> 16).astype("<u2").tobytes())
            for name, (_, shape, data) in entries.items()
        }

    repack(folder, halves)
    stored = open_safetensors(folder / WEIGHTS)
    widened = {n: ("F32", i.shape, i.read().tobytes()) for n, i in stored.items()}
    (wide / WEIGHTS).write_bytes(packed(widened))
    traces = [session.trace(ids=[3, 1, 4, 1, 5, 9], model=str(place)) for place in (wide, folder)]
    assert same_bits(*traces)


# --- what is read ---------------------------------------------------------------------------------


def layers_read(spy, prefix):
    """The layers of which anything was read; of what was, each row must have been read once."""
    found = {name: rows for name, rows in spy.rows_read().items() if prefix in name}
    for name, rows in found.items():
        assert rows == list(range(spy.tensors[name].shape[0])), name
        assert spy.whole.count(name) <= 1
    return {name.split(prefix)[1][0] for name in found}


def test_one_layer_of_gpt2_without_prediction_touches_no_other_layer(golden_copy, spied):
    model, spy = spied(golden_copy("gpt2-a"))
    session.trace(ids=[7, 7, 2], model=model, layer=0, next=False)
    assert layers_read(spy, "h.") == {"0"}
    assert spy.by_row == [
        ("transformer.wte.weight", [7, 7, 2]),
        ("transformer.wpe.weight", [0, 1, 2]),
    ]


@pytest.mark.parametrize("name", ["llama-plain", "llama-bias"])
def test_one_layer_without_prediction_touches_no_other_layer(golden_copy, name, spied):
    model, spy = spied(golden_copy(name))
    session.trace(ids=[7, 7, 2], model=model, layer=0, next=False)
    assert layers_read(spy, "layers.") == {"0"}
    others = {name: rows for name, rows in spy.rows_read().items() if "layers." not in name}
    assert others == {"model.embed_tokens.weight": [2, 7, 7]}


def test_a_prediction_of_gpt2_reads_every_layer_and_the_output_matrix_once(golden_copy, spied):
    model, spy = spied(golden_copy("gpt2-b"))
    session.trace(ids=[7, 7, 2], model=model, layer=0)
    assert layers_read(spy, "h.") == set("0123")
    assert layers_read(spy, "lm_head") == {"."}
    assert spy.rows_read()["transformer.wte.weight"] == [2, 7, 7]


def test_a_prediction_reads_every_layer_and_the_output_matrix_once(golden_copy, spied):
    model, spy = spied(golden_copy("llama-bias"))
    session.trace(ids=[7, 7, 2], model=model, layer=0)
    assert layers_read(spy, "layers.") == set("01")
    assert layers_read(spy, "lm_head") == {"."}
    assert spy.rows_read()["model.embed_tokens.weight"] == [2, 7, 7]


@pytest.mark.parametrize("kind", ["F16", "F32"])
def test_a_matrix_is_never_there_as_a_whole_for_a_few_tokens(golden_copy, repack, spied, kind):
    """And no layer behind the last one asked for is read."""
    folder = golden_copy("llama-plain")

    def halves(entries):
        return {
            name: ("F16", shape, np.frombuffer(data, "<f4").astype("<f2").tobytes())
            for name, (_, shape, data) in entries.items()
        }

    if kind == "F16":
        repack(folder, halves)
    model, spy = spied(folder)
    session.trace(ids=[7, 7, 2], model=model, layer=1, next=False)
    assert layers_read(spy, "layers.") == {"0", "1"}
    assert all("norm" in name for name in spy.whole)


@pytest.mark.parametrize("name", ["llama-plain", "llama-bias"])
def test_a_tall_output_matrix_is_read_a_few_rows_at_a_time(golden_copy, limits, name, spied):
    folder = golden_copy(name)
    wanted = session.trace(ids=[7, 7, 2], model=str(folder)).logits
    for name_of_limit, limit in {"VECTORS": 8, "WAKING": 0, "MAKING": 1}.items():
        limits(name_of_limit, limit)
    cores.use(10)
    model, spy = spied(folder)
    found = session.trace(ids=[7, 7, 2], model=model, layer=0).logits
    cores.use(0)
    assert row_error(found, wanted) <= 1e-6
    matrix = "model.embed_tokens.weight" if name == "llama-plain" else "lm_head.weight"
    assert matrix not in spy.whole
    read = [rows for place, rows in spy.by_row if place == matrix and rows != [7, 7, 2]]
    assert max(map(len, read)) == 8
    assert sorted(row for rows in read for row in rows) == list(range(found.size))


def test_side_by_side_each_layer_is_read_once_and_held_until_all_have_passed_it(
    golden_copy, spied, monkeypatch
):
    model, spy = spied(golden_copy("llama-plain"))
    made, held = [], []
    original, each = family.side_by_side, cores.each
    monkeypatch.setattr(family, "side_by_side", lambda one: made.append(original(one)) or made[-1])

    def counting(work, parts, most=0):
        held.append(len({name.split(".")[1] for name in made[-1].weights.held if "layers" in name}))
        each(work, parts, most)

    monkeypatch.setattr(family.cores, "each", counting)
    asked = [session.ask(ids=ids, model=model, layer=0) for ids in ([7, 7, 2], [3, 1], [4] * 5)]
    found = session.together(asked)
    assert [len(trace.prompt.tokens) for trace in found] == [3, 2, 5]
    layers = [name for name in spy.whole if "layers." in name]
    assert len(layers) == len(set(layers)) > 0
    assert not [name for name, _ in spy.by_row if "layers." in name]
    # Never those of two layers; and nothing in the end.
    assert max(held) == 1
    assert not made[-1].weights.held


# --- what is given back while it is used ----------------------------------------------------------

LINES, INPUTS = 4096, 256


@contextmanager
def forgotten(monkeypatch):
    """The bytes of files, from and to, that are given back while this lasts."""
    calls = []
    with monkeypatch.context() as patch:
        patch.setattr(tensors, "forget", lambda data, begin, end: calls.append((begin, end)))
        yield calls


def large(kind, matrices=1):
    """One of the `matrices` of a tensor, behind a few other bytes, and the bytes of a line."""
    line = {"F32": 4 * INPUTS, "BF16": 2 * INPUTS, "Q8_0": 34 * INPUTS // 32}[kind]
    size, rng = matrices * LINES * line, np.random.default_rng(1)
    data = mmap.mmap(-1, 4096 + size)
    # No float16 and no bf16 of these bytes is infinite.
    data[4096:] = rng.integers(0, 60, size, np.uint8).tobytes()
    widen = {} if kind in ("F32", "BF16") else {"widen": dequantise, "scales": scales_of(kind)}
    shape = (LINES, INPUTS) if matrices == 1 else (matrices, LINES, INPUTS)
    found = tensors.span(data, 4096, size, kind, shape, "here", **widen)
    return (found if matrices == 1 else found.within(1, slice(None))), line


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("positions", [3, 20])
@pytest.mark.parametrize(
    ("kind", "matrices"), [("F32", 1), ("BF16", 1), ("Q8_0", 1), ("F32", 2), ("BF16", 2)]
)
def test_a_large_matrix_is_given_back_while_it_is_multiplied(
    monkeypatch, limits, kind, matrices, positions, threads
):
    for name in ("VIEWED", "MADE"):
        limits(name, 1 << 14)
    for name in ("NARROWEST", "LEAST", "WAKING", "LEAD"):
        limits(name, 0)
    limits("MAKING", 1)
    monkeypatch.setattr(module, "_LENT", 1 << 16)
    x = np.random.default_rng(2).standard_normal((positions, INPUTS), np.float32)
    cores.use(threads)
    with forgotten(monkeypatch) as calls:
        tensor, line = large(kind, matrices)
        weights = Weights(tensors={"t": tensor}, stored={"m.weight": Stored("t")})
        matrix, there, most = weights.map("m"), np.zeros(LINES, bool), 0
        start = 4096 + (matrices - 1) * LINES * line

        def touched(part):
            nonlocal most
            while calls:
                begin, end = calls.pop()
                assert start <= begin < end <= start + LINES * line
                there[(begin - start) // line : (end - start) // line] = False
            there[part] = True
            most = max(most, int(there.sum()))

        def spied(ask):
            return ask and (lambda part: touched(part) or ask(part))

        watched = matrix._replace(rows=spied(matrix.rows), reader=spied(matrix.reader))
        (found,) = products.through(x, watched)
    cores.use(0)
    # A part that each thread multiplies, and what is given back after the next parts.
    assert 0 < most <= LINES / 4
    (wanted,) = products.through(x, weights.map("m")._replace(release=None))
    assert found.tobytes() == wanted.tobytes()


def test_rows_in_another_order_are_given_back_where_they_are_stored(monkeypatch):
    monkeypatch.setattr(module, "_LENT", 1 << 16)

    def swapped(array):  # in every 128 rows
        return array.reshape(-1, 2, 64, *array.shape[1:])[:, ::-1].reshape(array.shape)

    with forgotten(monkeypatch) as calls:
        tensor, line = large("F32")
        weights = Weights(tensors={"t": tensor}, stored={"m.weight": Stored("t", swapped)})
        weights.map("m").release(slice(64, 96))  # fewer than are given back at a time
        weights.map("m").release(slice(0, 80))
        weights.map("m").release(slice(300, 400))
    assert calls == [(4096 + first * line, 4096 + end * line) for first, end in (
        (64, 128), (128, 384))]  # fmt: skip


@pytest.mark.parametrize(("held", "lent"), [(True, 1 << 16), (False, 1 << 30)])
def test_a_matrix_that_is_held_or_small_is_not(monkeypatch, held, lent):
    monkeypatch.setattr(module, "_LENT", lent)
    with forgotten(monkeypatch) as calls:
        stored = {"m.weight": Stored("t")}
        weights = Weights(tensors={"t": large("F32")[0]}, stored=stored, hold=held)
        weights.rows("m.weight", [3, 1])
        products.through(np.ones((3, INPUTS), np.float32), weights.map("m"))
    assert calls == ([] if held else [(4096, 4096 + 4 * LINES * INPUTS)])


@pytest.mark.parametrize(
    ("name", "matrix"),
    [("gpt2-a", "transformer.wte.weight"), ("llama-plain", "model.embed_tokens.weight")],
)
def test_a_pass_gives_a_tied_matrix_back_after_its_rows_and_by_parts(
    golden_copy, monkeypatch, limits, name, matrix
):
    folder = golden_copy(name)
    wanted = session.trace(ids=[7, 7, 2], model=str(folder))
    for limit, value in {"VECTORS": 8, "VIEWED": 8, "WAKING": 0, "MAKING": 1}.items():
        limits(limit, value)
    with forgotten(monkeypatch) as calls:
        embedding = open_safetensors(folder / WEIGHTS)[matrix]
        embedding.release()
        ((begin, end),) = calls
        calls.clear()
        monkeypatch.setattr(module, "_LENT", 8 * embedding.size // embedding.shape[0])
        found = session.trace(ids=[7, 7, 2], model=str(folder))
    assert row_error(found.logits, wanted.logits) <= 1e-6
    own = [call for call in calls if begin <= call[0] and call[1] <= end]
    # After the prompt's rows, and once more in the end, with those that are shown.
    parts = [call for call in own if call != (begin, end)]
    assert own[0] == own[-1] == (begin, end)
    step = 8 * (end - begin) // embedding.shape[0]
    ends = range(begin + step, end + 1, step)
    assert sorted(parts) == [(max(begin, at - 2 * step), at) for at in ends]
    assert len(parts) > 3


# --- what the rows of quantised blocks share -----------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["Q4_K", "Q6_K"])
def test_scales_are_unpacked_once_for_rows_in_any_order(limits, kind, dtype):
    """The numbers are those of the tensor as a whole, wherever the file keeps the rows."""
    limits("MADE", 1 << 15)
    cores.use(1)
    size, rng, asked = BY_NAME[kind].size, np.random.default_rng(5), []
    data = mmap.mmap(-1, 480 * size)
    data[:] = rng.integers(0, 60, 480 * size, np.uint8).tobytes()

    def spied(raw):
        asked.append(len(raw))
        return scales_of(kind)(raw)

    tensor = tensors.span(data, 0, len(data), kind, (480, 256), "here", dequantise, spied)
    stored = Stored(
        "t", lambda rows: rows.reshape(2, -1, *rows.shape[1:]).swapaxes(0, 1).reshape(rows.shape)
    )
    weights = Weights(tensors={"t": tensor}, stored={"m.weight": stored}, dtype=dtype)
    matrix, x = weights.map("m"), rng.standard_normal((3, 256)).astype(dtype)
    (found,) = products.through(x, matrix)
    (wanted,) = products.through(x, matrix._replace(reader=None))
    whole = stored.arrange(tensor.read()).astype(dtype)
    cores.use(0)
    assert asked == [480] and found.dtype == dtype
    assert found.tobytes() == wanted.tobytes()
    np.testing.assert_allclose(found, x @ whole.T, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    rows = matrix.reader(slice(0, 480))
    assert np.shares_memory(rows(slice(0, 48)), rows(slice(48, 96))) == (dtype == np.float32)
