"""`attn compare`: what is on which side, what its page says, and what it refuses."""

import json
import re

import gguf
import numpy as np
import pytest

from attn_cli.checkpoints.safetensors import open_safetensors

PROMPT = "the greatest thinker in China is"
NOTHING = "there is nothing to compare: both sides are the same"


def flat(result):
    return " ".join(result.text.split())


def table(page, title):
    """The cells of the table under a title, by its first column."""
    lines = page.partition(f"\n {title}\n")[2].partition("\n\n")[0].splitlines()[2:]
    rows = (line.split() for line in lines if re.match(r" +\S+( \d+)? {2,}", line))
    return {row[0]: row[1:] for row in rows}


def largest(document, array):
    return max(row["largest"] for row in document["result"]["layers"] if row["array"] == array)


# --- the two sides -------------------------------------------------------------------------------


def test_what_ifs_act_on_the_right_side_alone(attn):
    document = attn("compare", PROMPT, "--mask", "none", "--json").json
    assert document["settings"]["mask"] == []
    right = document["result"]["right"]
    assert right["settings"]["mask"] == ["none"]
    assert right["model"] == document["model"] and right["prompt"] == document["prompt"]
    weights = [
        np.array(attn("trace", PROMPT, *more, "-l", 1, "-H", "all", "--json").json
                 ["attention"][0]["arrays"]["weights"]["values"])
        for more in ((), ("--mask", "none"))
    ]  # fmt: skip
    row = next(row for row in document["result"]["layers"]
               if (row["layer"], row["array"]) == (1, "weights"))  # fmt: skip
    assert row["largest"] == pytest.approx(np.abs(weights[0] - weights[1]).max(), abs=1e-7)
    assert row["provenance"] == "what-if"


def test_the_prediction_is_that_of_two_traces(attn):
    found = attn("compare", PROMPT, "--without-head", "1.all", "--top", 2, "--json").json["result"]
    (one,) = found["prediction"]
    for side, more in (("left", ()), ("right", ("--without-head", "1.all"))):
        trace = attn("trace", PROMPT, *more, "--top", 999_999, "--json").json
        (entry,) = trace["next"]
        by_id = {c["id"]: c for c in entry["candidates"]}
        assert one[f"{side}_position"] == entry["position"]
        for token in one["tokens"]:
            own = by_id[token[f"{side}_id"]]
            assert (own["text"], own["rank"]) == (token["text"], token[f"{side}_rank"])
            assert own["probability"] == pytest.approx(token[side], rel=1e-6)
        assert {1, 2} <= {token[f"{side}_rank"] for token in one["tokens"]}


def test_texts_come_from_arguments_files_and_pipes_alike(attn, tmp_path):
    path = tmp_path / "prompt.txt"
    path.write_text("the king is\n")
    expected = attn("compare", "the king is", "the queen is", "--json").json
    assert attn("compare", "-", "the queen is", "--json", stdin=b"the king is\n").json == expected
    assert attn("compare", "the king is", "-", "--json", stdin=b"the queen is\n").json == expected
    by_ids = [",".join(str(token["id"]) for token in side["prompt"]["tokens"])
              for side in (expected, expected["result"]["right"])]  # fmt: skip
    ids = attn("compare", "--ids", by_ids[0], "--ids", by_ids[1], "--json").json
    assert ids["result"]["layers"] == expected["result"]["layers"]
    changed = ("--mask", "none", "--json")
    assert (attn("compare", "--file", path, *changed).json
            == attn("compare", "the king is", *changed).json)  # fmt: skip


def test_each_line_is_compared_with_the_same_right_side(attn):
    lines = b"the king is\nthe queen is\n"
    asked = ("--each", "line", "--format", "ndjson")
    found = attn("compare", "-", "the man is", *asked, stdin=lines).lines
    assert [one["result"] for one in found] == [
        attn("compare", text, "the man is", "--json").json["result"]
        for text in ("the king is", "the queen is")
    ]
    found = attn("compare", *asked, "--mask", "none", stdin=lines).lines
    assert [one["result"]["right"]["prompt"]["text"] for one in found] == [
        "the king is", "the queen is",
    ]  # fmt: skip


def test_the_model_of_the_environment_is_one_model_whatever_its_path(attn, tiny_folder):
    folder = tiny_folder.rename(tiny_folder.with_name("a b tiny"))
    env = {"ATTN_MODEL": str(folder)}
    document = attn("compare", "the king", "--mask", "none", "--json", env=env).json
    assert document["model"]["name"] == document["result"]["right"]["model"]["name"] == folder.name
    assert attn("compare", "the king", env=env).code == 2


def test_two_stacks_share_the_target(attn):
    asked = ("-m", "tiny-translator", "--target", "\u738b", "--stack", "all", "--kind", "all")
    document = attn("compare", "--ids", "5,6,1", "--ids", "5,7,1", *asked, "--json").json
    read = [side["prompt"]["target"]["tokens"] for side in (document, document["result"]["right"])]
    assert read[0] == read[1]
    assert [one["stack"] for one in document["result"]["alignment"]] == ["encoder", "decoder"]
    places = {(row["stack"], row["kind"]) for row in document["result"]["layers"]}
    assert places == {("encoder", "self"), ("decoder", "self"), ("decoder", "cross")}
    page = attn("compare", "--ids", "5,6,1", "--ids", "5,7,1", *asked)
    assert max(map(len, page.text.splitlines())) <= 80
    assert "encoder: One token takes the place of another" in flat(page)
    title = "the largest relative difference of each layer and step"
    assert {"encoder", "decoder", "cross"} <= set(table(page.text, title))


# --- what a quantised file changes ---------------------------------------------------------------


@pytest.fixture
def quantised(tiny_folder, write_gguf, tmp_path):
    """The embedded checkpoint as a GGUF file whose token vectors are Q8_0, and those vectors."""
    tensors = {n: t.read() for n, t in open_safetensors(tiny_folder / "model.safetensors").items()}
    names = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"}
    parts = {
        "ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv",
        "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
    }  # fmt: skip
    found = {}
    for name, array in tensors.items():
        stem, _, tail = name.removeprefix("transformer.").rpartition(".")
        layer = re.fullmatch(r"h\.(\d+)\.(.+)", stem)
        new = f"blk.{layer[1]}.{parts[layer[2]]}" if layer else names.get(stem)
        if new:
            turned = array.ndim == 2 and layer
            found[f"{new}.{tail}"] = np.ascontiguousarray(array.T if turned else array)
    exact, kind = found["token_embd.weight"], gguf.GGMLQuantizationType.Q8_0
    found["token_embd.weight"] = raw = gguf.quants.quantize(exact, kind)
    config = json.loads((tiny_folder / "config.json").read_text())

    def add(writer):
        writer.add_block_count(config["n_layer"])
        writer.add_context_length(config["n_positions"])
        writer.add_embedding_length(config["n_embd"])
        writer.add_feed_forward_length(config.get("n_inner") or 4 * config["n_embd"])
        writer.add_head_count(config["n_head"])
        writer.add_layer_norm_eps(config["layer_norm_epsilon"])

    path = write_gguf(tmp_path / "q8.gguf", "gpt2", add, found, {"token_embd.weight": kind})
    return path, exact, gguf.quants.dequantize(raw, kind)


def test_a_quantised_file_beside_the_exact_one(attn, quantised):
    path, exact, rounded = quantised
    ids = [30, 31, 32]
    asked = ("compare", "--ids", "30,31,32", "-m", path, "-m", "tiny")
    document = attn(*asked, "--json").json
    gap = np.abs(exact[ids] - rounded[ids]).max()
    row = document["result"]["layers"][0]
    assert (row["layer"], row["array"]) == (0, "x") and gap > 0
    assert row["largest"] == pytest.approx(gap, rel=1e-4)
    assert document["result"]["verdict"] == "different"
    assert document["result"]["left_out"] == []
    assert document["result"]["prediction"][0]["divergence"] > 0
    page = attn(*asked)
    assert "different vocabularies" not in page.said
    assert "(right)" in page.text and " q8 · gpt2" in page.text


# --- the page ------------------------------------------------------------------------------------


def test_the_page_answers_first_and_shows_the_documents_numbers(attn):
    page = attn("compare", PROMPT, "--mask", "none")
    found = attn("compare", PROMPT, "--mask", "none", "--json").json["result"]
    rows = [row for row in found["layers"] if row["array"] != "visible"]
    most = max(rows, key=lambda row: row["relative"])
    said = flat(page)
    assert "what-if in B: --mask none" in said
    assert (f"A and B differ most in `{most['array']}` of layer {most['layer']}: a relative "
            f"difference of {most['relative']:.2f} (the largest, {most['largest']:.2f}, is at "
            ) in said  # fmt: skip
    # Where the difference begins: with the mask.
    assert "The first to differ by more than rounding is `visible` of layer 0, in step 4" in said
    of_steps = table(page.text, "the largest relative difference of each layer and step")
    assert of_steps["0"][:3] == ["0", "0", "0"]
    for layer in (0, 1):
        for step in range(1, 7):
            worst = max(row["relative"] for row in found["layers"]
                        if (row["layer"], row["step"]) == (layer, step))  # fmt: skip
            assert of_steps[str(layer)][step - 1] == (f"{worst:.2f}" if worst else "0")
    arrays = table(page.text, "each array where it differs most")
    assert list(arrays) == list(dict.fromkeys(row["array"] for row in found["layers"]))
    for name, (_, size, _, relative, layer, *_) in arrays.items():
        row = next(row for row in found["layers"]
                   if (row["array"], str(row["layer"])) == (name, layer))  # fmt: skip
        assert (size, relative) == (f"{row['largest']:.2f}", f"{row['relative']:.2f}")
    (one,) = found["prediction"]
    assert f"{one['divergence']:.4f} nats" in said
    first = one["tokens"][0]
    assert f"stays `{first['text']}` ({first['left']:.2f} and {first['right']:.2f})" in said
    hidden = sum(row["unlike"] for row in found["layers"])
    assert hidden == 15 * 4 * 2 and f"{hidden} of `masked`" in said
    assert max(map(len, page.text.splitlines())) <= 80


def test_layers_and_steps_are_cells_in_a_view_of_cells(attn):
    """Marks are as large as the numbers that the table has in their places."""
    rows = table(attn("compare", PROMPT, "--mask", "none").text,
                 "the largest relative difference of each layer and step")  # fmt: skip
    numbers = {layer: list(map(float, row)) for layer, row in rows.items()}
    found = attn("compare", PROMPT, "--mask", "none", "--view", "heatmap", "--quiet")
    cells = found.text.partition("rows: layers   columns: steps\n")[2].splitlines()
    assert cells[0].split() == ["1", "2", "3", "4", "5", "6"]
    bounds = list(map(float, re.findall(r"> ([\d.]+)", cells[3])))
    for line, (layer, row) in zip(cells[1:3], numbers.items(), strict=True):
        assert line.split()[0] == layer
        marks = line[7:].ljust(12)
        levels = [" ░▒▓█".index(marks[2 * i]) for i in range(6)]
        assert levels == [sum(number > bound for bound in bounds) for number in row]


def test_the_cells_of_one_layer_are_drawn(attn):
    """Marks are as large as the numbers of the document: A, B, and what B has more."""
    asked = ("compare", "the king is a man", "the queen is a woman", "--layer", 1)
    cells = attn(*asked, "--json").json["result"]["cells"]
    page = attn(*asked, "--view", "heatmap")
    assert page.said == ""
    drawn = page.text.partition(f"changed most   {len(cells)} × 3   rows: cells\n")[2].splitlines()
    bounds = list(map(float, re.findall(r"> ([\d.]+)", drawn[1 + len(cells)])))
    for line, cell in zip(drawn[1:], cells, strict=False):
        left, right = cell["left"], cell["right"]
        assert line.split()[:2] == ["head", f"{cell['head']}:"]
        for place, number in enumerate((left, right, right - left)):
            mark = line[35:].ljust(6)[2 * place : 2 * place + 2]
            level = sum(abs(number) > bound for bound in bounds)
            sign = "−" if number < 0 and level else ""
            assert mark == (sign + 2 * " ░▒▓█"[level])[:2], line
    numbers = attn(*asked).text
    assert "head  query" in numbers and "head  query" not in page.text
    assert "head  query" in attn(*asked[:3], "--view", "heatmap").text  # that draws the layers


def test_a_view_that_changes_nothing_says_so(attn):
    arguments = ("compare", PROMPT, "--mask", "causal", "--layer", 1)
    found = attn(*arguments, "--view", "dots")
    assert found.text == attn(*arguments).text
    assert "note: --view dots changes nothing here" in found.said
    assert "--view" not in attn(*arguments, "--view", "lines").said


def test_a_longer_prompt_tells_why_keys_and_values_can_be_kept(attn):
    page = attn("compare", "the king", "the king is a man")
    found = attn("compare", "the king", "the king is a man", "--json").json["result"]
    worst = max(row["relative"] for row in found["layers"])
    assert found["longer"] and found["verdict"] in ("equal", "rounding") and worst < 1e-6
    said = flat(page)
    largest = f"by a relative difference of more than {worst:.1e}"
    how = largest if worst else "all numbers are the same"
    assert f"No row that both have differs{' ' if worst else ': '}{how}" in said
    assert "a token that is added changes no row before it" in said and "KV cache" in said
    assert ("adding the same products in another order" in said) == bool(worst)
    assert "2 tokens are compared, of A's 2 and B's 5" in said


@pytest.mark.parametrize(
    "more",
    [("the king is", "the queen is a man"), ("the king", "the king is", "--mask", "none"),
     ("the king", "the king is", "-m", "tiny", "-m", "random"), ("the king", "the king"),
     ("the king is", "--mask", "none")],
    ids=" ".join,
)  # fmt: skip
def test_nothing_else_is_explained_so(attn, more):
    assert "KV cache" not in flat(attn("compare", *more))
    assert not attn("compare", *more, "--json").json["result"]["longer"]


def test_the_longer_prompt_of_an_encoder_changes_the_rows_before(attn):
    asked = ("compare", "--ids", "2,30,31", "--ids", "2,30,31,32", "-m", "tiny-encoder")
    page = attn(*asked)
    assert "An encoder's queries see later tokens too" in flat(page)
    assert "KV cache" not in flat(page)
    entering = attn(*asked, "--layer", 0, "--step", 1)
    assert "all numbers are the same" in flat(entering) and "KV cache" not in flat(entering)


def test_equal_sides_are_said_to_be_equal(attn):
    page = attn("compare", "the king", "the king")
    assert "all numbers are the same, to the last bit" in flat(page)
    assert "A and B differ" not in flat(page)


@pytest.mark.parametrize(
    "more", [("--layer", 0), ("--head", 1), ("--step", 5), ("--query", "is"), ("--key", "the")]
)
def test_a_chosen_part_is_not_told_as_the_whole(attn, more):
    said = flat(attn("compare", "the king is", "the queen is", *more))
    assert "(of what was chosen)" in said
    assert "(of what was chosen)" not in flat(attn("compare", "the king is", "the queen is"))


def test_settings_hold_what_was_chosen(attn):
    some = ("--layer", 1, "--head", "0,2", "--query", "is", "--key", "0", "--key", "is")
    found = attn("compare", "the king is", "--mask", "none", *some, "--step", 5, "--json").json
    chosen = {"layer": [1], "head": [0, 2], "query": ["is"], "key": ["0", "is"], "step": [5]}
    assert chosen.items() <= found["settings"].items()
    (row,) = found["result"]["layers"]
    assert (row["array"], row["shape"]) == ("weights", [2, 1, 2])


def test_a_step_is_compared_alone_with_its_own_cells(attn):
    asked = ("compare", "the king is", "the queen is", "--json", "--step")
    for step, names, cells in ((3, {"scores"}, "scores"), (5, {"weights"}, "weights"),
                               (4, {"scaled", "visible", "masked"}, "scaled"),
                               (1, {"x", "normed"}, None)):  # fmt: skip
        found = attn(*asked, step).json["result"]
        assert {row["array"] for row in found["layers"]} == names
        assert {cell["array"] for cell in found["cells"]} == ({cells} if cells else set())


# --- what can still be compared, and what is refused ---------------------------------------------


def test_models_of_different_vocabularies_are_compared_by_text(attn):
    asked = ("compare", "the king is", "-m", "tiny", "-m", "tiny-translator", "--kind", "self")
    result = attn(*asked)
    assert "have different vocabularies: tokens are aligned and predictions compared by" in (
        result.said
    )
    assert "There is no KL divergence" in flat(result)
    document = attn(*asked, "--json").json
    (one,) = document["result"]["prediction"]
    assert one["divergence"] is None
    assert {token["left_rank"] for token in one["tokens"]} >= {1, 2, 3, 4, 5}
    for token in one["tokens"]:
        assert (token["left_id"] == -1) == (token["left"] is None) == (token["left_rank"] == 0)
    assert any(token["right"] is None for token in one["tokens"])


def test_models_of_other_sizes_have_notes_on_what_is_left_out(attn):
    result = attn("compare", "the king", "-m", "tiny", "-m", "random:layers=3,heads=2")
    assert "tiny has 2 layers and random:layers=3,heads=2 has 3" in result.said
    assert re.search(r"not compared, because .* differ: q, k, v, scores", result.said)
    only = attn("compare", "the king", "-m", "tiny", "-m", "random:model_width=16,heads=2")
    assert "Of all arrays only the mask (`visible`) is compared" in flat(only)


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        ((), None, NOTHING),
        (("the king",), None, NOTHING),
        (("the king", "--attention-temperature", 1), None, NOTHING),
        ((), b"the king", NOTHING),
        (("the king", ""), None, "the prompt is empty (right)"),
        (("the king", "  "), None, "the prompt is empty (right)"),
        (("", "the king"), None, "the prompt is empty"),
        (("the", "king", "is"), None, 'quotes\nhint: attn compare "the king is" "OTHER TEXT"'),
        (("the", "-m", "tiny", "-m", "random", "-m", "minilm"), None, "--model is given 3 times"),
        (("--ids", "5", "--ids", "6", "--ids", "7"), None, "--ids is given 3 times"),
        (("the", "--ids", "5"), None, "two prompts: TEXT and --ids"),
        (("the", "king", "--ids", "5"), None, "two prompts: TEXT and --ids"),
        (("the a", "--file", "x"), None, "TEXT and --file\nhint: for a left side of a file: "
         "attn compare - 'the a' < x"),
        (("-", "-"), b"the king", "both prompts would come from standard input"),
        (("--ids", "5", "--ids", "9999"), None, "--ids 9999 is out of range (right)"),
        (("the", "a", "--layer", 9), None, "--layer 9 is out of range"),
        (("the", "a", "--query", "king"), None, "--query 'king' is no token of this prompt"),
        (("the king", "milk", "--query", "the"), None, "have none in the other prompt"),
        (("the king", "--target", "x", "--mask", "none"), None, "--target is what the decoder"),
        (("the", "-m", "tiny", "-m", "tiny-encoder", "--stack", "encoder"), None, "(left, tiny)"),
        (("the", "--chat", "-m", "tiny", "-m", "random"), None, "--chat"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(attn, arguments, stdin, message):
    refused = attn("compare", *arguments, stdin=stdin)
    assert refused.code == 2 and message in refused.said, refused.said
    assert len(refused.said.splitlines()) == 1 or "hint: " in refused.said


def test_the_memory_of_both_passes_is_checked(attn):
    prompt = "the king is a man and " * 10
    refused = attn("compare", prompt, "--mask", "none", "--max-memory", "100KiB")
    assert refused.code == 1 and "reading 60 tokens and 60 tokens takes" in refused.said
    # Blocks are not kept: more layers take no more.
    needs = [
        re.search(r"takes ([\d.]+ \w+);", attn(
            "compare", prompt, "--mask", "none", "--max-memory", 1, "-m", f"random:layers={count}"
        ).said)[1]
        for count in (1, 4)
    ]  # fmt: skip
    assert needs[0] == needs[1]


def test_what_a_token_holds_is_never_markup(attn):
    page = attn("compare", "[red]the\x1b[31m", "[/red] \u202e").text
    assert "▏[▏red▏]" in page and "\u202e" not in page and "\x1b" not in page
