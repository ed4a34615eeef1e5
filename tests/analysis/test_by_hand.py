"""A trace with its parameters can be redone by hand, step by step."""

import numpy as np

import attn_cli
from attn_cli import vocabulary

PROMPT = "the greatest thinker in China is"


def test_a_trace_can_be_redone_by_hand():
    block = attn_cli.trace(PROMPT, layer=1, arrays=vocabulary.ARRAYS).block(1)
    array = block.arrays
    for letter in "qkv":
        product = array["normed"] @ array[f"w_{letter}"] + array[f"b_{letter}"][:, None]
        np.testing.assert_allclose(array[letter], product, atol=1e-5)
    scores = array["q"] @ array["k"].swapaxes(1, 2)
    np.testing.assert_allclose(array["scores"], scores, atol=1e-4)
    np.testing.assert_allclose(array["scaled"], scores * block.scale, atol=1e-4)
    visible = array["visible"]
    assert (visible == np.tri(6, dtype=bool)).all()
    assert (np.isneginf(array["masked"]) == ~visible).all()
    np.testing.assert_array_equal(array["masked"][:, visible], array["scaled"][:, visible])
    powers = np.exp(np.where(visible, array["scaled"], -np.inf))
    weights = powers / powers.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(array["weights"], weights, atol=1e-5)
    np.testing.assert_allclose(array["z"], weights @ array["v"], atol=1e-5)
    np.testing.assert_allclose(array["head_output"], array["z"] @ array["w_o"], atol=1e-5)
    total = array["head_output"].sum(axis=0) + array["b_o"]
    np.testing.assert_allclose(array["output"], total, atol=1e-5)
