"""Attention with sinks."""

from typing import Any

from type_tables import Golden, Places


def _sinks(model: Any, layer: int, heard: Any) -> dict[str, Any]:
    """The scores before the reference subtracts each row's largest, and what the sink has of it."""
    attention = model.model.layers[layer].self_attn
    shifted, shares = (array[0] for array in heard.softmaxed[layer])
    masked = shifted[..., :-1] + (attention.sinks[:, None] - shifted[..., -1])[..., None]
    masked[masked < -1e30] = -float("inf")
    return {"masked": masked, "sink": attention.sinks, "sink_share": shares[..., -1]}


PLACES = Places(arrays=_sinks)
MODELS = {
    # A window shorter than the text, several groups of heads, values that the clamp bends.
    "gpt_oss-a": Golden(
        model="GptOssForCausalLM", seed=901, tokens=7, places=PLACES, keys=True,
        config={
            "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 3,
            "head_dim": 8, "hidden_size": 20, "intermediate_size": 14, "vocab_size": 41,
            "num_local_experts": 5, "num_experts_per_tok": 3, "sliding_window": 4,
            "max_position_embeddings": 64, "swiglu_limit": 0.6, "swiglu_alpha": 1.3,
            "rope_parameters": {
                "rope_type": "yarn", "rope_theta": 160.0, "factor": 4.0, "beta_fast": 32.0,
                "beta_slow": 1.0, "truncate": False, "original_max_position_embeddings": 16,
            },
        },
        trials={
            "layer_types": ["full_attention"] * 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 160.0},
        },
    ),
    # No biases, as many kv heads as heads, a tied output, every layer with its window as told.
    "gpt_oss-b": Golden(
        model="GptOssForCausalLM", seed=902, tokens=7, places=PLACES,
        config={
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
            "head_dim": 6, "hidden_size": 28, "intermediate_size": 10, "vocab_size": 43,
            "num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": 3,
            "layer_types": ["full_attention", "sliding_attention"], "attention_bias": False,
            "tie_word_embeddings": True, "max_position_embeddings": 48, "rms_norm_eps": 2e-3,
            "rope_parameters": {"rope_type": "default", "rope_theta": 90.0},
        },
    ),
}  # fmt: skip
