"""`attn sample`: its options, and a page that shows the numbers of the document."""

import re

import pytest

PROMPT = "the greatest thinker in China is"


@pytest.fixture
def sample(attn):
    return lambda *arguments: attn("sample", PROMPT, "--json", *arguments).json["result"]


def test_candidates_are_ranked_and_their_probabilities_those_of_the_trace(attn, sample):
    found = sample("--seed", 1)["candidates"]
    candidates = attn("trace", PROMPT, "--json", "--top", 10).json["next"][0]["candidates"]
    assert [{key: c[key] for key in candidates[0]} for c in found] == candidates


def test_minus_zero_is_zero(attn, sample):
    asked = ("sample", PROMPT, "-s", 1, "-t")
    assert attn(*asked, "-0.0").out == attn(*asked, "0").out


@pytest.mark.parametrize("draw", [lambda below: 0, lambda below: below - 1, None])
def test_a_seed_is_drawn_printed_and_stored(attn, monkeypatch, draw):
    if draw:
        monkeypatch.setattr("secrets.randbelow", draw)
    first = attn("sample", PROMPT, "-t", 2, "-n", 8)
    seed = re.search(r"drawn with seed (\d+)", first.text)[1]
    assert attn("sample", PROMPT, "-t", 2, "-n", 8, "--seed", seed).out == first.out
    stored = attn("sample", PROMPT, "--json").json["settings"]["seed"]
    assert str(stored) == seed or not draw


def test_without_a_seed_each_run_has_its_own(attn):
    seeds = {attn("sample", PROMPT, "--json").json["settings"]["seed"] for _ in range(3)}
    assert len(seeds) > 1


def test_a_sweep_puts_temperatures_side_by_side(attn, sample):
    heats = [0, 0.5, 1, 1.5, 2, 1e308, 5e-324]
    found = sample("--sweep", "0,0.5,1, 1.5,2,1e308,5e-324")["sweep"]
    assert [heat["temperature"] for heat in found] == heats
    page = attn("sample", PROMPT, "--sweep", "0,1,2", "--seed", 0).text
    row = next(line for line in page.partition("at each temperature")[2].splitlines()
               if "Confucius" in line).split()  # fmt: skip
    assert row[1:] == [f"{heat['probabilities'][0]:.2f}" for heat in (found[0], found[2], found[4])]


def test_filters_typed_in_another_order_act_in_the_same_one(sample):
    typed = ("--temperature=1.5", "--top-k=7", "--top-p=0.8", "--min-p=0.2", "--seed=1")
    found = sample(*reversed(typed))
    assert found == sample(*typed)
    assert found["filters"] == ["temperature", "top_k", "top_p", "min_p"]


def test_the_page_shows_the_documents_numbers_and_the_order(attn, sample):
    options = ("-t", 1.5, "--top-k", 5, "--top-p", 0.9, "--min-p", 0.1, "--seed", 4)
    found = sample(*options)
    page = attn("sample", PROMPT, *options, columns=120).text
    assert "order: temperature 1.5, top_k 5, top_p 0.9, min_p 0.1" in page
    assert f"{found['kept']} of 9" in page
    for candidate in found["candidates"]:
        start = f"{candidate['rank']:>6}  {candidate['text']} "
        cells = next(line for line in page.splitlines() if line.startswith(start)).split()
        numbers = [candidate["logit"], candidate["probability"], *candidate["after"]]
        assert cells[2:8] == [f"{number:.2f}" for number in numbers]
    assert f"{PROMPT} → {found['text']}" in page


@pytest.mark.parametrize(
    ("options", "start"),
    [
        ((), "Temperature 1 leaves the probabilities as the model gives them."),
        (("-t", 0), "Temperature 0 takes the likeliest token, Confucius, every time."),
        (
            ("-t", 0.5),
            "Temperature 0.5 moves 0.23 of the probability: Sun loses most (0.07), "
            "Confucius gains most (0.23).",
        ),
    ],
)
def test_the_headline_says_what_temperature_does(attn, options, start):
    assert start in " ".join(attn("sample", PROMPT, *options).text.split())


def test_draws_page_counts_every_draw(attn):
    page = attn("sample", PROMPT, "--draws", 300, "--seed", 1, "-t", 0.7).text
    table = page.partition("300 draws with seed 1")[2].splitlines()[3:]
    counts = [re.search(r" \d\.\d\d +\d\.\d\d +(\d+)", line)[1] for line in table]
    assert sum(map(int, counts)) == 300


@pytest.mark.parametrize("options", [("-n", 5), ("--draws", 50), ("--sweep", "0,1,2")])
def test_same_seed_same_bytes(attn, options):
    asked = ("sample", PROMPT, "-t", 2, "--seed", 42, *options)
    for kind in ((), ("--json",)):
        assert attn(*asked, *kind).out == attn(*asked, *kind).out
    other = attn("sample", PROMPT, "-t", 2, "--seed", 43, *options, "--json").out
    assert other != attn(*asked, "--json").out


def test_without_a_text_it_uses_the_sample_prompt(attn):
    assert attn("sample", "--seed", 0).out == attn("sample", PROMPT, "--seed", 0).out


def test_draws_and_several_tokens_contradict_each_other(attn):
    assert attn("sample", PROMPT, "--draws", 5, "-n", 2).code == 2


def test_at_temperature_one_the_headline_tells_of_the_filters(attn, sample):
    options = ("--top-k", 3, "--min-p", 0.1, "--seed", 0)
    found = sample(*options)
    first = found["candidates"][0]
    page = " ".join(attn("sample", PROMPT, *options).text.split())
    assert f"With top_k, min_p, {found['kept']} of " in page
    assert f"from {first['probability']:.2f} to {first['after'][-1]:.2f}." in page
    assert "leaves the probabilities" not in page


def test_fewer_tokens_than_asked_for_are_explained(attn):
    ended = attn(
        "sample", "the capital of France is", "--max-tokens", "50", "-t", "0", "--json"
    ).json
    count = len(ended["result"]["drawn"])
    assert count < 50 and any(f"{count} of 50 tokens" in note for note in ended["notes"])
    full = attn("trace", "--ids", ",".join(["14"] * 255), "--max-tokens", "9", "--json").json
    assert len(full["prompt"]["tokens"]) <= 256
    assert any("unchanged model" in note for note in full["notes"])


@pytest.mark.parametrize("top", [1, 2, 10])
@pytest.mark.parametrize("heat", [0.4, 1.5, 3])
def test_the_headline_speaks_of_the_whole_vocabulary(attn, sample, top, heat):
    whole = sample("-t", heat, "--top", 999_999)["candidates"]
    changes = [(c["after"][0] - c["probability"], c["text"]) for c in whole]
    (lost, loser), (gained, gainer) = min(changes), max(changes)
    moved = sum(change for change, _ in changes if change > 0)
    assert lost < 0 < gained
    page = " ".join(attn("sample", PROMPT, "-t", heat, "--top", top, columns=200).text.split())
    numbers = [float(n) for n in re.search(
        rf"Temperature {heat} moves ([.\d]+) of the probability: {loser} loses most \(([.\d]+)\), "
        rf"{re.escape(gainer)} gains most \(([.\d]+)\)", page).groups()]  # fmt: skip
    assert numbers == pytest.approx([moved, -lost, gained], abs=0.006)


def test_all_others_have_a_row_and_complete_every_column(attn, sample):
    options = ("-t", 1.5, "--top-k", 9, "--top-p", 0.99, "--top", 3, "--seed", 1)
    found = sample(*options)
    others = found["others"]
    assert others["count"] == 992
    columns = [[c["probability"] for c in found["candidates"]] + [others["probability"]]]
    for i in range(len(found["filters"])):
        columns.append([c["after"][i] for c in found["candidates"]] + [others["after"][i]])
    assert [sum(column) for column in columns] == pytest.approx([1] * 4, abs=1e-5)
    row = re.search(r"992 others (.*)", attn("sample", PROMPT, *options).text)[1].split()
    assert row[:4] == [f"{column[-1]:.2f}" for column in columns]
    assert sample("--top", 995)["others"] == {"count": 0, "probability": 0, "after": [0]}
    assert "others" not in attn("sample", PROMPT, "--top", 995).text


def test_draws_list_at_most_top_and_the_rest_together(attn, sample):
    options = ("--draws", 500, "--seed", 1, "-t", 3, "--top", 4)
    found = sample(*options)
    assert len(found["counts"]) == 4
    rest = found["other_counts"]
    assert rest["tokens"] == 991
    assert sum(c["count"] for c in found["counts"]) + rest["count"] == 500
    expected = sum(c["expected"] for c in found["counts"]) + rest["expected"]
    assert expected == pytest.approx(1, abs=1e-5)
    table = attn("sample", PROMPT, *options).text.partition("500 draws")[2].splitlines()[3:]
    assert len(table) == 5
    assert re.match(rf" +991 others +{rest['expected']:.2f} +{rest['observed']:.2f} +"
                    rf"{rest['count']} ", table[-1])  # fmt: skip
    few = sample("--draws", 50, "--seed", 1, "--top-k", 2)
    assert (len(few["counts"]), few["other_counts"]["tokens"]) == (2, 0)


def test_tokens_are_drawn_under_the_what_ifs(attn, sample):
    options = ("-n", 4, "-t", 0, "--mask", "padding-left:4", "--seed", 0)
    shorter = attn("sample", "China is", "-n", 4, "-t", 0, "--json").json["result"]
    found = sample(*options)
    assert found["provenance"] == "what-if"
    assert [t["id"] for t in found["drawn"]] == [t["id"] for t in shorter["drawn"]]
    longer = attn("trace", PROMPT, "-n", 2, *options[4:6], "--json").json
    added = [token["id"] for token in longer["prompt"]["tokens"]][6:]
    assert added == [t["id"] for t in shorter["drawn"]][: len(added)]
    assert any("under the what-ifs" in note for note in longer["notes"])
    visible = longer["attention"][0]["arrays"]["visible"]["values"]
    assert visible[-1][:4] == [False] * 4 and all(visible[-1][4:])


def test_the_numbers_of_a_mask_are_of_the_prompt_not_of_what_is_added(attn):
    """`padding:1` hides the last token that was typed; those that the model adds are seen."""
    found = attn("trace", PROMPT, "-n", 2, "--mask", "padding:1", "--json").json
    visible = found["attention"][0]["arrays"]["visible"]["values"]
    assert len(visible) > 6
    assert visible[-1] == [True] * 5 + [False] + [True] * (len(visible) - 6)
