"""`attn lens`: a page that shows the numbers of the document and says what is true of them."""

import re

import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from attn_cli import session

PROMPT = "the greatest thinker in China is"
FILLED = "the greatest [MASK] in China is Confucius"


def flat(result):
    return " ".join(result.text.split())


def table(page, title):
    """The cells of each row of the table under a title."""
    rows = page.partition(title)[2].partition("─\n")[2].splitlines()
    end = next((i for i, row in enumerate(rows) if not row.startswith("    ")), len(rows))
    return [re.split(r" {2,}", row.strip()) for row in rows[:end]]


def test_the_page_holds_the_documents_numbers(attn):
    (found,) = attn("lens", PROMPT, "--json").json["result"]["positions"]
    page = attn("lens", PROMPT).text
    names = ["embedding", "layer 0", "layer 1"]
    likeliest = table(page, "the likeliest tokens after each layer")[:3]
    for name, row, cells in zip(names, found["rows"], likeliest, strict=True):
        shown = " ".join(f"{c['text']} {c['probability']:.2f}" for c in row["candidates"])
        assert cells == [name, *shown.split()]
    title = "`Confucius` after each layer, and what the layer adds to its last logit"
    for name, row, cells in zip(names, found["rows"], table(page, title)[:3], strict=True):
        watched = row["watched"]
        numbers = [watched["logit"], row["attention"], row["mlp"]]
        shown = [f"{n:.2f}".replace("-", "\u2212") for n in numbers if n is not None]
        assert cells == [name, str(watched["rank"]), f"{watched['probability']:.2f}", *shown]


def test_the_terms_on_the_page_come_to_the_logit_that_it_gives(attn):
    for more in ((), ("--watch", "Laozi"), ("--per-head",), ("-m", "tiny-translator")):
        page = flat(attn("lens", PROMPT, *more, "--digits", 5)).replace("\u2212", "-")
        terms, total, logit = re.search(
            r"(embedding \S+ \+ attention .*?) = (\S+\d)\. The logit is (\S+\d); the error is \d",
            page,
        ).groups()
        numbers = [float(n) for n in re.findall(r"-?\d+\.\d+", terms)]
        assert sum(numbers) == pytest.approx(float(total), abs=1e-4)
        assert total == logit
        # The columns of the table come to the terms.
        rows = table(attn("lens", PROMPT, *more, "--digits", 5).text, "its last logit")[1:3]
        columns = [[float(c.replace("\u2212", "-")) for c in row[4:]] for row in rows]
        for both, term in zip(zip(*columns, strict=True), numbers[1:], strict=False):
            assert sum(both) == pytest.approx(term, abs=1e-4)


def test_every_head_of_every_layer_and_the_strongest_parts(attn):
    asked = ("lens", PROMPT, "--per-head", "--watch", "Laozi")
    (found,) = attn(*asked, "--json").json["result"]["positions"]
    page = attn(*asked, "--full").text
    heads = [p["logit"] for p in found["parts"] if p["kind"] == "head"]
    after = page.partition("what each head adds to the last logit of `Laozi`   2 × 4")[2]
    shown = re.findall(r"\u2212?\d\.\d\d", after.partition("the parts that")[0])
    assert shown == [f"{n:.2f}".replace("-", "\u2212") for n in heads]
    parts = table(page, f"most, of {len(found['parts'])} that add up to the logit")
    assert len(parts) == len(found["parts"])
    values = {part["name"]: part["logit"] for part in found["parts"]}
    assert [cells[0] for cells in parts] == sorted(values, key=lambda name: -abs(values[name]))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((PROMPT,), "After `is` the model predicts `Confucius` (0.51), which is in first place "
         "from layer 0 on."),
        ((PROMPT, "--watch", "Laozi"), "`Laozi` ends in place 4 (0.07): the model predicts "
         "`Confucius` (0.51). Its best place is 4, after layer 1."),
        (("the queen", "--watch", "queen"), "Its best place is 1, before any layer."),
        ((FILLED, "-m", "tiny-encoder"), "For `[MASK]` the model predicts `thinker` (0.99); only "
         "the last layer puts it in first place."),
        ((PROMPT, "--query", "all"), "At 3 of 6 positions the token that is predicted in the end "
         "is in first place before the last layer; at 3 the last layer changes what is first."),
        ((PROMPT, "--query", "China,is", "--watch", "Confucius"), "`Confucius` is predicted at 1 "
         "of 2 positions; it is likeliest after `is`: 0.51, place 1."),
    ],
)  # fmt: skip
def test_the_headline_is_true_of_the_document(attn, arguments, said):
    assert said in flat(attn("lens", *arguments))
    found = attn("lens", *arguments, "--json").json["result"]["positions"]
    if len(found) > 1:
        before = [one["rows"][-2]["watched"]["rank"] == 1 for one in found]
        last = [one["rows"][-1]["watched"] for one in found]
        assert sum(before) == (3 if len(found) == 6 else 1)
        assert sum(one["rank"] == 1 for one in last) == (6 if len(found) == 6 else 1)
        return
    ranks = [row["watched"]["rank"] for row in found[0]["rows"]]
    if "from layer 0 on" in said:
        assert ranks[0] > 1 and set(ranks[1:]) == {1}
    elif "only the last" in said:
        assert ranks[-2] > 1 and ranks[-1] == 1
    else:
        best = int(re.search(r"best place is (\d+)", said)[1])
        assert min(ranks) == best
        assert ranks.index(best) == (0 if "before any layer" in said else 2)


def test_several_positions_side_by_side(attn):
    found = attn("lens", PROMPT, "--query", "all", "--json").json["result"]["positions"]
    page = attn("lens", PROMPT, "--query", "all", columns=120).text
    grid = table(page, "the likeliest token after each layer, at each position")
    for cells, number in zip(grid, range(3), strict=True):
        assert cells[1:] == [one["rows"][number]["candidates"][0]["text"] for one in found]
    ends = table(page, "what adds up to its logit")
    for cells, one in zip(ends, found, strict=True):
        numbers = [float(cell.replace("\u2212", "-")) for cell in cells[3:]]
        assert sum(numbers[1:]) == pytest.approx(numbers[0], abs=0.03)
        assert cells[:2] == [one["token"], one["rows"][-1]["watched"]["text"]]
        assert numbers[1] == pytest.approx(one["sum"]["embedding"], abs=0.006)


def test_the_decoder_of_two_stacks_has_cross_attention(attn):
    asked = ("lens", PROMPT, "-m", "tiny-translator", "--quiet")
    (found,) = attn(*asked, "--json").json["result"]["positions"]
    next_token = attn("trace", PROMPT, "-m", "tiny-translator", "--json").json["next"][0]
    assert found["rows"][-1]["candidates"] == next_token["candidates"][:3]
    assert found["token"] == "<pad>"
    assert found["sum"]["cross"] > found["sum"]["attention"] > 0
    page = flat(attn(*asked))
    assert "attention, cross-attention and feed-forward network add to it, with the scale" in page
    assert "cross-attention 6.84" in page


def test_what_a_masked_model_lacks_is_said(attn):
    run = attn("lens", FILLED, "-m", "tiny-encoder")
    assert "what attention and feed-forward add to a logit is left out: the head" in run.said
    assert "an activation (gelu) between the last layer and its logits" in run.said
    page = flat(run)
    assert "the prediction head and the output matrix" in page
    assert "feed-forward" not in page
    (found,) = attn("lens", FILLED, "-m", "tiny-encoder", "--json").json["result"]["positions"]
    assert found["rows"][1]["attention"] is found["sum"]["total"] is None


def test_what_if_settings_are_said_and_change_the_last_row(attn):
    typed = ("--without-head", "0.0", "--without", "mlp:1")
    run = attn("lens", PROMPT, *typed)
    assert "what-if: --without-head 0.0 --without mlp:1" in run.text
    found = attn("lens", PROMPT, *typed, "--json").json
    next_token = attn("trace", PROMPT, *typed, "--json").json["next"][0]
    assert found["result"]["provenance"] == "what-if"
    (one,) = found["result"]["positions"]
    assert one["rows"][-1]["candidates"] == next_token["candidates"][:3]
    idle = attn("lens", PROMPT, "--mask", "causal")
    assert "--mask causal changes nothing that is shown here" in idle.said


def test_settings_and_lines(attn):
    asked = ("lens", "--each", "line", "--watch", "is", "--query", "-1", "--json")
    first, second = attn(*asked, stdin=b"the king\nthe queen\n").lines
    alone = attn("lens", "the queen", "--watch", "is", "--query", "-1", "--json").json
    assert second == alone
    assert first["settings"]["query"] == [1]
    assert first["settings"]["watch"] == first["result"]["positions"][0]["rows"][0]["watched"]["id"]
    assert (first["settings"]["per_head"], first["settings"]["top"]) == (False, 3)
    assert attn("lens", "the queen", "--json").json["settings"]["watch"] is None


def test_what_is_not_a_number_is_called_that(attn, monkeypatch):
    real = session.predict
    monkeypatch.setattr(session, "predict", lambda *given: real(*given) * np.float32(np.nan))
    run = attn("lens", PROMPT, "--query", "0,is", "--json")
    first = run.json["result"]["positions"][0]
    assert first["rows"][0]["watched"]["logit"] is first["sum"]["error"] is None
    said = "At 2 of 2 positions the logits are NaN or infinite"
    assert any(said in note for note in run.json["notes"])
    assert said in flat(attn("lens", PROMPT, "--query", "0,is"))
    assert "At 1 of 1 positions the logits are NaN" in flat(attn("lens", PROMPT))


# --- what cannot be answered ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((PROMPT, "--watch", "995"), 2, ("--watch 995 is out of range", "tiny has ids 0 to 994")),
        ((PROMPT, "--watch", "\u2603"), 2, ("tiny has no token for it", "--watch '<5>'")),
        ((PROMPT, "--watch", ""), 2, ("tiny has no token for it",)),
        ((PROMPT, "--query", "Paris"), 2, ("'Paris' is no token of this prompt", "0 to 5")),
        ((PROMPT, "--query", "9"), 2, ("--query 9 is out of range",)),
        ((PROMPT, "--per-head", "--query", "1,3"), 2, ("these are 2: 1, 3", "--query 3")),
        (("the king is the man", "--per-head", "--query", "the"), 2, ("are 2: 0, 3",)),
        ((FILLED, "-m", "tiny-encoder", "--per-head"), 1, ("an activation (gelu)", "without")),
        (("the king", "-m", "tiny-encoder"), 2, ("the prompt has no [MASK]", "--query 0")),
        (("--ids", "1", "-m", "tests/golden/bert-bare"), 1, ("bert-bare has no output matrix",)),
        ((PROMPT, "--layout", "rows"), 2, ("no such option: --layout",)),
    ],
)
def test_what_is_refused_and_why(attn, golden_path, arguments, code, said):
    arguments = [str(golden_path / a.rpartition("/")[2]) if "golden" in a else a for a in arguments]
    run = attn("lens", *arguments)
    assert run.code == code
    assert run.out == b""
    assert all(word in run.said for word in said), run.said
    assert "hint: " in run.said
    assert len(run.said.splitlines()) <= 3


def test_a_word_of_several_tokens_is_said_to_be_one(attn):
    run = attn("lens", PROMPT, "--watch", "antidisestablishment", "--json")
    assert "is 9 tokens here: the last one, '##ment', is watched" in run.said
    (found,) = run.json["result"]["positions"]
    assert found["rows"][0]["watched"]["text"] == "##ment"
    assert any("9 tokens" in note for note in run.json["notes"])


def test_a_watched_word_with_a_space_before_it(attn, golden_copy):
    """A byte-level tokenizer has a word twice: at the start of a text, and after a space."""
    folder = golden_copy("gpt2-a")
    made = tokenizers.Tokenizer(
        models.BPE({"a": 0, "\u0120": 1, "\u0120a": 2, "b": 3}, [("\u0120", "a")])
    )
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.save(str(folder / "tokenizer.json"))
    asked = ("lens", "b", "-m", folder, "--json", "--watch")
    run = attn(*asked, "a")
    assert run.json["settings"]["watch"] == 2
    assert "--watch 'a' is read as ' a', with a space before it; without one it is" in run.said
    assert attn(*asked, "<0>").json["settings"]["watch"] == 0
    assert attn(*asked, " a").json["settings"]["watch"] == 2
    assert attn("lens", "b ", *asked[2:], "a").json["settings"]["watch"] == 0
    lacking = attn(*asked, "c")
    assert lacking.code == 2 and "gpt2-a has no token for it" in lacking.said
