"""The families of two stacks against the reference library: every array of every block."""

import json
from dataclasses import replace

import numpy as np
import pytest

from attn_cli import session, vocabulary
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.errors import ContentError
from attn_cli.families import bart, mt5, t5, umt5
from attn_cli.maths.layers import rms_norm
from attn_cli.model import project
from attn_cli.model.cache import Cache
from attn_cli.model.config import ConfigReader
from attn_cli.model.stack import Request
from attn_cli.model.what_if import Changes, read_what_if
from attn_cli.records import Address
from measure import addresses, block_errors, every_block, following, row_error

TOLERANCE = 1e-5
WEIGHTS = "model.safetensors"
TWO_STACKS = ("t5-relu", "t5-gelu", "t5-silu", "mt5", "umt5", "bart")
T5 = ("t5-relu", "t5-gelu", "t5-silu", "mt5", "umt5", "t5-encoder")
MODELS = (*TWO_STACKS, "t5-encoder")


def stored_output(folder, address):
    """The matrix (head × value_width, model) of a block's output projection, as its file has it."""
    stored = open_safetensors(folder / WEIGHTS)
    if folder.name == "bart":
        part = {"self": "self_attn", "cross": "encoder_attn"}[address.kind]
        name = f"model.{address.stack}.layers.{address.layer}.{part}.out_proj"
    else:
        part = {"self": "0.SelfAttention", "cross": "1.EncDecAttention"}[address.kind]
        name = f"{address.stack}.block.{address.layer}.layer.{part}.o"
    return stored[f"{name}.weight"].read().T


def reference(folder):
    """The golden texts and logits (or last vectors), and by address what each block computes."""
    with np.load(folder / "activations.npz") as archive:
        golden = dict(archive)
    blocks = {}
    for name in [name for name in golden if name.count(".") == 3]:
        stack, kind, layer, array = name.split(".")
        blocks.setdefault(Address(stack, kind, int(layer)), {})[array] = golden.pop(name)
    for address, arrays in blocks.items():
        _, queries, keys = arrays["weights"].shape
        causal = address[:2] == ("decoder", "self")
        visible = np.tri(queries, keys, dtype=bool) if causal else np.ones((queries, keys), bool)
        scale = arrays["q"].shape[-1] ** -0.5 if folder.name == "bart" else 1.0
        w_o = stored_output(folder, address)
        blocks[address] = arrays | following(arrays, visible, w_o, scale=scale)
    return golden, blocks


def ids_of(golden):
    """The source, if there is one, and the ids of the stack that is asked."""
    return tuple(golden.get("source", np.array([], int)).tolist()), tuple(golden["ids"].tolist())


def errors(folder, model, changed=lambda blocks: None):
    """The largest error of every array over the blocks, and of what the pass comes to."""
    golden, wanted = reference(folder)
    changed(wanted)
    blocks, end = every_block(model, *ids_of(golden), arrays=vocabulary.LIGHT_ARRAYS)
    assert list(blocks) == addresses(model) and blocks.keys() == wanted.keys()
    if "logits" in golden:
        found = {"logits": row_error(session.predict(model, end.x), golden["logits"])}
    else:
        found = {"last": row_error(end.x, golden["last"])}
    for address, block in blocks.items():
        for name, error in block_errors(block, wanted[address]).items():
            found[f"{address.stack}.{address.kind}.{name}"] = max(
                error, found.get(f"{address.stack}.{address.kind}.{name}", 0)
            )
    return found


@pytest.mark.parametrize("name", MODELS)
def test_every_array_of_every_block_is_the_references(golden_copy, golden_path, name):
    found = errors(golden_path / name, session.load(str(golden_copy(name))))
    assert {array: error for array, error in found.items() if error > TOLERANCE} == {}


@pytest.mark.parametrize("name", MODELS)
def test_a_wrong_number_in_a_block_would_be_seen(golden_path, name):
    model = session.load(str(golden_path / name))
    for address in addresses(model):

        def change(blocks, address=address):
            blocks[address]["weights"][-1, -1, -1] += 1e-3

        found = errors(golden_path / name, model, change)
        assert found[f"{address.stack}.{address.kind}.weights"] > TOLERANCE


@pytest.mark.parametrize("name", MODELS)
def test_sizes_within_a_golden_model_differ_and_nothing_keeps_its_default(golden_path, name):
    model = session.load(str(golden_path / name))
    facts, config = model.facts, model.config
    source, ids = ids_of(np.load(golden_path / name / "activations.npz"))
    sizes = [facts.layers, facts.heads, facts.head_width, facts.model_width, facts.vocabulary]
    sizes += [len(ids), *([len(source)] if source else []), config.inner_width]
    if facts.encoder:
        sizes.append(facts.encoder[0])
    if name == "bart":
        sizes += [facts.context, config.encoder_heads, config.encoder_inner_width]
        sizes.remove(facts.head_width)  # heads of both stacks divide the width
    else:
        sizes += [config.buckets, config.farthest]
        assert facts.heads * facts.head_width != facts.model_width
    assert len(sizes) == len(set(sizes))
    stored = open_safetensors(golden_path / name / WEIGHTS)
    for tensor in stored:
        assert np.unique(stored[tensor].read()).size == stored[tensor].read().size


# --- with a cache --------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [(1,) * 5, (2, 3), (4, 1)], ids=str)
@pytest.mark.parametrize("name", TWO_STACKS)
def test_target_tokens_one_after_the_other_give_the_same(golden_path, name, chunks):
    model = session.load(str(golden_path / name))
    golden, _ = reference(golden_path / name)
    source, ids = ids_of(golden)
    whole, end = every_block(model, source, ids[:5])
    cache, at, decoder = Cache(), 0, [a for a in addresses(model) if a.stack == "decoder"]
    for count in chunks:
        blocks, part = every_block(model, source, ids[at : at + count], cache=cache)
        rows = slice(at, at + count)
        at += count
        assert cache.ids == ids[:at]
        assert row_error(part.x, end.x[rows]) <= TOLERANCE
        for address in decoder:
            keys = len(source) if address.kind == "cross" else at
            for array, found in blocks[address].arrays.items():
                wanted = whole[address].arrays[array]
                for place, axis in enumerate(vocabulary.ARRAYS[array].axes):
                    cut = {"query": rows, "key": slice(keys)}.get(axis)
                    wanted = wanted[(slice(None),) * place + (cut,)] if cut else wanted
                if array == "visible":
                    assert np.array_equal(found, wanted)
                else:
                    assert row_error(found, wanted) <= TOLERANCE


@pytest.mark.parametrize("name", TWO_STACKS)
def test_keys_and_values_of_the_source_are_made_once_for_each_cache(golden_path, name, monkeypatch):
    model, made = session.load(str(golden_path / name)), []
    original = project.through

    def counting(x, *maps):
        made.extend([len(x)] * len(maps))
        return original(x, *maps)

    monkeypatch.setattr(project, "through", counting)
    source, ids = (1, 2, 3, 4, 5, 6, 7), (3, 8)
    request, cache = Request(source=source), Cache()
    encoder, decoder = model.facts.encoder[0], model.facts.layers
    for token in ids:
        made.clear()
        session.run(model, (token,), request, cache)
        first = token == ids[0]
        # q, k and v of the encoder; of the decoder itself, and q, k and v across.
        assert made.count(len(source)) == first * (3 * encoder + 2 * decoder)
        assert made.count(1) == (3 + 1) * decoder


# --- the bias by distance ------------------------------------------------------------------------

SELF = ("encoder", "self"), ("decoder", "self")


@pytest.mark.parametrize("name", T5)
def test_the_bias_follows_from_the_distance_and_is_one_number_beyond_the_farthest(
    golden_path, name
):
    model = session.load(str(golden_path / name))
    texts = (tuple(range(25)), tuple(range(20)))
    blocks, _ = every_block(model, *(texts if model.facts.encoder else ((), texts[0])))
    tables = {}
    for address, block in blocks.items():
        if address.kind == "cross":
            assert "bias" not in block.arrays
            continue
        bias, count = block.bias, len(block.queries)
        by_distance = {
            away: np.stack([bias[:, i, i + away] for i in range(count) if 0 <= i + away < count])
            for away in range(1 - count, count)
        }
        assert all((rows == rows[0]).all() for rows in by_distance.values())
        farthest = model.config.farthest
        for away, rows in by_distance.items():
            if away < -farthest:
                assert (rows[0] == by_distance[-farthest][0]).all()
            if away > farthest and address.stack == "encoder":
                assert (rows[0] == by_distance[farthest][0]).all()
            if away > 0 and address.stack == "decoder":
                assert (rows[0] == by_distance[0][0]).all()
        assert (by_distance[-1][0] != by_distance[0][0]).all()
        tables.setdefault(address.stack, []).append(bias)
    for of_layers in tables.values():  # one table for all layers, but in UMT5
        same = [np.array_equal(of_layers[0], later) for later in of_layers[1:]]
        assert same == [name != "umt5"] * len(same)


def placeless(model, stack):
    """`--without positions` in one stack."""
    sizes = {"layers": model.facts.layers_of(stack), "heads": model.facts.heads_of(stack)}
    return Changes((read_what_if(without=["positions"], stack=stack, **sizes),))


@pytest.mark.parametrize("name", T5)
def test_without_positions_there_is_no_bias(golden_path, name):
    model = session.load(str(golden_path / name))
    facts = model.facts
    for stack in ("encoder", "decoder") if facts.encoder else ("encoder",):
        what_if = placeless(model, stack)
        blocks, _ = every_block(model, (1, 2, 3) if facts.encoder else (), (4, 5, 6, 7), what_if)
        for address, block in blocks.items():
            if address[:2] == (stack, "self"):
                assert "bias" not in block.arrays
                assert np.array_equal(block.scaled, block.scores)
            elif address.kind == "self":
                assert block.bias.all()


def test_an_encoder_without_positions_gives_a_permuted_sentence_the_same_vectors(golden_path):
    model = session.load(str(golden_path / "t5-encoder"))
    what_if = placeless(model, "encoder")
    ids, order = (5, 1, 9, 30, 2, 7), [3, 0, 5, 1, 4, 2]
    shuffled = tuple(ids[at] for at in order)
    plain, turned = (every_block(model, (), text, what_if)[1].x for text in (ids, shuffled))
    assert row_error(turned, plain[order]) <= TOLERANCE
    plain, turned = (every_block(model, (), text)[1].x for text in (ids, shuffled))
    assert row_error(turned, plain[order]) > 0.01


# --- what a file holds ---------------------------------------------------------------------------


def rewritten(folder, **changes):
    """The folder, its config changed; None drops a key."""
    config = json.loads((folder / "config.json").read_text()) | changes
    kept = {key: value for key, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))
    return folder


def logits(folder, source=(7, 3, 1, 1, 9), ids=(3, 0, 8)):
    model = session.load(str(folder))
    return session.predict(model, every_block(model, source, ids)[1].x)


@pytest.mark.parametrize(("name", "also"), [("t5-relu", False), ("t5-gelu", True)])
def test_the_output_matrix_is_the_stored_one_or_else_the_embedding(golden_copy, repack, name, also):
    folder = golden_copy(name)
    assert ("lm_head.weight" in open_safetensors(folder / WEIGHTS)) == also
    model = session.load(str(folder))
    assert model.config.tied != also
    _, end = every_block(model, (7, 3, 1), (3, 0, 8))
    if also:
        repack(folder, lambda entries: {n: e for n, e in entries.items() if n != "lm_head.weight"})
    else:
        repack(folder, lambda entries: entries | {"lm_head.weight": turned_rows(entries)})
    other = session.load(str(folder))
    assert other.config.tied == also
    stored = open_safetensors(folder / WEIGHTS)
    matrix = stored["shared.weight" if also else "lm_head.weight"].read()
    gain = stored["decoder.final_layer_norm.weight"].read()
    wanted = rms_norm(end.x, gain, model.config.epsilon) @ matrix.T
    wanted *= 1 if also else model.facts.model_width**-0.5
    assert row_error(session.predict(other, end.x), wanted) <= TOLERANCE


def test_an_output_matrix_that_differs_from_barts_embedding_is_used(golden_copy, repack):
    """As the reference does, whatever the config says of the two."""
    folder = golden_copy("bart")
    model = session.load(str(folder))
    _, end = every_block(model, (7, 3, 1), (3, 0, 8))
    repack(folder, lambda entries: entries | {
        "lm_head.weight": turned_rows(entries, "model.shared.weight"),
    })  # fmt: skip
    stored = open_safetensors(folder / WEIGHTS)
    wanted = end.x @ stored["lm_head.weight"].read().T + stored["final_logits_bias"].read()
    again = session.load(str(folder))
    assert again.untrue_copies == (("lm_head.weight", "model.shared.weight"),)
    assert row_error(session.predict(again, end.x), wanted) <= TOLERANCE


@pytest.mark.parametrize("dropped", [(), ("shared.weight",)])
def test_two_embeddings_for_two_stacks_are_refused(golden_copy, repack, dropped):
    """The reference would give each stack its own."""
    folder, copies = golden_copy("t5-relu"), [f"{s}.embed_tokens.weight" for s in vocabulary.STACKS]
    repack(folder, lambda entries: {
        **entries, copies[0]: entries["shared.weight"], copies[1]: turned_rows(entries),
    })  # fmt: skip
    repack(folder, lambda entries: {n: e for n, e in entries.items() if n not in dropped})
    with pytest.raises(ContentError, match="which it should repeat"):
        session.load(str(folder))


def turned_rows(entries, of="shared.weight"):
    """Another matrix of the embedding's shape: its numbers from the last to the first."""
    kind, shape, data = entries[of]
    return kind, shape, np.frombuffer(data, "<f4")[::-1].tobytes()


@pytest.mark.parametrize("tied", [None, True, False])
@pytest.mark.parametrize("said", [None, True, False])
@pytest.mark.parametrize("name", ["t5-relu", "umt5"])
def test_logits_are_scaled_where_the_config_says_so(golden_copy, name, said, tied):
    """The older key has a say only where the newer is absent."""
    folder = golden_copy(name)
    plain = rewritten(folder, scale_decoder_outputs=False)
    unscaled = logits(plain)
    found = logits(rewritten(folder, scale_decoder_outputs=said, tie_word_embeddings=tied))
    scaled = said if said is not None else tied is not False
    width = session.load(str(folder)).facts.model_width
    assert row_error(found, unscaled * (width**-0.5 if scaled else 1)) <= 1e-6


@pytest.mark.parametrize("tied", [None, True, False])
def test_mt5_never_scales(golden_copy, tied):
    folder = golden_copy("mt5")
    before = logits(folder)
    assert np.array_equal(logits(rewritten(folder, tie_word_embeddings=tied)), before)


@pytest.mark.parametrize(("name", "key"), [("t5-relu", 0), ("bart", 2)])
def test_a_target_starts_with_the_token_of_the_config(golden_copy, name, key):
    folder = golden_copy(name)
    assert session.load(str(folder)).facts.start == 3
    assert session.load(str(rewritten(folder, decoder_start_token_id=None))).facts.start == key


OLD = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")


@pytest.mark.parametrize(("name", "shared", "copies"), [
    ("t5-relu", "shared.weight", COPIES), ("t5-gelu", "shared.weight", COPIES),
    ("t5-encoder", "shared.weight", COPIES[:1]),
    ("bart", "model.shared.weight", tuple(f"model.{n}" for n in COPIES)),
])  # fmt: skip
def test_the_embedding_may_stand_there_for_each_stack_with_or_without_the_shared_one(
    golden_copy, repack, name, shared, copies
):
    folder = golden_copy(name)
    model = session.load(str(folder))
    texts = ((7, 3, 1), (3, 0, 8)) if model.facts.encoder else ((), (7, 3, 1))
    before = every_block(model, *texts)[1].x
    repack(folder, lambda entries: entries | dict.fromkeys(copies, entries[shared]))
    for dropped in ((), (shared,), (shared, *copies[1:])):
        repack(
            folder,
            lambda entries, dropped=dropped: {
                place: entry for place, entry in entries.items() if place not in dropped
            },
        )
        again = session.load(str(folder))
        assert again.untrue_copies == ()
        assert np.array_equal(every_block(again, *texts)[1].x, before)


@pytest.mark.parametrize(("name", "prefix", "extra"), [
    ("t5-relu", "", (OLD,)), ("t5-relu", "transformer.", (OLD,)),
    ("bart", "", ("model.encoder.version", "model.decoder.version")),
])  # fmt: skip
def test_a_tensor_of_older_files_that_nothing_uses_is_left_out(
    golden_copy, repack, name, prefix, extra
):
    folder = golden_copy(name)
    before = logits(folder)
    unused = dict.fromkeys(extra, ("F32", (8, 4), bytes(128)))
    repack(folder, lambda entries: {
        f"{prefix}{place}": entry for place, entry in (entries | unused).items()
    })  # fmt: skip
    assert np.array_equal(logits(folder), before)


def test_a_bare_bart_is_the_same_without_its_prefix(golden_copy, repack):
    folder = golden_copy("bart")
    before = logits(folder)
    repack(folder, lambda entries: {n.removeprefix("model."): e for n, e in entries.items()})
    assert np.array_equal(logits(folder), before)


@pytest.mark.parametrize("name", ["t5-relu", "umt5"])
def test_a_table_that_only_some_layers_have_is_read_there(golden_copy, repack, name):
    """In half precision, which is widened when it is read."""
    folder = golden_copy(name)
    before = logits(folder)
    repack(folder, lambda entries: {
        place: ("F16", shape, np.frombuffer(data, "<f4").astype("<f2").tobytes())
        for place, (_, shape, data) in entries.items()
    })  # fmt: skip
    assert row_error(logits(folder), before) < 0.02


def test_an_encoder_alone_predicts_nothing(golden_path):
    model = session.load(str(golden_path / "t5-encoder"))
    facts = model.facts
    assert (facts.stack, facts.layers, facts.encoder, facts.predicts) == ("encoder", 2, (), False)


@pytest.mark.parametrize("name", ["t5-relu", "bart"])
def test_a_classifiers_head_is_left_aside(golden_copy, repack, name):
    folder, head = golden_copy(name), "classification_head.out_proj.weight"
    before = logits(folder)
    repack(folder, lambda entries: entries | {head: ("F32", (2, 3), bytes(24))})
    assert session.load(str(folder)).left_aside == (head,)
    assert np.array_equal(logits(folder), before)


def test_barts_bias_is_added_to_the_logits_where_there_is_one(golden_copy, repack):
    folder = golden_copy("bart")
    bias = open_safetensors(folder / WEIGHTS)["final_logits_bias"].read().copy()
    before = logits(folder)
    assert np.ptp(bias) > 1
    repack(folder, lambda entries: {n: e for n, e in entries.items() if n != "final_logits_bias"})
    assert row_error(before - bias, logits(folder)) <= 2e-6


def test_a_page_tells_barts_bias_of_each_candidate(golden_path):
    trace = session.trace(
        ids=[7, 3, 1], target_ids=[3, 0, 8], model=str(golden_path / "bart"), ending=True
    )
    stored = open_safetensors(golden_path / "bart" / WEIGHTS)
    ids = [candidate.id for candidate in trace.next[0].candidates]
    (end,) = trace.ending
    assert np.array_equal(end.biases, stored["final_logits_bias"].read()[0, ids])
    made = end.vectors @ end.final + end.biases
    assert row_error(made, trace.logits[0, ids]) <= TOLERANCE


def test_barts_embedding_is_scaled_where_the_config_says_so(golden_copy):
    folder, parts = golden_copy("bart"), {}
    for scaled in (True, False):
        model = session.load(str(rewritten(folder, scale_embedding=scaled)))
        blocks, _ = every_block(model, (7, 3, 1), (3, 0, 8))
        parts[scaled] = blocks[Address("decoder", "self", 0)].token_embedding
    assert row_error(parts[True], parts[False] * 24**0.5) <= 1e-6


# --- configs -------------------------------------------------------------------------------------


def read(family, config, ignored=()):
    return family.FAMILY.read_config(ConfigReader(config, "c", ignored))


SMALL = {
    "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8,
    "vocab_size": 32128, "decoder_start_token_id": 0,
}  # fmt: skip
LARGE_BART = {
    "d_model": 1024, "encoder_layers": 12, "decoder_layers": 12, "encoder_ffn_dim": 4096,
    "decoder_ffn_dim": 4096, "encoder_attention_heads": 16, "decoder_attention_heads": 16,
    "vocab_size": 50265, "max_position_embeddings": 1024,
}  # fmt: skip


@pytest.mark.parametrize(("way", "activation", "gated"), [
    (None, "relu", False), ("relu", "relu", False), ("gelu", "gelu", False),
    ("gated-gelu", "gelu_new", True), ("gated-silu", "silu", True), ("gated-relu", "relu", True),
    ("gated-gelu_new", "gelu_new", True),
])  # fmt: skip
def test_the_feed_forward_network_is_read_as_the_reference_reads_it(way, activation, gated):
    config = read(t5, SMALL | {"feed_forward_proj": way})
    assert (config.activation, config.gated) == (activation, gated)
    told = read(t5, SMALL | {
        "feed_forward_proj": way, "dense_act_fn": "silu", "is_gated_act": not gated,
    })  # fmt: skip
    assert (told.activation, told.gated) == ("silu", not gated)


def test_siblings_differ_where_their_configs_do():
    plain, other, third = (read(family, SMALL) for family in (t5, mt5, umt5))
    assert (plain.gated, plain.scaled, plain.own_tables) == (False, True, False)
    gated = replace(plain, gated=True, activation="gelu_new")
    assert other == replace(gated, scaled=False)
    assert third == replace(gated, own_tables=True)


def test_a_decoder_has_as_many_layers_as_the_encoder_where_nothing_is_said():
    assert read(t5, SMALL).layers == read(t5, SMALL | {"num_decoder_layers": None}).layers == 6
    assert read(t5, SMALL | {"num_decoder_layers": 4}).layers == 4


@pytest.mark.parametrize(("family", "config", "changes", "match"), [
    (t5, SMALL, {"feed_forward_proj": "gated-plugh"}, "feed_forward_proj is 'gated-plugh'"),
    (t5, SMALL, {"feed_forward_proj": "swiglu-gated-gelu"}, "feed_forward_proj"),
    (t5, SMALL, {"dense_act_fn": "plugh"}, "dense_act_fn is 'plugh'"),
    (t5, SMALL, {"relative_attention_num_buckets": 3}, "relative_attention_num_buckets is 3"),
    (t5, SMALL, {"relative_attention_max_distance": 16}, "relative_attention_max_distance is 16"),
    (t5, SMALL, {"num_decoder_layers": 0}, "num_decoder_layers is 0"),
    (t5, SMALL, {"num_layers": 10**6}, "num_layers"),
    (t5, SMALL, {"d_kv": 0}, "d_kv is 0"),
    (t5, SMALL, {"layer_norm_epsilon": float("nan")}, "layer_norm_epsilon"),
    (t5, SMALL, {"decoder_start_token_id": 32128}, "decoder_start_token_id is 32128"),
    (t5, SMALL, {"scale_decoder_outputs": 1}, "scale_decoder_outputs is 1"),
    (t5, SMALL, {"is_causal": False}, "is_causal"),
    (bart, LARGE_BART, {"encoder_attention_heads": 15}, "encoder_attention_heads 15"),
    (bart, LARGE_BART, {"decoder_attention_heads": 15}, "decoder_attention_heads 15"),
    (bart, LARGE_BART, {"activation_function": "plugh"}, "activation_function"),
    (bart, LARGE_BART, {"tie_word_embeddings": False}, "tie_word_embeddings is false"),
    (bart, LARGE_BART, {"decoder_ffn_dim": None}, "decoder_ffn_dim is missing"),
    (bart, LARGE_BART, {"decoder_start_token_id": -1}, "decoder_start_token_id is -1"),
])  # fmt: skip
def test_a_config_that_cannot_be_honoured_is_refused_by_name(family, config, changes, match):
    with pytest.raises(ContentError, match=match):
        read(family, {**config, **changes})
