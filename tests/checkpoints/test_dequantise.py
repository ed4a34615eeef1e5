"""Dequantising, with the gguf package as the oracle: every type, bit for bit."""

import sys
from concurrent.futures import ThreadPoolExecutor

import gguf
import numpy as np
import pytest

from attn_cli.checkpoints import dequantise as module
from attn_cli.checkpoints.dequantise import BY_NAME, FILE_TYPES, TYPES, dequantise, scales_of
from attn_cli.errors import ContentError

Kind = gguf.GGMLQuantizationType
WHOLE = {"I8", "I16", "I32", "I64"}
UNREAD = {"Q1_0", "Q8_1", "Q8_K"}
READ = sorted(set(BY_NAME) - WHOLE - UNREAD)
QUANTISED = ["BF16", "MXFP4", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0"]


def package(dtype: str, raw: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        if dtype == "F64":
            return raw.view(np.float64).astype(np.float32)
        return gguf.quants.dequantize(raw, Kind[dtype])


def assert_same_bits(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Equal to the last bit; where both are NaN its payload is free."""
    assert ours.dtype == theirs.dtype == np.float32
    assert ours.shape == theirs.shape
    same = ours.view(np.uint32) == theirs.view(np.uint32)
    assert (same | (np.isnan(ours) & np.isnan(theirs))).all()


def random_rows(dtype: str, rows: int, columns: int) -> np.ndarray:
    _, block, size = BY_NAME[dtype]
    generator = np.random.default_rng(size)
    return generator.integers(0, 256, (rows, columns // block * size), dtype=np.uint8)


def test_the_table_agrees_with_the_package() -> None:
    sizes = {kind.name: gguf.GGML_QUANT_SIZES[kind] for kind in Kind}
    assert sizes.pop("Q8_1") == (32, 40)  # ggml's block has been 36 since its scales are float16
    assert BY_NAME["Q8_1"][1:] == (32, 36)
    assert {name: BY_NAME[name][1:] for name in sizes} == sizes
    assert {number: kind.name for number, kind in TYPES.items()} == {k.value: k.name for k in Kind}


def test_mixtures_are_named_as_in_the_package() -> None:
    for number, name in FILE_TYPES.items():
        theirs = gguf.LlamaFileType(number).name
        assert theirs.partition("_")[2].removesuffix("_MOE") == name


@pytest.mark.parametrize("dtype", READ)
@pytest.mark.parametrize("chunk", [256, 1 << 11, 1 << 17])
def test_random_bytes_are_read_as_the_package_reads_them(
    dtype: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("_CHUNK", "_OF_PACKAGE"):
        monkeypatch.setattr(module, limit, chunk)
    monkeypatch.setattr(module, "_SCALED", chunk * 3 // 8)
    raw = random_rows(dtype, 19, 768)
    ours = dequantise(dtype, raw.reshape(-1)).reshape(19, 768)
    assert_same_bits(ours, package(dtype, raw).reshape(19, 768))


@pytest.mark.parametrize("dtype", READ)
def test_scales_that_were_found_before_change_no_bit(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 1 << 11)
    raw, find = random_rows(dtype, 19, 768), scales_of(dtype)
    assert bool(find) == (dtype in {"Q4_K", "Q5_K", "Q6_K", "IQ4_XS"})
    scales = find(raw) if find else ()
    assert all(len(one) == len(raw) for one in scales)

    def read(some: slice, factor: int = 1) -> np.ndarray:
        of_some = tuple(factor * one[some] for one in scales)
        return dequantise(dtype, raw[some].reshape(-1), None, of_some).reshape(-1, 768)

    whole = dequantise(dtype, raw.reshape(-1)).reshape(19, 768)
    for some in (slice(0, 19), slice(3, 11), slice(5, 5)):
        assert_same_bits(read(some), whole[some])
    assert_same_bits(read(slice(0, 19), 2), 2 * whole if scales else whole)
    assert find is None or all(one.shape[0] == 0 for one in find(raw[:0]))


@pytest.mark.parametrize("dtype", QUANTISED)
def test_what_was_quantised_comes_back_near_to_itself(dtype: str) -> None:
    values = np.random.default_rng(3).standard_normal((7, 512)).astype(np.float32)
    raw = gguf.quants.quantize(values, Kind[dtype]).view(np.uint8)
    ours = dequantise(dtype, raw.reshape(-1)).reshape(7, 512)
    assert_same_bits(ours, package(dtype, raw).reshape(7, 512))
    worst = 2.0 if dtype[0] in "MT" else 0.6
    assert np.abs(ours - values).max() < worst


@pytest.mark.parametrize("dtype", sorted(module._OURS))
def test_extreme_scales_and_no_blocks_at_all(dtype: str) -> None:
    """A scale of eight bits is never NaN, but it may be too large for its number."""
    raw = np.full((3, BY_NAME[dtype].size), 0xFF, np.uint8)
    found = dequantise(dtype, raw.reshape(-1))
    assert (np.isneginf(found) if dtype == "MXFP4" else np.isnan(found)).all()
    assert dequantise(dtype, np.zeros(0, np.uint8)).shape == (0,)


def test_plain_floats_by_hand() -> None:
    def raw(text: str) -> np.ndarray:
        return np.frombuffer(bytes.fromhex(text), np.uint8)

    assert dequantise("F32", raw("0000c03f")).tolist() == [1.5]
    assert dequantise("F16", raw("003e007c")).tolist() == [1.5, np.inf]
    assert dequantise("BF16", raw("c03f80ff")).tolist() == [1.5, -np.inf]
    assert dequantise("F64", raw("000000000000f83fffffffffffffef7f")).tolist() == [1.5, np.inf]


def test_one_block_of_q4_0_by_hand() -> None:
    """Scale 0.5; byte i holds number i in its low half and number 16 + i in its high half."""
    raw = np.array([0x00, 0x38, *[0x80 + i for i in range(16)]], np.uint8)
    assert dequantise("Q4_0", raw).tolist() == [(i - 8) / 2 for i in range(16)] + [0.0] * 16


def test_float32_is_a_view() -> None:
    raw = np.arange(8, dtype=np.float32).view(np.uint8)
    assert np.shares_memory(dequantise("F32", raw), raw)


@pytest.mark.parametrize("dtype", sorted(WHOLE))
def test_whole_numbers_are_refused(dtype: str) -> None:
    with pytest.raises(ContentError, match=f"type {dtype} is not a float"):
        dequantise(dtype, np.zeros(16, np.uint8))


@pytest.mark.parametrize("dtype", sorted(UNREAD))
def test_types_the_package_cannot_read_are_refused(dtype: str) -> None:
    with pytest.raises(ContentError, match=f"cannot read type {dtype}"):
        dequantise(dtype, np.zeros(BY_NAME[dtype].size, np.uint8))


def test_the_package_is_needed_for_rare_types_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    for dtype in [*module._OURS, *module.FLOATS]:
        dequantise(dtype, np.zeros(BY_NAME[dtype].size, np.uint8))
    with pytest.raises(ContentError, match="type IQ2_S needs the package gguf") as caught:
        dequantise("IQ2_S", np.zeros(BY_NAME["IQ2_S"].size, np.uint8))
    assert caught.value.hint == 'pip install "attn-cli[models]"'


def test_an_older_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf, "GGMLQuantizationType", {})
    with pytest.raises(ContentError, match="installed here cannot read type NVFP4"):
        dequantise("NVFP4", np.zeros(36, np.uint8))


def test_threads_do_not_disturb_each_other() -> None:
    inputs = [(dtype, random_rows(dtype, 64, 512).reshape(-1)) for dtype in READ] * 3
    alone = [dequantise(*one) for one in inputs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda one: dequantise(*one), inputs))
    for one, other in zip(alone, together, strict=True):
        assert_same_bits(one, other)
