"""Maps of low rank, against the model × model matrices that they stand for."""

import numpy as np
import pytest
from made_folders import document, made_folder, weights_of

import attn_cli
from attn_cli import session
from attn_cli.analysis import low_rank
from attn_cli.analysis.circuit import circuit_steps
from attn_cli.analysis.maps import Leading
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
    of = low_rank.Matrices(*(Leading(w, np.zeros(0)) for w in (q, k, v)), o, False)
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
        scores = of.q.of(x) @ of.k.of(x).T
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
        found = of.q.of(x) @ of.k.of(x).T
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


# --- latents between what enters and a head's queries, keys and values ---------------------------

LATENT = ("deepseek-v2-a", "deepseek-v2-b", "deepseek-v3-a", "deepseek-v3-b", "minicpm3-a",
          "minicpm3-b")  # fmt: skip


class Stored:
    """One head of a layer by the tensors of its file, as the reference library multiplies them."""

    def __init__(self, name, layer, head):
        self.config, own = document(name)["config"], weights_of(document(name))
        tensors = {key.removeprefix("model."): a.astype(np.float64) for key, a in own.items()}
        self.table, self.last = tensors["embed_tokens.weight"], tensors["norm.weight"]
        self.out = tensors.get("lm_head.weight", self.table)
        at = f"layers.{layer}."
        self.norm, at = tensors[f"{at}input_layernorm.weight"], f"{at}self_attn."
        self.of = {k.removeprefix(at): a for k, a in tensors.items() if k.startswith(at)}
        heads, plain = self.config["num_attention_heads"], self.config["qk_nope_head_dim"]
        rotated, latent = self.config["qk_rope_head_dim"], self.config["kv_lora_rank"]
        self.plain, self.latent = plain, latent
        by_query = "q_b_proj.weight" if self.config["q_lora_rank"] else "q_proj.weight"
        self.query = self.of[by_query].reshape(heads, plain + rotated, -1)[head]
        both = self.of["kv_b_proj.weight"].reshape(heads, -1, latent)[head]
        self.key, self.value = both[:plain], both[plain:]
        self.o = self.of["o_proj.weight"].reshape(len(self.norm), heads, -1)[:, head]

    def made(self, name, x, some=slice(None)):
        bias = self.of.get(f"{name}.bias", np.zeros(len(self.of[f"{name}.weight"])))
        return x @ self.of[f"{name}.weight"][some].T + bias[some]

    def normed(self, name, x):
        root = np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-6)
        return x / root * self.of[f"{name}.weight"]

    def queries(self, x):
        if self.config["q_lora_rank"]:
            x = self.normed("q_a_layernorm", self.made("q_a_proj", x))
        return x @ self.query.T

    def keys(self, x):
        own, last = slice(0, self.latent), slice(self.latent, None)
        latent = self.normed("kv_a_layernorm", self.made("kv_a_proj_with_mqa", x, own))
        return np.concatenate([latent @ self.key.T, self.made("kv_a_proj_with_mqa", x, last)], 1)

    def matrices(self):
        """W_QK of what does not rotate and W_OV, both model × model."""
        first = np.diag(self.norm)
        w_q = self.query[: self.plain].T
        if self.config["q_lora_rank"]:
            w_q = self.of["q_a_proj.weight"].T * self.of["q_a_layernorm.weight"] @ w_q
        w_q = first @ w_q
        down = self.of["kv_a_proj_with_mqa.weight"][: self.latent].T
        down = first @ (down * self.of["kv_a_layernorm.weight"])
        return w_q @ (down @ self.key.T).T, down @ self.value.T @ self.o.T


@pytest.mark.parametrize("name", LATENT)
def test_a_circuit_through_latents_is_redone_from_the_tensors_of_the_file(name, tmp_path):
    """Each matrix as a plain product; scores of the tokens' vectors with every norm at work."""
    model, layer, head = session.load(str(made_folder(tmp_path, name))), 1, 2
    prompt = session.tokenise(model, ids=[5, 9, 3, 5, 11])
    found = session.finished(circuit_steps(model, prompt, Address("decoder", "self", layer), head))
    own = Stored(name, layer, head)
    qk, ov = own.matrices()
    for one, whole in ((found.qk, qk), (found.ov, ov)):
        values = np.linalg.svd(whole)[1]
        count = len(one.singular_values)
        assert one.singular_values == pytest.approx(values[:count], rel=1e-6, abs=1e-6)
        assert one.norm == pytest.approx(np.linalg.norm(whole))
        assert one.rank == np.linalg.matrix_rank(whole, tol=1e-5)
    assert (found.unrotated, found.folded) == (own.plain, True)
    assert ("q_latent" in found.through) == bool(own.config["q_lora_rank"])
    both = (np.linalg.norm(qk + qk.T) / 2 / np.linalg.norm(qk)) ** 2
    assert found.symmetric == pytest.approx(both)
    values = np.linalg.eigvals(ov)
    assert found.copying == pytest.approx(values.sum().real / np.abs(values).sum(), abs=1e-6)
    e = own.table / np.sqrt((own.table**2).mean(axis=1, keepdims=True) + own.config["rms_norm_eps"])
    q, k = own.queries(e * own.norm), own.keys(e * own.norm)
    scores = q @ k.T * found.scale
    ids = (5, 9, 3, 11)
    cells = sorted(((scores[i, j], f"<{i}>", f"<{j}>") for i in ids for j in ids), reverse=True)
    assert [(one.query, one.key) for one in found.attractions] == [c[1:] for c in cells]
    for one, (score, *_) in zip(found.attractions, cells, strict=True):
        assert one.score == pytest.approx(score, abs=1e-6)
    for one, id in zip(found.copies, ids, strict=True):
        logits = own.out @ (e[id] @ ov * own.last)
        assert one.rank == 1 + (logits > logits[id]).sum()
