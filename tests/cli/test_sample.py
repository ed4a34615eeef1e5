"""`attn sample`: temperature and filters against plain Python, and draws that follow them."""

import math
import re

import pytest

PROMPT = "the greatest thinker in China is"


@pytest.fixture
def sample(attn):
    return lambda *arguments: attn("sample", PROMPT, "--json", *arguments).json["result"]


@pytest.fixture
def logits(sample):
    """id → logit of the whole vocabulary, likeliest first."""
    return {c["id"]: c["logit"] for c in sample("--top", 999_999, "--seed", 0)["candidates"]}


def heated(logits, temperature):
    """softmax(logits / T) in plain Python, T = 0 as its limit."""
    top = max(logits.values())
    if temperature == 0:
        first = min(i for i, logit in logits.items() if logit == top)
        return {i: float(i == first) for i in logits}
    powers = {i: math.exp((logit - top) / temperature) for i, logit in logits.items()}
    return renormalised(powers)


def renormalised(shares):
    total = math.fsum(shares.values())
    return {i: share / total for i, share in shares.items()}


def ranked(shares):
    return sorted(shares, key=lambda i: (-shares[i], i))


def top_k(shares, k):
    return renormalised({i: shares[i] for i in ranked(shares)[:k]})


def top_p(shares, p):
    kept, total = {}, 0.0
    for i in ranked(shares):
        if total >= p:
            break
        kept[i] = shares[i]
        total += shares[i]
    return renormalised(kept)


def min_p(shares, p):
    least = p * max(shares.values())
    return renormalised({i: share for i, share in shares.items() if share >= least})


CASES = [
    (1.0, None, None, None),
    (0.0, None, None, None),
    (0.25, None, 0.9, None),
    (1.5, 7, 0.8, 0.2),
    (3.0, 40, None, 0.05),
    (2.0, None, 0.5, 0.01),
    (1.0, 1, None, None),
    (0.0, 5, 0.5, 0.5),
    (1e308, 3, None, None),
    (5e-324, None, None, None),
]


@pytest.mark.parametrize(("temperature", "k", "p", "m"), CASES)
def test_each_stage_is_what_plain_python_says(sample, logits, temperature, k, p, m):
    expected = [heated(logits, temperature)]
    options, names = ["--temperature", temperature], ["temperature"]
    for name, value, keep in (("top_k", k, top_k), ("top_p", p, top_p), ("min_p", m, min_p)):
        if value is not None:
            options += [f"--{name.replace('_', '-')}", value]
            names.append(name)
            expected.append(keep(expected[-1], value))
    # Given in another order, they act in the same one.
    found = sample(
        *reversed([f"{a}={b}" for a, b in zip(options[::2], options[1::2], strict=True)]),
        "--top",
        30,
    )
    assert found["filters"] == names
    for candidate in found["candidates"]:
        for after, shares in zip(candidate["after"], expected, strict=True):
            assert after == pytest.approx(shares.get(candidate["id"], 0), abs=1e-6)
    assert found["kept"] == sum(share > 0 for share in expected[-1].values())


def test_candidates_are_ranked_and_their_probabilities_those_of_the_trace(attn, sample):
    found = sample("--seed", 1)["candidates"]
    candidates = attn("trace", PROMPT, "--json", "--top", 10).json["next"][0]["candidates"]
    assert [{key: c[key] for key in candidates[0]} for c in found] == candidates


def test_the_whole_vocabulary_sums_to_one(sample):
    found = sample("--top", 999_999, "-t", 1.3)["candidates"]
    for shares in ([c["probability"] for c in found], [c["after"][0] for c in found]):
        assert math.fsum(shares) == pytest.approx(1, abs=1e-5)


def test_temperature_zero_draws_the_likeliest_whatever_the_seed(sample, logits):
    for seed in (0, 1, 2):
        drawn = sample("-t", 0, "--seed", seed)["drawn"]
        assert [token["id"] for token in drawn] == [ranked(logits)[0]]
        assert drawn[0]["probability"] == 1


def test_minus_zero_is_zero(attn, sample):
    asked = ("sample", PROMPT, "-s", 1, "-t")
    assert attn(*asked, "-0.0").out == attn(*asked, "0").out


def test_draws_follow_the_shares(sample, logits):
    """Chi-square over the cells that expect at least 5, the rest together; a fixed seed."""
    draws = 20_000
    found = sample("--draws", draws, "--seed", 11, "-t", 1.2, "--top-p", 0.95)["counts"]
    shares = top_p(heated(logits, 1.2), 0.95)
    assert sum(count["count"] for count in found) == draws
    square = 0.0
    for count in found:
        expected = shares[count["id"]] * draws
        assert count["expected"] == pytest.approx(shares[count["id"]], abs=1e-6)
        assert count["observed"] == pytest.approx(count["count"] / draws, rel=1e-6)
        square += (count["count"] - expected) ** 2 / expected
    freedom = len(found) - 1
    assert freedom >= 2
    # The 99.9 % point of chi-square, by Wilson and Hilferty.
    limit = freedom * (1 - 2 / (9 * freedom) + 3.09 * math.sqrt(2 / (9 * freedom))) ** 3
    assert square < limit


def test_a_skewed_draw_would_be_seen(sample, logits):
    """The same statistic refuses draws that were made at another temperature."""
    draws = 20_000
    found = sample("--draws", draws, "--seed", 11, "-t", 1.2, "--top-p", 0.95)["counts"]
    wrong = top_p(heated(logits, 1.0), 0.999)
    square = sum(
        (c["count"] - wrong[c["id"]] * draws) ** 2 / (wrong[c["id"]] * draws)
        for c in found
        if c["id"] in wrong
    )
    assert square > 100


def test_nothing_that_was_filtered_is_drawn(sample, logits):
    allowed = set(ranked(logits)[:2])
    found = sample("--draws", 500, "--top-k", 2, "-t", 5, "--seed", 3)["counts"]
    assert {count["id"] for count in found} == allowed


def test_several_tokens_each_follow_from_the_ones_before(attn, sample):
    found = sample("-n", 4, "--seed", 5, "-t", 1.5)
    assert [token["position"] for token in found["drawn"]] == [6, 7, 8, 9][: len(found["drawn"])]
    ids = [t["id"] for t in attn("trace", PROMPT, "--json").json["prompt"]["tokens"]]
    for token in found["drawn"]:
        given = ",".join(map(str, ids))
        now = attn("sample", "--ids", given, "--json", "-t", 1.5, "--top", 999_999).json["result"]
        share = next(c["after"][0] for c in now["candidates"] if c["id"] == token["id"])
        assert token["probability"] == pytest.approx(share, abs=1e-6)
        ids.append(token["id"])
    assert found["text"] == " ".join(t["text"] for t in found["drawn"])


def test_generation_stops_where_the_context_is_full(attn):
    asked = ("-m", "random:layers=1,context=8", "--seed", 0, "-n", 50, "--json")
    drawn = attn("sample", "the king is a man", *asked).json["result"]["drawn"]
    assert [token["position"] for token in drawn] == [5, 6, 7]


def test_generation_stops_after_the_end_token(attn):
    drawn = attn("sample", PROMPT + " Confucius", "-t", 0, "-n", 50, "--json").json["result"]
    assert drawn["drawn"][-1]["text"] == "<|endoftext|>"
    assert len(drawn["drawn"]) < 50


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


def test_a_sweep_puts_temperatures_side_by_side(attn, sample, logits):
    found = sample("--sweep", "0,0.5,1, 1.5,2,1e308,5e-324")["sweep"]
    heats = [0, 0.5, 1, 1.5, 2, 1e308, 5e-324]
    assert [heat["temperature"] for heat in found] == heats
    for heat, temperature in zip(found, heats, strict=True):
        shares = heated(logits, temperature)
        expected = [shares[i] for i in ranked(logits)[:10]]
        assert heat["probabilities"] == pytest.approx(expected, abs=1e-6)
    page = attn("sample", PROMPT, "--sweep", "0,1,2", "--seed", 0).text
    row = next(line for line in page.partition("at each temperature")[2].splitlines()
               if "Confucius" in line).split()  # fmt: skip
    first = ranked(logits)[0]
    assert row[1:] == [f"{heated(logits, t)[first]:.2f}" for t in (0, 1, 2)]


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
    first, *others = found["candidates"]
    lost = first["probability"] - first["after"][0]
    gain, text = max((c["after"][0] - c["probability"], c["text"]) for c in others)
    told = f"Temperature 1.5 takes {lost:.2f} from Confucius and gives {gain:.2f} to {text}."
    assert told in " ".join(page.split())
    assert f"{PROMPT} → {found['text']}" in page


@pytest.mark.parametrize(
    ("options", "start"),
    [
        ((), "Temperature 1 leaves the probabilities as the model gives them."),
        (("-t", 0), "Temperature 0 takes the likeliest token, Confucius, every time."),
        (("-t", 0.5), "Temperature 0.5 gives 0."),
    ],
)
def test_the_headline_says_what_temperature_does(attn, options, start):
    assert start in " ".join(attn("sample", PROMPT, *options).text.split())


def test_draws_page_counts_every_draw(attn):
    page = attn("sample", PROMPT, "--draws", 300, "--seed", 1, "-t", 0.7).text
    table = page.partition("300 draws with seed 1")[2].splitlines()[3:]
    assert sum(int(line.split()[3]) for line in table) == 300


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
