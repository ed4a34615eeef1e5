"""Every model type that `golden/make_types.py` knows, against the reference library."""

import numpy as np
import pytest
from golden.made_weights import made
from made_folders import TYPES, document, made_folder

from attn_cli import session, vocabulary
from attn_cli.analysis.parts import parts
from attn_cli.errors import ContentError
from attn_cli.model.cache import Cache
from attn_cli.opening.configs import read_config
from measure import logits_of, next_logits_of, of_layer, row_error

NAMES = sorted(path.stem for path in TYPES.glob("*.json"))
TOLERANCE = 1e-5
# The reference unties where a file's output matrix is not the embedding; attn does as the config
# says, and a note says that there is another.
ON_PURPOSE = {"tie_word_embeddings"}


def golden(name):
    with np.load(TYPES / f"{name}.npz") as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Makes the folder of a golden model, once."""
    there = {}

    def make(name):
        if name not in there:
            there[name] = made_folder(tmp_path_factory.mktemp(name), name)
        return there[name]

    return make


@pytest.mark.parametrize("name", NAMES)
def test_every_array_of_every_layer_is_the_references(name, folder):
    found, wanted = document(name), golden(name)
    model = session.load(str(folder(name)))
    trace = session.trace(ids=found["ids"], model=model, arrays=vocabulary.ARRAYS)
    layers = {int(key.split(".")[0]) for key in wanted if key.endswith(".weights")}
    assert [block.layer for block in trace.attention] == sorted(layers)
    for block in trace.attention:
        of_this = of_layer(wanted, block.layer)
        assert {"x", "weights", "z", "output"} <= of_this.keys()
        for array, numbers in of_this.items():
            error = row_error(block.arrays[array], numbers)
            assert error <= TOLERANCE, f"layer {block.layer}: {array}"
        check_what_follows(block, of_this, found)
    logits = logits_of(model, tuple(found["ids"]))
    assert row_error(logits, wanted["logits"]) <= TOLERANCE


def check_what_follows(block, of_this, found):
    """What the reference has no name for, made of its arrays in float64."""
    seen = np.isfinite(of_this["masked"])
    assert np.array_equal(seen, np.broadcast_to(block.visible, seen.shape))
    scaled = np.where(seen, block.scaled, -np.inf)
    assert row_error(scaled, of_this["masked"]) <= TOLERANCE
    if {"q", "k"} <= of_this.keys():
        q, k = (of_this[name].astype(np.float64) for name in "qk")
        scores = q @ k.repeat(len(q) // len(k), axis=0).swapaxes(1, 2)
        assert row_error(block.scores, scores) <= TOLERANCE
    stored = found["out"].replace("*", str(block.layer)) + ".weight"
    w = made({stored: found["tensors"][stored]}, found["seed"])[stored]
    rows, z = (w if found["columns"] else w.T), of_this["z"].astype(np.float64)
    pulls = z @ rows.astype(np.float64).reshape(len(z), -1, rows.shape[-1])
    assert row_error(block.head_output, pulls) <= TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_tokens_one_by_one_give_the_same_logits(name, folder):
    model, cache, wanted = session.load(str(folder(name))), Cache(), golden(name)["logits"]
    for id, row in zip(document(name)["ids"], wanted, strict=True):
        assert row_error(next_logits_of(model, (id,), cache), row) <= TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_parts_add_up_to_what_enters_the_last_layer(name, folder):
    model, wanted = session.load(str(folder(name))), golden(name)
    prompt = session.tokenise(model, ids=document(name)["ids"])
    last = max(int(key.split(".")[0]) for key in wanted if key.endswith(".weights"))
    found = parts(model, prompt, range(len(prompt.ids)), last)
    assert row_error(found.values.sum(axis=0), wanted[f"{last}.x"]) <= TOLERANCE


# --- config keys ---------------------------------------------------------------------------------

KEYS = [
    (name, key)
    for name in NAMES
    for key, (_, what) in document(name)["keys"].items()
    if what != "fails" and key.rpartition(".")[2] not in ON_PURPOSE
]


def read(config):
    """What a family makes of a config, without tensors."""
    return read_config(config, "config.json").config


def with_key(config, key, value):
    outer, _, inner = key.rpartition(".")
    return config | ({outer: config[outer] | {inner: value}} if outer else {inner: value})


@pytest.mark.parametrize(("name", "key"), KEYS)
def test_a_key_of_the_config_does_what_it_does_in_the_reference(name, key):
    """One that changes the reference's logits changes what is read, or is refused."""
    config, (trial, what) = document(name)["config"], document(name)["keys"][key]
    try:
        changed = read(with_key(config, key, trial))
    except ContentError:
        assert what == "other"
    else:
        assert what == "same" or changed != read(config)


def test_there_is_a_golden_with_keys_for_every_type_that_has_any():
    kinds = {document(name)["config"]["model_type"] for name in NAMES}
    with_keys = {document(name)["config"]["model_type"] for name, _ in KEYS}
    assert kinds == with_keys
