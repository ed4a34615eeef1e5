"""A peer's side of the measurements, run by its own environment: a worker (see serving.py).

    python tests/benchmarks/peer.py eager|sdpa|lens|llama

`eager` and `sdpa` are transformers with that attention: eager gives every layer's weights, sdpa
gives none. `lens` is TransformerLens, keeping every layer's pattern; `llama` is llama.cpp.
"""

import importlib.metadata
import os
import sys
import tempfile
import time
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from serving import serve

Found = dict[str, Any]


def keep(path: str, row: Any) -> None:
    if path:
        Path(path).write_bytes(np.asarray(row, np.float32).tobytes())


# --- transformers --------------------------------------------------------------------------------


def opened(attention: str, path: str, kind: str = "AutoModelForCausalLM") -> Any:
    import torch
    import transformers

    torch.set_grad_enabled(False)
    load = getattr(transformers, kind).from_pretrained
    return load(path, attn_implementation=attention, dtype=torch.float32).eval()


def one_pass(attention: str, model: Any, ids: list[int]) -> Any:
    """The logits of the last token only, as attn computes them."""
    import torch

    kept = attention == "eager"
    result = model(
        torch.tensor([ids]), output_attentions=kept, use_cache=False, logits_to_keep=1
    )  # fmt: skip
    assert not kept or len(result.attentions) == model.config.num_hidden_layers
    return result


@cache
def held(attention: str, path: str) -> Any:
    return opened(attention, path)


def warm(attention: str, path: str, ids: list[int], logits: str = "") -> Found:
    model = held(attention, path)
    start = time.perf_counter()
    result = one_pass(attention, model, ids)
    seconds = time.perf_counter() - start
    keep(logits, result.logits[0, -1])
    return {"seconds": seconds}


def cold(attention: str, path: str, ids: list[int], logits: str = "") -> Found:
    start = time.perf_counter()
    result = one_pass(attention, opened(attention, path), ids)
    seconds = time.perf_counter() - start
    keep(logits, result.logits[0, -1])
    return {"seconds": seconds}


def encode(attention: str, path: str, ids: list[int]) -> Found:
    """An encoder: its last vectors and every layer's weights."""
    import torch

    start = time.perf_counter()
    model = opened(attention, path, "AutoModel")
    model(torch.tensor([ids]), output_attentions=attention == "eager")
    return {"seconds": time.perf_counter() - start}


def decode(attention: str, path: str, ids: list[int], count: int, logits: str = "") -> Found:
    """The likeliest token, `count` times; the first after the prompt is not counted."""
    import torch

    model = held(attention, path)
    result = model(torch.tensor([ids]), use_cache=True, logits_to_keep=1)
    keep(logits, result.logits[0, -1])
    start = 0.0
    for step in range(count + 1):
        token, past = result.logits[:, -1:].argmax(-1), result.past_key_values
        start = time.perf_counter() if step == 1 else start
        result = model(token, past_key_values=past, use_cache=True)
    return {"rate": count / (time.perf_counter() - start)}


# --- TransformerLens -----------------------------------------------------------------------------


@cache
def bridge(path: str) -> Any:
    import torch
    from transformer_lens.model_bridge import TransformerBridge

    with tempfile.TemporaryDirectory() as place:
        return TransformerBridge.boot_transformers(
            path, hf_model=opened("eager", path), tokenizer=stand_in(place), device="cpu",
            dtype=torch.float32,
        )  # fmt: skip


def stand_in(place: str) -> Any:
    """A tokenizer in a folder: it is wanted, and read again from there, although ids are given."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({"<s>": 0, "</s>": 1}, unk_token="<s>"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<s>", "pad_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=words, **names).save_pretrained(place)
    return AutoTokenizer.from_pretrained(place)


def run_with_cache(path: str, ids: list[int], logits: str = "") -> Found:
    import torch

    model = bridge(path)
    start = time.perf_counter()
    row, kept = model.run_with_cache(
        torch.tensor([ids]), names_filter=lambda name: name.endswith("attn.hook_pattern"),
        logits_to_keep=1,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    assert len(kept) == model.cfg.n_layers
    keep(logits, row[0, -1])
    return {"seconds": seconds}


# --- llama.cpp -----------------------------------------------------------------------------------

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def opened_gguf(path: str) -> Any:
    from llama_cpp import Llama

    return Llama(path, n_ctx=512, n_threads=CORES, n_threads_batch=CORES, verbose=False)


def last_row(model: Any) -> np.ndarray:
    from llama_cpp import llama_get_logits_ith

    return np.ctypeslib.as_array(llama_get_logits_ith(model.ctx, -1), (model.n_vocab(),))


def load_and_evaluate(path: str, ids: list[int], logits: str = "") -> Found:
    start = time.perf_counter()
    model = opened_gguf(path)
    model.eval(ids)
    seconds = time.perf_counter() - start
    keep(logits, last_row(model))
    return {"seconds": seconds}


held_gguf = cache(opened_gguf)


def decode_gguf(path: str, ids: list[int], count: int, logits: str = "") -> Found:
    model, start = held_gguf(path), 0.0
    model.reset()
    model.eval(ids)
    keep(logits, last_row(model))
    for step in range(count + 1):
        start = time.perf_counter() if step == 1 else start
        model.eval([int(last_row(model).argmax())])
    return {"rate": count / (time.perf_counter() - start)}


# -------------------------------------------------------------------------------------------------


def about(packages: tuple[str, ...]) -> Found:
    found: Found = {name: importlib.metadata.version(name) for name in packages}
    if "torch" in packages:
        import torch

        return {**found, "threads": torch.get_num_threads()}
    return {**found, "threads": CORES}


def main(kind: str) -> None:
    if kind == "llama":
        import llama_cpp  # noqa: F401 - where the others import theirs

        serve(
            about(("llama-cpp-python", "numpy")), {"cold": load_and_evaluate, "decode": decode_gguf}
        )
    elif kind == "lens":
        import transformer_lens  # noqa: F401

        serve(about(("transformer-lens", "transformers", "torch")), {"warm": run_with_cache})
    else:
        import transformers  # noqa: F401

        asked = (warm, cold, encode, decode)
        answers = {function.__name__: partial(function, kind) for function in asked}
        serve(about(("transformers", "torch", "numpy")), answers)


if __name__ == "__main__":
    main(sys.argv[1])
