"""What people ask about attention, and the command that answers: it shows what it promises."""

import math
import re

import numpy as np
import pytest

PROMPT = "the greatest thinker in China is"


def arrays(attn, *arguments, layer=0):
    blocks = attn("trace", *arguments, "-l", layer, "-H", "all", "--json").json["attention"]
    return {name: np.array(a["values"], float) for name, a in blocks[0]["arrays"].items()}


def test_why_divide_by_the_root_of_the_width(attn):
    """Without it one key takes nearly all: the entropy falls in every head."""
    plain, changed = (
        [h["entropy"] for h in attn("heads", PROMPT, *more, "--json").json["result"]["heads"]]
        for more in ((), ("--without", "scale"))
    )
    assert all(after < 0.75 * before for before, after in zip(plain, changed, strict=True))
    scaled, scores = (arrays(attn, PROMPT, "--without", "scale")[n] for n in ("scaled", "scores"))
    assert np.array_equal(scaled, scores)
    page = attn("trace", PROMPT, "--without", "scale", "--step", 5).text
    assert re.search(r"China 1\.00", page)


def test_why_minus_infinity_and_not_0(attn):
    """With 0 the future gets a share, and the keys that may be seen sum to less than 1."""
    found = attn("mask", PROMPT, "--mask-value", 0, "--json").json["result"]
    before, after = (np.array(found[f"weights_{when}"]) for when in ("before", "after"))
    seen = np.tri(6, dtype=bool)
    assert np.array_equal(found["visible_after"], seen)
    assert not before[~seen].any() and (after[~seen] > 0).all()
    np.testing.assert_allclose(after.sum(axis=1), 1, atol=1e-6)
    shares = np.where(seen, 0, after).sum(axis=1)
    np.testing.assert_allclose(found["hidden_share"], shares, atol=1e-6)
    assert len(found["valued"]) == 15 and not found["removed"] and not found["added"]
    for cell in found["valued"]:
        assert cell["masked"] == 0 and cell["weight"] == 0
        assert cell["weight_after"] == pytest.approx(after[cell["query"], cell["key"]], abs=1e-6)
    page = attn("mask", PROMPT, "--mask-value", 0).text
    flat = " ".join(page.split())
    most = int(shares.argmax())
    told = f"`{PROMPT.split()[most]}` gives them {shares[most]:.2f} of its attention"
    assert "With 0 where hidden, those keys still get weight" in flat and told in flat
    assert "before = −∞ where hidden after = 0 where hidden" in flat
    assert "e⁰ is 1" in flat and "no longer sum to 1" in flat
    rows = page.partition("the keys that it may see and the others")[2].splitlines()[3:9]
    cells = [line.split()[1:3] for line in rows]
    assert cells == [[f"{1 - share:.2f}", f"{share:.2f}"] for share in shares]


def test_a_number_that_is_low_enough_does_what_infinity_does(attn):
    page = " ".join(attn("mask", PROMPT, "--mask-value=-1e9").text.split())
    assert "With −1e+09 where hidden, hidden keys get almost no weight" in page


@pytest.mark.slow
def test_the_reason_for_the_mask_is_seen_in_training(attn, tmp_path):
    """At work an open mask hardly moves anything; in training it spoils all."""
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("the cat sees the dog\nthe dog sees the cat\na mouse runs\na cat runs\n")
    small = ("--width", 32, "--heads", 2, "--layers", 1, "--context", 8, "--steps", 90)
    found = {}
    for mask in ("causal", "none"):
        asked = ("train", corpus, "--out", tmp_path / mask, *small, "--quiet", "--json")
        found[mask] = attn(*asked, "--learning-rate", 0.02, "--mask", mask).json["result"]
    assert found["none"]["losses"][-1] < 0.3 * found["none"]["floor"]
    assert found["causal"]["losses"][-1] > 0.8 * found["causal"]["floor"]
    texts = {
        mask: attn("sample", "the cat", "-m", tmp_path / mask, "-n", 4, "-t", 0, "--json").json[
            "result"
        ]["text"]
        for mask in found
    }
    assert texts["causal"].startswith("sees the dog") or texts["causal"].startswith("runs")
    assert texts["none"] != texts["causal"]


@pytest.mark.parametrize("word", ["padding:2", "padding-left:2"])
def test_which_side_to_pad(attn, word):
    """Hidden at the right, the last tokens are nobody's keys; at the left, the rest is as it was
    without them."""
    found = attn("mask", PROMPT, "--mask", word, "--json").json["result"]
    hidden = [0, 1] if "left" in word else [4, 5]
    assert not np.array(found["visible_after"])[:, hidden].any()
    padded = attn("trace", PROMPT, "--mask", word, "--json").json["next"][0]["candidates"]
    shorter = attn("trace", "thinker in China is", "--json").json["next"][0]["candidates"]
    same = [c["id"] for c in padded] == [c["id"] for c in shorter]
    assert same == ("left" in word)
    if same:
        for one, other in zip(padded, shorter, strict=True):
            assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)


def test_is_word_order_invisible_without_positions(attn):
    """Every word has the same query, key and value wherever it stands, and with no mask looks at
    the same words in the same shares."""
    there, back = "dog bites man", "man bites dog"
    open_ = ("--without", "positions", "--mask", "none")
    tokens = [token["text"] for token in attn("trace", there, "--json").json["prompt"]["tokens"]]
    turned = [len(tokens) - 1, *range(1, len(tokens) - 1), 0]
    for layer in (0, 1):
        one, two = (arrays(attn, text, *open_, layer=layer) for text in (there, back))
        for name in ("q", "k", "v", "z"):
            np.testing.assert_allclose(two[name], one[name][:, turned], atol=1e-5)
        for name in ("x", "output"):
            np.testing.assert_allclose(two[name], one[name][turned], atol=1e-5)
        weights = one["weights"][:, turned][:, :, turned]
        np.testing.assert_allclose(two["weights"], weights, atol=1e-5)
    plain = arrays(attn, there)["q"] - arrays(attn, back)["q"][:, turned]
    assert np.abs(plain).max() > 0.1


def test_what_temperature_0_is(attn):
    found = attn("sample", PROMPT, "--sweep", "0,0.5,1,2", "--json").json["result"]
    columns = {heat["temperature"]: heat["probabilities"] for heat in found["sweep"]}
    assert columns[0] == [1, *[0] * 9]
    firsts = [columns[t][0] for t in (0, 0.5, 1, 2)]
    assert firsts == sorted(firsts, reverse=True)
    logits = [c["logit"] for c in found["candidates"]]
    for heat, shares in columns.items():
        if heat:  # e to the power of the difference, divided by T
            ratio = math.exp((logits[1] - logits[0]) / heat)
            assert shares[1] / shares[0] == pytest.approx(ratio, rel=1e-4)
    page = attn("sample", PROMPT, "--sweep", "0,0.5,1,2", "-t", 0).text
    assert "p = softmax(logits / T) for T → 0: the largest logit takes all." in page
    assert re.search(r"985 others +0\.00 +0\.00 +0\.01 +0\.37", page)
