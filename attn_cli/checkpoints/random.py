"""An untrained model: every tensor drawn from a seed, when it is first asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

import numpy as np

_DEVIATION = 0.02


class RandomInfo(NamedTuple):
    """The dtype and shape of a tensor that nobody has stored."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RandomTensors:
    """Tensors as training starts with them: N(0, 0.02²), biases 0, gains 1. Radford et al. 2019.

    A tensor's numbers depend on the seed and its name alone, so their order of reading does not
    matter.
    """

    tensors: Mapping[str, RandomInfo]
    seed: int

    def read(self, name: str) -> np.ndarray:
        shape = self.tensors[name].shape
        if name.endswith(".bias"):
            return np.zeros(shape, np.float32)
        if len(shape) == 1:
            return np.ones(shape, np.float32)
        rng = np.random.default_rng([self.seed, crc32(name.encode())])
        return rng.standard_normal(shape, np.float32) * np.float32(_DEVIATION)

    def release(self, name: str) -> None:
        """Nothing is kept."""

    def rows(self, name: str, indices: Sequence[int]) -> np.ndarray:
        """Only these rows along the first axis."""
        return self.read(name)[list(indices)]
