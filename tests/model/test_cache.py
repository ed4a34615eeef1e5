"""Step-by-step generation with a cache is the same computation as the whole prompt again."""

import json

import numpy as np
import pytest

from attn_cli import session, vocabulary
from attn_cli.analysis.sample import Sampling, draw, sample, stages_of
from attn_cli.model.cache import Cache
from attn_cli.model.stack import Request
from attn_cli.records import Address
from measure import logits_of, next_logits_of, row_error

MODELS = (
    "llama-plain", "llama-yarn", "mistral-window", "qwen2-window", "qwen3-yarn", "gpt2-a", "gpt2-b"
)  # fmt: skip
ROTARY = ("llama-plain", "mistral-window", "qwen3-yarn")
CHUNKS = ([1] * 12, [5, 1, 1, 1], [1, 4, 2, 3], [12, 1], [2, 11])
TOLERANCE = 1e-5


def in_chunks(ids, lengths):
    ends = np.cumsum(lengths).tolist()
    assert ends[-1] == len(ids)
    return [ids[end - length : end] for length, end in zip(lengths, ends, strict=True)]


def everything(model):
    facts = model.facts
    return Request(
        blocks=frozenset(Address("decoder", "self", layer) for layer in range(facts.layers)),
        arrays=vocabulary.DEFAULT_ARRAYS,
    )


def some_ids(model, count, seed=0):
    return tuple(np.random.default_rng(seed).integers(0, model.facts.vocabulary, count).tolist())


# --- the forward pass ----------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", CHUNKS, ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_every_array_of_a_chunk_is_a_slice_of_the_whole(golden_copy, name, lengths):
    model = session.load(str(golden_copy(name)))
    ids = some_ids(model, sum(lengths))
    whole, final = session.run(model, ids, everything(model))
    cache, start = Cache(), 0
    for chunk in in_chunks(ids, lengths):
        blocks, last = session.run(model, chunk, everything(model), cache)
        end = start + len(chunk)
        assert cache.length == end
        assert row_error(last.x, final.x[start:end]) <= TOLERANCE
        assert list(blocks) == list(whole)
        for address, block in blocks.items():
            all_of_it = whole[address]
            assert block.arrays.keys() == all_of_it.arrays.keys()
            for array_name, found in block.arrays.items():
                wanted = all_of_it.arrays[array_name]
                for axis, kind in enumerate(vocabulary.ARRAYS[array_name].axes):
                    # What goes in is of the new positions, k and v of all of them.
                    new = kind == "query" or array_name == "k_unrotated"
                    part = np.arange(start if new else 0, end)
                    if kind in ("query", "key"):
                        wanted = np.take(wanted, part, axis=axis)
                if array_name == "visible":
                    assert np.array_equal(found, wanted)
                else:
                    assert row_error(found, wanted) <= TOLERANCE, (block.layer, array_name)
        start = end


@pytest.mark.parametrize("name", ROTARY)
def test_a_long_text_outgrows_the_first_cache_and_loses_nothing(golden_copy, name):
    """Rotary models have no table of positions, so that the pass itself knows no end."""
    model = session.load(str(golden_copy(name)))
    ids = some_ids(model, 150)
    wanted = logits_of(model, ids)
    cache = Cache()
    for chunk in in_chunks(ids, [40, 30, 1, 1, 58, 20]):
        found = next_logits_of(model, chunk, cache)
        assert row_error(found, wanted[cache.length - 1]) <= TOLERANCE


def test_two_caches_of_one_model_know_nothing_of_each_other(golden_copy):
    model = session.load(str(golden_copy("llama-plain")))
    one, two = some_ids(model, 6, seed=1), some_ids(model, 6, seed=2)
    first, second = Cache(), Cache()
    for a, b in zip(one, two, strict=True):
        after_one = next_logits_of(model, (a,), first)
        after_two = next_logits_of(model, (b,), second)
    assert row_error(after_one, next_logits_of(model, one)) <= TOLERANCE
    assert row_error(after_two, next_logits_of(model, two)) <= TOLERANCE
    assert row_error(after_one, after_two) > 0.01


# --- the cache alone -----------------------------------------------------------------------------


# No two differ in more than one part.
ADDRESSES = (
    Address("decoder", "self", 0), Address("decoder", "self", 1), Address("encoder", "self", 0),
    Address("decoder", "cross", 0),
)  # fmt: skip


def test_a_cache_gives_back_all_it_was_given_block_by_block():
    rng = np.random.default_rng(0)
    k = rng.standard_normal((4, 3, 300, 4)).astype(np.float32)
    v = rng.standard_normal((4, 3, 300, 5)).astype(np.float32)
    cache, end = Cache(), 0
    for length in (1, 1, 62, 1, 63, 128, 1, 43):
        start, end = end, end + length
        for i, address in enumerate(ADDRESSES):
            found = cache.extend(address, k[i][:, start:end], v[i][:, start:end])
            assert np.array_equal(found[0], k[i][:, :end])
            assert np.array_equal(found[1], v[i][:, :end])
            assert cache.length == start
        cache.advance(range(length))
    assert cache.length == end == 300


def test_a_growing_cache_copies_seldom():
    """Twice the room each time: a thousand steps grow it a few times, not a thousand."""
    cache, places = Cache(), set()
    for _ in range(1000):
        one = np.ones((1, 1, 1), np.float32)
        k, _ = cache.extend(ADDRESSES[0], one, one)
        places.add(k.__array_interface__["data"][0])
        cache.advance((0,))
    assert len(places) <= 6


# --- sampling ------------------------------------------------------------------------------------


def without_cache(model, ids, sampling, seed, count):
    """The ids and probabilities that a loop over whole prompts draws."""
    rng, ids, drawn = np.random.default_rng(seed), list(ids), []
    for _ in range(count):
        *_, probabilities = stages_of(logits_of(model, tuple(ids))[-1], sampling)
        chosen = int(draw(probabilities, 1, rng)[0])
        drawn.append((chosen, probabilities[chosen]))
        ids.append(chosen)
        if chosen in model.end_tokens:
            break
    return drawn


@pytest.mark.parametrize("name", ["llama-plain", "mistral-window", "qwen3-yarn", "gpt2-a"])
@pytest.mark.parametrize(
    "sampling",
    [Sampling(), Sampling(temperature=0), Sampling(temperature=1.7, top_k=20, top_p=0.9)],
    ids=["plain", "greedy", "filtered"],
)
def test_sampling_draws_what_a_loop_without_a_cache_draws(golden_copy, name, sampling):
    model = session.load(str(golden_copy(name)))
    for seed in range(3):
        prompt = session.tokenise(model, ids=some_ids(model, 4, seed))
        found = sample(model, prompt, sampling, seed=seed, max_tokens=12)
        wanted = without_cache(model, prompt.ids, sampling, seed, 12)
        assert [token.id for token in found.drawn] == [chosen for chosen, _ in wanted]
        assert [token.probability for token in found.drawn] == pytest.approx(
            [probability for _, probability in wanted], abs=1e-5
        )
        assert [token.position for token in found.drawn] == list(range(4, 4 + len(wanted)))


def without_end_token(folder):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token_id": None}))
    return session.load(str(folder))


def test_a_next_token_costs_one_position(golden_copy, monkeypatch):
    model = without_end_token(golden_copy("llama-plain"))
    asked = []

    def spy(model, ids, request, cache=None, run=session.running):
        asked.append(len(ids))
        return run(model, ids, request, cache)

    monkeypatch.setattr(session, "running", spy)
    prompt = session.tokenise(model, ids=some_ids(model, 5))
    assert len(sample(model, prompt, Sampling(), seed=0, max_tokens=7).drawn) == 7
    assert asked == [5, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("name", ["llama-plain", "gpt2-a"])
def test_sampling_ends_with_the_context(golden_copy, name):
    model = without_end_token(golden_copy(name))
    prompt = session.tokenise(model, ids=some_ids(model, 20))
    found = sample(model, prompt, Sampling(), seed=0, max_tokens=3)
    assert [token.position for token in found.drawn] == [20, 21, 22]
