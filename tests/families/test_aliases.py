"""What types in Llama's order make of keys that config.json leaves out, as the reference does."""

import importlib
import json
from pathlib import Path

import pytest

from attn_cli.errors import ContentError
from attn_cli.families import FAMILIES
from attn_cli.model.config import ConfigReader

TYPES = Path(__file__).parents[1] / "golden" / "types"
# The reference's classes, field by field, where they differ from Llama's own; `windows` are of
# five layers.
DEFAULTS = {
    "iquestcoder": {"num_key_value_heads": 8, "head_dim": 128, "rms_norm_eps": 1e-5},
    "internlm3": {
        "num_key_value_heads": 2, "head_dim": 128, "rms_norm_eps": 1e-5, "attention_bias": False,
        "mlp_bias": False,
    },
    "exaone": {"num_key_value_heads": 8, "rms_norm_eps": 1e-5, "rope_theta": 500_000.0},
    "seed_oss": {
        "num_key_value_heads": 8, "head_dim": 128, "rms_norm_eps": 1e-6, "attention_bias": True,
        "attention_out_bias": False, "mlp_bias": False, "rope_theta": 10_000.0,
    },
    "arcee": {"rms_norm_eps": 1e-5, "hidden_act": "relu2", "num_key_value_heads": 80},
    "helium": {
        "num_key_value_heads": 20, "head_dim": 128, "rms_norm_eps": 1e-8, "rope_theta": 100_000.0,
    },
    "ernie4_5": {
        "num_key_value_heads": 2, "head_dim": 128, "rms_norm_eps": 1e-5, "rope_theta": 500_000.0,
        "tie_word_embeddings": True, "use_bias": False,
    },
    "cwm": {
        "num_key_value_heads": 8, "head_dim": 128, "rms_norm_eps": 1e-5, "sliding_window": 8192,
        "layer_types": ["full_attention", *["sliding_attention"] * 3, "full_attention"],
        "rope_parameters": {
            "rope_theta": 1_000_000.0, "factor": 16.0, "high_freq_factor": 4.0,
            "low_freq_factor": 1.0, "original_max_position_embeddings": 8192,
            "rope_type": "llama3",
        },
    },
    "ministral": {
        "num_key_value_heads": 8, "sliding_window": 4096, "rms_norm_eps": 1e-6,
        "layer_types": ["sliding_attention"] * 5,
    },
    "ministral3": {
        "num_key_value_heads": 8, "head_dim": 128, "rms_norm_eps": 1e-5, "sliding_window": None,
        "rope_parameters": {
            "type": "yarn", "rope_theta": 1_000_000.0, "factor": 16.0,
            "original_max_position_embeddings": 16384, "beta_fast": 32.0, "beta_slow": 1.0,
            "mscale_all_dim": 1.0, "mscale": 1.0, "llama_4_scaling_beta": 0.1,
        },
    },
    "gemma": {
        "num_key_value_heads": 16, "head_dim": 256, "hidden_act": "gelu_pytorch_tanh",
        "tie_word_embeddings": True, "rms_norm_eps": 1e-6, "rope_theta": 10_000.0,
    },
    "granite": {
        "num_key_value_heads": 80, "embedding_multiplier": 1.0, "attention_multiplier": 1.0,
        "residual_multiplier": 1.0, "logits_scaling": 1.0, "rms_norm_eps": 1e-6,
    },
}  # fmt: skip
SIZES = {
    "num_hidden_layers": 5, "num_attention_heads": 80, "hidden_size": 320, "intermediate_size": 7,
    "vocab_size": 11, "max_position_embeddings": 65_536,
}  # fmt: skip


def read(kind, values):
    family = importlib.import_module(f"attn_cli.families.{FAMILIES[kind]}").FAMILY
    return family.read_config(ConfigReader({"model_type": kind, **SIZES, **values}, "config.json"))


@pytest.mark.parametrize(
    ("kind", "key"), [(kind, key) for kind, keys in DEFAULTS.items() for key in keys]
)
def test_a_key_that_is_missing_has_the_default_of_the_references_class(kind, key):
    needed = {"head_dim": 4} if kind == "ministral" else {}
    default = {key: DEFAULTS[kind][key]}
    assert read(kind, needed) == read(kind, needed | default)


def test_another_value_of_such_a_key_is_another_config():
    """Or the test above could compare what is never read."""
    others = {
        "num_key_value_heads": 1, "head_dim": 6, "rms_norm_eps": 0.5, "rope_theta": 7.0,
        "hidden_act": "gelu_new", "sliding_window": 3, "layer_types": ["full_attention"] * 5,
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 7.0, "llama_4_scaling_beta": 1.0,
            "original_max_position_embeddings": 5,
        },
        "embedding_multiplier": 3.0, "attention_multiplier": 3.0, "residual_multiplier": 3.0,
        "logits_scaling": 3.0,
    }  # fmt: skip
    same = []
    for kind, keys in DEFAULTS.items():
        base = read(kind, needed := {"head_dim": 4} if kind == "ministral" else {})
        for key, default in keys.items():
            if kind == "internlm3" and key.endswith("_bias"):  # only both together
                continue
            other = not default if isinstance(default, bool) else others[key]
            if read(kind, needed | {key: other}) == base:
                same.append((kind, key))
    assert same == []


def test_the_first_gemma_files_say_gelu_and_mean_its_approximation():
    assert read("gemma", {"hidden_act": "gelu"}) == read("gemma", {})
    assert read("gemma", {"hidden_act": "gelu_python"}) != read("gemma", {})


def test_a_rotary_section_without_a_base_has_the_types_own():
    for kind in ("exaone", "ernie4_5", "helium", "cwm"):
        theta = DEFAULTS[kind].get("rope_theta", 1_000_000.0)
        section = {"rope_type": "linear", "factor": 2.0}
        wanted = read(kind, {"rope_parameters": section | {"rope_theta": theta}})
        assert read(kind, {"rope_parameters": section}) == wanted
        assert read(kind, {"rope_scaling": section}) == wanted


def test_a_query_that_does_not_grow_is_not_said_to():
    """As in Devstral 2, whose β is 0."""
    rope = DEFAULTS["ministral3"]["rope_parameters"] | {"llama_4_scaling_beta": 0}
    assert read("ministral3", {"rope_parameters": rope}).rope.growth is None
    assert read("ministral3", {}).rope.growth == (0.1, 16384)


@pytest.mark.parametrize("kind", ["rope_type", "type"])
def test_scaled_frequencies_that_leave_the_trained_length_out_have_the_context(kind):
    rope = {kind: "yarn", "factor": 2.0, "rope_theta": 7.0, "llama_4_scaling_beta": 0.3}
    found = read("ministral3", {"rope_parameters": rope, "max_position_embeddings": 77})
    assert found.rope.growth == (0.3, 77)
    with pytest.raises(ContentError, match="original_max_position_embeddings is missing"):
        read("ministral3", {"rope_parameters": {**rope, kind: "default"}})


def test_goldens_have_every_option_of_a_type():
    """In one of its configurations a key has another value than its default."""
    seen = {}
    for path in TYPES.glob("*.json"):
        config = json.loads(path.read_text())["config"]
        for key, default in DEFAULTS.get(config["model_type"], {}).items():
            differs = key in config and config[key] != default
            seen.setdefault((config["model_type"], key), []).append(differs)
    rope = {pair for pair in seen if pair[1] == "rope_theta"}  # within rope_parameters
    assert {pair for pair, found in seen.items() if not any(found)} == rope
