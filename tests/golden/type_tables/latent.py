"""Models whose keys and values come of one latent, and those in which not every layer attends."""

from type_tables import Golden, Places


def latents(model, layer, heard):
    """What the reference's own modules make in the middle, before q and k rotate."""
    at, found = model.model.layers[layer].self_attn, heard.layers[layer]
    normed, plain = found["normed"][0], at.qk_nope_head_dim
    kv, last = at.kv_a_proj_with_mqa(normed).split([at.kv_lora_rank, at.qk_rope_head_dim], dim=-1)
    made = {"kv_latent": at.kv_a_layernorm(kv)}
    if at.q_lora_rank:
        made["q_latent"] = at.q_a_layernorm(at.q_a_proj(normed))
    q = at.q_b_proj(made["q_latent"]) if at.q_lora_rank else at.q_proj(normed)
    q = q.view(len(q), at.num_heads, -1).transpose(0, 1)
    k = heard.attended[layer][1][0].clone()
    k[..., plain:] = last
    if getattr(model.config, "rope_interleave", False):  # as the reference then rotates them
        for vectors in (q, k):
            pairs = vectors[..., plain:].unflatten(-1, (-1, 2))
            vectors[..., plain:] = pairs.transpose(-1, -2).flatten(-2).clone()
    return {**made, "q_unrotated": q, "k_unrotated": k}


LATENTS = Places(arrays=latents)
LFM2 = Places(norm="operator_norm", out="self_attn.out_proj", mlp="feed_forward")
MODELS = {
    # All layers dense; queries come of a latent too, and every map of the attention has a bias.
    "deepseek-v2-a": Golden(
        model="DeepseekV2ForCausalLM", seed=301, tokens=5, places=LATENTS, keys=True,
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
    # The experts of a token stand in two of four groups; keys and values of another width.
    "deepseek-v2-b": Golden(
        model="DeepseekV2ForCausalLM", seed=302, tokens=7, places=LATENTS, keys=True,
        trials={"topk_method": "greedy"},
        config={
            "num_hidden_layers": 2, "num_attention_heads": 3, "hidden_size": 24,
            "q_lora_rank": None, "kv_lora_rank": 22, "qk_nope_head_dim": 4, "qk_rope_head_dim": 6,
            "v_head_dim": 5, "intermediate_size": 17, "moe_intermediate_size": 8,
            "vocab_size": 37, "max_position_embeddings": 41, "rms_norm_eps": 1e-5,
            "first_k_dense_replace": 1, "n_routed_experts": 12, "n_shared_experts": 2,
            "num_experts_per_tok": 3, "n_group": 4, "topk_group": 2,
            "topk_method": "group_limited_greedy", "routed_scaling_factor": 1.7,
            "tie_word_embeddings": True,
        },
    ),
    # Pairs side by side, and a correction of the router's scores.
    "deepseek-v3-a": Golden(
        model="DeepseekV3ForCausalLM", seed=303, tokens=6, places=LATENTS, keys=True,
        config={
            "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 3,
            "hidden_size": 20, "q_lora_rank": 11, "kv_lora_rank": 13, "qk_nope_head_dim": 5,
            "qk_rope_head_dim": 4, "v_head_dim": 7, "intermediate_size": 17,
            "moe_intermediate_size": 8, "vocab_size": 41, "max_position_embeddings": 43,
            "rms_norm_eps": 3e-3, "attention_bias": True, "first_k_dense_replace": 1,
            "n_routed_experts": 12, "n_shared_experts": 2, "num_experts_per_tok": 3,
            "n_group": 4, "topk_group": 2, "routed_scaling_factor": 1.7,
            "rope_parameters": {
                "rope_type": "yarn", "rope_theta": 59.0, "factor": 4.0, "mscale": 1.0,
                "mscale_all_dim": 0.7, "original_max_position_embeddings": 10,
            },
        },
    ),
    "deepseek-v3-b": Golden(
        model="DeepseekV3ForCausalLM", seed=304, tokens=7, places=LATENTS, keys=True,
        config={
            "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": None,
            "hidden_size": 24, "q_lora_rank": None, "kv_lora_rank": 13, "qk_nope_head_dim": 5,
            "qk_rope_head_dim": 6, "v_head_dim": 4, "intermediate_size": 17,
            "moe_intermediate_size": 12, "vocab_size": 37, "max_position_embeddings": 41,
            "rms_norm_eps": 1e-6, "first_k_dense_replace": 0, "n_routed_experts": 8,
            "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
            "routed_scaling_factor": 2.5, "norm_topk_prob": False, "rope_interleave": False,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "linear", "rope_theta": 83.0, "factor": 1.7},
        },
    ),
    # Multipliers of the embedding, of what is added, and of the logits; two tables of rotation.
    "minicpm3-a": Golden(
        model="MiniCPM3ForCausalLM", seed=305, tokens=8, places=LATENTS, keys=True,
        config={
            "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 3,
            "hidden_size": 21, "q_lora_rank": 11, "kv_lora_rank": 13, "qk_nope_head_dim": 5,
            "qk_rope_head_dim": 4, "v_head_dim": 7, "intermediate_size": 17, "vocab_size": 41,
            "max_position_embeddings": 43, "rms_norm_eps": 3e-3, "attention_bias": True,
            "mlp_bias": True, "scale_emb": 2.5, "scale_depth": 1.1, "dim_model_base": 14,
            "tie_word_embeddings": False,
            "rope_parameters": {
                "rope_type": "longrope", "rope_theta": 59.0, "short_factor": [1.1, 1.7],
                "long_factor": [2.3, 4.1], "original_max_position_embeddings": 12,
            },
        },
    ),
    "minicpm3-b": Golden(
        model="MiniCPM3ForCausalLM", seed=306, tokens=6, places=LATENTS, keys=True,
        trials={"v_head_dim": 6},
        config={
            "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": None,
            "hidden_size": 15, "q_lora_rank": None, "kv_lora_rank": 11, "qk_nope_head_dim": 7,
            "qk_rope_head_dim": 2, "intermediate_size": 17, "vocab_size": 37,
            "max_position_embeddings": 41, "scale_emb": 3, "scale_depth": None,
            "dim_model_base": None,
        },
    ),
    # A convolution at either end, and between two layers of attention.
    "lfm2-a": Golden(
        model="Lfm2ForCausalLM", seed=307, tokens=8, places=LFM2, keys=True,
        trials={"layer_types": ["full_attention"] * 4},
        config={
            "num_hidden_layers": 4, "num_attention_heads": 6, "num_key_value_heads": 2,
            "hidden_size": 24, "intermediate_size": 19, "vocab_size": 41,
            "max_position_embeddings": 43, "norm_eps": 3e-3, "conv_L_cache": 3, "conv_bias": True,
            "block_multiple_of": 5, "block_ffn_dim_multiplier": 1.3, "tie_word_embeddings": False,
            "layer_types": ["conv", "full_attention", "conv", "full_attention"],
            "rope_parameters": {"rope_type": "default", "rope_theta": 59.0},
        },
    ),
    "lfm2-b": Golden(
        model="Lfm2ForCausalLM", seed=308, tokens=7, places=LFM2, keys=True,
        config={
            "num_hidden_layers": 3, "num_attention_heads": 5, "num_key_value_heads": 1,
            "hidden_size": 20, "intermediate_size": 13, "vocab_size": 37,
            "max_position_embeddings": 41, "conv_L_cache": 6, "block_auto_adjust_ff_dim": False,
            "full_attn_idxs": [1],
        },
    ),
}  # fmt: skip
