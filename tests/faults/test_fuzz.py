"""Readers fuzzed: valid files in which values, counts, keys, instructions are put out of place.

The budget is fixed and the cases are the same on every run. Longer, with new cases each time:
`ATTN_FAULTS=all python -m pytest -m faults tests/faults/test_fuzz.py` (see CONTRIBUTING).
"""

import json
import os
import pickle
import struct
import warnings
import zipfile
from contextlib import suppress
from copy import deepcopy
from io import BytesIO

import numpy as np
import pytest
from faults.damaged import KINDS, Refused, gguf_bytes, gguf_model, torch_file, verified
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attn_cli.errors import AttnError

LONG = os.environ.get("ATTN_FAULTS") == "all"
BUDGET = settings(
    max_examples=int(os.environ.get("ATTN_EXAMPLES", "20000")) if LONG else 150,
    derandomize=not LONG, deadline=None, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
JSON = [
    name for name, kind in KINDS.items()
    if name.startswith("show") or name in (
        "config", "index", "adapter config", "manifest", "settings", "word pieces", "tokenizer",
        "tokenizer_config", "special_tokens_map", "vocab.json", "answers",
    )
]  # fmt: skip
ODD = st.sampled_from([
    None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e-320, 1e308, 1e400, float("nan"), 2**31, 2**32,
    2**63, 2**64, -(2**63), 10**400, "", "x", "NaN", "\0", "\ud800", "é" * 70, "0", [], {}, [[]],
    [None], [0, 0], [-1], [1e400], {"": 0}, [[[[[[[[]]]]]]]], "a" * 5000, [1] * 300, {"content": 5},
])  # fmt: skip


def paths(value, at=()):
    """Where the values of a document are."""
    yield at
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in [*inner][:60]:
            yield from paths(one, (*at, key))


def changed(draw, document):
    """A document in which some values are others, missing, twice, or in each other's place."""
    for _ in range(draw(st.integers(1, 3))):
        places = [*paths(document)]
        at = draw(st.sampled_from(places))
        if not at:
            continue
        holder = document
        for key in at[:-1]:
            holder = holder[key]
        how, key = draw(st.sampled_from("odd odd odd drop twice other grow rename".split())), at[-1]
        if how == "odd":
            holder[key] = deepcopy(draw(ODD))
        elif how == "drop":
            del holder[key]
        elif how == "other":
            other = document
            for step in draw(st.sampled_from(places)):
                other = other[step]
            holder[key] = deepcopy(other)
        elif how == "grow" and type(holder[key]) in (int, float):
            with suppress(OverflowError):  # half of a whole number that no float is
                holder[key] *= draw(st.sampled_from([-1, 2, 0, 1000, 10**30, 0.5]))
        elif how == "rename" and isinstance(holder, dict):
            holder[draw(st.sampled_from(["", "x", "__proto__", *map(str, holder)]))] = holder[key]
        elif how == "twice" and isinstance(holder, list):
            holder.insert(key, holder[key])
    return document


def read(kind, place):
    """Reads what stands there; only an error of ours may escape, and no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            kind(place)
        except (AttnError, Refused) as problem:
            said = getattr(problem, "message", str(problem))
            assert 0 < len(said) < 1500, said


@pytest.fixture
def own_stores(monkeypatch):
    for name in ("OLLAMA_MODELS", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, "none")


@pytest.mark.faults
@pytest.mark.parametrize("name", JSON)
def test_json_of_other_values_is_no_fault(tmp_path, own_stores, name):
    kind = KINDS[name]
    path = kind.make(tmp_path)
    whole = path.read_text()

    @BUDGET
    @given(st.data())
    def fuzz(data):
        document = changed(data.draw, json.loads(whole))
        path.write_text(json.dumps(document, ensure_ascii=data.draw(st.booleans())),
                        errors="surrogatepass")  # fmt: skip
        read(kind.read, tmp_path)

    fuzz()


NUMBERS = st.sampled_from([
    0, 1, 2, 3, 4, 7, 8, 9, 12, 13, 31, 32, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32,
    2**40, 2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 32, 2**64 - 1,
])  # fmt: skip


def with_numbers(draw, data, header):
    """Bytes with some of their 4- or 8-byte numbers replaced, and parts cut out or doubled."""
    data = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(header - 8, 0)))
        how = draw(st.sampled_from("88844421xd"))
        if how in "8421":
            number = draw(NUMBERS) % 256 ** int(how)
            data[at : at + int(how)] = number.to_bytes(int(how), "little")
        elif how == "x":
            del data[at : at + draw(st.integers(1, 40))]
        else:
            data[at:at] = data[at : at + draw(st.integers(1, 40))]
    return bytes(data)


@pytest.mark.faults
@pytest.mark.parametrize(
    "name", ["gguf F32", "gguf Q4_0", "safetensors", "zip.bin", "row.bin", "spm bpe", "npz",
             "spm unigram", "state", "nf4"],
)  # fmt: skip
def test_other_counts_and_lengths_are_no_fault(tmp_path, own_stores, name):
    kind = KINDS[name]
    path = kind.make(tmp_path)
    whole = path.read_bytes()
    header = max(kind.header(whole)) + 1

    @BUDGET
    @given(st.data())
    def fuzz(data):
        path.unlink(missing_ok=True)
        path.write_bytes(with_numbers(data.draw, whole, header))
        read(kind.read, tmp_path)

    fuzz()


def entry(key, kind, value):
    raw = key.encode()
    return struct.pack("<Q", len(raw)) + raw + struct.pack("<I", kind) + value


VALUES = st.one_of(
    st.tuples(st.sampled_from([0, 1, 7]), st.binary(min_size=1, max_size=1)),
    st.tuples(st.sampled_from([4, 5, 6]), st.binary(min_size=4, max_size=4)),
    st.tuples(st.sampled_from([10, 11, 12]), st.binary(min_size=8, max_size=8)),
    st.tuples(st.just(6), st.sampled_from([0.0, -1.0, np.nan, np.inf]).map(
        lambda number: struct.pack("<f", number))),
    st.tuples(st.just(4), NUMBERS.map(lambda number: struct.pack("<I", number % 2**32))),
    st.tuples(st.just(8), st.binary(max_size=9).map(lambda b: struct.pack("<Q", len(b)) + b)),
    st.tuples(st.just(9), st.lists(st.integers(0, 2**32 - 1), max_size=4).map(
        lambda ns: struct.pack(f"<IQ{len(ns)}I", 4, len(ns), *ns))),
    st.tuples(st.just(9), st.integers(0, 13).map(lambda kind: struct.pack("<IQ", kind, 0))),
    st.tuples(st.just(9), NUMBERS.map(lambda count: struct.pack("<IQ", 8, count))),
)  # fmt: skip


@pytest.mark.faults
def test_other_values_of_gguf_keys_are_no_fault(tmp_path, own_stores):
    """Each key of the file, and some that it has not, with values of every type."""
    whole = gguf_bytes(tmp_path)
    path = tmp_path / "made.gguf"
    spans, at = {}, 24
    import gguf

    fields = [f for f in gguf.GGUFReader(path).fields.values() if f.offset >= at]
    for field in fields:
        spans[field.name] = whole[field.offset : field.offset + sum(p.nbytes for p in field.parts)]
        end = field.offset + sum(part.nbytes for part in field.parts)
    more = [
        "general.alignment", "general.type", "gpt2.attention.head_count_kv", "gpt2.expert_count",
        "gpt2.rope.freq_base", "tokenizer.ggml.bos_token_id", "tokenizer.ggml.scores",
        "tokenizer.ggml.add_bos_token", "split.no", "split.count", "split.tensors.count",
        "gpt2.attention.key_length", "gpt2.vocab_size", "tokenizer.ggml.unknown_token_id",
    ]  # fmt: skip

    @BUDGET
    @given(st.dictionaries(st.sampled_from([*spans, *more]), VALUES, min_size=1, max_size=3))
    def fuzz(others):
        found = {**spans, **{key: entry(key, *value) for key, value in others.items()}}
        head = whole[:16] + struct.pack("<Q", len(found))
        data = head + b"".join(found.values()) + whole[end:]
        # The tensors' bytes stay aligned as they were.
        shift = (len(data) - len(whole)) % 32
        tail = whole.index(b"blk.0.ffn_down.bias") + 43
        cut = len(data) - (len(whole) - tail)
        path.unlink(missing_ok=True)
        path.write_bytes(data[:cut] + bytes(-(cut) % 32) + whole[tail + (-tail % 32) :])
        assert shift < 32
        read(gguf_model, tmp_path)

    fuzz()


@pytest.mark.faults
@pytest.mark.parametrize("name", ["zip.bin", "module.bin"])
def test_pickles_of_other_instructions_are_no_fault(tmp_path, name):
    kind = KINDS[name]
    path = kind.make(tmp_path)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    table = next(key for key in members if key.endswith("data.pkl"))
    codes = [getattr(pickle, name) for name in pickle.__all__ if name.isupper()]
    codes = [code for code in codes if isinstance(code, bytes)]

    @BUDGET
    @given(st.data())
    def fuzz(data):
        raw = bytearray(members[table])
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(raw)))
            code = data.draw(st.sampled_from(codes)) + data.draw(st.binary(max_size=5))
            raw[at : at + data.draw(st.integers(0, 6))] = code
        out = BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for key, one in members.items():
                archive.writestr(key, bytes(raw) if key == table else one)
        path.unlink(missing_ok=True)
        path.write_bytes(out.getvalue())
        read(lambda place: torch_file(name, place), tmp_path)

    fuzz()


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number % 128 | 128)
        number >>= 7
    return bytes([*out, number])


def fields(data):
    """[number, type, value] of each field of a message in protobuf's wire format."""
    found, at = [], 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte, at = data[at], at + 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = number()
        kind = key % 8
        size = number() if kind == 2 else {1: 8, 5: 4}.get(kind, 0)
        found.append([key >> 3, kind, data[at : at + size] if kind else number()])
        at += size
    return found


def message(found):
    """The bytes of such fields."""
    out = bytearray()
    for number, kind, value in found:
        out += varint(number << 3 | kind)
        out += varint(value) if kind == 0 else varint(len(value)) * (kind == 2) + value
    return bytes(out)


WIRE = {
    0: st.one_of(st.integers(0, 9), NUMBERS),
    1: st.binary(min_size=8, max_size=8),
    2: st.one_of(st.binary(max_size=9), st.sampled_from([
        b"", b" ", b"\0", b"\xff", b"<0x41>", b"<0xZZ>", b"<unk>", b"<s>", b"dogs", b"x" * 3000,
        b"\xe2\x96\x81" * 3, b"\xed\xa0\x80", b"\x04\0\0\0", b"\xff" * 70,
    ])),
    5: st.one_of(st.binary(min_size=4, max_size=4), st.sampled_from(
        [struct.pack("<f", n) for n in (0, -0.0, 1e38, -1e38, 1e-45, np.inf, -np.inf, np.nan)])),
}  # fmt: skip


def other_fields(draw, found):
    """Fields of which some have other values, numbers or types, are missing, twice or moved."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(found) - 1)))
        if not found:
            break
        how = draw(st.sampled_from("value value value number type drop twice move".split()))
        number, kind, _ = found[at]
        if how == "value":
            found[at] = [number, kind, draw(WIRE[kind])]
        elif how == "number":
            found[at][0] = draw(st.sampled_from([1, 2, 3, 4, 5, 10, 35, 36, 40, 41, 45, 46, 2**29]))
        elif how == "type":
            kind = draw(st.sampled_from([*WIRE]))
            found[at] = [number, kind, draw(WIRE[kind])]
        elif how == "drop" and len(found) > 1:
            del found[at]
        elif how == "twice":
            found[at:at] = [list(found[at])] * draw(st.sampled_from([1, 1, 2, 300]))
        elif how == "move":
            found.insert(draw(st.integers(0, len(found) - 1)), found.pop(at))
    return found


@pytest.mark.faults
@pytest.mark.parametrize("name", ["spm bpe", "spm unigram"])
def test_sentencepiece_models_of_other_fields_are_no_fault(tmp_path, name):
    """Pieces, scores, kinds and settings, and the messages that hold them."""
    kind = KINDS[name]
    path = kind.make(tmp_path)
    whole = path.read_bytes()
    assert message(fields(whole)) == whole

    @BUDGET
    @given(st.data())
    def fuzz(data):
        found = fields(whole)
        within = data.draw(st.integers(0, len(found) - 1))
        if data.draw(st.booleans()):
            found = other_fields(data.draw, found)
        elif data.draw(st.booleans()):  # one of the few that hold settings
            within = data.draw(st.sampled_from([i for i, f in enumerate(found) if f[0] > 1]))
        if within < len(found) and found[within][1] == 2:
            with suppress(IndexError, KeyError):  # no message any more
                found[within][2] = message(other_fields(data.draw, fields(found[within][2])))
        path.write_bytes(message(found))
        read(kind.read, tmp_path)

    fuzz()


def test_a_setting_of_another_type_is_passed_over(tmp_path):
    """As by the package: a number in place of a map of characters is not so many bytes of it."""
    kind = KINDS["spm bpe"]
    path = kind.make(tmp_path)
    whole = kind.read(tmp_path)
    path.write_bytes(path.read_bytes() + message([[3, 2, message([[2, 0, 2**40]])]]))
    assert kind.read(tmp_path) == whole


TYPES = ["<f4", ">f8", "<f2", "<i8", "?", "O", "<c8", "M8[s]", "m8", "<U3", "S2", "V4",
         "<i4,<f4", ("<f4", (2,)), "<u1", "<f16"]  # fmt: skip


@pytest.mark.faults
def test_archives_of_other_arrays_are_no_fault(tmp_path):
    names = ["tokens", "target_tokens", "source", "attn.document", "blocks.0.hook_resid_pre",
             "blocks.0.attn.hook_z", "blocks.0.attn.heads", "blocks.0.attn.queries",
             "blocks.9.attn.hook_q", "blocks.0.attn.visible", "x", "../x", ""]  # fmt: skip
    shapes = st.sampled_from([(), (0,), (1,), (3,), (3, 2), (2, 3), (3, 1, 2), (1, 3, 3), (9,) * 4])

    @BUDGET
    @given(
        st.dictionaries(
            st.sampled_from(names),
            st.tuples(
                st.sampled_from(TYPES), shapes, st.sampled_from([0, 1, 2, -1]), st.booleans()
            ),
            max_size=4,
        )
    )
    def fuzz(arrays):
        made = {}
        for name, (kind, shape, number, by_columns) in arrays.items():
            array = np.zeros(shape, kind, order="F" if by_columns else "C")
            made[name] = (
                array + array.dtype.type(number % 256) if array.dtype.kind in "fiu" else array
            )
        (tmp_path / "there.npz").unlink(missing_ok=True)
        with (tmp_path / "there.npz").open("wb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            np.savez(file, **made)
        read(verified, tmp_path)

    fuzz()


ODD_VALUES = {
    "config": ("num_attention_heads", [0, -1, 1e400, "2", True, 2**64, float("nan"), [2], {}]),
    "manifest": ("layers", [None, [1], [{}], "x", [{"mediaType": 1}]]),
    "index": ("weight_map", [None, {}, {"a": 1}, {"a": "../b"}, [], {"a": ""}, {"a": "/etc/x"}]),
    "adapter config": ("r", [0, -1, "2", 1.5, [1], 2**40]),
    "answers": ("1", ["x", True, [], 1e400, {}]),
}


@pytest.mark.parametrize("name", ODD_VALUES)
def test_odd_values_are_refused(tmp_path, own_stores, name):
    """The quickest of the above, on every run of the tests."""
    kind, (key, odd) = KINDS[name], ODD_VALUES[name]
    path = kind.make(tmp_path)
    whole = json.loads(path.read_text())
    for one in odd:
        path.write_text(json.dumps({**whole, key: one}))
        with pytest.raises((AttnError, Refused)):
            kind.read(tmp_path)
