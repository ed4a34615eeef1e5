"""`attn trace`: every number on the page is a number of the document."""

import re

import numpy as np
import pytest

from attn_cli import vocabulary
from attn_cli.words import table

PROMPT = "the greatest thinker in China is"
TOKENS = PROMPT.split()
WIDE = 1000
NUMBER = re.compile(r"−?(\d+\.?\d*|∞)|·")
MATRICES = (
    "token_embedding", "position_embedding", "x = their sum", "normed", "q", "k", "v", "scores",
    "scaled", "masked", "weights", "z", "head_output", "output",
)  # fmt: skip
PARAMETERS = ("w_q", "b_q", "w_k", "b_k", "w_v", "b_v", "w_o", "b_o")


def matrix_on(page: str, name: str) -> tuple[list[str], dict[str, list[str]]]:
    """Column headings, and the numbers of each row by its label, of the table under `name`."""
    lines = iter(page.splitlines())
    title = re.compile(rf"    {re.escape(name)}   \d+ (×|keys)")
    next(line for line in lines if title.match(line))
    headings = [heading.removeprefix("▸") for heading in next(lines).split()]
    rows = {}
    for line in lines:
        cells = line.split()
        if set(line) == {" ", "─"}:
            continue
        numbers = cells[-len(headings) :]
        if len(numbers) < len(headings) or not all(map(NUMBER.fullmatch, numbers)):
            break
        rows[" ".join(cells[: -len(headings)]).removeprefix("▸ ")] = numbers
    return headings, rows


def as_shown(value: float | None, like: str) -> str:
    """A number of the document, written with as many decimals as `like`."""
    if value is None or like == "·":
        return "−∞" if value is None else "·" * (value == 0)
    text = f"{np.float32(value):.{len(like.partition('.')[2])}f}".replace("-", "−")
    return text.removeprefix("−") if not text.strip("−0.") else text


def assert_same(rows: dict[str, list[str]], values: list) -> None:
    assert len(rows) == len(values)
    for shown, numbers in zip(rows.values(), values, strict=True):
        assert shown == [as_shown(n, text) for n, text in zip(numbers, shown, strict=True)]


@pytest.fixture
def document(attn):
    return attn("trace", PROMPT, "--parameters", "--json").json


@pytest.fixture
def page(attn):
    return attn("trace", PROMPT, "--parameters", "--full", columns=WIDE).text


def head(document: dict, name: str) -> list:
    array = document["attention"][0]["arrays"][name.split(maxsplit=1)[0]]
    values = array["values"][0] if array["axes"][0] in ("head", "kv_head") else array["values"]
    return values if isinstance(values[0], list) else [values]


# --- what is on the page -------------------------------------------------------------------------


@pytest.mark.parametrize("name", MATRICES)
def test_every_number_of_a_token_table_is_the_documents(page, document, name):
    headings, rows = matrix_on(page, name)
    assert list(rows) == TOKENS
    queries_and_keys = document["attention"][0]["arrays"][name.split()[0]]["axes"][-1] == "key"
    assert headings == (TOKENS if queries_and_keys else [str(i) for i in range(len(headings))])
    assert_same(rows, head(document, name))


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_is_the_documents(page, document, name):
    assert_same(matrix_on(page, name)[1], head(document, name))


def test_each_step_has_its_number_equation_sentence_and_shape(page):
    flat = " ".join(page.split())
    # What this model and this run make of the general equation.
    ran = {
        2: "q = normed·W_Q   k = normed·W_K   v = normed·W_V",
        4: "scaled = scores ÷ √8   masked = −∞ where hidden",
        5: "weights = e^(masked − largest) ÷ their sum, for each query",
    }
    for step, key in zip(
        vocabulary.STEPS,
        ("embed.trained", "project.what", "dot.what", "mask.causal", "softmax.what", "sum.pull"),
        strict=True,
    ):
        equation = re.escape(ran.get(step.number, step.equation))
        assert re.search(rf"^ {step.number}  {step.name}\s+{equation}$", page, re.M)
        assert table("en")[key].split("{")[0].strip() in flat
    assert "    scores   6 × 6   rows: queries   columns: keys\n" in page
    assert "    q   6 × 8   rows: tokens   columns: width\n" in page
    assert "The mask hides 15 of 36 cells" in page


def test_step_one_shows_two_vectors_and_their_sum(page):
    parts = [
        np.array([[float(t.replace("−", "-")) for t in row] for row in rows.values()])
        for _, rows in (matrix_on(page, name) for name in MATRICES[:3])
    ]
    np.testing.assert_allclose(parts[0] + parts[1], parts[2], atol=0.0151)


def test_step_six_shows_weight_times_value_and_the_sum(page, document):
    headings, rows = matrix_on(page, "weight × v")
    assert headings == ["weight", *map(str, range(8))]
    weights = np.float32(head(document, "weights")[-1])
    products = weights[:, None] * np.float32(head(document, "v"))
    for token, weight, product in zip(TOKENS, weights, products, strict=True):
        assert rows[token] == [
            as_shown(n, t) for n, t in zip([weight, *product], rows[token], strict=True)
        ]
    total = [1.0, *head(document, "z")[-1]]
    assert rows["Σ"] == [as_shown(n, t) for n, t in zip(total, rows["Σ"], strict=True)]


def test_the_pull_and_its_cosine_are_told(page, document):
    pull, output = (np.float32(head(document, name)[-1]) for name in ("head_output", "output"))
    lengths = np.linalg.norm(pull), np.linalg.norm(output)
    cosine = pull @ output / lengths[0] / lengths[1]
    assert (
        f"Length of the pull on `is`: {lengths[0]:.2f}; of `output`: {lengths[1]:.2f}; "
        f"their cosine: {cosine:.2f}." in page
    )


def test_every_dot_product_of_the_query_is_spelt_out(attn, document):
    page = attn("trace", PROMPT, "--step", 3, "--query", "China").text
    table = page.partition("q × k of `China`   5 × 9   rows: keys")[2].splitlines()[2:7]
    q, keys = np.float32(head(document, "q")[4]), np.float32(head(document, "k"))[:5]
    for line, token, key, score in zip(
        table, TOKENS, keys, head(document, "scores")[4], strict=False
    ):
        name, *numbers = line.split()
        wanted = [score, *(q * key)]
        assert name == token
        assert numbers == [as_shown(n, like) for n, like in zip(wanted, numbers, strict=True)]


def test_the_prediction_is_the_documents(page, document):
    table = page.partition("next token after all 2 layers\n")[2].splitlines()
    candidates = document["next"][0]["candidates"]
    table = [line for line in table if re.match(r" +\d+  \S", line) and "." in line]
    assert len(table) == len(candidates) == 5
    for line, candidate in zip(table, candidates, strict=True):
        rank, text, _, _, share = line.split()[:5]
        assert (rank, text) == (str(candidate["rank"]), candidate["text"])
        assert share == as_shown(candidate["probability"], share)


# --- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "kept"), [("5", {5}), ("dot-products", {3}), ("1,6", {1, 6})])
def test_step_restricts_page_and_document(attn, step, kept):
    page = attn("trace", PROMPT, "--step", step).text
    assert {int(n) for n in re.findall(r"^ (\d)  [a-z]", page, re.M)} == kept
    arrays = attn("trace", PROMPT, "--step", step, "--json").json["attention"][0]["arrays"]
    assert {array["step"] for array in arrays.values()} == kept


def test_step_is_repeatable_and_takes_names_and_numbers_alike(attn):
    once = attn("trace", PROMPT, "--step", "softmax", "--step", "embed")
    assert once == attn("trace", PROMPT, "--step", "5,1")


def test_query_and_key_restrict_rows_and_columns(attn):
    page = attn("trace", PROMPT, "--query", "is", "--key", "2-4", "--step", 5).text
    whole = attn("trace", PROMPT, "--step", 5).text
    headings, rows = matrix_on(page, "weights")
    assert (headings, list(rows)) == (["thinker", "in", "China"], ["is"])
    assert rows["is"] == matrix_on(whole, "weights")[1]["is"][2:5]


def test_a_token_that_stands_twice_is_numbered_and_both_are_chosen(attn):
    page = attn("trace", "the king is the man", "--query", "the", "--step", 5).text
    assert list(matrix_on(page, "weights")[1]) == ["the·0", "the·3"]


def test_step_six_tells_of_the_chosen_query(attn, document):
    page = attn("trace", PROMPT, "--query", "China", "--full", columns=WIDE).text
    rows = matrix_on(page, "weight × v")[1]
    weights = head(document, "weights")[4]
    assert [row[0] for row in rows.values()][:6] == [as_shown(w, "0.00") for w in weights]
    assert "`China` looks at" in page


def test_layout_columns_turns_query_key_tables_round(attn):
    for name, step in (("scores", 3), ("masked", 4), ("weights", 5)):
        headings, rows = matrix_on(attn("trace", PROMPT, "--step", step).text, name)
        turned = attn("trace", PROMPT, "--step", step, "--layout", "columns").text
        assert f"{name}   6 × 6   rows: keys   columns: queries" in turned
        new_headings, new_rows = matrix_on(turned, name)
        assert (new_headings, list(new_rows)) == (list(rows), headings)
        assert list(map(list, zip(*rows.values(), strict=True))) == list(new_rows.values())


def test_layout_columns_labels_chosen_queries_and_keys_the_right_way_round(attn):
    asked = ("trace", PROMPT, "--query", "4,5", "--key", "0-2", "--step", 5, "--layout", "columns")
    headings, rows = matrix_on(attn(*asked).text, "weights")
    assert (headings, list(rows)) == (["China", "is"], ["the", "greatest", "thinker"])


def test_no_next_and_top(attn):
    without = attn("trace", PROMPT, "--no-next").text
    assert "next token" not in without
    assert "logit" not in without
    assert attn("trace", PROMPT, "--no-next", "--json").json["next"] == []
    nine = attn("trace", PROMPT, "--top", 9, "--json").json["next"][0]["candidates"]
    assert [candidate["rank"] for candidate in nine] == list(range(1, 10))
    logits = [candidate["logit"] for candidate in nine]
    assert logits == sorted(logits, reverse=True)
    table = attn("trace", PROMPT, "--top", 9).text.partition("probability")[2]
    assert len(re.findall(r"^ +\d  ", table, re.M)) == 9


@pytest.mark.parametrize(
    ("layer", "heads", "expected"),
    [("-1", "2", [(1, [2])]), ("all", "0-1", [(0, [0, 1]), (1, [0, 1])]), ("1,0", "3,0", None)],
)
def test_layers_and_heads_are_the_chosen_ones_in_order(attn, layer, heads, expected):
    blocks = attn("trace", PROMPT, "--json", "--layer", layer, "--head", heads).json["attention"]
    found = [(block["layer"], block["heads"]) for block in blocks]
    assert found == (expected or [(1, [3, 0]), (0, [3, 0])])
    everything = attn("trace", PROMPT, "--json", "--layer", "all", "--head", "all").json
    for block in blocks:
        whole = everything["attention"][block["layer"]]["arrays"]["weights"]["values"]
        assert block["arrays"]["weights"]["values"] == [whole[h] for h in block["heads"]]


def test_ids_are_the_prompt_without_its_text(attn, document):
    ids = ",".join(str(token["id"]) for token in document["prompt"]["tokens"])
    found = attn("trace", "--ids", ids, "--json").json
    assert found["prompt"] == {**document["prompt"], "text": None}
    assert found["next"] == document["next"]
    steps = [
        attn("trace", *said).text.partition("try next")[0] for said in (("--ids", ids), [PROMPT])
    ]
    assert steps[0] == steps[1]


def test_attention_temperature_keeps_what_comes_before_the_weights(attn, document):
    block = attn("trace", PROMPT, "--json", "--attention-temperature", "0").json["attention"][0]
    for name in ("scaled", "masked"):
        assert block["arrays"][name] == document["attention"][0]["arrays"][name]
    assert block["scale"] == document["attention"][0]["scale"]
    for row in block["arrays"]["weights"]["values"][0]:
        assert sorted(row, reverse=True) == [1, 0, 0, 0, 0, 0]
    assert block["arrays"]["weights"]["provenance"] == "what-if"


def test_without_head_zeroes_its_output_and_says_so(attn):
    asked = ("trace", PROMPT, "--without-head", "0.0", "--head", "0,1")
    found = attn(*asked, "--json", "--layer", "all").json
    first, second = (block["arrays"] for block in found["attention"])
    assert not np.any(first["head_output"]["values"][0])
    assert np.all(first["head_output"]["values"][1])
    assert first["weights"]["provenance"] == "real"
    assert first["output"]["provenance"] == second["x"]["provenance"] == "what-if"
    assert found["next"][0]["provenance"] == "what-if"
    page = attn(*asked).text
    assert "what-if: --without-head 0.0" in page
    assert "under the what-if settings" in page


def test_a_mask_is_marked_from_the_first_array_it_touches(attn):
    arrays = attn("trace", PROMPT, "--json", "--mask", "window:2").json["attention"][0]["arrays"]
    kinds = {name: array["provenance"] for name, array in arrays.items()}
    assert {n for n, kind in kinds.items() if kind == "real"} == {
        "x", "normed", "q", "k", "v", "scores", "scaled"
    }  # fmt: skip
    assert "visible   what-if" not in attn("trace", PROMPT).text


# --- long prompts --------------------------------------------------------------------------------

LONG = "the king is a man and the queen is a woman and the boy is a child and the girl sings"


def test_elision_says_how_much_is_left_out(attn):
    tokens = LONG.split()
    page = attn("trace", LONG, "--step", 5).text
    table = page.partition("weights   21 × 21")[2].partition("looks at")[0].splitlines()
    columns = re.fullmatch(r" +(.*?)  … (\d+) more  +(.*)", table[1])
    shown = columns[1].split(), columns[3].split()
    assert len(shown[0]) + int(columns[2]) + len(shown[1]) == len(tokens)
    assert all(text.split("·")[0] in tokens for text in shown[0] + shown[1])
    rows = [line for line in table[2:] if line.strip() and "`" not in line]
    gap = next(line for line in rows if "⋮" in line)
    assert int(re.search(r"… (\d+) more", gap)[1]) + len(rows) - 1 == len(tokens)
    assert " more" not in attn("trace", PROMPT, "--step", 5).text.partition("weights   ")[2]


def test_full_splits_into_panels_and_loses_nothing(attn):
    narrow = attn("trace", LONG, "--step", 5, "--full", columns=60).text
    assert max(map(len, narrow.splitlines())) <= 60
    wide = attn("trace", LONG, "--step", 5, "--full", columns=WIDE).text
    headings, rows = matrix_on(wide, "weights")
    assert len(headings) == len(rows) == len(LONG.split())
    table = narrow.partition("weights   ")[2].partition("looks at")[0].splitlines()
    joined: dict[str, list[str]] = {}
    found = []
    for line in table[1:-1]:
        cells = line.replace("▸", " ").split()
        if cells and cells[0] in rows and re.fullmatch(r"[−\d.]+|·", cells[-1]):
            joined.setdefault(cells[0], []).extend(cells[1:])
        elif cells and set(line.strip()) != {"─"}:
            found.extend(cells)
    assert found == headings
    assert joined == rows


def test_more_than_200_tables_are_counted_not_printed(attn):
    many = ("trace", "the", "-m", "random:layers=8,heads=4", "--layer", "all", "--head", "all")
    result = attn(*many)
    count = int(re.search(r"note: (\d+) tables are not printed; --full", result.said)[1])
    assert count > 200
    assert "next token" in result.text
    assert not re.search(r"^ \d  [a-z]", result.text, re.M)
    full = attn(*many, "--full")
    assert full.said == ""
    assert full.text.count("weights = e^(masked − largest)") == 32


# --- several prompts -----------------------------------------------------------------------------


def test_each_line_is_a_prompt(attn, tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("the king\n\nthe queen is a woman\r\n")
    result = attn("trace", "--file", path, "--each", "line", "--json")
    assert [line["prompt"]["text"] for line in result.lines] == ["the king", "the queen is a woman"]
    assert "1 blank line" in result.said
    single = attn("trace", "the king", "--json").json
    assert result.lines[0] == single
    assert attn("trace", "--file", path, "--each", "line", "--format", "ndjson").out == result.out
    page = attn("trace", "--file", path, "--each", "line").text
    assert page.count("next token after") == 2
    assert page.startswith(attn("trace", "the king").text)


def test_each_line_reads_json_lines(attn):
    lines = b'{"text": "the king", "id": 1}\n{"text": "\\u4e2d\\u56fd"}\n'
    result = attn("trace", "--each", "line", "--json", stdin=lines)
    assert [line["prompt"]["text"] for line in result.lines] == ["the king", "中国"]


def test_dash_reads_standard_input_and_text_leaves_it_alone(attn):
    assert attn("trace", "-", "--json", stdin=b"the king\n") == attn("trace", "the king", "--json")
    ignored = attn("trace", "the king", "--json", stdin=b"\xff\xff")
    assert ignored.json["prompt"]["text"] == "the king"


def test_without_a_prompt_the_sample_is_used_and_noted(attn):
    result = attn("trace")
    assert result.text == attn("trace", PROMPT).text
    assert result.said == "note: no text given: using the sample prompt\n"
    assert attn("trace", "--quiet").said == ""


@pytest.mark.parametrize("kind", ["table", "json", "ndjson", "csv", "npz"])
def test_the_same_command_prints_the_same_bytes(attn, kind):
    asked = ("trace", PROMPT, "--format", kind, "--layer", "all", "--head", "all", "--full")
    assert attn(*asked).out == attn(*asked).out != b""


# --- sentences are true where they stand ---------------------------------------------------------


def flat(attn, *asked):
    return " ".join(attn("trace", PROMPT, *asked).text.split())


def test_keys_left_out_are_added_up_in_a_row_of_their_own(attn, document):
    page = attn("trace", PROMPT, "--step", 6, "--key", "3-4", columns=WIDE).text
    assert "weight × v   2 of 6 keys, the others together, and the sum of all" in page
    rows = matrix_on(page.replace("v   2 of 6 keys", "v   2 keys"), "weight × v")[1]
    assert list(rows) == ["in", "China", "other keys", "Σ"]
    weights = np.array(head(document, "weights")[-1])
    products = np.column_stack([weights, weights[:, None] * np.array(head(document, "v"))])
    others = products[[0, 1, 2, 5]].sum(axis=0)
    assert rows["other keys"] == [
        as_shown(n, t) for n, t in zip(others, rows["other keys"], strict=True)
    ]
    assert "other keys" not in attn("trace", PROMPT, "--step", 6).text
    assert "1 of 6 keys" in attn("trace", PROMPT, "--step", 6, "--key", 3).text
    assert "weight × v   1 key and the sum" in attn("trace", "the", "--step", 6).text


def test_an_untrained_model_is_not_said_to_have_learned(attn):
    page = flat(attn, "-m", "random", "--step", 1, "--step", 2)
    assert "this model has not been trained" in page
    assert "random here, before any training" in page
    assert "training has placed" not in page
    assert "learned in training" not in page


@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_softmax_is_told_in_words_true_in_both_layouts(attn, layout):
    page = flat(attn, "--step", 5, "--layout", layout)
    assert "Each query's weights add up to 1" in page
    assert not re.search(r"row by row|its row|every row", page)


def test_step_one_says_what_x_is_made_of(attn, golden_copy):
    assert "x = what the layers before have left" in flat(attn, "--layer", 1, "--step", 1)
    llama = golden_copy("llama-plain")
    asked = ("trace", "--ids", "1,2,3", "-m", llama, "--step", 1)
    assert re.search(r"^ 1  embed +x = token vector$", attn(*asked).text, re.M)
    assert "position vector" not in attn(*asked).text
    assert "layers before have left" in attn(*asked, "--layer", 1).text


@pytest.mark.parametrize("word", ["1.2", "-1.-2"])
def test_a_removed_head_is_said_to_be_removed(attn, word):
    asked = ("--layer", 1, "--step", 6, "--without-head", word)
    page = flat(attn, *asked, "--head", 2)
    assert "removed this head: whatever z is, its head_output is 0" in page
    assert "This head pulls" not in page
    assert "z becomes head_output" not in page
    assert "removed this head" not in flat(attn, *asked, "--head", 1)


def test_an_elided_parameter_says_how_to_see_all_of_it(attn):
    page = flat(attn, "--parameters", "--step", 2)
    assert "… part of w_q is left out; --full shows all of it" in page
    assert "part of b_q" not in page
    assert "is left out" not in flat(attn, "--parameters", "--full")


def test_one_of_a_thing_is_singular(attn):
    page = attn("trace", "the", "-m", "random:layers=1,heads=1").text
    assert re.search(r"the   1 token$", page, re.M)
    assert "1 layer × 1 head ·" in page


def test_an_option_that_adds_nothing_to_what_is_shown_is_noted(attn):
    assert "--parameters adds nothing" in attn("trace", PROMPT, "--step", 5, "--parameters").said
    assert attn("trace", PROMPT, "--step", 6, "--parameters").said == ""
