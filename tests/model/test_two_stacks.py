"""A toy encoder–decoder on two Stacks against the same computation written out with einsum.

Random numbers, sizes that are different primes where they can be. The encoder attends to itself on
both sides with a bias by distance; the decoder attends to itself with a further term in its scores,
and to the encoder, whose last vectors are its keys and values.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from attn_cli import hook_names, session, vocabulary
from attn_cli.maths import masks
from attn_cli.maths.products import of_matrix
from attn_cli.model.cache import encoded
from attn_cli.model.stack import Request, Stack
from attn_cli.model.weights import Stored, Weights
from attn_cli.model.what_if import Changes, read_what_if
from attn_cli.records import Address, Facts, Prompt, Trace
from measure import row_error

WIDTH, VALUE, MODEL, VOCABULARY = 5, 7, 11, 17
HEADS = {"encoder": 4, "decoder": 3}
ENCODER, DECODER = 2, 3  # layers
LIMIT = 1e-5
SOURCE, TARGET = (4, 1, 9, 16, 2, 2, 7), (3, 8, 0, 13, 5)
STACKS = {"encoder": (ENCODER, SOURCE), "decoder": (DECODER, TARGET)}
BLOCKS = [Address("encoder", "self", n) for n in range(ENCODER)]
BLOCKS += [Address("decoder", kind, n) for n in range(DECODER) for kind in ("self", "cross")]
CHOSEN = {"encoder": (3, 1), "decoder": (2, 0)}
EVERY = frozenset(vocabulary.ARRAYS) - {"mlp_output"}  # there is no feed-forward network
SCALES = {"encoder": 1.0, "decoder": 0.3}


def parameters():
    rng = np.random.default_rng(11)

    def normal(*shape):
        return (rng.standard_normal(shape) * 0.3).astype(np.float32)

    found = {"embedding": normal(VOCABULARY, MODEL), "turn": normal(max(HEADS.values()), 1, 1)}
    for stack, (layers, _) in STACKS.items():
        for layer in range(layers):
            for kind in ("self", "cross") if stack == "decoder" else ("self",):
                name = f"{stack}.{layer}.{kind}."
                found |= {f"{name}{p}": normal(MODEL, HEADS[stack] * WIDTH) for p in "qk"}
                found[f"{name}v"] = normal(MODEL, HEADS[stack] * VALUE)
                found[f"{name}o"] = normal(HEADS[stack] * VALUE, MODEL)
                found[f"{name}b"] = normal(MODEL)
    return found


PARAMETERS = parameters()


def distance(queries, keys):
    return PARAMETERS["turn"] * np.abs(queries[:, None] - keys[None, :]).astype(np.float32)


def steepness(queries, keys):
    return (
        PARAMETERS["turn"][: HEADS["decoder"]]
        * np.float32(0.1)
        * (queries[:, None] + 2 * keys[None, :] + 1)
    )


# --- on Stacks, as a family would write it -------------------------------------------------------


def split(x, w, width):
    return (x @ w).reshape(len(x), -1, width).swapaxes(0, 1)


def encode(model, request):
    encoder = Stack(model, request.source, request, name="encoder")
    x = PARAMETERS["embedding"][list(encoder.ids)]
    for parts in encoder.layers("encoder."):
        x = x + (
            yield from encoder.attend(
                {"x": x, **project(parts, "self", x, x)}, visible=masks.none,
                **output(parts, "self"), scale=SCALES["encoder"], bias=distance,
            )
        )  # fmt: skip
    return encoder.end(x)


def forward(model, ids, request, cache=None):
    source = yield from encoded(cache, encode(model, request))
    decoder = Stack(model, ids, request, cache)
    x = PARAMETERS["embedding"][list(ids)]
    for parts in decoder.layers("decoder."):
        x = x + (
            yield from decoder.attend(
                {"x": x, **project(parts, "self", x, x)}, visible=masks.causal,
                **output(parts, "self"), scale=SCALES["decoder"],
                terms={"content_to_position": steepness},
            )
        )  # fmt: skip
        x = x + (
            yield from decoder.attend(
                {"x": x, "key_x": source.x, **project(parts, "cross", x, source.x)},
                visible=masks.none, **output(parts, "cross"), source=source,
            )
        )  # fmt: skip
    return decoder.end(x)


def project(parts, kind, x, keys):
    return {
        "q": split(x, parts[f"{kind}.q"], WIDTH), "k": split(keys, parts[f"{kind}.k"], WIDTH),
        "v": split(keys, parts[f"{kind}.v"], VALUE),
    }  # fmt: skip


def output(parts, kind):
    return {"out": of_matrix(parts[f"{kind}.o"], parts[f"{kind}.b"])}


@pytest.fixture(scope="module")
def model():
    of_decoder = {"heads": HEADS["decoder"], "kv_heads": HEADS["decoder"]}
    facts = Facts(
        name="toy", family="toy", source="", layers=DECODER, **of_decoder,
        model_width=MODEL, head_width=WIDTH, vocabulary=VOCABULARY, context=0, parameters=0,
        encoder=(ENCODER, HEADS["encoder"]),
    )  # fmt: skip
    weights = Weights(
        tensors={}, stored={name: Stored(name) for name in PARAMETERS}, held=dict(PARAMETERS),
        hold=True,
    )  # fmt: skip
    return SimpleNamespace(facts=facts, weights=weights, family=SimpleNamespace(forward=forward))


def traced(model, what_if=None, **changes):
    request = Request(
        blocks=frozenset(BLOCKS), heads=CHOSEN, arrays=EVERY, source=SOURCE,
        what_if=Changes((what_if,) if what_if else ()),
    )  # fmt: skip
    return session.run(model, TARGET, replace(request, **changes))


# --- written out ---------------------------------------------------------------------------------


def written_out(visible=None, temperature=1.0, without=(), where=("decoder", "self")):
    """Every array of every block: einsum, no function of the package. `where` is what-if."""
    found, p = {}, {name: array.astype(np.float64) for name, array in PARAMETERS.items()}

    def block(address, x, keys, own, scale, bias, more):
        here = (address.stack, address.kind) == where
        name = f"{address.stack}.{address.layer}.{address.kind}."
        w = {letter: p[name + letter].reshape(MODEL, HEADS[address.stack], -1) for letter in "qkv"}
        q, k, v = (
            np.einsum("qm,mhw->hqw", side, w[letter])
            for letter, side in (("q", x), ("k", keys), ("v", keys))
        )
        w_o = p[name + "o"].reshape(HEADS[address.stack], VALUE, MODEL)
        product = np.einsum("hqw,hkw->hqk", q, k)
        scores = product + more
        scaled = scores * scale + bias
        seen = visible if here and visible is not None else own
        masked = np.where(seen, scaled, -np.inf)
        heat = temperature if here else 1.0
        finite = np.where(seen, scaled / heat, -np.inf)
        exponential = np.exp(finite - finite.max(axis=-1, keepdims=True))
        weights = exponential / exponential.sum(axis=-1, keepdims=True)
        z = np.einsum("hqk,hkv->hqv", weights, v)
        head_output = np.einsum("hqv,hvm->hqm", z, w_o)
        for layer, head in without if here else ():
            if layer == address.layer:
                head_output[head] = 0
        out = head_output.sum(axis=0) + p[name + "b"]
        arrays = {
            "x": x, "q": q, "k": k, "v": v, "scores": scores, "scaled": scaled, "visible": seen,
            "masked": masked, "weights": weights, "z": z, "head_output": head_output,
            "output": out, "w_o": w_o, "b_o": p[name + "b"],
        }  # fmt: skip
        if np.size(bias) > 1:
            arrays["bias"] = bias
        if np.size(more) > 1:
            arrays |= {"content_to_content": product, "content_to_position": more}
        if address.kind == "cross":
            arrays["key_x"] = keys
        found[address] = arrays
        return x + out

    turn, s, t = p["turn"], np.arange(len(SOURCE)), np.arange(len(TARGET))
    x = p["embedding"][list(SOURCE)]
    for layer in range(ENCODER):
        bias = turn * np.abs(s[:, None] - s)
        x = block(Address("encoder", "self", layer), x, x, np.ones((7, 7), bool), 1.0, bias, 0)
    source, x = x, p["embedding"][list(TARGET)]
    for layer in range(DECODER):
        more = turn[: HEADS["decoder"]] * 0.1 * (t[:, None] + 2 * t + 1)
        own = np.tri(5, dtype=bool)
        x = block(Address("decoder", "self", layer), x, x, own, 0.3, 0, more)
        every = np.ones((5, 7), bool)
        x = block(Address("decoder", "cross", layer), x, source, every, WIDTH**-0.5, 0, 0)
    return found, x


CASES = {
    "nothing": ({}, {}),
    "mask of the encoder": (
        {"mask": ["window:2", "block:3:4"], "stack": "encoder"},
        {
            "visible": (np.abs(np.arange(7)[:, None] - np.arange(7)) < 2)
            & ~((np.arange(7)[:, None] == 3) & (np.arange(7) == 4)),
            "where": ("encoder", "self"),
        },
    ),
    "mask of the decoder": (
        {"mask": ["window:2"], "stack": "decoder"},
        {"visible": np.tri(5, dtype=bool) & ~np.tri(5, k=-2, dtype=bool)},
    ),
    "mask over the source": (
        {"mask": ["padding:3", "block:4:0"], "kind": "cross"},
        {
            "visible": (np.arange(7) < 4)
            & ~((np.arange(5)[:, None] == 4) & (np.arange(7) == 0)),
            "where": ("decoder", "cross"),
        },
    ),
    "temperature of the encoder": (
        {"attention_temperature": 2.5, "stack": "encoder"},
        {"temperature": 2.5, "where": ("encoder", "self")},
    ),
    "a head of the encoder": (
        {"without_head": ["1.2"], "stack": "encoder"},
        {"without": [(1, 2)], "where": ("encoder", "self")},
    ),
    "two heads of the decoder": (
        {"without_head": ["0.1", "2.0"]},
        {"without": [(0, 1), (2, 0)]},
    ),
    "a head of the cross-attention": (
        {"without_head": ["1.0"], "kind": "cross"},
        {"without": [(1, 0)], "where": ("decoder", "cross")},
    ),
}  # fmt: skip


def setting(layers=3, **words):
    return read_what_if(layers=layers, heads=HEADS[words.get("stack", "decoder")], **words)


@pytest.mark.parametrize("case", CASES)
def test_every_array_of_every_block_is_what_einsum_gives(model, case):
    words, same = CASES[case]
    blocks, end = traced(model, setting(**words))
    wanted, last = written_out(**same)
    assert list(blocks) == BLOCKS
    for address, arrays in wanted.items():
        block = blocks[address]
        assert block.address == address and set(block.arrays) == set(arrays), address
        for name, whole in arrays.items():
            axis = vocabulary.ARRAYS[name].axes[0]
            array = whole[list(CHOSEN[address.stack])] if axis in ("head", "kv_head") else whole
            if name == "visible":
                assert np.array_equal(block.arrays[name], array), (address, name)
            else:
                assert row_error(block.arrays[name], array) < LIMIT, (address, name)
    assert row_error(end.x, last) < LIMIT


TOUCHED_FROM = {
    # The first block that a setting reaches, its first array, and whether the blocks between the
    # stacks are touched through their keys alone.
    "mask of the encoder": (("encoder", "self", 0), "visible"),
    "mask of the decoder": (("decoder", "self", 0), "visible"),
    "mask over the source": (("decoder", "cross", 0), "visible"),
    "temperature of the encoder": (("encoder", "self", 0), "weights"),
    "a head of the encoder": (("encoder", "self", 1), "head_output"),
    "two heads of the decoder": (("decoder", "self", 0), "head_output"),
    "a head of the cross-attention": (("decoder", "cross", 1), "head_output"),
}


@pytest.mark.parametrize("case", TOUCHED_FROM)
def test_what_if_begins_where_the_numbers_change(model, case):
    """An array is what-if from the first one touched; before it, and beside it, all stay real."""
    changed, end = traced(model, setting(**CASES[case][0]))
    plain, _ = traced(model)
    first, name = TOUCHED_FROM[case]
    assert end.touched
    block = changed[Address(*first)]
    assert block.what_if == vocabulary.arrays_from(name) & set(block.arrays)
    for address, block in changed.items():
        for array in set(block.arrays) - block.what_if:
            assert np.array_equal(block.arrays[array], plain[address].arrays[array]), (
                address, array
            )  # fmt: skip
        if BLOCKS.index(address) < BLOCKS.index(Address(*first)):
            assert block.what_if == frozenset()


def test_a_changed_encoder_reaches_the_decoder_through_keys_and_values(model):
    """Not its own vectors in layer 0, nor what they ask: those come from the target alone."""
    blocks, _ = traced(model, setting(mask=["window:1"], stack="encoder"))
    assert blocks[Address("decoder", "self", 0)].what_if == frozenset()
    cross = blocks[Address("decoder", "cross", 0)]
    assert {"key_x", "k", "v", "scores", "weights", "output"} <= cross.what_if
    assert not {"x", "q"} & cross.what_if
    later = blocks[Address("decoder", "self", 1)]
    assert {"x", "q", "k", "v", "output"} <= later.what_if


def test_a_pass_that_is_not_whole_stops_at_its_last_record(model):
    for wanted in ([BLOCKS[0]], [Address("decoder", "cross", 1)], BLOCKS[1:4]):
        blocks, end = traced(model, blocks=frozenset(wanted), whole=False)
        assert set(blocks) == set(wanted)
        assert end.x.size == 0


def test_no_two_arrays_of_two_stacks_have_one_name(model):
    blocks, _ = traced(model)
    prompt = Prompt(text="", has_text=False, tokens=())
    trace = Trace(
        model=model.facts, prompt=prompt, settings={}, attention=tuple(blocks.values()), next=(),
        notes=(), logits=np.zeros((0, VOCABULARY)),
    )  # fmt: skip
    names = hook_names.to_arrays(trace)
    every = sum(len(block.arrays) + 4 for block in trace.attention) + 1
    assert len(names) == every
    for name in (
        "encoder_blocks.1.attn.hook_pattern", "decoder_blocks.2.self_attn.hook_pattern",
        "decoder_blocks.2.cross_attn.hook_pattern", "decoder_blocks.0.cross_attn.hook_q",
    ):  # fmt: skip
        assert name in names
    block = trace.block(2, kind="cross")
    found = hook_names.find(names, model.facts, block, "weights")
    assert np.array_equal(found, block.weights)
    assert trace.block(1, stack="encoder").address == Address("encoder", "self", 1)
    with pytest.raises(KeyError):
        trace.block(2, stack="encoder")
