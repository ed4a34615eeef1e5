"""transformers' side, run by the peer environment: `peer.py KIND PATH [N]`.

A kind is `gguf`, `folder`, `encoder`, `warm` or `decode`.
"""

import json
import resource
import sys
import time
from pathlib import Path

import torch
from transformers import AutoModel, AutoModelForCausalLM

IDS = [1195, 6823, 4321, 2991, 281, 5018]
BERT_IDS = [101, 1996, 4602, 2228, 2121, 1999, 2859, 2003, 102]


def opened(path: str, kind=AutoModelForCausalLM, **more):
    return kind.from_pretrained(
        path, attn_implementation="eager", dtype=torch.float32, **more
    ).eval()


def once(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]), output_attentions=True, use_cache=False)


def warm(folder: str, length: int) -> dict[str, float]:
    model = opened(folder)
    ids = torch.randint(10, 40_000, (length,)).tolist()
    seconds = []
    for _ in range(4 if length < 1000 else 2):
        start = time.perf_counter()
        result = once(model, ids)
        seconds.append(time.perf_counter() - start)
        del result
    return {"seconds": min(seconds)}


def decode(folder: str, count: int) -> dict[str, float]:
    model = opened(folder)
    with torch.no_grad():
        result = model(torch.tensor([IDS]), use_cache=True)
        result = model(result.logits[:, -1:].argmax(-1), past_key_values=result.past_key_values)
        start = time.perf_counter()
        for _ in range(count):
            token = result.logits[:, -1:].argmax(-1)
            result = model(token, past_key_values=result.past_key_values, use_cache=True)
        return {"per_second": count / (time.perf_counter() - start)}


def main() -> None:
    kind, path = sys.argv[1:3]
    if kind == "gguf":
        once(opened(str(Path(path).parent), gguf_file=Path(path).name), IDS)
    elif kind == "folder":
        once(opened(path), IDS)
    elif kind == "encoder":
        once(opened(path, AutoModel), BERT_IDS)
    else:
        found = {"warm": warm, "decode": decode}[kind](path, int(sys.argv[3]))
        found["mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(found))


if __name__ == "__main__":
    main()
