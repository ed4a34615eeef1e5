"""Vectors as sums of parts: against the trace's own arrays, and by hand for what norms do."""

import numpy as np
import pytest

import attn_cli
from attn_cli import session, vocabulary
from attn_cli.analysis.parts import Parts, Writer, entering_norm, frozen, parts
from attn_cli.analysis.readout import readout
from attn_cli.errors import ContentError

EMBEDDED = ("tiny", "tiny-encoder", "tiny-translator")
# Every place for a norm, every kind of embedding, and parts beside heads and networks.
GOLDEN = (
    "bert", "electra", "bart", "deberta-c2p", "deberta-both", "bloom", "bloom-normed", "gemma2",
    "neox-parallel", "opt-before", "opt-behind", "llama-bias", "modernbert-windows", "t5-relu",
)  # fmt: skip
CLOSE = 1e-5


def opened(name, golden_path):
    return attn_cli.load(name if name in EMBEDDED else str(golden_path / name))


def prompt_of(model):
    if model.facts.source == "package":
        return session.tokenise(model, "the king is a man")
    ids = np.random.default_rng(3).integers(0, model.facts.vocabulary, 11).tolist()
    return session.tokenise(model, ids=ids[:6], target_ids=ids[6:] if model.facts.encoder else ())


def traced(model, prompt, **more):
    return attn_cli.trace(prompt=prompt, model=model, arrays=vocabulary.ARRAYS, **more)


def apart(found, wanted):
    return np.abs(found - wanted).max() / max(1, np.abs(wanted).max())


@pytest.mark.parametrize("name", EMBEDDED + GOLDEN)
def test_parts_add_up_to_what_enters_each_layer_and_normed_parts_to_normed(name, golden_path):
    model = opened(name, golden_path)
    prompt = prompt_of(model)
    trace = traced(model, prompt, stack="all")
    for block in trace.attention:
        found = parts(model, prompt, block.queries, block.layer, stack=block.stack)
        assert apart(found.values.sum(axis=0), block.x) < CLOSE
        assert np.array_equal(found.x, block.x)
        assert found.error < CLOSE * max(1, np.abs(block.x).max())
        norm = entering_norm(model.facts, block)
        normed = norm.of(found.values).sum(axis=0) + (norm.bias_M if norm.bias_M.size else 0)
        assert apart(normed, block.arrays.get("normed", block.x)) < CLOSE


@pytest.mark.parametrize("name", EMBEDDED + GOLDEN)
def test_parts_add_up_at_the_end_and_in_coarse_parts_too(name, golden_path):
    model = opened(name, golden_path)
    prompt, facts = prompt_of(model), model.facts
    _, end = session.run(model, prompt.last.ids, session.request_for(prompt))
    every = range(len(prompt.last.tokens))
    fine = parts(model, prompt, every, facts.layers)
    coarse = parts(model, prompt, every, facts.layers, by_head=False)
    for found in (fine, coarse):
        assert apart(found.values.sum(axis=0), end.x) < CLOSE
    heads = [writer for writer in fine.writers if writer.kind == "head"]
    assert heads == [Writer("head", n, h) for n in range(facts.layers) for h in range(facts.heads)]
    for layer in range(facts.layers):
        own = [w in (("head", layer, w.head), ("bias", layer, -1)) for w in fine.writers]
        whole = coarse.values[coarse.writers.index(Writer("attention", layer))]
        assert apart(fine.values[own].sum(axis=0), whole) < CLOSE


def test_each_part_is_the_traces_own_array():
    model = attn_cli.load("tiny")
    trace = traced(model, prompt_of(model))
    found = parts(model, trace.prompt, range(5), 2)
    first = trace.attention[0]
    own = {"token": first.token_embedding, "position": first.position_embedding}
    for layer, block in enumerate(trace.attention):
        own |= {f"head {layer}.{head}": block.head_output[head] for head in range(4)}
        bias = np.broadcast_to(block.b_o, block.x.shape)
        own |= {f"output bias {layer}": bias, f"mlp {layer}": block.mlp_output}
    assert [writer.label for writer in found.writers] == list(own)
    assert np.array_equal(found.values, np.stack(list(own.values())))


def test_chosen_positions_are_rows_of_all_in_the_order_of_the_choice():
    model = attn_cli.load("tiny-encoder")
    prompt = prompt_of(model)
    whole, some = parts(model, prompt, range(7), 2), parts(model, prompt, (4, 0), 2)
    assert some.writers == whole.writers
    assert np.allclose(some.values, whole.values[:, [4, 0]], atol=1e-6)


def test_a_norm_after_the_sum_acts_on_each_part_by_hand():
    model = attn_cli.load("tiny-encoder")
    trace = traced(model, prompt_of(model))
    found = parts(model, trace.prompt, range(7), 1)
    block = trace.attention[0]
    weights, layer = model.weights, "encoder.layer.0."
    attended, last = f"{layer}attention.output.LayerNorm", f"{layer}output.LayerNorm"
    sums = [block.x + block.output]
    middle = by_hand(sums[0], sums[0]) * weights[f"{attended}.weight"]
    sums.append(middle + weights[f"{attended}.bias"] + block.mlp_output)
    wanted = block.head_output[2]
    for total, norm in zip(sums, (attended, last), strict=True):
        wanted = by_hand(wanted, total) * weights[f"{norm}.weight"]
    assert apart(found.values[found.writers.index(Writer("head", 0, 2))], wanted) < CLOSE
    network = by_hand(block.mlp_output, sums[1]) * weights[f"{last}.weight"]
    assert apart(found.values[found.writers.index(Writer("mlp", 0))], network) < CLOSE


def by_hand(part, total):
    """A layer norm on a part: less its mean, by the standard deviation of the whole."""
    root = np.sqrt(total.var(axis=1, keepdims=True) + 1e-5)
    return (part - part.mean(axis=1, keepdims=True)) / root


def test_a_norm_of_the_output_scales_each_head_alike(golden_path):
    model = opened("gemma2", golden_path)
    prompt = prompt_of(model)
    block = traced(model, prompt, layer=0).attention[0]
    found = parts(model, prompt, block.queries, 1)
    weight = 1 + model.weights["layers.0.post_attention_layernorm.weight"]
    root = np.sqrt((block.output**2).mean(axis=1, keepdims=True) + model.facts.epsilon)
    for head, pull in enumerate(block.head_output):
        part = found.values[found.writers.index(Writer("head", 0, head))]
        assert apart(part, pull / root * weight) < CLOSE


def test_the_encoders_last_norm_as_a_map_of_its_parts():
    model = attn_cli.load("tiny-translator")
    prompt = prompt_of(model)
    key_x = traced(model, prompt, stack="decoder", kind="cross", layer=0).attention[0].key_x
    last = parts(model, prompt, range(len(prompt.tokens)), 2, stack="encoder").to(key_x)
    assert apart(last.values.sum(axis=0), key_x) < CLOSE
    assert {writer.kind for writer in last.writers} == {"token", "head", "mlp"}


def test_what_is_removed_is_no_part():
    model = attn_cli.load("tiny")
    prompt = prompt_of(model)
    settings = {"without_head": ("0.1",), "without": ("mlp:1", "positions")}
    typed = {"mask": (), "mask_value": None, "attention_temperature": 1.0, **settings}
    found = parts(model, prompt, (3,), 2, changes=session.what_if(model, prompt, **typed))
    lengths = dict(zip(found.writers, np.linalg.norm(found.values[:, 0], axis=1), strict=True))
    gone = {Writer("head", 0, 1), Writer("mlp", 1), Writer("position")}
    assert {writer for writer, length in lengths.items() if not length} == gone
    assert found.error < CLOSE


def test_the_remainder_is_what_the_parts_leave():
    values = np.ones((2, 1, 3))
    found = Parts(writers=(Writer("token"), Writer("mlp", 0)), values=values, x=values[0] * 2.5)
    assert np.allclose(found.remainder, 0.5)
    assert found.error == 0.5


def test_a_direction_is_carried_back_through_a_norm():
    rng = np.random.default_rng(5)
    model = attn_cli.load("tiny")
    x, part, direction = rng.normal(size=(3, 4, 32))
    norm = frozen(model.facts, x, rng.normal(size=32), rng.normal(size=32))
    forth = (norm.of(part) * direction).sum(axis=1)
    assert np.allclose((part * norm.back(direction)).sum(axis=1), forth)


# --- what parts add to a logit -------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["tiny", "tiny-translator", "bart", "bloom-normed", "gemma2", "opt-behind", "opt-before"],
)
def test_parts_add_up_to_the_logit(name, golden_path):
    model = opened(name, golden_path)
    prompt = prompt_of(model)
    last = len(prompt.last.tokens) - 1
    best = traced(model, prompt).next[0].candidates[1]
    found = parts(model, prompt, (last,), model.facts.layers)
    way = readout(model, found.x, [best.id])
    logit = (way.of(found.values).sum(axis=0) + way.constants_WP.sum(axis=0))[0]
    cap = model.facts.logit_cap
    assert (cap * np.tanh(logit / cap) if cap else logit) == pytest.approx(best.logit, abs=CLOSE)
    assert way.logits(found.x)[0] == pytest.approx(logit, abs=CLOSE)


def test_the_constants_of_a_logit_are_the_biases(golden_path):
    tiny = attn_cli.load("tiny")
    x = np.random.default_rng(1).normal(size=(2, 32)).astype(np.float32)
    found = readout(tiny, x, [7, 9])
    wanted = tiny.weights["wte.weight"][[7, 9]] @ tiny.weights["ln_f.bias"]
    assert [writer.label for writer in found.writers] == ["bias of the last norm"]
    assert np.allclose(found.constants_WP[0], wanted, atol=1e-6)
    bart = opened("bart", golden_path)
    found = readout(bart, np.ones((1, bart.facts.model_width), np.float32), [3])
    assert found.constants_WP.item() == bart.weights["final_logits_bias"][0, 3]


@pytest.mark.parametrize(
    "name, said", [("tiny-encoder", "an activation (gelu)"), ("bert-bare", "no output matrix")]
)
def test_a_logit_that_is_no_sum_is_refused_with_the_reason(name, said, golden_path):
    model = opened(name, golden_path)
    x = np.zeros((1, model.facts.model_width), np.float32)
    with pytest.raises(ContentError) as caught:
        readout(model, x, [1])
    assert said in caught.value.message
    assert model.facts.name in caught.value.message
