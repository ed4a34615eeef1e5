"""AdamW over a dict of parameters.

Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization".
Nothing is changed in place: a run that is interrupted within a step still holds the step before.
"""

from collections.abc import Mapping
from math import cos, pi, sqrt
from typing import NamedTuple

import numpy as np

Arrays = Mapping[str, np.ndarray]


class Moments(NamedTuple):
    """Running means of the gradients (`first`) and of their squares (`second`)."""

    first: Arrays
    second: Arrays


def no_moments(parameters: Arrays) -> Moments:
    """The moments before the first step: zeros."""
    # Nothing is changed in place, so that both can be the same.
    zeros = {name: np.zeros_like(array) for name, array in parameters.items()}
    return Moments(zeros, zeros)


def update(
    parameters: Arrays,
    gradients: Arrays,
    moments: Moments,
    step: int,
    *,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    weight_decay: float,
) -> tuple[dict[str, np.ndarray], Moments]:
    """Algorithm 2 of the paper; `step` counts from 1. Matrices decay; gains and biases, those in
    tables too, do not.

    p ← p − rate · (m / (1 − β1ᵗ) / (√(v / (1 − β2ᵗ)) + ε) + decay · p)
    """
    correction1, correction2 = 1 - beta1**step, 1 - beta2**step
    new, first, second = {}, {}, {}
    for name, parameter in parameters.items():
        gradient = gradients[name]
        m = first[name] = beta1 * moments.first[name] + (1 - beta1) * gradient
        v = second[name] = beta2 * moments.second[name] + (1 - beta2) * gradient * gradient
        change = (m / correction1) / (np.sqrt(v / correction2) + epsilon)
        if parameter.ndim > 1 and "bias" not in name:
            change += weight_decay * parameter
        new[name] = parameter - learning_rate * change
    return new, Moments(first, second)


def scheduled(step: int, *, steps: int, warm_up: int, peak: float, final: float) -> float:
    """The learning rate of step 1 … `steps`: linear up to `peak`, then half a cosine to `final`.

    Loshchilov and Hutter 2017, "SGDR", equation 5, without restarts.
    """
    if step < warm_up:
        return peak * step / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return final + (peak - final) * (1 + cos(pi * done)) / 2


def clip(gradients: Arrays, limit: float) -> tuple[dict[str, np.ndarray], float]:
    """All gradients scaled so that their joint length is at most `limit`, and the length it was.

    Pascanu et al. 2013, "On the difficulty of training recurrent neural networks".
    """
    length = sqrt(sum(float(np.vdot(array, array)) for array in gradients.values()))
    if length <= limit:
        return dict(gradients), length
    return {name: array * (limit / length) for name, array in gradients.items()}, length
