"""`attn heads`: grids, summaries and the sum, each as the document says."""

import re
from dataclasses import replace

import numpy as np
import pytest

import attn_cli
from attn_cli.views import heads as view
from attn_cli.views.items import say
from attn_cli.words import note

PROMPT = "the greatest thinker in China is"
TOKENS = PROMPT.split()
SHADES = " ░▒▓█"


@pytest.fixture
def found(attn):
    return attn("heads", PROMPT, "--json").json["result"]


def row_of(page, label, after):
    """The cells of the row that begins with `label`, below the line `after`."""
    lines = page.partition(after)[2].splitlines()
    return next(line.split() for line in lines if line.split()[:1] == [label])


def test_the_page_tells_how_well_the_sum_fits(attn, found):
    page = attn("heads", PROMPT).text
    assert f"Σ head_output + bias = output: largest error {found['largest_error']:.1e}." in page


def test_without_every_head_there_is_no_sum_to_check(attn):
    asked = ("heads", PROMPT, "--head", "0,2")
    assert attn(*asked, "--json").json["result"]["largest_error"] is None
    assert "needs every head: --head all" in attn(*asked).text


def test_the_page_holds_the_summary_of_each_head(attn, found):
    page = attn("heads", PROMPT).text
    for head in found["heads"]:
        cells = row_of(page, str(head["head"]), "one row per head")
        keys = ("entropy", "first_share", "previous_share", "self_share", "norm", "cosine")
        for cell, key in zip(cells[1:], keys, strict=True):
            digits = len(cell.partition(".")[2])
            assert cell.replace("−", "-") == f"{np.float32(head[key]):.{digits}f}"
    for i, token in enumerate(TOKENS):
        looks = [TOKENS[head["looks_at"][i]] for head in found["heads"]]
        assert row_of(page, token, "the key that each query looks at most") == [token, *looks]


def test_the_headline_names_the_sharpest_and_the_strongest(attn, found):
    sharpest = min(found["heads"], key=lambda head: head["entropy"])
    strongest = max(found["heads"], key=lambda head: head["norm"])
    text = " ".join(attn("heads", PROMPT).text.split())
    assert f"head {sharpest['head']} looks most sharply (entropy {sharpest['entropy']:.2f}" in text
    assert f"head {strongest['head']} pulls `is` hardest ({strongest['norm']:.2f})" in text


def grids(page):
    """The characters of each head's grid, two to a cell: head → rows."""
    lines = page.partition("fuller = more\n")[2].split("\n\n one row per head")[0].splitlines()
    starts = [match.start() for match in re.finditer("head", lines[0])]
    return [
        ["".join(line.ljust(200).replace("·", " ")[at : at + 12 : 2]) for line in lines[1:7]]
        for at in starts
    ]  # fmt: skip


def test_the_grids_are_the_weights_in_shades(attn, found):
    page = attn("heads", PROMPT).text
    assert len(grids(page)) == 4
    for grid, weights in zip(grids(page), found["weights"], strict=True):
        for row, shares in zip(grid, weights, strict=True):
            for shade, share in zip(row, shares, strict=True):
                assert abs(SHADES.index(shade.replace("·", " ")) / 4 - share) <= 0.25
    turned = grids(attn("heads", PROMPT, "--layout", "columns").text)
    assert turned == [["".join(column) for column in zip(*g, strict=True)] for g in grids(page)]


def test_which_cells_are_masked_is_told(attn):
    """Those after the query, and with a window those too far before it; marked on the page."""
    count = len(attn("heads", PROMPT, "--json").json["prompt"]["tokens"])
    at_Q, at_K = np.arange(count)[:, None], np.arange(count)
    causal = at_K <= at_Q
    near = causal & (at_Q - at_K < 2)
    for more, visible in (((), causal), (("--mask", "window:2", "--mask-value", "0"), near)):
        found = attn("heads", PROMPT, "--head", "0", *more, "--json").json["result"]
        assert found["visible"] == visible.tolist()
    page = attn("heads", PROMPT, "--head", "0").text
    rows = [line for line in page.splitlines() if line.count("·") > 1]
    assert [row.count("·") for row in rows if "gpt2" not in row] == [5, 4, 3, 2], page


def test_the_other_layer_and_what_if_settings(attn):
    asked = ("heads", PROMPT, "--layer", 1, "--json")
    plain = attn(*asked).json
    assert (plain["result"]["layer"], plain["settings"]["layer"]) == (1, 1)
    changed = attn(*asked, "--mask", "none", "--without-head", "1.2").json
    assert changed["result"]["provenance"] == "what-if"
    assert changed["result"]["heads"][2]["norm"] == 0
    assert changed["result"]["heads"][2]["cosine"] == 0
    assert changed["settings"]["mask"] == ["none"]
    uniform = attn(*asked, "--mask", "none", "--attention-temperature", "1e308").json["result"]
    assert np.allclose(uniform["weights"], 1 / 6)


def test_several_layers_are_one_document(attn):
    document = attn("heads", PROMPT, "--layer", "all", "--json").json
    assert attn("heads", PROMPT, "--layer", "all", "--format", "ndjson").json == document
    assert document["settings"]["layer"] == [0, 1]
    for layer, found in enumerate(document["result"]["layers"]):
        assert found == attn("heads", PROMPT, "--layer", layer, "--json").json["result"]


def test_ninety_six_heads_wrap_and_are_all_there(attn):
    model = "random:layers=1,heads=96,model_width=96"
    page = attn("heads", "the king", "-m", model).text
    assert max(map(len, page.splitlines())) <= 80
    assert set(
        re.findall(r"head (\d+)", page.partition("fuller")[2].partition("one row per head")[0])
    ) == {str(n) for n in range(96)}


LONG = "the king is a man and " * 8


def test_long_prompts_show_the_last_tokens_and_full_shows_all(attn):
    page = attn("heads", LONG).text
    assert "… the last 24 of 48 tokens; --full shows all" in page
    assert "… 36 more (--full shows all)" in page
    full = attn("heads", LONG, "--full", "--head", 0).text
    assert "more" not in full.replace("fuller = more", "")
    assert max(map(len, full.splitlines())) <= 80
    weights = np.array(attn("heads", LONG, "--json", "--head", 0).json["result"]["weights"][0])
    part = full.partition("fuller = more\n")[2].partition("\n one row per head")[0]
    panels = re.split(r"( +)head 0 · (\d+)–(\d+)\n", part)[1:]
    dark = np.zeros((48, 48), bool)
    for margin, first, last, text in zip(*(panels[i::4] for i in range(4)), strict=True):
        wide = int(last) + 1 - int(first)
        for i, line in enumerate(text.splitlines()[:48]):
            cells = line[len(margin) :].ljust(2 * wide)[::2]
            dark[i, int(first) : int(last) + 1] = [cell not in " ·" for cell in cells[:wide]]
    assert np.array_equal(dark, weights > 0.025)


@pytest.mark.parametrize("columns", [24, 40, 60])
def test_a_narrow_screen_loses_no_summary(attn, found, columns):
    page = attn("heads", PROMPT, columns=columns).text
    flat = page.partition("one row per head")[2].replace("−", "-")
    for head in found["heads"]:
        for key in ("entropy", "norm", "cosine"):
            assert f"{np.float32(head[key]):.2f}" in flat
    assert max(map(len, page.splitlines())) <= columns


def test_a_single_token_has_no_previous_one(attn):
    row = row_of(attn("heads", "the").text, "0", "one row per head")
    assert row[3] == "–"
    assert attn("heads", "the", "--json").json["result"]["heads"][0]["previous_share"] is None


def items_of(trace):
    return view.page(trace, attn_cli.heads(trace))


def test_heads_that_are_not_numbers_are_not_ranked(found):
    trace = attn_cli.trace(PROMPT, layer=0)
    block = trace.attention[0]

    def broken(heads):
        arrays = {name: np.array(array) for name, array in block.arrays.items()}
        arrays["weights"][heads] = arrays["head_output"][heads] = np.nan
        return replace(trace, attention=(replace(block, arrays=arrays),))

    rest = found["heads"][1:]
    items = items_of(broken([0]))
    headline = items[1]
    assert (headline.words.key, headline.role) == ("heads.headline", "headline")
    ranked = headline.words.values
    assert ranked["sharpest"] == min(rest, key=lambda h: h["entropy"])["head"]
    assert ranked["strongest"] == max(rest, key=lambda h: h["norm"])["head"]
    assert items[-1] == say("heads.sum", error="NaN")
    assert items_of(broken([0, 1, 2, 3]))[1] == say(
        "heads.nothing", "headline", where=note("page.layer", layer=0)
    )


def test_the_headline_speaks_of_the_heads_that_are_shown(attn, found):
    heads = found["heads"]
    page = " ".join(attn("heads", PROMPT, "--head", 2).text.split())
    told = f"Head 2 of layer 0 has an entropy of {heads[2]['entropy']:.2f} bits and pulls `is` by "
    assert f"{told}{heads[2]['norm']:.2f}; 3 of 4 heads are not shown." in page
    assert "most sharply" not in page
    some = " ".join(attn("heads", PROMPT, "--head", "1,2").text.split())
    sharpest = min((1, 2), key=lambda h: heads[h]["entropy"])
    assert f"Of heads 1, 2 of layer 0, head {sharpest} looks most sharply" in some


def test_several_layers_are_one_ranking_of_all_their_heads(attn):
    found = attn("heads", PROMPT, "--layer", "all", "--json").json["result"]["layers"]
    heads = [(head["norm"], one["layer"], head["head"]) for one in found for head in one["heads"]]
    page = attn("heads", PROMPT, "--layer", "all").text
    table = page.partition("all heads by `norm`, the largest first")[2].splitlines()[3:11]
    ranked = [line.split()[0] for line in table]
    assert ranked == [f"{layer}.{head}" for _, layer, head in sorted(heads, reverse=True)]
    assert "all heads" not in attn("heads", PROMPT).text
