"""LoRA adapters for the models of folders, and that they do the same to another form of one."""

import json
from pathlib import Path

import numpy as np

from attn_cli import session
from attn_cli.checkpoints.safetensors import encode, open_safetensors
from measure import row_error

IDS = (3, 1, 4, 1, 5, 9, 2, 6)


def adapter_for(place, folder):
    """Changes each matrix and each norm of the layers of a folder's model."""
    draw, arrays, targets = np.random.default_rng(1), {}, []
    for name, tensor in open_safetensors(Path(folder) / "model.safetensors").items():
        if not name.endswith(".weight") or "embed" in name or "visual" in name or "head" in name:
            continue
        stored, module = f"base_model.model.{name}", name.removesuffix(".weight")
        if len(tensor.shape) == 1:
            arrays[stored] = draw.normal(size=tensor.shape).astype(np.float32)
        elif len(tensor.shape) == 2:
            outputs, inputs = tensor.shape
            parts = {"lora_A": (2, inputs), "lora_B": (outputs, 2)}
            for part, shape in parts.items():
                numbers = draw.normal(size=shape) / 3
                arrays[f"base_model.model.{module}.{part}.weight"] = numbers.astype(np.float32)
            targets.append(module)
    place.mkdir()
    (place / "adapter_model.safetensors").write_bytes(encode(arrays, {"format": "pt"}))
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": targets}
    (place / "adapter_config.json").write_text(json.dumps(config))
    return str(place)


def check_same_change(place, file, folder):
    """An adapter does to a file what it does to the folder that the file is made from."""
    adapter = adapter_for(place, folder)
    changed, wanted = (
        session.trace(ids=IDS, model=session.load(str(path), adapter=adapter)).logits
        for path in (file, folder)
    )
    plain = session.trace(ids=IDS, model=str(folder)).logits
    assert row_error(plain, wanted) > 1e-2
    assert row_error(changed, wanted) <= 1e-5
