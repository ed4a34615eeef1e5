"""Models whose keys and values come of one latent, and those in which not every layer attends."""

from type_tables import Golden

MODELS = {
    # All layers dense; queries come of a latent too, and every map of the attention has a bias.
    "deepseek-v2-a": Golden(
        model="DeepseekV2ForCausalLM", seed=301, tokens=8, keys=True,
        config={
            "num_hidden_layers": 2, "num_attention_heads": 3, "hidden_size": 24,
            "q_lora_rank": 11, "kv_lora_rank": 14, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4,
            "v_head_dim": 7, "intermediate_size": 17, "vocab_size": 41,
            "max_position_embeddings": 43, "rms_norm_eps": 3e-3, "attention_bias": True,
            "mlp_bias": True, "first_k_dense_replace": 2, "num_experts_per_tok": 2,
            "rope_parameters": {
                "rope_type": "yarn", "rope_theta": 59.0, "factor": 4.0, "mscale": 0.9,
                "mscale_all_dim": 0.7, "original_max_position_embeddings": 10, "beta_fast": 4.0,
            },
        },
    ),
}  # fmt: skip
