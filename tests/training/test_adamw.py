"""AdamW by pencil."""

from itertools import pairwise
from math import inf, nan, sqrt

import numpy as np
import pytest

from attn_cli.training import adamw


def test_two_steps_by_pencil():
    # Rate 0.1, betas 0.5 and 0.75, epsilon 0, decay 0.2; gradients 2 and then 4.
    # m: 1, 2.5; divided by 0.5 and 0.75: 2, 10/3.  v: 1, 4.75; divided by 0.25, 0.4375: 4, 76/7.
    # Changes: 2/2 = 1, then (10/3) / sqrt(76/7).
    parameters = {"w": np.array([[1.0]]), "b": np.array([1.0]), "bias.table": np.array([[1.0]])}
    moments = adamw.no_moments(parameters)
    keywords = {
        "learning_rate": 0.1, "beta1": 0.5, "beta2": 0.75, "epsilon": 0.0, "weight_decay": 0.2,
    }  # fmt: skip
    gradients = {name: np.full_like(array, 2) for name, array in parameters.items()}
    one, moments = adamw.update(parameters, gradients, moments, 1, **keywords)
    assert one["b"][0] == pytest.approx(0.9)
    assert one["w"][0, 0] == pytest.approx(1 - 0.1 * (1 + 0.2 * 1))
    assert one["bias.table"][0, 0] == one["b"][0]
    gradients = {name: np.full_like(array, 4) for name, array in parameters.items()}
    two, moments = adamw.update(one, gradients, moments, 2, **keywords)
    change = (10 / 3) / sqrt(76 / 7)
    assert two["b"][0] == pytest.approx(0.9 - 0.1 * change)
    assert two["w"][0, 0] == pytest.approx(0.88 - 0.1 * (change + 0.2 * 0.88))
    assert moments.first["b"][0] == 2.5
    assert moments.second["b"][0] == 4.75
    assert parameters["w"][0, 0] == 1


def test_float32_stays_float32():
    parameters = {"w": np.ones((2, 3), np.float32)}
    new, moments = adamw.update(
        parameters, parameters, adamw.no_moments(parameters), 1,
        learning_rate=0.1, beta1=0.9, beta2=0.95, epsilon=1e-8, weight_decay=0.1,
    )  # fmt: skip
    assert new["w"].dtype == moments.first["w"].dtype == moments.second["w"].dtype == np.float32


def test_schedule():
    rates = [
        adamw.scheduled(step, steps=20, warm_up=4, peak=1.0, final=0.2) for step in range(1, 21)
    ]
    np.testing.assert_allclose(rates[:4], [0.25, 0.5, 0.75, 1.0])
    assert rates[11] == pytest.approx(0.6)  # step 12, half of the way down
    assert rates[-1] == pytest.approx(0.2)
    assert all(a > b for a, b in pairwise(rates[3:]))
    assert adamw.scheduled(1, steps=1, warm_up=0, peak=1.0, final=0.2) == pytest.approx(0.2)


def test_clip():
    gradients = {"a": np.array([3.0]), "b": np.array([[4.0]])}
    same, length = adamw.clip(gradients, 5.0)
    assert length == 5
    assert same["a"][0] == 3
    clipped, length = adamw.clip(gradients, 1.0)
    assert length == 5
    assert clipped["a"][0] == pytest.approx(0.6)
    assert clipped["b"][0, 0] == pytest.approx(0.8)


@pytest.mark.parametrize("bad", [inf, nan])
def test_clip_does_not_hide_what_is_not_finite(bad):
    with np.errstate(invalid="ignore"):
        _, length = adamw.clip({"a": np.array([1.0, bad])}, 1.0)
    assert not np.isfinite(length)
