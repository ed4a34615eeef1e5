"""Models in several files, PyTorch's own files, caches and adapters."""

import json

import numpy as np
from faults.harness import row, suite
from faults.makers import (
    GOLDEN,
    cut,
    edited,
    file,
    flipped,
    folder,
    gone,
    gpt2,
    link,
    llama,
    moved,
    sharded,
    sparse,
    tensors,
    tiny,
    without,
)
from stores import HubStore, OllamaStore
from torch_files import Code, as_zip, table, zipped

OPEN = "trace -m m --ids 5,6"
INDEX = "m/model.safetensors.index.json"


def index(change):
    return edited(INDEX, change)


def mapped(**files):
    """The index, where a tensor is said to be in another file."""

    def change(found):
        name = next(iter(found["weight_map"]))
        found["weight_map"][name] = files["to"]

    return index(change)


def bad(name, *makers, says=("m",), **more):
    return row(name, OPEN, 1, *says, make=(llama(), sharded(), *makers), **more)


def extra(here):
    """A tensor in a shard that the index does not know."""
    tensors(lambda t: {**t, "extra": ("F32", np.zeros(2, "f4"))}, "m/one.safetensors")(here)


SHARDS = (
    row("sharded-opens", OPEN + " --json", 0, make=(llama(), sharded())),
    bad("shard-missing", gone("m/two.safetensors"), says=("two.safetensors",), quick=True),
    bad("both-shards-missing", gone("m/two.safetensors"), gone("m/one.safetensors")),
    bad("shard-cut", cut("m/two.safetensors", 50), says=("two.safetensors",)),
    bad("shard-is-folder", gone("m/two.safetensors"), folder("m/two.safetensors")),
    bad(
        "shard-is-lfs",
        file("m/two.safetensors", "version https://git-lfs.github.com/spec/v1\n"),
        says=("LFS",),
    ),
    bad("up-and-out", mapped(to="../x.safetensors"), says=("..",)),
    bad("absolute", mapped(to="/etc/passwd"), says=("/etc/passwd",)),
    bad("backslash", mapped(to="..\\x.safetensors")),
    bad("nul", mapped(to="x\0.safetensors")),
    bad("control", mapped(to="\x1b[31mx")),
    bad("long-file", mapped(to="x" * 100_000)),
    bad("empty-file", mapped(to="")),
    bad("dot", mapped(to=".")),
    bad("number", mapped(to=5)),
    bad("null", mapped(to=None)),
    bad("list", mapped(to=["a"])),
    bad("config-as-shard", mapped(to="config.json")),
    bad("index-as-shard", mapped(to="model.safetensors.index.json")),
    bad("link-out", moved("m/two.safetensors", "two"), link("m/two.safetensors", "../two")),
    bad("link-to-device", link("m/two.safetensors", "/dev/zero")),
    bad("link-loop", link("m/two.safetensors", "two.safetensors")),
    bad(
        "index-forgets-one",
        index(lambda i: {**i, "weight_map": dict(list(i["weight_map"].items())[1:])}),
    ),
    bad(
        "index-knows-too-many",
        index(lambda i: i["weight_map"].update(more="one.safetensors")),
        says=("more",),
    ),
    bad(
        "index-swaps",
        index(
            lambda i: {
                **i,
                "weight_map": {
                    k: "one.safetensors" if v[0] == "t" else "two.safetensors"
                    for k, v in i["weight_map"].items()
                },
            }
        ),
    ),
    bad("tensor-not-in-index", extra),
    bad("map-missing", without("weight_map", INDEX)),
    bad("map-empty", index(lambda i: {**i, "weight_map": {}})),
    bad("map-a-list", index(lambda i: {**i, "weight_map": []})),
    bad("index-a-list", file(INDEX, "[]")),
    bad("index-empty", file(INDEX)),
    bad("index-not-json", file(INDEX, "{")),
    bad("index-not-utf8", file(INDEX, b'{"\xff":1}')),
    bad("index-deep", file(INDEX, '{"weight_map":' + "[" * 99_999 + "]" * 99_999 + "}")),
    bad("index-60-MB-of-nothing", file(INDEX, b'{"weight_map": [' + b"[]," * 20_000_000 + b"[]]}")),
    bad(
        "index-twice",
        file(INDEX, '{"weight_map": {"a": "one.safetensors", "a": "two.safetensors"}}'),
    ),
    bad("index-sparse", sparse(INDEX, 1 << 40)),
)

PT = "m/pytorch_model.bin"


def torch_file(data):
    """A model of which only pytorch_model.bin is there."""
    return (llama(), gone("m/model.safetensors"), file(PT, data))


def call(module, name, argument="true"):
    """A pickle that would call something."""
    return Code().name(module, name).raw(b"(").text(argument).raw(b"tR").done()


def pickled(name, data, *says, **more):
    return row(name, OPEN, 1, *says, make=torch_file(data), **more)


ARRAYS = {"a": np.arange(6, dtype="f4").reshape(2, 3)}
TORCH = (
    *(
        pickled(f"asks-for-{module}.{name}", zipped(call(module, name), {}), name)
        for module, name in (
            ("os", "system"),
            ("builtins", "eval"),
            ("posix", "system"),
            ("subprocess", "Popen"),
            ("builtins", "getattr"),
            ("attn_cli.files", "write_bytes"),
            ("torch", "load"),
        )
    ),
    pickled("plain-pickle-asks", call("os", "system"), "system"),
    pickled("pickle-that-ends", b"\x80\x02"),
    pickled("pickle-empty", b""),
    pickled("pickle-bomb", zipped(b"\x80\x02" + b"]q\0" + b"h\0h\0\x86q\0" * 10_000 + b".", {})),
    pickled("pickle-long-text", zipped(Code().raw(b"X\xff\xff\xff\xff").done(), {})),
    pickled("pickle-long8", zipped(b"\x80\x02\x8b\xff\xff\xff\x7f", {})),
    pickled("pickle-frame", zipped(b"\x80\x04\x95" + b"\xff" * 8 + b".", {})),
    pickled("pickle-memo", zipped(b"\x80\x02r\xff\xff\xff\xff.", {})),
    pickled("pickle-of-nothing", zipped(Code().raw(b"N").done(), {})),
    pickled("storage-missing", zipped(table(ARRAYS), {})),
    pickled("storage-short", zipped(table(ARRAYS), {"0": b"\0" * 8})),
    pickled("zip-cut", as_zip(ARRAYS)[:-30]),
    pickled("zip-head", as_zip(ARRAYS)[:50]),
    pickled("zip-compressed", as_zip(ARRAYS, compression=8)),
    pickled("big-endian", as_zip(ARRAYS, order=b"big"), "endian"),
    pickled("html", b"<!doctype html>"),
    pickled("lfs", b"version https://git-lfs.github.com/spec/v1\n"),
    pickled("other-tensors", as_zip(ARRAYS)),
    row(
        "torch-cut-200",
        OPEN,
        1,
        make=(*torch_file((GOLDEN / "torch/zip.bin").read_bytes()), cut(PT, 200)),
    ),
    row(
        "torch-flip",
        OPEN,
        1,
        make=(*torch_file((GOLDEN / "torch/row.bin").read_bytes()), flipped(PT, 30)),
    ),
)


def hub(**changes):
    """A cache of one model, with something of it changed: `name=bytes`, or None for a loss."""

    def make(here):
        store = HubStore(here / "hub")
        tiny("source")(here)
        files = {p.name: p.read_bytes() for p in (here / "source").iterdir()}
        snapshot = store.add("some/one", files)
        for name, data in changes.items():
            path = snapshot / name.replace("__", ".")
            path.unlink()
            if isinstance(data, bytes):
                path.write_bytes(data)
            elif data:
                path.symlink_to(data)

    return make


def ref(data):
    return file("hub/models--some--one/refs/main", data)


CACHED = "trace the -m some/one"


def cached(name, code, *says, changes=(), make=(), **more):
    return row(
        name,
        CACHED,
        code,
        *says,
        make=(hub(**dict(changes)), *make),
        env={"HF_HUB_CACHE": "hub"},
        **more,
    )


HUB = (
    cached("cache-opens", 0),
    cached("cache-link-out", 1, "m", changes={"config__json": "/etc/passwd"}),
    cached("cache-link-to-another", 1, changes={"config__json": "../../../../source/config.json"}),
    cached("cache-link-broken", 1, changes={"model__safetensors": "../../blobs/none"}),
    cached("cache-ref-up", 1, make=[ref("../../../source")]),
    cached("cache-ref-binary", 1, make=[ref(b"\xff\x00\x1b")]),
    cached("cache-ref-empty", 1, make=[ref("")]),
    cached("cache-ref-long", 1, make=[ref("a" * 1_000_000)]),
    cached("cache-ref-unknown", 1, make=[ref("beef" * 10)]),
    cached(
        "cache-lfs",
        1,
        "LFS",
        changes={"model__safetensors": b"version https://git-lfs.github.com/spec/v1\n"},
    ),
    row("cache-is-a-file", CACHED, 1, make=file("hub", "x"), env={"HF_HUB_CACHE": "hub"}),
    row("cache-is-a-loop", CACHED, 1, make=link("hub", "hub"), env={"HF_HUB_CACHE": "hub"}),
    *(
        row(
            f"cache-name-{n}",
            ["trace", "the", "-m", name],
            1,
            make=hub(),
            env={"HF_HUB_CACHE": "hub"},
        )
        for n, name in enumerate(
            (
                "../one",
                "some/one@../x",
                "some/one@\x1b[31m",
                "some//one",
                "some/one@",
                "some/one/two",
                "/",
                "..",
                "@",
                "a/b@" + "c" * 9999,
            )
        )
    ),
    row(
        "cache-listed",
        "models --json",
        0,
        make=hub(model__safetensors=b"x"),
        env={"HF_HUB_CACHE": "hub"},
    ),
)


def ollama(change=None, data=None):
    """A store of one model, whose manifest is changed or is `data`."""

    def make(here):
        manifest = OllamaStore(here / "store").add("one", gpt2())
        if data is not None:
            manifest.write_bytes(data)
        elif change:
            found = json.loads(manifest.read_text())
            changed = change(found)
            manifest.write_text(json.dumps(found if changed is None else changed))

    return make


def layer(**changes):
    return ollama(lambda m: {**m, "layers": [{**m["layers"][0], **changes}]})


def stored(name, maker, code=1, *says, **more):
    return row(
        name,
        "trace -m ollama:one --ids 5",
        code,
        *says,
        make=maker,
        env={"OLLAMA_MODELS": "store"},
        **more,
    )


STORE = (
    stored("store-opens", ollama(), 0),
    stored("manifest-empty", ollama(data=b"")),
    stored("manifest-not-json", ollama(data=b"{")),
    stored("manifest-list", ollama(data=b"[]")),
    stored("manifest-binary", ollama(data=b"\xff\xfe\0")),
    stored("manifest-deep", ollama(data=b"[" * 100_000 + b"]" * 100_000)),
    stored("manifest-of-nothing", ollama(data=b'{"layers": [' + b"[]," * 20_000_000 + b"[]]}")),
    stored("manifest-nan", ollama(data=b'{"layers": NaN}')),
    stored("layers-missing", ollama(lambda m: {})),
    stored("layers-empty", ollama(lambda m: {"layers": []})),
    stored("layers-null", ollama(lambda m: {"layers": None})),
    stored("layers-numbers", ollama(lambda m: {"layers": [1, 2]})),
    stored("digest-up", layer(digest="sha256:../../../etc/passwd")),
    stored("digest-number", layer(digest=5)),
    stored("digest-missing", layer(digest="sha256:" + "0" * 64)),
    stored("digest-control", layer(digest="sha256:\x1b[31m")),
    stored("digest-long", layer(digest="sha256:" + "0" * 10**6)),
    stored("digest-absolute", layer(digest="/etc/passwd")),
    stored("type-number", layer(mediaType=5)),
    *(
        row(
            f"store-name-{n}",
            ["trace", "-m", name, "--ids", "5"],
            1,
            make=ollama(),
            env={"OLLAMA_MODELS": "store"},
        )
        for n, name in enumerate(
            (
                "ollama:",
                "ollama:../one",
                "ollama:one:../x",
                "ollama:none",
                "ollama:\x1b[31m",
                "ollama:" + "x" * 5000,
                "ollama:one:",
                "ollama:a/b/c/d/e",
            )
        )
    ),
    row("store-listed", "models --json", 0, make=ollama(data=b"{"), env={"OLLAMA_MODELS": "store"}),
)


def adapter(**changes):
    def make(here):
        source = next((GOLDEN / "adapters").glob("**/adapter_config.json")).parent
        (here / "a").mkdir()
        for path in source.iterdir():
            (here / "a" / path.name).write_bytes(path.read_bytes())
        found = json.loads((here / "a/adapter_config.json").read_text())
        (here / "a/adapter_config.json").write_text(json.dumps({**found, **changes}))

    return make


LORA = "a/adapter_model.safetensors"
ADAPTERS = (
    *(
        row(f"adapter-{name}", "trace the -m tiny --adapter a", 1, make=maker)
        for name, maker in {
            "empty-folder": folder("a"),
            "a-file": file("a", "x"),
            "of-another-model": adapter(),
            "config-not-json": (folder("a"), file("a/adapter_config.json", "{")),
            "config-list": (folder("a"), file("a/adapter_config.json", "[]")),
            "rank-zero": adapter(r=0),
            "rank-text": adapter(r="8"),
            "rank-negative": adapter(r=-1),
            "alpha-text": adapter(lora_alpha="x"),
            "no-weights": (adapter(), gone(LORA)),
            "weights-cut": (adapter(), cut(LORA, 20)),
            "kind-unknown": adapter(peft_type="NEW"),
            "pattern-catastrophic": adapter(target_modules="(a+)+$" * 20),
            "pattern-broken": adapter(target_modules="("),
        }.items()
    ),
    row("adapter-missing", "trace the --adapter none", 1, "none"),
    row("adapter-empty", ["trace", "the", "--adapter", ""], 2, "--adapter"),
    row("adapter-long", ["trace", "the", "--adapter", "x" * 5000], 1),
    row("adapter-twice", "trace the --adapter a --adapter b", (1, 2)),
)
ROWS = (*SHARDS, *TORCH, *HUB, *STORE, *ADAPTERS)
test_runs = suite(ROWS)
