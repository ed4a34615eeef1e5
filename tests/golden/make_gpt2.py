"""Makes the reference activations of the GPT-2 family with torch and transformers.

Run by hand in an environment that has both; no test runs this, no test needs torch:

    python tests/golden/make_gpt2.py

It writes, beside itself,

- `gpt2-a/`, `gpt2-b/`, `gpt2-c/`: random models as the reference library saves them (config.json,
  model.safetensors), each with `activations.npz`. Sizes differ pairwise, so that no swapped axis
  can pass; no weight, bias or gain keeps its default.
- `tiny.npz`: the activations of the embedded checkpoint `attn_cli/data/tiny`, whatever it is now.
  Run this again after replacing it; `sha256` in the file says which weights it was made from.
- `versions.json`: what it was made with.

An archive holds `ids`, `logits` (position, vocabulary) and `LAYER.NAME` for every array of
`attn_cli.vocabulary` that the reference can give, with the axes given there. All are read from the
reference's own modules except scores, scaled, masked and head_output, which torch computes in
float32 from the reference's q, k, z and c_proj.

Origin and licence: models, prompts and numbers are made here by this script; Apache-2.0.
"""

import datetime
import hashlib
import json
import platform
from pathlib import Path

import numpy as np
import tokenizers
import torch
import transformers

HERE = Path(__file__).resolve().parent
TINY = HERE.parents[1] / "attn_cli" / "data" / "tiny"
SAMPLE_PROMPT = "the greatest thinker in China is"

# Sizes that differ pairwise: layers, heads, head width, model width, inner width, vocabulary,
# context, tokens of the prompt.
MODELS = {
    "gpt2-a": {
        "seed": 1, "tokens": 11, "base_only": False,
        "config": {
            "n_layer": 2, "n_head": 3, "n_embd": 21, "n_inner": 31, "vocab_size": 61,
            "n_positions": 23, "layer_norm_epsilon": 3e-4,
        },
    },
    "gpt2-b": {
        "seed": 2, "tokens": 9, "base_only": False,
        "config": {
            "n_layer": 4, "n_head": 5, "n_embd": 10, "n_inner": 13, "vocab_size": 37,
            "n_positions": 17, "layer_norm_epsilon": 7e-2, "activation_function": "gelu",
            "scale_attn_by_inverse_layer_idx": True, "tie_word_embeddings": False,
        },
    },
    # Saved without the language-model head, hence without the prefix `transformer.`; its inner
    # width is the default, four times the model's.
    "gpt2-c": {
        "seed": 3, "tokens": 7, "base_only": True,
        "config": {
            "n_layer": 3, "n_head": 2, "n_embd": 10, "vocab_size": 41, "n_positions": 19,
            "layer_norm_epsilon": 1e-6, "activation_function": "relu",
            "scale_attn_weights": False, "reorder_and_upcast_attn": True,
        },
    },
}  # fmt: skip


def randomise(model: torch.nn.Module, rng: np.random.Generator) -> None:
    """Gains near 1, biases and positions of a size that matters, matrices that keep the spread."""
    for name, parameter in model.named_parameters():
        normal = rng.standard_normal(parameter.shape)
        if ".ln_" in name and name.endswith(".weight"):
            values = 1 + 0.4 * normal
        elif parameter.ndim == 1:
            values = 0.4 * normal
        elif name.endswith(("wte.weight", "wpe.weight", "lm_head.weight")):
            values = 0.7 * normal
        else:
            values = 1.3 * normal / parameter.shape[0] ** 0.5
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(values.astype(np.float32)))


def heads_of(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(batch of 1, position, heads × width) to (head, position, width)."""
    return x[0].unflatten(-1, (heads, -1)).transpose(0, 1)


def listen(model: torch.nn.Module) -> tuple[list[dict[str, torch.Tensor]], list]:
    """A dict for each layer that a forward pass will fill from the modules, and the hooks."""
    seen, hooks = [], []
    for block in model.transformer.h:
        found = {}
        seen.append(found)

        def keep(name, found=found):
            return lambda _module, _inputs, result: found.__setitem__(name, result)

        def keep_input(name, found=found):
            return lambda _module, inputs: found.__setitem__(name, inputs[0])

        hooks += [
            block.register_forward_pre_hook(keep_input("x")),
            block.ln_1.register_forward_hook(keep("normed")),
            block.attn.c_attn.register_forward_hook(keep("fused")),
            block.attn.c_proj.register_forward_pre_hook(keep_input("merged")),
            block.attn.c_proj.register_forward_hook(keep("output")),
            block.mlp.register_forward_hook(keep("mlp_output")),
        ]
    return seen, hooks


def layer_arrays(
    model: torch.nn.Module, layer: int, found: dict[str, torch.Tensor], weights: torch.Tensor
) -> dict[str, torch.Tensor]:
    """The arrays of one layer, named and shaped as in `attn_cli.vocabulary`."""
    config = model.config
    attention = model.transformer.h[layer].attn
    q, k, v = (heads_of(part, config.n_head) for part in found["fused"].chunk(3, dim=-1))
    z = heads_of(found["merged"], config.n_head)
    w_o = attention.c_proj.weight.unflatten(0, (config.n_head, -1))
    scores = q @ k.transpose(-1, -2)
    scale = q.shape[-1] ** -0.5 if config.scale_attn_weights else 1.0
    if config.scale_attn_by_inverse_layer_idx:
        scale /= layer + 1
    scaled = scores * scale
    visible = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    return {
        "x": found["x"][0],
        "normed": found["normed"][0],
        "q": q, "k": k, "v": v,
        "scores": scores,
        "scaled": scaled,
        "visible": visible,
        "masked": scaled.masked_fill(~visible, -torch.inf),
        "weights": weights[0],
        "z": z,
        "head_output": z @ w_o,
        "output": found["output"][0],
        "mlp_output": found["mlp_output"][0],
    }  # fmt: skip


@torch.no_grad()
def activations(model: torch.nn.Module, ids: list[int]) -> dict[str, np.ndarray]:
    """Everything one forward pass of the reference computes, layer by layer."""
    seen, hooks = listen(model)
    result = model(torch.tensor([ids]), output_attentions=True, output_hidden_states=True)
    for hook in hooks:
        hook.remove()
    arrays = {"ids": np.array(ids), "logits": result.logits[0].numpy()}
    for layer, found in enumerate(seen):
        assert torch.equal(found["x"], result.hidden_states[layer])
        for name, array in layer_arrays(model, layer, found, result.attentions[layer]).items():
            arrays[f"{layer}.{name}"] = array.numpy()
    return arrays


def make_random(name: str, seed: int, tokens: int, base_only: bool, config: dict) -> None:
    rng = np.random.default_rng(seed)
    full = transformers.GPT2Config(
        attn_implementation="eager", bos_token_id=0, eos_token_id=0, **config
    )
    model = transformers.GPT2LMHeadModel(full).eval()
    randomise(model, rng)
    folder = HERE / name
    saved = model.transformer if base_only else model
    saved.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    ids = rng.integers(0, full.vocab_size, tokens).tolist()
    np.savez_compressed(folder / "activations.npz", **activations(model, ids))


def make_tiny() -> None:
    model, loading = transformers.GPT2LMHeadModel.from_pretrained(
        TINY, attn_implementation="eager", dtype=torch.float32, output_loading_info=True
    )
    # A tensor it does not find is filled with random numbers; here that is an error.
    assert not any(loading.values()), loading
    model.eval()
    tokenizer = tokenizers.Tokenizer.from_file(str(TINY / "tokenizer.json"))
    arrays = activations(model, tokenizer.encode(SAMPLE_PROMPT).ids)
    digest = hashlib.sha256((TINY / "model.safetensors").read_bytes()).hexdigest()
    np.savez_compressed(HERE / "tiny.npz", sha256=np.array(digest), **arrays)


def main() -> None:
    for name, recipe in MODELS.items():
        make_random(name, **recipe)
    make_tiny()
    versions = {
        "made": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
    }
    path = HERE / "versions.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **versions}, indent=2) + "\n")


if __name__ == "__main__":
    main()
