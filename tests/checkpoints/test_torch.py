"""pytorch_model.bin: files that torch saved, files made by hand in its forms, and hostile ones."""

import io
import json
import os
import pickle
import random
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from torch_files import Code, as_row, as_zip, zipped

from attn_cli import session
from attn_cli.checkpoints import tensor
from attn_cli.checkpoints import torch as module
from attn_cli.checkpoints.folder import open_folder
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.checkpoints.torch import open_torch
from attn_cli.errors import ContentError

FORMS = ("zip", "row", "protocol4", "row-protocol4", "module", "plain-dict")
NOT_FLOATS = {"I64", "BOOL"}


@pytest.fixture(scope="module")
def saved():
    return Path(__file__).parents[1] / "golden" / "torch"


@pytest.fixture(scope="module")
def expected(saved):
    with np.load(saved / "expected.npz") as archive:
        return dict(archive)


# --- files that torch saved ----------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_every_tensor_has_the_numbers_that_were_saved(saved, expected, form):
    file = open_torch(saved / f"{form}.bin")
    wanted = {k.partition("/")[2]: v for k, v in expected.items() if k.startswith(f"{form}/")}
    assert set(file) == set(wanted)
    for name, array in wanted.items():
        assert file[name].shape == array.shape
        if file[name].dtype in NOT_FLOATS:
            with pytest.raises(ContentError, match="which is not a float"):
                file[name].read()
            continue
        found = file[name].read()
        np.testing.assert_array_equal(found, array, strict=True)
        assert not found.flags.writeable
        if array.ndim:
            picked = [len(array) - 1, 0] if len(array) else []
            np.testing.assert_array_equal(file[name].rows(picked), array[picked], strict=True)
            some = range(len(array) // 2, len(array))
            np.testing.assert_array_equal(file[name].rows(some), array[some], strict=True)
        file[name].release()
        np.testing.assert_array_equal(file[name].read(), array)


def test_float32_of_a_zip_is_a_view_of_the_file(saved):
    file = open_torch(saved / "zip.bin")
    assert not file["matrix"].read().flags.owndata
    assert file["matrix"].read().tobytes() in (saved / "zip.bin").read_bytes()
    assert np.shares_memory(file["embed.weight"].read(), file["lm_head.weight"].read())


# --- the same model in other forms ---------------------------------------------------------------


FORM = {
    "zip": as_zip,
    "deflated": lambda arrays: as_zip(arrays, compression=zipfile.ZIP_DEFLATED, order=None),
    "row": as_row,
}


def arrays_of(folder, dtype=np.float32):
    stored = open_safetensors(folder / "model.safetensors")
    return {name: np.array(stored[name].read()).astype(dtype) for name in stored}


def traced(folder):
    return session.trace(ids=[3, 1, 4, 1, 5, 9, 2], model=str(folder))


def assert_same_bits(one, two):
    assert np.array_equal(one.logits, two.logits)
    for block, same in zip(one.attention, two.attention, strict=True):
        assert all(np.array_equal(block.arrays[n], same.arrays[n]) for n in block.arrays)


@pytest.mark.parametrize("form", FORM)
@pytest.mark.parametrize("name", ["llama-plain", "neox-parallel", "gpt2-a"])
def test_a_model_of_one_file_is_the_same_model(golden_copy, name, form):
    folder = golden_copy(name)
    before, arrays = traced(folder), arrays_of(folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(FORM[form](arrays))
    assert_same_bits(before, traced(folder))


@pytest.mark.parametrize("form", FORM)
def test_a_model_of_several_files_is_the_same_model(golden_copy, form):
    folder = golden_copy("llama-plain")
    before, arrays = traced(folder), arrays_of(folder)
    (folder / "model.safetensors").unlink()
    names, where = list(arrays), {}
    for part, chosen in enumerate((names[::2], names[1::2])):
        file = f"pytorch_model-0000{part + 1}-of-00002.bin"
        (folder / file).write_bytes(FORM[form]({name: arrays[name] for name in chosen}))
        where |= dict.fromkeys(chosen, file)
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    assert_same_bits(before, traced(folder))
    index.write_text(json.dumps({"weight_map": where | {names[0]: file}}))
    with pytest.raises(ContentError, match="disagree"):
        session.load(str(folder))
    (folder / file).unlink()
    with pytest.raises(ContentError, match=r"pytorch_model-00002-of-00002\.bin .*is missing"):
        session.load(str(folder))


@pytest.mark.parametrize(("kind", "dtype", "width"), [
    ("FloatStorage", "F32", 4), ("HalfStorage", "F16", 2), ("BFloat16Storage", "BF16", 2),
    ("DoubleStorage", "F64", 8), ("LongStorage", "I64", 8), ("IntStorage", "I32", 4),
    ("ShortStorage", "I16", 2), ("CharStorage", "I8", 1), ("ByteStorage", "U8", 1),
    ("BoolStorage", "BOOL", 1),
])  # fmt: skip
def test_every_kind_of_storage_has_its_type_and_width(tmp_path, kind, dtype, width):
    (tmp_path / "m.bin").write_bytes(zipped(one(kind=kind), {"0": bytes(6 * width)}))
    found = open_torch(tmp_path / "m.bin")["a"]
    assert (found.dtype, found.shape, found.size) == (dtype, (2, 3), 6 * width)


def test_half_precision_is_widened(golden_copy):
    folder = golden_copy("llama-plain")
    arrays = arrays_of(folder, np.float16)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(as_zip(arrays))
    file = open_folder(folder).tensors
    for name, array in arrays.items():
        np.testing.assert_array_equal(file[name].read(), array.astype(np.float32), strict=True)


def test_safetensors_beside_it_is_read_instead(golden_copy):
    folder = golden_copy("llama-plain")
    (folder / "pytorch_model.bin").write_bytes(b"never opened")
    assert set(open_folder(folder).tensors) == set(open_safetensors(folder / "model.safetensors"))


# --- hostile files -------------------------------------------------------------------------------


@pytest.fixture
def refused(tmp_path):
    """Opens bytes that must be refused; returns the error."""

    def opened(data, match):
        path = tmp_path / "pytorch_model.bin"
        path.write_bytes(data)
        with pytest.raises(ContentError, match=match) as found:
            open_torch(path)
        assert str(path) in found.value.message
        return found.value

    return opened


class Evil:
    """Would make a folder where it was loaded."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("form", ["zip", "bare"])
def test_a_pickle_that_makes_a_folder_is_refused_by_name_and_nothing_runs(
    refused, tmp_path, protocol, form
):
    marker = tmp_path / "ran"
    data = pickle.dumps({"a": Evil(marker)}, protocol)
    if (form, protocol) == ("bare", 1):  # it begins with an empty dict
        refused(data, "does not begin like")
    else:
        error = refused(zipped(data, {}) if form == "zip" else data, "asks for posix.mkdir")
        assert "nothing was run" in error.message
    assert not marker.exists()
    pickle.loads(data)  # the file is what it seems
    assert marker.exists()


@pytest.mark.parametrize(("module", "name"), [
    ("os", "system"), ("posix", "system"), ("builtins", "eval"), ("__builtin__", "eval"),
    ("subprocess", "Popen"), ("torch", "load"), ("torch.hub", "load"), ("numpy", "load"),
    ("torch._utils", "_rebuild_tensor_v2.__globals__"), ("collections", "OrderedDict.__init__"),
    ("attn_cli.files", "write_bytes"), ("torch", "FloatStorage.__class__"), ("", ""),
    ("torch.jit._pickle", "build_intlist"), ("torch.nn.modules.linear", "Linear"),
])  # fmt: skip
@pytest.mark.parametrize("opcode", ["GLOBAL", "STACK_GLOBAL", "INST"])
def test_whatever_else_is_asked_for_is_refused_by_its_name(refused, module, name, opcode):
    if opcode == "GLOBAL":
        code = Code().name(module, name).text("echo").raw(b"\x85R").done()
    elif opcode == "STACK_GLOBAL":
        code = Code().text(module).text(name).raw(b"\x93)R").done()
    else:
        code = Code().raw(b"(i" + f"{module}\n{name}\n".encode()).done()
    for data in (zipped(code, {}), code):
        assert f"asks for {module}.{name}," in refused(data, "which no tensor needs").message


def test_a_name_with_control_characters_is_refused(refused):
    refused(zipped(Code().name("o\x1b[31ms", "sy\x00stem").done(), {}), "asks for")


WEIGHT = {"a": np.arange(6, dtype=np.float32).reshape(2, 3)}
BYTES = WEIGHT["a"].tobytes()


def one(**changes):
    given = {"key": "0", "kind": "FloatStorage", "count": 6, "shape": [2, 3], **changes}
    return Code().raw(b"}").text("a").tensor(**given).raw(b"s").done()


@pytest.mark.parametrize(("changes", "match"), [
    ({"shape": [2, 4]}, "does not fit"),
    ({"offset": 1}, "does not fit"),
    ({"strides": [3, 2]}, "does not fit"),
    ({"strides": [0, 0], "shape": [1 << 20, 1 << 20]}, "repeats numbers"),
    ({"strides": [0, 1], "shape": [3, 3]}, "repeats numbers"),
    ({"shape": [-1, 3]}, "no whole numbers"),
    ({"offset": -1}, "no whole numbers"),
    ({"strides": [3, -1]}, "no whole numbers"),
    ({"shape": [1 << 70, 3]}, "no whole numbers"),
    ({"strides": [1]}, "impossible shape"),
    ({"shape": [1] * 65, "strides": [1] * 65}, "impossible shape"),
    ({"shape": [0, 1 << 62, 1 << 62], "strides": [1, 1, 1]}, "impossible shape"),
    ({"count": 5, "shape": [5]}, "of another size"),
    ({"count": 1 << 61, "shape": [6]}, "of another size"),
    ({"count": -6}, "impossible type or size"),
    ({"kind": "DoubleStorage"}, "of another size"),
    ({"key": "7"}, "not there"),
    ({"key": "../0"}, "not there"),
    ({"extra": b")"}, "no storage"),
])  # fmt: skip
def test_numbers_that_do_not_fit_are_refused(refused, changes, match):
    refused(zipped(one(**changes), {"0": BYTES}), match)


@pytest.mark.parametrize(("code", "match"), [
    (Code().raw(b"}").text("a").raw(b"}s"), "a is a table"),
    (Code().raw(b"}").text("step").number(3).raw(b"s"), "step is a value of type int"),
    (Code().raw(b"}").text("a" * (1 << 20)).raw(b"Ns"), "is a value of type NoneType"),
    (Code().raw(b"]"), "no table of tensors"),
    (Code().number(3), "no table of tensors"),
    (Code().raw(b"})\x85\x85Ns"), "no name"),
    (Code().raw(b")") .raw(b"\x85" * 200_000).raw(b"}2"), "opcode"),
    (Code().raw(b"}").raw(b")" + b"\x85" * 300_000 + b"Ns"), "no name"),
    (Code().raw(b"]").text("a").raw(b"Ns"), "no dict"),
    (Code().raw(b"\x96" + struct.pack("<Q", 1 << 40)), "BYTEARRAY8"),
    (Code().raw(b"\x8e" + struct.pack("<Q", 1 << 40)), "BINBYTES8"),
    (Code().raw(b"\x8d" + struct.pack("<Q", 1 << 40)), "BINUNICODE8"),
    (Code().raw(b"\x8b" + struct.pack("<i", 1 << 30)), "LONG4"),
    (Code().raw(b"X" + struct.pack("<I", 1 << 31)), "too early"),
    (Code().raw(b"\x95" + struct.pack("<Q", 1 << 62)), "too early"),
    (Code().raw(b"X" + struct.pack("<I", 1_100_000) + b"a" * 1_100_000), "1,100,000 bytes"),
    (Code().raw(b"\x82\x01"), "EXT1"),
    (Code().name("collections", "OrderedDict").raw(b")\x81"), "NEWOBJ"),
    (Code().name("torch", "FloatStorage").raw(b")R"), "no function"),
    (Code().raw(b"})R"), "no function"),
    (Code().name("torch._utils", "_rebuild_tensor_v2").raw(b")R"), "without a storage"),
    (Code().name("torch._utils", "_rebuild_parameter").raw(b")R"), "no tensor"),
    (Code().raw(b"}").text("x").raw(b"Q"), "no storage"),
    (Code().raw(b"j\xff\xff\xff\xff"), "no pickle"),
    (Code().raw(b"0"), "POP"),
    (Code().raw(b"(" * 100_000), "no"),
    (Code(), "no pickle"),
])  # fmt: skip
def test_pickles_of_anything_else_are_refused_at_once(refused, code, match):
    tracemalloc.start()
    refused(zipped(code.done(), {}), match)
    assert tracemalloc.get_traced_memory()[1] < 100_000_000
    tracemalloc.stop()


def test_a_memo_index_takes_no_memory(tmp_path):
    code = Code().raw(b"}r\xff\xff\xff\xff").done()
    (tmp_path / "m.bin").write_bytes(zipped(code, {}))
    tracemalloc.start()
    assert open_torch(tmp_path / "m.bin") == {}
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_state_is_dropped_whatever_it_is(tmp_path):
    """BUILD would set attributes: of a class, of a dict, of a stand-in."""
    state = Code().raw(b"}").text("items").number(1).raw(b"s").out[2:]
    for target in (Code().raw(b"}"), Code().name("collections", "OrderedDict").raw(b")R")):
        (tmp_path / "m.bin").write_bytes(zipped(target.raw(bytes(state) + b"b").done(), {}))
        assert open_torch(tmp_path / "m.bin") == {}


def duplicated():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("m/data.pkl", one())
        archive.writestr("m/data/0", BYTES)
        archive.filelist.append(archive.filelist[-1])
    return out.getvalue()


def bomb():
    """Made when it is asked for: it takes a while to pack."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/data.pkl", b"\0" * 200_000_000)
    return out.getvalue()


@pytest.mark.parametrize(("data", "match"), [
    (zipped(one(), {"0": BYTES[:-4]}), "of another size"),
    (zipped(one(), {"0": BYTES}, order=b"big"), "big endian"),
    (duplicated(), "two members"),
    (bomb, "bytes"),
    (zipped(b"", {}), "too early"),
    (b"PK\x03\x04" + b"\0" * 60, "directory is damaged"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "does not begin like"),
    (b"<!DOCTYPE html><html></html>" + b" " * 30, "does not begin like"),
    (as_row(WEIGHT, little=b"\x89"), "big endian"),
    (as_zip(WEIGHT).replace(b"PK\x03\x04", b"PK\x03\x05").replace(b"PK\x03\x05", b"PK\x03\x04", 1),
     "runs past the end"),
    (as_row(WEIGHT)[:-1], "is cut off|runs past"),
    (as_row(WEIGHT) + b"x", "behind its last"),
    (b"\0" * 257 + b"ustar" + b"\0" * 300, "before PyTorch 0.4"),
    (b"x", "too short"),
])  # fmt: skip
def test_damaged_containers_are_refused(refused, data, match):
    data = data() if callable(data) else data
    error = refused(data, match)
    for word, what in ((b"git-lfs", "LFS"), (b"html", "HTML")):
        assert what in error.hint if word in data else True


def test_a_wrong_checksum_of_a_packed_member_is_refused(tmp_path):
    data = bytearray(as_zip(WEIGHT, compression=zipfile.ZIP_DEFLATED))
    at = data.index(b"model/data/0") + len("model/data/0") + 3
    data[at] ^= 0xFF
    (tmp_path / "m.bin").write_bytes(data)
    with pytest.raises(ContentError, match="damaged"):
        open_torch(tmp_path / "m.bin")["a"].read()


@pytest.mark.parametrize("form", ["zip", "row", "protocol4", "row-protocol4"])
def test_truncated_anywhere_gives_our_error(saved, tmp_path, form):
    data = (saved / f"{form}.bin").read_bytes()
    path = tmp_path / "cut.bin"
    for length in range(0, len(data) - 1, 3):
        path.unlink(missing_ok=True)  # the old one is still mapped
        path.write_bytes(data[:length])
        with pytest.raises(ContentError):
            open_torch(path)


@pytest.mark.parametrize("form", ["zip", "row", "protocol4"])
def test_flipped_bytes_give_our_error_or_a_valid_reading(saved, tmp_path, form):
    data, rng = (saved / f"{form}.bin").read_bytes(), random.Random(5)
    path = tmp_path / "flipped.bin"
    for _ in range(1500):
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 8))):
            changed[rng.randrange(len(data))] = rng.randrange(256)
        path.unlink(missing_ok=True)
        path.write_bytes(changed)
        try:
            file = open_torch(path)
            for name in file:
                if file[name].dtype not in {"I64", "BOOL", "U8", "I8", "I16", "I32"}:
                    assert file[name].read().shape == file[name].shape
        except ContentError:
            pass


# --- much out of little, and what would change numbers -------------------------------------------


def test_a_dict_cannot_be_had_a_thousand_times_over(refused):
    pairs = Code().raw(
        b"](" + b"".join(bytes([0x5D, 0x28]) + b"K\x01K\x02e" for _ in range(9)) + b"e"
    )
    pairs.raw(b"\x85q\x02").name("collections", "OrderedDict").raw(b"q\x00")
    refused(zipped(pairs.raw(b"h\x00h\x02R" * 1000).done(), {}), "made of something")


def test_millions_of_objects_are_too_many(refused):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/data.pkl", b"\x80\x02" + b"}" * 3_000_000 + b".")
    refused(out.getvalue(), "bytes")
    refused(Code().raw(b"}" * 3_000_000).done(), "more than 2,000,000 bytes")


@pytest.mark.parametrize("left", [b"}", b"(", b"}}"])
def test_values_that_belong_to_nothing_are_refused(refused, left):
    refused(zipped(Code().raw(left + b"}").done(), {}), "belong to nothing")


def test_a_packed_storage_is_no_larger_than_its_tensors(refused):
    code = one(count=1_000_000, shape=[6])
    data = zipped(code, {"0": bytes(4_000_000)}, compression=zipfile.ZIP_DEFLATED)
    refused(data, "larger than its tensors")


def test_a_packed_storage_may_be_as_large_as_its_tensors_together(tmp_path):
    code = Code().raw(b"}(")
    for offset, name in ((0, "a"), (2, "b")):
        code.text(name).tensor("0", "FloatStorage", 6, (4 if offset else 2,), offset=offset)
    data = zipped(code.raw(b"u").done(), {"0": BYTES}, compression=zipfile.ZIP_DEFLATED)
    (tmp_path / "m.bin").write_bytes(data)
    found = open_torch(tmp_path / "m.bin")
    read = np.concatenate([found[name].read() for name in "ab"])
    np.testing.assert_array_equal(read, np.frombuffer(BYTES, np.float32))


def test_a_tensor_to_be_negated_is_refused(refused):
    """torch.load would give −1 where the storage has 1."""
    assert one().endswith(b"tRs.")
    head = one()[: -len(b"tRs.")]
    neg = Code().raw(b"}").text("neg").raw(b"\x88s").out[2:]
    refused(zipped(head + bytes(neg) + b"tRs.", {"0": BYTES}), "negated")


def test_a_state_of_a_tensor_is_refused(refused):
    code = Code().raw(b"}").text("a").tensor("0", "FloatStorage", 6, [2, 3]).raw(b"}bs").done()
    refused(zipped(code, {"0": BYTES}), "no table")


@pytest.mark.parametrize("name", [
    "torch._utils._rebuild_qtensor", "torch._utils._rebuild_tensor_v3", "torch.float16",
    "torch._utils._rebuild_sparse_tensor", "torch.Size", "torch.ComplexFloatStorage",
])  # fmt: skip
def test_other_kinds_of_tensors_are_named_and_no_attack(refused, name):
    module, _, last = name.rpartition(".")
    error = refused(zipped(Code().name(module, last).done(), {}), "kind of tensor that attn does")
    assert name in error.message


def test_a_safetensors_file_of_another_name_is_named(refused, golden_path):
    data = (golden_path / "llama-plain" / "model.safetensors").read_bytes()
    assert "a safetensors file" in refused(data, "not a PyTorch file").hint


def test_rows_of_a_turned_matrix_copy_no_more_than_they_need_and_are_not_forgotten(
    tmp_path, monkeypatch
):
    calls = []
    monkeypatch.setattr(tensor, "forget", lambda *call: calls.append(call))
    array = np.random.default_rng(0).standard_normal((64, 20_000)).astype(np.float32)
    code = (
        Code()
        .raw(b"}")
        .text("a")
        .tensor("0", "FloatStorage", array.size, [20_000, 64], strides=[1, 20_000])
    )
    (tmp_path / "m.bin").write_bytes(zipped(code.raw(b"s").done(), {"0": array.tobytes()}))
    file = open_torch(tmp_path / "m.bin")
    tracemalloc.start()
    rows = file["a"].rows(range(100, 200))
    assert tracemalloc.get_traced_memory()[1] < 500_000
    tracemalloc.stop()
    np.testing.assert_array_equal(rows, array.T[100:200])
    file["a"].forget(100, 200)  # the memory under them is that of others, too
    assert calls == []
    np.testing.assert_array_equal(file["a"].read(), array.T)


def test_keys_of_one_hash_are_refused_at_once(refused):
    """Python hashes a whole number by its remainder modulo 2⁶¹ − 1."""
    code = Code().raw(b"}(")
    for n in range(1, 100_000):
        key = (n * (2**61 - 1)).to_bytes(10, "little")
        code.raw(b"\x8a\x0a" + key + b"N")
    refused(zipped(code.raw(b"u").done(), {}), "a key that is no name")


def test_the_stride_of_an_axis_of_one_means_nothing(tmp_path):
    data = zipped(one(shape=[1, 3, 2], strides=[1 << 62, 1, 3]), {"0": BYTES})
    (tmp_path / "m.bin").write_bytes(data)
    np.testing.assert_array_equal(
        open_torch(tmp_path / "m.bin")["a"].read(), WEIGHT["a"].T[np.newaxis]
    )


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_of_an_empty_tensor_neither_offset_nor_strides_mean_anything(tmp_path, compression):
    code = one(count=0, shape=[0, 3], strides=[1 << 62, 1 << 62], offset=1 << 62)
    (tmp_path / "m.bin").write_bytes(zipped(code, {"0": b""}, compression))
    found = open_torch(tmp_path / "m.bin")["a"]
    assert found.size == 0
    assert found.read().shape == found.rows([]).shape == (0, 3)


def test_an_encrypted_member_is_refused(refused):
    data = bytearray(zipped(one(), {"0": BYTES}))
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    refused(bytes(data), "encrypted")


def claiming(data, size):
    """The same zip, whose directory says that its last member has `size` bytes."""
    changed = bytearray(data)
    struct.pack_into("<I", changed, data.rindex(b"PK\x01\x02") + 24, size)
    return bytes(changed)


def test_a_member_that_is_shorter_than_its_directory_says_is_refused(refused, tmp_path):
    longer = claiming(zipped(one(count=6000), {"0": BYTES}), 24_000)
    refused(longer, "member that runs past the end")
    five = zipped(one(), {"0": BYTES[:-4]}, compression=zipfile.ZIP_DEFLATED)
    (tmp_path / "m.bin").write_bytes(claiming(five, 24))
    with pytest.raises(ContentError, match="the member model/data/0 is damaged"):
        open_torch(tmp_path / "m.bin")["a"].read()


def test_a_header_of_another_length_is_refused(saved, refused):
    data = (saved / "zip.bin").read_bytes()
    with zipfile.ZipFile(saved / "zip.bin") as archive:
        found = [i for i in archive.infolist() if "/data/" in i.filename and i.file_size]
    assert len(found) == 12
    for info in found:
        for place in (info.header_offset + 26, info.header_offset + 28):  # of the name, the extra
            for length in range(0, 80, 4):
                if length != int.from_bytes(data[place : place + 2], "little"):
                    changed = bytearray(data)
                    struct.pack_into("<H", changed, place, length)
                    refused(bytes(changed), "member")


def test_one_packed_storage_is_kept_unpacked_and_none_is_released(tmp_path, monkeypatch):
    unpacked, original = [], module._unpack
    monkeypatch.setattr(module, "_unpack", lambda *a: unpacked.append(a[1]) or original(*a))
    arrays = {name: np.full((3, 99_999), n, np.float32) for n, name in enumerate("ab")}
    (tmp_path / "m.bin").write_bytes(as_zip(arrays, compression=zipfile.ZIP_DEFLATED))
    file, unpacked[:] = open_torch(tmp_path / "m.bin"), []
    for name in "aabba":
        assert file[name].rows([2])[0, 0] == arrays[name][0, 0]
        file[name].release()  # the map holds nothing of it
    assert unpacked == ["model/data/0", "model/data/1", "model/data/0"]


def test_a_directory_takes_no_more_memory_than_a_table_may(tmp_path):
    path, size = tmp_path / "m.bin", 200_000_000
    data = zipped(one(), {"0": BYTES})
    with path.open("wb") as file:
        file.write(data[:-22])
        file.truncate(size)  # a hole, no blocks
        file.seek(0, os.SEEK_END)
        file.write(data[-22:-10] + struct.pack("<IIH", size - 64, 64, 0))
    tracemalloc.start()
    with pytest.raises(ContentError, match="directory is damaged"):
        open_torch(path)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
