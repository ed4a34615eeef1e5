"""Which experts a mixture's tokens passed: on the page, in every format, and in saved documents."""

import io
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from made_folders import made_folder

TYPES = Path(__file__).parents[1] / "golden" / "types"
IDS = "2,19,13,39,39,34,11"


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    """A model whose shares do not add up to 1, with a shared expert: 3 of 6 in each of 2 layers."""
    return made_folder(tmp_path_factory.mktemp("mixture"), "qwen2_moe-a")


@pytest.fixture
def traced(attn, mixture):
    """The trace of the ids, whatever else is asked."""
    return lambda *more, ids=IDS: attn("trace", "--ids", ids, "-m", mixture, *more)


def routing(page):
    """The end of a page, from the experts on."""
    _, _, end = page.partition("\n experts: ")
    return end.partition("\n try next")[0]


# --- the page ------------------------------------------------------------------------------------


def test_the_page_ends_with_the_experts_of_every_token(traced):
    document = traced("--json").json
    (of,) = document["experts"]
    end = routing(traced().text)
    assert end.startswith("3 of 6 for each token\n")
    told = " ".join(end.split())
    assert "the shared expert, is passed by every token" in told
    assert "need not add up to 1" in told
    lines = [line.split() for line in end.splitlines() if line.lstrip().startswith("<")]
    assert len(lines) == 7
    for line, chosen, shares in zip(lines, of["chosen"], of["shares"], strict=True):
        assert line[1::2] == [f"{expert}:" for expert in chosen]
        assert [float(share) for share in line[2::2]] == pytest.approx(shares, abs=0.006)
    times = np.bincount(np.ravel(of["chosen"]), minlength=6)
    for expert, count in enumerate(times):
        assert (f"{expert} ×{count}" in told) == bool(count)


def test_of_many_rows_the_followed_token_stands_for_all(traced):
    document = traced("--json", "-l", "all").json
    assert len(document["experts"]) == 2
    ids = ",".join([IDS] * 2)
    end = routing(traced("-l", "all", ids=ids).text)
    rows = [line for line in end.splitlines() if "×" in line and ":" in line]
    assert [int(row.split()[0]) for row in rows] == [0, 1]
    assert "the experts of `<11>·13`, and how many of all 14 tokens" in end
    assert routing(traced("-l", "all", "--full", ids=ids).text).count("<39>") == 8


def test_a_what_if_is_said_to_be_one(traced):
    assert "under the what-if settings" in routing(traced("--mask", "none").text).splitlines()[0]
    assert "what-if" not in routing(traced().text)
    of = traced("--mask", "none", "--json").json["experts"][0]
    assert of["provenance"] == "what-if"


def test_a_model_without_experts_says_nothing_of_any(attn):
    assert "experts" not in attn("trace", "the king").text
    assert "experts" not in attn("trace", "the king", "--json").json


# --- formats -------------------------------------------------------------------------------------


def test_documents_and_lines_follow_the_schema(attn, traced):
    document = traced("--json", "--step", "5", "-l", "all").json
    jsonschema.validate(document, attn("schema", "trace").json)
    assert [of["layer"] for of in document["experts"]] == [0, 1]
    lines = traced("--format", "ndjson", "--step", "5", "-l", "all").lines
    assert lines[-2] == {"experts": document["experts"]}
    line = jsonschema.Draft202012Validator(attn("schema", "trace", "--line").json)
    assert all(line.is_valid(one) for one in lines)


def test_queries_restrict_the_experts_too(traced):
    whole = traced("--json").json["experts"][0]
    some = traced("--json", "--query", "6,1").json
    of = some["experts"][0]
    assert of["queries"] == some["attention"][0]["queries"]
    assert of["chosen"] == [whole["chosen"][query] for query in of["queries"]]
    end = routing(traced("--query", "6,1").text)
    assert sum(line.lstrip().startswith("<") for line in end.splitlines()) == 2
    assert "Of these 7 tokens" in end


def test_csv_has_a_row_for_each_token_and_expert(traced):
    of = traced("--json").json["experts"][0]
    rows = [row.split(",") for row in traced("--format", "csv").text.splitlines()]
    rows = [row for row in rows if row[5] == "shares"]
    assert [(int(row[6]), int(row[7])) for row in rows] == [
        (query, expert) for query, chosen in enumerate(of["chosen"]) for expert in chosen
    ]
    assert [float(row[10]) for row in rows] == pytest.approx(np.ravel(of["shares"]))
    assert {row[11] for row in rows} == {"real"} and rows[0][8] == "<2>"


def test_npz_has_the_experts_of_each_layer(attn, traced, tmp_path, mixture):
    of = traced("--json").json["experts"][0]
    path = tmp_path / "trace.npz"
    traced("--out", path)
    with np.load(io.BytesIO(path.read_bytes())) as found:
        assert found["blocks.0.mlp.hook_expert_indices"].tolist() == of["chosen"]
        assert found["blocks.0.mlp.shares"] == pytest.approx(np.array(of["shares"], np.float32))
    assert attn("verify", "--ids", IDS, "-m", mixture, "--against", path).code == 0


# --- saved documents -----------------------------------------------------------------------------


def test_a_saved_document_shows_the_same_experts(attn, traced):
    document = traced("--json", "-l", "all").out
    shown = routing(attn("show", stdin=document).text)
    of_model = routing(traced("-l", "all").text)
    told = [line for line in of_model.splitlines() if "0." in line or "×" in line]
    assert told and all(line in shown for line in told)
    assert attn("show", "--json", stdin=document).json == json.loads(document)


@pytest.mark.parametrize(("change", "said"), [
    (lambda of: of["chosen"][2].__setitem__(0, of["chosen"][2][1]),
     "it sends token 2 to the same expert twice"),
    (lambda of: of["chosen"][1].__setitem__(0, 6), "to an expert that is not one of 6"),
    (lambda of: of["chosen"][1].__setitem__(0, -1), "to an expert that is not one of 6"),
    (lambda of: of.__setitem__("count", 2), "that is not one of 2"),
    (lambda of: of["chosen"].pop(), "its experts of layer 0 have no share each"),
    (lambda of: of["chosen"][0].pop(), "its experts of layer 0 have no share each"),
    (lambda of: of["shares"][0].pop(), "rows of different lengths"),
    (lambda of: of["queries"].pop(), "its experts of layer 0 are of other tokens"),
    (lambda of: of.__setitem__("layer", 1), "its experts of layer 1 are of other tokens"),
    (lambda of: of.__setitem__("shares", [[True] * 3] * 7), "have no share each"),
    (lambda of: of.__setitem__("chosen", []), "have no share each"),
    (lambda of: of.__setitem__("chosen", "all"), "does not follow attn.trace/1"),
])  # fmt: skip
def test_what_no_router_can_say_is_refused_by_name(attn, traced, change, said):
    document = traced("--json", "--step", "5").json
    change(document["experts"][0])
    result = attn("show", stdin=json.dumps(document).encode())
    assert result.code == 1 and said in result.said


def test_a_layer_that_stands_there_twice_is_refused(attn, traced):
    document = traced("--json", "--step", "5").json
    document["experts"] *= 2
    result = attn("show", stdin=json.dumps(document).encode())
    assert result.code == 1
    assert "its experts have a layer twice" in result.said


# --- other commands ------------------------------------------------------------------------------


def test_other_commands_take_a_mixture(attn, traced, mixture):
    model = ("--ids", IDS, "-m", mixture)
    assert attn("compare", *model, "--mask", "none").code == 0
    assert attn("lens", *model).code == 0
    assert attn("why", *model, "--by", "component", "--layer", "1").code == 0
    assert attn("heads", *model).code == 0
    assert attn("sample", *model, "-n", "2", "--seed", "1").code == 0
    assert attn("loss", *model).code == 0


def test_cost_counts_the_experts_that_a_token_meets(attn, mixture):
    found = attn("cost", "-m", mixture, "--json").json["result"]
    parts = {part["part"]: part["parameters"] for part in found["parts"]}
    assert parts["experts"] == 2 * 6 * 3 * 24 * 9
    matrices = ("query", "key", "value", "attention_output", "router", "shared_experts", "output")
    assert found["multiplied"] == sum(parts[name] for name in matrices) + parts["experts"] // 2
    assert "Of the 6 experts in a layer a token meets 3" in attn("cost", "-m", mixture).text


def test_why_tells_a_norm_over_all_heads_but_not_what_is_clipped_after_it(attn, tmp_path):
    asked = ("why", "--ids", IDS, "--array", "q", "--column", "1", "-m")
    told = " ".join(attn(*asked, made_folder(tmp_path, "olmoe-b")).text.split())
    assert "The RMS norm of all heads together divides by the root" in told
    result = attn(*asked, made_folder(tmp_path, "olmoe-a"))
    assert result.code == 2 and "normalises q and then clips it" in result.said
    assert attn(*asked[:4], "v", *asked[5:], tmp_path).code == 0


def test_the_rest_of_a_layer_says_where_its_network_is_a_mixture(attn, type_folder):
    folder, said = type_folder("qwen2_moe-b"), "Here the network is a mixture of experts"
    for layer, mixed in ((0, False), (1, True)):
        page = attn("trace", "--ids", "3,1", "--layer", layer, "-m", folder).text
        assert (said in " ".join(page.split())) == mixed


def test_what_scores_the_experts_and_the_sinks_are_counted_by_name(attn, type_folder):
    parts = {one["part"]: one for one in attn(
        "cost", "-m", type_folder("gpt_oss-a"), "--json"
    ).json["result"]["parts"]}  # fmt: skip
    assert parts["router"]["shapes"] == [[20, 5]] and parts["router"]["parameters"] == 2 * 20 * 5
    assert parts["sinks"]["parameters"] == 2 * 6  # layers × heads
    assert "feed_forward" not in parts and "other" not in parts


def test_compositions_say_which_norms_they_leave_out(attn, type_folder):
    page = attn("heads", "--prove", "-m", type_folder("qwen3_moe-b")).text
    assert ("K-comp" in page) == ("after W_Q and W_K is left out" in " ".join(page.split()))
