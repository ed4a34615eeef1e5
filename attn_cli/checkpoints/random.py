"""An untrained model: every tensor drawn from a seed, when it is first asked for."""

import math
from collections.abc import Mapping
from functools import partial
from zlib import crc32

import numpy as np

from attn_cli.checkpoints.tensor import Tensor

_DEVIATION = 0.02


def random_tensors(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """Tensors as training starts with them: N(0, 0.02²), biases 0, norm weights 1.

    Radford et al. 2019. A tensor's values depend on the seed and its name alone, so their order of
    reading does not matter.
    """
    return {
        name: Tensor("F32", shape, 4 * math.prod(shape), name, partial(_drawn, seed, name, shape))
        for name, shape in shapes.items()
    }


def _drawn(seed: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name.endswith(".bias"):
        return np.zeros(shape, np.float32)
    if len(shape) == 1:
        return np.ones(shape, np.float32)
    rng = np.random.default_rng([seed, crc32(name.encode())])
    return rng.standard_normal(shape, np.float32) * np.float32(_DEVIATION)
