"""Configs of models: what cannot be, and the names under which it is said."""

from faults.harness import row, suite
from faults.makers import (
    config,
    edited,
    fifo,
    file,
    folder,
    gone,
    link,
    llama,
    sparse,
    tiny,
    without,
)

NAME = "m/config.json"


def bad(name, *makers, says=(), code=1, **more):
    return row(name, "trace -m m --ids 5,6", code, *says, make=(llama(), *makers), **more)


def key(name, word, value, **more):
    return bad(name, config(**{word: value}), says=(word,), **more)


def raw(word, text):
    """A config with a value that no JSON writer gives."""

    def make(here):
        config(**{word: "HERE"})(here)
        path = here / NAME
        path.write_text(path.read_text().replace('"HERE"', text))

    return make


WHOLE = (
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "hidden_size",
    "intermediate_size",
    "vocab_size",
)
WRONG = {
    "zero": 0,
    "negative": -4,
    "text": "4",
    "float": 4.5,
    "list": [4],
    "true": True,
    "10^20": 10**20,
    "2^31": 2**31,
}
NONE = {"null": None, "object": {}}
RAW = {"nan": "NaN", "infinite": "Infinity", "1e400": "1e400", "digits": "9" * 5000}
TEXTS = {
    "empty": b"",
    "space": b"  \n",
    "brace": b"{",
    "list": b"[]",
    "null": b"null",
    "text": b'"x"',
    "binary": b"\xff\xfe{\0}\0",
    "bom": b"\xef\xbb\xbf{}",
    "nul": b"{\0}",
    "comment": b"{/* */}",
    "trailing": b"{},",
    "deep": b'{"a":' * 99_999 + b"1" + b"}" * 99_999,
    "html": b"<html></html>",
    "60-MB-of-lists": b'{"a": [' + b"[]," * 20_000_000 + b"[]]}",
    "60-MB-of-text": b'{"a": "' + b"x" * 60_000_000 + b'"}',
    "lfs": b"version https://git-lfs.github.com/spec/v1\n",
    "twice": b'{"model_type": "llama", "model_type": "gpt2"}',
}
ROWS = (
    *(
        key(f"{word}-{name}", word, value)
        for word in WHOLE
        for name, value in WRONG.items()
        if (word, name) != ("num_key_value_heads", "true")
    ),
    *(
        bad(f"{word}-{name}", config(**{word: value}), code=(0, 1))
        for word in WHOLE
        for name, value in NONE.items()
    ),
    *(
        bad(f"{word}-{name}", raw(word, text), says=("config.json",))
        for word in ("hidden_size", "rms_norm_eps", "num_attention_heads")
        for name, text in RAW.items()
    ),
    *(bad(f"missing-{word}", without(word), code=(0, 1)) for word in WHOLE),
    *(
        bad(f"text-{name}", file(NAME, data), says=("config.json",), quick=name == "deep")
        for name, data in TEXTS.items()
    ),
    key("heads-do-not-divide", "num_attention_heads", 3),
    key("kv-heads-do-not-divide", "num_key_value_heads", 3),
    key("epsilon-negative", "rms_norm_eps", -1e-5),
    key("epsilon-text", "rms_norm_eps", "small"),
    key("width-of-head-zero", "head_dim", 0),
    key("width-of-head-odd", "head_dim", 3),
    bad("type-unknown", config(model_type="newest"), says=("'newest'", "attn knows")),
    bad("type-number", config(model_type=5), says=("attn knows",)),
    bad("type-long", config(model_type="x" * 10**6)),
    bad("type-control", config(model_type="\x1b[2J")),
    bad("type-missing", without("model_type"), says=("model_type",)),
    key("activation-unknown", "hidden_act", "sin"),
    key("activation-long", "hidden_act", "s" * 10**6),
    key("activation-list", "hidden_act", ["silu"]),
    key("theta-zero", "rope_theta", 0, code=(0, 1)),
    key("scaling-unknown", "rope_scaling", {"rope_type": "new", "factor": 2.0}, code=(0, 1)),
    key("quantised", "quantization_config", {"quant_method": "newest"}),
    key("quantised-text", "quantization_config", "x"),
    bad("code-of-its-own", config(auto_map={"AutoModel": "x.y"}), code=0),
    bad("unknown-keys-noted", config(**{f"new_{'x' * 300}_{n}": n for n in range(5000)}), code=0),
    bad("unknown-key-control", config(**{"\x1b[31m\u202e": 1}), code=0, says=("\\x1b",)),
    bad("config-missing", gone(NAME)),
    bad("config-folder", gone(NAME), folder(NAME)),
    bad("config-fifo", gone(NAME), fifo(NAME)),
    bad("config-device", link(NAME, "/dev/zero")),
    bad("config-loop", link(NAME, "config.json")),
    bad("config-sparse", sparse(NAME, 1 << 40)),
    row(
        "ignored-key-still-said",
        "trace -m m --ids 5 --ignore-config nothing",
        (0, 1, 2),
        make=llama(),
    ),
    row("gpt2-names", "trace the -m m", 1, "n_head", make=(tiny(), config(n_head=3))),
    row(
        "gpt2-nan",
        "trace the -m m",
        1,
        "config.json",
        make=(tiny(), config(layer_norm_epsilon=float("nan"))),
    ),
    *(
        row(
            f"{command}-says-it-too",
            f"{command} -m m --ids 5,6".replace("cost -m m --ids 5,6", "cost -m m"),
            1,
            "num_attention_heads",
            make=(llama(), config(num_attention_heads=3)),
        )
        for command in (
            "heads",
            "mask",
            "sample",
            "loss",
            "lens",
            "why",
            "verify",
            "exercise",
            "cost",
        )
    ),
    row(
        "models-says-it-too",
        "models m",
        1,
        "num_attention_heads",
        make=(llama(), config(num_attention_heads=3)),
    ),
    row(
        "context-of-text",
        "trace -m m --ids 5",
        1,
        "max_position_embeddings",
        make=(llama(), config(max_position_embeddings="x")),
    ),
    row(
        "nested-text-config",
        "trace -m m --ids 5",
        1,
        make=(llama(), edited(NAME, lambda c: {"model_type": "gemma3", "text_config": 5})),
    ),
)
test_runs = suite(ROWS)
