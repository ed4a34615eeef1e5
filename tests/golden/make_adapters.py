"""Writes `adapters/`: small LoRA adapters as PEFT saves them, and what the models then compute.

Each is for the model of a folder beside this script; `wanted.npz` has `logits` (token, vocabulary)
of the ids 3, 1, 4, 1, 5 and `hidden`, the reference's hidden states (layer, token, model).
`adapters-torch.bin` has the tensors of `plain` as torch.save writes them.
Needs peft and transformers.
"""

import json
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

HERE = Path(__file__).parent
IDS = [3, 1, 4, 1, 5]
LLAMA, UNTIED, GPT2, NEOX = "llama-plain", "llama-bias", "gpt2-a", "neox-serial"
CASES = {
    "plain": (LLAMA, {"r": 3, "lora_alpha": 5, "target_modules": ["q_proj", "down_proj"]}),
    "patterns": (LLAMA, {
        "r": 2, "lora_alpha": 4, "target_modules": r".*\.(v_proj|o_proj|up_proj)",
        "use_rslora": True, "rank_pattern": {"v_proj": 5, r"layers\.1\.self_attn\.o_proj": 1},
        "alpha_pattern": {"up_proj": 3},
    }),
    "magnitudes": (LLAMA, {"r": 2, "target_modules": ["k_proj", "gate_proj"], "use_dora": True}),
    "embedding": (UNTIED, {"r": 2, "target_modules": ["embed_tokens", "lm_head", "q_proj"],
                          "modules_to_save": ["norm"]}),
    "some-layers": (LLAMA, {"r": 2, "target_modules": "all-linear", "exclude_modules": ["v_proj"]}),
    "one-layer": (LLAMA, {"r": 2, "target_modules": ["q_proj", "v_proj"],
                          "layers_to_transform": [1]}),
    "inputs-first": (GPT2, {"r": 3, "target_modules": ["c_attn", "c_proj"],
                            "fan_in_fan_out": True}),
    "biases": (NEOX, {"r": 3, "target_modules": ["query_key_value"], "bias": "all"}),
}  # fmt: skip


def make(name: str) -> None:
    folder, settings = CASES[name]
    torch.manual_seed(7)
    base = AutoModelForCausalLM.from_pretrained(HERE / folder, dtype=torch.float32).eval()
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **settings)).eval()
    for place, parameter in model.named_parameters():
        if "lora_" in place and "magnitude" not in place:
            torch.nn.init.normal_(parameter, std=0.4)
        elif parameter.requires_grad:
            parameter.data *= 1.2
            parameter.data += 0.1
    target = HERE / "adapters" / name
    model.save_pretrained(target)
    (target / "README.md").unlink()
    base = AutoModelForCausalLM.from_pretrained(HERE / folder, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, target).eval()
    config = json.loads((target / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = folder
    (target / "adapter_config.json").write_text(json.dumps(config, indent=1))
    with torch.no_grad():
        found = model(torch.tensor([IDS]), output_hidden_states=True)
    hidden = torch.cat(found.hidden_states[:-1])  # the last is after the norm
    np.savez_compressed(target / "wanted.npz", logits=found.logits[0], hidden=hidden)


if __name__ == "__main__":
    for name in CASES:
        make(name)
    torch.save(
        load_file(HERE / "adapters" / "plain" / "adapter_model.safetensors"),
        HERE / "adapters-torch.bin",
    )
