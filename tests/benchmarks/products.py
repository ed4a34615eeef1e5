"""The products of a Llama-shaped model and nothing else: a worker (see serving.py).

    python tests/benchmarks/products.py SHAPE

Plain `x @ W.T` of every linear map of every layer, scores and weighted values of all heads over
the whole square, the logits of the last token. BLAS has the threads that its environment gives it.
"""

import json
import sys
import time
from functools import cache

import numpy as np
from made import Shape, maps_of
from serving import serve
from threadpoolctl import threadpool_info

SHAPE = Shape(*json.loads(sys.argv[1]))
MAPS = tuple(maps_of(SHAPE).values())
RNG = np.random.default_rng(0)


def drawn(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, np.float32) * np.float32(0.02)


@cache
def weights() -> tuple[list[list[np.ndarray]], np.ndarray]:
    layers = [[drawn(*size) for size in MAPS] for _ in range(SHAPE.layers)]
    return layers, drawn(SHAPE.vocabulary, SHAPE.width)


def products(tokens: int) -> dict[str, float]:
    layers, output = weights()
    entering = {width: drawn(tokens, width) for width in {size[1] for size in MAPS}}
    # Heads that share keys and values each have their own here.
    q, k, v = (drawn(SHAPE.heads, tokens, SHAPE.head_width) for _ in range(3))
    start = time.perf_counter()
    for layer in layers:
        for matrix in layer:
            entering[matrix.shape[1]] @ matrix.T
        square = q @ k.swapaxes(1, 2)
        square @ v
    entering[SHAPE.width][-1:] @ output.T
    return {"seconds": time.perf_counter() - start}


if __name__ == "__main__":
    blas = [library for library in threadpool_info() if library["user_api"] == "blas"]
    about = {"numpy": np.__version__, "threads": [library["num_threads"] for library in blas]}
    serve(about, {"products": products})
