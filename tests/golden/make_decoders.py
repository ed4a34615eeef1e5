"""Makes the reference activations of the other decoder families with torch and transformers.

Run by hand in an environment that has both; no test runs this, no test needs torch:

    python tests/golden/make_decoders.py [NAME ...]

It writes, beside itself, a folder for each entry of `MODELS` (or for the named ones): a random
model as the reference library saves it (config.json, model.safetensors) with `activations.npz`.
Within a model all sizes differ, so that no swapped axis can pass; no weight, bias or gain keeps its
default. The date and the versions join those in `versions.json`, under `decoders`.

An archive holds `ids`, `logits` (position, vocabulary) and `LAYER.NAME` for the arrays of
`attn_cli.vocabulary` that the reference's own functions take and give (eager attention, float32),
with the axes given there: q_unrotated and k_unrotated go into `apply_rotary_pos_emb`; q, k and v go
into the attention function, weights and z come out. Scores, scaled, masked and head_output follow
from them; a test makes them. `bias` is what BLOOM's own attention adds.

Origin and licence: models, prompts and numbers are made here by this script; Apache-2.0.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from make_llama import randomise
from versions import record_versions

HERE = Path(__file__).resolve().parent
PHI3 = {
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 32,
    "intermediate_size": 17, "vocab_size": 41, "max_position_embeddings": 29, "rms_norm_eps": 3e-3,
    "original_max_position_embeddings": 10, "sliding_window": 7,
    "rope_parameters": {
        "rope_type": "longrope", "rope_theta": 61.0, "partial_rotary_factor": 0.75,
        "short_factor": [1.1, 1.3, 1.9], "long_factor": [1.7, 2.9, 4.3],
    },
}  # fmt: skip
MODELS = {
    # The first and the last layer see five keys; both caps bend what they cap.
    "gemma2": {
        "kind": "Gemma2", "seed": 31, "tokens": 9,
        "config": {
            "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
            "head_dim": 6, "hidden_size": 20, "intermediate_size": 13, "vocab_size": 41,
            "max_position_embeddings": 31, "rms_norm_eps": 3e-3, "query_pre_attn_scalar": 7,
            "sliding_window": 5, "attn_logit_softcapping": 3.0, "final_logit_softcapping": 2.5,
            "rope_parameters": {"rope_type": "default", "rope_theta": 59.0},
        },
    },
    # The middle layer sees everything and turns slowly, the others see four keys and turn fast.
    "gemma3": {
        "kind": "Gemma3", "seed": 32, "tokens": 9,
        "config": {
            "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
            "head_dim": 6, "hidden_size": 20, "intermediate_size": 13, "vocab_size": 41,
            "max_position_embeddings": 31, "rms_norm_eps": 3e-3, "query_pre_attn_scalar": 7,
            "sliding_window": 5, "final_logit_softcapping": 4.0, "attention_bias": True,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 2.5, "rope_theta": 97.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 11.0},
            },
        },
    },
    # Six of a head's eight numbers turn; the two texts lie on either side of ten positions.
    "phi3-short": {
        "kind": "Phi3", "seed": 33, "tokens": 9,
        "config": PHI3,
    },
    "phi3-long": {
        "kind": "Phi3", "seed": 33, "tokens": 13,
        "config": PHI3,
    },
    "neox-parallel": {
        "kind": "GPTNeoX", "seed": 34, "tokens": 9,
        "config": {
            "num_hidden_layers": 2, "num_attention_heads": 3, "hidden_size": 24,
            "intermediate_size": 17, "vocab_size": 41, "max_position_embeddings": 29,
            "layer_norm_eps": 2e-3, "rotary_pct": 0.5, "rotary_emb_base": 83,
        },
    },
    "neox-serial": {
        "kind": "GPTNeoX", "seed": 35, "tokens": 7,
        "config": {
            "num_hidden_layers": 2, "num_attention_heads": 5, "hidden_size": 20,
            "intermediate_size": 17, "vocab_size": 37, "max_position_embeddings": 29,
            "layer_norm_eps": 1e-5, "use_parallel_residual": False, "attention_bias": False,
            "hidden_act": "gelu_new", "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "linear", "factor": 1.7, "rope_theta": 31.0,
                "partial_rotary_factor": 1.0,
            },
        },
    },
    # Five heads are no power of two, so that the last slope is of the other kind.
    "bloom": {
        "kind": "Bloom", "seed": 36, "tokens": 9,
        "config": {
            "n_layer": 2, "n_head": 5, "hidden_size": 20, "vocab_size": 37,
            "layer_norm_epsilon": 2e-3,
        },
    },
    "bloom-normed": {
        "kind": "Bloom", "seed": 37, "tokens": 7,
        "config": {
            "n_layer": 2, "n_head": 4, "hidden_size": 12, "vocab_size": 37,
            "layer_norm_epsilon": 1e-5, "apply_residual_connection_post_layernorm": True,
        },
    },
    "opt-before": {
        "kind": "OPT", "seed": 38, "tokens": 7,
        "config": {
            "num_hidden_layers": 2, "num_attention_heads": 3, "hidden_size": 18, "ffn_dim": 13,
            "vocab_size": 41, "max_position_embeddings": 23,
        },
    },
    # As the one of 350 million: norms behind, a narrower embedding.
    "opt-behind": {
        "kind": "OPT", "seed": 39, "tokens": 9,
        "config": {
            "num_hidden_layers": 2, "num_attention_heads": 3, "hidden_size": 18, "ffn_dim": 13,
            "vocab_size": 41, "max_position_embeddings": 23, "do_layer_norm_before": False,
            "word_embed_proj_dim": 11, "activation_function": "gelu",
        },
    },
    "opt-bare": {
        "kind": "OPT", "seed": 40, "tokens": 7,
        "config": {
            "num_hidden_layers": 2, "num_attention_heads": 3, "hidden_size": 18, "ffn_dim": 13,
            "vocab_size": 41, "max_position_embeddings": 23, "enable_bias": False,
            "layer_norm_elementwise_affine": False, "_remove_final_layer_norm": True,
            "tie_word_embeddings": False,
        },
    },
}  # fmt: skip
# Where each reference keeps its layers, and within a layer: the norm before the attention, the
# attention, the attention's output projection, and the last map of the feed-forward network.
PARTS = {
    "Gemma2": ("model.layers", "input_layernorm", "self_attn", "o_proj", "mlp.down_proj"),
    "Gemma3": ("model.layers", "input_layernorm", "self_attn", "o_proj", "mlp.down_proj"),
    "Phi3": ("model.layers", "input_layernorm", "self_attn", "o_proj", "mlp.down_proj"),
    "GPTNeoX": ("gpt_neox.layers", "input_layernorm", "attention", "dense", "mlp.dense_4h_to_h"),
    "Bloom": ("transformer.h", "input_layernorm", "self_attention", "dense", "mlp.dense_4h_to_h"),
    "OPT": ("model.decoder.layers", "self_attn_layer_norm", "self_attn", "out_proj", "fc2"),
}


def listen(model: torch.nn.Module, kind: str) -> tuple[list[dict[str, torch.Tensor]], list]:
    """A dict for each layer that a forward pass will fill from the modules, and the hooks."""
    path, norm, attention, projection, inner = PARTS[kind]
    seen, hooks = [], []
    for block in model.get_submodule(path):
        found = {}
        seen.append(found)

        def keep(name, found=found):
            return lambda _module, _inputs, result: found.setdefault(name, result)

        def keep_input(name, found=found):
            def hook(_module, inputs, named):
                found.setdefault(name, inputs[0] if inputs else named["hidden_states"])

            return hook

        into = block.get_submodule(attention)
        hooks += [
            block.register_forward_pre_hook(keep_input("x"), with_kwargs=True),
            block.get_submodule(norm).register_forward_hook(keep("normed")),
            into.register_forward_pre_hook(keep_input("entered"), with_kwargs=True),
            into.get_submodule(projection).register_forward_pre_hook(
                keep_input("merged"), with_kwargs=True
            ),
            into.get_submodule(projection).register_forward_hook(keep("output")),
            block.get_submodule(inner).register_forward_hook(keep("mlp_output")),
        ]
    return seen, hooks


class Spy:
    """Stands in for functions of a module while it runs; keeps what they take and give."""

    def __init__(self, module) -> None:
        self.module, self.turned, self.attended = module, [], []
        self.original = {}

    def __enter__(self) -> "Spy":
        def turning(q, k, *rest, **named):
            result = self.original["apply_rotary_pos_emb"](q, k, *rest, **named)
            self.turned.append((q, k, *result))
            return result

        def attending(module, q, k, v, *rest, **named):
            self.attended.append((q, k, v))
            return self.original["eager_attention_forward"](module, q, k, v, *rest, **named)

        for name, stand_in in (
            ("apply_rotary_pos_emb", turning), ("eager_attention_forward", attending)
        ):  # fmt: skip
            if hasattr(self.module, name):
                self.original[name] = getattr(self.module, name)
                setattr(self.module, name, stand_in)
        return self

    def __exit__(self, *_) -> None:
        for name, function in self.original.items():
            setattr(self.module, name, function)


def projections(kind: str, spy: Spy, model: torch.nn.Module, found: dict, layer: int):
    """q, k and v of one layer as the reference's attention uses them, and BLOOM's bias."""
    path, _, attention, *_ = PARTS[kind]
    into = model.get_submodule(path)[layer].get_submodule(attention)
    if kind == "Bloom":
        fused = into.query_key_value(found["entered"])
        q, k, v = (t[0] for t in into._reshape(fused))
        ones = torch.ones(1, q.shape[1])
        alibi = model.transformer.build_alibi_tensor(ones, len(q), torch.float32)
        return {"q": q, "k": k, "v": v, "bias": alibi.expand(len(q), q.shape[1], -1)}
    q, k, v = (t[0] for t in spy.attended[layer])
    if kind == "OPT":
        q = q / into.scaling  # the reference scales here what the six steps scale in step 4
    arrays = {"q": q, "k": k, "v": v}
    if spy.turned:
        before_q, before_k, *_ = spy.turned[layer]
        arrays |= {"q_unrotated": before_q[0], "k_unrotated": before_k[0]}
    return arrays


@torch.no_grad()
def activations(model: torch.nn.Module, kind: str, ids: list[int]) -> dict[str, np.ndarray]:
    """Everything one forward pass of the reference computes, layer by layer."""
    seen, hooks = listen(model, kind)
    with Spy(sys.modules[type(model).__module__]) as spy:
        result = model(torch.tensor([ids]), output_attentions=True, output_hidden_states=True)
    for hook in hooks:
        hook.remove()
    arrays = {"ids": np.array(ids), "logits": result.logits[0].numpy()}
    for layer, found in enumerate(seen):
        assert torch.equal(found["x"], result.hidden_states[layer])
        weights = result.attentions[layer][0]
        made = projections(kind, spy, model, found, layer)
        layer_arrays = {
            "x": found["x"][0],
            **made,
            "weights": weights,
            "z": found["merged"][0].unflatten(-1, (len(weights), -1)).transpose(0, 1),
            "output": found["output"][0],
            "mlp_output": found["mlp_output"].reshape(found["x"][0].shape),
        }
        if torch.equal(found["normed"], found["entered"]):
            layer_arrays["normed"] = found["normed"][0]
        arrays |= {f"{layer}.{name}": array.numpy() for name, array in layer_arrays.items()}
    return arrays


def make(name: str, kind: str, seed: int, tokens: int, config: dict) -> None:
    rng = np.random.default_rng(seed)
    text = "Text" if kind == "Gemma3" else ""
    full = getattr(transformers, f"{kind}{text}Config")(
        attn_implementation="eager", bos_token_id=0, eos_token_id=0, pad_token_id=0, **config
    )
    model = getattr(transformers, f"{kind}ForCausalLM")(full).eval()
    randomise(model, rng)
    folder = HERE / name
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    ids = rng.integers(0, full.vocab_size, tokens).tolist()
    np.savez_compressed(folder / "activations.npz", **activations(model, kind, ids))


def main() -> None:
    for name in sys.argv[1:] or MODELS:
        make(name, **MODELS[name])
    record_versions("decoders")


if __name__ == "__main__":
    main()
