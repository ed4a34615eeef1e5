"""`attn mask`: what is compared, and a page that shows the numbers of the document."""

import re

import numpy as np
import pytest

PROMPT = "the greatest thinker in China is"
TOKENS = PROMPT.split()
CAUSAL = np.tri(6, dtype=bool)

KINDS = {
    ("causal",): CAUSAL,
    ("none",): np.ones((6, 6), bool),
    ("window:2",): CAUSAL & ~np.tri(6, k=-2, dtype=bool),
    ("prefix:3",): CAUSAL | (np.arange(6) < 3),
    ("padding:2",): CAUSAL & (np.arange(6) < 4),
    ("block:5:4",): CAUSAL & ~((np.arange(6)[:, None] == 5) & (np.arange(6) == 4)),
    ("none", "padding:1"): np.ones((6, 6), bool) & (np.arange(6) < 5),
    ("padding:1", "none", "block:0:1"): None,
}


def options(words):
    return [part for word in words for part in ("--mask", word)]


@pytest.mark.parametrize("words", [(), *KINDS], ids=" ".join)
def test_a_mask_is_compared_with_the_models_own_and_that_one_with_none(attn, words):
    found = attn("mask", PROMPT, *options(words), "--json").json["result"]
    own = words in ((), ("causal",))
    assert np.array_equal(found["visible_before"], np.ones((6, 6), bool) if own else CAUSAL)
    if KINDS.get(words, CAUSAL) is not None:
        assert np.array_equal(found["visible_after"], KINDS.get(words, CAUSAL))


def picture(page, count=6):
    lines = page.partition("rows: ")[2].splitlines()[1 : count + 1]
    return [line.split()[1:] for line in lines]


@pytest.mark.parametrize("words", [("none",), ("window:2",), ("block:5:4",)], ids=" ".join)
def test_the_picture_shows_each_cell_in_both_orientations(attn, words):
    page = attn("mask", PROMPT, *options(words)).text
    before, after = CAUSAL, KINDS[words]
    for q, row in enumerate(picture(page)):
        for k, mark in enumerate(row):
            seen = "●·−+"[
                0 if before[q, k] and after[q, k]
                else 2 if before[q, k] else 3 if after[q, k] else 1
            ]  # fmt: skip
            assert mark == seen
    turned = attn("mask", PROMPT, *options(words), "--layout", "columns").text
    assert "rows: keys   columns: queries" in turned
    assert list(map(list, zip(*picture(turned), strict=True))) == picture(page)


def test_the_page_tells_it_in_words_and_explains_the_causal_mask(attn):
    page = " ".join(attn("mask", PROMPT).text.split())
    found = attn("mask", PROMPT, "--json").json["result"]
    first = found["next_before"][0]
    later = next(c for c in found["next_after"] if c["id"] == first["id"])
    assert "the model's own mask: 15 of 36 cells hidden, 0 opened" in page
    assert f"goes from {first['probability']:.2f} to {later['probability']:.2f}." in page
    assert "before = no mask after = the model's own mask layer 0 · head 0" in page
    assert "Why the future must not reach the past" in page
    most = int(np.argmax(found["moved"]))
    assert f"`{TOKENS[most]}` moves {found['moved'][most]:.2f} of its attention" in page


def test_removed_cells_are_listed_with_their_scores_and_full_lists_all(attn):
    found = attn("mask", PROMPT, "--json").json["result"]["removed"]
    page = attn("mask", PROMPT).text
    assert f"… {len(found) - 12} more (--full shows all)" in page
    full = attn("mask", PROMPT, "--full").text
    assert "(--full shows all)" not in full
    table = full.partition("newly hidden cells")[2].partition("weights before")[0].splitlines()[3:]
    rows = [line.split() for line in table if line.strip()]
    assert len(rows) == len(found) == 15
    for row, cell in zip(rows, found, strict=True):
        assert row[:2] == [TOKENS[cell["query"]], TOKENS[cell["key"]]]
        assert cell["masked"] is None and cell["weight_after"] == 0
        scaled = f"{cell['scaled']:.2f}".replace("-", "−")
        assert row[2:] == [scaled, "−∞", f"{cell['weight']:.2f}", "0.00"]


def test_a_file_holds_a_mask(attn, tmp_path):
    path = tmp_path / "mask.txt"
    path.write_text("\n".join(" ".join(str(int(c)) for c in row) for row in KINDS["window:2",]))
    by_file = attn("mask", PROMPT, "--mask", f"file:{path}", "--json").json["result"]
    by_path = attn("mask", PROMPT, "--mask", path, "--json").json["result"]
    assert by_file == by_path
    assert by_file == attn("mask", PROMPT, "--mask", "window:2", "--json").json["result"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no rows"),
        ("1 0\n1", "row 2 has 1 cells, row 1 has 2"),
        ("1 2\n1 1", "row 1 has the cell '2'"),
        ("1 0\n1 1", "has 2 × 2 cells, this prompt needs 6 × 6"),
        ("\x1b[31m", "row 1 has the cell"),
    ],
)
def test_a_malformed_mask_file_is_refused(attn, tmp_path, text, message):
    path = tmp_path / "mask.txt"
    path.write_text(text)
    refused = attn("mask", PROMPT, "--mask", path)
    assert (refused.code, message in refused.said) == (1, True), refused.said


def test_a_row_without_a_visible_key_is_zero_and_noted(attn):
    result = attn("mask", PROMPT, "--mask", "block:0:0")
    assert "no visible key for query 0; weights and z are 0" in result.said
    weights = attn("mask", PROMPT, "--mask", "block:0:0", "--json").json["result"]["weights_after"]
    assert weights[0] == [0] * 6


def test_other_layers_and_heads(attn):
    found = attn("mask", PROMPT, "-l", -1, "-H", 2, "--mask", "window:2", "--json").json
    assert (found["result"]["layer"], found["result"]["head"]) == (1, 2)
    assert (found["settings"]["layer"], found["settings"]["head"]) == (1, 2)
    assert attn("mask", PROMPT, "-l", "all").code == 2
    assert attn("mask", PROMPT, "-H", "0,1").code == 2


def test_a_mask_that_changes_nothing_says_so(attn):
    found = attn("mask", "the")
    assert "This mask changes nothing here." in found.text


@pytest.mark.parametrize("full", [(), ("--full",)])
def test_a_long_prompt_fits_the_screen(attn, full):
    page = attn("mask", "the king is a man and " * 10, *full).text
    assert max(map(len, page.splitlines())) <= 80
    marks = page.partition("rows: ")[2].partition("Why the")[0]
    count = sum(marks.count(mark) for mark in "●−·+")
    # Numbered labels such as the·6 hold one dot each.
    labels = len(re.findall(r"^    \w+·\d+  ", marks, re.M))
    assert (count - labels == 3600) == bool(full)
    assert ("more (--full shows all)" in marks) != bool(full)


def test_both_lists_hold_the_likeliest_of_both_and_the_page_prints_them(attn):
    found = attn("mask", PROMPT, "--json").json["result"]
    first, second = ({c["id"]: c for c in found[key]} for key in ("next_before", "next_after"))
    assert set(first) == set(second)
    for candidates in (found["next_before"], found["next_after"]):
        assert {1, 2, 3, 4, 5} <= {c["rank"] for c in candidates}
    table = attn("mask", PROMPT).text.partition("next token, before and after")[2]
    rows = [line.split()[:3] for line in table.splitlines()[3:] if line.strip()]
    assert rows == [
        [c["text"], f"{first[c['id']]['probability']:.2f}", f"{c['probability']:.2f}"]
        for c in found["next_after"]
    ]
    assert "Confucius" in table


def test_attention_that_vanishes_is_not_said_to_move(attn):
    page = " ".join(attn("mask", PROMPT, "--mask", "block:0:0").text.split())
    assert "`the` sees no key any more and all its attention is gone" in page
    assert "the all gone ████" in page
    assert "moves 0.50" not in page


def test_cells_have_the_score_and_the_weight_that_they_get(attn):
    """−∞ where the mask hides; where it opens, what the key gets then."""
    found = attn("mask", PROMPT, "-l", 1, "--mask", "none", "--json").json["result"]
    after = np.array(found["weights_after"])
    trace = attn("trace", PROMPT, "-l", 1, "--mask", "none", "--json").json
    scaled = np.array(trace["attention"][0]["arrays"]["scaled"]["values"][0])
    assert len(found["added"]) == 15
    for cell in found["added"]:
        at = cell["query"], cell["key"]
        assert cell["weight"] == 0
        assert cell["weight_after"] == pytest.approx(after[at], abs=1e-6) and after[at] > 0
        assert cell["masked"] == cell["scaled"] == pytest.approx(scaled[at], abs=1e-5)
    page = attn("mask", PROMPT, "--mask", "none").text
    table = page.partition("newly opened cells, with their scores and the weights they get")[2]
    assert table.splitlines()[1].split() == ["query", "key", "scaled", "masked", "weight",
                                             "before", "after"]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "future"),
    [((), True), (("none",), True), (("prefix:3",), True), (("window:2",), False),
     (("padding:2",), False), (("padding-left:1",), False), (("block:5:4",), False)],
    ids=str,
)  # fmt: skip
def test_the_future_is_explained_only_where_it_is_concerned(attn, words, future):
    assert ("Why the future" in attn("mask", PROMPT, *options(words)).text) == future


def test_tokens_are_named_in_a_block(attn):
    by_name = attn("mask", PROMPT, "--mask", "block:is:China", "--json").json["result"]
    assert by_name == attn("mask", PROMPT, "--mask", "block:5:4", "--json").json["result"]


def test_the_memory_of_the_traces_before_and_after_is_checked_together(attn):
    """What one trace needs is not enough for two."""
    prompt = "the king is a man and " * 10
    asked = ("mask", prompt, "--mask", "none", "--max-memory")
    said = attn(*asked, "1KiB").said
    both = float(re.search(r"takes ([\d.]+) MiB", said)[1]) * 2**20
    assert "reading 60 tokens and 60 tokens takes" in said
    assert attn(*asked, int(both * 1.05)).code == 0
    refused = attn(*asked, int(both * 0.75))
    assert refused.code == 1 and "may be used" in refused.said
