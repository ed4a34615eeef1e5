"""`attn why`: a reader redoes the page from its text alone, and every number is the trace's own."""

import math
import re

import numpy as np
import pytest

PROMPT = "the greatest thinker in China is"
IDS = ("--ids", "7,0,7,36,2,11,9")
GOLDEN = {
    "gemma": (*IDS, "--model", "gemma2", "--head", "1"),
    "capped-far": (*IDS, "--model", "gemma2", "--layer", "1", "--query", "3"),
    "terms": (*IDS, "--model", "deberta-both", "--query", "3"),
    "alibi": (*IDS, "--model", "bloom", "--head", "2"),
    "relative": (*IDS, "--target-ids", "0,3,4", "--model", "t5-relu"),
    "grouped": (*IDS, "--model", "llama-llama3", "--layer", "1", "--head", "2"),
    "post-norm": (*IDS, "--model", "bert", "--query", "1"),
}
TYPED = {
    "tiny": (PROMPT,),
    "digits": (PROMPT, "--digits", "4", "--full"),
    "no-digits": (PROMPT, "--digits", "0", "--layer", "1"),
    "heated": (PROMPT, "--attention-temperature", "2.5", "--layer", "1", "--head", "2"),
    "cold": (PROMPT, "--attention-temperature", "0"),
    "valued": (PROMPT, "--mask-value", "0", "--query", "greatest", "--key", "China"),
    "small": (PROMPT, "--key", "in", "--layer", "1", "--head", "3"),
    "unscaled": (PROMPT, "--without", "scale", "--key", "thinker"),
    "cross": ("the king sees", "--target", "the", "--model", "tiny-translator", "--kind", "cross"),
    "long": ("the king " * 20, "--query", "30"),
}


def number(text):
    return float(text.strip("().").replace("−", "-").replace("∞", "inf"))


def same(made, printed):
    """Whether a result, rounded as the printed number is, is the printed number."""
    printed = printed.strip("().").replace("−", "-")
    mantissa, _, power = printed.partition("e")
    decimals = len(mantissa.partition(".")[2])
    assert abs(made - float(printed)) <= 0.5000001 * 10.0 ** (int(power or 0) - decimals), (
        made, printed,
    )  # fmt: skip


class Sheet:
    """The tables of a page, each as its rows of texts, and its sentences as one text."""

    def __init__(self, text):
        self.text, self.tables = " ".join(text.split()), []
        lines = text.split("\n")
        for at, line in enumerate(lines):
            if re.fullmatch(r" +─+", line):
                end = next(n for n in range(at + 1, len(lines)) if not lines[n].startswith("    "))
                rows = [re.split(r"  +", row.strip()) for row in lines[at + 1 : end]]
                stop = 1 + next(n for n, row in enumerate(rows) if row[0].startswith("Σ"))
                self.tables.append((re.split(r"  +", lines[at - 1].strip()), rows[:stop]))

    def equation(self, pattern):
        found = re.search(pattern, self.text)
        assert found, (pattern, self.text)
        return found.groups()


NUMBER = r"\(?(−?[\d.]+(?:e[-+]\d+)?)\)?"


def check_products(rows):
    """Each product, and their sum with the remainder; returns the sum as it is printed."""
    for row in rows[:-1]:
        if len(row) == 4:
            same(number(row[1]) * number(row[2]), row[3])
    same(math.fsum(number(row[-1]) for row in rows[:-1]), rows[-1][-1])
    return rows[-1][-1]


def check_softmax(sheet, rows):
    heat = re.search(r"\^\(that ÷ (\S+)\)", sheet.text)
    cold = "At attention temperature 0" in sheet.text
    largest = max(number(row[1]) for row in rows if len(row) == 4)
    for row in rows:
        if len(row) == 4:
            same(number(row[1]) - largest, row[2])
            power = math.exp(number(row[2]) / (float(heat[1]) if heat else 1))
            same(float(number(row[2]) == 0) if cold else power, row[3])
    same(math.fsum(number(row[-1]) for row in rows[:-1]), rows[-1][-1])


def page_of(attn, asked, golden_path):
    asked = [str(golden_path / a) if (golden_path / a).is_dir() else a for a in asked]
    found = attn("why", *asked)
    assert found.code == 0, found.said
    return Sheet(found.text), attn("why", *asked, "--json").json, asked


@pytest.mark.parametrize("name", [*TYPED, *GOLDEN])
def test_a_reader_redoes_every_line(attn, golden_path, name):
    sheet, document, _ = page_of(attn, {**TYPED, **GOLDEN}[name], golden_path)
    *products, (_, row) = sheet.tables
    sums = [check_products(rows) for _, rows in products]
    found = document["result"]
    if len(found["terms"]) > 1:
        three, score = sheet.equation(r"scores = (\S+ \+ \S+ \+ \S+) = (−?[\d.]+)")
        assert [number(part) for part in three.split(" + ")] == list(map(number, sums))
        same(math.fsum(map(number, sums)), score)
    else:
        score = sums[0]
    left, scale, value = sheet.equation(rf"= {NUMBER} × {NUMBER} = {NUMBER}")
    assert left == score
    same(number(left) * number(scale), value)
    if found["soft_cap"]:
        cap, x, again, last = sheet.equation(rf"{NUMBER} × tanh\({NUMBER} ÷ {NUMBER}\) = {NUMBER}")
        assert (x, cap) == (value, again)
        same(number(cap) * math.tanh(number(x) / number(again)), value := last)
    if found["bias"] is not None:
        x, bias, last = sheet.equation(rf"bias: scaled = {NUMBER} \+ {NUMBER} = {NUMBER}")
        assert x == value
        same(number(x) + number(bias), value := last)
    check_softmax(sheet, row)
    power, total, weight = sheet.equation(rf"weight = {NUMBER} ÷ {NUMBER} = {NUMBER}")
    assert total == row[-1][-1]
    assert any(power == cells[-1] for cells in row)
    same(number(power) / number(total), weight)
    left, length, norm = sheet.equation(rf"vector of length {NUMBER} × {NUMBER} = {NUMBER}")
    assert left == weight
    same(number(left) * number(length), norm)
    assert f" {weight} of its attention" in sheet.text or "all of its attention" in sheet.text


@pytest.mark.parametrize("name", [*TYPED, *GOLDEN])
def test_every_number_is_the_traces_own(attn, golden_path, name):
    _, document, asked = page_of(attn, {**TYPED, **GOLDEN}[name], golden_path)
    found = document["result"]
    layer, head, q, k = (found[key] for key in ("layer", "head", "query", "key"))
    drop = ("--query", "--key", "--digits", "--full", "--layer", "--head")
    keep = [
        a for i, a in enumerate(asked) if a not in drop and (i == 0 or asked[i - 1] not in drop)
    ]
    trace = attn("trace", *keep, "--layer", layer, "--head", head, "--parameters", "--json").json
    (block,) = trace["attention"]
    arrays = {name: np.array(a["values"], float) for name, a in block["arrays"].items()}
    for array in ("scores", "scaled", "masked", "weights"):
        own = found["weight" if array == "weights" else array]
        assert own == pytest.approx(arrays[array][0, q, k], rel=1e-6, abs=1e-7)
    q_W, k_W = arrays["q"][0, q], arrays["k"][0, k]
    for one in found["terms"][0]["products"]:
        assert one["left"] == pytest.approx(q_W[one["index"]], rel=1e-6)
        assert one["right"] == pytest.approx(k_W[one["index"]], rel=1e-6)
    for term in found["terms"]:
        own = arrays[term["name"]][0, q, k]
        assert term["value"] == pytest.approx(own, rel=1e-5, abs=1e-6)
        assert sum(one["value"] for one in term["products"]) == pytest.approx(
            own, rel=1e-4, abs=1e-5
        )
    for one in found["row"]:
        assert one["weight"] == pytest.approx(arrays["weights"][0, q, one["key"]], rel=1e-6)
        assert one["power"] / found["total"] == pytest.approx(one["weight"], rel=1e-4, abs=1e-6)
    moved = arrays["weights"][0, q, k] * arrays["v"][0, k] @ arrays["w_o"][0]
    output, added = arrays["output"][q], found["added"]
    assert added["norm"] == pytest.approx(np.linalg.norm(moved), rel=1e-4)
    assert added["output_norm"] == pytest.approx(np.linalg.norm(output), rel=1e-4)
    cosine = moved @ output / np.linalg.norm(moved) / np.linalg.norm(output)
    assert added["cosine"] == pytest.approx(cosine, rel=1e-3)


def test_the_parts_of_all_keys_and_heads_add_up_to_the_logit_of_what_attention_wrote(attn):
    """In the last layer: every key's direct share, over all heads, is `lens`'s of its heads."""
    total = 0.0
    for head in range(4):
        for key in range(6):
            found = attn("why", PROMPT, "--layer", 1, "--head", head, "--key", key, "--json").json
            assert found["result"]["direct"]["token"] == "Confucius"
            total += found["result"]["direct"]["added"]
    split = attn("why", PROMPT, "--by", "component", "--array", "logit", "--json").json["result"]
    of_heads = [one["value"] for one in split["by"] if one["kind"] == "head" and one["layer"] == 1]
    assert total == pytest.approx(sum(of_heads), abs=1e-4)


ENTRIES = [
    ("q", PROMPT), ("k", PROMPT), ("v", PROMPT), ("z", PROMPT), ("output", PROMPT),
    ("q", *IDS, "--model", "qwen3-yarn"), ("k", *IDS, "--model", "qwen3-yarn"),
    ("k", *IDS, "--model", "llama-llama3", "--head", "2"),
    ("q", *IDS, "--model", "neox-parallel"), ("v", *IDS, "--model", "llama-bias"),
    ("output", *IDS, "--model", "llama-bias", "--without-head", "0.0"),
    ("k", "the king sees", "--model", "tiny-translator", "--kind", "cross"),
]  # fmt: skip


@pytest.mark.parametrize("column", [0, 3])
@pytest.mark.parametrize("asked", ENTRIES, ids="-".join)
def test_an_entry_is_redone_and_is_the_traces(attn, golden_path, asked, column):
    array, *asked = asked
    asked = [str(golden_path / a) if (golden_path / a).is_dir() else a for a in asked]
    typed = (*asked, "--array", array, "--column", column)
    sheet = Sheet(attn("why", *typed).text)
    found = attn("why", *typed, "--json").json["result"]
    trace = attn("trace", *asked, "--json").json["attention"][0]["arrays"][array]["values"]
    own = np.array(trace if array == "output" else trace[0])[found["position"], column]
    assert found["value"] == pytest.approx(own, rel=1e-6, abs=1e-7)
    value = check_products(sheet.tables[0][1])
    if biased := re.search(rf"plus bias: {NUMBER} \+ {NUMBER} = {NUMBER}", sheet.text):
        assert biased[1] == value
        same(number(biased[1]) + number(biased[2]), value := biased[3])
    if normed := re.search(rf": {NUMBER} ÷ {NUMBER} × {NUMBER} = {NUMBER}", sheet.text):
        assert normed[1] == value
        same(number(normed[1]) / number(normed[2]) * number(normed[3]), value := normed[4])
    if found["rotation"]:
        angle, cos, sin = sheet.equation(rf"by {NUMBER} radians .*?: cos {NUMBER}, sin {NUMBER}\.")
        same(math.cos(number(angle)), cos)
        same(math.sin(number(angle)), sin)
        a, b, sign, c, d, factor, last = sheet.equation(
            rf"[qk] = {NUMBER} × {NUMBER} ([−+]) {NUMBER} × {NUMBER}"
            rf"(?:, times the attention factor {NUMBER})? = {NUMBER}"
        )
        assert (a, b, d) == (value, cos, sin)
        made = number(a) * number(b) + (-1 if sign == "−" else 1) * number(c) * number(d)
        same(made * (number(factor) if factor else 1), value := last)
    if array == "output":
        heads = sheet.tables[1][1]
        assert [row[1] for row in heads if row[0] == f"head {found['head']}"] == [value]
        same(math.fsum(number(row[1]) for row in heads[:-1]), value := heads[-1][1])
    assert f" is {value} in column {column}." in sheet.text


def test_without_a_cell_the_strongest_of_the_last_row(attn):
    weights = np.array(attn("trace", PROMPT, "--layer", 1, "--json").json["attention"][0]["arrays"]
                       ["weights"]["values"])[0, -1]  # fmt: skip
    found = attn("why", PROMPT, "--layer", 1, "--json").json["result"]
    assert (found["query"], found["key"]) == (5, int(weights.argmax()))


def test_a_masked_cell_is_explained(attn):
    found = attn("why", PROMPT, "--query", "greatest", "--key", "China")
    text = " ".join(found.text.split())
    assert "`greatest` may not look at `China`" in text
    assert "`China` comes after `greatest`, and the mask hides later tokens" in text
    open_ = attn("trace", PROMPT, "--query", "greatest", "--step", 4, "--json").json
    scaled = np.array(open_["attention"][0]["arrays"]["scaled"]["values"])[0, 0, [0, 1, 4]]
    powers = np.exp(scaled - scaled.max())
    assert f"With this score it would get {powers[2] / powers.sum():.2f} of the row" in text
    text = " ".join(attn("why", PROMPT, "--key", "China", "--mask", "block:is:China").text.split())
    assert "--mask block:is:China hides `China` from `is`" in text
    assert "comes after" not in text
    blind = attn("why", PROMPT, "--mask", "padding:6")
    assert "sees no key at all" in blind.text


def test_what_ifs_are_said_and_change_the_provenance(attn):
    found = attn("why", PROMPT, "--attention-temperature", "2")
    assert "what-if: --attention-temperature 2" in found.text
    asked = ("why", PROMPT, "--json")
    assert attn(*asked).json["result"]["provenance"] == "real"
    assert attn(*asked, "--without", "scale").json["result"]["provenance"] == "what-if"
    text = " ".join(attn("why", PROMPT, "--without-head", "0.0").text.split())
    assert "--without-head removed this head: the value of `China` adds nothing to `is`" in text


REASONS = [
    ((PROMPT, "--query", "China"), "The prediction is made at another token"),
    (("the king is", "--model", "tiny-encoder"), "Nothing is predicted here"),
    (("the [MASK] is", "--model", "tiny-encoder"), "every later norm acts on the whole sum"),
    (("the king", "--model", "tiny-translator", "--stack", "encoder"), "This is the encoder"),
]


@pytest.mark.parametrize(("asked", "said"), REASONS)
def test_why_there_is_no_direct_share(attn, asked, said):
    assert said in " ".join(attn("why", *asked).text.split())


REFUSED = [
    (("the king and the queen", "--query", "the"), "--query the stands at positions 0, 3"),
    ((PROMPT, "--query", "elephant"), "is no token of this prompt"),
    ((PROMPT, "--query", "99"), "--query 99 is out of range\nhint: valid: 0 to 5, or -1 for"),
    ((PROMPT, "--head", "9"), "--head 9 is out of range\nhint: valid: 0 to 3, or -1 for"),
    ((PROMPT, "--layer", "7"), "--layer 7 is out of range"),
    ((PROMPT, "--head", "9"), "--head 9 is out of range"),
    ((PROMPT, "--head", "0,1"), "one head of one layer"),
    ((PROMPT, "--array", "q"), "--array q needs --column"),
    ((PROMPT, "--column", "1"), "--column is of q, k, v, z or output"),
    ((PROMPT, "--array", "q", "--column", "8"), "--column 8 is out of range"),
    ((PROMPT, "--array", "z", "--column", "1", "--key", "is"), "--key does nothing"),
    ((PROMPT, "--array", "w", "--column", "1"), "--array 'w' is unknown"),
    ((PROMPT, "--step-back"), "--step-back needs --by component"),
    ((PROMPT, "--logit", "the"), "a logit needs --by component"),
    ((PROMPT, "--by", "component", "--array", "q"), "splits a score, or a logit"),
    ((PROMPT, "--by", "component", "--step-back"), "no head stands before this layer"),
    ((PROMPT, "--by", "component", "--logit", "the", "--layer", "1"), "--layer does nothing"),
    ((PROMPT, "--by", "component", "--logit", "zqé"), "--logit 'zqé'"),
]


@pytest.mark.parametrize(("asked", "said"), REFUSED)
def test_what_was_typed_wrong_is_told(attn, asked, said):
    refused = attn("why", *asked)
    assert refused.code == 2
    assert said in refused.said


def test_a_word_of_several_tokens_means_its_last(attn):
    found = attn("why", "the elephants is", "--query", "elephants", "--json")
    tokens = found.json["prompt"]["tokens"]
    assert len(tokens) > 4
    assert found.json["result"]["query"] == len(tokens) - 2
    assert f"elephants is {len(tokens) - 2} tokens here" in found.said
    twice = attn("why", "the elephant is elephant", "--query", "elephant")
    assert twice.code == 2 and "stands at positions" in twice.said


def test_a_split_adds_up_on_the_page(attn):
    asked = ("why", PROMPT, "--layer", 1, "--head", 2, "--by", "component", "--step-back")
    for digits in (0, 2, 5):
        sheet = Sheet(attn(*asked, "--digits", digits).text)
        value, mean, advantage = sheet.equation(rf"only: {NUMBER} − {NUMBER} = {NUMBER}")
        same(number(value) - number(mean), advantage)
        assert len(sheet.tables) == 6
        for place, (_, rows) in enumerate(sheet.tables):
            same(math.fsum(number(row[-1]) for row in rows[:-1]), rows[-1][-1])
            assert place > 2 or rows[-1][-1] == advantage.rstrip(".")


def test_a_split_logit_adds_up_to_the_predictions(attn):
    predicted = attn("trace", PROMPT, "--json").json["next"][0]["candidates"]
    for rank, typed in ((0, ("--array", "logit")), (1, ("--logit", predicted[1]["text"]))):
        asked = ("why", PROMPT, "--by", "component", *typed)
        found = attn(*asked, "--json").json["result"]
        assert found["id"] == predicted[rank]["id"]
        own = pytest.approx(predicted[rank]["logit"], rel=1e-5)
        assert found["logit"] == own
        assert sum(one["value"] for one in found["by"]) == own
        ((_, rows),) = Sheet(attn(*asked).text).tables
        same(math.fsum(number(row[-1]) for row in rows[:-1]), rows[-1][-1])


def headline(found):
    """The first sentences of a page, below its prompt."""
    return " ".join(found.text.split("\n\n")[1].split("\n    ")[0].split())


def test_a_split_says_what_the_query_may_see(attn):
    by = ("--by", "component")
    hidden = attn("why", PROMPT, *by, "--query", "the", "--key", "is")
    assert headline(hidden).startswith("`the` may not look at `is` (weight 0.00): its score is")
    assert "above that of the one other key." in headline(hidden)
    blind = headline(attn("why", PROMPT, *by, "--mask", "padding:6"))
    assert blind.startswith("`is` sees no key at all.")
    assert headline(attn("why", "the", *by)).startswith("`the` sees no key beside `the`")


@pytest.mark.parametrize("key", ["thinker", "China"])
def test_a_split_names_the_writer_that_is_largest_in_its_direction(attn, key):
    asked = ("why", PROMPT, "--by", "component", "--layer", 1, "--key", key)
    cell = attn(*asked, "--json").json["result"]["cells"][0]
    side = 1 if cell["advantage"] > 0 else -1
    best = max(cell["by_key"], key=lambda one: side * one["value"])
    verb = "the largest part of that" if side > 0 else "lowered it most"
    said = headline(attn(*asked))
    assert best["writer"] in said and verb in said
    assert ("above" in said) == (side > 0)


def test_a_writer_of_the_other_sign_wrote_no_part_of_a_logit(attn):
    ids = range(0, 60)
    for word in ids:
        asked = ("why", PROMPT, "--by", "component", "--logit", f"<{word}>")
        found = attn(*asked, "--json").json["result"]
        if found["by"][0]["value"] * found["total"] < 0:
            break
    else:
        pytest.fail("every largest part has the sign of its logit")
    side = 1 if found["total"] > 0 else -1
    best = max(found["by"], key=lambda one: side * one["value"])
    assert f"is what {best['writer']} wrote" in headline(attn(*asked))


def test_what_only_rounding_leaves_is_no_part(attn):
    text = attn("why", PROMPT, "--by", "component").text
    assert "e-" not in text.replace(re.search(r"error of \S+ of it", text)[0], "")
    assert "all others" not in text


def test_a_small_scores_error_is_not_told_as_a_share_of_it(attn):
    asked = ("why", PROMPT, "--by", "component", "--layer", 1)
    value = attn(*asked, "--json").json["result"]["cells"][0]["value"]
    assert abs(value) < 1
    assert re.search(r"score with an error of [\d.e-]+\.$", attn(*asked).text.rstrip())


def test_nan_is_no_number_of_a_split(attn, tiny_folder, repack):
    def broken(entries):
        dtype, shape, data = entries["transformer.h.0.mlp.c_fc.weight"]
        numbers = np.full(len(data) // 4, np.nan, np.float32)
        return entries | {"transformer.h.0.mlp.c_fc.weight": (dtype, shape, numbers.tobytes())}

    repack(tiny_folder, broken)
    asked = ("why", PROMPT, "--model", tiny_folder)
    by = (*asked, "--by", "component")
    assert headline(attn(*asked, "--layer", 1)) == (
        "`is` gives `the` a weight of NaN: a score of its row is NaN or infinite."
    )
    found = attn(*by, "--layer", 1)
    assert "cannot be split: it, or that of another key that `is` sees, is" in headline(found)
    assert "adds" not in found.text
    logit = attn(*by, "--array", "logit")
    assert "is NaN or infinite and cannot be split" in headline(logit)
    assert "adds" not in logit.text
    back = attn(*by, "--layer", 1, "--step-back")
    assert back.code == 1 and "NaN or infinite" in back.said


def test_a_mask_is_missed_in_words_that_can_be_typed(attn):
    asked = ("why", "the king is", "--model", "tiny-encoder", "--by", "component")
    refused = attn(*asked, "--array", "logit")
    assert refused.code == 2
    option = re.search(r"(--query \d)", refused.said)[1]
    again = attn(*asked, "--array", "logit", *option.split())
    assert "stands at positions" not in again.said and "no [MASK]" not in again.said


def test_each_line_and_the_same_bytes(attn):
    lines = attn("why", "--each", "line", "--json", stdin=b"the king is\nthe queen\n").lines
    assert lines[1] == attn("why", "the queen", "--json").json
    for kind in (("--json",), ("--by", "component"), ()):
        assert attn("why", PROMPT, *kind).out == attn("why", PROMPT, *kind).out
