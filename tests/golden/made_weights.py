"""Weights that need not be stored: made of a tensor's name, its shape and a seed, to the last bit.

`make_types.py` gives them to the reference, tests to attn. Only what numpy promises never to change
is used: the raw bits of PCG64 and its seeding.
"""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

_TABLES = ("embed_tokens", "wte", "wpe", "word_embeddings", "embed_in", "lm_head", "embed_out")


def made(tensors: Mapping[str, Sequence[int]], seed: int) -> dict[str, np.ndarray]:
    """A float32 array for each name: gains near 1, biases of a size that matters, matrices that
    keep the spread of what they multiply."""
    return {name: _made(name, tuple(shape), seed) for name, shape in tensors.items()}


def _made(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    count = int(np.prod(shape, dtype=np.int64))
    bits = np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode())]))
    even = ((bits.random_raw(count) >> 40) / 2**23 - 1).reshape(shape)  # from -1 to 1
    *_, module, part = ("", *name.split("."))
    if part == "weight" and (len(shape) < 2 or "norm" in module.lower()):
        values = 1 + 0.6 * even
    elif len(shape) < 2:
        values = 0.6 * even
    elif module in _TABLES:
        values = 1.2 * even
    else:
        values = 2.2 * even / shape[-1] ** 0.5
    return values.astype(np.float32)
