"""Types that differ from Llama in where norms and positions stand."""

from type_tables import Golden, Places

_FIRST = {
    "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 3,
    "hidden_size": 24, "intermediate_size": 13, "vocab_size": 41, "max_position_embeddings": 31,
    "pad_token_id": 1,
}  # fmt: skip
_SECOND = {
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 10,
    "hidden_size": 12, "intermediate_size": 17, "vocab_size": 43, "max_position_embeddings": 37,
    "pad_token_id": 1,
}  # fmt: skip
# Four layers, one of another kind.
_FOUR = {
    "num_hidden_layers": 4, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 8,
    "hidden_size": 10, "intermediate_size": 9, "vocab_size": 37, "max_position_embeddings": 31,
    "pad_token_id": 1,
}  # fmt: skip
_PLAIN = {"rope_type": "default", "rope_theta": 59.0}
_LINEAR = {"rope_type": "linear", "rope_theta": 71.0, "factor": 1.7}
_YARN = {
    "rope_type": "yarn", "rope_theta": 53.0, "factor": 3.0, "beta_fast": 4.0, "beta_slow": 0.3,
    "original_max_position_embeddings": 11,
}  # fmt: skip
_LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 47.0, "factor": 5.0, "low_freq_factor": 1.0,
    "high_freq_factor": 3.0, "original_max_position_embeddings": 13,
}  # fmt: skip
_FULL, _SLIDING = "full_attention", "sliding_attention"
_AFTER = Places(norm="")

MODELS = {
    "olmo-a": Golden(
        model="OlmoForCausalLM", seed=201, tokens=7, keys=True,
        config={**_FIRST, "clip_qkv": 0.9, "rope_parameters": _PLAIN},
        trials={"clip_qkv": 0.4},
    ),
    "olmo-b": Golden(
        model="OlmoForCausalLM", seed=202, tokens=9,
        config={**_SECOND, "attention_bias": True, "rope_parameters": _LINEAR},
    ),
    "olmo2-a": Golden(
        model="Olmo2ForCausalLM", seed=203, tokens=7, keys=True, places=_AFTER,
        config={**_FIRST, "rms_norm_eps": 3e-3, "rope_parameters": _PLAIN},
    ),
    "olmo2-b": Golden(
        model="Olmo2ForCausalLM", seed=204, tokens=9, places=_AFTER,
        config={
            **_SECOND, "rms_norm_eps": 2e-2, "attention_bias": True, "tie_word_embeddings": True,
            "rope_parameters": _YARN,
        },
    ),
    "olmo3-a": Golden(
        model="Olmo3ForCausalLM", seed=205, tokens=6, keys=True, places=_AFTER,
        config={
            **_FOUR, "sliding_window": 3,
            "rope_parameters": {_FULL: _YARN, _SLIDING: _PLAIN},
        },
        trials={"layer_types": [_FULL] * 4},
    ),
    "olmo3-b": Golden(
        model="Olmo3ForCausalLM", seed=206, tokens=9, places=_AFTER,
        config={
            **_SECOND, "rms_norm_eps": 2e-2, "attention_bias": True, "sliding_window": 5,
            "layer_types": [_FULL, _SLIDING],
            "rope_parameters": {_FULL: _LINEAR, _SLIDING: _LLAMA3},
        },
    ),
    "smollm3-a": Golden(
        model="SmolLM3ForCausalLM", seed=207, tokens=6, keys=True,
        config={**_FOUR, "rms_norm_eps": 3e-3, "rope_parameters": _PLAIN},
        trials={"no_rope_layers": [0, 1, 1, 1], "sliding_window": 4},
    ),
    "smollm3-b": Golden(
        model="SmolLM3ForCausalLM", seed=208, tokens=9, keys=True,
        config={
            **_SECOND, "attention_bias": True, "mlp_bias": True, "no_rope_layers": [0, 1],
            "use_sliding_window": True, "sliding_window": 4, "tie_word_embeddings": False,
            "rope_parameters": _YARN,
        },
        trials={"layer_types": [_FULL, _SLIDING]},
    ),
    "cohere-a": Golden(
        model="CohereForCausalLM", seed=209, tokens=7, keys=True,
        config={**_FIRST, "use_qk_norm": True, "logit_scale": 0.3, "rope_parameters": _PLAIN},
    ),
    "cohere-b": Golden(
        model="CohereForCausalLM", seed=210, tokens=9, keys=True,
        config={
            **_SECOND, "attention_bias": True, "layer_norm_eps": 2e-2, "logit_scale": 1.9,
            "tie_word_embeddings": False, "rope_parameters": _LINEAR,
        },
    ),
    "cohere2-a": Golden(
        model="Cohere2ForCausalLM", seed=211, tokens=6, keys=True,
        config={
            **_FOUR, "sliding_window": 3, "logit_scale": 0.3,
            "rope_parameters": _PLAIN,
        },
        trials={"layer_types": [_SLIDING] * 4},
    ),
    "cohere2-b": Golden(
        model="Cohere2ForCausalLM", seed=212, tokens=9,
        config={
            **_SECOND, "head_dim": 6, "hidden_size": 24, "sliding_window": 5,
            "layer_types": [_FULL, _SLIDING], "attention_bias": True, "layer_norm_eps": 2e-2,
            "tie_word_embeddings": False, "rope_parameters": _YARN,
        },
    ),
    "exaone4-a": Golden(
        model="Exaone4ForCausalLM", seed=213, tokens=6, keys=True, places=_AFTER,
        config={**_FOUR, "sliding_window": 3, "rms_norm_eps": 3e-3, "rope_parameters": _PLAIN},
        trials={"layer_types": [_FULL, _SLIDING, _FULL, _SLIDING]},
    ),
    "exaone4-b": Golden(
        model="Exaone4ForCausalLM", seed=214, tokens=9, places=_AFTER,
        config={
            **_SECOND, "sliding_window": None, "layer_types": [_FULL] * 2,
            "tie_word_embeddings": True, "rope_parameters": _LLAMA3,
        },
    ),
    "glm-a": Golden(
        model="GlmForCausalLM", seed=215, tokens=7, keys=True,
        config={**_FIRST, "head_dim": 8, "rms_norm_eps": 3e-3, "rope_parameters": _PLAIN},
    ),
    "glm-b": Golden(
        model="GlmForCausalLM", seed=216, tokens=9,
        config={
            **_SECOND, "head_dim": 14, "attention_bias": False, "tie_word_embeddings": True,
            "rope_parameters": {**_LINEAR, "partial_rotary_factor": 0.7},
        },
    ),
    "glm4-a": Golden(
        model="Glm4ForCausalLM", seed=217, tokens=7, keys=True,
        config={**_FIRST, "head_dim": 8, "rms_norm_eps": 3e-3, "rope_parameters": _PLAIN},
    ),
    "glm4-b": Golden(
        model="Glm4ForCausalLM", seed=218, tokens=9,
        config={
            **_SECOND, "head_dim": 14, "attention_bias": False, "tie_word_embeddings": True,
            "rope_parameters": {**_LINEAR, "partial_rotary_factor": 1.0},
        },
    ),
    "hunyuan_v1_dense-a": Golden(
        model="HunYuanDenseV1ForCausalLM", seed=219, tokens=7, keys=True,
        config={
            **_FIRST, "head_dim": 8, "rms_norm_eps": 3e-3,
            "rope_parameters": {
                "rope_type": "dynamic", "rope_theta": 59.0, "factor": 1.0, "alpha": 7.0,
            },
        },
    ),
    "hunyuan_v1_dense-b": Golden(
        model="HunYuanDenseV1ForCausalLM", seed=220, tokens=9,
        config={
            **_SECOND, "attention_bias": True, "tie_word_embeddings": True,
            "rope_parameters": _YARN,
        },
    ),
}  # fmt: skip
