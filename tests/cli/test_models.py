"""`attn models`: what opens here, and what is inside; and the models that open by name or path."""

import numpy as np
import pytest

from attn_cli.checkpoints.safetensors import open_safetensors


def test_the_listing_names_what_opens(attn):
    found = attn("models", "--json").json["result"]["models"]
    names = [model["name"] for model in found if model["opens"]]
    assert names == [
        "tiny",
        "tiny-encoder",
        "tiny-translator",
        "pencil",
        "smollm2",
        "minilm",
        "random",
    ]
    kinds = [model["quantisation"] for model in found if model["opens"]]
    assert kinds == ["F32", "F32", "F32", "F32", "Q4_1", "F32", ""]
    assert all(bool(model["reason"]) != model["opens"] for model in found)
    page = attn("models").text
    for name in names:
        assert f"    {name} " in page
        assert attn("trace", "--ids", "1", "-m", name, "--json").code == 0
    assert "a folder with config.json" in page.replace("\n    ", " ")


def test_the_contents_of_a_checkpoint_add_up(attn, tiny_folder):
    found = attn("models", "tiny", "--json").json
    file = open_safetensors(tiny_folder / "model.safetensors")
    shapes = {name.removeprefix("transformer."): file[name].shape for name in file}
    result = found["result"]
    assert {t["name"]: tuple(t["shape"]) for t in result["tensors"]} == shapes
    count = sum(int(np.prod(shape)) for shape in shapes.values())
    assert result["parameters"] == found["model"]["parameters"] == count
    assert result["bytes"] == 4 * count
    assert sum(part["parameters"] for part in result["parts"]) == count
    assert {t["dtype"] for t in result["tensors"]} == {"F32"}
    assert result["config"]["layers"] == found["model"]["layers"] == 2
    assert result["tokens"] == found["model"]["vocabulary"]


def test_the_page_shows_config_parts_and_every_tensor(attn):
    found = attn("models", "tiny", "--json").json["result"]
    page = attn("models", "tiny").text
    for tensor in found["tensors"]:
        shape = " × ".join(map(str, tensor["shape"]))
        assert f"    {tensor['name']} " in page
        assert f"F32    {shape}" in page
    for part in found["parts"]:
        assert f"{part['parameters']:,}" in page
    assert f"The tokenizer knows {found['tokens']:,} tokens." in page


def test_a_path_opens_the_same_model_as_its_name(attn, tiny_folder):
    named = attn("models", "tiny", "--json").json
    by_path = attn("models", tiny_folder, "--json").json
    assert by_path["result"] == named["result"]
    assert by_path["model"]["source"] == str(tiny_folder)
    traced = [
        attn("trace", "the king is a man", "-m", name, "--json").json["attention"]
        for name in ("tiny", tiny_folder)
    ]
    assert traced[0] == traced[1]


@pytest.mark.parametrize(
    ("name", "layers", "heads", "width", "context"),
    [
        ("random", 2, 4, 32, 256),
        ("random:layers=1", 1, 4, 32, 256),
        ("random:layers=3,heads=96,model_width=192,context=7", 3, 96, 192, 7),
    ],
)
def test_random_takes_any_shape(attn, name, layers, heads, width, context):
    facts = attn("models", name, "--json").json["model"]
    found = (facts["layers"], facts["heads"], facts["model_width"], facts["context"])
    assert found == (layers, heads, width, context)
    assert facts["head_width"] == width // heads


def test_random_depends_on_its_seed_and_is_untrained(attn):
    documents = [
        attn("trace", "the king", "-m", f"random:seed={seed}", "--json").json for seed in (0, 0, 1)
    ]
    assert documents[0] == documents[1]
    assert documents[0]["attention"] != documents[2]["attention"]
    shares = [candidate["probability"] for candidate in documents[0]["next"][0]["candidates"]]
    assert max(shares) < 0.01


def test_attn_model_sets_the_default(attn):
    named = attn("trace", "the king", "-m", "random:seed=3", "--json").out
    assert attn("trace", "the king", "--json", env={"ATTN_MODEL": "random:seed=3"}).out == named
    wrong = attn("trace", "the king", env={"ATTN_MODEL": "no-such"})
    assert (wrong.code, "no model 'no-such'" in wrong.said) == (1, True)


def test_a_config_key_is_refused_or_ignored_by_name(attn, tiny_folder):
    config = tiny_folder / "config.json"
    config.write_text(config.read_text().replace("{", '{"add_cross_attention": true,', 1))
    refused = attn("models", tiny_folder)
    assert refused.code == 1
    assert "add_cross_attention is true" in refused.said
    assert "--ignore-config add_cross_attention" in refused.said
    accepted = attn("models", tiny_folder, "--ignore-config", "add_cross_attention", "--json")
    assert accepted.json["settings"] == {"ignore_config": ["add_cross_attention"]}


def test_config_keys_that_the_reference_does_not_read_are_named_in_one_note(attn, tiny_folder):
    config = tiny_folder / "config.json"
    config.write_text(config.read_text().replace("{", '{"xyzzy": 7, "plugh": {"x": 1},', 1))
    found = attn("trace", "the king", "-m", tiny_folder, "--json")
    assert found.code == 0
    plain = attn("trace", "the king", "--json").json
    assert found.json["attention"] == plain["attention"]
    assert [note for note in found.json["notes"] if note not in plain["notes"]] == [
        "the config has keys that mean nothing to the reference library: plugh, xyzzy"
    ]
    page = attn("trace", "the king", "-m", tiny_folder)
    assert "keys that mean nothing to the reference library: plugh, xyzzy" in page.said
    one = attn("trace", "the king", "-m", tiny_folder, "--json", "--ignore-config", "plugh").json
    assert one["settings"]["ignore_config"] == ["plugh"]
    assert [note for note in one["notes"] if note not in plain["notes"]] == [
        "the config key plugh counts as absent, as --ignore-config asks",
        "the config has keys that mean nothing to the reference library: xyzzy",
    ]


def test_a_folder_of_models_is_listed_and_an_empty_one_refused(attn, tiny_folder):
    page = attn("models", tiny_folder.parent)
    assert page.code == 0 and "in this folder" in page.text and "65,504" in page.text
    found = attn("models", tiny_folder.parent, "--json").json["result"]
    assert [model["name"] for model in found["models"]] == [str(tiny_folder)]
    for name in ("config.json", "model.safetensors"):
        (tiny_folder / name).unlink()
    refused = attn("models", tiny_folder.parent)
    assert refused.code == 1 and "is a folder without a model" in refused.said
