"""DeBERTa-v2 and -v3 against the reference library, term by term; what a config and a file mean."""

import json
import shutil

import numpy as np
import pytest
from torch_files import as_zip

from attn_cli import session, vocabulary
from attn_cli.checkpoints.safetensors import encode, open_safetensors
from attn_cli.errors import ContentError, UsageError
from attn_cli.families import deberta
from attn_cli.maths.positions import relative_rows
from attn_cli.model.config import ConfigReader
from measure import encoder_prompt, following, logits_of, of_layer, row_error, trace_errors

TOLERANCE = 1e-5
WEIGHTS = "model.safetensors"
MODELS = ("deberta-shared", "deberta-c2p", "deberta-p2c", "deberta-both", "deberta-absolute")
TERMS = vocabulary.TERMS
LAYER = "deberta.encoder.layer"


def read_config(folder):
    return json.loads((folder / "config.json").read_text())


def reference(folder):
    """The golden activations, and in float64 what follows from them."""
    with np.load(folder / "activations.npz") as archive:
        golden = dict(archive)
    config, stored = read_config(folder), open_safetensors(folder / WEIGHTS)
    for layer in range(config["num_hidden_layers"]):
        arrays = of_layer(golden, layer)
        tokens, width = arrays["q"].shape[1:]
        scale = (width * (1 + len(config["pos_att_type"]))) ** -0.5
        w_o = stored[f"{LAYER}.{layer}.attention.output.dense.weight"].read().T
        found = following(arrays, np.ones((tokens, tokens), bool), w_o, scale=scale)
        golden |= {f"{layer}.{name}": array for name, array in found.items()}
    return golden


def errors(golden, model):
    """The largest error of every array over the layers, and of the logits at every position."""
    prompt = encoder_prompt(model, golden)
    found = logits_of(model, prompt.ids, types=prompt.types)
    traced = session.trace(prompt=prompt, model=model)
    return {"logits": row_error(found, golden["logits"])} | trace_errors(traced, golden)


def traced(folder, golden_path, **more):
    """A trace of a golden model's own prompt."""
    model = session.load(str(folder))
    with np.load(golden_path / folder.name / "activations.npz") as golden:
        return session.trace(prompt=encoder_prompt(model, golden), model=model, **more)


@pytest.mark.parametrize("name", MODELS)
def test_every_array_of_every_layer_is_the_references(golden_path, name):
    found = errors(reference(golden_path / name), session.load(str(golden_path / name)))
    assert {array: error for array, error in found.items() if error > TOLERANCE} == {}
    assert len(found) == 13 + {"shared": 5, "both": 5, "absolute": 0}.get(name[8:], 3)


@pytest.mark.parametrize("name", MODELS)
def test_a_wrong_number_in_a_layer_would_be_seen(golden_path, name):
    golden, model = reference(golden_path / name), session.load(str(golden_path / name))
    last = [term for term in TERMS if f"1.{term}" in golden][-1:] or ["scores"]
    for array in ("weights", *last):
        golden[f"1.{array}"][-1, -1, -1] += 1e-3
        assert errors(golden, model)[array] > TOLERANCE


@pytest.mark.parametrize("name", MODELS)
def test_sizes_within_a_golden_model_differ_and_nothing_keeps_its_default(golden_path, name):
    model = session.load(str(golden_path / name))
    facts, config = model.facts, model.config
    with np.load(golden_path / name / "activations.npz") as archive:
        sizes = [len(archive["ids"])]
    sizes += [facts.layers, facts.heads, facts.head_width, facts.model_width, facts.vocabulary]
    sizes += [facts.context, config.inner_width]
    sizes += [config.types] * bool(config.types) + [2 * config.span] * config.relative_positions
    sizes += [config.embedding_width] * (config.embedding_width != facts.model_width)
    assert len(sizes) == len(set(sizes))
    stored = open_safetensors(golden_path / name / WEIGHTS)
    for tensor in stored:
        assert np.unique(stored[tensor].read()).size == stored[tensor].read().size


# --- the terms -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_the_scores_are_the_sum_of_their_terms(golden_path, name):
    kinds = read_config(golden_path / name)["pos_att_type"]
    for block in traced(golden_path / name, golden_path).attention:
        terms = [block.arrays[term] for term in TERMS if term in block.arrays]
        assert len(terms) == (0 if name == "deberta-absolute" else 1 + len(kinds))
        product = block.q @ block.k.swapaxes(-1, -2)
        assert np.array_equal(block.scores, sum(terms) if terms else product)
        assert np.array_equal(block.arrays.get(TERMS[0], product), product)
        assert block.scale == pytest.approx((block.q.shape[-1] * (1 + len(kinds))) ** -0.5)
        assert np.array_equal(block.scaled, block.scores * np.float32(block.scale))


@pytest.mark.parametrize("name", MODELS[:-1])
def test_distances_are_the_references(golden_path, name):
    config = session.load(str(golden_path / name)).config
    with np.load(golden_path / name / "activations.npz") as archive:
        distances = archive["distances"]
    at = np.arange(len(distances))
    rows = relative_rows(at, at, config.farthest, config.buckets)
    assert np.array_equal(rows, np.clip(distances + config.span, 0, 2 * config.span - 1))
    if name == "deberta-shared":  # longer than both ranges, so that all rows are looked at
        assert set(rows.ravel()) == set(range(2 * config.span))


@pytest.mark.parametrize("name", MODELS[:-1])
def test_a_term_is_a_vector_with_that_of_the_distance(golden_path, name):
    config = session.load(str(golden_path / name)).config
    for block in traced(golden_path / name, golden_path).attention:
        at = np.arange(len(block.queries))
        rows = relative_rows(at, at, config.farthest, config.buckets)
        for head, i, j in np.ndindex(block.scores.shape):
            for term, letter, position, here in (
                ("content_to_position", "q", "k_position", i),
                ("position_to_content", "k", "q_position", j),
            ):
                if term in block.arrays:
                    one, two = block.arrays[letter][head, here], block.arrays[position]
                    wanted = float(one @ two[head, rows[i, j]])
                    assert block.arrays[term][head, i, j] == pytest.approx(wanted, abs=1e-5)


def changed(folder, change):
    """Writes the tensors anew, as `change` of a dict of arrays has them."""
    path = folder / WEIGHTS
    tensors = {name: np.array(t.read()) for name, t in open_safetensors(path).items()}
    path.unlink()  # the old file may still be mapped
    path.write_bytes(encode(change(tensors), {}))
    return folder


@pytest.mark.parametrize(("term", "maps"), [
    ("content_to_position", "pos_key_proj"), ("position_to_content", "pos_query_proj"),
])  # fmt: skip
def test_a_term_without_its_parameters_is_zero_and_the_others_stay(
    golden_copy, golden_path, term, maps
):
    folder = golden_copy("deberta-both")
    before = traced(folder, golden_path).attention[0]

    def change(tensors):
        here = f"{LAYER}.0.attention.self.{maps}."
        return {name: 0 * a if name.startswith(here) else a for name, a in tensors.items()}

    after = traced(changed(folder, change), golden_path).attention[0]
    assert before.arrays[term].any() and not after.arrays[term].any()
    others = [other for other in TERMS if other != term]
    for name in ("x", "q", "k", "v", *others):
        assert np.array_equal(before.arrays[name], after.arrays[name])
    assert np.array_equal(after.scores, sum(after.arrays[other] for other in others))
    assert not np.array_equal(after.weights, before.weights)


def test_parts_of_the_embedding_stand_in_the_models_width(golden_path):
    found = traced(golden_path / "deberta-c2p", golden_path, arrays=vocabulary.ARRAYS)
    first, second = found.attention
    stored = open_safetensors(golden_path / "deberta-c2p" / WEIGHTS)

    def tensor(name):
        return stored[f"deberta.embeddings.{name}"].read()

    with np.load(golden_path / "deberta-c2p" / "activations.npz") as archive:
        ids, types = archive["ids"], archive["types"]
    assert len(set(types.tolist())) > 1
    into = tensor("embed_proj.weight").T
    for part, name, rows in (
        ("token", "word", ids), ("position", "position", range(len(ids))),
        ("type", "token_type", types),
    ):  # fmt: skip
        wanted = tensor(f"{name}_embeddings.weight")[list(rows)] @ into
        assert row_error(first.arrays[f"{part}_embedding"], wanted) <= 1e-6
        assert f"{part}_embedding" not in second.arrays


def test_the_convolution_stands_after_the_first_layer(golden_copy, golden_path):
    folder = golden_copy("deberta-shared")
    before = traced(folder, golden_path)

    def change(tensors):
        tensors["deberta.encoder.conv.conv.weight"][:, :, :] = 0
        tensors["deberta.encoder.conv.conv.bias"][:] = 0
        return tensors

    after = traced(changed(folder, change), golden_path)
    for name, array in before.attention[0].arrays.items():
        assert np.array_equal(array, after.attention[0].arrays[name])
    assert row_error(before.attention[1].x, after.attention[1].x) > 0.1


# --- what-ifs ------------------------------------------------------------------------------------


def test_without_positions_the_terms_are_zero(golden_path):
    plain = traced(golden_path / "deberta-both", golden_path)
    without = traced(golden_path / "deberta-both", golden_path, without=["positions"])
    for number, (before, after) in enumerate(zip(plain.attention, without.attention, strict=True)):
        assert not after.content_to_position.any() and not after.position_to_content.any()
        assert np.array_equal(after.scores, after.content_to_content)
        assert after.scale == before.scale
        real = {name for name in after.arrays if after.provenance(name) == vocabulary.REAL}
        if number == 0:
            assert real >= {"x", "q", "k", "v", "content_to_content"}
            assert np.array_equal(after.content_to_content, before.content_to_content)
            assert not real & {"content_to_position", "scores", "weights", "output"}
        else:  # what no token has made stays what it is
            assert real <= vocabulary.PARAMETERS | vocabulary.OF_DISTANCES


def test_without_positions_added_vectors_go_too_and_all_is_what_if_from_there(golden_path):
    after = traced(golden_path / "deberta-c2p", golden_path, without=["positions"]).attention[0]
    assert not after.position_embedding.any() and not after.content_to_position.any()
    assert after.provenance("token_embedding") == vocabulary.REAL
    for name in ("position_embedding", "x", "q", "content_to_content", "weights"):
        assert after.provenance(name) == vocabulary.WHAT_IF


@pytest.mark.parametrize("name", ["deberta-p2c", "deberta-c2p", "deberta-absolute"])
def test_without_positions_a_sentence_in_another_order_gives_the_same_in_that_order(
    golden_path, name
):
    model, ids = session.load(str(golden_path / name)), [5, 36, 0, 8, 8, 21]
    order = [3, 0, 5, 1, 4, 2]
    one, other = (
        session.trace(ids=given, model=model, without=["positions"]).attention[-1].output
        for given in (ids, [ids[i] for i in order])
    )
    assert row_error(other, one[order]) <= TOLERANCE
    one, other = (
        session.trace(ids=given, model=model).attention[-1].output
        for given in (ids, [ids[i] for i in order])
    )
    assert row_error(other, one[order]) > 1e-2


@pytest.mark.parametrize("name", ["deberta-p2c", "deberta-c2p", "deberta-absolute"])
def test_padding_on_the_left_is_as_if_the_text_began_after_it(golden_path, name):
    """Positions count from there; a distance is what it is, so that terms stay real."""
    model, ids = session.load(str(golden_path / name)), [5, 36, 0, 8, 21]
    padded = session.trace(ids=ids, model=model, mask=["padding-left:2"])
    alone = session.trace(ids=ids[2:], model=model)
    for block, other in zip(padded.attention, alone.attention, strict=True):
        assert row_error(block.output[2:], other.output) <= TOLERANCE
    first = padded.attention[0]
    placed = "position_embedding" in first.arrays
    for array in ("x", *(term for term in TERMS if term in first.arrays)):
        assert first.provenance(array) == (vocabulary.WHAT_IF if placed else vocabulary.REAL)
    assert first.provenance("visible") == vocabulary.WHAT_IF


def test_a_window_reaches_to_both_sides(golden_path):
    found = session.trace(
        ids=[5, 36, 0, 8], model=str(golden_path / "deberta-both"), mask=["window:2"]
    )
    for block in found.attention:
        assert all(block.visible[i, j] == (abs(i - j) < 2) for i, j in np.ndindex(4, 4))


def test_padding_hides_the_last_keys_from_everyone_and_moves_nobody(golden_path):
    model, ids = session.load(str(golden_path / "deberta-both")), [5, 36, 0, 8, 21]
    whole = session.trace(ids=ids, model=model, mask=["padding:2"])
    for block in whole.attention:
        assert not block.weights[..., -2:].any() and block.weights[..., :-2].all()
    # Of one layer, the first tokens have what they have without the others.
    alone = session.trace(ids=ids[:3], model=model)
    assert row_error(whole.attention[0].z[:, :3], alone.attention[0].z) <= TOLERANCE


# --- heads that predict, and those that do not ---------------------------------------------------


def rewrite(folder, **changes):
    config = read_config(folder) | changes
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def renamed(tensors, before, after):
    return {name.replace(before, after): array for name, array in tensors.items()}


def said(folder):
    return "\n".join(map(str, session.trace(ids=[5, 36, 0], model=str(folder)).notes))


def all_logits(folder):
    return logits_of(session.load(str(folder)), (5, 36, 0, 8))


def test_both_forms_of_the_head_are_read_as_the_config_says(golden_copy):
    """Of one width, the two are the same maps under other names."""
    folder = golden_copy("deberta-absolute")
    before = all_logits(folder)
    older, newer = "cls.predictions.transform.", "lm_predictions.lm_head."
    changed(folder, lambda tensors: renamed(tensors, older, newer))
    bias = {"cls.predictions.bias": "lm_predictions.lm_head.bias"}
    changed(folder, lambda tensors: {bias.get(n, n): a for n, a in tensors.items()})
    assert np.array_equal(all_logits(rewrite(folder, legacy=False)), before)
    # The newer one compares with the embedding, whatever the config says of tying.
    rewrite(folder, tie_word_embeddings=False)
    assert np.array_equal(all_logits(folder), before)


def test_a_head_of_the_other_form_predicts_nothing(golden_copy):
    """As in the reference, where such a head keeps what it was drawn with."""
    folder = golden_copy("deberta-shared")
    plain = session.trace(ids=[5, 36, 0], model=str(folder))
    assert plain.model.predicts
    found = session.trace(ids=[5, 36, 0], model=rewrite(folder, legacy=True))
    assert not found.model.predicts and found.next == ()
    assert "has no output matrix" in said(folder) and "lm_predictions" in said(folder)
    assert np.array_equal(found.attention[1].output, plain.attention[1].output)


def test_the_heads_bias_has_two_names(golden_copy):
    """Of a tied output both are one; an output of its own has the decoder's."""
    shared, own = "cls.predictions.bias", "cls.predictions.decoder.bias"
    folder = golden_copy("deberta-p2c")
    before = all_logits(folder)
    changed(folder, lambda tensors: renamed(tensors, shared, own))
    assert np.array_equal(all_logits(folder), before)
    changed(folder, lambda tensors: tensors | {shared: tensors[own]})
    assert np.array_equal(all_logits(folder), before) and "differs" not in said(folder)
    changed(folder, lambda tensors: tensors | {shared: tensors[own] + np.float32(1)})
    with pytest.raises(ContentError, match=f"{shared} differs from {own}"):
        session.load(str(folder))
    folder = golden_copy("deberta-both")
    before = all_logits(folder)
    changed(folder, lambda tensors: tensors | {shared: tensors[shared] + np.float32(1)})
    assert np.array_equal(all_logits(folder), before) and "differs" not in said(folder)
    changed(folder, lambda tensors: tensors | {own: tensors[own] + np.float32(1)})
    assert row_error(all_logits(folder), before + 1) <= 1e-6
    changed(folder, lambda tensors: {n: a for n, a in tensors.items() if n != own})
    with pytest.raises(ContentError, match=f"the tensor {own} is missing"):
        session.load(str(folder))


def test_a_tied_output_may_stand_there_again(golden_copy):
    folder = golden_copy("deberta-p2c")
    words, matrix = "deberta.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"
    bias = open_safetensors(folder / WEIGHTS)["cls.predictions.bias"].read().copy()
    before = all_logits(folder)
    again = {"cls.predictions.decoder.bias": bias}
    changed(folder, lambda tensors: tensors | again | {matrix: tensors[words]})
    assert np.array_equal(all_logits(folder), before)
    changed(folder, lambda tensors: tensors | {matrix: 2 * tensors[words]})
    assert row_error(all_logits(folder), 2 * before - bias) <= 1e-6


@pytest.mark.parametrize("name", ["deberta-c2p", "deberta-shared"])
def test_a_bare_model_opens_with_or_without_the_prefix(golden_copy, golden_path, name):
    plain = session.trace(ids=[5, 36, 0], model=str(golden_path / name))
    for prefix in ("deberta.", ""):
        folder = golden_copy(name)

        def bare(tensors, prefix=prefix):
            kept = {name: a for name, a in tensors.items() if name.startswith("deberta.")}
            return renamed(kept, "deberta.", prefix)

        found = session.trace(ids=[5, 36, 0], model=str(changed(folder, bare)))
        assert not found.model.predicts
        assert np.array_equal(found.attention[1].output, plain.attention[1].output)
        shutil.rmtree(folder)


def test_what_the_reference_leaves_out_is_left_out(golden_copy):
    """Positions as a buffer, their table where none are added, the other form of the head."""
    folder = golden_copy("deberta-shared")
    before = all_logits(folder)
    more = {
        "deberta.embeddings.position_ids": (1, 29), "cls.predictions.decoder.bias": (3,),
        "deberta.embeddings.position_embeddings.weight": (29, 24),
    }  # fmt: skip
    changed(folder, lambda t: t | {name: np.ones(s, np.float32) for name, s in more.items()})
    assert np.array_equal(all_logits(folder), before)


def test_heads_of_other_tasks_are_left_aside_with_a_note(golden_copy):
    folder = golden_copy("deberta-c2p")

    def classifying(tensors):
        kept = {name: a for name, a in tensors.items() if name.startswith("deberta.")}
        ones = {"pooler.dense.weight": (15, 15), "classifier.weight": (3, 15)}
        ones |= {
            "mask_predictions.dense.weight": (15, 15),
            "mask_predictions.LayerNorm.bias": (15,),
        }
        return kept | {name: np.ones(shape, np.float32) for name, shape in ones.items()}

    aside = said(changed(folder, classifying))
    assert "classifier.weight" in aside and "mask_predictions.dense.weight" in aside


def test_a_missing_or_an_unknown_tensor_is_named_as_in_the_file(golden_copy):
    folder = golden_copy("deberta-both")
    place = f"{LAYER}.1.attention.self.pos_query_proj.bias"
    changed(folder, lambda tensors: {n: a for n, a in tensors.items() if n != place})
    with pytest.raises(ContentError, match=rf"the tensor {place} is missing"):
        session.load(str(folder))
    rewrite(folder, pos_att_type=["c2p"])
    with pytest.raises(ContentError, match=r"pos_query_proj\.bias has no place"):
        session.load(str(folder))


# --- as published --------------------------------------------------------------------------------

# microsoft/deberta-v3-small, and what microsoft/deberta-v2-xlarge adds.
SMALL = {
    "model_type": "deberta-v2", "attention_probs_dropout_prob": 0.1, "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1, "hidden_size": 768, "initializer_range": 0.02,
    "intermediate_size": 3072, "max_position_embeddings": 512, "relative_attention": True,
    "position_buckets": 256, "norm_rel_ebd": "layer_norm", "share_att_key": True,
    "pos_att_type": "p2c|c2p", "layer_norm_eps": 1e-7, "max_relative_positions": -1,
    "position_biased_input": False, "num_attention_heads": 12, "num_hidden_layers": 6,
    "type_vocab_size": 0, "vocab_size": 128100,
}  # fmt: skip
LARGE = SMALL | {
    "hidden_size": 1536, "intermediate_size": 6144, "num_attention_heads": 24,
    "num_hidden_layers": 24, "attention_head_size": 64, "conv_kernel_size": 3, "conv_act": "gelu",
}  # fmt: skip


def read(config, ignored=()):
    return deberta.FAMILY.read_config(ConfigReader(config, "c", ignored))


def test_published_configs_are_read_as_they_are_meant():
    small, large = read(SMALL), read(LARGE)
    assert (small.layers, small.heads, small.head_width, small.context) == (6, 12, 64, 512)
    assert (small.span, small.farthest, small.buckets) == (256, 512, 256)
    assert (
        small.relative_norm
        and small.shared_projections
        and not small.absolute_positions
        and small.older_head
    )
    assert set(small.terms) == {"c2p", "p2c"} and (small.kernel, large.kernel) == (0, 3)
    assert (large.head_width, large.groups, large.kernel_activation) == (64, 1, "gelu")
    assert deberta.shapes(small)["encoder.rel_embeddings.weight"] == (512, 768)
    assert deberta.shapes(large)["encoder.conv.conv.weight"] == (1536, 1536, 3)
    plain = read({key: SMALL[key] for key in SMALL if key not in ("relative_attention",)})
    assert plain.relative_maps == {} and "encoder.rel_embeddings.weight" not in deberta.shapes(
        plain
    )


@pytest.mark.parametrize(("changes", "same"), [
    ({"pos_att_type": "C2P | p2c"}, {"pos_att_type": ["c2p", "p2c"]}),
    ({"pos_att_type": ""}, {"pos_att_type": None}),
    ({"norm_rel_ebd": "Layer_Norm|none"}, {}),
    ({"max_relative_positions": 512}, {}),
    ({"max_relative_positions": 0}, {}),
    ({"position_buckets": -1}, {"position_buckets": 0}),
    ({"conv_kernel_size": 0}, {"conv_kernel_size": -3}),
    ({"embedding_size": 768}, {}),
    ({"attention_head_size": 64}, {}),
])  # fmt: skip
def test_spellings_of_one_model(changes, same):
    assert read(SMALL | changes) == read(SMALL | same)


@pytest.mark.parametrize(("changes", "match"), [
    ({"pos_att_type": "p2p|c2p"}, "pos_att_type is 'p2p', not one of c2p, p2c"),
    ({"pos_att_type": 3}, "pos_att_type is 3"),
    ({"norm_rel_ebd": "rms_norm"}, "norm_rel_ebd is 'rms_norm'"),
    ({"num_attention_heads": 7}, "hidden_size 768 does not divide by num_attention_heads 7"),
    ({"attention_head_size": 32}, "attention_head_size is 32"),
    ({"position_buckets": 1}, "position_buckets 1 do not divide 512 distances"),
    ({"max_relative_positions": 129}, "position_buckets 256 do not divide 129 distances"),
    ({"conv_kernel_size": 4}, "conv_kernel_size 4 is not an odd number"),
    ({"conv_kernel_size": 3, "conv_groups": 7}, "hidden_size 768 does not divide by conv_groups 7"),
    ({"conv_act": "softplus"}, "conv_act is 'softplus'"),
    ({"hidden_act": "softplus"}, "hidden_act is 'softplus'"),
    ({"legacy": False, "embedding_size": 128}, "embedding_size 128 is not hidden_size 768"),
    ({"type_vocab_size": -1}, "type_vocab_size is -1"),
    ({"layer_norm_eps": 0}, "layer_norm_eps is 0"),
    ({"relative_attention": 1}, "relative_attention is 1"),
    ({"num_hidden_layers": 10**6}, "num_hidden_layers"),
    ({"per_layer_config": {"0": {}}}, "per_layer_config"),
])  # fmt: skip
def test_a_config_that_cannot_be_honoured_is_refused_by_name(changes, match):
    with pytest.raises(ContentError, match=match):
        read(SMALL | changes)


@pytest.mark.parametrize(("name", "embedding", "positions"), [
    ("deberta-shared", "normed", "disentangled"), ("deberta-c2p", "sum_normed", "disentangled"),
    ("deberta-absolute", "sum_normed", "learned"),
])  # fmt: skip
def test_what_a_page_says_of_it(golden_path, name, embedding, positions):
    facts = session.load(str(golden_path / name)).facts
    assert (facts.embedding, facts.positions, facts.residual) == (embedding, positions, "after")
    assert (facts.stack, facts.masked, facts.norm) == ("encoder", True, "layer")
    newer = "lm_predictions.lm_head.LayerNorm"
    older = "cls.predictions.transform.LayerNorm"
    assert facts.last_norm == (newer if name == "deberta-shared" else older)
    assert facts.epsilon == (3e-3 if name == "deberta-shared" else 2e-3)
    types = read(SMALL | {"type_vocab_size": 2, "relative_attention": False})
    bare = deberta.describe(facts, types)
    assert (bare.embedding, bare.positions) == ("sum_normed", "none")


def test_more_segments_than_the_model_knows_are_refused(golden_path):
    model = session.load(str(golden_path / "deberta-c2p"))
    with pytest.raises(UsageError, match="knows 4 segments of a text"):
        logits_of(model, (5, 36), types=(0, 4))


@pytest.fixture
def published(tmp_path, golden_path):
    """A folder as microsoft/deberta-v3-small is: random weights, small sizes."""
    rng = np.random.default_rng(7)
    folder = shutil.copytree(golden_path / "folders" / "deberta", tmp_path / "deberta-v3-small")
    config = SMALL | {
        "hidden_size": 24, "intermediate_size": 13, "num_attention_heads": 3,
        "num_hidden_layers": 2, "vocab_size": 310,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    names = deberta.shapes(read(config))
    shapes = {
        f"deberta.{name.replace('*', str(layer))}": shape
        for name, shape in names.items() for layer in range(2)
        if not name.startswith("cls")
    }  # fmt: skip
    shapes["deberta.embeddings.position_embeddings.weight"] = (512, 24)
    for head in ("lm_predictions.lm_head", "mask_predictions"):
        shapes |= {f"{head}.dense.weight": (24, 24), f"{head}.dense.bias": (24,)}
        shapes |= {f"{head}.LayerNorm.weight": (24,), f"{head}.LayerNorm.bias": (24,)}
    shapes |= {"lm_predictions.lm_head.bias": (310,), "mask_predictions.classifier.weight": (1, 24)}
    shapes["mask_predictions.classifier.bias"] = (1,)
    tensors = {name: rng.standard_normal(s).astype(np.float32) for name, s in shapes.items()}
    (folder / "pytorch_model.bin").write_bytes(as_zip(tensors))
    return folder


def test_a_published_folder_opens_and_traces_text(published):
    found = session.trace("the greatest thinker in [MASK] is", model=str(published))
    texts = [token.text for token in found.prompt.tokens]
    assert texts[0] == "[CLS]" and texts[-1] == "[SEP]" and "[MASK]" in texts
    assert found.model.stack == "encoder" and not found.model.predicts
    for block in found.attention:
        assert np.allclose(block.weights.sum(axis=-1), 1, atol=1e-6) and block.visible.all()
        terms = [block.arrays[term] for term in TERMS]
        assert np.array_equal(block.scores, sum(terms))
    # A head that was trained for it stands there, and the config may say so.
    model = rewrite(published, legacy=False)
    (filled,) = session.trace("the greatest thinker in [MASK] is", model=model).next
    assert filled.position == texts.index("[MASK]") and len(filled.candidates) == 5
