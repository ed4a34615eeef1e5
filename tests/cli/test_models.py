"""`attn models`: what opens here, and what is inside; and the models that open by name or path."""

import re

import numpy as np
import pytest
from made_folders import TYPES, made_folder

from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.opening.listing import contents
from attn_cli.opening.load import load
from attn_cli.views import inside
from attn_cli.views.numbers import in_words


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


# What a row of a type's page says; each follows from its config and the reference's code for it.
ROWS = [
    ("llama-a", "kv heads", "2, each for 2 heads"),
    ("llama-a", "norms stand", "before attention, before feed-forward"),
    ("mixtral-a", "window", "4 keys in every layer"),
    ("mixtral-a", "experts", "5 in every layer; a token passes 3"),
    ("qwen2_moe-b", "experts", "5 in layer 1; a token passes 2 and a shared one"),
    ("gpt_oss-a", "sinks", "a learned score in every row, which is no key's"),
    ("gpt_oss-a", "window", "4 keys in layer 0"),
    ("gpt_oss-a", "feed-forward", "g·σ(1.3·g) × (u + 1)"),
    ("granite-a", "token vectors times", "3.5"),
    ("granite-a", "scores times", "0.21"),
    ("granite-a", "what a layer adds, times", "0.4"),
    ("granite-a", "logits times", "0.588235"),  # 1/1.7
    ("gemma-a", "norm", "RMS norm, ε 0.003; weights are stored less 1"),
    ("gemma-a", "output matrix", "the embedding's"),
    ("phi-a", "scores times", "1/√8 = 0.353553"),
    ("phi-a", "norms stand", "before attention and feed-forward, side by side"),
    ("olmo2-a", "norms stand", "after attention, after feed-forward"),
    ("olmo2-a", "norm of queries and keys", "all heads' together"),
    ("glm4-a", "norms stand", "before and after attention and feed-forward"),
    ("exaone4-a", "norm of queries and keys", "each head's own"),
    ("exaone4-a", "positions", "rotated queries and keys, not in layer 3"),
    ("exaone4-a", "window", "3 keys in layers 0–2"),
    ("ministral3-a", "queries grow with position", "times 1 + 0.7 · ln(1 + ⌊position ÷ 3⌋)"),
    ("deepseek-v3-a", "keys and values", "from one vector of 13; queries from one of 11"),
    ("t5-relu", "context", "unbounded"),
    ("t5-relu", "layers", "2 in the encoder, 3 in the decoder"),
    ("phi3-long", "beyond 10 tokens", "3 pairs of 8 dimensions, 0.588235 to 0.0150076"),
    ("modernbert-windows", "window", "keys less than 3 away in layers 1–2"),
    ("opt-bare", "norm", "layer norm without weights, ε 1e−05"),
    ("gpt2-b", "scores times", "1/√2 ÷ (layer + 1)"),
]


@pytest.mark.parametrize("name", dict.fromkeys(name for name, *_ in ROWS))
def test_the_model_is_told_in_numbers(attn, tmp_path, golden_path, name):
    golden = golden_path / name
    folder = golden if golden.is_dir() else made_folder(tmp_path, name)
    page = attn("models", str(folder), "--quiet").text
    rows, _, _ = page.split(" the model in numbers")[1].partition(" parameters and bytes")
    told = dict(re.findall(r"(?m)^    (\S+(?: \S+)*)  +(\S.*?)$", rows))
    for model, what, value in ROWS:
        assert model != name or told[what] == value, what


def test_no_type_is_told_in_python(tmp_path, golden_path):
    names = [path.stem for path in TYPES.glob("*-a.json")]
    folders = [made_folder(tmp_path / name, name) for name in names]
    folders += [path.parent for path in golden_path.glob("*/config.json")]
    assert len(folders) > 80
    for folder in folders:
        model = load(str(folder))
        table = inside.table(model.facts, contents(model).config)
        for what, value in zip(*(column.cells for column in table.columns), strict=True):
            said = f"{in_words(what, 2)}: {in_words(value, 2)}"
            assert not re.search(
                r"True|False|None|[{}\[\]'\"]\w+['\"]|\(\)|\(\w+=|: 0(\.0)?$", said
            ), said


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
