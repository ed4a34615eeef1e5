"""What a run is said to take is what its process takes, over one that does nothing but import."""

import json
import math
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import gguf_bytes
import numpy as np
import pytest

from attn_cli.machine import available

pytestmark = pytest.mark.faults
MIB = 1 << 20
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": MIB, "GiB": 1 << 30}
LEAST = 200 * MIB
NUMBERS = {"F32": 4, "BF16": 2, "F16": 2}
TOKENIZER = Path(__file__).parents[2] / "attn_cli/data/tiny/tokenizer.json"
WORKER = Path(__file__).with_name("memory.py")


def llama(layers, width, heads, kv_heads, inner, vocabulary, dtype="F32", tied=True):
    config = {
        "model_type": "llama", "num_hidden_layers": layers, "hidden_size": width,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads,
        "head_dim": width // heads, "intermediate_size": inner, "vocab_size": vocabulary,
        "tie_word_embeddings": tied, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
        "rope_theta": 1e5, "hidden_act": "silu",
    }  # fmt: skip
    keys = kv_heads * (width // heads)
    shapes = {"model.embed_tokens.weight": (vocabulary, width), "model.norm.weight": (width,)}
    shapes |= {} if tied else {"lm_head.weight": (vocabulary, width)}
    for layer in range(layers):
        maps = {
            "self_attn.q_proj": (width, width), "self_attn.k_proj": (keys, width),
            "self_attn.v_proj": (keys, width), "self_attn.o_proj": (width, width),
            "mlp.gate_proj": (inner, width), "mlp.up_proj": (inner, width),
            "mlp.down_proj": (width, inner), "input_layernorm": (width,),
            "post_attention_layernorm": (width,),
        }  # fmt: skip
        shapes |= {f"model.layers.{layer}.{name}.weight": of for name, of in maps.items()}
    return config, shapes, dtype


def gpt2(layers, width, heads, vocabulary, dtype="F32"):
    """Its matrices are stored as (input, output)."""
    config = {
        "model_type": "gpt2", "n_layer": layers, "n_embd": width, "n_head": heads,
        "n_positions": 1024, "vocab_size": vocabulary, "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu_new",
    }  # fmt: skip
    shapes = {"wte.weight": (vocabulary, width), "wpe.weight": (1024, width)}
    maps = {
        "attn.c_attn": (width, 3 * width), "attn.c_proj": (width, width),
        "mlp.c_fc": (width, 4 * width), "mlp.c_proj": (4 * width, width),
    }  # fmt: skip
    for layer in range(layers):
        for name, of in maps.items():
            shapes |= {f"h.{layer}.{name}.weight": of, f"h.{layer}.{name}.bias": of[1:]}
    norms = [f"h.{layer}.ln_{n}" for layer in range(layers) for n in (1, 2)]
    for name in (*norms, "ln_f"):
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    return config, shapes, dtype


def bert(layers, width, heads, inner, vocabulary):
    config = {
        "model_type": "bert", "architectures": ["BertForMaskedLM"], "num_hidden_layers": layers,
        "hidden_size": width, "num_attention_heads": heads, "intermediate_size": inner,
        "vocab_size": vocabulary, "max_position_embeddings": 2048, "type_vocab_size": 2,
        "hidden_act": "gelu", "layer_norm_eps": 1e-12,
    }  # fmt: skip
    shapes = {
        "bert.embeddings.word_embeddings.weight": (vocabulary, width),
        "bert.embeddings.position_embeddings.weight": (2048, width),
        "bert.embeddings.token_type_embeddings.weight": (2, width),
        "cls.predictions.transform.dense.weight": (width, width),
        "cls.predictions.transform.dense.bias": (width,),
        "cls.predictions.bias": (vocabulary,),
    }
    maps = {
        "attention.self.query": (width, width), "attention.self.key": (width, width),
        "attention.self.value": (width, width), "attention.output.dense": (width, width),
        "intermediate.dense": (inner, width), "output.dense": (width, inner),
    }  # fmt: skip
    norms = ["bert.embeddings.LayerNorm", "cls.predictions.transform.LayerNorm"]
    for layer in range(layers):
        start = f"bert.encoder.layer.{layer}."
        norms += [f"{start}attention.output.LayerNorm", f"{start}output.LayerNorm"]
        for name, of in maps.items():
            shapes |= {f"{start}{name}.weight": of, f"{start}{name}.bias": of[:1]}
    for name in norms:
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    return config, shapes, "F32"


def t5(layers, width, heads, inner, vocabulary):
    config = {
        "model_type": "t5", "num_layers": layers, "num_decoder_layers": layers, "d_model": width,
        "num_heads": heads, "d_kv": width // heads, "d_ff": inner, "vocab_size": vocabulary,
        "feed_forward_proj": "relu", "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128, "tie_word_embeddings": True,
        "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1,
        "layer_norm_epsilon": 1e-6,
    }  # fmt: skip
    shapes = {"shared.weight": (vocabulary, width)}
    parts = {"encoder": ["SelfAttention"], "decoder": ["SelfAttention", "EncDecAttention"]}
    for stack, attentions in parts.items():
        shapes[f"{stack}.final_layer_norm.weight"] = (width,)
        name = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        shapes[name] = (32, heads)
        for layer in range(layers):
            start = f"{stack}.block.{layer}.layer."
            for place, attention in enumerate(attentions):
                shapes |= {f"{start}{place}.{attention}.{one}.weight": (width, width)
                           for one in "qkvo"}  # fmt: skip
            last = f"{start}{len(attentions)}.DenseReluDense."
            shapes |= {f"{last}wi.weight": (inner, width), f"{last}wo.weight": (width, inner)}
            shapes |= {f"{start}{place}.layer_norm.weight": (width,)
                       for place in range(len(attentions) + 1)}  # fmt: skip
    return config, shapes, "F32"


def gguf(layers, width, heads, kv_heads, inner, vocabulary, kind="Q4_K"):
    """A file of matrices in float32, or of 4 bits a number in blocks of 256 with two scales."""
    keys, of_layer = kv_heads * (width // heads), {}
    for layer in range(layers):
        maps = {
            "attn_q": (width, width), "attn_k": (keys, width), "attn_v": (keys, width),
            "attn_output": (width, width), "ffn_gate": (inner, width), "ffn_up": (inner, width),
            "ffn_down": (width, inner), "attn_norm": (width,), "ffn_norm": (width,),
        }  # fmt: skip
        of_layer |= {f"blk.{layer}.{name}.weight": of for name, of in maps.items()}
    shapes = {"token_embd.weight": (vocabulary, width), "output_norm.weight": (width,), **of_layer}
    numbers = {
        "block_count": layers, "context_length": 8192, "embedding_length": width,
        "feed_forward_length": inner, "attention.head_count": heads,
        "attention.head_count_kv": kv_heads, "vocab_size": vocabulary,
    }  # fmt: skip
    rates = {"attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 1e5}
    entries = [gguf_bytes.word("general.architecture", "llama")]
    for code, form, values in ((gguf_bytes.U32, "<I", numbers), (6, "<f", rates)):
        entries += [gguf_bytes.entry(f"llama.{key}", code, struct.pack(form, value))
                    for key, value in values.items()]  # fmt: skip
    tensors, data = [], bytearray()
    scales = np.array([0.0005, 0.0005], "<f2").tobytes()
    number, of_block, block = {
        "F32": (0, 1, np.float32(0.01).tobytes()),
        "Q4_K": (12, 256, scales + bytes(range(140))),
    }[kind]
    for name, shape in shapes.items():
        vector = len(shape) == 1
        tensors.append(gguf_bytes.tensor(name, shape[::-1], 0 if vector else number, len(data)))
        data += bytes(4 * width) if vector else block * (math.prod(shape) // of_block)
        data += bytes(-len(data) % 32)
    return gguf_bytes.whole(tuple(entries), tuple(tensors), bytes(data))


MODELS = {
    "smollm2": lambda: llama(6, 576, 9, 3, 1536, 49152),
    "smollm2-bf16": lambda: llama(6, 576, 9, 3, 1536, 49152, "BF16"),
    "vocabulary": lambda: llama(2, 64, 4, 4, 128, 200_000, tied=False),
    "wide": lambda: llama(3, 512, 4, 4, 16384, 1000, "BF16"),
    "heads": lambda: llama(2, 512, 64, 64, 1024, 1000, "F16"),
    "gpt2": lambda: gpt2(2, 2304, 36, 1000),
    "gpt2-f16": lambda: gpt2(2, 2304, 36, 1000, "F16"),
    "bert": lambda: bert(3, 512, 8, 2048, 60_000),
    "t5": lambda: t5(3, 512, 8, 2048, 32_000),
    "attention": lambda: llama(1, 6144, 48, 48, 512, 1000, "BF16"),
    "named": lambda: llama(2, 2048, 4, 4, 8192, 1000, "BF16"),
    "read": lambda: llama(6, 768, 12, 12, 3072, 1000),
    "gguf": lambda: gguf(2, 2048, 16, 4, 8192, 32_000),
    "gguf-f32": lambda: gguf(2, 512, 8, 4, 1024, 100_000, "F32"),
}
# What is asked; by CASES of so many tokens that no run is long and most take more than LEAST, or
# would if they held what they write.
ASKED = {
    "loss": ("loss",),
    "json": ("trace", "--json", "--head", "all"),
    "one": ("trace", "--json"),
    "csv": ("trace", "--format", "csv", "--head", "0,1"),
    "npz": ("trace", "--layer", "0,1", "--head", "all", "--out", "OUT.npz"),
    "heads": ("heads", "--json"),
    "layers": ("heads", "--layer", "all"),
    "mask": ("mask",),
    "mask-json": ("mask", "--json"),
    "compare": ("compare", "--mask", "window:9"),
    "verify": ("verify",),
    "lens": ("lens",),
    "why": ("why", "--by", "component", "--layer", "1"),
    "sample": ("sample", "--max-tokens", "4"),
    "models": ("compare", "--model", "MODEL/."),
    "exercise": ("exercise", "--layer", "0"),
    "prove": ("heads", "--prove"),
    "scan": ("scan", "TEXT", "--strict"),
}
CASES = [
    ("smollm2", 1000, "loss json heads mask lens sample why"),
    ("smollm2", 800, "npz mask-json compare"),
    ("smollm2", 500, "csv"),
    ("smollm2", 350, "verify"),
    ("smollm2", 2500, "layers why"),
    ("smollm2-bf16", 1000, "json loss sample"),
    ("smollm2-bf16", 700, "npz"),
    ("smollm2-bf16", 350, "verify"),
    ("vocabulary", 1000, "loss npz mask verify sample lens"),
    ("wide", 1000, "json lens mask verify sample layers loss"),
    ("heads", 600, "heads loss sample"),
    ("heads", 420, "json npz models"),
    ("heads", 250, "verify"),
    ("gpt2", 100, "one"),
    ("gpt2-f16", 100, "one loss"),
    ("bert", 1000, "json npz mask compare layers"),
    ("bert", 500, "verify"),
    ("t5", 1000, "json npz loss sample layers"),
    ("t5", 400, "verify"),
    ("attention", 12, "exercise"),
    ("named", 0, "prove"),
    ("read", 1000, "scan"),
    ("gguf", 300, "one lens"),
    ("gguf-f32", 600, "loss"),
    ("gguf-f32", 2000, "why"),
]
# Trainings of a few steps, by their options: wide ones, of long rows, of many words.
WIDE = ("--width", "512", "--heads", "8")
TRAININGS = [
    ("next", 900, 12, WIDE), ("translate", 900, 12, WIDE),
    ("masked", 900, 200, ("--width", "256", "--heads", "64", "--context", "512")),
    ("masked", 40_000, 12, ("--width", "128")),
]  # fmt: skip
EVERY = [(model, count, name) for model, count, names in CASES for name in names.split()]


def write(folder, config, shapes, dtype):
    """A folder of such a model. Its numbers are small and repeat themselves, so that queries and
    keys of a token are alike, and heads have names; the weights of norms are 1."""
    (folder / "config.json").write_text(json.dumps(config))
    rng, header, at = np.random.default_rng(0), {}, 0
    for name, shape in shapes.items():
        end = at + NUMBERS[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    stored, ones = (
        {
            "F32": some, "F16": some.astype(np.float16),
            "BF16": (some.view(np.uint32) >> 16).astype(np.uint16),
        }[dtype]
        for some in (rng.standard_normal(1 << 20, np.float32) * np.float32(0.02),
                     np.ones(1 << 20, np.float32))
    )  # fmt: skip
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            count, some = math.prod(shape), ones if name.endswith("norm.weight") else stored
            for start in range(0, count, some.size):
                file.write(some[: count - start].tobytes())
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Makes the folder of a model, once."""
    there = {}

    def made(name):
        if name not in there:
            folder, found = tmp_path_factory.mktemp(name), MODELS[name]()
            if isinstance(found, bytes):
                there[name] = str(folder / "model.gguf")
                Path(there[name]).write_bytes(found)
            else:
                there[name] = write(folder, *found)
        return there[name]

    yield made
    for path in map(Path, there.values()):
        (path if path.is_file() else path / "model.safetensors").unlink()


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Runs attn in a process; gives the exit code, the peak in bytes and what it said."""
    place = tmp_path_factory.mktemp("peaks")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(WORKER.parents[2])

    def run(*arguments):
        out = place / "peak"
        texts = [str(one).replace("OUT", str(place / "out")) for one in arguments]
        done = subprocess.run(
            [sys.executable, str(WORKER), str(out), *texts], env=environment, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        code, peak = map(int, out.read_text().split())
        return code, peak, done.stderr.decode()

    return run


@pytest.fixture(scope="module")
def imports(measured):
    """The peak of a run that does nothing but import."""
    return measured("import")[1]


def ids(count):
    return ",".join(str(5 + place * 7 % 900) for place in range(count))


@pytest.mark.parametrize(("name", "count", "asked"), EVERY)
def test_a_run_takes_what_it_is_said_to_take(
    tmp_path, model, measured, imports, name, count, asked
):
    command, *more = ASKED[asked]
    more = [
        one.replace("MODEL", model(name)).replace("TEXT", str(tmp_path / "text")) for one in more
    ]
    if asked == "scan":
        shutil.copy(TOKENIZER, model(name))
        (tmp_path / "text").write_text(f"{'the ' * count}\n")
    target = ("--target-ids", ids(count // 2)) if name == "t5" else ()
    prompt = ("--ids", ids(count)) if count and asked != "scan" else ()
    typed = (command, "--model", model(name), *prompt, *target, *more)
    compare_takes(measured, imports, typed, "1")


@pytest.mark.parametrize(("objective", "words", "length", "options"), TRAININGS)
def test_a_training_takes_what_it_is_said_to_take(
    tmp_path, measured, imports, objective, words, length, options
):
    rng = np.random.default_rng(0)
    lines = [" ".join(f"w{n}" for n in row) for row in rng.integers(words, size=(words, length))]
    if objective == "translate":
        lines = [f"{line}\t{line}" for line in lines]
    (tmp_path / "text").write_text("\n".join(lines))
    typed = ("train", tmp_path / "text", "--objective", objective, "--steps", "2", "--watch", "",
             "--watch-prompt", "", "--out", tmp_path / "trained", *options)  # fmt: skip
    compare_takes(measured, imports, typed, "60MiB")


def compare_takes(measured, imports, typed, little):
    """Asserts that a run, refused where it may take only so `little`, takes what that says."""
    code, _, said = measured(*typed, "--max-memory", little)
    found = re.search(r"takes ([\d.,]+) (\w+)", said)
    assert code == 1 and "may be used" in said and found, said
    estimate = float(found[1].replace(",", "")) * UNITS[found[2]]
    if estimate > 0.7 * available():  # of a machine that others use too
        return
    code, peak, said = measured(*typed, "--max-memory", "64GiB")
    assert code == 0, said
    taken = peak - imports
    if max(taken, estimate) > LEAST:
        assert 0.8 < estimate / taken < 1.2, f"{estimate / MIB:,.0f} MiB of {taken / MIB:,.0f}"
