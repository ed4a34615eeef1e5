"""The names of interpretability code: there and back, and arrays of a shape not expected."""

import numpy as np
import pytest

from attn_cli import session
from attn_cli.hook_names import find, to_arrays


@pytest.fixture(scope="module")
def trace():
    return session.trace(ids=[5, 6, 7], layer=0)


def test_every_array_comes_back_with_our_axes(trace):
    [block] = trace.attention
    arrays = to_arrays(trace)
    for name, array in block.arrays.items():
        assert np.array_equal(find(arrays, block, name), array)
    assert arrays["blocks.0.attn.hook_q"].shape[0] == 3  # positions first


@pytest.mark.parametrize("shape", [(), (3,), (3, 4), (3, 4, 5, 6)])
def test_an_array_of_other_axes_is_found_as_it_is(trace, shape):
    [block] = trace.attention
    array = np.arange(np.prod(shape)).reshape(shape)
    assert find({"blocks.0.attn.hook_q": array}, block, "q") is array
    assert find({}, block, "q") is None
