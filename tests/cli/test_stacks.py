"""Two stacks at the command line: a target, cross-attention, and what belongs to which stack."""

import csv
import io
import json
import os

import jsonschema
import numpy as np
import pytest

from attn_cli.tokens.wordpiece import WordPiece

SOURCE = "the greatest thinker in China is Confucius"
TARGET = "中国 最 伟大"
WRITTEN = "中国最伟大的思想家是孔子"
MODEL = ("--model", "tiny-translator")
EVERY = ("--stack", "all", "--kind", "all", "-l", "all", "-H", "all")


def traced(attn, *arguments):
    return attn("trace", SOURCE, *MODEL, *arguments, "--json").json


def values(block, name):
    # A masked cell is null.
    return np.array(block["arrays"][name]["values"], float)


def kinds(found):
    return [(block["stack"], block["kind"], block["layer"]) for block in found["attention"]]


# --- the sentence --------------------------------------------------------------------------------


def test_without_a_target_the_decoder_starts_and_the_page_says_what_it_writes(attn):
    run = attn("trace", SOURCE, *MODEL)
    assert (
        WRITTEN in run.text and "note: no --target: the decoder reads its start token" in run.said
    )
    assert WRITTEN not in run.said
    found = traced(attn)
    assert [token["text"] for token in found["target"]["tokens"]] == ["<pad>"]
    assert found["next"][0]["candidates"][0]["text"] == "中国"
    assert any(WRITTEN in said for said in found["notes"])


def test_where_it_writes_china_a_cross_head_looks_at_china(attn):
    """The query that writes 中国 is the start token, by which it is predicted."""
    found = traced(attn, "--kind", "cross", "-l", "all", "-H", "all")
    tokens = [token["text"] for token in found["prompt"]["tokens"]]
    weights = [
        values(block, "weights")[:, 0, tokens.index("China")] for block in found["attention"]
    ]
    assert np.max(weights) > 0.5


def test_a_target_is_read_after_the_start_token_and_nothing_is_added(attn):
    found = traced(attn, "--target", TARGET)
    tokens = found["target"]["tokens"]
    assert [token["text"] for token in tokens] == ["<pad>", "中国", "最", "伟大"]
    assert [token["special"] for token in tokens] == [True, False, False, False]
    assert [entry["position"] for entry in found["next"]] == [3]
    assert found["next"][0]["candidates"][0]["text"] == "的"
    ids = ",".join(str(token["id"]) for token in tokens)
    same = traced(attn, "--target-ids", ids)
    assert same["target"]["text"] is None and same["attention"] == found["attention"]
    exact = traced(attn, "--target-ids", ids.partition(",")[2])
    assert [token["text"] for token in exact["target"]["tokens"]] == ["中国", "最", "伟大"]


def test_sampling_goes_on_with_the_target(attn):
    run = attn("sample", SOURCE, *MODEL, "-t", 0, "-n", 12, "--seed", 1, "--json").json
    words = [token["text"] for token in run["result"]["drawn"]]
    assert words == ["中国", "最", "伟大", "的", "思想家", "是", "孔子", "</s>"]
    assert [token["position"] for token in run["result"]["drawn"]] == list(range(1, 9))
    rest = attn(
        "sample", SOURCE, *MODEL, "--target", TARGET, "-t", 0, "-n", 12, "--seed", 1, "--json"
    ).json
    assert [token["text"] for token in rest["result"]["drawn"]] == words[3:]
    assert len(rest["prompt"]["target"]["tokens"]) == 4


def test_the_loss_is_that_of_the_target(attn):
    found = attn("loss", SOURCE, *MODEL, "--target", WRITTEN, "--json").json["result"]
    assert [p["next_token"] for p in found["positions"]] == [
        "中国", "最", "伟大", "的", "思想家", "是", "孔子",
    ]  # fmt: skip
    assert found["mean"] < 0.1


# --- which attention ------------------------------------------------------------------------------


def test_blocks_come_in_computing_order_each_with_its_own_rows_and_columns(attn):
    found = traced(attn, *EVERY, "--target", TARGET, "--parameters")
    assert kinds(found) == [
        ("encoder", "self", 0), ("encoder", "self", 1), ("decoder", "self", 0),
        ("decoder", "cross", 0), ("decoder", "self", 1), ("decoder", "cross", 1),
    ]  # fmt: skip
    source, target = len(found["prompt"]["tokens"]), len(found["target"]["tokens"])
    sides = {
        ("encoder", "self"): (source, source), ("decoder", "self"): (target, target),
        ("decoder", "cross"): (target, source),
    }  # fmt: skip
    for block in found["attention"]:
        shape = sides[block["stack"], block["kind"]]
        assert values(block, "weights").shape[1:] == shape
        assert (len(block["queries"]), len(block["keys"])) == shape
        assert ("key_x" in block["arrays"]) == (block["kind"] == "cross")
        assert ("bias" in block["arrays"]) == (block["kind"] == "self")
    assert found["model"]["encoder"] == {"layers": 2, "heads": 4}


def test_the_decoder_is_meant_unless_a_stack_is_named(attn):
    assert kinds(traced(attn)) == [("decoder", "self", 0)]
    assert kinds(traced(attn, "--kind", "cross")) == [("decoder", "cross", 0)]
    assert kinds(traced(attn, "--stack", "encoder", "-l", -1)) == [("encoder", "self", 1)]
    plain = attn("trace", "the", "--json").json
    assert plain["settings"]["stack"] == "decoder" and plain["settings"]["kind"] == "self"
    assert attn("trace", "the", "--stack", "decoder", "--kind", "self", "--json").json == plain


def test_in_every_format_rows_are_target_tokens_and_columns_source_tokens(attn):
    run = attn("trace", SOURCE, *MODEL, "--kind", "cross", "--target", TARGET, "--format", "csv")
    rows = [row for row in csv.DictReader(io.StringIO(run.text)) if row["name"] == "weights"]
    assert {row["row_token"] for row in rows} == {"<pad>", "中国", "最", "伟大"}
    assert {row["column_token"] for row in rows} == {*SOURCE.split(), "</s>"}
    page = attn("trace", SOURCE, *MODEL, "--kind", "cross", "--target", TARGET, "--step", 5).text
    title = "weights   4 × 8   rows: queries (target)   columns: keys (source)"
    lines = page.partition(title)[2].splitlines()
    assert lines[1].split() == [*SOURCE.split(), "</s>"]
    assert [line.split()[0].strip("▸") or line.split()[1] for line in lines[2:6]] == [
        "<pad>", "中国", "最", "伟大",
    ]  # fmt: skip


def test_rows_and_columns_are_chosen_by_the_tokens_of_their_own_side(attn):
    more = ("--kind", "cross", "--target", TARGET, "--query", "中国", "--key", "China,0")
    (block,) = traced(attn, *more)["attention"]
    assert (block["queries"], block["keys"]) == ([1], [4, 0])
    whole = traced(attn, "--kind", "cross", "--target", TARGET)["attention"][0]
    assert np.array_equal(values(block, "weights"), values(whole, "weights")[:, [1]][:, :, [4, 0]])
    run = attn("trace", SOURCE, *MODEL, "--kind", "cross", "--query", "China")
    assert run.code == 2 and "no token of this prompt" in run.said


@pytest.mark.parametrize("command", ["trace", "heads", "mask", "sample", "loss", "lens", "verify"])
def test_documents_of_two_stacks_follow_their_schema(attn, command):
    more = {"trace": EVERY, "heads": ("--kind", "cross"), "mask": ("--stack", "encoder")}
    run = attn(command, SOURCE, *MODEL, "--target", TARGET, *more.get(command, ()), "--json").json
    jsonschema.Draft202012Validator(attn("schema", command).json).validate(run)


# --- what a stack's settings change ---------------------------------------------------------------


def marked(found):
    return {
        (block["stack"], block["kind"], block["layer"]): {
            name for name, array in block["arrays"].items() if array["provenance"] == "what-if"
        }
        for block in found["attention"]
    }


def test_masks_of_cross_attention_hide_source_tokens(attn):
    more = ("--kind", "cross", "--target", TARGET, "-H", "all")
    (block,) = traced(attn, *more, "--mask", "block:<pad>:China")["attention"]
    visible = values(block, "visible").astype(bool)
    assert np.argwhere(~visible).tolist() == [[0, 4]]
    assert not values(block, "weights")[:, 0, 4].any()
    (block,) = traced(attn, *more, "--mask", "padding:3")["attention"]
    assert values(block, "visible").astype(bool).tolist() == [[True] * 5 + [False] * 3] * 4


def test_a_changed_encoder_is_marked_from_where_it_was_changed(attn):
    base = (*EVERY[4:], "--target", TARGET)
    run = attn("trace", SOURCE, *MODEL, "--stack", "encoder", *base, "--mask", "window:1", "--json")
    found = marked(run.json)
    assert "x" not in found["encoder", "self", 0] and "weights" in found["encoder", "self", 0]
    assert "x" in found["encoder", "self", 1]
    assert run.json["next"][0]["candidates"] and run.json["settings"]["stack"] == "encoder"
    plain = traced(attn, "--kind", "cross", *base)["attention"][0]
    removed = traced(attn, "--kind", "cross", *base, "--without-head", "0.1")["attention"][0]
    assert marked({"attention": [removed]}) == {("decoder", "cross", 0): {"head_output", "output"}}
    assert not values(removed, "head_output")[1].any() and values(plain, "head_output")[1].any()


def test_all_attentions_at_once(attn):
    found = traced(attn, *EVERY, "--target", TARGET, "--attention-temperature", 0)
    for block in found["attention"]:
        assert np.isin(values(block, "weights"), (0, 0.5, 1)).all()
    assert found["settings"]["stack"] == found["settings"]["kind"] == "all"


def test_heads_of_cross_attention_have_no_previous_key(attn):
    run = attn("heads", SOURCE, *MODEL, "--kind", "cross", "--target", TARGET)
    rows = run.text.partition("on itself")[2].splitlines()[2:6]
    assert [line.split()[3:5] for line in rows] == [["–", "–"]] * 4
    found = attn("heads", SOURCE, *MODEL, "--kind", "cross", "--target", TARGET, "--json").json
    assert {h["previous_share"] for h in found["result"]["heads"]} == {None}
    assert found["result"]["largest_error"] < 1e-6
    assert (found["result"]["stack"], found["result"]["kind"]) == ("decoder", "cross")
    several = attn("heads", SOURCE, *MODEL, *EVERY[:4], "-l", "all", "--json").json["result"]
    assert len(several["layers"]) == 6


MAY_SEE = {
    ("--stack", "encoder"): "An encoder reads the whole text at once: every query may see every",
    ("--stack", "decoder"): "A decoder reads from left to right: each query may see itself",
    ("--kind", "cross"): "In cross-attention every target token may see every source token",
}


@pytest.mark.parametrize("where", MAY_SEE, ids=" ".join)
def test_a_mask_page_says_what_its_kind_of_attention_may_see(attn, where):
    text = " ".join(attn("mask", SOURCE, *MODEL, *where).text.split())
    assert MAY_SEE[where] in text


def test_verify_finds_every_stack_normal(attn):
    found = attn("verify", SOURCE, *MODEL, "--target", TARGET, "--json").json["result"]
    assert found["verdict"] == "normal" and found["layers"] == 4
    assert {entry["name"] for entry in found["float64"]} >= {"bias", "scores", "head_output", "x"}


def test_exchange_names_say_which_attention(attn, tmp_path):
    out = tmp_path / "all.npz"
    attn("trace", SOURCE, *MODEL, *EVERY, "--target", TARGET, "--out", out)
    with np.load(out) as archive:
        assert archive["encoder_blocks.1.attn.hook_pattern"].shape == (4, 8, 8)
        assert archive["decoder_blocks.0.cross_attn.hook_pattern"].shape == (4, 4, 8)
        assert archive["decoder_blocks.1.self_attn.hook_pattern"].shape == (4, 4, 4)
        assert archive["target_tokens"].tolist() == [
            token["id"] for token in json.loads(str(archive["attn.document"]))["target"]["tokens"]
        ]


# --- what was typed -------------------------------------------------------------------------------

WRONG = {
    "a stack there is not": (("trace", "x", "--stack", "encoder"), "one stack, the decoder"),
    "a kind there is not": (("trace", "x", "--kind", "cross"), "no cross-attention"),
    "of an encoder": (
        ("trace", "x", *MODEL, "--stack", "encoder", "--kind", "cross"),
        "this encoder has no cross-attention",
    ),
    "a target for a decoder": (("trace", "x", "--target", "y"), "tiny is a decoder alone"),
    "ids for a decoder": (("sample", "x", "--target-ids", "1"), "tiny is a decoder alone"),
    "a pair for a decoder": (("trace", "x", "--pair", "y"), "tiny has no segments"),
    "two targets": (
        ("trace", "x", *MODEL, "--target", "y", "--target-ids", "1"), "two targets",
    ),
    "an id there is not": (
        ("trace", "x", *MODEL, "--target-ids", "9999"), "--target-ids 9999 is out of range",
    ),
    "no id": (("trace", "x", *MODEL, "--target-ids", "a"), "'a' is no id"),
    "a word that is no stack": (("trace", "x", "--stack", "both"), "one of encoder, decoder, all"),
    "several blocks for one mask": (
        ("mask", "x", *MODEL, "--stack", "all"), "one head of one layer of one attention",
    ),
    "an empty target": (("trace", "x", *MODEL, "--target", " "), "--target is empty"),
    "a query there is not": (
        ("trace", "x", *MODEL, "--kind", "cross", "--mask", "block:5:0"),
        "5 is out of range for this prompt of 1 query and 2 keys",
    ),
    "a mask too long for one stack": (
        ("trace", "x y", *MODEL, *EVERY[:4], "--mask", "padding:3"), "(in decoder self-attention)",
    ),
    "a layer of no stack": (("trace", "x", *MODEL, "--stack", "all", "-l", 2), "0 to 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_belong_to_a_model_is_refused(attn, case):
    arguments, told = WRONG[case]
    run = attn(*arguments)
    assert run.code == 2 and told in run.said


def test_layers_and_heads_that_one_of_the_stacks_has_are_enough(attn, golden_path):
    """Of an encoder of three layers and a decoder of two, counted from each one's end."""
    model = ("--model", golden_path / "t5-silu", "--ids", "3,4", "--stack", "all", "--kind", "self")

    def layers(given):
        found = attn("trace", *model, "-l", given, "--step", 5, "--json").json["attention"]
        return [(block["stack"], block["layer"]) for block in found]

    assert layers("2") == [("encoder", 2)]
    assert layers("-1") == [("encoder", 2), ("decoder", 1)]
    assert layers("-3") == [("encoder", 0)]
    assert layers("1-2") == [("encoder", 1), ("encoder", 2), ("decoder", 1)]
    assert attn("trace", *model, "-l", "3").code == 2
    found = attn(
        "trace", *model, "-l", "all", "--without-head", "2.0", "--without", "mlp:2", "--json"
    )
    assert found.code == 0


def test_leaving_out_a_scale_of_1_changes_nothing(attn):
    found = traced(attn, "--without", "scale")
    assert not any(marked(found).values())
    assert any("--without scale changes nothing" in said for said in found["notes"])


def test_where_no_norm_comes_last_the_page_says_so(attn, golden_path):
    run = attn("trace", "--model", golden_path / "bart", "--ids", "3,4,5")
    page = " ".join(run.text.split())
    assert "`final` is x as it is: the last layer has normalised it." in page
    assert "from x to `final` 1 × " in page


def test_what_to_try_next_leads_to_the_source(attn):
    page = " ".join(attn("trace", SOURCE, *MODEL).text.split())
    assert "--model tiny-translator --kind=cross" in page
    assert "--mask block:0:0" not in page and "there is no other token yet" in page
    assert "The queries start from `normed`" in " ".join(
        attn("trace", SOURCE, *MODEL, "--kind", "cross", "--step", 2).text.split()
    )


def test_what_was_written_on_is_said_of_the_target(attn):
    run = attn("trace", SOURCE, *MODEL, "--target", "中国", "--max-tokens", 2, "--json")
    assert any("added 2 tokens after the target" in said for said in run.json["notes"])


def test_a_text_far_beyond_this_machines_memory_is_refused_by_its_beginning(attn, monkeypatch):
    """T5 reads any length, as far as the weights of one head fit."""
    read, whole = [], WordPiece.encode

    def encode(self, text, **more):
        read.append(text)
        return whole(self, text, **more)

    monkeypatch.setattr(WordPiece, "encode", encode)
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**13}  # 32 MiB: 2896² numbers
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    run = attn("trace", "the king " * 230_000, *MODEL)
    assert run.code == 1 and "this machine could read 2,896 in its memory" in run.said
    assert max(map(len, read)) < 100_000
