"""What is recognised and does not open: each is refused by its name, with what opens instead."""

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from attn_cli.checkpoints.folder import is_model
from attn_cli.errors import ContentError, shorten, some
from attn_cli.families import KIN
from attn_cli.opening import hybrids
from attn_cli.strict import read_json_object

_UNQUANTISED = "open a GGUF file of it, or the folder that it was quantised from"
SECTIONS = ("quantization_config", "quantization", "compression_config")
# How the names of tensors end that only quantised weights have.
_QUANTISED_PARTS = (
    ".qweight", ".qzeros", ".weight_packed", ".weight_scale", ".weight_scale_inv", "_proj_scales",
)  # fmt: skip
_METHODS = {
    "gptq": "GPTQ", "awq": "AWQ", "bitsandbytes": "bitsandbytes", "fp8": "FP8",
    "fbgemm_fp8": "FBGEMM FP8", "compressed-tensors": "compressed-tensors",
    "hqq": "HQQ", "aqlm": "AQLM", "eetq": "EETQ", "quanto": "Quanto", "torchao": "torchao",
}  # fmt: skip
# What a number of bits is called by those that state it as a number.
_BITS = ("bits", "w_bit", "nbits")
_SAFETENSORS = "attn reads model.safetensors and pytorch_model.bin"
# Weights in a form that attn does not read, by how their names end.
_OTHER_FORMS = {
    ".h5": "TensorFlow", ".ckpt.index": "TensorFlow", ".msgpack": "Flax", ".onnx": "ONNX",
    ".tflite": "TensorFlow Lite", ".mlmodel": "Core ML", ".ot": "Rust",
}  # fmt: skip
_GGUF_PARTS = {
    "adapter": "a LoRA adapter",
    "mmproj": "the part of a model that makes vectors of pictures or sound",
    "imatrix": "statistics for quantising",
}


def quantised_by(section: Any, key: str, where: str) -> ContentError:
    """What to say of a `section` under `key` that describes weights which attn does not read."""
    what = f"{where}{key} says that the weights are quantised{_method(section, key)}"
    return ContentError(f"{what}, which attn does not read", _UNQUANTISED)


def check_tensors(names: Iterable[str], where: str) -> None:
    """Refuses weights that are quantised, though no config says so. Raises ContentError."""
    part = next((name for name in names if name.endswith(_QUANTISED_PARTS)), "")
    if part:
        what = f"{where}: the tensor {shorten(part)} is a part of quantised weights"
        raise ContentError(f"{what}, and no quantization_config says of which kind", _UNQUANTISED)


def _method(section: Any, key: str) -> str:
    """` by GPTQ in 4 bits`, as far as the section says so."""
    if not isinstance(section, Mapping):
        return ""
    kind = section.get("quant_method")
    bits = next((section[name] for name in _BITS if name in section), None)
    # As the reference reads it, these two decide, with or without the method's name.
    loaded = 4 if section.get("load_in_4bit") else 8 if section.get("load_in_8bit") else 0
    if loaded:
        kind, bits = "bitsandbytes", loaded
    if kind is None and (key == "quantization" or "group_size" in section):
        kind = "MLX"
    name = _METHODS.get(kind, shorten(kind)) if isinstance(kind, str) else ""
    shown = f" in {bits} bits" if type(bits) is int and 0 < bits < 100 else ""
    return (f" by {name}" if name else "") + shown


def unknown_type(
    values: Mapping[str, Any], where: str, families: Iterable[str], key: str = "model_type"
) -> ContentError:
    """What to say where `key` names none of `families`, the kinds that open."""
    kind, code = values.get(key), values.get("auto_map")
    if isinstance(kind, str) and (known := hybrids.refusal(values, where, kind)):
        return known
    if kind is None:
        what = f"{where}: the key {key} is missing"
    else:
        what = f"{where}: the model type {shorten(repr(kind))} is not supported"
    if isinstance(kind, str) and kind in KIN:
        why, kin = KIN[kind]
        return ContentError(f"{what}: it has {why}", f"of its kin, {kin} opens")
    if isinstance(code, Mapping) and any(name.startswith("AutoModel") for name in code):
        what += ", and code that comes with a model (auto_map) is never run"
    return ContentError(what, f"attn knows {some(families, 8)}; attn models lists what opens here")


def check_folder(path: Path) -> None:
    """Refuses a folder that is something else than a model's: an adapter, a pipeline, other forms.

    For a folder that lacks config.json or weights that attn reads. Raises ContentError where it is
    known what it is.
    """
    try:
        names = set(os.listdir(path))
    except OSError:
        return
    _refuse_other_layouts(path, names)
    if files := sorted(name for name in names if name.endswith(".gguf")):
        what = f"{path} holds GGUF files, of which each is a model"
        raise ContentError(what, f"open one: {path / files[0]}")
    _refuse_other_forms(path, names)
    if "config.json" not in names:
        inner = next((path / name for name in sorted(names) if is_model(path / name)), None)
        open_it = f"open the model in it: {inner}" if inner else "attn models lists what opens here"
        raise ContentError(f"{path} is a folder without a model: no config.json", open_it)


def check_layout(path: Path, names: Collection[str]) -> None:
    """Refuses a folder whose files tell that it is no model, or one in a form that attn cannot
    read. Raises ContentError."""
    _refuse_other_layouts(path, set(names))
    _refuse_other_forms(path, set(names))


def _refuse_other_forms(path: Path, names: set[str]) -> None:
    forms = [form for end, form in _OTHER_FORMS.items() if any(n.endswith(end) for n in names)]
    if "onnx" in names:
        forms.append("ONNX")
    if forms:
        raise ContentError(
            f"{path} has weights for {' and '.join(dict.fromkeys(forms))} only", _SAFETENSORS
        )


def _refuse_other_layouts(path: Path, names: set[str]) -> None:
    if "adapter_config.json" in names:
        raise _adapter(path)
    if "model_index.json" in names:
        raise ContentError(
            f"{path} is a diffusers pipeline, which makes pictures", "attn opens language models"
        )
    bare = "config.json" not in names
    if bare and names & {"modules.json", "config_sentence_transformers.json"}:
        inner = next((n for n in sorted(names) if n.endswith("_Transformer")), "")
        raise ContentError(
            f"{path} is a sentence-transformers folder without a config.json of its own",
            f"open the model in it: {path / inner}" if inner else _SAFETENSORS,
        )
    if weights := [name for name in names if name.startswith("consolidated")]:
        mistral = "tekken.json" in names or any(name.endswith(".safetensors") for name in weights)
        maker = "Mistral" if mistral else "Meta"
        raise ContentError(
            f"{path} is a model in {maker}'s own form (consolidated weights, params.json)",
            "open the folder that has config.json and model.safetensors",
        )


def _adapter(path: Path) -> ContentError:
    base = read_json_object(path / "adapter_config.json").get("base_model_name_or_path")
    of = f" for {shorten(base)}" if isinstance(base, str) and base else ""
    return ContentError(
        f"{path} is a LoRA adapter{of}, not a model",
        f"open the model that it was made for, with --adapter {path}",
    )


def check_gguf(metadata: Mapping[str, Any], where: str) -> None:
    """Refuses what goes with a model. Raises ContentError."""
    kind, architecture = metadata.get("general.type"), metadata.get("general.architecture")
    if architecture == "clip":
        kind = "mmproj"
    if isinstance(kind, str) and kind in _GGUF_PARTS:
        raise ContentError(
            f"{where} is {_GGUF_PARTS[kind]}, not a language model",
            "open the model's own file, which is another",
        )


def check_experts(metadata: Mapping[str, Any], where: str, *, known: bool) -> None:
    """Refuses a mixture of experts of an architecture whose mixtures are not `known`.

    Raises ContentError.
    """
    architecture = metadata.get("general.architecture")
    experts = metadata.get(f"{architecture}.expert_count")
    if not known and type(experts) in (int, float) and experts > 0:
        raise ContentError(
            f"{where}: {architecture}.expert_count is {experts}: a mixture of experts, "
            "which attn does not know",
            "open a model of one feed-forward network per layer, such as Mistral 7B",
        )
