"""Mixtures of experts."""

from type_tables import Golden, Places

_SPARSE = Places(mlp="block_sparse_moe")
_ROPE = {"rope_type": "default", "rope_theta": 59.0}
MODELS = {
    "mixtral-a": Golden(
        model="MixtralForCausalLM", seed=401, tokens=7, keys=True,
        config={
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "head_dim": 6, "hidden_size": 20, "intermediate_size": 13, "vocab_size": 41,
            "max_position_embeddings": 31, "rms_norm_eps": 3e-3, "num_local_experts": 5,
            "num_experts_per_tok": 3, "sliding_window": 4, "rope_parameters": _ROPE,
        },
        trials={"sliding_window": 3},
    ),
    "mixtral-b": Golden(
        model="MixtralForCausalLM", seed=402, tokens=9,
        config={
            "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 3,
            "hidden_size": 24, "intermediate_size": 10, "vocab_size": 43, "hidden_act": "gelu",
            "max_position_embeddings": 37, "num_local_experts": 8, "num_experts_per_tok": 1,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "linear", "rope_theta": 71.0, "factor": 3.0},
        },
    ),
    "qwen2_moe-a": Golden(
        model="Qwen2MoeForCausalLM", seed=403, tokens=7, keys=True,
        config={
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "hidden_size": 24, "intermediate_size": 13, "moe_intermediate_size": 9,
            "shared_expert_intermediate_size": 11, "vocab_size": 41, "num_experts": 6,
            "num_experts_per_tok": 3, "max_position_embeddings": 31, "rms_norm_eps": 3e-3,
            "rope_parameters": _ROPE,
        },
        trials={"mlp_only_layers": [0], "layer_types": ["full_attention", "sliding_attention"],
                "sliding_window": 3},
    ),
    "qwen2_moe-b": Golden(
        model="Qwen2MoeForCausalLM", seed=404, tokens=6,
        config={
            "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1,
            "hidden_size": 12, "intermediate_size": 10, "moe_intermediate_size": 7,
            "shared_expert_intermediate_size": 8, "vocab_size": 37, "num_experts": 5,
            "num_experts_per_tok": 2, "norm_topk_prob": True, "decoder_sparse_step": 2,
            "mlp_only_layers": [3], "qkv_bias": False, "use_sliding_window": True,
            "sliding_window": 3, "max_window_layers": 3, "tie_word_embeddings": True,
            "max_position_embeddings": 33, "rope_parameters": _ROPE,
        },
    ),
    "qwen3_moe-a": Golden(
        model="Qwen3MoeForCausalLM", seed=405, tokens=7, keys=True,
        config={
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "head_dim": 6, "hidden_size": 20, "intermediate_size": 13, "vocab_size": 43,
            "moe_intermediate_size": 9, "num_experts": 7, "num_experts_per_tok": 3,
            "norm_topk_prob": True, "max_position_embeddings": 31, "rms_norm_eps": 3e-3,
            "rope_parameters": _ROPE,
        },
        trials={"mlp_only_layers": [0], "sliding_window": 3},
    ),
    "qwen3_moe-b": Golden(
        model="Qwen3MoeForCausalLM", seed=406, tokens=8,
        config={
            "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2,
            "head_dim": 4, "hidden_size": 14, "intermediate_size": 10, "vocab_size": 37,
            "moe_intermediate_size": 7, "num_experts": 5, "num_experts_per_tok": 4,
            "mlp_only_layers": [0], "use_sliding_window": True, "sliding_window": 5,
            "attention_bias": True, "tie_word_embeddings": True, "hidden_act": "gelu",
            "max_position_embeddings": 33,
            "rope_parameters": {"rope_type": "yarn", "rope_theta": 59.0, "factor": 2.0,
                                "original_max_position_embeddings": 16},
        },
    ),
    "olmoe-a": Golden(
        model="OlmoeForCausalLM", seed=407, tokens=7, keys=True,
        config={
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "hidden_size": 24, "intermediate_size": 9, "vocab_size": 41, "num_experts": 8,
            "num_experts_per_tok": 3, "max_position_embeddings": 31, "rms_norm_eps": 3e-3,
            "clip_qkv": 0.9, "rope_parameters": _ROPE, "pad_token_id": 0,
        },
    ),
    "olmoe-b": Golden(
        model="OlmoeForCausalLM", seed=408, tokens=9,
        config={
            "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 3,
            "hidden_size": 18, "intermediate_size": 10, "vocab_size": 43, "num_experts": 5,
            "num_experts_per_tok": 2, "norm_topk_prob": True, "attention_bias": True,
            "tie_word_embeddings": True, "max_position_embeddings": 33,
            "rope_parameters": _ROPE, "pad_token_id": 0,
        },
    ),
    "granitemoe-a": Golden(
        model="GraniteMoeForCausalLM", seed=411, tokens=7, keys=True, places=_SPARSE,
        config={
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "hidden_size": 24, "intermediate_size": 9, "vocab_size": 41, "num_local_experts": 5,
            "num_experts_per_tok": 3, "max_position_embeddings": 31, "rms_norm_eps": 3e-3,
            "embedding_multiplier": 2.5, "attention_multiplier": 0.3, "residual_multiplier": 0.7,
            "logits_scaling": 3.0, "rope_parameters": _ROPE,
        },
    ),
    "granitemoe-b": Golden(
        model="GraniteMoeForCausalLM", seed=412, tokens=8, places=_SPARSE,
        config={
            "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 1,
            "hidden_size": 18, "intermediate_size": 10, "vocab_size": 43, "num_local_experts": 6,
            "attention_bias": True, "tie_word_embeddings": True, "hidden_act": "gelu",
            "max_position_embeddings": 33, "rope_parameters": _ROPE,
        },
    ),
    "phimoe-a": Golden(
        model="PhimoeForCausalLM", seed=409, tokens=7, keys=True,
        config={
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "hidden_size": 24, "intermediate_size": 9, "vocab_size": 41, "num_local_experts": 5,
            "num_experts_per_tok": 2, "max_position_embeddings": 31, "rms_norm_eps": 3e-3,
            "router_jitter_noise": 0.3, "attention_bias": True, "lm_head_bias": True,
            "sliding_window": 4,
            "rope_parameters": {
                "rope_type": "longrope", "rope_theta": 59.0, "short_factor": [1.1, 1.3, 1.7],
                "long_factor": [2.1, 2.3, 2.7], "short_mscale": 1.25, "long_mscale": 1.25,
                "original_max_position_embeddings": 5,
            },
        },
        trials={"sliding_window": 3},
    ),
    "phimoe-b": Golden(
        model="PhimoeForCausalLM", seed=410, tokens=8,
        config={
            "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 1,
            "hidden_size": 18, "intermediate_size": 10, "vocab_size": 43, "num_local_experts": 6,
            "max_position_embeddings": 33, "tie_word_embeddings": True, "hidden_act": "gelu",
            "rope_parameters": _ROPE,
        },
    ),
}  # fmt: skip
