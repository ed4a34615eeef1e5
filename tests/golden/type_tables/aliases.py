"""Types in Llama's order under other names and keys, or with multipliers."""

from type_tables import Golden

_DYNAMIC = {"rope_type": "dynamic", "factor": 2.7, "rope_theta": 59.0}
_LINEAR = {"rope_type": "linear", "factor": 2.5, "rope_theta": 67.0}
_PLAIN = {"rope_type": "default", "rope_theta": 59.0}
_LLAMA3 = {
    "rope_type": "llama3", "factor": 3.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16, "rope_theta": 71.0,
}  # fmt: skip
_GROWING = {
    "rope_type": "yarn", "factor": 3.5, "original_max_position_embeddings": 3, "mscale": 1.0,
    "mscale_all_dim": 0.6, "beta_fast": 8.0, "beta_slow": 1.0, "rope_theta": 61.0,
    "llama_4_scaling_beta": 0.7,
}  # fmt: skip
_OF_EXAONE = "transformer.h.*.attn.attention.out_proj"
_SLIDES = ["sliding_attention", "full_attention"]


def sizes(heads: int, kv: int, head: int, width: int, inner: int, vocabulary: int, context: int):
    """The keys of sizes that all of these types spell alike, for two layers."""
    return {
        "num_hidden_layers": 2, "num_attention_heads": heads, "num_key_value_heads": kv,
        "head_dim": head, "hidden_size": width, "intermediate_size": inner,
        "vocab_size": vocabulary, "max_position_embeddings": context, "rms_norm_eps": 3e-3,
    }  # fmt: skip


def shared(heads: int, kv: int, width: int, inner: int, vocabulary: int, context: int):
    """The same without a head width of its own."""
    found = sizes(heads, kv, 0, width, inner, vocabulary, context)
    return {key: value for key, value in found.items() if key != "head_dim"}


def rope(settings, **others):
    """What is tried in the place of the rotary settings, and of other keys."""
    return {"rope_parameters": settings | {"rope_theta": 7.0}, **others}


MODELS = {
    "iquestcoder-a": Golden(
        model="LlamaForCausalLM", config_class="IQuestCoderConfig", seed=211, tokens=7, keys=True,
        config=sizes(6, 3, 4, 18, 13, 41, 31) | {"rope_parameters": _DYNAMIC},
        trials=rope(_DYNAMIC, use_sliding_window=True),
    ),
    "iquestcoder-b": Golden(
        model="LlamaForCausalLM", config_class="IQuestCoderConfig", seed=212, tokens=9,
        config=sizes(4, 1, 6, 20, 13, 43, 33)
        | {"attention_bias": True, "mlp_bias": True, "hidden_act": "relu2",
           "tie_word_embeddings": True, "rope_parameters": _LINEAR},
    ),
    "internlm3-a": Golden(
        model="LlamaForCausalLM", config_class="InternLM3Config", seed=213, tokens=7, keys=True,
        config=sizes(6, 3, 4, 18, 13, 41, 31)
        | {"qkv_bias": True, "bias": True, "rope_parameters": _DYNAMIC},
        trials=rope(_DYNAMIC),
    ),
    "internlm3-b": Golden(
        model="LlamaForCausalLM", config_class="InternLM3Config", seed=214, tokens=9,
        config=shared(4, 1, 24, 13, 43, 33)
        | {"hidden_act": "gelu_fast", "tie_word_embeddings": True, "head_dim": None,
           "rope_parameters": _LLAMA3},
    ),
    "exaone-a": Golden(
        model="LlamaForCausalLM", config_class="ExaoneConfig", out=_OF_EXAONE, seed=215,
        tokens=7, keys=True,
        config=sizes(6, 3, 4, 18, 13, 41, 31) | {"rope_parameters": _LLAMA3},
        trials=rope(_LLAMA3),
    ),
    "exaone-b": Golden(
        model="LlamaForCausalLM", config_class="ExaoneConfig", out=_OF_EXAONE, seed=216,
        tokens=9,
        config=shared(4, 1, 24, 13, 43, 33)
        | {"attention_bias": True, "mlp_bias": True, "activation_function": "swish",
           "tie_word_embeddings": True, "rope_parameters": _PLAIN},
    ),
    "seed_oss-a": Golden(
        model="SeedOssForCausalLM", seed=217, tokens=7, keys=True,
        config=sizes(6, 3, 4, 18, 13, 41, 31)
        | {"attention_out_bias": True, "rope_parameters": _PLAIN},
        trials=rope(_PLAIN),
    ),
    "seed_oss-b": Golden(
        model="SeedOssForCausalLM", seed=218, tokens=9,
        config=sizes(4, 1, 6, 20, 13, 43, 33)
        | {"attention_bias": False, "mlp_bias": True, "hidden_act": "mish",
           "tie_word_embeddings": True, "rope_parameters": _DYNAMIC},
    ),
    "arcee-a": Golden(
        model="ArceeForCausalLM", seed=219, tokens=7, keys=True,
        config=sizes(6, 3, 4, 18, 13, 41, 31) | {"rope_parameters": _PLAIN},
        trials=rope(_PLAIN),
    ),
    "arcee-b": Golden(
        model="ArceeForCausalLM", seed=220, tokens=9,
        config=sizes(4, 1, 6, 20, 13, 43, 33)
        | {"attention_bias": True, "mlp_bias": True, "hidden_act": "quick_gelu",
           "tie_word_embeddings": True, "rope_parameters": _LLAMA3},
    ),
    "helium-a": Golden(
        model="HeliumForCausalLM", seed=221, tokens=7, keys=True,
        config=sizes(3, 1, 8, 24, 13, 41, 31) | {"rope_parameters": _PLAIN},
        trials=rope(_PLAIN),
    ),
    "helium-b": Golden(
        model="HeliumForCausalLM", seed=222, tokens=9,
        config=sizes(5, 1, 6, 30, 13, 43, 33)
        | {"attention_bias": True, "mlp_bias": True, "hidden_act": "gelu_10",
           "tie_word_embeddings": True, "rope_parameters": _DYNAMIC},
    ),
    "ernie4_5-a": Golden(
        model="Ernie4_5ForCausalLM", seed=223, tokens=7, keys=True,
        config=sizes(6, 3, 4, 18, 13, 41, 31) | {"rope_parameters": _PLAIN},
        trials=rope(_PLAIN),
    ),
    "ernie4_5-b": Golden(
        model="Ernie4_5ForCausalLM", seed=224, tokens=9,
        config=sizes(4, 1, 6, 20, 13, 43, 33)
        | {"use_bias": True, "tie_word_embeddings": False, "rope_parameters": _LINEAR},
    ),
    "cwm-a": Golden(
        model="CwmForCausalLM", seed=225, tokens=9, keys=True,
        config=sizes(6, 3, 4, 18, 13, 41, 31) | {"sliding_window": 4, "rope_parameters": _LLAMA3},
        trials=rope(_LLAMA3, layer_types=_SLIDES),
    ),
    "cwm-b": Golden(
        model="CwmForCausalLM", seed=226, tokens=7,
        config=sizes(4, 1, 6, 20, 13, 43, 33)
        | {"sliding_window": 3, "layer_types": _SLIDES, "mlp_bias": True, "hidden_act": "gelu",
           "tie_word_embeddings": True},
    ),
    "ministral-a": Golden(
        model="MinistralForCausalLM", seed=227, tokens=9, keys=True,
        config=sizes(6, 3, 4, 18, 13, 41, 31)
        | {"sliding_window": 4, "layer_types": _SLIDES, "rope_parameters": _PLAIN},
        trials=rope(_PLAIN, layer_types=_SLIDES[::-1]),
    ),
    "ministral-b": Golden(
        model="MinistralForCausalLM", seed=228, tokens=7,
        config=sizes(4, 1, 6, 20, 13, 43, 33)
        | {"sliding_window": 3, "tie_word_embeddings": True, "rope_parameters": _LINEAR},
    ),
    "ministral3-a": Golden(
        model="Ministral3ForCausalLM", seed=229, tokens=7, keys=True,
        config=sizes(6, 3, 8, 20, 13, 41, 31) | {"rope_parameters": _GROWING},
        trials=rope(_GROWING, sliding_window=4),
    ),
    "ministral3-b": Golden(
        model="Ministral3ForCausalLM", seed=230, tokens=9,
        config=sizes(4, 1, 6, 20, 13, 43, 33)
        | {"sliding_window": 5, "tie_word_embeddings": True,
           "rope_parameters": _PLAIN
           | {"llama_4_scaling_beta": 0.4, "original_max_position_embeddings": 2}},
    ),
    "gemma-a": Golden(
        model="GemmaForCausalLM", seed=231, tokens=7, keys=True,
        config=sizes(6, 3, 4, 18, 13, 41, 31) | {"rope_parameters": _PLAIN},
        trials=rope(_PLAIN, hidden_act="gelu"),
    ),
    "gemma-b": Golden(
        model="GemmaForCausalLM", seed=232, tokens=9,
        config=sizes(4, 1, 6, 20, 13, 43, 33)
        | {"attention_bias": True, "hidden_act": "gelu", "tie_word_embeddings": False,
           "rope_parameters": _DYNAMIC},
    ),
    "granite-a": Golden(
        model="GraniteForCausalLM", seed=233, tokens=7, keys=True,
        config=shared(6, 3, 24, 13, 41, 31)
        | {"embedding_multiplier": 3.5, "attention_multiplier": 0.21, "residual_multiplier": 0.4,
           "logits_scaling": 1.7, "rope_parameters": _PLAIN},
        trials=rope(_PLAIN),
    ),
    "granite-b": Golden(
        model="GraniteForCausalLM", seed=234, tokens=9,
        config=shared(4, 1, 24, 13, 43, 33)
        | {"embedding_multiplier": 12, "residual_multiplier": 0.22, "attention_bias": True,
           "mlp_bias": True, "tie_word_embeddings": True, "rope_parameters": _DYNAMIC},
    ),
}  # fmt: skip
