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


LATENT = ("deepseek-v2-a", "deepseek-v2-b", "deepseek-v3-a", "deepseek-v3-b", "minicpm3-a",
          "minicpm3-b")  # fmt: skip


def worked_out(formula, n):
    """What a calculator makes of a formula on the page."""
    words = formula.replace("·", "*").replace("n²", "n*n").replace(",", "")
    return eval(re.sub(r" (layers?|heads?)\b", "", words), {"n": n})


@pytest.mark.parametrize("name", LATENT)
def test_a_count_of_latents_can_be_redone_from_its_page(attn, folder, name):
    asked = ("cost", "--model", folder(name), "--context", "9")
    document = attn(*asked, "--json")
    jsonschema.validate(document.json, attn("schema", "cost").json)
    (row,), page = document.json["result"]["contexts"], attn(*asked, columns=140).text
    text = re.sub(r"\s+", " ", page)
    kept, whole = re.findall(r"(n · [^.]*?) numbers", text)[:2]
    assert (worked_out(kept, 9), worked_out(whole, 9)) == (row["latents"], row["cache"])
    assert f"{row['cache'] / row['latents']:.1f} times as many" in text
    work = re.search(r"weights·v: ([^.]*)\.", text)[1]
    assert worked_out(work, 9) == row["attention"]
    both = re.search(r"equal at n = (2 · [\d,]+ / \(2 · [\d,]+\)): from ([\d,]+)", text)
    assert worked_out(both[1], 9) <= int(both[2]) < worked_out(both[1], 9) + 1
    for product in re.findall(r"((?:[\d,]+ × )+[\d,]+) = ([\d,]+)", text):
        made, said = (one.replace("×", "*").replace(",", "") for one in product)
        assert eval(made) == int(said)
    shown = attn("show", stdin=document.out, columns=140).text
    told = (one.partition("parameters by part")[2].partition("Norms,")[0] for one in (shown, page))
    assert len(set(told)) == 1 and "Norms," in shown


@pytest.mark.parametrize(("name", "both"), [("deepseek-v2-a", True), ("deepseek-v2-b", False)])
def test_pages_say_which_norms_of_latents_are_folded_and_frozen(attn, folder, name, both):
    asked = ("--ids", IDS, "--model", folder(name))
    circuit = attn("heads", *asked, "--circuit", "1.0", "--json")
    jsonschema.validate(circuit.json, attn("schema", "heads").json)
    page = re.sub(r"\s+", " ", attn("heads", *asked, "--circuit", "1.0").text)
    shown = re.sub(r"\s+", " ", attn("show", stdin=circuit.out).text)
    for text in (page, shown):
        assert ("W_Q leads through q_latent, W_K and W_V through kv_latent" in text) == both
        assert ("W_K and W_V lead through kv_latent" in text) != both
        assert ("The roots that the norms of the latents" in text) == both
        assert f"W_QK is of the first {6 if both else 4} dimensions" in text
        assert "scale them and their latents" in text and "in the same place" not in text
    assert ("The attention factor 1.02527" in page) == both
    why = attn("why", *asked, "--layer", "1", "--by", "component").text
    assert ("The norms of q_latent and kv_latent" in re.sub(r"\s+", " ", why)) == both
    assert ("The norm of kv_latent" in re.sub(r"\s+", " ", why)) != both


def test_a_saved_trace_with_all_its_parameters_is_shown_again(attn, folder):
    asked = ("trace", "--ids", IDS, "--model", folder("deepseek-v2-a"), "--parameters", "--json")
    document = attn(*asked)
    jsonschema.validate(document.json, attn("schema", "trace").json)
    arrays = document.json["attention"][0]["arrays"]
    of = {name: np.array(arrays[name]["values"]) for name in (
        "normed", "w_q_down", "b_q_down", "w_q_latent_norm", "q_latent", "w_kv_down", "b_kv_down",
        "w_kv_latent_norm", "kv_latent",
    )}  # fmt: skip
    for letter in ("q", "kv"):
        latent = of["normed"] @ of[f"w_{letter}_down"] + of[f"b_{letter}_down"]
        latent /= np.sqrt((latent**2).mean(axis=1, keepdims=True) + 1e-6)
        latent *= of[f"w_{letter}_latent_norm"]
        np.testing.assert_allclose(latent, of[f"{letter}_latent"], atol=1e-5)
    page = attn("show", stdin=document.out).text
    assert "w_q_down   24 × 11" in page and "w_kv_down   24 × 14" in page


def test_dense_and_sparse_layers_are_counted_apart(attn, folder):
    config, tensors = (document("deepseek-v3-a")[key] for key in ("config", "tensors"))
    sizes = {0: 0, 1: 0}
    for name, shape in tensors.items():
        number = re.search(r"layers\.(\d)\.", name)
        if number:
            sizes[int(number[1])] += int(np.prod(shape))
    asked = ("cost", "--model", folder("deepseek-v3-a"), "--context", "9")
    kinds = attn(*asked, "--json").json["result"]["layer_kinds"]
    assert [(one["what"], one["layers"], one["parameters"]) for one in kinds] == [
        ("dense", 1, sizes[0]), ("sparse", 1, sizes[1]),
    ]  # fmt: skip
    page = attn(*asked).text
    for name, size in (("dense", sizes[0]), ("sparse", sizes[1])):
        assert re.search(rf"{name} layers +1 +{size:,} +{size:,}\n", page)
    assert config["first_k_dense_replace"] == 1
    alike = attn("cost", "--model", folder("deepseek-v3-b"), "--json").json["result"]
    assert "layer_kinds" not in alike


def test_a_sink_is_counted_as_one_and_one_of_a_thing_is_no_plural(attn, folder):
    page = attn("cost", "--model", folder("gpt_oss-a")).text
    assert re.search(r"sinks +6 +6 +12\n", page) and "other maps" not in page
    text = re.sub(r"\s+", " ", page + attn("cost", "--model", folder("qwen2_moe-b")).text)
    assert "6 heads × 1 layer ×" in text and "1 such share, not" in text
    assert not re.search(r"\b1 (layers|heads|kv heads|such shares|matrices)\b", text)


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
