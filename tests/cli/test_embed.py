"""`attn embed`: pages that show the numbers of their documents, and what is refused."""

import pytest

CONTEXTS = ("--in", "the fashion model", "--in", "we train the model", "--token", "model")


def flat(result):
    return " ".join(result.text.split())


def test_the_page_of_an_analogy_holds_the_documents_numbers(attn):
    page = attn("embed", "father - man + woman", columns=120).text
    found = attn("embed", "father - man + woman", "--json").json["result"]
    whole = " ".join(page.split())
    first = found["nearest"][0]
    assert (
        f"father − man + woman is nearest to `mother`, with a cosine of {first['cosine']:.2f}"
        in whole
    )
    assert f"the sum has the length {found['length']:.2f}" in whole
    for row in found["nearest"]:
        line = next(x for x in page.splitlines() if f"  {row['rank']}  {row['token']} " in x)
        cells = [cell for cell in line.split() if "█" not in cell]
        assert cells == [
            str(row["rank"]), row["token"], str(row["id"]), f"{row['cosine']:.2f}",
            f"{row['dot']:.2f}", f"{row['length']:.2f}",
        ]  # fmt: skip
        printed = float(cells[4]) / (float(f"{found['length']:.2f}") * float(cells[5]))
        assert printed == pytest.approx(float(cells[3]), abs=0.02)
    (analogy,) = found["analogies"]
    assert (
        f"father − man and mother − woman point the same way: the cosine of these two differences "
        f"is {analogy['cosine']:.2f}"
    ) in whole
    for row in found["left_out"]:
        assert f"`{row['token']}` (rank {row['rank']}, cosine {row['cosine']:.2f})" in whole


def test_one_word(attn):
    page = flat(attn("embed", "China"))
    assert "Nearest to `China` is `Greece`" in page
    assert "Left out is the word itself: `China` (rank 1, cosine 1.00)" in page
    assert "the sum" not in page
    assert len(attn("embed", "China", "--top", 3, "--json").json["result"]["nearest"]) == 3


def test_tokens_that_training_never_saw_are_said_to_be_alike(attn):
    said = "training has not told these tokens apart"
    asked = ("embed", "[UNK]")
    near = attn(*asked, "--json").json["result"]["nearest"]
    assert min(row["cosine"] for row in near) > 0.99
    assert said in flat(attn(*asked))
    assert said in flat(attn("show", stdin=attn(*asked, "--json").out))
    for others in (("embed", "China"), ("embed", "father - man + woman"), (*asked, "--top", 2)):
        assert said not in flat(attn(*others))
    document = attn(*asked, "--json").out
    untrained = document.replace(b'"trained":true', b'"trained":false')
    assert document != untrained and said not in flat(attn("show", stdin=untrained))


def test_without_words_an_example_is_taken(attn):
    result = attn("embed", "--json")
    assert result.json["prompt"]["text"] == "father - man + woman"
    assert "no text given" in result.said


def test_a_file_of_expressions(attn):
    lines = b'{"text": "king - man + woman", "n": 1}\n{"text": "king -"}\n{"text": "China"}\n'
    result = attn("embed", "--each", "line", "--json", stdin=lines, partial=True)
    assert result.code == 1 and "line 2: the expression 'king -' ends with -" in result.said
    first, last = result.lines
    assert first["prompt"]["given"] == {"n": 1}
    assert first["result"]["nearest"][0]["token"] == "queen"
    assert last == attn("embed", "China", "--json").json


def test_an_untrained_models_directions_mean_nothing(attn):
    assert "directions need not mean anything" in flat(
        attn("embed", "China", "-m", "random:seed=1")
    )
    assert "directions carry meaning" in flat(attn("embed", "China"))


def test_the_page_of_two_texts_holds_the_documents_numbers(attn):
    page, document = (
        attn("embed", *CONTEXTS, columns=120).text,
        attn("embed", *CONTEXTS, "--json").json,
    )
    found, whole = document["result"], " ".join(page.split())
    assert document["prompt"] is None
    assert document["settings"]["token"] == ["model"]
    first, last = (found["layers"][n]["cosine"] for n in (0, -1))
    assert f"is {first:.2f} before the first layer and {last:.2f} after both layers" in whole
    for row in found["layers"]:
        line = next(x for x in page.splitlines() if x.startswith(f"{row['layers']:>9}  "))
        cells = line.split()
        assert cells[1] == f"{row['cosine']:.2f}"
        names = [one["token"] for side in ("first", "second") for one in row[side][:3]]
        assert [cell.rstrip("…") for cell in cells[2:]] == [
            name if len(name) <= 9 else name[:8] for name in names
        ]
    for one in (*found["layers"][-1]["first"], *found["layers"][-1]["second"]):
        assert f"{one['token']} " in page and f"{one['cosine']:.2f}" in page
    assert "A the fashion model (`model` at position 2)" in whole


def test_what_the_page_says_of_the_first_vector_is_true(attn):
    assert "with that of its position" in flat(attn("embed", *CONTEXTS))
    page = flat(attn("embed", *CONTEXTS, "--without", "positions"))
    assert "what-if: --without positions" in page
    assert "with that of its position" not in page and "1.00 before the first layer" in page
    page = flat(attn("embed", *CONTEXTS[:-1], "fashion", "--token", "train"))
    assert "`fashion` and `train` in two texts" in page
    assert "the vectors of two tokens, each with that of its position" in page
    same = flat(attn("embed", "--in", "the king is", "--in", "the king of", "--token", "king"))
    assert "no word that it can see differs" in same and "is pulled toward" not in same


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("☃",), "tiny has no token for '☃'"),
        (("",), "the expression '' is empty"),
        (("king -",), "a word is missing"),
        (("a + - b",), "two signs stand together"),
        (("king - king",), "nothing is left of the sum"),
        (("--ids", "995"), "tiny has ids 0 to 994"),
        (("China", "--ids", "5"), "two prompts"),
        (("China", "--mask", "none"), "--mask none changes no row of the embedding"),
        (("China", "--top", "0"), "a whole number, 1 to"),
        (("China", "--token", "model"), "contradict"),
        (("--in", "the king", "--token", "king"), "given: 1 --in, 1 --token"),
        (("--in", "a", "--in", "b"), "given: 2 --in, 0 --token"),
        ((*CONTEXTS, "--token", "a", "--token", "b"), "3 --token"),
        ((*CONTEXTS, "--each", "line"), "--in and --each contradict"),
        ((*CONTEXTS[:-1], "zebra"), "does not stand in the first text"),
        (("--in", "the king the king", "--in", "a king", "--token", "king"), "at positions 1, 3"),
        (("--in", "", "--in", "a king", "--token", "king"), "the prompt is empty"),
        ((*CONTEXTS, "--without-head", "9.9"), "--without-head"),
        (("a" * 5000,), "5,000 characters"),
    ],
)
def test_what_cannot_be_looked_up_is_refused(attn, arguments, said):
    result = attn("embed", *arguments)
    assert result.code == 2 and said in result.said


def test_a_word_of_several_tokens_is_told(attn):
    result = attn("embed", "kingness")
    assert result.code == 0 and "the last stands for it" in result.said
    assert attn("embed", "kingness", "--quiet").said == ""


def test_a_model_without_a_tokenizer_takes_ids(attn, golden_path):
    folder = golden_path / "albert"
    assert attn("embed", "--ids", "3", "-m", folder).code == 0
    refused = attn("embed", "king", "-m", folder)
    assert refused.code == 1 and "--ids" in refused.said


def test_a_quoted_token_is_shown_as_data(attn):
    page = attn("embed", '"[UNK]" - "##a"').text
    assert "[UNK] − ##a" in page


@pytest.mark.parametrize(("typed", "sum"), [
    ("father-man+woman", '"father - man + woman"'),
    ("father -man +woman", '"father - man + woman"'),
    ("king - e-mail", '"e - mail"'), ("father - man + woman", ""), ("China", ""), ('"-"', ""),
])  # fmt: skip
def test_a_sum_without_spaces_is_answered_with_a_hint(attn, typed, sum):
    result = attn("embed", typed, "--json")
    told = [note for note in result.json["notes"] if "spaces around each sign" in note]
    assert result.code == 0 and [note.partition("sign: ")[2] for note in told] == [sum] * bool(sum)
    assert all(note in result.said for note in told)
