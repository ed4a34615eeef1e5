"""Makes the reference activations of the encoder–decoders with torch and transformers.

Run by hand in an environment that has both; no test runs this, no test needs torch:

    python tests/golden/make_two_stacks.py [NAME ...]

It writes, beside itself, a folder for each entry of `MODELS` (or for the named ones): a random
model as the reference library saves it (config.json, model.safetensors) with `activations.npz`.
Within a model all sizes differ, so that no swapped axis can pass; no weight, bias or gain keeps its
default. The date and the versions join those in `versions.json`, under `two_stacks`.

An archive holds `source` and `ids` (the decoder's), `logits` (position of the decoder, vocabulary)
and `STACK.KIND.LAYER.NAME` for the arrays of `attn_cli.vocabulary` that the reference's own modules
and attention function take and give (eager attention, float32), with the axes given there. Scores,
scaled, masked and head_output follow from them; a test makes them. An encoder alone has `ids`, and
`last` (position, model), the vectors after its last norm, instead of logits.

Origin and licence: models, prompts and numbers are made here by this script; Apache-2.0.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from make_llama import randomise
from versions import record_versions

HERE = Path(__file__).resolve().parent
MODELS = {
    # Version 1.0: a plain feed-forward network, one matrix in and out, scaled logits.
    "t5-relu": {
        "kind": "T5", "seed": 51, "source": 9, "target": 7,
        "config": {
            "num_layers": 2, "num_decoder_layers": 3, "num_heads": 4, "d_kv": 5, "d_model": 18,
            "d_ff": 13, "vocab_size": 37, "relative_attention_num_buckets": 8,
            "relative_attention_max_distance": 6, "layer_norm_epsilon": 3e-3,
        },
    },
    # Version 1.1, as Flan-T5 has it.
    "t5-gelu": {
        "kind": "T5", "seed": 52, "source": 6, "target": 9, "untied": True,
        "config": {
            "num_layers": 3, "num_decoder_layers": 2, "num_heads": 5, "d_kv": 4, "d_model": 17,
            "d_ff": 11, "vocab_size": 41, "relative_attention_num_buckets": 8,
            "relative_attention_max_distance": 7, "layer_norm_epsilon": 2e-3,
            "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False,
        },
    },
    # As Flan-UL2 has it.
    "t5-silu": {
        "kind": "T5", "seed": 53, "source": 8, "target": 5, "untied": True,
        "config": {
            "num_layers": 3, "num_decoder_layers": 2, "num_heads": 4, "d_kv": 6, "d_model": 22,
            "d_ff": 13, "vocab_size": 43, "relative_attention_num_buckets": 12,
            "relative_attention_max_distance": 9, "layer_norm_epsilon": 4e-3,
            "feed_forward_proj": "gated-silu", "tie_word_embeddings": False,
        },
    },
    "t5-encoder": {
        "kind": "T5", "seed": 54, "source": 9,
        "config": {
            "num_layers": 2, "num_heads": 3, "d_kv": 5, "d_model": 14, "d_ff": 11,
            "vocab_size": 37, "relative_attention_num_buckets": 8,
            "relative_attention_max_distance": 7, "layer_norm_epsilon": 2e-3,
            "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False,
        },
    },
    "mt5": {
        "kind": "MT5", "seed": 55, "source": 5, "target": 6, "untied": True,
        "config": {
            "num_layers": 2, "num_decoder_layers": 1, "num_heads": 3, "d_kv": 4, "d_model": 11,
            "d_ff": 7, "vocab_size": 29, "relative_attention_num_buckets": 8,
            "relative_attention_max_distance": 9, "layer_norm_epsilon": 2e-3,
        },
    },
    # Every layer has a table of its own.
    "umt5": {
        "kind": "UMT5", "seed": 59, "source": 9, "target": 5,
        "config": {
            "num_layers": 3, "num_decoder_layers": 2, "num_heads": 4, "d_kv": 6, "d_model": 17,
            "d_ff": 11, "vocab_size": 31, "relative_attention_num_buckets": 8,
            "relative_attention_max_distance": 7, "layer_norm_epsilon": 2e-3,
            "tie_word_embeddings": False,
        },
    },
    "bart": {
        "kind": "Bart", "seed": 57, "source": 9, "target": 7,
        "config": {
            "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 6,
            "decoder_attention_heads": 4, "encoder_ffn_dim": 11, "decoder_ffn_dim": 13,
            "d_model": 24, "vocab_size": 37, "max_position_embeddings": 10,
            "scale_embedding": True, "activation_function": "gelu_new",
        },
    },
}  # fmt: skip


class Parts(NamedTuple):
    """Where a reference keeps the layers of a stack, and within a layer, by kind: what gets `x`,
    the attention, its output projection; and the last map of the feed-forward network."""

    layers: str
    attention: dict[str, tuple[str, str, str]]
    mlp: str


def parts_of(kind: str, stack: str) -> Parts:
    if kind == "Bart":
        found = {"self": ("self_attn", "self_attn", "out_proj")}
        if stack == "decoder":
            found["cross"] = ("encoder_attn", "encoder_attn", "out_proj")
        return Parts(f"model.{stack}.layers", found, "fc2")
    found = {"self": ("layer.0", "layer.0.SelfAttention", "o")}
    if stack == "decoder":
        found["cross"] = ("layer.1", "layer.1.EncDecAttention", "o")
    return Parts(f"{stack}.block", found, f"layer.{len(found)}.DenseReluDense.wo")


def first_of(inputs: tuple, named: dict[str, Any]) -> torch.Tensor:
    return inputs[0] if inputs else named["hidden_states"]


def listen(model: torch.nn.Module, kind: str, stack: str, seen: dict[str, dict[str, Any]]) -> None:
    """Has the modules of a stack write into `seen[STACK.KIND.LAYER]` what passes through them."""
    parts = parts_of(kind, stack)
    for number, layer in enumerate(model.get_submodule(parts.layers)):
        here = []
        for of, (outer, attention, projection) in parts.attention.items():
            found = seen[f"{stack}.{of}.{number}"] = {}
            here.append(found)

            def keep_x(_module, inputs, named, found=found):
                found["x"] = first_of(inputs, named)[0]

            def keep_entered(_module, inputs, named, found=found):
                found["normed"] = first_of(inputs, named)[0]
                other = named.get("key_value_states", named.get("encoder_hidden_states"))
                if other is not None:
                    found["key_x"] = other[0]

            def keep_output(_module, _inputs, result, found=found):
                found["output"] = result[0]

            into = layer.get_submodule(attention)
            into.address = f"{stack}.{of}.{number}"
            layer.get_submodule(outer).register_forward_pre_hook(keep_x, with_kwargs=True)
            into.register_forward_pre_hook(keep_entered, with_kwargs=True)
            into.get_submodule(projection).register_forward_hook(keep_output)

        def keep_mlp(_module, _inputs, result, here=here):
            for found in here:
                found["mlp_output"] = result[0]

        layer.get_submodule(parts.mlp).register_forward_hook(keep_mlp)


@contextmanager
def attention_seen(model: torch.nn.Module, seen: dict[str, dict[str, Any]]) -> Iterator[None]:
    """While it lasts, the attention function of the model's module writes into `seen` too."""
    module = sys.modules[type(model).__module__]
    original = module.eager_attention_forward

    def attending(of, q, k, v, *rest, position_bias=None, **named):
        if position_bias is not None:
            named["position_bias"] = position_bias
        z, weights = original(of, q, k, v, *rest, **named)
        found = {"q": q, "k": k, "v": v, "z": z.transpose(1, 2), "weights": weights}
        if position_bias is not None and of.address.split(".")[1] == "self":
            found["bias"] = position_bias.expand(-1, -1, q.shape[2], -1)
        seen[of.address] |= {name: array[0] for name, array in found.items()}
        return z, weights

    module.eager_attention_forward = attending
    try:
        yield
    finally:
        module.eager_attention_forward = original


@torch.no_grad()
def activations(model: torch.nn.Module, kind: str, source: list, ids: list) -> dict[str, Any]:
    """Everything one forward pass of the reference computes, block by block."""
    seen: dict[str, dict[str, Any]] = {}
    both = bool(ids)
    for stack in ("encoder", "decoder") if both else ("encoder",):
        listen(model, kind, stack, seen)
    named = {"decoder_input_ids": torch.tensor([ids])} if both else {}
    with attention_seen(model, seen):
        result = model(
            torch.tensor([source]), output_attentions=True, output_hidden_states=True, **named
        )
    check(result, seen, both)
    arrays = {"source": np.array(source), "ids": np.array(ids), "logits": result.get("logits")}
    if not both:
        arrays = {"ids": np.array(source), "last": result.last_hidden_state}
    for name in ("logits", "last"):
        if name in arrays:
            arrays[name] = arrays[name][0].numpy()
    for address, found in seen.items():
        if torch.equal(found["normed"], found["x"]):  # no norm stands before
            del found["normed"]
        arrays |= {f"{address}.{name}": array.numpy() for name, array in found.items()}
    return arrays


def check(result: Any, seen: dict[str, dict[str, Any]], both: bool) -> None:
    """What the reference returns is what was seen on the way."""
    for address, found in seen.items():
        stack, of, layer = address.split(".")
        prefix = f"{stack}_" if both else ""
        weights = result["cross_attentions" if of == "cross" else f"{prefix}attentions"]
        assert torch.equal(found["weights"], weights[int(layer)][0])
        if of == "self":
            assert torch.equal(found["x"], result[f"{prefix}hidden_states"][int(layer)][0])
        else:
            assert torch.equal(found["key_x"], result["encoder_last_hidden_state"][0])


def make(
    name: str, kind: str, seed: int, source: int, config: dict, target: int = 0,
    untied: bool = False,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    full = getattr(transformers, f"{kind}Config")(
        attn_implementation="eager", decoder_start_token_id=3, **config
    )
    head = "ForConditionalGeneration" if target else "EncoderModel"
    model = getattr(transformers, f"{kind}{head}")(full).eval()
    if untied:
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    randomise(model, rng)
    for place, parameter in model.named_parameters():
        # Large scores would be rounded by more than what the tests allow.
        if ".q." in place or ".q_proj." in place:
            parameter.data *= 0.3
    if kind == "Bart":
        model.final_logits_bias.copy_(torch.from_numpy(rng.standard_normal((1, full.vocab_size))))
    folder = HERE / name
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    texts = [rng.integers(0, full.vocab_size, count).tolist() for count in (source, target)]
    np.savez_compressed(folder / "activations.npz", **activations(model, kind, *texts))


def main() -> None:
    for name in sys.argv[1:] or MODELS:
        make(name, **MODELS[name])
    record_versions("two_stacks")


if __name__ == "__main__":
    main()
