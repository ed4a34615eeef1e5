"""Layers with a convolution in place of attention: what is asked of them, and what is refused."""

import numpy as np
import pytest
from made_folders import document, made_folder

from attn_cli import session
from attn_cli.analysis import components
from attn_cli.analysis.parts import parts
from attn_cli.errors import ContentError, UsageError
from attn_cli.families.lfm2 import read_config
from attn_cli.model.cache import Cache
from attn_cli.model.config import ConfigReader
from attn_cli.model.stack import Request
from attn_cli.records import Address, Attention, Mixed
from measure import next_logits_of, row_error

IDS = (3, 1, 4, 1, 5)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Attention in layers 1 and 3 of four."""
    return session.load(str(made_folder(tmp_path_factory.mktemp("lfm2"), "lfm2-a")))


def test_all_layers_are_those_with_attention_and_none_the_first_of_them(model):
    assert model.facts.mixers == ("convolution", "", "convolution", "")
    for layer, wanted in (("all", [1, 3]), (None, [1]), ("-1", [3]), ("1,3", [1, 3])):
        trace = session.trace(ids=IDS, model=model, layer=layer, arrays={"weights"})
        assert [block.layer for block in trace.attention] == wanted


@pytest.mark.parametrize("layer", ["0", "-2", "0-1", [2]])
def test_a_layer_without_heads_is_refused_by_name(model, layer):
    with pytest.raises(UsageError, match=r"layer \d of .* is a gated short convolution") as refused:
        session.trace(ids=IDS, model=model, layer=layer)
    assert refused.value.hint == "layers with attention: 1, 3"


def test_a_head_that_is_not_there_cannot_be_removed(model):
    with pytest.raises(UsageError, match=r"--without-head: layer 2 of"):
        session.trace(ids=IDS, model=model, without_head=["2.1"])
    trace = session.trace(ids=IDS, model=model, without_head=["1.all"], without=["mlp:2"])
    assert not trace.block(1).head_output.any()
    assert trace.block(3).provenance("x") == "what-if"


def test_what_a_convolution_writes_is_a_part(model):
    """Without it, and without the network of its layer, nothing is left but what entered."""
    prompt = session.tokenise(model, ids=IDS)
    before, after = (parts(model, prompt, range(5), layer) for layer in (2, 3))
    kinds = [(writer.kind, writer.layer) for writer in after.writers]
    assert kinds[:2] == [("token", -1), ("convolution", 0)]
    assert kinds[-2:] == [("convolution", 2), ("mlp", 2)]
    own = after.values[-2] + after.values[-1]
    assert row_error(after.x - own, before.x) <= 1e-6
    assert np.abs(after.values[-2]).max() > 0.1


def test_a_layer_that_is_asked_for_yields_its_own_record(model):
    request = Request(
        blocks=frozenset(Address("decoder", "self", layer) for layer in range(4)),
        positions={("decoder", "self"): ((2, 4), None)},
        arrays=frozenset({"x", "mlp_output"}), whole=False,
    )  # fmt: skip
    steps = [s for s in session.records(model, IDS, request) if isinstance(s, Attention | Mixed)]
    assert [(step.address.layer, type(step)) for step in steps] == [
        (0, Mixed), (1, Attention), (2, Mixed), (3, Attention),
    ]  # fmt: skip
    assert steps[0].x.shape == (2, model.facts.model_width)
    assert np.array_equal(steps[2].leaving, steps[3].x)


def test_a_pass_that_broke_off_is_made_again_from_the_same_state(model):
    cache, whole = Cache(), Cache()
    for id in IDS[:3]:
        next_logits_of(model, (id,), cache)
        next_logits_of(model, (id,), whole)
    passing = model.family.forward(model, (9,), Request(), cache)
    next(passing)
    passing.close()
    found, wanted = (next_logits_of(model, IDS[3:], one) for one in (cache, whole))
    assert np.array_equal(found, wanted)


def test_a_score_is_split_among_convolutions_too(model):
    prompt = session.tokenise(model, ids=IDS)
    steps = components.components_steps(model, prompt, Address("decoder", "self", 3), 2, 4, 1)
    found = session.finished(steps)
    assert found.error <= 1e-5
    assert {one.kind for one in found.by_key} >= {"convolution", "head", "mlp", "token"}


def test_a_model_without_any_attention_is_refused():
    config = document("lfm2-a")["config"]
    with pytest.raises(ContentError, match="no layer has attention"):
        read_config(ConfigReader(config | {"layer_types": ["conv"] * 4}, "config.json"))


@pytest.mark.parametrize(("said", "inner"), [
    ({}, 66), ({"block_multiple_of": 16}, 80), ({"block_multiple_of": 11}, 66),
    ({"block_multiple_of": 16, "block_ffn_dim_multiplier": 1.3}, 96),
    ({"block_multiple_of": 16, "block_auto_adjust_ff_dim": False}, 100),
])  # fmt: skip
def test_the_inner_width_is_two_thirds_rounded_up(said, inner):
    given = {
        "vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 1, "block_ff_dim": 100, "block_multiple_of": 1,
    }  # fmt: skip
    assert read_config(ConfigReader(given | said, "here")).inner_width == inner
