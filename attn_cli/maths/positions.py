"""Rotary positions. Su et al. 2021, "RoFormer".

Axes, as suffixes: P position, R half the rotated width, H head, W width.
"""

import math

import numpy as np


def frequencies(width: int, base: float) -> np.ndarray:
    """base^(−2i / width) for each pair of numbers, (R,), in turns of 2π per 2π positions."""
    exponents = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
    return (1.0 / np.float32(base) ** exponents).astype(np.float32)


def linear_scaling(frequencies_R: np.ndarray, factor: float) -> np.ndarray:
    """Positions squeezed by `factor`. Chen et al. 2023."""
    return frequencies_R / np.float32(factor)


def llama3_scaling(
    frequencies_R: np.ndarray, factor: float, low: float, high: float, context: int
) -> np.ndarray:
    """Slow turns are slowed by `factor`, fast ones kept, those between blended. Llama 3.1, 2024.

    Slow: wavelength above context / low; fast: below context / high.
    """
    wavelength = np.float32(2 * math.pi) / frequencies_R
    slowed = np.where(wavelength > context / low, frequencies_R / factor, frequencies_R)
    share = (context / wavelength - low) / (high - low)
    blended = (1 - share) * slowed / factor + share * slowed
    between = ~(wavelength < context / high) & ~(wavelength > context / low)
    return np.where(between, blended, slowed).astype(np.float32)


def yarn_scaling(
    frequencies_R: np.ndarray,
    base: float,
    factor: float,
    fast: float,
    slow: float,
    context: int,
    *,
    whole_bounds: bool = True,
) -> np.ndarray:
    """Turns that fit `fast` times in the context are kept, those below `slow` times squeezed.

    A ramp over the dimensions between. Peng et al. 2023, "YaRN".
    """
    width = 2 * len(frequencies_R)

    def dimension(turns: float) -> float:
        return width * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(base))

    low, high = dimension(fast), dimension(slow)
    if whole_bounds:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    span = (high - low) or 0.001  # as the reference does where both bounds are one
    ramp = np.clip((np.arange(len(frequencies_R), dtype=np.float32) - low) / span, 0, 1)
    kept = 1 - ramp
    squeezed = frequencies_R / np.float32(factor)
    return (squeezed * (1 - kept) + frequencies_R * kept).astype(np.float32)


def angles(
    frequencies_R: np.ndarray, start: int, count: int, stretch: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine (P, R) of position × frequency for `count` positions, times `stretch`."""
    positions = np.arange(start, start + count, dtype=np.float32)
    turned = positions[:, None] * frequencies_R[None, :]
    return np.cos(turned) * np.float32(stretch), np.sin(turned) * np.float32(stretch)


def rotate(x_HPW: np.ndarray, cos_PR: np.ndarray, sin_PR: np.ndarray) -> np.ndarray:
    """Turns the pair (i, i + R) of each vector by its position's angle; numbers behind 2R stay."""
    half = cos_PR.shape[-1]
    first, second = x_HPW[..., :half], x_HPW[..., half : 2 * half]
    turned = np.empty_like(x_HPW)
    turned[..., :half] = first * cos_PR - second * sin_PR
    turned[..., half : 2 * half] = second * cos_PR + first * sin_PR
    turned[..., 2 * half :] = x_HPW[..., 2 * half :]
    return turned
