"""Options, of every command: numbers that are none, words that are unknown, what has no effect."""

from faults.harness import row, suite
from faults.makers import file

from attn_cli.cli.app import build
from attn_cli.cli.commands import COMMANDS

NUMBERS = {
    "nan": "nan",
    "inf": "inf",
    "minus-inf": "-inf",
    "1e400": "1e400",
    "under": "1_000",
    "arabic": "٣",
    "digits": "9" * 5000,
    "minus-digits": "-" + "9" * 5000,
    "hex": "0x10",
    "space": " ",
    "empty": "",
    "letters": "ten",
    "control": "\x1b[31m5",
    "full-width": "５",
    "two": "1 2",
    "fraction": "1/2",
    "plus-minus": "+-1",
    "exponent": "e5",
    "comma": "1,5e",
    "invalid": b"\xff",
    "long": "x" * 100_000,
}
# Those that are words for some options, or harmless: a token may be called so.
TEXTS = {
    "--query",
    "--key",
    "--watch",
    "--target",
    "--pair",
    "--token",
    "--in",
    "--watch-prompt",
    "--watch-query",
    "--watch-key",
    "--out",
    "--file",
    "--each",
    "--ids",
    "--target-ids",
    "--adapter",
    "--ignore-config",
    "--model",
    "--against",
    "--check",
    "--lang",
}
START = {
    "scan": ["scan", "corpus.txt"],
    "train": ["train", "corpus.txt", "--out", "o"],
    "cost": ["cost"],
    "models": ["models"],
    "schema": ["schema"],
    "show": ["show", "none.json"],
    "embed": ["embed", "king"],
    "compare": ["compare", "the king", "the man"],
}
TRAINED = file("corpus.txt", "the king is a man\nthe queen is a woman\n" * 20)


def options(command):
    """The options of a command that take a value that is no free text."""
    for option in build(command).params:
        if option.param_type_name == "option" and not option.is_flag:
            name = max(option.opts, key=len)
            if name not in TEXTS:
                yield name


def begun(command):
    return START.get(command, [command, "the king"])


# Every option meets two of them, others at each option; a whole and a real number meet all.
OPTIONS = [(command, name) for command in COMMANDS for name in options(command)]
MATRIX = [
    row(
        f"{command}{name}-{kind}",
        [*begun(command), name, value],
        2,
        make=TRAINED,
        quick=(command, name, kind) == ("trace", "--top", "nan"),
    )
    for at, (command, name) in enumerate(OPTIONS)
    for nth, (kind, value) in enumerate(NUMBERS.items())
    if (nth + at) % 11 == 0 or (command, name) in (("trace", "--top"), ("sample", "--temperature"))
]
RANGES = [
    row(
        f"range-{command}{name}{value}", [*begun(command), f"{name}={value}"], 2, says, make=TRAINED
    )
    for command, name, value, says in (
        ("trace", "--top", "0", "1 to"),
        ("trace", "--top", "-1", "1 to"),
        ("trace", "--digits", "10", "0 to 9"),
        ("trace", "--attention-temperature", "-1", "0 or more"),
        ("trace", "--attention-temperature", "-1e-9", "0 or more"),
        ("trace", "--max-tokens", "0", "1 to"),
        ("trace", "--mask-value", "1e39", "to 3e+38"),
        ("sample", "--temperature", "-0.1", "0 or more"),
        ("sample", "--top-p", "1.1", "0 to 1"),
        ("sample", "--top-p", "-0.1", "0 to 1"),
        ("sample", "--min-p", "2", "0 to 1"),
        ("sample", "--top-k", "-1", "0 to"),
        ("sample", "--seed", "-1", "0 to"),
        ("sample", "--seed", "1000000000", "0 to"),
        ("sample", "--draws", "1e9", "0 to"),
        ("sample", "--sweep", "1,nan", "0 or more"),
        ("sample", "--sweep", "1,,2", "0 or more"),
        ("train", "--steps", "0", "1 to"),
        ("train", "--width", "0", "1 to"),
        ("train", "--width", "33", "heads"),
        ("train", "--context", "1", "2 to"),
        ("train", "--learning-rate", "-1", "0 or more"),
        ("train", "--seed", "-1", "0 to"),
        ("train", "--heads", "97", "1 to 96"),
        ("train", "--layers", "97", "1 to 96"),
        ("cost", "--context", "0", "1 to"),
        ("cost", "--context", "1e5", "1 to"),
        ("cost", "--context", "2,048", "whole numbers"),
        ("exercise", "--blanks", "0", "1 to"),
        ("exercise", "--digits", "-1", "0 to"),
        ("exercise", "--seed", "x", "0 to"),
        ("trace", "--max-memory", "0", "a size"),
        ("trace", "--max-memory", "-1", "a size"),
        ("trace", "--max-memory", "1X", "a size"),
        ("trace", "--max-memory", "1e9", "a size"),
        ("trace", "--max-memory", "9" * 30, "a size"),
        ("trace", "--layer", "2", "0 to 1"),
        ("trace", "--layer", "-3", "0 to 1"),
        ("trace", "--layer", "1-0", "0 to 1"),
        ("trace", "--layer", "0,,1", "0 to 1"),
        ("trace", "--head", "4", "0 to 3"),
        ("heads", "--head", "x", "0 to 3"),
        ("trace", "--step", "7", "1 to 6"),
        ("trace", "--step", "0", "1 to 6"),
        ("trace", "--query", "9", "0 to 1"),
        ("trace", "--key", "queen", "king"),
        ("trace", "--without-head", "0", "L.H"),
        ("trace", "--without-head", "0.9", "0 to 3"),
        ("trace", "--without-head", "9.0", "0 to 1"),
        ("trace", "--without", "all", "positions"),
        ("trace", "--without", "mlp:9", "0 to 1"),
        ("trace", "--mask", "window:0", "window"),
        ("trace", "--mask", "window:-1", "window"),
        ("trace", "--mask", "padding:99", "0 to"),
        ("trace", "--mask", "block:0", "block"),
        ("trace", "--mask", "block:0:9", "0 to 1"),
        ("trace", "--mask", "prefix:x", "prefix"),
        ("trace", "--mask", "", "mask"),
        ("trace", "--view", "pie", "heatmap"),
        ("trace", "--format", "pdf", "json"),
        ("trace", "--layout", "up", "rows"),
        ("trace", "--stack", "encoder", "decoder"),
        ("trace", "--kind", "cross", "cross"),
        ("trace", "--lang", "xx", "en"),
        ("why", "--column", "-1", "0 to"),
        ("why", "--array", "x9", "one of"),
        ("why", "--query", "9", "0 to 1"),
        ("heads", "--sort", "name", "one of"),
        ("heads", "--circuit", "9.9", "layer 0 to 1"),
        ("cost", "--preset", "gpt9", "gpt2"),
        ("cost", "--preset", "x" * 5000, "gpt2"),
        ("schema", "--out", "", "--out"),
        ("trace", "--each", "word", "line"),
        ("train", "--objective", "all", "next"),
        ("train", "--mask", "x", "causal"),
        ("train", "--masking-rate", "0", "0.01 to 1"),
        ("lens", "--query", "9", "0 to 1"),
    )
]
MODELS = [
    row(f"random-{key}-{kind}", ["trace", "--ids", "5", "-m", f"random:{key}={value}"], 2, key)
    for key in ("layers", "heads", "model_width", "context", "seed")
    for kind, value in list(NUMBERS.items())[:9]
    if isinstance(value, str)
]
TWICE = {
    "two-masks": "trace the --mask none --mask causal",
    "random-layers": "trace the -m random:layers=2,layers=3",
    "json-and-format": "trace the --json --format csv",
    "preset-and-model": "cost --preset gpt2 -m tiny",
    "npz-each": "trace --each line --format npz",
    "html-each": "trace --each line --format html",
    "csv-heads": "heads the --format csv",
    "key-and-answer": "exercise --check x --each line",
    "unknown-command": "trac the",
    "no-such-option": "trace --no-such",
    "short-unknown": "trace -Z",
    "value-missing": "trace the --layer",
    "value-missing-before-other": "trace the --layer --head 1",
    "flag-with-value": "trace the --json=yes",
    "schema-unknown": "schema nothing",
    "schema-show": "schema show",
    "models-two": "models a b",
    "train-nothing": "train",
    "train-no-out": "train corpus.txt",
    "version-with-value": "--version=2",
    "help-unknown": "help nothing",
    "suffix-unknown": "trace the --out x.pdf",
    "out-empty": "trace the --out ''",
    "quiet-with-value": "trace the --quiet=x",
    "step-of-lens": "lens the --step 1",
    "temperature-of-trace": "trace the --temperature 1",
    "same-model-nothing": "compare the the --by",
    "max-memory-of-tokens": "tokens the --max-memory 1G",
}
THREADS = [
    row(f"threads-{kind}", "trace the", 2, "ATTN_THREADS", env={"ATTN_THREADS": value})
    for kind, value in NUMBERS.items()
    if isinstance(value, str) and value and kind != "long"
]
WORLD = {
    "columns-nonsense": {"COLUMNS": "nan"},
    "columns-zero": {"COLUMNS": "0"},
    "columns-minus": {"COLUMNS": "-5"},
    "columns-digits": {"COLUMNS": "9" * 5000},
    "columns-arabic": {"COLUMNS": "٣"},
    "columns-one": {"COLUMNS": "1"},
    "lines-nonsense": {"LINES": "x"},
    "term-dumb": {"TERM": "dumb"},
    "term-empty": {"TERM": ""},
    "term-odd": {"TERM": "\x1b[31m"},
    "no-color": {"NO_COLOR": "1"},
    "force-color": {"FORCE_COLOR": "1"},
    "locale-c": {"LC_ALL": "C"},
    "locale-odd": {"LC_ALL": "xx_YY.ZZ"},
    "locale-posix": {"LC_ALL": "POSIX", "LANG": ""},
    "encoding-latin": {"PYTHONIOENCODING": "latin-1"},
    "encoding-ascii": {"PYTHONIOENCODING": "ascii"},
    "encoding-utf16": {"PYTHONIOENCODING": "utf-16"},
    "utf8-off": {"PYTHONUTF8": "0"},
    "ascii": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "home-gone": {"HOME": "/nonexistent"},
    "home-empty": {"HOME": ""},
    "hub-empty": {"HF_HUB_CACHE": ""},
    "tmpdir-gone": {"TMPDIR": "/nonexistent"},
    "warnings": {"PYTHONWARNINGS": "always"},
    "dev-mode": {"PYTHONDEVMODE": "0"},
    "tty-compatible": {"TTY_COMPATIBLE": "1"},
    "zh": {"LC_ALL": "zh_CN.UTF-8"},
}
ROWS = (
    *MATRIX,
    *RANGES,
    *MODELS,
    *THREADS,
    *(row(name, arguments, 2, make=TRAINED) for name, arguments in TWICE.items()),
    *(row(f"env-{name}", "trace 'the king ▏ é 中国'", 0, env=env) for name, env in WORLD.items()),
    *(
        row(
            f"env-{name}-screen",
            "heads 'the king'",
            0,
            env=env,
            stdout="terminal",
            stderr="terminal",
        )
        for name, env in WORLD.items()
    ),
    row("model-of-environment-bad", "trace the", 1, "none", env={"ATTN_MODEL": "none"}),
    row("model-of-environment-control", "trace the", 1, "\\x1b", env={"ATTN_MODEL": "\x1b[2J"}),
    row("file-name-empty", "trace --file ''", 2, "the name of a file is empty"),
    row("reference-name-empty", "verify the --against ''", 2, "the name of a file is empty"),
    row("listing-of-no-name", "models ''", 1, "no model ''"),
    row("model-empty", ["trace", "the", "-m", ""], (1, 2)),
)
test_runs = suite(ROWS)
