"""`attn heads` with several layers, --without-first, --prove and --circuit."""

from dataclasses import replace

import jsonschema
import numpy as np
import pytest

from attn_cli import session
from attn_cli.analysis import prove
from attn_cli.analysis.probes import probe
from attn_cli.cli import heads as command
from attn_cli.views import numbers
from attn_cli.views import prove as view
from attn_cli.vocabulary import HEAD_COLUMNS, SMALLEST_FIRST

PROMPT = "the greatest thinker in China is"
TWICE = "the king sees the king and the queen"


def flat(page):
    return " ".join(page.split())


def table_under(page, title):
    """The rows of the table that begins under a line."""
    lines = page.partition(title)[2].splitlines()
    start = next(i for i, line in enumerate(lines) if "──" in line) + 1
    return [line.split() for line in lines[start : start + 8]]


@pytest.mark.parametrize("column", [column for column in HEAD_COLUMNS if column != "sink"])
def test_a_ranking_goes_by_any_column(attn, column):
    asked = ("heads", TWICE, "--layer", "all", "--sort", column)
    result = attn(*asked, "--json").json["result"]
    known = {
        (one["layer"], head["head"]): head[HEAD_COLUMNS[column]]
        for one in result["layers"]
        for head in one["heads"]
    }
    assert result["column"] == column
    sign = 1 if column in SMALLEST_FIRST else -1
    order = [(row["layer"], row["head"]) for row in result["ranking"]]
    assert [row["value"] for row in result["ranking"]] == [known[at] for at in order]
    assert [known[at] for at in order] == sorted(known.values(), key=lambda value: sign * value)
    rows = table_under(attn(*asked).text, f"all heads by `{column}`")
    assert [row[0] for row in rows] == [f"{layer}.{head}" for layer, head in order]
    for row, at in zip(rows, order, strict=True):
        digits = len(row[1].partition(".")[2])
        assert row[1].replace("−", "-") == f"{np.float32(known[at]):.{digits}f}"


def test_one_layer_is_ranked_where_a_column_is_asked_for(attn):
    asked = ("heads", PROMPT, "--layer", "1", "--sort", "entropy")
    result = attn(*asked, "--json").json["result"]
    assert [one["layer"] for one in result["layers"]] == [1]
    values = [row["value"] for row in result["ranking"]]
    assert values == sorted(values) and len(values) == 4
    rows = table_under(attn(*asked).text, "all heads by `entropy`, the smallest first")
    assert [row[0] for row in rows[:4]] == [f"1.{row['head']}" for row in result["ranking"]]


def test_the_ranking_tells_what_the_first_token_gets(attn):
    model = "random:layers=2,heads=4,model_width=32,seed=3"
    asked = ("heads", "the king", "-m", model, "--layer", "all")
    heads = [h for one in attn(*asked, "--json").json["result"]["layers"] for h in one["heads"]]
    sinks = [head for head in heads if head["first_share"] > 0.5]
    assert 0 < len(sinks) < 8
    page = flat(attn(*asked).text)
    assert f"{len(sinks)} of 8 heads give the first token, `the`, more than half" in page
    mean = {
        name: np.mean([h[name] for h in sinks]) for name in ("first_share", "first_weighted_share")
    }
    value = np.median([head["first_value"] for head in sinks])
    assert f"it is {value:.2f} times as long as the others' (median" in page
    told = f"is {mean['first_weighted_share']:.2f}, not {mean['first_share']:.2f}."
    assert told in page
    assert "No head gives the first token, `the`, more than half" in flat(
        attn("heads", PROMPT, "--layer", "all").text
    )


def test_tokens_that_come_again_have_columns_and_others_have_none(attn):
    again = attn("heads", TWICE, "--layer", "all").text
    assert "induction" in again.partition("all heads by")[2].partition("`duplicate`")[0]
    never = attn("heads", PROMPT, "--layer", "all").text
    assert "No token comes again here" in never
    assert "duplicate" not in never.partition("No token")[0]


def test_two_stacks_are_named_and_lack_what_they_cannot_have(attn):
    asked = ("heads", "-m", "tiny-translator", "--target", "die", "--stack", "all", "--kind", "all",
             "--layer", "all", "--full", PROMPT)  # fmt: skip
    page = attn(*asked).text
    table = [line for line in page.splitlines() if line.split()[:1] == ["cross"]]
    assert table
    assert all("–" in line for line in table if len(line.split()) > 8)
    assert any(line.split()[:2] == ["encoder", "1.3"] for line in page.splitlines())


def test_weights_of_many_layers_are_left_out_of_documents_sooner(attn, monkeypatch):
    monkeypatch.setattr(command, "_MOST", 64)
    model = "random:layers=16,heads=1,model_width=8"
    for count, there in ((16, True), (17, False)):
        ids = ",".join(map(str, range(5, 5 + count)))
        found = attn("heads", "--ids", ids, "-m", model, "--layer", "all", "--json")
        assert bool(found.json["result"]["layers"][0]["weights"]) == there
        assert ("of 16 layers are left out beyond 16 tokens" in found.said) == (not there)
    one = attn("heads", "--ids", ids, "-m", model, "--layer", "3", "--json")
    assert one.json["result"]["weights"]


def test_without_the_first_token_the_page_says_so(attn):
    asked = ("heads", PROMPT, "--without-first")
    document = attn(*asked, "--json").json
    assert document["settings"]["without_first"] is True
    assert document["result"]["provenance"] == "derived"
    weights = np.array(document["result"]["weights"])
    assert (weights[..., 0] == 0).all()
    assert weights[:, 1:].sum(axis=-1) == pytest.approx(1, abs=1e-6)
    for more in ((), ("--layer", "all")):
        page = attn(*asked, *more).text
        assert "Derived: the first token, `the`, is split off as a key." in flat(page)
        assert "log₁₀ left" in page
    for head, row in zip(
        document["result"]["heads"],
        table_under(attn(*asked).text, "one row per head"),
        strict=False,
    ):
        digits = len(row[3].partition(".")[2])
        assert row[3].replace("−", "-") == f"{np.log10(head['rest_share']):.{digits}f}"


@pytest.fixture
def easily_named(monkeypatch):
    monkeypatch.setattr(prove, "LEAST", 0.02)


def test_a_proof_page_holds_what_its_document_says(attn, easily_named):
    document = attn("heads", "--prove", "--json").json
    result = document["result"]
    assert [token["id"] for token in document["prompt"]["tokens"]] == result["block"] * 2
    assert document["prompt"]["text"] is None
    assert (document["settings"]["prove"], document["settings"]["seed"]) == (True, 0)
    page = attn("heads", "--prove", "--full", columns=120).text
    rows = {row[0]: row for row in table_under(page, "each name, and the loss")}
    for role in result["roles"]:
        row = rows[role["name"]]
        assert float(row[1]) == pytest.approx(role["null"], abs=6e-4)
        assert row[4] == str(len(role["heads"]))
        best = max(head[role["name"]] for head in result["heads"])
        assert float(row[2]) == pytest.approx(best, abs=6e-3)
    named = [head for head in result["heads"] if set(head["names"]) - {"sink"}]
    assert named
    told = page.partition("heads with a name")[2]
    for head in named:
        (line,) = (
            x for x in told.splitlines() if x.split()[:1] == [f"{head['layer']}.{head['head']}"]
        )
        assert f" {head['loss_without']:.2f}" in line
        for one in head["partners"][:2]:
            assert f"{one['layer']}.{one['head']} " in line


def test_without_an_induction_head_the_page_tells_the_best(attn):
    result = attn("heads", "--prove", "--json").json["result"]
    best = max(result["heads"], key=lambda head: head["induction"])
    page = flat(attn("heads", "--prove").text)
    assert "None of 8 heads is an induction head" in page
    assert f"(head {best['layer']}.{best['head']})" in page
    assert "heads with a name" not in page


def test_the_headline_tells_the_cause_as_far_as_it_is_known(easily_named):
    model = session.load("tiny")
    read = probe(model, ("decoder", "self"), 0)
    steps = prove.prove_steps(model, read, ("decoder", "self"), {})
    found = session.finished(steps)
    role = found.roles[0]._replace(
        heads=("1.0", "1.1"), loss_without=9.5, others=("0.1", "0.2"), loss_without_others=3.25
    )

    def told(role):
        page = view.page(
            model.facts, read.prompt, replace(found, loss=3.0, roles=(role, *found.roles[1:])), {}
        )
        return [str(numbers.in_words(item.words, 2)) for item in page if hasattr(item, "role")][:2]

    assert told(role) == [
        "Of 8 heads, 2 are induction heads: where a token comes again, they look at what followed "
        "it the first time.",
        "Without them the loss on the second copy goes from 3.00 to 9.50 nats, without as many "
        "others to 3.25.",
    ]
    alone = role._replace(heads=("1.0",), others=(), loss_without_others=float("nan"))
    assert told(alone)[0].startswith("Of 8 heads, 1 is an induction head:")
    assert told(alone)[1] == "Without it the loss on the second copy goes from 3.00 to 9.50 nats."


def test_a_seed_draws_another_block_and_the_same_one_again(attn):
    blocks = [
        attn("heads", "--prove", "--seed", seed, "--json").json["result"]["block"]
        for seed in (1, 2, 1)
    ]
    assert blocks[0] == blocks[2] != blocks[1]


def test_an_encoder_has_scores_and_no_loss(attn):
    found = attn("heads", "--prove", "-m", "tiny-encoder")
    assert "There is no loss" in found.text
    result = attn("heads", "--prove", "-m", "tiny-encoder", "--json").json["result"]
    assert result["loss"] is None
    assert all(head["sink"] > 0 for head in result["heads"])


def test_numbers_that_are_none_are_said(attn, tiny_folder, repack):
    def broken(entries):
        dtype, shape, data = entries["transformer.h.1.attn.c_attn.weight"]
        numbers = np.frombuffer(data, np.float32).copy()
        numbers[:] = np.nan
        return entries | {"transformer.h.1.attn.c_attn.weight": (dtype, shape, numbers.tobytes())}

    repack(tiny_folder, broken)
    page = attn("heads", "--prove", "-m", tiny_folder).text
    assert "None of 8 heads is an induction head" in page
    assert "The loss is not a number (NaN)" in page
    refused = attn("heads", "--circuit", "1.0", "-m", tiny_folder, PROMPT)
    assert refused.code == 1
    assert "head 1.0 hold NaN or infinite numbers" in refused.said
    assert attn("heads", "--circuit", "0.0", "-m", tiny_folder, PROMPT).code == 0
    ranking = attn("heads", "--layer", "all", "-m", tiny_folder, PROMPT, "--json").json["result"]
    assert [row["layer"] for row in ranking["ranking"]] == [0] * 4 + [1] * 4
    assert "NaN" in attn("heads", "--layer", "all", "-m", tiny_folder, PROMPT).text


def test_what_ifs_are_told_on_a_proof(attn):
    found = attn("heads", "--prove", "--without-head", "0.1")
    assert "--without-head 0.1" in found.text.partition(" of 8 heads")[0]
    result = attn("heads", "--prove", "--without-head", "0.1", "--json").json["result"]
    assert result["provenance"] == "what-if"


def test_a_model_without_a_tokenizer_is_proved_and_has_circuits(attn, golden_path):
    folder = golden_path / "llama-plain"
    result = attn("heads", "--prove", "-m", folder, "--json").json["result"]
    assert len(set(result["block"])) == len(result["block"]) > 3
    page = attn("heads", "--circuit", "1.2", "-m", folder, "--ids", "5,6").text
    assert "Rotation is left out" in page
    assert "share W_K and W_V" in flat(page)
    assert "<5>" in page


def test_a_circuit_page_holds_what_its_document_says(attn):
    asked = ("heads", PROMPT, "--circuit", "1.2")
    result = attn(*asked, "--json").json["result"]
    page = attn(*asked, "--full").text
    for name, row in zip(("qk", "ov"), table_under(page, "the two matrices"), strict=False):
        whole = result[name]
        assert row[1] == str(whole["rank"]) == "8"
        parts = np.cumsum(np.square(whole["singular_values"]))
        assert row[2] == str(1 + int((parts < parts[-1] / 2).sum()))
        assert float(row[3]) == pytest.approx(whole["norm"], abs=6e-3)
    assert f"symmetric part has {result['symmetric']:.2f}" in flat(page)
    copying = f"{result['copying']:.2f}".replace("-", "−")
    assert f"W_OV is {copying}:" in flat(page)
    for pair in result["attractions"]:
        score = f"{pair['score']:.2f}".replace("-", "−")
        assert any(
            line.split()[:3] == [pair["query"], pair["key"], score] for line in page.splitlines()
        )


def test_of_a_long_prompt_the_first_tokens_are_told_and_the_page_says_so(attn):
    for count, said in ((64, False), (65, True)):
        ids = ",".join(map(str, range(5, 5 + count)))
        asked = ("heads", "--ids", ids, "-m", "random:layers=1,heads=2", "--circuit", "0.1")
        assert len(attn(*asked, "--json").json["result"]["copies"]) == 64
        assert ("the first 64 are here" in attn(*asked).text) == said


def test_a_circuit_says_what_it_cannot_tell(attn):
    crossed = attn("heads", "--circuit", "0.1", "-m", "tiny-translator", "--kind", "cross", PROMPT)
    assert "Keys and values are read from the encoder's" in flat(crossed.text)
    encoder = ("heads", "--circuit", "0.1", "-m", "tiny-translator", "--stack", "encoder", PROMPT)
    assert "nothing to say of outputs" in flat(attn(*encoder).text)
    idle = attn("heads", PROMPT, "--circuit", "0.1", "--mask", "none")
    assert "--mask none changes nothing that is shown here" in idle.said


@pytest.mark.parametrize(
    ("typed", "code", "words"),
    [
        (("--circuit", "9.9"), 2, ("9.9", "layer 0 to 1, head 0 to 3")),
        (("--circuit", "1"), 2, ("is not L.H",)),
        (("--circuit="), 2, ("is not L.H",)),
        (("--circuit", "0.1", "--layer", "0"), 2, ("--layer does nothing with --circuit",)),
        (("--circuit", "0.1", "--prove"), 2, ("--circuit does nothing with --prove",)),
        (("--circuit", "0.1", "--layout", "columns"), 2, ("--layout does nothing",)),
        (("--circuit", "0.1", "--view", "dots"), 2, ("--view dots does nothing with --circuit",)),
        (("--prove", "--view", "heatmap"), 2, ("--view heatmap does nothing with --prove",)),
        (("--layer", "all", "--view", "dots"), 2, ("--view dots does nothing with a ranking",)),
        (("--prove", "the king"), 2, ("TEXT does nothing with --prove",)),
        (("--prove", "--ids", "5"), 2, ("--ids does nothing with --prove",)),
        (("--prove", "--each", "line"), 2, ("--each does nothing with --prove",)),
        (("--prove", "--sort", "norm"), 2, ("--sort does nothing with --prove",)),
        (("--prove", "--seed", "-1"), 2, ("--seed -1 is out of range",)),
        (("--prove", "-m", "tiny-translator", "--kind", "cross"), 2, ("cross-attention",)),
        (("--prove", "-m", "tiny-translator", "--stack", "all"), 2, ("one attention",)),
        (("--prove", "-m", "random:layers=1,heads=1,context=6"), 1, ("no room", "3 fit")),
        (("--prove", "--max-memory", "1MB"), 1, ("may be used",)),
        (("--seed", "1"), 2, ("--seed needs --prove",)),
        (("--layer", "all", "--sort", "size"), 2, ("'size' is unknown", "entropy")),
        (("--layer", "all", "--layout", "columns"), 2, ("--layout does nothing",)),
        (("the", "--without-first"), 2, ("no key",)),
    ],
    ids=str,
)
def test_what_would_do_nothing_or_is_not_there_is_refused(attn, typed, code, words):
    found = attn("heads", *((typed,) if isinstance(typed, str) else typed))
    assert found.code == code, found
    assert all(word in found.said for word in words), found.said
    assert "hint: " in found.said


@pytest.mark.parametrize(
    "asked",
    [
        ("--prove",), ("--prove", "-m", "tiny-encoder"), ("--circuit", "0.1"),
        ("--circuit", "0.1", "-m", "tiny-translator", "--kind", "cross"),
        ("--layer", "all", "--without-first"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_documents_follow_the_schema(attn, asked):
    schema = attn("schema", "heads").json
    text = () if "--prove" in asked else (PROMPT,)
    document = attn("heads", *text, *asked, "--json").json
    jsonschema.Draft202012Validator(schema).validate(document)
    assert attn("heads", *text, *asked, "--format", "ndjson").json == document


@pytest.mark.parametrize("columns", [40, 80, 120])
@pytest.mark.parametrize("asked", [("--prove",), ("--circuit", "1.1"), ("--layer", "all")])
def test_pages_fit_the_screen(attn, easily_named, asked, columns):
    text = () if "--prove" in asked else (TWICE,)
    page = attn("heads", *text, *asked, columns=columns).text
    assert max(map(len, page.splitlines())) <= columns


def test_one_token_has_no_value_beside_others(attn):
    page = attn("heads", "--layer", "all", "the").text
    assert "NaN" not in page
    header = next(line for line in page.splitlines() if line.split()[:2] == ["head", "norm"])
    row = next(line for line in page.splitlines() if line.split()[:1] == ["1.3"])
    assert row.split()[header.split().index("value") - 1] == "–"  # "on first" is two words
