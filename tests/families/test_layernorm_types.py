"""Types with a layer norm before attention: their arithmetic, their splits, their refusals."""

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from made_folders import document, made_folder

from attn_cli import session, vocabulary
from attn_cli.analysis.components import components_steps
from attn_cli.analysis.entry import entry
from attn_cli.errors import ContentError
from attn_cli.families import FAMILIES
from attn_cli.model.config import ConfigReader

TYPES = Path(__file__).parents[1] / "golden" / "types"
IDS = [1, 5, 2, 7, 3, 9]
NORMED = ("phi-b", "persimmon-a", "stablelm-b")  # queries and keys too, with and without a bias


def read(config):
    family = importlib.import_module(f"attn_cli.families.{FAMILIES[config['model_type']]}").FAMILY
    return family.read_config(ConfigReader(config, "config.json"))


def traced(folder):
    model = session.load(folder)
    return model, session.trace(ids=IDS, model=model, arrays=vocabulary.ARRAYS)


@pytest.mark.parametrize("name", [*NORMED, "mpt-a", "gptj-a", "codegen-a"])
def test_the_arithmetic_of_an_entry_leads_to_it(type_folder, name):
    model, trace = traced(type_folder(name))
    head = model.facts.heads - 1
    for array in "qkv":
        for column in range(model.facts.head_width):
            found = entry(trace, 1, head, array, 4, column)
            value = found.dot.value + (0 if np.isnan(found.bias) else found.bias)
            value = value if np.isnan(found.clip) else np.clip(value, -found.clip, found.clip)
            for norm in found.norm:
                value = (value - norm.mean) / norm.root * norm.weight
                value += 0 if np.isnan(norm.bias) else norm.bias
            for turn in found.rotation:
                own, other, sign = (turn.a, turn.b, -1) if column == turn.first else (
                    turn.b, turn.a, 1)  # fmt: skip
                assert value == pytest.approx(own, abs=2e-5)
                value = own * np.cos(turn.angle) + sign * other * np.sin(turn.angle)
            assert value == pytest.approx(found.value, abs=2e-5)


def test_the_weight_and_the_bias_of_a_querys_norm_are_those_of_the_file(type_folder):
    model, trace = traced(type_folder("phi-b"))
    for column in range(model.facts.head_width):
        (norm,) = entry(trace, 0, 3, "q", 4, column).norm
        name = "layers.0.self_attn.q_layernorm"
        assert norm.weight == pytest.approx(model.weights[f"{name}.weight"][column], rel=1e-3)
        assert norm.bias == pytest.approx(model.weights[f"{name}.bias"][column])


@pytest.mark.parametrize("name", [*NORMED, "mpt-a", "falcon-d", "gpt_neo-a", "xglm-b"])
def test_every_split_adds_up_to_the_score(type_folder, name):
    model, trace = traced(type_folder(name))
    for block in trace.attention:
        steps = components_steps(model, trace.prompt, block.address, len(block.heads) - 1, 4)
        found = session.finished(steps)
        assert found.value == pytest.approx(float(block.scaled[-1, 4, found.key]), rel=1e-5)
        assert found.error < 1e-5


def test_the_first_token_of_a_longer_text_has_a_lower_bias_as_the_reference_counts(type_folder):
    """From the last token back, so that a key's number depends on how many follow."""
    model = session.load(type_folder("mpt-b"))
    slopes = model.facts.slopes
    for count in (3, 6):
        block = session.trace(ids=IDS[:count], model=model).attention[0]
        assert block.bias[:, 0, 0].tolist() == pytest.approx([s * (1 - count) for s in slopes])
        assert not block.bias[..., -1].any()


def test_the_bias_of_far_keys_is_as_bfloat16_has_it(type_folder):
    """257 is 256 there, and a slope of 2⁻⁴ is itself."""
    path = type_folder("falcon-d", max_position_embeddings=300)
    block = session.trace(ids=[1] * 259, model=path, arrays=["bias"]).attention[0]
    far = block.bias[0, 0] * 8**0.5 / 2.0**-4
    assert far[[255, 256, 257, 258]].tolist() == pytest.approx([255, 256, 256, 258])


def test_the_reference_has_slopes_up_to_8_whatever_the_config_of_an_mpt_says(tmp_path):
    """It never hands `alibi_bias_max` on to what makes them, so that the key is named in a note."""
    config = document("mpt-a")["config"]
    section = config["attn_config"] | {"alibi_bias_max": 16}
    plain, said = (
        session.load(str(made_folder(tmp_path / name, "mpt-a", config | more)))
        for name, more in (("plain", {}), ("said", {"attn_config": section}))
    )
    assert said.config == plain.config and plain.unknown == ()
    assert said.unknown == ("attn_config.alibi_bias_max",)


@pytest.mark.parametrize("name", ["gptj-a", "codegen-a", "mpt-a", "gpt_neo-a"])
def test_beyond_a_table_there_is_nothing_to_read_on_with(type_folder, name):
    model = session.load(type_folder(name))
    with pytest.raises(ContentError, match="--force-context cannot help"):
        session.tokenise(model, ids=[1] * 32, force_context=True)


def test_waves_go_on_beyond_the_context_as_the_reference_grows_its_table(type_folder):
    model = session.load(type_folder("xglm-a"))
    prompt = session.tokenise(model, ids=[1] * 40, force_context=True)
    block = session.trace(prompt=prompt, model=model, arrays=vocabulary.ARRAYS).attention[0]
    assert np.ptp(block.position_embedding[31:], axis=0).max() > 0.1


def rope(share):
    return {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": share}


# What the reference's classes have where a key is missing.
DEFAULTS = {
    "phi-a": {"rope_parameters": rope(0.5), "hidden_act": "gelu_new", "layer_norm_eps": 1e-5,
              "qk_layernorm": False, "num_key_value_heads": 3, "tie_word_embeddings": False},
    "starcoder2-b": {"num_key_value_heads": 2, "hidden_act": "gelu_pytorch_tanh",
                     "norm_epsilon": 1e-5, "use_bias": True, "tie_word_embeddings": True,
                     "sliding_window": None},
    "stablelm-a": {"rope_parameters": rope(0.25)},
    "stablelm-b": {"hidden_act": "silu", "layer_norm_eps": 1e-5,
                   "use_qkv_bias": False, "qk_layernorm": False, "use_parallel_residual": False,
                   "tie_word_embeddings": False},
    "gptj-a": {"activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "n_inner": 96,
               "tie_word_embeddings": False},
    "codegen-a": {"activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "n_inner": 128,
                  "tie_word_embeddings": False},
    "falcon-a": {"max_position_embeddings": 2048, "num_kv_heads": 3, "alibi": False,
                 "new_decoder_architecture": False, "multi_query": True, "parallel_attn": True,
                 "bias": False, "activation": "gelu", "layer_norm_epsilon": 1e-5,
                 "ffn_hidden_size": 96, "tie_word_embeddings": True,
                 "num_ln_in_parallel_attn": 1},
    "falcon-c": {"num_ln_in_parallel_attn": 2},
    "mpt-a": {"max_seq_len": 2048, "attn_config": {}, "layer_norm_epsilon": 1e-5,
              "tie_word_embeddings": True},
    "nemotron-a": {"rope_parameters": rope(0.5), "hidden_act": "relu2", "norm_eps": 1e-5,
                   "head_dim": 8, "attention_bias": False, "mlp_bias": False,
                   "tie_word_embeddings": False},
    "persimmon-a": {"rope_parameters": rope(0.5), "hidden_act": "relu2", "layer_norm_eps": 1e-5,
                    "qk_layernorm": True, "tie_word_embeddings": False},
    "gpt_bigcode-a": {"activation_function": "gelu_pytorch_tanh", "layer_norm_epsilon": 1e-5,
                      "n_inner": 96, "multi_query": True, "scale_attn_weights": True,
                      "tie_word_embeddings": True},
    "gpt_neo-a": {"activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
                  "intermediate_size": 96, "window_size": 256, "tie_word_embeddings": True},
    "biogpt-a": {"hidden_act": "gelu", "scale_embedding": True, "tie_word_embeddings": True},
    "xglm-b": {"activation_function": "gelu", "scale_embedding": True, "pad_token_id": 1,
               "tie_word_embeddings": True},
}  # fmt: skip


@pytest.mark.parametrize(("name", "key"), [(n, k) for n, keys in DEFAULTS.items() for k in keys])
def test_a_key_that_is_missing_has_the_default_of_the_reference(name, key):
    config = json.loads((TYPES / f"{name}.json").read_text())["config"]
    missing = {own: value for own, value in config.items() if own != key}
    assert read(missing) == read(missing | {key: DEFAULTS[name][key]})


def test_twenty_four_layers_that_say_nothing_have_a_window_in_every_other_one():
    config = json.loads((TYPES / "gpt_neo-a.json").read_text())["config"] | {"num_layers": 24}
    del config["attention_types"], config["attention_layers"]
    assert read(config).windows == (0, 4) * 12


def test_a_null_is_no_padding_where_a_missing_key_has_some():
    config = json.loads((TYPES / "xglm-a.json").read_text())["config"]
    assert read(config | {"pad_token_id": None}).zero_row == -1


@pytest.mark.parametrize(("name", "changes", "match"), [
    ("phi-a", {"num_key_value_heads": 2}, "num_attention_heads 3 does not divide"),
    ("phi-b", {"head_dim": 6}, "head_dim of its own"),
    ("phi-a", {"rope_parameters": {"rope_theta": 9.0, "partial_rotary_factor": 0}}, "partial_rot"),
    ("phi-a", {"rope_parameters": {"partial_rotary_factor": 0.375}}, "cannot turn in pairs"),
    ("stablelm-a", {"rope_parameters": {"partial_rotary_factor": 0.125}}, "cannot turn in pairs"),
    ("persimmon-a", {"rope_parameters": {"partial_rotary_factor": 0.2}}, "cannot turn in pairs"),
    ("phi-a", {"hidden_act": "maxout"}, "hidden_act is 'maxout'"),
    ("starcoder2-a", {"sliding_window": -1}, "sliding_window is -1"),
    ("stablelm-a", {"head_dim": 4}, "head_dim is 4"),
    ("stablelm-a", {"use_parallel_residual": True}, "post_attention_layernorm"),
    ("persimmon-a", {"head_dim": 4}, "head_dim is 4"),
    ("nemotron-a", {"head_dim": 10**9}, "head_dim is 1000000000"),
    ("gptj-a", {"n_embd": 3 * 10**8}, "n_embd 300000000 makes heads above 65536"),
    ("starcoder2-a", {"head_dim": 7}, "head, 7, is odd"),
    ("falcon-a", {"hidden_size": 21}, "head, 7, is odd"),
    ("nemotron-a", {"num_key_value_heads": None}, "num_key_value_heads is missing"),
    ("gptj-a", {"rotary_dim": 5}, "rotary_dim 5 is odd"),
    ("gptj-a", {"rotary_dim": 12}, "rotary_dim is 12"),
    ("codegen-a", {"n_head": 2}, "n_head 2 does not divide by the 4 blocks"),
    ("falcon-a", {"num_ln_in_parallel_attn": 2}, "num_ln_in_parallel_attn is 2 without"),
    ("falcon-b", {"parallel_attn": False}, "parallel_attn is false"),
    ("falcon-b", {"num_ln_in_parallel_attn": 3}, "num_ln_in_parallel_attn is 3"),
    ("falcon-b", {"num_kv_heads": 4}, "num_kv_heads 4 does not fit 6 heads"),
    ("falcon-d", {"num_kv_heads": 1}, "num_kv_heads 1 does not fit 3 heads"),
    ("mpt-a", {"attn_config": {"clip_qkv": -1}}, "clip_qkv is -1"),
    ("mpt-a", {"attn_config": {"alibi": False}}, "alibi is false"),
    ("mpt-a", {"attn_config": {"attn_type": "multiquery_attention"}}, "attn_type is"),
    ("mpt-a", {"attn_config": {"qk_ln": True}}, "qk_ln is true"),
    ("mpt-a", {"attn_config": []}, "attn_config is"),
    ("gpt_bigcode-a", {"add_cross_attention": True}, "add_cross_attention is true"),
    ("gpt_neo-a", {"attention_layers": ["global"]}, "attention_layers is not a list of 2"),
    ("gpt_neo-a", {"attention_layers": ["global", "wide"]}, "attention_layers is 'wide'"),
    ("gpt_neo-a", {"attention_layers": None, "attention_types": [[["global"], 3]]}, "3 layers"),
    ("gpt_neo-a", {"attention_types": [[["global"], 10**9]]}, "attention_types is"),
    ("gpt_neo-a", {"attention_layers": None, "attention_types": [[["wide"], 2]]}, "global and"),
    ("xglm-a", {"pad_token_id": -1}, "pad_token_id is -1"),
    ("xglm-a", {"d_model": 3}, "too narrow"),
    ("biogpt-a", {"max_position_embeddings": 30}, "embed_positions.weight is 33 × 24"),
])  # fmt: skip
def test_a_config_that_cannot_be_honoured_is_refused_by_name(type_folder, name, changes, match):
    with pytest.raises(ContentError, match=match):
        session.load(type_folder(name, **changes))


@pytest.mark.parametrize(("name", "said"), [("phi-b", "lm_head.bias"), ("gptj-b", "lm_head.bias")])
def test_a_bias_without_which_a_tied_output_is_not_whole_is_named(tmp_path, name, said):
    """The output matrix is the embedding, so that there is one."""

    def without(arrays):
        return {name: array for name, array in arrays.items() if not name.startswith("lm_head")}

    config = document(name)["config"] | {"tie_word_embeddings": True}
    with pytest.raises(ContentError, match=rf"the tensor {re.escape(said)} is missing"):
        session.load(str(made_folder(tmp_path / "tied", name, config, without)))
    config |= {"tie_word_embeddings": False}
    untied = session.load(str(made_folder(tmp_path / "untied", name, config, without)))
    assert not untied.facts.predicts
