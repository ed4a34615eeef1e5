"""The names of interpretability code, for one stack and for two."""

from dataclasses import replace

import numpy as np
import pytest

from attn_cli import vocabulary
from attn_cli.hook_names import find, hook_name, kept_in, to_arrays
from attn_cli.records import Attention, Facts, Prompt, Trace
from attn_cli.tokens.token import Token

SIZES = {
    "head": 2, "kv_head": 2, "query": 3, "key": 5, "model": 7, "width": 11, "value_width": 13,
    "bucket": 17, "latent": 19,
}  # fmt: skip
ONE = Facts(
    name="toy", family="toy", source="", layers=3, heads=6, kv_heads=6, model_width=7,
    head_width=11, vocabulary=17, context=0, parameters=0,
)  # fmt: skip
TWO = replace(ONE, encoder=(2, 6))
ENCODER_ONLY = replace(ONE, stack="encoder")
MODELS = {
    "plain": {},
    "rotary": {"positions": "rotary"},
    "rotary, normed heads": {"positions": "rotary", "head_norm": "each"},
    "rotary in some layers": {"positions": "rotary", "head_norm": "each", "unrotated": (1,)},
    "rotary, then normed": {"positions": "rotary", "head_norm": "rotated"},
    "a norm after": {"residual": "normed"},
}


def block(stack, kind, layer):
    """A block with every array that there is, each number different."""
    start = 1e4 * (1 + layer + 10 * (kind == "cross") + 100 * (stack == "encoder"))
    arrays = {}
    for i, (name, spec) in enumerate(vocabulary.ARRAYS.items()):
        shape = tuple(SIZES[axis] for axis in spec.axes)
        arrays[name] = start * (i + 1) + np.arange(np.prod(shape)).reshape(shape)
    return Attention(
        stack=stack,
        kind=kind,
        layer=layer,
        heads=(4, 1),
        kv_heads=(4, 1),
        queries=(0, 1, 2),
        keys=(0, 1, 2, 3, 4),
        scale=1.0,
        arrays=arrays,
    )  # fmt: skip


def trace_of(facts):
    if facts.encoder:
        blocks = [block("encoder", "self", layer) for layer in range(facts.encoder[0])]
        for layer in range(facts.layers):
            blocks += [block("decoder", kind, layer) for kind in ("self", "cross")]
    else:
        blocks = [block(facts.stack, "self", layer) for layer in range(facts.layers)]
    tokens = tuple(Token(id=id, text="", span=(0, 0)) for id in (5, 3))
    return Trace(
        model=facts, prompt=Prompt(text="", has_text=False, tokens=tokens), settings={},
        attention=tuple(blocks), next=(), notes=(), logits=np.zeros((0, 17)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("stack", "kind", "start"),
    [
        ("encoder", "self", "encoder_blocks.1.attn."),
        ("decoder", "self", "decoder_blocks.1.self_attn."),
        ("decoder", "cross", "decoder_blocks.1.cross_attn."),
    ],
)
def test_in_two_stacks_a_name_says_which_and_which_attention(stack, kind, start):
    of = block(stack, kind, 1)
    assert hook_name(TWO, of, "weights") == f"{start}hook_pattern"
    assert hook_name(TWO, of, "masked") == f"{start}hook_attn_scores"
    assert hook_name(TWO, of, "head_output") == f"{start}hook_result"
    for name in ("q", "k", "v", "z"):
        assert hook_name(TWO, of, name) == f"{start}hook_{name}"
    for name in ("normed", "scores", "scaled", "bias", "visible", "w_q", "key_x", "b_o"):
        assert hook_name(TWO, of, name) == start + name
    layer = f"{stack}_blocks.1."
    x, output = {"self": ("pre", "attn"), "cross": ("mid", "cross_attn")}[kind]
    assert hook_name(TWO, of, "x") == f"{layer}hook_resid_{x}"
    assert hook_name(TWO, of, "output") == f"{layer}hook_{output}_out"


@pytest.mark.parametrize("facts", [ONE, ENCODER_ONLY], ids=["decoder", "encoder"])
def test_in_one_stack_a_name_says_only_the_layer(facts):
    of = block(facts.stack, "self", 2)
    assert hook_name(facts, of, "weights") == "blocks.2.attn.hook_pattern"
    assert hook_name(facts, of, "x") == "blocks.2.hook_resid_pre"
    assert hook_name(facts, of, "output") == "blocks.2.hook_attn_out"
    assert hook_name(facts, of, "scaled") == "blocks.2.attn.scaled"


def test_a_rotary_model_has_two_names_for_queries_and_keys():
    of, rotary = block("decoder", "self", 0), replace(ONE, positions="rotary")
    for letter in "qk":
        assert hook_name(ONE, of, letter) == f"blocks.0.attn.hook_{letter}"
        assert hook_name(rotary, of, letter) == f"blocks.0.attn.hook_rot_{letter}"
        assert hook_name(rotary, of, f"{letter}_unrotated") == f"blocks.0.attn.hook_{letter}"
        # Where heads are normalised other tools mean by this what stands before the norm.
        own = hook_name(replace(rotary, head_norm=True), of, f"{letter}_unrotated")
        assert own == f"blocks.0.attn.{letter}_unrotated"
    behind = replace(ONE, residual="normed")
    assert hook_name(behind, of, "output") == "blocks.0.attn.output"


@pytest.mark.parametrize("facts", [ONE, ENCODER_ONLY, TWO], ids=["one", "encoder", "two"])
@pytest.mark.parametrize("case", MODELS)
def test_no_two_arrays_of_a_trace_have_one_name_and_each_is_found_by_its_own(facts, case):
    trace = trace_of(replace(facts, **MODELS[case]))
    arrays = to_arrays(trace)
    # A model that does not rotate has no unrotated queries and keys.
    rotary = trace.model.positions == "rotary"
    names = [n for n in vocabulary.ARRAYS if rotary or not n.endswith("_unrotated")]
    given = [hook_name(trace.model, b, n) for b in trace.attention for n in names]
    assert len(set(given)) == len(given) == len(names) * len(trace.attention)
    assert set(given) < set(arrays)
    assert arrays["tokens"].tolist() == [5, 3]
    for of in trace.attention:
        for name in names:
            assert np.array_equal(find(arrays, trace.model, of, name), of.arrays[name]), name
        assert kept_in(arrays, trace.model, of, "head") == [4, 1]
        assert kept_in(arrays, trace.model, of, "kv_head") == [4, 1]
        assert kept_in(arrays, trace.model, of, "query") == [0, 1, 2]
        assert kept_in(arrays, trace.model, of, "key") == [0, 1, 2, 3, 4]


def test_axes_are_those_of_the_field():
    """(position, head, width) where it has one vector for each head, (head, query, key) as here."""
    trace = trace_of(TWO)
    arrays = to_arrays(trace)
    of = trace.block(1, kind="cross")
    for name in ("q", "k", "v", "z", "head_output"):
        found = arrays[hook_name(TWO, of, name)]
        assert np.array_equal(found, of.arrays[name].transpose(1, 0, 2)), name
    for name in ("scores", "masked", "weights", "visible", "w_q", "x", "output"):
        assert np.array_equal(arrays[hook_name(TWO, of, name)], of.arrays[name]), name


def test_what_a_file_does_not_hold_is_not_found():
    trace = trace_of(TWO)
    arrays = to_arrays(trace)
    of, other = trace.block(0, kind="cross"), trace.block(0)
    del arrays["decoder_blocks.0.cross_attn.hook_pattern"]
    del arrays["decoder_blocks.0.cross_attn.heads"]
    assert find(arrays, TWO, of, "weights") is None
    assert np.array_equal(find(arrays, TWO, other, "weights"), other.weights)
    assert kept_in(arrays, TWO, of, "head") == [4, 1]


@pytest.mark.parametrize("shape", [(), (3,), (3, 4), (3, 4, 5, 6)])
def test_an_array_of_other_axes_is_found_as_it_is(shape):
    of, array = block("decoder", "self", 0), np.arange(np.prod(shape)).reshape(shape)
    assert find({"blocks.0.attn.hook_q": array}, ONE, of, "q") is array
    assert find({}, ONE, of, "q") is None


@pytest.mark.parametrize(
    ("head_norm", "layer", "q", "q_unrotated"),
    [
        ("", 0, "hook_rot_q", "hook_q"),
        ("", 1, "hook_q", None),
        ("each", 0, "hook_rot_q", "q_unrotated"),
        ("each", 1, "q", None),
        ("rotated", 0, "q", "hook_q"),
    ],
)
def test_what_others_could_mean_otherwise_keeps_its_own_name(head_norm, layer, q, q_unrotated):
    """Layer 1 does not rotate; with a norm, hook_q could stand before or after it."""
    facts = replace(ONE, positions="rotary", unrotated=(1,), head_norm=head_norm)
    of = block("decoder", "self", layer)
    assert hook_name(facts, of, "q") == f"blocks.{layer}.attn.{q}"
    if q_unrotated:
        assert hook_name(facts, of, "q_unrotated") == f"blocks.{layer}.attn.{q_unrotated}"
