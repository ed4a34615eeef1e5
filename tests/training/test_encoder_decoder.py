"""The encoder–decoder's gradients, and what its passes return."""

import numpy as np
import pytest

from attn_cli.training import encoder_decoder
from measure import check_gradients

# Pairwise different sizes; source and target long enough for buckets of several distances.
SIZES = {"vocabulary": 11, "width": 6, "heads": 3, "layers_each": 2}
HEADS = SIZES["heads"]
RNG = np.random.default_rng(7)
SOURCE, TARGET, WANTED = (RNG.integers(0, 11, (2, length)) for length in (8, 7, 7))
STEP = 1e-5


@pytest.fixture(scope="module")
def parameters():
    """Float64 and of size about 0.3, so that no gradient is too small to be measured."""
    rng = np.random.default_rng(2)
    return {
        name: (array + 0.3 * rng.standard_normal(array.shape)).astype(np.float64)
        for name, array in encoder_decoder.initial(rng, **SIZES).items()
    }


def forward(parameters, source=SOURCE, target=TARGET):
    return encoder_decoder.forward(parameters, source, target, heads=HEADS)


def loss(parameters):
    logits = forward(parameters).decoder.normed * 6**-0.5 @ parameters["shared.weight"].T
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return -np.take_along_axis(log_p, WANTED[..., None], axis=-1).mean()


def parts(passed, kind):
    every = (*passed.encoder.parts, *passed.decoder.parts)
    return [part.inside for part in every if part.name.endswith(kind)]


@pytest.mark.slow
def test_gradients_against_central_differences(parameters):
    # ReLU has no slope at 0, so that nothing may pass it in a step.
    assert (
        min(np.abs(f.hidden).min() for f in parts(forward(parameters), encoder_decoder.FEED))
        > 20 * STEP
    )
    computed = encoder_decoder.loss_and_gradients(parameters, SOURCE, TARGET, WANTED, heads=HEADS)
    assert computed.losses.shape == WANTED.shape
    assert computed.loss == pytest.approx(computed.losses.mean(), rel=1e-12)
    assert computed.loss == pytest.approx(loss(parameters), rel=1e-12)
    check_gradients(loss, parameters, computed.gradients, step=STEP)


def test_what_each_attention_may_see(parameters):
    passed = forward(parameters)
    for part in (*passed.encoder.parts, *passed.decoder.parts):
        if part.name.endswith(encoder_decoder.FEED):
            continue
        weights = part.inside.weights
        np.testing.assert_allclose(weights.sum(axis=-1), 1)
        causal = part.name.startswith("decoder.") and part.name.endswith(encoder_decoder.SELF)
        keys = 7 if causal else 8
        assert weights.shape == (2, 3, 7 if part.name.startswith("decoder.") else 8, keys)
        assert (np.triu(weights, 1) > 0).any() != causal


def test_cross_attention_looks_at_the_encoders_last_norm(parameters):
    passed = forward(parameters)
    crossed = encoder_decoder.cross_attentions(passed)
    assert len(crossed) == 2
    for found in crossed:
        np.testing.assert_array_equal(found.keys, passed.encoder.normed)


def test_a_later_target_changes_nothing_earlier_and_an_earlier_source_everything(parameters):
    other = TARGET.copy()
    other[:, 4] = (other[:, 4] + 1) % 11
    before, after = forward(parameters).decoder.normed, forward(parameters, target=other)
    np.testing.assert_allclose(after.decoder.normed[:, :4], before[:, :4], rtol=1e-12)
    assert (after.decoder.normed[:, 4:] != before[:, 4:]).any(axis=-1).all()
    other = SOURCE.copy()
    other[:, 7] = (other[:, 7] + 1) % 11
    changed = forward(parameters, source=other).decoder.normed
    assert (changed != before).any(axis=-1).all()


def test_the_bias_is_learned_by_distance(parameters):
    """Nothing else tells positions apart: without it a permuted source is the same source."""
    order = np.array([3, 0, 7, 1, 6, 2, 5, 4])
    without = {
        name: np.zeros_like(array) if "relative_attention_bias" in name else array
        for name, array in parameters.items()
    }
    for given, same in ((without, True), (parameters, False)):
        before, after = forward(given), forward(given, source=SOURCE[:, order])
        found = after.encoder.normed, before.encoder.normed[:, order]
        assert np.allclose(*found, rtol=1e-9, atol=1e-12) == same


def test_the_buckets_of_each_stack(parameters):
    """Where all queries are 0, what is left is the bias: in the decoder all 16 buckets look back,
    in the encoder 8 of them, and 8 ahead."""
    silent = {n: np.zeros_like(a) if n.endswith(".q.weight") else a for n, a in parameters.items()}
    passed = forward(silent)
    for stack, query, buckets in (
        ("encoder", 7, [5, 4, 4, 4, 3, 2, 1, 0]),
        ("encoder", 0, [0, 9, 10, 11, 12, 12, 12, 13]),
        ("decoder", 6, [6, 5, 4, 3, 2, 1, 0]),
        ("decoder", 0, [0]),
    ):
        exponential = np.exp(parameters[f"{stack}.{encoder_decoder.TABLE}.weight"][buckets].T)
        expected = exponential / exponential.sum(axis=-1, keepdims=True)
        for part in getattr(passed, stack).parts:
            if part.name.endswith(encoder_decoder.SELF):
                weights = part.inside.weights[0, :, query, : len(buckets)]
                np.testing.assert_allclose(weights, expected)


def test_float32_parameters_give_float32_gradients():
    parameters = encoder_decoder.initial(np.random.default_rng(0), **SIZES)
    computed = encoder_decoder.loss_and_gradients(parameters, SOURCE, TARGET, WANTED, heads=HEADS)
    assert computed.losses.dtype == np.float32
    for name, gradient in computed.gradients.items():
        assert gradient.dtype == np.float32, name
        assert gradient.shape == parameters[name].shape, name


def test_initial_parameters():
    parameters = encoder_decoder.initial(
        np.random.default_rng(0), vocabulary=300, width=64, heads=4, layers_each=3
    )
    for name, array in parameters.items():
        assert array.dtype == np.float32
        if "relative_attention_bias" in name:
            assert array.shape == (encoder_decoder.BUCKETS, 4)
            assert not array.any(), name
        elif array.ndim == 1:
            assert (array == 1).all(), name
        else:
            parts = 6 if name.startswith("encoder.") else 9
            by_name = {"shared.weight": 64**0.5, "q.weight": 16**-0.5}
            by_name |= dict.fromkeys(("o.weight", "wo.weight"), parts**-0.5)
            scale = next((s for end, s in by_name.items() if name.endswith(end)), 1)
            inputs = 64 if name == "shared.weight" else len(array)
            assert array.std() == pytest.approx(scale * inputs**-0.5, rel=0.05), name


def test_ordered_heads_are_the_same_model(parameters):
    shares = np.array([[0.1, 0.7, 0.2], [0.2, 0.3, 0.5]])
    ordered = encoder_decoder.order_heads(parameters, shares, HEADS)
    before, after = forward(parameters), forward(ordered)
    np.testing.assert_allclose(after.decoder.normed, before.decoder.normed, rtol=1e-9)
    for old, new, order in zip(
        encoder_decoder.cross_attentions(before),
        encoder_decoder.cross_attentions(after),
        ([1, 2, 0], [2, 1, 0]),
        strict=True,
    ):
        np.testing.assert_allclose(new.weights, old.weights[:, order], rtol=1e-9)
    nothing = encoder_decoder.order_heads(parameters, np.zeros((0, 0)), HEADS)
    assert all(nothing[name] is array for name, array in parameters.items())


def test_a_file_has_matrices_as_output_and_input_and_tables_as_rows():
    parameters = encoder_decoder.initial(np.random.default_rng(0), **SIZES)
    written = encoder_decoder.tensors(parameters)
    assert written.keys() == parameters.keys()
    for name, shape in {
        "shared.weight": (11, 6),
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (16, 3),
        "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (16, 3),
        "encoder.block.1.layer.1.DenseReluDense.wi.weight": (24, 6),
        "decoder.block.1.layer.2.DenseReluDense.wo.weight": (6, 24),
        "decoder.final_layer_norm.weight": (6,),
    }.items():
        assert written[name].shape == shape
    name = "decoder.block.1.layer.1.EncDecAttention.q.weight"
    np.testing.assert_array_equal(written[name], parameters[name].T)
