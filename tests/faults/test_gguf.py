"""Checkpoints in GGUF files: counts, lengths and types are checked against the bytes there are."""

import struct

from faults.harness import row, suite
from faults.makers import cut, file, flipped, gguf, gpt2, sparse
from gguf_bytes import (
    ARRAY,
    BOOL,
    F32,
    HUGE,
    Q4_0,
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
)

OPEN = "trace -m m.gguf --ids 5,6"
HEAD = b"GGUF" + struct.pack("<I", 3)


def bad(name, data, *says, **more):
    return row(name, OPEN, 1, "m.gguf", *says, make=gguf(data), **more)


def u32(key, value):
    return entry(key, U32, struct.pack("<I", value))


def keys(name, **entries):
    """A whole model, but for some keys."""
    return gpt2({key.replace("__", "."): value for key, value in entries.items()})


def described(name, dims=(4, 11), kind=F32, offset=0):
    return gpt2(more={name: tensor(name, dims, kind, offset)})


COUNT, LAYERS = "gpt2.attention.head_count", "gpt2.block_count"
FILES = {
    "empty": b"",
    "magic-alone": b"GGUF",
    "magic-reversed": b"FUGG" + bytes(60),
    "ggml": b"lmgg" + bytes(60),
    "version-0": whole(version=0),
    "version-1": whole(version=1),
    "version-4": whole(version=4),
    "version-2^32-1": whole(version=2**32 - 1),
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + bytes(32),
    "tensors-2^64-1": HEAD + struct.pack("<QQ", HUGE, 0) + bytes(20),
    "keys-2^64-1": HEAD + struct.pack("<QQ", 0, HUGE) + bytes(20),
    "tensors-2^32": HEAD + struct.pack("<QQ", 2**32, 0) + bytes(20),
    "key-length-2^64-1": HEAD + struct.pack("<QQQ", 0, 1, HUGE) + bytes(12),
    "string-length-2^64-1": whole((entry("a", STRING, struct.pack("<Q", HUGE)),)),
    "array-length-2^64-1": whole((entry("a", ARRAY, array(U8, HUGE)),)),
    "array-of-strings-2^60": whole((entry("a", ARRAY, array(STRING, 2**60)),)),
    "array-of-arrays-2^60": whole((entry("a", ARRAY, array(ARRAY, 2**60)),)),
    "array-of-empty-arrays": whole((entry("a", ARRAY, array(ARRAY, 10**6, array(U8, 0) * 10**6)),)),
    "nested-5": whole(
        (
            entry(
                "a",
                ARRAY,
                array(
                    ARRAY,
                    1,
                    array(
                        ARRAY,
                        1,
                        array(ARRAY, 1, array(ARRAY, 1, array(ARRAY, 1, array(U8, 1, b"\1")))),
                    ),
                ),
            ),
        )
    ),
    "nested-10000": whole((entry("a", ARRAY, array(ARRAY, 1) * 10_000 + array(U8, 0)),)),
    "value-type-13": whole((entry("a", 13, bytes(8)),)),
    "value-type-2^32-1": whole((entry("a", 2**32 - 1, bytes(8)),)),
    "array-type-unknown": whole((entry("a", ARRAY, array(99, 1, bytes(8))),)),
    "bool-of-2": gpt2({"gpt2.x": entry("gpt2.x", BOOL, b"\2")}),
    "key-twice": gpt2({"again": u32(LAYERS, 1)}),
    "key-not-utf8": whole((u32(b"\xff\xfe", 1),)),
    "key-empty": whole((u32("", 1),)),
    "key-of-300-kB": whole((u32("k" * 300_000, 1),)),
    "key-control": whole((u32("\x1b]0;x\x07", 1), u32("\x1b]0;x\x07", 1))),
    "tensor-twice": gpt2(more={"again": tensor("token_embd.weight", (4, 11))}),
    "tensor-type-99": described("token_embd.weight", kind=99),
    "tensor-type-2^32-1": described("token_embd.weight", kind=2**32 - 1),
    "dimensions-5": described("token_embd.weight", (4, 11, 1, 1, 1)),
    "dimensions-2^32-1": gpt2(more={"x": text("x") + struct.pack("<I", 2**32 - 1)}),
    "dimensions-wrap": described("token_embd.weight", (2**33, 2**33)),
    "dimensions-2^64-1": described("token_embd.weight", (HUGE, HUGE, HUGE, HUGE)),
    "dimension-zero": described("token_embd.weight", (0, 11)),
    "offset-misaligned": described("token_embd.weight", offset=1),
    "offset-overlap": described("position_embd.weight", (4, 7), offset=0),
    "offset-beyond": described("token_embd.weight", offset=2**40),
    "offset-2^64-32": described("token_embd.weight", offset=2**64 - 32),
    "block-not-whole": described("token_embd.weight", kind=Q4_0),
    "no-architecture": gpt2({"general.architecture": None}),
    "architecture-number": gpt2({"general.architecture": u32("general.architecture", 5)}),
    "architecture-unknown": gpt2({"general.architecture": word("general.architecture", "newest")}),
    "architecture-long": gpt2({"general.architecture": word("general.architecture", "a" * 10**6)}),
    "architecture-control": gpt2({"general.architecture": word("general.architecture", "\x1b[2J")}),
    "no-tensors": gpt2(more=dict.fromkeys(("token_embd.weight", "position_embd.weight"))),
    **{
        f"alignment-{n}": gpt2({"alignment": aligned(struct.pack("<I", n))})
        for n in (0, 3, 24, 2**31, 2**32 - 1)
    },
    "alignment-text": gpt2({"alignment": word("general.alignment", "32")}),
    "alignment-64-bit": gpt2({"alignment": aligned(struct.pack("<Q", 2**63), U64)}),
}
VALUES = {
    "heads-zero": (COUNT, u32(COUNT, 0)),
    "heads-3": (COUNT, u32(COUNT, 3)),
    "heads-text": (COUNT, word(COUNT, "2")),
    "heads-missing": (COUNT, None),
    "heads-negative": (COUNT, entry(COUNT, 5, struct.pack("<i", -2))),
    "heads-float": (COUNT, entry(COUNT, 6, struct.pack("<f", 2.5))),
    "heads-2^32-1": (COUNT, u32(COUNT, 2**32 - 1)),
    "layers-zero": (LAYERS, u32(LAYERS, 0)),
    "layers-missing": (LAYERS, None),
    "layers-2^32-1": (LAYERS, u32(LAYERS, 2**32 - 1)),
    "layers-2": (LAYERS, u32(LAYERS, 2)),
    "width-zero": ("gpt2.embedding_length", u32("gpt2.embedding_length", 0)),
    "width-5": ("gpt2.embedding_length", u32("gpt2.embedding_length", 5)),
    "context-zero": ("gpt2.context_length", u32("gpt2.context_length", 0)),
    "epsilon-nan": (
        "gpt2.attention.layer_norm_epsilon",
        entry("gpt2.attention.layer_norm_epsilon", 6, struct.pack("<f", float("nan"))),
    ),
    "epsilon-negative": (
        "gpt2.attention.layer_norm_epsilon",
        entry("gpt2.attention.layer_norm_epsilon", 6, struct.pack("<f", -1)),
    ),
}
SIZE = len(gpt2())
ROWS = (
    row("opens", OPEN + " --json", 0, make=gguf(gpt2())),
    *(
        bad(name, data, quick=name in ("keys-2^64-1",))
        for name, data in FILES.items()
        if name != "bool-of-2"
    ),
    *(
        bad(name, gpt2({key: value}), *(() if name == "layers-2" else (key,)))
        for name, (key, value) in VALUES.items()
    ),
    row("bool-of-2", OPEN, (0, 1), make=gguf(FILES["bool-of-2"])),
    *(
        row(f"cut-{size}", OPEN, 1, "m.gguf", make=(gguf(gpt2()), cut("m.gguf", size)))
        for size in (3, 4, 12, 24, 100, 300, 600, SIZE - 17, SIZE - 40)
    ),
    *(
        row(f"flip-{at}", OPEN, 1, "m.gguf", make=(gguf(gpt2()), flipped("m.gguf", at)))
        for at in (0, 4, 8, 15, 16, 23, 24, 31)
    ),
    row("sparse-1-TB", OPEN, 1, "m.gguf", make=sparse("m.gguf", 1 << 40)),
    row("sparse-behind-magic", OPEN, 1, "m.gguf", make=sparse("m.gguf", 1 << 40, HEAD)),
    row("models-says-it-too", "models m.gguf", 1, "m.gguf", make=gguf(FILES["tensors-2^64-1"])),
    row(
        "chat-template-is-data",
        "trace -m m.gguf --ids 5 --json",
        0,
        make=gguf(
            gpt2(
                {"t": word("tokenizer.chat_template", "{{ ''.__class__.__mro__ }}{% for x in y %}")}
            )
        ),
    ),
    row("no-tokenizer", "trace the -m m.gguf", 1, "token", make=gguf(gpt2())),
    row(
        "tokens-not-text",
        "trace the -m m.gguf",
        1,
        "token",
        make=gguf(
            gpt2(
                {
                    "a": word("tokenizer.ggml.model", "gpt2"),
                    "b": entry("tokenizer.ggml.tokens", ARRAY, array(U8, 11, bytes(11))),
                }
            )
        ),
    ),
    row(
        "tokens-not-utf8",
        "trace the -m m.gguf",
        (0, 1),
        make=gguf(
            gpt2(
                {
                    "a": word("tokenizer.ggml.model", "gpt2"),
                    "b": entry(
                        "tokenizer.ggml.tokens", ARRAY, array(STRING, 11, text(b"\xff") * 11)
                    ),
                }
            )
        ),
    ),
    row(
        "tokenizer-model-unknown",
        "trace the -m m.gguf",
        1,
        "kind",
        make=gguf(
            gpt2(
                {
                    "a": word("tokenizer.ggml.model", "n\x1bew" * 1000),
                    "b": entry("tokenizer.ggml.tokens", ARRAY, array(STRING, 11, text("a") * 11)),
                }
            )
        ),
    ),
    row(
        "gguf-in-a-safetensors-name",
        "trace -m m.safetensors --ids 5",
        (0, 1),
        make=file("m.safetensors", gpt2()),
    ),
    row("adapter-that-is-a-gguf", "trace -m tiny the --adapter m.gguf", 1, make=gguf(gpt2())),
)
test_runs = suite(ROWS)
