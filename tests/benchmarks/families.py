"""Every family beside Llama: cold time and peak memory per byte of checkpoint, in one run.

    python tests/benchmarks/families.py [--runs 5] [--dtype F16]

Makes a random folder of each family, all of about the same bytes, and traces six tokens through
every layer of each in a fresh process, in turn with Llama's so that a machine whose speed drifts
slows both alike. Prints seconds and MiB above a process that only imports, per 100 MB of
checkpoint, and their ratio to Llama's; nothing is asserted.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import numpy as np
from made import DTYPES, write_folder
from processes import ATTN, FLOOR, measured

from attn_cli.families import FAMILIES
from attn_cli.model.config import ConfigReader
from attn_cli.model.tensors import of_layers

NUMBERS, LAYERS, HEADS, WIDTH, INNER = 150_000_000, 12, 12, 768, 3072
_LLAMA = {
    "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS, "intermediate_size": INNER,
    "max_position_embeddings": 1024,
}  # fmt: skip
CONFIGS = {
    "llama": _LLAMA,
    "gemma2": _LLAMA | {"head_dim": 64},
    "gemma3_text": _LLAMA | {"head_dim": 64},
    "phi3": _LLAMA,
    "gpt_neox": _LLAMA | {"num_key_value_heads": None},
    "bloom": {"hidden_size": WIDTH, "n_layer": LAYERS, "n_head": HEADS},
    "opt": _LLAMA | {"ffn_dim": INNER, "num_key_value_heads": None, "intermediate_size": None},
    **dict.fromkeys(("granite", "olmo2", "smollm3", "cohere", "starcoder2", "stablelm"), _LLAMA),
    **dict.fromkeys(("gemma", "glm"), _LLAMA | {"head_dim": 64}),
    "gptj": {
        "n_embd": WIDTH,
        "n_layer": LAYERS,
        "n_head": HEADS,
        "n_inner": INNER,
        "n_positions": 1024,
    },
    "falcon": {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS},
    "mixtral": _LLAMA | {"num_local_experts": 2, "num_experts_per_tok": 2},
    "deepseek_v3": _LLAMA
    | {
        "q_lora_rank": None,
        "kv_lora_rank": 256,
        "qk_rope_head_dim": 32,
        "qk_nope_head_dim": 64,
        "v_head_dim": 64,
        "first_k_dense_replace": LAYERS,
    },
}


def make(folder: Path, kind: str, dtype: str) -> int:
    """Writes a random checkpoint; returns its bytes."""
    config = {key: value for key, value in CONFIGS[kind].items() if value is not None}
    family = import_module(f"attn_cli.families.{FAMILIES[kind]}").FAMILY

    def shapes_with(rows: int) -> dict[str, tuple[int, ...]]:
        config["vocab_size"] = rows
        read = family.read_config(ConfigReader({**config, "model_type": kind}, kind))
        return of_layers(family.shapes(read), read)

    def numbers(shapes: dict[str, tuple[int, ...]]) -> int:
        return sum(int(np.prod(shape)) for shape in shapes.values())

    # As many rows of the vocabulary as make the file as large as the others.
    without, of_a_row = numbers(shapes_with(1)), numbers(shapes_with(2)) - numbers(shapes_with(1))
    shapes = shapes_with(max(20_000, (NUMBERS - without) // of_a_row))
    return write_folder(folder, shapes, {**config, "model_type": kind}, dtype)


def made(folder: Path, kind: str, dtype: str) -> int:
    """`make` in a process of its own: a child's peak memory counts what its parent held."""
    command = [sys.executable, __file__, "--make", str(folder), kind, dtype]
    return int(subprocess.run(command, check=True, capture_output=True).stdout)


def main() -> None:
    if sys.argv[1:2] == ["--make"]:
        print(make(Path(sys.argv[2]), *sys.argv[3:]))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--dtype", choices=DTYPES, default="F16")
    options = parser.parse_args()
    floor = [sys.executable, "-c", FLOOR]
    with tempfile.TemporaryDirectory() as place:
        sizes = {kind: made(Path(place) / kind, kind, options.dtype) / 1e8 for kind in CONFIGS}

        def run(kind: str) -> tuple[float, float]:
            folder = str(Path(place) / kind)
            command = [*ATTN, "trace", "--ids", "1,2,3,4,5,6", "--model", folder]
            command += ["--layer", "all", "--head", "all", "--json", "--quiet"]
            seconds, memory, _ = measured(command)
            least, least_memory, _ = measured(floor)
            return (seconds - least) / sizes[kind], (memory - least_memory) / sizes[kind]

        print(
            f"{'family':<14}{'MB':>6}{'s / 100 MB':>12}{'ratio':>8}{'MiB / 100 MB':>14}{'ratio':>8}"
        )
        for kind in CONFIGS:
            run(kind), run("llama")
            pairs = [(run(kind), run("llama")) for _ in range(options.runs)]
            own = [statistics.median(ours[i] for ours, _ in pairs) for i in (0, 1)]
            ratio = [statistics.median(a[i] / b[i] for a, b in pairs) for i in (0, 1)]
            print(
                f"{kind:<14}{100 * sizes[kind]:>6.0f}{own[0]:>12.3f}{ratio[0]:>7.2f}×"
                f"{own[1]:>14.1f}{ratio[1]:>7.2f}×",
                flush=True,
            )


if __name__ == "__main__":
    main()
