"""An encoder at the command line: masks to fill, pairs, and what it does not do."""

import re

import numpy as np
import pytest

from attn_cli.tokens.wordpiece import WordPiece

MODEL = ("--model", "tiny-encoder")
PROMPT = "the greatest thinker in China is [MASK]"


def traced(attn, text, *arguments):
    return attn("trace", text, *MODEL, *arguments, "--json").json


def test_a_mask_is_filled_by_what_stands_on_both_sides(attn):
    found = traced(attn, PROMPT)
    (entry,) = found["next"]
    tokens = [token["text"] for token in found["prompt"]["tokens"]]
    assert tokens == ["[CLS]", *PROMPT.split(), "[SEP]"]
    assert tokens[entry["position"]] == "[MASK]"
    assert entry["candidates"][0]["text"] == "Confucius"
    (entry,) = traced(attn, "the greatest thinker in [MASK] is Confucius")["next"]
    assert (entry["position"], entry["candidates"][0]["text"]) == (5, "China")


def test_each_mask_has_a_prediction_of_its_own(attn):
    found = traced(attn, "the greatest [MASK] in China is [MASK]")
    assert [entry["position"] for entry in found["next"]] == [3, 7]
    assert found["next"][0]["candidates"][0]["text"] in ("thinker", "poet", "general", "painter")
    page = attn("trace", "the greatest [MASK] in China is [MASK]", *MODEL).text
    assert "the token for `[MASK]·3`, after all 2 layers" in page
    assert "the token for `[MASK]·7`, after all 2 layers" in page


def test_an_early_word_looks_at_a_later_one(attn):
    """What a decoder's mask forbids: `greatest` or `thinker` at `China`."""
    found = traced(attn, PROMPT, "-l", "all", "-H", "all")
    weights = np.array([block["arrays"]["weights"]["values"] for block in found["attention"]])
    assert weights[:, :, [2, 3], 5].max() > 0.4
    for block in found["attention"]:
        assert np.array(block["arrays"]["visible"]["values"]).all()
        assert (block["stack"], block["kind"]) == ("encoder", "self")
    decoder = attn("trace", "the greatest thinker in China is", "-l", "all", "-H", "all", "--json")
    for block in decoder.json["attention"]:
        assert not np.array(block["arrays"]["weights"]["values"])[:, [1, 2], 4].any()


def test_the_page_follows_the_mask_token_and_says_how_the_prediction_is_made(attn):
    page = " ".join(attn("trace", PROMPT, *MODEL).text.split())
    for told in (
        "This page follows `[MASK]` through head 0 of layer 0 and on to the token that fills it",
        "x = layer norm of token vector + position vector + segment vector",
        "an encoder reads the whole text at once, so every query sees every key",
        "Attention's output is added to x and the sum normalised",
        "`final` is what the prediction head makes of x: a linear map, gelu and a layer norm",
        "plus the token's bias",
    ):
        assert told in page


def test_without_a_mask_there_is_a_note_and_no_prediction(attn):
    run = attn("trace", "the greatest thinker", *MODEL, "--json")
    assert run.code == 0 and run.json["next"] == []
    assert any("has no [MASK]" in said for said in run.json["notes"])
    page = attn("trace", "the greatest thinker", *MODEL).text
    assert "This page follows `thinker`" in " ".join(page.split()) and "probability" not in page


def test_a_pair_has_two_segments(attn):
    found = traced(attn, "the king", "--pair", "the [MASK]")
    texts = [token["text"] for token in found["prompt"]["tokens"]]
    assert texts == ["[CLS]", "the", "king", "[SEP]", "the", "[MASK]", "[SEP]"]
    assert found["settings"]["pair"] == "the [MASK]" and found["next"][0]["position"] == 5
    parts = traced(attn, "the king", "--pair", "the [MASK]", "--parameters")["attention"][0][
        "arrays"
    ]
    rows = np.array(parts["type_embedding"]["values"])
    assert (rows[:4] == rows[0]).all() and (rows[4:] == rows[4]).all()
    assert not np.array_equal(rows[0], rows[4])
    one = traced(attn, "the king the [MASK]", "--no-special")
    assert len(one["prompt"]["tokens"]) == 4


def test_a_window_reaches_to_both_sides(attn):
    found = traced(attn, PROMPT, "--mask", "window:2")["attention"][0]
    visible = np.array(found["arrays"]["visible"]["values"])
    places = np.arange(len(visible))
    assert np.array_equal(visible, np.abs(places[:, None] - places) < 2)
    page = attn("trace", PROMPT, *MODEL, "--mask", "window:2", "--step", 4).text
    assert "A window: each query sees itself and, at most, 1 token on" in page


NEEDS_A_NEXT_TOKEN = {
    "sample": ("sample", PROMPT), "loss": ("loss", PROMPT),
    "max-tokens": ("trace", PROMPT, "--max-tokens", 2),
}  # fmt: skip


@pytest.mark.parametrize("case", NEEDS_A_NEXT_TOKEN)
def test_what_needs_a_next_token_is_refused(attn, case):
    run = attn(*NEEDS_A_NEXT_TOKEN[case], *MODEL)
    assert run.code == 2
    assert "tiny-encoder is an encoder, which predicts none" in run.said
    assert "hint: attn trace shows what it puts in the place of a mask token" in run.said


REFUSED = {
    "--target": ("--target", "x"), "--target-ids": ("--target-ids", "1"),
    "--kind cross": ("--kind", "cross"), "--stack decoder": ("--stack", "decoder"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_decoders_option_is_refused(attn, case):
    run = attn("trace", PROMPT, *MODEL, *REFUSED[case])
    assert run.code == 2 and "encoder" in run.said


def test_more_tokens_than_positions(attn):
    context = traced(attn, "the")["model"]["context"]
    run = attn("trace", "the " * context, *MODEL)
    assert run.code == 1 and f"reads at most {context:,}" in run.said


def test_a_causal_mask_on_an_encoder_is_not_said_to_be_its_own(attn):
    page = " ".join(attn("trace", PROMPT, *MODEL, "--mask", "causal", "--step", 4).text.split())
    assert "It hides later tokens from earlier ones, as a decoder's does" in page
    assert "writes from left to right" not in page


def test_the_effect_of_a_mask_is_on_the_token_that_fills(attn):
    page = attn("mask", PROMPT, *MODEL, "--mask", "block:[MASK]:China").text
    assert "the token for `[MASK]`, before and after" in page and "next token" not in page


def test_a_post_norm_layer_can_be_redone_from_its_page(attn):
    """x + attention, its norm, what the network adds, and the norm of that."""
    block = traced(attn, PROMPT, "--after", "--parameters")["attention"][0]["arrays"]
    page = attn("trace", PROMPT, *MODEL, "--digits", 4, "--full").text
    told = re.search(r"the first norm's mean is (\S+), its root (\S+); the", " ".join(page.split()))
    total = np.array(block["x"]["values"])[7] + np.array(block["output"]["values"])[7]
    mean, root = (float(n.replace("−", "-")) for n in told.groups())
    assert mean == pytest.approx(total.mean(), abs=1e-4)
    assert root == pytest.approx(np.sqrt(total.var() + 1e-5), abs=1e-3)
    parts = [np.array(block[f"{p}_embedding"]["values"])[7] for p in ("token", "position", "type")]
    embedded = sum(parts)
    normed = (embedded - embedded.mean()) / np.sqrt(embedded.var() + 1e-5)
    learned = (np.array(block[name]["values"]) for name in ("w_norm", "b_norm"))
    weight, bias = learned
    np.testing.assert_allclose(normed * weight + bias, block["x"]["values"][7], atol=1e-5)


EMPTY = {
    "the prompt": ("",), "the prompt, of spaces": ("   ",), "--pair": ("x", "--pair", ""),
    "--pair, of spaces": ("x", "--pair", "  "),
}  # fmt: skip


@pytest.mark.parametrize("case", EMPTY)
def test_what_is_empty_is_refused(attn, case):
    run = attn("trace", *EMPTY[case], *MODEL)
    assert run.code == 2
    assert "no tokens" in run.said or "empty" in run.said


def test_notes_look_at_each_text_of_a_pair_alone(attn):
    found = traced(attn, "the zyx", "--pair", "wvu king")
    (said,) = [note for note in found["notes"] if "cut into pieces" in note]
    assert "zyx" in said and "wvu" in said and "zyxwvu" not in said


def test_a_text_far_beyond_the_context_is_refused_by_its_beginning(attn, monkeypatch):
    read = []
    whole = WordPiece.encode
    monkeypatch.setattr(
        WordPiece,
        "encode",
        lambda self, text, **more: read.append(text) or whole(self, text, **more),
    )
    run = attn("trace", "the king " * 900_000, *MODEL)
    assert run.code == 1 and "reads at most 256" in run.said
    assert max(map(len, read)) < 20_000


def test_a_convolution_beside_the_first_layer_is_told(attn, golden_path):
    model = ("--model", golden_path / "deberta-shared", "--ids", "3,4,5")
    first, second = (" ".join(attn("trace", *model, "-l", layer).text.split()) for layer in (0, 1))
    assert "This layer also has a convolution over neighbouring tokens" in first
    assert " convolution " in first.partition("the rest of layer 0")[2]
    assert "convolution" not in second


def test_many_masks_are_not_all_told_unasked(attn):
    text = "[MASK] " * 20
    page = attn("trace", text, *MODEL, "--step", 5).text
    assert page.count("after all 2 layers") == 12 and "8 more predictions" in page
    assert attn("trace", text, *MODEL, "--step", 5, "--full").text.count("after all 2 layers") == 20
    assert len(traced(attn, text)["next"]) == 20


def test_a_chats_turn_is_no_pair(attn):
    run = attn("trace", "x", *MODEL, "--chat", "--pair", "y")
    assert run.code == 2 and "--chat and --pair contradict each other" in run.said
