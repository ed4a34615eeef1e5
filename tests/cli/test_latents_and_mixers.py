"""Pages and documents of models with latent keys and values, and of layers without attention."""

import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from made_folders import document, made_folder

TYPES = Path(__file__).parents[1] / "golden" / "types"
IDS = "3,1,4,1,5"
SAID = {
    "deepseek-v2-a": {
        "q = q_latent·W_Q k, v = kv_latent·W_K, kv_latent·W_V": True,
        "a latent of 14 numbers": True, "first 6 dimensions of its key; the last 4": True,
        "a latent of their own, `q_latent`, of 11 numbers": True,
        "dimensions 2i and 2i + 1 of the last 4 rotate together": True,
        "Only the last 4 of a head's 10 dimensions": True, "scores × 0.38058": True,
    },
    "deepseek-v3-b": {
        "q = normed·W_Q k, v = kv_latent·W_K, kv_latent·W_V": True, "`q_latent`": False,
        "dimensions i and i + 3 of the last 6 rotate together": True, "÷ √11": True,
        "learned correction": True, "stand in": False,
    },
    "deepseek-v2-b": {"4 groups, and only those of a token's best 2": True,
                      "learned correction": False},
    "minicpm3-a": {"multiplied by 2.5": True, "dimensions i and i + 2 of the last 4": True},
    "lfm2-a": {
        "4 layers, with attention in 1, 3 and a gated short convolution in the others": True,
        "in each with attention, 6 heads": True, "layer 1 · head 0": True, "kv_latent": False,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Makes the folder of a golden model, once."""
    there = {}

    def make(name):
        if name not in there:
            there[name] = made_folder(tmp_path_factory.mktemp(name), name)
        return str(there[name])

    return make


@pytest.mark.parametrize("name", SAID)
def test_a_page_says_what_its_model_does_and_no_more(attn, folder, name):
    layer = "0" if name == "minicpm3-a" else "1"  # whose embedding is told of where it enters
    page = attn("trace", "--ids", IDS, "--layer", layer, "--model", folder(name)).text
    text = re.sub(r"\s+", " ", page)
    assert {said: said in text for said in SAID[name]} == SAID[name]


def test_latents_are_arrays_on_request_and_make_keys_and_values(attn, folder):
    path = folder("deepseek-v3-a")
    given = ("trace", "--ids", IDS, "--model", path, "--head", "1", "--json")
    assert "kv_latent" not in attn(*given).json["attention"][0]["arrays"]
    found = attn(*given, "--parameters").json["attention"][0]["arrays"]
    assert not {"w_q", "w_k", "w_v", "b_k"} & found.keys()
    arrays = {name: np.array(one["values"], float) for name, one in found.items()
              if name != "masked"}  # fmt: skip
    k = arrays["kv_latent"] @ arrays["w_k_latent"]
    last = arrays["normed"] @ arrays["w_k_rotated"] + arrays["b_k_rotated"]
    np.testing.assert_allclose(np.concatenate([k[0], last], 1), arrays["k_unrotated"][0], atol=1e-5)
    v, q = arrays["kv_latent"] @ arrays["w_v_latent"], arrays["q_latent"] @ arrays["w_q_latent"]
    np.testing.assert_allclose(v, arrays["v"], atol=1e-5)
    np.testing.assert_allclose(q, arrays["q_unrotated"], atol=1e-5)


@pytest.mark.parametrize("name", ["deepseek-v2-a", "deepseek-v3-a", "deepseek-v3-b"])
@pytest.mark.parametrize(("array", "column"), [("q", 1), ("q", -1), ("k", 2), ("k", -1), ("v", 3)])
def test_why_redoes_an_entry_from_what_it_is_made_of(attn, folder, name, array, column):
    width = {"deepseek-v2-a": 10, "deepseek-v3-a": 9, "deepseek-v3-b": 11}[name]
    column %= width
    found = attn("why", "--ids", IDS, "--model", folder(name), "--layer", "1", "--head", "2",
                 "--array", array, "--column", column, "--json").json["result"]  # fmt: skip
    products = sum(product["value"] for product in found["dot"]["products"])
    value = products + (found["bias"] or 0)
    for turn in found["rotation"]:
        own = turn["a"] if column == turn["first"] else turn["b"]
        assert value == pytest.approx(own, abs=1e-5)
        cos, sin = np.cos(turn["angle"]), np.sin(turn["angle"])
        a, b = turn["a"], turn["b"]
        value = a * cos - b * sin if column == turn["first"] else a * sin + b * cos
        value *= turn["factor"]
    assert value == pytest.approx(found["value"], abs=1e-5)
    turns = {"q": width - 4, "k": width - 4}.get(array, width) <= column
    assert bool(found["rotation"]) == (turns or (name == "deepseek-v3-b" and column >= 5))


@pytest.mark.parametrize("question", [
    ("heads", "--circuit", "1.0"), ("why", "--by", "component"), ("cost",),
])  # fmt: skip
def test_what_wants_one_matrix_or_counts_keys_is_refused_by_name(attn, folder, question):
    ids = () if question == ("cost",) else ("--ids", IDS)
    result = attn(*question, *ids, "--model", folder("deepseek-v2-b"))
    assert (result.code, result.out) == (1, b"")
    assert "latent" in result.err.decode() and "hint: " in result.err.decode()


def test_documents_say_which_layers_have_attention(attn, folder):
    document = attn("trace", "--ids", IDS, "--model", folder("lfm2-a"), "--json")
    assert document.json["model"]["attention_layers"] == [1, 3]
    jsonschema.validate(document.json, attn("schema", "trace").json)
    shown = attn("show", stdin=document.out).text
    assert "with attention in 1, 3 and a gated short convolution" in re.sub(r"\s+", " ", shown)
    text = re.sub(r"\s+", " ", attn("models", folder("lfm2-a")).text)
    assert "Layers 1, 3 have attention, the others a gated short convolution." in text


def test_a_ranking_is_of_the_heads_that_there_are(attn, folder):
    result = attn("heads", "--ids", IDS, "--model", folder("lfm2-a"), "--layer", "all", "--json")
    layers = [layer["layer"] for layer in result.json["result"]["layers"]]
    assert set(layers) == {1, 3}


@pytest.mark.parametrize(("question", "code", "message"), [
    (("trace", "--layer", "0"), 2, "layer 0 of .* is a gated short convolution"),
    (("heads", "--circuit", "2.0"), 2, "--circuit: layer 2 of"),
    (("heads", "--prove"), 1, "has layers without attention"),
])  # fmt: skip
def test_what_a_layer_without_heads_cannot_answer_is_refused(attn, folder, question, code, message):
    ids = () if "--prove" in question else ("--ids", IDS)
    result = attn(*question, *ids, "--model", folder("lfm2-a"))
    assert result.code == code
    assert re.search(message, result.err.decode())


def test_a_count_is_of_the_layers_that_there_are(attn, folder):
    result = attn("cost", "--model", folder("lfm2-a"), "--context", "5", "--json").json["result"]
    config, tensors = (document("lfm2-a")[k] for k in ("config", "tensors"))
    stored = {name: int(np.prod(shape)) for name, shape in dict(tensors).items()}
    assert result["parameters"] == sum(stored.values())
    assert [one["layers"] for one in result["attentions"]] == [2]
    assert result["matrices"] == 2 * config["num_attention_heads"]
    output = {part["part"]: part for part in result["parts"]}["attention_output"]
    assert output["layers"] == 2
    matrices = sum(count for name, count in stored.items()
                   if len(dict(tensors)[name]) > 1 and "embed_tokens" not in name)  # fmt: skip
    tied = stored["model.embed_tokens.weight"] * ("lm_head.weight" not in stored)
    assert result["multiplied"] == matrices + tied
    page = re.sub(r"\s+", " ", attn("cost", "--model", folder("lfm2-a")).text)
    assert "layers use the tensors of" not in page and "× 2 layers × n²" in page
