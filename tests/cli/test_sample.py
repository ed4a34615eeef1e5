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
