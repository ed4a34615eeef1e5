"""What is read beside checkpoints: tokenizers, saved documents, answers, reference arrays."""

import io
import subprocess
import sys
import zipfile
from functools import cache

import numpy as np
from faults.harness import row, suite
from faults.makers import (
    cut,
    edited,
    fifo,
    file,
    filled,
    flipped,
    folder,
    gone,
    link,
    llama,
    sparse,
    tiny,
)

TOKENIZER = "m/tokenizer.json"


def token(name, code, *says, make=(), text="the king", **more):
    makers = (make,) if callable(make) else make
    return row(name, ["trace", text, "-m", "m"], code, *says, make=(tiny(), *makers), **more)


def tokenizer(name, change, *says, code=1, **more):
    return token(name, code, *says, make=edited(TOKENIZER, change), **more)


def model(**changes):
    """The part of a tokenizer that knows its words, changed."""
    return lambda t: {**t, "model": {**t["model"], **changes}}


def vocabulary(change):
    return lambda t: {**t, "model": {**t["model"], "vocab": change(t["model"]["vocab"])}}


def split(pattern):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def marked(here):
    path = here / TOKENIZER
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


BROKEN = file(TOKENIZER, b"{")
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}],
    "pair": [],
    "special_tokens": {},
}
RAW = {
    "empty": b"",
    "brace": b"{",
    "list": b"[]",
    "null": b"null",
    "object": b"{}",
    "binary": b"\xff\xfe\0",
    "bom": b"\xef\xbb\xbf{}",
    "html": b"<html>",
    "deep": b'{"a":' * 99_999 + b"1" + b"}" * 99_999,
    "lfs": b"version https://git-lfs.github.com/spec/v1\n",
    "nan": b'{"model": NaN}',
    "nothing": b'{"model": [' + b"[]," * 20_000_000 + b"[]]}",
    "nul": b"\0" * 1000,
}
TOKENIZERS = (
    *(
        token(f"tokenizer-{name}", 1, "tokenizer.json", make=file(TOKENIZER, data))
        for name, data in RAW.items()
        if name != "nothing"
    ),
    *(token(f"tokenizer-cut-{n}", 1, make=cut(TOKENIZER, n)) for n in (1, 100, 5000, -100)),
    tokenizer("model-null", lambda t: {**t, "model": None}, "its model is missing"),
    tokenizer("model-list", lambda t: {**t, "model": []}, "its model is not"),
    tokenizer("model-unknown", model(type="Newest"), "'Newest'"),
    tokenizer("model-type-long", model(type="x" * 10**6)),
    tokenizer("vocabulary-null", model(vocab=None), "vocab"),
    tokenizer("vocabulary-list", model(vocab=["a"]), "vocab"),
    tokenizer(
        "prefix-number", model(continuing_subword_prefix=5), "continuing_subword_prefix", "5"
    ),
    tokenizer("merges-none", model(type="BPE", merges=5), "merges"),
    tokenizer("merges-unknown", model(type="BPE", merges=["the zzz"]), "merge 0", "'zzz'"),
    tokenizer("merges-three", model(type="BPE", merges=["a b c"]), "merge 0"),
    tokenizer("pieces-text", model(type="Unigram", vocab=["a"], unk_id=0), "entry 0"),
    tokenizer("pieces-unknown", model(type="Unigram", vocab=[["a", 0]], unk_id=7), "unk_id is 7"),
    tokenizer("vocabulary-empty", model(vocab={})),
    tokenizer("id-text", vocabulary(lambda v: {k: str(i) for k, i in v.items()}), " the id "),
    tokenizer("id-float", vocabulary(lambda v: {k: i + 0.5 for k, i in v.items()}), " the id "),
    tokenizer("id-negative", vocabulary(lambda v: {k: -i for k, i in v.items()}), " the id "),
    tokenizer("id-2^70", vocabulary(lambda v: {k: i + 2**70 for k, i in v.items()}), " the id "),
    tokenizer("id-beyond-the-rows", vocabulary(lambda v: {k: i + 5000 for k, i in v.items()})),
    tokenizer("added-null", lambda t: {**t, "added_tokens": None}, code=(0, 1)),
    tokenizer("added-number", lambda t: {**t, "added_tokens": [5]}, "added_tokens"),
    tokenizer(
        "added-beyond",
        lambda t: {**t, "added_tokens": [{**a, "id": 10**9} for a in t["added_tokens"]]},
        code=(0, 1),
    ),
    *(
        tokenizer(f"{part}-unknown", lambda t, p=part: {**t, p: {"type": "Newest"}}, part, "Newest")
        for part in ("normalizer", "pre_tokenizer", "post_processor")
    ),
    tokenizer("normalizer-text", lambda t: {**t, "normalizer": "x"}, "its normalizer"),
    tokenizer("pattern", lambda t: {**t, "pre_tokenizer": split("(")}, "pre_tokenizer", "'('"),
    tokenizer("template", lambda t: {**t, "post_processor": TEMPLATE}, "post_processor", "'[X]'"),
    token("tokenizer-bom-whole", 0, make=marked),
    tokenizer("decoder-unknown", lambda t: {**t, "decoder": {"type": "\x1b[31m"}}, code=(0, 1)),
    token("tokenizer-missing", 1, make=gone(TOKENIZER)),
    token("tokenizer-folder", 1, make=(gone(TOKENIZER), folder(TOKENIZER))),
    token("tokenizer-fifo", 1, make=(gone(TOKENIZER), fifo(TOKENIZER))),
    token("tokenizer-device", 1, make=link(TOKENIZER, "/dev/zero")),
    token("tokenizer-sparse", 1, make=sparse(TOKENIZER, 1 << 40)),
    *(
        row(f"ids-without-{name}", "trace --ids 5,6 -m m", 0, make=(tiny(), make))
        for name, make in {
            "tokenizer": gone(TOKENIZER),
            "sense": file(TOKENIZER, b"{"),
            "words": edited(TOKENIZER, model(vocab={})),
        }.items()
    ),
    *(
        row(f"tokens-of-a-broken-one{name}", "tokens the -m m", 1, TOKENIZER, make=(*make, BROKEN))
        for name, make in {
            "": (tiny(),),
            "-without-weights": (tiny(), gone("m/model.safetensors")),
            "-alone": (tiny(), gone("m/model.safetensors"), gone("m/config.json")),
        }.items()
    ),
    *(
        row(
            f"sentencepiece-{name}",
            "trace the -m m",
            1,
            make=(llama(), file("m/tokenizer.model", data)),
        )
        for name, data in {
            "empty": b"",
            "text": b"hello",
            "cut": b"\x0a\xff",
            "claims": b"\x0a\xff\xff\xff\xff\x0f",
            "binary": b"\xff" * 100,
            "groups": b"\x0b" * 100_000,
            "nothing": b"\x0a\x00" * 1_000_000,
        }.items()
    ),
    *(
        row(
            f"vocab-txt-{name}", "trace the -m m", (0, 1), make=(llama(), file("m/vocab.txt", data))
        )
        for name, data in {"empty": b"", "binary": b"\xff\xfe", "one": b"[UNK]\n"}.items()
    ),
    *(
        row(
            f"vocab-json-{name}",
            "trace the -m m",
            1,
            make=(llama(), file("m/vocab.json", a), file("m/merges.txt", b)),
        )
        for name, (a, b) in {
            "list": ("[]", ""),
            "broken": ("{", ""),
            "merges": ('{"a": 0}', "a b c d\n"),
            "binary": ('{"a":0}', b"\xff\xfe"),
        }.items()
    ),
)


DOCUMENTS = {
    "d.json": ["trace", "the king"],
    "s.json": ["exercise", "--seed", "1"],
    "h.json": ["heads", "the king"],
}


@cache
def written(*words):
    """What the command writes as JSON."""
    return subprocess.run(
        [sys.executable, "-m", "attn_cli", *words, "--json"],
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    ).stdout


def saved(here):
    """Documents of three commands."""
    for name, words in DOCUMENTS.items():
        (here / name).write_bytes(written(*words))


def shown(name, code, *says, make=(), view="", **more):
    makers = (make,) if callable(make) else make
    return row(name, f"show d.json {view}", code, *says, make=makers, **more)


def document(change):
    return (saved, edited("d.json", change))


def block(change):
    """The first attention of the document, changed."""
    return document(
        lambda d: {**d, "attention": [{**d["attention"][0], **change(d["attention"][0])}]}
    )


def array(name, **changes):
    return block(lambda b: {"arrays": {**b["arrays"], name: {**b["arrays"][name], **changes}}})


DAMAGED = {
    "schema-unknown": document(lambda d: {**d, "schema": "attn.newest/1"}),
    "schema-number": document(lambda d: {**d, "schema": 5}),
    "schema-long": document(lambda d: {**d, "schema": "attn." + "x" * 10**6}),
    "schema-missing": document(lambda d: {k: v for k, v in d.items() if k != "schema"}),
    "schema-version": document(lambda d: {**d, "schema": "attn.trace/2"}),
    "attention-null": document(lambda d: {**d, "attention": None}),
    "attention-number": document(lambda d: {**d, "attention": [5]}),
    "prompt-null": document(lambda d: {**d, "prompt": None}),
    "tokens-numbers": document(lambda d: {**d, "prompt": {"text": "x", "tokens": [1]}}),
    "model-text": document(lambda d: {**d, "model": "x"}),
    "settings-list": document(lambda d: {**d, "settings": []}),
    "next-text": document(lambda d: {**d, "next": "x"}),
    "notes-numbers": document(lambda d: {**d, "notes": [5]}),
    "queries-beyond": block(lambda b: {"queries": [9, 10]}),
    "keys-negative": block(lambda b: {"keys": [-1, 0]}),
    "heads-twice": block(lambda b: {"heads": [0, 0]}),
    "scale-text": block(lambda b: {"scale": "x"}),
    "layer-negative": block(lambda b: {"layer": -5}),
    "layer-2^70": block(lambda b: {"layer": 2**70}),
    "arrays-null": block(lambda b: {"arrays": None}),
    "shape-another": array("weights", shape=[1, 9, 9]),
    "shape-huge": array("weights", shape=[1, 10**6, 10**6]),
    "shape-negative": array("weights", shape=[1, -2, -2]),
    "values-text": array("weights", values="x"),
    "values-ragged": array("weights", values=[[[1.0], [1.0, 2.0]]]),
    "values-words": array("weights", values=[[["x", "y"], [1, 2]]]),
    "axes-unknown": array("weights", axes=["a", "b", "c"]),
    "step-9": array("weights", step=9),
    "provenance": array("weights", provenance="guess"),
}
SHOWN = (
    shown("shows", 0, make=saved),
    *(
        shown(f"shows-{kind}", 0, make=saved, view=f"--format {kind}")
        for kind in ("json", "ndjson", "csv", "npz", "svg")
    ),
    *(shown(f"shows-{name}", 1, "d.json", make=make) for name, make in DAMAGED.items()),
    *(
        shown(f"show-{name}", 1, "d.json", make=file("d.json", data))
        for name, data in RAW.items()
        if name not in ("bom",)
    ),
    *(
        shown(f"show-cut-{n}", 1, "d.json", make=(saved, cut("d.json", n)))
        for n in (1, 50, 1000, -2, -500)
    ),
    *(
        shown(f"show-flip-{n}", (0, 1), make=(saved, flipped("d.json", n)))
        for n in (0, 3, 11, 40, 300)
    ),
    shown(
        "token-controls",
        0,
        make=document(
            lambda d: {
                **d,
                "prompt": {
                    **d["prompt"],
                    "tokens": [
                        {**t, "text": "\x1b[31m\u202e</script>"} for t in d["prompt"]["tokens"]
                    ],
                },
            }
        ),
    ),
    *(
        shown(
            f"token-controls-as-{kind}",
            0,
            view=f"--format {kind}",
            make=document(
                lambda d: {
                    **d,
                    "prompt": {
                        **d["prompt"],
                        "tokens": [
                            {**t, "text": "=1+1\x1b</script>"} for t in d["prompt"]["tokens"]
                        ],
                    },
                }
            ),
        )
        for kind in ("csv", "svg", "json")
    ),
    row("show-stdin-empty", "show", 1, given=b""),
    row("show-terminal", "show", 2, stdin="terminal"),
    row("show-closed", "show -", 1, stdin="closed"),
    row("show-without-a-file", "show", 2),
    row("show-npz", "show x.npz", 1, make=file("x.npz", b"PK\3\4" + bytes(50))),
    shown(
        "show-step-it-lacks",
        2,
        make=(
            saved,
            edited("d.json", lambda d: {**d, "attention": [{**d["attention"][0], "arrays": {}}]}),
        ),
        view="--step 5",
    ),
    row("show-heads-as-csv", "show h.json --format csv", 2, make=saved),
    row("show-heads-with-steps", "show h.json --step 1", 2, make=saved),
)
ANSWERS = {
    "empty": b"",
    "brace": b"{",
    "list": b"[]",
    "null": b"null",
    "number": b"5",
    "binary": b"\xff",
    "utf16": "{}".encode("utf-16"),
    "nan": b'{"1": NaN}',
    "1e400": b'{"1": 1e400}',
    "text": b'{"1": "x"}',
    "unknown": b'{"9999": 1}',
    "word": b'{"x": 1}',
    "digits": b'{"1": ' + b"9" * 5000 + b"}",
    "null-answer": b'{"1": null}',
    "deep": b'{"1": ' + b"[" * 99_999 + b"]" * 99_999 + b"}",
    "nothing": b'{"1": [' + b"[]," * 20_000_000 + b"[]]}",
    "long-key": b'{"' + b"1" * 100_000 + b'": 1}',
    "control": b'{"\\u001b[31m": 1}',
    "other-document": b'{"schema": "attn.trace/1"}',
    "sheet-alone": b'{"schema": "attn.exercise/1"}',
}
CHECKED = (
    *(
        row(
            f"answers-{name}",
            "exercise --seed 1 --check a.json",
            (1, 2),
            make=file("a.json", data),
            partial=name == "null-answer",
        )
        for name, data in ANSWERS.items()
    ),
    *(
        row(
            f"sheet-cut-{n}", "exercise --check s.json", 1, "s.json", make=(saved, cut("s.json", n))
        )
        for n in (1, 100, 2000, -2)
    ),
    *(
        row(
            f"sheet-{name}",
            "exercise --check s.json",
            (1, 2),
            make=(saved, edited("s.json", change)),
        )
        for name, change in {
            "no-result": lambda d: {**d, "result": None},
            "no-settings": lambda d: {**d, "settings": {}},
            "seed-text": lambda d: {**d, "settings": {**d["settings"], "seed": "x"}},
            "digits-99": lambda d: {**d, "settings": {**d["settings"], "digits": 99}},
            "blanks-10^9": lambda d: {**d, "settings": {**d["settings"], "blanks": 10**9}},
            "layer-99": lambda d: {**d, "settings": {**d["settings"], "layer": 99}},
            "model-path": lambda d: {
                **d,
                "model": {**d["model"], "source": "/etc/passwd", "name": "/etc/passwd"},
            },
            "prompt-long": lambda d: {**d, "prompt": {**d["prompt"], "text": "x" * 10**6}},
            "tokens-none": lambda d: {**d, "prompt": {"text": None, "tokens": []}},
        }.items()
    ),
)


def npz(**arrays):
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def archive(**members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as book:
        for name, data in members.items():
            book.writestr(name.replace("__", "."), data)
    return out.getvalue()


def npy(described, data=b""):
    text = described.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def member(described, data=b""):
    return archive(**{"blocks.0.hook_resid_pre.npy": npy(described, data)})


REFERENCES = {
    "empty": b"",
    "text": b"hello",
    "cut": npz(x=np.zeros(4))[:-10],
    "zip-of-nothing": archive(),
    "object": npz(**{"blocks.0.hook_resid_pre": np.array([{}], object)}),
    "complex": npz(**{"blocks.0.hook_resid_pre": np.zeros((2, 32), complex)}),
    "dates": npz(**{"blocks.0.hook_resid_pre": np.zeros((2, 32), "M8[s]")}),
    "words": npz(**{"blocks.0.hook_resid_pre": np.array(["x"])}),
    "zero-size": npz(**{"blocks.0.hook_resid_pre": np.zeros((0, 32), "f4")}),
    "another-shape": npz(**{"blocks.0.hook_resid_pre": np.zeros((2, 31), "f4")}),
    "unknown-names": npz(x=np.zeros((2, 32), "f4")),
    "layer-99": npz(**{"blocks.99.hook_resid_pre": np.zeros((2, 32), "f4")}),
    "bomb": member(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 32)}", bytes(100_000_000)
    ),
    "shape-huge": member("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000)}"),
    "shape-2^70": member(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({2**70},)}}"),
    "shape-negative": member("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 32)}"),
    "header-code": member("{'descr': __import__('os').system('true')}"),
    "header-deep": member("(" * 5000 + ")" * 5000),
    "header-empty": archive(**{"blocks.0.hook_resid_pre.npy": b""}),
    "header-binary": archive(**{"blocks.0.hook_resid_pre.npy": b"\x93NUMPY\x01\x00\xff\xff"}),
    "pickled": npz(**{"blocks.0.hook_resid_pre": np.array([print], object)}),
    "names-long": npz(**{"x" * 60_000: np.zeros(2)}),
}
WAITING = ("zip-of-nothing", "names-long", "complex", "dates", "bomb", "header-empty")
AGAINST = (
    *(
        row(f"reference-{name}", "verify 'the king' --against r.npz", 1, make=file("r.npz", data))
        for name, data in REFERENCES.items()
        if name not in WAITING
    ),
    row(
        "reference-npy",
        "verify 'the king' --against r.npy",
        1,
        make=file(
            "r.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", bytes(4))
        ),
    ),
    row("reference-missing", "verify the --against none.npz", 1, "none.npz"),
    row("reference-stdin", "verify the --against -", 1, given=b"hello"),
    row("reference-empty-name", ["verify", "the", "--against", ""], (1, 2)),
)
NAN, INF = float("nan"), float("inf")
NUMBERS = (
    *(
        row(
            f"{command}-{name}",
            f"{command} --ids 5,6,7 -m m --json",
            (0, 1) if command[:2] == "sa" else 0,
            *(says if name == "nan" or command in ("trace", "loss", "lens") else ()),
            make=(llama(), filled(part, value, count)),
        )
        for command in (
            "trace",
            "heads",
            "loss",
            "lens",
            "mask",
            "sample --seed 1",
            "compare --mask none",
            "why",
        )
        for name, part, value, count, says in (
            ("nan", "embed_tokens", NAN, 400, ("NaN",)),
            ("infinite", "lm_head", INF, 9, ("infinite",)),
            ("1e4", "lm_head", 1e4, 99, ()),
            ("3e38", "lm_head", 3e38, 99, ()),
            ("minus-3e38", "q_proj", -3e38, 9, ()),
        )
    ),
    *(
        row(f"temperature-{t}", f"sample 'the king' -t {t} --seed 1 --json", 0)
        for t in ("0", "-0.0", "5e-324", "1e308", "1e-320")
    ),
    *(
        row(f"attention-temperature-{t}", f"trace 'the king' --attention-temperature {t} --json", 0)
        for t in ("0", "-0.0", "5e-324", "1e308")
    ),
    *(
        row(f"mask-value-{v}", f"trace 'the king' --mask-value={v} --json", 0)
        for v in ("3e38", "-3e38", "0", "-0.0", "1e-45")
    ),
    row("top-p-0", "sample 'the king' --top-p 0 --seed 1 --json", 0),
    row("min-p-1", "sample 'the king' --min-p 1 --seed 1 --json", 0),
    row("top-beyond", "trace 'the king' --top 999999999 --json", 0),
    row("draws-none", "sample 'the king' --draws 0 --json --seed 1", 0),
    row("all-hidden", "trace 'the king' --mask padding:2 --json", 0),
    row("digits-9", "trace 'the king' --digits 9", 0),
)
# Many lines that are no document, of which a second of work is enough.
LINES = [
    row(f"show-lines-{name}", "show", 1, given=line * (20_000_000 // len(line)))
    for name, line in {"objects": b"{\n", "lists": b'{"a":[\n', "numbers": b'{"a":[0\n,0\n'}.items()
]
ROWS = (*TOKENIZERS, *SHOWN, *CHECKED, *AGAINST, *NUMBERS, *LINES)
test_runs = suite(ROWS)
