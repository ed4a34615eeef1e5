"""Makes one small Llama with every kind of file it is published in, and its references.

Run by hand, first where torch, transformers 5 and sentencepiece are installed, then where cyllama
and gguf are; no test runs this:

    python tests/golden/make_doors.py

It writes `doors/` beside itself: config.json, tokenizer_config.json, tokenizer.json, the weights in
both forms, and `expected.json`: for each text the ids of transformers' AutoTokenizer and those of
llama.cpp for the same model in GGUF, and transformers' logits after the last. The tokenizer is that
of `folders/llama`. `gguf_keys` and `gguf_tensors` make the GGUF file, which needs no reference.

Origin and licence: weights and texts are made here; Apache-2.0.
"""

import datetime
import json
import platform
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
OUT, SOURCE = HERE / "doors", HERE / "folders" / "llama"
TEXTS = [
    "the greatest thinker in China is", "a", "it's  two spaces, 1234", "\u4e2d\u56fd na\u00efve",
    "<s>the</s> king\n\nis",
]  # fmt: skip
CONFIG = {
    "vocab_size": 500, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 24, "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
}  # fmt: skip
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def gguf_keys(pieces: list[str], scores: list[float], kinds: list[int]) -> dict[str, Any]:
    """The metadata, but for the architecture."""
    keys = {
        "context_length": CONFIG["max_position_embeddings"],
        "embedding_length": CONFIG["hidden_size"], "block_count": CONFIG["num_hidden_layers"],
        "feed_forward_length": CONFIG["intermediate_size"],
        "attention.head_count": CONFIG["num_attention_heads"],
        "attention.head_count_kv": CONFIG["num_key_value_heads"],
        "attention.layer_norm_rms_epsilon": CONFIG["rms_norm_eps"],
    }  # fmt: skip
    ours = {
        "model": "llama", "pre": "default", "tokens": pieces, "scores": scores,
        "token_type": kinds, "bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0,
    }  # fmt: skip
    return {f"llama.{name}": value for name, value in keys.items()} | {
        f"tokenizer.ggml.{name}": value for name, value in ours.items()
    }


def gguf_tensors(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same weights by GGUF's names, rows of q and k in pairs."""
    found = {
        "token_embd.weight": tensors["model.embed_tokens.weight"],
        "output_norm.weight": tensors["model.norm.weight"],
    }
    for layer in range(CONFIG["num_hidden_layers"]):
        for theirs, ours in NAMES.items():
            array = tensors[f"model.layers.{layer}.{theirs}.weight"]
            if ours in ("attn_q", "attn_k"):
                pairs = array.reshape(-1, 2, 2, array.shape[-1])  # heads of width 4
                array = pairs.swapaxes(1, 2).reshape(array.shape)
            found[f"blk.{layer}.{ours}.weight"] = np.ascontiguousarray(array)
    return found


def write_gguf(path: Path, keys: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    for key, value in keys.items():
        add = {list: writer.add_array, str: writer.add_string, float: writer.add_float32}
        add.get(type(value), writer.add_uint32)(key, value)
    for name, array in tensors.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def of_transformers(expected: dict) -> None:
    import sentencepiece
    import torch
    import transformers

    torch.manual_seed(7)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**CONFIG))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3 + (parameter.ndim == 1))
    model.save_pretrained(OUT)
    (OUT / "generation_config.json").unlink()
    torch.save(model.state_dict(), OUT / "pytorch_model.bin")
    shutil.copy(SOURCE / "tokenizer_config.json", OUT)
    tokenizer = transformers.AutoTokenizer.from_pretrained(SOURCE)
    tokenizer.backend_tokenizer.save(str(OUT / "tokenizer.json"))
    read = transformers.AutoTokenizer.from_pretrained(OUT)
    expected["transformers"] = [read(text).input_ids for text in TEXTS]
    with torch.no_grad():
        logits = [model(torch.tensor([ids])).logits[0, -1] for ids in expected["transformers"]]
    expected["logits"] = [[round(x, 6) for x in row.tolist()[:40]] for row in logits]
    pieces = sentencepiece.SentencePieceProcessor(str(SOURCE / "tokenizer.model"))
    ids = range(pieces.get_piece_size())
    kinds = [2 if pieces.is_unknown(i) else 3 if pieces.is_control(i) else 6 if pieces.is_byte(i)
             else 1 for i in ids]  # fmt: skip
    expected["pieces"] = [[pieces.id_to_piece(i) for i in ids], [pieces.get_score(i) for i in ids],
                          kinds]  # fmt: skip
    expected["versions"] = {
        "torch": torch.__version__, "transformers": transformers.__version__,
        "sentencepiece": sentencepiece.__version__,
    }  # fmt: skip


def of_llama_cpp(expected: dict) -> None:
    import importlib.metadata

    from cyllama.llama import llama_cpp

    llama_cpp.disable_logging()
    keys = gguf_keys(*expected["pieces"])
    shapes = {"model.embed_tokens.weight": (500, 16), "model.norm.weight": (16,)}
    for layer in range(2):
        rows = {"q": 16, "k": 8, "v": 8, "o": 16, "gate": 24, "up": 24, "down": 16}
        for theirs in NAMES:
            kind = theirs.partition(".")[2].partition("_")[0]
            shape = (rows[kind], 24 if kind == "down" else 16) if kind in rows else (16,)
            shapes[f"model.layers.{layer}.{theirs}.weight"] = shape
    zeros = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    with tempfile.TemporaryDirectory() as place:
        write_gguf(Path(place) / "m.gguf", keys, gguf_tensors(zeros))
        model = llama_cpp.LlamaModel(f"{place}/m.gguf", llama_cpp.LlamaModelParams())
        vocabulary = model.get_vocab()
        expected["llama.cpp"] = [list(vocabulary.tokenize(text, True, True)) for text in TEXTS]
    expected["versions"] |= {
        "llama.cpp": "b9190", "cyllama": importlib.metadata.version("cyllama"),
        "gguf": importlib.metadata.version("gguf"),
    }  # fmt: skip


def main() -> None:
    path = OUT / "expected.json"
    try:
        import cyllama  # noqa: F401
    except ImportError:
        expected = {"texts": TEXTS}
        of_transformers(expected)
    else:
        expected = json.loads(path.read_text())
        of_llama_cpp(expected)
    expected["versions"] |= {
        "made": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "python": platform.python_version(),
    }
    path.write_text(json.dumps(expected, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
