"""Prompts, by every door and for every command: text, ids, files, lines, pairs and masks."""

from faults.harness import row, suite
from faults.makers import fifo, file, folder, link, sparse, tiny

# By these commands a prompt is read in whatever form, by the others in those that went wrong.
WHOLE = ("trace", "loss", "tokens")
FEW = ("invalid", "utf16", "empty", "bom", "controls", "too-long")
READERS = (
    "trace",
    "heads",
    "mask",
    "sample",
    "loss",
    "lens",
    "why",
    "compare",
    "tokens",
    "verify",
    "exercise",
)
BOM, UTF16 = b"\xef\xbb\xbf", "the king".encode("utf-16")
# What a prompt can be: its bytes, the exit code, what is said.
GIVEN = {
    "invalid": (b"ab \xff", 1, ("offset 3",)),
    "bom-then-invalid": (BOM + b"ab \xc3(", 1, ("offset 6",)),
    "surrogate": (b"ab \xed\xa0\x80", 1, ("offset 3",)),
    "overlong": (b"\xc0\xaf", 1, ("offset 0",)),
    "cut-character": ("ab é".encode()[:-1], 1, ("offset 3",)),
    "utf16": (UTF16, 1, ("UTF-16",)),
    "utf16-be": (b"\xfe\xff\0t", 1, ("UTF-16",)),
    "empty": (b"", 2, ("empty",)),
    "newline": (b"\n", 2, ("empty",)),
    "space": (b" \r\n\t ", 2, ("empty",)),
    "bom-alone": (BOM, 2, ("empty",)),
    "bom": (BOM + b"the king", 0, ("byte order mark",)),
    "nul": (b"the\0king", 0, ()),
    "cr-lf": (b"the\r\nking\r\n", 0, ()),
    "one": (b"the", 0, ()),
    "controls": (b"the \x1b[31m\x07 king \xe2\x80\xae\xc2\x9b\xe2\x80\x8b", 0, ()),
    "long-word": (b"x" * 1_000_000, (0, 1), ()),
    "too-long": (b"the " * 300, 1, ("300", "256")),
}


def code_of(command, name, code):
    """One token is too few to predict anything."""
    return (0, 2) if name in ("one", "nul", "long-word") and command == "loss" else code


PIPED = [
    row(
        f"{command}-pipe-{name}",
        f"{command} -",
        code_of(command, name, code),
        *says,
        given=data,
        quick=(command, name) == ("trace", "invalid"),
    )
    for command in READERS
    for name, (data, code, says) in GIVEN.items()
    if command != "compare" and (command in WHOLE or name in FEW)
    if (command, name) != ("tokens", "too-long")
]
FILED = [
    row(
        f"{command}-file-{name}",
        f"{command} --file p.txt --json",
        code_of(command, name, code),
        *says,
        make=file("p.txt", data),
    )
    for command in ("trace", "verify")
    for name, (data, code, says) in GIVEN.items()
]
STDIN = [
    row(f"{command}-stdin-{kind}", command, code, *says, stdin=kind, given=b"the king\n")
    for command in ("trace", "heads", "loss", "tokens", "exercise", "verify")
    for kind, code, says in (
        ("terminal", 0, ()),
        ("pipe", 0, ()),
        ("file", 0, ()),
        ("socket", 0, ()),
        ("closed", 0, ()),
        ("nothing", 0, ()),
    )
]
DASHED = [
    row(f"trace-dash-{kind}", "trace -", code, stdin=kind, given=b"the king\n")
    for kind, code in (("pipe", 0), ("file", 0), ("socket", 0), ("closed", 1), ("nothing", 2))
]
EACH = {
    "plain": (b"the king\nthe man\n", 0, ()),
    "one-bad": (b"the king\n\xff\nthe man\n", 1, ("line 2",)),
    "crlf": (b"the king\r\nthe man\r\n", 0, ()),
    "nul": (b"the\0king\n", 0, ()),
    "bom": (BOM + b"the king\n", 0, ("byte order mark",)),
    "utf16": (UTF16, 1, ("UTF-16",)),
    "blank": (b"\n\n \n", 1, ("no prompt",)),
    "empty": (b"", 1, ("no prompt",)),
    "json": (b'{"text": "the king"}\n{"text": "the man", "a": 1}\n', 0, ()),
    "json-then-text": (b'{"text": "the king"}\nthe man\n', 1, ("line 2", "JSON")),
    "json-no-text": (b'{"a": 1}\n', 1, ("line 1", "text")),
    "json-number": (b'{"text": 5}\n', 1, ("line 1",)),
    "json-null": (b'{"text": null}\n', 1, ("line 1",)),
    "json-surrogate": (b'{"text": "\\ud800"}\n', 1, ("line 1", "surrogate")),
    "json-nul": (b'{"text": "a\\u0000b"}\n', 0, ()),
    "json-empty": (b'{"text": ""}\n', 1, ("line 1",)),
    "json-deep": (
        b'{"text": "the", "a": ' + b"[" * 5000 + b"]" * 5000 + b"}\n",
        1,
        ("line 1", "JSON"),
    ),
    "json-2^64": (b'{"text": "the", "a": 99999999999999999999999}\n', 1, ("line 1",)),
    "json-nan": (b'{"text": "the", "a": NaN}\n', (0, 1), ()),
    "json-5000-digits": (b'{"text": "the", "a": ' + b"9" * 5000 + b"}\n", 1, ()),
    "json-damaged": (b'{"text": "the king}\n{"text": "the man"}\n', 1, ("line 1", "JSON")),
    "json-cut": (b'{"text": "the man"', 1, ("line 1", "JSON")),
    "json-many-keys": (
        b'{"b": 1' + b"".join(b', "%s": 1' % (b"k" * n) for n in range(1, 900)) + b"}\n",
        1,
        ("text",),
    ),
    "json-twice": (b'{"text": "the", "text": "king"}\n', (0, 1), ()),
    "json-60-MB-of-nothing": (
        b'{"text": "the", "a": [' + b"[]," * 5_000_000 + b"[]]}\n",
        (0, 1),
        (),
    ),
    "long-line": (b"x" * 20_000_000 + b"\nthe king\n", 1, ("line 1",)),
    "too-many-tokens": (b"the " * 300 + b"\nthe king\n", 1, ("line 1", "300", "256")),
}
LINES = [
    row(
        f"{command}-each-{name}",
        f"{command} --each line --json",
        code_of(command, name, code),
        *says,
        given=data,
        partial=True,
    )
    for command in ("trace", "lens")
    for name, (data, code, says) in EACH.items()
]
STRICT = [
    row(f"strict-{name}", "trace --each line --strict --json", 1, given=data, partial=True)
    for name, (data, code, _) in EACH.items()
    if code == 1 and name[:6] in ("one-ba", "utf16", "json-n", "too-ma")
]
TWO = [
    row(
        f"two-{n}",
        f"{command} {arguments}",
        2,
        "two prompts",
        given=b"the king\n",
        make=file("f", "the"),
    )
    for command in ("trace", "heads", "mask", "sample", "loss", "lens", "why", "verify", "exercise")
    for n, arguments in (
        (f"{command}-text-ids", "the --ids 5"),
        (f"{command}-text-file", "the --file f"),
        (f"{command}-file-ids", "--file f --ids 5"),
        (f"{command}-dash-file", "- --file f"),
    )
]
IDS = {
    "empty": ("", 2),
    "comma": (",", 2),
    "gap": ("5,,6", 2),
    "negative": ("-5", 2),
    "float": ("5.5", 2),
    "text": ("x", 2),
    "beyond": ("995000", 2),
    "2^31": ("2147483648", 2),
    "10^9": ("5,1000000000", 2),
    "2^63": ("9223372036854775808", 2),
    "digits": ("9" * 5000, 2),
    "arabic": ("٣", 2),
    "under": ("1_000", 2),
    "nan": ("nan", 2),
    "hex": ("0x10", 2),
    "space": (" ", 2),
    "range": ("5-7", 2),
    "newline": ("5\n", 0),
    "many": (",".join(["5"] * 257), 1),
    "exponent": ("1e2", 2),
    "plus": ("+5", (0, 2)),
    "nul": ("5,\x1b[2J", 2),
    "100000": (",".join(["5"] * 30_000), 1),
}
GIVEN_IDS = [
    row(f"{command}-ids-{name}", [command, "--ids", ids], code)
    for command in ("trace", "sample", "verify")
    for name, (ids, code) in IDS.items()
]
BAD_TEXT = b"the \xff"
TYPED = [
    *(row(f"{c}-typed-invalid", [c, BAD_TEXT], 2, "offset 4") for c in READERS if c != "compare"),
    *(row(f"{c}-typed-empty", [c, ""], 2) for c in READERS),
    *(row(f"{c}-typed-space", [c, " \t "], 2) for c in READERS),
    *(
        row(f"{c}-typed-controls", [c, "the \x1b]0;x\x07 \u202e king"], 0)
        for c in ("trace", "tokens", "lens", "loss")
    ),
    *(
        row(
            f"typed-controls-as-{f}",
            ["trace", "the \x1b]0;x\x07 </script><b> =1+1 \u202e", "--format", f],
            0,
        )
        for f in ("json", "ndjson", "csv", "npz", "html", "svg", "xlsx")
    ),
    *(
        row(
            f"target-{n}",
            ["trace", "the king", "-m", "tiny-translator", "--target", t],
            code,
            *says,
        )
        for n, t, code, says in (
            ("invalid", b"\xff", 2, ("--target", "offset 0")),
            ("empty", "", (0, 2), ()),
            ("space", " ", (0, 2), ()),
            ("controls", "\x1b[31m", 0, ()),
            ("nul-less", "the", 0, ()),
            ("long", "the " * 5000, 1, ()),
        )
    ),
    *(
        row(
            f"target-ids-{n}",
            ["trace", "the king", "-m", "tiny-translator", f"--target-ids={t}"],
            2,
            "--target-ids",
        )
        for n, t in (
            ("empty", ""),
            ("text", "x"),
            ("beyond", "99999999"),
            ("10^9", "1000000000"),
            ("negative", "-1"),
            ("nan", "nan"),
        )
    ),
    *(
        row(f"pair-{n}", ["trace", "the king", "-m", "tiny-encoder", "--pair", t], code, *says)
        for n, t, code, says in (
            ("invalid", b"a\xff", 2, ("--pair", "offset 1")),
            ("controls", "\x1b[31m", 0, ()),
            ("empty", "", (0, 2), ()),
            ("long", "the " * 5000, 1, ()),
        )
    ),
    row("pair-for-a-decoder", "trace the --pair x", 2, "--pair"),
    row("target-for-a-decoder", "trace the --target x", 2, "--target"),
    row("target-twice", "trace the -m tiny-translator --target a --target-ids 5", 2),
    row("million-words-forced", "trace --force-context", 1, "256", given=b"the " * 1_000_000),
    row("compare-typed-invalid", ["compare", "the", BAD_TEXT], 2, "offset 4"),
    row("compare-one-too-long", ["compare", "the", "the " * 300], 1, "256"),
    row("compare-pipe-invalid", "compare - the", 1, "offset 3", given=b"ab \xff"),
    row("compare-dash-dash", "compare - -", 2, given=b"the"),
    row("compare-missing", "compare", (0, 2)),
    row("embed-empty", ["embed", ""], 2),
    row("embed-signs", "embed '+ +'", 2),
    row("embed-invalid", ["embed", b"\xff"], 2),
    row("embed-unknown", "embed zzzzqqq", (0, 1, 2)),
    row("embed-long", ["embed", "x" * 100_000], (0, 1, 2)),
    row("embed-controls", ["embed", "\x1b[31m"], (0, 1, 2)),
    row("embed-in-empty", ["embed", "--in", "", "--token", "x"], 2),
    row("embed-in-invalid", ["embed", "--in", b"\xff", "--token", "x"], 2),
    row("embed-token-missing", "embed --in 'the king' --token queen", 2),
    row("dash-word", ["trace", "-5 degrees"], 2, "--"),
    row("dash-word-behind", "trace -- '-5 degrees'", 0),
    row("many-words", ["trace", *["word"] * 3000], 2, "quotes"),
    row("command-long", ["x" * 100_000], 2),
    row("command-control", ["\x1b[31m"], 2, "\\x1b"),
    row("command-invalid", [b"\xff\xfe"], 2),
    row("option-invalid", ["trace", b"--\xff"], 2),
    row("option-long", ["trace", "--" + "x" * 100_000], 2),
    row("option-control", ["trace", "the", "--a\x1b[31m"], 2),
    row("option-value-invalid", ["trace", "the", "--layer", b"\xff"], 2),
    row(
        "out-invalid-name",
        ["trace", "the", "--out", b"\xff\xfe.json"],
        (0, 1),
        leaves="\udcff\udcfe.json",
    ),
    row("file-invalid-name", ["trace", "--file", b"\xff\xfe"], 1),
    row("model-invalid-name", ["trace", "the", "-m", b"\xff\xfe"], 1),
    row("each-with-text", "trace the --each line", 2, "--each"),
    row("each-with-ids", "trace --ids 5 --each line", 2),
    row("each-word", "trace --each word", 2),
    row("strict-alone", "trace the --strict", 2, "--strict"),
    row("chat-without-format", "trace the --chat", (1, 2), "chat"),
]
PLACES = {
    "folder": folder("x"),
    "fifo": fifo("x"),
    "loop": link("x", "x"),
    "broken": link("x", "none"),
    "zero": link("x", "/dev/zero"),
    "null": link("x", "/dev/null"),
    "missing": (),
    "model": tiny("x"),
    "unreadable-proc": link("x", "/proc/self/mem"),
    "sparse": sparse("x", 1 << 40),
    "tty": link("x", "/dev/tty"),
    "random": link("x", "/dev/urandom"),
}
DOORS = {
    "file": "trace --file x",
    "each": "trace --each line --file x",
    "mask": "trace the --mask file:x",
    "against": "verify the --against x",
    "show": "show x",
    "check": "exercise --check x",
    "corpus": "train x --out o",
    "adapter": "trace the --adapter x",
    "models": "models x",
    "tokens": "tokens --file x",
    "ids": "trace -m x --ids 5",
    "gguf": "trace the -m x/m.gguf",
}
# A model is where a model may be; an adapter's folder is a folder.
FINE = {("model", "models"), ("model", "ids")}
PATHS = [
    row(
        f"path-{door}-{name}",
        arguments,
        0 if (name, door) in FINE else 1,
        make=make,
        leaves="o/",
        partial=door == "each",
    )
    for door, arguments in DOORS.items()
    for name, make in PLACES.items()
    if (name, door) not in {("null", "file"), ("null", "tokens"), ("null", "corpus")}
    if name != "sparse" or door in ("file", "each", "mask", "models", "against")
]
NAMES = [
    row(
        f"name-{door}-{name}",
        [word if word != "x" else path for word in arguments.replace("file:x", "x").split()],
        1 if door != "mask" else (1, 2),
        leaves="o/",
        partial=door == "each",
    )
    for door, arguments in DOORS.items()
    if door not in ("gguf",)
    for name, path in (("control", "\x1b[31m\u202ex"), ("invalid", b"\xff"), ("newline", "a\nb"))
]
MASKS = {
    "empty": b"",
    "letters": b"1 x\n1 1\n",
    "ragged": b"1 0\n1\n",
    "twos": b"2 0\n1 1\n",
    "invalid": b"1 \xff",
    "utf16": "1 0\n1 1".encode("utf-16"),
    "nul": b"1\x000\n1 1\n",
    "too-few": b"1\n",
    "too-many": b"1 1 1\n" * 3,
    "huge": b"1 " * 5_000_000,
    "long-token": b"1" * 1_000_000,
    "floats": b"1.0 0.0\n1.0 1.0\n",
    "arabic": "١ ٠\n١ ١\n".encode(),
    "nan": b"nan nan\nnan nan\n",
    "json": b"[[1,0],[1,1]]",
}
MASKED = [
    *(
        row(
            f"mask-file-{name}",
            "trace 'the king' --mask file:m.txt",
            1,
            "m.txt",
            make=file("m.txt", data),
        )
        for name, data in MASKS.items()
    ),
    row(
        "mask-file-bom",
        "trace 'the king' --mask file:m.txt",
        (0, 1),
        make=file("m.txt", BOM + b"1 0\n1 1\n"),
    ),
    row(
        "mask-file-crlf",
        "trace 'the king' --mask file:m.txt",
        0,
        make=file("m.txt", b"1 0\r\n1 1\r\n"),
    ),
    row(
        "mask-hides-all",
        "trace 'the king' --mask file:m.txt --json",
        0,
        make=file("m.txt", b"0 0\n0 0\n"),
    ),
    row("mask-stdin-taken", "trace --mask file:-", (0, 2), given=b"1 0\n1 1\n"),
]
ROWS = (
    *PIPED,
    *FILED,
    *STDIN,
    *DASHED,
    *LINES,
    *STRICT,
    *TWO,
    *GIVEN_IDS,
    *TYPED,
    *PATHS,
    *NAMES,
    *MASKED,
)
test_runs = suite(ROWS)
