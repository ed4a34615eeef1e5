"""A pass through a stack: what it reads, where it ends, what is touched, when it restarts."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from attn_cli import session, vocabulary
from attn_cli.maths import masks
from attn_cli.maths.products import of_matrix
from attn_cli.model.cache import Cache
from attn_cli.model.rope import Rope
from attn_cli.model.stack import Request, Stack
from attn_cli.records import Address

MODELS = (
    "gpt2-b", "llama-plain", "llama-bias", "mistral-window", "qwen3-yarn", "gemma2", "gemma3",
    "phi3-long", "neox-parallel", "neox-serial", "bloom", "bloom-normed", "opt-before",
    "opt-behind",
)  # fmt: skip
IDS = (7, 7, 2, 30)
LAYER = re.compile(r"(?:h|layers)\.(\d+)\.(.*)")
# What a layer does once its attention has given its output: that output's norm, and the MLP.
AFTER = r"mlp|fc[12]|ln_2|post_attention|feedforward|final_layer_norm"
NORM_AFTER = {"opt-behind": "|self_attn_layer_norm"}
# What follows the last layer.
END = r"lm_head|embed_out|ln_f|\bnorm\b|final_layer_norm|project_out"


def follows(model, parts):
    """The tensors of a layer, named without its number, that its attention does not need."""
    return {part for part in parts if re.search(AFTER + NORM_AFTER.get(model, ""), part)}


def decoder(*layers):
    return frozenset(Address("decoder", "self", layer) for layer in layers)


def by_layer(names):
    """The tensors that are of a layer, without the number, for each of them."""
    found = {}
    for name in names:
        place = LAYER.search(name)
        if place:
            found.setdefault(int(place[1]), []).append(place[2])
    return found


def outside(names):
    return {name for name in names if not LAYER.search(name)}


# --- laziness ------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 1, -1])
@pytest.mark.parametrize("name", MODELS)
def test_a_pass_that_is_not_whole_stops_at_its_last_record(golden_path, spied, name, place):
    model, spy = spied(golden_path / name)
    layer = range(model.facts.layers)[place]
    request = Request(
        blocks=decoder(layer), heads={"decoder": (0,)}, arrays=frozenset({"output"}), whole=False
    )
    blocks, end = session.run(model, IDS, request)
    assert list(blocks) == [*decoder(layer)]
    assert (end.x.shape, end.touched) == ((0, model.facts.model_width), False)
    read, stored = by_layer(spy.rows_read()), by_layer(spy.tensors)
    assert set(read) == set(range(layer + 1))
    for number, parts in read.items():
        assert len(parts) == len(set(parts))
        whole = set(stored[number])
        assert whole > follows(name, whole) > set()
        assert set(parts) == (whole if number < layer else whole - follows(name, whole))
    assert not {name for name in outside(spy.rows_read()) if re.search(END, name)}
    embedded = [rows for name, rows in spy.by_row if "emb" in name or "w" in name[:14]]
    assert {row for rows in embedded for row in rows} <= {*IDS, *range(2 + len(IDS))}


@pytest.mark.parametrize("name", MODELS)
def test_a_whole_pass_reads_every_tensor_of_every_layer_once_and_no_output_matrix(
    golden_path, spied, name
):
    model, spy = spied(golden_path / name)
    _, end = session.run(model, IDS, Request())
    assert end.x.shape == (len(IDS), model.facts.model_width)
    assert {n: sorted(p) for n, p in by_layer(spy.rows_read()).items()} == {
        n: sorted(p) for n, p in by_layer(spy.tensors).items()
    }
    assert not {name for name in outside(spy.rows_read()) if re.search(END, name)}
    session.predict(model, end.x)
    last = {name for name in outside(spy.tensors) if re.search(END, name)}
    assert last <= set(spy.rows_read())


@pytest.mark.parametrize("layers", [(0,), (1,), (0, 2), (2,)])
def test_records_come_in_order_and_only_those_that_were_asked_for(golden_path, layers):
    model = session.load(str(golden_path / "llama-plain"))
    for whole in (True, False):
        request = Request(
            blocks=decoder(*layers),
            heads={"decoder": (1,)},
            arrays=frozenset({"x", "weights"}),
            whole=whole,
        )
        blocks, end = session.run(model, IDS, request)
        assert [address.layer for address in blocks] == list(layers)
        assert all(set(block.arrays) == {"x", "weights"} for block in blocks.values())
        assert all(block.heads == (1,) for block in blocks.values())
        assert len(end.x) == (len(IDS) if whole else 0)


def test_a_record_leaves_the_pass_before_its_layer_is_done(golden_path, spied):
    """So that who wants one array of a large model waits for no MLP."""
    model, spy = spied(golden_path / "gpt2-b")
    request = Request(blocks=decoder(0, 1), heads={"decoder": (0,)}, arrays=frozenset({"x"}))
    passing = model.family.forward(model, IDS, request)
    assert next(passing).address == Address("decoder", "self", 0)
    assert not follows("gpt2-b", spy.rows_read())
    done = next(passing)
    assert done[:4] == ("decoder", 0, 4, len(IDS))
    of_layer = (tensor.size for name, tensor in spy.tensors.items() if ".h.0." in name)
    assert (done.read, done.size) == (sum(of_layer), model.weights.size)
    assert next(passing).address == Address("decoder", "self", 1)
    assert set(by_layer(spy.rows_read())) == {0, 1}
    passing.close()
    assert set(by_layer(spy.rows_read())) == {0, 1}


ENCODER, CROSS = Address("encoder", "self", 1), Address("decoder", "cross", 0)


@pytest.mark.parametrize(
    ("blocks", "whole", "of_encoder", "of_decoder"),
    [
        ((), True, 4, 6),
        ((ENCODER,), True, 4, 6),
        ((), False, -1, -1),
        ((ENCODER,), False, 1, -1),
        # The decoder looks at all that the encoder made.
        ((CROSS,), False, 4, 0),
        ((ENCODER, CROSS), False, 4, 0),
        ((ENCODER, Address("decoder", "self", 3), CROSS), False, 4, 3),
        ((Address("encoder", "self", 3), ENCODER), False, 3, -1),
    ],
)
def test_the_last_layer_of_each_stack_that_has_to_be_computed(
    blocks, whole, of_encoder, of_decoder
):
    request = Request(blocks=frozenset(blocks), whole=whole)
    found = request.last_layer("encoder", 5), request.last_layer("decoder", 7)
    assert found == (of_encoder, of_decoder)


# --- what a what-if touches ----------------------------------------------------------------------

OF_QUERIES = {"x", "normed", "q_latent", "q_unrotated", "q"}
OF_KEYS = {"key_x", "kv_latent", "k_unrotated", "k", "v"}
OF_BOTH = {
    "content_to_content", "content_to_position", "position_to_content", "scores", "scaled", "bias",
    "visible", "masked", "weights", "sink_share", "z", "head_output", "output", "mlp_output",
}  # fmt: skip


def test_every_array_is_of_the_queries_of_the_keys_or_of_both():
    sides = OF_QUERIES | OF_KEYS | OF_BOTH
    of_none = vocabulary.PARAMETERS | vocabulary.OF_DISTANCES | {"sink"}
    assert sides | of_none | vocabulary.EMBEDDING_PARTS == set(vocabulary.ARRAYS)
    assert vocabulary.arrays_after(False, False) == set()
    assert vocabulary.arrays_after(True, False) - vocabulary.EMBEDDING_PARTS == OF_QUERIES | OF_BOTH
    assert vocabulary.arrays_after(False, True) == OF_KEYS | OF_BOTH
    assert vocabulary.arrays_after(True, True) - vocabulary.EMBEDDING_PARTS == sides


@pytest.mark.parametrize("of_queries", [False, True])
@pytest.mark.parametrize("of_keys", [False, True])
def test_cross_attention_is_touched_on_the_side_that_was_changed(of_queries, of_keys):
    request = Request(
        blocks=frozenset({CROSS}), heads={"decoder": (0,)},
        arrays=frozenset(vocabulary.ARRAYS) - {"mlp_output"},
    )  # fmt: skip
    encoder = Stack(None, (1, 2, 3), request, name="encoder")
    target = Stack(None, (4, 5), request)
    target.layer, target.touched, encoder.touched = 0, of_queries, of_keys
    rng = np.random.default_rng(0)
    arrays = {"q": rng.random((1, 2, 3)), "k": rng.random((1, 3, 3)), "v": rng.random((1, 3, 5))}
    arrays |= {"x": rng.random((2, 5)), "key_x": rng.random((3, 5))}
    (record,) = target.attend(
        arrays, visible=masks.none, out=of_matrix(np.eye(5)), source=encoder
    )  # fmt: skip
    wanted = OF_QUERIES if of_queries else set()
    wanted = wanted | (OF_KEYS if of_keys else set())
    wanted = wanted | (OF_BOTH if of_queries or of_keys else set())
    assert {"x", "key_x", "q", "k", "v", "weights", "output"} <= set(record.arrays)
    assert record.what_if == wanted & set(record.arrays)
    assert target.touched == (of_queries or of_keys)
    assert encoder.touched == of_keys
    assert target.end(arrays["x"]).touched == target.touched


# --- the cache -----------------------------------------------------------------------------------


def cache_of(ids):
    cache = Cache()
    cache.advance(ids)
    return cache


@pytest.mark.parametrize(
    ("held", "given", "limit", "restarts"),
    [
        (0, 9, 4, False),  # nothing that could be wrong
        (5, 3, 0, False),  # no limit
        (5, 3, 8, False),  # the text is as long as the limit
        (5, 3, 7, True),
        (5, 3, 5, True),  # the cache is as long as the limit
        (5, 3, 4, False),  # beyond it already
        (5, 1, 5, True),
    ],
)
def test_a_cache_is_emptied_where_the_text_grows_beyond_the_limit(held, given, limit, restarts):
    before, new = tuple(range(held)), tuple(range(20, 20 + given))
    cache = cache_of(before)
    stack = Stack(None, new, Request(), cache, restart_beyond=limit)
    assert (stack.ids, stack.start) == ((before + new, 0) if restarts else (new, held))
    assert stack.positions == range(stack.start, held + given)
    assert cache.length == stack.start
    stack.end(np.zeros((len(stack.ids), 1)))
    assert cache.ids == before + new


def test_without_a_cache_every_text_begins_at_0():
    stack = Stack(None, (1, 2, 3), Request(), restart_beyond=2)
    assert (stack.ids, stack.start, stack.positions) == ((1, 2, 3), 0, range(3))


def test_a_text_that_outgrows_the_short_factors_is_computed_again_once(golden_path, spied):
    """Its earlier keys were rotated by other angles; after that one position is enough again."""
    model, spy = spied(golden_path / "phi3-long")
    rope = model.config.rope
    assert isinstance(rope, Rope) and rope.limit == 10
    ids, cache, asked = tuple(range(13)), Cache(), []
    for chunk in (ids[:8], ids[8:10], ids[10:11], ids[11:12], ids[12:]):
        session.run(model, chunk, Request(), cache)
        embedded = [rows for name, rows in spy.by_row if name.endswith("embed_tokens.weight")]
        asked.append(embedded[-1])
    assert asked == [[*range(8)], [8, 9], [*range(11)], [11], [12]]
    assert cache.ids == ids


def test_cross_attention_keeps_nothing_of_the_source_in_the_cache():
    """The keys of a source are all there at once, and do not grow with the target."""
    cache, request = Cache(), Request()
    encoder = Stack(None, (1, 2, 3), request, name="encoder")
    rng = np.random.default_rng(1)
    k, v = rng.random((1, 3, 3)), rng.random((1, 3, 5))
    for position in range(2):
        stack = Stack(None, (position,), request, cache)
        stack.layer = 0
        arrays = {"q": rng.random((1, 1, 3)), "k": k, "v": v}
        passing = stack.attend(arrays, visible=masks.none, out=of_matrix(np.eye(5)), source=encoder)
        with pytest.raises(StopIteration) as done:
            next(passing)
        weights = np.exp((arrays["q"] @ k.swapaxes(1, 2)) * 3**-0.5)
        wanted = (weights / weights.sum(axis=-1, keepdims=True)) @ v
        np.testing.assert_allclose(done.value.value, wanted[0], rtol=1e-9)
        stack.end(np.zeros((1, 5)))
    assert cache.ids == (0, 1)


def test_the_facts_say_how_many_layers_a_pass_has(golden_path):
    model = session.load(str(golden_path / "gpt2-c"))
    few = SimpleNamespace(
        facts=SimpleNamespace(layers_of=lambda stack: 2), weights=model.weights
    )  # fmt: skip
    stack = Stack(few, IDS, Request())
    assert [stack.layer for _ in stack.layers("h.")] == [0, 1]
