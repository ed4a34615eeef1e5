"""The summary of a head, redone from its weights and its head output."""

import numpy as np
import pytest

import attn_cli

PROMPT = "the greatest thinker in China is"


def test_summaries_can_be_redone_from_the_weights():
    trace = attn_cli.trace(PROMPT, layer=0)
    found, block = attn_cli.heads(trace), trace.block(0)
    behind = np.arange(1, 6)
    for head in found.heads:
        w = block.weights[head.head]
        logs = np.log2(np.where(w > 0, w, 1))
        assert head.entropy == pytest.approx(-(w * logs).sum(axis=1)[1:].mean(), abs=1e-5)
        assert list(head.looks_at) == w.argmax(axis=1).tolist()
        assert head.first_share == pytest.approx(w[1:, 0].mean(), abs=1e-6)
        assert head.previous_share == pytest.approx(w[behind, behind - 1].mean(), abs=1e-6)
        assert head.self_share == pytest.approx(w[behind, behind].mean(), abs=1e-6)
        pull, output = block.head_output[head.head, -1], block.output[-1]
        assert head.norm == pytest.approx(np.linalg.norm(pull), rel=1e-5)
        cosine = pull @ output / np.linalg.norm(pull) / np.linalg.norm(output)
        assert head.cosine == pytest.approx(cosine, abs=1e-5)
    assert [head.head for head in found.heads] == [0, 1, 2, 3]
    assert found.output_norm == pytest.approx(np.linalg.norm(block.output[-1]), rel=1e-5)
    assert np.array_equal(found.weights, block.weights)
    assert found.provenance == "derived"


def test_the_heads_and_the_bias_make_the_output():
    trace = attn_cli.trace(PROMPT)
    for block in trace.attention:
        error = np.abs(block.head_output.sum(axis=0) + block.b_o - block.output).max()
        found = attn_cli.heads(trace, block.layer).largest_error
        assert found == pytest.approx(error, abs=1e-6)
        assert found < 1e-5
    assert np.isnan(attn_cli.heads(attn_cli.trace(PROMPT, layer=0, head="0,2")).largest_error)
