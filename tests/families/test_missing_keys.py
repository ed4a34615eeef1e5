"""A key that config.json lacks has the value that the reference library's class has for it.

`missing_keys.json` says which that is, in every family (see `golden/make_missing_keys.py`).
"""

import json
from contextlib import suppress
from pathlib import Path

import pytest

from attn_cli.errors import ContentError
from attn_cli.families import COMPOSITES, FAMILIES
from attn_cli.opening.configs import read_config

GOLDEN = Path(__file__).parents[1] / "golden"
FOUND = json.loads((GOLDEN / "missing_keys.json").read_text())
# Sizes are never made up, but for those of a text in a config, which published files leave out.
SIZES = frozenset(
    """
    d_ff d_kv d_model decoder_attention_heads decoder_ffn_dim decoder_layers dim
    encoder_attention_heads encoder_ffn_dim encoder_layers ffn_dim hidden_dim hidden_size
    intermediate_size max_position_embeddings n_embd n_head n_heads n_layer n_layers n_positions
    num_attention_heads num_heads num_hidden_layers num_layers vocab_size attention_heads
    """.split()
)


def config_of(kind):
    values = json.loads((GOLDEN / FOUND[kind]["of"]).read_text())
    return values.get("config", values)


def read(config):
    """What a family makes of a config, or why it does not."""
    try:
        return read_config(config, "config.json").config
    except ContentError as problem:
        return str(problem.message)


def read_all(config):
    """What a config says in all, or nothing where it does not open."""
    with suppress(ContentError):
        return read_config(config, "config.json")


def changed(config, key, values):
    """The config without a key, or with other values beside it."""
    inside, _, name = key.rpartition(".")
    own = config[inside] if inside else config
    own = {k: v for k, v in own.items() if k != name or name in values} | values
    return config | {inside: own} if inside else own


@pytest.mark.parametrize("kind", FOUND)
def test_a_key_that_is_missing_is_the_references_default(kind):
    config, wrong = config_of(kind), []
    assert not isinstance(read(config), str)
    for key, values in FOUND[kind]["missing"].items():
        missing, wanted = read(changed(config, key, {})), read(changed(config, key, values))
        name = key.rpartition(".")[2]
        refused = isinstance(missing, str)
        as_size = refused and name in SIZES and f"key {name} is missing" in missing
        if missing != wanted and not as_size and not (refused and isinstance(wanted, str)):
            wrong.append((key, values, missing, wanted))
    assert wrong == []


@pytest.mark.parametrize("kind", FOUND)
def test_a_key_of_the_reference_that_is_null_is_not_said_to_mean_nothing(kind):
    config, noted = config_of(kind), {}
    for key in FOUND[kind]["missing"]:
        inside, _, name = key.rpartition(".")
        found = read_all(changed(config, key, {name: None}))
        if found and f"{inside}.{name}".lstrip(".") in found.unknown:
            noted[key] = found.unknown
    assert noted == {}


def test_every_model_type_is_there():
    texts = {config_of(kind)["text_config"]["model_type"] for kind in COMPOSITES & FOUND.keys()}
    known = {FAMILIES[kind] for kind in {*FOUND, *texts} & FAMILIES.keys()}
    of_gguf_alone = {"deepseek2", "gptoss"}
    assert known == {*FAMILIES.values()} - of_gguf_alone
    assert COMPOSITES - FOUND.keys() == {"gemma3"}  # its text is a type of its own
