"""The other decoder families against the reference library: every array of every layer."""

import json

import numpy as np
import pytest

from attn_cli import session, vocabulary
from attn_cli.checkpoints.safetensors import Safetensors
from attn_cli.families.cache import Cache

TOLERANCE = 1e-5
WEIGHTS = "model.safetensors"
# Each golden model, and where its layers keep the output projection.
MODELS = {
    "gemma2": "model.layers.*.self_attn.o_proj",
    "gemma3": "model.layers.*.self_attn.o_proj",
    "phi3-short": "model.layers.*.self_attn.o_proj",
    "phi3-long": "model.layers.*.self_attn.o_proj",
    "neox-parallel": "gpt_neox.layers.*.attention.dense",
    "neox-serial": "gpt_neox.layers.*.attention.dense",
    "bloom": "transformer.h.*.self_attention.dense",
    "bloom-normed": "transformer.h.*.self_attention.dense",
    "opt-before": "model.decoder.layers.*.self_attn.out_proj",
    "opt-behind": "model.decoder.layers.*.self_attn.out_proj",
    "opt-bare": "model.decoder.layers.*.self_attn.out_proj",
}  # fmt: skip


def row_error(found, wanted):
    """max |a − b| / max(1, max |b| of that row), the measure of `attn verify`; −∞ must meet −∞."""
    assert found.shape == wanted.shape
    hidden = np.isneginf(wanted)
    assert np.array_equal(np.isneginf(found), hidden)
    a, b = (np.where(hidden, 0, x).astype(np.float64) for x in (found, wanted))
    assert np.isfinite(a).all()
    return (np.abs(a - b) / np.maximum(1, np.abs(b).max(axis=-1, keepdims=True))).max()


def read_config(folder):
    return json.loads((folder / "config.json").read_text())


def layers_of(config):
    return config.get("num_hidden_layers", config.get("n_layer"))


def slides(config, layer):
    kinds = config.get("layer_types")
    return config.get("sliding_window") and (not kinds or kinds[layer] == "sliding_attention")


def reference(folder):
    """The golden activations, and in float64 what follows from them."""
    with np.load(folder / "activations.npz") as archive:
        golden = dict(archive)
    config, stored = read_config(folder), Safetensors(folder / WEIGHTS)
    for layer in range(layers_of(config)):
        q, k, z = (golden[f"{layer}.{name}"].astype(np.float64) for name in "qkz")
        heads, tokens, width = q.shape
        group = heads // len(k)
        scores = np.stack([q[head] @ k[head // group].T for head in range(heads)])
        scaled = scores / np.sqrt(config.get("query_pre_attn_scalar", width))
        cap = config.get("attn_logit_softcapping")
        scaled = cap * np.tanh(scaled / cap) if cap else scaled
        scaled = scaled + golden.get(f"{layer}.bias", 0)
        limit = config["sliding_window"] if slides(config, layer) else tokens
        visible = np.array([[0 <= i - j < limit for j in range(tokens)] for i in range(tokens)])
        place = MODELS[folder.name].replace("*", str(layer)) + ".weight"
        w_o = stored.read(place).astype(np.float64)
        pulls = [z[h] @ w_o[:, h * width : (h + 1) * width].T for h in range(heads)]
        found = {
            "scores": scores, "scaled": scaled, "visible": visible,
            "masked": np.where(visible, scaled, -np.inf), "head_output": np.stack(pulls),
        }  # fmt: skip
        golden |= {f"{layer}.{name}": array for name, array in found.items()}
    return golden


def errors(golden, model):
    """The largest error of every array over the layers, and of the logits at every position."""
    trace = session.trace(ids=golden["ids"].tolist(), model=model)
    found = {"logits": row_error(session.logits(model, trace.prompt.ids), golden["logits"])}
    assert row_error(trace.logits, golden["logits"][-1:]) <= TOLERANCE
    for block in trace.attention:
        wanted = {
            name.split(".")[1]: array
            for name, array in golden.items()
            if name.startswith(f"{block.layer}.")
        }
        assert set(block.arrays) - vocabulary.PARAMETERS - vocabulary.EMBEDDING_PARTS == set(wanted)
        for name, array in wanted.items():
            if name == "visible":
                assert np.array_equal(block.visible, array)
            else:
                assert block.arrays[name].dtype == np.float32
                error = row_error(block.arrays[name], array)
                found[name] = max(error, found.get(name, 0))
    return found


@pytest.mark.parametrize("name", MODELS)
def test_every_array_of_every_layer_is_the_references(golden_copy, golden_path, name):
    found = errors(reference(golden_path / name), session.load(str(golden_copy(name))))
    assert {array: error for array, error in found.items() if error > TOLERANCE} == {}
