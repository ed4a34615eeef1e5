"""Checkpoints in safetensors files: every number of a header is checked before it is used."""

import struct

from faults.harness import row, suite
from faults.makers import (
    cut,
    file,
    filled,
    flipped,
    folder,
    header,
    link,
    llama,
    safe,
    sparse,
    tensors,
    tiny,
)

OPEN = "trace -m m --ids 5,6"
FILE = "m/model.safetensors"
ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def first(**changes):
    """The first tensor of the header, described otherwise."""

    def change(found):
        name = next(name for name in found if name != "__metadata__")
        found[name] = {k: v for k, v in {**found[name], **changes}.items() if v != "gone"}

    return header(change)


def bad(name, *makers, says=("model.safetensors",), code=1, **more):
    return row(name, OPEN, code, *says, make=(tiny(), *makers), **more)


def whole(name, data, *says, **more):
    """A file of these bytes."""
    return bad(name, file(FILE, data), says=("model.safetensors", *says), **more)


HEADERS = {
    "empty": (b"", ()),
    "seven-bytes": (b"\2\0\0\0\0\0\0", ()),
    "length-alone": (b"\2\0\0\0\0\0\0\0", ()),
    "length-zero": (safe(b""), ()),
    "length-one": (safe(b"{", length=1), ()),
    "length-2^63": (safe(b"{}", length=2**63), ()),
    "length-2^64-1": (safe(b"{}", length=2**64 - 1), ()),
    "length-one-beyond": (safe(b"{}", length=3), ()),
    "length-101-MB": (safe(b"{}", length=101_000_000), ()),
    "not-utf8": (safe(b'{"\xff": 1}'), ()),
    "not-json": (safe(b"{]"), ()),
    "a-list": (safe(b"[]"), ()),
    "a-number": (safe(b"17"), ()),
    "null": (safe(b"null"), ()),
    "two-values": (safe(b"{}{}"), ()),
    "nan": (safe(b'{"a": NaN}'), ()),
    "deep-lists": (safe(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), ()),
    "deep-objects": (safe(b'{"a":' * 50_000 + b"1" + b"}" * 50_000), ()),
    "lists-of-nothing": (safe(b'{"a": [' + b"[]," * 2_000_000 + b"[]]}"), ()),
    "duplicate-name": (
        safe(
            b'{"a": {"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
            b'"a": {"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
            bytes(8),
        ),
        (),
    ),
    "metadata-number": (safe({"__metadata__": {"a": 1}, "a": ONE}, bytes(8)), ()),
    "metadata-list": (safe({"__metadata__": [], "a": ONE}, bytes(8)), ()),
    "metadata-text": (safe({"__metadata__": "x", "a": ONE}, bytes(8)), ()),
    "tensor-null": (safe({"a": None}), ()),
    "tensor-list": (safe({"a": []}), ()),
    "overlap": (safe({"a": ONE, "b": {**ONE, "data_offsets": [4, 12]}}, bytes(12)), ()),
    "hole": (safe({"a": ONE, "b": {**ONE, "data_offsets": [12, 20]}}, bytes(20)), ()),
    "hole-at-start": (safe({"a": {**ONE, "data_offsets": [4, 12]}}, bytes(12)), ()),
    "trailing-bytes": (safe({"a": ONE}, bytes(9)), ()),
    "long-name": (safe({"a" * 300_000: {**ONE, "dtype": "F99"}}, bytes(8)), ()),
    "control-name": (safe({"\x1b[31m\u202e": {**ONE, "dtype": "F99"}}, bytes(8)), ("\\x1b",)),
    "long-dtype": (safe({"a": {**ONE, "dtype": "F" * 300_000}}, bytes(8)), ()),
    "git-lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
        ("LFS",),
    ),
    "html": (b"<!DOCTYPE html><html><body>404</body></html>", ("HTML",)),
    "html-lower": (b"<html><head></head></html>", ("HTML",)),
    "pickle": (b"\x80\x02}q\x00.", ()),
    "zip": (b"PK\x03\x04" + bytes(60), ()),
    "gguf": (b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + bytes(40), ("GGUF",)),
    "json": (b'{"error": "not found"}', ()),
    "text": (b"Entry not found\n", ()),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(60), ()),
    "xz": (b"\xfd7zXZ\0" + bytes(60), ()),
}
FIRST = {
    "dtype-unknown": {"dtype": "F99"},
    "dtype-number": {"dtype": 5},
    "dtype-null": {"dtype": None},
    "dtype-missing": {"dtype": "gone"},
    "dtype-smaller": {"dtype": "F16"},
    "dtype-larger": {"dtype": "F64"},
    "shape-missing": {"shape": "gone"},
    "shape-text": {"shape": "2"},
    "shape-negative": {"shape": [-1, -32]},
    "shape-float": {"shape": [1.5]},
    "shape-null": {"shape": None},
    "shape-bool": {"shape": [True]},
    "shape-nested": {"shape": [[2]]},
    "shape-2^63": {"shape": [2**62, 4]},
    "shape-2^64": {"shape": [2**32, 2**32]},
    "shape-5000-digits": {"shape": [10**4000]},
    "shape-million-ones": {"shape": [1] * 1_000_000},
    "shape-zero": {"shape": [0, 5]},
    "offsets-missing": {"data_offsets": "gone"},
    "offsets-negative": {"data_offsets": [-8, 0]},
    "offsets-reversed": {"data_offsets": [8, 0]},
    "offsets-float": {"data_offsets": [0.0, 8.0]},
    "offsets-text": {"data_offsets": ["0", "8"]},
    "offsets-one": {"data_offsets": [0]},
    "offsets-three": {"data_offsets": [0, 8, 8]},
    "offsets-null": {"data_offsets": None},
    "offsets-beyond": {"data_offsets": [0, 2**40]},
    "offsets-2^63": {"data_offsets": [2**63, 2**64]},
    "offsets-object": {"data_offsets": {"a": 1}},
    "key-unknown": {"extra": 1, "dtype": "F99"},
}
ROWS = (
    *(
        whole(name, data, *says, quick=name in ("length-2^63", "html"))
        for name, (data, says) in HEADERS.items()
    ),
    *(bad(name, first(**changes)) for name, changes in FIRST.items()),
    *(bad(f"cut-{size}", cut(FILE, size)) for size in (1, 8, 9, 100, 1000, 20_000, -1, -1000)),
    *(bad(f"flip-{at}", flipped(FILE, at)) for at in (0, 1, 2, 3, 7, 8)),
    bad("folder", lambda here: (here / FILE).unlink(), folder(FILE)),
    bad("loop", link(FILE, "model.safetensors")),
    bad("sparse-1-TB", sparse(FILE, 1 << 40)),
    bad("sparse-behind-header", sparse(FILE, 1 << 40, safe({"a": ONE}))),
    row("models-shows-it-too", "models m", 1, "model.safetensors", make=(tiny(), cut(FILE, 9))),
    row(
        "compare-says-it-too",
        "compare the -m tiny -m m",
        1,
        "model.safetensors",
        make=(tiny(), cut(FILE, 9)),
    ),
    row("cost-says-it-too", "cost -m m", 1, "model.safetensors", make=(tiny(), cut(FILE, 9))),
    row(
        "tensor-missing",
        OPEN,
        1,
        "more",
        make=(llama(), tensors(lambda t: {"model.norm.weight": t["model.norm.weight"]})),
    ),
    row("no-tensors", OPEN, 1, "27 more", make=(tiny(), file(FILE, safe(b"{}")))),
    row(
        "tensor-renamed",
        OPEN,
        1,
        "norm",
        make=(
            llama(),
            tensors(lambda t: {k.replace("norm.weight", "norm.gain"): v for k, v in t.items()}),
        ),
    ),
    row(
        "tensor-of-another-shape",
        OPEN,
        1,
        "embed_tokens",
        make=(
            llama(),
            tensors(
                lambda t: {
                    k: (d, a[:, :-1] if "embed_tokens" in k else a) for k, (d, a) in t.items()
                }
            ),
        ),
    ),
    row(
        "nan-is-noted",
        OPEN + " --json",
        0,
        "NaN",
        make=(llama(), filled("embed_tokens", float("nan"), 400)),
    ),
    row(
        "infinite-is-noted",
        OPEN + " --json",
        0,
        "infinite",
        make=(llama(), filled("lm_head", float("inf"), 3)),
    ),
)
test_runs = suite(ROWS)
