"""ModernBERT against the reference library: both kinds of layer, and what a config means."""

import json

import numpy as np
import pytest

from attn_cli import session, vocabulary
from attn_cli.checkpoints.safetensors import encode, open_safetensors
from attn_cli.errors import ContentError
from attn_cli.families import modernbert
from attn_cli.model.config import ConfigReader
from measure import following, logits_of, of_layer, row_error, same_bits, trace_errors

TOLERANCE = 1e-5
WEIGHTS = "model.safetensors"
MODELS = ("modernbert-windows", "modernbert-biased")
IDS = [5, 36, 0, 8, 8, 21, 3, 30, 11]


def read_config(folder):
    return json.loads((folder / "config.json").read_text())


def reach(config, layer):
    """How far a query of this layer sees to either side, as the paper has it."""
    slides = config["layer_types"][layer] == "sliding_attention"
    return config["local_attention"] // 2 if slides else 10**9


def reference(folder):
    """The golden activations, and in float64 what follows from them."""
    with np.load(folder / "activations.npz") as archive:
        golden = dict(archive)
    config, stored = read_config(folder), open_safetensors(folder / WEIGHTS)
    for layer in range(config["num_hidden_layers"]):
        arrays = of_layer(golden, layer)
        tokens, width = arrays["q"].shape[1:]
        far = reach(config, layer)
        visible = np.array([[abs(i - j) <= far for j in range(tokens)] for i in range(tokens)])
        w_o = stored[f"model.layers.{layer}.attn.Wo.weight"].read().T
        found = following(arrays, visible, w_o, scale=width**-0.5)
        golden |= {f"{layer}.{name}": array for name, array in found.items()}
    return golden


def errors(golden, model):
    """The largest error of every array over the layers, and of the logits at every position."""
    trace = session.trace(ids=golden["ids"].tolist(), model=model)
    logits = row_error(logits_of(model, trace.prompt.ids), golden["logits"])
    return {"logits": logits} | trace_errors(trace, golden)


@pytest.mark.parametrize("name", MODELS)
def test_every_array_of_every_layer_is_the_references(golden_path, name):
    found = errors(reference(golden_path / name), session.load(str(golden_path / name)))
    assert {array: error for array, error in found.items() if error > TOLERANCE} == {}


@pytest.mark.parametrize("name", MODELS)
def test_a_wrong_number_in_a_layer_would_be_seen(golden_path, name):
    golden = reference(golden_path / name)
    golden["1.weights"][-1, -1, -1] += 1e-3
    assert errors(golden, session.load(str(golden_path / name)))["weights"] > TOLERANCE


@pytest.mark.parametrize("name", MODELS)
def test_sizes_within_a_golden_model_differ_and_nothing_keeps_its_default(golden_path, name):
    model = session.load(str(golden_path / name))
    facts, config = model.facts, model.config
    with np.load(golden_path / name / "activations.npz") as archive:
        sizes = [len(archive["ids"])]
    sizes += [facts.layers, facts.heads, facts.head_width, facts.model_width, facts.vocabulary]
    sizes += [facts.context, config.inner_width]
    assert len(sizes) == len(set(sizes))
    assert config.rope != config.local_rope and 0 in config.windows and any(config.windows)
    stored = open_safetensors(golden_path / name / WEIGHTS)
    for tensor in stored:
        assert np.unique(stored[tensor].read()).size == stored[tensor].read().size


# --- layers of two kinds -------------------------------------------------------------------------


def test_a_window_reaches_to_both_sides(golden_path):
    """local_attention 5: two keys on either side, and the query's own."""
    found = session.trace(ids=IDS, model=str(golden_path / "modernbert-windows"))
    for block, slides in zip(found.attention, (False, True, True, False), strict=True):
        for i, j in np.ndindex(block.visible.shape):
            seen = not slides or abs(i - j) <= 2
            assert block.visible[i, j] == seen
            assert (block.weights[:, i, j] > 0).all() == seen
    assert found.model.windowed and found.model.stack == "encoder" and found.model.masked


def test_no_norm_stands_before_attention_in_layer_0(golden_path):
    names = [*vocabulary.DEFAULT_ARRAYS, "token_embedding", "w_norm", "b_norm"]
    for name, biased in zip(MODELS, (False, True), strict=True):
        found = session.trace(ids=IDS, model=str(golden_path / name), arrays=names)
        first, *others = found.attention
        assert "normed" not in first.arrays
        pairs = [(first, first.token_embedding, first.x)]  # the embedding's own norm
        pairs += [(block, block.x, block.normed) for block in others]
        for block, before, after in pairs:
            assert ("b_norm" in block.arrays) == biased
            plain = before - before.mean(axis=-1, keepdims=True)
            plain /= np.sqrt(before.var(axis=-1, keepdims=True) + found.model.epsilon)
            made = plain * block.w_norm + block.arrays.get("b_norm", 0)
            assert row_error(after, made) <= TOLERANCE


@pytest.mark.parametrize("name", MODELS)
def test_parameters_make_queries_keys_values_and_output(golden_path, name):
    trace = session.trace(ids=IDS, model=str(golden_path / name), arrays=vocabulary.ARRAYS)
    for block in trace.attention:
        into = block.arrays.get("normed", block.x)
        for letter in "qkv":
            bias = block.arrays.get(f"b_{letter}", np.zeros((1, 1)))
            made = into @ block.arrays[f"w_{letter}"] + bias[:, None]
            plain = block.arrays.get(f"{letter}_unrotated", block.arrays[letter])
            assert row_error(plain, made) <= TOLERANCE
        total = block.head_output.sum(axis=0) + block.arrays.get("b_o", 0)
        assert row_error(block.output, total) <= TOLERANCE
        assert ("b_q" in block.arrays) == ("b_o" in block.arrays) == name.endswith("biased")


@pytest.mark.parametrize("name", MODELS)
def test_tracing_the_weights_alone_changes_no_number(golden_path, name):
    """A windowed layer then looks only at the keys between the first and the last visible one."""
    model, ids = session.load(str(golden_path / name)), tuple(3 * IDS)[:20]
    whole = session.trace(ids=ids, model=model)
    alone = session.trace(ids=ids, model=model, arrays=["weights"])
    for block, other in zip(alone.attention, whole.attention, strict=True):
        assert row_error(block.weights, other.weights) <= 2e-6


# --- what-ifs ------------------------------------------------------------------------------------


def test_without_positions_nothing_is_rotated(golden_path):
    found = session.trace(
        ids=IDS, model=str(golden_path / "modernbert-windows"), without=["positions"]
    )
    for block in found.attention:
        assert np.array_equal(block.q, block.q_unrotated)
        assert np.array_equal(block.k, block.k_unrotated)
    first = found.attention[0]
    assert first.provenance("q_unrotated") == vocabulary.REAL
    assert first.provenance("q") == vocabulary.WHAT_IF


def test_a_mask_replaces_the_windows_too(golden_path):
    model = session.load(str(golden_path / "modernbert-windows"))
    seen = session.trace(ids=IDS, model=model, mask=["none"]).attention
    assert all(block.visible.all() for block in seen)
    # Layer 1 has a window of its own, and what enters it is real.
    assert [block.provenance("x") for block in seen[:3]] == ["real", "real", "what-if"]
    narrow = session.trace(ids=IDS, model=model, mask=["window:2"]).attention
    for block in narrow:
        assert all(block.visible[i, j] == (abs(i - j) < 2) for i, j in np.ndindex(9, 9))


def test_padding_comes_on_top_of_the_windows(golden_path):
    found = session.trace(
        ids=IDS, model=str(golden_path / "modernbert-windows"), mask=["padding:2", "block:3:3"]
    )
    for block, slides in zip(found.attention, (False, True, True, False), strict=True):
        for i, j in np.ndindex(9, 9):
            seen = j < 7 and (i, j) != (3, 3) and (not slides or abs(i - j) <= 2)
            assert block.visible[i, j] == seen


# --- the spellings of a config -------------------------------------------------------------------


def rewrite(folder, drop=(), **changes):
    config = {key: value for key, value in read_config(folder).items() if key not in drop}
    (folder / "config.json").write_text(json.dumps(config | changes))
    return str(folder)


def test_an_older_spelling_of_a_config_is_the_same_model(golden_copy):
    folder = golden_copy("modernbert-biased")
    before = session.trace(ids=IDS, model=str(folder))
    rewrite(folder, ["rope_parameters"], global_rope_theta=47.0, local_rope_theta=13)
    assert same_bits(before, session.trace(ids=IDS, model=str(folder)))
    folder = golden_copy("modernbert-windows")
    before = session.trace(ids=IDS, model=str(folder))
    rewrite(folder, ["layer_types"], global_attn_every_n_layers=3)
    assert same_bits(before, session.trace(ids=IDS, model=str(folder)))


def changed(folder, change):
    """Writes the tensors anew, as `change` of a dict of arrays has them."""
    path = folder / WEIGHTS
    tensors = {name: np.array(t.read()) for name, t in open_safetensors(path).items()}
    path.unlink()  # the old file may still be mapped
    path.write_bytes(encode(change(tensors), {}))
    return str(folder)


@pytest.mark.parametrize("prefix", ["model.", ""])
@pytest.mark.parametrize("name", MODELS)
def test_a_bare_model_opens_with_or_without_the_prefix(golden_copy, golden_path, name, prefix):
    plain = session.trace(ids=IDS, model=str(golden_path / name))
    folder = golden_copy(name)

    def bare(tensors):
        kept = {n: a for n, a in tensors.items() if n.startswith("model.")}
        return {n.replace("model.", prefix): a for n, a in kept.items()}

    found = session.trace(ids=IDS, model=changed(folder, bare))
    assert not found.model.predicts and found.next == ()
    assert np.array_equal(found.attention[-1].output, plain.attention[-1].output)


@pytest.mark.parametrize("name", MODELS)
def test_a_classifier_opens_and_predicts_no_token(golden_copy, golden_path, name):
    """Its own head has the names of the one that predicts tokens."""
    plain = session.trace(ids=IDS, model=str(golden_path / name))
    folder = golden_copy(name)
    width = plain.model.model_width

    def classifying(tensors):
        kept = {n: a for n, a in tensors.items() if not n.startswith("decoder.")}
        return kept | {"classifier.weight": np.ones((3, width), np.float32)}

    found = session.trace(ids=IDS, model=changed(folder, classifying))
    assert not found.model.predicts
    assert "classifier.weight" in "\n".join(map(str, found.notes))
    assert np.array_equal(found.attention[-1].output, plain.attention[-1].output)


def test_a_missing_norm_is_named_and_one_in_layer_0_has_no_place(golden_copy):
    folder = golden_copy("modernbert-windows")
    place = "model.layers.{}.attn_norm.weight"
    changed(folder, lambda t: t | {place.format(0): t[place.format(1)]})
    with pytest.raises(ContentError, match=r"model\.layers\.0\.attn_norm\.weight has no place"):
        session.load(str(folder))
    changed(folder, lambda t: {n: a for n, a in t.items() if "attn_norm" not in n})
    with pytest.raises(ContentError, match=r"model\.layers\.1\.attn_norm\.weight"):
        session.load(str(folder))


# --- as published --------------------------------------------------------------------------------

# answerdotai/ModernBERT-base.
BASE = {
    "architectures": ["ModernBertForMaskedLM"], "attention_bias": False, "attention_dropout": 0.0,
    "bos_token_id": 50281, "classifier_activation": "gelu", "classifier_bias": False,
    "classifier_dropout": 0.0, "classifier_pooling": "mean", "cls_token_id": 50281,
    "decoder_bias": True, "deterministic_flash_attn": False, "embedding_dropout": 0.0,
    "eos_token_id": 50282, "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0,
    "gradient_checkpointing": False, "hidden_activation": "gelu", "hidden_size": 768,
    "initializer_cutoff_factor": 2.0, "initializer_range": 0.02, "intermediate_size": 1152,
    "layer_norm_eps": 1e-05, "local_attention": 128, "local_rope_theta": 10000.0,
    "max_position_embeddings": 8192, "mlp_bias": False, "mlp_dropout": 0.0,
    "model_type": "modernbert", "norm_bias": False, "norm_eps": 1e-05, "num_attention_heads": 12,
    "num_hidden_layers": 22, "pad_token_id": 50283, "position_embedding_type": "absolute",
    "sep_token_id": 50282, "tie_word_embeddings": True, "torch_dtype": "float32",
    "transformers_version": "4.47.0.dev0", "vocab_size": 50368,
}  # fmt: skip


def read(config, ignored=()):
    return modernbert.FAMILY.read_config(ConfigReader(config, "c", ignored))


def test_published_configs_are_read_as_they_are_meant():
    base = read(BASE)
    assert base.windows == (*((0, 65, 65) * 7), 0)
    # Pair 16 of 32 rotates by √base.
    assert base.rope.frequencies[16] == pytest.approx(160_000**-0.5, rel=1e-5)
    assert base.local_rope.frequencies[16] == pytest.approx(1e-2, rel=1e-5)
    reader = ConfigReader(BASE, "c")
    modernbert.FAMILY.read_config(reader)
    assert reader.unknown == []
    bases = {"global_rope_theta", "local_rope_theta"}
    assert read({key: BASE[key] for key in BASE if key not in bases}) == base


@pytest.mark.parametrize(("changes", "match"), [
    ({"num_attention_heads": 7}, "hidden_size 768 does not divide by num_attention_heads 7"),
    ({"num_attention_heads": 256}, "the head width 3 .* is odd"),
    ({"head_dim": 32}, "head_dim is 32"),
    ({"local_attention": -2}, "local_attention is -2"),
    ({"global_attn_every_n_layers": 0}, "global_attn_every_n_layers is 0"),
    ({"layer_types": ["full_attention"] * 21}, "layer_types is not a list of 22 words"),
    ({"layer_types": ["chunked_attention"] * 22}, "layer_types is 'chunked_attention'"),
    ({"rope_parameters": {"rope_type": "yarn"}, "rope_scaling": {"rope_type": "default"}},
     "rope_parameters has no full_attention"),
    ({"rope_parameters": {"full_attention": {"rope_type": "spiral"}}}, "spiral"),
    (
        {"rope_scaling": {"rope_type": "linear", "factor": 2.0}, "partial_rotary_factor": 0.5},
        "partial_rotary",
    ),
    ({"rope_scaling": {"rope_type": "linear"}}, "factor is missing"),
    ({"global_rope_theta": 0}, "global_rope_theta is 0"),
    ({"hidden_activation": "softplus"}, "hidden_activation is 'softplus'"),
    ({"classifier_activation": "softplus"}, "classifier_activation is 'softplus'"),
    ({"norm_bias": 1}, "norm_bias is 1"),
    ({"norm_eps": 0}, "norm_eps is 0"),
    ({"per_layer_config": {"0": {}}}, "per_layer_config"),
])  # fmt: skip
def test_a_config_that_cannot_be_honoured_is_refused_by_name(changes, match):
    with pytest.raises(ContentError, match=match):
        read(BASE | changes)


def test_what_a_page_says_of_it(golden_copy):
    folder = golden_copy("modernbert-windows")
    rope = read_config(folder)["rope_parameters"]
    rope["sliding_attention"] |= {"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.5}
    model = session.load(rewrite(folder, rope_parameters=rope))
    facts = model.facts
    assert (facts.stack, facts.masked, facts.predicts) == ("encoder", True, True)
    assert (facts.embedding, facts.residual, facts.positions) == ("normed", "added", "rotary")
    assert (facts.norm, facts.epsilon, facts.last_norm) == ("layer", 3e-3, "head.norm")
    assert facts.rotated == 6
    blocks = session.trace(ids=IDS, model=model, next=False).attention
    assert [float(block.shown["attention_factor"]) for block in blocks] == [1.0, 1.5, 1.5, 1.0]


def test_a_scaling_beside_the_kinds_is_of_both():
    """As in the reference, which adds it to each section."""
    kinds = {"full_attention": {"rope_theta": 50.0}, "sliding_attention": {"rope_theta": 20.0}}
    plain, scaled = (
        read(BASE | {"rope_parameters": kinds} | more)
        for more in ({}, {"rope_scaling": {"rope_type": "linear", "factor": 2.0}})
    )
    for one, two in ((plain.rope, scaled.rope), (plain.local_rope, scaled.local_rope)):
        assert two.frequencies == pytest.approx([f / 2 for f in one.frequencies])
    assert plain.rope.frequencies[16] == pytest.approx(50**-0.5, rel=1e-5)


@pytest.mark.parametrize(("changes", "named"), [
    ({"xyzzy": 1}, ["xyzzy"]),
    ({"rope_parameters": {"full_attention": {"y": 1}, "x": {}}}, [
        "rope_parameters.full_attention.y", "rope_parameters.x",
    ]),
])  # fmt: skip
def test_a_key_that_the_reference_does_not_read_is_named(changes, named):
    reader = ConfigReader(BASE | changes, "c")
    modernbert.FAMILY.read_config(reader)
    assert sorted(reader.unknown) == named
