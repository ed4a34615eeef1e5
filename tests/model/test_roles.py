"""What tensors are for, by name: every family's, so that no parameter is counted as another's."""

import re
from math import prod

import pytest
from made_folders import made_folder

from attn_cli import session
from attn_cli.model.roles import FROM_LATENT, FUSED, PARTS, TO_LATENT, place_of

NAMES = ("tiny", "tiny-encoder", "tiny-translator")
# What is between the embedding and the layers of a model that has them of different widths, and a
# convolution; everything else has a part of its own.
OTHER = {
    "decoder.project_in", "embeddings.embed_proj", "embeddings_project", "encoder.conv.conv",
    "encoder.embedding_hidden_mapping_in",
}  # fmt: skip


@pytest.fixture(scope="module")
def models(golden_path):
    folders = sorted(path.parent for path in golden_path.glob("*/config.json"))
    return [session.load(str(name)) for name in (*NAMES, *folders)]


def test_every_tensor_of_every_family_has_its_part(models):
    other = set()
    for model in models:
        for name in model.weights.stored:
            place = place_of(name, model.facts, model.family.embedding)
            assert place.part in (*PARTS, FUSED)
            if place.part == "other":
                other.add(re.sub(r"\.(weight|bias)$", "", name))
    assert other == OTHER


def test_every_tensor_of_a_golden_type_has_its_part(tmp_path):
    """A convolution alone has none: not a sink, a map of a latent, a router, nor any norm."""
    together = (FUSED, TO_LATENT, FROM_LATENT)
    for name in ("deepseek-v3-a", "gpt_oss-a", "qwen2_moe-b", "lfm2-a", "mpt-a", "persimmon-a",
                 "stablelm-b"):  # fmt: skip
        model = session.load(str(made_folder(tmp_path / name, name)))
        for tensor in model.weights.stored:
            place = place_of(tensor, model.facts, model.family.embedding)
            if place.part == "other":
                assert ".conv." in tensor
            assert place.part in (*PARTS, *together)
            assert ("norm" in tensor) <= (place.part == "norms"), tensor
            assert (".self_attn.sinks" in tensor) == (place.part == "sinks")
            assert (".mlp.gate." in tensor or "router" in tensor) <= (
                place.part in ("router", "biases")
            ), tensor


def test_every_layer_has_each_projection_once_and_a_feed_forward(models):
    for model in models:
        found = {}
        for name in model.weights.stored:
            place = place_of(name, model.facts, model.family.embedding)
            found.setdefault((place.stack, place.kind, place.layer), []).append(place.part)
        layers = {key: parts for key, parts in found.items() if key[2] >= 0}
        assert len(layers) > 0
        for (stack, kind, _), parts in layers.items():
            where = model.facts.name, stack, kind
            assert parts.count("query") == parts.count("key") == parts.count("value"), where
            assert parts.count("query") + parts.count(FUSED) == 1, where
            assert parts.count("attention_output") == 1, where
            assert kind == "cross" or parts.count("feed_forward") in (2, 3), where
            assert not {"embedding", "output", "other"} & {*parts}, where


def test_what_a_part_is_shows_in_its_shape(models):
    """By sizes alone, which differ from each other in every golden model."""
    for model in models:
        facts = model.facts
        for name in model.weights.stored:
            place, shape = (
                place_of(name, facts, model.family.embedding), model.weights.tensor(name).shape,
            )  # fmt: skip
            heads = facts.heads_of(place.stack)
            if place.part in ("query", "attention_output", "value", "key"):
                assert len(shape) == 2 and facts.model_width in shape, name
                grouped = facts.group_of(place.stack) if place.part in ("key", "value") else 1
                assert prod(shape) % (facts.model_width * heads // grouped) == 0, name
            elif place.part == "norms" or name.endswith(".bias"):
                assert len(shape) == 1 or shape[0] == 1, name
            elif place.part == "embedding":
                assert shape[0] == facts.vocabulary, name
            elif place.part == "feed_forward":
                assert len(shape) == 2 and facts.model_width in shape, name
