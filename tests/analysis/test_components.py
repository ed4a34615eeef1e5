"""Scores split by writers: against the trace's own scores, by hand, and on a known story."""

import numpy as np
import pytest

import attn_cli
from attn_cli import session, vocabulary
from attn_cli.analysis.components import components_steps, step_back
from attn_cli.analysis.parts import parts
from attn_cli.errors import ContentError
from attn_cli.records import Address

EMBEDDED = ("tiny", "tiny-encoder", "tiny-translator")
# Every way in which positions enter, norms on heads, grouped heads, caps, and places for a norm.
GOLDEN = (
    "bert", "bart", "bloom", "bloom-normed", "deberta-both", "gemma2", "gemma3", "llama-llama3",
    "modernbert-windows", "neox-parallel", "opt-behind", "phi3-long", "qwen3-yarn", "t5-relu",
)  # fmt: skip


def opened(name, golden_path):
    model = attn_cli.load(name if name in EMBEDDED else str(golden_path / name))
    ids = np.random.default_rng(3).integers(0, model.facts.vocabulary, 11).tolist()
    target = ids[6:] if model.facts.encoder else ()
    return model, session.tokenise(model, ids=ids[:7], target_ids=target)


def split(model, prompt, at, head, query, key=None, **more):
    return session.finished(components_steps(model, prompt, at, head, query, key, **more))


@pytest.mark.parametrize("name", EMBEDDED + GOLDEN)
def test_every_split_adds_up_to_the_traces_own_score(name, golden_path):
    model, prompt = opened(name, golden_path)
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
