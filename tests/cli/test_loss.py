"""`attn loss`: a page that shows the numbers of the document, whatever the prompt is."""

import numpy as np
import pytest

from attn_cli import session

PROMPT = "the greatest thinker in China is Confucius"
TOKENS = PROMPT.split()


@pytest.fixture
def found(attn):
    return attn("loss", PROMPT, "--json").json["result"]


def test_the_page_holds_the_documents_numbers(attn, found):
    page = attn("loss", PROMPT, columns=120).text
    for row in found["positions"]:
        start = f"    {row['position']}  {row['token']} "
        cells = next(line for line in page.splitlines() if line.startswith(start)).split()
        assert cells[2:] == [
            row["next_token"], f"{row['probability']:.2f}", str(row["rank"]),
            f"{row['loss']:.2f}", row["best"]["text"], f"{row['best']['probability']:.2f}",
        ]  # fmt: skip
    flat = " ".join(page.split())
    right = sum(row["rank"] == 1 for row in found["positions"])
    assert f"{right} of 6 next tokens are the model's best guess" in flat
    assert f"mean loss is {found['mean']:.2f} nats" in flat
    assert f"perplexity {found['perplexity']:.1f}: as if choosing evenly" in flat
    assert "loss = −ln(probability of the token that really comes next)" in flat


def test_digits_and_each_line(attn):
    page = attn("loss", PROMPT, "--digits", 5).text
    assert len(page.partition("rank")[2].splitlines()[2].split()[3].partition(".")[2]) == 5
    lines = attn("loss", "--each", "line", "--json", stdin=b"the king is\nthe queen\n").lines
    assert [len(line["result"]["positions"]) for line in lines] == [2, 1]
    assert lines[1] == attn("loss", "the queen", "--json").json


def test_ids_give_the_same_loss(attn, found):
    tokens = attn("trace", PROMPT, "--json").json["prompt"]["tokens"]
    ids = ",".join(str(token["id"]) for token in tokens)
    assert attn("loss", "--ids", ids, "--json").json["result"] == found


def test_one_token_predicts_nothing_that_is_there(attn):
    refused = attn("loss", "the")
    assert refused.code == 2
    assert "a loss needs at least two tokens" in refused.said


def test_the_same_command_prints_the_same_bytes(attn):
    for kind in ((), ("--json",)):
        assert attn("loss", PROMPT, *kind).out == attn("loss", PROMPT, *kind).out


def test_what_is_not_a_number_is_no_right_guess(attn, monkeypatch):
    real = session.predict

    def broken(model, x):
        logits = np.array(real(model, x))
        logits[[0, 2]] = np.nan
        return logits

    monkeypatch.setattr(session, "predict", broken)
    rows = attn("loss", PROMPT, "--json").json["result"]["positions"]
    assert rows[0]["loss"] is None
    assert rows[0]["rank"] == rows[2]["rank"] > 1
    right = sum(row["rank"] == 1 for row in rows)
    page = " ".join(attn("loss", PROMPT).text.split())
    assert f"2 of 6 losses are not numbers (NaN); in {right} of the others" in page


def test_one_prediction_is_singular(attn):
    page = " ".join(attn("loss", "the king").text.split())
    assert "of 1 next token is the model's best guess" in page
    assert "so one sentence gives 1 training example" in page


def test_a_model_that_is_confidently_wrong_is_called_that(attn):
    """No choice among more tokens than there are."""
    asked = ("loss", "king the is queen")
    found = attn(*asked, "--json").json
    assert found["result"]["perplexity"] > found["model"]["vocabulary"]
    page = " ".join(attn(*asked).text.split())
    blind = f"more than the {np.log(995):.2f} nats of an even guess among all 995 tokens"
    assert f"{blind}: where the model is wrong, it is confidently wrong." in page
    assert "perplexity" not in page


def test_under_an_open_mask_nothing_is_said_of_the_causal_one(attn, found):
    result = attn("loss", PROMPT, "--mask", "none", "--json").json["result"]
    assert (found["provenance"], result["provenance"]) == ("derived", "what-if")
    page = " ".join(attn("loss", PROMPT, "--mask", "none").text.split())
    assert "causal mask" not in page and "there is nothing to predict" in page
    same = attn("loss", PROMPT, "--mask", "causal", "--json").json
    assert same["result"] == found
    assert "--mask causal changes nothing that is shown here" in same["notes"]
