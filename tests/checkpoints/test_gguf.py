"""The GGUF reader: headers written by the gguf package and by hand, well formed and not."""

import os
import random
import struct
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf_bytes import (
    ARRAY,
    BOOL,
    HUGE,
    Q4_0,
    Q8_0,
    STRING,
    U8,
    U32,
    U64,
    aligned,
    array,
    entry,
    tensor,
    text,
    whole,
    word,
)  # fmt: skip
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.checkpoints import gguf as module
from attn_cli.checkpoints.dequantise import BY_NAME, dequantise
from attn_cli.checkpoints.gguf import Gguf
from attn_cli.checkpoints.mapped import forget
from attn_cli.errors import ContentError
from measure import counted

READ = sorted(set(BY_NAME) - {"I8", "I16", "I32", "I64", "F64", "Q1_0", "Q8_1", "Q8_K"})

PAIR = (tensor("a", (8,)), tensor("b", (4, 2), offset=32))
SMALL = whole(
    (
        word("general.architecture", "llama"),
        entry("llama.block_count", U32, struct.pack("<I", 30)),
        entry("tokens", ARRAY, array(STRING, 3, text("a") + text("bc") + text("é"))),
        entry("nested", ARRAY, array(ARRAY, 2, array(U8, 2, b"\1\2") + array(BOOL, 1, b"\1"))),
    ),
    (*PAIR, tensor("q", (32, 2), Q8_0, 64)),
    np.arange(16, dtype="<f4").tobytes() + (b"\0\x3c" + bytes(range(32))) * 2,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def opened(path: Path, data: bytes) -> Gguf:
    path.write_bytes(data)
    return Gguf(path)


def read_all(file: Gguf) -> None:
    dict(file.metadata)
    for name in file.tensors:
        file.tensors[name].read()


SCALARS = {
    "uint8": 255, "int8": -128, "uint16": 65_535, "int16": -32_768, "uint32": 2**32 - 1,
    "int32": -(2**31), "uint64": HUGE, "int64": -(2**63), "float32": 0.1, "float64": 0.1,
    "bool": True, "string": "Ġthe\n{{ template }}",
}  # fmt: skip
ARRAYS = {
    "words": ["a", "b c", "☃"],
    "numbers": [1, -2, 3],
    "floats": [0.5, float("inf")],
    "flags": [True, False],
    "nested": [[1, 2], [3]],
    "deepest": [[[["x"], ["y", "z"]]]],
}


@pytest.fixture
def written(path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """A file of the gguf package with every value type and every tensor type it can read."""
    writer = gguf.GGUFWriter(path, "llama")
    for kind, value in SCALARS.items():
        getattr(writer, f"add_{kind}")(f"a.{kind}", value)
    for key, value in ARRAYS.items():
        writer.add_array(key, value)
    generator, raws = np.random.default_rng(5), {}
    for dtype in READ:
        _, block, size = BY_NAME[dtype]
        raws[dtype] = generator.integers(0, 120, (6, 512 // block * size), dtype=np.uint8)
        writer.add_tensor(
            f"{dtype}.weight", raws[dtype], raw_dtype=gguf.GGMLQuantizationType[dtype]
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, raws


def test_metadata_of_the_package_comes_back(written: tuple[Path, dict[str, np.ndarray]]) -> None:
    metadata = dict(Gguf(written[0]).metadata)
    assert metadata.pop("general.architecture") == "llama"
    assert metadata.pop("a.float32") == float(np.float32(0.1))
    expected = {f"a.{kind}": value for kind, value in SCALARS.items() if kind != "float32"}
    assert metadata == expected | ARRAYS
    assert type(metadata["a.bool"]) is bool
    assert [type(flag) for flag in metadata["flags"]] == [bool, bool]


def test_tensors_of_the_package_come_back_whole_and_by_rows(
    written: tuple[Path, dict[str, np.ndarray]],
) -> None:
    path, raws = written
    file = Gguf(path)
    assert tuple(file.tensors) == tuple(f"{dtype}.weight" for dtype in READ)
    for dtype, raw in raws.items():
        name = f"{dtype}.weight"
        assert (file.tensors[name].dtype, file.tensors[name].shape) == (dtype, (6, 512))
        assert file.tensors[name].size == raw.size
        with np.errstate(all="ignore"):
            oracle = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[dtype])
        read, rows = file.tensors[name].read(), file.tensors[name].rows([4, 0, 4])
        assert read.dtype == rows.dtype == np.float32
        np.testing.assert_array_equal(read, oracle, strict=True)
        np.testing.assert_array_equal(rows, oracle[[4, 0, 4]], strict=True)
        assert not read.flags.writeable
        assert file.tensors[name].rows(()).shape == (0, 512)
        reader = file.tensors[name].reader([4, 0, 4])
        np.testing.assert_array_equal(reader(slice(1, 3), None), oracle[[0, 4]], strict=True)
        assert bool(file.tensors[name].scales) == (dtype in {"Q4_K", "Q5_K", "Q6_K", "IQ4_XS"})


def test_rows_dequantises_no_other_row(
    written: tuple[Path, dict[str, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def spy(dtype: str, raw: np.ndarray, out: np.ndarray | None) -> np.ndarray:
        sizes.append(raw.size)
        return dequantise(dtype, raw, out)

    monkeypatch.setattr(module, "dequantise", spy)
    Gguf(written[0]).tensors["Q4_K.weight"].rows([5, 1])
    assert sizes == [2 * 2 * 144]


def test_a_hand_made_file(path: Path) -> None:
    for version in (2, 3):
        file = opened(path, SMALL[:4] + bytes([version]) + SMALL[5:])
        assert file.metadata["tokens"] == ["a", "bc", "é"]
        assert file.metadata["nested"] == [[1, 2], [True]]
        assert file.tensors["a"].read().tolist() == list(range(8))
        assert file.tensors["b"].read().tolist() == [[8, 9, 10, 11], [12, 13, 14, 15]]
        assert file.tensors["b"].rows([1]).tolist() == [[12, 13, 14, 15]]
        assert file.tensors["a"].rows([7, 1]).tolist() == [7, 1]
        assert file.tensors["q"].rows([1]).tolist() == [list(range(32))]
        assert file.tensors["q"].read().shape == (2, 32)


def test_four_dimensions_and_none(path: Path) -> None:
    numbers = np.arange(121, dtype="<f4")
    tensors = (tensor("four", (2, 3, 4, 5)), tensor("none", (), offset=480))
    file = opened(path, whole((), tensors, numbers.tobytes()))
    np.testing.assert_array_equal(file.tensors["four"].read(), numbers[:120].reshape(5, 4, 3, 2))
    np.testing.assert_array_equal(file.tensors["four"].rows([3]), file.tensors["four"].read()[[3]])
    assert file.tensors["none"].read() == np.float32(120)


@pytest.mark.parametrize("alignment", [8, 64, 1 << 20])
def test_other_alignments(path: Path, alignment: int) -> None:
    head = (aligned(struct.pack("<I", alignment)),)
    data = struct.pack("<f", 2.5).ljust(alignment, b"\0") + struct.pack("<f", 1.5)
    tensors = (tensor("b", (1,)), tensor("a", (1,), offset=alignment))
    file = opened(path, whole(head, tensors, data, alignment=alignment))
    assert file.tensors["a"].read().tolist() == [1.5]


VALUES = st.recursive(
    st.lists(st.text(max_size=5), max_size=4) | st.lists(st.integers(0, HUGE), max_size=4),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


def packed(value: list) -> bytes:
    if value and isinstance(value[0], list):
        return array(ARRAY, len(value), b"".join(packed(item) for item in value))
    if value and isinstance(value[0], str):
        return array(STRING, len(value), b"".join(text(item) for item in value))
    return array(U64, len(value), struct.pack(f"<{len(value)}Q", *value))


def depth(value: object) -> int:
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@settings(max_examples=60)
@given(values=st.dictionaries(st.text(max_size=9), VALUES, max_size=4))
def test_arrays_of_any_shape_come_back(
    values: dict[str, list], tmp_path_factory: pytest.TempPathFactory
) -> None:
    kept = {key: value for key, value in values.items() if depth(value) <= 4}
    entries = tuple(entry(key, ARRAY, packed(value)) for key, value in kept.items())
    file = opened(tmp_path_factory.mktemp("any") / "f", whole(entries))
    assert dict(file.metadata) == kept


def test_opening_decodes_nothing_and_asking_decodes_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    value = module._Header.value

    def spy(self: module._Header, kind: int, begin: int, key: str) -> object:
        asked.append(key)
        return value(self, kind, begin, key)

    monkeypatch.setattr(module._Header, "value", spy)
    file = opened(path, SMALL)
    assert list(file.metadata)[2] == "tokens"
    assert len(file.metadata) == 4
    assert asked == []
    assert file.metadata["tokens"] is file.metadata["tokens"]
    assert asked == ["tokens"] * 4  # the array and its three strings


def test_opening_counts_a_large_vocabulary_and_keeps_none_of_it(path: Path) -> None:
    tokens = b"".join(text(f"token {n}") for n in range(100_000))
    path.write_bytes(whole((entry("tokens", ARRAY, array(STRING, 100_000, tokens)),)))
    with counted() as work:
        file = Gguf(path)
    assert work.lines < 400_000  # three for each string
    assert work.memory < 50_000
    assert file.metadata["tokens"][99_999] == "token 99999"


def test_the_smallest_entry_may_be_the_end_of_a_file(path: Path) -> None:
    file = opened(path, whole((entry("", U8, b"\7"),), alignment=1))
    assert dict(file.metadata) == {"": 7}
    words = array(STRING, 2, text("x") + text(""))
    file = opened(path, whole((entry("a", ARRAY, words),), alignment=1))
    assert file.metadata["a"] == ["x", ""]
    longest = "k" * 65_535
    assert dict(opened(path, whole((entry(longest, U8, b"\7"),))).metadata) == {longest: 7}


def test_a_message_does_not_grow_with_a_name(path: Path) -> None:
    with pytest.raises(ContentError, match="two entries") as caught:
        opened(path, whole((entry("k" * 60_000, U8, b"\7"),) * 2))
    assert len(caught.value.message) < 400 + len(str(path))


def test_an_array_may_hold_131_072_arrays_and_not_one_more(path: Path) -> None:
    def nested(count: int) -> bytes:
        return whole((entry("a", ARRAY, array(ARRAY, count, array(U8, 0) * count)),))

    assert len(opened(path, nested(1 << 17)).metadata["a"]) == 1 << 17
    with pytest.raises(ContentError, match="claims 131,073 arrays within a"):
        opened(path, nested((1 << 17) + 1))


def test_fields_have_the_type_that_is_asked_for(path: Path) -> None:
    file = opened(path, SMALL)
    assert file.field("llama.block_count", int) == 30
    assert file.field("general.architecture", str) == "llama"
    with pytest.raises(ContentError, match="lacks the key absent"):
        file.field("absent", int)
    with pytest.raises(ContentError, match=r"not str for the key llama\.block_count"):
        file.field("llama.block_count", str)


DEEP = array(ARRAY, 1, array(ARRAY, 1, array(ARRAY, 1, array(ARRAY, 1, array(U8, 1, b"\0")))))
MALFORMED = {
    "magic": (b"GGUX" + SMALL[4:], "does not begin with GGUF"),
    "too short": (SMALL[:23], "too short"),
    "empty": (b"", "too short"),
    "version 0": (whole(version=0), "its version is 0"),
    "version 1": (whole(version=1), "its version is 1"),
    "version 4": (whole(version=4), "its version is 4"),
    "big endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big endian"),
    "tensor count": (b"GGUF" + struct.pack("<IQQ", 3, HUGE, 0) + bytes(20), "claims .* tensors"),
    "entry count": (b"GGUF" + struct.pack("<IQQ", 3, 0, HUGE) + bytes(20), "claims .* entries"),
    "more tensors than bytes": (
        b"GGUF" + struct.pack("<IQQ", 3, 2, 0) + tensor("", (), 99), "claims 2 tensors"
    ),
    "many entries": (
        b"GGUF" + struct.pack("<IQQ", 3, 0, 131_073) + bytes(131_073 * 13), "claims 131,073 meta"
    ),
    "key length": (whole((struct.pack("<Q", HUGE) + bytes(20),)), "a metadata key claims"),
    "key past the end": (whole((struct.pack("<Q", 99) + bytes(20),)), "past the end"),
    "key not UTF-8": (whole((word(b"\xff", "x"),)), "a metadata key is not UTF-8"),
    "two keys": (whole((word("a", "x"), word("a", "y"))), "two entries have the key a"),
    "string length": (whole((entry("a", STRING, struct.pack("<Q", HUGE)),)), "a runs past"),
    "value type": (whole((entry("a", 13, bytes(8)),)), "unknown value type 13 in a"),
    "array type": (whole((entry("a", ARRAY, array(13, 0)),)), "unknown value type 13 in a"),
    "array length": (whole((entry("a", ARRAY, array(U64, HUGE)),)), "a runs past"),
    "array of strings": (whole((entry("a", ARRAY, array(STRING, HUGE)),)), "a runs past"),
    "array of arrays": (whole((entry("a", ARRAY, array(ARRAY, HUGE)),)), "a runs past"),
    "string in an array": (
        whole((entry("a", ARRAY, array(STRING, 2, struct.pack("<QQ", HUGE, 0))),)), "a runs past"
    ),
    "last string in an array": (
        whole((entry("a", ARRAY, array(STRING, 1, struct.pack("<Q", 99))),)), "a runs past"
    ),
    "string after the last byte": (
        whole((entry("a", ARRAY, array(STRING, 2, text("8 bytes."))),), alignment=1), "a runs past"
    ),
    "nesting": (whole((entry("a", ARRAY, DEEP),)), "nested deeper than 4 in a"),
    "alignment 0": (whole((aligned(bytes(4)),)), "its alignment"),
    "alignment 48": (whole((aligned(struct.pack("<I", 48)),)), "its alignment"),
    "alignment 4": (whole((aligned(struct.pack("<I", 4)),)), "its alignment"),
    "alignment 2^21": (whole((aligned(struct.pack("<I", 1 << 21)),)), "its alignment"),
    "alignment 2^31": (whole((aligned(struct.pack("<I", 1 << 31)),)), "its alignment"),
    "alignment of 8 bytes": (whole((aligned(struct.pack("<Q", 32), U64),)), "its alignment"),
    "alignment as text": (whole((word("general.alignment", "32"),)), "its alignment"),
    "alignment as array": (whole((aligned(array(U8, 1, b"\40"), ARRAY),)), "its alignment"),
    "name length": (whole((), (struct.pack("<Q", HUGE) + bytes(40),)), "a tensor name claims"),
    "name not UTF-8": (whole((), (tensor(b"\xff", (1,)),)), "a tensor name is not UTF-8"),
    "two tensors": (whole((), (PAIR[0], tensor("a", (1,), offset=32)), bytes(64)), "the name a"),
    "dimensions": (whole((), (tensor("a", (1,) * 5),), bytes(32)), "5 dimensions"),
    "dimension count": (whole((), (text("a") + b"\xff" * 40,)), "4294967295 dimensions"),
    "product wraps": (whole((), (tensor("a", (2**32, 2**32)),), bytes(32)), "tensor a runs past"),
    "product wraps to 32": (
        whole((), (tensor("a", (2**63 + 4, 2)),), bytes(32)), "tensor a runs past"
    ),
    "empty dimension": (whole((), (tensor("a", (0, 2**63)),)), "empty dimension in tensor a"),
    "tensor type": (whole((), (tensor("a", (32,), 4),), bytes(64)), "unknown type 4 in tensor a"),
    "blocks": (whole((), (tensor("a", (16, 2), Q4_0),), bytes(64)), "whole blocks of 32"),
    "no row of a block": (whole((), (tensor("a", (), Q4_0),), bytes(64)), "whole blocks of 32"),
    "misaligned": (whole((), (tensor("a", (1,), offset=4),), bytes(64)), "misaligned offset 4"),
    "overlap": (
        whole((), (tensor("a", (9,)), tensor("b", (1,), offset=32)), bytes(64)), "tensor b overlaps"
    ),
    "hole": (
        whole((), (tensor("a", (1,)), tensor("b", (1,), offset=64)), bytes(96)),
        "a hole before tensor b",
    ),
    "same place": (whole((), (PAIR[0], tensor("b", (8,))), bytes(64)), "tensor b overlaps"),
    "offset": (whole((), (tensor("a", (1,), offset=HUGE - 31),), bytes(64)), "tensor a runs past"),
    "too few bytes": (whole((), PAIR, bytes(63)), "tensor b runs past"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "reason"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_headers_are_refused(path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(ContentError, match=reason) as caught:
        opened(path, data)
    assert str(path) in caught.value.message


def test_malformed_values_are_refused_when_asked_for(path: Path) -> None:
    entries = (
        word("text", b"\xff"),
        entry("words", ARRAY, array(STRING, 1, text(b"\xc3"))),
        entry("flag", BOOL, b"\2"),
        entry("flags", ARRAY, array(BOOL, 3, b"\0\1\7")),
    )
    file = opened(path, whole(entries))
    for key in file.metadata:
        with pytest.raises(ContentError, match=f"{key} is not UTF-8|neither 0 nor 1 in {key}"):
            file.metadata[key]


def test_a_tensor_of_whole_numbers_is_named_when_read(path: Path) -> None:
    file = opened(path, whole((), (tensor("ids", (8,), 26),), bytes(32)))
    with pytest.raises(ContentError, match=r"model\.gguf: tensor ids: type I32 is not a float"):
        file.tensors["ids"].read()


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "Git LFS pointer"),
        (b"\n<!DOCTYPE html><html><head><title>404</title>", "HTML page"),
        (struct.pack("<Q", 60) + b'{"a":{"dtype":"F32"}}', "a safetensors file"),
        (b"PK\x03\x04" + bytes(40), "PyTorch pickle"),
        *((magic + bytes(40), "the format before GGUF") for magic in (b"lmgg", b"fmgg", b"tjgg")),
        (bytes(40), "attn reads GGUF"),
    ],
)
def test_other_files_are_named(path: Path, data: bytes, hint: str) -> None:
    with pytest.raises(ContentError, match="does not begin with GGUF") as caught:
        opened(path, data)
    assert hint in caught.value.hint


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name, reason in (("", "not a regular file"), ("fifo", "not a regular"), ("no", "no file")):
        with pytest.raises(ContentError, match=reason):
            Gguf(tmp_path / name)


def test_truncation_at_every_byte_is_refused(path: Path) -> None:
    for length in range(len(SMALL)):
        with pytest.raises(ContentError):
            opened(path, SMALL[:length])
    read_all(opened(path, SMALL))


def test_changed_bytes_give_a_refusal_or_a_reading(path: Path) -> None:
    chance, refused = random.Random(7), 0
    for at in range(len(SMALL)):
        for change in (1 << chance.randrange(8), chance.randrange(1, 256), 0xFF):
            data = bytearray(SMALL)
            data[at] ^= change
            with counted() as work:
                try:
                    read_all(opened(path, bytes(data)))
                except ContentError as error:
                    refused += 1
                    assert str(path) in error.message
            assert work.lines < 5000
    assert refused > len(SMALL)


def test_an_absurd_claim_costs_neither_work_nor_memory(path: Path) -> None:
    tails = [
        b"GGUF" + struct.pack("<IQQ", 3, HUGE, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, HUGE),
        *(whole((entry("a", ARRAY, array(kind, HUGE)),), alignment=1) for kind in range(13)),
        *(
            whole((entry("a", ARRAY, array(ARRAY, 1, array(k, HUGE))),), alignment=1)
            for k in (0, 8)
        ),
    ]
    for data in tails:
        path.write_bytes(data.ljust(44, b"\0"))
        with counted() as work, pytest.raises(ContentError):
            Gguf(path)
        assert work.lines < 1000
        assert work.memory < 100_000


def test_a_header_that_never_ends_is_cut_off(path: Path) -> None:
    """A sparse file of a terabyte whose array claims a hundred thousand million empty strings."""
    path.write_bytes(whole((entry("a", ARRAY, array(STRING, 10**11)),)))
    os.truncate(path, 10**12)
    with pytest.raises(ContentError, match="the 100 MB a header may have"):
        Gguf(path)


def test_released_pages_are_read_again(path: Path) -> None:
    file = opened(path, SMALL)
    view = file.tensors["a"].read()
    for name in file.tensors:
        file.tensors[name].release()
    assert view.tolist() == list(range(8))
    assert file.tensors["q"].read()[1].tolist() == list(range(32))


def test_forgetting_names_whole_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    class Map:
        calls: list[tuple[int, ...]] = []  # noqa: RUF012

        def madvise(self, *call: int) -> None:
            self.calls.append(call)

    class System:
        PAGESIZE, MADV_DONTNEED = 4096, 4

    monkeypatch.setattr(sys.modules[forget.__module__], "mmap", System)
    forget(Map(), 5000, 20_000)
    forget(Map(), 8192, 8192)
    assert Map.calls == [(4, 4096, 15_904)]
