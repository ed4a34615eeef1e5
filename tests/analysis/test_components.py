"""Scores split by writers: against the trace's own scores, by hand, and on a known story."""

import numpy as np
import pytest
from made_folders import document, made_folder, weights_of

import attn_cli
from attn_cli import session, vocabulary
from attn_cli.analysis.components import components_steps, step_back
from attn_cli.analysis.parts import parts
from attn_cli.errors import ContentError
from attn_cli.records import Address

LATENT = ("deepseek-v2-a", "deepseek-v2-b", "deepseek-v3-a", "deepseek-v3-b", "minicpm3-a",
          "minicpm3-b")  # fmt: skip
EMBEDDED = ("tiny", "tiny-encoder", "tiny-translator")
# Every way in which positions enter, norms on heads, grouped heads, caps, and places for a norm.
GOLDEN = (
    "bert", "bart", "bloom", "bloom-normed", "deberta-both", "gemma2", "gemma3", "llama-llama3",
    "modernbert-windows", "neox-parallel", "opt-behind", "phi3-long", "qwen3-yarn", "t5-relu",
)  # fmt: skip


@pytest.fixture(scope="module")
def types(tmp_path_factory):
    """Where the folders of golden types are made, each once."""
    return tmp_path_factory.mktemp("types")


def opened(name, golden_path, types=None):
    if name in LATENT and not (types / name).exists():
        made_folder(types / name, name)
    folder = types / name if name in LATENT else name if name in EMBEDDED else golden_path / name
    model = attn_cli.load(str(folder))
    ids = np.random.default_rng(3).integers(0, model.facts.vocabulary, 11).tolist()
    target = ids[6:] if model.facts.encoder else ()
    return model, session.tokenise(model, ids=ids[:7], target_ids=target)


def split(model, prompt, at, head, query, key=None, **more):
    return session.finished(components_steps(model, prompt, at, head, query, key, **more))


@pytest.mark.parametrize("name", EMBEDDED + GOLDEN + LATENT)
def test_every_split_adds_up_to_the_traces_own_score(name, golden_path, types):
    model, prompt = opened(name, golden_path, types)
    names = {"scores", "scaled", "visible", "weights"}
    trace = attn_cli.trace(prompt=prompt, model=model, arrays=names, stack="all", kind="all")
    for block in trace.attention:
        head, query = len(block.heads) - 1, len(block.queries) - 2
        row = (block.scores * block.scale if block.soft_cap else block.scaled)[head, query]
        found = split(model, prompt, block.address, head, query)
        assert found.key == int(block.weights[head, query].argmax())
        assert found.value == pytest.approx(float(row[found.key]), rel=1e-5, abs=1e-6)
        assert found.error < 1e-5
        seen = [k for k in np.flatnonzero(block.visible[query]) if k != found.key]
        assert found.others == len(seen)
        assert found.mean == pytest.approx(float(row[seen].mean()), rel=1e-5, abs=1e-5)
        advantage = pytest.approx(float(row[found.key] - row[seen].mean()), rel=1e-4, abs=1e-4)
        for added in (found.by_key, found.by_query, (*found.pairs,)):
            rest = found.remainder if added == found.pairs else 0
            assert sum(one.value for one in added) + rest == advantage


def test_the_parts_of_a_rotary_head_with_its_own_norm_by_hand(golden_path):
    """Each part goes through the frozen norms, the map and its position's rotation by itself."""
    model, prompt = opened("qwen3-yarn", golden_path)
    layer, head, query, key = 1, 2, 5, 3
    block = attn_cli.trace(
        prompt=prompt, model=model, layer=layer, arrays=vocabulary.ARRAYS, next=False
    ).attention[0]
    of = parts(model, prompt, block.queries, layer)
    group, factor = model.facts.group_of("decoder"), float(block.shown["attention_factor"])

    def vectors(letter, place):
        w, b = block.arrays[f"w_{letter}"][place], block.arrays[f"b_{letter}"][place]
        ratio = block.normed / of.x
        raw = (of.values * ratio) @ w
        scale = block.arrays[f"{letter}_unrotated"][place] / (block.normed @ w + b)
        raw = np.concatenate([raw, np.broadcast_to(b, (1, *raw.shape[1:]))]) * scale
        a, c = np.split(raw, 2, axis=-1)
        cos, sin = (f(block.shown["angles"]) * factor for f in (np.cos, np.sin))
        return np.concatenate([a * cos - c * sin, a * sin + c * cos], axis=-1)

    q, k = vectors("q", head)[:, query], vectors("k", head // group)
    others = [place for place in range(query + 1) if place != key]
    above = k[:, key] - k[:, others].mean(axis=1)
    wanted = q @ above.T * block.scale
    found = split(model, prompt, block.address, head, query, key)
    labels = [writer.label for writer in of.writers]
    by_key = {one.writer: one.value for one in found.by_key}
    by_query = {one.writer: one.value for one in found.by_query}
    for place, label in enumerate(labels):
        assert by_key[label] == pytest.approx(wanted[:, place].sum(), rel=1e-3, abs=1e-4)
        assert by_query[label] == pytest.approx(wanted[place].sum(), rel=1e-3, abs=1e-4)
    assert by_key["bias b_K"] == pytest.approx(wanted[:, -1].sum(), rel=1e-3, abs=1e-4)
    for pair in found.pairs:
        if pair.query_writer in labels and pair.key_writer in labels:
            own = wanted[labels.index(pair.query_writer), labels.index(pair.key_writer)]
            assert pair.value == pytest.approx(own, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("name", ["deepseek-v2-a", "deepseek-v3-a", "deepseek-v2-b"])
def test_the_parts_of_a_head_with_latents_by_hand(name, types):
    """Each part goes through the frozen norms, that of a latent too, with the file's tensors; two
    dimensions that rotate, side by side in the file, are one complex number."""
    model, prompt = opened(name, None, types)
    layer, head, query, key = 1, 2, 5, 3
    config, own = document(name)["config"], weights_of(document(name))
    at = f"model.layers.{layer}.self_attn."
    stored = {k.removeprefix(at): a.astype(np.float64) for k, a in own.items() if at in k}
    block = attn_cli.trace(
        prompt=prompt, model=model, layer=layer, arrays=vocabulary.ARRAYS, next=False
    ).block(layer)
    of = parts(model, prompt, block.queries, layer)
    ratio = block.normed.astype(np.float64) / of.x
    plain, latent = config["qk_nope_head_dim"], config["kv_lora_rank"]
    heads, factor = config["num_attention_heads"], model.facts.attention_factor(layer)

    def down(letters, rows):
        """What a map makes of every part, its bias last, and of the whole."""
        w, b = stored[f"{letters}.weight"][rows], stored.get(f"{letters}.bias")
        b = np.zeros(len(w)) if b is None else b[rows]
        each = (of.values * ratio) @ w.T
        each = np.concatenate([each, np.broadcast_to(b, (1, *each.shape[1:]))])
        return each, block.normed.astype(np.float64) @ w.T + b

    def normed(each, whole, name):
        root = np.sqrt((whole**2).mean(axis=-1, keepdims=True) + 1e-6)
        return each / root * stored[f"{name}.weight"]

    def turned(last):
        pairs = last[..., 0::2] + 1j * last[..., 1::2]
        return pairs * np.exp(1j * block.shown["angles"]) * factor

    if config["q_lora_rank"]:
        found = normed(*down("q_a_proj", slice(None)), "q_a_layernorm")
        q = found @ stored["q_b_proj.weight"].reshape(heads, -1, found.shape[-1])[head].T
    else:
        w = stored["q_proj.weight"].reshape(heads, -1, of.x.shape[1])[head]
        q = (of.values * ratio) @ w.T
        q = np.concatenate([q, np.zeros((1, *q.shape[1:]))])
    kept = normed(*down("kv_a_proj_with_mqa", slice(0, latent)), "kv_a_layernorm")
    k = kept @ stored["kv_b_proj.weight"].reshape(heads, -1, latent)[head, :plain].T
    last = turned(down("kv_a_proj_with_mqa", slice(latent, None))[0])
    others = [place for place in range(query + 1) if place != key]
    above, above_last = (a[:, key] - a[:, others].mean(axis=1) for a in (k, last))
    wanted = q[:, query, :plain] @ above.T
    wanted += (turned(q[..., plain:])[:, query] @ above_last.conj().T).real
    wanted *= block.scale
    found = split(model, prompt, block.address, head, query, key)
    by_key = {one.writer: one.value for one in found.by_key}
    by_query = {one.writer: one.value for one in found.by_query}
    for place, writer in enumerate(of.writers):
        assert by_key[writer.label] == pytest.approx(wanted[:, place].sum(), rel=1e-4, abs=1e-5)
        assert by_query[writer.label] == pytest.approx(wanted[place].sum(), rel=1e-4, abs=1e-5)
    if config["attention_bias"]:
        assert by_key["bias b_K"] == pytest.approx(wanted[:, -1].sum(), rel=1e-4, abs=1e-5)
        assert by_query["bias b_Q"] == pytest.approx(wanted[-1].sum(), rel=1e-4, abs=1e-5)


def test_a_step_back_is_to_the_head_that_wrote_most():
    model, prompt = opened("tiny", None)
    found = split(model, prompt, Address("decoder", "self", 1), 2, 6)
    of_heads = [
        (one.value, one.layer, one.head, place)
        for side, place in ((found.by_key, found.key), (found.by_query, found.query))
        for one in side if one.kind == "head"
    ]  # fmt: skip
    assert step_back(found) == max(of_heads)[1:]
    cells = (split(model, prompt, Address("decoder", "self", 1), 2, 6, key) for key in range(7))
    below = min(cells, key=lambda cell: cell.advantage)
    assert below.advantage < 0
    of_heads = [
        (one.value, one.layer, one.head, place)
        for side, place in ((below.by_key, below.key), (below.by_query, below.query))
        for one in side if one.kind == "head"
    ]  # fmt: skip
    assert step_back(below) == min(of_heads)[1:]


def test_a_removed_head_writes_nothing():
    model, prompt = opened("tiny", None)
    where = (("decoder", "self"),)
    changes = session.what_if(
        model, prompt, where, mask=[], mask_value=None, attention_temperature=1.0,
        without_head=["0.1"], without=[],
    )  # fmt: skip
    found = split(model, prompt, Address("decoder", "self", 1), 0, 6, changes=changes)
    assert found.provenance == "what-if" and found.error < 1e-5
    assert {one.writer: one.value for one in found.by_query}["head 0.1"] == 0


def test_memory_is_asked_for_beforehand():
    model, prompt = opened("tiny", None)
    with pytest.raises(ContentError, match="may be used"):
        split(model, prompt, Address("decoder", "self", 1), 0, 6, max_memory=1000)


def test_the_induction_head_matched_what_the_previous_token_head_wrote():
    """SmolLM2 with a block of 50 tokens twice: more than half of the advantage of the induction
    key in head 18.6 was written by head 16.0, on the key's side, and that looked one token back."""
    model = attn_cli.load("smollm2")
    block = np.random.default_rng(0).integers(1000, 40_000, 50).tolist()
    prompt = session.tokenise(model, ids=2 * block)
    found = split(model, prompt, Address("decoder", "self", 18), 6, 75)
    assert found.key == 75 - 49
    assert found.error < 1e-4
    assert found.advantage > 10
    wrote = found.by_key[0]
    assert (wrote.writer, wrote.value > found.advantage / 2) == ("head 16.0", True)
    assert step_back(found) == (16, 0, 26)
    before = split(model, prompt, Address("decoder", "self", 16), 0, 26)
    assert (before.key, before.weight > 0.85) == (25, True)
