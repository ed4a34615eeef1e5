"""The safetensors reader against numpy, hand-made files, and everything that can be wrong."""

import errno
import json
import os
import pickle
import random
import struct
from pathlib import Path

import numpy as np
import pytest

from attn_cli.checkpoints import safetensors as module
from attn_cli.checkpoints import tensor
from attn_cli.checkpoints.safetensors import encode, open_safetensors
from attn_cli.errors import ContentError
from measure import counted

TENSORS = {
    "matrix": np.arange(6, dtype=np.float32).reshape(2, 3) - 2.5,
    "scalar": np.array(7.25, np.float32),
    "no rows": np.zeros((0, 4), np.float32),
    "no columns": np.zeros((3, 0), np.float32),
    "empty": np.zeros(0, np.float32),
    "ünïcode/名": np.array([np.nan, np.inf, -0.0, 1e-45], np.float32),
}


@pytest.fixture
def opened(tmp_path):
    """Opens a file of these bytes."""

    def open_bytes(data):
        path = tmp_path / "model.safetensors"
        path.write_bytes(data)
        return open_safetensors(path)

    return open_bytes


def file_of(header, body=b""):
    """A file with this header, given as text, bytes or something to dump as JSON."""
    text = header if isinstance(header, str | bytes) else json.dumps(header)
    text = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(text)) + text + body


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def refusal(opened, data):
    with pytest.raises(ContentError) as refused:
        opened(data)
    assert "model.safetensors" in refused.value.message
    assert len(refused.value.message) < 400
    assert refused.value.message.count("\n") == 0
    return refused.value


# --- what is read --------------------------------------------------------------------------------


def test_reads_back_what_was_written(opened):
    file = opened(encode(TENSORS, {"step": "12", "name": "é"}))
    assert tuple(file) == tuple(TENSORS)
    for name, wanted in TENSORS.items():
        found = file[name].read()
        assert found.dtype == np.float32
        assert found.shape == wanted.shape
        assert found.tobytes() == wanted.tobytes()


def test_encode_widens_orders_and_aligns(opened):
    transposed = np.arange(6.0).reshape(2, 3).T
    data = encode({"a": transposed, "b": np.array([1, 2], np.int64)}, {})
    assert struct.unpack("<Q", data[:8])[0] % 8 == 0
    file = opened(data)
    assert file["a"].read().tolist() == [[0, 3], [1, 4], [2, 5]]
    assert file["b"].read().tolist() == [1, 2]


def test_a_file_may_hold_nothing(opened):
    assert opened(encode({}, {})) == {}
    assert opened(file_of({})) == {}


def test_reads_a_file_made_by_hand(opened):
    header = (
        b'{"__metadata__":{"format":"pt"},'
        b'"b":{"dtype":"F32","shape":[1,2],"data_offsets":[4,12]},'
        b'"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}'
    )
    body = bytes([0x00, 0x3C, 0x00, 0xC0]) + bytes([0, 0, 0x80, 0x3F, 0, 0, 0x20, 0xC1])
    file = opened(struct.pack("<Q", len(header)) + header + body)
    assert tuple(file) == ("b", "a")
    assert (file["b"].dtype, file["b"].shape, file["b"].size) == ("F32", (1, 2), 8)
    assert file["a"].read().tolist() == [1.0, -2.0]
    assert file["b"].read().tolist() == [[1.0, -10.0]]


@pytest.mark.parametrize("padding", range(8))
def test_numbers_do_not_depend_on_where_the_header_ends(opened, padding):
    """A product of arrays that are not aligned takes another path in numpy."""
    header = json.dumps({"w": entry(shape=(64, 48), offsets=(0, 4 * 64 * 48))}) + " " * padding
    w = np.random.default_rng(0).standard_normal((64, 48), np.float32)
    x = np.random.default_rng(1).standard_normal((5, 64), np.float32)
    found = opened(file_of(header, w.tobytes()))["w"].read()
    assert found.flags.aligned
    assert np.array_equal(x @ found, x @ w)


def test_every_f16_is_exact(opened, packed):
    codes = np.arange(2**16, dtype="<u2")
    found = opened(packed({"t": ("F16", (2**16,), codes.tobytes())}))["t"].read()
    sign = np.where(codes >> 15, -1.0, 1.0)
    power, fraction = (codes >> 10 & 31).astype(int), (codes & 1023) / 1024
    normal = sign * (1 + fraction) * 2.0 ** (power - 15)
    wanted = np.where(power == 0, sign * fraction * 2.0**-14, normal)
    wanted = np.where(power == 31, np.where(fraction == 0, sign * np.inf, np.nan), wanted)
    assert found.dtype == np.float32
    assert np.array_equal(found, wanted, equal_nan=True)
    assert np.array_equal(np.signbit(found), codes >= 2**15)


def test_every_bf16_is_exact(opened, packed):
    codes = np.arange(2**16, dtype="<u2")
    found = opened(packed({"t": ("BF16", (2, 2**15), codes.tobytes())}))["t"].read().ravel()
    sign = np.where(codes >> 15, -1.0, 1.0)
    power, fraction = (codes >> 7 & 255).astype(float), (codes & 127) / 128
    normal = sign * (1 + fraction) * 2.0 ** (np.minimum(power, 254) - 127)
    wanted = np.where(power == 0, sign * fraction * 2.0**-126, normal)
    wanted = np.where(power == 255, np.where(fraction == 0, sign * np.inf, np.nan), wanted)
    assert found.dtype == np.float32
    assert np.array_equal(found, wanted, equal_nan=True)
    assert np.array_equal(np.signbit(found), codes >= 2**15)


def test_f64_is_narrowed_without_a_warning(opened, packed):
    values = np.array([0.1, 1e300, -1e300, 1e-50])
    found = opened(packed({"t": ("F64", (4,), values.tobytes())}))["t"].read()
    assert found.tolist() == [float(np.float32(0.1)), np.inf, -np.inf, 0.0]


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16", "F64"])
def test_rows_are_rows_of_the_whole(opened, packed, dtype):
    values = np.arange(-20, 22, dtype="<f8").reshape(7, 3, 2)  # exact in every one of them
    data = {
        "F64": values,
        "F32": values.astype("<f4"),
        "F16": values.astype("<f2"),
        "BF16": (values.astype("<f4").view("<u4") >> 16).astype("<u2"),
    }[dtype].tobytes()
    file = opened(packed({"before": ("U8", (3,), b"abc"), "t": (dtype, (7, 3, 2), data)}))
    whole = file["t"].read()
    assert np.array_equal(whole, values)
    for indices in ([0], [6, 0, 6, 3], range(7), range(2, 5), range(1, 7, 2), []):
        found = file["t"].rows(indices)
        assert found.dtype == np.float32
        assert np.array_equal(found, whole[list(indices)])


def test_a_tensor_releases_its_own_bytes_and_no_others(opened, packed, monkeypatch):
    released = []
    monkeypatch.setattr(tensor, "forget", lambda data, begin, end: released.append(data[begin:end]))
    file = opened(packed({"a": ("U8", (3,), b"abc"), "b": ("U8", (2, 2), b"defg")}))
    for name in ("b", "a"):
        file[name].release()
    assert released == [b"defg", b"abc"]


def test_what_is_no_float_is_listed_but_not_read(opened, packed):
    file = opened(packed({"ids": ("I64", (1,), bytes(8)), "f8": ("F8_E4M3", (2,), b"ab")}))
    assert tuple(file) == ("ids", "f8")
    for name, dtype in (("ids", "I64"), ("f8", "F8_E4M3")):
        with pytest.raises(ContentError, match=rf"model\.safetensors: tensor {name} .*{dtype}"):
            file[name].read()


def test_what_is_read_cannot_change_the_file(opened):
    found = opened(encode(TENSORS, {}))["matrix"].read()
    with pytest.raises(ValueError, match="read-only"):
        found[0, 0] = 1


# --- headers that lie ----------------------------------------------------------------------------

EIGHT = bytes(8)
DEEP = "[" * 100_000 + "]" * 100_000
LONG = "x" * 100_000
TWICE = f'{{"a":{json.dumps(entry())},"a":{json.dumps(entry())}}}'
TWICE_INSIDE = '{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}'

MALFORMED = {
    "length past the end": (struct.pack("<Q", 9) + b"{}" + bytes(6), "claims 9 bytes"),
    "length 2^63": (struct.pack("<Q", 2**63) + b"{}", "claims 9,223,372,036,854,775,808 bytes"),
    "length 2^64 - 1": (b"\xff" * 8 + b"{}", "claims 18,446,744,073,709,551,615 bytes"),
    "no header": (bytes(8), "not JSON"),
    "not UTF-8": (file_of(b'{"\xff": 1}'), "not JSON"),
    "UTF-16": (file_of("{}".encode("utf-16")), "not JSON"),
    "cut JSON": (file_of('{"a":'), "not JSON"),
    "two objects": (file_of("{}{}"), "not JSON"),
    "a list": (file_of("[]"), "not a JSON object"),
    "a number": (file_of("1"), "not a JSON object"),
    "null": (file_of("null"), "not a JSON object"),
    "deep nesting": (file_of(DEEP), "not JSON"),
    "deep nesting in a tensor": (file_of('{"a":' + DEEP + "}"), "not JSON"),
    "an integer too long": (file_of('{"a":' + "9" * 5000 + "}"), "not JSON"),
    "a name twice": (file_of(TWICE, EIGHT), "a stands twice"),
    "a key twice": (file_of(TWICE_INSIDE, EIGHT), "dtype stands twice"),
    "metadata a list": (file_of({"__metadata__": []}), "metadata is not text"),
    "metadata with a number": (file_of({"__metadata__": {"a": 1}}), "metadata is not text"),
    "metadata nested": (file_of({"__metadata__": {"a": {"b": "c"}}}), "metadata is not text"),
    "an entry that is a list": (file_of({"a": [1]}), "tensor a lacks"),
    "an entry without dtype": (file_of({"a": {"shape": [], "data_offsets": [0, 4]}}), "a lacks"),
    "an entry with more": (file_of({"a": {**entry(), "more": 1}}, EIGHT), "tensor a"),
    "unknown dtype": (file_of({"a": entry("F12")}, EIGHT), "a has the unknown dtype F12"),
    "dtype a list": (file_of({"a": entry(["F32"])}, EIGHT), "tensor a has the unknown dtype"),
    "a very long dtype": (file_of({"a": entry(LONG)}, EIGHT), "tensor a has the unknown dtype xxx"),
    "a very long name": (file_of({LONG: entry("F12")}, EIGHT), "F12"),
    "shape a number": (file_of({"a": {**entry(), "shape": 2}}, EIGHT), "tensor a has a shape"),
    "negative size": (file_of({"a": entry(shape=(-2,))}, EIGHT), "tensor a has a shape"),
    "float size": (file_of({"a": entry(shape=(2.0,))}, EIGHT), "tensor a has a shape"),
    "boolean size": (file_of({"a": entry(shape=(True,))}, EIGHT), "tensor a has a shape"),
    "size 2^63": (file_of({"a": entry(shape=(2**63,))}, EIGHT), "tensor a has a shape"),
    "product 2^63": (file_of({"a": entry(shape=(2**31, 2**30))}, EIGHT), "a has an impossible"),
    "product wraps to 8": (file_of({"a": entry(shape=(2**62 + 2, 1))}, EIGHT), "a has an imposs"),
    "zero hides it": (file_of({"a": entry(shape=(0, 2**62), offsets=(0, 0))}), "a has an imposs"),
    "65 axes": (file_of({"a": entry(shape=[1] * 65, offsets=(0, 4))}, bytes(4)), "a has an imp"),
    "one offset": (file_of({"a": entry(offsets=(8,))}, EIGHT), "tensor a has offsets"),
    "three offsets": (file_of({"a": entry(offsets=(0, 4, 8))}, EIGHT), "tensor a has offsets"),
    "offsets an object": (file_of({"a": {**entry(), "data_offsets": {}}}, EIGHT), "a has offsets"),
    "negative offset": (file_of({"a": entry(offsets=(-8, 0))}, EIGHT), "tensor a has offsets"),
    "float offset": (file_of({"a": entry(offsets=(0, 8.0))}, EIGHT), "tensor a has offsets"),
    "NaN offset": (file_of('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,NaN]}}', EIGHT),
                   "tensor a has offsets"),
    "text offset": (file_of({"a": entry(offsets=("0", "8"))}, EIGHT), "tensor a has offsets"),
    "reversed offsets": (file_of({"a": entry(offsets=(8, 0))}, EIGHT), "a has -8 bytes"),
    "too few bytes": (file_of({"a": entry(offsets=(0, 4))}, bytes(4)), "a has 4 bytes, its shape"),
    "too many bytes": (file_of({"a": entry(offsets=(0, 12))}, bytes(12)), "12 bytes, its shape"),
    "a hole before": (file_of({"a": entry(offsets=(4, 12))}, bytes(12)), "tensor a leaves a hole"),
    "a hole between": (
        file_of({"a": entry(), "b": entry(offsets=(12, 20))}, bytes(20)), "tensor b leaves a hole"
    ),
    "overlap": (
        file_of({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)), "tensor b leaves a hole"
    ),
    "the same bytes twice": (file_of({"a": entry(), "b": entry()}, EIGHT), "b leaves a hole or"),
    "an empty tensor inside": (
        file_of({"a": entry(), "b": entry(shape=(0,), offsets=(4, 4))}, EIGHT), "b leaves a hole"
    ),
    "end past the file": (file_of({"a": entry()}, bytes(7)), "ends before its last tensor"),
    "no tensors, yet bytes": (file_of({}, b"\0"), "bytes after its last tensor"),
    "trailing bytes": (file_of({"a": entry()}, bytes(9)), "bytes after its last tensor"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "reason"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_file_is_refused_with_its_reason(opened, data, reason):
    assert reason in refusal(opened, data).message


def test_the_same_checks_pass_what_is_right(opened):
    """The table above is made from this file; the reader does not refuse everything."""
    right = file_of({"a": entry(), "b": entry(shape=(0, 2**20), offsets=(8, 8))}, EIGHT)
    assert opened(right)["a"].read().tolist() == [0, 0]
    assert opened(file_of({"a": entry(shape=[1] * 64, offsets=(0, 4))}, bytes(4)))["a"].read().size


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<Q", 2**63) + b"{}",
        file_of({"a": entry(shape=(2**60,), offsets=(0, 2**62))}),
        file_of({"a": entry("U8", (2**62,), (0, 2**62))}),
        file_of({"a": entry("U8", (2**31, 2**31), (0, 2**62)), "b": entry(offsets=(0, 8))}),
    ],
)
def test_a_claim_costs_neither_memory_nor_work(opened, data):
    with counted() as work:
        refusal(opened, data)
    assert work.lines < 1000
    assert work.memory < 100_000


def test_many_names_before_one_that_stands_twice_are_looked_at_a_few_times_each():
    asked = []

    class Name(str):
        __slots__ = ()

        def __hash__(self):
            asked.append(self)
            return super().__hash__()

        def __eq__(self, other):
            asked.append(self)
            return super().__eq__(other)

    names = [*map(str, range(10_000)), "last", "last"]
    with pytest.raises(module._Twice, match="last"):
        module._no_twice([(Name(name), 0) for name in names])
    assert len(asked) < 4 * len(names)


# --- damage --------------------------------------------------------------------------------------


def test_truncation_at_every_byte_is_refused(opened):
    whole = encode({"a": TENSORS["matrix"], "b": TENSORS["scalar"]}, {"k": "v"})
    for size in range(len(whole)):
        hint = refusal(opened, whole[:size]).hint
        assert "looks like" not in hint
    assert tuple(opened(whole)) == ("a", "b")


@pytest.mark.parametrize("length", [0x3C, 0x280, 0x580, 0x3C0A])
def test_a_damaged_file_is_not_taken_for_another_kind(opened, length):
    """Header lengths whose bytes spell `<`, or the start of a pickle."""
    text = json.dumps({"a": entry("U8", (1,), (0, 1))}).ljust(length)
    whole = file_of(text, b"x")
    assert tuple(opened(whole)) == ("a",)
    assert refusal(opened, whole[:-1]).hint == "the file is damaged or incomplete"
    assert refusal(opened, whole[:8]).hint == "the file is damaged or incomplete"


def read_all(file):
    """Reads what can be read; sizes must be those the header gives."""
    for info in file.values():
        try:
            found = info.read()
        except ContentError:
            continue
        assert found.shape == info.shape
        assert info.rows([0] if info.shape and info.shape[0] else []).dtype == np.float32


def test_flipped_header_bytes_give_our_error_or_a_valid_reading(opened):
    whole = encode({"a": TENSORS["matrix"], "b": TENSORS["scalar"], "c": TENSORS["no rows"]}, {})
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    rng = random.Random(20)
    outcomes = {"read": 0, "refused": 0}
    flips = [(at, 1 << bit) for at in range(header) for bit in range(8)]
    flips += [(rng.randrange(header), rng.randrange(1, 256)) for _ in range(500)]
    for at, change in flips:
        damaged = bytearray(whole)
        damaged[at] ^= change
        try:
            file = opened(bytes(damaged))
        except ContentError as error:
            assert "model.safetensors" in error.message
            outcomes["refused"] += 1
        else:
            read_all(file)
            outcomes["read"] += 1
    assert outcomes["read"] > 10
    assert outcomes["refused"] > 500


def test_random_json_values_in_every_place_give_our_error_or_a_valid_reading(opened):
    rng = random.Random(21)
    values = [0, 1, -1, 2**63, 2**64, 1.5, None, True, "", "F32", [], [0], {}, [[]], {"a": 1}]
    for _ in range(1500):
        made = {"a": entry(), "b": entry(shape=(), offsets=(8, 12))}
        name, key = rng.choice("ab"), rng.choice(["dtype", "shape", "data_offsets"])
        if rng.random() < 0.3:
            made[name][key] = rng.choice(values)
        elif key != "dtype" and made[name][key]:
            made[name][key][rng.randrange(len(made[name][key]))] = rng.choice(values)
        else:
            made[rng.choice(["a", "__metadata__", "c"])] = rng.choice(values)
        try:
            file = opened(file_of(made, bytes(12)))
        except ContentError as error:
            assert "model.safetensors" in error.message
        else:
            read_all(file)


# --- other kinds of file, other kinds of path ----------------------------------------------------


LFS = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (LFS, "Git LFS pointer"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "HTML page"),
        (b"\n  <html><head></head></html>", "HTML page"),
        (b"PK\x03\x04\x00\x00\x08\x08\x00\x00archive/data.pkl", "PyTorch pickle"),
        *[(pickle.dumps({"weight": [1.0] * 99}, p), "PyTorch pickle") for p in (0, 2, 3, 4, 5)],
        (b"cos\nsystem\n(S'true'\ntR.", "PyTorch pickle"),
        (b"\xef\xbb\xbf<html>", "HTML page"),
        (b"PK\x03\x04\x14" + bytes(25) + b"weight.npy", "NumPy arrays"),
        (b"\x1f\x8b\x08\x08" + bytes(range(1, 9)), "gzip"),
        (b"GGUF" + struct.pack("<IQQ", 3, 123, 7), "GGUF file"),
    ],
)
def test_another_kind_of_file_is_named_for_what_it_is(opened, data, kind):
    refused = refusal(opened, data)
    assert kind in refused.hint
    assert "not a safetensors file" in refused.message


def test_a_short_file_is_refused(opened):
    for size in range(8):
        assert "too short" in refusal(opened, b"{" * size).message
    assert "HTML page" in refusal(opened, b"<html>").hint


def test_paths_that_are_no_file_are_refused(tmp_path):
    folder, fifo, loop = tmp_path / "folder", tmp_path / "fifo", tmp_path / "loop"
    folder.mkdir()
    os.mkfifo(fifo)
    loop.symlink_to(loop)
    for path, reason in (
        (folder, "not a regular file"),
        (fifo, "not a regular file"),
        (tmp_path / "missing", "no file"),
        (tmp_path / "missing" / "deeper", "no file"),
        (loop, "cannot read"),
        (tmp_path / "a\0b", "cannot read"),
        (tmp_path / ("x" * 300), "cannot read"),
    ):
        with pytest.raises(ContentError) as refused:
            open_safetensors(path)
        assert reason in refused.value.message
        assert str(path) in refused.value.message
        assert "Errno" not in refused.value.message


def test_an_unreadable_file_is_refused(tmp_path, monkeypatch):
    def refuse(*_given):
        raise PermissionError(errno.EACCES, "Permission denied", "somewhere")

    path = tmp_path / "model.safetensors"
    path.write_bytes(encode({}, {}))
    monkeypatch.setattr(Path, "open", refuse)  # root may read whatever the mode says
    with pytest.raises(ContentError) as refused:
        open_safetensors(path)
    assert refused.value.message == f"cannot read {path}: permission denied"
