"""Models made for measuring: folders and GGUF files of random numbers, SmolLM2 as a folder.

    python tests/benchmarks/made.py folder|gguf PLACE SHAPE [DTYPE]
    python tests/benchmarks/made.py smollm2 PLACE

SHAPE is JSON. Each is made in a process of its own (`make`): the memory that it takes is not
counted into the processes that are measured.
"""

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class Shape(NamedTuple):
    """The sizes of a Llama-shaped model."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    inner: int
    vocabulary: int
    tied: bool = False


SMOLLM2 = Shape(30, 576, 9, 3, 64, 1536, 49152, True)
BILLION = Shape(22, 2048, 32, 4, 64, 5632, 32000)
_KEYS = {
    "layers": "num_hidden_layers", "width": "hidden_size", "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads", "head_width": "head_dim", "inner": "intermediate_size",
    "vocabulary": "vocab_size", "tied": "tie_word_embeddings",
}  # fmt: skip


def make(*arguments: Any) -> None:
    """Runs this file; raises CalledProcessError."""
    texts = [json.dumps(one) if isinstance(one, tuple) else str(one) for one in arguments]
    subprocess.run([sys.executable, __file__, *texts], check=True)


def shape_of(folder: Path) -> Shape:
    """The sizes of a Llama-shaped folder, by its config.json."""
    config = json.loads((folder / "config.json").read_text())
    config.setdefault("head_dim", config["hidden_size"] // config["num_attention_heads"])
    config.setdefault("num_key_value_heads", config["num_attention_heads"])
    config.setdefault("tie_word_embeddings", False)
    return Shape(**{name: config[key] for name, key in _KEYS.items()})


def config_of(shape: Shape, dtype: str, **more: Any) -> dict[str, Any]:
    """config.json as the reference library writes it."""
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        **{key: getattr(shape, name) for name, key in _KEYS.items()},
        "max_position_embeddings": 1 << 17,
        "rms_norm_eps": 1e-5,
        "rope_theta": 100000.0,
        "torch_dtype": DTYPES[dtype],
        **more,
    }


def maps_of(shape: Shape) -> dict[str, tuple[int, int]]:
    """The linear maps of a layer, (output, input)."""
    q_width, kv_width = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    return {
        "self_attn.q_proj": (q_width, shape.width), "self_attn.k_proj": (kv_width, shape.width),
        "self_attn.v_proj": (kv_width, shape.width), "self_attn.o_proj": (shape.width, q_width),
        "mlp.gate_proj": (shape.inner, shape.width), "mlp.up_proj": (shape.inner, shape.width),
        "mlp.down_proj": (shape.width, shape.inner),
    }  # fmt: skip


def tensors_of(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Every tensor by its name in a folder."""
    table = (shape.vocabulary, shape.width)
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": table}
    for layer in range(shape.layers):
        start = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            found[f"{start}{norm}.weight"] = (shape.width,)
        found |= {f"{start}{name}.weight": size for name, size in maps_of(shape).items()}
    found["model.norm.weight"] = (shape.width,)
    return found | ({} if shape.tied else {"lm_head.weight": table})


# --- folders -------------------------------------------------------------------------------------


def write_folder(
    folder: Path, shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any], dtype: str
) -> int:
    """Writes a random checkpoint, N(0, 0.02²), tensor by tensor; returns its bytes."""
    import numpy as np

    rng, header, at = np.random.default_rng(0), {}, 0
    for name, shape in shapes.items():
        end = at + math.prod(shape) * (4 if dtype == "F32" else 2)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    folder.mkdir(parents=True)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            drawn = rng.standard_normal(shape, np.float32) * np.float32(0.02)
            drawn += np.float32(name.endswith("norm.weight"))
            if dtype == "BF16":  # the upper half of a float32
                file.write(drawn.view(np.uint16)[..., 1::2].tobytes())
            else:
                file.write(drawn.astype(DTYPES[dtype], copy=False).tobytes())
    (folder / "config.json").write_text(json.dumps(config))
    return at


def smollm2_folder(folder: Path) -> None:
    """SmolLM2 in float32 as attn's own reader gives it, in the reference library's layout."""
    from attn_cli.checkpoints.safetensors import encode
    from attn_cli.opening.load import load

    model = load("smollm2")
    config = model.config
    shape = Shape(
        config.layers, config.model_width, config.heads, config.kv_heads, config.head_width,
        config.inner_width, config.vocabulary, config.tied,
    )  # fmt: skip
    tensors = {f"model.{name}": model.weights[name] for name in model.weights.stored}
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(encode(tensors, {"format": "pt"}))
    more = {"max_position_embeddings": config.context, "rms_norm_eps": config.epsilon}
    (folder / "config.json").write_text(json.dumps(config_of(shape, "F32", **more)))


# --- GGUF ----------------------------------------------------------------------------------------

# Blocks of 256 numbers: bytes of a block, where float16 scales stand in it and what they are. With
# random 6-bit scales and 4-bit numbers, or 4-bit scales and 6-bit numbers, the deviation is 0.02.
_Q4_K = ("Q4_K", 144, {0: 7.75e-5, 2: 7.5 * 7.75e-5})
_Q6_K = ("Q6_K", 210, {208: 1.2e-4})
_SMALL = slice(192, 208)  # Q6_K's own 8-bit scales


def write_gguf(path: Path, shape: Shape) -> None:
    """Writes random blocks, of the kinds that llama.cpp's Q4_K_M has for each tensor."""
    from gguf import GGUFWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(1 << 17)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_tokenizer_model("no_vocab")
    _add_tensors(writer, shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tensors(writer: Any, shape: Shape) -> None:
    import numpy as np
    from gguf import GGMLQuantizationType

    rng = np.random.default_rng(0)

    def add(name: str, size: tuple[int, int], kind: tuple[str, int, dict[int, float]]) -> None:
        stored, length, scales = kind
        rows, width = size
        blocks = rng.integers(0, 256, (rows * width // 256, length), np.uint8)
        if kind is _Q6_K:
            blocks[:, _SMALL] &= 15
        for at, scale in scales.items():
            blocks[:, at : at + 2] = np.array([scale], np.float16).view(np.uint8)
        data = blocks.reshape(rows, width // 256 * length)
        writer.add_tensor(f"{name}.weight", data, raw_dtype=GGMLQuantizationType[stored])

    def add_norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(shape.width, np.float32))

    table, names = (shape.vocabulary, shape.width), {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }  # fmt: skip
    add("token_embd", table, _Q4_K)
    for layer in range(shape.layers):
        eighth = shape.layers // 8
        more = layer < eighth or layer >= 7 * shape.layers // 8 or (layer - eighth) % 3 == 2
        for name, size in maps_of(shape).items():
            finer = more and names[name] in ("attn_v", "ffn_down")
            add(f"blk.{layer}.{names[name]}", size, _Q6_K if finer else _Q4_K)
        add_norm(f"blk.{layer}.attn_norm")
        add_norm(f"blk.{layer}.ffn_norm")
    add_norm("output_norm")
    if not shape.tied:
        add("output", table, _Q6_K)


def main() -> None:
    kind, place = sys.argv[1], Path(sys.argv[2])
    if kind == "smollm2":
        smollm2_folder(place)
        return
    shape = Shape(*json.loads(sys.argv[3]))
    if kind == "gguf":
        write_gguf(place, shape)
    else:
        write_folder(place, tensors_of(shape), config_of(shape, sys.argv[4]), sys.argv[4])


if __name__ == "__main__":
    main()
