"""attn's side of the measurements: a worker (see serving.py)."""

import importlib.metadata
import time
from functools import cache
from pathlib import Path
from typing import Any

from serving import peak_mib, serve
from threadpoolctl import threadpool_info

import attn_cli

# The front door first, as in a program: numpy's BLAS is told before it is loaded.
from attn_cli import load, session
from attn_cli.maths import cores
from attn_cli.model.cache import Cache
from attn_cli.model.family import Model, in_memory
from attn_cli.model.stack import Request
from attn_cli.records import Trace
from attn_cli.views import json

Found = dict[str, Any]


@cache
def held(path: str) -> Model:
    return in_memory(load(path))


def _checked(trace: Trace, model: Model, logits: str) -> None:
    assert len(trace.attention) == model.facts.layers
    if logits:
        Path(logits).write_bytes(trace.logits[-1].astype("float32").tobytes())


def warm(path: str, ids: list[int], logits: str = "") -> Found:
    """Every layer, its weights kept."""
    model = held(path)
    prompt = session.tokenise(model, ids=ids)
    start = time.perf_counter()
    trace = session.trace(prompt=prompt, model=model, arrays={"weights"})
    seconds = time.perf_counter() - start
    _checked(trace, model, logits)
    return {"seconds": seconds}


def cold(path: str, ids: list[int], logits: str = "") -> Found:
    """Opening the model, then every array of every layer."""
    start = time.perf_counter()
    model = load(path)
    trace = session.trace(ids=ids, model=model)
    seconds = time.perf_counter() - start
    _checked(trace, model, logits)
    return {"seconds": seconds}


def _next(model: Model, ids: list[int], cache: Cache) -> Any:
    return session.predict(model, session.run(model, tuple(ids), Request(), cache)[1].x[-1:])[0]


def decode(path: str, ids: list[int], count: int, logits: str = "") -> Found:
    """The likeliest token, `count` times; the first after the prompt is not counted."""
    model, cache = held(path), Cache()
    row = _next(model, ids, cache)
    if logits:
        Path(logits).write_bytes(row.astype("float32").tobytes())
    row = _next(model, [int(row.argmax())], cache)
    start = time.perf_counter()
    for _ in range(count):
        row = _next(model, [int(row.argmax())], cache)
    return {"rate": count / (time.perf_counter() - start)}


def document(path: str, ids: list[int]) -> Found:
    """The JSON of every array of every layer."""
    trace = session.trace(ids=ids, model=held(path))
    start = time.perf_counter()
    size = len(json.encode(json.trace_document(trace)))
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "rate": size / seconds / 1e6, "bytes": size}


def memory(path: str, ids: list[int], arrays: list[str]) -> Found:
    """Seconds of one pass that keeps `arrays`, and what the process held before it."""
    model = load(path)
    session.trace(ids=ids[:6], model=model, arrays=arrays)
    before, start = peak_mib("VmRSS"), time.perf_counter()
    session.trace(ids=ids, model=model, arrays=arrays)
    return {"seconds": time.perf_counter() - start, "before": before, "mib": peak_mib()}


def about() -> Found:
    blas = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return {
        "attn": attn_cli.__version__, "threads": cores.threads(),
        "blas": [
            {key: library[key] for key in ("internal_api", "version", "num_threads")}
            for library in blas
        ],
        **{name: importlib.metadata.version(name) for name in ("numpy", "orjson")},
    }  # fmt: skip


if __name__ == "__main__":
    asked = (warm, cold, decode, document, memory)
    serve(about(), {function.__name__: function for function in asked})
