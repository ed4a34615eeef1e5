"""Untrained tensors: as training starts with them, and the same whenever they are asked for."""

import numpy as np

from attn_cli.checkpoints.random import random_tensors

SHAPES = {"w.weight": (40, 50), "v.weight": (40, 50), "norm.weight": (7,), "w.bias": (5,)}


def test_matrices_are_normal_with_deviation_0_02_biases_0_and_norm_weights_1():
    tensors = random_tensors(SHAPES, 3)
    read = {name: tensor.read() for name, tensor in tensors.items()}
    assert {name: array.shape for name, array in read.items()} == SHAPES
    assert all(array.dtype == np.float32 for array in read.values())
    assert read["w.bias"].tolist() == [0] * 5
    assert read["norm.weight"].tolist() == [1] * 7
    assert 0.019 < read["w.weight"].std() < 0.021
    assert abs(read["w.weight"].mean()) < 0.002


def test_a_tensor_depends_on_the_seed_and_its_name_alone():
    tensors = random_tensors(SHAPES, 3)
    first = tensors["v.weight"].read()
    alone = random_tensors({"v.weight": (40, 50)}, 3)["v.weight"]
    assert np.array_equal(alone.read(), first)
    assert np.array_equal(alone.rows([4, 1]), first[[4, 1]])
    assert np.array_equal(tensors["norm.weight"].rows([2]), [1])
    assert not np.array_equal(tensors["w.weight"].read(), first)
    other = random_tensors(SHAPES, 4)["v.weight"]
    assert not np.array_equal(other.read(), first)
    assert (alone.dtype, alone.size) == ("F32", 4 * 40 * 50)
