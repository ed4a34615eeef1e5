"""Makes the reference activations of DeBERTa-v2 and -v3 with torch and transformers.

Run by hand in an environment that has both; no test runs this, no test needs torch:

    python tests/golden/make_deberta.py [NAME ...]

It writes, beside itself, a folder for each entry of `MODELS` (or for the named ones): a random
model as the reference library saves it (config.json, model.safetensors) with `activations.npz`.
Within a model all sizes differ, so that no swapped axis can pass; no weight, bias or gain keeps its
default. The date and the versions join those in `versions.json`, under `deberta`.

An archive holds `ids`, `types`, `distances` (query, key), which are the buckets where there are
any, `logits` (position, vocabulary) and `LAYER.NAME` for the arrays of `attn_cli.vocabulary` that
the reference's own functions take and give (eager attention, float32), with the axes given there.
content_to_position and position_to_content are what `disentangled_attention_bias` gives when it is
asked for one of them, times the number that it divides by; content_to_content, scores, scaled,
masked and head_output follow; a test makes them.

Origin and licence: models, prompts and numbers are made here by this script; Apache-2.0.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from make_llama import randomise
from transformers.models.deberta_v2.modeling_deberta_v2 import DisentangledSelfAttention
from versions import record_versions

HERE = Path(__file__).resolve().parent
SMALL = {
    "num_hidden_layers": 2, "num_attention_heads": 3, "hidden_size": 15, "intermediate_size": 13,
    "vocab_size": 41, "max_position_embeddings": 23, "layer_norm_eps": 2e-3,
}  # fmt: skip
MODELS = {
    # As published, but for the head and the groups. A text longer than both ranges: 17 tokens.
    "deberta-shared": {
        "seed": 51, "tokens": 17,
        "config": {
            "num_hidden_layers": 2, "num_attention_heads": 3, "hidden_size": 24,
            "intermediate_size": 13, "vocab_size": 41, "max_position_embeddings": 29,
            "layer_norm_eps": 3e-3, "relative_attention": True, "share_att_key": True,
            "pos_att_type": "p2c|c2p", "position_buckets": 10, "max_relative_positions": 12,
            "norm_rel_ebd": "layer_norm", "position_biased_input": False, "conv_kernel_size": 5,
            "conv_groups": 4, "conv_act": "gelu", "legacy": False,
        },
    },
    "deberta-c2p": {
        "seed": 52, "tokens": 9,
        "config": SMALL | {
            "relative_attention": True, "pos_att_type": ["c2p"], "max_relative_positions": 6,
            "type_vocab_size": 4, "embedding_size": 11, "hidden_act": "gelu_new",
        },
    },
    "deberta-p2c": {
        "seed": 53, "tokens": 14,
        "config": SMALL | {
            "relative_attention": True, "pos_att_type": ["p2c"], "position_buckets": 8,
            "position_biased_input": False, "max_relative_positions": -1,
        },
    },
    "deberta-both": {
        "seed": 54, "tokens": 9,
        "config": SMALL | {
            "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "conv_kernel_size": 3,
            "position_biased_input": False, "tie_word_embeddings": False,
        },
    },
    # The scale still counts the terms that are not there.
    "deberta-absolute": {
        "seed": 55, "tokens": 9,
        "config": SMALL | {"pos_att_type": "c2p", "hidden_act": "relu"},
    },
}  # fmt: skip
TERMS = {"content_to_position": "c2p", "position_to_content": "p2c"}


class Spy:
    """Keeps what each layer's attention makes of its input, and its terms one by one."""

    def __init__(self) -> None:
        self.split, self.terms, self.distances = [], [], None
        self.methods = {
            name: getattr(DisentangledSelfAttention, name)
            for name in ("forward", "transpose_for_scores", "disentangled_attention_bias")
        }

    def __enter__(self) -> "Spy":
        spy, methods = self, self.methods

        def forward(module, *given, **named):
            spy.split.append([])
            spy.terms.append({})
            return methods["forward"](module, *given, **named)

        def transpose_for_scores(module, x, heads):
            result = methods["transpose_for_scores"](module, x, heads)
            spy.split[-1].append(result)
            return result

        def disentangled_attention_bias(module, q, k, distances, embeddings, factor):
            given, kinds, before = (q, k, distances, embeddings, factor), module.pos_att_type, 0
            whole = methods["disentangled_attention_bias"](module, *given)
            split, spy.distances = list(spy.split[-1]), distances[0]
            for name, kind in TERMS.items():
                if kind in kinds:
                    module.pos_att_type = [kind]
                    part = methods["disentangled_attention_bias"](module, *given)
                    spy.terms[-1][name] = part.double() * (q.shape[-1] * factor) ** 0.5
                    before = before + part
            module.pos_att_type, spy.split[-1] = kinds, split
            assert torch.allclose(torch.as_tensor(before), torch.as_tensor(whole), atol=1e-6)
            return whole

        stand_ins = (forward, transpose_for_scores, disentangled_attention_bias)
        for stand_in in stand_ins:
            setattr(DisentangledSelfAttention, stand_in.__name__, stand_in)
        return self

    def __exit__(self, *_) -> None:
        for name, method in self.methods.items():
            setattr(DisentangledSelfAttention, name, method)


def projections(config, split: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """What `transpose_for_scores` gave, in the order in which the reference asks it."""
    names = ["q", "k", "v"]
    if config.relative_attention:
        kinds = config.pos_att_type
        if getattr(config, "share_att_key", False):
            names += ["q_position", "k_position"]
        else:
            names += ["k_position"] * ("c2p" in kinds) + ["q_position"] * ("p2c" in kinds)
    return dict(zip(names, split, strict=True))


def listen(model: torch.nn.Module) -> tuple[list[dict[str, torch.Tensor]], list]:
    """A dict for each layer that a forward pass will fill from the modules, and the hooks."""
    seen, hooks = [], []
    for block in model.deberta.encoder.layer:
        found = {}
        seen.append(found)

        # A hook that returns something would change what the model computes.
        def keep(name, found=found):
            def hook(_module, _inputs, result):
                found[name] = result[0]

            return hook

        def keep_input(name, found=found):
            def hook(_module, inputs):
                found[name] = inputs[0][0]

            return hook

        hooks += [
            block.register_forward_pre_hook(keep_input("x")),
            block.attention.output.dense.register_forward_pre_hook(keep_input("merged")),
            block.attention.output.dense.register_forward_hook(keep("output")),
            block.output.dense.register_forward_hook(keep("mlp_output")),
        ]
    return seen, hooks


@torch.no_grad()
def activations(model: torch.nn.Module, ids: list[int], types: list[int]) -> dict[str, np.ndarray]:
    """Everything one forward pass of the reference computes, layer by layer."""
    seen, hooks = listen(model)
    with Spy() as spy:
        result = model(
            torch.tensor([ids]), token_type_ids=torch.tensor([types]), output_attentions=True,
            output_hidden_states=True,
        )  # fmt: skip
    for hook in hooks:
        hook.remove()
    arrays = {"ids": np.array(ids), "types": np.array(types), "logits": result.logits[0].numpy()}
    if spy.distances is not None:
        arrays["distances"] = spy.distances.numpy()
    for layer, found in enumerate(seen):
        assert torch.equal(found["x"], result.hidden_states[layer][0])
        weights = result.attentions[layer][0]
        merged = found.pop("merged")
        arrays |= {
            f"{layer}.{name}": array.numpy().astype(np.float32)
            for name, array in {
                **found,
                **projections(model.config, spy.split[layer]),
                **spy.terms[layer],
                "weights": weights,
                "z": merged.unflatten(-1, (len(weights), -1)).transpose(0, 1),
            }.items()
        }
    return arrays


def make(name: str, seed: int, tokens: int, config: dict) -> None:
    rng = np.random.default_rng(seed)
    full = transformers.DebertaV2Config(attn_implementation="eager", pad_token_id=0, **config)
    model = transformers.DebertaV2ForMaskedLM(full).eval()
    randomise(model, rng)
    folder = HERE / name
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    ids = rng.integers(0, full.vocab_size, tokens).tolist()
    types = rng.integers(0, full.type_vocab_size or 1, tokens).tolist()
    np.savez_compressed(folder / "activations.npz", **activations(model, ids, types))


def main() -> None:
    for name in sys.argv[1:] or MODELS:
        make(name, **MODELS[name])
    record_versions("deberta")


if __name__ == "__main__":
    main()
