"""Faults that were met once, each with a run that would meet it again."""

import io
import json
import os
import shlex
import signal
import struct
import subprocess
import sys

import numpy as np
import pytest
from faults.harness import INSIDE, PACKAGE, holds, row, suite
from faults.makers import config, edited, file, folder, gguf, gone, gpt2, link, llama, sharded, tiny
from faults.test_documents import REFERENCES, vocabulary
from faults.test_prompts import DOORS
from faults.test_training import RESUME, TRAIN, corpus, setting, unfinished

NAN = float("nan")
TOKENIZER = "m/tokenizer.json"
_LITTLE = 600 << 20  # bytes: less than Python's own lists of a file of nothing would take


def npz(**arrays):
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def nothing(place, before):
    """A file of 60 MB that says nothing, made when a row is run: this process stays small."""

    def make(here):
        file(place, before + b"[" + b"[]," * 20_000_000 + b"[]]}")(here)

    return make


def of_nothing(name, arguments, place, *makers, key=b"a", **more):
    """A run that reads such a file, in a process that could not hold it as lists."""
    return row(
        f"nothing-in-{name}",
        arguments,
        1,
        place.rpartition("/")[2],
        memory=_LITTLE,
        lacks=("not enough memory",),
        make=(*makers, nothing(place, b'{"' + key + b'": ')),
        **more,
    )


GGUF = [
    row(
        f"gguf-says-{name}-{dims}",
        "trace -m m.gguf --ids 5",
        1,
        name,
        make=gguf(gpt2(dims={name: dims})),
        lacks=("wte", "c_attn", "config"),
    )
    for name, dims in (
        ("token_embd.weight", (11, 4)),
        ("blk.0.attn_qkv.weight", (4, 11)),
        ("blk.0.ffn_down.weight", (4, 5)),
        ("output_norm.weight", (5,)),
        ("blk.0.attn_qkv.bias", (11,)),
    )
]
IDS = [
    row(
        f"{command}-ids-{n}-of-{model}",
        f"{command} -m {model} --ids 5,{n}",
        2,
        f"0 to {last}",
        lacks=("0 to 999999999",),
        make=tiny(),
    )
    for command in ("trace", "sample", "loss")
    for n in ("1000000000", "995", "9" * 30)
    for model, last in (("tiny", 994), ("m", 994))
]
CONFIGS = [
    row(
        f"nan-is-named-{key}",
        "trace -m m --ids 5",
        1,
        key,
        "NaN",
        make=(llama(), config(**{key: NAN})),
    )
    for key in ("hidden_size", "rms_norm_eps", "rope_theta", "max_position_embeddings")
]
TOKENIZERS = [
    row(
        "tokenizer-is-a-loop",
        "trace the -m m",
        1,
        "tokenizer.json",
        make=(tiny(), link(TOKENIZER, "tokenizer.json")),
    ),
    row(
        "ids-with-a-loop", "trace --ids 5 -m m", 0, make=(tiny(), link(TOKENIZER, "tokenizer.json"))
    ),
    row(
        "two-tokens-of-one-id",
        "trace 'the king' -m m",
        1,
        "tokenizer.json",
        make=(tiny(), edited(TOKENIZER, vocabulary(lambda v: {k: i // 2 for k, i in v.items()}))),
    ),
    row("word-of-1-MB", "trace -", (0, 1), given=b"x" * 1_000_000),
    row("word-of-1-MB-quoted", "trace - --json", (0, 1), given=b"the " + b"x" * 1_000_000),
    row("words-of-1-MB", "tokens -", (0, 1), given=b"the " + b"x" * 1_000_000),
    row("prompt-of-40-MB", "trace -", 1, "256", given=b"the king is " * 3_500_000),
    row("prompt-of-40-MB-of-one-word", "trace -", (0, 1), given=b"x" * 40_000_000),
    row(
        "prompt-of-40-MB-in-a-file",
        "loss --file p.txt",
        1,
        "256",
        make=file("p.txt", b"the king is " * 3_500_000),
    ),
]
LONG = [
    row(
        "key-of-100-kB",
        ["trace", "-m", "m", "--ids", "5", "--ignore-config", "x" * 100_000],
        (0, 1, 2),
        make=llama(),
    ),
    row("name-of-5000-characters", ["trace", "the", "-m", "some/" + "x" * 5000], 1, "some/"),
    *(
        row(
            f"name-{door}-{name}",
            [path if word == "x" else word for word in arguments.replace("file:x", "x").split()],
            (1, 2) if door == "mask" else 1,
        )
        for door, arguments in DOORS.items()
        if door != "gguf"
        for name, path in (("long", "x" * 5000), ("deep", "a/" * 2500))
    ),
]
MEMORY = [
    of_nothing("config", "trace -m m --ids 5", "m/config.json", llama()),
    of_nothing(
        "index",
        "trace -m m --ids 5",
        "m/model.safetensors.index.json",
        llama(),
        sharded(),
        key=b"weight_map",
    ),
    of_nothing("tokenizer", "trace the -m m", TOKENIZER, tiny(), key=b"model"),
    of_nothing(
        "vocabulary",
        "trace the -m m",
        "m/vocab.json",
        tiny(),
        gone(TOKENIZER),
        file("m/merges.txt", "a b\n"),
    ),
    of_nothing("adapter", "trace the --adapter a", "a/adapter_config.json", folder("a")),
    of_nothing("training", RESUME, "o/training.json", corpus, folder("o"), key=b"settings"),
    of_nothing("document", "show d.json", "d.json", key=b"schema"),
    of_nothing("answers", "exercise --check d.json", "d.json"),
    of_nothing(
        "manifest",
        "trace -m ollama:one --ids 5",
        "store/manifests/registry.ollama.ai/library/one/latest",
        folder("store/blobs"),
        env={"OLLAMA_MODELS": "store"},
    ),
    row(
        "nothing-in-the-header-of-tensors",
        "trace -m m --ids 5",
        1,
        "model.safetensors",
        memory=_LITTLE,
        lacks=("not enough memory",),
        make=(
            tiny(),
            nothing("m/model.safetensors", (60_000_010).to_bytes(8, "little") + b'{"a":'),
        ),
    ),
]
REFERENCE = [
    row(
        "gguf-without-a-tokenizer",
        "trace -m m.gguf --ids 5",
        0,
        "so no tokenizer",
        make=gguf(gpt2()),
        lacks=("''",),
    ),
    row(
        "reference-of-another-name",
        "verify the --against b.npz",
        1,
        "b.npz",
        make=file("b.npz", npz(tokens=5)),
    ),
    row(
        "reference-of-nothing",
        "verify the --against b.npz",
        1,
        "b.npz",
        lacks=("normal",),
        make=file("b.npz", REFERENCES["zip-of-nothing"]),
    ),
    *(
        row(
            f"reference-{name}",
            "verify 'the king' --against r.npz",
            1,
            "r.npz",
            make=file("r.npz", REFERENCES[name]),
        )
        for name in ("names-long", "complex", "dates", "bomb", "header-empty")
    ),
]
SAVING = (
    "open .training.safetensors",
    "open .tokenizer.json",
    "open .config.json",
    "open .model.safetensors",
    "os.rename .model.safetensors",
    "os.remove training.json",
    "os.remove training.safetensors",
)


def attn(here, *words, at=""):
    """Runs the command in the folder; `at` is that of a row."""
    path = f"{INSIDE}{os.pathsep}{PACKAGE}"
    environ = {**os.environ, "PYTHONPATH": path, "ATTN_FAULTS_SIGNAL": at}
    return subprocess.run(
        [sys.executable, "-m", "attn_cli", *words],
        cwd=here,
        env=environ,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )


def interrupted(at):
    """A training that a signal ended while it was saved, and which went on if it could."""

    def make(here):
        attn(here, *shlex.split(TRAIN), at=at)
        if (here / "o/training.json").exists():
            resumed = attn(here, *shlex.split(RESUME))
            assert resumed.returncode == 0, resumed.stderr

    return make


def spoiled(here):
    """A state some of whose numbers are none."""
    path = here / "o/training.safetensors"
    data = bytearray(path.read_bytes())
    data[-400:] = struct.pack("<100f", *[NAN] * 100)
    path.write_bytes(bytes(data))


TRAINING = [
    *(
        row(
            f"saved-or-undone-{number}-{at}",
            "trace 'the king' -m o --json",
            0,
            make=(corpus, interrupted(f"{number} {at}")),
        )
        for at in SAVING
        for number in (2, 15)
    ),
    row(
        "state-is-a-loop",
        RESUME,
        1,
        "training.json",
        lacks=("no unfinished",),
        make=(corpus, folder("o"), link("o/training.json", "training.json")),
    ),
    row(
        "nan-in-a-state",
        RESUME,
        1,
        "training.safetensors",
        lacks=("learning rate",),
        make=(corpus, unfinished, spoiled),
    ),
    row(
        "objective-of-100-kB",
        RESUME,
        1,
        "training.json",
        make=(corpus, unfinished, setting("objective", "x" * 10**5)),
    ),
]
ROWS = (*GGUF, *IDS, *CONFIGS, *TOKENIZERS, *LONG, *MEMORY, *REFERENCE, *TRAINING)
test_runs = suite(ROWS)


@pytest.mark.faults
@pytest.mark.parametrize("buffers", ["", "1"])
def test_a_second_training_into_a_folder_is_refused(tmp_path, buffers):
    """While the first one runs; that goes on, and what it then saves is its own."""
    first = []

    def begun(here):
        words = shlex.split(TRAIN.replace("--steps 3", "--steps 1000000"))
        command = [sys.executable, "-m", "attn_cli", *words]
        first.append(subprocess.Popen(command, cwd=here, stderr=subprocess.PIPE))
        assert b"step 100 of" in first[0].stderr.readline()

    second = row("second", TRAIN, (1, 2), "o", make=(corpus, begun))
    try:
        holds(second, buffers, tmp_path)
        assert first[0].poll() is None
    finally:
        for child in first:
            child.send_signal(signal.SIGINT)
            child.communicate(timeout=60)
    assert json.loads((tmp_path / "here/o/training.json").read_text())["settings"]["steps"] == 10**6
