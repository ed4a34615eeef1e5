"""The other decoder families against the reference library: every array of every layer."""

import json

import numpy as np
import pytest

from attn_cli import session, vocabulary
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.errors import ContentError
from attn_cli.families import bloom, gemma2, gemma3, gpt_neox, opt, phi3
from attn_cli.model.cache import Cache
from attn_cli.model.config import ConfigReader
from attn_cli.opening import configs
from measure import (
    following,
    logits_of,
    next_logits_of,
    of_layer,
    row_error,
    same_bits,
    trace_errors,
)

TOLERANCE = 1e-5
WEIGHTS = "model.safetensors"
# Each golden model, and where its layers keep the output projection.
MODELS = {
    "gemma2": "model.layers.*.self_attn.o_proj",
    "gemma3": "model.layers.*.self_attn.o_proj",
    "phi3-short": "model.layers.*.self_attn.o_proj",
    "phi3-long": "model.layers.*.self_attn.o_proj",
    "neox-parallel": "gpt_neox.layers.*.attention.dense",
    "neox-serial": "gpt_neox.layers.*.attention.dense",
    "bloom": "transformer.h.*.self_attention.dense",
    "bloom-normed": "transformer.h.*.self_attention.dense",
    "opt-before": "model.decoder.layers.*.self_attn.out_proj",
    "opt-behind": "model.decoder.layers.*.self_attn.out_proj",
    "opt-bare": "model.decoder.layers.*.self_attn.out_proj",
}  # fmt: skip


def read_config(folder):
    return json.loads((folder / "config.json").read_text())


def layers_of(config):
    return config.get("num_hidden_layers", config.get("n_layer"))


def slides(config, layer):
    kinds = config.get("layer_types")
    return config.get("sliding_window") and (not kinds or kinds[layer] == "sliding_attention")


def reference(folder):
    """The golden activations, and in float64 what follows from them."""
    with np.load(folder / "activations.npz") as archive:
        golden = dict(archive)
    config, stored = read_config(folder), open_safetensors(folder / WEIGHTS)
    for layer in range(layers_of(config)):
        arrays = of_layer(golden, layer)
        _, tokens, width = arrays["q"].shape
        limit = config["sliding_window"] if slides(config, layer) else tokens
        visible = np.array([[0 <= i - j < limit for j in range(tokens)] for i in range(tokens)])
        place = MODELS[folder.name].replace("*", str(layer)) + ".weight"
        found = following(
            arrays, visible, stored[place].read().T,
            scale=config.get("query_pre_attn_scalar", width) ** -0.5,
            cap=config.get("attn_logit_softcapping") or 0.0,
        )  # fmt: skip
        golden |= {f"{layer}.{name}": array for name, array in found.items()}
    return golden


def errors(golden, model):
    """The largest error of every array over the layers, and of the logits at every position."""
    trace = session.trace(ids=golden["ids"].tolist(), model=model)
    logits = row_error(logits_of(model, trace.prompt.ids), golden["logits"])
    assert row_error(trace.logits, golden["logits"][-1:]) <= TOLERANCE
    return {"logits": logits} | trace_errors(trace, golden)


@pytest.mark.parametrize("name", MODELS)
def test_every_array_of_every_layer_is_the_references(golden_copy, golden_path, name):
    found = errors(reference(golden_path / name), session.load(str(golden_copy(name))))
    assert {array: error for array, error in found.items() if error > TOLERANCE} == {}


@pytest.mark.parametrize("name", MODELS)
def test_a_wrong_number_in_a_layer_would_be_seen(golden_copy, golden_path, name):
    golden = reference(golden_path / name)
    golden["1.weights"][-1, -1, -1] += 1e-3
    assert errors(golden, session.load(str(golden_copy(name))))["weights"] > TOLERANCE


@pytest.mark.parametrize("name", MODELS)
def test_sizes_within_a_golden_model_differ_and_nothing_keeps_its_default(golden_path, name):
    facts = session.load(str(golden_path / name)).facts
    with np.load(golden_path / name / "activations.npz") as archive:
        tokens = len(archive["ids"])
    sizes = [facts.layers, facts.heads, facts.head_width, facts.model_width, facts.vocabulary]
    sizes += [tokens] + [facts.context] * bool(facts.context)
    sizes += [facts.kv_heads] * (facts.kv_heads != facts.heads)
    assert len(sizes) == len(set(sizes))
    stored = open_safetensors(golden_path / name / WEIGHTS)
    for tensor in stored:
        assert np.unique(stored[tensor].read()).size == stored[tensor].read().size


# --- one path, with less kept --------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_tracing_the_weights_alone_changes_no_number(golden_path, name):
    model = session.load(str(golden_path / name))
    ids = [7, 0, 7, 36, 2, 11, 30, 1, 1, 5, 9, 4]
    whole = session.trace(ids=ids, model=model)
    alone = session.trace(ids=ids, model=model, arrays=["weights"])
    assert row_error(alone.logits, whole.logits) <= 2e-6
    for block, other in zip(alone.attention, whole.attention, strict=True):
        assert list(block.arrays) == ["weights"]
        assert row_error(block.weights, other.weights) <= 2e-6


@pytest.mark.parametrize("chunks", [(1,) * 13, (4, 9), (9, 1, 3), (10, 3), (11, 2)], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_positions_computed_one_after_the_other_give_the_same(golden_path, name, chunks):
    """Also where LongRoPE turns earlier keys by other angles once the text is long enough."""
    model = session.load(str(golden_path / name))
    ids = tuple(np.random.default_rng(3).integers(0, model.facts.vocabulary, 13).tolist())
    cache, at = Cache(), 0
    for count in chunks:
        found = next_logits_of(model, ids[at : at + count], cache)
        at += count
        assert cache.ids == ids[:at]
        assert row_error(found, logits_of(model, ids[:at])[-1]) <= TOLERANCE


@pytest.mark.parametrize("name", ["neox-parallel", "bloom", "phi3-short", "opt-before", "opt-bare"])
def test_parameters_make_queries_keys_values_and_output(golden_path, name):
    trace = session.trace(
        ids=[5, 36, 0, 8], model=str(golden_path / name), arrays=vocabulary.ARRAYS
    )
    for block in trace.attention:
        group = len(block.heads) // len(block.kv_heads)
        for letter in "qkv":
            made = block.normed @ block.arrays[f"w_{letter}"]
            bias = block.arrays.get(f"b_{letter}")
            made = made if bias is None else made + bias[:, None]
            plain = block.arrays.get(f"{letter}_unrotated", block.arrays[letter])
            assert row_error(plain, made) <= TOLERANCE
        assert group == trace.model.heads // trace.model.kv_heads
        assert row_error(block.head_output, block.z @ block.w_o) <= TOLERANCE
        total = block.head_output.sum(axis=0) + block.arrays.get("b_o", 0)
        assert row_error(block.output, total) <= TOLERANCE


@pytest.mark.parametrize(("name", "made"), [
    ("gemma2", lambda token: token * 20**0.5),
    ("gemma3", lambda token: token * 20**0.5),
    ("bloom", None),
    ("opt-behind", None),
])  # fmt: skip
def test_step_one_shows_what_x_is_made_from(golden_path, name, made):
    trace = session.trace(ids=[5, 36, 0], model=str(golden_path / name), arrays=vocabulary.ARRAYS)
    first, second = trace.attention[:2]
    token = first.token_embedding
    assert "token_embedding" not in second.arrays
    if made:
        assert row_error(first.x, made(token)) <= 1e-6
    elif name == "bloom":
        stored = open_safetensors(golden_path / name / WEIGHTS)
        gain, bias = (
            stored[f"transformer.word_embeddings_layernorm.{part}"].read()
            for part in ("weight", "bias")
        )
        centred = token - token.mean(axis=-1, keepdims=True)
        normal = centred / np.sqrt(token.var(axis=-1, keepdims=True) + 2e-3)
        assert row_error(first.x, normal * gain + bias) <= 1e-6
    else:
        assert row_error(first.x, token + first.position_embedding) <= 1e-6


def test_the_bias_is_slope_times_key_position(golden_path):
    trace = session.trace(ids=[5, 36, 0, 8], model=str(golden_path / "bloom"))
    bias = trace.attention[1].bias
    assert bias.shape == (5, 4, 4)
    assert bias[1, 3].tolist() == [0, 1 / 16, 2 / 16, 3 / 16]
    assert np.array_equal(bias, np.broadcast_to(bias[:, :1], bias.shape))


# --- the spellings of a config -------------------------------------------------------------------


def traced(folder):
    return session.trace(ids=[3, 1, 4, 1, 5, 9, 2, 6], model=str(folder))


def older_gemma3(config):
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope["full_attention"]["rope_theta"]
    config["rope_scaling"] = {"rope_type": "linear", "factor": 2.5}
    config["rope_local_base_freq"] = 11
    config["sliding_window_pattern"] = 2
    del config["layer_types"]


def picture_gemma3(config):
    inner = dict(config)
    older_gemma3(inner)
    config.clear()
    config |= {
        "model_type": "gemma3", "text_config": inner, "vision_config": {"hidden_size": 7},
        "mm_tokens_per_image": 256, "image_token_index": 50, "eos_token_id": [1, 106],
    }  # fmt: skip


def older_phi3(config, kind="longrope"):
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    factors = {key: rope[key] for key in ("short_factor", "long_factor")}
    config["rope_scaling"] = {"type": kind, **factors}


def older_neox(config):
    rope = config.pop("rope_parameters")
    config["rotary_emb_base"] = rope.pop("rope_theta")
    config["rotary_pct"] = rope.pop("partial_rotary_factor")
    config["rope_scaling"] = None if rope == {"rope_type": "default"} else rope


def older_bloom(config):
    config["n_embed"] = config.pop("hidden_size")
    config["num_attention_heads"] = config.pop("n_head")


OLDER = {
    "gemma3": older_gemma3, "phi3-short": older_phi3,
    "phi3-long": lambda config: older_phi3(config, "su"), "neox-parallel": older_neox,
    "neox-serial": older_neox, "bloom": older_bloom,
}  # fmt: skip


def rewrite(folder, config):
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("case", OLDER)
def test_an_older_spelling_of_a_config_is_the_same_model(golden_copy, case):
    folder = golden_copy(case)
    before, config = traced(folder), read_config(folder)
    OLDER[case](config)
    rewrite(folder, config)
    assert same_bits(before, traced(folder))


def test_a_config_for_pictures_too_is_the_same_model(golden_copy):
    folder = golden_copy("gemma3")
    config = read_config(folder) | {"final_logit_softcapping": None}
    rewrite(folder, config)
    before = traced(folder)
    picture_gemma3(config)
    rewrite(folder, config)
    assert same_bits(before, traced(folder))
    # The reference goes by the outer key alone, whatever stands within.
    rewrite(folder, config | {"tie_word_embeddings": False})
    assert not session.load(str(folder)).facts.predicts
    config["text_config"]["tie_word_embeddings"] = False
    rewrite(folder, config)
    assert same_bits(before, traced(folder))
    # Its output matrix stands outside of the text, and nothing caps what it gives.
    config["text_config"]["final_logit_softcapping"] = 3.0
    rewrite(folder, config)
    assert same_bits(before, traced(folder))


def test_where_both_spellings_stand_the_older_has_the_last_word():
    """As in the reference: `self.rope_parameters = rope_scaling or self.rope_parameters`."""
    both = {"rope_parameters": {"rope_type": "default"}, "rope_scaling": {"type": "linear"}}
    both["rope_scaling"]["factor"] = 2.0
    plain, scaled = (read(gemma2, GEMMA2 | more).rope for more in ({}, both))
    assert scaled.frequencies == pytest.approx([f / 2 for f in plain.frequencies])


def test_keys_that_repeat_others_must_agree_with_them():
    """Files of 4.46 to 4.57 have them beside `rotary_pct` and `rotary_emb_base`."""
    repeated = PYTHIA | {"partial_rotary_factor": 0.25, "rope_theta": 10000}
    assert read(gpt_neox, repeated) == read(gpt_neox, PYTHIA)


# --- configs as they are published ---------------------------------------------------------------

_ANY = {
    "architectures": ["X"], "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0,
    "initializer_range": 0.02, "torch_dtype": "bfloat16", "transformers_version": "4.42.0",
    "use_cache": True,
}  # fmt: skip
GEMMA2 = _ANY | {
    "attention_bias": False, "attention_dropout": 0.0, "attn_logit_softcapping": 50.0,
    "cache_implementation": "hybrid", "final_logit_softcapping": 30.0, "head_dim": 128,
    "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 4608, "intermediate_size": 36864, "max_position_embeddings": 8192,
    "num_attention_heads": 32, "num_hidden_layers": 46, "num_key_value_heads": 16,
    "query_pre_attn_scalar": 144, "rms_norm_eps": 1e-06, "rope_theta": 10000.0,
    "sliding_window": 4096, "sliding_window_size": 4096, "vocab_size": 256000,
}  # fmt: skip
GEMMA3 = _ANY | {
    "attention_bias": False, "attention_dropout": 0.0, "attn_logit_softcapping": None,
    "cache_implementation": "hybrid", "final_logit_softcapping": None, "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152, "intermediate_size": 6912,
    "max_position_embeddings": 32768, "num_attention_heads": 4, "num_hidden_layers": 26,
    "num_key_value_heads": 1, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06,
    "rope_local_base_freq": 10000, "rope_scaling": None, "rope_theta": 1000000,
    "sliding_window": 512, "sliding_window_pattern": 6, "vocab_size": 262144,
}  # fmt: skip
PICTURES = "a model that has a text in it"
GEMMA3_PICTURES = _ANY | {
    "boi_token_index": 255999, "eoi_token_index": 256000, "image_token_index": 262144,
    "mm_tokens_per_image": 256, "vision_config": {"hidden_size": 1152},
    "text_config": {
        "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text",
        "num_hidden_layers": 34, "sliding_window": 1024,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    },
}  # fmt: skip
PHI3 = _ANY | {
    "auto_map": {"AutoConfig": "x"}, "attention_bias": False, "attention_dropout": 0.0,
    "embd_pdrop": 0.0, "hidden_act": "silu", "hidden_size": 3072, "intermediate_size": 8192,
    "max_position_embeddings": 4096, "num_attention_heads": 32, "num_hidden_layers": 32,
    "num_key_value_heads": 32, "original_max_position_embeddings": 4096, "resid_pdrop": 0.0,
    "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 10000.0, "sliding_window": 2047,
    "tie_word_embeddings": False, "vocab_size": 32064,
}  # fmt: skip
PHI4_MINI = PHI3 | {
    "full_attn_mod": 1, "interpolate_factor": 1, "lm_head_bias": False, "mlp_bias": False,
    "partial_rotary_factor": 0.75, "num_attention_heads": 24, "num_key_value_heads": 8,
    "max_position_embeddings": 131072, "sliding_window": 262144, "tie_word_embeddings": True,
    "rope_scaling": {
        "type": "longrope", "short_factor": [1.0] * 48, "long_factor": [1.5] * 48
    },
}  # fmt: skip
PYTHIA = _ANY | {
    "hidden_act": "gelu", "hidden_size": 512, "intermediate_size": 2048, "layer_norm_eps": 1e-05,
    "max_position_embeddings": 2048, "num_attention_heads": 8, "num_hidden_layers": 6,
    "rotary_emb_base": 10000, "rotary_pct": 0.25, "tie_word_embeddings": False,
    "use_parallel_residual": True, "vocab_size": 50304,
}  # fmt: skip
BLOOM = _ANY | {
    "apply_residual_connection_post_layernorm": False, "attention_dropout": 0.0,
    "attention_softmax_in_fp32": True, "bias_dropout_fusion": True, "unk_token_id": 0,
    "hidden_dropout": 0.0, "layer_norm_epsilon": 1e-05, "masked_softmax_fusion": True,
    "n_embed": 1024, "n_inner": None, "n_layer": 24, "num_attention_heads": 16,
    "offset_alibi": 100, "pretraining_tp": 1, "skip_bias_add": True, "skip_bias_add_qkv": False,
    "seq_length": 2048, "slow_but_exact": False, "vocab_size": 250880,
}  # fmt: skip
OPT = _ANY | {
    "_name_or_path": "x", "_remove_final_layer_norm": False, "activation_dropout": 0.0,
    "activation_function": "relu", "attention_dropout": 0.0, "do_layer_norm_before": False,
    "dropout": 0.1, "ffn_dim": 4096, "hidden_size": 1024, "init_std": 0.02, "layerdrop": 0.0,
    "max_position_embeddings": 2048, "num_attention_heads": 16, "num_hidden_layers": 24,
    "prefix": "</s>", "vocab_size": 50272, "word_embed_proj_dim": 512,
}  # fmt: skip


def read(family, config, ignored=()):
    if family is PICTURES:
        return configs.read_config({"model_type": "gemma3", **config}, "c", ignored).config
    return family.FAMILY.read_config(ConfigReader(config, "c", ignored))


def unknown(family, config, ignored=()):
    """The keys that nothing asks for."""
    if family is PICTURES:
        found = configs.read_config({"model_type": "gemma3", **config}, "c", ignored)
        return [*found.unknown]
    reader = ConfigReader(config, "c", ignored)
    family.FAMILY.read_config(reader)
    return reader.unknown


def test_published_gemmas_are_read_as_they_are_meant():
    second = read(gemma2, GEMMA2)
    assert second.windows == (4096, 0) * 23
    assert (second.scale, second.attention_cap, second.logit_cap) == (1 / 12, 50, 30)
    assert (second.tied, second.activation, second.norm_base) == (True, "gelu_pytorch_tanh", 1)
    third = read(gemma3, GEMMA3)
    assert third.windows == (*(5 * (512,) + (0,)) * 4, 512, 512)
    assert (third.scale, third.attention_cap, third.logit_cap) == (1 / 16, 0, 0)
    assert third.head_norm and third.rope != third.local_rope
    pictures = read(PICTURES, GEMMA3_PICTURES)
    assert (pictures.heads, pictures.kv_heads, pictures.head_width) == (8, 4, 256)
    assert (pictures.vocabulary, pictures.context) == (262208, 131072)
    # Only the layers that see everything are slowed; pair 64 of 128 turns by √base.
    assert pictures.rope.frequencies[64] == pytest.approx(1e-3 / 8, rel=1e-5)
    assert pictures.local_rope.frequencies[64] == pytest.approx(1e-2, rel=1e-5)
    assert [i for i, width in enumerate(pictures.windows) if not width] == [5, 11, 17, 23, 29]


def test_other_published_configs_are_read_as_they_are_meant():
    short = read(phi3, PHI3)
    assert short.windows == (2047,) * 32 and short.rope.limit == 0
    assert len(short.rope.frequencies) == 48
    mini = read(phi3, PHI4_MINI)
    assert (mini.rope.limit, len(mini.rope.long_frequencies)) == (4096, 48)
    assert mini.rope.attention_factor == pytest.approx((1 + np.log(32) / np.log(4096)) ** 0.5)
    pythia = read(gpt_neox, PYTHIA)
    assert (pythia.parallel, len(pythia.rope.frequencies)) == (True, 8)
    large = read(bloom, BLOOM)
    assert (large.layers, large.heads, large.model_width, large.context) == (24, 16, 1024, 0)
    projected = read(opt, OPT)
    assert (projected.embedding_width, projected.norm_first, projected.last_norm) == (
        512, False, False,
    )  # fmt: skip


@pytest.mark.parametrize(("family", "config", "changes", "match"), [
    (gemma2, GEMMA2, {"use_bidirectional_attention": True}, "use_bidirectional_attention is true"),
    (gemma2, GEMMA2, {"attn_logit_softcapping": 0}, "attn_logit_softcapping"),
    (gemma2, GEMMA2, {"query_pre_attn_scalar": float("nan")}, "query_pre_attn_scalar"),
    (gemma2, GEMMA2, {"layer_types": ["full_attention"]}, "layer_types"),
    (gemma2, GEMMA2, {"sliding_window": None}, "sliding_window is missing"),
    (gemma2, GEMMA2, {"num_key_value_heads": 5}, "do not divide"),
    (gemma3, GEMMA3, {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is 50"),
    (gemma3, GEMMA3, {"sliding_window_pattern": 0}, "sliding_window_pattern"),
    (gemma3, GEMMA3, {"rope_parameters": {"full_attention": {"rope_type": "spiral"}}}, "spiral"),
    (PICTURES, GEMMA3_PICTURES, {"text_config": 3}, "text_config"),
    (phi3, PHI4_MINI, {"partial_rotary_factor": 1.5}, "cannot turn in pairs"),
    (phi3, PHI4_MINI, {"partial_rotary_factor": 0.001}, "cannot turn in pairs"),
    (phi3, PHI4_MINI, {"lm_head_bias": True}, "lm_head_bias is true"),
    (phi3, PHI4_MINI, {"rope_scaling": {"type": "longrope", "short_factor": [1.0] * 48}}, "long_"),
    (phi3, PHI4_MINI, {"rope_scaling": {
        "type": "longrope", "short_factor": [1.0] * 48, "long_factor": [0.0] * 48,
    }}, "long_factor"),
    (phi3, PHI4_MINI, {"rope_scaling": {
        "type": "longrope", "short_factor": [1.0] * 47, "long_factor": [1.0] * 48,
    }}, "short_factor is not a list of 48 numbers"),
    (phi3, PHI4_MINI, {"rope_scaling": {"type": "linear", "factor": 2.0}}, "linear"),
    (gemma3, GEMMA3, {
        "rope_parameters": {"sliding_attention": {"rope_type": "default"}},
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    }, "rope_parameters has no full_attention"),
    (gpt_neox, PYTHIA, {"rope_theta": 500}, "rope_theta is not the 10000"),
    (gpt_neox, PYTHIA, {"partial_rotary_factor": 1.0}, "partial_rotary_factor is not the 0.25"),
    (bloom, BLOOM, {"slow_but_exact": True, "pretraining_tp": 2}, "slow_but_exact"),
    (gpt_neox, PYTHIA, {"num_attention_heads": 7}, "does not divide"),
    (gpt_neox, PYTHIA, {"rotary_pct": 0}, "rotary_pct"),
    (gpt_neox, PYTHIA, {"hidden_act": "swish2"}, "swish2"),
    (gpt_neox, PYTHIA, {"num_hidden_layers": 10**6}, "num_hidden_layers"),
    (bloom, BLOOM, {"num_attention_heads": 0}, "num_attention_heads"),
    (bloom, BLOOM, {"num_attention_heads": 3}, "does not divide"),
    (opt, OPT, {"num_attention_heads": 7}, "does not divide"),
    (opt, OPT, {"word_embed_proj_dim": -1}, "word_embed_proj_dim"),
    (opt, OPT, {"do_layer_norm_before": 1}, "do_layer_norm_before"),
])  # fmt: skip
def test_a_config_that_cannot_be_honoured_is_refused_by_name(family, config, changes, match):
    with pytest.raises(ContentError, match=match):
        read(family, {**config, **changes})


@pytest.mark.parametrize("family,config", [
    (gemma2, GEMMA2), (gemma3, GEMMA3), (phi3, PHI4_MINI), (gpt_neox, PYTHIA), (bloom, BLOOM),
    (opt, OPT),
])  # fmt: skip
def test_a_key_that_the_reference_does_not_read_is_named_and_changes_nothing(family, config):
    assert unknown(family, config) == []
    for ignored, named in ((), ["plugh", "xyzzy"]), (("xyzzy",), ["plugh"]):
        assert unknown(family, {**config, "xyzzy": 1, "plugh": None}, ignored) == named
        assert read(family, {**config, "xyzzy": 1, "plugh": None}, ignored) == read(family, config)


@pytest.mark.parametrize(("family", "config", "changes", "named"), [
    (gemma2, GEMMA2, {"altup_num_inputs": 4}, ["altup_num_inputs"]),
    (gemma3, GEMMA3, {"rope_parameters": {"full_attention": {}, "x": {}}}, ["rope_parameters.x"]),
    (
        gemma3, GEMMA3, {"rope_parameters": {"full_attention": {"y": 1}}},
        ["rope_parameters.full_attention.y"],
    ),
    (PICTURES, GEMMA3_PICTURES, {"audio_config": {}}, ["audio_config"]),
    (bloom, BLOOM, {"alibi_max": 8}, ["alibi_max"]),
])  # fmt: skip
def test_such_keys_are_found_in_sections_too(family, config, changes, named):
    assert unknown(family, {**config, **changes}) == named
    assert read(family, {**config, **changes}, named) == read(family, {**config, **changes})


def test_an_odd_share_of_a_head_turns_with_one_number_more():
    """As the reference pairs them: a quarter of four numbers is one, and two turn."""
    config = read(gpt_neox, {**PYTHIA, "hidden_size": 32})
    assert config.rope.frequencies == (1.0,)
