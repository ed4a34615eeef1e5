"""Makes the reference activations of model types with torch and transformers.

Run by hand in an environment that has both; no test runs this, no test needs torch:

    python tests/golden/make_types.py NAME [NAME ...]

NAME is an entry of `MODELS` in a module of `type_tables`, or a module's own name for all of it. For
each it writes into `types/`:

- `NAME.json`: `config` as the reference saves it, the checkpoint's `tensors` (name: shape), the
  `seed` that `made_weights.made` makes them with, `ids`, the name of the output projection (`out`,
  `*` for the layer) and whether it is stored (input, output), and in `keys` what keys of the config
  do: `[trial, "same" | "other" | "fails"]`, the logits with another value in the key's place.
- `NAME.npz`: `logits` (position, vocabulary), and `LAYER.NAME` for the arrays of
  `attn_cli.vocabulary` that the reference's own functions take and give (eager attention, float32).

q_unrotated and k_unrotated go into `apply_rotary_pos_emb`; q, k and v go into the attention
function; masked is what its softmax takes, −∞ where that is the lowest number, and weights what it
gives. The date and the versions join those in `versions.json`, under `types`.

Origin and licence: models, prompts and numbers are made here by this script; Apache-2.0.
"""

import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from made_weights import made
from safetensors import safe_open
from safetensors.torch import save_file
from type_tables import Golden, Places
from versions import record_versions

HERE = Path(__file__).resolve().parent
OUT = HERE / "types"
_LOWEST = -1e30


def tables() -> dict[str, dict[str, Golden]]:
    names = sorted(path.stem for path in (HERE / "type_tables").glob("[!_]*.py"))
    return {name: importlib.import_module(f"type_tables.{name}").MODELS for name in names}


# --- listening -----------------------------------------------------------------------------------


class Heard:
    """What one forward pass computes: by layer from the modules, in order from functions.

    `attended` are (q, k, v), `softmaxed` (input, output), each of the batch's only text; `turned`
    are (q, k) before rotation, by the count of attentions before it.
    """

    def __init__(self, model: torch.nn.Module, places: Places) -> None:
        self.layers: list[dict[str, torch.Tensor]] = []
        self.turned, self.attended, self.softmaxed = {}, [], []
        self._model, self._places, self._undo, self._inside = model, places, [], 0

    def __enter__(self) -> "Heard":
        for block in self._model.get_submodule(self._places.layers):
            self.layers.append({})
            self._listen(block, self.layers[-1])
        module = sys.modules[type(self._model).__module__]
        self._stand_in(module, "apply_rotary_pos_emb", self._turning)
        self._stand_in(module, "eager_attention_forward", self._attending)
        for owner in (torch.nn.functional, torch, torch.Tensor):
            self._stand_in(owner, "softmax", self._softmaxing)
        scaled = "scaled_dot_product_attention"
        self._stand_in(torch.nn.functional, scaled, self._attending_at_once)
        return self

    def __exit__(self, *_: object) -> None:
        for undo in reversed(self._undo):
            undo()

    def _stand_in(self, owner: Any, name: str, make: Any) -> None:
        original = getattr(owner, name, None)
        if original is not None:
            setattr(owner, name, make(original))
            self._undo.append(lambda: setattr(owner, name, original))

    def _turning(self, original):
        def stand_in(q, k, *rest, **named):
            self.turned[len(self.attended)] = (q, k)
            return original(q, k, *rest, **named)

        return stand_in

    def _attending(self, original):
        def stand_in(module, q, k, v, *rest, **named):
            self.attended.append((q, k, v))
            return original(module, q, k, v, *rest, **named)

        return stand_in

    def _attending_at_once(self, original):
        """Where no softmax can be heard, it follows from what the function is given."""

        def stand_in(q, k, v, attn_mask, **named):
            self.attended.append((q, k, v))
            torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + attn_mask, -1)
            return original(q, k, v, attn_mask, **named)

        return stand_in

    def _softmaxing(self, original):
        def stand_in(x, *rest, **named):
            self._inside += 1  # one of these functions calls another
            result = original(x, *rest, **named)
            self._inside -= 1
            if not self._inside and x.ndim == 4:
                self.softmaxed.append((x, result))
            return result

        return stand_in

    def _listen(self, block: torch.nn.Module, found: dict[str, torch.Tensor]) -> None:
        def first(value):
            return value[0] if isinstance(value, tuple) else value

        def into(name):
            def hook(_module, inputs, named):
                found.setdefault(name, inputs[0] if inputs else named["hidden_states"])

            return hook

        def out_of(name):
            return lambda _module, _inputs, result: found.setdefault(name, first(result))

        def part(name):
            try:
                return block.get_submodule(name) if name else None
            except AttributeError:
                return None  # a layer of another kind

        self._undo.append(block.register_forward_pre_hook(into("x"), with_kwargs=True).remove)
        places = self._places
        for name, before, after in (
            (places.norm, "", "normed"), (places.attention, "entered", ""),
            (places.out, "merged", "output"), (places.mlp, "", "mlp_output"),
        ):  # fmt: skip
            module = part(name)
            if module is not None and before:
                hook = module.register_forward_pre_hook(into(before), with_kwargs=True)
                self._undo.append(hook.remove)
            if module is not None and after:
                self._undo.append(module.register_forward_hook(out_of(after)).remove)


@torch.no_grad()
def activations(model: torch.nn.Module, golden: Golden, ids: list[int]) -> dict[str, np.ndarray]:
    """Everything one forward pass of the reference computes, layer by layer."""
    with Heard(model, golden.places) as heard:
        logits = model(torch.tensor([ids]), **golden.extra).logits
    arrays, order = {"logits": logits[0]}, 0
    for layer, found in enumerate(heard.layers):
        if "merged" not in found:  # no attention here
            arrays[f"{layer}.x"] = found["x"][0]
            continue
        of_layer = _of_layer(heard, found, order, len(ids))
        if golden.places.arrays:
            of_layer |= golden.places.arrays(model, layer, heard)
        arrays |= {f"{layer}.{name}": array for name, array in of_layer.items()}
        order += 1
    return {name: array.detach().float().numpy() for name, array in arrays.items()}


def _of_layer(heard: Heard, found: dict, order: int, tokens: int) -> dict[str, torch.Tensor]:
    """The arrays of one layer that has attention, the `order`th of these."""
    arrays = {"x": found["x"][0], "output": found["output"].reshape(tokens, -1)}
    if "normed" in found and torch.equal(found["normed"], found["entered"]):
        arrays["normed"] = found["normed"][0]
    if "mlp_output" in found:
        arrays["mlp_output"] = found["mlp_output"].reshape(arrays["x"].shape)
    if heard.softmaxed:
        masked, weights = (array[0, ..., :tokens] for array in heard.softmaxed[order])
        hidden = torch.where(masked < _LOWEST, -torch.inf, masked)
        arrays |= {"masked": hidden, "weights": weights}
        merged = found["merged"].reshape(tokens, len(weights), -1)
        arrays["z"] = merged.transpose(0, 1)
    if heard.attended:
        arrays |= {n: a[0] for n, a in zip("qkv", heard.attended[order], strict=True)}
    if order in heard.turned and heard.attended:
        for letter, before in zip("qk", heard.turned[order], strict=True):
            if before[0].shape == arrays[letter].shape:
                arrays[f"{letter}_unrotated"] = before[0]
    return arrays


# --- making --------------------------------------------------------------------------------------


def opened(folder: Path, golden: Golden) -> torch.nn.Module:
    """The model of a folder, of which every tensor must be in its place."""
    kind = "AutoModelForCausalLM" if golden.config_class else golden.model
    # Experts one by one: the grouped product wants widths that are multiples of 4.
    model, said = getattr(transformers, kind).from_pretrained(
        folder, attn_implementation=golden.attention, experts_implementation="eager",
        dtype=torch.float32, output_loading_info=True,
    )  # fmt: skip
    wrong = {key: value for key, value in said.items() if value}
    assert not wrong, wrong
    return model.eval()


def save(folder: Path, golden: Golden) -> dict[str, list[int]]:
    """Writes a checkpoint as the reference does, with made weights; its tensors' shapes."""
    kind = getattr(transformers, golden.model)
    own = golden.config_class
    config_class = getattr(transformers, own) if own else kind.config_class
    full = config_class(**{"bos_token_id": 0, "eos_token_id": 0} | golden.config)
    kind(full).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    weights = folder / "model.safetensors"
    with safe_open(weights, "pt") as file:
        tensors = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    arrays = made(tensors, golden.seed)
    save_file({n: torch.from_numpy(a) for n, a in arrays.items()}, weights, {"format": "pt"})
    return tensors


def another(key: str, value: Any, golden: Golden) -> Any:
    """A value to try in a key's place, or None."""
    if key in golden.trials:
        return golden.trials[key]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 1.5 + 0.25
    known = ("silu", "gelu", "relu", "gelu_new", "gelu_pytorch_tanh", "relu2")
    return next(name for name in known if name != value) if value in known else None


def tried(folder: Path, golden: Golden, ids: list[int], logits: np.ndarray) -> dict[str, list]:
    """What another value of each key of the config does to the logits."""
    path = folder / "config.json"
    config, found = json.loads(path.read_text()), {}
    for key, value in config.items():
        trial = another(key, value, golden)
        if trial is None or key in ("transformers_version", "model_type", "architectures", "dtype"):
            continue
        path.write_text(json.dumps(config | {key: trial}))
        try:
            with torch.no_grad():
                result = opened(folder, golden)(torch.tensor([ids]), **golden.extra).logits[0]
            what = "same" if np.array_equal(result.numpy(), logits) else "other"
        except Exception:
            what = "fails"
        found[key] = [trial, what]
    path.write_text(json.dumps(config))
    return found


def make(name: str, golden: Golden) -> None:
    raw = np.random.PCG64(golden.seed).random_raw(golden.tokens)
    places = golden.places
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        tensors = save(folder, golden)
        model = opened(folder, golden)
        text = model.config.get_text_config()
        ids = (raw % text.vocab_size).tolist()
        arrays = activations(model, golden, ids)
        document = {
            "config": json.loads((folder / "config.json").read_text()),
            "tensors": tensors, "seed": golden.seed, "ids": ids,
            "out": golden.out or f"{places.layers}.*.{places.out}", "columns": places.columns,
            "keys": tried(folder, golden, ids, arrays["logits"]) if golden.keys else {},
        }  # fmt: skip
    (OUT / f"{name}.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")
    np.savez_compressed(OUT / f"{name}.npz", **arrays)
    size = sum((OUT / f"{name}{end}").stat().st_size for end in (".json", ".npz"))
    print(f"{name}: {size:,} bytes; {', '.join(dict.fromkeys(n.split('.')[-1] for n in arrays))}")
    for key, (trial, what) in document["keys"].items():
        print(f"    {key} = {json.dumps(trial)}: {what}")


def main() -> None:
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    found = tables()
    every = {name: golden for models in found.values() for name, golden in models.items()}
    for asked in sys.argv[1:] or every:
        for name in found.get(asked, [asked]):
            make(name, every[name])
    record_versions("types")


if __name__ == "__main__":
    main()
