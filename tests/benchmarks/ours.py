"""attn's side of the warm measurements: `ours.py warm|decode FOLDER N`; prints one JSON line."""

import json
import resource
import sys
import time

import numpy as np

from attn_cli import session
from attn_cli.families.cache import Cache
from attn_cli.families.load import load
from attn_cli.families.model import in_memory


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


def decode(folder: str, count: int) -> dict[str, float]:
    model, cache = in_memory(load(folder)), Cache()
    logits = session.next_logits(model, (1195, 6823, 4321, 2991, 281, 5018), cache)
    session.next_logits(model, (int(logits.argmax()),), cache)
    start = time.perf_counter()
    for _ in range(count):
        logits = session.next_logits(model, (int(logits.argmax()),), cache)
    return {"per_second": count / (time.perf_counter() - start)}


if __name__ == "__main__":
    found = {"warm": warm, "decode": decode}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
    found["mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))
