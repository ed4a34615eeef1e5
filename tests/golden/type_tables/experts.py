"""Mixtures of experts."""

from type_tables import LLAMA_PLACES, Golden

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
}  # fmt: skip
