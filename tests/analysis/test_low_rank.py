"""Maps of low rank, against the model × model matrices that they stand for."""

import numpy as np
import pytest

import attn_cli
from attn_cli import session
from attn_cli.analysis import low_rank
from attn_cli.analysis.circuit import circuit_steps
from attn_cli.records import Address


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


A, B = drawn(12, 3), drawn(3, 12, seed=1)


def test_singular_values_norm_rank_symmetry_and_eigenvalues_are_the_wholes():
    whole = A @ B
    found = low_rank.svd(A, B)
    assert found.s == pytest.approx(np.linalg.svd(whole)[1][:3])
    assert (found.u * found.s) @ found.vt == pytest.approx(whole)
    assert low_rank.frobenius(A, B) == pytest.approx(np.linalg.norm(whole))
    symmetric = (np.linalg.norm((whole + whole.T) / 2) / np.linalg.norm(whole)) ** 2
    assert low_rank.symmetric_share(A, B) == pytest.approx(symmetric)
    values = np.linalg.eigvals(whole)
    assert low_rank.copying(A, B) == pytest.approx(values.sum().real / np.abs(values).sum())
    assert low_rank.rank(found.s, 12) == 3
    thin = A.copy()
    thin[:, 2] = thin[:, 0]
    assert low_rank.rank(low_rank.svd(thin, B).s, 12) == 2


def test_a_symmetric_an_antisymmetric_and_a_copying_map():
    assert low_rank.symmetric_share(A, A.T) == pytest.approx(1)
    turned = np.array([[0.0, 1], [-1, 0]])
    assert low_rank.symmetric_share(A[:, :2] @ turned, A[:, :2].T) == pytest.approx(0)
    assert low_rank.copying(A, A.T) == pytest.approx(1)
    assert low_rank.copying(-A, A.T) == pytest.approx(-1)


def test_composition_is_that_of_the_whole_matrices():
    q, k, v, o = drawn(12, 3), drawn(12, 3, seed=2), drawn(12, 4, seed=3), drawn(4, 12, seed=4)
    of = low_rank.Matrices(q, k, v, o, np.zeros(1), np.zeros(1), False)
    found = low_rank.composition(low_rank.writing(of), low_rank.reading(of))
    qk, ov = q @ k.T, v @ o
    wanted = np.linalg.norm(qk @ ov.T) / np.linalg.norm(qk) / np.linalg.norm(ov)
    assert found == pytest.approx(wanted)


@pytest.mark.parametrize("model", ["tiny", "tiny-encoder", "tiny-translator"])
def test_a_heads_matrices_give_the_scores_of_layer_0(model):
    """On the vectors that enter a layer, norm taken apart from its weight, q·k comes out again."""
    target = {"target_ids": [0, 8, 9]} if model == "tiny-translator" else {}
    names = [*low_rank.NEEDS, "x", "scores", "v", "b_v", "head_output", "weights"]
    facts = session.load(model).facts
    trace = attn_cli.trace(ids=[5, 6, 7, 8], model=model, arrays=names, next=False, **target)
    for block in trace.attention:
        of = low_rank.matrices(block, 1, facts.group_of(block.stack))
        assert of.folded == (model != "tiny-encoder")
        x = block.x.astype(np.float64)
        if of.folded:
            x = x - x.mean(axis=1, keepdims=True) * (facts.norm == "layer")
            x = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + facts.epsilon)
        scores = (x @ of.w_q + of.b_q) @ (x @ of.w_k + of.b_k).T
        assert scores == pytest.approx(block.scores[1], abs=1e-4)
        pulls = block.v[1] @ of.w_o
        assert block.weights[1] @ pulls == pytest.approx(block.head_output[1], abs=1e-4)


def test_heads_that_share_a_key_have_its_matrix(golden_path):
    """Grouped heads and rotation: before it, q·k is what W_QK says."""
    model = session.load(str(golden_path / "llama-plain"))
    names = [*low_rank.NEEDS, "x", "q_unrotated", "k_unrotated"]
    block = attn_cli.trace(ids=[5, 6, 7], model=model, arrays=names, next=False).block(1)
    group = model.facts.group_of("decoder")
    assert group > 1
    x = block.x.astype(np.float64)
    x /= np.sqrt((x**2).mean(axis=1, keepdims=True) + model.facts.epsilon)
    for head in block.heads:
        of = low_rank.matrices(block, head, group)
        scores = block.q_unrotated[head] @ block.k_unrotated[head // group].T
        found = (x @ of.w_q + of.b_q) @ (x @ of.w_k + of.b_k).T
        assert found == pytest.approx(scores, abs=1e-4)


def test_a_circuit_is_redone_from_whole_matrices():
    """The vocabulary × vocabulary forms that are never built, for a model where they are small."""
    model = session.load("tiny")
    read = session.tokenise(model, "the greatest thinker in China is")
    place, head = Address("decoder", "self", 1), 2
    found = session.finished(circuit_steps(model, read, place, head))
    arrays = [*low_rank.NEEDS]
    block = attn_cli.trace(ids=[5], model=model, layer=1, arrays=arrays, next=False).block(1)
    gain = block.w_norm[:, None].astype(np.float64)
    w_q, w_k, w_v = (gain * block.arrays[f"w_{letter}"][head] for letter in "qkv")
    qk, ov = w_q @ w_k.T, w_v @ block.w_o[head].astype(np.float64)
    assert found.qk.norm == pytest.approx(np.linalg.norm(qk))
    assert found.ov.singular_values == pytest.approx(np.linalg.svd(ov)[1][:8])
    table = model.weights["wte.weight"].astype(np.float64)
    e = table - table.mean(axis=1, keepdims=True)
    e /= np.sqrt((e**2).mean(axis=1, keepdims=True) + model.facts.epsilon)
    q = e @ w_q + block.b_norm @ block.w_q[head] + block.b_q[head]
    k = e @ w_k + block.b_norm @ block.w_k[head] + block.b_k[head]
    scores = q @ k.T / np.sqrt(8)
    ids = {model.tokenizer.token(id).text: id for id in read.ids}
    cells = sorted(((scores[i, j], a, b) for a, i in ids.items() for b, j in ids.items()))[::-1]
    assert [(one.query, one.key) for one in found.attractions] == [c[1:] for c in cells[:20]]
    for one, (score, a, b) in zip(found.attractions, cells, strict=False):
        assert one.score == pytest.approx(score, abs=1e-5)
        assert one.reverse == pytest.approx(scores[ids[b], ids[a]], abs=1e-5)
    logits = session.predict(model, (e[list(ids.values())] @ ov).astype(np.float32))
    for one, row, id in zip(found.copies, logits, ids.values(), strict=True):
        assert one.rank == 1 + (row > row[id]).sum()
        top = np.argsort(-row, kind="stable")[:5]
        assert one.outputs == tuple(model.tokenizer.token(int(i)).text for i in top)
    u, s, vt = np.linalg.svd(qk)
    first = found.directions[0]
    assert first.share == pytest.approx(s[0] ** 2 / (s**2).sum())
    sides = e @ u[:, 0], e @ vt[0]
    sign = 1 if sides[0].max() >= -sides[0].min() else -1
    for texts, side in zip((first.queries, first.keys), sides, strict=True):
        top = np.argsort(-sign * side, kind="stable")[:5]
        assert texts == tuple(model.tokenizer.token(int(i)).text for i in top)
