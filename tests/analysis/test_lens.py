"""The lens against the trace: its prediction, its vectors, and what its parts come to by hand."""

import numpy as np
import pytest

import attn_cli
from attn_cli import candidates, session, vocabulary
from attn_cli.analysis import lens as analysis
from attn_cli.analysis.lens import chosen, watched
from attn_cli.errors import ContentError, UsageError
from attn_cli.maths import cores
from measure import counted

PROMPT = "the greatest thinker in China is"
FILLED = "the greatest [MASK] in China is Confucius"
CLOSE = 1e-5


def opened(name, golden_path):
    """A model and a prompt of its own."""
    if name.startswith("tiny"):
        model = attn_cli.load(name)
        return model, session.tokenise(model, FILLED if model.facts.masked else PROMPT)
    model = attn_cli.load(str(golden_path / name))
    ids = np.random.default_rng(4).integers(0, model.facts.vocabulary, 9).tolist()
    target = ids[:4] if model.facts.encoder else ()
    return model, session.tokenise(model, ids=ids, target_ids=target)


def traced(model, prompt, **more):
    return attn_cli.trace(prompt=prompt, model=model, arrays=vocabulary.ARRAYS, **more)


@pytest.mark.parametrize(
    "name",
    ["tiny", "tiny-encoder", "tiny-translator", "llama-bias", "gemma2", "bart", "bloom-normed"],
)
def test_the_last_row_is_the_models_prediction_to_the_digit(name, golden_path):
    model, prompt = opened(name, golden_path)
    (found,) = attn_cli.lens(model, prompt, top=4).positions
    (wanted,) = traced(model, prompt, top=4).next
    assert found.position == wanted.position
    assert found.rows[-1].candidates == wanted.candidates
    assert found.rows[-1].watched == wanted.candidates[0]
    assert [row.layer for row in found.rows] == [-1, *range(model.facts.layers)]


def test_each_row_is_its_vector_through_the_last_norm_and_the_output_matrix():
    model = attn_cli.load("tiny")
    prompt = session.tokenise(model, PROMPT)
    blocks = traced(model, prompt).attention
    (found,) = attn_cli.lens(model, prompt, watch=7).positions
    norm, bias = model.weights["ln_f.weight"], model.weights["ln_f.bias"]
    for row, block in zip(found.rows, blocks, strict=False):
        x = block.x[-1].astype(np.float64)
        final = (x - x.mean()) / np.sqrt(x.var() + 1e-5) * norm + bias
        logits = model.weights["wte.weight"] @ final
        order = np.argsort(-logits)
        shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        assert [candidate.id for candidate in row.candidates] == order[:5].tolist()
        assert row.watched.id == 7
        assert row.watched.rank == order.tolist().index(7) + 1
        assert row.watched.logit == pytest.approx(logits[7], abs=CLOSE)
        assert row.watched.probability == pytest.approx(shares[7], rel=1e-4)


def test_what_the_parts_of_a_layer_add_by_hand():
    model = attn_cli.load("tiny")
    prompt = session.tokenise(model, PROMPT)
    trace = traced(model, prompt, top=1, ending=True)
    (end,) = trace.ending
    root = np.sqrt(end.x.var() + 1e-5)

    def added(part):
        return ((part - part.mean()) / root * end.w_norm * end.vectors[0]).sum()

    (found,) = attn_cli.lens(model, prompt, per_head=True).positions
    parts = {part.name: part.logit for part in found.parts}
    for block in trace.attention:
        row = found.rows[block.layer + 1]
        assert row.attention == pytest.approx(added(block.output[-1]), abs=CLOSE)
        assert row.mlp == pytest.approx(added(block.mlp_output[-1]), abs=CLOSE)
        for head in block.heads:
            own = parts[f"head {block.layer}.{head}"]
            assert own == pytest.approx(added(block.head_output[head, -1]), abs=CLOSE)
    embedding = added(trace.attention[0].x[-1])
    assert found.sum.embedding == pytest.approx(embedding, abs=CLOSE)
    assert found.sum.biases == pytest.approx((end.b_norm * end.vectors[0]).sum(), abs=CLOSE)
    assert found.sum.total == pytest.approx(sum(parts.values()), abs=CLOSE)


@pytest.mark.parametrize(
    "name",
    ["tiny", "tiny-translator", "llama-bias", "gemma2", "bart", "bloom-normed", "opt-behind"],
)
def test_the_parts_add_up_to_the_logit(name, golden_path):
    model, prompt = opened(name, golden_path)
    (found,) = attn_cli.lens(model, prompt, per_head=True, watch=3).positions
    total, logit, cap = found.sum.total, found.rows[-1].watched.logit, model.facts.logit_cap
    assert (cap * np.tanh(total / cap) if cap else total) == pytest.approx(logit, abs=CLOSE)
    assert found.sum.error < CLOSE
    assert sum(part.logit for part in found.parts) == pytest.approx(total, abs=CLOSE)
    for kind in ("attention", "cross", "mlp"):
        rows = np.array([getattr(row, kind) for row in found.rows])
        known = getattr(found.sum, kind)
        assert np.nansum(rows) == pytest.approx(np.nan_to_num(known), abs=CLOSE)
        assert np.isnan(rows[0])
    assert np.isnan(found.sum.cross) == (not model.facts.encoder)
    (coarse,) = attn_cli.lens(model, prompt, watch=3).positions
    assert coarse.parts == ()
    assert coarse.sum.attention == pytest.approx(found.sum.attention, abs=CLOSE)


def test_several_positions_are_each_of_them_whatever_is_computed_at_once(monkeypatch):
    model = attn_cli.load("tiny")
    prompt = session.tokenise(model, PROMPT)
    monkeypatch.setattr(analysis, "_LOGITS", 4 * model.facts.vocabulary)
    every = attn_cli.lens(model, prompt, range(6)).positions
    assert [found.position for found in every] == list(range(6))
    assert [found.token for found in every] == PROMPT.split()
    guesses = attn_cli.loss(model, prompt).positions
    for found, guess in zip(every, guesses, strict=False):
        assert found.rows[-1].watched.id == guess.best.id
        assert found.rows[-1].watched.probability == pytest.approx(guess.best.probability, rel=1e-4)
    for found in every:
        (alone,) = attn_cli.lens(model, prompt, (found.position,)).positions
        assert found.sum.total == pytest.approx(alone.sum.total, abs=CLOSE)
        for row, other in zip(found.rows, alone.rows, strict=True):
            assert row.watched.rank == other.watched.rank
            assert row.watched.logit == pytest.approx(other.watched.logit, abs=CLOSE)
            assert row.mlp == pytest.approx(other.mlp, abs=CLOSE, nan_ok=True)


def test_a_masked_position_is_read_and_its_logit_is_no_sum():
    model = attn_cli.load("tiny-encoder")
    two = session.tokenise(model, "the [MASK] is a [MASK]")
    found = attn_cli.lens(model, two)
    assert [one.token for one in found.positions] == ["[MASK]", "[MASK]"]
    for one in found.positions:
        assert all(np.isnan(number) for number in one.sum)
        assert all(np.isnan(row.attention) and np.isnan(row.mlp) for row in one.rows)
    with pytest.raises(ContentError) as caught:
        attn_cli.lens(model, two, per_head=True)
    assert "activation (gelu)" in caught.value.message
    with pytest.raises(UsageError):
        chosen(model, session.tokenise(model, "the king"), ())
    assert chosen(model, session.tokenise(model, "the king"), (1,)) == (1,)


def test_what_if_settings_act_and_are_said():
    model = attn_cli.load("tiny")
    prompt = session.tokenise(model, PROMPT)
    typed = {"mask": (), "mask_value": None, "attention_temperature": 1.0, "without": ("mlp:1",)}
    changes = session.what_if(model, prompt, **typed, without_head=("0.0",))
    changed = attn_cli.lens(model, prompt, changes=changes, per_head=True)
    assert changed.provenance == "what-if"
    assert attn_cli.lens(model, prompt).provenance == "derived"
    (found,) = changed.positions
    wanted = traced(model, prompt, without_head=["0.0"], without=["mlp:1"]).next[0]
    assert found.rows[-1].candidates == wanted.candidates
    parts = {part.name: part.logit for part in found.parts}
    assert parts["head 0.0"] == parts["mlp 1"] == found.rows[-1].mlp == 0


def test_nothing_of_all_heads_and_all_positions_is_kept(monkeypatch):
    model = attn_cli.load("random:layers=6,heads=16,model_width=64,context=1024")
    prompt = session.tokenise(model, ids=[5 + i % 90 for i in range(1000)])
    # One of many threads, which has not worked before, would take room of its own.
    monkeypatch.setattr(cores, "threads", lambda: 1)
    attn_cli.lens(model, prompt, per_head=True)
    with counted() as work:
        attn_cli.lens(model, prompt, per_head=True)
    of_heads = 4 * 16 * 1000 * 64
    assert work.memory < 1.5 * of_heads


# --- the watched token ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "text"),
    [("Confucius", "Confucius"), (" Confucius", "Confucius"), ("5", "5"), ("995", None),
     ("<7>", None), ("007", None), ("中国", "中国")],
)  # fmt: skip
def test_a_word_or_an_id_is_watched(typed, text):
    model = attn_cli.load("tiny")
    prompt = session.tokenise(model, PROMPT)
    if typed == "995":
        with pytest.raises(UsageError) as caught:
            watched(model, prompt, typed)
        assert caught.value.hint == "tiny has ids 0 to 994"
        return
    id, notes = watched(model, prompt, typed)
    assert id == (7 if text is None else model.tokenizer.id_of(text))
    assert notes == ()


def test_of_a_word_of_several_tokens_the_last_is_watched_and_the_first_is_named():
    model = attn_cli.load("tiny")
    prompt = session.tokenise(model, PROMPT)
    word = "antidisestablishment"
    tokens = model.tokenizer.encode(word, special=False)
    id, (said,) = watched(model, prompt, word)
    assert id == tokens[-1].id
    assert f"{word!r} is {len(tokens)} tokens here" in str(said)
    assert f"the last one, {tokens[-1].text!r}, is watched" in str(said)
    assert f"come next is the first, {tokens[0].text!r}" in str(said)


@pytest.mark.parametrize("typed", ["", " ", "\u2603"])
def test_what_is_no_token_is_refused(typed):
    model = attn_cli.load("tiny")
    with pytest.raises(UsageError) as caught:
        watched(model, session.tokenise(model, PROMPT), typed)
    assert "tiny has no token for it" in caught.value.message


def test_a_place_is_that_in_the_ranking_with_ties_and_without_numbers():
    values = np.array([1.0, 3.0, np.nan, 3.0, -np.inf, 1.0])
    order = candidates.likeliest(values, 6).tolist()
    assert order == [1, 3, 0, 5, 2, 4]
    assert [candidates.place_of(values, id) for id in order] == [1, 2, 3, 4, 5, 6]
