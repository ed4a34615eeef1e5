"""Makes the reference activations of BERT and its siblings with torch and transformers.

Run by hand in an environment that has both; no test runs this, no test needs torch:

    python tests/golden/make_encoders.py [NAME ...]

It writes, beside itself, a folder for each entry of `MODELS` (or for the named ones): a random
model as the reference library saves it (config.json, model.safetensors) with `activations.npz`.
Within a model all sizes differ, so that no swapped axis can pass; no weight, bias or gain keeps its
default. The date and the versions join those in `versions.json`, under `encoders`.

An archive holds `ids`, `types` where the text has two segments, `logits` (position, vocabulary), or
`last` (position, model), the last layer's vectors, of a model without a head, and `LAYER.NAME` for
the arrays of `attn_cli.vocabulary` that the reference's own functions take and give (eager
attention, float32), with the axes given there: q, k and v go into the attention function, weights
and z come out. Scores, scaled, masked and head_output follow from them; a test makes them.

Origin and licence: models, prompts and numbers are made here by this script; Apache-2.0.
"""

import re
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from make_decoders import Spy
from make_llama import randomise
from versions import record_versions

HERE = Path(__file__).resolve().parent
MODELS = {
    # Two segments.
    "bert": {
        "kind": "Bert", "head": "ForMaskedLM", "seed": 51, "segments": (5, 4),
        "config": {
            "num_hidden_layers": 3, "num_attention_heads": 4, "hidden_size": 20,
            "intermediate_size": 13, "vocab_size": 41, "max_position_embeddings": 23,
            "type_vocab_size": 2, "layer_norm_eps": 2e-3, "hidden_act": "gelu_new",
        },
    },
    # Without a head and without a prefix; its pooler is none of attention's.
    "bert-bare": {
        "kind": "Bert", "head": "Model", "seed": 52, "segments": (7,),
        "config": {
            "num_hidden_layers": 2, "num_attention_heads": 3, "hidden_size": 18,
            "intermediate_size": 11, "vocab_size": 37, "max_position_embeddings": 19,
            "type_vocab_size": 5,
        },
    },
    # Positions count from 4; the padding tokens in the text have position 3 and are not counted.
    "roberta": {
        "kind": "Roberta", "head": "ForMaskedLM", "seed": 53, "segments": (9,), "padding": (2, 6),
        "config": {
            "num_hidden_layers": 2, "num_attention_heads": 3, "hidden_size": 18,
            "intermediate_size": 13, "vocab_size": 41, "max_position_embeddings": 27,
            "type_vocab_size": 1, "layer_norm_eps": 2e-3, "pad_token_id": 3, "hidden_act": "relu",
        },
    },
    "distilbert": {
        "kind": "DistilBert", "head": "ForMaskedLM", "seed": 54, "segments": (7,),
        "config": {
            "n_layers": 2, "n_heads": 3, "dim": 15, "hidden_dim": 13, "vocab_size": 37,
            "max_position_embeddings": 23, "activation": "relu",
        },
    },
    # A generator, whose embedding is narrower than the model.
    "electra": {
        "kind": "Electra", "head": "ForMaskedLM", "seed": 55, "segments": (5, 4),
        "config": {
            "num_hidden_layers": 3, "num_attention_heads": 5, "hidden_size": 20,
            "embedding_size": 11, "intermediate_size": 17, "vocab_size": 41,
            "max_position_embeddings": 23, "type_vocab_size": 2, "layer_norm_eps": 2e-3,
            "hidden_act": "relu",
        },
    },
    # The first two layers share their tensors, the third has others.
    "albert": {
        "kind": "Albert", "head": "ForMaskedLM", "seed": 56, "segments": (5, 4),
        "config": {
            "num_hidden_layers": 3, "num_hidden_groups": 2, "num_attention_heads": 4,
            "hidden_size": 20, "embedding_size": 11, "intermediate_size": 17, "vocab_size": 41,
            "max_position_embeddings": 23, "type_vocab_size": 6, "layer_norm_eps": 2e-3,
        },
    },
}  # fmt: skip
# How each reference names a layer, and in it the attention's output projection and the last map of
# the feed-forward network.
PARTS = {
    "Bert": (r"encoder\.layer\.\d+", "attention.output.dense", "output.dense"),
    "Roberta": (r"encoder\.layer\.\d+", "attention.output.dense", "output.dense"),
    "DistilBert": (r"transformer\.layer\.\d+", "attention.out_lin", "ffn.lin2"),
    "Electra": (r"encoder\.layer\.\d+", "attention.output.dense", "output.dense"),
    "Albert": (r"encoder\.\w+\.\d+\.albert_layers\.\d+", "attention.dense", "ffn_output"),
}


def listen(model: torch.nn.Module, kind: str) -> tuple[dict[str, list[torch.Tensor]], list]:
    """Lists that a forward pass will fill, layer by layer, and the hooks.

    A layer whose tensors serve several is one module, which is run as often.
    """
    pattern, projection, inner = PARTS[kind]
    seen = {"x": [], "merged": [], "output": [], "mlp_output": []}

    def keep(name):
        return lambda _module, _inputs, result: seen[name].append(result)

    def keep_input(name):
        return lambda _module, inputs: seen[name].append(inputs[0])

    hooks = []
    for name, block in model.named_modules():
        if re.fullmatch(rf"(\w+\.)?{pattern}", name):
            hooks += [
                block.register_forward_pre_hook(keep_input("x")),
                block.get_submodule(projection).register_forward_pre_hook(keep_input("merged")),
                block.get_submodule(projection).register_forward_hook(keep("output")),
                block.get_submodule(inner).register_forward_hook(keep("mlp_output")),
            ]
    return seen, hooks


@torch.no_grad()
def activations(model: torch.nn.Module, kind: str, given: dict[str, list[int]]) -> dict:
    """Everything one forward pass of the reference computes, layer by layer."""
    seen, hooks = listen(model, kind)
    with Spy(sys.modules[type(model).__module__]) as spy:
        result = model(
            **{name: torch.tensor([values]) for name, values in given.items()},
            output_attentions=True, output_hidden_states=True,
        )  # fmt: skip
    for hook in hooks:
        hook.remove()
    names = {"input_ids": "ids", "token_type_ids": "types"}
    arrays = {names[name]: np.array(values) for name, values in given.items()}
    if "logits" in result:
        arrays["logits"] = result.logits[0].numpy()
    else:
        arrays["last"] = result.last_hidden_state[0].numpy()
    for layer, (q, k, v) in enumerate(spy.attended):
        found = {name: values[layer][0] for name, values in seen.items()}
        assert torch.equal(found["x"], result.hidden_states[layer][0])
        weights = result.attentions[layer][0]
        merged = found.pop("merged")
        found |= {"q": q[0], "k": k[0], "v": v[0], "weights": weights}
        found["z"] = merged.unflatten(-1, (len(weights), -1)).transpose(0, 1)
        arrays |= {f"{layer}.{name}": array.numpy() for name, array in found.items()}
    return arrays


def make(
    name: str,
    kind: str,
    head: str,
    seed: int,
    segments: tuple[int, ...],
    config: dict,
    padding: tuple[int, ...] = (),
) -> None:
    rng = np.random.default_rng(seed)
    full = getattr(transformers, f"{kind}Config")(attn_implementation="eager", **config)
    model = getattr(transformers, f"{kind}{head}")(full).eval()
    randomise(model, rng)
    folder = HERE / name
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    ids = rng.integers(4, full.vocab_size, sum(segments)).tolist()
    for place in padding:
        ids[place] = full.pad_token_id
    given = {"input_ids": ids}
    if len(segments) > 1:
        given["token_type_ids"] = [i for i, count in enumerate(segments) for _ in range(count)]
    np.savez_compressed(folder / "activations.npz", **activations(model, kind, given))


def main() -> None:
    for name in sys.argv[1:] or MODELS:
        make(name, **MODELS[name])
    record_versions("encoders")


if __name__ == "__main__":
    main()
