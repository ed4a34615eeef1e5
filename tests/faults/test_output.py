"""Output: every format to every kind of target, streams that fail, and signals at every stage."""

import os
import threading

from faults.harness import row, suite
from faults.makers import fifo, file, folder, link, tiny

FORMATS = ("table", "json", "ndjson", "csv", "npz", "html", "svg", "xlsx")
PROMPT = "'the king'"
TARGETS = {
    "folder": (folder("x"), 1, ("is a folder",)),
    "loop": (link("x", "x"), 1, ()),
    "fifo": (fifo("x"), 1, ("nothing reads",)),
    "full": (link("x", "/dev/full"), 1, ("no space",)),
    "null": (link("x", "/dev/null"), 0, ()),
    "into-a-file": (file("y", "old"), 1, ()),
    "link-to-folder": ((folder("d"), link("x", "d")), 1, ("is a folder",)),
    "no-folder": ((), 1, ("no folder", "mkdir")),
    "proc": ((), 1, ()),
    "name-too-long": ((), 1, ()),
    "prompt": (file("x", "the king"), 2, ("reads",)),
    "trailing-slash": (folder("x"), 1, ()),
}
NAMES = {
    "into-a-file": "y/x",
    "no-folder": "d/x",
    "proc": "/proc/version",
    "name-too-long": "n" * 300,
    "trailing-slash": "x/",
}


def aimed(kind, name):
    """A run that is to write in a format to a target."""
    make, code, says = TARGETS[name]
    source = ["--file", "x"] if name == "prompt" else ["the king"]
    out = NAMES.get(name, "x")
    return row(
        f"{kind}-to-{name}",
        ["trace", *source, "--format", kind, "--out", out],
        code,
        *says,
        make=make,
    )


COMMANDS = {
    "heads": "heads 'the king'",
    "mask": "mask 'the king'",
    "sample": "sample 'the king' --seed 1",
    "loss": "loss 'the king'",
    "lens": "lens 'the king'",
    "why": "why 'the king'",
    "embed": "embed king",
    "compare": "compare 'the king' 'the man'",
    "tokens": "tokens 'the king'",
    "verify": "verify the",
    "exercise": "exercise",
    "cost": "cost",
    "models": "models",
    "schema": "schema",
}
STREAMS = [
    *(
        row(f"{name}-{kind}", command, 1 if kind != "gone" else 141, stdout=kind)
        for name, command in {
            "trace": "trace the",
            "help": "--help",
            "version": "--version",
            "help-of-one": "trace --help",
            "nothing": "",
            **COMMANDS,
        }.items()
        for kind in ("full", "closed", "gone")
    ),
    *(
        row(
            f"{kind}-{stream}",
            f"trace the --format {kind}",
            1 if stream != "gone" else 141,
            stdout=stream,
        )
        for kind in FORMATS
        for stream in ("full", "closed", "gone")
    ),
    *(
        row(f"error-with-{stream}-stderr", "trace the --top nan", 2, stderr=stream)
        for stream in ("full", "closed", "gone")
    ),
    *(
        row(f"note-with-{stream}-stderr", "trace", 0, stderr=stream)
        for stream in ("full", "closed", "gone")
    ),
    row("all-closed", "trace the", 1, stdin="closed", stdout="closed", stderr="closed"),
    row("all-full", "trace the", 1, stdout="full", stderr="full"),
    row(
        "each-gone",
        "trace --each line --json",
        141,
        given=b"the king\n" * 500,
        stdout="gone",
        partial=True,
    ),
    row(
        "each-full",
        "trace --each line --json",
        1,
        given=b"the king\n" * 500,
        stdout="full",
        partial=True,
    ),
    row(
        "each-closed",
        "trace --each line --json",
        1,
        given=b"the king\n" * 5,
        stdout="closed",
        partial=True,
    ),
    *(
        row(
            f"screen-{name}",
            command,
            0,
            stdout="terminal",
            stderr="terminal",
            stdin="terminal",
            env={"PAGER": "cat"},
        )
        for name, command in {"trace": "trace the", **COMMANDS}.items()
    ),
    *(
        row(f"screen-{kind}", f"trace the --format {kind}", 2, stdout="terminal")
        for kind in ("npz", "xlsx")
    ),
    row(
        "pager-missing",
        "trace the",
        0,
        stdout="terminal",
        env={"PAGER": "none-such --x", "LINES": "5"},
    ),
    row("pager-fails", "trace the", 0, stdout="terminal", env={"PAGER": "false", "LINES": "5"}),
    row("pager-odd", "trace the", 0, stdout="terminal", env={"PAGER": "'\x1b", "LINES": "5"}),
    row("quiet-error", "trace the --top nan --quiet", 2, "--top"),
]


def reader(here):
    """Somebody reads from the pipe."""
    fifo("x")(here)
    threading.Thread(target=(here / "x").read_bytes, daemon=True).start()


def leaver(here):
    """Somebody opens the pipe and leaves."""
    fifo("x")(here)

    def leave():
        with open(here / "x", "rb") as pipe:
            pipe.read(10)

    threading.Thread(target=leave, daemon=True).start()


KEPT = [
    row(
        "link-is-kept",
        "trace the --json --out x",
        0,
        make=(file("y", "old"), link("x", "y")),
        leaves="y",
    ),
    row("link-to-new", "trace the --json --out x", 0, make=link("x", "y"), leaves="y"),
    row(
        "mode-is-kept",
        "trace the --json --out x",
        0,
        make=(file("x", "old"), lambda here: os.chmod(here / "x", 0o640)),
        leaves="x",
    ),
    row("fifo-is-read", "trace the --json --out x", 0, make=reader),
    row("fifo-is-left", "trace the --json --layer all --head all --out x", (0, 141), make=leaver),
    row("dash", "trace the --out -", 0),
    row("stdout-by-name", "trace the --json --out /dev/stdout", 0),
    row("stdout-full-by-name", "trace the --json --out /dev/stdout", 1, stdout="full"),
    row("stderr-by-name", "trace the --format svg --out /dev/stderr", (0, 1), stderr="full"),
    row("npz-without-suffix", "trace the --format npz --out x", 0, leaves="x"),
    *(
        row(f"written-{kind}", f"trace the --out x.{kind}", 0, leaves=f"x.{kind}")
        for kind in FORMATS[1:]
    ),
    *(
        row(
            f"upper-case-{kind}", f"trace the --out x.{kind.upper()}", 0, leaves=f"x.{kind.upper()}"
        )
        for kind in FORMATS[1:]
    ),
    row("dash-name", "trace the --out=-x.json", 0, leaves="-x.json"),
    row("control-name", ["trace", "the", "--out", "\x1b[31m.json"], 0, leaves="\x1b[31m.json"),
    row(
        "longest-name",
        ["trace", "the", "--out", "n" * 250 + ".json"],
        0,
        leaves="n" * 250 + ".json",
    ),
    *(
        row(
            f"onto-the-model-{name}",
            f"trace the -m m --format json --out m/{name}",
            2,
            "reads",
            make=tiny(),
        )
        for name in ("model.safetensors", "config.json", "tokenizer.json")
    ),
    row(
        "onto-the-model-by-link",
        "trace the -m m --json --out x",
        2,
        "reads",
        make=(tiny(), link("x", "m/config.json")),
    ),
    row(
        "onto-the-model-hard",
        "trace the -m m --json --out x",
        2,
        "reads",
        make=(tiny(), lambda here: os.link(here / "m/model.safetensors", here / "x")),
    ),
    row(
        "onto-each",
        "trace --each line --file x --json --out x",
        2,
        "reads",
        make=file("x", "the king\n"),
    ),
    row(
        "onto-the-mask",
        "trace 'the king' --mask file:x --json --out x",
        2,
        "reads",
        make=file("x", "1 1\n1 1\n"),
    ),
    row("onto-the-document", "show x --format json --out x", (1, 2), make=file("x", "{}")),
    row("onto-the-reference", "verify the --against x --json --out x", (1, 2), make=file("x", "")),
    row("onto-the-answers", "exercise --check x --json --out x", (1, 2), make=file("x", "{}")),
    row("onto-the-folder-of-the-model", "trace the -m m --json --out m", 1, "folder", make=tiny()),
]
FILLED = [
    row(
        f"{kind}-full-at-{most}",
        f"trace 'the king' --out x.{kind}",
        1,
        make=file(f"x.{kind}", "as it was"),
        most=most,
    )
    for kind in FORMATS[1:]
    for most in (1, 1000)
]
STAGES = {
    "parsing": "import attn_cli.cli.options",
    "numpy": "import numpy.linalg",
    "orjson": "import orjson",
    "model": "open tiny/model.safetensors",
    "config": "open tiny/config.json",
    "tokenizer": "open tiny/tokenizer.json",
    "session": "import attn_cli.session",
    "views": "import attn_cli.views.json",
    "maths": "import attn_cli.maths.attention",
    "writing": "open .x.json",
    "typer": "import typer",
    "opening": "import attn_cli.opening.load",
    "renaming": "os.rename .x.json",
}
SIGNALS = [
    row(
        f"signal-{number}-at-{stage}",
        "trace 'the king' --out x.json",
        code,
        at=f"{number} {at}",
        make=file("x.json", "as it was"),
        leaves="x.json" if stage == "renaming" else "",
    )
    for stage, at in STAGES.items()
    for number, code in ((2, 130), (15, 143))
]
EACH = [
    row(
        f"each-signal-{number}-at-{stage}",
        "trace --each line --out x.json",
        code,
        at=f"{number} {at}",
        given=b"the king\nthe man\n",
        make=file("x.json", "as it was"),
    )
    for stage, at in (("writing", "open .x.json"), ("maths", "import attn_cli.maths.attention"))
    for number, code in ((2, 130), (15, 143))
]
ROWS = (
    *(aimed(kind, name) for kind in FORMATS for name in TARGETS),
    *STREAMS,
    *KEPT,
    *FILLED,
    *SIGNALS,
    *EACH,
)
test_runs = suite(ROWS)
