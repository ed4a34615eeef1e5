"""attn's side of the warm measurements: `ours.py warm|decode FOLDER N` prints one JSON line."""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

from attn_cli import session
from attn_cli.checkpoints.safetensors import encode
from attn_cli.model.cache import Cache
from attn_cli.model.family import Model, in_memory
from attn_cli.model.stack import Request
from attn_cli.opening.load import load


def warm(folder: str, length: int) -> dict[str, float]:
    # Long prompts cost so much more than reading a layer again that its memory is given back.
    model = load(folder) if length > 1000 else in_memory(load(folder))
    ids = tuple(np.random.default_rng(0).integers(10, 40_000, length).tolist())
    prompt = session.tokenise(model, ids=ids)
    seconds = []
    for _ in range(4 if length < 1000 else 2):
        start = time.perf_counter()
        trace = session.trace(prompt=prompt, model=model, arrays={"weights"})
        seconds.append(time.perf_counter() - start)
        assert len(trace.attention) == model.facts.layers
        del trace
    return {"seconds": min(seconds)}


def next_logits_of(model: Model, ids: tuple[int, ...], cache: Cache) -> np.ndarray:
    return session.predict(model, session.run(model, ids, Request(), cache)[1].x[-1:])[0]


def decode(folder: str, count: int) -> dict[str, float]:
    model, cache = in_memory(load(folder)), Cache()
    logits = next_logits_of(model, (1195, 6823, 4321, 2991, 281, 5018), cache)
    next_logits_of(model, (int(logits.argmax()),), cache)
    start = time.perf_counter()
    for _ in range(count):
        logits = next_logits_of(model, (int(logits.argmax()),), cache)
    return {"per_second": count / (time.perf_counter() - start)}


def float32_folder(gguf: Path, folder: Path) -> None:
    """The same model as a folder of float32 safetensors, in the reference library's layout."""
    model = load(str(gguf))
    config = model.config
    folder.mkdir()
    tensors = {f"model.{name}": model.weights[name] for name in model.weights.stored}
    (folder / "model.safetensors").write_bytes(encode(tensors, {"format": "pt"}))
    keys = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": config.model_width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "intermediate_size": config.inner_width,
        "vocab_size": config.vocabulary,
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.epsilon,
        "rope_theta": 100000.0,
        "tie_word_embeddings": config.tied,
        "torch_dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(keys))


if __name__ == "__main__":
    if sys.argv[1] == "folder":
        float32_folder(Path(sys.argv[2]), Path(sys.argv[3]))
        sys.exit()
    found = {"warm": warm, "decode": decode}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
    found["mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))
