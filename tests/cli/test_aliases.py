"""What pages and questions say of multipliers, of growing queries and of paired neighbours."""

import json

import numpy as np
import pytest
from made_folders import document, made_folder

IDS = "3,5,7,9,1,2,4"


@pytest.fixture
def changed(tmp_path):
    """The folder of a golden model, with some values of its config, and of its tensors, changed."""

    def make(name, tensors=dict, **changes):
        folder = tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}"
        return made_folder(folder, name, document(name)["config"] | changes, tensors)

    return make


@pytest.fixture
def page(attn):
    """What a command prints, in one line."""

    def read(command, folder, *more):
        result = attn(command, "--ids", IDS, "-m", str(folder), *more)
        assert result.code == 0, result.said
        return " ".join(result.text.split())

    return read


def test_the_page_tells_of_multipliers(page, changed):
    said = page("trace", changed("granite-a"))
    assert "x = token vector × 3.5 " in said and "multiplied by 3.5 on the way in" in said
    assert "scaled = scores × 0.21 " in said
    assert "every head's pull; multiplied by 0.4, it is added to x." in said
    assert "Each of the two is multiplied by 0.4 first" in said
    assert "times 0.588235; softmax" in said


def test_a_multiplier_of_one_is_not_told(page, changed):
    ones = ("embedding_multiplier", "residual_multiplier", "logits_scaling")
    said = page("trace", changed("granite-a", **dict.fromkeys(ones, 1)))
    assert "x = token vector " in said and "every head's pull; it is added to x." in said
    assert "multiplied by 0.4" not in said and "on the way in" not in said
    assert ", times " not in said


@pytest.mark.parametrize(("name", "pair"), [
    ("helium-a", "dimensions 2i and 2i + 1"), ("ernie4_5-a", "dimensions 2i and 2i + 1"),
    ("arcee-a", "dimensions i and i + 2"), ("gemma-a", "dimensions i and i + 2"),
])  # fmt: skip
def test_the_page_tells_which_dimensions_rotate_together(page, changed, name, pair):
    assert f"{pair} rotate together" in page("trace", changed(name))


def test_the_page_tells_how_a_query_grows_and_why_redoes_it(page, changed):
    folder = changed("ministral3-a")
    assert "for `<4>` it is 1.7690." in page("trace", folder)  # 1 + 0.7·ln(1 + ⌊6 ÷ 3⌋)
    said = page("why", folder, "--array", "q", "--query", "5", "--column", "2")
    assert ", times the query's 1.4852 at this position = " in said
    assert "query's" not in page("why", folder, "--array", "k", "--query", "5", "--column", "2")
    still = "--query", "1", "--column", "2"
    assert "query's 1 at" not in page("why", folder, "--array", "q", *still)


@pytest.mark.parametrize("name", [
    "granite-a", "granite-b", "ministral3-a", "helium-b", "ernie4_5-b", "gemma-a", "arcee-b",
])  # fmt: skip
def test_a_score_is_the_sum_of_its_parts(attn, changed, name):
    asked = "--ids", IDS, "-m", str(changed(name)), "--layer", "1", "--by", "component"
    result = attn("why", *asked, "--query", "6", "--key", "2", "--json").json["result"]
    (cell,) = result["cells"]
    assert cell["error"] < 1e-5
    assert sum(part["value"] for part in cell["by_key"]) == pytest.approx(
        cell["advantage"], abs=1e-5
    )


def test_what_a_head_adds_to_a_logit_passes_the_multiplier(attn, changed):
    """Of all heads, and the bias: as much as the attention of the last layer adds to the logit."""
    folder, added = changed("granite-a"), []
    asked = "--ids", "3,5", "-m", str(folder), "--layer", "1", "--query", "1"
    for head in range(6):
        for key in range(2):
            more = "--head", str(head), "--key", str(key), "--json"
            result = attn("why", *asked, *more).json["result"]
            added.append(result["direct"]["added"])
            token = result["direct"]["token"]
    watched = attn("lens", "--ids", "3,5", "-m", str(folder), "--watch", token, "--json").json
    rows = watched["result"]["positions"][-1]["rows"]
    assert sum(added) == pytest.approx(rows[-1]["attention"], abs=1e-4)


# --- names and configs ---------------------------------------------------------------------------


def test_an_exaone_may_have_the_references_names(attn, changed):
    names = {
        "transformer.wte.": "model.embed_tokens.", "transformer.ln_f.": "model.norm.",
        "transformer.h.": "model.layers.", ".attn.attention.out_proj": ".self_attn.o_proj",
        ".attn.attention.": ".self_attn.", ".ln_1.": ".input_layernorm.",
        ".ln_2.": ".post_attention_layernorm.", ".c_fc_0.": ".gate_proj.", ".c_fc_1.": ".up_proj.",
        ".c_proj.": ".down_proj.",
    }  # fmt: skip

    def renamed(tensors):
        found = {}
        for name, array in tensors.items():
            place = name
            for theirs, ours in names.items():
                place = place.replace(theirs, ours)
            found[place] = array
        return found

    found = attn("trace", "--ids", IDS, "-m", str(changed("exaone-b", renamed)), "--json")
    wanted = attn("trace", "--ids", IDS, "-m", str(changed("exaone-b")), "--json")
    assert found.json["next"] == wanted.json["next"]


def test_an_exaone_may_have_lgs_names_of_keys(attn, changed):
    spelt = {"num_layers": 2, "layer_norm_epsilon": 3e-3, "activation_function": "silu"}
    folder = changed("exaone-a")
    plain = attn("trace", "--ids", IDS, "-m", str(folder), "--json")
    config = json.loads((folder / "config.json").read_text()) | spelt
    for key in ("num_hidden_layers", "rms_norm_eps", "hidden_act"):
        del config[key]
    (folder / "config.json").write_text(json.dumps(config))
    again = attn("trace", "--ids", IDS, "-m", str(folder), "--json")
    assert again.json["next"] == plain.json["next"] and again.said == plain.said


def test_a_mistral_with_layer_types_is_read_as_the_reference_reads_it(attn, changed):
    kinds = {"layer_types": ["full_attention", "sliding_attention"]}
    folder = changed("ministral-a", model_type="mistral", **kinds)
    found = attn("trace", "--ids", IDS, "-m", str(folder), "--layer", "all", "--json").json
    hidden = [np.array(b["arrays"]["visible"]["values"]).sum() for b in found["attention"]]
    assert hidden == [28, 22]  # all earlier keys; four at most


@pytest.mark.parametrize(("name", "changes", "words"), [
    ("iquestcoder-a", {"clip_qkv": 8.0}, "clip_qkv is 8.0, which attn does not know"),
    ("iquestcoder-a", {"use_sliding_window": True}, "use_sliding_window is true"),
    ("internlm3-a", {"bias": False}, "attention_bias and bias differ"),
    ("gemma-a", {"use_bidirectional_attention": True}, "use_bidirectional_attention is true"),
    ("granite-a", {"residual_multiplier": 0}, "residual_multiplier is 0, not a number above 0"),
    ("granite-a", {"logits_scaling": "8"}, "logits_scaling is '8', not a number above 0"),
    ("helium-a", {"num_attention_heads": 2}, "o_proj.weight is 24 × 24, its settings ask for"),
    ("arcee-a", {"hidden_act": "xielu"}, "hidden_act is 'xielu'"),
    ("cwm-a", {"sliding_window": None}, "sliding_window is missing"),
    ("cwm-a", {"layer_types": ["full_attention"]}, "layer_types is not a list of 2 words"),
    ("ministral-a", {"sliding_window": None}, "sliding_window is missing"),
    ("ministral-a", {"head_dim": None}, "head_dim is missing"),
    ("ministral3-a", {"rope_parameters": {"rope_type": "default"}}, "llama_4_scaling_beta is mi"),
    ("ministral3-a", {"layer_types": ["sliding_attention"] * 2}, "is 'sliding_attention'"),
    ("seed_oss-a", {"rope_parameters": {"rope_type": "dynamic"}}, "factor is missing"),
    ("ernie4_5-a", {"use_bias": "no"}, "use_bias is 'no', not true or false"),
    ("exaone-a", {"num_layers": 0}, "num_layers is 0, not a whole number"),
])  # fmt: skip
def test_what_cannot_be_honoured_is_refused_by_name(attn, changed, name, changes, words):
    result = attn("trace", "--ids", IDS, "-m", str(changed(name, **changes)))
    assert (result.code, result.out) == (1, b"")
    assert words in result.said and len(result.said.splitlines()) <= 3


def test_beyond_the_context_a_dynamic_rotation_is_not_known(attn, changed):
    folder, long = changed("internlm3-a"), ",".join(["5"] * 32)
    assert attn("trace", "--ids", ",".join(["5"] * 31), "-m", str(folder)).code == 0
    for command in ("trace", "sample", "lens"):
        result = attn(command, "--ids", long, "-m", str(folder), "--force-context")
        assert (result.code, result.out) == (1, b"")
        assert "beyond 31 tokens" in result.said and "rope_type dynamic" in result.said
        assert "\nhint: up to 31 tokens work" in result.said
