"""Models with sinks: the golden ones' folders, and one whose experts are floats of four bits."""

import numpy as np
from golden.made_weights import made

_FLOATS = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
# As openai/gpt-oss-20b has it, of small sizes.
CONFIG = {
    "architectures": ["GptOssForCausalLM"], "attention_bias": True, "attention_dropout": 0.0,
    "eos_token_id": 2, "experts_per_token": 2, "head_dim": 16, "hidden_act": "silu",
    "hidden_size": 64, "initial_context_length": 4096, "initializer_range": 0.02,
    "intermediate_size": 32, "layer_types": ["sliding_attention", "full_attention"],
    "max_position_embeddings": 131072, "model_type": "gpt_oss", "num_attention_heads": 4,
    "num_experts_per_tok": 2, "num_hidden_layers": 2, "num_key_value_heads": 2,
    "num_local_experts": 6, "output_router_logits": False, "pad_token_id": 1,
    "quantization_config": {
        "modules_to_not_convert": [
            "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens",
            "lm_head",
        ],
        "quant_method": "mxfp4",
    },
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "beta_fast": 32.0, "beta_slow": 1.0, "factor": 32.0,
        "original_max_position_embeddings": 4096, "rope_type": "yarn", "truncate": False,
    },
    "rope_theta": 150000, "router_aux_loss_coef": 0.9, "sliding_window": 4, "swiglu_limit": 7.0,
    "tie_word_embeddings": False, "transformers_version": "4.55.0.dev0", "use_cache": True,
    "vocab_size": 41,
}  # fmt: skip


def plain() -> dict[str, np.ndarray]:
    """The tensors of a model of CONFIG, but for the experts' matrices."""
    width, heads, experts = 64, 4, 6
    shapes = {"model.embed_tokens.weight": [41, width], "lm_head.weight": [41, width]}
    shapes["model.norm.weight"] = [width]
    for layer in range(2):
        of = {
            "input_layernorm.weight": [width], "post_attention_layernorm.weight": [width],
            "self_attn.sinks": [heads], "self_attn.o_proj.weight": [width, 16 * heads],
            "self_attn.o_proj.bias": [width], "mlp.router.weight": [experts, width],
            "mlp.router.bias": [experts], "mlp.experts.gate_up_proj_bias": [experts, 64],
            "mlp.experts.down_proj_bias": [experts, width],
        }  # fmt: skip
        for letter, count in (("q", heads), ("k", 2), ("v", 2)):
            of[f"self_attn.{letter}_proj.weight"] = [16 * count, width]
            of[f"self_attn.{letter}_proj.bias"] = [16 * count]
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in of.items()}
    return made(shapes, 911)


def blocks() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Blocks and scales of every matrix of experts, (expert, output, group …)."""
    generator, found = np.random.default_rng(912), {}
    for layer in range(2):
        for name, outputs, groups in (("gate_up_proj", 64, 2), ("down_proj", 64, 1)):
            packed = generator.integers(0, 256, (6, outputs, groups, 16), dtype=np.uint8)
            scales = generator.integers(120, 125, (6, outputs, groups), dtype=np.uint8)
            found[f"model.layers.{layer}.mlp.experts.{name}"] = packed, scales
    return found


def numbers(packed: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """What they stand for, (expert, output, input)."""
    pairs = np.stack([_FLOATS[packed & 15], _FLOATS[packed >> 4]], axis=-1)
    floats = (
        pairs.reshape(*packed.shape[:-1], 32) * np.exp2(scales.astype(np.float32) - 127)[..., None]
    )
    return floats.reshape(*packed.shape[:2], -1)
