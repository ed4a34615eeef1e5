"""Makes the reference activations of Llama and its siblings with torch and transformers.

Run by hand in an environment that has both; no test runs this, no test needs torch:

    python tests/golden/make_llama.py

It writes, beside itself, a folder for each entry of `MODELS`: a random model as the reference
library saves it (config.json, model.safetensors) with `activations.npz`. Within a model all sizes
differ, so that no swapped axis can pass; no weight, bias or gain keeps its default. The date and
the versions join those in `versions.json`.

An archive holds `ids`, `logits` (position, vocabulary) and `LAYER.NAME` for the arrays of
`attn_cli.vocabulary` that the reference's own modules give (eager attention, float32), with the
axes given there: q_unrotated and k_unrotated go into `apply_rotary_pos_emb`, q and k come out, z
goes into o_proj. Scores, scaled, masked and head_output follow from them; a test makes them.

Origin and licence: models, prompts and numbers are made here by this script; Apache-2.0.
"""

import datetime
import json
import platform
import sys
from pathlib import Path

import numpy as np
import torch
import transformers

HERE = Path(__file__).resolve().parent

# What `apply_rotary_pos_emb` takes and gives back.
NAMES = ("q_unrotated", "k_unrotated", "q", "k")
# A head's width is the model's by the number of heads only where the config cannot say otherwise.
MODELS = {
    "llama-plain": {
        "kind": "Llama", "seed": 11, "tokens": 7,
        "config": {
            "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
            "head_dim": 6, "hidden_size": 16, "intermediate_size": 13, "vocab_size": 41,
            "max_position_embeddings": 23, "rms_norm_eps": 3e-3, "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 53.0},
        },
    },
    "llama-bias": {
        "kind": "Llama", "seed": 12, "tokens": 7,
        "config": {
            "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 1,
            "hidden_size": 18, "intermediate_size": 11, "vocab_size": 37,
            "max_position_embeddings": 19, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
            "attention_bias": True, "mlp_bias": True, "hidden_act": "gelu_pytorch_tanh",
        },
    },
    "llama-linear": {
        "kind": "Llama", "seed": 13, "tokens": 9,
        "config": {
            "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 1,
            "head_dim": 4, "hidden_size": 15, "intermediate_size": 11, "vocab_size": 37,
            "max_position_embeddings": 29, "rms_norm_eps": 2e-2, "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "linear", "factor": 2.5, "rope_theta": 71.0},
        },
    },
    # Of the six turns one is kept, two are blended and three are slowed.
    "llama-llama3": {
        "kind": "Llama", "seed": 14, "tokens": 9,
        "config": {
            "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 1,
            "head_dim": 12, "hidden_size": 15, "intermediate_size": 11, "vocab_size": 37,
            "max_position_embeddings": 97, "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "llama3", "factor": 7.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
                "rope_theta": 500.0,
            },
        },
    },
    "llama-yarn": {
        "kind": "Llama", "seed": 15, "tokens": 9,
        "config": {
            "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 1,
            "head_dim": 8, "hidden_size": 15, "intermediate_size": 11, "vocab_size": 37,
            "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64,
                "beta_fast": 8.0, "beta_slow": 1.0, "attention_factor": 1.3, "rope_theta": 100.0,
            },
        },
    },
    "mistral-window": {
        "kind": "Mistral", "seed": 16, "tokens": 11,
        "config": {
            "num_hidden_layers": 2, "num_attention_heads": 5, "num_key_value_heads": 1,
            "head_dim": 6, "hidden_size": 15, "intermediate_size": 13, "vocab_size": 41,
            "max_position_embeddings": 37, "rms_norm_eps": 1e-5, "sliding_window": 4,
            "tie_word_embeddings": False,
        },
    },
    # The first layer sees everything, the others five keys.
    "qwen2-window": {
        "kind": "Qwen2", "seed": 17, "tokens": 9,
        "config": {
            "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
            "hidden_size": 24, "intermediate_size": 11, "vocab_size": 37,
            "max_position_embeddings": 41, "rms_norm_eps": 1e-6, "tie_word_embeddings": True,
            "use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000.0},
        },
    },
    # YaRN again: bounds that are not rounded, an attention factor that is inferred.
    "qwen3-yarn": {
        "kind": "Qwen3", "seed": 18, "tokens": 9,
        "config": {
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 1,
            "head_dim": 6, "hidden_size": 13, "intermediate_size": 11, "vocab_size": 37,
            "max_position_embeddings": 100, "rms_norm_eps": 1e-3, "tie_word_embeddings": False,
            "attention_bias": True,
            "rope_parameters": {
                "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 25,
                "beta_fast": 3.0, "truncate": False, "mscale": 0.7, "mscale_all_dim": 0.2,
                "rope_theta": 30.0,
            },
        },
    },
}  # fmt: skip


def randomise(model: torch.nn.Module, rng: np.random.Generator) -> None:
    """Gains near 1, biases of a size that matters, matrices that keep the spread."""
    for name, parameter in model.named_parameters():
        normal = rng.standard_normal(parameter.shape)
        if "norm" in name.lower():
            values = 1 + 0.4 * normal
        elif parameter.ndim == 1:
            values = 0.4 * normal
        elif name.endswith(("embed_tokens.weight", "lm_head.weight")):
            values = 0.7 * normal
        else:
            values = 1.3 * normal / parameter.shape[1] ** 0.5
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(values.astype(np.float32)))


def heads_of(x: torch.Tensor, width: int) -> torch.Tensor:
    """(batch of 1, position, heads × width) to (head, position, width)."""
    return x[0].unflatten(-1, (-1, width)).transpose(0, 1)


def listen(model: torch.nn.Module) -> tuple[list[dict[str, torch.Tensor]], list]:
    """A dict for each layer that a forward pass will fill from the modules, and the hooks."""
    seen, hooks = [], []
    for block in model.model.layers:
        found = {}
        seen.append(found)

        def keep(name, found=found):
            return lambda _module, _inputs, result: found.__setitem__(name, result)

        def keep_input(name, found=found):
            return lambda _module, inputs: found.__setitem__(name, inputs[0])

        hooks += [
            block.register_forward_pre_hook(keep_input("x")),
            block.input_layernorm.register_forward_hook(keep("normed")),
            block.self_attn.v_proj.register_forward_hook(keep("v")),
            block.self_attn.o_proj.register_forward_pre_hook(keep_input("merged")),
            block.self_attn.o_proj.register_forward_hook(keep("output")),
            block.mlp.register_forward_hook(keep("mlp_output")),
        ]
    return seen, hooks


@torch.no_grad()
def activations(model: torch.nn.Module, ids: list[int]) -> dict[str, np.ndarray]:
    """Everything one forward pass of the reference computes, layer by layer."""
    module = sys.modules[type(model).__module__]
    original, turned = module.apply_rotary_pos_emb, []

    def rotating(q, k, *rest, **named):
        result = original(q, k, *rest, **named)
        turned.append((q, k, *result))
        return result

    seen, hooks = listen(model)
    module.apply_rotary_pos_emb = rotating
    result = model(torch.tensor([ids]), output_attentions=True, output_hidden_states=True)
    module.apply_rotary_pos_emb = original
    for hook in hooks:
        hook.remove()
    arrays = {"ids": np.array(ids), "logits": result.logits[0].numpy()}
    for layer, (found, rotation) in enumerate(zip(seen, turned, strict=True)):
        assert torch.equal(found["x"], result.hidden_states[layer])
        width = rotation[0].shape[-1]
        layer_arrays = {
            "x": found["x"][0],
            "normed": found["normed"][0],
            **dict(zip(NAMES, (t[0] for t in rotation), strict=True)),
            "v": heads_of(found["v"], width),
            "weights": result.attentions[layer][0],
            "z": heads_of(found["merged"], width),
            "output": found["output"][0],
            "mlp_output": found["mlp_output"][0],
        }
        arrays |= {f"{layer}.{name}": array.numpy() for name, array in layer_arrays.items()}
    return arrays


def make(name: str, kind: str, seed: int, tokens: int, config: dict) -> None:
    rng = np.random.default_rng(seed)
    full = getattr(transformers, f"{kind}Config")(
        attn_implementation="eager", bos_token_id=0, eos_token_id=0, **config
    )
    model = getattr(transformers, f"{kind}ForCausalLM")(full).eval()
    randomise(model, rng)
    folder = HERE / name
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    ids = rng.integers(0, full.vocab_size, tokens).tolist()
    np.savez_compressed(folder / "activations.npz", **activations(model, ids))


def main() -> None:
    for name, recipe in MODELS.items():
        make(name, **recipe)
    path = HERE / "versions.json"
    versions = {
        "made": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    path.write_text(json.dumps({**json.loads(path.read_text()), **versions}, indent=2) + "\n")


if __name__ == "__main__":
    main()
