"""Types that have goldens of their own kind too: here to hold the maker to them."""

from type_tables import Golden

MODELS = {
    "llama-a": Golden(
        model="LlamaForCausalLM", seed=1, tokens=7, keys=True,
        config={
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "head_dim": 6, "hidden_size": 20, "intermediate_size": 13, "vocab_size": 41,
            "max_position_embeddings": 31, "rms_norm_eps": 3e-3, "attention_bias": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 59.0},
        },
    ),
}  # fmt: skip
