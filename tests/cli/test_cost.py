"""`attn cost`: a page whose formulas give its numbers, and what is refused."""

import json
import re

import pytest


def numbers(text):
    return [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", text)]


def flat(result):
    return " ".join(result.text.split())


@pytest.fixture(params=["gpt3", "gemma2-2b", "bart-large"])
def asked(request):
    return ("cost", "--preset", request.param, "--context", "64,1000")


def test_the_page_holds_the_documents_numbers(attn, asked):
    page, found = attn(*asked, columns=140).text, attn(*asked, "--json").json["result"]
    for part in found["parts"]:
        assert f"{part['parameters']:,}" in page
    for row in found["contexts"]:
        tables = [line.split() for line in page.splitlines() if re.match(r" +[\d,]+  ", line)]
        first = [cells for cells in tables if cells[0] == f"{row['tokens']:,}"]
        cells, cache, work = (numbers(" ".join(line)) for line in first)
        assert cells[:4] == [row["tokens"], row["mask"], row["visible"], row["weights"]]
        assert cache[:2] == [row["tokens"], row["cache"]]
        assert work[:3] == [row["tokens"], row["attention"], row["others"]]


def evaluated(formula, n):
    """What a calculator makes of a formula on the page."""
    words = formula.replace(",", "").replace("·", "*").replace("×", "*").replace("n²", "n*n")
    words = re.sub(r"[a-z]{2,} |kv heads|layers|heads|encoder|decoder|cross", "", words)
    return eval(words, {"n": n, "min": min})


@pytest.mark.parametrize("name", ["gpt3", "bart-large", "llama3-8b"])
def test_formulas_give_the_numbers_of_the_tables(attn, name):
    asked = ("cost", "--preset", name, "--context", "1000")
    page, (row,) = flat(attn(*asked)), attn(*asked, "--json").json["result"]["contexts"]
    attention = re.search(r"weights·v: ([^.]*)\.", page)[1]
    assert evaluated(attention, 1000) == row["attention"]
    cells = re.search(r"matrix of that size: ([^.]*)\.", page)[1]
    assert evaluated(cells, 1000) == row["weights"]
    cache = re.search(r"(2 · n · [^.]*?) numbers: a key", page)[1]
    assert evaluated(cache, 1000) == row["cache"]
    rest = re.search(r"The rest: (2 · n · [\d,]+),", page)[1]
    assert evaluated(rest.rstrip(","), 1000) == row["others"]
    both = re.search(r"equal at n = (2 · [\d,]+ / \(4 · [\d,]+\)): from ([\d,]+)", page)
    exact = evaluated(both[1], 0)
    assert exact <= numbers(both[2])[0] < exact + 1


def test_each_row_of_the_parts_is_the_product_it_shows(attn):
    page = attn("cost", "--preset", "llama3-8b", columns=120).text
    table = page.partition("parameters by part")[2].partition("\n    layers,")[0]
    rows = [re.split(r"  +", line.strip()) for line in table.splitlines()[3:]]
    assert len(rows) > 8
    for row in rows:
        product = evaluated(row[1], 0)
        assert numbers(row[2])[0] == product
        if len(row) == 4:
            assert numbers(row[3])[0] == 32 * product


def test_gpt3s_embedding_heads_and_width_are_on_the_page(attn):
    page = flat(attn("cost", "--preset", "gpt3"))
    assert "50,257 × 12,288 = 617,558,016" in page
    assert "96 layers × 96 heads" in page and "(128 per head)" in page
    assert "Each of the 96 heads of a layer has 128 dimensions" in page
    assert "Brown et al. 2020" in page


@pytest.mark.parametrize(("name", "row"), [
    ("bert-base", "positions 512 × 768 393,216 segment types 2 × 768 1,536"),
    ("bert-base", "output, others 768 × 768 + 768 + 30,522 621,114"),
    ("mistral-7b", "output matrix 32,000 × 4,096 131,072,000"),
])  # fmt: skip
def test_what_stands_beside_the_layers_has_a_name_of_its_own(attn, name, row):
    text = " ".join(attn("cost", "--preset", name).text.split())
    assert f" {row} " in text
    assert ("The output matrix is the same one" in text) != (" output matrix 3" in text)


def test_grouped_heads_share_keys_and_values(attn):
    page = flat(attn("cost", "--preset", "llama3-8b"))
    assert "4 heads share the keys and values of one kv head" in page
    assert "With keys and values for all 32 heads it would be 4 times as large" in page
    assert "it would be" not in flat(attn("cost", "--preset", "gpt2"))


def test_what_is_beyond_the_training_is_noted(attn):
    result = attn("cost", "--context", "256,257,1000")
    assert result.said.count("note:") == 1
    assert "trained on 256 tokens; 257, 1,000 are more" in result.said
    assert attn("cost", "--context", "256").said == ""
    assert attn("cost", "--preset", "t5-small", "--context", "100000").said == ""
    assert "sparse attention" in attn("cost", "--preset", "gpt3").said
    assert attn("cost", "--preset", "gpt3", "--quiet").said == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--preset", "gpt5"), "gpt2-xl, gpt3, llama2-7b"),
        (("--preset", "GPT3"), "did you mean gpt3?"),
        (("--preset", "gpt3", "--model", "tiny"), "leave out --model"),
        (("--context", "8k"), "a whole number, 1 to"),
        (("--context", "0"), "a whole number, 1 to"),
        (("--context", "2,048"), "a comma between them"),
        (("--context", ""), "a comma between them"),
        (("--context", "8,,9"), "a comma between them"),
        (("--context", "1_000"), "a whole number, 1 to"),
        (("--context", "٣"), "a whole number, 1 to"),
        (("--context", "9" * 5000), "a whole number, 1 to"),
        (("--context", "nan"), "a whole number, 1 to"),
        (("--preset", "gpt3", "--context", "9999999"), "a whole number, 1 to 1398101"),
    ],
)
def test_what_cannot_be_counted_is_refused_with_what_can(attn, arguments, said):
    result = attn("cost", *arguments)
    assert result.code == 2 and said in result.said


def test_a_default_model_does_not_stand_in_a_presets_way(attn):
    asked = ("cost", "--preset", "gpt2", "--json")
    assert attn(*asked, env={"ATTN_MODEL": "tiny-encoder"}).out == attn(*asked).out
    assert attn("cost", "--json", env={"ATTN_MODEL": "tiny-encoder"}).json["model"]["name"] == (
        "tiny-encoder"
    )


def test_a_gguf_file_costs_what_its_folder_does(attn, write_gguf, tmp_path):
    """Shapes that the file stores the other way round."""
    from attn_cli import session
    from attn_cli.families.gpt2 import _GGUF

    model = session.load("tiny")
    config = model.config
    names = {}
    for name in model.weights.stored:
        number = re.search(r"\.(\d+)\.", name)
        general = re.sub(r"\.\d+\.", ".*.", name)
        names[name] = _GGUF.tensors[general].replace("*", number[1] if number else "*")

    def add(writer):
        writer.add_block_count(config.layers)
        writer.add_context_length(config.context)
        writer.add_embedding_length(config.model_width)
        writer.add_feed_forward_length(config.inner_width)
        writer.add_head_count(config.heads)
        writer.add_layer_norm_eps(config.epsilon)

    turned = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    tensors = {
        names[name]: (array.T if name.endswith(turned) else array).copy()
        for name in names
        for array in [model.weights[name]]
    }
    path = write_gguf(tmp_path / "tiny.gguf", "gpt2", add, tensors)
    found, folder = (attn("cost", "-m", m, "--json").json["result"] for m in (path, "tiny"))
    assert found == folder


def test_the_document_is_strict_and_says_what_was_asked(attn):
    document = attn("cost", "--context", "9,8,9", "--json").json
    assert document["prompt"] is None
    assert document["settings"] == {"preset": None, "context": [9, 8], "ignore_config": []}
    assert [row["tokens"] for row in document["result"]["contexts"]] == [9, 8]
    lines = attn("cost", "--preset", "gpt2", "--format", "ndjson").lines
    assert [json.dumps(line)[:24] for line in lines] == ['{"schema": "attn.cost/1"']
