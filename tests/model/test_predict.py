"""Logits of any layer's vectors: the final norm and the output matrix, written out in numpy."""

import json

import numpy as np
import pytest

from attn_cli import session
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.errors import ContentError
from attn_cli.model.stack import Request
from measure import row_error

TOLERANCE = 1e-5
# The final norm of each golden model, and its output matrix.
MODELS = {
    "gpt2-a": ("transformer.ln_f", "transformer.wte"),
    "gpt2-b": ("transformer.ln_f", "lm_head"),
    "llama-plain": ("model.norm", "model.embed_tokens"),
    "llama-bias": ("model.norm", "lm_head"),
    "gemma2": ("model.norm", "model.embed_tokens"),
    "gemma3": ("model.norm", "model.embed_tokens"),
    "phi3-short": ("model.norm", "lm_head"),
    "neox-parallel": ("gpt_neox.final_layer_norm", "embed_out"),
    "bloom": ("transformer.ln_f", "transformer.word_embeddings"),
    "opt-before": ("model.decoder.final_layer_norm", "model.decoder.embed_tokens"),
    "opt-behind": ("", "model.decoder.embed_tokens"),
    "opt-bare": ("", "lm_head"),
}
EPSILONS = ("layer_norm_epsilon", "layer_norm_eps", "rms_norm_eps")


def written_out(folder, x):
    """Final norm, projection, output matrix, cap: in float64, of vectors (position, model)."""
    norm, matrix = MODELS[folder.name]
    config = json.loads((folder / "config.json").read_text())
    stored = open_safetensors(folder / "model.safetensors")

    def tensor(name):
        return stored[name].read().astype(np.float64)

    x = x.astype(np.float64)
    epsilon = next((config[key] for key in EPSILONS if key in config), 1e-5)
    if f"{norm}.bias" in stored:
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + epsilon)
        x = x * tensor(f"{norm}.weight") + tensor(f"{norm}.bias")
    elif norm:
        base = 1 if folder.name.startswith("gemma") else 0
        x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + epsilon)
        x = x * (base + tensor(f"{norm}.weight"))
    if "model.decoder.project_out.weight" in stored:
        x = x @ tensor("model.decoder.project_out.weight").T
    logits, cap = x @ tensor(f"{matrix}.weight").T, config.get("final_logit_softcapping")
    return cap * np.tanh(logits / cap) if cap else logits


def golden_of(folder):
    with np.load(folder / "activations.npz") as archive:
        return dict(archive)


@pytest.mark.parametrize("name", MODELS)
def test_the_last_layers_vectors_give_the_models_logits(golden_path, name):
    folder = golden_path / name
    golden, model = golden_of(folder), session.load(str(folder))
    _, end = session.run(model, tuple(golden["ids"].tolist()), Request())
    assert end.x.dtype == np.float32
    found = session.predict(model, end.x)
    assert found.shape == (len(golden["ids"]), model.facts.vocabulary)
    assert row_error(found, golden["logits"]) <= TOLERANCE
    # The formula of this test too is the reference's.
    assert row_error(written_out(folder, end.x), golden["logits"]) <= TOLERANCE


@pytest.mark.parametrize("name", MODELS)
def test_an_inner_layers_vectors_are_normed_and_multiplied_the_same_way(golden_path, name):
    folder = golden_path / name
    golden, model = golden_of(folder), session.load(str(folder))
    for layer in range(model.facts.layers):
        recorded = session.trace(ids=golden["ids"].tolist(), model=model, layer=layer, next=False)
        x = recorded.block(layer).x
        assert row_error(x, golden[f"{layer}.x"]) <= TOLERANCE
        found = session.predict(model, x)
        assert row_error(found, written_out(folder, golden[f"{layer}.x"])) <= TOLERANCE
        assert row_error(found, golden["logits"]) > 10 * TOLERANCE


@pytest.mark.parametrize("name", ["llama-plain", "gpt2-b", "gemma2"])
def test_each_position_is_predicted_by_itself(golden_path, name):
    folder = golden_path / name
    golden, model = golden_of(folder), session.load(str(folder))
    x = golden["1.x"]
    whole = session.predict(model, x)
    assert row_error(session.predict(model, x[2:3]), whole[2:3]) <= 1e-6
    assert session.predict(model, x[:0]).shape == (0, model.facts.vocabulary)
    assert np.array_equal(x, golden_of(folder)["1.x"])


def test_a_model_without_an_output_matrix_is_refused(golden_copy, packed):
    folder = golden_copy("llama-bias")
    stored = open_safetensors(folder / "model.safetensors")
    entries = {
        name: ("F32", info.shape, np.array(info.read()).tobytes())
        for name, info in stored.items()
        if name != "lm_head.weight"
    }
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").write_bytes(packed(entries))
    model = session.load(str(folder))
    _, end = session.run(model, (1, 2), Request())
    with pytest.raises(ContentError, match="llama-bias has no output matrix"):
        session.predict(model, end.x)
