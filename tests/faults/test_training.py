"""Training: finished or interrupted, it is saved or undone, and what was there is kept."""

import shlex
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from faults.harness import row, suite
from faults.makers import cut, edited, fifo, file, flipped, folder, gone, link, sparse, tiny

TEXT = "the king is a man\nthe queen is a woman\n" * 20
SMALL = "--steps 3 --layers 1 --heads 1 --width 4 --context 8 --watch '' --watch-prompt ''"
TRAIN = f"train c.txt --out o {SMALL}"
RESUME = "train c.txt --out o --resume"
corpus = file("c.txt", TEXT)
FILES = ("o/training.safetensors", "o/training.json", "o/model.safetensors", "o/config.json")


_STOPPED = """
import sys
from attn_cli.training import loop
step = loop.train
def stopped(run):
    for record in step(run):
        yield record
        raise KeyboardInterrupt
loop.train = stopped
from attn_cli.cli.app import run
assert run(sys.argv[1:]) == 130
"""


@cache
def _stopped():
    """The files of a run that was ended in its second step, by name."""
    with tempfile.TemporaryDirectory() as place:
        corpus(Path(place))
        words = [*shlex.split(TRAIN), "--quiet"]
        subprocess.run([sys.executable, "-c", _STOPPED, *words], cwd=place, check=True)
        return {path.name: path.read_bytes() for path in Path(place, "o").iterdir()}


def unfinished(here):
    """A run that was ended in its second step."""
    for name, data in _stopped().items():
        file(f"o/{name}", data)(here)


def began(name, arguments, code, *says, make=(), **more):
    makers = (make,) if callable(make) else make
    return row(name, arguments, code, *says, make=(corpus, *makers), **more)


def resumed(name, code, *says, make=(), **more):
    """A resumed run; where it fails all that was there stays."""
    makers = (make,) if callable(make) else make
    return began(
        name,
        RESUME,
        code,
        *says,
        make=(unfinished, *makers),
        leaves="o/" if code == 0 else "",
        **more,
    )


def setting(word, value):
    return edited("o/training.json", lambda s: {**s, "settings": {**s["settings"], word: value}})


CORPORA = {
    "empty": (b"", 1),
    "blank": (b"\n\n \n", 1),
    "invalid": (b"the \xff\n", 1),
    "utf16": ("the king\n".encode("utf-16"), 1),
    "one-word": (b"the\n", (0, 1)),
    "nul": (b"the\0king is\n" * 20, 0),
    "controls": (b"the \x1b[31mking is\n" * 20, 0),
    "bom": (b"\xef\xbb\xbf" + TEXT.encode(), 0),
    "crlf": (TEXT.replace("\n", "\r\n").encode(), 0),
    "long-word": (b"x" * 300_000 + b" is\n", (0, 1)),
    "one-line": (b"the king " * 20_000, (0, 1)),
}
ROWS = (
    began("trains", TRAIN + " --json", 0, leaves="o/", quick=True),
    *(
        row(
            f"corpus-{name}",
            TRAIN + " --quiet",
            code,
            make=file("c.txt", data),
            leaves="o/ o" if code != 1 else "",
        )
        for name, (data, code) in CORPORA.items()
    ),
    *(
        row(f"corpus-{name}", TRAIN, 1, make=make)
        for name, make in {
            "missing": (),
            "folder": folder("c.txt"),
            "fifo": fifo("c.txt"),
            "device": link("c.txt", "/dev/zero"),
            "loop": link("c.txt", "c.txt"),
            "sparse": sparse("c.txt", 1 << 40),
        }.items()
    ),
    began("into-a-file", TRAIN, 2, "is a file", make=file("o", "old")),
    began("into-a-model", TRAIN, 2, "already holds", make=tiny("o")),
    began("into-an-unfinished", TRAIN, 2, "--resume", make=unfinished),
    began("into-a-link", TRAIN, 0, make=(folder("d"), link("o", "d")), leaves="d/ d"),
    began("into-a-loop", TRAIN, (1, 2), make=link("o", "o")),
    began("into-a-file's-folder", TRAIN.replace("--out o", "--out c.txt/o"), (1, 2)),
    began("into-a-device", TRAIN.replace("--out o", "--out /dev/null"), 2),
    began("into-proc", TRAIN.replace("--out o", "--out /proc/x"), 1),
    began("into-a-long-name", TRAIN.replace("--out o", "--out " + "x" * 300), (1, 2)),
    began("into-its-corpus", TRAIN.replace("--out o", "--out c.txt"), 2),
    began("resume-nothing", RESUME, 1, "no unfinished"),
    began("resume-a-model", RESUME, 1, make=tiny("o")),
    began("resume-a-file", RESUME, 1, make=file("o", "x")),
    resumed("resume", 0),
    resumed("resume-another-corpus", 2, "corpus", make=file("c.txt", "another king is\n" * 9)),
    began("resume-other-settings", RESUME + " --steps 9", 2, "steps", make=unfinished),
    *(
        resumed(f"state-cut-{n}", 1, "training.safetensors", make=cut(FILES[0], n))
        for n in (0, 7, 100, -1)
    ),
    *(
        resumed(f"state-flip-{n}", 1, "training.safetensors", make=flipped(FILES[0], n))
        for n in (0, 7, 8)
    ),
    *(
        resumed(f"settings-cut-{n}", 1, "training.json", make=cut(FILES[1], n))
        for n in (0, 1, 100, -3)
    ),
    resumed("state-missing", 1, "training.safetensors", make=gone(FILES[0])),
    resumed("settings-missing", 1, "training.json", make=gone(FILES[1])),
    resumed("settings-a-list", 1, "training.json", make=file(FILES[1], "[]")),
    resumed("settings-deep", 1, "training.json", make=file(FILES[1], "[" * 99_999 + "]" * 99_999)),
    *(
        resumed(f"setting-{word}-{value}"[:40], 1, make=setting(word, value))
        for word, value in (
            ("steps", 0),
            ("steps", "3"),
            ("steps", None),
            ("width", 10**9),
            ("width", -4),
            ("heads", 0),
            ("objective", 5),
            ("mask", "\x1b[31m"),
            ("peak_learning_rate", -1.0),
            ("beta1", 5.0),
            ("layers", 10**9),
            ("context", 10**12),
            ("seed", -1),
            ("batch_tokens", 10**15),
        )
    ),
    resumed("setting-more", 1, "training.json", make=setting("more", 1)),
    resumed("corpus-hash", (1, 2), make=edited(FILES[1], lambda s: {**s, "corpus_sha256": 5})),
    resumed("state-full", 1, make=(), most=100),
    began("full-at-the-state", TRAIN, 1, most=50, leaves="o/ o"),
    began("full-at-the-model", TRAIN, 1, most=400, leaves="o/ o"),
    began("stdout-full", TRAIN, 1, stdout="full", leaves="o/ o"),
    began("stdout-closed", TRAIN, 1, stdout="closed", leaves="o/ o"),
    began("stdout-gone", TRAIN, 141, stdout="gone", leaves="o/ o"),
    began("stderr-full", TRAIN + " --json", 0, stderr="full", leaves="o/ o"),
    began("screen", TRAIN, 0, stdout="terminal", stderr="terminal", leaves="o/ o"),
    *(
        began(f"signal-{number}-at-{stage}", TRAIN, code, at=f"{number} {at}", leaves="o/ o")
        for stage, at in {"corpus": "open c.txt", "loop": "import attn_cli.training.loop"}.items()
        for number, code in ((2, 130), (15, 143))
    ),
    began(
        "diverges",
        TRAIN.replace("--steps 3", "--steps 30") + " --learning-rate 1e300",
        (0, 2),
        leaves="o/ o",
    ),
    began("too-large", "train c.txt --out o --layers 96 --width 4096 --heads 1", 1, "GiB"),
    began(
        "pairs-without-tabs",
        TRAIN.replace(SMALL, SMALL.replace(" --watch '' --watch-prompt ''", ""))
        + " --objective translate",
        (1, 2),
    ),
    began("masking-of-next", TRAIN + " --masking-rate 0.2", 2),
    began("mask-of-masked", TRAIN + " --objective masked --mask none", 2),
)
test_runs = suite(ROWS)
